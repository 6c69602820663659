//! Heatmaps from what another framework computed: plain slices in, plain slices and a picture out.
//!
//! Nothing here needs libtorch: `gradcam-core` with `default-features = false` has all of it. The kernels
//! take `ndarray` views, and a view of a slice costs nothing. Where the slices come from:
//!
//! ```text
//! candle        let layer = Var::from_tensor(&trunk(&image)?)?;            // a graph from here on
//!               let gradients = tail(&layer)?.get((0, class))?.backward()?;
//!               let gradient = gradients.get(&layer).unwrap().flatten_all()?.to_vec1::<f32>()?;
//!               let activations = layer.flatten_all()?.to_vec1::<f32>()?;
//!               let (n, c, h, w) = layer.dims4()?;
//!
//! burn          let layer = trunk(image).detach().require_grad();
//!               let gradients = tail(layer.clone()).slice([0..1, class..class + 1]).sum().backward();
//!               let gradient = layer.grad(&gradients).unwrap().into_data().to_vec::<f32>()?;
//!               let activations = layer.to_data().to_vec::<f32>()?;
//!               let [n, c, h, w] = layer.dims();
//!
//! ONNX Runtime  let (shape, activations) = outputs["layer"].try_extract_tensor::<f32>()?;
//!               no gradients there: see `from_head`
//! ```
//!
//! `cargo run --example heatmap_from_arrays -- DIR` writes two pictures into DIR.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use gradcam_core::{ColourMap, Parallelism, grey, kernel, overlay, side_by_side};
use image::{Rgb, RgbImage};
use ndarray::{Array2, ArrayView2, ArrayView4};

/// Side of the image in pixels, and of the blocks that the layer sees as one place.
const SIDE: usize = 96;
const BLOCK: usize = 8;
const CHANNELS: usize = 3;

fn main() -> Result<()> {
    let out = PathBuf::from(
        std::env::args()
            .nth(1)
            .context("the folder for the pictures is missing")?,
    );
    for file in write(&out)? {
        println!("{}", file.display());
    }
    Ok(())
}

/// Writes a picture for each of the two ways.
fn write(out: &Path) -> Result<[PathBuf; 2]> {
    let network = OtherFramework::run();
    let size = (SIDE, SIDE);

    // candle, burn: activations and gradients of one shape, one after the other.
    let (activations, gradients) = (&network.activations, &network.gradients);
    let by_gradients = from_gradients(activations, gradients, network.shape, size)?;
    // ONNX Runtime: activations, and the weights of the class in the last layer, read from the model's file.
    let by_head = from_head(activations, network.shape, &network.head, size)?;

    std::fs::create_dir_all(out)?;
    let image = ArrayView2::from_shape(size, &network.image)?;
    let write = |name: &str, heatmap: &[f32]| -> Result<PathBuf> {
        let file = out.join(name);
        picture(image, ArrayView2::from_shape(size, heatmap)?)?.save(&file)?;
        Ok(file)
    };
    Ok([
        write("from_gradients.png", &by_gradients)?,
        write("from_head.png", &by_head)?,
    ])
}

/// Grad-CAM of one sample, `size.0 · size.1` values in 0..=1, row by row.
///
/// `shape` is `[1, C, h, w]` and so are both slices, the last axis next to each other. A framework that
/// keeps channels last has a view for that too: `.permuted_axes([0, 3, 1, 2])` of a view `[1, h, w, C]`.
fn from_gradients(activations: &[f32], gradients: &[f32], shape: [usize; 4], size: (usize, usize)) -> Result<Vec<f32>> {
    let activations = ArrayView4::from_shape(shape, activations)?;
    let gradients = ArrayView4::from_shape(shape, gradients)?;
    let maps = kernel::grad_cam(activations, gradients, Parallelism::Rayon)?;
    let heatmaps = kernel::heatmaps(maps.view(), &[size.0, size.1], Parallelism::Rayon)?;
    // Out again as a vector, which any framework takes.
    Ok(heatmaps.maps.into_raw_vec_and_offset().0)
}

