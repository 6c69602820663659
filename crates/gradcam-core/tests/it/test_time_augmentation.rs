use std::cell::RefCell;

use gradcam_core::{
    CamError, Content, Flip, GradientMethod, Maps, Stages, Target, TestTimeAugmentation, eigen_smoothing, grad_cam,
    test_time_augmentation,
};
use tch::{Device, Kind, Tensor};

use crate::goldens::{Golden, MAPS};
use crate::small_net::{SmallNet, largest_difference, normal};

fn method<'s>(
    stages: &'s Stages<'_>,
    layer: &'s str,
    targets: &'s [Target],
) -> impl Fn(&Tensor) -> Result<Maps, CamError> + 's {
    move |x| grad_cam(&stages.capture(x, &[layer])?.gradients(targets)?.at(layer)?)
}

/// pytorch-grad-cam 1.5.7's `aug_smooth` with its own views and with two flips, also smoothed; of scales, which it resizes
/// twice, the formula. See `tests/goldens/composition.py`.
#[test]
fn agrees_with_pytorch_grad_cam() {
    for golden in Golden::all() {
        let (stages, images, targets) = (golden.stages(), golden.images(), golden.targets());
        // The peer counts axes from the first.
        let [third, fourth] = match images.dim() {
            4 => [Flip::UpDown, Flip::LeftRight],
            _ => [Flip::FrontBack, Flip::UpDown],
        };
        let usual = TestTimeAugmentation::default()
            .with_flips([fourth])
            .with_factors([0.9, 1.0, 1.1]);
        let flips = TestTimeAugmentation::default().with_flips([third, fourth]);
        let scales = TestTimeAugmentation::default()
            .with_flips([])
            .with_scales([1.0, 1.5, 2.0]);
        for layer in golden.layers {
            let method = method(&stages, layer, &targets);
            let smooth = |x: &Tensor| {
                let capture = stages.capture(x, &[layer])?;
                eigen_smoothing(GradientMethod::GradCam, &capture.gradients(&targets)?.at(layer)?)
            };
            let check = |views: &str, maps: Maps| {
                golden.check_values(&format!("augmented.{views}.{layer}"), maps.tensor(), MAPS);
            };
            check("usual", test_time_augmentation(&images, &usual, &method).unwrap());
            check("flips", test_time_augmentation(&images, &flips, &method).unwrap());
            check("smooth", test_time_augmentation(&images, &flips, smooth).unwrap());
            // The head of the branched network takes one size.
            if !golden.is_branched() {
                check("scales", test_time_augmentation(&images, &scales, &method).unwrap());
            }
        }
    }
}

/// One view, the input itself, changes nothing but the scale.
#[test]
fn without_views_it_is_the_method() {
    let net = SmallNet::images(1);
    let (stages, input, targets) = (net.stages(), net.input(2, 1), [Target::Class(1), Target::Class(2)]);
    let views = TestTimeAugmentation::default().with_flips([]);
    let method = method(&stages, "relu2", &targets);
    let maps = test_time_augmentation(&input, &views, &method).unwrap();
    let plain = method(&input).unwrap().heatmaps(&[12, 17]).unwrap();
    assert_eq!(largest_difference(maps.tensor(), plain.tensor()), 0.0);
}

/// The views of a mirror image are those of the image: the result is mirrored, whatever the network.
#[test]
fn flips_commute() {
    use Flip::{FrontBack, LeftRight, UpDown};
    for (net, flips) in [
        (SmallNet::images(2), vec![LeftRight, UpDown]),
        (SmallNet::volumes(2), vec![LeftRight, UpDown, FrontBack]),
    ] {
        let (stages, input, targets) = (net.stages(), net.input(2, 2), [Target::Class(1), Target::Class(3)]);
        let views = TestTimeAugmentation::default().with_flips(flips.clone());
        let maps = test_time_augmentation(&input, &views, method(&stages, "relu2", &targets)).unwrap();
        assert_eq!(maps.contents(), [Content::Graded; 2]);
        for (axis, _) in (1i64..).zip(&flips) {
            let mirrored = input.flip([-axis]);
            let other = test_time_augmentation(&mirrored, &views, method(&stages, "relu2", &targets)).unwrap();
            assert!(largest_difference(&maps.tensor().flip([-axis]), other.tensor()) < 1e-5);
        }
    }
}

