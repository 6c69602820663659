//! Networks as they are built, as `optimize_for_inference` rebuilds them, and in training.
//!
//! `cargo bench --bench models`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use models::{Architecture, InferenceConfig, NetworkConfig};
use tch::nn::{self, OptimizerConfig as _};
use tch::{Device, Kind, Tensor};

const NETWORKS: [Architecture; 3] = [
    Architecture::SqueezeNet1_1,
    Architecture::ResNet18,
    Architecture::ResNet50,
];
const BATCH: i64 = 8;

fn forward(criterion: &mut Criterion) {
    models::keep_freed_memory();
    let mut group = criterion.benchmark_group("models_forward");
    group.sample_size(10);
    group.throughput(Throughput::Elements(BATCH as u64));
    let _no_grad = tch::no_grad_guard();
    for architecture in NETWORKS {
        let network = NetworkConfig::new(architecture).build(Device::Cpu).expect("a network");
        let images = Tensor::rand([BATCH, 3, 224, 224], (Kind::Float, Device::Cpu));
        let images = network.input().prepare(&images).expect("images of three channels");
        let size = format!("{architecture}/{BATCH}x3x224x224");
        let folded = InferenceConfig::default();
        let bf16 = folded.clone().with_kind(Kind::BFloat16);
        let rebuilt = |config| network.optimize_for_inference(config).expect("a network rebuilt");
        for (name, network) in [("folded", rebuilt(&folded)), ("bf16", rebuilt(&bf16))] {
            group.bench_function(BenchmarkId::new(name, &size), |bencher| {
                bencher.iter(|| black_box(network.forward(&images).unwrap()));
            });
        }
        group.bench_function(BenchmarkId::new("as_built", &size), |bencher| {
            bencher.iter(|| black_box(network.forward(&images).unwrap()));
        });
    }
    group.finish();
}

fn training(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("models_training_step");
    group.sample_size(10);
    group.throughput(Throughput::Elements(BATCH as u64));
    for architecture in NETWORKS {
        let network = NetworkConfig::new(architecture).build(Device::Cpu).expect("a network");
        let images = Tensor::rand([BATCH, 3, 224, 224], (Kind::Float, Device::Cpu));
        let images = network.input().prepare(&images).expect("images of three channels");
        let labels = Tensor::arange(BATCH, (Kind::Int64, Device::Cpu));
        let mut optimiser = nn::sgd(0.9, 0.0, 1e-4, false)
            .build(network.variables(), 1e-3)
            .expect("an optimiser");
        for (name, kind) in [("f32", Kind::Float), ("bf16", Kind::BFloat16)] {
            let size = format!("{architecture}/{BATCH}x3x224x224");
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    let logits = network.forward_mixed(&images, kind).unwrap();
                    optimiser.backward_step(&logits.cross_entropy_for_logits(&labels));
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, forward, training);
criterion_main!(benches);
