use heatmap_seg::{
    Calibration, CleanUp, Connectivity, DenseCrf, Fusion, GuidedFilter, Hysteresis, Image, LocalThreshold, LocalWindow,
    Pipeline, RandomWalker, Seeds, SegError, Segmentation, Slic, SuperpixelVoting, Threshold, Watershed,
};
use ndarray::{Array2, Array3, ArrayView2, Axis, Ix2, array, s};

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
    crosses::<Calibration>();
    crosses::<CleanUp>();
    crosses::<Connectivity>();
    crosses::<DenseCrf>();
    crosses::<Fusion>();
    crosses::<GuidedFilter>();
    crosses::<Hysteresis>();
    crosses::<Image<'_, Ix2>>();
    crosses::<LocalThreshold>();
    crosses::<LocalWindow>();
    crosses::<Pipeline>();
    crosses::<RandomWalker>();
    crosses::<Seeds>();
    crosses::<SegError>();
    crosses::<Segmentation>();
    crosses::<Slic>();
    crosses::<SuperpixelVoting>();
    crosses::<Threshold>();
    crosses::<Watershed>();
}

type Refinement = Box<dyn Fn(ArrayView2<'_, f32>, Image<'_, Ix2>) -> Result<Array2<f32>, SegError>>;

/// All that looks at an image, as maps.
fn refinements() -> Vec<(&'static str, Refinement)> {
    fn map(mask: Array2<bool>) -> Array2<f32> {
        mask.mapv(|on| f32::from(u8::from(on)))
    }
    let pipeline = Pipeline::default().with_guided_filter(GuidedFilter::default());
    vec![
        (
            "guided filter",
            Box::new(|heatmap, image| GuidedFilter::default().apply(heatmap, image)),
        ),
        (
            "random walker",
            Box::new(|heatmap, image| RandomWalker::default().probabilities(heatmap, image)),
        ),
        (
            "watershed",
            Box::new(|heatmap, image| Watershed::default().apply(heatmap, image).map(map)),
        ),
        (
            "superpixel voting",
            Box::new(|heatmap, image| SuperpixelVoting::default().means(heatmap, image)),
        ),
        (
            "dense CRF",
            Box::new(|heatmap, image| DenseCrf::default().probabilities(heatmap, image)),
        ),
        (
            "pipeline",
            Box::new(move |heatmap, image| pipeline.apply(heatmap, Some(image)).map(map)),
        ),
    ]
}

type Rule = Box<dyn Fn(ArrayView2<'_, f32>) -> Result<Array2<bool>, SegError>>;

/// All that looks at a heatmap alone.
fn rules() -> Vec<Rule> {
    let thresholds = [
        Threshold::Fixed(0.5),
        Threshold::Percentile(95.0),
        Threshold::Otsu,
        Threshold::MultiOtsu { classes: 3 },
        Threshold::Yen,
        Threshold::Li,
        Threshold::Triangle,
        Threshold::MaximumEntropy,
    ];
    let mut rules: Vec<Rule> = Vec::new();
    for threshold in thresholds {
        rules.push(Box::new(move |heatmap| threshold.apply(heatmap)));
        rules.push(Box::new(move |heatmap| {
            Hysteresis::new(Threshold::Fixed(0.2), threshold).apply(heatmap)
        }));
    }
    for window in [LocalWindow::Mean, LocalWindow::Gaussian] {
        rules.push(Box::new(move |heatmap| {
            LocalThreshold::default().with_window(window).apply(heatmap)
        }));
    }
    rules.push(Box::new(|heatmap| Pipeline::default().apply(heatmap, None)));
    rules
}

fn clean_ups() -> Vec<CleanUp> {
    let connectivity = Connectivity::Corners;
    let mut steps = vec![
        CleanUp::ConvexHull,
        CleanUp::Largest { connectivity },
        CleanUp::FillHoles { connectivity },
    ];
    for most in [0, 1, usize::MAX] {
        steps.push(CleanUp::AtLeast {
            pixels: most,
            connectivity,
        });
        steps.push(CleanUp::Open { radius: most });
        steps.push(CleanUp::Close { radius: most });
    }
    steps
}

fn ramp(height: usize, width: usize) -> Array2<f32> {
    Array2::from_shape_fn((height, width), |(y, x)| ((y * 7 + x * 3) % 11) as f32 / 10.0)
}

#[test]
fn broken_maps_are_refused_everywhere() {
    let good = ramp(5, 6);
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.5, -0.5] {
        let mut bad = good.clone();
        bad[(2, 3)] = broken;
        let value = |error| matches!(error, SegError::Value { index, .. } if index == [2, 3]);
        for rule in rules() {
            assert!(value(rule(bad.view()).unwrap_err()));
        }
        for (name, refine) in refinements() {
            assert!(value(refine(bad.view(), good.view().into()).unwrap_err()), "{name}");
            let colours = bad.view().insert_axis(Axis(2));
            let refined = [
                refine(good.view(), bad.view().into()),
                refine(good.view(), Image::Channels(colours)),
            ];
            for refined in refined {
                // An image may have any values that are numbers.
                match refined {
                    Ok(refined) => assert!(broken.is_finite() && refined.iter().all(|v| (0.0..=1.0).contains(v))),
                    Err(error) => assert!(!broken.is_finite() && matches!(error, SegError::Image { .. }), "{name}"),
                }
            }
        }
        let fused = Fusion::Mean.apply(&[good.view(), bad.view()]);
        assert!(value(fused.unwrap_err()));
    }
}

