//! Maps of several layers as one.

#[cfg(feature = "torch")]
use tch::Tensor;

use crate::error::CamError;
#[cfg(feature = "torch")]
use crate::heatmap::Maps;

/// How the maps `M[l]` of several layers become one.
///
/// Layers differ in the range of their maps by orders of magnitude. Each map is therefore brought to
/// 0..=1 on its own grid, `m[l]` as [`kernel::normalise`](crate::kernel::normalise()) does it, and then upsampled; only
/// [`Fusion::Scaled`] has a scale of its own.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Fusion {
    /// `mean over l of m[l]`, what pytorch-grad-cam does with several layers.
    #[default]
    Mean,
    /// `max over l of m[l]`: what any layer saw.
    Maximum,
    /// `product over l of m[l]`: what every layer saw. A layer without a map leaves nothing. With Grad-CAM++'s maps it is
    /// what pytorch-grad-cam and torch-cam call Refine-CAM, [arXiv:2605.14641](https://arxiv.org/abs/2605.14641).
    Product,
    /// LayerCAM's: `max over l of tanh(gamma max(0, M[l]) / max M[l])`. The hyperbolic tangent lifts
    /// the weak values of shallow layers, which are sharp but of lower contrast.
    ///
    /// Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE
    /// Transactions on Image Processing, 2021,
    /// [doi:10.1109/TIP.2021.3089943](https://doi.org/10.1109/TIP.2021.3089943).
    Scaled {
        /// How much weak values are lifted; the paper takes 2, see [`Fusion::LAYER_CAM`].
        gamma: f64,
    },
}

impl Fusion {
    /// The scaled fusion with the paper's `gamma`.
    pub const LAYER_CAM: Self = Self::Scaled { gamma: 2.0 };

    /// Fails for a `gamma` that lifts nothing.
    pub(crate) fn check(self) -> Result<(), CamError> {
        match self {
            Self::Scaled { gamma } if !(gamma.is_finite() && gamma > 0.0) => Err(CamError::Gamma { gamma }),
            _ => Ok(()),
        }
    }
}

/// The maps of several layers as one map for each sample, on the grid `size`.
///
/// A map that holds nothing counts as zero: it lowers a mean, leaves a maximum to the others and
/// makes a product zero.
///
/// # Shapes
/// Each of `layers` is `[N, …]` on a grid of its own; the result is `[N, *size]`, such as the
/// largest grid among them or the image's size `&image.size()[2..]`.
///
/// # Errors
/// [`CamError::NoMaps`], [`CamError::MapBatch`] for layers of different batches, [`CamError::Size`],
/// and [`CamError::Gamma`] unless `gamma` is finite and above 0.
///
/// # Cost
/// One upsampling for each layer. On CPU arrays [`kernel::fuse`](crate::kernel::fuse()) computes the same.
///
/// ```
/// use gradcam_core::{Fusion, Maps, fuse};
/// use tch::Tensor;
///
/// let deep = Maps::new(&Tensor::from_slice(&[0f32, 4.0]).view([1, 1, 2]))?;
/// let shallow = Maps::new(&Tensor::from_slice(&[0f32, 0.0, 1.0, 2.0]).view([1, 1, 4]))?;
/// let mean = fuse(&[&deep, &shallow], &[1, 4], Fusion::Mean)?;
/// assert_eq!(Vec::<f32>::try_from(mean.tensor().view(-1))?, [0.0, 0.125, 0.625, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "torch")]
pub fn fuse(layers: &[&Maps], size: &[i64], fusion: Fusion) -> Result<Maps, CamError> {
    let first = layers.first().ok_or(CamError::NoMaps)?;
    let batch = first.tensor().size()[0];
    for layer in layers {
        layer.check_batch(batch)?;
    }
    fusion.check()?;
    let _no_grad = tch::no_grad_guard();
    let scaled = |maps: &Maps| match fusion {
        Fusion::Scaled { gamma } => lifted(maps, gamma)?.upsample(size),
        Fusion::Mean | Fusion::Maximum | Fusion::Product => Maps::new(maps.normalise()?.tensor())?.upsample(size),
    };
    let mut fused = scaled(first)?.tensor().shallow_clone();
    for layer in &layers[1..] {
        let next = scaled(layer)?;
        fused = match fusion {
            Fusion::Mean => fused.f_add(next.tensor())?,
            Fusion::Product => fused.f_mul(next.tensor())?,
            Fusion::Maximum | Fusion::Scaled { .. } => fused.f_maximum(next.tensor())?,
        };
    }
    if fusion == Fusion::Mean {
        fused = fused.f_div_scalar(layers.len() as i64)?;
    }
    Maps::new(&fused)
}

/// `tanh(gamma max(0, M) / max M)`; zero where nothing is positive.
#[cfg(feature = "torch")]
fn lifted(maps: &Maps, gamma: f64) -> Result<Maps, CamError> {
    let positive = Maps::new(&maps.tensor().f_clamp_min(0.0)?)?;
    let shape = positive.tensor().size();
    let mut column = vec![1; shape.len()];
    column[0] = shape[0];
    let most: Vec<f64> = positive
        .ranges()
        .iter()
        .map(|&(_, max)| if max > 0.0 { f64::from(max) } else { 1.0 })
        .collect();
    let most = Tensor::f_from_slice(&most)?
        .f_view(column.as_slice())?
        .f_to_device(positive.tensor().device())?;
    // In double precision, in which no quotient of two floats overflows.
    Maps::new(
        &positive
            .tensor()
            .f_to_kind(tch::Kind::Double)?
            .f_div(&most)?
            .f_mul_scalar(gamma)?
            .f_tanh()?,
    )
}
