use std::sync::Mutex;

use image::{DynamicImage, ImageBuffer, Luma, Rgb, Rgba};
use scan_data::{Class, DataError, Dataset, GreyMasks, Layout, ReadOptions};

use crate::files::{Folder, chain};

fn ids(data: &Dataset) -> Vec<&str> {
    data.scans.iter().map(|s| s.id.as_str()).collect()
}

/// A PNG of 1 bit per pixel, 8 columns, from its rows; the decoder's tests are not repeated here.
fn one_bit_png(rows: &[u8]) -> Vec<u8> {
    fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
        let mut checked = kind.to_vec();
        checked.extend(data);
        let mut crc = flate2::Crc::new();
        crc.update(&checked);
        out.extend((data.len() as u32).to_be_bytes());
        out.extend(&checked);
        out.extend(crc.sum().to_be_bytes());
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = vec![0, 0, 0, 8];
    header.extend((rows.len() as u32).to_be_bytes());
    header.extend([1, 0, 0, 0, 0]);
    chunk(&mut png, b"IHDR", &header);
    let raw: Vec<u8> = rows.iter().flat_map(|&row| [0, row]).collect();
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &raw).unwrap();
    chunk(&mut png, b"IDAT", &packed.finish().unwrap());
    chunk(&mut png, b"IEND", &[]);
    png
}

#[test]
fn busi_is_read_in_natural_order() {
    let folder = Folder::new();
    for number in [10, 2, 1] {
        folder.busi_pair("benign", number);
    }
    folder.busi_pair("malignant", 1);
    folder.busi_pair("normal", 1);
    folder.grey("normal/normal (2).png", |_, _| 7);
    folder.write("normal/notes.txt", "no image");
    let seen = Mutex::new(Vec::new());
    let data = Dataset::read_with(folder.path(), &ReadOptions::default(), &|done, total| {
        seen.lock().unwrap().push((done, total));
    })
    .unwrap();

    assert_eq!(data.layout, Some(Layout::Busi));
    let expected = [
        "benign/benign (1)",
        "benign/benign (2)",
        "benign/benign (10)",
        "malignant/malignant (1)",
        "normal/normal (1)",
        "normal/normal (2)",
    ];
    assert_eq!(ids(&data), expected);
    assert_eq!(data.class_counts(), (4, 2));
    let scan = &data.scans[0];
    assert_eq!(
        (scan.image.dim(), scan.mask.dim(), scan.class()),
        ((4, 6), (4, 6), Class::Lesion)
    );
    assert_eq!(scan.image[[3, 5]], 53.0 / 255.0);
    assert!(scan.mask[[1, 2]] && scan.mask.iter().filter(|&&m| m).count() == 1);
    assert!(scan.source.ends_with("benign/benign (1).png"));
    assert!(
        data.notes.iter().any(|n| n.contains("no groups.csv")),
        "{:?}",
        data.notes
    );
    assert!(
        data.notes.iter().any(|n| n.contains("1 files that are no images")),
        "{:?}",
        data.notes
    );
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (1..=6).map(|done| (done, 6)).collect::<Vec<_>>());
}

#[test]
fn several_masks_are_united_whatever_their_pixels() {
    let folder = Folder::small_busi();
    let place = |name: &str| folder.file(name);
    DynamicImage::from(ImageBuffer::from_fn(8, 2, |x, _| Rgb([30 * x as u8; 3])))
        .save(place("malignant/m.png"))
        .unwrap();
    // RGBA, where the transparent pixel does not count as marked.
    let rgba = ImageBuffer::from_fn(8, 2, |x, y| {
        Rgba(if (x, y) == (0, 0) {
            [255; 4]
        } else {
            [0, 0, 0, (x * 9) as u8]
        })
    });
    rgba.save(place("malignant/m_mask.png")).unwrap();
    folder.write("malignant/m_mask_1.png", one_bit_png(&[0b0100_0000, 0b0000_0001]));
    ImageBuffer::from_fn(8, 2, |x, y| Luma([u8::from((x, y) == (3, 1))]))
        .save(place("malignant/m_mask_2.png"))
        .unwrap();
    let deep = ImageBuffer::from_fn(8, 2, |x, y| Luma([if (x, y) == (4, 1) { 65_535_u16 } else { 0 }]));
    deep.save(place("malignant/m_mask_10.png")).unwrap();

    let data = folder.read().unwrap();
    assert!(data.faults.is_empty(), "{:?}", data.faults);
    let scan = data.scans.iter().find(|s| s.id == "malignant/m").unwrap();
    let marked: Vec<_> = scan
        .mask
        .indexed_iter()
        .filter(|(_, m)| **m)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(marked, [(0, 0), (0, 1), (1, 3), (1, 4), (1, 7)]);
    // Luma is a weighted sum, so even equal channels are rounded.
    assert!((scan.image[[1, 3]] - 90.0 / 255.0).abs() < 1e-6);
}

