//! Networks that branch across stages: every method at every stage against the same network in one piece, of which one
//! output is looked at or replaced, as PyTorch's hooks do.

use std::sync::Arc;

use gradcam_core::{
    AblationValue, CamError, GradientMethod, Maps, Probe, ReciproMask, Rescaling, Stage, Stages, Target, ablation_cam,
    ablation_cam_with, full_grad, full_gradient, guided_backpropagation, recipro_cam, shapley_cam,
    smooth_grad_cam_plus_plus_with_noise,
};
use ndarray::ArrayD;
use tch::{Kind, TchError, Tensor};

use crate::small_net::{largest_difference, normal};

/// A U-Net of two levels, with an output for every place or one for the image.
struct UNet {
    volumes: bool,
    whole: bool,
    kind: Kind,
    /// `first`, `down`, `bottom`, `up`, `last`.
    convolutions: Vec<(Tensor, Tensor)>,
    head: Tensor,
}

const LAYERS: [&str; 6] = ["first", "down", "bottom", "up", "last", "logits"];

impl UNet {
    fn new(volumes: bool, whole: bool, kind: Kind, seed: i64) -> Self {
        let channels = [(2, 4), (4, 5), (5, 6), (6 + 5, 4), (4 + 4, 5)];
        let convolutions = (0i64..).zip(channels).map(|(index, (inputs, outputs))| {
            let kernel: &[i64] = if volumes { &[3, 3, 3] } else { &[3, 3] };
            let shape = [&[outputs, inputs], kernel].concat();
            let weight = normal(&shape, seed * 100 + index) * 0.3;
            (
                weight.to_kind(kind),
                (normal(&[outputs], seed * 100 + 50 + index) * 0.3).to_kind(kind),
            )
        });
        Self {
            volumes,
            whole,
            kind,
            convolutions: convolutions.collect(),
            head: normal(&[3, 5], seed * 100 + 99).to_kind(kind),
        }
    }

    fn input(&self, batch: i64, seed: i64) -> Tensor {
        let space: &[i64] = if self.volumes { &[4, 8, 4] } else { &[8, 12] };
        normal(&[&[batch, 2], space].concat(), seed).to_kind(self.kind)
    }

    fn targets(&self) -> Vec<Target> {
        if self.whole {
            return vec![Target::Class(2), Target::Predicted, Target::Class(0).counterfactual()];
        }
        let space = self.input(1, 0).size()[2..]
            .iter()
            .map(|&extent| extent as usize)
            .collect::<Vec<_>>();
        let region = |every: usize| {
            let region = ArrayD::from_shape_fn(space.clone(), |place| (place[0] + 2 * place[1]) % every == 0);
            Target::region((every % 3) as i64, region.view())
        };
        vec![region(2), region(3), region(4)]
    }

    fn conv(&self, index: usize, x: &Tensor) -> Result<Tensor, TchError> {
        let (weight, bias) = &self.convolutions[index];
        let y = if self.volumes {
            x.f_conv3d(weight, Some(bias), [1; 3], [1; 3], [1; 3], 1)?
        } else {
            x.f_conv2d(weight, Some(bias), [1; 2], [1; 2], [1; 2], 1)?
        };
        // Smooth, so that second derivatives are there too.
        y.f_softplus()
    }

    fn halve(&self, x: &Tensor) -> Result<Tensor, TchError> {
        if self.volumes {
            x.f_avg_pool3d([2; 3], [2; 3], [0; 3], false, true, None)
        } else {
            x.f_avg_pool2d([2; 2], [2; 2], [0; 2], false, true, None)
        }
    }

    fn merge(&self, index: usize, x: &Tensor, skip: &Tensor) -> Result<Tensor, TchError> {
        let size = &skip.size()[2..];
        let up = if self.volumes {
            x.f_upsample_nearest3d(size, None, None, None)?
        } else {
            x.f_upsample_nearest2d(size, None, None)?
        };
        self.conv(index, &Tensor::f_cat(&[skip, &up], 1)?)
    }

    fn logits(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let places = x.f_flatten(2, -1)?;
        if self.whole {
            return places
                .f_mean_dim([2i64].as_slice(), false, None)?
                .f_linear(&self.head, None::<&Tensor>);
        }
        let shape = [&[x.size()[0], 3], &x.size()[2..]].concat();
        self.head.f_matmul(&places)?.f_view(shape.as_slice())
    }

