use gradcam_core::{CamError, ColourMap, contour, grey, heatmap_picture, overlay, side_by_side};
use image::{Rgb, RgbImage};
use ndarray::{Array2, array};

const BLACK: Rgb<u8> = Rgb([0, 0, 0]);
const RED: Rgb<u8> = Rgb([255, 0, 0]);

/// matplotlib 3.11.2 at 101 values; see `tests/goldens/colours.py`. Exact, since both look up the
/// same 256 steps.
#[test]
fn colours_are_those_of_matplotlib() {
    let mut seen = 0;
    for line in include_str!("../goldens/colours.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let map = ColourMap::ALL.into_iter().find(|map| map.name() == fields[0]).unwrap();
        let expected: Vec<u8> = fields[2..].iter().map(|field| field.parse().unwrap()).collect();
        assert_eq!(map.rgb(fields[1].parse().unwrap()).to_vec(), expected, "{line}");
        seen += 1;
    }
    assert_eq!(seen, 5 * 101);
}

#[test]
fn colours_hold_beyond_the_ends() {
    for map in ColourMap::ALL {
        assert_eq!(map.rgb(-1.0), map.rgb(0.0));
        assert_eq!(map.rgb(f32::NAN), map.rgb(0.0));
        assert_eq!(map.rgb(f32::INFINITY), map.rgb(1.0));
    }
}

#[test]
fn grey_rounds_and_refuses_what_is_outside() {
    let picture = grey(array![[0.0, 0.5], [1.0, 0.25]].view()).unwrap();
    assert_eq!(picture.into_raw(), [0, 0, 0, 128, 128, 128, 255, 255, 255, 64, 64, 64]);
    for bad in [-0.001, 1.001, f32::NAN] {
        let error = grey(array![[0.0, 0.5], [bad, 0.25]].view()).unwrap_err();
        assert!(matches!(error, CamError::NotInUnitRange { row: 1, column: 0, .. }));
    }
}

/// captum's picture helper asserts on an all-zero map: https://github.com/pytorch/captum `visualize_image_attr`. It is a picture of
/// the lowest colour, and laid over a scan it is the scan under that.
#[test]
fn an_all_zero_map_makes_a_picture() {
    let maps = ndarray::Array3::<f32>::zeros((1, 2, 3));
    let heat = gradcam_core::kernel::heatmaps(maps.view(), &[4, 6], gradcam_core::Parallelism::Serial).unwrap();
    assert_eq!(heat.contents, [gradcam_core::Content::Zero]);
    let heat = heat.maps.index_axis_move(ndarray::Axis(0), 0);
    for colours in ColourMap::ALL {
        let picture = heatmap_picture(heat.view(), colours).unwrap();
        assert_eq!(picture.dimensions(), (6, 4));
        assert!(picture.pixels().all(|pixel| pixel.0 == colours.rgb(0.0)));
        let scan = grey(Array2::from_elem((4, 6), 1.0).view()).unwrap();
        assert_eq!(overlay(&scan, heat.view(), colours, 0.0).unwrap(), scan);
        assert_eq!(overlay(&scan, heat.view(), colours, 1.0).unwrap(), picture);
    }
}

#[test]
fn overlay_blends_between_picture_and_heatmap() {
    let picture = RgbImage::from_pixel(3, 2, Rgb([100, 50, 200]));
    let heat = array![[0.0f32, 0.5, 1.0], [0.2, 0.4, 0.6]];
    let colours = heatmap_picture(heat.view(), ColourMap::Turbo).unwrap();
    assert_eq!(colours.dimensions(), (3, 2));
    assert_eq!(overlay(&picture, heat.view(), ColourMap::Turbo, 0.0).unwrap(), picture);
    assert_eq!(overlay(&picture, heat.view(), ColourMap::Turbo, 1.0).unwrap(), colours);
    let half = overlay(&picture, heat.view(), ColourMap::Turbo, 0.5).unwrap();
    for ((half, under), over) in half.iter().zip(picture.iter()).zip(colours.iter()) {
        assert_eq!(f32::from(*half), ((f32::from(*under) + f32::from(*over)) / 2.0).round());
    }
    for alpha in [-0.1, 1.1, f32::NAN] {
        let result = overlay(&picture, heat.view(), ColourMap::Turbo, alpha);
        assert!(matches!(result, Err(CamError::Alpha { .. })));
    }
    let error = overlay(&picture, heat.t(), ColourMap::Turbo, 0.5).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the picture has 2 rows and 3 columns, what is drawn onto it 3 and 2"
    );
}

