//! Tests through the public interface, a module per topic.

#[cfg(feature = "torch")]
mod ablation_cam;
#[cfg(feature = "torch")]
mod activation_methods;
#[cfg(feature = "torch")]
mod batch_equals_single;
#[cfg(feature = "torch")]
mod cam;
#[cfg(feature = "torch")]
mod capture;
#[cfg(feature = "torch")]
mod carrying;
mod deep_feature_factorisation;
#[cfg(feature = "torch")]
mod eigen_smoothing;
#[cfg(feature = "torch")]
mod finer_cam;
#[cfg(feature = "torch")]
mod full_grad;
#[cfg(feature = "torch")]
mod fusion;
#[cfg(feature = "torch")]
mod goldens;
#[cfg(feature = "torch")]
mod grad_cam;
#[cfg(feature = "torch")]
mod gradient_methods;
#[cfg(feature = "torch")]
mod group_cam;
#[cfg(feature = "torch")]
mod guided_backpropagation;
#[cfg(feature = "torch")]
mod heatmap;
#[cfg(feature = "torch")]
mod is_cam;
mod kernel;
#[cfg(feature = "torch")]
mod left_alone;
#[cfg(feature = "torch")]
mod occlusion_sensitivity;
#[cfg(feature = "torch")]
mod odd_input;
mod overlay;
#[cfg(feature = "torch")]
mod perturbation_methods;
#[cfg(feature = "torch")]
mod polarity;
#[cfg(feature = "torch")]
mod probe;
#[cfg(feature = "torch")]
mod properties;
mod random_cam;
#[cfg(feature = "torch")]
mod recipro_cam;
#[cfg(feature = "torch")]
mod refine_cam;
#[cfg(feature = "torch")]
mod rise;
#[cfg(feature = "torch")]
mod score_cam;
#[cfg(feature = "torch")]
mod seg_eigen_cam;
#[cfg(feature = "torch")]
mod shapley_cam;
#[cfg(feature = "torch")]
mod small_net;
#[cfg(feature = "torch")]
mod smooth_grad_cam_plus_plus;
#[cfg(feature = "torch")]
mod ss_cam;
#[cfg(feature = "torch")]
mod target;
#[cfg(feature = "torch")]
mod test_time_augmentation;
#[cfg(feature = "torch")]
mod two_layers;
mod window;

/// Settings and results can be handed between threads.
#[test]
fn plain_types_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<gradcam_core::ColourMap>();
    check::<gradcam_core::Content>();
    check::<gradcam_core::DeepFeatureFactorisation>();
    check::<gradcam_core::Factorisation>();
    check::<gradcam_core::Fusion>();
    check::<gradcam_core::Parallelism>();
    check::<gradcam_core::kernel::KpcaKernel>();
    check::<gradcam_core::kernel::Normalised<ndarray::IxDyn>>();
    check::<gradcam_core::Values>();
    check::<gradcam_core::Window>();
    #[cfg(feature = "torch")]
    {
        check::<gradcam_core::AblationValue>();
        check::<gradcam_core::FinerCam>();
        check::<gradcam_core::GradientMethod>();
        check::<gradcam_core::Rescaling>();
        check::<gradcam_core::SmoothGradCamPlusPlus>();
        check::<gradcam_core::GroupCam>();
        check::<gradcam_core::IsCam>();
        check::<gradcam_core::OcclusionSensitivity>();
        check::<gradcam_core::ReciproMask>();
        check::<gradcam_core::Rise>();
        check::<gradcam_core::ScoreCam>();
        check::<gradcam_core::SsCam>();
        check::<gradcam_core::Target>();
        check::<gradcam_core::TestTimeAugmentation>();
    }
}
