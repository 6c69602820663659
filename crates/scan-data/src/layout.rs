//! How the folder of a data set is laid out.

pub(crate) mod btp;
pub(crate) mod busi;
pub(crate) mod images_masks;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ndarray::Array2;

use crate::folder::{Entry, Listing};
use crate::{Class, DataError, GreyMasks, ReadOptions, Scan, picture};

/// The layouts that can be read.
///
/// # Groups
/// A `groups.csv` in the root of [`Busi`](Self::Busi) and [`ImagesMasks`](Self::ImagesMasks) has a
/// header and the columns `image` and `group`; further columns are passed over. A row names its image
/// in one of three forms: with the folder, `images/p1_a.png`; by its file name, `p1_a.png`; or without
/// the extension, `p1_a`. The last two stand for every image of that name, in whichever folder of
/// classes it is. An image without a row is its own group. It is an error when no row names an image
/// that is there, or when rows put one image into two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// Breast ultrasound as published: folders `benign/`, `malignant/` and `normal/` with
    /// `benign (1).png`, `benign (1)_mask.png` and further lesions in `…_mask_1.png`. Lesion means
    /// benign or malignant. An optional `groups.csv` ([as above](Self#groups)) holds groups of
    /// near-duplicates; those with other than 0 in the column `group_has_mixed_classes` are dropped.
    Busi,
    /// Brain MRI as NIfTI volumes: `01_pre_t1.nii.gz` with `01_pre_mask.nii.gz`, where `01` is the
    /// patient and `pre` or `post` the date; also `.nii`. Each axial slice is a scan.
    ///
    /// Rows of a slice are the volume's second axis, columns its first, slices its third, counted
    /// from 0; the header's orientation is not applied. In volumes stored as left-posterior-superior,
    /// as Brain-Tumor-Progression is, this shows the patient's front at the top and left at the right.
    /// Intensities are scaled per volume from the 0.5th to the 99.5th percentile (nearest rank) of
    /// the non-zero voxels to 0..=1, clipped; voxels that are no number count as 0.
    Btp,
    /// Plain pairs: `images/NAME.EXT` with `masks/NAME.EXT` or `masks/NAME_mask.EXT`. Lesion means
    /// that the mask is not empty. An optional `groups.csv` ([as above](Self#groups)) names the patient
    /// of each image.
    ImagesMasks,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Self; 3] = [Self::Busi, Self::Btp, Self::ImagesMasks];

    /// The one layout that a folder fits.
    ///
    /// # Errors
    /// A missing folder, and a folder that fits none or several.
    pub fn guess(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let listing = listing(path)?;
        let fits: Vec<_> = Self::ALL.into_iter().filter(|l| l.fits(&listing)).collect();
        match fits[..] {
            [layout] => Ok(layout),
            [] => Err(DataError::UnknownLayout {
                path: path.to_path_buf(),
                found: listing.describe(),
            }),
            _ => Err(DataError::AmbiguousLayout {
                path: path.to_path_buf(),
                fits,
            }),
        }
    }

    /// The chosen layout, once it is seen to fit, or else the guessed one.
    pub(crate) fn chosen(path: &Path, choice: Option<Self>) -> Result<Self, DataError> {
        let Some(layout) = choice else {
            return Self::guess(path);
        };
        let listing = listing(path)?;
        if layout.fits(&listing) {
            Ok(layout)
        } else {
            Err(DataError::LayoutMismatch {
                path: path.to_path_buf(),
                layout,
                found: listing.describe(),
            })
        }
    }

    fn fits(self, listing: &Listing) -> bool {
        match self {
            Self::Busi => busi::CLASSES.iter().any(|(name, _)| listing.has_folder(name)),
            Self::Btp => listing.files.iter().any(|f| btp::volume_name(&f.name).is_some()),
            Self::ImagesMasks => listing.has_folder("images") && listing.has_folder("masks"),
        }
    }

    /// What the layout looks for, in words.
    pub(crate) fn expectation(self) -> &'static str {
        match self {
            Self::Busi => "folders benign/, malignant/ and normal/",
            Self::Btp => "volumes such as 01_pre_t1.nii.gz with 01_pre_mask.nii.gz",
            Self::ImagesMasks => "folders images/ and masks/",
        }
    }

    /// What all layouts look for, in words.
    pub(crate) fn expectations() -> String {
        Self::ALL.map(|l| format!("{} ({l})", l.expectation())).join("; ")
    }

    /// The items to read and the rules that chose them.
    pub(crate) fn plan(self, root: &Path) -> Result<Plan, DataError> {
        match self {
            Self::Busi => busi::plan(root),
            Self::Btp => btp::plan(root),
            Self::ImagesMasks => images_masks::plan(root),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busi => "busi",
            Self::Btp => "btp",
            Self::ImagesMasks => "images-masks",
        })
    }
}