#[test]
fn empty_maps_and_other_shapes_are_refused_everywhere() {
    for (height, width) in [(0, 0), (0, 4), (3, 0)] {
        let empty = ramp(height, width);
        let expected = SegError::Empty {
            shape: vec![height, width],
        };
        for rule in rules() {
            assert_eq!(rule(empty.view()).unwrap_err(), expected);
        }
        for (name, refine) in refinements() {
            assert_eq!(
                refine(empty.view(), empty.view().into()).unwrap_err(),
                expected,
                "{name}"
            );
        }
        assert_eq!(Fusion::Max.apply(&[empty.view()]).unwrap_err(), expected);
        // A mask may be empty.
        let mask = Array2::from_elem((height, width), true);
        for step in clean_ups() {
            assert_eq!(step.apply(mask.view()), Ok(mask.clone()), "{step:?}");
        }
    }
    let heatmap = ramp(5, 6);
    for image in [ramp(6, 5), ramp(5, 7), ramp(0, 6)] {
        for (name, refine) in refinements() {
            let error = refine(heatmap.view(), image.view().into()).unwrap_err();
            assert!(matches!(error, SegError::Shapes { .. }), "{name}");
        }
    }
}

#[test]
fn one_pixel_and_constant_maps_are_no_fault() {
    for (height, width) in [(1, 1), (1, 7), (7, 1), (4, 5)] {
        for heat in [0.0, 0.1, 0.5, 1.0] {
            let heatmap = Array2::from_elem((height, width), heat);
            for rule in rules() {
                rule(heatmap.view()).unwrap();
            }
            for image in [Array2::from_elem((height, width), 0.3), ramp(height, width)] {
                for (name, refine) in refinements() {
                    match refine(heatmap.view(), image.view().into()) {
                        Ok(refined) => assert!(refined.iter().all(|value| (0.0..=1.0).contains(value)), "{name}"),
                        Err(error) => assert!(heat == 0.5 && matches!(error, SegError::NoSeeds { .. }), "{name}"),
                    }
                }
            }
            for on in [false, true] {
                for step in clean_ups() {
                    step.apply(Array2::from_elem((height, width), on).view()).unwrap();
                }
            }
        }
    }
    // A map without axes has one pixel.
    let point = ndarray::arr0(0.9_f32);
    let walked = RandomWalker::default().apply(point.view(), point.view()).unwrap();
    let flooded = Watershed::default().apply(point.view(), point.view()).unwrap();
    assert!(walked[()] && flooded[()]);
    let filtered = GuidedFilter::default().apply(point.view(), point.view()).unwrap();
    assert_eq!(filtered[()], 0.9);
    let voted = SuperpixelVoting::default().means(point.view(), point.view()).unwrap();
    assert_eq!(voted[()], 0.9);
    assert!((DenseCrf::default().probabilities(point.view(), point.view()).unwrap()[()] - 0.9) > 0.0);
    assert!(!LocalThreshold::default().apply(point.view()).unwrap()[()]);
}

#[test]
fn views_of_any_layout_give_the_same() {
    let (wide, picture) = (ramp(20, 26), ramp(26, 20).reversed_axes());
    let (heatmap, image) = (wide.slice(s![..;-2, 1..;3]), picture.slice(s![..;-2, 1..;3]));
    let (owned_heatmap, owned_image) = (heatmap.as_standard_layout(), image.as_standard_layout());
    for rule in rules() {
        assert_eq!(rule(heatmap), rule(owned_heatmap.view()));
    }
    for (name, refine) in refinements() {
        let expected = refine(owned_heatmap.view(), owned_image.view().into());
        assert_eq!(refine(heatmap, image.into()), expected, "{name}");
    }
    let mask = wide.mapv(|value| value > 0.5);
    let mask = mask.slice(s![..;-2, 1..;3]);
    for step in clean_ups() {
        assert_eq!(
            step.apply(mask),
            step.apply(mask.as_standard_layout().view()),
            "{step:?}"
        );
    }
}

