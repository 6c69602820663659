//! Listing of folders in natural order.

use std::fs;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::natural_order::natural;
use crate::picture::is_picture;

/// A name in a folder with its path.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// The names in a folder, split into files and folders, each in natural order. Hidden names, which
/// start with a dot, are left out.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: Vec<Entry>,
    pub(crate) folders: Vec<Entry>,
}

impl Listing {
    pub(crate) fn of(path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io {
            path: path.to_path_buf(),
            source,
        };
        let mut listing = Self::default();
        for entry in fs::read_dir(path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            let list = if path.is_dir() {
                &mut listing.folders
            } else {
                &mut listing.files
            };
            list.push(Entry { name, path });
        }
        listing.files.sort_by(|a, b| natural(&a.name, &b.name));
        listing.folders.sort_by(|a, b| natural(&a.name, &b.name));
        Ok(listing)
    }

    pub(crate) fn has_folder(&self, name: &str) -> bool {
        self.folders.iter().any(|f| f.name == name)
    }

    /// The files that are pictures by their names, and how many are not.
    pub(crate) fn pictures(&self) -> (Vec<&Entry>, usize) {
        let pictures: Vec<_> = self.files.iter().filter(|f| is_picture(&f.name)).collect();
        let others = self.files.len() - pictures.len();
        (pictures, others)
    }

    /// What is there in words: the first few names, folders with a slash.
    pub(crate) fn describe(&self) -> String {
        const SHOWN: usize = 6;
        let folders = self.folders.iter().map(|f| format!("{}/", f.name));
        let names: Vec<_> = folders.chain(self.files.iter().map(|f| f.name.clone())).collect();
        match names.len() {
            0 => "an empty folder".to_owned(),
            n if n > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
            _ => names.join(", "),
        }
    }
}
