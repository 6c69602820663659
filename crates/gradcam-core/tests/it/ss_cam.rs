//! SS-CAM against its formula in plain loops, with noise that is given, and against the goldens.

use gradcam_core::{CamError, Probe, ScoreMask, SsCam, Target, ss_cam, ss_cam_with_noise};

use crate::goldens::Golden;
use crate::perturbation_methods::{TARGETS, classes, space};
use crate::score_cam::{assert_close, by_formula, softmax};
use crate::small_net::{SmallNet, normal};

#[test]
fn agrees_with_torch_cam() {
    for golden in Golden::all() {
        let (stages, images, layer) = (golden.stages(), golden.images(), golden.layers[1]);
        let probe = Probe::new(&stages, &images, &golden.targets()).unwrap();
        let noise = golden.get(&format!("noise.ss_cam.{layer}"));
        let settings = SsCam::default().with_mask(ScoreMask::NormalisedFirst);
        golden.check(
            "ss_cam",
            layer,
            &ss_cam_with_noise(&probe, layer, &settings, &noise).unwrap(),
        );
    }
}

#[test]
fn equals_its_formula() {
    for net in [SmallNet::images(6), SmallNet::volumes(6)] {
        let (stages, input) = (net.stages(), net.input(3, 7));
        let probe = Probe::new(&stages, &input, &TARGETS).unwrap();
        for (layer, channels) in [("relu1", 6), ("conv2", 8)] {
            let noise = normal(&[&[2, channels], space(&input).as_slice()].concat(), 8) * 0.3;
            let found = ss_cam_with_noise(&probe, layer, &SsCam::default(), &noise).unwrap();
            let expected = by_formula(
                &stages,
                &input,
                layer,
                &classes(&probe),
                |channel, mask| (0..2).map(|draw| mask + noise.get(draw).get(channel)).collect(),
                softmax,
            );
            assert_close(layer, &found, &expected);
        }
    }
}

#[test]
fn settings_are_checked() {
    let net = SmallNet::images(14);
    let stages = net.stages();
    let probe = Probe::new(&stages, &net.input(1, 20), &[Target::Class(0)]).unwrap();
    let settings = SsCam::default();
    assert!(matches!(
        ss_cam(&probe, "relu1", &settings.with_draws(0)),
        Err(CamError::Draws { .. })
    ));
    assert!(matches!(
        ss_cam(&probe, "relu1", &settings.with_deviation(-1.0)),
        Err(CamError::Deviation { .. })
    ));
    let noise = normal(&[2, 5, 12, 17], 1);
    assert!(matches!(
        ss_cam_with_noise(&probe, "relu1", &settings, &noise),
        Err(CamError::MaskShape { .. })
    ));
}
