//! Scores against scikit-learn and scipy, and against what must hold for every pair of masks.

mod bootstrap;
mod faults;
mod heatmaps;
mod masks;
mod measures;
mod pairs;
mod scores;
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
