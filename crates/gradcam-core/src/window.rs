//! From the values of a scan to grey in 0..=1.

use ndarray::{Array, ArrayView, Dimension};

use crate::error::CamError;

/// Which values of a scan become black and which white; what lies between is grey, what lies beyond
/// is cut off.
///
/// The linear functions are those of the DICOM standard, part 3, section
/// [C.11.2.1.2](https://dicom.nema.org/medical/dicom/current/output/chtml/part03/sect_C.11.2.html).
///
/// ```
/// use gradcam_core::{Window, grey};
/// use ndarray::arr2;
///
/// // Hounsfield units under a soft tissue window.
/// let scan = arr2(&[[-1000i16, 40], [100, 1200]]);
/// let window = Window::LinearExact { centre: 40.0, width: 400.0 };
/// let values = window.apply(scan.view())?;
/// assert_eq!(values, arr2(&[[0.0, 0.5], [0.65, 1.0]]));
/// let picture = grey(values.view())?;
/// assert_eq!(picture.get_pixel(1, 0).0, [128; 3]);
/// # Ok::<(), gradcam_core::CamError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Window {
    /// DICOM's `LINEAR`, which is meant when a file names no function. Of whole numbers: a window of
    /// width `w` holds `w` of them, the first black, the last white.
    ///
    /// ```text
    /// y = (x - (centre - 0.5)) / (width - 1) + 0.5, held to 0..=1
    /// ```
    Linear {
        /// DICOM's Window Center (0028,1050), in the scan's units.
        centre: f64,
        /// DICOM's Window Width (0028,1051), 1 or more, in the scan's units.
        width: f64,
    },
    /// DICOM's `LINEAR_EXACT`.
    ///
    /// ```text
    /// y = (x - centre) / width + 0.5, held to 0..=1
    /// ```
    LinearExact {
        /// The middle of the window, in the scan's units.
        centre: f64,
        /// From black to white, above 0, in the scan's units.
        width: f64,
    },
    /// From one percentile of the scan's own values to another: for scans without units, such as
    /// magnetic resonance. Between two values the percentile is interpolated, as numpy does it.
    ///
    /// ```text
    /// y = (x - P(low)) / (P(high) - P(low)), held to 0..=1
    /// ```
    Percentiles {
        /// The share of values, in percent, that lie below black.
        low: f64,
        /// The share of values, in percent, that lie below white.
        high: f64,
    },
}

impl Window {
    /// From the smallest value to the largest.
    pub const FULL: Self = Self::Percentiles { low: 0.0, high: 100.0 };

    /// The values of a scan as grey in 0..=1, for [`grey`](crate::grey) or a network's input.
    ///
    /// Where black and white are the same value, as of an even scan, what is above it is 1 and the
    /// rest 0.
    ///
    /// # Shapes
    /// Any, to the same: an image `[H, W]`, or a volume, whose percentiles are then those of the
    /// whole volume.
    ///
    /// # Units
    /// The values and the window are in the same units. DICOM applies a window after the rescale
    /// slope and intercept.
    ///
    /// # Errors
    /// [`CamError::WindowCentre`], [`CamError::WindowWidth`], [`CamError::WindowPercentiles`],
    /// [`CamError::WindowEnds`] for a window that f64 does not hold, [`CamError::NonFiniteValue`] for a NaN or an
    /// infinity among the values, and [`CamError::Shape`] for percentiles of no values.
    ///
    /// # Cost
    /// One pass; percentiles also copy the values and order them in part, linear in their number.
    pub fn apply<T, D>(self, values: ArrayView<'_, T, D>) -> Result<Array<f32, D>, CamError>
    where
        T: Copy + Into<f64>,
        D: Dimension,
    {
        if let Some(index) = values.iter().position(|&value| !value.into().is_finite()) {
            return Err(CamError::NonFiniteValue { index });
        }
        let (black, white) = self.ends(values.view())?;
        if !(white - black).is_finite() {
            return Err(CamError::WindowEnds { black, white });
        }
        Ok(values.mapv(|value| {
            let value = value.into();
            if value <= black {
                0.0
            } else if value > white {
                1.0
            } else {
                ((value - black) / (white - black)) as f32
            }
        }))
    }

    /// The values that become black and white.
    fn ends<T, D>(self, values: ArrayView<'_, T, D>) -> Result<(f64, f64), CamError>
    where
        T: Copy + Into<f64>,
        D: Dimension,
    {
        let linear = |centre: f64, width: f64, least: f64| {
            if !centre.is_finite() {
                return Err(CamError::WindowCentre { centre });
            }
            if !(width.is_finite() && width >= least) {
                return Err(CamError::WindowWidth { width, least });
            }
            Ok(())
        };
        match self {
            Self::Linear { centre, width } => {
                linear(centre, width, 1.0)?;
                let half = (width - 1.0) / 2.0;
                Ok((centre - 0.5 - half, centre - 0.5 + half))
            }
            Self::LinearExact { centre, width } => {
                linear(centre, width, f64::MIN_POSITIVE)?;
                Ok((centre - width / 2.0, centre + width / 2.0))
            }
            Self::Percentiles { low, high } => {
                if !(0.0 <= low && low < high && high <= 100.0) {
                    return Err(CamError::WindowPercentiles { low, high });
                }
                let shape = values.shape().to_vec();
                let mut values: Vec<f64> = values.iter().map(|&value| value.into()).collect();
                if values.is_empty() {
                    return Err(CamError::Shape {
                        shape,
                        expected: "values to take percentiles of",
                    });
                }
                Ok((percentile(&mut values, low), percentile(&mut values, high)))
            }
        }
    }
}

/// The value that `percent` of the values lie below, interpolated between its neighbours.
fn percentile(values: &mut [f64], percent: f64) -> f64 {
    let place = percent / 100.0 * (values.len() - 1) as f64;
    let before = place as usize;
    let (_, &mut low, above) = values.select_nth_unstable_by(before, f64::total_cmp);
    match above.iter().copied().min_by(f64::total_cmp) {
        Some(high) => low + (high - low) * (place - before as f64),
        None => low,
    }
}
