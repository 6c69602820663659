use gradcam_core::kernel::KpcaKernel;
use gradcam_core::{CamError, Content, Parallelism, kernel};
use ndarray::{Array, Array2, Array3, Array4, ArrayD, ArrayView, Axis, IxDyn, Slice, array};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use Parallelism::{Rayon, Serial};

type Method = fn(ArrayView<'_, f32, IxDyn>, ArrayView<'_, f32, IxDyn>, Parallelism) -> Result<ArrayD<f32>, CamError>;

const METHODS: [Method; 8] = [
    kernel::grad_cam,
    kernel::grad_cam_plus_plus,
    kernel::x_grad_cam,
    kernel::hires_cam,
    kernel::element_wise_grad_cam,
    kernel::layer_cam,
    kernel::eigen_grad_cam,
    kernel::seg_eigen_cam,
];

/// What takes one array, maps among them.
const OF_ONE_ARRAY: [Method; 7] = [
    |a, _, p| kernel::eigen_cam(a, p),
    |a, _, p| kernel::principal_component(a, p),
    |a, _, p| kernel::kpca_cam(a, KpcaKernel::default(), p),
    |a, _, p| kernel::fem(a, 1.0, p),
    |a, _, p| {
        let first = |(n, c)| *a.index_axis(Axis(0), n).index_axis(Axis(0), c).first().unwrap();
        let weights = Array2::from_shape_fn((a.shape()[0], a.shape()[1]), first);
        kernel::weighted_cam(a, weights.view(), p)
    },
    |a, _, p| {
        let size: Vec<usize> = a.shape()[1..].iter().map(|extent| 2 * extent + 1).collect();
        kernel::upsample(a, &size, p)
    },
    |a, _, p| Ok(kernel::normalise(a, p)?.maps),
];

fn random(shape: &[usize], seed: u64) -> ArrayD<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    ArrayD::from_shape_simple_fn(shape, || generator.random_range(-1.0..1.0))
}

/// The sum over channels of activations times what `weigh` makes of the channel's gradients, as ndarray writes it, in
/// double precision.
fn plain(
    activations: &ArrayD<f32>,
    gradients: &ArrayD<f32>,
    weigh: impl Fn(ArrayD<f64>) -> ArrayD<f64>,
) -> ArrayD<f32> {
    let (n, c) = (activations.shape()[0], activations.shape()[1]);
    let grid = [&[n], &activations.shape()[2..]].concat();
    let mut out = ArrayD::<f64>::zeros(IxDyn(&grid));
    for sample in 0..n {
        for channel in 0..c {
            let at = |array: &ArrayD<f32>| {
                array
                    .index_axis(Axis(0), sample)
                    .index_axis(Axis(0), channel)
                    .mapv(f64::from)
            };
            let mut map = out.index_axis_mut(Axis(0), sample);
            map += &(weigh(at(gradients)) * at(activations));
        }
    }
    out.mapv(|value| value.max(0.0) as f32)
}

fn plain_grad_cam(activations: &ArrayD<f32>, gradients: &ArrayD<f32>) -> ArrayD<f32> {
    plain(activations, gradients, |plane| {
        let mean = plane.mean().unwrap();
        plane.mapv(|_| mean)
    })
}

fn plain_hires_cam(activations: &ArrayD<f32>, gradients: &ArrayD<f32>) -> ArrayD<f32> {
    plain(activations, gradients, |plane| plane)
}

