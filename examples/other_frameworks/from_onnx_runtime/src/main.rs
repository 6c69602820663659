//! CAM and Eigen-CAM of a network in ONNX Runtime, which has no gradients: activations alone, handed on as slices.
//!
//! A layer is given out when the model lists it among its outputs; `scene/make.py` shows the line that adds it. The library
//! of ONNX Runtime is the one that `ORT_DYLIB_PATH` names, as pip's package `onnxruntime` holds it.
//!
//! `cargo run -p from_onnx_runtime -- DIR` writes four pictures into DIR.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use gradcam_core::{Parallelism, kernel};
use ndarray::{Array2, Array3, Array4, ArrayView4, Axis};
use ort::session::Session;
use ort::value::TensorRef;

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args().nth(1).context("the folder is missing")?.into();
    let Heatmaps { cam, eigen_cam } = heatmaps()?;
    for (name, heatmaps) in [("onnx_runtime_cam", cam), ("onnx_runtime_eigen_cam", eigen_cam)] {
        for file in scene::write_pictures(&folder, name, heatmaps.view())? {
            println!("{}", file.display());
        }
    }
    Ok(())
}

/// Heatmaps `[N, H, W]` of the scene's images.
struct Heatmaps {
    /// Of each image's own class.
    cam: Array3<f32>,
    /// Of no class in particular.
    eigen_cam: Array3<f32>,
}

fn heatmaps() -> Result<Heatmaps> {
    let library = std::env::var_os("ORT_DYLIB_PATH").context("ORT_DYLIB_PATH is to name libonnxruntime")?;
    let environment = ort::init_from(&library)
        .with_context(|| format!("{} is no ONNX Runtime", library.display()))?
        .build()?;
    let mut session = Session::builder(&environment)?.commit_from_memory(scene::ONNX)?;

    let images: Array4<f32> = scene::tensor("images")?;
    let pixels = images.as_slice().context("images in row-major order")?;
    let outputs = session.run(ort::inputs!["images" => TensorRef::from_array_view((images.shape(), pixels))?])?;
    let layer = outputs.get("relu2").context("the layer is no output of the model")?;

    let (shape, activations) = layer.try_extract_tensor::<f32>()?;
    let shape = shape.iter().map(|&extent| extent as usize).collect::<Vec<_>>();
    let shape: [usize; 4] = shape.as_slice().try_into().context("the layer has no four axes")?;
    let activations = ArrayView4::from_shape(shape, activations)?;

    // What follows the layer is a mean over space and a linear layer: its row of weights for the class is all of CAM.
    let head: Array2<f32> = scene::tensor("network.head.weight")?;
    let cam = kernel::weighted_cam(
        activations,
        head.select(Axis(0), &scene::CLASSES).view(),
        Parallelism::Rayon,
    )?;
    // Whatever follows.
    let eigen_cam = kernel::eigen_cam(activations, Parallelism::Rayon)?;

    let size = [scene::SIDE, scene::SIDE];
    Ok(Heatmaps {
        cam: kernel::heatmaps(cam.view(), &size, Parallelism::Rayon)?.maps,
        eigen_cam: kernel::heatmaps(eigen_cam.view(), &size, Parallelism::Rayon)?.maps,
    })
}

#[cfg(test)]
mod tests {
    /// The network's arithmetic is rounded otherwise here than in torch.
    const TOLERANCE: f32 = 1e-5;

    #[test]
    fn heatmaps_are_those_of_captum_and_numpy() {
        let heatmaps = super::heatmaps().unwrap();
        // Where a mean and a linear layer follow, Grad-CAM is CAM but for a factor.
        let expected = [
            ("relu2.grad_cam", &heatmaps.cam),
            ("relu2.eigen_cam", &heatmaps.eigen_cam),
        ];
        for (name, heatmaps) in expected {
            let difference = scene::largest_difference(name, heatmaps.view()).unwrap();
            assert!(difference <= TOLERANCE, "{name} differs by {difference}");
        }
        assert!(scene::marks_the_right_disks(heatmaps.cam.view()));
    }
}
