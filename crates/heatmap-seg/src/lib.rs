//! heatmap-seg
