//! Thresholds and masks against scikit-image, and against what must hold for every heatmap.

mod faults;
mod goldens;
mod identities;
mod masks;
mod pipeline;
mod refined;
