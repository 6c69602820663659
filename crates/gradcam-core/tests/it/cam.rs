//! CAM from the head's weights, found by altered copies and given.

use gradcam_core::{CamError, Probe, Score, Stage, Stages, Target, ablation_cam, cam, cam_with_weights};
use tch::{TchError, Tensor};

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

/// Twice the logits have twice the largest logit, but the largest of sums is no sum of the largest.
#[test]
fn the_largest_logit_is_not_linear() {
    let net = SmallNet::images(12);
    let (stages, input) = (net.stages(), net.input(1, 13));
    type Of = fn(&Tensor) -> Result<Tensor, TchError>;
    let functions: [(Of, bool); 4] = [
        (|x| x.f_amax([1i64].as_slice(), false), false),
        (|x| x.f_norm_scalaropt_dim(2.0, [1i64].as_slice(), false), false),
        (|x| x.f_select(1, 0)?.f_add_scalar(1.0), false),
        (|x| x.f_sum_dim_intlist([1i64].as_slice(), false, None), true),
    ];
    for (index, (function, linear)) in functions.into_iter().enumerate() {
        let targets = [Target::Function(Score::new(function))];
        let probe = Probe::new(&stages, &input, &targets).unwrap();
        let found = cam_with_weights(&probe, "relu2", &net.variable("fc.weight"));
        match found {
            Ok(_) => assert!(linear, "{index}"),
            Err(error) => assert!(
                !linear && matches!(error, CamError::NotLinear { .. }),
                "{index}: {error}"
            ),
        }
    }
}

/// A bias so large that single precision holds no weight beside it.
#[test]
fn a_large_bias_costs_double_precision_nothing() {
    let weights = Tensor::from_slice(&[0.25f64, -0.5]).view([1, 2]);
    let (head, bias) = (weights.copy(), Tensor::from_slice(&[1e9f64]));
    let network = Stages::new(vec![
        Stage::new("image", |x| x.f_relu()),
        Stage::new("mean", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
        Stage::new("head", move |x| x.f_linear(&head, Some(&bias))),
    ])
    .unwrap();
    let image = Tensor::from_slice(&[1f64, 3., 2., 0.]).view([1, 2, 1, 2]);
    let probe = Probe::new(&network, &image, &[Target::Class(0)]).unwrap();
    for maps in [cam(&probe, "image"), cam_with_weights(&probe, "image", &weights)] {
        let map: Vec<f32> = maps.unwrap().tensor().view(-1).try_into().unwrap();
        assert!((map[0] + 0.75).abs() < 1e-6 && (map[1] - 0.75).abs() < 1e-6, "{map:?}");
    }
    // Without channel 0 the score falls by 0.25 times its mean, without channel 1 it rises.
    let map: Vec<f32> = ablation_cam(&probe, "image")
        .unwrap()
        .tensor()
        .view(-1)
        .try_into()
        .unwrap();
    assert!(map[0] == 0.0 && (map[1] - 1.5).abs() < 1e-6, "{map:?}");
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
    assert!(matches!(refused, Err(CamError::NeedsClassifier { places }) if places == [3, 3]));
}
