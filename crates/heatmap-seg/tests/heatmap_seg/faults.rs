use heatmap_seg::{Calibration, SegError, Threshold};
use ndarray::{Array2, Array3, array};

#[test]
fn broken_values_are_named() {
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.001, 1.001] {
        for threshold in [
            Threshold::Fixed(0.5),
            Threshold::Otsu,
            Threshold::Li,
            Threshold::Percentile(50.0),
        ] {
            // Before and after the part that is read sixteen at a time, and in another memory layout.
            for at in [(0, 0, 3), (1, 2, 3), (4, 4, 4)] {
                let mut heatmap = Array3::from_elem((5, 5, 5), 0.5_f32);
                heatmap[at] = broken;
                heatmap[(4, 4, 4)] = broken;
                let Err(SegError::Value { index, value }) = threshold.apply(heatmap.view()) else {
                    panic!("{broken} passed");
                };
                assert_eq!((index, value.to_bits()), (vec![at.0, at.1, at.2], broken.to_bits()));
                heatmap[(4, 4, 4)] = 0.5;
                heatmap[at] = broken;
                let Err(SegError::Value { index, .. }) = threshold.value(heatmap.view().reversed_axes()) else {
                    panic!("{broken} passed");
                };
                assert_eq!(index, [at.2, at.1, at.0]);
            }
        }
    }
}

#[test]
fn large_maps_are_checked_too() {
    let mut heatmap = Array2::from_elem((1100, 1000), 0.5_f32);
    heatmap[(1050, 7)] = f32::NAN;
    let error = Threshold::Otsu.value(heatmap.view()).unwrap_err();
    assert!(matches!(error, SegError::Value { index, .. } if index == [1050, 7]));
}

#[test]
fn thresholds_and_shapes_are_checked() {
    let heatmap = array![0.5_f32];
    for broken in [f32::NAN, -0.1, 1.1, f32::INFINITY] {
        assert!(matches!(
            Threshold::Fixed(broken).apply(heatmap.view()),
            Err(SegError::Threshold { .. })
        ));
    }
    for percentile in [f32::NAN, -0.1, 100.1] {
        assert!(matches!(
            Threshold::Percentile(percentile).value(heatmap.view()),
            Err(SegError::Percentile { .. })
        ));
    }
    for classes in [0, 1, 257] {
        let expected = Err(SegError::Classes { classes });
        assert_eq!(Threshold::MultiOtsu { classes }.value(heatmap.view()), expected);
    }
    let empty = Array2::<f32>::zeros((0, 4));
    assert_eq!(
        Threshold::Fixed(0.5).apply(empty.view()),
        Err(SegError::Empty { shape: vec![0, 4] })
    );
    assert_eq!(
        Threshold::Otsu.value(empty.view()),
        Err(SegError::Empty { shape: vec![0, 4] })
    );
}

#[test]
fn calibration_needs_a_foreground() {
    let (heatmap, nothing) = (array![0.5_f32], array![false]);
    assert_eq!(
        Calibration::new([(heatmap.view(), nothing.view())]),
        Err(SegError::NothingToCalibrateOn { pairs: 1 })
    );
    let two = array![true, true];
    assert!(matches!(
        Calibration::new([(heatmap.view(), two.view())]),
        Err(SegError::Shapes { .. })
    ));
}

#[test]
fn types_cross_threads() {
    fn crosses<T: Send + Sync + Clone + std::fmt::Debug>() {}
    crosses::<Threshold>();
    crosses::<SegError>();
}
