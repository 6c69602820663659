//! Weights in and out: what fits is read, what does not is named, all of it at once.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use models::{Architecture, Head, InputSpec, LoadRules, ModelError, Network, NetworkConfig, Stem, UNetNorm};
use tch::{Device, Kind, Tensor};

/// Reading and writing are the same for all networks; these two have all that matters: biases, batch norms, a
/// convolution as the head and a linear one.
const NETWORKS: [Architecture; 2] = [Architecture::SqueezeNet1_0, Architecture::ResNet18];

fn network(architecture: Architecture, classes: i64, seed: i64) -> Network {
    built(&NetworkConfig::new(architecture).with_classes(classes), seed)
}

/// libtorch has one generator for all threads: while one test draws from it, no other may.
fn generator() -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

fn built(config: &NetworkConfig, seed: i64) -> Network {
    let _alone = generator();
    tch::manual_seed(seed);
    config.build(Device::Cpu).unwrap()
}

fn saved(network: &Network) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    network.save(&path).unwrap();
    (folder, path)
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<(String, Tensor)>)) {
    let mut tensors = Tensor::read_safetensors(path).unwrap();
    change(&mut tensors);
    Tensor::write_safetensors(&tensors, path).unwrap();
}

fn image() -> Tensor {
    Tensor::arange(3 * 64 * 64, (Kind::Float, Device::Cpu))
        .sin()
        .view([1, 3, 64, 64])
}

#[test]
fn saved_weights_give_the_same_logits() {
    for architecture in NETWORKS {
        let one = network(architecture, 3, 1);
        let mut other = network(architecture, 3, 2);
        assert_ne!(one.forward(&image()).unwrap(), other.forward(&image()).unwrap());
        let (_folder, path) = saved(&one);
        let loaded = other.load(&path, Head::Exact).unwrap();
        assert_eq!(loaded.tensors, one.variables().len());
        assert_eq!(one.forward(&image()).unwrap(), other.forward(&image()).unwrap());
        let bytes = fs::read(&path).unwrap();
        one.save(&path).unwrap();
        assert_eq!(bytes, fs::read(&path).unwrap(), "the same weights make the same file");
    }
}

