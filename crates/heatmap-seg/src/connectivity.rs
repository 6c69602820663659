use serde::{Deserialize, Serialize};

/// Which pixels are neighbours: SciPy's `generate_binary_structure(axes, rank)`.
///
/// | value | differ by a step in | 2-D | 3-D |
/// |---|---|---|---|
/// | [`Faces`](Connectivity::Faces) | one axis | 4 | 6 |
/// | [`Edges`](Connectivity::Edges) | up to two axes | 8 | 18 |
/// | [`Corners`](Connectivity::Corners) | up to all axes | 8 | 26 |
///
/// ```
/// use heatmap_seg::{Connectivity, Hysteresis, Threshold};
/// use ndarray::array;
///
/// let heatmap = array![[0.9_f32, 0.0], [0.0, 0.5]];
/// let rule = Hysteresis::new(Threshold::Fixed(0.4), Threshold::Fixed(0.8));
/// let faces = rule.with_connectivity(Connectivity::Faces).apply(heatmap.view())?;
/// let corners = rule.with_connectivity(Connectivity::Corners).apply(heatmap.view())?;
/// assert_eq!((faces[(1, 1)], corners[(1, 1)]), (false, true));
/// # Ok::<(), heatmap_seg::SegError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connectivity {
    /// Neighbours differ by one step along one axis.
    #[default]
    Faces,
    /// Neighbours differ by at most one step along each of at most two axes.
    Edges,
    /// Neighbours differ by at most one step along every axis.
    Corners,
}

impl Connectivity {
    /// The steps from a pixel to its neighbours, in C order.
    pub(crate) fn steps(self, axes: usize) -> Vec<Vec<isize>> {
        let rank = match self {
            Connectivity::Faces => 1,
            Connectivity::Edges => 2,
            Connectivity::Corners => axes,
        };
        (0..3_usize.pow(axes as u32))
            .map(|code| {
                let digit = |axis: usize| (code / 3_usize.pow((axes - 1 - axis) as u32) % 3) as isize - 1;
                (0..axes).map(digit).collect::<Vec<isize>>()
            })
            .filter(|step| (1..=rank).contains(&step.iter().filter(|&&part| part != 0).count()))
            .collect()
    }
}
