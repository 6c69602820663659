//! Finer-CAM.

use tch::{Kind, Tensor};

use crate::capture::Capture;
use crate::error::CamError;
use crate::gradient_method::GradientMethod;
use crate::heatmap::Maps;
use crate::target::{Resolved, Score, Target};

/// Settings of [`finer_cam`].
///
/// ```
/// use gradcam_core::{FinerCam, GradientMethod, ReferenceWeights};
///
/// // As the authors' code and pytorch-grad-cam have it.
/// let settings = FinerCam::default().with_strength(1.0).with_weights(ReferenceWeights::Probability);
/// assert_ne!(settings, FinerCam::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FinerCam {
    references: usize,
    strength: f64,
    weights: ReferenceWeights,
    method: GradientMethod,
}

/// How much each class that the target is held against counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ReferenceWeights {
    /// All the same: the paper's formula, and torch-cam's.
    #[default]
    Equal,
    /// By their softmax probabilities, through which the gradient goes too: the authors' code, and
    /// pytorch-grad-cam's.
    Probability,
}

impl Default for FinerCam {
    /// Three classes of equal weight with strength 0.6, Grad-CAM.
    fn default() -> Self {
        Self {
            references: 3,
            strength: 0.6,
            weights: ReferenceWeights::Equal,
            method: GradientMethod::GradCam,
        }
    }
}

impl FinerCam {
    /// How many of the classes with the nearest logits the target is held against; all others if
    /// there are fewer.
    #[must_use]
    pub fn with_references(self, references: usize) -> Self {
        Self { references, ..self }
    }

    /// How much the other classes count against the target; 0 leaves the plain method.
    #[must_use]
    pub fn with_strength(self, strength: f64) -> Self {
        Self { strength, ..self }
    }

    /// How much each of the other classes counts.
    #[must_use]
    pub fn with_weights(self, weights: ReferenceWeights) -> Self {
        Self { weights, ..self }
    }

    /// The method that makes a map of the gradients.
    #[must_use]
    pub fn with_method(self, method: GradientMethod) -> Self {
        Self { method, ..self }
    }
}

/// Finer-CAM: what tells each sample's class from those that the network finds most like it.
///
/// ```text
/// score = y[c] - strength · sum over d of p[d] y[d]
/// ```
///
/// where `y` are the logits, `d` are the classes with the logits nearest to `y[c]`, and the weights
/// `p` are equal or the softmax over these classes. The map is that of another method, such as
/// Grad-CAM, for this score. For classes of one's own choice see [`Target::against`].
///
/// Zhang et al., "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation",
/// 2025, [arXiv:2501.11309](https://arxiv.org/abs/2501.11309).
///
/// # Shapes
/// `[N, C, H, W]` gives `[N, H, W]`, `[N, C, D, H, W]` gives `[N, D, H, W]`. One target for each
/// sample, which names a class.
///
/// # Errors
/// [`CamError::NoClassNamed`] for a target other than a class, a rank, the predicted class or one
/// of these counterfactual; [`CamError::NoClassesToCompare`] for no references, a network of one
/// class, or a strength that is not finite; those of [`Capture::gradients`] and of the method.
///
/// # Cost
/// One backward pass from the logits to the earliest captured layer, and the method.
///
/// ```
/// use gradcam_core::{FinerCam, Stage, Stages, Target, finer_cam};
/// use tch::Tensor;
///
/// // Both classes see the first channel, which is on the left; only class 0 sees the second.
/// let network = Stages::new(vec![
///     Stage::new("image", |x| x.f_relu()),
///     Stage::new("logits", |x| {
///         let channels = x.f_sum_dim_intlist([2i64, 3].as_slice(), false, None)?;
///         Tensor::f_cat(&[channels.f_sum_dim_intlist([1i64].as_slice(), true, None)?, channels.f_narrow(1, 0, 1)?], 1)
///     }),
/// ])?;
/// let image = Tensor::from_slice(&[1f32, 0., 0., 1.]).view([1, 2, 1, 2]);
/// let capture = network.capture(&image, &["image"])?;
///
/// let settings = FinerCam::default().with_strength(1.0);
/// let maps = finer_cam(&capture, "image", &[Target::Class(0)], &settings)?;
/// assert_eq!(Vec::<f32>::try_from(maps.tensor().view(-1))?, [0., 1.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn finer_cam(capture: &Capture, layer: &str, targets: &[Target], settings: &FinerCam) -> Result<Maps, CamError> {
    let contrasts = settings.contrasts(capture, targets)?;
    settings.method.maps(&capture.gradients(&contrasts)?.at(layer)?)
}

