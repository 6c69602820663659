//! Every method against the files that `tests/goldens/methods.py` and `composition.py` wrote from pytorch-grad-cam, torch-cam,
//! captum and, where no peer has the method or all deviate from the paper, from the formula.
//!
//! A test of a method goes through [`Golden::all`] and, for each of `golden.layers`, hands the method's maps to
//! [`Golden::check`], or to [`Golden::check_up_to_sign`] where the peers leave the sign to chance. What a method draws at
//! random is stored too: `golden.get("noise.METHOD")` goes into the function that takes the noise or the masks as given.
//! The scripts' openings list the keys.

use std::collections::BTreeMap;
use std::path::Path;

use gradcam_core::{AtLayer, CamError, Maps, Stage, Stages, Target, grad_cam};
use tch::{Kind, TchError, Tensor};

use crate::small_net::largest_difference;

/// Of a map's range. The peers add 1e-7 or 1e-8 to denominators and sum in another order.
pub(crate) const MAPS: f64 = 1e-5;

/// A network, its input, and each method's maps.
pub(crate) struct Golden {
    name: &'static str,
    /// The two layers that there are maps of.
    pub(crate) layers: [&'static str; 2],
    tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    /// Convolutions one after the other, and a head that averages over space.
    pub(crate) fn plain() -> Self {
        Self::read("methods_plain", ["relu2", "relu3"])
    }

    /// A sum and a concatenation of branches, and a head that tells places apart.
    pub(crate) fn branched() -> Self {
        Self::read("methods_branched", ["residual", "fire"])
    }

    /// As `plain`, in three dimensions.
    pub(crate) fn volumes() -> Self {
        Self::read("methods_volumes", ["relu1", "relu2"])
    }

    pub(crate) fn all() -> [Self; 3] {
        [Self::plain(), Self::branched(), Self::volumes()]
    }

    fn read(name: &'static str, layers: [&'static str; 2]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
        let files = [name.to_owned(), name.replacen("methods", "composition", 1)];
        let tensors = files
            .iter()
            .flat_map(|file| Tensor::read_safetensors(folder.join(format!("{file}.safetensors"))).unwrap())
            .collect();
        Self { name, layers, tensors }
    }

    /// With what another file of the folder holds of this network, as `NETWORK.KEY`.
    pub(crate) fn and(mut self, file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/{file}.safetensors"));
        let network = format!("{}.", self.name.trim_start_matches("methods_"));
        for (key, tensor) in Tensor::read_safetensors(path).unwrap() {
            if let Some(key) = key.strip_prefix(&network) {
                self.tensors.insert(key.to_owned(), tensor);
            }
        }
        self
    }

    pub(crate) fn copy(&self) -> Self {
        let tensors = self.tensors.iter().map(|(key, tensor)| (key.clone(), tensor.copy()));
        Self {
            tensors: tensors.collect(),
            ..*self
        }
    }

    /// Weights, images and all in double precision.
    pub(crate) fn in_double(mut self) -> Self {
        for tensor in self.tensors.values_mut().filter(|tensor| tensor.is_floating_point()) {
            *tensor = tensor.to_kind(Kind::Double);
        }
        self
    }

    pub(crate) fn get(&self, key: &str) -> Tensor {
        let tensor = self.tensors.get(key);
        tensor
            .unwrap_or_else(|| panic!("{} holds no {key}", self.name))
            .shallow_clone()
    }

    /// The names of the methods that there are maps of, whatever their kind.
    pub(crate) fn methods(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().filter_map(|key| {
            let (kind, rest) = key.split_once('.')?;
            ["maps", "signed", "graded"]
                .contains(&kind)
                .then(|| rest.split_once('.').map_or(rest, |(method, _)| method))
        })
    }

    pub(crate) fn images(&self) -> Tensor {
        self.get("images")
    }

    pub(crate) fn classes(&self) -> Vec<i64> {
        self.get("targets").try_into().unwrap()
    }

    pub(crate) fn targets(&self) -> Vec<Target> {
        self.classes().into_iter().map(Target::Class).collect()
    }

    pub(crate) fn is_branched(&self) -> bool {
        self.name == "methods_branched"
    }

    /// The file's, if it holds such a key.
    pub(crate) fn find(&self, key: &str) -> Option<Tensor> {
        self.tensors.get(key).map(Tensor::shallow_clone)
    }

