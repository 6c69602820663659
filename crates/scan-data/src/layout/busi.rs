//! Breast ultrasound in the published folder layout.
//!
//! Al-Dhabyani et al., Dataset of breast ultrasound images, Data in Brief 28:104863 (2020),
//! doi:10.1016/j.dib.2019.104863.

use std::collections::HashMap;
use std::path::Path;

use super::{Item, Picture, Plan};
use crate::folder::{Entry, Listing};
use crate::groups::Grouping;
use crate::picture::stem;
use crate::{Class, DataError};

/// The folders and what they mean.
pub(crate) const CLASSES: [(&str, Class); 3] = [
    ("benign", Class::Lesion),
    ("malignant", Class::Lesion),
    ("normal", Class::Normal),
];

/// The name of the image that a mask belongs to: `X` for `X_mask` and `X_mask_2`.
fn masked(stem: &str) -> Option<&str> {
    if let Some(image) = stem.strip_suffix("_mask") {
        return Some(image);
    }
    let (image, number) = stem.rsplit_once("_mask_")?;
    (!number.is_empty() && number.bytes().all(|c| c.is_ascii_digit())).then_some(image)
}

pub(crate) fn plan(root: &Path) -> Result<Plan, DataError> {
    let mut groups = Grouping::read(root, "image, group and group_has_mixed_classes")?;
    let mut items = Vec::new();
    let mut census = Census::default();
    for (folder, class) in CLASSES {
        let path = root.join(folder);
        if path.is_dir() {
            let listing = Listing::of(&path)?;
            read_class(folder, class, &listing, &mut groups, &mut items, &mut census)?;
        }
    }
    let mut notes = vec!["Lesion means benign or malignant; several masks of an image are united.".to_owned()];
    notes.extend(groups.notes("near-duplicates")?);
    if census.mixed > 0 {
        notes.push(format!(
            "{} images in groups of mixed class were dropped.",
            census.mixed
        ));
    }
    if census.others > 0 {
        notes.push(format!("{} files that are no images were passed over.", census.others));
    }
    Ok(Plan { items, notes })
}

/// What is counted for the notes.
#[derive(Debug, Default)]
struct Census {
    mixed: usize,
    others: usize,
}

fn read_class(
    folder: &str,
    class: Class,
    listing: &Listing,
    groups: &mut Grouping,
    items: &mut Vec<Item>,
    census: &mut Census,
) -> Result<(), DataError> {
    let (pictures, others) = listing.pictures();
    census.others += others;
    let mut masks: HashMap<&str, Vec<&Entry>> = HashMap::new();
    let mut images: HashMap<&str, &Entry> = HashMap::new();
    for &file in &pictures {
        if let Some(image) = masked(stem(&file.name)) {
            masks.entry(image).or_default().push(file);
        } else {
            images.entry(stem(&file.name)).or_insert(file);
        }
    }

    for file in pictures {
        let stem = stem(&file.name);
        if let Some(image) = masked(stem) {
            if !images.contains_key(image) {
                items.push(Item::without_image(file, file.path.with_file_name(image)));
            }
            continue;
        }
        if let Some(first) = images.get(stem).filter(|first| first.name != file.name) {
            items.push(Item::repeated(file, first));
            continue;
        }
        let group = groups.of(folder, &file.name)?;
        if group.mixed {
            census.mixed += 1;
            continue;
        }
        let masks = masks.remove(stem).unwrap_or_default();
        if masks.is_empty() && class == Class::Lesion {
            let expected = file.path.with_file_name(format!("{stem}_mask.png"));
            items.push(Item::without_mask(file, expected));
            continue;
        }
        items.push(Item::Picture(Picture {
            id: format!("{folder}/{stem}"),
            group: group.name,
            image: file.path.clone(),
            masks: masks.iter().map(|m| m.path.clone()).collect(),
            class: Some(class),
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn masks_are_told_from_images() {
        assert_eq!(masked("benign (1)_mask"), Some("benign (1)"));
        assert_eq!(masked("benign (1)_mask_2"), Some("benign (1)"));
        assert_eq!(masked("benign (1)"), None);
        assert_eq!(masked("a_mask_b"), None);
        assert_eq!(masked("a_mask_"), None);
    }
}
