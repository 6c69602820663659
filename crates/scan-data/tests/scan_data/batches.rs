use ndarray::{Array2, ArrayView2};
use scan_data::{BatchSpec, DataError, Dataset, Phantoms, ReadOptions, Scan, Split, batch, resize, resize_mask};
use serde_json::Value;

/// f32 coordinates of up to 20 pixels and weights summed in another order.
const TOLERANCE: f32 = 2e-6;

fn size(case: &Value, key: &str) -> (usize, usize) {
    let side = |i: usize| case[key][i].as_u64().unwrap() as usize;
    (side(0), side(1))
}

fn image(case: &Value, key: &str, shape: &str) -> Array2<f32> {
    let values = case[key]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect();
    Array2::from_shape_vec(size(case, shape), values).unwrap()
}

fn difference(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> f32 {
    assert_eq!(a.dim(), b.dim());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// `goldens/resize.json` is written by `goldens/make.py`, which names torch's and Pillow's versions.
#[test]
fn resizing_equals_torch_and_pillow() {
    let goldens: Value = serde_json::from_str(include_str!("../goldens/resize.json")).unwrap();
    for case in goldens["cases"].as_array().unwrap() {
        let (source, after) = (image(case, "image", "before"), size(case, "after"));
        let resized = resize(source.view(), after);
        for reference in ["torch", "pillow"] {
            let error = difference(resized.view(), image(case, reference, "after").view());
            assert!(
                error <= TOLERANCE,
                "{:?} to {after:?} differs from {reference} by {error}",
                source.dim()
            );
        }
        let mask = resize_mask(source.mapv(|v| v > 0.5).view(), after);
        assert_eq!(
            mask,
            image(case, "mask", "after").mapv(|v| v != 0.0),
            "{:?} to {after:?}",
            source.dim()
        );
    }
}

#[test]
fn resizing_takes_any_view_and_no_pixels() {
    let square = Array2::from_shape_fn((6, 8), |(y, x)| (y * 8 + x) as f32 / 48.0);
    assert_eq!(resize(square.view(), (6, 8)), square);
    let copied = square.t().as_standard_layout().to_owned();
    assert_eq!(resize(square.t(), (4, 3)), resize(copied.view(), (4, 3)));
    assert_eq!(
        resize(square.slice(ndarray::s![..0, ..]), (2, 3)),
        Array2::<f32>::zeros((2, 3))
    );
    assert_eq!(resize(square.view(), (0, 3)).dim(), (0, 3));
    assert_eq!(
        resize_mask(Array2::from_elem((0, 4), true).view(), (2, 2)),
        Array2::from_elem((2, 2), false)
    );
    assert_eq!(
        resize_mask(Array2::from_elem((3, 4), true).view(), (0, 2)).dim(),
        (0, 2)
    );
}

#[test]
fn a_batch_is_its_images_one_by_one() {
    let scans = Phantoms::default()
        .with_count(6)
        .with_size(40)
        .generate()
        .unwrap()
        .scans;
    let spec = BatchSpec::default().with_size(30, 50);
    let indices = [4, 0, 4, 5];
    let images = batch(&scans, &indices, &spec).unwrap();
    assert_eq!(images.dim(), (4, 3, 30, 50));
    for (image, &index) in images.outer_iter().zip(&indices) {
        let grey = resize(scans[index].image.view(), (30, 50));
        for (channel, (mean, std)) in image.outer_iter().zip([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]) {
            assert_eq!(channel, grey.mapv(|v| (v - mean) / std));
        }
        let alone = batch(&scans, &[index], &spec).unwrap();
        assert_eq!(alone.index_axis(ndarray::Axis(0), 0), image);
    }
    assert_eq!(batch(&scans, &[], &spec).unwrap().dim(), (0, 3, 30, 50));
    let plain = batch(&scans, &[1], &BatchSpec::new(40, 40, 1)).unwrap();
    assert_eq!(plain.slice(ndarray::s![0, 0, .., ..]), scans[1].image);
}

#[test]
fn bad_inputs_are_errors() {
    let scans = Phantoms::default()
        .with_count(2)
        .with_size(32)
        .generate()
        .unwrap()
        .scans;
    let error = |indices: &[usize], spec: BatchSpec| batch(&scans, indices, &spec).unwrap_err();
    let sound = BatchSpec::new(8, 8, 1);
    assert!(matches!(
        error(&[0, 2], sound.clone()),
        DataError::IndexOutOfRange { index: 2, len: 2 }
    ));
    assert!(matches!(
        error(&[0], BatchSpec::new(0, 8, 1)),
        DataError::InputSize { height: 0, width: 8 }
    ));
    assert!(matches!(
        error(&[0], BatchSpec::new(8, 8, 2)),
        DataError::InputChannels { channels: 2 }
    ));
    let statistics = sound.clone().with_normalisation(vec![0.5; 3], vec![1.0]);
    assert!(matches!(
        error(&[0], statistics),
        DataError::InputStatistics {
            channels: 1,
            mean: 3,
            std: 1
        }
    ));
    for (mean, std) in [(0.0, 0.0), (0.0, -1.0), (0.0, f32::NAN), (f32::INFINITY, 1.0)] {
        let spec = sound.clone().with_normalisation(vec![mean], vec![std]);
        assert!(matches!(
            error(&[0], spec),
            DataError::InputNormalisation { channel: 0, .. }
        ));
    }
}

#[cfg(feature = "torch")]
#[test]
fn the_tensor_holds_the_batch() {
    let scans = Phantoms::default()
        .with_count(3)
        .with_size(32)
        .generate()
        .unwrap()
        .scans;
    let spec = BatchSpec::default().with_size(16, 20);
    let tensor = scan_data::batch_tensor(&scans, &[2, 1], &spec).unwrap();
    assert_eq!((tensor.size(), tensor.kind()), (vec![2, 3, 16, 20], tch::Kind::Float));
    let values = Vec::<f32>::try_from(tensor.f_flatten(0, -1).unwrap()).unwrap();
    assert_eq!(
        values,
        batch(&scans, &[2, 1], &spec).unwrap().into_raw_vec_and_offset().0
    );
    assert_eq!(
        scan_data::batch_tensor(&scans, &[], &spec).unwrap().size(),
        [0, 3, 16, 20]
    );
}

#[test]
fn types_may_cross_threads() {
    fn both<T: Send + Sync>() {}
    both::<Scan>();
    both::<Dataset>();
    both::<DataError>();
    both::<Split>();
    both::<Phantoms>();
    both::<BatchSpec>();
    both::<ReadOptions>();
}
