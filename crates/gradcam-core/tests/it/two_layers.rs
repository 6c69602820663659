//! The network of `tests/goldens/make.py`.

use std::collections::BTreeMap;
use std::path::Path;

use gradcam_core::{Stage, Stages, Target};
use tch::Tensor;

pub(crate) struct TwoLayers {
    golden: BTreeMap<String, Tensor>,
}

impl TwoLayers {
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/grad_cam_two_layers.safetensors");
        let golden = Tensor::read_safetensors(path).unwrap().into_iter().collect();
        Self { golden }
    }

    pub(crate) fn get(&self, name: &str) -> Tensor {
        self.golden[name].shallow_clone()
    }

    pub(crate) fn images(&self) -> Tensor {
        self.get("images")
    }

    pub(crate) fn targets(&self) -> Vec<Target> {
        let classes: Vec<i64> = self.get("targets").try_into().unwrap();
        classes.into_iter().map(Target::Class).collect()
    }

    /// `conv1`, `relu1`, `conv2`, `relu2`, `pool`, `fc`.
    pub(crate) fn stages(&self) -> Stages<'static> {
        let conv = |name: &'static str, stride: i64, padding: i64| {
            let (weight, bias) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
            Stage::new(name, move |x| {
                x.f_conv2d(&weight, Some(&bias), [stride; 2], [padding; 2], [1, 1], 1)
            })
        };
        let (weight, bias) = (self.get("fc.weight"), self.get("fc.bias"));
        Stages::new(vec![
            conv("conv1", 1, 1),
            // In place on purpose: nothing that is kept may change by it.
            Stage::new("relu1", |x| x.shallow_clone().f_relu_()),
            conv("conv2", 2, 0),
            Stage::new("relu2", |x| x.f_relu()),
            Stage::new("pool", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
            Stage::new("fc", move |x| x.f_linear(&weight, Some(&bias))),
        ])
        .unwrap()
    }
}
