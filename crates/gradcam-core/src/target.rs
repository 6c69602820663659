//! What a heatmap explains: a number that the network's output gives for each sample.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use ndarray::{ArrayD, ArrayView, Dimension};
use tch::{Kind, TchError, Tensor};

use crate::error::CamError;

type Function = Arc<dyn Fn(&Tensor) -> Result<Tensor, TchError> + Send + Sync>;

/// What the heatmap of one sample explains. High values of the heatmap are evidence for it.
///
/// A network that tells two classes apart with a single logit, such as tumour and normal by a sigmoid, has its one
/// class at `Class(0)`: the logit itself is what speaks for it, [its opposite](Target::counterfactual) what speaks for
/// the other, and [`Target::sigmoid`] its probability.
///
/// ```
/// use gradcam_core::Target;
///
/// // What speaks for class 3, for its probability, for it rather than class 5, and against it.
/// let targets = [
///     Target::Class(3),
///     Target::Class(3).probability(),
///     Target::Class(3).against([5], 1.0),
///     Target::Class(3).counterfactual(),
/// ];
/// // Of a network with one logit: what speaks for the tumour, for its probability, and for normal tissue.
/// let binary = [
///     Target::Class(0),
///     Target::Class(0).sigmoid(),
///     Target::Class(0).counterfactual(),
/// ];
/// # let _ = (targets, binary);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum Target {
    /// The logit of this class.
    Class(i64),
    /// The largest logit.
    Predicted,
    /// The logit of this rank: 0 is the largest, 1 the next. The `k` most likely classes are
    /// explained by the ranks `0..k`, all from one forward pass.
    Ranked(usize),
    /// The softmax probability of the class that the inner target names.
    Probability(Box<Target>),
    /// The sigmoid of the logit of the class that the inner target names.
    Sigmoid(Box<Target>),
    /// The logit of the class that the inner target names, and the logarithm of its softmax probability.
    ResidualSoftmax(Box<Target>),
    /// What tells a class from others: its logit less `strength` times the mean of theirs.
    Contrast {
        /// Names the class.
        class: Box<Target>,
        /// The classes it is held against.
        against: Vec<i64>,
        /// How much they count; 1 is a plain difference.
        strength: f64,
    },
    /// The sum of a class's logits over the marked places of a segmentation network's output.
    Region {
        /// The class.
        class: i64,
        /// Which places, bool, `[H, W]` or `[D, H, W]` as the output has them.
        region: Arc<ArrayD<bool>>,
    },
    /// A function of the output.
    Function(Score),
    /// The opposite of another target: high values are evidence against it.
    Counterfactual(Box<Target>),
}

/// A scalar function of the network's output, for [`Target::Function`].
///
/// ```
/// use gradcam_core::{Score, Target};
///
/// // The sum of the first two classes' logits.
/// let target = Target::Function(Score::new(|logits| {
///     logits.f_narrow(1, 0, 2)?.f_sum_dim_intlist([1i64].as_slice(), false, None)
/// }));
/// # let _ = target;
/// ```
#[derive(Clone)]
pub struct Score(Function);

impl Target {
    /// The softmax probability of the class that this target names.
    ///
    /// Of a network with a single logit it would be 1 whatever the network sees, and is refused with
    /// [`CamError::OneClass`]; [`Target::sigmoid`] is for those.
    pub fn probability(self) -> Self {
        Self::Probability(Box::new(self))
    }

    /// The probability of the class that this target names where each class has its own, as with a single logit or
    /// with several labels at once.
    ///
    /// ```text
    /// score = 1 / (1 + exp(-y[c]))
    /// ```
    pub fn sigmoid(self) -> Self {
        Self::Sigmoid(Box::new(self))
    }

    /// The residual softmax (ReST) of the class that this target names.
    ///
    /// ```text
    /// score = y[c] + log p[c]        p: softmax of the logits y
    /// ```
    ///
    /// The target that Shapley-CAM was made for: unlike the logit it has a curvature, and unlike the probability
    /// slopes that do not vanish when the network is sure. Cai, "CAMs as Shapley Value-based Explainers", 2025,
    /// [arXiv:2501.06261](https://arxiv.org/abs/2501.06261). A single logit is refused, as in [`Target::probability`].
    pub fn residual_softmax(self) -> Self {
        Self::ResidualSoftmax(Box::new(self))
    }

