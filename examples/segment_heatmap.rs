//! A heatmap to a mask, and the mask's outline on the image.
//!
//! ```sh
//! cargo run --release --example segment_heatmap -- --heatmap heat.npy --image scan.png \
//!   --pipeline pipeline.json --out masks
//! ```
//!
//! `pipeline.json` holds the steps, for instance
//!
//! ```json
//! {"segmentation": {"random_walker": {"beta": 130.0}}, "clean_up": [{"fill_holes": {}}, {"largest": {}}]}
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use gradcam_core::{contour, grey};
use heatmap_seg::{Image, Pipeline};
use image::{DynamicImage, GrayImage, ImageReader, Luma, Rgb};
use ndarray::{Array2, Array3};
use tch::{Kind, Tensor};

/// Makes a mask of a heatmap, and draws its outline on the image.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The heatmap: a grey PNG, black for 0 and white for 1, or a .npy of two axes with values from 0 to 1
    #[arg(long, value_name = "FILE")]
    heatmap: PathBuf,

    /// The image, of the heatmap's size; it is seen in grey unless --colour is given, from 0 to 1
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,

    /// Refines by the image's red, green and blue instead of its grey
    #[arg(long, requires = "image")]
    colour: bool,

    /// The steps from heatmap to mask, as JSON [default: Otsu's threshold]
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,

    /// The folder for the pictures, made if it is not there
    #[arg(long, value_name = "DIR", default_value = "masks")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the options ask for and returns what to say about it.
fn run(options: &Options) -> Result<String> {
    let pipeline = match &options.pipeline {
        Some(file) => {
            let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
            serde_json::from_str(&text).with_context(|| file.display().to_string())?
        }
        None => Pipeline::default(),
    };
    let heatmap = read(&options.heatmap)?;
    let image = options.image.as_deref().map(read).transpose()?;
    let in_colour = options.image.as_deref().filter(|_| options.colour);
    let colours = in_colour.map(read_colours).transpose()?;
    let seen = match &colours {
        Some(colours) => Some(Image::Channels(colours.view())),
        None => image.as_ref().map(|image| image.view().into()),
    };
    let mask = pipeline.apply(heatmap.view(), seen)?;

    fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let stem = options.heatmap.file_stem().unwrap_or_default().to_string_lossy();
    let file = options.out.join(format!("{stem}-mask.png"));
    let (height, width) = mask.dim();
    let picture = GrayImage::from_fn(width as u32, height as u32, |x, y| {
        Luma([if mask[(y as usize, x as usize)] { 255 } else { 0 }])
    });
    picture.save(&file).with_context(|| file.display().to_string())?;
    if let Some(image) = &image {
        let file = options.out.join(format!("{stem}-outline.png"));
        let outlined = contour(&grey(image.view())?, mask.view(), Rgb([255, 64, 64]), 1)?;
        outlined.save(&file).with_context(|| file.display().to_string())?;
    }
    let marked = mask.iter().filter(|&&on| on).count();
    let share = 100.0 * marked as f64 / mask.len() as f64;
    Ok(format!(
        "{marked} of {} pixels ({share:.1} %), {}",
        mask.len(),
        file.display()
    ))
}

/// An array of .npy, or a picture's grey from 0 to 1.
fn read(file: &Path) -> Result<Array2<f32>> {
    let name = || file.display().to_string();
    if file.extension().is_some_and(|extension| extension == "npy") {
        let array = Tensor::read_npy(file).with_context(name)?.to_kind(Kind::Float);
        let shape = array.size();
        ensure!(
            shape.len() == 2,
            "{} has the shape {shape:?}; expected two axes",
            name()
        );
        let values: Vec<f32> = array.contiguous().view([-1]).try_into()?;
        return Ok(Array2::from_shape_vec((shape[0] as usize, shape[1] as usize), values)?);
    }
    let picture = decode(file)?.into_luma16();
    let size = (picture.height() as usize, picture.width() as usize);
    let values = picture.into_raw().into_iter().map(|value| f32::from(value) / 65535.0);
    Ok(Array2::from_shape_vec(size, values.collect())?)
}

/// A picture's red, green and blue from 0 to 1, as [H, W, 3].
fn read_colours(file: &Path) -> Result<Array3<f32>> {
    let picture = decode(file)?.into_rgb32f();
    let shape = (picture.height() as usize, picture.width() as usize, 3);
    Ok(Array3::from_shape_vec(shape, picture.into_raw())?)
}

fn decode(file: &Path) -> Result<DynamicImage> {
    let name = || file.display().to_string();
    let reader = ImageReader::open(file).with_context(name)?.with_guessed_format()?;
    reader.decode().with_context(name)
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    /// A bright disk under a blurred heatmap: the walker finds its edge, Otsu's threshold does not.
    #[test]
    fn the_walker_finds_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let inside = |y: usize, x: usize| (y.abs_diff(32).pow(2) + x.abs_diff(28).pow(2)) <= 144;
        let heatmap = Array2::from_shape_fn((64, 64), |(y, x)| {
            (-((y as f32 - 32.0).powi(2) + (x as f32 - 28.0).powi(2)) / 150.0).exp()
        });
        let values: Vec<f32> = heatmap.iter().copied().collect();
        Tensor::from_slice(&values)
            .view([64, 64])
            .write_npy(file("heat.npy"))
            .unwrap();
        GrayImage::from_fn(64, 64, |x, y| {
            Luma([if inside(y as usize, x as usize) { 200 } else { 60 }])
        })
        .save(file("scan.png"))
        .unwrap();
        fs::write(file("walker.json"), r#"{"segmentation":{"random_walker":{}}}"#).unwrap();
        let mut options = Options {
            heatmap: file("heat.npy"),
            image: Some(file("scan.png")),
            colour: false,
            pipeline: Some(file("walker.json")),
            out: file("out"),
        };
        let disk = "441 of 4096 pixels";
        let line = run(&options).unwrap();
        assert!(line.starts_with(disk), "{line}");
        let mask = read(&file("out/heat-mask.png")).unwrap();
        assert!(
            mask.indexed_iter()
                .all(|((y, x), &value)| (value == 1.0) == inside(y, x))
        );
        assert!(file("out/heat-outline.png").exists());

        // In colour only: red as bright as the ground is green, which grey does not tell apart.
        RgbImage::from_fn(64, 64, |x, y| {
            Rgb(if inside(y as usize, x as usize) {
                [202, 0, 0]
            } else {
                [0, 60, 0]
            })
        })
        .save(file("red.png"))
        .unwrap();
        options.image = Some(file("red.png"));
        assert!(!run(&options).unwrap().starts_with(disk));
        options.colour = true;
        assert!(run(&options).unwrap().starts_with(disk));

        options.colour = false;
        options.pipeline = None;
        assert!(!run(&options).unwrap().starts_with(disk));
        options.pipeline = Some(file("walker.json"));
        options.image = None;
        assert!(run(&options).unwrap_err().to_string().contains("needs the image"));
    }
}
