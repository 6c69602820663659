//! Small data sets in temporary folders.

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma};
use scan_data::{DataError, Dataset, ReadOptions};
use tempfile::TempDir;

/// A message with its causes, outermost first.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |e| e.source())
        .map(|e| e.to_string())
        .collect::<Vec<_>>()
        .join(": ")
}

/// A folder that goes away with the value.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in it, whose folder is made.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.file(name), bytes).unwrap();
    }

    /// A grey 8-bit picture of 6 columns and 4 rows from its value at (x, y).
    pub(crate) fn grey(&self, name: &str, value: impl Fn(u32, u32) -> u8) {
        GrayImage::from_fn(6, 4, |x, y| Luma([value(x, y)]))
            .save(self.file(name))
            .unwrap();
    }

    /// A mask that marks one pixel, and an image, under the layout `busi`.
    pub(crate) fn busi_pair(&self, class: &str, number: usize) {
        self.grey(&format!("{class}/{class} ({number}).png"), |x, y| (10 * x + y) as u8);
        let marked = if class == "normal" { 0 } else { 255 };
        self.grey(&format!("{class}/{class} ({number})_mask.png"), |x, y| {
            if (x, y) == (2, 1) { marked } else { 0 }
        });
    }

    /// One readable image of each class, under the layout `busi`.
    pub(crate) fn small_busi() -> Self {
        let folder = Self::new();
        folder.busi_pair("benign", 1);
        folder.busi_pair("normal", 1);
        folder
    }

    pub(crate) fn read(&self) -> Result<Dataset, DataError> {
        Dataset::read(self.path(), &ReadOptions::default())
    }

    /// The only fault of the folder, which must be the error of strict reading too; its message
    /// must name the file and hold all the words.
    pub(crate) fn only_fault(&self, file: &str, words: &[&str]) -> DataError {
        let mut data = self.read().unwrap();
        assert_eq!(data.faults.len(), 1, "{:?}", data.faults);
        let fault = data.faults.remove(0);
        let message = fault.error.to_string();
        assert!(fault.path.ends_with(file), "{} is not {file}", fault.path.display());
        for word in words {
            assert!(message.contains(word), "`{word}` is missing in: {message}");
        }
        let strict = Dataset::read(self.path(), &ReadOptions::default().with_strict(true)).unwrap_err();
        assert_eq!(strict.to_string(), message);
        fault.error
    }
}
