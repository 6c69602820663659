//! What belongs to the caller is afterwards as before: the variables, their gradients, the input and the
//! gradient mode; also after an error and after a panic in a stage.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gradcam_core::{
    CamError, FinerCam, GradientMethod, Probe, Rescaling, SmoothGradCamPlusPlus, Stage, Stages, Target,
    TestTimeAugmentation, cam, finer_cam, full_grad, guided_backpropagation, shapley_cam, smooth_grad_cam_plus_plus,
    test_time_augmentation,
};
use tch::{Kind, TchError, Tensor};

use crate::perturbation_methods::{METHODS, Method};
use crate::small_net::SmallNet;

const TARGETS: [Target; 2] = [Target::Class(1), Target::Predicted];

/// What a stage does when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Error,
    Panic,
    NotFinite,
}

/// The network with a stage that is at fault in the trunk, at the layer or in the tail, from the `first` time on that it is
/// reached.
fn with_fault<'s>(
    inner: &'s Stages<'_>,
    place: usize,
    fault: Fault,
    first: usize,
    reached: &'s Cell<usize>,
) -> Stages<'s> {
    let mut stages: Vec<Stage<'s>> = inner
        .as_slice()
        .iter()
        .map(|stage| {
            Stage::new(stage.name(), |x: &Tensor| {
                stage.forward(x).map_err(|error| match error {
                    CamError::Stage { source, .. } => source,
                    other => TchError::Torch(other.to_string()),
                })
            })
        })
        .collect();
    let faulty = Stage::new("faulty", move |x: &Tensor| {
        reached.set(reached.get() + 1);
        match fault {
            _ if reached.get() < first => Ok(x.shallow_clone()),
            Fault::None => Ok(x.shallow_clone()),
            Fault::Error => x.f_view([-1, 7, 11, 13]),
            Fault::Panic => panic!("a stage that panics"),
            Fault::NotFinite => x.f_mul_scalar(f64::NAN),
        }
    });
    stages.insert(place, faulty);
    Stages::new(stages).unwrap()
}

/// Everything that runs a caller's stages. After each the gradient mode has to be as `tracked` says.
fn run(stages: &Stages<'_>, input: &Tensor, tracked: bool) -> Vec<Result<(), CamError>> {
    let mut results = Vec::new();
    let mut push = |name: &str, result: Result<(), CamError>| {
        assert_eq!(gradients_are_tracked(), tracked, "{name}");
        results.push(result);
    };
    let maps = |input: &Tensor, method: GradientMethod| {
        let capture = stages.capture(input, &["conv2", "relu2"])?;
        let gradients = capture.gradients(&TARGETS)?;
        method.maps(&gradients.at("conv2")?)?;
        method.maps(&gradients.at("relu2")?)
    };
    for method in GradientMethod::ALL {
        push(method.name(), maps(input, method).map(drop));
    }
    let guided = guided_backpropagation(stages, input, &["relu1", "relu2"], &TARGETS);
    push("guided backpropagation", guided.map(drop));
    let views = TestTimeAugmentation::default().with_scales([1.0, 1.5]);
    let augmented = test_time_augmentation(input, &views, |x| maps(x, GradientMethod::GradCam));
    push("test-time augmentation", augmented.map(drop));
    let layer = "relu2";
    let tail = stages.capture(input, &[layer]).and_then(|capture| {
        shapley_cam(&capture, layer, &TARGETS)?;
        finer_cam(&capture, layer, &TARGETS, &FinerCam::default())
    });
    push("shapley and finer", tail.map(drop));
    let smooth = SmoothGradCamPlusPlus::default();
    let smooth = smooth_grad_cam_plus_plus(stages, input, layer, &TARGETS, &smooth);
    push("smooth", smooth.map(drop));
    push(
        "full",
        full_grad(stages, input, &TARGETS, Rescaling::default()).map(drop),
    );
    for (name, method) in [("cam", cam as Method)].into_iter().chain(METHODS) {
        let maps = Probe::new(stages, input, &TARGETS).and_then(|probe| method(&probe, layer));
        push(name, maps.map(drop));
    }
    push("shapes", stages.shapes(input).map(drop));
    results
}

