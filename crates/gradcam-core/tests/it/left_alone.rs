//! What belongs to the caller is afterwards as before: the variables, their gradients, the input and the
//! gradient mode; also after an error and after a panic in a stage.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gradcam_core::{
    CamError, FinerCam, GradientMethod, Maps, OcclusionSensitivity, Probe, ReciproMask, Rescaling, Rise, ScoreCam,
    SmoothGradCamPlusPlus, Stage, Stages, Target, TestTimeAugmentation, ablation_cam, cam, finer_cam, full_grad,
    guided_backpropagation, occlusion_sensitivity, recipro_cam, rise, score_cam, shapley_cam,
    smooth_grad_cam_plus_plus, test_time_augmentation,
};
use tch::{Kind, TchError, Tensor};

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

/// The network with a stage that is at fault in the trunk, at the layer or in the tail.
fn with_fault<'s>(inner: &'s Stages<'_>, place: usize, fault: Fault, reached: &'s Cell<usize>) -> Stages<'s> {
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
            Fault::None => Ok(x.shallow_clone()),
            Fault::Error => x.f_view([-1, 7, 11, 13]),
            Fault::Panic => panic!("a stage that panics"),
            Fault::NotFinite => x.f_mul_scalar(f64::NAN),
        }
    });
    stages.insert(place, faulty);
    Stages::new(stages).unwrap()
}

type ByProbe<'m> = dyn Fn(&Probe<'_>) -> Result<Maps, CamError> + 'm;

/// Everything that runs a caller's stages.
fn run(stages: &Stages<'_>, input: &Tensor) -> Vec<Result<(), CamError>> {
    let maps = |input: &Tensor, method: GradientMethod| {
        let capture = stages.capture(input, &["conv2", "relu2"])?;
        let gradients = capture.gradients(&TARGETS)?;
        method.maps(&gradients.at("conv2")?)?;
        method.maps(&gradients.at("relu2")?)
    };
    let mut results: Vec<Result<(), CamError>> = GradientMethod::ALL
        .into_iter()
        .map(|method| maps(input, method).map(drop))
        .collect();
    results.push(guided_backpropagation(stages, input, &["relu1", "relu2"], &TARGETS).map(drop));
    let views = TestTimeAugmentation::default().with_scales([1.0, 1.5]);
    results.push(test_time_augmentation(input, &views, |x| maps(x, GradientMethod::GradCam)).map(drop));
    let layer = "relu2";
    results.push(
        stages
            .capture(input, &[layer])
            .and_then(|capture| {
                shapley_cam(&capture, layer, &TARGETS)?;
                finer_cam(&capture, layer, &TARGETS, &FinerCam::default())
            })
            .map(drop),
    );
    let smooth = SmoothGradCamPlusPlus::default();
    results.push(smooth_grad_cam_plus_plus(stages, input, layer, &TARGETS, &smooth).map(drop));
    results.push(full_grad(stages, input, &TARGETS, Rescaling::default()).map(drop));
    let methods: [&ByProbe; 6] = [
        &|probe| cam(probe, layer),
        &|probe| ablation_cam(probe, layer),
        &|probe| recipro_cam(probe, layer, ReciproMask::default()),
        &|probe| score_cam(probe, layer, &ScoreCam::default()),
        &|probe| rise(probe, &Rise::default().with_masks(5)),
        &|probe| {
            occlusion_sensitivity(
                probe,
                &OcclusionSensitivity::default().with_window([3]).with_stride([3]),
            )
        },
    ];
    for method in methods {
        results.push(
            Probe::new(stages, input, &TARGETS)
                .and_then(|probe| method(&probe))
                .map(drop),
        );
    }
    results.push(stages.shapes(input).map(drop));
    results
}

fn gradients_are_tracked() -> bool {
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
                    let stages = with_fault(&inner, place, fault, &reached);
                    let result = catch_unwind(AssertUnwindSafe(|| run(&stages, &input)));
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
        let stages = with_fault(&inner, place, Fault::Panic, &reached);
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