    /// The network, a stage for each of the script's modules.
    pub(crate) fn stages(&self) -> Stages<'static> {
        self.row(|| vec![self.residual("residual"), self.fire("fire")])
    }

    /// The branched network with a stage for every ReLU: `relu1`, `residual.relu`, `residual`, `fire.relu`, `fire`, `relu2`.
    pub(crate) fn every_relu(&self) -> Stages<'static> {
        let first = self.convolution("residual.conv1", 1, 1);
        let first_norm = self.batch_norm("residual.bn1");
        let second = self.convolution("residual.conv2", 1, 1);
        let second_norm = self.batch_norm("residual.bn2");
        let squeeze = self.convolution("fire.squeeze", 1, 0);
        let expand1 = self.convolution("fire.expand1", 1, 0);
        let expand3 = self.convolution("fire.expand3", 1, 1);
        let relu = |name| Stage::new(name, |x| x.f_relu());
        let blocks = vec![
            Stage::carrying("residual.first", move |x, carried| {
                carried.push(x.shallow_clone());
                first_norm(&first(x)?)
            }),
            relu("residual.relu"),
            Stage::carrying("residual.second", move |x, carried| {
                carried.pop().unwrap().f_add(&second_norm(&second(x)?)?)
            }),
            relu("residual"),
            Stage::new("fire.squeeze", squeeze),
            relu("fire.relu"),
            Stage::new("fire.expand", move |x| Tensor::f_cat(&[expand1(x)?, expand3(x)?], 1)),
            relu("fire"),
        ];
        self.row(|| blocks)
    }

    /// `blocks` are the branched network's, asked for there alone.
    fn row(&self, blocks: impl FnOnce() -> Vec<Stage<'static>>) -> Stages<'static> {
        let relu = |name| Stage::new(name, |x| x.f_relu());
        let flatten = || Stage::new("flatten", |x| x.f_flatten(1, -1));
        let max_pool = |name| {
            Stage::new(name, |x| match x.dim() {
                4 => x.f_max_pool2d([2; 2], [2; 2], [0; 2], [1; 2], false),
                _ => x.f_max_pool3d([2; 3], [2; 3], [0; 3], [1; 3], false),
            })
        };
        let global_average = || {
            Stage::new("pool", |x| {
                let axes: Vec<i64> = (2..x.dim() as i64).collect();
                x.f_mean_dim(axes.as_slice(), true, None)
            })
        };
        let mut stages = match self.name {
            "methods_plain" => vec![
                self.conv("conv1", 1, 1),
                self.norm("bn1"),
                relu("relu1"),
                max_pool("pool1"),
                self.conv("conv2", 1, 1),
                self.norm("bn2"),
                relu("relu2"),
                self.conv("conv3", 2, 0),
                self.norm("bn3"),
                relu("relu3"),
                global_average(),
            ],
            "methods_branched" => [self.conv("conv1", 2, 1), self.norm("bn1"), relu("relu1")]
                .into_iter()
                .chain(blocks())
                .chain([
                    max_pool("pool"),
                    self.conv("conv2", 1, 0),
                    relu("relu2"),
                    Stage::new("average", |x| x.f_avg_pool2d([2; 2], [2; 2], [0; 2], false, true, None)),
                ])
                .collect(),
            _ => vec![
                self.conv("conv1", 1, 1),
                self.norm("bn1"),
                relu("relu1"),
                max_pool("pool1"),
                self.conv("conv2", 1, 1),
                self.norm("bn2"),
                relu("relu2"),
                global_average(),
            ],
        };
        let (weight, bias) = (self.get("weights.fc.weight"), self.get("weights.fc.bias"));
        stages.extend([flatten(), Stage::new("fc", move |x| x.f_linear(&weight, Some(&bias)))]);
        Stages::new(stages).unwrap()
    }

    /// `branched` with a stage for each convolution, norm and ReLU inside its blocks.
    pub(crate) fn branched_in_parts(&self) -> Stages<'static> {
        let relu = |name| Stage::new(name, |x: &Tensor| x.f_relu());
        let beside = |name: &'static str, padding: i64| {
            let conv = self.convolution(name, 1, padding);
            Stage::carrying(name, move |x, carried| {
                carried.push(x.shallow_clone());
                conv(x)
            })
        };
        let taken = |carried: &mut Vec<Tensor>| {
            let tensor = carried.pop();
            tensor.ok_or_else(|| TchError::Shape("nothing is carried".to_owned()))
        };
        let expand3 = self.convolution("fire.expand3", 1, 1);
        let blocks = vec![
            beside("residual.conv1", 1),
            self.norm("residual.bn1"),
            relu("residual.relu1"),
            self.conv("residual.conv2", 1, 1),
            self.norm("residual.bn2"),
            Stage::carrying("residual.sum", move |x, carried| x.f_add(&taken(carried)?)?.f_relu()),
            self.conv("fire.squeeze", 1, 0),
            relu("fire.relu"),
            beside("fire.expand1", 0),
            relu("fire.relu1"),
            Stage::carrying("fire.expand3", move |x, carried| {
                let squeezed = taken(carried)?;
                carried.push(x.shallow_clone());
                expand3(&squeezed)
            }),
            relu("fire.relu3"),
            Stage::carrying("fire.join", move |x, carried| Tensor::f_cat(&[&taken(carried)?, x], 1)),
        ];
        self.row(|| blocks)
    }

    fn conv(&self, name: &'static str, stride: i64, padding: i64) -> Stage<'static> {
        let conv = self.convolution(name, stride, padding);
        Stage::new(name, conv)
    }

    fn norm(&self, name: &'static str) -> Stage<'static> {
        let norm = self.batch_norm(name);
        Stage::new(name, norm)
    }

    fn residual(&self, name: &'static str) -> Stage<'static> {
        let inside = |part: &str| format!("{name}.{part}");
        let first = self.convolution(&inside("conv1"), 1, 1);
        let first_norm = self.batch_norm(&inside("bn1"));
        let second = self.convolution(&inside("conv2"), 1, 1);
        let second_norm = self.batch_norm(&inside("bn2"));
        Stage::new(name, move |x| {
            let inner = first_norm(&first(x)?)?.f_relu()?;
            x.f_add(&second_norm(&second(&inner)?)?)?.f_relu()
        })
    }

    fn fire(&self, name: &'static str) -> Stage<'static> {
        let inside = |part: &str| format!("{name}.{part}");
        let squeeze = self.convolution(&inside("squeeze"), 1, 0);
        let expand1 = self.convolution(&inside("expand1"), 1, 0);
        let expand3 = self.convolution(&inside("expand3"), 1, 1);
        Stage::new(name, move |x| {
            let x = squeeze(x)?.f_relu()?;
            Tensor::f_cat(&[expand1(&x)?.f_relu()?, expand3(&x)?.f_relu()?], 1)
        })
    }

    fn convolution(
        &self,
        name: &str,
        stride: i64,
        padding: i64,
    ) -> impl Fn(&Tensor) -> Result<Tensor, TchError> + use<> {
        let weight = self.get(&format!("weights.{name}.weight"));
        let bias = self
            .tensors
            .get(&format!("weights.{name}.bias"))
            .map(Tensor::shallow_clone);
        move |x| match x.dim() {
            4 => x.f_conv2d(&weight, bias.as_ref(), [stride; 2], [padding; 2], [1; 2], 1),
            _ => x.f_conv3d(&weight, bias.as_ref(), [stride; 3], [padding; 3], [1; 3], 1),
        }
    }

    fn batch_norm(&self, name: &str) -> impl Fn(&Tensor) -> Result<Tensor, TchError> + use<> {
        let [weight, bias, mean, variance] =
            ["weight", "bias", "running_mean", "running_var"].map(|part| self.get(&format!("weights.{name}.{part}")));
        move |x| {
            let (mean, variance) = (Some(&mean), Some(&variance));
            x.f_batch_norm(Some(&weight), Some(&bias), mean, variance, false, 0.1, 1e-5, false)
        }
    }

    /// A method's maps, cut off below zero and brought to 0..=1 on the layer's grid, against the file's `maps`.
    pub(crate) fn check(&self, method: &str, layer: &str, maps: &Maps) {
        let maps = Maps::new(&maps.tensor().relu()).unwrap();
        let found = maps.normalise().unwrap();
        self.compare(
            &format!("{method}.{layer}"),
            found.tensor(),
            &self.get(&format!("maps.{method}.{layer}")),
        );
    }

    /// A method's maps against the file's `signed`, whose sign is arbitrary. Maps that are cut off below zero are held against
    /// what the peer's are when cut off.
    pub(crate) fn check_up_to_sign(&self, method: &str, layer: &str, maps: &Maps) {
        let signed = self.get(&format!("signed.{method}.{layer}"));
        self.agree(
            &format!("{method}.{layer}"),
            difference_up_to_sign(maps.tensor(), &signed),
            MAPS,
        );
    }

    /// Maps brought to 0..=1, negative values and all, against the file's `graded`. `key` is METHOD.LAYER, or METHOD for maps at
    /// the image's size.
    pub(crate) fn check_graded(&self, key: &str, maps: &Maps) {
        let found = maps.normalise().unwrap();
        self.compare(key, found.tensor(), &self.get(&format!("graded.{key}")));
    }

    fn compare(&self, what: &str, found: &Tensor, expected: &Tensor) {
        self.agree(what, largest_difference(found, expected), MAPS);
    }

    /// What has no range of 0..=1 against the file's `key`, in units of the file's largest value.
    pub(crate) fn check_values(&self, key: &str, found: &Tensor, most: f64) {
        let expected = self.get(key);
        let unit = expected.abs().max();
        self.agree(key, largest_difference(&(found / &unit), &(expected / &unit)), most);
    }

    /// Prints the difference too, so that `--nocapture` shows how far from the tolerance it is.
    fn agree(&self, what: &str, difference: f64, most: f64) {
        eprintln!("{} {what}: largest difference {difference:.1e}", self.name);
        assert!(difference <= most, "{} {what}: {difference:e}", self.name);
    }

    /// `method` at both layers, for the logits of the file's targets.
    pub(crate) fn check_gradient_method(&self, name: &str, method: impl Fn(&AtLayer<'_>) -> Result<Maps, CamError>) {
        let stages = self.stages();
        let capture = stages.capture(&self.images(), &self.layers).unwrap();
        let gradients = capture.gradients(&self.targets()).unwrap();
        for layer in self.layers {
            self.check(name, layer, &method(&gradients.at(layer).unwrap()).unwrap());
        }
    }
}

/// The largest difference of maps whose largest absolute value is 1, by the better of the two signs of each sample.
fn difference_up_to_sign(found: &Tensor, signed: &Tensor) -> f64 {
    assert_eq!(found.size(), signed.size());
    let of_one = |map: &Tensor| map / map.abs().max();
    let sample = |sample| {
        let (found, signed) = (found.narrow(0, sample, 1), signed.narrow(0, sample, 1));
        let both_ways = [&signed, &-&signed].map(|map| {
            let cut_off = found.min().double_value(&[]) >= 0.0;
            let expected = if cut_off { map.relu() } else { map.shallow_clone() };
            largest_difference(&of_one(&found), &of_one(&expected))
        });
        both_ways[0].min(both_ways[1])
    };
    (0..found.size()[0]).map(sample).fold(0.0, f64::max)
}

/// The stages compute what the script's modules did, so that a difference of maps is the method's.
#[test]
fn the_networks_are_the_same() {
    for golden in Golden::all() {
        let logits = tch::no_grad(|| golden.stages().forward(&golden.images()).unwrap());
        let difference = largest_difference(&logits, &golden.get("logits"));
        assert!(difference < 1e-5, "{}: {difference}", golden.name);
        assert_eq!(golden.get("weights.fc.weight").kind(), Kind::Float);
        assert!(golden.methods().any(|method| method == "grad_cam"));
    }
}

#[test]
fn grad_cam_agrees() {
    for golden in Golden::all() {
        golden.check_gradient_method("grad_cam", grad_cam);
    }
}

/// The first principal component by libtorch's own decomposition, whichever way it points.
#[test]
fn a_sign_is_left_open_and_nothing_else() {
    for golden in Golden::all() {
        let layer = golden.layers[1];
        let capture = golden.stages().capture(&golden.images(), &[layer]).unwrap();
        let activations = capture.activations(layer).unwrap().flatten(2, -1).transpose(1, 2);
        let centred = &activations - activations.mean_dim([1i64].as_slice(), true, Kind::Float);
        let (_, _, directions) = centred.svd(true, true);
        let projection = centred.matmul(&directions.narrow(2, 0, 1));
        let maps = projection
            .view_as(&capture.activations(layer).unwrap().narrow(1, 0, 1))
            .squeeze_dim(1);
        for sign in [1.0, -1.0] {
            golden.check_up_to_sign("eigen_cam", layer, &Maps::new(&(&maps * sign)).unwrap());
            golden.check_up_to_sign("eigen_cam", layer, &Maps::new(&(&maps * sign).relu()).unwrap());
        }
        let signed = golden.get(&format!("signed.eigen_cam.{layer}"));
        assert!(difference_up_to_sign(&maps.square(), &signed) > 0.05);
    }
}

/// The masks in the file are those that the maps were made with: a sample's map is their mean under the class's probabilities.
#[test]
fn masks_at_random_are_stored() {
    for golden in Golden::all() {
        let (stages, images) = (golden.stages(), golden.images());
        let masks = golden.get("masks.rise").to_kind(Kind::Float);
        let map = |(sample, class): (usize, i64)| {
            let seen = images.get(sample as i64) * masks.unsqueeze(1);
            let scores = tch::no_grad(|| stages.forward(&seen).unwrap()).softmax(1, Kind::Float);
            scores
                .select(1, class)
                .matmul(&masks.flatten(1, -1))
                .view_as(&masks.get(0))
        };
        let maps: Vec<Tensor> = golden.classes().into_iter().enumerate().map(map).collect();
        golden.check_graded("rise", &Maps::new(&Tensor::stack(&maps, 0)).unwrap());
    }
}