/// Which inputs the method sees: each combination once.
#[test]
fn every_view_is_taken_once() {
    let input = normal(&[1, 1, 4, 6], 3);
    let seen = RefCell::new(Vec::new());
    let views = TestTimeAugmentation::default()
        .with_flips([Flip::LeftRight, Flip::UpDown, Flip::LeftRight])
        .with_scales([1.0, 1.5])
        .with_factors([1.0, -2.0]);
    test_time_augmentation(&input, &views, |x| {
        seen.borrow_mut().push(x.shallow_clone());
        Maps::new(&x.squeeze_dim(1))
    })
    .unwrap();
    let seen = seen.into_inner();
    assert_eq!(seen.len(), 2 * 2 * 4);
    let mut expected = Vec::new();
    for factor in [1.0, -2.0] {
        for size in [[4i64, 6], [6, 9]] {
            let resized = input.upsample_bilinear2d(size.as_slice(), false, None, None) * factor;
            for axes in [&[][..], &[-1], &[-2], &[-1, -2]] {
                expected.push(resized.flip(axes));
            }
        }
    }
    for (seen, expected) in seen.iter().zip(&expected) {
        assert!(largest_difference(seen, expected) < 1e-6);
    }
}

/// A method that follows the image gives the same map at every scale, up to resizing; each view counts
/// alike, however large its values.
#[test]
fn views_are_turned_back_and_count_alike() {
    let ramp = Tensor::arange(8, (Kind::Float, Device::Cpu)).view([1, 1, 1, 8])
        + Tensor::arange(5, (Kind::Float, Device::Cpu)).view([1, 1, 5, 1]) * 10.0;
    let views = TestTimeAugmentation::default()
        .with_flips([Flip::LeftRight, Flip::UpDown])
        .with_factors([1.0, 100.0]);
    let follow = |x: &Tensor| Maps::new(&x.squeeze_dim(1));
    let maps = test_time_augmentation(&ramp, &views, follow).unwrap();
    let plain = follow(&ramp).unwrap().normalise().unwrap();
    assert!(largest_difference(maps.tensor(), plain.tensor()) < 1e-6);
    let scaled = test_time_augmentation(&ramp, &views.with_scales([1.0, 2.0, 4.0]), follow).unwrap();
    assert!(largest_difference(scaled.tensor(), plain.tensor()) < 0.08);
    let volume = normal(&[2, 1, 3, 4, 5], 4);
    let views = TestTimeAugmentation::default()
        .with_flips([Flip::FrontBack])
        .with_scales([1.0, 0.5]);
    let maps = test_time_augmentation(&volume, &views, follow).unwrap();
    assert_eq!(maps.tensor().size(), [2, 3, 4, 5]);
}

#[test]
fn a_batch_gives_each_sample_what_it_would_get_alone() {
    let net = SmallNet::images(5);
    let (stages, input) = (net.stages(), net.input(3, 5));
    let targets = [Target::Class(0), Target::Class(2), Target::Class(3)];
    let views = TestTimeAugmentation::default().with_scales([1.0, 1.25]);
    let batch = test_time_augmentation(&input, &views, method(&stages, "relu1", &targets)).unwrap();
    for (sample, target) in (0i64..).zip(targets) {
        let (input, target) = (input.narrow(0, sample, 1), [target]);
        let alone = test_time_augmentation(&input, &views, method(&stages, "relu1", &target)).unwrap();
        assert!(largest_difference(&batch.tensor().narrow(0, sample, 1), alone.tensor()) < 1e-5);
    }
}

#[test]
fn empty_maps_stay_zero_and_are_flagged() {
    let input = normal(&[2, 1, 4, 4], 6);
    let nothing = |x: &Tensor| Maps::new(&(x.squeeze_dim(1) * 0.0));
    let maps = test_time_augmentation(&input, &TestTimeAugmentation::default(), nothing).unwrap();
    assert_eq!(maps.contents(), [Content::Zero; 2]);
}

#[test]
fn faults_are_named() {
    let image = normal(&[2, 1, 4, 4], 7);
    let follow = |x: &Tensor| Maps::new(&x.squeeze_dim(1));
    let of = |input: &Tensor, views: &TestTimeAugmentation| test_time_augmentation(input, views, follow).unwrap_err();
    let usual = TestTimeAugmentation::default();
    assert!(matches!(of(&image.get(0), &usual), CamError::Input { shape } if shape == [1, 4, 4]));
    let deep = usual.clone().with_flips([Flip::FrontBack]);
    assert!(matches!(
        of(&image, &deep),
        CamError::Flip {
            flip: Flip::FrontBack,
            axes: 2
        }
    ));
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let views = usual.clone().with_scales([1.0, scale]);
        assert!(matches!(of(&image, &views), CamError::Scale { .. }));
    }
    let views = usual.clone().with_factors([f64::NAN]);
    assert!(matches!(of(&image, &views), CamError::Factor { .. }));
    let views = usual.clone().with_scales([]);
    assert!(matches!(
        of(&image, &views),
        CamError::NoViews { scales: 0, factors: 1 }
    ));
    let first = |x: &Tensor| Maps::new(&x.narrow(0, 0, 1).squeeze_dim(1));
    let error = test_time_augmentation(&image, &usual, first).unwrap_err();
    assert!(matches!(error, CamError::MapBatch { found: 1, expected: 2 }));
}
