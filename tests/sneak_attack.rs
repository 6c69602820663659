//! The example program from outside: what it writes, that it repeats itself, that it goes on where
//! it was killed, and what it says of data that is at fault.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use image::{GrayImage, Luma};
use scan_data::Phantoms;
use serde_json::Value;
use tempfile::TempDir;

/// The built example, by what cargo says of it.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--example", "sneak_attack", "--message-format", "json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo starts");
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["name"] == "sneak_attack")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .expect("cargo names the executable")
    })
}

/// Images and masks as files, eight patients of four patches.
struct Folder {
    root: TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = Self {
            root: tempfile::tempdir().unwrap(),
        };
        for name in ["images", "masks"] {
            fs::create_dir_all(folder.data().join(name)).unwrap();
        }
        let phantoms = Phantoms::default()
            .with_count(32)
            .with_size(64)
            .with_per_patient(4)
            .generate()
            .unwrap();
        let mut groups = String::from("image,group\n");
        for (index, scan) in phantoms.scans.iter().enumerate() {
            let size = scan.image.ncols() as u32;
            let draw = |value: &dyn Fn(usize, usize) -> u8| {
                GrayImage::from_fn(size, size, |x, y| Luma([value(y as usize, x as usize)]))
            };
            let name = format!("{index}.png");
            draw(&|y, x| (255.0 * scan.image[(y, x)]) as u8)
                .save(folder.data().join("images").join(&name))
                .unwrap();
            draw(&|y, x| 255 * u8::from(scan.mask[(y, x)]))
                .save(folder.data().join("masks").join(&name))
                .unwrap();
            groups.push_str(&format!("{name},{}\n", scan.group));
        }
        fs::write(folder.data().join("groups.csv"), groups).unwrap();
        folder
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn out(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A short run into the folder `out`, with `more` options, which replace the usual ones of the same names.
    fn command(&self, out: &str, more: &[&str]) -> Command {
        let (data, out) = (self.data().display().to_string(), self.out(out).display().to_string());
        let usual = [
            ("--data", data.as_str()),
            ("--out", &out),
            ("--model", "resnet18"),
            ("--image-size", "64"),
            ("--epochs", "2"),
            ("--batch", "8"),
            ("--device", "cpu"),
            ("--seed", "5"),
        ];
        let mut command = Command::new(program());
        for (name, value) in usual.into_iter().filter(|(name, _)| !more.contains(name)) {
            command.args([name, value]);
        }
        // Small images: threads cost more than they save, and other tests run beside this one.
        command.args(more).env("OMP_NUM_THREADS", "1");
        command
    }

    fn run(&self, out: &str, more: &[&str]) -> Output {
        self.command(out, more).output().unwrap()
    }

    /// The message of a run that must fail.
    fn error(&self, more: &[&str]) -> String {
        let output = self.run("refused", more);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{message}");
        assert!(!message.contains("panicked"), "{message}");
        let messages = message.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(messages, 1, "{message}");
        message
    }

    fn summary(&self, out: &str) -> Value {
        serde_json::from_slice(&fs::read(self.out(out).join("summary.json")).unwrap()).unwrap()
    }
}

fn succeeded(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// Everything that must be the same in two runs of the same seed.
fn results(out: &Path) -> Vec<(String, Vec<u8>)> {
    [
        "summary.json",
        "metrics.csv",
        "report.html",
        "resnet18/weights.safetensors",
    ]
    .map(|name| (name.to_owned(), fs::read(out.join(name)).unwrap()))
    .to_vec()
}

fn assert_same(one: &Path, other: &Path) {
    for ((name, one), (_, other)) in results(one).iter().zip(results(other)) {
        assert!(*one == other, "{name} differs");
    }
}

/// Runs until the first file of more than a megabyte, in the middle of which the run is killed.
fn kill_while_it_writes(command: &Command) {
    let killed = Command::new("sh")
        .args(["-c", "ulimit -c 0; ulimit -f 1000; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap();
    assert_eq!(killed.status.code(), None, "it was not killed: {killed:?}");
}

/// The names of the unfinished files in a run's folder.
fn unfinished(out: &Path) -> Vec<String> {
    ["", "resnet18", "resnet18/checkpoints"]
        .iter()
        .flat_map(|folder| fs::read_dir(out.join(folder)).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("unfinished"))
        .collect()
}

fn is_score(value: &Value) -> bool {
    value.as_f64().is_some_and(|value| (0.0..=1.0).contains(&value))
}

#[test]
fn it_writes_what_it_promises_and_the_same_again() {
    let folder = Folder::new();
    let said = succeeded(&folder.run("one", &[]));
    let out = folder.out("one");
    assert!(said.contains(&out.join("report.html").display().to_string()), "{said}");

    let summary = folder.summary("one");
    let network = &summary["networks"][0];
    assert_eq!(network["network"], "resnet18");
    for score in ["auc", "balanced_accuracy", "accuracy"] {
        assert!(is_score(&network["test"][score]), "{score}: {}", network["test"]);
        for row in network["retraining"].as_array().unwrap() {
            assert!(is_score(&row[score]), "{score}: {row}");
        }
    }
    let names = |rows: &str, name: &str| -> Vec<String> {
        let rows = network[rows].as_array().unwrap().iter();
        rows.map(|row| row[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        names("retraining", "filter"),
        ["unfiltered", "keep-hottest", "remove-hottest", "keep-random"]
    );
    assert_eq!(
        names("segmentation", "rule"),
        [
            "fixed-0.5",
            "otsu",
            "validation-best",
            "everything",
            "random-heatmap",
            "centred-disk"
        ]
    );
    for row in network["segmentation"].as_array().unwrap() {
        for score in ["dice", "iou"] {
            let part = |name: &str| row[score][name].as_f64().unwrap();
            assert!(
                0.0 <= part("low") && part("low") <= part("mean") && part("mean") <= part("high"),
                "{row}"
            );
        }
    }
    // Everything marked: Dice is 2a / (1 + a) of the lesion's share a of each image.
    let mut table = csv::Reader::from_path(out.join("metrics.csv")).unwrap();
    let header = table.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let rows: Vec<_> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 32);
    let mut groups = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for row in &rows {
        let part = ["train", "validation", "test"]
            .iter()
            .position(|part| *part == &row[column("part")])
            .unwrap();
        groups[part].insert(row[column("group")].to_owned());
        let scored = part > 0 && &row[column("lesion")] == "true";
        assert_eq!(!row[column("dice_everything")].is_empty(), scored, "{row:?}");
        if scored {
            let name = format!(
                "{}.png",
                Path::new(&row[column("image")]).file_stem().unwrap().display()
            );
            let mask = image::open(folder.data().join("masks").join(name))
                .unwrap()
                .into_luma8();
            let share = mask.pixels().filter(|pixel| pixel.0[0] > 0).count() as f64 / (64.0 * 64.0);
            let dice: f64 = row[column("dice_everything")].parse().unwrap();
            assert!((dice - 2.0 * share / (1.0 + share)).abs() < 1e-12);
        }
    }
    assert!(
        groups[0].is_disjoint(&groups[1]) && groups[0].is_disjoint(&groups[2]) && groups[1].is_disjoint(&groups[2])
    );
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("data:image/png;base64,") && report.contains("<svg"));
    let overlays = fs::read_dir(out.join("resnet18/overlays")).unwrap().count();
    let lesions = rows
        .iter()
        .filter(|row| &row[column("part")] == "test" && &row[column("lesion")] == "true")
        .count();
    assert_eq!(overlays, lesions);

    // With as many threads as there are cores, as a user has it.
    succeeded(
        &folder
            .command("two", &[])
            .env_remove("OMP_NUM_THREADS")
            .output()
            .unwrap(),
    );
    succeeded(
        &folder
            .command("three", &[])
            .env_remove("OMP_NUM_THREADS")
            .output()
            .unwrap(),
    );
    assert_same(&folder.out("two"), &folder.out("three"));
    succeeded(&folder.run("two", &[]));
    assert_same(&out, &folder.out("two"));
    succeeded(&folder.run("other", &["--seed", "6"]));
    assert_ne!(summary["networks"], folder.summary("other")["networks"]);
}

#[test]
fn killed_and_resumed_it_ends_with_the_same_numbers() {
    let folder = Folder::new();
    succeeded(&folder.run("whole", &[]));
    // Killed as soon as this training has left its first checkpoint, and again in the middle of the next large file:
    // the second checkpoint, or the weights, which are written again when the first training is found finished.
    for (training, torn) in [
        ("unfiltered", heatmap_filter::train::TEMPORARY_PREFIX),
        ("remove-hottest", models::TEMPORARY_PREFIX),
    ] {
        let mut run = folder.command(training, &[]).stdout(Stdio::null()).spawn().unwrap();
        let checkpoint = folder
            .out(training)
            .join(format!("resnet18/checkpoints/{training}.safetensors"));
        let started = Instant::now();
        while !checkpoint.exists() {
            assert!(run.try_wait().unwrap().is_none(), "it ended before it was killed");
            assert!(started.elapsed() < Duration::from_secs(600), "no checkpoint came");
            sleep(Duration::from_millis(2));
        }
        run.kill().unwrap();
        run.wait().unwrap();
        // What was found before the kill is there already.
        assert_eq!(
            folder.out(training).join("report.html").exists(),
            training != "unfiltered"
        );
        kill_while_it_writes(&folder.command(training, &["--resume"]));
        let left = unfinished(&folder.out(training));
        assert!(left.len() == 1 && left[0].starts_with(torn), "{left:?}");
        let said = succeeded(&folder.run(training, &["--resume"]));
        assert!(said.contains("of 2 epochs were done before"), "{said}");
        assert_eq!(unfinished(&folder.out(training)), [""; 0]);
        assert_same(&folder.out("whole"), &folder.out(training));
    }
    // A finished run trains nothing again, and other settings are refused.
    let said = succeeded(&folder.run("whole", &["--resume"]));
    assert_eq!(said.matches("2 of 2 epochs were done before").count(), 4, "{said}");
    let output = folder.run("whole", &["--resume", "--seed", "6"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && message.contains("--seed 5") && message.contains("--seed 6"),
        "{message}"
    );
}

#[test]
fn bad_images_are_left_out_and_listed_unless_strict() {
    let folder = Folder::new();
    let image = |name: &str| folder.data().join(name);
    fs::write(image("images/3.png"), "no picture").unwrap();
    GrayImage::new(10, 12).save(image("masks/4.png")).unwrap();
    fs::remove_file(image("masks/5.png")).unwrap();
    let said = succeeded(&folder.run("out", &["--epochs", "1", "--filters", "keep-hottest"]));
    let report = fs::read_to_string(folder.out("out").join("report.html")).unwrap();
    let end = said.split("could not be used").nth(1).expect("a list at the end");
    for name in ["3.png", "4.png", "5.png"] {
        assert!(end.contains(name) && report.contains(name), "{name}: {end}");
    }
    assert_eq!(folder.summary("out")["data"]["faults"].as_array().unwrap().len(), 3);
    assert!(folder.error(&["--strict"]).contains("3.png"));
}

#[test]
fn networks_without_a_heatmap_are_refused_at_once() {
    let folder = Folder::new();
    for network in ["basic_unet_2d", "resnet10_3d"] {
        let message = folder.error(&["--model", network]);
        assert!(
            message.contains(&format!("{network}, which does not classify images")),
            "{message}"
        );
    }
}

#[test]
fn faults_give_one_message_that_names_the_file() {
    let folder = Folder::new();
    let path = |path: &Path| path.to_str().unwrap().to_owned();

    let weights = folder.out("weights.safetensors");
    tch::Tensor::write_safetensors(&[("conv1.weight", tch::Tensor::from_slice(&[1.0f32]))], &weights).unwrap();
    let message = folder.error(&["--weights", &path(&weights)]);
    for part in [
        "weights.safetensors",
        "missing",
        "layer4.1.bn2.running_var",
        "conv1.weight (is [1], expected [64, 3, 7, 7])",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    fs::write(&weights, "no tensors").unwrap();
    assert!(
        folder
            .error(&["--weights", &path(&weights)])
            .contains("weights.safetensors")
    );

    let file = folder.out("file");
    fs::write(&file, "").unwrap();
    let within = path(&file.join("out"));
    let message = folder.error(&["--out", &within]);
    assert!(
        message.contains(&within) && message.contains("cannot be written"),
        "{message}"
    );

    let message = folder.error(&["--layer", "layer9"]);
    assert!(message.contains("layer9") && message.contains("layer4.1"), "{message}");
    assert!(folder.error(&["--layer", "avgpool"]).contains("[1, 512, 1, 1]"));
    assert!(folder.error(&["--hottest", "1.5"]).contains("1.5"));
    let message = folder.error(&["--image-size", "8", "--model", "squeezenet1_0"]);
    assert!(
        message.contains("squeezenet1_0") && message.contains("8×8"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(
        folder
            .error(&["--weights", &path(&weights), "--model", "squeezenet1_0"])
            .contains("weights")
    );

    let elsewhere = Folder::new();
    fs::rename(elsewhere.data().join("masks"), elsewhere.data().join("outlines")).unwrap();
    let message = elsewhere.error(&[]);
    assert!(
        message.contains(&path(&elsewhere.data())) && message.contains("masks"),
        "{message}"
    );

    // No lesion at all: an empty class.
    let empty = Folder::new();
    for mask in fs::read_dir(empty.data().join("masks")).unwrap() {
        GrayImage::new(64, 64).save(mask.unwrap().path()).unwrap();
    }
    assert!(empty.error(&[]).contains("lesion"));
}

#[test]
fn layers_are_listed_with_what_they_are() {
    let output = Command::new(program())
        .args([
            "--list-layers",
            "--model",
            "resnet18,squeezenet1_0",
            "--image-size",
            "64",
        ])
        .output()
        .unwrap();
    let said = succeeded(&output);
    let rows: Vec<Vec<&str>> = said
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|column| !column.is_empty())
                .collect()
        })
        .collect();
    for row in [
        ["layer4.1", "[1, 512, 2, 2]", "4720640", "18874368"],
        ["features.12", "[1, 512, 3, 3]", "197184", "1769472"],
        ["fc", "[1, 2]", "1026", "1024"],
    ] {
        assert!(rows.iter().any(|found| *found == row), "{row:?}: {said}");
    }
}
