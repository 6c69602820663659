//! `goldens/masks.json` holds masks before and after each step of scikit-image and SciPy. They must agree in
//! every pixel.

use heatmap_seg::{CleanUp, Connectivity, SegError};
use ndarray::{Array, Array3, ArrayD, Axis};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Golden>,
}

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
    let goldens: Goldens = serde_json::from_str(include_str!("../goldens/masks.json")).unwrap();
    let mut steps = 0;
    for golden in &goldens.cases {
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
    assert_eq!(steps, 171);
}

#[test]
fn hulls_are_of_planes() {
    let volume = Array3::from_elem((2, 3, 4), true);
    let expected = Err(SegError::Axes { found: 3, expected: 2 });
    assert_eq!(CleanUp::ConvexHull.apply(volume.view()), expected);
    let plane = volume.index_axis(Axis(0), 0);
    assert_eq!(CleanUp::ConvexHull.apply(plane).unwrap(), plane);
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