/// Awkward sizes: fewer channels than are added at once, fewer places than lanes, maps of one place more than those
/// worked on whole or together, samples in several parts, and of several tiles.
#[test]
fn kernels_equal_the_plain_formula() {
    let shapes: [&[usize]; 13] = [
        &[1, 1, 1, 1],
        &[2, 3, 7, 1],
        &[3, 7, 7, 7],
        &[2, 8, 31, 5],
        &[1, 31, 127, 33],
        &[5, 127, 2, 3],
        &[1, 9, 3, 240],
        &[2, 17, 13, 15, 31],
        &[4, 10, 5],
        &[2, 6, 8, 8],
        &[2, 6, 5, 13],
        &[2, 301, 21, 23],
        &[1, 19, 17, 241],
    ];
    type Plain = fn(&ArrayD<f32>, &ArrayD<f32>) -> ArrayD<f32>;
    let kernels: [(Method, Plain); 2] = [(kernel::grad_cam, plain_grad_cam), (kernel::hires_cam, plain_hires_cam)];
    for (seed, shape) in (0..).zip(shapes) {
        let (activations, gradients) = (random(shape, seed), random(shape, seed + 100));
        for (method, plain) in kernels {
            let expected = plain(&activations, &gradients);
            let found = method(activations.view(), gradients.view(), Rayon).unwrap();
            assert_eq!(found.shape(), expected.shape());
            let difference = (&found - &expected).mapv(f32::abs);
            assert!(difference.iter().all(|&value| value < 1e-5), "{shape:?}");
        }
        for method in METHODS {
            let parallel = method(activations.view(), gradients.view(), Rayon);
            let serial = method(activations.view(), gradients.view(), Serial);
            assert_eq!(parallel.unwrap(), serial.unwrap(), "{shape:?}");
        }
    }
}

/// Every sample by itself, to the last bit: also of planes that are worked on in parts and in tiles.
#[test]
fn a_batch_equals_its_samples() {
    for shape in [&[5, 19, 9, 11][..], &[3, 7, 2, 5, 4], &[2, 3000, 7, 7], &[3, 3, 70, 60]] {
        let (a, g) = (random(shape, 1), random(shape, 2));
        // Of large maps, KPCA-CAM's products of places with one another would take their time.
        let others = OF_ONE_ARRAY.into_iter().filter(|_| shape[2] < 70);
        for (number, kernel) in METHODS.into_iter().chain(others).enumerate() {
            let all = kernel(a.view(), g.view(), Rayon).unwrap();
            for sample in 0..shape[0] {
                let one = Slice::from(sample..sample + 1);
                let (a, g) = (a.slice_axis(Axis(0), one), g.slice_axis(Axis(0), one));
                let alone = kernel(a, g, Serial).unwrap();
                assert_eq!(alone, all.slice_axis(Axis(0), one), "kernel {number} {shape:?}");
            }
        }
    }
}

#[test]
fn layouts_do_not_matter() {
    let (activations, gradients) = (random(&[2, 6, 5, 4], 3), random(&[2, 6, 5, 4], 4));
    let expected = kernel::grad_cam(activations.view(), gradients.view(), Rayon).unwrap();
    let last = |array: &ArrayD<f32>| {
        let channels_last = array.view().permuted_axes(vec![0, 2, 3, 1]);
        channels_last.as_standard_layout().into_owned()
    };
    let (a, g) = (last(&activations), last(&gradients));
    let back = |array: &ArrayD<f32>| array.view().permuted_axes(vec![0, 3, 1, 2]).into_owned();
    assert_eq!(
        kernel::grad_cam(back(&a).view(), back(&g).view(), Rayon).unwrap(),
        expected
    );
    let viewed = kernel::grad_cam(
        a.view().permuted_axes(vec![0, 3, 1, 2]),
        g.view().permuted_axes(vec![0, 3, 1, 2]),
        Rayon,
    );
    assert_eq!(viewed.unwrap(), expected);
}