    fn stages(&self) -> Stages<'_> {
        let skip = |carried: &mut Vec<Tensor>| {
            carried
                .pop()
                .ok_or_else(|| TchError::Shape("nothing comes across".to_owned()))
        };
        let down = |index: usize| {
            move |x: &Tensor, carried: &mut Vec<Tensor>| {
                carried.push(x.shallow_clone());
                self.conv(index, &self.halve(x)?)
            }
        };
        let up = move |index: usize| move |x: &Tensor, carried: &mut Vec<Tensor>| self.merge(index, x, &skip(carried)?);
        Stages::new(vec![
            Stage::new("first", |x| self.conv(0, x)),
            Stage::carrying("down", down(1)),
            Stage::carrying("bottom", down(2)),
            Stage::carrying("up", up(3)),
            Stage::carrying("last", up(4)),
            Stage::new("logits", |x| self.logits(x)),
        ])
        .unwrap()
    }

    /// Every stage's output; that of `replaced` is another than computed, for all that looks at it.
    fn outputs(&self, x: &Tensor, replaced: Option<(&str, &Tensor)>) -> Vec<Tensor> {
        let put_out = |name: &str, y: Result<Tensor, TchError>| match replaced {
            Some((layer, other)) if layer == name => other.shallow_clone(),
            _ => y.unwrap(),
        };
        let first = put_out("first", self.conv(0, x));
        let down = put_out("down", self.halve(&first).and_then(|x| self.conv(1, &x)));
        let bottom = put_out("bottom", self.halve(&down).and_then(|x| self.conv(2, &x)));
        let up = put_out("up", self.merge(3, &bottom, &down));
        let last = put_out("last", self.merge(4, &up, &first));
        let logits = put_out("logits", self.logits(&last));
        vec![first, down, bottom, up, last, logits]
    }

    fn all(kind: Kind) -> impl Iterator<Item = Self> {
        [(false, false), (false, true), (true, false), (true, true)]
            .into_iter()
            .zip(1..)
            .map(move |((volumes, whole), seed)| Self::new(volumes, whole, kind, seed))
    }
}

/// The score of one target for one sample's output.
fn score(target: &Target, logits: &Tensor) -> Tensor {
    match target {
        Target::Class(class) => logits.select(1, *class).sum(None::<Kind>),
        Target::Predicted => logits.max(),
        Target::Counterfactual(target) => -score(target, logits),
        Target::Region { class, region } => {
            let region: Arc<ArrayD<bool>> = region.clone();
            let marked: Vec<f64> = region.iter().map(|&marked| f64::from(u8::from(marked))).collect();
            let marked = Tensor::from_slice(&marked)
                .view(&logits.size()[2..])
                .to_kind(logits.kind());
            (logits.select(1, *class) * marked).sum(None::<Kind>)
        }
        other => panic!("{other:?}"),
    }
}

fn number(target: &Target, logits: &Tensor) -> f64 {
    score(target, logits).double_value(&[])
}

/// The targets with the class that is predicted for the samples as they are.
fn named(targets: &[Target], logits: &Tensor) -> Vec<Target> {
    let named = (0i64..).zip(targets).map(|(sample, target)| match target {
        Target::Predicted => Target::Class(logits.select(0, sample).argmax(0, false).int64_value(&[])),
        other => other.clone(),
    });
    named.collect()
}

/// Of the largest expected number: rounding of double precision.
fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    let (found, expected) = (found.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    let scale = expected.abs().max().double_value(&[]);
    assert!(scale > 0.0, "{what}: nothing is expected");
    let difference = largest_difference(&found, &expected) / scale;
    assert!(difference < tolerance, "{what}: {difference:e}");
}