/// The same without a backward pass, for a network that ends in a mean over space and a linear layer.
///
/// There the gradient of a class's logit at channel `k` is `head[k] / (h w)` at every place, `head` being
/// the class's row of weights. A broadcast view says so without the values being written out.
fn from_head(activations: &[f32], shape: [usize; 4], head: &[f32], size: (usize, usize)) -> Result<Vec<f32>> {
    let places = (shape[2] * shape[3]) as f32;
    let slopes: Vec<f32> = head.iter().map(|weight| weight / places).collect();
    let activations = ArrayView4::from_shape(shape, activations)?;
    let gradients = ArrayView4::from_shape([1, head.len(), 1, 1], &slopes)?;
    let gradients = gradients.broadcast(shape).context("one weight for each channel")?;
    let maps = kernel::grad_cam(activations, gradients, Parallelism::Rayon)?;
    let heatmaps = kernel::heatmaps(maps.view(), &[size.0, size.1], Parallelism::Rayon)?;
    Ok(heatmaps.maps.into_raw_vec_and_offset().0)
}

/// The image beside the image under its heatmap.
fn picture(image: ArrayView2<'_, f32>, heatmap: ArrayView2<'_, f32>) -> Result<RgbImage> {
    let image = grey(image)?;
    let painted = overlay(&image, heatmap, ColourMap::Viridis, 0.5)?;
    Ok(side_by_side(&[image, painted], 2, 4, Rgb([255; 3]))?)
}

/// What stands in for another framework: an image with a bright disk and a dark one, a layer with three
/// channels (bright, dark and uneven blocks), and a head that likes bright and dislikes dark ones.
struct OtherFramework {
    image: Vec<f32>,
    shape: [usize; 4],
    activations: Vec<f32>,
    gradients: Vec<f32>,
    head: Vec<f32>,
}

impl OtherFramework {
    fn run() -> Self {
        let disk = |y: usize, x: usize, cy: f32, cx: f32| (y as f32 - cy).hypot(x as f32 - cx) < 14.0;
        let image = Array2::from_shape_fn((SIDE, SIDE), |(y, x)| {
            if disk(y, x, 28.0, 68.0) {
                1.0
            } else if disk(y, x, 68.0, 24.0) {
                0.0
            } else {
                0.5
            }
        });
        let grid = SIDE / BLOCK;
        let shape = [1, CHANNELS, grid, grid];
        let mut activations = vec![0f32; CHANNELS * grid * grid];
        for (place, block) in image.exact_chunks((BLOCK, BLOCK)).into_iter().enumerate() {
            let count = (BLOCK * BLOCK) as f32;
            let channels = [
                block.iter().map(|&value: &f32| (value - 0.5).max(0.0)).sum::<f32>() / count,
                block.iter().map(|&value: &f32| (0.5 - value).max(0.0)).sum::<f32>() / count,
                block.std(0.0),
            ];
            for (channel, value) in channels.into_iter().enumerate() {
                activations[channel * grid * grid + place] = value;
            }
        }
        let head = vec![2.0, -1.0, 0.1];
        let places = (grid * grid) as f32;
        let gradients = head
            .iter()
            .flat_map(|weight| vec![weight / places; grid * grid])
            .collect();
        Self {
            image: image.into_raw_vec_and_offset().0,
            shape,
            activations,
            gradients,
            head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_find_the_bright_disk() {
        let network = OtherFramework::run();
        let size = (SIDE, SIDE);
        let one = from_gradients(&network.activations, &network.gradients, network.shape, size).unwrap();
        let other = from_head(&network.activations, network.shape, &network.head, size).unwrap();
        assert!(one.iter().zip(&other).all(|(one, other)| (one - other).abs() < 1e-6));
        let at = |y: usize, x: usize| one[y * SIDE + x];
        assert!(at(28, 68) > 0.9, "the bright disk is {}", at(28, 68));
        assert!(at(68, 24) < 0.1, "the dark disk is {}", at(68, 24));
        assert!(at(4, 4) < 0.05, "the background is {}", at(4, 4));
    }

    #[test]
    fn pictures_are_written() {
        let folder = tempfile::tempdir().unwrap();
        for file in write(folder.path()).unwrap() {
            let picture = image::open(&file).unwrap();
            assert_eq!((picture.width(), picture.height()), (2 * SIDE as u32 + 4, SIDE as u32));
        }
    }

    #[test]
    fn slices_that_do_not_fit_are_refused() {
        let network = OtherFramework::run();
        let short = &network.gradients[1..];
        assert!(from_gradients(&network.activations, short, network.shape, (8, 8)).is_err());
        assert!(from_head(&network.activations, network.shape, &network.head[1..], (8, 8)).is_err());
    }
}
