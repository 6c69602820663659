//! A heatmap of one image: where the network saw a class, painted onto the picture.
//!
//! ```sh
//! cargo run --release --example heatmap -- --model squeezenet1_0 --list-layers
//! cargo run --release --example heatmap -- --model squeezenet1_0 --weights squeezenet1_0.safetensors \
//!   --image dog.jpg --method layercam --target top-3 --out heatmaps
//! ```

// In a program, `pub` is for its other modules.
#![allow(unreachable_pub)]

mod method;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use gradcam_core::{
    ColourMap, Content, GradientMethod, Probe, Stage, Stages, Target, Window, grey, last_spatial, overlay, side_by_side,
};
use image::{DynamicImage, ImageReader, Rgb, RgbImage, imageops};
use models::{Architecture, DeviceChoice, Head, Network, NetworkConfig, Output};
use ndarray::Array2;
use tch::{Kind, Tensor};

use crate::method::{Explained, Method};

/// Paints onto an image where a classifier saw a class.
///
/// For each target it writes the image beside the image under its heatmap, in the image's own size, and prints
/// the class, its probability and the file.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The image: PNG, JPEG, BMP or TIFF. Grey of 16 bits is shown from its 1st to its 99th percentile
    #[arg(long, value_name = "FILE", required_unless_present = "list_layers")]
    image: Option<PathBuf>,

    /// The network: torchvision's name, or Keras's behind keras_, such as keras_xception; a name that is none lists them
    /// all
    #[arg(long, value_name = "NAME")]
    model: Architecture,

    /// Its weights, safetensors or a PyTorch state dict
    #[arg(long, value_name = "FILE", required_unless_present = "list_layers")]
    weights: Option<PathBuf>,

    /// The number of classes that the weights are for
    #[arg(long, default_value_t = 1000)]
    classes: i64,

    /// The names of the classes, one a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// Side of the square that the network sees, in pixels [default: what the network was designed for]
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<u32>,

    /// The layer to look at [default: the last with spatial extent]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,

    /// Print the layers with their output shapes, parameters and multiply-adds, and stop
    #[arg(long)]
    list_layers: bool,

    /// How the map is made, such as grad-cam, grad-cam++, layercam, ablation-cam or score-cam; a name that is none
    /// lists them all
    #[arg(long, value_name = "NAME", default_value_t = Method::Gradient(GradientMethod::GradCam))]
    method: Method,

    /// What to explain: a class by its number, counted from 0, or top-K for the K most likely
    #[arg(long, value_name = "CLASS|top-K", default_value = "top-1")]
    target: Classes,

    /// Show the evidence against the class instead of that for it
    #[arg(long)]
    against: bool,

    /// How much of the heatmap's colour there is, from 0 to 1
    #[arg(long, default_value_t = 0.5)]
    alpha: f32,

    /// Where to run: auto, cpu, cuda or cuda:N
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,

    /// The folder for the pictures, made if it is not there
    #[arg(long, value_name = "DIR", default_value = "heatmaps")]
    out: PathBuf,
}

/// `--target`.
#[derive(Debug, Clone, PartialEq)]
enum Classes {
    Class(i64),
    Top(usize),
}

impl FromStr for Classes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text.strip_prefix("top-") {
            Some(count) => count.parse().ok().filter(|&count| count > 0).map(Self::Top),
            None => text.parse().ok().map(Self::Class),
        };
        parsed.with_context(|| format!("`{text}` is neither a class's number nor top-K"))
    }
}