/// Settings at the ends of their types, and images at the ends of f32, end in a result or an error.
#[test]
fn extreme_settings_and_images_do_not_panic() {
    let heatmap = ramp(6, 7);
    let tiny = f32::from_bits(1);
    let images = [
        ramp(6, 7),
        ramp(6, 7).mapv(|value| (value - 0.5) * 2.0 * f32::MAX),
        ramp(6, 7).mapv(|value| value * tiny * 8.0),
    ];
    let (mut refined_ones, mut all) = (0, 0);
    let mut valid = |name: &str, refined: Result<Array2<f32>, SegError>| {
        all += 1;
        if let Ok(refined) = refined {
            assert!(refined.iter().all(|value| (0.0..=1.0).contains(value)), "{name}");
            refined_ones += 1;
        }
    };
    for image in &images {
        for (name, refine) in refinements() {
            valid(name, refine(heatmap.view(), image.view().into()));
        }
        for radius in [0, 1, usize::MAX] {
            for epsilon in [f64::from_bits(1), 1e-3, f64::MAX] {
                let filter = GuidedFilter::default().with_radius(radius).with_epsilon(epsilon);
                valid("guided filter", filter.apply(heatmap.view(), image.view()));
            }
        }
        for number in [f64::from_bits(1), 1e-300, 1e300, f64::MAX] {
            let walker = RandomWalker::default().with_beta(number);
            valid("beta", walker.probabilities(heatmap.view(), image.view()));
            let walker = RandomWalker::default().with_spacing(&[number, 1.0]);
            valid("spacing", walker.probabilities(heatmap.view(), image.view()));
            let slic = Slic::default().with_compactness(number).with_segments(5);
            let voting = SuperpixelVoting::default().with_slic(slic);
            valid("compactness", voting.means(heatmap.view(), image.view()));
        }
        let exact = RandomWalker::default().with_tolerance(f64::from_bits(1));
        valid("tolerance", exact.probabilities(heatmap.view(), image.view()));
        let finest = SuperpixelVoting::default().with_slic(Slic::default().with_segments(usize::MAX));
        valid("segments", finest.means(heatmap.view(), image.view()));
        for number in [tiny, 1e-30, 1.0, 1e6, 1e30, f32::MAX] {
            for crf in [
                DenseCrf::default().with_gaussian(number, 3.0),
                DenseCrf::default().with_gaussian(3.0, number),
                DenseCrf::default().with_bilateral(number, 0.1, 3.0),
                DenseCrf::default().with_bilateral(9.0, number, 3.0),
                DenseCrf::default().with_bilateral(9.0, 0.1, number),
                DenseCrf::default().with_clip(number),
            ] {
                valid("dense CRF", crf.probabilities(heatmap.view(), image.view()));
            }
        }
    }
    assert!(refined_ones > all * 2 / 3, "{refined_ones} of {all}");
    for side in [1, 65_535, 65_537, usize::MAX] {
        let local = LocalThreshold::default().with_side(side);
        for window in [LocalWindow::Mean, LocalWindow::Gaussian] {
            assert_eq!(local.with_window(window).apply(heatmap.view()).is_ok(), side <= 65_535);
        }
    }
}

/// Neighbours of more axes than eight are too many to look at.
#[test]
fn many_axes_are_named() {
    for axes in [8, 9, 41] {
        let heatmap = ndarray::ArrayD::from_elem(vec![1; axes], 0.9_f32);
        let mask = heatmap.mapv(|value| value > 0.5);
        let error = SegError::Axes {
            found: axes,
            expected: 8,
        };
        for connectivity in [Connectivity::Faces, Connectivity::Edges, Connectivity::Corners] {
            let hysteresis = Hysteresis::new(Threshold::Fixed(0.2), Threshold::Fixed(0.5));
            let mut masks = vec![
                hysteresis.with_connectivity(connectivity).apply(heatmap.view()),
                CleanUp::Largest { connectivity }.apply(mask.view()),
                CleanUp::FillHoles { connectivity }.apply(mask.view()),
                CleanUp::AtLeast {
                    pixels: 1,
                    connectivity,
                }
                .apply(mask.view()),
            ];
            if axes != 8 {
                let watershed = Watershed::default().with_connectivity(connectivity);
                masks.push(watershed.apply(heatmap.view(), heatmap.view()));
            }
            for found in masks {
                let expected = if axes <= 8 {
                    Ok(mask.clone())
                } else {
                    Err(error.clone())
                };
                assert_eq!(found, expected);
            }
        }
    }
}
