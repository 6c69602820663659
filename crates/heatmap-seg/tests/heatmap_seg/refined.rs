//! `goldens/refined.json` holds heatmaps refined by scikit-image and by He's filter, window by window. Numbers
//! are f64 there and rounded to f32 here; the walks are solved to 10⁻⁹, theirs directly.
//! (With weights near the floor of 10⁻¹⁰, as a far greater β gives, no solver in f64 has digits left to compare.)

use approx::assert_abs_diff_eq;
use heatmap_seg::{Connectivity, GuidedFilter, RandomWalker, Seeds, SegError, Threshold, Watershed};
use ndarray::{ArrayD, Dimension as _, array};
use serde::Deserialize;

use crate::golden::{Scan, cases, off};

#[derive(Deserialize)]
struct Golden {
    #[serde(flatten)]
    scan: Scan,
    guided: [Vec<f64>; 2],
    walker: Option<[Vec<f64>; 2]>,
    watershed: [String; 2],
}

fn goldens() -> Vec<Golden> {
    let goldens = cases(include_str!("../goldens/refined.json"));
    assert_eq!(goldens.len(), 4);
    goldens
}

fn assert_close(found: &ArrayD<f32>, expected: &[f64], tolerance: f64, name: &str) {
    let (_, most) = off(found, expected);
    assert!(most <= tolerance, "{name}: {most}");
}

#[test]
fn guided_filter_is_that_of_the_paper() {
    for golden in goldens() {
        let (heatmap, image) = (golden.scan.heatmap(), golden.scan.image());
        for ((radius, epsilon), expected) in [(2, 1e-2), (4, 1e-4)].into_iter().zip(&golden.guided) {
            let filter = GuidedFilter::default().with_radius(radius).with_epsilon(epsilon);
            let guided = filter.apply(heatmap.view(), image.view()).unwrap();
            assert_close(&guided, expected, 2e-7, &golden.scan.name);
            let turned = filter.apply(heatmap.t(), image.t()).unwrap();
            assert_close(&turned.t().to_owned(), expected, 2e-7, &golden.scan.name);
        }
    }
}

