//! KPCA-CAM.

use tch::{Kind, Tensor};

use crate::eigen_cam::finite_samples;
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::kernel::{KpcaKernel, check_places};
use crate::parallelism::Parallelism;
use crate::weighted_cam::feature_maps;

/// KPCA-CAM: what the channels have most in common, seen through a kernel.
///
/// ```text
/// K[s,t]   = kernel of the places s and t of A[n], the channels' means taken away
/// Kc       = K less the means of its rows and of its columns, plus its mean
/// map[n]   = max(0, sqrt(e) v)         e, v: the largest eigenvalue of Kc and its unit eigenvector
/// ```
///
/// No target is asked for. The sign is that of [`eigen_cam`](fn@crate::eigen_cam): the map goes along
/// with the sum of the channels. [`KpcaKernel`] says which kernels there are.
///
/// Karmani et al., "KPCA-CAM: Visual Explainability of Deep Computer Vision Models Using Kernel
/// PCA", 2024, [arXiv:2410.00267](https://arxiv.org/abs/2410.00267).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::KernelSettings`], [`CamError::Shape`], [`CamError::TooManyPlaces`] for more than 32 768, and
/// [`CamError::NonFiniteMap`] for a NaN or an infinity.
///
/// # Cost
/// That of [`kernel::kpca_cam`](crate::kernel::kpca_cam()) for one sample after the other, on the CPU wherever the
/// activations are.
///
/// ```
/// use gradcam_core::{kernel::KpcaKernel, kpca_cam};
/// use tch::Tensor;
///
/// let activations = Tensor::from_slice(&[0f32, 0., 1., 5., 0., 0., 2., 9.]).view([1, 2, 1, 4]);
/// let maps = Vec::<f32>::try_from(kpca_cam(&activations, KpcaKernel::default())?.tensor().view(-1))?;
/// // The place that stands out is the highest.
/// assert!(maps[3] > maps[2] && maps[0] == 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn kpca_cam(activations: &Tensor, kernel: KpcaKernel) -> Result<Maps, CamError> {
    kernel.check()?;
    let shape = feature_maps(activations)?;
    check_places(shape[2..].iter().product::<i64>() as usize)?;
    let _no_grad = tch::no_grad_guard();
    let planes = activations.f_flatten(2, -1)?.f_to_kind(Kind::Double)?;
    finite_samples(&planes)?;
    let sums = planes.f_sum_dim_intlist([1i64].as_slice(), false, None)?;
    let centred = planes.f_sub(&planes.f_mean_dim([2i64].as_slice(), true, None)?)?;
    let maps = (0..shape[0])
        .map(|sample| {
            let values = Vec::<f64>::try_from(centred.f_get(sample)?.f_contiguous()?.f_view([-1])?)?;
            let sum = Vec::<f64>::try_from(sums.f_get(sample)?)?;
            let map = kernel.component(&values, &sum, Parallelism::Rayon);
            Ok(Tensor::f_from_slice(&map)?)
        })
        .collect::<Result<Vec<Tensor>, CamError>>()?;
    let grid = [&shape[..1], &shape[2..]].concat();
    let maps = Tensor::f_stack(&maps, 0)?.f_view(grid.as_slice())?;
    Maps::new(&maps.f_to_device(activations.device())?.f_relu()?)
}
