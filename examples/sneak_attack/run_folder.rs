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

    /// The run begins: unless it goes on with an earlier one, what that one left is removed.
    pub fn begin(&self) -> Result<()> {
        if !self.resume {
            self.clear()?;
        }
        self.write_text(RUN, &format!("{}\n", self.command))
    }

    /// Removes what an earlier run left and this one would not overwrite.
    fn clear(&self) -> Result<()> {
        for name in ["summary.json", "metrics.csv", "report.html"] {
            remove(&self.path(name), |path| fs::remove_file(path))?;
        }
        for architecture in Architecture::ALL {
            let folder = self.path(architecture.name());
            for name in ["checkpoints", "overlays"] {
                remove(&folder.join(name), |path| fs::remove_dir_all(path))?;
            }
            remove(&folder.join("weights.safetensors"), |path| fs::remove_file(path))?;
        }
        Ok(())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A network's own folder.
    pub fn network(&self, architecture: Architecture) -> Result<PathBuf> {
        self.folder(architecture, None)
    }

    /// Where a network's pictures go.
    pub fn overlays(&self, architecture: Architecture) -> Result<PathBuf> {
        self.folder(architecture, Some("overlays"))
    }

    /// Where the state of one of a network's trainings is kept.
    pub fn checkpoint(&self, architecture: Architecture, training: &str) -> Result<PathBuf> {
        let folder = self.folder(architecture, Some("checkpoints"))?;
        Ok(folder.join(format!("{training}.safetensors")))
    }

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
