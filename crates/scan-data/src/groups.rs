//! `groups.csv`: which images belong to one patient or are nearly the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::DataError;
use crate::picture::stem;

/// The table's name in a data set's folder.
const FILE_NAME: &str = "groups.csv";

/// A row, without the columns that are not used.
#[derive(Debug, Deserialize)]
struct Row {
    image: String,
    group: String,
    #[serde(default)]
    group_has_mixed_classes: u8,
}

/// The group of an image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Whether the group holds images of several classes.
    pub(crate) mixed: bool,
}

/// The groups of a folder's images, with what is counted for the notes.
#[derive(Debug)]
pub(crate) struct Grouping {
    table: Option<Table>,
    /// The rows that name an image.
    named: BTreeSet<String>,
    /// How many images no row names.
    ungrouped: usize,
    /// The names of the first image.
    first: Option<[String; 3]>,
}

impl Grouping {
    pub(crate) fn read(root: &Path, columns: &'static str) -> Result<Self, DataError> {
        Ok(Self {
            table: read(root, columns)?,
            named: BTreeSet::new(),
            ungrouped: 0,
            first: None,
        })
    }

    /// The group of an image, its own if no row names it.
    pub(crate) fn of(&mut self, folder: &str, file: &str) -> Result<Group, DataError> {
        let names = [format!("{folder}/{file}"), file.to_owned(), stem(file).to_owned()];
        let mut found: Option<&Group> = None;
        if let Some(table) = &self.table {
            for name in &names {
                let Some(group) = table.groups.get(name) else {
                    continue;
                };
                if let Some(first) = found.filter(|first| first.name != group.name) {
                    return Err(DataError::TwoGroups {
                        path: table.path.clone(),
                        image: names[0].clone(),
                        first: first.name.clone(),
                        second: group.name.clone(),
                    });
                }
                self.named.insert(name.clone());
                found = Some(group);
            }
        }
        let group = found.cloned();
        self.ungrouped += usize::from(group.is_none());
        let group = group.unwrap_or_else(|| Group {
            name: names[0].clone(),
            mixed: false,
        });
        self.first.get_or_insert(names);
        Ok(group)
    }

    /// Where the groups come from, in sentences; `alike` is what a table would keep together.
    pub(crate) fn notes(self, alike: &str) -> Result<Vec<String>, DataError> {
        let Some(Table { path, groups }) = self.table else {
            return Ok(vec![format!(
                "There is no groups.csv: each image is its own group, so {alike} are not kept together."
            )]);
        };
        if let Some(expected) = self.first.filter(|_| self.named.is_empty()) {
            let row = groups.into_keys().min();
            return Err(DataError::UnmatchedGroups { path, row, expected });
        }
        let names: HashSet<_> = groups.values().map(|g| &g.name).collect();
        let mut notes = vec![format!("Groups are the {} of groups.csv.", names.len())];
        if self.ungrouped > 0 {
            notes.push(format!(
                "{} images are not in groups.csv: each is its own group.",
                self.ungrouped
            ));
        }
        let absent = groups.len() - self.named.len();
        if absent > 0 {
            notes.push(format!("{absent} rows of groups.csv name images that are not there."));
        }
        Ok(notes)
    }
}

/// The table.
#[derive(Debug)]
struct Table {
    path: PathBuf,
    /// Image names as the table gives them, with their groups.
    groups: HashMap<String, Group>,
}

/// The table of a folder; `None` when there is none.
fn read(root: &Path, columns: &'static str) -> Result<Option<Table>, DataError> {
    let path = root.join(FILE_NAME);
    if !path.is_file() {
        return Ok(None);
    }
    let fault = |source| DataError::Groups {
        path: path.clone(),
        columns,
        source,
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(&path)
        .map_err(fault)?;
    let mut groups: HashMap<String, Group> = HashMap::new();
    let mut mixed: BTreeMap<String, bool> = BTreeMap::new();
    for row in reader.deserialize() {
        let Row {
            image,
            group,
            group_has_mixed_classes,
        } = row.map_err(fault)?;
        *mixed.entry(group.clone()).or_default() |= group_has_mixed_classes != 0;
        if let Some(first) = groups.insert(
            image.clone(),
            Group {
                name: group.clone(),
                mixed: false,
            },
        ) && first.name != group
        {
            return Err(DataError::TwoGroups {
                path: path.clone(),
                image,
                first: first.name,
                second: group,
            });
        }
    }
    // A group is mixed as soon as one of its rows says so.
    for group in groups.values_mut() {
        group.mixed = mixed.get(&group.name).copied().unwrap_or(false);
    }
    Ok(Some(Table { path, groups }))
}
