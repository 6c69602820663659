//! IS-CAM against its formula in plain loops and against the goldens.

use gradcam_core::{CamError, IntegrationPath, IsCam, Probe, ScoreMask, Target, is_cam};

use crate::perturbation_methods::{TARGETS, agrees, classes};
use crate::score_cam::{assert_close, by_formula, softmax};
use crate::small_net::SmallNet;

#[test]
fn agrees_with_torch_cam() {
    agrees("is_cam", |probe, layer| {
        is_cam(
            probe,
            layer,
            &IsCam::default().with_steps(4).with_mask(ScoreMask::NormalisedFirst),
        )
    });
}

#[test]
fn equals_its_formula_along_either_path() {
    for net in [SmallNet::images(11), SmallNet::volumes(11)] {
        let (stages, input) = (net.stages(), net.input(3, 12));
        let probe = Probe::new(&stages, &input, &TARGETS).unwrap();
        for (path, strengths) in [
            (IntegrationPath::Linear, [1.0 / 3.0, 2.0 / 3.0, 1.0]),
            (IntegrationPath::Cumulative, [1.0 / 3.0, 1.0, 2.0]),
        ] {
            let found = is_cam(&probe, "relu1", &IsCam::default().with_steps(3).with_path(path)).unwrap();
            let expected = by_formula(
                &stages,
                &input,
                "relu1",
                &classes(&probe),
                |_, mask| strengths.map(|strength| mask * strength).into(),
                softmax,
            );
            assert_close(&format!("{path:?}"), &found, &expected);
        }
    }
}

#[test]
fn settings_are_checked() {
    let net = SmallNet::images(14);
    let stages = net.stages();
    let probe = Probe::new(&stages, &net.input(1, 20), &[Target::Class(0)]).unwrap();
    assert!(matches!(
        is_cam(&probe, "relu1", &IsCam::default().with_steps(0)),
        Err(CamError::Draws { .. })
    ));
}
