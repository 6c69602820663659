//! Plain pairs of images and masks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::{Item, Picture, Plan};
use crate::DataError;
use crate::folder::{Entry, Listing};
use crate::groups;
use crate::picture::{is_picture, stem};

/// The name of the image that a mask belongs to, given the names of all images: its own name, or
/// its name without `_mask`.
fn masked<'a>(mask: &'a str, images: &HashMap<&str, &Entry>) -> &'a str {
    match mask.strip_suffix("_mask") {
        Some(image) if !images.contains_key(mask) => image,
        _ => mask,
    }
}

pub(crate) fn plan(root: &Path) -> Result<Plan, DataError> {
    let groups = groups::read(root, "image and group")?;
    let listed = Listing::of(&root.join("images"))?;
    let listed_masks = Listing::of(&root.join("masks"))?;
    let (mut items, mut passed_over) = (Vec::new(), 0);

    let mut images: HashMap<&str, &Entry> = HashMap::new();
    for file in &listed.files {
        if is_picture(&file.name) {
            images.entry(stem(&file.name)).or_insert(file);
        }
    }
    let mut masks: HashMap<&str, &Entry> = HashMap::new();
    for file in &listed_masks.files {
        if !is_picture(&file.name) {
            passed_over += 1;
            continue;
        }
        let image = masked(stem(&file.name), &images);
        let error = if !images.contains_key(image) {
            let expected = root.join("images").join(image);
            DataError::MissingImage {
                mask: file.path.clone(),
                expected,
            }
        } else if let Some(first) = masks.get(image) {
            DataError::SameName {
                path: file.path.clone(),
                other: first.path.clone(),
            }
        } else {
            masks.insert(image, file);
            continue;
        };
        items.push(Item::Faulty(file.path.clone(), error));
    }

    let mut ungrouped = 0;
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for file in &listed.files {
        if !is_picture(&file.name) {
            passed_over += 1;
            continue;
        }
        let stem = stem(&file.name);
        if let Some(first) = images.get(stem).filter(|first| first.name != file.name) {
            let error = DataError::SameName {
                path: file.path.clone(),
                other: first.path.clone(),
            };
            items.push(Item::Faulty(file.path.clone(), error));
            continue;
        }
        let Some(mask) = masks.get(stem) else {
            let expected = root.join("masks").join(&file.name);
            let error = DataError::MissingMask {
                image: file.path.clone(),
                expected,
            };
            items.push(Item::Faulty(file.path.clone(), error));
            continue;
        };
        // A table may name an image with or without its folder and extension.
        let group = groups.as_ref().and_then(|table| {
            let names = [format!("images/{}", file.name), file.name.clone(), stem.to_owned()];
            names.iter().find_map(|name| table.get_key_value(name.as_str()))
        });
        if let Some((name, _)) = group {
            named.insert(name);
        }
        ungrouped += usize::from(group.is_none());
        items.push(Item::Picture(Picture {
            id: stem.to_owned(),
            group: group.map_or_else(|| format!("images/{}", file.name), |(_, g)| g.name.clone()),
            image: file.path.clone(),
            masks: vec![mask.path.clone()],
            class: None,
        }));
    }

    let mut notes = vec!["Lesion means that the mask is not empty.".to_owned()];
    match &groups {
        Some(table) => {
            let names: HashSet<_> = table.values().map(|g| g.name.as_str()).collect();
            notes.push(format!("Groups are the {} of groups.csv.", names.len()));
            if ungrouped > 0 {
                notes.push(format!(
                    "{ungrouped} images are not in groups.csv: each is its own group."
                ));
            }
            if table.len() > named.len() {
                let absent = table.len() - named.len();
                notes.push(format!("{absent} rows of groups.csv name images that were not used."));
            }
        }
        None => notes.push(
            "There is no groups.csv: each image is its own group, so images of one patient are not kept together."
                .to_owned(),
        ),
    }
    if passed_over > 0 {
        notes.push(format!("{passed_over} files that are no images were passed over."));
    }
    Ok(Plan { items, notes })
}
