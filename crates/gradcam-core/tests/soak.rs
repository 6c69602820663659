//! Ten thousand captures leave memory as it was. A program of its own, because other tests in the same
//! process would be measured too.
#![cfg(all(feature = "torch", target_os = "linux"))]

use gradcam_core::{CamError, GradientMethod, Probe, Stage, Stages, Target, ablation_cam, guided_backpropagation};
use tch::{Device, Kind, Tensor};

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// Convolution, ReLU in place, mean, linear layer; the stage `fails` does what it says for a large input.
fn network() -> Stages<'static> {
    let weight = |shape: &[i64]| {
        let values = Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu)).sin();
        values.view(shape).set_requires_grad(true)
    };
    let (conv, head) = (weight(&[16, 3, 3, 3]), weight(&[10, 16]));
    Stages::new(vec![
        Stage::new("conv", move |x| {
            x.f_conv2d(&conv, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)
        }),
        Stage::new("relu", |x| x.shallow_clone().f_relu_()),
        Stage::new("fails", |x| {
            if x.size()[3] > 20 {
                x.f_view([-1, 7, 11, 13])
            } else {
                Ok(x.shallow_clone())
            }
        }),
        Stage::new("pool", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
        Stage::new("head", move |x| x.f_linear(&head, None::<&Tensor>)),
    ])
    .unwrap()
}

#[test]
fn ten_thousand_captures_leave_memory_flat() {
    tch::set_num_threads(1);
    let network = network();
    let input = Tensor::arange(2 * 3 * 8 * 8, (Kind::Float, Device::Cpu))
        .cos()
        .view([2, 3, 8, 8]);
    let wide = Tensor::zeros([2, 3, 8, 21], (Kind::Float, Device::Cpu));
    let targets = [Target::Class(3), Target::Predicted];
    let round = |number: usize| {
        let capture = network.capture(&input, &["conv", "relu"]).unwrap();
        let gradients = capture.gradients(&targets).unwrap();
        // Methods, second lists of targets, and the faults that a long run meets.
        match number % 5 {
            0 => {
                let method = GradientMethod::ALL[number / 5 % GradientMethod::ALL.len()];
                let at = gradients.at(["conv", "relu"][number % 2]).unwrap();
                method.maps(&at).unwrap().heatmaps(&[16, 16]).unwrap();
                drop(
                    capture
                        .gradients(&[Target::Ranked(1), Target::Class(0).probability()])
                        .unwrap(),
                );
            }
            1 => {
                assert!(matches!(capture.gradients(&[]), Err(CamError::TargetCount { .. })));
                let probe = Probe::from_capture(&network, &input, &capture, &targets).unwrap();
                ablation_cam(&probe, "relu").unwrap();
            }
            // libtorch takes its time to describe an error.
            2 if number % 20 == 2 => assert!(matches!(
                network.capture(&wide, &["conv"]),
                Err(CamError::Stage { stage, .. }) if stage == "fails"
            )),
            3 => {
                let nan = &input * f64::NAN;
                assert!(matches!(
                    network.capture(&nan, &["relu"]),
                    Err(CamError::NonFinite { .. })
                ));
            }
            _ => drop(guided_backpropagation(&network, &input, &["relu"], &targets).unwrap()),
        }
    };
    // The allocator's and libtorch's own caches fill first.
    (0..1000).for_each(round);
    let before = resident();
    (1000..10_000).for_each(round);
    let grown = resident().saturating_sub(before);
    eprintln!("{grown} KiB more");
    // One kept activation, 8 KiB, would be 72 MiB, if in a fifth of the rounds 14 MiB.
    assert!(grown < 4 * 1024, "{grown} KiB more after 9000 captures than before");
}
