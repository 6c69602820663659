use heatmap_seg::{
    CleanUp, Connectivity, DenseCrf, Fusion, GuidedFilter, Hysteresis, Image, LocalThreshold, Pipeline, RandomWalker,
    SegError, Segmentation, SuperpixelVoting, Threshold, Watershed,
};
use ndarray::{Array2, array};

fn heatmap() -> Array2<f32> {
    Array2::from_shape_fn((21, 24), |(y, x)| {
        let far = (y as f32 - 9.0).powi(2) + (x as f32 - 13.0).powi(2);
        (-far / 40.0).exp() * 0.9 + ((y * 7 + x * 31).pow(2) % 101) as f32 / 1010.0
    })
}

fn image() -> Array2<f32> {
    Array2::from_shape_fn((21, 24), |(y, x)| {
        let inside = y.abs_diff(10) + x.abs_diff(12) < 7;
        f32::from(u8::from(inside)) * 0.5 + ((y * 13 + x * 5).pow(2) % 103) as f32 / 1030.0
    })
}

#[test]
fn steps_apply_in_the_documented_order() {
    let (heatmap, image) = (heatmap(), image());
    let filter = GuidedFilter::default().with_radius(3);
    let walker = RandomWalker::default();
    let (fill, open) = (
        CleanUp::FillHoles {
            connectivity: Connectivity::Faces,
        },
        CleanUp::Open { radius: 2 },
    );
    let pipeline = Pipeline::default()
        .with_clean_up(open)
        .with_clean_up(fill)
        .with_segmentation(Segmentation::RandomWalker(walker.clone()))
        .with_guided_filter(filter);
    let guided = filter.apply(heatmap.view(), image.view()).unwrap();
    let walked = walker.apply(guided.view(), image.view()).unwrap();
    let opened = open.apply(walked.view()).unwrap();
    let expected = fill.apply(opened.view()).unwrap();
    let mask = pipeline.apply(heatmap.view(), Some(image.view().into())).unwrap();
    assert_eq!(mask, expected);
    assert!(mask.iter().any(|&on| on) && mask.iter().any(|&on| !on));
    assert!(pipeline.needs_image());
    assert_eq!(pipeline.apply(heatmap.view(), None), Err(SegError::NoImage));
}

#[test]
fn every_segmentation_is_its_own_rule_and_goes_through_json() {
    let (heatmap, image) = (heatmap(), image());
    let (hysteresis, local) = (
        Hysteresis::new(Threshold::Fixed(0.3), Threshold::Percentile(95.0)),
        LocalThreshold::default().with_side(9),
    );
    let masks = [
        (
            Segmentation::Threshold(Threshold::Yen),
            Threshold::Yen.apply(heatmap.view()),
        ),
        (Segmentation::Local(local), local.apply(heatmap.view())),
        (Segmentation::Hysteresis(hysteresis), hysteresis.apply(heatmap.view())),
        (
            Segmentation::RandomWalker(RandomWalker::default()),
            RandomWalker::default().apply(heatmap.view(), image.view()),
        ),
        (
            Segmentation::Watershed(Watershed::default()),
            Watershed::default().apply(heatmap.view(), image.view()),
        ),
        (
            Segmentation::SuperpixelVoting(SuperpixelVoting::default()),
            SuperpixelVoting::default().apply(heatmap.view(), image.view()),
        ),
        (
            Segmentation::DenseCrf(DenseCrf::default()),
            DenseCrf::default().apply(heatmap.view(), image.view()),
        ),
    ];
    for (segmentation, expected) in masks {
        let pipeline = Pipeline::default().with_segmentation(segmentation);
        let json = serde_json::to_string(&pipeline).unwrap();
        let read: Pipeline = serde_json::from_str(&json).unwrap();
        assert_eq!(read, pipeline);
        let image = pipeline.needs_image().then(|| image.view());
        assert_eq!(read.apply(heatmap.view(), image.map(Image::from)), expected, "{json}");
    }
    assert!(serde_json::from_str::<Pipeline>(r#"{"clean_ups":[]}"#).is_err());
    let empty: Pipeline = serde_json::from_str("{}").unwrap();
    assert_eq!(empty, Pipeline::default());
}

#[test]
fn fusions_are_their_formulas() {
    let (first, second) = (heatmap(), image());
    let maps = [first.view(), second.view(), first.view()];
    let plain = |rule: &dyn Fn(f32, f32) -> f32| Array2::from_shape_fn(first.dim(), |at| rule(first[at], second[at]));
    for (fusion, expected) in [
        (Fusion::Mean, plain(&|a, b| (2.0 * a + b) / 3.0)),
        (Fusion::Max, plain(&|a, b| a.max(b))),
        (Fusion::Product, plain(&|a, b| a * b * a)),
        (
            Fusion::Weighted(vec![1.0, 0.5, 0.0]),
            plain(&|a, b| (a + 0.5 * b) / 1.5),
        ),
    ] {
        let fused = fusion.apply(&maps).unwrap();
        let json = serde_json::to_string(&fusion).unwrap();
        assert_eq!(serde_json::from_str::<Fusion>(&json).unwrap(), fusion);
        // The reference rounds in f32.
        approx::assert_abs_diff_eq!(fused.as_slice().unwrap(), expected.as_slice().unwrap(), epsilon = 2e-7);
    }
    let ones = Array2::from_elem((2, 2), 1.0_f32);
    let thirds = Fusion::Weighted(vec![0.1; 7]).apply(&[ones.view(); 7]).unwrap();
    assert!(thirds.iter().all(|&value| value <= 1.0));
}

#[test]
fn fusions_name_their_faults() {
    let one = array![0.5_f32];
    let two = array![0.5_f32, 0.1];
    assert_eq!(Fusion::Max.apply::<ndarray::Ix1>(&[]), Err(SegError::NoHeatmaps));
    assert!(matches!(
        Fusion::Max.apply(&[one.view(), two.view()]),
        Err(SegError::Shapes { .. })
    ));
    for weights in [vec![], vec![0.0], vec![-1.0], vec![f64::NAN], vec![1.0, 1.0]] {
        assert!(matches!(
            Fusion::Weighted(weights).apply(&[one.view()]),
            Err(SegError::Weights { .. })
        ));
    }
}

#[test]
fn the_readme_holds_a_pipeline() {
    let readme = include_str!("../../README.md");
    let json = readme.split("```json").nth(1).and_then(|rest| rest.split("```").next());
    let pipeline: Pipeline = serde_json::from_str(json.unwrap()).unwrap();
    let mask = pipeline.apply(heatmap().view(), Some(image().view().into())).unwrap();
    assert!(mask[(10, 12)] && !mask[(0, 0)]);
}
