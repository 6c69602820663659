//! A small network with fixed weights, in two and three dimensions.

use gradcam_core::{Stage, Stages};
use ndarray::ArrayD;
use tch::{Device, Kind, Tensor, nn};

/// Two convolutions, a mean over space and a linear layer to four classes.
pub(crate) struct SmallNet {
    pub(crate) variables: nn::VarStore,
    volumes: bool,
}

impl SmallNet {
    pub(crate) fn images(seed: i64) -> Self {
        Self::new(seed, false)
    }

    pub(crate) fn volumes(seed: i64) -> Self {
        Self::new(seed, true)
    }

    fn new(seed: i64, volumes: bool) -> Self {
        let variables = nn::VarStore::new(Device::Cpu);
        let kernel: &[i64] = if volumes { &[3, 3, 3] } else { &[3, 3] };
        let shape = |outputs: i64, inputs: i64| [&[outputs, inputs], kernel].concat();
        let shapes = [
            ("conv1.weight", shape(6, 2)),
            ("conv1.bias", vec![6]),
            ("conv2.weight", shape(8, 6)),
            ("conv2.bias", vec![8]),
            ("fc.weight", vec![4, 8]),
            ("fc.bias", vec![4]),
        ];
        for (index, (name, shape)) in (0i64..).zip(&shapes) {
            let values = normal(shape, seed * 100 + index) * 0.3;
            let mut variable = variables.root().zeros(&name.replace('.', "_"), shape);
            tch::no_grad(|| variable.copy_(&values));
        }
        Self { variables, volumes }
    }

    pub(crate) fn variable(&self, name: &str) -> Tensor {
        self.variables.variables()[&name.replace('.', "_")].shallow_clone()
    }

    /// `conv1`, `relu1`, `conv2`, `relu2`, `pool`, `fc`.
    pub(crate) fn stages(&self) -> Stages<'static> {
        let conv = |name: &'static str, stride: i64, padding: i64| {
            let weight = self.variable(&format!("{name}.weight"));
            let bias = self.variable(&format!("{name}.bias"));
            let volumes = self.volumes;
            Stage::new(name, move |x| {
                if volumes {
                    x.f_conv3d(&weight, Some(&bias), [stride; 3], [padding; 3], [1; 3], 1)
                } else {
                    x.f_conv2d(&weight, Some(&bias), [stride; 2], [padding; 2], [1; 2], 1)
                }
            })
        };
        let (weight, bias) = (self.variable("fc.weight"), self.variable("fc.bias"));
        Stages::new(vec![
            conv("conv1", 1, 1),
            // In place on purpose: nothing that is captured may change by it.
            Stage::new("relu1", |x| x.shallow_clone().f_relu_()),
            conv("conv2", 2, 0),
            Stage::new("relu2", |x| x.shallow_clone().f_relu_()),
            Stage::new("pool", |x| {
                x.f_flatten(2, -1)?.f_mean_dim([2i64].as_slice(), false, None)
            }),
            Stage::new("fc", move |x| x.f_linear(&weight, Some(&bias))),
        ])
        .unwrap()
    }

    pub(crate) fn input(&self, batch: i64, seed: i64) -> Tensor {
        let space: &[i64] = if self.volumes { &[7, 9, 8] } else { &[12, 17] };
        normal(&[&[batch, 2], space].concat(), seed)
    }
}

/// Normal values that depend on the seed alone, whatever other tests run beside.
pub(crate) fn normal(shape: &[i64], seed: i64) -> Tensor {
    use rand::{Rng, SeedableRng};
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed as u64);
    let count = shape.iter().product::<i64>();
    let values: Vec<f32> = (0..count)
        .map(|_| (0..12).map(|_| generator.random::<f32>()).sum::<f32>() - 6.0)
        .collect();
    Tensor::from_slice(&values).view(shape)
}

pub(crate) fn array(tensor: &Tensor) -> ArrayD<f32> {
    tensor.to_kind(Kind::Float).contiguous().as_ref().try_into().unwrap()
}

pub(crate) fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}