/// Every kernel, bit for bit, on either path: columns first, channels last, backwards, every second value of a larger
/// array, and one value for all places.
#[test]
fn every_kernel_takes_every_layout() {
    let columns_first = |array: &ArrayD<f32>| array.t().as_standard_layout().into_owned().reversed_axes();
    let channels_last = |array: &ArrayD<f32>| {
        let axes = array.ndim();
        let to = [&[0][..], &(2..axes).collect::<Vec<_>>(), &[1]].concat();
        let back = [&[0, axes - 1][..], &(1..axes - 1).collect::<Vec<_>>()].concat();
        let permuted = array.view().permuted_axes(to).as_standard_layout().into_owned();
        permuted.permuted_axes(back)
    };
    let backwards = |array: &ArrayD<f32>| {
        let mut turned = array.clone();
        (0..array.ndim()).for_each(|axis| turned.invert_axis(Axis(axis)));
        let mut turned = turned.as_standard_layout().into_owned();
        (0..array.ndim()).for_each(|axis| turned.invert_axis(Axis(axis)));
        turned
    };
    let every_second = Slice::new(1, None, 2);
    for shape in [
        &[3, 5, 4, 6][..],
        &[1, 1, 1, 1],
        &[2, 7, 3, 4, 5],
        &[2, 3, 9],
        &[4, 1, 5, 1],
    ] {
        let (a, g) = (random(shape, 21), random(shape, 22));
        let mut spread = [&a, &g].map(|array| {
            let shape: Vec<usize> = shape.iter().map(|extent| 2 * extent).collect();
            let mut wide = ArrayD::from_elem(IxDyn(&shape), f32::NAN);
            wide.slice_each_axis_mut(|_| every_second).assign(array);
            wide
        });
        spread
            .iter_mut()
            .for_each(|wide| wide.slice_each_axis_inplace(|_| every_second));
        let [wide_a, wide_g] = spread;
        let pairs = [
            (a.clone(), g.clone()),
            (columns_first(&a), columns_first(&g)),
            (channels_last(&a), channels_last(&g)),
            (backwards(&a), channels_last(&g)),
            (wide_a, wide_g),
        ];
        for (number, kernel) in METHODS.into_iter().chain(OF_ONE_ARRAY).enumerate() {
            let expected = kernel(a.view(), g.view(), Serial).unwrap();
            for (layout, (a, g)) in pairs.iter().enumerate() {
                for parallelism in [Rayon, Serial] {
                    let found = kernel(a.view(), g.view(), parallelism).unwrap();
                    assert_eq!(found, expected, "kernel {number}, layout {layout}, {shape:?}");
                }
            }
            let one = ArrayD::from_elem(IxDyn(&vec![1; shape.len()]), 0.7);
            let repeated = kernel(a.view(), one.broadcast(IxDyn(shape)).unwrap(), Rayon).unwrap();
            let full = kernel(a.view(), ArrayD::from_elem(IxDyn(shape), 0.7).view(), Rayon).unwrap();
            assert_eq!(repeated, full, "kernel {number}, {shape:?}");
        }
    }
}

#[test]
fn faults_in_the_data_are_errors() {
    let good = random(&[2, 3, 4, 4], 5);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut spoilt = good.clone();
        spoilt[[1, 2, 0, 3]] = bad;
        for kernel in METHODS {
            for (activations, gradients) in [(&spoilt, &good), (&good, &spoilt)] {
                let result = kernel(activations.view(), gradients.view(), Rayon);
                assert!(matches!(result, Err(CamError::NonFiniteMap { sample: 1 })));
            }
        }
        assert!(matches!(
            kernel::principal_component(spoilt.view(), Rayon),
            Err(CamError::NonFiniteMap { sample: 1 })
        ));
        assert!(matches!(
            kernel::upsample(spoilt.view(), &[6, 2, 9], Rayon),
            Err(CamError::NonFiniteMap { sample: 1 })
        ));
        assert!(matches!(
            kernel::normalise(spoilt.view(), Rayon),
            Err(CamError::NonFiniteMap { sample: 1 })
        ));
    }
    let other = random(&[2, 3, 4, 5], 6);
    for kernel in METHODS {
        let result = kernel(good.view(), other.view(), Rayon);
        assert!(matches!(result, Err(CamError::GradientShape { .. })));
    }
    for shape in [&[2, 3][..], &[0, 3, 4], &[2, 0, 4], &[2, 3, 0]] {
        let empty = ArrayD::<f32>::zeros(IxDyn(shape));
        for kernel in METHODS {
            let result = kernel(empty.view(), empty.view(), Rayon);
            assert!(matches!(result, Err(CamError::Shape { .. })), "{shape:?}");
        }
        assert!(kernel::principal_component(empty.view(), Rayon).is_err());
    }
    for size in [&[4][..], &[4, 0], &[4, 4, 4]] {
        let maps = Array3::<f32>::zeros((1, 2, 2));
        let result = kernel::upsample(maps.view(), size, Rayon);
        assert!(matches!(result, Err(CamError::Size { .. })), "{size:?}");
    }
    assert!(kernel::normalise(ArrayD::zeros(IxDyn(&[3])).view(), Rayon).is_err());
    assert!(kernel::normalise(ArrayD::zeros(IxDyn(&[0, 3])).view(), Rayon).is_err());
}

