//! Networks of a user's own as rows of stages: TorchScript's files, tch's modules.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use models::{ModelError, Stage, StageRow};
use tch::nn::{self, OptimizerConfig as _};
use tch::{Device, Kind, Tensor};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens/torch_script")
        .join(name)
}

fn expected() -> HashMap<String, Tensor> {
    Tensor::read_safetensors(golden("expected.safetensors"))
        .unwrap()
        .into_iter()
        .collect()
}

fn trunk_and_head() -> (nn::VarStore, StageRow) {
    let variables = nn::VarStore::new(Device::Cpu);
    let root = variables.root();
    let row = StageRow::new([
        Stage::torch_script("trunk", golden("trunk.pt"), &(&root / "trunk")).unwrap(),
        Stage::torch_script("head", golden("head.pt"), &(&root / "head")).unwrap(),
    ])
    .unwrap();
    (variables, row)
}

/// The largest difference; both come from the same kernels, so rounding is all there may be.
fn difference(one: &Tensor, other: &Tensor) -> f64 {
    (one - other).abs().max().double_value(&[])
}

#[test]
fn torch_script_gives_what_torch_gave() {
    let (_variables, row) = trunk_and_head();
    let expected = expected();
    let features = row.stages()[0].forward(&expected["input"]).unwrap();
    assert!(difference(&features, &expected["trunk"]) < 1e-6);
    let logits = row.forward(&expected["input"]).unwrap();
    assert!(difference(&logits, &expected["logits"]) < 1e-6);

    // What a heatmap method does: the head alone, from activations that ask for gradients.
    let activations = features.detach().set_requires_grad(true);
    let score = row.stages()[1]
        .forward(&activations)
        .unwrap()
        .select(1, 1)
        .sum(Kind::Float);
    let gradient = &Tensor::run_backward(&[score], &[&activations], false, false)[0];
    assert!(difference(gradient, &expected["gradient"]) < 1e-7);
}

#[test]
fn scripted_modules_know_when_they_are_trained() {
    let (_variables, row) = trunk_and_head();
    let expected = expected();
    let trained = row.forward_t(&expected["input"], true).unwrap();
    assert!(difference(&trained, &expected["logits"]) > 1e-3, "dropout drops");
    // The running statistics have moved, dropout is off again.
    let one = row.forward(&expected["input"]).unwrap();
    assert_eq!(one, row.forward(&expected["input"]).unwrap());
    assert!(difference(&one, &expected["logits"]) > 1e-6);
}

#[test]
fn parameters_of_torch_script_are_trained_by_name() {
    let (variables, row) = trunk_and_head();
    let mut names: Vec<String> = variables.variables().into_keys().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "head.2.bias",
            "head.2.weight",
            "trunk.0.bias",
            "trunk.0.weight",
            "trunk.1.bias",
            "trunk.1.weight"
        ]
    );
    let expected = expected();
    let mut optimiser = nn::sgd(0.0, 0.0, 0.0, false).build(&variables, 0.1).unwrap();
    let loss = |row: &StageRow| row.forward(&expected["input"]).unwrap().square().mean(Kind::Float);
    let before = loss(&row);
    for _ in 0..5 {
        optimiser.backward_step(&loss(&row));
    }
    assert!(loss(&row).double_value(&[]) < 0.9 * before.double_value(&[]));
}

#[test]
fn rows_that_are_none_are_named() {
    let variables = nn::VarStore::new(Device::Cpu);
    let absent = Stage::torch_script("trunk", "no/such/trunk.pt", &variables.root()).unwrap_err();
    assert!(matches!(&absent, ModelError::TorchScript { path, .. } if path.ends_with("trunk.pt")));
    let no_script = Stage::torch_script("trunk", golden("expected.safetensors"), &variables.root());
    assert!(matches!(no_script, Err(ModelError::TorchScript { .. })));
    assert!(matches!(StageRow::new([]), Err(ModelError::NoStages)));
    let relu = || Stage::new("relu", |x: &Tensor, _| x.f_relu());
    assert!(matches!(StageRow::new([relu(), relu()]), Err(ModelError::SameStages { name }) if name == "relu"));
}

#[test]
fn what_a_script_cannot_take_or_give_is_named_by_its_file() {
    let (variables, row) = trunk_and_head();
    let floats = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let message = row.forward(&floats(&[1, 1, 6, 5])).unwrap_err().to_string();
    assert!(
        message.contains("trunk.pt") && message.contains("3 channels"),
        "{message}"
    );
    let message = row.forward(&Tensor::from_slice(&[1_i64])).unwrap_err().to_string();
    assert!(message.contains("trunk.pt"), "{message}");

    let pair = Stage::torch_script("pair", golden("pair.pt"), &variables.root()).unwrap();
    let message = pair.forward(&floats(&[1])).unwrap_err().to_string();
    assert!(message.contains("pair.pt"), "{message}");
    // A folder, and a file that was cut short.
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pt");
    let whole = std::fs::read(golden("trunk.pt")).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    for path in [folder.path(), &cut] {
        match Stage::torch_script("trunk", path, &variables.root()) {
            Err(error @ ModelError::TorchScript { .. }) => {
                assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}
