use gradcam_core::{CamError, Content, Maps, Parallelism, kernel};
use tch::{Kind, Tensor};

use crate::small_net::{array, largest_difference, normal};

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.contiguous().view(-1).try_into().unwrap()
}

/// Two cells become four at half-pixel centres: the outer ones hold, the inner ones are a quarter
/// of the way. With aligned corners they would be a third.
#[test]
fn upsampling_is_not_shifted() {
    let maps = Maps::new(&Tensor::from_slice(&[0f32, 4.0]).view([1, 1, 2])).unwrap();
    assert_eq!(values(maps.upsample(&[1, 4]).unwrap().tensor()), [0.0, 1.0, 3.0, 4.0]);

    // One lit cell of a grid: its centre of mass stays at the cell's centre.
    let grid = Tensor::zeros([1, 7, 5], (Kind::Float, tch::Device::Cpu));
    let _ = grid.get(0).get(2).get(3).fill_(1.0);
    let up = Maps::new(&grid)
        .unwrap()
        .upsample(&[70, 50])
        .unwrap()
        .to_array()
        .unwrap();
    let mass: f32 = up.sum();
    let centre = |axis: usize| {
        up.indexed_iter()
            .map(|(index, value)| value * (index[axis] as f32 + 0.5))
            .sum::<f32>()
            / mass
    };
    approx::assert_abs_diff_eq!(centre(1), 25.0, epsilon = 1e-3);
    approx::assert_abs_diff_eq!(centre(2), 35.0, epsilon = 1e-3);
}

#[test]
fn complex_maps_are_refused() {
    let maps = normal(&[1, 2, 3], 1).to_kind(Kind::ComplexFloat);
    assert!(matches!(
        Maps::new(&maps),
        Err(CamError::ComplexMaps {
            kind: Kind::ComplexFloat
        })
    ));
}

#[test]
fn empty_and_even_maps_are_zero_and_flagged() {
    let maps = Tensor::stack(
        &[
            Tensor::zeros([3, 3], (Kind::Float, tch::Device::Cpu)),
            Tensor::full([3, 3], 0.1, (Kind::Float, tch::Device::Cpu)),
            normal(&[3, 3], 1),
        ],
        0,
    );
    // Sizes at which single-precision weights do not add up to one.
    for size in [[3, 3], [10, 11], [67, 41]] {
        let heat = Maps::new(&maps).unwrap().heatmaps(&size).unwrap();
        assert_eq!(heat.contents(), [Content::Zero, Content::Constant, Content::Graded]);
        let array = heat.to_array3().unwrap();
        assert!(
            array
                .outer_iter()
                .take(2)
                .all(|map| map.iter().all(|&value| value == 0.0))
        );
        let graded = array.index_axis(ndarray::Axis(0), 2);
        assert_eq!(graded.iter().copied().fold(f32::INFINITY, f32::min), 0.0);
        assert_eq!(graded.iter().copied().fold(f32::NEG_INFINITY, f32::max), 1.0);
    }
}

/// 1e-12 as well as what single precision can barely hold.
#[test]
fn normalising_is_free_of_scale() {
    let maps = normal(&[2, 4, 5], 3).abs();
    let plain = Maps::new(&maps).unwrap().heatmaps(&[16, 20]).unwrap();
    for (scale, tolerance) in [(1e-12, 1e-6), (1e-30, 1e-6), (1e-40, 1e-4), (1e36, 1e-6)] {
        let scaled = Maps::new(&(&maps * scale)).unwrap().heatmaps(&[16, 20]).unwrap();
        assert!(
            largest_difference(plain.tensor(), scaled.tensor()) < tolerance,
            "{scale}"
        );
    }
    let wide = Tensor::from_slice(&[-3e38f32, 0.0, 3e38]).view([1, 1, 3]);
    let heat = Maps::new(&wide).unwrap().normalise().unwrap();
    assert_eq!(values(heat.tensor()), [0.0, 0.5, 1.0]);
}

#[test]
fn tensors_and_arrays_give_the_same_heatmaps() {
    for (shape, size) in [
        (vec![2, 7, 7], vec![64, 96]),
        (vec![1, 9, 5], vec![4, 5]),
        (vec![3, 1, 4], vec![10, 1]),
        (vec![2, 3, 5, 4], vec![8, 9, 13]),
    ] {
        let maps = normal(&shape, 4);
        let torch = Maps::new(&maps).unwrap().heatmaps(&size).unwrap();
        let to: Vec<usize> = size.iter().map(|&extent| extent as usize).collect();
        let plain = kernel::heatmaps(array(&maps).view(), &to, Parallelism::Rayon).unwrap();
        let difference = (torch.to_array().unwrap() - &plain.maps).mapv(f32::abs);
        assert!(difference.iter().all(|&value| value < 1e-5), "{shape:?}");
        assert_eq!(torch.contents(), plain.contents);
    }
}

#[test]
fn maps_are_checked() {
    let bad = normal(&[3, 2, 2], 5);
    let _ = bad.get(1).get(0).get(1).fill_(f64::NAN);
    assert!(matches!(Maps::new(&bad), Err(CamError::NonFiniteMap { sample: 1 })));
    assert!(matches!(Maps::new(&normal(&[2, 2], 1)), Err(CamError::Shape { .. })));
    let maps = Maps::new(&normal(&[1, 2, 2], 5)).unwrap();
    for size in [&[4][..], &[4, 0], &[4, -1], &[4, 4, 4]] {
        assert!(matches!(maps.heatmaps(size), Err(CamError::Size { .. })), "{size:?}");
    }
    let volume = Maps::new(&normal(&[1, 2, 2, 2], 5)).unwrap().normalise().unwrap();
    assert!(matches!(volume.to_array3(), Err(CamError::Shape { .. })));
}
