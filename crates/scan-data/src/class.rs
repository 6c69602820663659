use std::fmt;

/// What an image shows, as one label for the whole image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// At least one lesion.
    Lesion,
    /// No lesion.
    Normal,
}

impl Class {
    /// The class of a [`Scan::lesion`](crate::Scan::lesion) flag.
    pub fn of(lesion: bool) -> Self {
        if lesion { Self::Lesion } else { Self::Normal }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lesion => "lesion",
            Self::Normal => "normal",
        })
    }
}
