//! The methods by name, each with its usual settings.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use gradcam_core::{
    CamError, Capture, FinerCam, GradientMethod, GroupCam, IsCam, Maps, OcclusionSensitivity, Probe, ReciproMask,
    Rescaling, Rise, ScoreCam, SmoothGradCamPlusPlus, SsCam, Stages, Target, ablation_cam, cam, eigen_cam, fem,
    finer_cam, full_grad, group_cam, is_cam, kernel::KpcaKernel, kpca_cam, occlusion_sensitivity, recipro_cam, rise,
    score_cam, seg_eigen_cam, shapley_cam, smooth_grad_cam_plus_plus, ss_cam,
};
use tch::Tensor;

/// A way from a network and an image to a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Gradient(GradientMethod),
    SegEigen,
    Shapley,
    Finer,
    Smooth,
    FullGrad,
    Cam,
    Eigen,
    Kpca,
    Fem,
    Ablation,
    Recipro,
    Score,
    Ss,
    Is,
    Group,
    Rise,
    Occlusion,
}

/// The methods beside those of [`GradientMethod`].
const OTHERS: [(Method, &str); 17] = [
    (Method::SegEigen, "seg-eigen-cam"),
    (Method::Shapley, "shapley-cam"),
    (Method::Finer, "finer-cam"),
    (Method::Smooth, "smooth-grad-cam++"),
    (Method::FullGrad, "fullgrad"),
    (Method::Cam, "cam"),
    (Method::Eigen, "eigen-cam"),
    (Method::Kpca, "kpca-cam"),
    (Method::Fem, "fem"),
    (Method::Ablation, "ablation-cam"),
    (Method::Recipro, "recipro-cam"),
    (Method::Score, "score-cam"),
    (Method::Ss, "ss-cam"),
    (Method::Is, "is-cam"),
    (Method::Group, "group-cam"),
    (Method::Rise, "rise"),
    (Method::Occlusion, "occlusion"),
];

impl Method {
    pub fn all() -> impl Iterator<Item = Self> {
        let others = OTHERS.into_iter().map(|(method, _)| method);
        GradientMethod::ALL.into_iter().map(Self::Gradient).chain(others)
    }

    /// The map of one image. The methods of activations alone (Eigen-CAM, KPCA-CAM, FEM) look at no target; those
    /// of the whole input (FullGrad, RISE, occlusion) at no layer. Shapley-CAM, Recipro-CAM, Group-CAM and RISE take
    /// what their authors make of the class.
    pub fn maps(self, of: &Explained<'_>, target: Target) -> Result<Maps, CamError> {
        let &Explained {
            stages,
            input,
            capture,
            layer,
        } = of;
        let targets = [match (self, capture.logits().size()[1]) {
            // A softmax of one logit tells nothing.
            (Self::Shapley | Self::Recipro | Self::Group | Self::Rise, 1) => target.sigmoid(),
            (Self::Shapley, _) => target.residual_softmax(),
            (Self::Recipro | Self::Group | Self::Rise, _) => target.probability(),
            _ => target,
        }];
        let probe = || Probe::from_capture(stages, input, capture, &targets);
        match self {
            Self::Gradient(method) => method.maps(&capture.gradients(&targets)?.at(layer)?),
            Self::SegEigen => seg_eigen_cam(&capture.gradients(&targets)?.at(layer)?),
            Self::Shapley => shapley_cam(capture, layer, &targets),
            Self::Finer => finer_cam(capture, layer, &targets, &FinerCam::default()),
            Self::Smooth => {
                smooth_grad_cam_plus_plus(stages, input, layer, &targets, &SmoothGradCamPlusPlus::default())
            }
            Self::FullGrad => full_grad(stages, input, &targets, Rescaling::default()),
            Self::Cam => cam(&probe()?, layer),
            Self::Eigen => eigen_cam(capture.activations(layer)?),
            Self::Kpca => kpca_cam(capture.activations(layer)?, KpcaKernel::default()),
            Self::Fem => fem(capture.activations(layer)?, 2.0),
            Self::Ablation => ablation_cam(&probe()?, layer),
            Self::Recipro => recipro_cam(&probe()?, layer, ReciproMask::default()),
            Self::Score => score_cam(&probe()?, layer, &ScoreCam::default()),
            Self::Ss => ss_cam(&probe()?, layer, &SsCam::default()),
            Self::Is => is_cam(&probe()?, layer, &IsCam::default()),
            Self::Group => group_cam(&probe()?, layer, &GroupCam::default()),
            Self::Rise => rise(&probe()?, &Rise::default()),
            Self::Occlusion => occlusion_sensitivity(&probe()?, &OcclusionSensitivity::default()),
        }
    }
}

