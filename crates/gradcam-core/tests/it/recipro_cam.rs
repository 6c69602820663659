//! Recipro-CAM against its formula in plain loops and against the goldens.

use gradcam_core::{Probe, ReciproMask, recipro_cam};

use crate::perturbation_methods::{TARGETS, agrees_graded, classes, each_place, score, space};
use crate::small_net::{SmallNet, largest_difference};

#[test]
fn agrees_with_the_formula_and_the_peers() {
    agrees_graded("recipro_cam", |probe, layer| {
        recipro_cam(probe, layer, ReciproMask::Gaussian)
    });
    agrees_graded("recipro_cam_single", |probe, layer| {
        recipro_cam(probe, layer, ReciproMask::Single)
    });
}

#[test]
fn equals_its_formula() {
    for net in [SmallNet::images(4), SmallNet::volumes(4)] {
        let (stages, input) = (net.stages(), net.input(3, 6));
        let probe = Probe::new(&stages, &input, &TARGETS).unwrap();
        let capture = stages.capture(&input, &["relu2"]).unwrap();
        let activations = capture.activations("relu2").unwrap();
        let grid = space(activations);
        for mask in [ReciproMask::Single, ReciproMask::Gaussian] {
            let found = recipro_cam(&probe, "relu2", mask).unwrap();
            for (sample, class) in (0i64..).zip(classes(&probe)) {
                let expected = each_place(&[&[1], grid.as_slice()].concat(), |_, centre| {
                    let around = each_place(&[&[1], grid.as_slice()].concat(), |_, place| {
                        let factor = |(a, b): (&i64, &i64)| match (mask, (a - b).abs()) {
                            (ReciproMask::Gaussian, 0) => 0.5,
                            (ReciproMask::Gaussian, 1) => 0.25,
                            (_, 0) => 1.0,
                            _ => 0.0,
                        };
                        centre.iter().zip(place).map(factor).product()
                    });
                    let masked = activations.narrow(0, sample, 1) * around.unsqueeze(0);
                    score(&stages, Some("relu2"), &masked, class) as f32
                });
                let difference = largest_difference(&found.tensor().narrow(0, sample, 1), &expected);
                assert!(difference < 1e-5, "{mask:?}: {difference}");
            }
        }
    }
}
