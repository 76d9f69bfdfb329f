//! What a training makes small: the mean squared error of D, or the likelihood of its errors.
//!
//! With a variance of its own for each sub-image and component, the negative logarithm of a Gaussian likelihood is
//! ½ (e² exp(−s) + s), s = ln σ² (Nix and Weigend, ICNN 1994, eq. 7; Kendall and Gal, NIPS 2017, eq. 8): where errors are large by nature
//! they count less. Outputs and labels of a sub-image are `[dx, dy, (ln σx², ln σy²), others…]` and `[dx, dy, others…]`, each in
//! units of its own scale.

use super::architecture::OUTPUTS;

/// Beyond this the logarithm of a variance is not believed, so that exp(−s) stays a number of ordinary size: errors between
/// 0.0006 and 1800 of the scale.
const LIMIT: f32 = 15.0;

/// The parts of a loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Loss {
    /// Whether the outputs hold the logarithms of variances.
    pub variance: bool,
    /// Weight of the squared errors of what is said beside D.
    pub auxiliary_weight: f64,
}

impl Loss {
    /// Sum of the squared errors of D of a sub-image; `gradient` becomes that of the loss with respect to `outputs`, times
    /// `share`.
    pub(super) fn gradient(
        self,
        outputs: &[f32],
        labels: &[f32],
        share: f32,
        gradient: &mut [f32],
    ) -> f64 {
        let first_extra = if self.variance { 2 * OUTPUTS } else { OUTPUTS };
        let mut squares = 0.0;
        for c in 0..OUTPUTS {
            let error = outputs[c] - labels[c];
            squares += f64::from(error).powi(2);
            gradient[c] = error * share;
            if self.variance {
                let s = outputs[OUTPUTS + c];
                let precision = (-s.clamp(-LIMIT, LIMIT)).exp();
                gradient[c] *= precision;
                // Outside of the limits s is only drawn back.
                let of_error = if s < LIMIT {
                    error * error * precision
                } else {
                    0.0
                };
                let of_logarithm = if s > -LIMIT { 1.0 } else { 0.0 };
                gradient[OUTPUTS + c] = 0.5 * (of_logarithm - of_error) * share;
            }
        }
        let extra = outputs[first_extra..].iter().zip(&labels[OUTPUTS..]);
        for ((output, label), gradient) in extra.zip(&mut gradient[first_extra..]) {
            *gradient = (output - label) * share * self.auxiliary_weight as f32;
        }
        squares
    }
}

/// The variance that the output `s` stands for, in units of the squared scale.
pub(super) fn variance(s: f32) -> f64 {
    f64::from(s.clamp(-LIMIT, LIMIT)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loss itself, in f64.
    fn value(outputs: &[f32], labels: &[f32], weight: f64) -> f64 {
        let at = |i: usize| f64::from(outputs[i]);
        let error = |i: usize, c: usize| (at(i) - f64::from(labels[c])).powi(2);
        let of_d = |c: usize| error(c, c) * (-at(2 + c)).exp() + at(2 + c);
        0.5 * (of_d(0) + of_d(1) + weight * (error(4, 2) + error(5, 3)))
    }

    #[test]
    fn the_gradient_of_the_likelihood_is_the_finite_difference() {
        let loss = Loss {
            variance: true,
            auxiliary_weight: 0.3,
        };
        let (outputs, labels) = ([0.4_f32, -1.2, 0.6, -1.0, 2.0, 0.1], [1.0, -0.7, 1.5, 0.3]);
        let mut gradient = [0.0; 6];
        let squares = loss.gradient(&outputs, &labels, 1.0, &mut gradient);
        assert!((squares - (0.36 + 0.25)).abs() < 1e-6);
        for i in 0..6 {
            let shifted = |by: f32| {
                let mut outputs = outputs;
                outputs[i] += by;
                value(&outputs, &labels, 0.3)
            };
            let step = 1.0 / 256.0;
            let numeric = (shifted(step) - shifted(-step)) / (2.0 * f64::from(step));
            // The third derivative is near 1: the difference quotient is off by step²/6.
            assert!((numeric - f64::from(gradient[i])).abs() < 1e-5, "{i}");
        }
    }

    #[test]
    fn without_variance_it_is_the_squared_error() {
        let loss = Loss {
            variance: false,
            auxiliary_weight: 0.0,
        };
        let mut gradient = [0.0; 2];
        let squares = loss.gradient(&[3.0, 1.0], &[1.0, 0.0], 0.5, &mut gradient);
        assert_eq!((squares, gradient), (5.0, [1.0, 0.5]));
    }
}
