//! Occlusion sensitivity against its formula in plain loops and against the goldens.

use gradcam_core::{CamError, Occluder, OcclusionSensitivity, Probe, Stage, Stages, Target, occlusion_sensitivity};
use tch::{Device, Kind, Tensor};

use crate::goldens::Golden;
use crate::perturbation_methods::{TARGETS, classes, each_place, score, space};
use crate::small_net::{SmallNet, largest_difference};

#[test]
fn agrees_with_captum() {
    for golden in Golden::all() {
        let (stages, images) = (golden.stages(), golden.images());
        let probe = Probe::new(&stages, &images, &golden.targets()).unwrap();
        let (window, stride) = match images.dim() {
            4 => (vec![5, 4], vec![3, 2]),
            _ => (vec![3, 4, 3], vec![2, 2, 2]),
        };
        let settings = OcclusionSensitivity::default().with_window(window).with_stride(stride);
        let maps = occlusion_sensitivity(&probe, &settings).unwrap();
        golden.check_graded("occlusion_sensitivity", &maps);
    }
}

#[test]
fn equals_its_formula() {
    for net in [SmallNet::images(8), SmallNet::volumes(8)] {
        let (stages, input) = (net.stages(), net.input(3, 9));
        let size = space(&input);
        let probe = Probe::new(&stages, &input, &TARGETS).unwrap();
        let window: Vec<i64> = (0..size.len() as i64).map(|axis| 3 + axis).collect();
        let stride: Vec<i64> = (0..size.len() as i64).map(|axis| 2 + axis % 2).collect();
        let settings = OcclusionSensitivity::default()
            .with_window(window.clone())
            .with_stride(stride.clone())
            .with_occluder(Occluder::Value(0.4));
        let found = occlusion_sensitivity(&probe, &settings).unwrap();
        let mut starts = vec![vec![]];
        for axis in 0..size.len() {
            let mut along = vec![0];
            while along[along.len() - 1] + window[axis] < size[axis] {
                along.push(along[along.len() - 1] + stride[axis]);
            }
            starts = starts
                .iter()
                .flat_map(|start: &Vec<i64>| along.iter().map(move |&at| [start.as_slice(), &[at]].concat()))
                .collect();
        }
        for (sample, class) in (0i64..).zip(classes(&probe)) {
            let image = input.narrow(0, sample, 1);
            let whole = score(&stages, None, &image, class);
            let mut sums = Tensor::zeros(size.as_slice(), (Kind::Double, Device::Cpu));
            let mut counts = sums.zeros_like();
            for start in &starts {
                let inside = each_place(&[&[1], size.as_slice()].concat(), |_, place| {
                    let held =
                        (0..size.len()).all(|axis| (start[axis]..start[axis] + window[axis]).contains(&place[axis]));
                    f32::from(u8::from(held))
                });
                let covered = &image * (1.0 - &inside) + 0.4 * &inside;
                sums += inside.squeeze_dim(0) * (whole - score(&stages, None, &covered, class));
                counts += inside.squeeze_dim(0);
            }
            assert!(counts.min().double_value(&[]) > 0.0);
            let expected = (sums / counts).to_kind(Kind::Float);
            assert!(largest_difference(&found.tensor().get(sample), &expected) < 1e-5);
        }
    }
}

/// A stride beyond the window leaves gaps; what no window held is zero.
#[test]
fn says_nothing_between_windows() {
    let stages = Stages::new(vec![Stage::new("sum", |x| {
        x.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)
    })])
    .unwrap();
    let image = Tensor::ones([1, 1, 1, 5], (Kind::Float, Device::Cpu));
    let probe = Probe::new(&stages, &image, &[Target::Class(0)]).unwrap();
    let settings = OcclusionSensitivity::default().with_window([1]).with_stride([2]);
    let maps = occlusion_sensitivity(&probe, &settings).unwrap();
    assert_eq!(
        Vec::<f32>::try_from(maps.tensor().view(-1)).unwrap(),
        [1., 0., 1., 0., 1.]
    );
}

#[test]
fn settings_are_checked() {
    let net = SmallNet::images(14);
    let stages = net.stages();
    let probe = Probe::new(&stages, &net.input(1, 20), &[Target::Class(0)]).unwrap();
    for (window, stride) in [
        (vec![13], vec![1]),
        (vec![0], vec![1]),
        (vec![2], vec![0]),
        (vec![1, 2, 3], vec![1]),
    ] {
        let settings = OcclusionSensitivity::default().with_window(window).with_stride(stride);
        assert!(matches!(
            occlusion_sensitivity(&probe, &settings),
            Err(CamError::Window { .. })
        ));
    }
}
