//! `groups.csv`: which images belong to one patient or are nearly the same.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::DataError;

/// The table's name in a data set's folder.
pub(crate) const FILE_NAME: &str = "groups.csv";

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

/// The table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    /// Image names as the table gives them, with their groups.
    pub(crate) groups: HashMap<String, Group>,
}

/// The table of a folder; `None` when there is none.
pub(crate) fn read(root: &Path, columns: &'static str) -> Result<Option<Table>, DataError> {
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
