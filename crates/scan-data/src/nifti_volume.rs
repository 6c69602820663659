//! Reading of single-file NIfTI volumes, NIfTI-1 and NIfTI-2, in both byte orders, gzipped or not.
//!
//! The header is read here and checked before anything is allocated: the nifti crate trusts `bitpix`
//! and reads voxels at the wrong place when `vox_offset` leaves a gap. Its part is the conversion of
//! voxels. Field offsets are those of the standard's `nifti1.h` and `nifti2.h`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ndarray::{Array3, Ix3};
use nifti::{Endianness, InMemNiftiVolume, IntoNdArray, NiftiType};

use crate::DataError;

/// The most bytes of voxels that are read; beyond it a file is a fault.
const MOST_BYTES: u64 = 512 * 1024 * 1024;

const NIFTI1_HEADER: usize = 348;
const NIFTI2_HEADER: usize = 540;

/// Voxels `[i, j, k]` with the header's slope and intercept applied, in the file's axis order.
///
/// Integers of more than 24 bits are rounded to f32. A slope of 0, or one that is no finite number,
/// means no scaling, as the standard and nibabel have it. Trailing axes of length 1 are dropped.
pub(crate) fn read(path: &Path) -> Result<Array3<f32>, DataError> {
    let io = |source| DataError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let gzipped = file.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]);
    let mut stream: Box<dyn Read> = if gzipped {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };

    let header = Header::read(path, &mut stream)?;
    let (shape, kind) = (header.shape(path)?, header.kind(path)?);
    let bytes = shape
        .iter()
        .try_fold(kind.size_of() as u64, |product, &n| product.checked_mul(n));
    let bytes = match bytes {
        Some(bytes) if bytes <= MOST_BYTES => bytes,
        _ => {
            let (path, bytes) = (path.to_path_buf(), bytes.unwrap_or(u64::MAX));
            return Err(DataError::VolumeSize {
                path,
                bytes,
                limit: MOST_BYTES,
            });
        }
    };
    let gap = header.offset - header.length;
    let skipped = io::copy(&mut stream.by_ref().take(gap), &mut io::sink()).map_err(io)?;
    let mut raw = Vec::new();
    if skipped == gap {
        stream.take(bytes).read_to_end(&mut raw).map_err(io)?;
    }
    if raw.len() as u64 != bytes {
        let (path, found) = (path.to_path_buf(), raw.len() as u64);
        return Err(DataError::VolumeTruncated {
            path,
            part: "voxels",
            found,
            expected: bytes,
        });
    }

    // The size limit bounds every axis only when the others are 1, so an axis may still not fit.
    let mut dim = [1_u16; 8];
    dim[0] = 3;
    for (to, &from) in dim[1..].iter_mut().zip(&shape) {
        *to = u16::try_from(from).map_err(|_| DataError::VolumeRank {
            path: path.to_path_buf(),
            shape: shape.to_vec(),
        })?;
    }
    let fault = |source| DataError::Nifti {
        path: path.to_path_buf(),
        source,
    };
    let volume = InMemNiftiVolume::from_raw_fields(dim, kind, 0.0, 0.0, raw, header.order).map_err(fault)?;
    let voxels = volume
        .into_ndarray::<f32>()
        .map_err(fault)?
        .into_dimensionality::<Ix3>();
    let mut voxels = voxels.map_err(|_| DataError::VolumeRank {
        path: path.to_path_buf(),
        shape: shape.to_vec(),
    })?;
    let (slope, intercept) = (header.slope as f32, header.intercept as f32);
    if slope != 0.0 && slope.is_finite() && intercept.is_finite() {
        voxels.mapv_inplace(|v| v * slope + intercept);
    }
    Ok(voxels)
}

/// The fields that matter, of either version.
#[derive(Debug)]
struct Header {
    /// Bytes that were read from the stream.
    length: u64,
    order: Endianness,
    dim: [i64; 8],
    datatype: i16,
    bitpix: i16,
    offset: u64,
    slope: f64,
    intercept: f64,
}