#[test]
fn gradients_are_those_of_the_network_in_one_piece() {
    for net in UNet::all(Kind::Double) {
        let (stages, input, targets) = (net.stages(), net.input(3, 7), net.targets());
        let outputs = net.outputs(&input.copy().set_requires_grad(true), None);
        let scores: Vec<Tensor> = (0i64..)
            .zip(&targets)
            .map(|(sample, target)| score(target, &outputs[5].narrow(0, sample, 1)))
            .collect();
        let expected = Tensor::run_backward(&scores, &outputs, false, false);

        let together = stages.capture(&input, &LAYERS).unwrap();
        let gradients = together.gradients(&targets).unwrap();
        for ((layer, output), expected) in LAYERS.iter().zip(&outputs).zip(&expected) {
            assert_close(layer, together.activations(layer).unwrap(), output, 1e-13);
            assert_close(layer, gradients.at(layer).unwrap().gradients(), expected, 1e-12);
            // The same where the graph begins at the layer.
            let alone = stages.capture(&input, &[layer]).unwrap();
            let gradients = alone.gradients(&targets).unwrap();
            assert_close(layer, gradients.at(layer).unwrap().gradients(), expected, 1e-12);
            assert!(
                alone
                    .carried(layer)
                    .unwrap()
                    .iter()
                    .all(|carried| !carried.requires_grad())
            );
        }
        let carried = LAYERS.map(|layer| together.carried(layer).unwrap().len());
        assert_eq!(carried, [0, 1, 2, 1, 0, 0]);
        assert_eq!(
            together.carried("bottom").unwrap()[1],
            *together.activations("down").unwrap()
        );
    }
}

#[test]
fn the_stages_after_a_layer_go_on_with_what_is_carried() {
    for net in UNet::all(Kind::Float) {
        let (stages, input) = (net.stages(), net.input(2, 3));
        let _no_grad = tch::no_grad_guard();
        let capture = stages.capture(&input, &LAYERS).unwrap();
        for layer in LAYERS {
            let (activations, carried) = (capture.activations(layer).unwrap(), capture.carried(layer).unwrap());
            let logits = stages.forward_from_carrying(layer, activations, carried).unwrap();
            assert_eq!(logits, *capture.logits());
            let other = activations * 1.5;
            let found = stages.forward_from_carrying(layer, &other, carried).unwrap();
            let expected = net.outputs(&input, Some((layer, &other))).swap_remove(5);
            assert_close(layer, &found, &expected, 1e-5);
        }
        assert_eq!(stages.forward(&input).unwrap(), *capture.logits());
        for (layer, needs) in [("down", "last"), ("bottom", "up"), ("up", "last")] {
            let error = stages
                .forward_from(layer, capture.activations(layer).unwrap())
                .unwrap_err();
            assert!(
                matches!(&error, CamError::Stage { stage, .. } if stage == needs),
                "{layer}: {error:?}"
            );
        }
        let shapes = stages.shapes(&input).unwrap();
        for ((name, shape), layer) in shapes.iter().zip(LAYERS) {
            assert_eq!(
                (name.as_str(), shape),
                (layer, &capture.activations(layer).unwrap().size())
            );
        }
    }
}

