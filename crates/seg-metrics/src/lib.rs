//! seg-metrics
