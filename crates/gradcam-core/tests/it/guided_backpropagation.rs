use gradcam_core::{CamError, Maps, Stage, Stages, Target, Values, grad_cam, guided_backpropagation, guided_grad_cam};
use tch::{Kind, Tensor};

use crate::goldens::{Golden, MAPS};
use crate::small_net::{SmallNet, largest_difference, normal};
use crate::two_layers::TwoLayers;

const RELUS: [&str; 2] = ["relu1", "relu2"];

/// Of the largest value: two convolutions' rounding.
fn close(found: &Tensor, expected: &Tensor) {
    let difference = largest_difference(found, expected) / expected.abs().max().double_value(&[]);
    assert!(difference < 1e-5, "{difference}");
}

/// captum 0.9.0, see `tests/goldens/composition.py`; it finds ReLUs that are modules, we find those that are stages.
#[test]
fn agrees_with_captum() {
    for golden in Golden::all() {
        let (stages, images, targets) = (golden.stages(), golden.images(), golden.targets());
        let names = stages.as_slice().iter().map(Stage::name);
        let relus: Vec<&str> = names.filter(|name| name.starts_with("relu")).collect();
        let guided = guided_backpropagation(&stages, &images, &relus, &targets).unwrap();
        golden.check_values("guided_backpropagation", &guided, MAPS);
        let plain = guided_backpropagation(&stages, &images, &[], &targets).unwrap();
        golden.check_values("saliency", &plain, MAPS);
        if golden.is_branched() {
            let relus = ["relu1", "residual.relu", "residual", "fire.relu", "fire", "relu2"];
            let guided = guided_backpropagation(&golden.every_relu(), &images, &relus, &targets).unwrap();
            golden.check_values("every_relu.guided_backpropagation", &guided, MAPS);
        }

        let capture = stages.capture(&images, &golden.layers).unwrap();
        let gradients = capture.gradients(&targets).unwrap();
        for layer in golden.layers {
            let maps = grad_cam(&gradients.at(layer).unwrap()).unwrap();
            golden.check_values(
                &format!("guided_grad_cam.{layer}"),
                &guided_grad_cam(&guided, &maps).unwrap(),
                MAPS,
            );
        }
    }
}

/// A ReLU of which the network makes no secret, and one inside a stage, which is passed as it is.
#[test]
fn only_named_stages_are_guided() {
    let net = TwoLayers::read();
    let (images, targets) = (net.images(), net.targets());
    let stages = net.stages();
    let inner = net.stages();
    let block = Stages::new(vec![
        Stage::new("conv1", |x| Ok(inner.as_slice()[0].forward(x).unwrap())),
        Stage::new("relu1", |x| Ok(inner.as_slice()[1].forward(x).unwrap())),
        Stage::new("rest", |x| Ok(inner.forward_from("relu1", x).unwrap())),
    ])
    .unwrap();
    let seen = guided_backpropagation(&block, &images, &["relu1"], &targets).unwrap();
    let first = guided_backpropagation(&stages, &images, &["relu1"], &targets).unwrap();
    assert!(largest_difference(&seen, &first) < 1e-7);
    let both = guided_backpropagation(&stages, &images, &RELUS, &targets).unwrap();
    assert!(largest_difference(&seen, &both) > 1e-3);
}

/// ReLU6 has no slope above 6; ReLUs at either end of the row; volumes; a batch against its samples.
#[test]
fn relus_anywhere() {
    let weight = Tensor::from_slice(&[1f32, -2.0, 3.0]);
    let net = Stages::new(vec![
        Stage::new("relu", |x| x.f_relu()),
        Stage::new("sum", move |x| {
            x.f_mul(&weight)?.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)
        }),
        Stage::new("relu6", |x| x.f_clamp(0.0, 6.0)),
    ])
    .unwrap();
    let slopes = |values: [f32; 3]| -> Vec<f32> {
        let input = Tensor::from_slice(&values).view([1, 1, 1, 3]);
        let found = guided_backpropagation(&net, &input, &["relu", "relu6"], &[Target::Class(0)]).unwrap();
        found.view(-1).try_into().unwrap()
    };
    assert_eq!(slopes([1.0, 0.5, 1.0]), [1.0, 0.0, 3.0]);
    assert_eq!(slopes([1.0, 0.5, -1.0]), [0.0; 3], "the sum is 0");
    assert_eq!(slopes([2.0, 0.5, 9.0]), [0.0; 3], "the sum is above 6");

    let net = SmallNet::volumes(2);
    let (stages, input) = (net.stages(), net.input(3, 1));
    let targets = [Target::Class(0), Target::Class(3), Target::Predicted];
    let batch = guided_backpropagation(&stages, &input, &RELUS, &targets).unwrap();
    assert_eq!(batch.size(), input.size());
    for (sample, target) in (0i64..).zip(targets) {
        let alone = guided_backpropagation(&stages, &input.narrow(0, sample, 1), &RELUS, &[target]).unwrap();
        close(&batch.narrow(0, sample, 1), &alone);
    }
}

