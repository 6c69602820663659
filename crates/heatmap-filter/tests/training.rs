//! Training learns, repeats itself exactly, and goes on where it stopped.
#![cfg(feature = "torch")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use heatmap_filter::FilterError;
use heatmap_filter::train::{Augmentation, Classifier, Examples, Progress, TrainSettings, Training, fit, predict};
use ndarray::ArrayView2;
use tch::nn::{self, Module as _, ModuleT as _, OptimizerConfig as _};
use tch::{Device, Kind, TchError, Tensor};

/// libtorch has one random generator for all threads: tests that draw from it take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Threads cost more than they save on networks this small.
    tch::set_num_threads(1);
    turn
}

/// A small network with everything that a checkpoint must get right: running statistics, dropout.
struct Small {
    variables: nn::VarStore,
    conv: nn::Conv2D,
    norm: nn::BatchNorm,
    head: nn::Linear,
}

impl Small {
    fn new(seed: i64) -> Self {
        tch::manual_seed(seed);
        let variables = nn::VarStore::new(Device::Cpu);
        let root = variables.root();
        Self {
            conv: nn::conv2d(&root / "conv", 1, 8, 3, Default::default()),
            norm: nn::batch_norm2d(&root / "norm", 8, Default::default()),
            head: nn::linear(&root / "head", 8, 2, Default::default()),
            variables,
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let x = self.norm.forward_t(&self.conv.forward(x), train).f_relu()?;
        let x = x
            .f_mean_dim([2, 3].as_slice(), false, Kind::Float)?
            .f_dropout(0.2, train)?;
        Ok(self.head.forward(&x))
    }

    fn values(&self) -> BTreeMap<String, Vec<f32>> {
        let flat = |tensor: &Tensor| Vec::<f32>::try_from(tensor.detach().contiguous().view([-1])).unwrap();
        self.variables
            .variables()
            .iter()
            .map(|(name, tensor)| (name.clone(), flat(tensor)))
            .collect()
    }
}

/// Noise; in every third image (class 1) a bright square.
fn images(count: i64, seed: i64) -> (Tensor, Vec<i64>) {
    tch::manual_seed(seed);
    let images = Tensor::rand([count, 1, 12, 12], (Kind::Float, Device::Cpu));
    let labels: Vec<i64> = (0..count).map(|index| i64::from(index % 3 == 0)).collect();
    for index in (0..count).filter(|index| index % 3 == 0) {
        let _ = images.get(index).narrow(1, 3, 5).narrow(2, 4, 5).g_add_scalar_(0.8);
    }
    (images, labels)
}

fn accuracy(probabilities: ArrayView2<'_, f32>, labels: &[i64]) -> f64 {
    let right = probabilities
        .rows()
        .into_iter()
        .zip(labels)
        .filter(|(row, label)| i64::from(row[1] > 0.5) == **label);
    right.count() as f64 / labels.len() as f64
}

fn settings() -> TrainSettings {
    TrainSettings::default()
        .with_epochs(6)
        .with_batch(8)
        .with_learning_rate(1e-2)
        .with_seed(3)
}

fn run(
    network: &Small,
    settings: &TrainSettings,
    checkpoint: Option<&Path>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Training, FilterError> {
    let (training, training_labels) = images(49, 10);
    let (validation, validation_labels) = images(20, 11);
    fit(
        Classifier {
            forward: &|x, train| network.forward(x, train),
            variables: &network.variables,
        },
        Examples {
            images: &training,
            labels: &training_labels,
        },
        Examples {
            images: &validation,
            labels: &validation_labels,
        },
        &accuracy,
        settings,
        checkpoint,
        progress,
    )
}

#[test]
fn it_learns_and_keeps_the_best_epoch() {
    let _turn = alone();
    let network = Small::new(1);
    let training = run(&network, &settings(), None, &mut |_| {}).unwrap();
    assert_eq!(training.history.len(), 6);
    let best = &training.history[training.best];
    assert!(
        training
            .history
            .iter()
            .all(|epoch| epoch.validation_score <= best.validation_score)
    );
    assert!(best.validation_score >= 0.9, "{training:?}");
    let (images, labels) = images(20, 11);
    let classifier = Classifier {
        forward: &|x, train| network.forward(x, train),
        variables: &network.variables,
    };
    let probabilities = predict(classifier, &images, 7).unwrap();
    assert_eq!(
        accuracy(probabilities.view(), &labels),
        best.validation_score,
        "the best weights are in the network"
    );
    assert!(
        probabilities
            .rows()
            .into_iter()
            .all(|row| (row.sum() - 1.0).abs() < 1e-5)
    );
}

#[test]
fn the_same_seed_gives_the_same_weights_and_another_does_not() {
    let _turn = alone();
    let weights = |seed| {
        let network = Small::new(1);
        run(&network, &settings().with_seed(seed), None, &mut |_| {}).unwrap();
        network.values()
    };
    assert_eq!(weights(3), weights(3));
    assert_ne!(weights(3), weights(4));
}

#[test]
fn a_training_that_was_broken_off_ends_as_if_it_had_not_been() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let unbroken = Small::new(1);
    let whole = run(&unbroken, &settings(), None, &mut |_| {}).unwrap();
    for stop in 1..=6 {
        // What a kill after epoch `stop` leaves behind.
        let (running, left) = (
            folder.path().join("running"),
            folder.path().join(format!("left-{stop}")),
        );
        let _ = fs::remove_file(&running);
        run(&Small::new(1), &settings(), Some(&running), &mut |progress| {
            if let Progress::Epoch(epoch) = progress
                && epoch.epoch == stop
            {
                fs::copy(&running, &left).unwrap();
            }
        })
        .unwrap();
        let (mut found, mut steps) = (0, 0);
        let other_start = Small::new(99);
        let training = run(&other_start, &settings(), Some(&left), &mut |progress| match progress {
            Progress::Resumed(history) => found = history.len(),
            Progress::Step { .. } => steps += 1,
            _ => {}
        })
        .unwrap();
        assert_eq!(
            (found, steps),
            (stop, 6 * (6 - stop)),
            "49 images make 6 batches of 8; the last one is left out"
        );
        assert_eq!(training, whole, "after epoch {stop}");
        assert_eq!(other_start.values(), unbroken.values(), "after epoch {stop}");
    }
}

#[test]
fn a_score_that_is_no_number_loses_and_survives_a_checkpoint() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let (images, labels) = images(20, 1);
    let fitted = |network: &Small| {
        let forward = |x: &Tensor, train| network.forward(x, train);
        let classifier = Classifier {
            forward: &forward,
            variables: &network.variables,
        };
        let examples = Examples {
            images: &images,
            labels: &labels,
        };
        let epoch = std::cell::Cell::new(0);
        let score = |_: ArrayView2<'_, f32>, _: &[i64]| match epoch.replace(epoch.get() + 1) {
            2 => 0.5,
            _ => f64::NAN,
        };
        fit(
            classifier,
            examples,
            examples,
            &score,
            &settings(),
            Some(&path),
            &mut |_| {},
        )
        .unwrap()
    };
    assert_eq!(fitted(&Small::new(1)).best, 2);
    let again = fitted(&Small::new(2));
    assert!(
        again.best == 2 && again.history[0].validation_score.is_nan(),
        "{again:?}"
    );
}

