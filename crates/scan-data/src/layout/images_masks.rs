//! Plain pairs of images and masks.

use std::collections::HashMap;
use std::path::Path;

use super::{Item, Picture, Plan};
use crate::DataError;
use crate::folder::{Entry, Listing};
use crate::groups::Grouping;
use crate::picture::stem;

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
    let (listed_images, listed_masks) = (Listing::of(&root.join("images"))?, Listing::of(&root.join("masks"))?);
    let (image_files, other_images) = listed_images.pictures();
    let (mask_files, other_masks) = listed_masks.pictures();
    let mut items = Vec::new();

    let mut images: HashMap<&str, &Entry> = HashMap::new();
    for &file in &image_files {
        images.entry(stem(&file.name)).or_insert(file);
    }
    let mut masks: HashMap<&str, &Entry> = HashMap::new();
    for file in mask_files {
        let image = masked(stem(&file.name), &images);
        if !images.contains_key(image) {
            items.push(Item::without_image(file, root.join("images").join(image)));
        } else if let Some(first) = masks.get(image) {
            items.push(Item::repeated(file, first));
        } else {
            masks.insert(image, file);
        }
    }

    for file in image_files {
        let stem = stem(&file.name);
        if let Some(first) = images.get(stem).filter(|first| first.name != file.name) {
            items.push(Item::repeated(file, first));
            continue;
        }
        let group = groups.of("images", &file.name)?;
        let Some(mask) = masks.get(stem) else {
            items.push(Item::without_mask(file, root.join("masks").join(&file.name)));
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
    let passed_over = other_images + other_masks;
    if passed_over > 0 {
        notes.push(format!("{passed_over} files that are no images were passed over."));
    }
    Ok(Plan { items, notes })
}
