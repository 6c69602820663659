//! Whatever goes in, what comes out is an error value or finite maps, one for each sample; never a panic, never a NaN.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gradcam_core::kernel::KpcaKernel;
use gradcam_core::{
    AblationValue, CamError, DeepFeatureFactorisation, FinerCam, Flip, Fusion, GradientMethod, GroupCam, IsCam, Maps,
    OcclusionSensitivity, Parallelism, Probe, ReciproMask, Rescaling, Rise, ScoreCam, ScoreChannels,
    SmoothGradCamPlusPlus, SsCam, Stages, Target, TestTimeAugmentation, ablation_cam, ablation_cam_weights, cam,
    cam_with_weights, contour, deep_feature_factorisation, eigen_cam, eigen_smoothing_with_weights, fem, finer_cam,
    full_grad, fuse, group_cam, guided_backpropagation, guided_grad_cam, is_cam, kernel, kpca_cam,
    occlusion_sensitivity, random_cam, recipro_cam, refine_cam, rise, rise_with_masks, score_cam, seg_eigen_cam,
    shapley_cam, side_by_side, smooth_grad_cam_plus_plus, smooth_grad_cam_plus_plus_with_noise, ss_cam,
    ss_cam_with_noise, test_time_augmentation, weighted_cam,
};
use image::{Rgb, RgbImage};
use tch::{Device, Kind, Tensor};

use crate::small_net::{SmallNet, array, normal};

