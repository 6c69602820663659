//! Masks on the image that channels of a layer make, and the scores of the image under them.

use std::ops::Range;

use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::probe::Probe;

/// How a channel becomes a mask on the image, with values in 0..=1. A channel of one value
/// everywhere masks everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ScoreMask {
    /// Upsampled at half-pixel centres, then brought to 0..=1: Score-CAM's paper.
    #[default]
    Upsampled,
    /// Brought to 0..=1 on the layer's grid, then upsampled at half-pixel centres: torch-cam. The
    /// mask need not reach 1, since peaks can lie between pixels' centres.
    NormalisedFirst,
    /// Upsampled with the corners' centres on each other, then brought to 0..=1: pytorch-grad-cam.
    /// The mask is stretched by up to half a place of the layer.
    AlignedCorners,
}

/// Which of a layer's channels Score-CAM looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ScoreChannels {
    /// Every one.
    #[default]
    All,
    /// This many that vary most over space, as in Faster Score-CAM: of the others nothing is asked,
    /// and they count nothing. Of equally varied channels the first are taken.
    MostVaried(usize),
}

impl ScoreChannels {
    /// Channels of one sample, `[C, …]`, in rising order.
    pub(crate) fn choose(self, planes: &Tensor) -> Result<Vec<i64>, CamError> {
        let channels = planes.size()[0];
        let count = match self {
            Self::All => return Ok((0..channels).collect()),
            Self::MostVaried(count) if (1..=channels as usize).contains(&count) => count as i64,
            Self::MostVaried(count) => return Err(CamError::ChannelCount { count, channels }),
        };
        let order = planes
            .f_flatten(1, -1)?
            .f_to_kind(Kind::Double)?
            .f_var_dim([1i64].as_slice(), false, false)?
            .f_argsort_stable(true, 0, true)?
            .f_narrow(0, 0, count)?;
        let mut chosen = Vec::<i64>::try_from(order)?;
        chosen.sort_unstable();
        Ok(chosen)
    }
}

/// The masks that planes make. None is there before it is asked for.
#[derive(Debug)]
pub(crate) struct ChannelMasks {
    /// `[M, 1, …]`, f32.
    planes: Tensor,
    how: ScoreMask,
    size: Vec<i64>,
}

impl ChannelMasks {
    /// Of `planes`, `[M, …]`, at the size of images.
    pub(crate) fn new(planes: &Tensor, how: ScoreMask, size: &[i64]) -> Result<Self, CamError> {
        let planes = planes.f_to_kind(Kind::Float)?.f_unsqueeze(1)?;
        if planes.size().len() != size.len() + 2 {
            return Err(CamError::Size {
                size: size.to_vec(),
                grid: planes.size()[2..].to_vec(),
            });
        }
        let planes = match how {
            ScoreMask::NormalisedFirst => normalise(&planes)?,
            _ => planes,
        };
        Ok(Self {
            planes,
            how,
            size: size.to_vec(),
        })
    }

    pub(crate) fn count(&self) -> i64 {
        self.planes.size()[0]
    }

    /// Some of the masks, `[copies, 1, …]`.
    pub(crate) fn get(&self, range: Range<i64>) -> Result<Tensor, CamError> {
        let planes = self.planes.f_narrow(0, range.start, range.end - range.start)?;
        let corners = self.how == ScoreMask::AlignedCorners;
        let masks = upsample(&planes, &self.size, corners)?;
        match self.how {
            ScoreMask::NormalisedFirst => Ok(masks),
            _ => normalise(&masks),
        }
    }
}

/// `[M, 1, …]` at another size, linear along each axis.
pub(crate) fn upsample(planes: &Tensor, size: &[i64], corners: bool) -> Result<Tensor, CamError> {
    Ok(if size.len() == 2 {
        planes.f_upsample_bilinear2d(size, corners, None, None)?
    } else {
        planes.f_upsample_trilinear3d(size, corners, None, None, None)?
    })
}

/// Each of `[M, 1, …]` brought to 0..=1; what has no range becomes zero.
fn normalise(planes: &Tensor) -> Result<Tensor, CamError> {
    let (least, range) = least_and_range(planes)?;
    let range = range.f_where_self(&range.f_gt(0.0)?, &range.f_ones_like()?)?;
    Ok(planes.f_sub(&least)?.f_div_(&range)?)
}

fn least_and_range(planes: &Tensor) -> Result<(Tensor, Tensor), CamError> {
    let axes: Vec<i64> = (1..planes.dim() as i64).collect();
    let least = planes.f_amin(axes.as_slice(), true)?;
    let range = planes.f_amax(axes.as_slice(), true)?.f_sub(&least)?;
    Ok((least, range))
}

