/// What there was in a map before it was normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Content {
    /// Larger and smaller values: the heatmap runs from 0 to 1.
    Graded,
    /// Zero everywhere, such as a ReLU leaves where nothing speaks for the class: the heatmap is
    /// zero and says nothing.
    Zero,
    /// One value other than zero everywhere: the heatmap is zero and says nothing.
    Constant,
}

impl Content {
    /// What a map of values from `min` to `max` holds.
    pub(crate) fn of(min: f32, max: f32) -> Self {
        if min < max {
            Self::Graded
        } else if max == 0.0 {
            Self::Zero
        } else {
            Self::Constant
        }
    }
}