impl FinerCam {
    /// The scores of [`finer_cam`] as targets, for whatever else takes targets or their gradients, such as
    /// [`eigen_smoothing`](crate::eigen_smoothing()).
    ///
    /// # Errors
    /// [`CamError::NoClassNamed`], [`CamError::NoClassesToCompare`], and those of targets that do not fit.
    ///
    /// # Cost
    /// One look at the logits.
    ///
    /// ```
    /// use gradcam_core::{FinerCam, GradientMethod, Stage, Stages, Target, eigen_smoothing};
    /// use tch::{Device, Kind, Tensor};
    ///
    /// let network = Stages::new(vec![
    ///     Stage::new("image", |x| x.f_relu()),
    ///     Stage::new("logits", |x| x.f_mean_dim([2i64, 3].as_slice(), false, None)),
    /// ])?;
    /// let capture = network.capture(&Tensor::rand([1, 4, 5, 5], (Kind::Float, Device::Cpu)), &["image"])?;
    /// let contrasts = FinerCam::default().contrasts(&capture, &[Target::Predicted])?;
    /// let gradients = capture.gradients(&contrasts)?;
    /// let smooth = eigen_smoothing(GradientMethod::GradCam, &gradients.at("image")?)?;
    /// assert_eq!(smooth.tensor().size(), [1, 5, 5]);
    /// # Ok::<(), gradcam_core::CamError>(())
    /// ```
    pub fn contrasts(&self, capture: &Capture, targets: &[Target]) -> Result<Vec<Target>, CamError> {
        // Errors name the sample, so the batch is looked up as one.
        let classes = Resolved::new(targets, capture.logits())?.classes();
        let each = targets.iter().zip(classes).enumerate();
        each.map(|(sample, (target, class))| {
            let class = class.ok_or(CamError::NoClassNamed { sample })?;
            self.contrast(target, class, sample, &capture.logits().f_get(sample as i64)?)
        })
        .collect()
    }

    /// The score of one sample, as a target.
    fn contrast(&self, target: &Target, class: i64, sample: usize, logits: &Tensor) -> Result<Target, CamError> {
        match target {
            Target::Class(_) | Target::Predicted | Target::Ranked(_) => {}
            Target::Counterfactual(target) => {
                return Ok(self.contrast(target, class, sample, logits)?.counterfactual());
            }
            _ => return Err(CamError::NoClassNamed { sample }),
        }
        let references = self.nearest(class, logits)?;
        let strength = self.strength;
        if references.is_empty() || !strength.is_finite() {
            return Err(CamError::NoClassesToCompare {
                sample,
                classes: references.len(),
                strength,
            });
        }
        Ok(match self.weights {
            ReferenceWeights::Equal => Target::Class(class).against(references, strength),
            ReferenceWeights::Probability => Target::Function(Score::new(move |logits| {
                let references = Tensor::f_from_slice(&references)?.f_to_device(logits.device())?;
                let others = logits.f_index_select(1, &references)?;
                // Probabilities over their sum are a softmax of these classes alone.
                let weighted = others.f_softmax(1, others.kind())?.f_mul(&others)?;
                let mean = weighted.f_sum_dim_intlist([1i64].as_slice(), false, others.kind())?;
                logits.f_select(1, class)?.f_sub(&mean.f_mul_scalar(strength)?)
            })),
        })
    }

    /// The other classes with the nearest logits; of equally near ones the lower class comes first.
    fn nearest(&self, class: i64, logits: &Tensor) -> Result<Vec<i64>, CamError> {
        let logits: Vec<f64> = logits.f_to_kind(Kind::Double)?.try_into()?;
        let distance = |&other: &i64| (logits[other as usize] - logits[class as usize]).abs();
        let mut others: Vec<i64> = (0..logits.len() as i64).filter(|&other| other != class).collect();
        others.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        others.truncate(self.references);
        Ok(others)
    }
}
