//! CAM from the head's weights, found by gradients and given.

use gradcam_core::{CamError, Probe, Stage, Stages, Target, cam, cam_with_weights};
use tch::Tensor;

use crate::goldens::Golden;
use crate::small_net::{SmallNet, largest_difference, normal};

#[test]
fn agrees_with_torch_cam() {
    for golden in [Golden::plain(), Golden::volumes()] {
        let (stages, images, layer) = (golden.stages(), golden.images(), golden.layers[1]);
        let probe = Probe::new(&stages, &images, &golden.targets()).unwrap();
        golden.check("cam", layer, &cam(&probe, layer).unwrap());
        let weights = golden.get("weights.fc.weight");
        golden.check("cam", layer, &cam_with_weights(&probe, layer, &weights).unwrap());
    }
}

#[test]
fn reads_the_heads_weights() {
    for net in [SmallNet::images(12), SmallNet::volumes(12)] {
        let (stages, input) = (net.stages(), net.input(3, 13));
        let targets = [
            Target::Class(3),
            Target::Class(1).against([0, 2], 0.5),
            Target::Class(2).counterfactual(),
        ];
        let weights = net.variable("fc.weight");
        let row = |class: i64| weights.get(class);
        let rows = [row(3), row(1) - (row(0) + row(2)) * 0.25, -row(2)];
        let capture = stages.capture(&input, &["relu2"]).unwrap();
        let activations = capture.activations("relu2").unwrap().flatten(2, -1);
        let expected = Tensor::stack(&rows, 0).unsqueeze(1).bmm(&activations);
        let probe = Probe::new(&stages, &input, &targets).unwrap();
        for found in [cam(&probe, "relu2"), cam_with_weights(&probe, "relu2", &weights)] {
            let found = found.unwrap().tensor().flatten(1, -1).unsqueeze(1);
            assert!(largest_difference(&found, &expected.detach()) < 1e-5);
        }
        // Convolutions lie between, and a probability is not linear.
        assert!(matches!(
            cam(&probe, "relu1"),
            Err(CamError::NotLinear { layer, sample: 0, .. }) if layer == "relu1"
        ));
        let probability = [const { Target::Predicted }; 3].map(Target::probability);
        let probe = Probe::new(&stages, &input, &probability).unwrap();
        assert!(matches!(cam(&probe, "relu2"), Err(CamError::NotLinear { .. })));
        let refused = cam_with_weights(&probe, "relu2", &weights);
        assert!(matches!(refused, Err(CamError::NotLinear { .. })));
        let refused = cam_with_weights(&probe, "relu2", &weights.transpose(0, 1));
        assert!(matches!(refused, Err(CamError::WeightShape { .. })));
    }
}

/// As many channels, rows and columns: shapes that would go together.
#[test]
fn weights_of_a_head_are_for_classifiers() {
    let (channels, kernel) = (3, normal(&[3, 3, 1, 1], 16));
    let network = Stages::new(vec![Stage::new("image", |x| x.f_relu()), {
        Stage::new("places", |x| {
            x.f_conv2d(&kernel, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1)
        })
    }])
    .unwrap();
    let input = normal(&[1, channels, 3, 3], 17);
    let marked = ndarray::Array2::from_elem((3, 3), true);
    let probe = Probe::new(&network, &input, &[Target::region(1, marked.view())]).unwrap();
    let refused = cam_with_weights(&probe, "image", &kernel.flatten(1, -1));
    assert!(matches!(refused, Err(CamError::Region { output, .. }) if output.is_empty()));
}
