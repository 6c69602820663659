//! Regions, their controls, and the masking of images.

use heatmap_filter::{Fill, Filter, FilterError, Masking, hottest, random_like};
use ndarray::{Array2, Array3, Array4, Axis, array, s};
use proptest::prelude::*;

fn heatmap() -> impl Strategy<Value = Array2<f32>> {
    (1usize..12, 1usize..12).prop_flat_map(|(rows, columns)| {
        // Few distinct values, so that ties are common.
        proptest::collection::vec(0u8..5, rows * columns).prop_map(move |values| {
            Array2::from_shape_fn((rows, columns), |(row, column)| {
                f32::from(values[row * columns + column]) / 4.0
            })
        })
    })
}

fn area(region: &Array2<bool>) -> usize {
    region.iter().filter(|&&inside| inside).count()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn the_hottest_are_exactly_as_many_as_asked_and_none_is_colder_than_the_rest(map in heatmap(), fraction in 0.0..=1.0f64, seed: u64) {
        let region = hottest(map.view(), fraction, seed).unwrap();
        prop_assert_eq!(area(&region), (fraction * map.len() as f64).round() as usize);
        let inside = map.iter().zip(&region).filter(|(_, r)| **r).map(|(v, _)| *v).fold(f32::INFINITY, f32::min);
        let outside = map.iter().zip(&region).filter(|(_, r)| !**r).map(|(v, _)| *v).fold(f32::NEG_INFINITY, f32::max);
        prop_assert!(inside >= outside);
    }

    #[test]
    fn the_layout_of_the_map_does_not_matter(map in heatmap(), fraction in 0.0..=1.0f64) {
        let mut columns_first = Array2::zeros((map.ncols(), map.nrows())).reversed_axes();
        columns_first.assign(&map);
        prop_assert_eq!(hottest(columns_first.view(), fraction, 3).unwrap(), hottest(map.view(), fraction, 3).unwrap());
    }

    #[test]
    fn the_control_has_the_same_area_and_edge(map in heatmap(), fraction in 0.0..=1.0f64, seed: u64) {
        // On a torus, moving and mirroring keeps area and the number of neighbours that differ.
        let edge = |region: &Array2<bool>| -> usize {
            let (rows, columns) = region.dim();
            let differ = |a: (usize, usize), b: (usize, usize)| usize::from(region[a] != region[b]);
            region.indexed_iter().map(|((r, c), _)| differ((r, c), ((r + 1) % rows, c)) + differ((r, c), (r, (c + 1) % columns))).sum()
        };
        let region = hottest(map.view(), fraction, seed).unwrap();
        let control = random_like(region.view(), seed);
        prop_assert_eq!(control.dim(), region.dim());
        prop_assert_eq!(area(&control), area(&region));
        prop_assert_eq!(edge(&control), edge(&region));
        prop_assert_eq!(&control, &random_like(region.view(), seed));
    }

    #[test]
    fn keeping_and_removing_part_the_image_between_them(map in heatmap(), fraction in 0.0..=1.0f64, seed: u64) {
        let kept = |filter| Masking::new(filter, fraction, Fill::Value(0.0)).kept(map.view(), seed, 2).unwrap();
        prop_assert_eq!(kept(Filter::KeepHottest), !kept(Filter::RemoveHottest));
        prop_assert_eq!(kept(Filter::KeepRandom), !kept(Filter::RemoveRandom));
    }
}

#[test]
fn a_map_full_of_zeros_gives_up_no_more_than_was_asked() {
    // 96 % zeros: a comparison with the percentile would take everything.
    let mut map = Array2::<f32>::zeros((10, 10));
    map.slice_mut(s![0, ..4]).fill(1.0);
    for percent in [10, 20, 50] {
        assert_eq!(
            area(&hottest(map.view(), f64::from(percent) / 100.0, 0).unwrap()),
            percent as usize
        );
    }
}