fn drawn(picture: &RgbImage) -> Array2<bool> {
    Array2::from_shape_fn(
        (picture.height() as usize, picture.width() as usize),
        |(row, column)| *picture.get_pixel(column as u32, row as u32) == RED,
    )
}

#[test]
fn contour_is_the_inner_boundary() {
    let picture = RgbImage::new(9, 8);
    let mask = Array2::from_shape_fn((8, 9), |(row, column)| {
        (1..7).contains(&row) && (2..8).contains(&column)
    });
    for thickness in 0..5usize {
        let found = drawn(&contour(&picture, mask.view(), RED, thickness as u32).unwrap());
        // A rectangle's pixels by their distance to its edge.
        let expected = Array2::from_shape_fn((8, 9), |(row, column)| {
            mask[[row, column]] && (row - 1).min(6 - row).min(column - 2).min(7 - column) < thickness
        });
        assert_eq!(found, expected, "{thickness}");
    }
}

#[test]
fn contour_runs_along_the_picture_and_around_holes() {
    let picture = RgbImage::new(5, 5);
    let mut mask = Array2::from_elem((5, 5), true);
    let edge = drawn(&contour(&picture, mask.view(), RED, 1).unwrap());
    assert_eq!(edge.iter().filter(|&&on| on).count(), 16);
    mask[[2, 2]] = false;
    let both = drawn(&contour(&picture, mask.view(), RED, 1).unwrap());
    assert_eq!(both.iter().filter(|&&on| on).count(), 20);
    let none = Array2::from_elem((5, 5), false);
    assert_eq!(contour(&picture, none.view(), RED, 3).unwrap(), picture);
    let result = contour(&picture, Array2::from_elem((5, 4), true).view(), RED, 1);
    assert!(matches!(
        result,
        Err(CamError::PictureSize {
            picture: (5, 5),
            drawn: (5, 4)
        })
    ));
}

#[test]
fn side_by_side_lays_out_rows_with_gaps() {
    let pictures: Vec<RgbImage> = (1..=3u8).map(|n| RgbImage::from_pixel(4, 2, Rgb([n, 0, 0]))).collect();
    let grid = side_by_side(&pictures, 2, 1, RED).unwrap();
    assert_eq!(grid.dimensions(), (4 + 1 + 4, 2 + 1 + 2));
    assert_eq!(grid.get_pixel(0, 0), &Rgb([1, 0, 0]));
    assert_eq!(grid.get_pixel(5, 1), &Rgb([2, 0, 0]));
    assert_eq!(grid.get_pixel(3, 4), &Rgb([3, 0, 0]));
    for (x, y) in [(4, 0), (0, 2), (8, 4)] {
        assert_eq!(grid.get_pixel(x, y), &RED);
    }
    assert_eq!(side_by_side(&pictures, 9, 1, BLACK).unwrap().dimensions(), (14, 2));
    assert!(matches!(
        side_by_side(&[], 2, 1, BLACK),
        Err(CamError::EmptyGrid {
            pictures: 0,
            columns: 2
        })
    ));
    assert!(matches!(
        side_by_side(&pictures, 0, 1, BLACK),
        Err(CamError::EmptyGrid { .. })
    ));
    let result = side_by_side(&pictures, 2, u32::MAX, BLACK);
    assert!(matches!(result, Err(CamError::TooLarge { .. })));
}
