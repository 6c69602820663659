//! This workspace's side of `gradcam.py`.
//!
//! `cargo xtask bench-peers gradcam`

mod answer;

use std::cell::{Cell, OnceCell, RefCell};
use std::hint::black_box;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use gradcam_core::{
    Capture, FinerCam, GradientMethod, Parallelism, Probe, ScoreCam, ScoreMask, Stage, Stages, Target, ablation_cam,
    finer_cam, grad_cam, kernel, score_cam, shapley_cam,
};
use models::{Architecture, InferenceConfig, Network, NetworkConfig, has_bf16};
use ndarray::{Array2, Array3, Array4, ArrayView2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::answer::{Cases, answer};

const SHAPES: [(usize, usize, usize, usize); 3] = [(32, 2048, 7, 7), (32, 512, 14, 14), (8, 256, 56, 56)];
const BATCH: i64 = 8;
/// Of ResNet-18.
const LAYER: &str = "layer4.1";

fn main() -> Result<()> {
    answer(cases, &[("has_bf16", has_bf16(Device::Cpu))])
}

fn cases() -> Result<Cases> {
    models::keep_freed_memory();
    tch::manual_seed(0);
    let mut cases = Cases::new();
    kernels(&mut cases);
    // The networks live as long as the program, so that the cases can hold what borrows from them.
    end_to_end(&mut cases, Box::leak(Box::new(network(Architecture::ResNet50)?)))?;
    perturbation(&mut cases, Box::leak(Box::new(network(Architecture::ResNet18)?)))?;
    Ok(cases)
}

/// The weighting alone, and reading and copying what it reads.
fn kernels(cases: &mut Cases) {
    for shape in SHAPES {
        let name = format!("{}x{}x{}x{}", shape.0, shape.1, shape.2, shape.3);
        let (activations, gradients) = (random(shape, 1), random(shape, 2));
        let (a, g) = (activations.clone(), gradients.clone());
        cases.insert(
            format!("read/{name}"),
            Box::new(move || {
                black_box(read(a.as_slice().context("contiguous")?) + read(g.as_slice().context("contiguous")?));
                Ok(())
            }),
        );
        let (a, g) = (activations.clone(), gradients.clone());
        let copies = RefCell::new((vec![0f32; a.len()], vec![0f32; a.len()]));
        cases.insert(
            format!("copy/{name}"),
            Box::new(move || {
                let (to_a, to_g) = &mut *copies.borrow_mut();
                copy(black_box(a.as_slice().context("contiguous")?), to_a);
                copy(black_box(g.as_slice().context("contiguous")?), to_g);
                black_box((to_a, to_g));
                Ok(())
            }),
        );
        cases.insert(
            format!("kernel/{name}"),
            Box::new(move || {
                black_box(kernel::grad_cam(
                    activations.view(),
                    gradients.view(),
                    Parallelism::Rayon,
                )?);
                Ok(())
            }),
        );
    }
}

/// From a batch of images to heatmaps of their size.
fn end_to_end(cases: &mut Cases, network: &'static Network) -> Result<()> {
    let stages = stages(network)?;
    let stages: &'static Stages<'static> = Box::leak(Box::new(stages));
    let images = channels_last(&Tensor::f_rand([BATCH, 3, 224, 224], (Kind::Float, Device::Cpu))?)?;
    let targets: Vec<Target> = (0..BATCH).map(Target::Class).collect();
    let layer = "layer4.2";

    let x = images.shallow_clone();
    cases.insert(
        "forward".to_owned(),
        Box::new(move || {
            let _no_grad = tch::no_grad_guard();
            let _ = black_box(stages.forward(&x)?);
            Ok(())
        }),
    );
    let check = Check::default();
    for (name, stages) in [("as_built", stages), ("rebuilt", rebuilt(network, Kind::Float)?)] {
        let (x, t, first) = (images.shallow_clone(), targets.clone(), check.clone());
        cases.insert(
            format!("grad_cam/{name}"),
            Box::new(move || {
                let capture = stages.capture(&x, &[layer])?;
                let maps = grad_cam(&capture.gradients(&t)?.at(layer)?)?;
                first.heatmaps(maps.heatmaps(&[224, 224])?.to_array3()?)
            }),
        );
    }
    cases.insert(
        "one_pass".to_owned(),
        Box::new(move || {
            let capture = stages.capture(&images, &[layer])?;
            let gradients = capture.gradients(&targets)?;
            for method in GradientMethod::ALL {
                black_box(method.maps(&gradients.at(layer)?)?);
            }
            // These two go through the tail once more, for their own targets or for a second derivative.
            black_box(finer_cam(&capture, layer, &targets, &FinerCam::default())?);
            black_box(shapley_cam(&capture, layer, &targets)?);
            Ok(())
        }),
    );
    Ok(())
}

/// One image, over and over with something taken away.
fn perturbation(cases: &mut Cases, network: &'static Network) -> Result<()> {
    let stages = stages(network)?;
    let stages: &'static Stages<'static> = Box::leak(Box::new(stages));
    let image = channels_last(&Tensor::f_rand([1, 3, 224, 224], (Kind::Float, Device::Cpu))?)?;
    let rebuilt_single = rebuilt(network, Kind::Float)?;

    let check = Check::default();
    for (name, stages) in [("as_built", stages), ("rebuilt", rebuilt_single)] {
        let (x, first) = (image.shallow_clone(), check.clone());
        cases.insert(
            format!("ablation_cam/{name}"),
            Box::new(move || first.heatmaps(ablate(stages, &x, &stages.capture(&x, &[LAYER])?)?)),
        );
        // What it adds where the capture is there for other methods anyhow.
        let (x, first) = (image.shallow_clone(), check.clone());
        let capture = stages.capture(&x, &[LAYER])?;
        cases.insert(
            format!("ablation_cam/{name}_after_capture"),
            Box::new(move || first.heatmaps(ablate(stages, &x, &capture)?)),
        );
    }

    let check = Check::default();
    let networks = [
        ("as_built", stages),
        ("rebuilt", rebuilt_single),
        ("rebuilt_bf16", rebuilt(network, Kind::BFloat16)?),
    ];
    for (name, stages) in networks {
        let (x, first) = (image.shallow_clone(), check.clone());
        cases.insert(
            format!("score_cam/{name}"),
            Box::new(move || {
                let capture = stages.capture(&x, &[LAYER])?;
                let probe = Probe::from_capture(stages, &x, &capture, &[Target::Class(3)])?;
                // The peer's masks.
                let settings = ScoreCam::default().with_mask(ScoreMask::AlignedCorners);
                let maps = score_cam(&probe, LAYER, &settings)?;
                first.heatmaps(maps.heatmaps(&[224, 224])?.to_array3()?)
            }),
        );
    }
    Ok(())
}

fn ablate(stages: &Stages<'_>, image: &Tensor, capture: &Capture) -> Result<Array3<f32>> {
    let probe = Probe::from_capture(stages, image, capture, &[Target::Class(3)])?;
    Ok(ablation_cam(&probe, LAYER)?.heatmaps(&[224, 224])?.to_array3()?)
}

/// Whether a rebuilt network gives the heatmaps of the network as built, whose case is run before; looked at in the first
/// run, which warms up.
#[derive(Clone, Default)]
struct Check {
    as_built: Rc<OnceCell<Array3<f32>>>,
    done: Cell<bool>,
}

impl Check {
    fn heatmaps(&self, heatmaps: Array3<f32>) -> Result<()> {
        let heatmaps = black_box(heatmaps);
        if self.done.replace(true) {
            return Ok(());
        }
        let expected = self.as_built.get_or_init(|| heatmaps.clone());
        for (found, expected) in heatmaps.outer_iter().zip(expected.outer_iter()) {
            // Those of a class for which nothing speaks are zero.
            if found == expected {
                continue;
            }
            let (found, expected) = (centred(found), centred(expected));
            let covariance = (&found * &expected).sum();
            let correlation = covariance / ((&found * &found).sum() * (&expected * &expected).sum()).sqrt();
            ensure!(correlation >= 0.99, "the heatmaps correlate at {correlation} only");
        }
        Ok(())
    }
}

fn centred(map: ArrayView2<'_, f32>) -> Array2<f64> {
    let map = map.mapv(f64::from);
    let mean = map.mean().unwrap_or_default();
    map - mean
}

/// The network with its batch norms folded and its weights laid out for convolutions, in another precision.
fn rebuilt(network: &Network, kind: Kind) -> Result<&'static Stages<'static>> {
    let config = InferenceConfig::default().with_kind(kind);
    let network: &'static Network = Box::leak(Box::new(network.optimize_for_inference(&config)?));
    Ok(Box::leak(Box::new(stages(network)?)))
}

fn network(architecture: Architecture) -> Result<Network> {
    Ok(NetworkConfig::new(architecture).build(Device::Cpu)?)
}

fn stages(network: &Network) -> Result<Stages<'_>> {
    let stages = network.stages().iter();
    let stages = stages.map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)));
    Ok(Stages::new(stages.collect())?.with_fused(|range, x, carried| network.forward_stages(range, x, carried)))
}

