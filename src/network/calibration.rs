//! Making the predicted uncertainty the size of the errors.
//!
//! The spread of a few networks says where they are unsure, but not by how much: it is small by chance here and there, and
//! networks share errors. A residual added in square mends both (after Kuleshov, Fenner and Ermon, ICML 2018, who fit the
//! predicted distribution to held-out errors).

use super::prediction::Predictions;
use super::samples::Samples;

/// The residual r that makes the mean of error²/(spread² + noise² + r²) over `samples` 1, by component [pm]; 0 where the spread alone
/// is larger than the errors.
pub(super) fn residual(predicted: &Predictions, samples: &Samples) -> [f64; 2] {
    std::array::from_fn(|c| {
        let (mean, spread) = (predicted.mean.column(c), predicted.spread.column(c));
        let noise = predicted.noise.column(c);
        let errors = mean.iter().zip(samples.targets.column(c));
        let terms: Vec<(f64, f64)> = errors
            .zip(spread.iter().zip(noise))
            .map(|((mean, &target), (&spread, noise))| {
                // A single network has no spread.
                let spread = if spread.is_nan() { 0.0 } else { spread };
                (
                    (mean - f64::from(target)).powi(2),
                    spread.powi(2) + noise.powi(2),
                )
            })
            .collect();
        let count = terms.len() as f64;
        // At r² = mean error² the mean is at most 1, and it falls with r: bisect, to the last bit of f64.
        let (mut low, mut high) = (0.0, terms.iter().map(|t| t.0).sum::<f64>() / count);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            let scaled = terms
                .iter()
                .map(|(error, spread)| error / (spread + middle));
            if scaled.sum::<f64>() > count {
                low = middle;
            } else {
                high = middle;
            }
        }
        high.sqrt()
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array4, array};

    use super::*;

    fn validation(errors: Array2<f32>) -> Samples {
        Samples {
            subimages: Array4::zeros((errors.nrows(), 1, 1, 1)),
            targets: errors,
        }
    }

    fn zero_means(spread: Array2<f64>) -> Predictions {
        let mean = Array2::zeros(spread.raw_dim());
        Predictions {
            mean,
            noise: Array2::zeros(spread.raw_dim()),
            sigma: spread.clone(),
            spread,
        }
    }

    #[test]
    fn without_spread_the_residual_is_the_root_mean_square_error() {
        let predicted = zero_means(Array2::from_elem((2, 2), f64::NAN));
        let [x, y] = residual(&predicted, &validation(array![[3.0, 1.0], [-4.0, 1.0]]));
        assert!((x - 12.5_f64.sqrt()).abs() < 1e-12 && (y - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_spread_larger_than_the_errors_leaves_no_residual() {
        let predicted = zero_means(array![[5.0, 0.5], [6.0, 0.1]]);
        let samples = validation(array![[3.0, 1.0], [-4.0, 2.0]]);
        let [x, y] = residual(&predicted, &samples);
        assert!(x < 1e-6, "{x}");
        let scaled = 1.0 / (0.25 + y * y) + 4.0 / (0.01 + y * y);
        assert!((scaled / 2.0 - 1.0).abs() < 1e-9, "{scaled}");
    }
}
