use ndarray::{Array2, array};
use seg_metrics::*;

#[test]
fn shapes_and_lengths_are_named() {
    let (wide, tall) = (everything((2, 3)), everything((3, 2)));
    assert_eq!(
        Confusion::from_masks(wide.view(), tall.view()),
        Err(MetricError::Shape {
            prediction: vec![2, 3],
            truth: vec![3, 2]
        })
    );
    assert!(matches!(
        Confusion::from_labels(&[true], &[]),
        Err(MetricError::Length { first_len: 1, .. })
    ));
    assert!(matches!(
        roc_auc(&[0.1], &[]),
        Err(MetricError::Length { second_len: 0, .. })
    ));
    assert!(matches!(
        Bootstrap::default().mean_by_group(&[0.1], &[1, 2]),
        Err(MetricError::Length { .. })
    ));
    let heatmap = Array2::from_elem((2, 3), 0.5_f32);
    assert_eq!(
        DiceCurve::new(
            &[(heatmap.view(), wide.view()), (heatmap.view(), tall.view())],
            &[0.5],
            EmptyMasks::default()
        ),
        Err(MetricError::PairShape {
            pair: 1,
            heatmap: vec![2, 3],
            mask: vec![3, 2]
        })
    );
}

#[test]
fn broken_values_are_named() {
    let mask = everything((2, 2));
    let good = array![[0.0_f32, 1.0], [0.5, -0.0]];
    for broken in [f32::NAN, f32::INFINITY, -0.1, 1.1] {
        let mut heatmap = good.clone();
        heatmap[(1, 0)] = broken;
        let pairs = [(good.view(), mask.view()), (heatmap.view(), mask.view())];
        let error = DiceCurve::new(&pairs, &[0.0, 0.5, 1.0], EmptyMasks::default()).unwrap_err();
        assert!(
            matches!(error, MetricError::HeatmapValue { pair: 1, ref index, .. } if *index == [1, 0]),
            "{error}"
        );
        assert!(matches!(
            DiceCurve::new(&pairs[..1], &[0.0, broken], EmptyMasks::default()),
            Err(MetricError::Threshold { index: 1, .. })
        ));
    }
    for broken in [f64::NAN, f64::NEG_INFINITY] {
        assert!(matches!(
            roc_auc(&[0.1, broken], &[true, false]),
            Err(MetricError::ScoreNotFinite { index: 1, .. })
        ));
        assert!(matches!(
            centred_disk((4, 4), broken),
            Err(MetricError::Radius { index: 0, .. })
        ));
    }
    assert!(centred_disk((4, 4), -0.1).is_err());
}

#[test]
fn lists_are_checked() {
    let (heatmap, mask) = (array![[0.5_f32]], everything((1, 1)));
    let pairs = [(heatmap.view(), mask.view())];
    let policy = EmptyMasks::default();
    assert_eq!(
        DiceCurve::new(&pairs[..0], &[0.5], policy),
        Err(MetricError::Missing { what: "pairs" })
    );
    assert_eq!(
        DiceCurve::new(&pairs, &[], policy),
        Err(MetricError::Missing { what: "thresholds" })
    );
    for thresholds in [[0.1, 0.6, 0.5], [0.1, 0.6, 0.6]] {
        let unsorted = MetricError::Unsorted {
            what: "thresholds",
            index: 2,
        };
        assert_eq!(DiceCurve::new(&pairs, &thresholds, policy), Err(unsorted));
    }
    assert_eq!(
        best_centred_disk(&[], &[0.1], policy),
        Err(MetricError::Missing { what: "masks" })
    );
    assert_eq!(
        best_centred_disk(&[mask.view()], &[], policy),
        Err(MetricError::Missing { what: "radii" })
    );
    let unsorted = MetricError::Unsorted {
        what: "radii",
        index: 1,
    };
    assert_eq!(best_centred_disk(&[mask.view()], &[0.2, 0.2], policy), Err(unsorted));
    let bootstrap = Bootstrap::default();
    assert_eq!(bootstrap.mean(&[]), Err(MetricError::Missing { what: "values" }));
    assert_eq!(
        bootstrap.statistic(0, |_| Some(1.0)),
        Err(MetricError::Missing { what: "cases" })
    );
    assert_eq!(
        bootstrap.mean(&[f64::NAN; 3]),
        Err(MetricError::NothingCounted { skipped: 3 })
    );
    for level in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(matches!(
            bootstrap.with_level(level).mean(&[0.1]),
            Err(MetricError::Level { .. })
        ));
    }
    assert!(matches!(
        bootstrap.with_resamples(0).mean(&[0.1]),
        Err(MetricError::Resamples { .. })
    ));
}

