//! Grad-CAM of a network in burn: activations and gradients by burn's own backpropagation, handed on as slices.
//!
//! `cargo run -p from_burn -- DIR` writes two pictures into DIR.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};
use gradcam_core::{Parallelism, kernel};
use ndarray::{Array3, ArrayD, ArrayView4};

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args().nth(1).context("the folder is missing")?.into();
    for file in scene::write_pictures(&folder, "burn", heatmaps()?.view())? {
        println!("{}", file.display());
    }
    Ok(())
}

/// Heatmaps `[N, H, W]` of the scene's images, each for its own class.
fn heatmaps() -> Result<Array3<f32>> {
    let device = Device::flex().autodiff();
    let network = Network::load(&device)?;

    // `detach` cuts the graph: it begins at the layer, whatever leads to it.
    let layer = network.trunk(tensor("images", &device)?).detach().require_grad();
    // Samples of a batch do not mix, so the gradient of the sum is each sample's own.
    let classes = Tensor::<2, Int>::from_data(scene::CLASSES.map(|class| [class as i32]), &device);
    let gradients = network.tail(layer.clone()).gather(1, classes).sum().backward();
    let gradients = layer.grad(&gradients).context("no gradient came to the layer")?;

    let shape = layer.dims();
    let (activations, gradients) = (layer.into_data(), gradients.into_data());
    let maps = kernel::grad_cam(
        ArrayView4::from_shape(shape, activations.as_slice::<f32>()?)?,
        ArrayView4::from_shape(shape, gradients.as_slice::<f32>()?)?,
        Parallelism::Rayon,
    )?;
    Ok(kernel::heatmaps(maps.view(), &[scene::SIDE, scene::SIDE], Parallelism::Rayon)?.maps)
}

/// The network, cut at `relu1`.
struct Network {
    conv1: (Tensor<4>, Tensor<1>),
    conv2: (Tensor<4>, Tensor<1>),
    head: (Tensor<2>, Tensor<1>),
}

impl Network {
    fn load(device: &Device) -> Result<Self> {
        Ok(Self {
            conv1: weights("conv1", device)?,
            conv2: weights("conv2", device)?,
            head: weights("head", device)?,
        })
    }

    fn trunk(&self, images: Tensor<4>) -> Tensor<4> {
        relu(conv(&self.conv1, images))
    }

    fn tail(&self, layer: Tensor<4>) -> Tensor<2> {
        let pooled = relu(conv(&self.conv2, layer)).mean_dims(&[2, 3]).flatten::<2>(1, 3);
        let (weight, bias) = self.head.clone();
        pooled.matmul(weight.transpose()) + bias.unsqueeze()
    }
}

fn conv((weight, bias): &(Tensor<4>, Tensor<1>), x: Tensor<4>) -> Tensor<4> {
    let options = ConvOptions::new([2, 2], [1, 1], [1, 1], 1);
    conv2d(x, weight.clone(), Some(bias.clone()), options)
}

/// Weight and bias of a layer.
fn weights<const D: usize>(name: &str, device: &Device) -> Result<(Tensor<D>, Tensor<1>)> {
    Ok((
        tensor(&format!("network.{name}.weight"), device)?,
        tensor(&format!("network.{name}.bias"), device)?,
    ))
}

/// A tensor of the scene.
fn tensor<const D: usize>(name: &str, device: &Device) -> Result<Tensor<D>> {
    let array: ArrayD<f32> = scene::tensor(name)?;
    let shape = array.shape().to_vec();
    let data = TensorData::new(array.into_raw_vec_and_offset().0, shape);
    Ok(Tensor::from_data(data, device))
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