    /// What tells the class that this target names from other classes: each of them once, and none of them that
    /// class itself.
    pub fn against(self, classes: impl Into<Vec<i64>>, strength: f64) -> Self {
        Self::Contrast {
            class: Box::new(self),
            against: classes.into(),
            strength,
        }
    }

    /// A class's logits summed over the marked places of a segmentation.
    pub fn region<D: Dimension>(class: i64, region: ArrayView<'_, bool, D>) -> Self {
        Self::Region {
            class,
            region: Arc::new(region.to_owned().into_dyn()),
        }
    }

    /// The opposite of this target.
    pub fn counterfactual(self) -> Self {
        Self::Counterfactual(Box::new(self))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => f.debug_tuple("Class").field(class).finish(),
            Self::Predicted => f.write_str("Predicted"),
            Self::Ranked(rank) => f.debug_tuple("Ranked").field(rank).finish(),
            Self::Probability(class) => f.debug_tuple("Probability").field(class).finish(),
            Self::Sigmoid(class) => f.debug_tuple("Sigmoid").field(class).finish(),
            Self::ResidualSoftmax(class) => f.debug_tuple("ResidualSoftmax").field(class).finish(),
            Self::Contrast {
                class,
                against,
                strength,
            } => f
                .debug_struct("Contrast")
                .field("class", class)
                .field("against", against)
                .field("strength", strength)
                .finish(),
            Self::Region { class, region } => f
                .debug_struct("Region")
                .field("class", class)
                .field("shape", &region.shape())
                .finish(),
            Self::Function(_) => f.write_str("Function"),
            Self::Counterfactual(target) => f.debug_tuple("Counterfactual").field(target).finish(),
        }
    }
}

impl Score {
    /// A score of the output of any number of samples, which is given in single precision, or in double precision if
    /// the network puts it out so.
    ///
    /// # Shapes
    /// `[M, K]`, or what the network puts out for `M` samples, to `[M]`. Each sample's score may
    /// depend on that sample's output only.
    pub fn new(score: impl Fn(&Tensor) -> Result<Tensor, TchError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(score))
    }
}

impl fmt::Debug for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Score")
    }
}

/// The targets of a batch once the output is known: what is left is arithmetic.
#[derive(Debug)]
pub(crate) struct Resolved {
    targets: Vec<Formula>,
}

/// A target without a name left to look up.
#[derive(Debug)]
enum Formula {
    Logit(i64),
    Probability(i64),
    Sigmoid(i64),
    ResidualSoftmax(i64),
    Contrast {
        class: i64,
        against: Tensor,
        strength: f64,
    },
    Region {
        class: i64,
        /// 1 where marked, 0 elsewhere.
        region: Tensor,
    },
    Function(Score),
    Negative(Box<Formula>),
}

impl Resolved {
    /// Looks up what `targets` name in the output of the whole batch.
    ///
    /// # Shapes
    /// `output` is `[N, K]` or, of a segmentation, `[N, K, H, W]` or `[N, K, D, H, W]`; there is one
    /// target for each sample.
    ///
    /// # Errors
    /// [`CamError::TargetCount`], [`CamError::Class`], [`CamError::Rank`],
    /// [`CamError::NoClassNamed`], [`CamError::OneClass`], [`CamError::NoClassesToCompare`],
    /// [`CamError::ComparedWithItself`], [`CamError::ComparedTwice`], [`CamError::Region`],
    /// [`CamError::EmptyRegion`], [`CamError::NoPlaces`] and
    /// [`CamError::NeedsRegion`].
    pub(crate) fn new(targets: &[Target], output: &Tensor) -> Result<Self, CamError> {
        let shape = output.size();
        if targets.len() as i64 != shape[0] {
            return Err(CamError::TargetCount {
                targets: targets.len(),
                batch: shape[0],
            });
        }
        let _no_grad = tch::no_grad_guard();
        let look_up = |(sample, target)| {
            Sample {
                sample,
                output: output.f_get(sample as i64)?,
            }
            .formula(target)
        };
        Ok(Self {
            targets: targets.iter().enumerate().map(look_up).collect::<Result<_, _>>()?,
        })
    }