/// Two cells at half-pixel centres; with aligned corners the inner values would be thirds.
#[test]
fn upsampling_is_not_shifted() {
    let up = kernel::upsample(array![[[0f32, 4.0]]].view(), &[2, 4], Rayon).unwrap();
    assert_eq!(up, array![[[0., 1., 3., 4.], [0., 1., 3., 4.]]]);
    let down = kernel::upsample(array![[0f32, 1., 2., 3.]].view(), &[2], Rayon).unwrap();
    assert_eq!(down, array![[0.5, 2.5]]);
}

/// Each new place from its four or eight old neighbours at once, instead of axis by axis.
#[test]
fn upsampling_equals_the_plain_formula() {
    for (shape, size) in [
        (vec![2, 7, 5], vec![31, 20]),
        (vec![1, 1, 3], vec![4, 2]),
        (vec![3, 5, 2, 7], vec![9, 2, 21]),
        (vec![2, 240], vec![127]),
    ] {
        let maps = random(&shape, 7);
        let up = kernel::upsample(maps.view(), &size, Rayon).unwrap();
        assert_eq!(up, kernel::upsample(maps.view(), &size, Serial).unwrap());
        assert_eq!(up.shape()[1..], size);
        for (index, &value) in up.indexed_iter() {
            let mut expected = 0f64;
            for corner in 0..1usize << size.len() {
                let mut weight = 1f64;
                let mut from = vec![index[0]];
                for axis in 0..size.len() {
                    let (old, new) = (shape[axis + 1], size[axis]);
                    let source = ((index[axis + 1] as f64 + 0.5) * old as f64 / new as f64 - 0.5).max(0.0);
                    let upper = corner >> axis & 1;
                    weight *= [1.0 - source.fract(), source.fract()][upper];
                    from.push((source as usize + upper).min(old - 1));
                }
                expected += weight * f64::from(maps[IxDyn(&from)]);
            }
            approx::assert_abs_diff_eq!(f64::from(value), expected, epsilon = 1e-6);
        }
    }
}

#[test]
fn normalising_reports_what_it_found() {
    let maps = array![
        [0f32, 0., 0.],
        [0.1, 0.1, 0.1],
        [-2., 0., 2.],
        [3e-45, 0., 3e-45],
        [-3e38, 0., 3e38]
    ];
    let heat = kernel::normalise(maps.view(), Rayon).unwrap();
    use Content::{Constant, Graded, Zero};
    assert_eq!(heat.contents, [Zero, Constant, Graded, Graded, Graded]);
    assert_eq!(
        heat.maps,
        array![[0f32, 0., 0.], [0., 0., 0.], [0., 0.5, 1.], [1., 0., 1.], [0., 0.5, 1.]]
    );
    assert_eq!(heat, kernel::normalise(maps.view(), Serial).unwrap());
}

/// Rounding on the way up must not turn an even map into an uneven one.
#[test]
fn an_even_map_stays_even() {
    for size in [[10, 11], [67, 41]] {
        let heat = kernel::heatmaps(Array3::from_elem((1, 3, 3), 0.1f32).view(), &size, Rayon).unwrap();
        assert_eq!(heat.contents, [Content::Constant]);
        assert!(heat.maps.iter().all(|&value| value == 0.0));
    }
}

