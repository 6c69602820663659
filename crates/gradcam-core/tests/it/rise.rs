//! RISE against its formula in plain loops and against the goldens.

use std::cell::RefCell;

use gradcam_core::{CamError, Probe, Rise, Stage, Stages, Target, rise, rise_with_masks};
use tch::{Device, Kind, Tensor};

use crate::goldens::Golden;
use crate::perturbation_methods::{TARGETS, classes, score, space};
use crate::small_net::{SmallNet, largest_difference, normal};

#[test]
fn agrees_with_the_formula() {
    for golden in Golden::all() {
        let (stages, images) = (golden.stages(), golden.images());
        let targets: Vec<Target> = golden.targets().into_iter().map(Target::probability).collect();
        let probe = Probe::new(&stages, &images, &targets).unwrap();
        golden.check_graded("rise", &rise_with_masks(&probe, &golden.get("masks.rise")).unwrap());
    }
}

/// Through the image of ones a stage sees the masks themselves.
#[test]
fn is_the_mean_of_its_masks_by_score() {
    for net in [SmallNet::images(7), SmallNet::volumes(7)] {
        let seen = RefCell::new(Vec::new());
        let size = space(&net.input(1, 1));
        let mirror = Stages::new(vec![
            Stage::new("seen", |x| {
                seen.borrow_mut().push(x.copy());
                x.f_relu()
            }),
            Stage::new("logit", |x| {
                x.f_flatten(2, -1)?.f_mean_dim([2i64].as_slice(), false, None)
            }),
        ])
        .unwrap();
        let ones = Tensor::ones([&[1, 1], size.as_slice()].concat(), (Kind::Float, Device::Cpu));
        let probe = Probe::new(&mirror, &ones, &[Target::Class(0)]).unwrap();
        seen.borrow_mut().clear();
        let settings = Rise::default()
            .with_masks(300)
            .with_cells(4)
            .with_probability(0.3)
            .with_seed(5);
        rise(&probe, &settings).unwrap();
        // The first run is of the image as it is, to see what a pass takes.
        let masks = Tensor::cat(&seen.borrow()[1..], 0).squeeze_dim(1);
        assert_eq!(masks.size()[0], 300);
        assert!(masks.min().double_value(&[]) >= 0.0 && (0.6..1.0 + 1e-6).contains(&masks.max().double_value(&[])));
        let mean = masks.mean(Kind::Double).double_value(&[]);
        assert!((mean - 0.3).abs() < 0.02, "{mean}");

        let (stages, input) = (net.stages(), net.input(3, 8));
        let probe = Probe::new(&stages, &input, &TARGETS).unwrap();
        let drawn = rise(&probe, &settings).unwrap();
        let given = rise_with_masks(&probe, &masks).unwrap();
        assert!(largest_difference(&(drawn.tensor() * 0.3), &(given.tensor() * mean)) < 1e-6);
        for (sample, class) in (0i64..).zip(classes(&probe)) {
            let mut sum = masks.get(0).zeros_like();
            for mask in 0..300 {
                let mask = masks.get(mask);
                sum += score(&stages, None, &(input.narrow(0, sample, 1) * &mask), class) * mask;
            }
            let expected = sum / (300.0 * mean);
            assert!(largest_difference(&given.tensor().get(sample), &expected) < 1e-5);
        }
        assert_ne!(drawn.tensor(), rise(&probe, &settings.with_seed(6)).unwrap().tensor());
    }
}

#[test]
fn settings_are_checked() {
    let net = SmallNet::images(14);
    let stages = net.stages();
    let probe = Probe::new(&stages, &net.input(1, 20), &[Target::Class(0)]).unwrap();
    let settings = Rise::default();
    assert!(matches!(
        rise(&probe, &settings.with_masks(0)),
        Err(CamError::Draws { .. })
    ));
    assert!(matches!(
        rise(&probe, &settings.with_cells(0)),
        Err(CamError::Cells { .. })
    ));
    for probability in [0.0, 1.5, f64::NAN] {
        assert!(matches!(
            rise(&probe, &settings.with_probability(probability)),
            Err(CamError::Probability { .. })
        ));
    }
    assert!(matches!(
        rise_with_masks(&probe, &normal(&[3, 4, 4], 1)),
        Err(CamError::MaskShape { .. })
    ));
}