#[test]
fn a_head_of_other_classes_is_replaced_only_when_asked() {
    for architecture in NETWORKS {
        let (_folder, path) = saved(&network(architecture, 5, 1));
        let mut two = network(architecture, 2, 2);
        let before = two.forward(&image()).unwrap();
        match two.load(&path, Head::Exact) {
            Err(ModelError::Weights { mismatches, .. }) => {
                let names: Vec<_> = mismatches.misshapen.iter().map(|(name, ..)| name.as_str()).collect();
                let head = architecture.head();
                assert_eq!(names, [format!("{head}.bias"), format!("{head}.weight")]);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(before, two.forward(&image()).unwrap(), "a refused file changes nothing");
        assert!(two.load(&path, Head::Replace).unwrap().head_replaced);
        let mut five = network(architecture, 5, 3);
        assert!(!five.load(&path, Head::Replace).unwrap().head_replaced);
    }
}

#[test]
fn every_mismatch_is_named_at_once() {
    let (_folder, path) = saved(&network(Architecture::SqueezeNet1_0, 2, 1));
    rewrite(&path, |tensors| {
        tensors.retain(|(name, _)| name != "features.0.bias");
        for (name, tensor) in tensors.iter_mut() {
            match name.as_str() {
                "features.3.squeeze.weight" => *tensor = tensor.view([16, 96]),
                "features.4.squeeze.bias" => *tensor = tensor.to_kind(Kind::Int64),
                _ => {}
            }
        }
        tensors.push((
            "features.99.weight".into(),
            Tensor::zeros([1], (Kind::Float, Device::Cpu)),
        ));
    });
    let message = network(Architecture::SqueezeNet1_0, 2, 2)
        .load(&path, Head::Replace)
        .unwrap_err()
        .to_string();
    for part in [
        path.to_str().unwrap(),
        "1 missing: features.0.bias",
        "1 unexpected: features.99.weight",
        "features.3.squeeze.weight (is [16, 96], expected [16, 96, 1, 1])",
        "features.4.squeeze.bias (is Int64, expected floating point)",
    ] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn half_precision_files_and_batch_counters_are_taken() {
    let one = network(Architecture::ResNet18, 2, 1);
    let (_folder, path) = saved(&one);
    rewrite(&path, |tensors| {
        for (_, tensor) in tensors.iter_mut() {
            *tensor = tensor.to_kind(Kind::Double);
        }
        let counter = Tensor::from_slice(&[7i64]).view([] as [i64; 0]);
        tensors.push(("bn1.num_batches_tracked".into(), counter));
    });
    let mut other = network(Architecture::ResNet18, 2, 2);
    other.load(&path, Head::Exact).unwrap();
    assert_eq!(one.forward(&image()).unwrap(), other.forward(&image()).unwrap());
}

#[test]
fn files_that_are_missing_or_not_safetensors_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut net = network(Architecture::SqueezeNet1_0, 2, 1);
    for absent in [folder.path().join("absent.safetensors"), folder.path().to_owned()] {
        match net.load(&absent, Head::Exact) {
            Err(error @ ModelError::Open { .. }) => {
                let message = error.to_string();
                assert!(message.contains(absent.to_str().unwrap()), "{message}");
                let why = if absent.is_dir() {
                    "is a directory"
                } else {
                    "No such file"
                };
                let source = error.source().expect("why").to_string();
                assert!(source.contains(why), "{source}");
            }
            other => panic!("{other:?}"),
        }
    }
    let script = golden("../torch_script/trunk.pt");
    let message = net.load(&script, Head::Exact).unwrap_err().to_string();
    assert!(
        message.contains("trunk.pt") && message.contains("Stage::torch_script"),
        "{message}"
    );
    let keras = folder.path().join("mine.weights.h5");
    fs::write(&keras, b"\x89HDF\r\n\x1a\n\0\0\0\0").unwrap();
    let message = net.load(&keras, Head::Exact).unwrap_err().to_string();
    assert!(
        message.contains("mine.weights.h5") && message.contains("keras_to_safetensors.py"),
        "{message}"
    );
    let text = folder.path().join("text.safetensors");
    fs::write(&text, "these are not tensors").unwrap();
    assert!(
        net.load(&text, Head::Exact)
            .unwrap_err()
            .to_string()
            .contains("text.safetensors")
    );
    assert!(net.save(folder.path().join("no/such/folder/w.safetensors")).is_err());
}

#[test]
fn the_same_seed_builds_the_same_network() {
    for architecture in NETWORKS {
        let logits = |seed| network(architecture, 2, seed).forward(&image()).unwrap();
        assert_eq!(logits(7), logits(7));
        assert_ne!(logits(7), logits(8));
    }
}

#[test]
fn stages_chain_to_the_logits_and_grey_images_are_prepared() {
    for architecture in NETWORKS {
        let net = network(architecture, 2, 1);
        let grey = (image().narrow(1, 0, 1) + 1) / 2;
        let input = net.input().prepare(&grey).unwrap();
        assert_eq!(input.size(), [1, 3, 64, 64]);
        let first = f64::try_from(input.get(0).get(1).get(2).get(3)).unwrap();
        let grey = f64::try_from(grey.get(0).get(0).get(2).get(3)).unwrap();
        assert!((first - (grey - 0.456) / 0.224).abs() < 1e-6);
        let chained = net
            .stages()
            .iter()
            .fold(input.shallow_clone(), |x, stage| stage.forward(&x).unwrap());
        assert_eq!(chained, net.forward(&input).unwrap());
    }
}

#[test]
fn training_mode_drops_and_updates_running_statistics() {
    let net = network(Architecture::ResNet18, 2, 1);
    let mean = || net.variables().variables()["bn1.running_mean"].copy();
    let before = mean();
    let _ = net.forward_t(&image(), false).unwrap();
    assert_eq!(before, mean());
    let _ = net.forward_t(&Tensor::cat(&[image(), image()], 0), true).unwrap();
    assert_ne!(before, mean());
    let net = network(Architecture::SqueezeNet1_0, 2, 1);
    let _alone = generator();
    assert_ne!(net.forward_t(&image(), true).unwrap(), net.forward(&image()).unwrap());
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens/state_dicts")
        .join(name)
}

/// Whether the variables are those of `state_dicts.py`: the I-th by name is all I / 64.
fn holds_the_golden(network: &Network, but: &str) -> bool {
    let variables: BTreeMap<String, Tensor> = network.variables().variables().into_iter().collect();
    (0..)
        .zip(&variables)
        .filter(|(_, (name, _))| !name.starts_with(but))
        .all(|(index, (_, variable))| variable.eq(f64::from(index) / 64.0).all() == Tensor::from(true))
}

#[test]
fn torchs_own_files_are_known_by_their_content() {
    let mut net = network(Architecture::ResNet18, 5, 1);
    let loaded = net.load(golden("resnet18.pth"), Head::Exact).unwrap();
    assert_eq!(loaded.tensors, net.variables().len());
    assert_eq!(loaded.passed_over.len(), 20, "one counter for each batch norm");
    assert!(holds_the_golden(&net, "none"));

    let folder = tempfile::tempdir().unwrap();
    let renamed = folder.path().join("weights.safetensors");
    fs::copy(golden("resnet18.pth"), &renamed).unwrap();
    network(Architecture::ResNet18, 5, 2)
        .load(&renamed, Head::Exact)
        .unwrap();
}

/// As torchvision publishes them: DenseNets with the names and in the format of 2017, GoogLeNet with auxiliary heads.
#[test]
fn published_files_load_as_they_are() {
    for (architecture, file, unused) in [
        (Architecture::DenseNet121, "densenet121.pth", 0),
        (Architecture::GoogLeNet, "googlenet.pth", 2 * 9),
    ] {
        let mut net = network(architecture, 5, 1);
        let loaded = net.load(golden(file), Head::Exact).unwrap();
        assert_eq!(loaded.tensors, net.variables().len(), "{file}");
        assert!(holds_the_golden(&net, "none"), "{file}");
        assert_eq!(loaded.passed_over.len(), unused, "{file}: {:?}", loaded.passed_over);
        assert!(loaded.passed_over.iter().all(|name| name.starts_with("aux")));
    }
}

#[test]
fn a_checkpoint_is_read_by_the_rules_given() {
    let mut net = network(Architecture::ResNet18, 2, 1);
    let rules = LoadRules::default().with_entry("model").with_stripped("module");
    match net.load(golden("checkpoint.pth"), rules.clone()) {
        Err(ModelError::Weights { mismatches, .. }) => {
            assert_eq!(mismatches.unexpected, ["projector.weight"]);
            assert_eq!(mismatches.misshapen.len(), 2);
            assert!(mismatches.missing.is_empty());
        }
        other => panic!("{other:?}"),
    }
    let rules = rules.with_passed_over("projector").with_head(Head::Replace);
    let loaded = net.load(golden("checkpoint.pth"), rules).unwrap();
    assert!(loaded.head_replaced);
    assert!(loaded.passed_over.contains(&"module.projector.weight".to_owned()));
    assert!(holds_the_golden(&net, "fc."));

    match net.load(golden("checkpoint.pth"), LoadRules::default().with_entry("ema")) {
        Err(ModelError::StateDict { path, fault }) => {
            assert!(path.ends_with("checkpoint.pth"));
            assert!(fault.to_string().contains("no entry `ema`"));
        }
        other => panic!("{other:?}"),
    }
    let (_folder, path) = saved(&net);
    let entry = net.load(&path, LoadRules::default().with_entry("model"));
    assert!(matches!(entry, Err(ModelError::NoEntries { .. })));
}

#[test]
fn three_channels_are_summed_into_one_only_when_asked() {
    let grey = InputSpec {
        mean: vec![0.5],
        std: vec![0.25],
        ..InputSpec::imagenet()
    };
    for architecture in [Architecture::SqueezeNet1_0, Architecture::ResNet18] {
        let three = network(architecture, 2, 1);
        let (_folder, path) = saved(&three);
        let config = NetworkConfig::new(architecture)
            .with_classes(2)
            .with_input(grey.clone());
        let mut one = built(&config, 2);
        assert!(matches!(one.load(&path, Head::Exact), Err(ModelError::Weights { .. })));
        let loaded = one.load(&path, LoadRules::default().with_stem(Stem::Summed)).unwrap();
        assert_eq!(loaded.summed.len(), 1);
        assert_eq!(loaded.tensors, one.variables().len());
        let x = image().narrow(1, 0, 1);
        let (one, three) = (
            one.forward(&x).unwrap(),
            three.forward(&x.repeat([1, 3, 1, 1])).unwrap(),
        );
        assert!(one.allclose(&three, 1e-4, 1e-5, false), "{one} {three}");
    }
}

#[test]
fn a_file_without_a_head_and_names_that_meet() {
    let (_folder, path) = saved(&network(Architecture::ResNet18, 2, 1));
    rewrite(&path, |tensors| tensors.retain(|(name, _)| !name.starts_with("fc.")));
    let mut net = network(Architecture::ResNet18, 2, 2);
    assert!(matches!(net.load(&path, Head::Exact), Err(ModelError::Weights { .. })));
    let loaded = net.load(&path, Head::Replace).unwrap();
    assert!(loaded.head_replaced);
    assert_eq!(loaded.tensors + 2, net.variables().len());

    // A head of other classes without a bias, and one of two layers.
    for head in [
        &["fc.weight"][..],
        &["fc.0.weight", "fc.0.bias", "fc.3.weight", "fc.3.bias"],
    ] {
        let (_folder, path) = saved(&network(Architecture::ResNet18, 5, 1));
        rewrite(&path, |tensors| {
            tensors.retain(|(name, _)| !name.starts_with("fc."));
            let added = head
                .iter()
                .map(|name| (name.to_string(), Tensor::from_slice(&[0.5_f32; 10]).view([5, 2])));
            tensors.extend(added);
        });
        assert!(matches!(net.load(&path, Head::Exact), Err(ModelError::Weights { .. })));
        let loaded = net.load(&path, Head::Replace).unwrap();
        assert!(loaded.head_replaced);
        assert_eq!(loaded.tensors + 2, net.variables().len());
        let mut head = Vec::from(head);
        head.sort_unstable();
        assert_eq!(loaded.passed_over, head);
    }

    rewrite(&path, |tensors| {
        let twin = tensors
            .iter()
            .find(|(name, _)| name == "conv1.weight")
            .unwrap()
            .1
            .copy();
        tensors.push(("module.conv1.weight".into(), twin));
    });
    match net.load(&path, LoadRules::from(Head::Replace).with_stripped("module")) {
        Err(ModelError::Weights { mismatches, .. }) => assert_eq!(mismatches.twice, ["conv1.weight"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_no_network_can_have_and_images_it_cannot_take_are_named() {
    let config = NetworkConfig::new(Architecture::SqueezeNet1_0);
    for probability in [-0.1, 1.0, f64::NAN] {
        assert!(matches!(
            config.clone().with_dropout(probability).build(Device::Cpu),
            Err(ModelError::Dropout { .. })
        ));
        assert!(matches!(
            config.clone().with_stochastic_depth(probability).build(Device::Cpu),
            Err(ModelError::StochasticDepth { .. })
        ));
    }
    for size in [0, -3] {
        let input = InputSpec::imagenet().with_size(size);
        match config.clone().with_input(input).build(Device::Cpu) {
            Err(error @ ModelError::InputSpec { .. }) => {
                assert!(error.to_string().contains(&format!("size {size}")), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    let mobile = NetworkConfig::new(Architecture::MobileNetV2);
    for width in [0.0, -1.0, f64::NAN, f64::INFINITY, 101.0] {
        assert!(matches!(
            mobile.clone().with_width(width).build(Device::Cpu),
            Err(ModelError::Width { most, .. }) if most == 100.0
        ));
    }
    let unet = NetworkConfig::new(Architecture::BasicUNet2d);
    for place in 0..6 {
        for channels in [i64::MIN, 0, 1, (1 << 16) + 1, i64::MAX] {
            let mut asked = [8; 6];
            asked[place] = channels;
            assert!(matches!(
                unet.clone().with_features(asked).build(Device::Cpu),
                Err(ModelError::Features { features, .. }) if features == asked
            ));
        }
    }
    for (config, name, what) in [
        (config.with_width(0.5), "squeezenet1_0", "width"),
        (unet.with_width(0.5), "basic_unet_2d", "width"),
        (
            NetworkConfig::new(Architecture::ResNet18).with_norm(UNetNorm::Instance),
            "resnet18",
            "norm",
        ),
        (mobile.with_features([8; 6]), "mobilenet_v2", "features"),
    ] {
        let error = config.build(Device::Cpu).unwrap_err();
        assert!(matches!(error, ModelError::NoChoice { setting, .. } if setting == what));
        let message = error.to_string();
        assert!(message.contains(name) && message.contains(what), "{message}");
    }
    let net = network(Architecture::SqueezeNet1_0, 2, 1);
    for train in [false, true] {
        for architecture in [Architecture::SqueezeNet1_0, Architecture::BasicUNet2d] {
            let none = Tensor::zeros([0, 3, 64, 64], (Kind::Float, Device::Cpu));
            let message = network(architecture, 2, 1)
                .forward_t(&none, train)
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(&format!("{architecture} takes batches of one image or more")),
                "{message}"
            );
        }
    }
    for (shape, found) in [
        (&[1, 3, 20, 64][..], "[1, 3, 20, 64]"),
        (&[1, 1, 64, 64], "[1, 1, 64, 64]"),
        (&[3, 64, 64], "[3, 64, 64]"),
    ] {
        let message = net
            .forward(&Tensor::zeros(shape, (Kind::Float, Device::Cpu)))
            .unwrap_err()
            .to_string();
        let expected = "squeezenet1_0 takes [N, 3] and 2 extents of at least 21, found";
        assert!(message.contains(expected) && message.contains(found), "{message}");
    }
}

#[test]
fn only_images_are_prepared() {
    let grey = InputSpec::symmetric(1);
    let colour = InputSpec::imagenet();
    for (input, shape, kind, found) in [
        (&grey, &[2, 3, 8, 8][..], Kind::Float, "[N, 1, H, W] or"),
        (&colour, &[2, 2, 8, 8], Kind::Float, "found [2, 2, 8, 8]"),
        (&colour, &[3, 8, 8], Kind::Float, "found [3, 8, 8]"),
        (&colour, &[3], Kind::Float, "found [3]"),
        (&colour, &[], Kind::Float, "found []"),
        (&colour, &[2, 3, 8, 8], Kind::Uint8, "found Uint8"),
    ] {
        let message = input
            .prepare(&Tensor::zeros(shape, (kind, Device::Cpu)))
            .unwrap_err()
            .to_string();
        assert!(message.contains(found), "{message}");
    }
    for (shape, kind) in [(&[2, 1, 8, 8][..], Kind::Double), (&[2, 3, 4, 8, 8], Kind::Half)] {
        let prepared = colour.prepare(&Tensor::zeros(shape, (kind, Device::Cpu))).unwrap();
        assert_eq!((prepared.size()[1], prepared.kind()), (3, Kind::Float));
    }
}