#[test]
fn equal_pixels_are_taken_anywhere_and_differently_for_each_image() {
    let map = Array2::<f32>::zeros((20, 20));
    let masking = Masking::new(Filter::KeepHottest, 0.3, Fill::Value(0.0));
    let kept = |index| masking.kept(map.view(), 1, index).unwrap();
    assert_ne!(kept(0), kept(1));
    let mut taken = Array2::from_elem((20, 20), 0);
    for index in 0..1000 {
        taken.zip_mut_with(&kept(index), |count, kept| *count += i32::from(*kept));
    }
    assert!(taken.iter().all(|&count| (230..=370).contains(&count)), "{taken}");
}

#[test]
fn the_control_reaches_every_place() {
    let mut region = Array2::from_elem((4, 5), false);
    region[(1, 1)] = true;
    let mut reached = Array2::from_elem((4, 5), 0);
    for seed in 0..2000 {
        for (place, inside) in random_like(region.view(), seed).indexed_iter() {
            reached[place] += i32::from(*inside);
        }
    }
    assert!(reached.iter().all(|&count| (60..=140).contains(&count)), "{reached}");
}

#[test]
fn fills_are_what_they_say() {
    let image = Array3::from_shape_fn((2, 1, 4), |(c, _, x)| (10 * c + x) as f32);
    let map = array![[0.0, 0.1, 0.9, 0.8]];
    let filtered = |fill| {
        Masking::new(Filter::KeepHottest, 0.5, fill)
            .apply(image.view(), map.view(), 0, 0)
            .unwrap()
    };
    assert_eq!(
        filtered(Fill::Value(7.0)),
        array![[[7.0, 7.0, 2.0, 3.0]], [[7.0, 7.0, 12.0, 13.0]]]
    );
    assert_eq!(
        filtered(Fill::Channels(vec![7.0, 8.0])),
        array![[[7.0, 7.0, 2.0, 3.0]], [[8.0, 8.0, 12.0, 13.0]]]
    );
    assert_eq!(
        filtered(Fill::ImageMean),
        array![[[1.5, 1.5, 2.0, 3.0]], [[11.5, 11.5, 12.0, 13.0]]]
    );
}

#[test]
fn a_batch_is_its_images_one_by_one() {
    let images = Array4::from_shape_fn((5, 2, 6, 7), |(n, c, y, x)| (n * 1000 + c * 100 + y * 10 + x) as f32);
    let maps = Array4::from_shape_fn((5, 1, 6, 7), |(n, _, y, x)| ((n + 3 * y + 5 * x) % 11) as f32 / 10.0);
    for filter in Filter::ALL {
        let masking = Masking::new(filter, 0.3, Fill::Value(-1.0));
        let mut batch = images.clone();
        masking.apply_batch(batch.view_mut(), maps.view(), 40).unwrap();
        for (n, image) in batch.axis_iter(Axis(0)).enumerate() {
            let alone = masking
                .apply(
                    images.index_axis(Axis(0), n),
                    maps.slice(s![n, 0, .., ..]),
                    40,
                    n as u64,
                )
                .unwrap();
            assert_eq!(image, alone, "{filter}, image {n}");
        }
    }
}

#[test]
fn faults_say_what_was_found_and_expected() {
    let map = array![[0.0, f32::NAN]];
    assert!(matches!(
        hottest(map.view(), 0.5, 0),
        Err(FilterError::NotFinite { index: (0, 1), .. })
    ));
    assert!(
        hottest(array![[0.0]].view(), 1.5, 0)
            .unwrap_err()
            .to_string()
            .contains("1.5")
    );
    let masking = Masking::new(Filter::KeepHottest, 0.5, Fill::Channels(vec![0.0; 3]));
    let image = Array3::<f32>::zeros((1, 2, 2));
    let message = |error: FilterError| error.to_string();
    assert!(
        message(
            masking
                .apply(image.view(), Array2::zeros((2, 3)).view(), 0, 0)
                .unwrap_err()
        )
        .contains("[2, 3]")
    );
    assert!(
        message(
            masking
                .apply(image.view(), Array2::zeros((2, 2)).view(), 0, 0)
                .unwrap_err()
        )
        .contains("3 channels")
    );
    assert!(message("hot".parse::<Filter>().unwrap_err()).contains("keep-hottest, remove-hottest"));
    for filter in Filter::ALL {
        assert_eq!(filter.name().parse::<Filter>().unwrap(), filter);
    }
}