impl FromStr for Layout {
    type Err = DataError;

    /// The layout of a name: `busi`, `btp` or `images-masks`.
    fn from_str(name: &str) -> Result<Self, DataError> {
        let found = Self::ALL.into_iter().find(|l| l.to_string() == name);
        found.ok_or_else(|| DataError::UnknownLayoutName { name: name.to_owned() })
    }
}

fn listing(path: &Path) -> Result<Listing, DataError> {
    if path.is_dir() {
        Listing::of(path)
    } else if path.exists() {
        Err(DataError::NotAFolder {
            path: path.to_path_buf(),
        })
    } else {
        Err(DataError::MissingFolder {
            path: path.to_path_buf(),
        })
    }
}

/// What a layout found in a folder, before any image is opened.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) items: Vec<Item>,
    pub(crate) notes: Vec<String>,
}

/// One thing to read.
#[derive(Debug)]
pub(crate) enum Item {
    Picture(Picture),
    Volume(btp::VolumePair),
    /// Known to be faulty from the names alone.
    Faulty(PathBuf, DataError),
}

/// What one item gave.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) scans: Vec<Scan>,
    /// Slices left out because every voxel is zero.
    pub(crate) padding: usize,
    /// Slices left out because too few voxels are marked.
    pub(crate) slight: usize,
}

impl Item {
    /// A mask whose image was looked for in vain.
    fn without_image(mask: &Entry, expected: PathBuf) -> Self {
        let mask = mask.path.clone();
        Self::Faulty(mask.clone(), DataError::MissingImage { mask, expected })
    }

    /// An image whose mask was looked for in vain.
    fn without_mask(image: &Entry, expected: PathBuf) -> Self {
        let image = image.path.clone();
        Self::Faulty(image.clone(), DataError::MissingMask { image, expected })
    }

    /// A file that would be the same image or mask as one before it.
    fn repeated(file: &Entry, first: &Entry) -> Self {
        let (path, other) = (file.path.clone(), first.path.clone());
        Self::Faulty(path.clone(), DataError::SameName { path, other })
    }

    pub(crate) fn read(self, options: &ReadOptions) -> (PathBuf, Result<Found, DataError>) {
        match self {
            Self::Picture(picture) => {
                let path = picture.image.clone();
                let scan = picture.read(options.grey_masks());
                (
                    path,
                    scan.map(|scan| Found {
                        scans: vec![scan],
                        ..Found::default()
                    }),
                )
            }
            Self::Volume(pair) => (pair.volume.clone(), pair.read(options.least_slice_area())),
            Self::Faulty(path, error) => (path, Err(error)),
        }
    }
}

/// An image file and its mask files.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) id: String,
    pub(crate) group: String,
    pub(crate) image: PathBuf,
    /// Their union is the mask; none means an empty mask.
    pub(crate) masks: Vec<PathBuf>,
    /// What the folder says; `None` where the mask decides.
    pub(crate) class: Option<Class>,
}

impl Picture {
    fn read(self, rule: GreyMasks) -> Result<Scan, DataError> {
        let image = picture::grey(&self.image)?;
        let mut mask = Array2::from_elem(image.dim(), false);
        for path in &self.masks {
            let part = picture::mask(path, rule)?;
            if part.dim() != image.dim() {
                return Err(DataError::MaskSize {
                    mask: path.clone(),
                    image: self.image,
                    mask_size: part.dim(),
                    image_size: image.dim(),
                });
            }
            mask.zip_mut_with(&part, |marked, &more| *marked |= more);
        }
        let marked = mask.iter().filter(|&&m| m).count();
        let lesion = marked > 0;
        if let Some(class) = self.class.filter(|&class| class != Class::of(lesion)) {
            let path = self.masks.into_iter().next().unwrap_or(self.image);
            return Err(DataError::MaskAgainstClass { path, class, marked });
        }
        Ok(Scan {
            id: self.id,
            group: self.group,
            lesion,
            image,
            mask,
            source: self.image,
        })
    }
}
