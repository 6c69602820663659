use gradcam_core::{CamError, Fusion, GradientMethod, Target, fuse, refine_cam};

use crate::goldens::Golden;
use crate::small_net::{SmallNet, largest_difference};

#[test]
fn torch_cam_agrees() {
    for golden in Golden::all().map(|golden| golden.and("refine_cam")) {
        let capture = golden.stages().capture(&golden.images(), &golden.layers).unwrap();
        let gradients = capture.gradients(&golden.targets()).unwrap();
        let grid = &capture.activations(golden.layers[0]).unwrap().size()[2..];
        for (name, method) in [
            ("refine_layer_cam", GradientMethod::LayerCam),
            ("refine_grad_cam_plus_plus", GradientMethod::GradCamPlusPlus),
        ] {
            let maps = refine_cam(&gradients, &golden.layers, method, grid).unwrap();
            golden.check_graded(name, &maps);
        }
    }
}

/// It is the product of the layers' maps, whatever their order, and one layer's own map for one layer.
#[test]
fn is_the_product_of_the_layers() {
    let net = SmallNet::images(9);
    let capture = net.stages().capture(&net.input(2, 1), &["relu1", "relu2"]).unwrap();
    let gradients = capture.gradients(&[Target::Class(1), Target::Predicted]).unwrap();
    for method in GradientMethod::ALL {
        let [first, second] = ["relu1", "relu2"].map(|layer| method.maps(&gradients.at(layer).unwrap()).unwrap());
        let expected = fuse(&[&first, &second], &[12, 17], Fusion::Product).unwrap();
        for layers in [["relu1", "relu2"], ["relu2", "relu1"]] {
            let found = refine_cam(&gradients, &layers, method, &[12, 17]).unwrap();
            assert!(largest_difference(found.tensor(), expected.tensor()) < 1e-6, "{method}");
        }
        let alone = refine_cam(&gradients, &["relu1"], method, &[12, 17]).unwrap();
        let heat = first.normalise().unwrap();
        assert!(largest_difference(alone.tensor(), heat.tensor()) < 1e-6, "{method}");
    }
}

#[test]
fn faults_are_errors() {
    let net = SmallNet::images(9);
    let capture = net.stages().capture(&net.input(1, 1), &["relu1"]).unwrap();
    let gradients = capture.gradients(&[Target::Predicted]).unwrap();
    let run = |layers: &[&str], size: &[i64]| refine_cam(&gradients, layers, GradientMethod::GradCamPlusPlus, size);
    assert!(matches!(run(&[], &[12, 17]), Err(CamError::NoMaps)));
    assert!(matches!(run(&["relu2"], &[12, 17]), Err(CamError::NotCaptured { .. })));
    assert!(matches!(run(&["relu1"], &[12]), Err(CamError::Size { .. })));
}
