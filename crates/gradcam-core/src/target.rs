//! What a heatmap explains: a number that the network's output gives for each sample.

use std::fmt;
use std::sync::Arc;

use ndarray::{ArrayD, ArrayView, Dimension};
use tch::{Kind, TchError, Tensor};

use crate::error::CamError;

type Function = Arc<dyn Fn(&Tensor) -> Result<Tensor, TchError> + Send + Sync>;

/// What the heatmap of one sample explains. High values of the heatmap are evidence for it.
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
/// # let _ = targets;
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
    pub fn probability(self) -> Self {
        Self::Probability(Box::new(self))
    }

    /// What tells the class that this target names from other classes.
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
    /// A score of the output of any number of samples.
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
    /// [`CamError::NoClassNamed`], [`CamError::NoClassesToCompare`], [`CamError::Region`] and
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

    /// The score of each sample, in the graph of `output` if it has one. f32.
    ///
    /// # Shapes
    /// The output of the whole batch, `[N, …]`, to `[N]`.
    ///
    /// # Errors
    /// [`CamError::ScoreShape`], and libtorch's own.
    pub(crate) fn scores(&self, output: &Tensor) -> Result<Tensor, CamError> {
        let logits: Option<Vec<i64>> = self.targets.iter().map(Formula::logit).collect();
        if let Some(classes) = logits {
            let index = Tensor::f_from_slice(&classes)?
                .f_to_device(output.device())?
                .f_unsqueeze(1)?;
            return Ok(output
                .f_gather(1, &index, false)?
                .f_squeeze_dim(1)?
                .f_to_kind(Kind::Float)?);
        }
        let scores = (0..self.targets.len())
            .map(|sample| self.scores_of(sample, &output.f_narrow(0, sample as i64, 1)?))
            .collect::<Result<Vec<_>, CamError>>()?;
        Ok(Tensor::f_cat(&scores, 0)?)
    }

    /// The score of one sample's target for any number of outputs, such as those of altered copies
    /// of the sample. f32.
    ///
    /// # Shapes
    /// `[M, …]` to `[M]`.
    ///
    /// # Errors
    /// As [`Resolved::scores`].
    pub(crate) fn scores_of(&self, sample: usize, outputs: &Tensor) -> Result<Tensor, CamError> {
        let scores = self.targets[sample].scores(&outputs.f_to_kind(Kind::Float)?)?;
        let (found, expected) = (scores.size(), outputs.size()[0]);
        if found == [expected] {
            Ok(scores)
        } else {
            Err(CamError::ScoreShape { found, expected })
        }
    }

    /// The class that each sample's target is about; `None` for a function of one's own.
    pub(crate) fn classes(&self) -> Vec<Option<i64>> {
        self.targets.iter().map(Formula::class).collect()
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
            | Self::Contrast { class, .. }
            | Self::Region { class, .. } => Some(*class),
            Self::Function(_) => None,
            Self::Negative(target) => target.class(),
        }
    }

    fn scores(&self, outputs: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Logit(class) => outputs.f_select(1, *class),
            Self::Probability(class) => outputs.f_softmax(1, Kind::Float)?.f_select(1, *class),
            Self::Contrast {
                class,
                against,
                strength,
            } => {
                let others = outputs
                    .f_index_select(1, &against.f_to_device(outputs.device())?)?
                    .f_mean_dim([1i64].as_slice(), false, Kind::Float)?;
                outputs.f_select(1, *class)?.f_sub(&others.f_mul_scalar(*strength)?)
            }
            Self::Region { class, region } => outputs
                .f_select(1, *class)?
                .f_mul(&region.f_to_device(outputs.device())?)?
                .f_flatten(1, -1)?
                .f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float),
            Self::Function(Score(score)) => score(outputs)?.f_to_kind(Kind::Float),
            Self::Negative(target) => target.scores(outputs)?.f_neg(),
        }
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
            Target::Probability(class) => Formula::Probability(self.class(class)?),
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
                for &other in against {
                    self.check(other)?;
                }
                Formula::Contrast {
                    class: self.class(class)?,
                    against: Tensor::f_from_slice(against)?,
                    strength: *strength,
                }
            }
            Target::Region { class, region } => {
                self.check(*class)?;
                let places = &self.output.size()[1..];
                let shape: Vec<i64> = region.shape().iter().map(|&extent| extent as i64).collect();
                if places.is_empty() || shape != places {
                    return Err(CamError::Region {
                        sample: self.sample,
                        region: shape,
                        output: places.to_vec(),
                    });
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
