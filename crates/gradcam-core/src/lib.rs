//! gradcam-core