#[test]
fn sixteen_bits_keep_their_precision() {
    let folder = Folder::small_busi();
    let deep = ImageBuffer::from_fn(3, 1, |x, _| Luma([[0_u16, 1, 65_535][x as usize]]));
    deep.save(folder.file("normal/deep.png")).unwrap();
    deep.save(folder.file("normal/tagged.tiff")).unwrap();
    let data = folder.read().unwrap();
    for id in ["normal/deep", "normal/tagged"] {
        let scan = data.scans.iter().find(|s| s.id == id).unwrap();
        assert_eq!(scan.image.as_slice().unwrap(), [0.0, 1.0 / 65_535.0, 1.0]);
    }
}

#[test]
fn an_image_that_is_no_image_is_a_fault() {
    let folder = Folder::small_busi();
    folder.write("normal/broken.png", "not a picture");
    let error = folder.only_fault(
        "normal/broken.png",
        &["broken.png", "expected a PNG, JPEG, BMP or TIFF"],
    );
    assert!(matches!(error, DataError::Image { .. }));
    // A printer of chains says the cause once.
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(chain(&error).matches(&cause).count(), 1, "{}", chain(&error));
}

#[test]
fn a_truncated_image_is_a_fault() {
    let folder = Folder::small_busi();
    let whole = std::fs::read(folder.file("normal/normal (1).png")).unwrap();
    folder.write("normal/short.png", &whole[..whole.len() / 2]);
    assert!(matches!(
        folder.only_fault("normal/short.png", &["short.png"]),
        DataError::Image { .. }
    ));
}