fn main() -> ExitCode {
    models::keep_freed_memory();
    match run(&Options::parse()) {
        Ok(lines) => {
            for line in lines {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let message = format!("{error:#}");
            // libtorch's errors end in a trace of its C++ calls.
            let message = message.split("\nException raised from").next().unwrap_or(&message);
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the options ask for and returns what to say about it.
fn run(options: &Options) -> Result<Vec<String>> {
    ensure!(
        options.model.axes() == 2 && options.model.output() == Output::Image,
        "--model names {}, which does not classify images",
        options.model
    );
    let mut network = NetworkConfig::new(options.model)
        .with_classes(options.classes)
        .build(options.device.device()?)?;
    let side = options.image_size.map_or(network.input().size, i64::from);
    if options.list_layers {
        return list_layers(&network, side);
    }
    let (Some(file), Some(weights)) = (&options.image, &options.weights) else {
        bail!("--image and --weights are needed");
    };
    network.load(weights, Head::Exact)?;
    let labels = labels(options)?;
    let picture = read(file)?;
    let input = network
        .input()
        .prepare(&tensor(&picture, side)?.f_to_device(network.device())?)?;

    // One forward pass serves every target.
    let stages = stages(&network)?;
    let layer = match &options.layer {
        Some(layer) => layer.clone(),
        None => last_spatial(&stages.shapes(&input)?)
            .with_context(|| format!("no layer of {} has a spatial extent at {side} pixels", options.model))?
            .to_owned(),
    };
    let capture = stages.capture(&input, &[&layer])?;
    let probabilities: Vec<f32> = capture.logits().f_softmax(1, Kind::Float)?.f_view([-1])?.try_into()?;
    let targets = match options.target {
        Classes::Class(class) => vec![Target::Class(class)],
        Classes::Top(count) => (0..count).map(Target::Ranked).collect(),
    };
    let of = Explained {
        stages: &stages,
        input: &input,
        capture: &capture,
        layer: &layer,
    };

    fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let size = [i64::from(picture.height()), i64::from(picture.width())];
    let mut lines = vec![format!("{} at {layer} of {}", options.method, options.model)];
    for target in targets {
        let named = Probe::from_capture(&stages, &input, &capture, std::slice::from_ref(&target))?.classes();
        let class = named[0].context("a class was asked for")?;
        let target = if options.against {
            target.counterfactual()
        } else {
            target
        };
        let heatmaps = options.method.maps(&of, target)?.heatmaps(&size)?;
        let heat = heatmaps.to_array3()?;
        let painted = overlay(
            &picture,
            heat.index_axis(ndarray::Axis(0), 0),
            ColourMap::Inferno,
            options.alpha,
        )?;
        let sides = side_by_side(&[picture.clone(), painted], 2, 4, Rgb([255; 3]))?;
        let sign = if options.against { "-against" } else { "" };
        let path = options.out.join(format!("{stem}-{}-{class}{sign}.png", options.method));
        sides.save(&path).with_context(|| path.display().to_string())?;

        let name = labels
            .get(class as usize)
            .map_or(String::new(), |name| format!(" {name}"));
        let probability = probabilities[class as usize];
        let nothing = match heatmaps.contents()[0] {
            Content::Graded => "",
            _ => " (the map holds nothing)",
        };
        lines.push(format!(
            "class {class}{name}: probability {probability:.3}, {}{nothing}",
            path.display()
        ));
    }
    Ok(lines)
}

/// A network as the heatmap crate sees it.
fn stages(network: &Network) -> Result<Stages<'_>> {
    let stages = network.stages().iter();
    let stages = stages.map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)));
    Ok(Stages::new(stages.collect())?.with_fused(|range, x, carried| network.forward_stages(range, x, carried)))
}

fn list_layers(network: &Network, side: i64) -> Result<Vec<String>> {
    let description = network.describe(&[1, network.input().channels(), side, side])?;
    Ok(description.to_string().lines().map(str::to_owned).collect())
}

fn labels(options: &Options) -> Result<Vec<String>> {
    let Some(file) = &options.labels else {
        return Ok(Vec::new());
    };
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let labels: Vec<String> = text.lines().map(str::to_owned).collect();
    ensure!(
        labels.len() as i64 == options.classes,
        "{} names {} classes; the network has {}",
        file.display(),
        labels.len(),
        options.classes
    );
    Ok(labels)
}