#[test]
fn an_empty_mask_that_is_an_error_is_named() {
    let (heatmap, full) = (array![[0.5_f32, 0.9]], everything((1, 2)));
    let none = array![[false, false]];
    let pairs = [(heatmap.view(), full.view()), (heatmap.view(), none.view())];
    let expected = MetricError::EmptyMaskOfPair {
        pair: 1,
        empty: EmptySide::Truth,
    };
    assert_eq!(
        DiceCurve::new(&pairs, &[0.1], EmptyMasks::error()),
        Err(expected.clone())
    );
    assert_eq!(
        best_centred_disk(&[full.view(), none.view()], &[0.6], EmptyMasks::error()),
        Err(expected)
    );
    assert_eq!(
        best_centred_disk(&[none.view()], &[0.6], EmptyMasks::monai()),
        Err(MetricError::NothingCounted { skipped: 1 })
    );
}

#[test]
fn absent_classes_are_named() {
    let score = "area under the ROC curve";
    assert_eq!(
        roc_auc(&[0.1, 0.2], &[true, true]),
        Err(MetricError::ClassAbsent { score, class: false })
    );
    assert_eq!(roc_auc(&[], &[]), Err(MetricError::ClassAbsent { score, class: true }));
    let healthy = Confusion::from_labels(&[false, true], &[false, false]).unwrap();
    let score = "balanced accuracy";
    assert_eq!(
        healthy.balanced_accuracy(),
        Err(MetricError::ClassAbsent { score, class: true })
    );
    let ill = Confusion::from_labels(&[false, true], &[true, true]).unwrap();
    assert_eq!(
        ill.balanced_accuracy(),
        Err(MetricError::ClassAbsent { score, class: false })
    );
    assert!(matches!(
        ill.specificity(),
        Err(MetricError::ClassAbsent {
            score: "specificity",
            class: false
        })
    ));
    assert!(matches!(
        Confusion::default().accuracy(),
        Err(MetricError::Missing { .. })
    ));
}

#[test]
fn types_cross_threads() {
    fn crosses<T: Send + Sync + Clone + std::fmt::Debug>() {}
    crosses::<Alternative>();
    crosses::<Calibration>();
    crosses::<CalibrationBin>();
    crosses::<BestDice>();
    crosses::<Candidate>();
    crosses::<Detection>();
    crosses::<Direction>();
    crosses::<Froc>();
    crosses::<FrocPoint>();
    crosses::<HausdorffPercentile>();
    crosses::<LabelConfusion>();
    crosses::<LesionMatch>();
    crosses::<Lesions>();
    crosses::<PairedTest>();
    crosses::<PanopticQuality>();
    crosses::<PermutationTest>();
    crosses::<SoftDenominator>();
    crosses::<Summary>();
    crosses::<SurfaceDice>();
    crosses::<VariationOfInformation>();
    crosses::<Bootstrap>();
    crosses::<CentredDisk>();
    crosses::<Components<ndarray::Ix3>>();
    crosses::<Confusion>();
    crosses::<Connectivity>();
    crosses::<DiceCurve>();
    crosses::<DicePoint>();
    crosses::<EmptyMasks>();
    crosses::<EmptyScore>();
    crosses::<EmptySide>();
    crosses::<Interval>();
    crosses::<MetricError>();
    crosses::<SurfaceDistances>();
}