#[test]
fn a_bomb_is_a_fault() {
    let folder = Folder::small_busi();
    let mut bomb = one_bit_png(&[0; 2]);
    bomb[16..24].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x80, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    folder.write("normal/bomb.png", &bomb);
    let error = folder.only_fault("normal/bomb.png", &["bomb.png"]);
    assert!(
        matches!(
            error,
            DataError::Image {
                source: image::ImageError::Limits(_),
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_lesion_without_a_mask_is_a_fault() {
    let folder = Folder::small_busi();
    folder.grey("malignant/m (7).png", |_, _| 1);
    let error = folder.only_fault("malignant/m (7).png", &["m (7).png", "found no mask", "m (7)_mask.png"]);
    assert!(matches!(error, DataError::MissingMask { .. }));
}

#[test]
fn a_mask_without_an_image_is_a_fault() {
    let folder = Folder::small_busi();
    folder.grey("benign/lost_mask_1.png", |_, _| 0);
    let error = folder.only_fault("benign/lost_mask_1.png", &["lost_mask_1.png", "found no image"]);
    assert!(matches!(error, DataError::MissingImage { .. }));
}

#[test]
fn a_mask_of_another_size_is_a_fault() {
    let folder = Folder::small_busi();
    folder.grey("benign/b.png", |_, _| 1);
    image::GrayImage::new(3, 2)
        .save(folder.file("benign/b_mask.png"))
        .unwrap();
    let error = folder.only_fault("benign/b.png", &["b_mask.png", "3 x 2", "expected 6 x 4"]);
    assert!(matches!(
        error,
        DataError::MaskSize {
            mask_size: (2, 3),
            image_size: (4, 6),
            ..
        }
    ));
}

#[test]
fn a_grey_mask_is_a_fault_or_cut_at_half() {
    let folder = Folder::small_busi();
    folder.grey("benign/b.png", |_, _| 1);
    folder.grey("benign/b_mask.png", |x, _| (x * 51) as u8);
    let error = folder.only_fault("benign/b.png", &["b_mask.png", "0.2", "expected 0 and one other value"]);
    assert!(matches!(error, DataError::GreyMask { .. }));

    let options = ReadOptions::default().with_grey_masks(GreyMasks::AboveHalf);
    let data = Dataset::read(folder.path(), &options).unwrap();
    let scan = data.scans.iter().find(|s| s.id == "benign/b").unwrap();
    assert_eq!(scan.mask.row(0).to_vec(), [false, false, false, true, true, true]);
}

#[test]
fn a_mask_against_its_class_is_a_fault() {
    let folder = Folder::small_busi();
    folder.grey("benign/b.png", |_, _| 1);
    folder.grey("benign/b_mask.png", |_, _| 0);
    let error = folder.only_fault(
        "benign/b.png",
        &["b_mask.png", "found 0 marked", "expected at least one"],
    );
    assert!(matches!(
        error,
        DataError::MaskAgainstClass {
            class: Class::Lesion,
            marked: 0,
            ..
        }
    ));

    let folder = Folder::small_busi();
    folder.grey("normal/n.png", |_, _| 1);
    folder.grey("normal/n_mask.png", |_, _| 1);
    let error = folder.only_fault("normal/n.png", &["n_mask.png", "found 24 marked", "expected none"]);
    assert!(matches!(
        error,
        DataError::MaskAgainstClass {
            class: Class::Normal,
            marked: 24,
            ..
        }
    ));
}

#[test]
fn a_second_file_of_a_name_is_a_fault() {
    let folder = Folder::small_busi();
    folder.grey("normal/normal (1).bmp", |_, _| 1);
    let error = folder.only_fault(
        "normal/normal (1).png",
        &["normal (1).png", "expected only", "normal (1).bmp"],
    );
    assert!(matches!(error, DataError::SameName { .. }));
}

#[test]
fn a_float_image_beyond_one_is_a_fault() {
    let folder = Folder::small_busi();
    let image = ImageBuffer::from_fn(2, 2, |x, _| Rgb([x as f32 * 4095.0; 3]));
    DynamicImage::ImageRgb32F(image)
        .save(folder.file("normal/float.tiff"))
        .unwrap();
    let error = folder.only_fault(
        "normal/float.tiff",
        &["float.tiff", "from 0 to 4095", "expected 0 to 1"],
    );
    assert!(matches!(error, DataError::Intensities { .. }));
}

#[test]
fn strict_reading_stops_at_the_first_fault_in_order() {
    let folder = Folder::small_busi();
    for number in [10, 9] {
        folder.write(&format!("normal/x ({number}).png"), "nothing");
    }
    let error = Dataset::read(folder.path(), &ReadOptions::default().with_strict(true)).unwrap_err();
    assert!(error.to_string().contains("x (9).png"), "{error}");
    assert_eq!(folder.read().unwrap().faults.len(), 2);
}

#[test]
fn an_empty_class_is_an_error() {
    let folder = Folder::new();
    folder.busi_pair("benign", 1);
    folder.write("normal/broken.png", "nothing");
    let error = folder.read().unwrap_err();
    assert!(
        matches!(
            error,
            DataError::EmptyClass {
                class: Class::Normal,
                scans: 1,
                faults: 1,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("none of class normal"), "{error}");
}

#[test]
fn nothing_readable_is_an_error() {
    let folder = Folder::new();
    folder.write("normal/broken.png", "nothing");
    let error = folder.read().unwrap_err();
    assert!(
        matches!(
            error,
            DataError::NothingReadable {
                faults: 1,
                first: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!error.to_string().contains("broken.png"), "{error}");
    assert!(chain(&error).contains("broken.png"), "{}", chain(&error));

    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("benign")).unwrap();
    assert!(matches!(
        folder.read(),
        Err(DataError::NothingReadable {
            faults: 0,
            first: None,
            ..
        })
    ));
}

#[test]
fn folders_that_are_no_data_sets_are_errors() {
    let folder = Folder::new();
    let error = Layout::guess(folder.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("found an empty folder, expected one of: folders benign/"),
        "{error}"
    );
    folder.write("train/readme.md", "");
    folder.write("list.txt", "");
    let error = folder.read().unwrap_err();
    assert!(
        matches!(&error, DataError::UnknownLayout { found, .. } if found == "train/, list.txt"),
        "{error}"
    );
    let error = Dataset::read(folder.path().join("list.txt"), &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::NotAFolder { .. }), "{error}");
    let error = Dataset::read(folder.path().join("absent"), &ReadOptions::default()).unwrap_err();
    assert!(
        matches!(error, DataError::MissingFolder { .. }) && error.to_string().contains("absent"),
        "{error}"
    );
}

#[test]
fn an_ambiguous_folder_is_read_as_told() {
    let folder = Folder::small_busi();
    folder.grey("images/a.png", |x, _| x as u8);
    folder.grey("masks/a.png", |x, _| u8::from(x == 0));
    folder.grey("images/b.png", |x, _| x as u8);
    folder.grey("masks/b.png", |_, _| 0);
    let error = folder.read().unwrap_err();
    assert!(
        error.to_string().contains("fits the layouts busi and images-masks"),
        "{error}"
    );
    let told = |layout| Dataset::read(folder.path(), &ReadOptions::default().with_layout(Some(layout)));
    assert_eq!(ids(&told(Layout::ImagesMasks).unwrap()), ["a", "b"]);
    assert_eq!(told(Layout::Busi).unwrap().scans.len(), 2);
    let error = told(Layout::Btp).unwrap_err();
    assert!(
        error.to_string().contains("expected volumes such as 01_pre_t1.nii.gz"),
        "{error}"
    );
}

#[test]
fn layouts_have_names() {
    for layout in Layout::ALL {
        assert_eq!(layout.to_string().parse::<Layout>().unwrap(), layout);
    }
    let error = "BUSI".parse::<Layout>().unwrap_err();
    assert!(
        error.to_string().contains("`BUSI` is unknown, expected `busi`"),
        "{error}"
    );
}

#[test]
fn groups_of_mixed_class_are_dropped() {
    let folder = Folder::new();
    for number in 1..=4 {
        folder.busi_pair("benign", number);
        folder.busi_pair("normal", number);
    }
    folder.write(
        "groups.csv",
        "image,class,group,group_has_mixed_classes\n\
         benign/benign (1).png,benign,7,0\nbenign/benign (2).png,benign,7,0\n\
         benign/benign (3).png,benign,8,1\nnormal/normal (3).png,normal,8,0\n\
         benign/gone.png,benign,9,0\n",
    );
    let data = folder.read().unwrap();
    assert_eq!(data.class_counts(), (3, 3));
    let groups: Vec<_> = data.scans.iter().map(|s| s.group.as_str()).collect();
    assert_eq!(groups[..3], ["7", "7", "benign/benign (4).png"]);
    let notes = data.notes.join("\n");
    for words in [
        "2 images in groups of mixed class",
        "4 images are not in groups.csv",
        "1 rows of groups.csv",
    ] {
        assert!(notes.contains(words), "`{words}` is missing in: {notes}");
    }
}

#[test]
fn a_table_of_groups_that_cannot_be_read_is_an_error() {
    let folder = Folder::small_busi();
    folder.write("groups.csv", "picture,group\na.png,1\n");
    let error = folder.read().unwrap_err();
    assert!(matches!(error, DataError::Groups { .. }));
    let message = chain(&error);
    assert!(
        message.contains("expected the columns image, group") && message.contains("missing field `image`"),
        "{message}"
    );

    folder.write("groups.csv", "image,group\na.png,1\na.png,2\n");
    let error = folder.read().unwrap_err();
    assert!(
        error.to_string().contains("found `a.png` in the groups 1 and 2"),
        "{error}"
    );
}

#[test]
fn a_table_of_groups_names_images_in_three_forms() {
    let busi = Folder::new();
    let plain = Folder::new();
    for number in 1..=4 {
        busi.busi_pair("benign", number);
        plain.grey(&format!("images/benign ({number}).png"), |_, _| 1);
        plain.grey(&format!("masks/benign ({number}).png"), |x, _| {
            u8::from(x == 0 && number > 1)
        });
    }
    busi.busi_pair("normal", 1);
    for (folder, of_images) in [(&busi, "benign"), (&plain, "images")] {
        let table = format!("image,group\n{of_images}/benign (1).png,7\nbenign (2).png,7\nbenign (3),7\n");
        folder.write("groups.csv", table);
        let data = folder.read().unwrap();
        let groups: Vec<_> = data.scans.iter().map(|s| s.group.as_str()).collect();
        let own = format!("{of_images}/benign (4).png");
        assert_eq!(groups[..4], ["7", "7", "7", own.as_str()]);
        assert!(!data.notes.join("\n").contains("not there"), "{:?}", data.notes);

        // Two names of one image that disagree.
        folder.write("groups.csv", "image,group\nbenign (2).png,7\nbenign (2),8\n");
        let error = folder.read().unwrap_err();
        assert!(matches!(error, DataError::TwoGroups { .. }), "{error}");
    }
}

#[test]
fn a_table_of_groups_that_names_no_image_is_an_error() {
    let folder = Folder::small_busi();
    folder.write("groups.csv", "image,group\nB/x (2).png,2\nB/x (1).png,1\n");
    let error = folder.read().unwrap_err();
    assert!(
        matches!(&error, DataError::UnmatchedGroups { path, row: Some(row), .. }
            if path.ends_with("groups.csv") && row == "B/x (1).png"),
        "{error:?}"
    );
    let message = error.to_string();
    for words in [
        "groups.csv: found no row",
        "`B/x (1).png`",
        "such as `benign/benign (1).png` or `benign (1).png` or `benign (1)`",
    ] {
        assert!(message.contains(words), "`{words}` is missing in: {message}");
    }
    folder.write("groups.csv", "image,group\n");
    let error = folder.read().unwrap_err();
    assert!(error.to_string().contains("found no rows, expected"), "{error}");
    // An image with a fault of its own is there all the same.
    let folder = Folder::small_busi();
    folder.grey("benign/bare.png", |_, _| 1);
    folder.write("groups.csv", "image,group\nbare,1\n");
    let error = folder.only_fault("benign/bare.png", &["found no mask"]);
    assert!(matches!(error, DataError::MissingMask { .. }));
}

#[test]
fn plain_pairs_are_read() {
    let folder = Folder::new();
    for (name, mask) in [
        ("p1_a.png", "p1_a.png"),
        ("p1_b.jpg", "p1_b_mask.png"),
        ("c_mask.bmp", "c_mask.png"),
    ] {
        folder.grey(&format!("images/{name}"), |_, _| 100);
        folder.grey(&format!("masks/{mask}"), |x, _| {
            if name == "p1_a.png" && x > 3 { 255 } else { 0 }
        });
    }
    let data = folder.read().unwrap();
    assert!(data.faults.is_empty(), "{:?}", data.faults);
    assert_eq!(data.layout, Some(Layout::ImagesMasks));
    assert_eq!(ids(&data), ["c_mask", "p1_a", "p1_b"]);
    assert_eq!(data.class_counts(), (1, 2));
    assert!((data.scans[2].image[[0, 0]] - 100.0 / 255.0).abs() < 0.01);
    assert!(data.notes.iter().any(|n| n.contains("each image is its own group")));

    folder.write("groups.csv", "image,group\np1_a.png,p1\nimages/p1_b.jpg,p1\n");
    let data = folder.read().unwrap();
    let groups: Vec<_> = data.scans.iter().map(|s| s.group.as_str()).collect();
    assert_eq!(groups, ["images/c_mask.bmp", "p1", "p1"]);

    folder.grey("images/alone.png", |_, _| 1);
    let error = folder.only_fault("images/alone.png", &["alone.png", "found no mask, expected"]);
    assert!(matches!(error, DataError::MissingMask { .. }));
}