    /// The score of each sample, in the graph of `output` if it has one. f32, or f64 as the output.
    ///
    /// # Shapes
    /// The output of the whole batch, `[N, …]`, to `[N]`.
    ///
    /// # Errors
    /// [`CamError::TargetFunction`], [`CamError::ScoreShape`], and libtorch's own.
    pub(crate) fn scores(&self, output: &Tensor) -> Result<Tensor, CamError> {
        let logits: Option<Vec<i64>> = self.targets.iter().map(Formula::logit).collect();
        if let Some(classes) = logits {
            let index = Tensor::f_from_slice(&classes)?
                .f_to_device(output.device())?
                .f_unsqueeze(1)?;
            return Ok(output
                .f_gather(1, &index, false)?
                .f_squeeze_dim(1)?
                .f_to_kind(score_kind(output))?);
        }
        let scores = (0..self.targets.len())
            .map(|sample| self.scores_of(sample, &output.f_narrow(0, sample as i64, 1)?))
            .collect::<Result<Vec<_>, CamError>>()?;
        Ok(Tensor::f_cat(&scores, 0)?)
    }

    /// The score of one sample's target for any number of outputs, such as those of altered copies
    /// of the sample. f32, or f64 as the outputs.
    ///
    /// # Shapes
    /// `[M, …]` to `[M]`.
    ///
    /// # Errors
    /// As [`Resolved::scores`].
    pub(crate) fn scores_of(&self, sample: usize, outputs: &Tensor) -> Result<Tensor, CamError> {
        let outputs = outputs.f_to_kind(score_kind(outputs))?;
        let scores = self.targets[sample].scores(sample, &outputs)?;
        let (found, expected) = (scores.size(), outputs.size()[0]);
        if found == [expected] {
            Ok(scores)
        } else {
            Err(CamError::ScoreShape {
                sample,
                found,
                expected,
            })
        }
    }

    /// The class that each sample's target is about; `None` for a function of one's own.
    pub(crate) fn classes(&self) -> Vec<Option<i64>> {
        self.targets.iter().map(Formula::class).collect()
    }
}

/// What scores are reckoned in. Differences of scores need all that double precision has.
pub(crate) fn score_kind(output: &Tensor) -> Kind {
    match output.kind() {
        Kind::Double => Kind::Double,
        _ => Kind::Float,
    }
}

impl Formula {
    fn logit(&self) -> Option<i64> {
        match self {
            Self::Logit(class) => Some(*class),
            _ => None,
        }
    }

    fn class(&self) -> Option<i64> {
        match self {
            Self::Logit(class)
            | Self::Probability(class)
            | Self::Sigmoid(class)
            | Self::ResidualSoftmax(class)
            | Self::Contrast { class, .. }
            | Self::Region { class, .. } => Some(*class),
            Self::Function(_) => None,
            Self::Negative(target) => target.class(),
        }
    }

    fn scores(&self, sample: usize, outputs: &Tensor) -> Result<Tensor, CamError> {
        let kind = outputs.kind();
        Ok(match self {
            Self::Logit(class) => outputs.f_select(1, *class)?,
            Self::Probability(class) => outputs.f_softmax(1, kind)?.f_select(1, *class)?,
            Self::Sigmoid(class) => outputs.f_select(1, *class)?.f_sigmoid()?,
            Self::ResidualSoftmax(class) => {
                let log = outputs.f_log_softmax(1, kind)?.f_select(1, *class)?;
                outputs.f_select(1, *class)?.f_add(&log)?
            }
            Self::Contrast {
                class,
                against,
                strength,
            } => {
                let others = outputs
                    .f_index_select(1, &against.f_to_device(outputs.device())?)?
                    .f_mean_dim([1i64].as_slice(), false, kind)?;
                outputs.f_select(1, *class)?.f_sub(&others.f_mul_scalar(*strength)?)?
            }
            Self::Region { class, region } => outputs
                .f_select(1, *class)?
                .f_mul(&region.f_to_device(outputs.device())?)?
                .f_flatten(1, -1)?
                .f_sum_dim_intlist([1i64].as_slice(), false, kind)?,
            Self::Function(Score(score)) => score(outputs)
                .map_err(|source| CamError::TargetFunction { sample, source })?
                .f_to_kind(kind)?,
            Self::Negative(target) => target.scores(sample, outputs)?.f_neg()?,
        })
    }
}

