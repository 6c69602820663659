//! Brain MRI with tumour masks as NIfTI volumes, before and after progression.
//!
//! Schmainda and Prah, Data from Brain-Tumor-Progression, The Cancer Imaging Archive (2018),
//! doi:10.7937/K9/TCIA.2018.15quzvnb.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2, Axis};

use super::{Found, Item, Plan};
use crate::folder::{Entry, Listing};
use crate::picture::{some_values, two_valued};
use crate::{DataError, Scan, nifti_volume};

/// The percentiles of the non-zero voxels that become 0 and 1.
const PERCENTILES: [f64; 2] = [0.5, 99.5];

/// Patient and date of a file such as `01_pre_t1.nii.gz`, with what it holds: `t1` or `mask`.
fn parts(name: &str) -> Option<(&str, &str, &str)> {
    let stem = name.strip_suffix(".nii.gz").or_else(|| name.strip_suffix(".nii"))?;
    let (stem, content) = stem.rsplit_once('_')?;
    let (patient, date) = stem.rsplit_once('_')?;
    (!patient.is_empty() && matches!(date, "pre" | "post")).then_some((patient, date, content))
}

/// Patient and date of a volume that is not a mask.
pub(crate) fn volume_name(name: &str) -> Option<(&str, &str)> {
    parts(name).and_then(|(patient, date, content)| (content == "t1").then_some((patient, date)))
}

fn mask_name(name: &str) -> Option<(&str, &str)> {
    parts(name).and_then(|(patient, date, content)| (content == "mask").then_some((patient, date)))
}

/// A volume and its mask.
#[derive(Debug)]
pub(crate) struct VolumePair {
    patient: String,
    date: String,
    pub(crate) volume: PathBuf,
    mask: PathBuf,
}

pub(crate) fn plan(root: &Path) -> Result<Plan, DataError> {
    let listing = Listing::of(root)?;
    let (mut items, mut others) = (Vec::new(), 0);
    let mut volumes: HashMap<(&str, &str), &Entry> = HashMap::new();
    let mut masks: HashMap<(&str, &str), &Entry> = HashMap::new();
    for file in &listing.files {
        let (kind, key) = match (volume_name(&file.name), mask_name(&file.name)) {
            (Some(key), _) => (&mut volumes, key),
            (_, Some(key)) => (&mut masks, key),
            _ => {
                others += 1;
                continue;
            }
        };
        let first = *kind.entry(key).or_insert(file);
        if first.name != file.name {
            items.push(Item::repeated(file, first));
        }
    }
    for file in &listing.files {
        if let Some(key) = volume_name(&file.name).filter(|key| volumes[key].name == file.name) {
            let (patient, date) = key;
            items.push(match masks.get(&key) {
                Some(mask) => Item::Volume(VolumePair {
                    patient: patient.to_owned(),
                    date: date.to_owned(),
                    volume: file.path.clone(),
                    mask: mask.path.clone(),
                }),
                None => {
                    let expected = root.join(format!("{patient}_{date}_mask.nii.gz"));
                    Item::without_mask(file, expected)
                }
            });
        } else if let Some(key) = mask_name(&file.name).filter(|key| !volumes.contains_key(key)) {
            let expected = root.join(format!("{}_{}_t1", key.0, key.1));
            items.push(Item::without_image(file, expected));
        }
    }
    let mut notes = vec![
        "Every axial slice with a non-zero voxel is used; lesion means that at least one of its voxels is marked."
            .to_owned(),
        format!(
            "Intensities are scaled per volume from the {}th to the {}th percentile of its non-zero voxels, clipped.",
            PERCENTILES[0], PERCENTILES[1]
        ),
        "Groups are patients; both dates of a patient are one group.".to_owned(),
    ];
    if others > 0 {
        notes.push(format!(
            "{others} files that are neither t1 volumes nor masks were passed over."
        ));
    }
    Ok(Plan { items, notes })
}

impl VolumePair {
    pub(crate) fn read(self, least_area: usize) -> Result<Found, DataError> {
        let mut voxels = nifti_volume::read(&self.volume)?;
        let marks = nifti_volume::read(&self.mask)?;
        if voxels.dim() != marks.dim() {
            return Err(DataError::MaskShape {
                mask: self.mask,
                volume: self.volume,
                mask_shape: marks.shape().to_vec(),
                shape: voxels.shape().to_vec(),
            });
        }
        // Transposed, because the first axis of these volumes is the fastest in memory.
        if two_valued(marks.t().iter()).is_none() {
            return Err(DataError::GreyMask {
                path: self.mask,
                values: some_values(marks.iter()),
            });
        }
        voxels.mapv_inplace(|v| if v.is_finite() { v } else { 0.0 });
        let seen: Vec<f32> = voxels.iter().copied().filter(|&v| v != 0.0).collect();
        let [low, high] = percentiles(seen);
        if low >= high {
            return Err(DataError::FlatVolume {
                path: self.volume,
                low,
                high,
            });
        }

        let mut found = Found::default();
        for (number, (slice, marks)) in voxels.axis_iter(Axis(2)).zip(marks.axis_iter(Axis(2))).enumerate() {
            let area = marks.iter().filter(|&&m| m != 0.0).count();
            if area == 0 && slice.iter().all(|&v| v == 0.0) {
                found.padding += 1;
            } else if (1..least_area).contains(&area) {
                found.slight += 1;
            } else {
                found.scans.push(Scan {
                    id: format!("{}_{}/slice {number}", self.patient, self.date),
                    group: self.patient.clone(),
                    lesion: area > 0,
                    image: upright(slice, |v| ((v - low) / (high - low)).clamp(0.0, 1.0)),
                    mask: upright(marks, |m| m != 0.0),
                    source: self.volume.clone(),
                });
            }
        }
        Ok(found)
    }
}

/// A slice `[i, j]` as an image `[j, i]`, in row-major memory.
fn upright<T>(slice: ArrayView2<'_, f32>, value: impl Fn(f32) -> T) -> Array2<T> {
    let turned = slice.reversed_axes();
    Array2::from_shape_fn(turned.dim(), |at| value(turned[at]))
}

/// The two percentiles by nearest rank; zeros when there is no value.
fn percentiles(mut values: Vec<f32>) -> [f32; 2] {
    PERCENTILES.map(|percentile| {
        let Some(last) = values.len().checked_sub(1) else {
            return 0.0;
        };
        let rank = (percentile / 100.0 * last as f64).round() as usize;
        *values.select_nth_unstable_by(rank, f32::total_cmp).1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_patient_and_date() {
        assert_eq!(volume_name("01_pre_t1.nii.gz"), Some(("01", "pre")));
        assert_eq!(volume_name("a_b_post_t1.nii"), Some(("a_b", "post")));
        assert_eq!(mask_name("01_pre_mask.nii.gz"), Some(("01", "pre")));
        for other in [
            "01_pre_t2.nii",
            "_pre_t1.nii",
            "01_mid_t1.nii",
            "01_pre_t1.mgz",
            "pre_t1.nii",
        ] {
            assert_eq!(volume_name(other), None, "{other}");
        }
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values = (1..=1001).rev().map(|v| v as f32).collect();
        assert_eq!(percentiles(values), [6.0, 996.0]);
        assert_eq!(percentiles(vec![3.0]), [3.0, 3.0]);
        assert_eq!(percentiles(vec![]), [0.0, 0.0]);
    }
}