/// Whether new operations build a graph here and now.
pub(crate) fn gradients_are_tracked() -> bool {
    let x = Tensor::zeros([1], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    (x * 2.0).requires_grad()
}

#[test]
fn the_callers_own_is_left_alone() {
    for net in [SmallNet::images(1), SmallNet::volumes(1)] {
        let (inner, input) = (net.stages(), net.input(2, 1));
        // The caller is in the middle of a training step: there are gradients already.
        inner.forward(&input).unwrap().sum(Kind::Float).backward();
        let snapshot = || -> Vec<(Tensor, Tensor, bool)> {
            let variables = net.variables.trainable_variables();
            variables
                .iter()
                .map(|variable| {
                    (
                        variable.detach().copy(),
                        variable.grad().copy(),
                        variable.requires_grad(),
                    )
                })
                .chain([(input.copy(), input.copy(), input.requires_grad())])
                .collect()
        };
        let before = snapshot();
        for fault in [Fault::None, Fault::Error, Fault::Panic, Fault::NotFinite] {
            // The layers are conv2 at 2 and relu2 at 3.
            for place in [0, 2, 3, 4, 6] {
                for tracked in [true, false] {
                    let _guard = (!tracked).then(tch::no_grad_guard);
                    let reached = Cell::new(0);
                    let stages = with_fault(&inner, place, fault, 1, &reached);
                    let result = catch_unwind(AssertUnwindSafe(|| run(&stages, &input, tracked)));
                    assert!(reached.get() > 0, "{fault:?} at {place} was not reached");
                    match result {
                        Ok(results) => {
                            assert_ne!(fault, Fault::Panic);
                            let failed = results.iter().filter(|result| result.is_err()).count();
                            let expected = match fault {
                                Fault::None => 0,
                                Fault::Error => results.len(),
                                // Listing the shapes looks at no values.
                                _ => results.len() - 1,
                            };
                            assert_eq!(failed, expected, "{fault:?} at {place}: {results:?}");
                        }
                        Err(_) => assert_eq!(fault, Fault::Panic),
                    }
                    assert_eq!(gradients_are_tracked(), tracked, "{fault:?} at {place}");
                    for (now, then) in snapshot().iter().zip(&before) {
                        assert!(
                            now.0 == then.0 && now.1 == then.1 && now.2 == then.2,
                            "{fault:?} at {place}"
                        );
                    }
                }
            }
        }
    }
}

/// Each of them on its own, since the first panic ends a run of all.
#[test]
fn a_panic_in_any_of_them_puts_the_mode_back() {
    let net = SmallNet::images(2);
    let (inner, input) = (net.stages(), net.input(2, 2));
    let reached = Cell::new(0);
    for place in [0, 2, 4, 6] {
        let stages = with_fault(&inner, place, Fault::Panic, 1, &reached);
        let views = TestTimeAugmentation::default();
        let smooth = SmoothGradCamPlusPlus::default();
        let calls: [&dyn Fn(); 7] = [
            &|| drop(stages.capture(&input, &["relu2"])),
            &|| drop(stages.shapes(&input)),
            &|| drop(Probe::new(&stages, &input, &TARGETS)),
            &|| drop(full_grad(&stages, &input, &TARGETS, Rescaling::default())),
            &|| drop(smooth_grad_cam_plus_plus(&stages, &input, "relu2", &TARGETS, &smooth)),
            &|| drop(guided_backpropagation(&stages, &input, &["relu1"], &TARGETS)),
            &|| {
                drop(test_time_augmentation(&input, &views, |x| {
                    Err(stages.capture(x, &["conv1"]).unwrap_err())
                }));
            },
        ];
        for (index, call) in calls.into_iter().enumerate() {
            for tracked in [true, false] {
                let _guard = (!tracked).then(tch::no_grad_guard);
                assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "call {index} at {place}");
                assert_eq!(gradients_are_tracked(), tracked, "call {index} at {place}");
            }
        }
    }
}

/// A stage that fails, panics or says NaN half-way through the copies.
#[test]
fn a_fault_among_the_copies_leaves_everything_as_it_was() {
    let net = SmallNet::images(15);
    let (inner, input) = (net.stages(), net.input(1, 29));
    let before = input.copy();
    let reached = Cell::new(0);
    for fault in [Fault::Error, Fault::Panic, Fault::NotFinite] {
        let stages = with_fault(&inner, 2, fault, 3, &reached);
        reached.set(0);
        let capture = stages.capture(&input, &["relu1"]).unwrap();
        let probe = Probe::from_capture(&stages, &input, &capture, &[Target::Class(1)]).unwrap();
        // The first chunk is one copy; a second one fails.
        for (name, method) in METHODS {
            reached.set(1);
            let result = catch_unwind(AssertUnwindSafe(|| method(&probe, "relu1").map(drop)));
            assert!(reached.get() >= 3, "{name}");
            match result {
                Ok(Err(CamError::Stage { stage, .. })) => assert!(fault == Fault::Error && stage == "faulty", "{name}"),
                Ok(Err(CamError::NonFinite { .. })) => assert_eq!(fault, Fault::NotFinite, "{name}"),
                Ok(other) => panic!("{name}: {other:?}"),
                Err(_) => assert_eq!(fault, Fault::Panic, "{name}"),
            }
            assert!(gradients_are_tracked(), "{name}");
        }
    }
    assert_eq!(input, before);
    let variables = net.variables.variables();
    assert!(variables.values().all(|variable| !variable.grad().defined()));
}
