//! The standard normal distribution: its distribution function and that function's inverse.

use std::f64::consts::SQRT_2;

/// `Φ(z)`, the chance of a value up to `z`.
pub(crate) fn cdf(z: f64) -> f64 {
    libm::erfc(-z / SQRT_2) / 2.0
}

/// `Φ⁻¹(p)` for `0 < p < 1`, to about 16 digits.
///
/// Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", 1988,
/// [10.2307/2347330](https://doi.org/10.2307/2347330), PPND16.
#[allow(clippy::excessive_precision)]
pub(crate) fn quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * ratio(
            r,
            [
                3.3871328727963666080e0,
                1.3314166789178437745e2,
                1.9715909503065514427e3,
                1.3731693765509461125e4,
                4.5921953931549871457e4,
                6.7265770927008700853e4,
                3.3430575583588128105e4,
                2.5090809287301226727e3,
            ],
            [
                1.0,
                4.2313330701600911252e1,
                6.8718700749205790830e2,
                5.3941960214247511077e3,
                2.1213794301586595867e4,
                3.9307895800092710610e4,
                2.8729085735721942674e4,
                5.2264952788528545610e3,
            ],
        );
    }
    let r = (-p.min(1.0 - p).ln()).sqrt();
    let z = if r <= 5.0 {
        ratio(
            r - 1.6,
            [
                1.42343711074968357734e0,
                4.63033784615654529590e0,
                5.76949722146069140550e0,
                3.64784832476320460504e0,
                1.27045825245236838258e0,
                2.41780725177450611770e-1,
                2.27238449892691845833e-2,
                7.74545014278341407640e-4,
            ],
            [
                1.0,
                2.05319162663775882187e0,
                1.67638483018380384940e0,
                6.89767334985100004550e-1,
                1.48103976427480074590e-1,
                1.51986665636164571966e-2,
                5.47593808499534494600e-4,
                1.05075007164441684324e-9,
            ],
        )
    } else {
        ratio(
            r - 5.0,
            [
                6.65790464350110377720e0,
                5.46378491116411436990e0,
                1.78482653991729133580e0,
                2.96560571828504891230e-1,
                2.65321895265761230930e-2,
                1.24266094738807843860e-3,
                2.71155556874348757815e-5,
                2.01033439929228813265e-7,
            ],
            [
                1.0,
                5.99832206555887937690e-1,
                1.36929880922735805310e-1,
                1.48753612908506148525e-2,
                7.86869131145613259100e-4,
                1.84631831751005468180e-5,
                1.42151175831644588870e-7,
                2.04426310338993978564e-15,
            ],
        )
    };
    if q < 0.0 { -z } else { z }
}

/// A ratio of polynomials, coefficients from the constant up.
fn ratio(x: f64, numerator: [f64; 8], denominator: [f64; 8]) -> f64 {
    let polynomial = |coefficients: [f64; 8]| coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c);
    polynomial(numerator) / polynomial(denominator)
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::{cdf, quantile};

    /// `scipy.stats.norm.ppf` of scipy 1.17.1; the tolerance is a few roundings.
    #[test]
    fn quantile_agrees_with_scipy() {
        for (p, z) in [
            (1e-300, -37.0470962993612),
            (1e-12, -7.034483825301131),
            (0.001, -3.090232306167813),
            (0.025, -1.9599639845400545),
            (0.3, -0.5244005127080409),
            (0.5, 0.0),
            (0.9, 1.2815515655446004),
            (0.975, 1.959963984540054),
        ] {
            assert_relative_eq!(quantile(p), z, max_relative = 2e-14);
        }
    }

    #[test]
    fn cdf_undoes_quantile() {
        for step in 1..1000 {
            let p = f64::from(step) / 1000.0;
            assert_relative_eq!(cdf(quantile(p)), p, max_relative = 1e-14);
        }
    }
}
