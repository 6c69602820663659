//! Grad-CAM of the lesion class.

use anyhow::{Context as _, Result, bail};
use gradcam_core::{Content, Parallelism, Stage, Stages, Target, kernel};
use models::{Description, Network};
use ndarray::{Array2, Array3, Array4, ArrayView2, Axis, Ix2, Ix3};

use crate::classifier::LESION;
use crate::data::tensor;
use crate::progress;

/// A network as the heatmap crate sees it.
pub fn stages(network: &Network) -> Result<Stages<'_>> {
    let stages = network.stages().iter();
    let stages = stages.map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)));
    Ok(Stages::new(stages.collect())?.with_fused(|range, x, carried| network.forward_stages(range, x, carried)))
}

/// Each layer's output, parameters and multiply-adds for one image of the given side.
pub fn describe(network: &Network, size: usize) -> Result<Description> {
    let side = size as i64;
    network
        .describe(&[1, network.input().channels(), side, side])
        .with_context(|| format!("{} does not take images of {size}×{size}", network.architecture()))
}

/// The layer asked for, or the last with spatial extent, and its output shape `[C, h, w]`.
pub fn choose_layer(network: &Network, size: usize, asked: Option<&str>) -> Result<(String, Vec<i64>)> {
    let description = describe(network, size)?;
    let layers = description.stages().iter();
    let layers: Vec<_> = layers
        .map(|stage| (stage.name().to_owned(), stage.shape().to_vec()))
        .collect();
    let last = gradcam_core::last_spatial(&layers).map(str::to_owned);
    let Some(name) = asked.map(str::to_owned).or(last) else {
        bail!(
            "no layer of {} has a spatial extent at {size} pixels",
            network.architecture()
        );
    };
    match layers.iter().find(|(layer, _)| *layer == name) {
        Some((_, shape)) if shape.len() == 4 && shape[2..].iter().any(|&extent| extent > 1) => {
            Ok((name, shape[1..].to_vec()))
        }
        Some((_, shape)) => {
            bail!("layer {name} has the output {shape:?}; a heatmap needs [N, C, h, w] with h or w above 1")
        }
        None => {
            let names: Vec<_> = layers.iter().map(|(layer, _)| layer.as_str()).collect();
            bail!(
                "{} has no layer {name}; it has {}",
                network.architecture(),
                names.join(", ")
            )
        }
    }
}

/// Heatmaps at the layer's own resolution, before they are normalised: `[N, h, w]`, 0 or more.
///
/// `images` are grey, `[N, 1, S, S]`.
pub fn grad_cam(network: &Network, images: &Array4<f32>, layer: &str, batch: usize) -> Result<Array3<f32>> {
    let stages = stages(network)?;
    let mut maps = Vec::new();
    let bar = progress::bar("heatmaps");
    bar.set_length(images.dim().0 as u64);
    for part in tensor(images.view())?.f_split(batch as i64, 0)? {
        let input = network.input().prepare(&part.f_to_device(network.device())?)?;
        let targets = vec![Target::Class(LESION); part.size()[0] as usize];
        let capture = stages.capture(&input, &[layer])?;
        let gradients = capture.gradients(&targets)?;
        maps.push(
            gradcam_core::grad_cam(&gradients.at(layer)?)?
                .to_array()?
                .into_dimensionality::<Ix3>()?,
        );
        bar.inc(part.size()[0] as u64);
    }
    bar.finish_and_clear();
    let views: Vec<_> = maps.iter().map(|maps| maps.view()).collect();
    Ok(ndarray::concatenate(Axis(0), &views)?)
}

/// A layer's map as a heatmap in 0..=1 for an image of the given size.
pub fn to_image(map: ArrayView2<'_, f32>, size: (usize, usize)) -> Result<Array2<f32>> {
    let one = map.insert_axis(Axis(0));
    let heatmap = kernel::heatmaps(one, &[size.0, size.1], Parallelism::Serial)?;
    Ok(heatmap.maps.index_axis_move(Axis(0), 0))
}

/// A random heatmap of the smoothness that maps of a layer with this grid have.
pub fn random(seed: u64, index: usize, grid: (usize, usize), size: (usize, usize)) -> Result<Array2<f32>> {
    let index = index as u64;
    let heatmap = gradcam_core::random_cam(seed, index..index + 1, &[grid.0, grid.1], &[size.0, size.1])?;
    Ok(heatmap.maps.index_axis_move(Axis(0), 0).into_dimensionality::<Ix2>()?)
}

/// All maps as heatmaps for images of the given side, `[N, 1, S, S]`, and what there was in each.
pub fn to_images(maps: &Array3<f32>, size: usize) -> Result<(Array4<f32>, Vec<Content>)> {
    let heatmaps = kernel::heatmaps(maps.view(), &[size, size], Parallelism::Rayon)?;
    Ok((heatmaps.maps.insert_axis(Axis(1)), heatmaps.contents))
}