#[test]
fn a_checkpoint_of_another_training_is_refused_and_a_broken_one_named() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    run(&Small::new(1), &settings(), Some(&path), &mut |_| {}).unwrap();
    let other = run(&Small::new(1), &settings().with_epochs(7), Some(&path), &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(other.contains("epochs: 6") && other.contains("epochs: 7"), "{other}");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let broken = run(&Small::new(1), &settings(), Some(&path), &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        broken.contains("cannot read the checkpoint") && broken.contains(path.to_str().unwrap()),
        "{broken}"
    );
    let nowhere = folder.path().join("no/such/folder/checkpoint");
    assert!(
        run(&Small::new(1), &settings(), Some(&nowhere), &mut |_| {})
            .unwrap_err()
            .to_string()
            .contains("cannot write")
    );
}

#[test]
fn faults_are_errors_before_anything_is_done() {
    let _turn = alone();
    let network = Small::new(1);
    let classifier = Classifier {
        forward: &|x, train| network.forward(x, train),
        variables: &network.variables,
    };
    let (images, labels) = images(9, 1);
    let fitted = |images: &Tensor, labels: &[i64], settings: &TrainSettings| {
        let examples = Examples { images, labels };
        fit(classifier, examples, examples, &accuracy, settings, None, &mut |_| {}).unwrap_err()
    };
    assert!(matches!(
        fitted(&images, &labels[..8], &settings()),
        FilterError::Examples { labels: 8, .. }
    ));
    assert!(matches!(fitted(&images, &[0; 9], &settings()), FilterError::Classes { counts, .. } if counts == [9, 0]));
    assert!(matches!(fitted(&images, &[5; 9], &settings()), FilterError::Classes { counts, .. } if counts == [0, 0]));
    let none = settings().with_epochs(0);
    assert!(matches!(
        fitted(&images, &labels, &none),
        FilterError::Setting { name: "epochs", .. }
    ));
    let nan = &images * f64::NAN;
    assert!(matches!(
        fitted(&nan, &labels, &settings()),
        FilterError::Diverged { epoch: 1, .. }
    ));
    let mut frozen = Small::new(1);
    frozen.variables.freeze();
    let classifier = Classifier {
        forward: &|x, train| frozen.forward(x, train),
        variables: &frozen.variables,
    };
    let examples = Examples {
        images: &images,
        labels: &labels,
    };
    let error = fit(
        classifier,
        examples,
        examples,
        &accuracy,
        &settings(),
        None,
        &mut |_| {},
    )
    .unwrap_err();
    assert!(matches!(error, FilterError::NothingToTrain { variables: 8 }), "{error}");
}