/// A network, what goes in, a layer and the targets.
type Way = fn(&Stages<'_>, &Tensor, &str, &[Target]) -> Result<Maps, CamError>;

/// The memory that chunks may take is as odd as the rest: none.
fn probed(
    stages: &Stages<'_>,
    input: &Tensor,
    targets: &[Target],
    method: impl Fn(&Probe<'_>) -> Result<Maps, CamError>,
) -> Result<Maps, CamError> {
    method(&Probe::new(stages, input, targets)?.with_memory_ceiling(0))
}

fn gradient_methods(stages: &Stages<'_>, input: &Tensor, layer: &str, targets: &[Target]) -> Result<Maps, CamError> {
    let capture = stages.capture(input, &[layer])?;
    let gradients = capture.gradients(targets)?;
    let mut maps = Vec::new();
    for method in GradientMethod::ALL {
        maps.push(method.maps(&gradients.at(layer)?)?);
    }
    let size = &input.size()[2..];
    fuse(&maps.iter().collect::<Vec<_>>(), size, Fusion::Mean)
}

const WAYS: [(&str, Way); 25] = [
    ("gradient methods", gradient_methods),
    ("seg_eigen_cam", |stages, input, layer, targets| {
        let capture = stages.capture(input, &[layer])?;
        seg_eigen_cam(&capture.gradients(targets)?.at(layer)?)
    }),
    ("refine_cam", |stages, input, layer, targets| {
        let capture = stages.capture(input, &["relu1", layer])?;
        let method = GradientMethod::GradCamPlusPlus;
        refine_cam(
            &capture.gradients(targets)?,
            &[layer, "relu1"],
            method,
            &input.size()[2..],
        )
    }),
    ("ablation_cam, smooth", |stages, input, layer, targets| {
        let capture = stages.capture(input, &[layer])?;
        let probe = Probe::from_capture(stages, input, &capture, targets)?;
        let weights = ablation_cam_weights(&probe, layer, AblationValue::Zero)?;
        eigen_smoothing_with_weights(capture.activations(layer)?, &weights)
    }),
    ("finer_cam", |stages, input, layer, targets| {
        finer_cam(&stages.capture(input, &[layer])?, layer, targets, &FinerCam::default())
    }),
    ("shapley_cam", |stages, input, layer, targets| {
        shapley_cam(&stages.capture(input, &[layer])?, layer, targets)
    }),
    ("smooth_grad_cam_plus_plus", |stages, input, layer, targets| {
        let settings = SmoothGradCamPlusPlus::default().with_copies(2);
        smooth_grad_cam_plus_plus(stages, input, layer, targets, &settings)
    }),
    (
        "smooth_grad_cam_plus_plus_with_noise",
        |stages, input, layer, targets| smooth_grad_cam_plus_plus_with_noise(stages, input, layer, targets, input),
    ),
    ("full_grad", |stages, input, _, targets| {
        full_grad(stages, input, targets, Rescaling::Channel)
    }),
    ("guided_grad_cam", |stages, input, layer, targets| {
        let gradient = guided_backpropagation(stages, input, &["relu1", layer], targets)?;
        let maps = gradient_methods(stages, input, "relu2", targets)?;
        Maps::new(&guided_grad_cam(&gradient, &maps)?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Float)?)
    }),
    ("test_time_augmentation", |stages, input, layer, targets| {
        let views = TestTimeAugmentation::default()
            .with_flips([Flip::LeftRight])
            .with_scales([1.0, 1.5]);
        test_time_augmentation(input, &views, |input| gradient_methods(stages, input, layer, targets))
    }),
    ("ablation_cam", |stages, input, layer, targets| {
        probed(stages, input, targets, |probe| ablation_cam(probe, layer))
    }),
    ("ablation_cam from another capture", |stages, input, layer, targets| {
        let capture = stages.capture(&SmallNet::images(1).input(1, 1), &["relu1"])?;
        ablation_cam(&Probe::from_capture(stages, input, &capture, targets)?, layer)
    }),
    ("recipro_cam", |stages, input, layer, targets| {
        probed(stages, input, targets, |probe| {
            recipro_cam(probe, layer, ReciproMask::Gaussian)
        })
    }),
    ("score_cam", |stages, input, layer, targets| {
        probed(stages, input, targets, |probe| {
            score_cam(probe, layer, &ScoreCam::default())
        })
    }),
    ("ss_cam", |stages, input, layer, targets| {
        probed(stages, input, targets, |probe| {
            ss_cam(probe, layer, &SsCam::default().with_draws(1))
        })
    }),
    ("ss_cam_with_noise", |stages, input, layer, targets| {
        probed(stages, input, targets, |probe| {
            ss_cam_with_noise(probe, layer, &SsCam::default(), input)
        })
    }),
    ("is_cam", |stages, input, layer, targets| {
        probed(stages, input, targets, |probe| {
            is_cam(probe, layer, &IsCam::default().with_steps(2))
        })
    }),
    ("group_cam", |stages, input, layer, targets| {
        probed(stages, input, targets, |probe| {
            group_cam(probe, layer, &GroupCam::default().with_groups(2).with_blur(40, 5.0))
        })
    }),
    ("rise", |stages, input, _, targets| {
        probed(stages, input, targets, |probe| {
            rise(probe, &Rise::default().with_masks(3))
        })
    }),
    ("rise_with_masks", |stages, input, _, targets| {
        probed(stages, input, targets, |probe| rise_with_masks(probe, input))
    }),
    ("occlusion_sensitivity", |stages, input, _, targets| {
        let settings = OcclusionSensitivity::default().with_window([5]).with_stride([4]);
        probed(stages, input, targets, |probe| occlusion_sensitivity(probe, &settings))
    }),
    ("cam", |stages, input, layer, targets| {
        probed(stages, input, targets, |probe| cam(probe, layer))
    }),
    ("cam_with_weights", |stages, input, layer, targets| {
        probed(stages, input, targets, |probe| cam_with_weights(probe, layer, input))
    }),
    ("methods on activations", |_, input, _, _| {
        weighted_cam(input, input)?;
        fem(input, 1.0)?;
        kpca_cam(input, KpcaKernel::default())?;
        let maps = eigen_cam(input)?;
        maps.heatmaps(&input.size()[1..])?;
        Ok(maps)
    }),
];

#[test]
fn odd_inputs_give_errors_or_finite_maps() {
    let net = SmallNet::images(5);
    let stages = net.stages();
    let usual = net.input(1, 7);
    let with = |value: f64| {
        let input = usual.copy();
        let _ = input.get(0).get(1).get(3).narrow(0, 2, 1).fill_(value);
        input
    };
    let empty = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let inputs = [
        ("as usual", usual.shallow_clone()),
        ("no sample", empty(&[0, 2, 12, 17])),
        ("no channel", empty(&[1, 0, 12, 17])),
        ("no row", empty(&[1, 2, 0, 17])),
        ("no axis", empty(&[])),
        ("one axis", empty(&[2])),
        ("two axes", normal(&[2, 5], 1)),
        ("three axes", normal(&[2, 12, 17], 1)),
        ("a volume", normal(&[1, 2, 5, 12, 17], 1)),
        ("six axes", normal(&[1, 2, 1, 2, 5, 6], 1)),
        ("another number of channels", normal(&[1, 5, 12, 17], 1)),
        ("one pixel", normal(&[1, 2, 1, 1], 1)),
        ("too few pixels", normal(&[1, 2, 2, 2], 1)),
        ("NaN", with(f64::NAN)),
        ("infinite", with(f64::NEG_INFINITY)),
        ("huge", with(1e38)),
        ("tiny", with(1e-45)),
        ("black", usual.zeros_like()),
        ("whole numbers", usual.to_kind(Kind::Int64)),
        ("yes and no", usual.gt(0.0)),
        ("complex", usual.to_kind(Kind::ComplexFloat)),
        ("double", usual.to_kind(Kind::Double)),
        (
            "a view of every second column",
            normal(&[1, 2, 12, 34], 1).slice(3, 0, None, 2),
        ),
        (
            "one row for all",
            normal(&[1, 2, 1, 17], 1).expand([1, 2, 12, 17], false),
        ),
    ];
    let targets: Vec<(&str, Vec<Target>)> = vec![
        ("one", vec![Target::Class(1)]),
        ("none", vec![]),
        ("two", vec![Target::Predicted; 2]),
        ("negative", vec![Target::Class(-1)]),
        ("out of range", vec![Target::Class(4)]),
        ("least", vec![Target::Class(i64::MIN).probability()]),
        ("largest", vec![Target::Class(i64::MAX).counterfactual()]),
        ("against none", vec![Target::Class(1).against([], 1.0)]),
        ("against one out of range", vec![Target::Class(1).against([9], 1.0)]),
        ("against itself", vec![Target::Predicted.against([0, 1, 2, 3], 1.0)]),
        ("against one twice", vec![Target::Class(1).against([0, 0], 1.0)]),
        ("a sigmoid of none", vec![Target::Class(4).sigmoid()]),
        ("NaN times another", vec![Target::Class(1).against([2], f64::NAN)]),
    ];
    let mut wrong = Vec::new();
    let mut maps_made = 0;
    for (name, way) in WAYS {
        for (input_name, input) in &inputs {
            for (target_name, targets) in &targets {
                for layer in ["relu2", "pool", "", "no such layer"] {
                    // One odd thing at a time.
                    if *input_name != "as usual" && (*target_name != "one" || layer != "relu2") {
                        continue;
                    }
                    let found = catch_unwind(AssertUnwindSafe(|| way(&stages, input, layer, targets)));
                    let what = format!("{name}, {input_name}, target {target_name}, layer `{layer}`");
                    match found {
                        Err(_) => wrong.push(format!("{what}: panic")),
                        Ok(Err(error)) if error.to_string().is_empty() => wrong.push(format!("{what}: says nothing")),
                        Ok(Err(_)) => {}
                        Ok(Ok(maps)) => {
                            maps_made += 1;
                            if bool::try_from(maps.tensor().isfinite().all()).is_ok_and(|finite| finite) {
                                continue;
                            }
                            wrong.push(format!("{what}: not finite"));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
    assert!(maps_made > 50, "{maps_made}");
}

/// Settings at the ends of what their types hold.
#[test]
fn extreme_settings_give_errors_or_maps() {
    let net = SmallNet::images(5);
    let (stages, input) = (net.stages(), net.input(1, 7));
    let targets = [Target::Class(1)];
    let probe = Probe::new(&stages, &input, &targets).unwrap();
    let capture = stages.capture(&input, &["relu2"]).unwrap();
    let maps = ablation_cam(&probe, "relu2").unwrap();
    let small = array(maps.tensor());
    let activations = array(capture.activations("relu2").unwrap());
    let rise_with = |settings: Rise| rise(&probe, &settings.with_masks(2)).map(drop);
    let windows = |window: i64, stride: i64| {
        let settings = OcclusionSensitivity::default()
            .with_window([window])
            .with_stride([stride]);
        occlusion_sensitivity(&probe, &settings).map(drop)
    };
    let group = |settings: GroupCam| group_cam(&probe, "relu2", &settings).map(drop);
    let smooth = |settings: SmoothGradCamPlusPlus| {
        smooth_grad_cam_plus_plus(&stages, &input, "relu2", &targets, &settings.with_copies(1)).map(drop)
    };
    let views = |views: TestTimeAugmentation| {
        let maps = |input: &Tensor| gradient_methods(&stages, input, "relu2", &targets);
        test_time_augmentation(&input, &views, maps).map(drop)
    };
    let factorise =
        |settings: DeepFeatureFactorisation| deep_feature_factorisation(activations.view(), &settings).map(drop);
    let all = TestTimeAugmentation::default();
    let alike = KpcaKernel::default();
    let picture = RgbImage::new(3, 2);
    let mask = ndarray::arr2(&[[true, false, false], [false; 3]]);
    type Call<'a> = Box<dyn Fn() -> Result<(), CamError> + 'a>;
    let ways: Vec<(&str, Call<'_>)> = vec![
        ("cells", Box::new(|| rise_with(Rise::default().with_cells(usize::MAX)))),
        (
            "half of all cells",
            Box::new(|| rise_with(Rise::default().with_cells(usize::MAX / 2))),
        ),
        ("a stride", Box::new(|| windows(3, i64::MAX))),
        ("a window", Box::new(|| windows(i64::MAX, 1))),
        ("a negative window", Box::new(|| windows(i64::MIN, i64::MIN))),
        (
            "groups",
            Box::new(|| group(GroupCam::default().with_groups(usize::MAX))),
        ),
        (
            "a blur",
            Box::new(|| group(GroupCam::default().with_blur(usize::MAX, 1.0))),
        ),
        (
            "half of a blur",
            Box::new(|| group(GroupCam::default().with_blur(usize::MAX / 2, 1.0))),
        ),
        (
            "a sharp blur",
            Box::new(|| group(GroupCam::default().with_blur(3, f64::MIN_POSITIVE))),
        ),
        (
            "a wide blur",
            Box::new(|| group(GroupCam::default().with_blur(3, f64::MAX))),
        ),
        (
            "noise",
            Box::new(|| smooth(SmoothGradCamPlusPlus::default().with_deviation(f64::MAX))),
        ),
        (
            "negative noise",
            Box::new(|| smooth(SmoothGradCamPlusPlus::default().with_deviation(-1.0))),
        ),
        ("a scale", Box::new(|| views(all.clone().with_scales([f64::MAX])))),
        (
            "a small scale",
            Box::new(|| views(all.clone().with_scales([f64::MIN_POSITIVE]))),
        ),
        ("no scale", Box::new(|| views(all.clone().with_scales([])))),
        ("a NaN scale", Box::new(|| views(all.clone().with_scales([f64::NAN])))),
        (
            "a factor",
            Box::new(|| views(all.clone().with_factors([f64::INFINITY]))),
        ),
        (
            "concepts",
            Box::new(|| factorise(DeepFeatureFactorisation::default().with_concepts(usize::MAX))),
        ),
        (
            "no concept",
            Box::new(|| factorise(DeepFeatureFactorisation::default().with_concepts(0))),
        ),
        (
            "a tolerance",
            Box::new(|| factorise(DeepFeatureFactorisation::default().with_tolerance(f64::NAN))),
        ),
        (
            "channels",
            Box::new(|| {
                let channels = ScoreChannels::MostVaried(usize::MAX);
                score_cam(&probe, "relu2", &ScoreCam::default().with_channels(channels)).map(drop)
            }),
        ),
        (
            "places to compare",
            Box::new(|| kpca_cam(&Tensor::zeros([1, 1, 512, 512], (Kind::Float, Device::Cpu)), alike).map(drop)),
        ),
        (
            "places of arrays to compare",
            Box::new(|| {
                let layer = ndarray::Array4::zeros((1, 1, 512, 512));
                kernel::kpca_cam(layer.view(), alike, Parallelism::Serial).map(drop)
            }),
        ),
        ("a size", Box::new(|| maps.upsample(&[i64::MAX, 2]).map(drop))),
        ("a square", Box::new(|| maps.upsample(&[i64::MAX, i64::MAX]).map(drop))),
        (
            "a size of arrays",
            Box::new(|| kernel::upsample(small.view(), &[usize::MAX, 2], Parallelism::Rayon).map(drop)),
        ),
        (
            "a square of arrays",
            Box::new(|| kernel::upsample(small.view(), &[usize::MAX; 2], Parallelism::Serial).map(drop)),
        ),
        (
            "a random map",
            Box::new(|| random_cam(0, 0..1, &[2, 2], &[usize::MAX; 2]).map(drop)),
        ),
        (
            "a random grid",
            Box::new(|| random_cam(0, 0..1, &[usize::MAX; 2], &[2, 2]).map(drop)),
        ),
        (
            "random samples",
            Box::new(|| random_cam(0, 0..u64::MAX, &[2, 2], &[2, 2]).map(drop)),
        ),
        (
            "a contour",
            Box::new(|| contour(&picture, mask.view(), Rgb([0; 3]), u32::MAX).map(drop)),
        ),
        (
            "a gap",
            Box::new(|| side_by_side(&[picture.clone(), picture.clone()], 2, u32::MAX, Rgb([0; 3])).map(drop)),
        ),
        (
            "columns",
            Box::new(|| side_by_side(std::slice::from_ref(&picture), u32::MAX, 0, Rgb([0; 3])).map(drop)),
        ),
    ];
    let panics: Vec<&str> = ways
        .iter()
        .filter(|(_, way)| catch_unwind(AssertUnwindSafe(way)).is_err())
        .map(|(name, _)| *name)
        .collect();
    assert!(panics.is_empty(), "{panics:?}");
}
