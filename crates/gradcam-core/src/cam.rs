//! CAM, the first of them.

use tch::{Kind, Tensor};

use crate::ablation_cam::channel_of_each;
use crate::error::CamError;
use crate::heatmap::Maps;
use crate::probe::Probe;
use crate::target::score_kind;
use crate::weighted_cam::channel_sum;

/// CAM: each channel counts by its weight in a head that is a mean over space and a linear layer.
///
/// ```text
/// y[n]     = b + sum over k of w[n,k] (mean over s of A[n,k,s])
/// map[n,s] = sum over k of w[n,k] A[n,k,s]
/// ```
///
/// The weights are read off the stages after the layer: the score for no activations gives `b`, that
/// for a single channel of ones `b + w[k]`. Whether the score really is that sum is checked on the
/// activations at hand. [`cam_with_weights`] takes the weights of the linear layer instead.
///
/// As in the paper and in torch-cam the map is not cut at zero.
///
/// Zhou et al., "Learning Deep Features for Discriminative Localization", 2016,
/// [arXiv:1512.04150](https://arxiv.org/abs/1512.04150).
///
/// # Shapes
/// A layer of `[N, C, H, W]` gives `[N, H, W]`, one of `[N, C, D, H, W]` gives `[N, D, H, W]`.
///
/// # Errors
/// [`CamError::NotLinear`] for another head, or a target that is not linear in the logits;
/// [`CamError::UnknownLayer`], [`CamError::NotSpatial`], [`CamError::Stage`] and
/// [`CamError::NonFinite`] for a score that is not.
///
/// # Cost
/// The stages after the layer run C + 1 times for each sample.
///
/// ```
/// use gradcam_core::{CamError, Probe, Stage, Stages, Target, cam, cam_with_weights};
/// use tch::Tensor;
///
/// let weights = Tensor::from_slice(&[2f32, 3.]).view([1, 2]);
/// let head = weights.copy();
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("squared", |x| x.f_square()),
///     Stage::new("mean", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
///     Stage::new("head", move |x| x.f_linear(&head, None::<&Tensor>)),
/// ])?;
/// let image = Tensor::from_slice(&[0f32, 1., 1., 2.]).view([1, 2, 1, 2]);
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// let maps = cam(&probe, "squared")?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [3., 14.]);
/// assert!(matches!(cam(&probe, "image"), Err(CamError::NotLinear { .. })));
///
/// let same = cam_with_weights(&probe, "squared", &weights)?;
/// assert_eq!(same.tensor(), maps.tensor());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cam(probe: &Probe<'_>, layer: &str) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let after = probe.after(layer)?;
    let activations = after.activations();
    let shape = activations.size();
    let channels = shape[1];
    let mut one = shape.clone();
    one[0] = 1;
    let options = (activations.kind(), activations.device());
    let zeros = Tensor::f_zeros(one.as_slice(), options)?;
    let ones = Tensor::f_ones(vec![1; one.len()].as_slice(), options)?;
    let weights = (0..probe.batch())
        .map(|sample| {
            let mut scores = Vec::new();
            // The last copy stays zero.
            let copies = after.copies(sample)?;
            copies.replaced(&zeros, &ones, channels + 1, channel_of_each, |outputs| {
                probe.gather(sample, &mut scores, outputs)
            })?;
            let scores = Tensor::f_cat(&scores, 0)?;
            let bias = scores.f_get(channels)?;
            let weights = scores.f_narrow(0, 0, channels)?.f_sub(&bias)?;
            check_linear(probe, layer, sample, activations, &weights, &bias)?;
            Ok(weights)
        })
        .collect::<Result<Vec<Tensor>, CamError>>()?;
    Maps::new(&channel_sum(activations, &Tensor::f_stack(&weights, 0)?)?)
}

/// The bias, and what each channel's mean adds to it, must give the score.
fn check_linear(
    probe: &Probe<'_>,
    layer: &str,
    sample: i64,
    activations: &Tensor,
    weights: &Tensor,
    bias: &Tensor,
) -> Result<(), CamError> {
    let means = activations
        .f_get(sample)?
        .f_flatten(1, -1)?
        .f_mean_dim([1i64].as_slice(), false, Kind::Double)?;
    let terms = weights.f_mul(&means)?;
    let expected = terms.f_sum(Kind::Double)?.f_add(bias)?.f_double_value(&[])?;
    let found = probe.scores().f_double_value(&[sample])?;
    let size = terms
        .f_abs()?
        .f_sum(Kind::Double)?
        .f_add(&bias.f_abs()?)?
        .f_double_value(&[])?;
    // What a network may be off by through rounding.
    let tolerance = match activations.kind() {
        Kind::Float | Kind::Double => 1e-4,
        _ => 3e-2,
    };
    if (found - expected).abs() <= tolerance * size.max(found.abs()) {
        Ok(())
    } else {
        Err(CamError::NotLinear {
            layer: layer.to_owned(),
            sample: sample as usize,
            found,
            expected,
        })
    }
}

