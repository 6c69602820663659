//! Heatmaps of networks that are a user's own: TorchScript's files, tch's modules.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use gradcam_core::{Stage, Stages, Target, grad_cam};
use models::StageRow;
use ndarray::Array3;
use tch::nn;
use tch::{Device, Kind, Tensor};

/// Grad-CAM at the first stage, at that stage's extents.
fn heatmaps(row: &StageRow, images: &Tensor, class: i64) -> Result<Array3<f32>> {
    let stages = row.stages().iter();
    let stages = Stages::new(
        stages
            .map(|stage| Stage::carrying(stage.name(), |x, carried| stage.forward_carrying(x, carried)))
            .collect(),
    )?;
    let layer = row.stages()[0].name();
    let capture = stages.capture(images, &[layer])?;
    let targets = vec![Target::Class(class); images.size()[0] as usize];
    let maps = grad_cam(&capture.gradients(&targets)?.at(layer)?)?;
    let extents = row.stages()[0].forward(images)?.size()[2..].to_vec();
    Ok(maps.heatmaps(&extents)?.to_array3()?)
}

/// By the formula: ReLU(Σ_c w_c A_c), scaled to 0..=1 for each image, or zero where there is nothing to scale.
/// Weights `[N, C]`, activations `[N, C, H, W]`.
fn expected(weights: &Tensor, activations: &Tensor) -> Result<Vec<f32>> {
    let weighted = weights.f_unsqueeze(-1)?.f_unsqueeze(-1)?.f_mul(activations)?;
    let maps = weighted
        .f_sum_dim_intlist([1].as_slice(), false, Kind::Float)?
        .f_relu()?;
    let (least, most) = (maps.f_amin([1, 2], true)?, maps.f_amax([1, 2], true)?);
    Ok((&maps
        .f_sub(&least)?
        .f_div(&most.f_sub(&least)?)?
        .f_nan_to_num(0.0, None, None)?
        .f_flatten(0, -1)?)
        .try_into()?)
}

fn close(found: &Array3<f32>, expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        // Sums in another order.
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

/// With the gradient that torch itself gave (`crates/models/tests/goldens/torch_script.py`).
#[test]
fn torch_script_files_have_heatmaps() -> Result<()> {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/models/tests/goldens/torch_script");
    let golden: HashMap<_, _> = Tensor::read_safetensors(goldens.join("expected.safetensors"))?
        .into_iter()
        .collect();
    let variables = nn::VarStore::new(Device::Cpu);
    let row = StageRow::new([
        models::Stage::torch_script("trunk", goldens.join("trunk.pt"), &(variables.root() / "trunk"))?,
        models::Stage::torch_script("head", goldens.join("head.pt"), &(variables.root() / "head"))?,
    ])?;
    let kernel = variables.variables()["head.2.weight"].f_detach()?;
    // Both classes have their map or none; at least one of them has.
    let mut shown = 0.0;
    for class in 0..2 {
        let mut weights = kernel.f_get(class)?.f_expand([2, 4], false)?;
        if class == 1 {
            // The mean of each gradient is the weight over the count of places, 6 by 5.
            weights = golden["gradient"].f_mean_dim([2, 3].as_slice(), false, Kind::Float)?;
        }
        let expected = expected(&weights, &golden["trunk"])?;
        close(&heatmaps(&row, &golden["input"], class)?, &expected);
        shown += expected.iter().sum::<f32>();
    }
    assert!(shown > 1.0, "maps of nothing prove nothing");
    Ok(())
}

/// Behind a mean over space and one layer, Grad-CAM's weights are that layer's.
#[test]
fn modules_of_tch_have_heatmaps() -> Result<()> {
    tch::manual_seed(5);
    let variables = nn::VarStore::new(Device::Cpu);
    let root = variables.root();
    let conv = nn::seq()
        .add(nn::conv2d(&root / "conv", 3, 4, 3, nn::ConvConfig::default()))
        .add_fn(Tensor::relu);
    let linear = nn::linear(&root / "head", 4, 2, nn::LinearConfig::default());
    let kernel = linear.ws.shallow_clone();
    let row = StageRow::new([
        models::Stage::module("conv", conv),
        models::Stage::module(
            "head",
            nn::seq()
                .add_fn(|x| x.mean_dim([2, 3].as_slice(), false, Kind::Float))
                .add(linear),
        ),
    ])?;
    let images = Tensor::rand([3, 3, 9, 11], (Kind::Float, Device::Cpu));
    let activations = row.stages()[0].forward(&images)?.f_detach()?;
    for class in 0..2 {
        // Every channel for it, so that every image has a map.
        let mut kernel = kernel.f_get(class)?.f_detach()?;
        let _ = kernel.f_abs_()?;
        let weights = kernel.f_expand([3, 4], false)?;
        close(&heatmaps(&row, &images, class)?, &expected(&weights, &activations)?);
    }
    Ok(())
}
