use std::path::PathBuf;

use crate::{Class, Layout, Part};

/// What can be wrong with a data set, a file in it, or a setting.
///
/// The message names the file, what was found in it and what was expected; what a decoder or the
/// system said of it is the [`source`](std::error::Error::source) and not repeated in the message.
/// Faults of single files ([`Dataset::faults`](crate::Dataset::faults)) use the same type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    // Folders
    /// There is nothing at the path.
    #[error("{}: no such folder", path.display())]
    MissingFolder {
        /// The folder asked for.
        path: PathBuf,
    },
    /// The path is a file.
    #[error("{}: found a file, expected the folder of a data set", path.display())]
    NotAFolder {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system could not read a file or folder.
    #[error("{}: could not be read", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    // Layouts
    /// The folder is laid out in none of the known ways.
    #[error("{}: found {found}, expected one of: {}", path.display(), Layout::expectations())]
    UnknownLayout {
        /// The folder.
        path: PathBuf,
        /// What is in it, in words.
        found: String,
    },
    /// The folder fits several layouts.
    #[error(
        "{}: fits the layouts {}; expected one, choose it in the options",
        path.display(),
        fits.iter().map(Layout::to_string).collect::<Vec<_>>().join(" and ")
    )]
    AmbiguousLayout {
        /// The folder.
        path: PathBuf,
        /// The layouts that fit.
        fits: Vec<Layout>,
    },
    /// The folder does not have the layout that was chosen.
    #[error("{}: found {found}, expected {} for the layout {layout}", path.display(), layout.expectation())]
    LayoutMismatch {
        /// The folder.
        path: PathBuf,
        /// The layout chosen.
        layout: Layout,
        /// What is in the folder, in words.
        found: String,
    },
    /// A name that is not the name of a layout.
    #[error("layout `{name}` is unknown, expected `busi`, `btp` or `images-masks`")]
    UnknownLayoutName {
        /// The name given.
        name: String,
    },
    /// No image could be used.
    #[error("{}: found no readable image ({faults} faulty), expected at least one of each class", path.display())]
    NothingReadable {
        /// The folder.
        path: PathBuf,
        /// How many items are faulty.
        faults: usize,
        /// The first fault.
        #[source]
        first: Option<Box<DataError>>,
    },
    /// All readable images are of one class.
    #[error(
        "{}: found {scans} readable images ({faults} faulty) and none of class {class}, expected at least one",
        path.display()
    )]
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// The class without an image.
        class: Class,
        /// How many images are readable.
        scans: usize,
        /// How many items are faulty.
        faults: usize,
    },
    /// `groups.csv` could not be read.
    #[error("{}: could not be read as a table, expected the columns {columns}", path.display())]
    Groups {
        /// The table.
        path: PathBuf,
        /// The columns that are used.
        columns: &'static str,
        /// What the reader of tables said.
        source: csv::Error,
    },
    /// No row of `groups.csv` names an image that is there.
    #[error(
        "{}: found {}, expected rows that name images, such as {}",
        path.display(),
        row.as_ref().map_or_else(
            || "no rows".to_owned(),
            |row| format!("no row that names an image of the folder (one names `{row}`)")
        ),
        expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
    )]
    UnmatchedGroups {
        /// The table.
        path: PathBuf,
        /// The image as one of the rows names it; `None` when there are no rows.
        row: Option<String>,
        /// The names by which a row may call the first image of the folder.
        expected: [String; 3],
    },
    /// `groups.csv` puts one image into two groups.
    #[error("{}: found `{image}` in the groups {first} and {second}, expected one group", path.display())]
    TwoGroups {
        /// The table.
        path: PathBuf,
        /// The image, as the table names it or by its folder and file name where two names of it disagree.
        image: String,
        /// Its group in one row.
        first: String,
        /// Its group in another row.
        second: String,
    },

    // Pictures
    /// An image file could not be decoded.
    #[error("{}: could not be decoded, expected a PNG, JPEG, BMP or TIFF image", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// A floating-point image has values outside 0..=1.
    #[error("{}: found grey values from {minimum} to {maximum}, expected 0 to 1", path.display())]
    Intensities {
        /// The file.
        path: PathBuf,
        /// The least value.
        minimum: f32,
        /// The greatest value; NaN when a value is not a number.
        maximum: f32,
    },
    /// An image has no mask.
    #[error("{}: found no mask, expected {}", image.display(), expected.display())]
    MissingMask {
        /// The image.
        image: PathBuf,
        /// The mask that was looked for.
        expected: PathBuf,
    },
    /// A mask has no image.
    #[error("{}: found no image for this mask, expected {}", mask.display(), expected.display())]
    MissingImage {
        /// The mask.
        mask: PathBuf,
        /// The image that was looked for, without its extension.
        expected: PathBuf,
    },
    /// Two files would be the same image or mask.
    #[error("{}: found a second file of this name, expected only {}", path.display(), other.display())]
    SameName {
        /// The file that is left out.
        path: PathBuf,
        /// The file that is used.
        other: PathBuf,
    },
    /// A mask has another size than its image.
    #[error(
        "{}: found a mask of {} x {} pixels, expected {} x {} as in {} (width x height)",
        mask.display(), mask_size.1, mask_size.0, image_size.1, image_size.0, image.display()
    )]
    MaskSize {
        /// The mask.
        mask: PathBuf,
        /// The image.
        image: PathBuf,
        /// Rows and columns of the mask.
        mask_size: (usize, usize),
        /// Rows and columns of the image.
        image_size: (usize, usize),
    },
    /// A mask has more than two values.
    #[error("{}: found mask values {values:?} and perhaps more, expected 0 and one other value", path.display())]
    GreyMask {
        /// The mask.
        path: PathBuf,
        /// Some of the values: of a picture on the scale 0..=1, of a volume as stored.
        values: Vec<f32>,
    },
    /// A mask says the opposite of the folder that it is in.
    #[error(
        "{}: found {marked} marked pixels, expected {} for an image of class {class}",
        path.display(),
        match class { Class::Lesion => "at least one", Class::Normal => "none" }
    )]
    MaskAgainstClass {
        /// The mask, or the first of them.
        path: PathBuf,
        /// The class of the image.
        class: Class,
        /// How many pixels the masks mark.
        marked: usize,
    },

    // Volumes
    /// A field of a volume's header is of no use.
    #[error("{}: found {field} = {found} in the header, expected {expected}", path.display())]
    VolumeHeader {
        /// The file.
        path: PathBuf,
        /// The field as the NIfTI standard names it.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A volume does not have three axes.
    #[error("{}: found a volume of shape {shape:?}, expected three axes", path.display())]
    VolumeRank {
        /// The file.
        path: PathBuf,
        /// The axes in the file's order, first one fastest.
        shape: Vec<u64>,
    },
    /// A volume is larger than what is read.
    #[error("{}: found a volume of {bytes} bytes, expected at most {limit}", path.display())]
    VolumeSize {
        /// The file.
        path: PathBuf,
        /// Bytes of voxels that the header announces.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A volume ends early.
    #[error("{}: found {found} bytes of {part}, expected {expected}", path.display())]
    VolumeTruncated {
        /// The file.
        path: PathBuf,
        /// The header or the voxels.
        part: &'static str,
        /// Bytes that are there.
        found: u64,
        /// Bytes that should be there.
        expected: u64,
    },
    /// The voxels could not be converted.
    #[error("{}: voxels could not be read, expected a NIfTI volume", path.display())]
    Nifti {
        /// The file.
        path: PathBuf,
        /// What the reader of volumes said.
        source: nifti::NiftiError,
    },
    /// A mask volume has another shape than its volume.
    #[error("{}: found a mask of shape {mask_shape:?}, expected {shape:?} as in {}", mask.display(), volume.display())]
    MaskShape {
        /// The mask.
        mask: PathBuf,
        /// The volume.
        volume: PathBuf,
        /// Axes of the mask in the file's order.
        mask_shape: Vec<usize>,
        /// Axes of the volume in the file's order.
        shape: Vec<usize>,
    },
    /// The percentiles between which a volume is scaled are equal.
    #[error("{}: found {low} and {high} as low and high percentile, expected two different values", path.display())]
    FlatVolume {
        /// The file.
        path: PathBuf,
        /// The low percentile of the non-zero voxels.
        low: f32,
        /// The high percentile.
        high: f32,
    },

    // Splits
    /// A fraction is negative or not a number, or that of the training part is 0.
    #[error("fraction of the {part} part is {value}, expected a number from 0 to 1, above 0 for training")]
    Fraction {
        /// The part.
        part: Part,
        /// Its fraction.
        value: f64,
    },
    /// The fractions do not add up.
    #[error("the fractions of the parts add up to {sum}, expected 1")]
    FractionSum {
        /// Their sum.
        sum: f64,
    },
    /// Groups and labels differ in number.
    #[error("found {groups} groups and {lesions} labels, expected one of each per image")]
    SplitLengths {
        /// How many groups are given.
        groups: usize,
        /// How many labels are given.
        lesions: usize,
    },
    /// A part would have no image of a class.
    #[error(
        "the {part} part would have no image of class {class}: it occurs in {groups} groups, \
         expected one at least for each of the {parts} parts"
    )]
    SplitLacksClass {
        /// The part.
        part: Part,
        /// The class that it lacks.
        class: Class,
        /// How many groups hold images of that class.
        groups: usize,
        /// How many parts have a fraction above 0.
        parts: usize,
    },

    // Phantoms
    /// Too few phantoms for two classes.
    #[error("found a count of {count} phantoms, expected at least 2")]
    PhantomCount {
        /// The count asked for.
        count: usize,
    },
    /// Phantoms too small for a lesion with a texture, or too large.
    #[error("found a phantom side of {size} pixels, expected {least} to {most}")]
    PhantomSize {
        /// The side asked for.
        size: usize,
        /// The least side.
        least: usize,
        /// The greatest side.
        most: usize,
    },
    /// A share of lesion images that leaves no image for one class.
    #[error("found a lesion fraction of {fraction} for {count} phantoms, expected at least one image of each class")]
    PhantomLesionFraction {
        /// The fraction asked for.
        fraction: f64,
        /// The count asked for.
        count: usize,
    },
    /// No image per patient.
    #[error("found {per_patient} phantoms per patient, expected at least 1")]
    PhantomsPerPatient {
        /// The number asked for.
        per_patient: usize,
    },

    // Batches
    /// A batch without pixels.
    #[error("found an input of {height} x {width} pixels, expected at least 1 x 1")]
    InputSize {
        /// Rows asked for.
        height: usize,
        /// Columns asked for.
        width: usize,
    },
    /// A number of channels that a grey image cannot be repeated to.
    #[error("found {channels} input channels, expected 1 or 3")]
    InputChannels {
        /// Channels asked for.
        channels: usize,
    },
    /// Not one mean and standard deviation per channel.
    #[error("found {mean} means and {std} standard deviations, expected {channels} of each, one per channel")]
    InputStatistics {
        /// Channels asked for.
        channels: usize,
        /// How many means are given.
        mean: usize,
        /// How many standard deviations are given.
        std: usize,
    },
    /// A mean that is no number, or a standard deviation that nothing can be divided by.
    #[error(
        "found mean {mean} and standard deviation {std} for channel {channel}, expected finite ones, the second above 0"
    )]
    InputNormalisation {
        /// The channel, from 0.
        channel: usize,
        /// Its mean.
        mean: f32,
        /// Its standard deviation.
        std: f32,
    },
    /// An index beyond the scans.
    #[error("found index {index}, expected one below the number of scans, {len}")]
    IndexOutOfRange {
        /// The index.
        index: usize,
        /// The number of scans.
        len: usize,
    },
    /// libtorch could not make a tensor.
    #[cfg(feature = "torch")]
    #[error("the batch could not be made a tensor")]
    Tensor {
        /// What libtorch said.
        #[from]
        source: tch::TchError,
    },
}
