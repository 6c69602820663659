//! Plain pairs of images and masks.

use std::collections::HashMap;
use std::path::Path;

use super::{Grouping, Item, Picture, Plan};
use crate::DataError;
use crate::folder::{Entry, Listing};
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
    let mut groups = Grouping::read(root, "image and group")?;
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
        let group = groups.of("images", &file.name)?;
        let Some(mask) = masks.get(stem) else {
            let expected = root.join("masks").join(&file.name);
            let error = DataError::MissingMask {
                image: file.path.clone(),
                expected,
            };
            items.push(Item::Faulty(file.path.clone(), error));
            continue;
        };
        items.push(Item::Picture(Picture {
            id: stem.to_owned(),
            group: group.name,
            image: file.path.clone(),
            masks: vec![mask.path.clone()],
            class: None,
        }));
    }

    let mut notes = vec!["Lesion means that the mask is not empty.".to_owned()];
    notes.extend(groups.notes("images of one patient")?);
    if passed_over > 0 {
        notes.push(format!("{passed_over} files that are no images were passed over."));
    }
    Ok(Plan { items, notes })
}