#[test]
fn types_follow_the_input() {
    let activations = Array4::<f32>::ones((1, 2, 3, 3));
    let maps: Array3<f32> = kernel::grad_cam(activations.view(), activations.view(), Serial).unwrap();
    assert_eq!(maps, Array::from_elem((1, 3, 3), 2.0));
}

/// Vectors of unit length, each at right angles to the others, as rows.
fn orthonormal(rows: usize, length: usize, seed: u64) -> Array2<f64> {
    let mut vectors = random(&[rows, length], seed)
        .mapv(f64::from)
        .into_dimensionality()
        .unwrap();
    for row in 0..rows {
        for _ in 0..2 {
            for before in 0..row {
                let other: Array<f64, _> = vectors.row(before).to_owned();
                let along = other.dot(&vectors.row(row));
                vectors.row_mut(row).scaled_add(-along, &other);
            }
        }
        let norm = vectors.row(row).dot(&vectors.row(row)).sqrt();
        vectors.row_mut(row).mapv_inplace(|value| value / norm);
    }
    vectors
}

/// Feature maps made of a known first component and others almost as strong, by far weaker, or none.
#[test]
fn the_principal_component_is_the_one_put_in() {
    for (channels, places) in [(40, 12), (12, 40), (3, 200), (200, 3), (31, 31), (1, 9)] {
        for next in [0.0, 1e-6, 0.5, 0.9, 0.999] {
            let others = channels.min(places - 1);
            // At right angles to the even map too, so that taking the mean away changes nothing.
            let mut maps = orthonormal(others + 1, places, 8);
            maps.row_mut(0).fill(1.0 / (places as f64).sqrt());
            let even = maps.row(0).to_owned();
            for row in 1..=others {
                for before in (0..row).chain(0..row) {
                    let other = if before == 0 {
                        even.clone()
                    } else {
                        maps.row(before).to_owned()
                    };
                    let along = other.dot(&maps.row(row));
                    maps.row_mut(row).scaled_add(-along, &other);
                }
                let norm = maps.row(row).dot(&maps.row(row)).sqrt();
                maps.row_mut(row).mapv_inplace(|value| value / norm);
            }
            let vectors = orthonormal(others, channels, 9);
            let mut features = Array2::<f64>::zeros((channels, places));
            for index in 0..others {
                let strength = if index == 0 {
                    3.0
                } else {
                    3.0 * next * 0.9f64.powi(index as i32 - 1)
                };
                for (channel, mut row) in features.rows_mut().into_iter().enumerate() {
                    row.scaled_add(strength * vectors[[index, channel]], &maps.row(index + 1));
                }
            }
            let sign = features.sum_axis(Axis(0)).dot(&maps.row(1)).signum();
            let expected = maps.row(1).mapv(|value| (3.0 * sign * value) as f32);
            let features = features
                .mapv(|value| value as f32)
                .into_shape_with_order((1, channels, places))
                .unwrap();
            let found = kernel::principal_component(features.view(), Rayon).unwrap();
            let difference = (&found.row(0) - &expected).fold(0f32, |most, value| most.max(value.abs()));
            // Single precision of what goes in, over the distance to the next component.
            let tolerance = (1e-6 / (1.0 - next)).max(1e-6) as f32;
            assert!(difference < tolerance, "{channels}×{places}, {next}: {difference}");
        }
    }
}

/// Two components of one strength: whichever is found is one of theirs.
#[test]
fn a_tie_of_components_gives_one_of_them() {
    let features = array![[[1f32, -1., 0., 0.], [0., 0., 1., -1.]]];
    let found = kernel::principal_component(features.view(), Serial).unwrap();
    let squares: f32 = found.iter().map(|value| value * value).sum();
    assert!((squares - 2.0).abs() < 1e-6, "{found}");
    assert!((found[[0, 0]] + found[[0, 1]]).abs() < 1e-6 && (found[[0, 2]] + found[[0, 3]]).abs() < 1e-6);
}