/// The image as a picture of 8 bits.
fn read(file: &Path) -> Result<RgbImage> {
    let image = ImageReader::open(file)
        .with_context(|| file.display().to_string())?
        .with_guessed_format()?
        .decode()
        .with_context(|| file.display().to_string())?;
    Ok(match image {
        DynamicImage::ImageLuma16(scan) => {
            let (width, height) = scan.dimensions();
            let values = Array2::from_shape_vec((height as usize, width as usize), scan.into_raw())?;
            let window = Window::Percentiles { low: 1.0, high: 99.0 };
            grey(window.apply(values.view())?.view())?
        }
        other => other.into_rgb8(),
    })
}

/// The whole picture on a square, values in 0..=1, `[1, 3, side, side]`.
fn tensor(picture: &RgbImage, side: i64) -> Result<Tensor> {
    let square = imageops::resize(picture, side as u32, side as u32, imageops::FilterType::Triangle);
    let values = Tensor::f_from_slice(square.as_raw())?.f_view([1, side, side, 3])?;
    Ok(values
        .f_to_kind(Kind::Float)?
        .f_div_scalar(255.0)?
        .f_permute([0, 3, 1, 2])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma};

    /// A folder with weights for three classes, their names, and pictures of 8 and 16 bits. The weights are of a
    /// formula: libtorch's generator is shared with the tests that run beside.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let network = NetworkConfig::new(Architecture::SqueezeNet1_0).with_classes(3);
        let network = network.build(tch::Device::Cpu).unwrap();
        for (name, mut variable) in network.variables().variables() {
            let shape = variable.size();
            let count = shape.iter().product::<i64>();
            let phase = name.bytes().map(i64::from).sum::<i64>();
            let waves = (Tensor::arange(count, (Kind::Float, tch::Device::Cpu)) * 1.7 + phase).sin();
            let scale = match shape.as_slice() {
                [_, inputs @ ..] if !inputs.is_empty() => (8.0 / inputs.iter().product::<i64>() as f64).sqrt(),
                _ => 0.1,
            };
            tch::no_grad(|| variable.copy_(&(waves.view(shape.as_slice()) * scale)));
        }
        network.save(folder.path().join("weights.safetensors")).unwrap();
        fs::write(folder.path().join("labels.txt"), "cat\ndog\nfrog\n").unwrap();
        let value = |x: u32, y: u32| x * 5 + y * 3 + 40 * u32::from((x / 9 + y / 7).is_multiple_of(2));
        RgbImage::from_fn(48, 32, |x, y| Rgb([value(x, y) as u8, value(y, x) as u8, 9]))
            .save(folder.path().join("scene.png"))
            .unwrap();
        ImageBuffer::from_fn(48, 32, |x, y| Luma([1000 + 10 * value(x, y) as u16]))
            .save(folder.path().join("scan.png"))
            .unwrap();
        folder
    }

    fn run_with(folder: &tempfile::TempDir, image: &str, more: &[&str]) -> Result<Vec<String>> {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (image, weights, labels, out) = (
            path(image),
            path("weights.safetensors"),
            path("labels.txt"),
            path("out"),
        );
        let mut arguments = vec![
            "heatmap",
            "--model",
            "squeezenet1_0",
            "--classes",
            "3",
            "--device",
            "cpu",
        ];
        arguments.extend(["--image-size", "64", "--image", &image, "--weights", &weights]);
        arguments.extend(["--labels", &labels, "--out", &out]);
        arguments.extend(more);
        run(&Options::try_parse_from(arguments)?)
    }

    #[test]
    fn each_method_paints_the_image_in_its_own_size() {
        let folder = folder();
        let original = image::open(folder.path().join("scene.png")).unwrap().into_rgb8();
        for method in Method::all() {
            let name = method.to_string();
            assert_eq!(name.parse::<Method>().unwrap(), method);
            let more = ["--method", &name, "--target", "top-1", "--layer", "classifier.2"];
            let lines = run_with(&folder, "scene.png", &more).unwrap();
            let class = lines[1].split(' ').nth(1).unwrap();
            let file = folder.path().join(format!("out/scene-{method}-{class}.png"));
            assert!(lines[1].contains(": probability 0."), "{lines:?}");
            assert!(lines[1].ends_with(&file.display().to_string()), "{lines:?}");
            let written = image::open(file).unwrap().into_rgb8();
            assert_eq!(written.dimensions(), (48 + 4 + 48, 32));
            assert_eq!(imageops::crop_imm(&written, 0, 0, 48, 32).to_image(), original);
        }
    }

    /// Behind it, other cells look at what is carried past it.
    #[test]
    fn an_inner_cell_of_nasnet_is_a_layer_like_any() {
        let folder = folder();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (image, weights, out) = (path("scene.png"), path("nasnet.safetensors"), path("out"));
        let network = NetworkConfig::new(Architecture::KerasNasNetMobile).with_classes(3);
        network.build(tch::Device::Cpu).unwrap().save(&weights).unwrap();
        for method in ["grad-cam", "ablation-cam"] {
            let arguments = [
                "heatmap",
                "--model",
                "keras_nasnet_mobile",
                "--classes",
                "3",
                "--device",
                "cpu",
            ];
            let more = [
                "--image-size",
                "64",
                "--image",
                &image,
                "--weights",
                &weights,
                "--out",
                &out,
            ];
            let layer = ["--method", method, "--layer", "normal_concat_2", "--target", "1"];
            let options = Options::try_parse_from(arguments.into_iter().chain(more).chain(layer)).unwrap();
            let lines = run(&options).unwrap();
            assert_eq!(lines[0], format!("{method} at normal_concat_2 of keras_nasnet_mobile"));
            assert!(folder.path().join(format!("out/scene-{method}-1.png")).is_file());
        }
    }

    #[test]
    fn the_most_likely_classes_come_in_order() {
        let folder = folder();
        let lines = run_with(&folder, "scan.png", &["--target", "top-3", "--layer", "features.3"]).unwrap();
        assert_eq!(lines[0], "grad-cam at features.3 of squeezenet1_0");
        let probability = |line: &str| -> f32 {
            let rest = line.split("probability ").nth(1).unwrap();
            rest.split(',').next().unwrap().parse().unwrap()
        };
        let found: Vec<f32> = lines[1..].iter().map(|line| probability(line)).collect();
        assert!(found.is_sorted_by(|a, b| a >= b), "{lines:?}");
        assert!((found.iter().sum::<f32>() - 1.0).abs() < 0.01);
        assert_eq!(fs::read_dir(folder.path().join("out")).unwrap().count(), 3);
        run_with(&folder, "scan.png", &["--target", "0", "--against"]).unwrap();
        assert!(folder.path().join("out/scan-grad-cam-0-against.png").is_file());
    }

    #[test]
    fn layers_are_listed_without_weights() {
        let options = [
            "heatmap",
            "--model",
            "squeezenet1_0",
            "--list-layers",
            "--image-size",
            "64",
        ];
        let lines = run(&Options::try_parse_from(options).unwrap()).unwrap();
        let line = lines.iter().find(|line| line.starts_with("features.12 ")).unwrap();
        let columns: Vec<_> = line
            .split("  ")
            .map(str::trim)
            .filter(|column| !column.is_empty())
            .collect();
        assert_eq!(columns, ["features.12", "[1, 512, 3, 3]", "197184", "1769472"]);
    }

    #[test]
    fn faults_are_told() {
        let folder = folder();
        let error = |image: &str, more: &[&str]| format!("{:#}", run_with(&folder, image, more).unwrap_err());
        assert!(
            error("scene.png", &["--layer", "layer4"]).contains("there is no layer `layer4`; there are: features.0")
        );
        assert!(error("scene.png", &["--target", "3"]).contains("there are 3 classes"));
        assert!(error("scene.png", &["--target", "top-4"]).contains("there are 3 classes"));
        assert!(error("scene.png", &["--target", "best"]).contains("neither a class's number nor top-K"));
        assert!(error("scene.png", &["--method", "cam5"]).contains("grad-cam++, xgrad-cam"));
        assert!(error("missing.png", &[]).contains("missing.png"));
        assert!(error("labels.txt", &[]).contains("labels.txt"));
        assert!(Options::try_parse_from(["heatmap", "--model", "squeezenet1_0"]).is_err());
    }
}
