/// Which voxels count as neighbours of a voxel.
///
/// A named choice for what SciPy calls `generate_binary_structure(axes, rank)`. In 2-D,
/// [`Edges`](Connectivity::Edges) and [`Corners`](Connectivity::Corners) are the same eight pixels.
///
/// | value | differ in | 2-D | 3-D |
/// |---|---|---|---|
/// | [`Faces`](Connectivity::Faces) | one axis | 4 | 6 |
/// | [`Edges`](Connectivity::Edges) | up to two axes | 8 | 18 |
/// | [`Corners`](Connectivity::Corners) | up to all axes | 8 | 26 |
///
/// ```
/// use ndarray::array;
/// use seg_metrics::{Connectivity, components};
///
/// let diagonal = array![[true, false], [false, true]];
/// assert_eq!(components(diagonal.view(), Connectivity::Faces)?.count(), 2);
/// assert_eq!(components(diagonal.view(), Connectivity::Corners)?.count(), 1);
/// # Ok::<(), seg_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Connectivity {
    /// Neighbours differ by one step along one axis. What MedPy and MONAI take for surfaces.
    #[default]
    Faces,
    /// Neighbours differ by at most one step along each of at most two axes.
    Edges,
    /// Neighbours differ by at most one step along every axis.
    Corners,
}

impl Connectivity {
    /// Along how many axes neighbours may differ.
    pub(crate) fn rank(self) -> usize {
        match self {
            Connectivity::Faces => 1,
            Connectivity::Edges => 2,
            Connectivity::Corners => 3,
        }
    }
}
