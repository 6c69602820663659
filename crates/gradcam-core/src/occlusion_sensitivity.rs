//! Occlusion sensitivity.

use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::heatmap::Maps;
use crate::probe::Probe;

/// What covers the image under the window.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Occluder {
    /// One value: 0 is the mean colour where images are standardised.
    Value(f64),
    /// The mean of each of the sample's channels, the paper's grey.
    ChannelMean,
}

/// Settings of [`occlusion_sensitivity`](fn@occlusion_sensitivity).
#[derive(Debug, Clone, PartialEq)]
pub struct OcclusionSensitivity {
    window: Vec<i64>,
    stride: Vec<i64>,
    occluder: Occluder,
}

impl Default for OcclusionSensitivity {
    /// 16 pixels along each axis, 8 pixels apart, covered by zero.
    fn default() -> Self {
        Self {
            window: vec![16],
            stride: vec![8],
            occluder: Occluder::Value(0.0),
        }
    }
}

impl OcclusionSensitivity {
    /// The window's size in pixels: for each axis, or one for all.
    #[must_use]
    pub fn with_window(mut self, window: impl Into<Vec<i64>>) -> Self {
        self.window = window.into();
        self
    }

    /// How many pixels windows are apart: for each axis, or one for all.
    #[must_use]
    pub fn with_stride(mut self, stride: impl Into<Vec<i64>>) -> Self {
        self.stride = stride.into();
        self
    }

    /// What covers the image.
    #[must_use]
    pub fn with_occluder(mut self, occluder: Occluder) -> Self {
        self.occluder = occluder;
        self
    }
}

/// Occlusion sensitivity: how much of the score goes when a window over the image is covered.
///
/// ```text
/// map[n,s] = mean over the windows W that hold s of y(X[n]) - y(X[n] with W covered)
/// ```
///
/// Windows stand a stride apart from the first pixel on, until one reaches the image's end, where it
/// is cut off, as in captum. Maps are not cut at zero: where covering raises the score they are negative. A
/// stride larger than the window leaves pixels that no window holds; they get zero.
///
/// Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", 2014,
/// [arXiv:1311.2901](https://arxiv.org/abs/1311.2901).
///
/// # Shapes
/// Images `[N, C, H, W]` give `[N, H, W]`, volumes `[N, C, D, H, W]` give `[N, D, H, W]`. A window
/// covers all channels.
///
/// # Errors
/// [`CamError::Window`] for a window that does not fit or a stride below 1, [`CamError::Input`],
/// [`CamError::AblationValue`] for an occluder that is not finite, [`CamError::Stage`] and
/// [`CamError::NonFinite`] for a score that is not.
///
/// # Cost
/// The network runs once for each window and sample, and once for the sample as it is.
///
/// ```
/// use gradcam_core::{OcclusionSensitivity, Probe, Stage, Stages, Target, occlusion_sensitivity};
/// use tch::Tensor;
///
/// let network = Stages::new(vec![
///     Stage::new("sum", |x| x.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 2., 4.]).view([1, 1, 1, 3]);
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// let settings = OcclusionSensitivity::default().with_window([1, 2]).with_stride([1]);
/// let maps = occlusion_sensitivity(&probe, &settings)?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [3., 4.5, 6.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn occlusion_sensitivity(probe: &Probe<'_>, settings: &OcclusionSensitivity) -> Result<Maps, CamError> {
    if let Occluder::Value(value) = settings.occluder
        && !value.is_finite()
    {
        return Err(CamError::AblationValue { value });
    }
    let _no_grad = tch::no_grad_guard();
    let space = probe.space()?;
    let windows = settings.windows(&space)?;
    let count = windows.len() as i64;
    let maps = (0..probe.batch())
        .map(|sample| {
            let image = probe.sample(sample)?;
            let mut scores = Vec::new();
            // The last copy stays whole, so that its score comes about as the others' do.
            probe.of_input().replaced(
                &image,
                &settings.cover(&image)?,
                count + 1,
                |copies, range| {
                    let mut regions = Vec::new();
                    for (copy, window) in (0..).zip(range).filter(|&(_, window)| window < count) {
                        let mut region = copies.f_narrow(0, copy, 1)?;
                        for (axis, &(start, extent)) in (2..).zip(&windows[window as usize]) {
                            region = region.f_narrow(axis, start, extent)?;
                        }
                        regions.push(region);
                    }
                    Ok(regions)
                },
                |outputs| probe.gather(sample, &mut scores, outputs),
            )?;
            let scores = Vec::<f64>::try_from(Tensor::f_cat(&scores, 0)?)?;
            let whole = scores[count as usize];
            let mut sums = Tensor::f_zeros(space.as_slice(), (Kind::Double, tch::Device::Cpu))?;
            let mut counts = sums.f_zeros_like()?;
            for (window, score) in windows.iter().zip(&scores) {
                for (total, term) in [(&mut sums, whole - score), (&mut counts, 1.0)] {
                    let mut region = total.shallow_clone();
                    for (axis, &(start, extent)) in (0..).zip(window) {
                        region = region.f_narrow(axis, start, extent)?;
                    }
                    let _ = region.f_add_scalar_(term)?;
                }
            }
            Ok(sums.f_div(&counts.f_clamp_min(1.0)?)?)
        })
        .collect::<Result<Vec<Tensor>, CamError>>()?;
    Maps::new(&Tensor::f_stack(&maps, 0)?.f_to_device(probe.scores().device())?)
}

impl OcclusionSensitivity {
    /// Start and extent of every window along each axis.
    fn windows(&self, space: &[i64]) -> Result<Vec<Vec<(i64, i64)>>, CamError> {
        let wrong = || CamError::Window {
            window: self.window.clone(),
            stride: self.stride.clone(),
            size: space.to_vec(),
        };
        let on_axis = |values: &[i64], axis: usize| match values.len() {
            1 => Ok(values[0]),
            axes if axes == space.len() => Ok(values[axis]),
            _ => Err(wrong()),
        };
        let mut windows = vec![Vec::new()];
        for (axis, &extent) in space.iter().enumerate() {
            let (window, stride) = (on_axis(&self.window, axis)?, on_axis(&self.stride, axis)?);
            if window < 1 || window > extent || stride < 1 {
                return Err(wrong());
            }
            // As many as it takes to reach the end.
            let steps = (extent - window) / stride + i64::from((extent - window) % stride > 0);
            let along: Vec<(i64, i64)> = (0..=steps)
                .map(|step| (step * stride, window.min(extent - step * stride)))
                .filter(|&(_, extent)| extent > 0)
                .collect();
            windows = windows
                .iter()
                .flat_map(|before: &Vec<(i64, i64)>| {
                    along.iter().map(move |&window| {
                        let mut with = before.clone();
                        with.push(window);
                        with
                    })
                })
                .collect();
        }
        Ok(windows)
    }

    /// What broadcasts to the image.
    fn cover(&self, image: &Tensor) -> Result<Tensor, CamError> {
        let axes: Vec<i64> = (2..image.dim() as i64).collect();
        Ok(match self.occluder {
            Occluder::Value(value) => {
                Tensor::f_full(vec![1; image.dim()].as_slice(), value, (image.kind(), image.device()))?
            }
            Occluder::ChannelMean => image
                .f_mean_dim(axes.as_slice(), true, Kind::Float)?
                .f_to_kind(image.kind())?,
        })
    }
}