impl Header {
    fn read(path: &Path, stream: &mut dyn Read) -> Result<Self, DataError> {
        let mut bytes = Vec::new();
        fill(path, stream, &mut bytes, NIFTI1_HEADER)?;
        let fault = |field, found: String, expected| DataError::VolumeHeader {
            path: path.to_path_buf(),
            field,
            found,
            expected,
        };
        let size: [u8; 4] = field(&bytes, 0);
        let (order, length) = match (i32::from_le_bytes(size), i32::from_be_bytes(size)) {
            (348, _) => (Endianness::Little, NIFTI1_HEADER),
            (_, 348) => (Endianness::Big, NIFTI1_HEADER),
            (540, _) => (Endianness::Little, NIFTI2_HEADER),
            (_, 540) => (Endianness::Big, NIFTI2_HEADER),
            (found, _) => return Err(fault("sizeof_hdr", found.to_string(), "348 (NIfTI-1) or 540 (NIfTI-2)")),
        };
        fill(path, stream, &mut bytes, length)?;
        let values = Fields {
            bytes: &bytes,
            big: order == Endianness::Big,
        };
        let second = length == NIFTI2_HEADER;
        let magic: [u8; 4] = field(&bytes, if second { 4 } else { 344 });
        if magic != *(if second { b"n+2\0" } else { b"n+1\0" }) {
            let found = format!("{:?}", String::from_utf8_lossy(&magic));
            return Err(fault(
                "magic",
                found,
                "\"n+1\\0\" or \"n+2\\0\", header and voxels in one file",
            ));
        }
        let header = if second {
            Self {
                length: length as u64,
                order,
                dim: std::array::from_fn(|axis| values.i64(16 + 8 * axis)),
                datatype: values.i16(12),
                bitpix: values.i16(14),
                offset: u64::try_from(values.i64(168)).unwrap_or(0),
                slope: values.f64(176),
                intercept: values.f64(184),
            }
        } else {
            Self {
                length: length as u64,
                order,
                dim: std::array::from_fn(|axis| i64::from(values.i16(40 + 2 * axis))),
                datatype: values.i16(70),
                bitpix: values.i16(72),
                offset: values.f32(108) as u64,
                slope: f64::from(values.f32(112)),
                intercept: f64::from(values.f32(116)),
            }
        };
        // Both versions put at least the four bytes that announce extensions before the voxels.
        if header.offset < header.length + 4 {
            return Err(fault(
                "vox_offset",
                header.offset.to_string(),
                "at least 352 (NIfTI-1) or 544 (NIfTI-2)",
            ));
        }
        Ok(header)
    }

    fn shape(&self, path: &Path) -> Result<[u64; 3], DataError> {
        let rank = self.dim[0];
        if !(1..=7).contains(&rank) {
            let (path, found) = (path.to_path_buf(), rank.to_string());
            return Err(DataError::VolumeHeader {
                path,
                field: "dim[0]",
                found,
                expected: "3",
            });
        }
        let axes = &self.dim[1..=rank as usize];
        if let Some(axis) = axes.iter().find(|&&n| n < 1) {
            let (path, found) = (path.to_path_buf(), axis.to_string());
            return Err(DataError::VolumeHeader {
                path,
                field: "dim",
                found,
                expected: "axes of length 1 or more",
            });
        }
        let axes: Vec<u64> = axes.iter().map(|&n| n as u64).collect();
        match axes[..] {
            [i, j, k, ref more @ ..] if more.iter().all(|&n| n == 1) => Ok([i, j, k]),
            _ => Err(DataError::VolumeRank {
                path: path.to_path_buf(),
                shape: axes,
            }),
        }
    }

    fn kind(&self, path: &Path) -> Result<NiftiType, DataError> {
        let kind = match self.datatype {
            2 => NiftiType::Uint8,
            4 => NiftiType::Int16,
            8 => NiftiType::Int32,
            16 => NiftiType::Float32,
            64 => NiftiType::Float64,
            256 => NiftiType::Int8,
            512 => NiftiType::Uint16,
            768 => NiftiType::Uint32,
            1024 => NiftiType::Int64,
            1280 => NiftiType::Uint64,
            other => {
                let (path, found) = (path.to_path_buf(), other.to_string());
                let expected = "a real number type of at most 64 bits";
                return Err(DataError::VolumeHeader {
                    path,
                    field: "datatype",
                    found,
                    expected,
                });
            }
        };
        if usize::try_from(self.bitpix).ok() == Some(8 * kind.size_of()) {
            Ok(kind)
        } else {
            let (path, found) = (path.to_path_buf(), self.bitpix.to_string());
            Err(DataError::VolumeHeader {
                path,
                field: "bitpix",
                found,
                expected: "the width of the datatype",
            })
        }
    }
}

/// Reads until `bytes` has the given length.
fn fill(path: &Path, stream: &mut dyn Read, bytes: &mut Vec<u8>, length: usize) -> Result<(), DataError> {
    let missing = length.saturating_sub(bytes.len()) as u64;
    let read = stream.take(missing).read_to_end(bytes);
    read.map_err(|source| DataError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    if bytes.len() == length {
        return Ok(());
    }
    let (path, found) = (path.to_path_buf(), bytes.len() as u64);
    Err(DataError::VolumeTruncated {
        path,
        part: "header",
        found,
        expected: length as u64,
    })
}

/// `N` bytes from an offset; the caller has made sure that they are there.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[offset + i])
}

/// Numbers of a header in its byte order.
#[derive(Debug)]
struct Fields<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Fields<'_> {
    fn i16(&self, offset: usize) -> i16 {
        let bytes = field(self.bytes, offset);
        if self.big {
            i16::from_be_bytes(bytes)
        } else {
            i16::from_le_bytes(bytes)
        }
    }

    fn i64(&self, offset: usize) -> i64 {
        let bytes = field(self.bytes, offset);
        if self.big {
            i64::from_be_bytes(bytes)
        } else {
            i64::from_le_bytes(bytes)
        }
    }

    fn f32(&self, offset: usize) -> f32 {
        let bytes = field(self.bytes, offset);
        if self.big {
            f32::from_be_bytes(bytes)
        } else {
            f32::from_le_bytes(bytes)
        }
    }

    fn f64(&self, offset: usize) -> f64 {
        let bytes = field(self.bytes, offset);
        if self.big {
            f64::from_be_bytes(bytes)
        } else {
            f64::from_le_bytes(bytes)
        }
    }
}
