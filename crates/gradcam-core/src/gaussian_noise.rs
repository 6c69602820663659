//! Normal noise that depends on seed and stream alone.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Fills `values` with independent normal values of mean zero, by the method of Box and Muller.
pub(crate) fn gaussian_noise(seed: u64, stream: [u32; 2], deviation: f64, values: &mut [f32]) {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(u64::from(stream[0]) << 32 | u64::from(stream[1]));
    let deviation = deviation as f32;
    for pair in values.chunks_mut(2) {
        // In (0, 1], where the logarithm is finite.
        let radius = deviation * (-2.0 * (1.0 - generator.random::<f32>()).ln()).sqrt();
        let (sine, cosine) = (std::f32::consts::TAU * generator.random::<f32>()).sin_cos();
        pair[0] = radius * cosine;
        if let Some(second) = pair.get_mut(1) {
            *second = radius * sine;
        }
    }
}