/// [`cam`](fn@cam) with the weights of the head's linear layer; its bias is the same everywhere.
///
/// # Shapes
/// `weights` is `[K, C]`, as linear layers have it.
///
/// # Errors
/// [`CamError::WeightShape`], [`CamError::NotLinear`] for a target that is not linear in the
/// logits, [`CamError::NeedsClassifier`] for a network with logits for every place, which has no mean over space before
/// its head; [`CamError::UnknownLayer`] and [`CamError::NotSpatial`].
///
/// # Cost
/// One read of the activations.
///
/// ```
/// use gradcam_core::{Probe, Stage, Stages, Target, cam_with_weights};
/// use tch::Tensor;
///
/// let weights = Tensor::from_slice(&[2f32, -1., 0., 1.]).view([2, 2]);
/// let head = weights.copy();
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("mean", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
///     Stage::new("head", move |x| x.f_linear(&head, None::<&Tensor>)),
/// ])?;
/// let image = Tensor::from_slice(&[0f32, 1., 3., 0.]).view([1, 2, 1, 2]);
/// // Twice the first channel less the second: the map is not cut at zero.
/// let probe = Probe::new(&network, &image, &[Target::Class(0)])?;
/// let maps = cam_with_weights(&probe, "image", &weights)?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [-3., 2.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cam_with_weights(probe: &Probe<'_>, layer: &str, weights: &Tensor) -> Result<Maps, CamError> {
    let _no_grad = tch::no_grad_guard();
    let activations = probe.activations(layer)?;
    let places = probe.logit_places();
    if !places.is_empty() {
        return Err(CamError::NeedsClassifier {
            places: places.to_vec(),
        });
    }
    let (shape, channels) = (weights.size(), activations.size()[1]);
    let classes = probe.logit_count();
    if shape != [classes, channels] {
        return Err(CamError::WeightShape {
            weights: shape.iter().map(|&extent| extent as usize).collect(),
            expected: vec![classes as usize, channels as usize],
        });
    }
    // As outputs, one for each channel: what is linear in them gives each channel's weight.
    let outputs = weights.f_transpose(0, 1)?.f_to_kind(score_kind(weights))?;
    // A score that is linear in the outputs `w` turns `w[k] - 2 w[k + 1]` into the same of its values. One that is so
    // only in parts, as the largest logit is, cannot for all `k`, the last followed by the first: these outputs sum up
    // to the negative of the sum of the `w`, so they never lie all in one part with them.
    let mixed = |values: &Tensor| {
        values.f_sub(
            &values
                .f_roll([-1i64].as_slice(), [0i64].as_slice())?
                .f_mul_scalar(2.0)?,
        )
    };
    let mixtures = mixed(&outputs)?;
    let weights = (0..probe.batch())
        .map(|sample| {
            let once = probe.scores_of(sample, &outputs)?.f_to_kind(Kind::Double)?;
            let found = probe.scores_of(sample, &mixtures)?.f_to_kind(Kind::Double)?;
            let expected = mixed(&once)?;
            let off = found.f_sub(&expected)?.f_abs()?;
            let farthest = off.f_argmax(0, false)?.f_int64_value(&[])?;
            let size = once.f_abs()?.f_max()?.f_double_value(&[])?;
            if off.f_double_value(&[farthest])? > 1e-4 * size.max(found.f_abs()?.f_max()?.f_double_value(&[])?) {
                return Err(CamError::NotLinear {
                    layer: layer.to_owned(),
                    sample: sample as usize,
                    found: found.f_double_value(&[farthest])?,
                    expected: expected.f_double_value(&[farthest])?,
                });
            }
            Ok(once)
        })
        .collect::<Result<Vec<Tensor>, CamError>>()?;
    Maps::new(&channel_sum(&activations, &Tensor::f_stack(&weights, 0)?)?)
}
