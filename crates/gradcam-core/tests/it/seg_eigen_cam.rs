use gradcam_core::{CamError, Content, Parallelism, Stage, Stages, Target, kernel, seg_eigen_cam};
use ndarray::{ArrayD, Axis};
use tch::{Device, Kind, Tensor};

use crate::goldens::Golden;
use crate::gradient_methods::plain_component;
use crate::small_net::{SmallNet, array, largest_difference, normal};

#[test]
fn pytorch_grad_cam_agrees() {
    for golden in Golden::all().map(|golden| golden.and("eigen")) {
        golden.check_gradient_method("seg_eigen_cam", seg_eigen_cam);
    }
}

/// By a singular value decomposition, the sign by its ends.
fn plain(activations: &ArrayD<f32>, gradients: &ArrayD<f32>) -> ArrayD<f32> {
    let terms = activations.mapv(f64::from) * gradients.mapv(|g| f64::from(g).abs());
    let mut maps = plain_component(&terms);
    for mut map in maps.axis_iter_mut(Axis(0)) {
        let (least, most) = map.iter().fold((0f64, 0f64), |(least, most), &value| {
            (least.min(value), most.max(value))
        });
        if -least > most {
            map.mapv_inplace(|value| -value);
        }
    }
    maps.mapv(|value| value.max(0.0) as f32)
}

#[test]
fn equals_its_formula_and_its_kernel() {
    for net in [SmallNet::images(8), SmallNet::volumes(8)] {
        let capture = net.stages().capture(&net.input(3, 9), &["conv1", "relu2"]).unwrap();
        let targets = [Target::Class(2), Target::Class(0), Target::Predicted];
        let gradients = capture.gradients(&targets).unwrap();
        let against = capture.gradients(&targets.map(Target::counterfactual)).unwrap();
        for layer in ["conv1", "relu2"] {
            let at = gradients.at(layer).unwrap();
            let (a, g) = (array(at.activations()), array(at.gradients()));
            let expected = plain(&a, &g);
            let size = expected.iter().fold(0f32, |most, &value| most.max(value));
            assert!(size > 0.0);
            let maps = seg_eigen_cam(&at).unwrap();
            let parallel = kernel::seg_eigen_cam(a.view(), g.view(), Parallelism::Rayon).unwrap();
            let serial = kernel::seg_eigen_cam(a.view(), g.view(), Parallelism::Serial).unwrap();
            assert_eq!(serial, parallel);
            for found in [maps.to_array().unwrap(), parallel] {
                let difference = (&found - &expected)
                    .iter()
                    .fold(0f32, |most, value| most.max(value.abs()));
                assert!(difference < 1e-5 * size, "{layer}: {difference}");
            }
            // The gradient's sign is not looked at.
            let other = seg_eigen_cam(&against.at(layer).unwrap()).unwrap();
            assert!(largest_difference(maps.tensor(), other.tensor()) < 1e-6 * f64::from(size));
        }
    }
}

/// The places of a segmentation network whose scores are asked for are what lights up.
#[test]
fn a_region_of_a_segmentation_lights_up() {
    let network = Stages::new(vec![
        Stage::new("features", |x| x.f_relu()),
        Stage::new("places", |x| x.f_sum_dim_intlist([1i64].as_slice(), true, None)),
    ])
    .unwrap();
    let input = normal(&[1, 3, 8, 8], 4).abs() + 0.5;
    let region = ndarray::Array2::from_shape_fn((8, 8), |(row, column)| row < 4 && column < 4);
    let capture = network.capture(&input, &["features"]).unwrap();
    let gradients = capture.gradients(&[Target::region(0, region.view())]).unwrap();
    let maps = seg_eigen_cam(&gradients.at("features").unwrap()).unwrap();
    let corner = maps.tensor().narrow(1, 0, 4).narrow(2, 0, 4).sum(Kind::Double);
    assert!((corner - maps.tensor().sum(Kind::Double)).abs().double_value(&[]) < 1e-6);
    assert_eq!(maps.contents(), [Content::Graded]);
}

#[test]
fn nothing_comes_of_nothing_and_faults_are_errors() {
    let network = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("mean", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap();
    let even = Tensor::full([1, 2, 3, 3], 0.3, (Kind::Float, Device::Cpu));
    let capture = network.capture(&even, &["image", "mean"]).unwrap();
    let gradients = capture.gradients(&[Target::Class(0)]).unwrap();
    let maps = seg_eigen_cam(&gradients.at("image").unwrap()).unwrap();
    assert_eq!(maps.contents(), [Content::Zero]);
    assert!(matches!(
        seg_eigen_cam(&gradients.at("mean").unwrap()),
        Err(CamError::NotSpatial { layer, .. }) if layer == "mean"
    ));
}
