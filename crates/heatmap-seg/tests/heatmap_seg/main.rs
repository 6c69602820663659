//! Thresholds and masks against scikit-image, and against what must hold for every heatmap.

mod colour;
mod dense_crf;
mod faults;
mod golden;
mod goldens;
mod identities;
mod masks;
mod pipeline;
mod refined;
mod superpixels;