#[test]
fn random_walker_is_that_of_scikit_image() {
    let mut compared = 0;
    for golden in goldens() {
        let (heatmap, image) = (golden.scan.heatmap(), golden.scan.image());
        let Some(expected) = &golden.walker else { continue };
        for (beta, expected) in [20.0, 130.0].into_iter().zip(expected) {
            let walker = RandomWalker::default().with_beta(beta);
            let exact = walker.clone().with_tolerance(1e-9);
            let probabilities = exact.probabilities(heatmap.view(), image.view()).unwrap();
            assert_close(&probabilities, expected, 1e-6, &golden.scan.name);
            let turned = exact.probabilities(heatmap.t(), image.t()).unwrap();
            assert_close(&turned.t().to_owned(), expected, 1e-6, &golden.scan.name);
            // The default stops earlier; no pixel's probability is off by more than a hundredth.
            let probabilities = walker.probabilities(heatmap.view(), image.view()).unwrap();
            assert_close(&probabilities, expected, 1e-2, &golden.scan.name);
            let mask = walker.apply(heatmap.view(), image.view()).unwrap();
            assert_eq!(mask, probabilities.mapv(|probability| probability > 0.5));
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
}

#[test]
fn watershed_is_that_of_scikit_image() {
    for golden in goldens() {
        let (heatmap, image) = (golden.scan.heatmap(), golden.scan.image());
        for (connectivity, bits) in [Connectivity::Faces, Connectivity::Corners]
            .into_iter()
            .zip(&golden.watershed)
        {
            let watershed = Watershed::default().with_connectivity(connectivity);
            let mask = watershed.apply(heatmap.view(), image.view()).unwrap();
            let found: String = mask.iter().map(|&on| if on { '1' } else { '0' }).collect();
            assert_eq!(&found, bits, "{} {connectivity:?}", golden.scan.name);
        }
    }
}

#[test]
fn seeds_of_one_kind_take_all() {
    let image = array![[0.1_f32, 0.5], [0.7, 0.2]];
    for (heat, expected) in [(0.1_f32, false), (0.9, true)] {
        let mut heatmap = array![[0.5_f32, 0.5], [0.5, 0.5]];
        heatmap[(0, 1)] = heat;
        let walked = RandomWalker::default().apply(heatmap.view(), image.view()).unwrap();
        let flooded = Watershed::default().apply(heatmap.view(), image.view()).unwrap();
        assert!(walked.iter().chain(&flooded).all(|&on| on == expected));
    }
    let constant = array![[0.5_f32, 0.5], [0.5, 0.5]];
    assert!(matches!(
        Watershed::default().apply(constant.view(), image.view()),
        Err(SegError::NoSeeds { .. })
    ));
    let otsu = RandomWalker::default().with_seeds(Seeds::new(Threshold::Otsu, Threshold::Otsu));
    let mask = otsu.apply(constant.view(), image.view()).unwrap();
    assert!(mask.iter().all(|&on| !on));
}

/// In a constant image a walk along a row is a line between its seeds.
#[test]
fn walks_in_a_constant_image_are_linear() {
    let heatmap = array![0.0_f32, 0.5, 0.5, 0.5, 1.0];
    let image = array![0.3_f32, 0.3, 0.3, 0.3, 0.3];
    let walker = RandomWalker::default().with_tolerance(1e-12);
    let probabilities = walker.probabilities(heatmap.view(), image.view()).unwrap();
    assert_abs_diff_eq!(
        probabilities.to_vec()[..],
        [0.0_f32, 0.25, 0.5, 0.75, 1.0][..],
        epsilon = 1e-6
    );
}

/// Far more open pixels than the goldens have, with edges that walks hardly cross.
#[test]
fn the_probability_of_an_open_pixel_is_the_mean_of_those_around_it() {
    for (shape, beta) in [
        (vec![150, 160], 130.0),
        (vec![130, 140], 3000.0),
        (vec![23, 29, 31], 400.0),
    ] {
        let speckle = |at: usize| ((at * 8191 + 7).wrapping_mul(2_654_435_761) >> 7) % 1009;
        let image = ArrayD::from_shape_fn(shape.clone(), |index| {
            let at = index.slice().iter().fold(0, |at, &step| at * 1000 + step);
            speckle(at) as f32 / 1009.0
        });
        let heatmap = ArrayD::from_shape_fn(shape.clone(), |index| {
            let far = |axis: usize| (index[axis] as f32 / shape[axis] as f32 - 0.45).powi(2);
            (-12.0 * (0..shape.len()).map(far).sum::<f32>()).exp()
        });
        let seeds = Seeds::new(Threshold::Fixed(0.02), Threshold::Fixed(0.95));
        let walker = RandomWalker::default()
            .with_seeds(seeds)
            .with_beta(beta)
            .with_tolerance(1e-8);
        let walked = walker.probabilities(heatmap.view(), image.view()).unwrap();
        let deviation = image.mapv(f64::from).std(0.0);
        let mut open = 0;
        for (index, &probability) in walked.indexed_iter() {
            let heat = heatmap[&index];
            if heat <= 0.02 || heat > 0.95 {
                assert_eq!(probability, if heat > 0.95 { 1.0 } else { 0.0 });
                continue;
            }
            open += 1;
            let (mut sum, mut weights) = (0.0, 0.0);
            for axis in 0..shape.len() {
                for step in [-1, 1] {
                    let mut other = index.clone();
                    other[axis] = other[axis].wrapping_add_signed(step);
                    let Some(&there) = image.get(other.clone()) else {
                        continue;
                    };
                    let difference = f64::from(image[&index]) - f64::from(there);
                    let weight = (-beta * difference * difference / (10.0 * deviation)).exp() + 1e-10;
                    sum += weight * f64::from(walked[&other]);
                    weights += weight;
                }
            }
            assert_abs_diff_eq!(sum / weights, f64::from(probability), epsilon = 1e-6);
        }
        assert!(open > 14_000, "{open}");
        // Parts are cut by pixels, not by threads.
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = alone.install(|| walker.probabilities(heatmap.view(), image.view()).unwrap());
        assert_eq!(again, walked);
    }
}

#[test]
fn faults_are_named() {
    let heatmap = array![0.1_f32, 0.9];
    let image = array![0.1_f32, 0.9];
    let broken = array![0.1_f32, f32::NAN];
    let long = array![0.1_f32, 0.9, 0.4];
    let filter = GuidedFilter::default();
    assert!(matches!(
        filter.with_epsilon(0.0).apply(heatmap.view(), image.view()),
        Err(SegError::Epsilon { .. })
    ));
    assert!(matches!(
        filter.apply(heatmap.view(), broken.view()),
        Err(SegError::Image { .. })
    ));
    assert!(matches!(
        filter.apply(heatmap.view(), long.view()),
        Err(SegError::Shapes { .. })
    ));
    assert!(matches!(
        filter.apply(broken.view(), image.view()),
        Err(SegError::Value { .. })
    ));
    let walker = RandomWalker::default();
    assert!(matches!(
        walker.clone().with_beta(-1.0).apply(heatmap.view(), image.view()),
        Err(SegError::Beta { .. })
    ));
    assert!(matches!(
        walker.with_tolerance(1.0).apply(heatmap.view(), image.view()),
        Err(SegError::Tolerance { .. })
    ));
}
