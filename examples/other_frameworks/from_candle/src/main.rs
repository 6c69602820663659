//! Grad-CAM of a network in candle: activations and gradients by candle's own backpropagation, handed on as slices.
//!
//! `cargo run -p from_candle -- DIR` writes two pictures into DIR.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor, Var, safetensors};
use gradcam_core::{Parallelism, kernel};
use ndarray::{Array3, ArrayView4};

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args().nth(1).context("the folder is missing")?.into();
    for file in scene::write_pictures(&folder, "candle", heatmaps()?.view())? {
        println!("{}", file.display());
    }
    Ok(())
}

/// Heatmaps `[N, H, W]` of the scene's images, each for its own class.
fn heatmaps() -> Result<Array3<f32>> {
    let network = Network::load()?;

    // The layer is a variable and what leads to it is not: the graph begins here. Where the weights are variables too,
    // `.detach()` before `from_tensor` cuts it.
    let layer = Var::from_tensor(&network.trunk(&network.0["images"])?)?;
    // Samples of a batch do not mix, so the gradient of the sum is each sample's own.
    let classes = scene::CLASSES.map(|class| [class as u32]);
    let scores = network.tail(&layer)?.gather(&Tensor::new(&classes, &Device::Cpu)?, 1)?;
    let gradients = scores.sum_all()?.backward()?;
    let gradients = gradients.get(&layer).context("no gradient came to the layer")?;

    let shape = layer.dims4()?;
    let activations = layer.flatten_all()?.to_vec1::<f32>()?;
    let gradients = gradients.flatten_all()?.to_vec1::<f32>()?;
    let maps = kernel::grad_cam(
        ArrayView4::from_shape(shape, &activations)?,
        ArrayView4::from_shape(shape, &gradients)?,
        Parallelism::Rayon,
    )?;
    Ok(kernel::heatmaps(maps.view(), &[scene::SIDE, scene::SIDE], Parallelism::Rayon)?.maps)
}

/// The network by the names of its tensors, cut at `relu1`.
struct Network(HashMap<String, Tensor>);

impl Network {
    fn load() -> Result<Self> {
        Ok(Self(safetensors::load_buffer(scene::TENSORS, &Device::Cpu)?))
    }

    fn trunk(&self, images: &Tensor) -> Result<Tensor> {
        Ok(self.conv("conv1", images)?.relu()?)
    }

    fn tail(&self, layer: &Tensor) -> Result<Tensor> {
        let pooled = self.conv("conv2", layer)?.relu()?.mean((2, 3))?;
        let logits = pooled.matmul(&self.0["network.head.weight"].t()?)?;
        Ok(logits.broadcast_add(&self.0["network.head.bias"])?)
    }

    fn conv(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let y = x.conv2d(&self.0[&format!("network.{name}.weight")], 1, 2, 1, 1)?;
        let bias = self.0[&format!("network.{name}.bias")].reshape((1, (), 1, 1))?;
        Ok(y.broadcast_add(&bias)?)
    }
}

#[cfg(test)]
mod tests {
    /// The network's arithmetic is rounded otherwise here than in torch.
    const TOLERANCE: f32 = 1e-5;

    #[test]
    fn heatmaps_are_those_of_captum() {
        let heatmaps = super::heatmaps().unwrap();
        let difference = scene::largest_difference("relu1.grad_cam", heatmaps.view()).unwrap();
        assert!(difference <= TOLERANCE, "they differ by {difference}");
        assert!(scene::marks_the_right_disks(heatmaps.view()));
    }
}
