//! Scores against scikit-learn and scipy, and against what must hold for every pair of masks.

mod bootstrap;
mod centrelines;
mod faults;
mod heatmaps;
mod lesions;
mod localisation;
mod masks;
mod odd_inputs;
mod overlaps;
mod paired_tests;
mod pairs;
mod scores;
mod surface_elements;
mod surfaces;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// The same cases on every run.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 128,
        rng_seed: RngSeed::Fixed(1945),
        failure_persistence: None,
        ..Default::default()
    }
}
