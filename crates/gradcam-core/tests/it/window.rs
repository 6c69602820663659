use gradcam_core::{CamError, Window};
use ndarray::{Array1, arr1, arr2, array};

/// pydicom 3.0.2 and numpy 2.4.6, see `tests/goldens/window.py`: the same formulas in double precision,
/// rounded to single here.
#[test]
fn agrees_with_pydicom_and_numpy() {
    let mut groups: Vec<(Window, Vec<i16>, Vec<f32>)> = Vec::new();
    for line in include_str!("../goldens/window.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |index: usize| fields[index].parse::<f64>().unwrap();
        let (first, second) = (number(1), number(2));
        let window = match fields[0] {
            "LINEAR" => Window::Linear {
                centre: first,
                width: second,
            },
            "LINEAR_EXACT" => Window::LinearExact {
                centre: first,
                width: second,
            },
            _ => Window::Percentiles {
                low: first,
                high: second,
            },
        };
        if groups.last().is_none_or(|group| group.0 != window) {
            groups.push((window, vec![], vec![]));
        }
        let group = groups.last_mut().unwrap();
        group.1.push(fields[3].parse().unwrap());
        group.2.push(fields[4].parse().unwrap());
    }
    assert_eq!(groups.len(), 14);
    for (window, values, expected) in groups {
        let found = window.apply(arr1(&values).view()).unwrap();
        for ((found, expected), value) in found.iter().zip(&expected).zip(&values) {
            assert!(
                (found - expected).abs() < 1e-6,
                "{window:?} {value}: {found} {expected}"
            );
        }
    }
}

/// A window of width `w` holds `w` whole numbers, as the standard says.
#[test]
fn a_linear_window_counts_whole_numbers() {
    let window = Window::Linear {
        centre: 2048.0,
        width: 4096.0,
    };
    let ends = window.apply(array![0u16, 4095].view()).unwrap();
    assert_eq!(ends, array![0.0, 1.0]);
    let step = Window::Linear {
        centre: 7.0,
        width: 1.0,
    };
    assert_eq!(
        step.apply(array![5i16, 6, 7, 8].view()).unwrap(),
        array![0.0, 0.0, 1.0, 1.0]
    );
}

#[test]
fn kinds_and_layouts_do_not_count() {
    let values = arr2(&[[0u16, 100, 65535], [7, 30000, 2]]);
    for window in [
        Window::FULL,
        Window::LinearExact {
            centre: 1000.0,
            width: 2e4,
        },
    ] {
        let one = window.apply(values.view()).unwrap();
        assert_eq!(one, window.apply(values.mapv(f32::from).view()).unwrap());
        assert_eq!(one.t(), window.apply(values.t()).unwrap());
        assert!(one.iter().all(|value| (0.0..=1.0).contains(value)));
    }
    let full = Window::FULL.apply(values.view()).unwrap();
    assert_eq!((full[[0, 0]], full[[0, 2]]), (0.0, 1.0));
}

#[test]
fn an_even_scan_is_black() {
    for window in [Window::FULL, Window::Percentiles { low: 1.0, high: 99.0 }] {
        let found = window.apply(Array1::from_elem(9, -3i16).view()).unwrap();
        assert!(found.iter().all(|&value| value == 0.0));
    }
    // Nearly even: the one value above white is white.
    let mut scan = Array1::from_elem(1000, 5.0f32);
    scan[10] = 6.0;
    let found = Window::Percentiles { low: 1.0, high: 99.0 }.apply(scan.view()).unwrap();
    assert_eq!((found[10], found.sum()), (1.0, 1.0));
}

#[test]
fn faults_are_named() {
    let scan = array![1f32, 2.0];
    let of = |window: Window| window.apply(scan.view()).unwrap_err();
    assert!(matches!(
        of(Window::Linear {
            centre: f64::NAN,
            width: 9.0
        }),
        CamError::WindowCentre { .. }
    ));
    assert!(matches!(
        of(Window::Linear {
            centre: 0.0,
            width: 0.5
        }),
        CamError::WindowWidth { width: 0.5, least: 1.0 }
    ));
    assert!(matches!(
        of(Window::LinearExact {
            centre: 0.0,
            width: 0.0
        }),
        CamError::WindowWidth { .. }
    ));
    for (low, high) in [
        (-1.0, 50.0),
        (50.0, 50.0),
        (60.0, 40.0),
        (0.0, 100.1),
        (f64::NAN, 100.0),
    ] {
        assert!(matches!(
            of(Window::Percentiles { low, high }),
            CamError::WindowPercentiles { .. }
        ));
    }
    let far = array![-1.5e308, 1.5e308];
    for window in [
        Window::Linear {
            centre: 1.7e308,
            width: 1e308,
        },
        Window::LinearExact {
            centre: -1.7e308,
            width: 1e308,
        },
        Window::FULL,
        Window::Percentiles { low: 20.0, high: 80.0 },
    ] {
        let error = window.apply(far.view()).unwrap_err();
        assert!(matches!(error, CamError::WindowEnds { .. }), "{error:?}");
    }
    for bad in [f32::NAN, f32::INFINITY] {
        let error = Window::FULL.apply(array![[0.0, 1.0], [bad, 2.0]].view()).unwrap_err();
        assert!(matches!(error, CamError::NonFiniteValue { index: 2 }));
    }
    let none = Array1::<i16>::zeros(0);
    assert!(matches!(Window::FULL.apply(none.view()), Err(CamError::Shape { .. })));
}