/// The scores of one sample under the masks of some of its channels.
#[derive(Debug)]
pub(crate) struct MaskedScores<'a> {
    probe: &'a Probe<'a>,
    sample: i64,
    image: Tensor,
    masks: ChannelMasks,
    /// For each chosen channel the number of its mask.
    numbers: Vec<i64>,
}

impl<'a> MaskedScores<'a> {
    /// Channels of one value mask everything, so all of them have the score of the blank image,
    /// which is looked at once: the last mask, if it is needed or there is such a channel.
    pub(crate) fn new(
        probe: &'a Probe<'a>,
        sample: i64,
        planes: &Tensor,
        chosen: &[i64],
        how: ScoreMask,
        needs_blank: bool,
    ) -> Result<Self, CamError> {
        let space = probe.space()?;
        let of_these = |planes: &Tensor, numbers: &[i64]| {
            let numbers = Tensor::f_from_slice(numbers)?.f_to_device(planes.device())?;
            planes.f_index_select(0, &numbers)
        };
        let mut planes = of_these(planes, chosen)?;
        let (_, range) = least_and_range(&planes)?;
        let varied = Vec::<bool>::try_from(range.f_flatten(0, -1)?.f_gt(0.0)?)?;
        let kept: Vec<i64> = (0..)
            .zip(&varied)
            .filter(|(_, varied)| **varied)
            .map(|(index, _)| index)
            .collect();
        let blank = kept.len() as i64;
        let mut next = 0..blank;
        let numbers = varied
            .iter()
            .map(|&varied| if varied { next.next().unwrap_or(blank) } else { blank })
            .collect();
        if needs_blank || kept.len() < varied.len() {
            let mut shape = planes.size();
            shape[0] = 1;
            let zero = Tensor::f_zeros(shape.as_slice(), (planes.kind(), planes.device()))?;
            planes = Tensor::f_cat(&[of_these(&planes, &kept)?, zero], 0)?;
        }
        Ok(Self {
            probe,
            sample,
            image: probe.sample(sample)?,
            masks: ChannelMasks::new(&planes, how, &space)?,
            numbers,
        })
    }

    /// With masks `strength` times as strong: each chosen channel's score and that of the last mask,
    /// which is the blank image's if that was needed. Double precision.
    pub(crate) fn scaled(&self, strength: f64) -> Result<(Tensor, Tensor), CamError> {
        let scores = self.run(self.masks.count(), |range| {
            let masks = self.masks.get(range)?;
            Ok(if strength == 1.0 {
                masks
            } else {
                masks.f_mul_scalar(strength)?
            })
        })?;
        let numbers = Tensor::f_from_slice(&self.numbers)?.f_to_device(scores.device())?;
        Ok((
            scores.f_index_select(0, &numbers)?,
            scores.f_get(self.masks.count() - 1)?,
        ))
    }

    /// Each chosen channel's score with something added to its mask, `[1, 1, …]` from the channel's
    /// number among those chosen. Double precision.
    pub(crate) fn shifted(&self, shift: impl Fn(Range<i64>) -> Result<Tensor, CamError>) -> Result<Tensor, CamError> {
        self.run(self.numbers.len() as i64, |range| {
            let numbers = &self.numbers[range.start as usize..range.end as usize];
            let masks = numbers
                .iter()
                .map(|&number| self.masks.get(number..number + 1))
                .collect::<Result<Vec<_>, CamError>>()?;
            Ok(Tensor::f_cat(&masks, 0)?.f_add(&shift(range)?)?)
        })
    }

    fn run(&self, count: i64, masks: impl FnMut(Range<i64>) -> Result<Tensor, CamError>) -> Result<Tensor, CamError> {
        let mut scores = Vec::new();
        let copies = self.probe.of_input();
        copies.masked(&self.image, None, count, masks, |_, outputs| {
            self.probe.gather(self.sample, &mut scores, outputs)
        })?;
        Ok(Tensor::f_cat(&scores, 0)?)
    }
}

/// A list of the chosen channels' weights as one of all channels'; the others' are zero.
pub(crate) fn spread(weights: &Tensor, chosen: &[i64], channels: i64) -> Result<Tensor, CamError> {
    let chosen = Tensor::f_from_slice(chosen)?.f_to_device(weights.device())?;
    Ok(Tensor::f_zeros([channels], (weights.kind(), weights.device()))?.f_index_add(0, &chosen, weights)?)
}
