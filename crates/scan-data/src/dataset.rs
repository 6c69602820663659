use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::layout::Plan;
use crate::{Class, DataError, Layout, ReadOptions, Scan};

/// One item of a data set that could not be used.
#[derive(Debug)]
pub struct Fault {
    /// The file that the fault is about.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: DataError,
}

/// Scans that belong together, with what was found out while reading them.
#[derive(Debug)]
pub struct Dataset {
    /// The name of the folder, or `phantoms`.
    pub name: String,
    /// How the folder is laid out; `None` for scans that were not read from one.
    pub layout: Option<Layout>,
    /// The readable scans, in natural order of their names (`benign (2)` before `benign (10)`).
    pub scans: Vec<Scan>,
    /// The items that could not be used, in the same order.
    pub faults: Vec<Fault>,
    /// The rules that chose the scans and their groups, in sentences, for a report.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Reads a folder, in parallel on rayon's threads; the result does not depend on their number.
    ///
    /// An item with a fault (an image that cannot be decoded, a mask that is missing, of another
    /// size or not two-valued, a volume that is no volume) goes to [`faults`](Self::faults) and the
    /// rest is read, unless the options are strict.
    ///
    /// # Errors
    /// Always: a missing folder, a layout that is unknown or not the chosen one, a `groups.csv` that
    /// cannot be read, names none of the images or puts one into two groups, no readable image, a
    /// class without a readable image. With strict options also the first fault in order.
    pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self, DataError> {
        Self::read_with(path, options, &|_, _| {})
    }

    /// [`read`](Self::read) that calls `progress(done, total)` after every item, an image with its
    /// masks or a volume, from whichever thread read it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with(
        path: impl AsRef<Path>,
        options: &ReadOptions,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self, DataError> {
        let path = path.as_ref();
        let layout = Layout::chosen(path, options.layout())?;
        let Plan { items, mut notes } = layout.plan(path)?;

        let (done, total) = (AtomicUsize::new(0), items.len());
        let read: Vec<_> = items
            .into_par_iter()
            .map(|item| {
                let read = item.read(options);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                read
            })
            .collect();

        let (mut scans, mut faults) = (Vec::new(), Vec::new());
        let (mut padding, mut slight) = (0, 0);
        for (path, outcome) in read {
            match outcome {
                Ok(found) => {
                    scans.extend(found.scans);
                    padding += found.padding;
                    slight += found.slight;
                }
                Err(error) if options.strict() => return Err(error),
                Err(error) => faults.push(Fault { path, error }),
            }
        }
        if layout == Layout::Btp {
            notes.push(format!("{padding} slices without any non-zero voxel were left out."));
            if slight > 0 {
                let least = options.least_slice_area();
                notes.push(format!(
                    "{slight} slices with fewer than {least} marked voxels were left out."
                ));
            }
        }
        if scans.is_empty() {
            let (path, count) = (path.to_path_buf(), faults.len());
            let first = faults.into_iter().next().map(|f| Box::new(f.error));
            return Err(DataError::NothingReadable {
                path,
                faults: count,
                first,
            });
        }
        for class in [Class::Lesion, Class::Normal] {
            if !scans.iter().any(|s| s.class() == class) {
                let (path, scans, faults) = (path.to_path_buf(), scans.len(), faults.len());
                return Err(DataError::EmptyClass {
                    path,
                    class,
                    scans,
                    faults,
                });
            }
        }
        let name = path
            .file_name()
            .map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Self {
            name,
            layout: Some(layout),
            scans,
            faults,
            notes,
        })
    }

    /// How many scans show a lesion and how many do not.
    pub fn class_counts(&self) -> (usize, usize) {
        let lesions = self.scans.iter().filter(|s| s.lesion).count();
        (lesions, self.scans.len() - lesions)
    }
}