#[test]
fn the_optimiser_is_torchs_adamw() {
    // One linear layer without bias, the whole set as one batch: an epoch is a step, the order of the images does
    // not matter, and only the optimiser does.
    const STEPS: usize = 5;
    let _turn = alone();
    let (images, labels) = images(30, 5);
    let targets = Tensor::from_slice(&labels);
    let weights = Tensor::from_slice(&[30.0f32 / 40.0, 30.0 / 20.0]);
    let start = Tensor::randn([2, 144], (Kind::Float, Device::Cpu)) * 0.1;
    let network = || {
        let variables = nn::VarStore::new(Device::Cpu);
        let weight = variables.root().var_copy("weight", &start);
        (variables, weight)
    };
    let settings = TrainSettings::default()
        .with_epochs(STEPS)
        .with_batch(30)
        .with_learning_rate(0.02)
        .with_weight_decay(0.3)
        .with_augmentation(Augmentation::none());
    let (variables, weight) = network();
    let forward = |x: &Tensor, _| x.f_flatten(1, -1)?.f_matmul(&weight.f_tr()?);
    let examples = Examples {
        images: &images,
        labels: &labels,
    };
    let classifier = Classifier {
        forward: &forward,
        variables: &variables,
    };
    // A score that rises keeps the last epoch.
    let epoch = std::cell::Cell::new(0.0);
    let rising = |_: ArrayView2<'_, f32>, _: &[i64]| epoch.replace(epoch.get() + 1.0);
    fit(classifier, examples, examples, &rising, &settings, None, &mut |_| {}).unwrap();

    let (variables, expected) = network();
    let mut torchs = nn::adamw(0.9, 0.999, 0.3).build(&variables, 0.02).unwrap();
    for step in 0..STEPS {
        // The first tenth of the steps rises to the peak, the others fall as a cosine to a hundredth.
        let fall = (step.max(1) - 1) as f64 / (STEPS - 1) as f64;
        torchs.set_lr(0.02 * (0.01 + 0.99 * 0.5 * (1.0 + (std::f64::consts::PI * fall).cos())));
        let logits = images.flatten(1, -1).matmul(&expected.tr());
        let loss = logits.cross_entropy_loss(&targets, Some(&weights), tch::Reduction::Mean, -100, 0.0);
        torchs.backward_step(&loss);
    }
    let difference = (weight - &expected).abs().max().double_value(&[]);
    assert!(difference < 1e-6, "{difference}");
    assert!((expected - start).abs().max().double_value(&[]) > 3e-2);
}

#[test]
fn variables_learn_at_their_own_rates_and_frozen_ones_stay() {
    let _turn = alone();
    let (images, labels) = images(30, 5);
    let step = |settings: &TrainSettings, frozen: &str| {
        let network = Small::new(1);
        for (name, variable) in network.variables.variables() {
            if name.starts_with(frozen) {
                let _ = variable.set_requires_grad(false);
            }
        }
        let before = network.values();
        let examples = Examples {
            images: &images,
            labels: &labels,
        };
        let classifier = Classifier {
            forward: &|x, train| network.forward(x, train),
            variables: &network.variables,
        };
        fit(classifier, examples, examples, &accuracy, settings, None, &mut |_| {}).unwrap();
        let after = network.values();
        let change = |name: &str| {
            let pairs = before[name].iter().zip(&after[name]);
            pairs.map(|(before, after)| after - before).collect::<Vec<f32>>()
        };
        (change("conv.weight"), change("head.weight"))
    };
    // One step without decay: AdamW's is the rate times the gradient's sign.
    let settings = TrainSettings::default()
        .with_epochs(1)
        .with_batch(30)
        .with_learning_rate(1e-2)
        .with_weight_decay(0.0);
    let (conv, head) = step(&settings, "none");
    let (slow_conv, same_head) = step(&settings.clone().with_learning_rate_factor("conv", 0.25), "none");
    assert_eq!(head, same_head);
    for (whole, quarter) in conv.iter().zip(&slow_conv) {
        assert!((whole * 0.25 - quarter).abs() < 1e-6, "{whole} {quarter}");
    }
    assert!(conv.iter().any(|change| change.abs() > 9e-3));
    let (frozen_conv, same_head) = step(&settings, "conv");
    assert!(frozen_conv.iter().all(|&change| change == 0.0));
    assert_eq!(head, same_head);
    let unknown = settings.with_learning_rate_factor("con", 0.5);
    let network = Small::new(1);
    let error = run(&network, &unknown, None, &mut |_| {}).unwrap_err();
    assert!(matches!(error, FilterError::NoSuchVariable { name } if name == "con"));
}
