use std::io::Write;

use ndarray::Array3;
use nifti::writer::WriterOptions;
use scan_data::{DataError, Dataset, Layout, ReadOptions, Scan};

use crate::files::Folder;

/// Axes i, j, k: a slice is three columns wide and two rows high.
const SHAPE: [usize; 3] = [3, 2, 4];

/// Different voxels; the last slice is padding.
fn voxel(i: usize, j: usize, k: usize) -> i16 {
    if k == 3 { 0 } else { (1 + i + 3 * j + 6 * k) as i16 }
}

/// One voxel of slice 1, two of slice 2.
fn mark(i: usize, j: usize, k: usize) -> i16 {
    i16::from(matches!((i, j, k), (2, 1, 1) | (0, 0, 2) | (1, 0, 2)))
}

/// A NIfTI file of int16, its fields put where the standard has them.
#[derive(Clone)]
struct File {
    second: bool,
    big: bool,
    dim: Vec<i64>,
    datatype: i16,
    bitpix: i16,
    gap: usize,
    scaling: [f64; 2],
    voxels: Vec<i16>,
}

impl File {
    fn of(voxel: impl Fn(usize, usize, usize) -> i16) -> Self {
        let [ni, nj, nk] = SHAPE;
        let at = |n: usize| voxel(n % ni, n / ni % nj, n / ni / nj);
        Self {
            second: false,
            big: false,
            dim: vec![3, 3, 2, 4],
            datatype: 4,
            bitpix: 16,
            gap: 0,
            scaling: [0.0, 0.0],
            voxels: (0..ni * nj * nk).map(at).collect(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        fn put<const N: usize>(out: &mut [u8], at: usize, mut little: [u8; N], big: bool) {
            if big {
                little.reverse();
            }
            out[at..at + N].copy_from_slice(&little);
        }
        let length = if self.second { 540 } else { 348 };
        let offset = length + 4 + self.gap;
        let (big, mut out) = (self.big, vec![0; offset]);
        put(&mut out, 0, (length as i32).to_le_bytes(), big);
        let [slope, intercept] = self.scaling;
        for (axis, &n) in self.dim.iter().enumerate() {
            if self.second {
                put(&mut out, 16 + 8 * axis, n.to_le_bytes(), big);
            } else {
                put(&mut out, 40 + 2 * axis, (n as i16).to_le_bytes(), big);
            }
        }
        if self.second {
            out[4..8].copy_from_slice(b"n+2\0");
            put(&mut out, 12, self.datatype.to_le_bytes(), big);
            put(&mut out, 14, self.bitpix.to_le_bytes(), big);
            put(&mut out, 168, (offset as i64).to_le_bytes(), big);
            put(&mut out, 176, slope.to_le_bytes(), big);
            put(&mut out, 184, intercept.to_le_bytes(), big);
        } else {
            out[344..348].copy_from_slice(b"n+1\0");
            put(&mut out, 70, self.datatype.to_le_bytes(), big);
            put(&mut out, 72, self.bitpix.to_le_bytes(), big);
            put(&mut out, 108, (offset as f32).to_le_bytes(), big);
            put(&mut out, 112, (slope as f32).to_le_bytes(), big);
            put(&mut out, 116, (intercept as f32).to_le_bytes(), big);
        }
        for voxel in &self.voxels {
            out.extend(if big { voxel.to_be_bytes() } else { voxel.to_le_bytes() });
        }
        out
    }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A folder with one sound pair.
fn sound() -> Folder {
    let folder = Folder::new();
    folder.write("01_pre_t1.nii.gz", gzipped(&File::of(voxel).bytes()));
    folder.write("01_pre_mask.nii.gz", gzipped(&File::of(mark).bytes()));
    folder
}

/// The only fault when the second pair's volume is given.
fn volume_fault(volume: &[u8], words: &[&str]) -> DataError {
    let folder = sound();
    folder.write("02_post_t1.nii", volume);
    folder.write("02_post_mask.nii", File::of(mark).bytes());
    folder.only_fault("02_post_t1.nii", &[&["02_post_t1.nii"], words].concat())
}

#[track_caller]
fn assert_sound(scans: &[Scan]) {
    let ids: Vec<_> = scans.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["01_pre/slice 0", "01_pre/slice 1", "01_pre/slice 2"]);
    assert_eq!(scans.iter().map(|s| s.lesion).collect::<Vec<_>>(), [false, true, true]);
    // 18 non-zero voxels 1 … 18: with so few, the percentiles are the extremes.
    for (k, scan) in scans.iter().enumerate() {
        assert_eq!(
            (scan.image.dim(), scan.mask.dim(), scan.group.as_str()),
            ((2, 3), (2, 3), "01")
        );
        assert!(scan.image.is_standard_layout());
        for ((row, column), &value) in scan.image.indexed_iter() {
            let expected = f32::from(voxel(column, row, k) - 1) / 17.0;
            assert!(
                (value - expected).abs() < 1e-6,
                "{k} {row} {column}: {value} is not {expected}"
            );
            assert_eq!(scan.mask[[row, column]], mark(column, row, k) != 0);
        }
    }
}

#[test]
fn slices_are_read_from_both_versions_and_byte_orders() {
    for second in [false, true] {
        for big in [false, true] {
            for gap in [0, 16] {
                let folder = Folder::new();
                let volume = File {
                    second,
                    big,
                    gap,
                    ..File::of(voxel)
                };
                folder.write("01_pre_t1.nii.gz", gzipped(&volume.bytes()));
                folder.write(
                    "01_pre_mask.nii",
                    File {
                        second,
                        big,
                        gap,
                        ..File::of(mark)
                    }
                    .bytes(),
                );
                folder.write("about.txt", "");
                let data = folder.read().unwrap();
                assert!(data.faults.is_empty(), "{:?}", data.faults);
                assert_eq!(data.layout, Some(Layout::Btp));
                let notes = data.notes.join("\n");
                assert!(notes.contains("1 slices without any non-zero voxel"), "{notes}");
                assert!(notes.contains("1 files that are neither"), "{notes}");
                assert_sound(&data.scans);
            }
        }
    }
}

#[test]
fn slope_and_intercept_are_applied() {
    // Voxels 4 … 21 stored as 1 … 18; without the intercept the padding would be no padding.
    let stored = |i, j, k| if k == 3 { -3 } else { voxel(i, j, k) };
    let folder = sound();
    folder.write(
        "01_pre_t1.nii.gz",
        gzipped(
            &File {
                scaling: [2.0, 6.0],
                ..File::of(stored)
            }
            .bytes(),
        ),
    );
    let data = folder.read().unwrap();
    assert_sound(&data.scans);
    // A slope that is no number means none.
    folder.write(
        "01_pre_t1.nii.gz",
        gzipped(
            &File {
                scaling: [f64::NAN, 6.0],
                ..File::of(voxel)
            }
            .bytes(),
        ),
    );
    assert_sound(&folder.read().unwrap().scans);
}

#[test]
fn what_the_nifti_crate_writes_is_read() {
    let folder = Folder::new();
    let array = |f: &dyn Fn(usize, usize, usize) -> i16| Array3::from_shape_fn(SHAPE, |(i, j, k)| f(i, j, k));
    WriterOptions::new(folder.file("01_pre_t1.nii.gz"))
        .write_nifti(&array(&voxel).mapv(f32::from))
        .unwrap();
    WriterOptions::new(folder.file("01_pre_mask.nii"))
        .write_nifti(&array(&mark).mapv(|m| m as u8))
        .unwrap();
    let data = folder.read().unwrap();
    assert!(data.faults.is_empty(), "{:?}", data.faults);
    assert_sound(&data.scans);
}

#[test]
fn slight_slices_are_left_out_on_request() {
    let options = ReadOptions::default().with_least_slice_area(2);
    let data = Dataset::read(sound().path(), &options).unwrap();
    assert_eq!(data.class_counts(), (1, 1));
    assert!(
        data.notes
            .iter()
            .any(|n| n.contains("1 slices with fewer than 2 marked voxels")),
        "{:?}",
        data.notes
    );
}

#[test]
fn volumes_of_a_patient_are_one_group() {
    let folder = sound();
    folder.write("01_post_t1.nii", File::of(voxel).bytes());
    folder.write("01_post_mask.nii", File::of(mark).bytes());
    let data = folder.read().unwrap();
    assert_eq!((data.scans.len(), data.scans[0].id.as_str()), (6, "01_post/slice 0"));
    assert!(data.scans.iter().all(|s| s.group == "01"));
}

#[test]
fn four_axes_are_a_fault_unless_the_fourth_is_one() {
    let four = File {
        dim: vec![4, 3, 2, 2, 2],
        ..File::of(voxel)
    };
    let error = volume_fault(&four.bytes(), &["[3, 2, 2, 2]", "expected three axes"]);
    assert!(matches!(error, DataError::VolumeRank { .. }));
    let folder = sound();
    folder.write(
        "01_pre_t1.nii.gz",
        gzipped(
            &File {
                dim: vec![4, 3, 2, 4, 1],
                ..File::of(voxel)
            }
            .bytes(),
        ),
    );
    assert_sound(&folder.read().unwrap().scans);
}

#[test]
fn headers_without_sense_are_faults() {
    let sound = File::of(voxel);
    let header = |file: File, words: &[&str]| {
        let error = volume_fault(&file.bytes(), words);
        assert!(matches!(error, DataError::VolumeHeader { .. }), "{error:?}");
    };
    // The nifti crate alone would panic on the next two.
    header(
        File {
            bitpix: 8,
            ..sound.clone()
        },
        &["bitpix = 8", "expected the width of the datatype"],
    );
    header(
        File {
            datatype: 32,
            bitpix: 64,
            ..sound.clone()
        },
        &["datatype = 32", "expected a real number type"],
    );
    header(
        File {
            dim: vec![9, 3, 2, 4],
            ..sound.clone()
        },
        &["dim[0] = 9", "expected 3"],
    );
    header(
        File {
            dim: vec![3, 3, -2, 4],
            ..sound.clone()
        },
        &["dim = -2", "expected axes of length 1"],
    );
    let mut bytes = sound.bytes();
    bytes[344..348].copy_from_slice(b"ni1\0");
    volume_fault(&bytes, &["magic", "ni1", "expected"]);
    bytes[..4].copy_from_slice(&[1, 2, 3, 4]);
    volume_fault(&bytes, &["sizeof_hdr = 67305985", "expected 348"]);
    let mut bytes = sound.bytes();
    bytes[108..112].copy_from_slice(&f32::NAN.to_le_bytes());
    volume_fault(&bytes, &["vox_offset = 0", "expected at least 352"]);
}

#[test]
fn short_and_large_volumes_are_faults() {
    let bytes = File::of(voxel).bytes();
    let error = volume_fault(&bytes[..bytes.len() - 1], &["found 47 bytes of voxels, expected 48"]);
    assert!(matches!(error, DataError::VolumeTruncated { .. }));
    volume_fault(&bytes[..100], &["found 100 bytes of header, expected 348"]);
    volume_fault(&[], &["found 0 bytes of header"]);
    volume_fault(&gzipped(&bytes)[..60], &["could not be read"]);
    let error = volume_fault(
        &File {
            dim: vec![3, 30_000, 30_000, 30_000],
            ..File::of(voxel)
        }
        .bytes(),
        &["at most"],
    );
    assert!(matches!(
        error,
        DataError::VolumeSize {
            bytes: 54_000_000_000_000,
            ..
        }
    ));
    let huge = vec![3, i64::MAX, i64::MAX, i64::MAX];
    volume_fault(
        &File {
            second: true,
            dim: huge,
            ..File::of(voxel)
        }
        .bytes(),
        &["expected at most"],
    );
}

#[test]
fn a_flat_volume_is_a_fault() {
    for value in [0, 5] {
        let error = volume_fault(&File::of(|_, _, _| value).bytes(), &["expected two different values"]);
        assert!(matches!(error, DataError::FlatVolume { .. }));
    }
}

#[test]
fn masks_that_do_not_fit_are_faults() {
    let folder = sound();
    folder.write("02_post_t1.nii", File::of(voxel).bytes());
    let error = folder.only_fault(
        "02_post_t1.nii",
        &["02_post_t1.nii", "found no mask", "02_post_mask.nii"],
    );
    assert!(matches!(error, DataError::MissingMask { .. }));

    folder.write(
        "02_post_mask.nii",
        File {
            dim: vec![3, 2, 3, 4],
            ..File::of(mark)
        }
        .bytes(),
    );
    let error = folder.only_fault(
        "02_post_t1.nii",
        &["02_post_mask.nii", "[2, 3, 4]", "expected [3, 2, 4]"],
    );
    assert!(matches!(error, DataError::MaskShape { .. }));

    folder.write("02_post_mask.nii", File::of(voxel).bytes());
    let error = folder.only_fault(
        "02_post_t1.nii",
        &["02_post_mask.nii", "expected 0 and one other value"],
    );
    assert!(matches!(error, DataError::GreyMask { .. }));

    let folder = sound();
    folder.write("03_pre_mask.nii", File::of(mark).bytes());
    let error = folder.only_fault("03_pre_mask.nii", &["03_pre_mask.nii", "found no image", "03_pre_t1"]);
    assert!(matches!(error, DataError::MissingImage { .. }));

    let folder = sound();
    folder.write("01_pre_t1.nii", File::of(voxel).bytes());
    let error = folder.only_fault("01_pre_t1.nii.gz", &["01_pre_t1.nii.gz", "expected only"]);
    assert!(matches!(error, DataError::SameName { .. }));
}
