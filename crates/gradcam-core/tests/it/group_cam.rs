//! Group-CAM against its formula in plain loops and against the goldens.

use std::cell::Cell;

use gradcam_core::{CamError, GroupCam, Maps, Probe, Stage, Stages, Target, group_cam};
use tch::{Device, Kind, Tensor};

use crate::perturbation_methods::{agrees_graded, score};
use crate::small_net::{SmallNet, largest_difference};

#[test]
fn agrees_with_the_formula() {
    agrees_graded("group_cam", |probe, layer| {
        group_cam(probe, layer, &GroupCam::default().with_groups(3).with_blur(2, 1.5))
    });
}

/// Group by group, with the blur as a mean over a window that is written out.
#[test]
fn equals_its_formula() {
    let net = SmallNet::images(10);
    let (stages, input) = (net.stages(), net.input(2, 11));
    let targets = [Target::Class(2), Target::Class(1)];
    let probe = Probe::new(&stages, &input, &targets).unwrap();
    let found = group_cam(&probe, "relu1", &GroupCam::default().with_groups(4).with_blur(2, 1.0)).unwrap();

    let kernel: Vec<f64> = (-2..=2)
        .map(|offset: i32| (-0.5 * f64::from(offset * offset)).exp())
        .collect();
    let kernel = Tensor::from_slice(&kernel).to_kind(Kind::Float);
    let kernel = &kernel / kernel.sum(Kind::Float);
    let kernel = kernel.outer(&kernel).expand([2, 1, 5, 5], false);
    let blurred = input
        .reflection_pad2d([2, 2, 2, 2])
        .conv2d(&kernel, None::<&Tensor>, 1, 0, 1, 2);

    let capture = stages.capture(&input, &["relu1"]).unwrap();
    let gradients = capture.gradients(&targets).unwrap();
    let at = gradients.at("relu1").unwrap();
    let weighted = at.activations() * at.gradients().mean_dim([2i64, 3].as_slice(), true, Kind::Float);
    for (sample, class) in [(0, 2), (1, 1)] {
        let one = |tensor: &Tensor| tensor.narrow(0, sample, 1);
        let base = score(&stages, None, &one(&blurred), class);
        let mut expected = Tensor::zeros([12, 17], (Kind::Float, Device::Cpu));
        // Six channels in four groups: two each, as torch's `chunk` parts them.
        for group in 0..3 {
            let plane =
                weighted
                    .get(sample)
                    .narrow(0, 2 * group, 2)
                    .sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
            let plane = plane.relu();
            let mut values = Vec::<f32>::try_from(plane.flatten(0, -1)).unwrap();
            values.sort_by(f32::total_cmp);
            let at = 0.7 * (values.len() - 1) as f64;
            let (below, above) = (values[at as usize], values[at as usize + 1]);
            let bound = f64::from(below) + (at - at.floor()) * f64::from(above - below);
            let plane = &plane * plane.gt(bound);
            let mask = Maps::new(&plane.unsqueeze(0)).unwrap().heatmaps(&[12, 17]).unwrap();
            let mask = mask.tensor().get(0);
            let mixed = one(&input) * &mask + one(&blurred) * (1.0 - &mask);
            expected += (score(&stages, None, &mixed, class) - base) * mask;
        }
        assert!(largest_difference(&found.tensor().get(sample), &expected.relu()) < 1e-5);
    }
}

#[test]
fn settings_are_checked() {
    let net = SmallNet::images(14);
    let stages = net.stages();
    let probe = Probe::new(&stages, &net.input(1, 20), &[Target::Class(0)]).unwrap();
    let settings = GroupCam::default();
    assert!(matches!(
        group_cam(&probe, "relu1", &settings.with_groups(0)),
        Err(CamError::Groups { .. })
    ));
    assert!(matches!(
        group_cam(&probe, "relu1", &settings.with_quantile(1.1)),
        Err(CamError::Quantile { .. })
    ));
    assert!(matches!(
        group_cam(&probe, "relu1", &settings.with_blur(3, 0.0)),
        Err(CamError::Deviation { .. })
    ));
}

/// A capture has the gradients at hand: the stages up to the layer run for altered images only.
#[test]
fn a_capture_serves_its_gradients() {
    let net = SmallNet::images(10);
    let runs = Cell::new(0);
    let (whole, input) = (net.stages(), net.input(2, 11));
    let rest = whole.as_slice()[1..].iter();
    let first = Stage::new("conv1", |x| {
        runs.set(runs.get() + 1);
        Ok(whole.as_slice()[0].forward(x).unwrap())
    });
    let rest = rest.map(|stage| Stage::new(stage.name(), |x| Ok(stage.forward(x).unwrap())));
    let stages = Stages::new(std::iter::once(first).chain(rest).collect()).unwrap();
    let targets = [Target::Predicted, Target::Class(1)];
    let settings = GroupCam::default().with_groups(2).with_blur(2, 1.0);
    let of = |probe: &Probe<'_>| {
        let before = runs.get();
        let maps = group_cam(probe, "relu2", &settings).unwrap();
        (maps, runs.get() - before)
    };
    let capture = stages.capture(&input, &["relu2"]).unwrap();
    let (captured, fewer) = of(&Probe::from_capture(&stages, &input, &capture, &targets).unwrap());
    let (own, more) = of(&Probe::new(&stages, &input, &targets).unwrap());
    assert_eq!(more - fewer, 2);
    assert!(largest_difference(captured.tensor(), own.tensor()) < 1e-5);
}