#[test]
fn a_batch_gives_each_sample_what_it_would_get_alone() {
    type Method = fn(&Stages<'_>, &Tensor, &str, &[Target]) -> Result<Maps, CamError>;
    let methods: [(&str, Method); 6] = [
        ("grad_cam++", |stages, input, layer, targets| {
            let capture = stages.capture(input, &[layer])?;
            GradientMethod::GradCamPlusPlus.maps(&capture.gradients(targets)?.at(layer)?)
        }),
        ("shapley_cam", |stages, input, layer, targets| {
            shapley_cam(&stages.capture(input, &[layer])?, layer, targets)
        }),
        ("ablation_cam", |stages, input, layer, targets| {
            ablation_cam(&Probe::new(stages, input, targets)?, layer)
        }),
        ("ablation_cam of a capture", |stages, input, layer, targets| {
            let capture = stages.capture(input, &["first", layer])?;
            ablation_cam(&Probe::from_capture(stages, input, &capture, targets)?, layer)
        }),
        ("recipro_cam", |stages, input, layer, targets| {
            recipro_cam(&Probe::new(stages, input, targets)?, layer, ReciproMask::Gaussian)
        }),
        ("smooth_grad_cam++", |stages, input, layer, targets| {
            let noise = normal(&[&[2, 1], &input.size()[1..]].concat(), 9) * 0.1;
            smooth_grad_cam_plus_plus_with_noise(stages, input, layer, targets, &noise)
        }),
    ];
    for net in UNet::all(Kind::Double) {
        let (stages, input, targets) = (net.stages(), net.input(3, 7), net.targets());
        for (name, method) in methods {
            for layer in ["first", "down", "bottom", "up", "last"] {
                let maps = method(&stages, &input, layer, &targets).unwrap();
                for (sample, target) in (0i64..).zip(&targets) {
                    let one = input.narrow(0, sample, 1);
                    let alone = method(&stages, &one, layer, std::slice::from_ref(target)).unwrap();
                    let scale = maps.tensor().abs().max().double_value(&[]);
                    let difference = largest_difference(&maps.tensor().narrow(0, sample, 1), alone.tensor());
                    assert!(
                        difference <= 1e-6 * scale,
                        "{name} {layer}: {difference:e} of {scale:e}"
                    );
                }
            }
        }
    }
}

/// Each channel in turn is set to zero or to its mean, for all that looks at the layer.
#[test]
fn ablation_cam_is_its_formula_in_a_plain_loop() {
    for net in UNet::all(Kind::Double) {
        let (stages, input) = (net.stages(), net.input(2, 5));
        let targets = named(&net.targets()[..2], &net.outputs(&input, None)[5]);
        // A ceiling that makes chunks of a few copies, and one that does not bind.
        for ceiling in [1 << 15, 1 << 30] {
            let probe = Probe::new(&stages, &input, &targets)
                .unwrap()
                .with_memory_ceiling(ceiling);
            for layer in ["first", "down", "bottom", "up", "last"] {
                for value in [AblationValue::Zero, AblationValue::ChannelMean] {
                    let maps = ablation_cam_with(&probe, layer, value).unwrap();
                    for (sample, target) in (0i64..).zip(&targets) {
                        let one = input.narrow(0, sample, 1);
                        let outputs = net.outputs(&one, None);
                        let index = LAYERS.iter().position(|&name| name == layer).unwrap();
                        let (activations, whole) = (&outputs[index], number(target, &outputs[5]));
                        let mut expected = activations.select(1, 0).zeros_like();
                        for channel in 0..activations.size()[1] {
                            let other = activations.copy();
                            let mut ablated = other.narrow(1, channel, 1);
                            let mean = match value {
                                AblationValue::Zero => 0.0,
                                _ => ablated.mean(Kind::Double).double_value(&[]),
                            };
                            let _ = ablated.fill_(mean);
                            let logits = net.outputs(&one, Some((layer, &other))).swap_remove(5);
                            expected += activations.select(1, channel) * (whole - number(target, &logits));
                        }
                        // Scores, channel means and maps are in single precision.
                        let found = maps.tensor().narrow(0, sample, 1).to_kind(Kind::Double);
                        let difference = largest_difference(&found, &expected.relu());
                        let most = activations
                            .abs()
                            .sum_dim_intlist([1i64].as_slice(), false, Kind::Double)
                            .max();
                        let scale = whole.abs() * most.double_value(&[]) + expected.abs().max().double_value(&[]);
                        assert!(
                            difference < 1e-6 * scale,
                            "{layer} {value:?}: {difference:e} of {scale:e}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn recipro_cam_is_its_formula_in_a_plain_loop() {
    for net in UNet::all(Kind::Double) {
        let (stages, input) = (net.stages(), net.input(2, 5));
        let targets = named(&net.targets()[..2], &net.outputs(&input, None)[5]);
        let probe = Probe::new(&stages, &input, &targets)
            .unwrap()
            .with_memory_ceiling(1 << 15);
        for layer in ["down", "bottom", "up"] {
            let maps = recipro_cam(&probe, layer, ReciproMask::Single).unwrap();
            for (sample, target) in (0i64..).zip(&targets) {
                let one = input.narrow(0, sample, 1);
                let index = LAYERS.iter().position(|&name| name == layer).unwrap();
                let activations = net.outputs(&one, None).swap_remove(index);
                let places = activations.flatten(2, -1);
                let expected: Vec<f64> = (0..places.size()[2])
                    .map(|place| {
                        let other = places.zeros_like();
                        other.narrow(2, place, 1).copy_(&places.narrow(2, place, 1));
                        let other = other.view_as(&activations);
                        number(target, &net.outputs(&one, Some((layer, &other))).swap_remove(5))
                    })
                    .collect();
                let found = maps.tensor().narrow(0, sample, 1).flatten(0, -1);
                assert_close(layer, &found, &Tensor::from_slice(&expected), 1e-5);
            }
        }
    }
}

/// With a stage that puts aside something with a bias of its own, too.
#[test]
fn the_parts_of_a_full_gradient_add_up_to_the_score() {
    for net in UNet::all(Kind::Float) {
        let input = net.input(3, 7);
        let shifted = Stages::new(vec![
            Stage::new("first", |x| net.conv(0, x)),
            Stage::carrying("aside", |x, carried| {
                carried.push(x.f_mul_scalar(0.5)?.f_add_scalar(0.25)?);
                x.f_sigmoid()
            }),
            Stage::new("past", |x| x.f_square()),
            Stage::carrying("back", |x, carried| {
                x.f_add(&carried.remove(0))?
                    .f_repeat([1, 2, 1, 1, 1][..x.dim()].to_vec())?
                    .f_narrow(1, 0, 5)
            }),
            Stage::new("logits", |x| net.logits(x)),
        ])
        .unwrap();
        for stages in [net.stages(), shifted] {
            let parts = full_gradient(&stages, &input, &net.targets()).unwrap();
            let sum = |part: &Tensor| {
                part.flatten(1, -1)
                    .sum_dim_intlist([1i64].as_slice(), false, Kind::Double)
            };
            let total = parts
                .biases()
                .fold(sum(parts.input()), |total, (_, bias)| total + sum(bias));
            let logits = tch::no_grad(|| stages.forward(&input).unwrap());
            for (sample, target) in (0i64..).zip(net.targets()) {
                let expected = number(&target, &logits.narrow(0, sample, 1));
                approx::assert_relative_eq!(
                    total.double_value(&[sample]),
                    expected,
                    max_relative = 1e-4,
                    epsilon = 1e-4
                );
            }
            let names: Vec<&str> = parts.biases().map(|(name, _)| name).collect();
            match stages.as_slice().len() {
                6 => assert_eq!(names, LAYERS),
                _ => assert_eq!(names, ["first", "aside", "aside", "past", "back", "logits"]),
            }
            let maps = full_grad(&stages, &input, &net.targets(), Rescaling::Channel).unwrap();
            assert_eq!(maps.tensor().size()[1..], input.size()[2..]);
        }
    }
}

/// y = w (relu(z) + z) with z = 2 x, where z goes past the ReLU.
#[test]
fn guided_backpropagation_guides_what_goes_through_the_relu_only() {
    let weight = Tensor::from_slice(&[1f32, -1.0, 3.0, -2.0]).view([1, 1, 1, 4]);
    let network = Stages::new(vec![
        Stage::new("twice", |x| x.f_mul_scalar(2.0)),
        Stage::carrying("aside", |x, carried| {
            carried.push(x.shallow_clone());
            x.f_mul_scalar(1.0)
        }),
        Stage::new("relu", |x| x.shallow_clone().f_relu_()),
        Stage::carrying("sum", |x, carried| x.f_add(&carried.remove(0))),
        Stage::new("logit", |x| {
            x.f_mul(&weight)?.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)
        }),
    ])
    .unwrap();
    let image = Tensor::from_slice(&[1f32, 1.0, -1.0, -1.0]).view([1, 1, 1, 4]);
    let guided = |relus: &[&str]| -> Vec<f32> {
        let gradient = guided_backpropagation(&network, &image, relus, &[Target::Class(0)]).unwrap();
        gradient.view(-1).try_into().unwrap()
    };
    assert_eq!(guided(&[]), [4.0, -4.0, 6.0, -4.0]);
    // Without the second place's -1 through the ReLU.
    assert_eq!(guided(&["relu"]), [4.0, -2.0, 6.0, -4.0]);

    let more = Stages::new(vec![
        Stage::carrying("relu", |x, carried| {
            carried.push(x.shallow_clone());
            x.f_relu()
        }),
        Stage::carrying("sum", |x, carried| x.f_add(&carried.remove(0))?.f_flatten(1, -1)),
    ])
    .unwrap();
    let error = guided_backpropagation(&more, &image, &["relu"], &[Target::Class(0)]).unwrap_err();
    assert!(matches!(error, CamError::NotRelu { stage } if stage == "relu"));
}

#[test]
fn what_would_give_wrong_gradients_is_refused() {
    let input = normal(&[2, 3, 4, 4], 1);
    let mean = |x: &Tensor| x.f_mean_dim([2i64, 3].as_slice(), false, None);
    let own = Stages::new(vec![
        Stage::carrying("own", |x, carried| {
            let y = x.f_mul_scalar(2.0)?;
            carried.push(y.shallow_clone());
            Ok(y)
        }),
        Stage::carrying("sum", |x, carried| mean(&x.f_add(&carried.remove(0))?)),
    ])
    .unwrap();
    for error in [
        own.forward(&input).unwrap_err(),
        own.capture(&input, &["own"]).unwrap_err(),
    ] {
        assert!(
            matches!(&error, CamError::CarriesOwnOutput { stage } if stage == "own"),
            "{error:?}"
        );
    }

    // In place on what it is given, which thereby becomes its own.
    let in_place = Stages::new(vec![
        Stage::new("first", |x| x.f_mul_scalar(2.0)),
        Stage::carrying("own", |x, carried| {
            let y = x.shallow_clone().f_relu_()?;
            carried.push(y.shallow_clone());
            Ok(y)
        }),
        Stage::carrying("sum", |x, carried| mean(&x.f_add(&carried.remove(0))?)),
    ])
    .unwrap();
    // What was put aside before, and is what this one is given, is not for it to write to either.
    let twice = Stages::new(vec![
        Stage::carrying("same", |x, carried| {
            carried.push(x.shallow_clone());
            Ok(x.shallow_clone())
        }),
        Stage::new("own", |x| x.shallow_clone().f_relu_()),
        Stage::carrying("sum", |x, carried| mean(&x.f_add(&carried.remove(0))?)),
    ])
    .unwrap();
    for network in [&in_place, &twice] {
        for error in [
            network.forward(&input.copy()).unwrap_err(),
            network.shapes(&input).unwrap_err(),
            network.capture(&input, &["own"]).unwrap_err(),
        ] {
            assert!(
                matches!(&error, CamError::CarriesOwnOutput { stage } if stage == "own"),
                "{error:?}"
            );
        }
    }

    // What is handed on untouched may be put aside too.
    let same = Stages::new(vec![
        Stage::new("first", |x| x.f_mul_scalar(2.0)),
        Stage::carrying("same", |x, carried| {
            carried.push(x.shallow_clone());
            Ok(x.shallow_clone())
        }),
        Stage::carrying("sum", |x, carried| mean(&x.f_add(&carried.remove(0))?)),
    ])
    .unwrap();
    let capture = same.capture(&input, &["first"]).unwrap();
    let gradients = capture.gradients(&[Target::Class(0), Target::Class(1)]).unwrap();
    assert_eq!(
        gradients.at("first").unwrap().gradients().max().double_value(&[]),
        2.0 / 16.0
    );

    // Copies of a sample need its part of what is carried.
    let total = Stages::new(vec![
        Stage::new("first", |x| x.f_mul_scalar(2.0)),
        Stage::carrying("aside", |x, carried| {
            carried.push(x.f_mean(Kind::Float)?);
            x.f_relu()
        }),
        Stage::carrying("sum", |x, carried| mean(&x.f_add(&carried.remove(0))?)),
    ])
    .unwrap();
    let targets = [Target::Class(0), Target::Class(1)];
    let probe = Probe::new(&total, &input, &targets).unwrap();
    let captured = total.capture(&input, &["aside"]).unwrap();
    let from_capture = Probe::from_capture(&total, &input, &captured, &targets).unwrap();
    for (probe, batch) in [(&probe, 1), (&from_capture, 2)] {
        let error = ablation_cam(probe, "aside").unwrap_err();
        let CamError::CarriedShape {
            layer,
            shape,
            batch: samples,
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!((layer.as_str(), shape, samples), ("aside", vec![], batch));
    }
}