/// One sample's output, for names to be looked up in.
struct Sample {
    sample: usize,
    output: Tensor,
}

impl Sample {
    fn formula(&self, target: &Target) -> Result<Formula, CamError> {
        Ok(match target {
            Target::Class(_) | Target::Predicted | Target::Ranked(_) => Formula::Logit(self.class(target)?),
            Target::Probability(class) => Formula::Probability(self.of_several(class)?),
            Target::Sigmoid(class) => Formula::Sigmoid(self.class(class)?),
            Target::ResidualSoftmax(class) => Formula::ResidualSoftmax(self.of_several(class)?),
            Target::Contrast {
                class,
                against,
                strength,
            } => {
                if against.is_empty() || !strength.is_finite() {
                    return Err(CamError::NoClassesToCompare {
                        sample: self.sample,
                        classes: against.len(),
                        strength: *strength,
                    });
                }
                let class = self.class(class)?;
                let mut seen = HashSet::new();
                for &other in against {
                    self.check(other)?;
                    let sample = self.sample;
                    if other == class {
                        return Err(CamError::ComparedWithItself { sample, class });
                    }
                    if !seen.insert(other) {
                        return Err(CamError::ComparedTwice { sample, class: other });
                    }
                }
                Formula::Contrast {
                    class,
                    against: Tensor::f_from_slice(against)?,
                    strength: *strength,
                }
            }
            Target::Region { class, region } => {
                self.check(*class)?;
                let places = &self.output.size()[1..];
                let shape: Vec<i64> = region.shape().iter().map(|&extent| extent as i64).collect();
                if places.is_empty() {
                    return Err(CamError::NoPlaces { sample: self.sample });
                }
                if shape != places {
                    return Err(CamError::Region {
                        sample: self.sample,
                        region: shape,
                        output: places.to_vec(),
                    });
                }
                if !region.iter().any(|&marked| marked) {
                    return Err(CamError::EmptyRegion { sample: self.sample });
                }
                let values: Vec<f32> = region.iter().map(|&marked| f32::from(u8::from(marked))).collect();
                Formula::Region {
                    class: *class,
                    region: Tensor::f_from_slice(&values)?.f_view(shape.as_slice())?,
                }
            }
            Target::Function(score) => Formula::Function(score.clone()),
            Target::Counterfactual(target) => Formula::Negative(Box::new(self.formula(target)?)),
        })
    }

    /// The class that a target names, if there are others that its softmax weighs it against.
    fn of_several(&self, target: &Target) -> Result<i64, CamError> {
        let class = self.class(target)?;
        if self.output.size()[0] > 1 {
            Ok(class)
        } else {
            Err(CamError::OneClass { sample: self.sample })
        }
    }

    /// The class that a target names.
    fn class(&self, target: &Target) -> Result<i64, CamError> {
        let shape = self.output.size();
        if shape.len() != 1 {
            return Err(CamError::NeedsRegion {
                sample: self.sample,
                places: shape[1..].to_vec(),
            });
        }
        let rank = match target {
            Target::Class(class) => return self.check(*class),
            Target::Predicted => 0,
            Target::Ranked(rank) => i64::try_from(*rank).unwrap_or(i64::MAX),
            _ => return Err(CamError::NoClassNamed { sample: self.sample }),
        };
        if rank >= shape[0] {
            return Err(CamError::Rank {
                sample: self.sample,
                rank,
                classes: shape[0],
            });
        }
        if rank == 0 {
            return Ok(self.output.f_argmax(0, false)?.f_int64_value(&[])?);
        }
        // Of equal logits the lower class comes first.
        let order = self.output.f_argsort_stable(true, 0, true)?;
        Ok(order.f_int64_value(&[rank])?)
    }

    fn check(&self, class: i64) -> Result<i64, CamError> {
        let classes = self.output.size()[0];
        if (0..classes).contains(&class) {
            Ok(class)
        } else {
            Err(CamError::Class {
                sample: self.sample,
                class,
                classes,
            })
        }
    }
}
