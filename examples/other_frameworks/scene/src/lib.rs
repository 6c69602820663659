//! What the examples share: two images, the weights of a trained network, the maps that are expected of it, pictures.
//!
//! The network tells a bright disk from a dark one and from none. Each image holds one of either; the first is explained
//! for the bright disk, the second for the dark one. `make.py` trained it and made the maps with captum and numpy.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use gradcam_core::{ColourMap, grey, overlay, side_by_side};
use image::Rgb;
use ndarray::{Array, Array3, Array4, ArrayView2, ArrayView3, Axis, Dimension, IxDyn};
use safetensors::{Dtype, SafeTensors};

/// Images, weights and expected maps as a safetensors file.
pub const TENSORS: &[u8] = include_bytes!("../scene.safetensors");
/// The network as an ONNX model, with the layer `relu2` among its outputs.
pub const ONNX: &[u8] = include_bytes!("../network.onnx");
/// Side of the images in pixels.
pub const SIDE: usize = 64;
/// The class that each image is explained for: bright, dark.
pub const CLASSES: [usize; 2] = [0, 1];
/// Row and column of the disk of that class, and of the other one.
pub const CENTRES: [[[usize; 2]; 2]; 2] = [[[18, 44], [46, 18]], [[44, 46], [20, 16]]];

/// A tensor of [`TENSORS`].
///
/// # Errors
/// When there is none of this name or it has another number of axes.
pub fn tensor<D: Dimension>(name: &str) -> Result<Array<f32, D>> {
    let tensors = SafeTensors::deserialize(TENSORS)?;
    let tensor = tensors.tensor(name)?;
    ensure!(tensor.dtype() == Dtype::F32, "{name} is {:?}", tensor.dtype());
    let values = tensor
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let array = Array::from_shape_vec(IxDyn(tensor.shape()), values)?;
    array
        .into_dimensionality()
        .with_context(|| format!("the axes of {name}"))
}

/// Writes for each image the image beside the image under its heatmap.
///
/// # Errors
/// When the heatmaps have another size or the folder cannot be written.
pub fn write_pictures(folder: &Path, name: &str, heatmaps: ArrayView3<'_, f32>) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let images: Array4<f32> = tensor("images")?;
    let samples = images.axis_iter(Axis(0)).zip(heatmaps.axis_iter(Axis(0)));
    let write = |(image, heatmap): (ArrayView3<'_, f32>, ArrayView2<'_, f32>), class| {
        let image = grey(image.index_axis(Axis(0), 0))?;
        let painted = overlay(&image, heatmap, ColourMap::Viridis, 0.5)?;
        let file = folder.join(format!("{name}_{class}.png"));
        side_by_side(&[image, painted], 2, 4, Rgb([255; 3]))?.save(&file)?;
        Ok(file)
    };
    samples
        .zip(["bright", "dark"])
        .map(|(sample, class)| write(sample, class))
        .collect()
}

/// The largest difference of heatmaps from those that `make.py` wrote under this name, in values of 0..=1.
///
/// # Errors
/// When there are none of this name, they have another shape, or a value is not finite.
pub fn largest_difference(name: &str, heatmaps: ArrayView3<'_, f32>) -> Result<f32> {
    let expected: Array3<f32> = tensor(name)?;
    ensure!(
        heatmaps.shape() == expected.shape(),
        "heatmaps of shape {:?} instead of {:?}",
        heatmaps.shape(),
        expected.shape()
    );
    // `max` would pass over NaN.
    ensure!(
        heatmaps.iter().all(|value| value.is_finite()),
        "not every value is finite"
    );
    let differences = heatmaps.iter().zip(&expected).map(|(one, other)| (one - other).abs());
    Ok(differences.fold(0.0, f32::max))
}

/// Whether each image's heatmap is hot at the disk of its class and cold at the other one.
pub fn marks_the_right_disks(heatmaps: ArrayView3<'_, f32>) -> bool {
    heatmaps
        .axis_iter(Axis(0))
        .zip(CENTRES)
        .all(|(heatmap, [right, other])| heatmap[right] > 0.9 && heatmap[other] < 0.1)
}