#[test]
fn broken_settings_of_measures_are_named() {
    let confusion = Confusion::from_labels(&[true, false], &[true, true]).unwrap();
    let empty = EmptyMasks::default();
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            confusion.f_beta(weight, empty),
            Err(MetricError::Weight { name: "beta", .. })
        ));
        assert!(matches!(
            confusion.tversky(weight, 1.0, empty),
            Err(MetricError::Weight { name: "alpha", .. })
        ));
    }
    assert!(matches!(
        confusion.matthews(),
        Err(MetricError::ClassAbsent { class: false, .. })
    ));
    let one = Confusion::from_labels(&[true], &[true]).unwrap();
    assert!(matches!(
        one.kappa(),
        Err(MetricError::ClassAbsent { class: false, .. })
    ));
    assert!(matches!(
        LabelConfusion::from(one).matthews(),
        Err(MetricError::OneClass { .. })
    ));
    assert!(matches!(
        LabelConfusion::new(2).unwrap().accuracy(),
        Err(MetricError::Missing { .. })
    ));
    let mut two = LabelConfusion::new(2).unwrap();
    assert_eq!(
        two.merge(&LabelConfusion::new(3).unwrap()),
        Err(MetricError::Classes { first: 2, second: 3 })
    );
    let labels = ndarray::array![[0_i32, 1], [1, -7]];
    let before = two.clone();
    let error = two.add(labels.view(), labels.mapv(i32::abs).view()).unwrap_err();
    assert!(matches!(error, MetricError::Label { side: "prediction", ref index, value: -7, .. } if *index == [1, 1]));
    assert_eq!(two, before);

    let (heat, mask) = (ndarray::array![0.0_f32, 0.0], ndarray::array![true, false]);
    assert_eq!(energy_in_mask(heat.view(), mask.view()), Err(MetricError::NoHeat));
    let broken = ndarray::array![0.5_f32, 1.5];
    for error in [
        energy_in_mask(broken.view(), mask.view()).unwrap_err(),
        relevance_rank(broken.view(), mask.view()).unwrap_err(),
        soft_dice(broken.view(), mask.view(), SoftDenominator::Sums, empty).unwrap_err(),
        Calibration::new(broken.view(), mask.view(), 3).unwrap_err(),
        best_dice(broken.view(), mask.view(), empty).unwrap_err(),
        pointing_game(broken.view(), mask.view(), 0.0, &[1.0]).unwrap_err(),
    ] {
        assert!(
            matches!(error, MetricError::HeatmapValue { ref index, .. } if *index == [1]),
            "{error}"
        );
    }
    assert!(matches!(
        wilcoxon(&[0.1, 0.2], &[0.1, 0.2], Alternative::TwoSided),
        Err(MetricError::NothingCounted { skipped: 2 })
    ));
    assert!(matches!(
        PermutationTest::default().run(&[0.1], &[f64::INFINITY], Alternative::Less),
        Err(MetricError::ScoreNotFinite { index: 0, .. })
    ));
    let none = Lesions::new(mask.view(), mask.view(), Connectivity::Faces).unwrap();
    assert!(matches!(
        none.detection(LesionMatch::Iou(1.5)),
        Err(MetricError::Share { .. })
    ));
    assert!(matches!(
        none.by_size(LesionMatch::AnyOverlap, &[3, 3]),
        Err(MetricError::Unsorted { index: 1, .. })
    ));
    let froc = Froc::new(&[(1, vec![])]).unwrap();
    assert_eq!(froc.sensitivity_at(2.0), Ok(0.0));
    assert!(matches!(froc.score(&[1.0, f64::NAN]), Err(MetricError::Weight { .. })));
    assert!(matches!(Froc::new(&[]), Err(MetricError::Missing { .. })));
    assert!(matches!(
        Froc::new(&[(0, vec![])]),
        Err(MetricError::ClassAbsent { .. })
    ));
}