/// What a method may look at.
#[derive(Debug, Clone, Copy)]
pub struct Explained<'a> {
    pub stages: &'a Stages<'a>,
    /// One image.
    pub input: &'a Tensor,
    /// The network run on it.
    pub capture: &'a Capture,
    pub layer: &'a str,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gradient(method) => method.fmt(f),
            other => f.write_str(
                OTHERS
                    .iter()
                    .find(|(method, _)| method == other)
                    .map_or("", |(_, name)| name),
            ),
        }
    }
}

impl FromStr for Method {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
        if let Some(method) = Self::all().find(|method| plain(&method.to_string()) == plain(name)) {
            return Ok(method);
        }
        let known: Vec<String> = Self::all().map(|method| method.to_string()).collect();
        bail!("there is no method `{name}`; there are: {}", known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use gradcam_core::{Stage, grad_cam};
    use tch::{Device, Kind};

    use super::*;

    /// Of two channels: a class that sees the first, and one that sees the square of their sum.
    fn network(classes: i64) -> Stages<'static> {
        let stages = vec![
            Stage::new("image", |x| x.f_relu()),
            Stage::new("logits", move |x| {
                let means = x.f_mean_dim([2i64, 3].as_slice(), false, None)?;
                let both = means.f_sum_dim_intlist([1i64].as_slice(), true, None)?.f_square()?;
                Tensor::f_cat(&[means.f_narrow(1, 0, 1)?, both], 1)?.f_narrow(1, 0, classes)
            }),
        ];
        Stages::new(stages).unwrap()
    }

    fn input() -> Tensor {
        let values = Tensor::arange(2 * 8 * 8, (Kind::Float, Device::Cpu)) * 0.9;
        values.sin().view([1, 2, 8, 8])
    }

    fn map(method: Method, stages: &Stages<'_>, target: Target) -> Tensor {
        let input = input();
        let capture = stages.capture(&input, &["image"]).unwrap();
        let of = Explained {
            stages,
            input: &input,
            capture: &capture,
            layer: "image",
        };
        method.maps(&of, target).unwrap().tensor().shallow_clone()
    }

    #[test]
    fn shapley_cam_takes_the_papers_target() {
        let stages = network(2);
        let capture = stages.capture(&input(), &["image"]).unwrap();
        let found = map(Method::Shapley, &stages, Target::Class(0));
        let own = [Target::Class(0).residual_softmax()];
        assert_eq!(&found, shapley_cam(&capture, "image", &own).unwrap().tensor());
        let gradients = capture.gradients(&[Target::Class(0)]).unwrap();
        assert_ne!(&found, grad_cam(&gradients.at("image").unwrap()).unwrap().tensor());
    }

    /// Of one logit no softmax is asked.
    #[test]
    fn a_single_logit_serves_methods_that_take_a_probability() {
        let stages = network(1);
        for method in [Method::Shapley, Method::Recipro, Method::Group, Method::Rise] {
            assert!(
                map(method, &stages, Target::Class(0)).max().double_value(&[]) > 0.0,
                "{method}"
            );
        }
    }
}
