//! The output folder: what a run writes, and what it goes on from.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use models::Architecture;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::options::Options;

/// The command line of the run in a folder.
const RUN: &str = "run.txt";
/// Everything that was found, for programs.
pub const SUMMARY: &str = "summary.json";
/// A row for each image.
pub const METRICS: &str = "metrics.csv";
/// Everything that was found, for readers.
pub const REPORT: &str = "report.html";

const WEIGHTS: &str = "weights.safetensors";
const OVERLAYS: &str = "overlays";
const CHECKPOINTS: &str = "checkpoints";

/// How the name of a file begins that is not finished. The crates that write weights and checkpoints have prefixes of
/// their own.
const TEMPORARY_PREFIX: &str = ".sneak-attack-unfinished-";

pub struct RunFolder {
    path: PathBuf,
    command: String,
    /// Whether what is in the folder is to be gone on with.
    resume: bool,
}

impl RunFolder {
    /// Makes the folder and checks that a run of this command line may go there. Nothing in it is changed yet.
    ///
    /// A run of the same settings may be gone on with, or started over: it will come to the same numbers. One of
    /// other settings is refused unless it may be overwritten.
    pub fn open(options: &Options, command: String) -> Result<Self> {
        let folder = Self {
            path: options.out(),
            command,
            resume: options.resume,
        };
        fs::create_dir_all(&folder.path)
            .and_then(|()| tempfile::tempfile_in(&folder.path))
            .with_context(|| format!("the output folder {} cannot be written", folder.path.display()))?;
        let run = folder.path(RUN);
        let earlier = match fs::read_to_string(&run) {
            Ok(earlier) => Some(earlier.trim_end().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", run.display())),
        };
        match earlier {
            Some(earlier) if earlier != folder.command && !options.overwrite => bail!(
                "the folder {} holds a run of other settings; choose another --out, or --overwrite it\n  found:    \
                 {earlier}\n  expected: {}",
                folder.path.display(),
                folder.command
            ),
            Some(_) if !options.resume => eprintln!(
                "starting over in {}; --resume would go on with the run there",
                folder.path.display()
            ),
            None if options.resume => println!("nothing to resume in {}: starting", folder.path.display()),
            _ => {}
        }
        Ok(folder)
    }

    /// The run begins: unless it goes on with an earlier one, what that one left is removed, and in any case what it
    /// left unfinished.
    pub fn begin(&self) -> Result<()> {
        self.sweep()?;
        if !self.resume {
            self.clear()?;
        }
        self.write_text(RUN, &format!("{}\n", self.command))
    }

    /// Removes what an earlier run left and this one would not overwrite.
    fn clear(&self) -> Result<()> {
        for name in [SUMMARY, METRICS, REPORT] {
            remove(&self.path(name), |path| fs::remove_file(path))?;
        }
        for architecture in Architecture::ALL {
            let folder = self.path(architecture.name());
            for name in [CHECKPOINTS, OVERLAYS] {
                remove(&folder.join(name), |path| fs::remove_dir_all(path))?;
            }
            remove(&folder.join(WEIGHTS), |path| fs::remove_file(path))?;
        }
        Ok(())
    }

    /// Removes the files that a run was writing when it was killed.
    fn sweep(&self) -> Result<()> {
        sweep(&self.path, TEMPORARY_PREFIX)?;
        for architecture in Architecture::ALL {
            let folder = self.path(architecture.name());
            sweep(&folder, models::TEMPORARY_PREFIX)?;
            sweep(&folder.join(CHECKPOINTS), heatmap_filter::train::TEMPORARY_PREFIX)?;
        }
        Ok(())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where a network's weights go.
    pub fn weights(&self, architecture: Architecture) -> Result<PathBuf> {
        Ok(self.folder(architecture, None)?.join(WEIGHTS))
    }

    /// Where a network's pictures go.
    pub fn overlays(&self, architecture: Architecture) -> Result<PathBuf> {
        self.folder(architecture, Some(OVERLAYS))
    }

    /// Where the state of one of a network's trainings is kept.
    pub fn checkpoint(&self, architecture: Architecture, training: &str) -> Result<PathBuf> {
        let folder = self.folder(architecture, Some(CHECKPOINTS))?;
        Ok(folder.join(format!("{training}.safetensors")))
    }

    /// A network's own folder, or one of this name in it.
    fn folder(&self, architecture: Architecture, name: Option<&str>) -> Result<PathBuf> {
        let mut folder = self.path(architecture.name());
        folder.extend(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(folder)
    }

    pub fn write_text(&self, name: &str, text: &str) -> Result<()> {
        self.write(name, |file| file.write_all(text.as_bytes()))
    }

    pub fn write_json(&self, name: &str, content: &impl Serialize) -> Result<()> {
        self.write(name, |file| {
            serde_json::to_writer_pretty(&mut *file, content)?;
            writeln!(file)
        })
    }

    /// Rows of named columns; the columns are those of all rows, in order of appearance.
    pub fn write_csv(&self, name: &str, rows: &[Vec<(String, String)>]) -> Result<()> {
        let mut seen = BTreeSet::new();
        let columns: Vec<&str> = rows
            .iter()
            .flatten()
            .map(|(column, _)| column.as_str())
            .filter(|column| seen.insert(*column))
            .collect();
        self.write(name, |file| {
            let mut writer = csv::Writer::from_writer(file);
            writer.write_record(&columns)?;
            for row in rows {
                writer.write_record(columns.iter().map(|column| {
                    let cell = row.iter().find(|(name, _)| name == column);
                    cell.map_or("", |(_, value)| value.as_str())
                }))?;
            }
            writer.flush()
        })
    }

    /// Writes a file whole or not at all.
    fn write(&self, name: &str, content: impl FnOnce(&mut NamedTempFile) -> io::Result<()>) -> Result<()> {
        let path = self.path(name);
        // As any new file, less what the umask takes; temporary ones are private.
        let permissions = Permissions::from_mode(0o666);
        let written = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .permissions(permissions)
            .tempfile_in(&self.path)
            .and_then(|mut file| {
                content(&mut file)?;
                file.as_file().sync_all()?;
                file.persist(&path).map_err(|error| error.error)?;
                Ok(())
            });
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

fn remove(path: &Path, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    match how(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}, which an earlier run left", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes the files in a folder, if it is there, whose names begin with a prefix.
fn sweep(folder: &Path, prefix: &str) -> Result<()> {
    let failed = || format!("cannot read the folder {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(failed)?,
    };
    for entry in entries {
        let entry = entry.with_context(failed)?;
        let named = entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes());
        if named && entry.file_type().with_context(failed)?.is_file() {
            remove(&entry.path(), |path| fs::remove_file(path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn what_was_left_unfinished_is_swept_and_nothing_else() {
        for more in [None, Some("--resume")] {
            let out = tempfile::tempdir().unwrap();
            let arguments = [Some("sneak_attack"), Some("--out"), out.path().to_str(), more];
            let options = Options::parse_from(arguments.into_iter().flatten());
            let folder = RunFolder::open(&options, "a run".to_owned()).unwrap();
            folder.begin().unwrap();

            let network = out.path().join("resnet18");
            let checkpoints = network.join("checkpoints");
            let weights = format!("{}a1B2c3", models::TEMPORARY_PREFIX);
            let unfinished = [
                out.path().join(format!("{TEMPORARY_PREFIX}a1B2c3")),
                network.join(&weights),
                checkpoints.join(format!("{}a1B2c3", heatmap_filter::train::TEMPORARY_PREFIX)),
            ];
            // The last is where no weights are written.
            let others = [
                out.path().join(".tmpa1B2c3"),
                network.join("a1B2c3"),
                out.path().join(weights),
            ];
            fs::create_dir_all(&checkpoints).unwrap();
            for path in unfinished.iter().chain(&others) {
                fs::write(path, "").unwrap();
            }
            let inner = out.path().join(format!("{TEMPORARY_PREFIX}folder"));
            fs::create_dir(&inner).unwrap();

            folder.begin().unwrap();
            for path in unfinished {
                assert!(!path.exists(), "{} is left", path.display());
            }
            for path in others.iter().chain([&inner, &out.path().join(RUN)]) {
                assert!(path.exists(), "{} is gone", path.display());
            }
        }
    }
}
