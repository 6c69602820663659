use gradcam_core::{CamError, Content, random_cam};
use ndarray::{Axis, Slice};

#[test]
fn a_sample_is_the_same_in_any_batch() {
    let all = random_cam(3, 0..5, &[4, 6], &[20, 30]).unwrap();
    let some = random_cam(3, 2..4, &[4, 6], &[20, 30]).unwrap();
    assert_eq!(some.maps, all.maps.slice_axis(Axis(0), Slice::from(2..4)));
}

#[test]
fn samples_and_seeds_differ() {
    let all = random_cam(3, 0..2, &[4, 6], &[4, 6]).unwrap().maps;
    let other = random_cam(4, 0..2, &[4, 6], &[4, 6]).unwrap().maps;
    assert_ne!(all.index_axis(Axis(0), 0), all.index_axis(Axis(0), 1));
    assert_ne!(all, other);
}

/// The mean of uniform values between their smallest and largest is a half.
#[test]
fn values_are_uniform_and_fill_the_range() {
    let heat = random_cam(1, 0..200, &[7, 7], &[7, 7]).unwrap();
    assert_eq!(heat.contents, [Content::Graded; 200]);
    let mean = heat.maps.mean().unwrap();
    assert!((mean - 0.5).abs() < 0.02, "{mean}");
    for map in heat.maps.outer_iter() {
        assert!(map.iter().any(|&value| value == 0.0) && map.iter().any(|&value| value == 1.0));
    }
}

#[test]
fn volumes_and_faults() {
    assert_eq!(
        random_cam(1, 0..2, &[2, 3, 4], &[4, 6, 8]).unwrap().maps.shape(),
        [2, 4, 6, 8]
    );
    assert!(matches!(
        random_cam(1, 0..0, &[2, 2], &[4, 4]),
        Err(CamError::Shape { .. })
    ));
    assert!(matches!(
        random_cam(1, 0..1, &[2, 0], &[4, 4]),
        Err(CamError::Shape { .. })
    ));
    assert!(matches!(random_cam(1, 0..1, &[2, 2], &[4]), Err(CamError::Size { .. })));
}
