use crate::Layout;

/// What a mask picture with more than two values means.
///
/// A mask is plain when its pixels have no more than two values, 0 and one other: 0/255, 0/1, a
/// label, or 1 bit. Then this choice does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GreyMasks {
    /// A fault, since a smoothed edge or a JPEG's noise moves the outline.
    #[default]
    Fault,
    /// Lesion where the value is above half of the file format's full scale. Meant for anti-aliased
    /// and JPEG masks. Volumes stay faults.
    AboveHalf,
}

/// How [`Dataset::read`](crate::Dataset::read) reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    layout: Option<Layout>,
    strict: bool,
    grey_masks: GreyMasks,
    least_slice_area: usize,
}

impl Default for ReadOptions {
    /// The layout is guessed, faulty items are set aside, grey masks are faults, every marked slice
    /// of a volume counts.
    fn default() -> Self {
        Self {
            layout: None,
            strict: false,
            grey_masks: GreyMasks::Fault,
            least_slice_area: 1,
        }
    }
}

impl ReadOptions {
    /// The layout of the folder; `None` guesses it.
    pub fn with_layout(mut self, layout: Option<Layout>) -> Self {
        self.layout = layout;
        self
    }

    /// Whether the first faulty item ends the reading with its error.
    pub fn with_strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// What a mask picture with more than two values means.
    pub fn with_grey_masks(mut self, grey_masks: GreyMasks) -> Self {
        self.grey_masks = grey_masks;
        self
    }

    /// The least number of marked voxels of a lesion slice of a volume. Slices with fewer, but not
    /// none, are left out and counted in a note. 0 means the same as 1.
    pub fn with_least_slice_area(mut self, voxels: usize) -> Self {
        self.least_slice_area = voxels;
        self
    }

    /// The layout that was set.
    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// Whether a faulty item is an error.
    pub fn strict(&self) -> bool {
        self.strict
    }

    /// What a mask picture with more than two values means.
    pub fn grey_masks(&self) -> GreyMasks {
        self.grey_masks
    }

    /// The least number of marked voxels of a lesion slice.
    pub fn least_slice_area(&self) -> usize {
        self.least_slice_area
    }
}