/// The input is not written to and asks for no gradient, the mode and the variables are as before.
#[test]
fn nothing_is_left_behind() {
    let net = SmallNet::images(3);
    let (stages, input) = (net.stages(), net.input(1, 2));
    let before = input.copy();
    for relus in [&RELUS[..], &["relu1", "nowhere"], &["conv1"]] {
        let _ = guided_backpropagation(&stages, &input, relus, &[Target::Class(0)]);
        assert!(!input.requires_grad());
        assert_eq!(largest_difference(&input, &before), 0.0);
        assert!(net.variables.trainable_variables().iter().all(|v| !v.grad().defined()));
        assert!((net.variable("fc.bias") * 2.0).requires_grad());
    }
}

#[test]
fn faults_are_named() {
    let net = SmallNet::images(4);
    let (stages, input) = (net.stages(), net.input(1, 3));
    let of = |input: &Tensor, relus: &[&str], targets: &[Target]| {
        guided_backpropagation(&stages, input, relus, targets).unwrap_err()
    };
    let class = [Target::Class(0)];
    assert!(matches!(of(&input, &["relu3"], &class), CamError::UnknownLayer { .. }));
    assert!(matches!(of(&input, &["conv1"], &class), CamError::NotRelu { stage } if stage == "conv1"));
    assert!(matches!(of(&input, &RELUS, &[]), CamError::TargetCount { .. }));
    assert!(matches!(
        of(&input.narrow(0, 0, 0), &RELUS, &class),
        CamError::EmptyBatch { .. }
    ));
    assert!(matches!(
        of(&input.narrow(1, 0, 1), &RELUS, &class),
        CamError::Stage { .. }
    ));
    let bad = input.copy();
    let _ = bad.narrow(3, 4, 1).fill_(f64::NAN);
    assert!(matches!(
        of(&bad, &RELUS, &class),
        CamError::NonFinite { values: Values::Activations, layer } if layer == "relu1"
    ));
    let cut = Stages::new(vec![
        Stage::new("cut", |x| x.f_detach()),
        Stage::new("relu", |x| x.f_relu()),
        Stage::new("out", |x| x.f_flatten(1, -1)),
    ])
    .unwrap();
    let error = guided_backpropagation(&cut, &normal(&[1, 1, 2, 2], 1), &["relu"], &class).unwrap_err();
    assert!(matches!(error, CamError::Disconnected { layer } if layer == "input"));

    let maps = Maps::new(&normal(&[2, 2, 2], 1)).unwrap();
    assert!(matches!(
        guided_grad_cam(&normal(&[1, 1, 4, 4], 1), &maps),
        Err(CamError::MapBatch { .. })
    ));
    // Of finite numbers no product may be infinite either.
    let positive = Maps::new(&(maps.tensor().abs() + 10.0)).unwrap();
    assert!(matches!(
        guided_grad_cam(&(normal(&[2, 1, 4, 4], 1) * 3e38), &positive),
        Err(CamError::NonFinite { .. })
    ));
    assert!(matches!(
        guided_grad_cam(&normal(&[2, 4, 4], 1), &maps),
        Err(CamError::Input { .. })
    ));
    assert!(matches!(
        guided_grad_cam(&normal(&[2, 1, 3, 4, 4], 1), &maps),
        Err(CamError::Size { .. })
    ));
}

#[test]
fn half_precision_gives_single_precision_gradients() {
    let net = TwoLayers::read();
    let inner = net.stages();
    let half = Stages::new(vec![
        Stage::new("conv1", |x| {
            Ok(inner.as_slice()[0].forward(x).unwrap().to_kind(Kind::BFloat16))
        }),
        Stage::new("relu1", |x| x.f_relu()),
        Stage::new("rest", |x| {
            Ok(inner.forward_from("relu1", &x.to_kind(Kind::Float)).unwrap())
        }),
    ])
    .unwrap();
    let found = guided_backpropagation(&half, &net.images(), &["relu1"], &net.targets()).unwrap();
    let expected = guided_backpropagation(&net.stages(), &net.images(), &["relu1"], &net.targets()).unwrap();
    assert_eq!(found.kind(), Kind::Float);
    assert!(largest_difference(&found, &expected) < 2e-2 * expected.abs().max().double_value(&[]));
}