/// Of the same shape, with the channels of a place side by side in memory, which is what oneDNN's convolutions like.
fn channels_last(images: &Tensor) -> Result<Tensor> {
    Ok(images
        .f_permute([0, 2, 3, 1])?
        .f_contiguous()?
        .f_permute([0, 3, 1, 2])?)
}

/// A sum, in lanes that a processor adds side by side, on all of rayon's threads.
fn read(values: &[f32]) -> f32 {
    let piece = values.len().div_ceil(4 * rayon::current_num_threads());
    let sums = values.par_chunks(piece).map(|piece| {
        let mut lanes = [0f32; 32];
        for chunk in piece.as_chunks::<32>().0 {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += value;
            }
        }
        lanes.iter().sum::<f32>()
    });
    sums.sum()
}

fn random(shape: (usize, usize, usize, usize), seed: u64) -> Array4<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    Array4::from_shape_simple_fn(shape, || generator.random_range(-1.0..1.0))
}

/// Copies into memory that is there already, on all of rayon's threads.
fn copy(from: &[f32], to: &mut [f32]) {
    let piece = from.len().div_ceil(4 * rayon::current_num_threads());
    from.par_chunks(piece)
        .zip(to.par_chunks_mut(piece))
        .for_each(|(from, to)| to.copy_from_slice(from));
}
