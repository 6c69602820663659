//! From a value to a colour.

use crate::colour_tables::{INFERNO, MAGMA, TURBO, VIRIDIS};

/// A colour map, as matplotlib has it: 256 steps.
///
/// ```
/// use gradcam_core::ColourMap;
///
/// assert_eq!(ColourMap::Viridis.rgb(0.0), [68, 1, 84]);
/// assert_eq!(ColourMap::Jet.rgb(1.0), [127, 0, 0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ColourMap {
    /// Dark blue over green to yellow; lightness rises evenly, so it prints in grey too.
    #[default]
    Viridis,
    /// Black over red to pale yellow; lightness rises evenly.
    Inferno,
    /// Black over purple to pale yellow; lightness rises evenly.
    Magma,
    /// A rainbow without false edges.
    Turbo,
    /// The rainbow that heatmaps in papers usually wear; its bright bands look like edges.
    Jet,
}

/// The corners `(value, height)` of one channel's piecewise linear course.
type Ramp = &'static [(f64, f64)];
const JET: [Ramp; 3] = [
    &[(0.0, 0.0), (0.35, 0.0), (0.66, 1.0), (0.89, 1.0), (1.0, 0.5)],
    &[
        (0.0, 0.0),
        (0.125, 0.0),
        (0.375, 1.0),
        (0.64, 1.0),
        (0.91, 0.0),
        (1.0, 0.0),
    ],
    &[(0.0, 0.5), (0.11, 1.0), (0.34, 1.0), (0.65, 0.0), (1.0, 0.0)],
];

impl ColourMap {
    /// Every colour map.
    pub const ALL: [Self; 5] = [Self::Viridis, Self::Inferno, Self::Magma, Self::Turbo, Self::Jet];

    /// matplotlib's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viridis => "viridis",
            Self::Inferno => "inferno",
            Self::Magma => "magma",
            Self::Turbo => "turbo",
            Self::Jet => "jet",
        }
    }

    /// Red, green and blue of a value in 0..=1. What lies outside takes the nearest end's colour,
    /// a NaN that of 0.
    pub fn rgb(self, value: f32) -> [u8; 3] {
        // The cast holds at the ends and takes NaN to 0.
        let step = ((value * 256.0) as usize).min(255);
        let unpack = |table: &[u32; 256]| {
            let [_, red, green, blue] = table[step].to_be_bytes();
            [red, green, blue]
        };
        match self {
            Self::Viridis => unpack(&VIRIDIS),
            Self::Inferno => unpack(&INFERNO),
            Self::Magma => unpack(&MAGMA),
            Self::Turbo => unpack(&TURBO),
            Self::Jet => JET.map(|ramp| (height(ramp, step as f64) * 255.0) as u8),
        }
    }
}

/// The height of a ramp at one of 256 steps, linear between its corners; rounded as matplotlib does,
/// which multiplies the corners out.
fn height(ramp: Ramp, step: f64) -> f64 {
    let mut height = ramp[0].1;
    for pair in ramp.windows(2) {
        let [(from, low), (to, high)] = [pair[0], pair[1]];
        let (from, to) = (from * 255.0, to * 255.0);
        if step >= from {
            height = low + (high - low) * ((step - from) / (to - from)).min(1.0);
        }
    }
    height
}
