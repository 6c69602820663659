//! `goldens/masks.json` holds masks before and after each step of scikit-image and SciPy. They must agree in
//! every pixel.

use heatmap_seg::{CleanUp, Connectivity, SegError};
use ndarray::{Array, Array3, ArrayD};
use serde::Deserialize;

use crate::golden::cases;

#[derive(Deserialize)]
struct Golden {
    name: String,
    shape: Vec<usize>,
    mask: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    step: CleanUp,
    mask: String,
}

fn mask(shape: &[usize], bits: &str) -> ArrayD<bool> {
    ArrayD::from_shape_vec(shape, bits.bytes().map(|bit| bit == b'1').collect()).unwrap()
}

#[test]
fn steps_are_those_of_scikit_image_and_scipy() {
    let goldens: Vec<Golden> = cases(include_str!("../goldens/masks.json"));
    let mut steps = 0;
    for golden in &goldens {
        let before = mask(&golden.shape, &golden.mask);
        for Step { step, mask: bits } in &golden.steps {
            let expected = mask(&golden.shape, bits);
            let after = step.apply(before.view()).unwrap();
            assert_eq!(after, expected, "{} {step:?}", golden.name);
            let written = serde_json::to_string(step).unwrap();
            assert_eq!(serde_json::from_str::<CleanUp>(&written).unwrap(), *step);
            // In another memory layout. Which of two largest components comes first depends on it.
            if !matches!(step, CleanUp::Largest { .. }) {
                assert_eq!(
                    step.apply(before.t()).unwrap(),
                    expected.t(),
                    "{} {step:?}",
                    golden.name
                );
            }
            // A step changes nothing that it has done already, but for the pixels that a hull's middles touch.
            if !matches!(step, CleanUp::ConvexHull) {
                assert_eq!(step.apply(after.view()).unwrap(), after, "{} {step:?}", golden.name);
            }
            steps += 1;
        }
    }
    assert_eq!(steps, 258);
}

#[test]
fn hulls_have_one_to_three_axes() {
    let four = ArrayD::from_elem(vec![2, 3, 4, 1], true);
    let expected = Err(SegError::Axes { found: 4, expected: 3 });
    assert_eq!(CleanUp::ConvexHull.apply(four.view()), expected);
    let long = Array3::from_elem((1, 1, (1 << 19) + 1), true);
    let expected = Err(SegError::Extent {
        found: (1 << 19) + 1,
        most: 1 << 19,
    });
    assert_eq!(CleanUp::ConvexHull.apply(long.view()), expected);
}

#[test]
fn hulls_turn_with_the_mask_and_do_not_see_its_inside() {
    for radius in [3_usize, 10, 14] {
        let side = 2 * radius + 3;
        let ball = Array3::from_shape_fn((side, side, side), |(z, y, x)| {
            let squares = [z, y, x].map(|at| at.abs_diff(radius + 1).pow(2));
            squares.iter().sum::<usize>() <= radius * radius
        });
        let hull = CleanUp::ConvexHull.apply(ball.view()).unwrap();
        assert!(ball.iter().zip(&hull).all(|(&ball, &hull)| hull || !ball));
        let shell = Array3::from_shape_fn(ball.dim(), |(z, y, x)| {
            ball[(z, y, x)] && !(ball[(z, y, x - 1)] && ball[(z, y, x + 1)])
        });
        assert_eq!(CleanUp::ConvexHull.apply(shell.view()).unwrap(), hull, "{radius}");
    }
    let scattered = Array3::from_shape_fn((9, 14, 11), |(z, y, x)| (z * 101 + y * 37 + x * 59).pow(2) % 97 < 2);
    let hull = CleanUp::ConvexHull.apply(scattered.view()).unwrap();
    assert!(hull.iter().any(|&on| !on) && hull != scattered);
    for axes in [[0, 2, 1], [1, 0, 2], [2, 0, 1], [2, 1, 0]] {
        let turned = CleanUp::ConvexHull.apply(scattered.view().permuted_axes(axes));
        assert_eq!(turned.unwrap(), hull.view().permuted_axes(axes), "{axes:?}");
    }
}

/// A radius beyond the mask is as good as one of its size.
#[test]
fn balls_may_be_larger_than_the_mask() {
    let dot = Array::from_shape_fn((4, 5), |at| at == (1, 2));
    let huge = CleanUp::Close { radius: usize::MAX }.apply(dot.view()).unwrap();
    assert!(huge.iter().all(|&on| on));
    let nothing = CleanUp::Open { radius: usize::MAX }.apply(dot.view()).unwrap();
    assert!(nothing.iter().all(|&on| !on));
}

/// No axes, and an axis without pixels.
#[test]
fn masks_may_be_next_to_nothing() {
    let connectivity = Connectivity::Corners;
    let steps = [
        CleanUp::AtLeast {
            pixels: 1,
            connectivity,
        },
        CleanUp::Largest { connectivity },
        CleanUp::FillHoles { connectivity },
        CleanUp::Open { radius: 2 },
        CleanUp::Close { radius: 2 },
    ];
    for step in steps {
        for pixel in [ndarray::arr0(false), ndarray::arr0(true)] {
            assert_eq!(step.apply(pixel.view()).unwrap(), pixel, "{step:?}");
        }
        let empty = Array3::from_elem((2, 0, 3), true);
        assert_eq!(step.apply(empty.view()).unwrap(), empty, "{step:?}");
    }
    let empty = Array::from_elem((0, 3), true);
    assert_eq!(CleanUp::ConvexHull.apply(empty.view()).unwrap(), empty);
}
