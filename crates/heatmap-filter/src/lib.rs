//! heatmap-filter
