//! What the altered copies of an image really take under a memory ceiling. A program of its own, which starts itself once
//! for each ceiling, because whatever else a process did would be measured too.
#![cfg(all(feature = "torch", target_os = "linux"))]

use std::process::Command;

use gradcam_core::{
    CamError, IsCam, Maps, Probe, Rise, ScoreCam, SsCam, Stage, Stages, Target, is_cam, rise, score_cam, ss_cam,
};
use tch::{Device, Kind, Tensor};

const MIB: u64 = 1 << 20;
const CHANNELS: i64 = 80;
const SIDE: i64 = 256;
/// A mask takes 0.25 MiB, all of a method 20 MiB; a masked image 0.75 MiB, all of them 60 MiB; on its way through the
/// network it takes 4 MiB more, so all at once would 320 MiB.
const SMALL: u64 = 24 * MIB;
const LARGE: u64 = 256 * MIB;
/// What the process is to measure is told it by this variable.
const CEILING: &str = "GRADCAM_CORE_TEST_CEILING";

/// A line of `/proc/self/status`, in bytes.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kib = line.trim_start_matches(':').trim().strip_suffix(" kB").unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

fn values(shape: &[i64]) -> Tensor {
    let values = Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu));
    (values * 0.7).sin().view(shape)
}

/// Wide at the image's size, then many channels on a grid of 8×8, of which none is the same everywhere.
fn network() -> Stages<'static> {
    let (wide, many) = (values(&[8, 3, 3, 3]), values(&[CHANNELS, 8, 1, 1]).abs());
    Stages::new(vec![
        Stage::new("wide", move |x| {
            x.f_conv2d(&wide, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1)
        }),
        Stage::new("relu", |x| x.f_relu()),
        Stage::new("many", move |x| {
            x.f_avg_pool2d([32, 32], [32, 32], [0, 0], false, true, None)?.f_conv2d(
                &many,
                None::<&Tensor>,
                [1, 1],
                [0, 0],
                [1, 1],
                1,
            )
        }),
        Stage::new("logits", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    ])
    .unwrap()
}

type Method = fn(&Probe<'_>) -> Result<Maps, CamError>;

const METHODS: [(&str, Method); 4] = [
    ("score_cam", |probe| score_cam(probe, "many", &ScoreCam::default())),
    ("ss_cam", |probe| ss_cam(probe, "many", &SsCam::default().with_draws(1))),
    ("is_cam", |probe| is_cam(probe, "many", &IsCam::default().with_steps(1))),
    ("rise", |probe| {
        rise(probe, &Rise::default().with_masks(CHANNELS as usize))
    }),
];

/// The most memory, in bytes, that any of the methods took under a ceiling beyond what there was before.
fn most(ceiling: u64) -> u64 {
    tch::set_num_threads(1);
    let (network, image) = (network(), values(&[1, 3, SIDE, SIDE]));
    let run = |method: Method, ceiling: u64| {
        let probe = Probe::new(&network, &image, &[Target::Class(4)]).unwrap();
        let maps = method(&probe.with_memory_ceiling(ceiling)).unwrap();
        maps.tensor().shallow_clone()
    };
    // One copy at a time; libtorch's own caches fill.
    let one_by_one = METHODS.map(|(_, method)| run(method, 0));
    let before = memory("VmRSS");
    for ((name, method), expected) in METHODS.into_iter().zip(&one_by_one) {
        let found = run(method, ceiling);
        let most = memory("VmHWM").saturating_sub(before);
        assert!(most <= ceiling, "{name} took {most} bytes under {ceiling}");
        let difference = (found - expected).abs().max().double_value(&[]);
        let size = expected.abs().max().double_value(&[]);
        assert!(
            size > 0.0 && difference <= 1e-6 * size,
            "{name}: {difference:e} of {size}"
        );
    }
    memory("VmHWM").saturating_sub(before)
}

#[test]
fn memory_stays_under_the_ceiling() {
    if let Ok(ceiling) = std::env::var(CEILING) {
        println!("\nmost: {}", most(ceiling.parse().unwrap()));
        return;
    }
    let [small, large] = [SMALL, LARGE].map(|ceiling| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory_stays_under_the_ceiling", "--nocapture"])
            .env(CEILING, ceiling.to_string())
            // Every tensor of size is had from the system and given back, so that the process holds what is alive.
            .env("MALLOC_MMAP_THRESHOLD_", MIB.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&child.stderr)
        );
        let most = said.lines().find_map(|line| line.strip_prefix("most: ")).unwrap();
        most.parse::<u64>().unwrap()
    });
    eprintln!(
        "{:.1} and {:.1} MiB more",
        small as f64 / MIB as f64,
        large as f64 / MIB as f64
    );
    // What a ceiling forbids is there to be seen: more room is used.
    assert!(large > 2 * SMALL, "{large} bytes under the large ceiling");
}
