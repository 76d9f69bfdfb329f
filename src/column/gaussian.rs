//! One elliptical Gaussian, and the small linear algebra of its six parameters.
//!
//! m(r) = h exp(−½ [p dx² + 2q dx dy + s dy²]); the quadratic form is the inverse of the covariance of the peak, which
//! has no angle that becomes undefined for a round column.

use crate::crystal::polarization::Point;

/// Number of parameters: height, x, y, p, q, s.
pub(super) const PARAMETERS: usize = 6;
/// Standard deviations of a column to which its model reaches; exp(−5²/2) = 4e-6.
const MODEL_REACH: f64 = 5.0;
/// One number per parameter.
pub(super) type Vector = [f64; PARAMETERS];
/// One row per parameter; symmetric ones are given by their lower triangle.
pub(super) type Matrix = [Vector; PARAMETERS];

/// Parameters of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gaussian {
    pub(super) height: f64,
    /// Centre [Å].
    pub(super) position: Point,
    /// `[p, q, s]` [1/Å²].
    pub(super) form: [f64; 3],
}

impl Gaussian {
    /// A round column of standard deviation `sigma` [Å].
    pub(super) fn round(height: f64, position: Point, sigma: f64) -> Self {
        let p = 1.0 / (sigma * sigma);
        Self {
            height,
            position,
            form: [p, 0.0, p],
        }
    }

    /// An ellipse of principal standard deviations `widths` [Å], the first at `angle` from x towards y [rad].
    #[cfg(test)]
    pub(super) fn elliptic(height: f64, position: Point, widths: [f64; 2], angle: f64) -> Self {
        let ([u, v], (s, c)) = (widths.map(|w| w.powi(-2)), angle.sin_cos());
        Self {
            height,
            position,
            form: [
                u * c * c + v * s * s,
                (u - v) * c * s,
                u * s * s + v * c * c,
            ],
        }
    }

    /// Value at a point.
    #[cfg(test)]
    pub(super) fn peak(&self, at: Point) -> f64 {
        self.height * self.shape(at).0
    }

    /// Distance from the centre at which it is taken to end [Å]; 0 if it is no ellipse.
    pub(super) fn reach(&self) -> f64 {
        self.widths()
            .map_or(0.0, |(w, _)| MODEL_REACH * w[0].max(w[1]))
    }

    /// exp(−½ …), and the offset `[dx, dy]` from the centre.
    fn shape(&self, at: Point) -> (f64, f64, f64) {
        let (dx, dy) = (at[0] - self.position[0], at[1] - self.position[1]);
        let [p, q, s] = self.form;
        let exponent = -0.5 * (p * dx * dx + 2.0 * q * dx * dy + s * dy * dy);
        (exponent.exp(), dx, dy)
    }

    /// Principal standard deviations [Å], that of the axis nearest to x first, and the angle of this axis from x towards
    /// y [rad], within ±π/4; `None` where the form is no ellipse.
    pub(super) fn widths(&self) -> Option<([f64; 2], f64)> {
        let [p, q, s] = self.form;
        let (mean, half) = (0.5 * (p + s), (0.25 * (p - s) * (p - s) + q * q).sqrt());
        if !(mean - half > 0.0 && mean.is_finite()) {
            return None;
        }
        // The larger eigenvalue (narrower width) belongs to the axis at angle ½ atan2(2q, p − s).
        let mut angle = 0.5 * (2.0 * q).atan2(p - s);
        let mut widths = [(mean + half).sqrt().recip(), (mean - half).sqrt().recip()];
        if angle.abs() > std::f64::consts::FRAC_PI_4 {
            angle -= std::f64::consts::FRAC_PI_2.copysign(angle);
            widths.swap(0, 1);
        }
        Some((widths, angle))
    }

    pub(super) fn parameters(&self) -> Vector {
        let ([p, q, s], [x, y]) = (self.form, self.position);
        [self.height, x, y, p, q, s]
    }

    pub(super) fn from_parameters([height, x, y, p, q, s]: Vector) -> Self {
        Self {
            height,
            position: [x, y],
            form: [p, q, s],
        }
    }

    /// Value and derivatives with respect to the parameters.
    pub(super) fn derivatives(&self, at: Point) -> (f64, Vector) {
        let (shape, dx, dy) = self.shape(at);
        let [p, q, s] = self.form;
        let peak = self.height * shape;
        let gradient = [
            shape,
            peak * (p * dx + q * dy),
            peak * (q * dx + s * dy),
            -0.5 * peak * dx * dx,
            -peak * dx * dy,
            -0.5 * peak * dy * dy,
        ];
        (peak, gradient)
    }
}

/// Adds `weight` · slope slopeᵀ to the lower triangle.
pub(super) fn accumulate<const N: usize>(
    matrix: &mut [[f64; N]; N],
    slope: &[f64; N],
    weight: f64,
) {
    for i in 0..N {
        let scaled = weight * slope[i];
        for j in 0..=i {
            matrix[i][j] += scaled * slope[j];
        }
    }
}

#[expect(clippy::needless_range_loop, reason = "the algebra is in indices")]
/// Lower Cholesky factor of a matrix given by its lower triangle; `None` if it is not positive.
pub(super) fn cholesky<const N: usize>(matrix: &[[f64; N]; N]) -> Option<[[f64; N]; N]> {
    let mut lower = [[0.0; N]; N];
    for i in 0..N {
        for j in 0..=i {
            let mut sum = matrix[i][j];
            for k in 0..j {
                sum -= lower[i][k] * lower[j][k];
            }
            if i == j {
                if !(sum > 1e-14 * matrix[i][i] && sum.is_finite()) {
                    return None;
                }
                lower[i][i] = sum.sqrt();
            } else {
                lower[i][j] = sum / lower[j][j];
            }
        }
    }
    Some(lower)
}

/// Solves L Lᵀ x = right.
pub(super) fn solve<const N: usize>(lower: &[[f64; N]; N], right: &[f64; N]) -> [f64; N] {
    let mut x = *right;
    for i in 0..N {
        for k in 0..i {
            x[i] -= lower[i][k] * x[k];
        }
        x[i] /= lower[i][i];
    }
    for i in (0..N).rev() {
        for k in i + 1..N {
            x[i] -= lower[k][i] * x[k];
        }
        x[i] /= lower[i][i];
    }
    x
}

/// Inverse of L Lᵀ.
pub(super) fn inverse<const N: usize>(lower: &[[f64; N]; N]) -> [[f64; N]; N] {
    let mut inverse = [[0.0; N]; N];
    for (k, row) in inverse.iter_mut().enumerate() {
        let mut unit = [0.0; N];
        unit[k] = 1.0;
        *row = solve(lower, &unit);
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_are_finite_differences() {
        let gaussian = Gaussian {
            height: 3.0,
            position: [0.1, -0.2],
            form: [4.5, 0.8, 3.2],
        };
        let at = [0.35, 0.15];
        let (_, slope) = gaussian.derivatives(at);
        for k in 0..PARAMETERS {
            let moved = |step: f64| {
                let mut parameters = gaussian.parameters();
                parameters[k] += step;
                Gaussian::from_parameters(parameters).peak(at)
            };
            let finite = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!(
                (finite - slope[k]).abs() < 1e-8,
                "{k}: {finite} {}",
                slope[k]
            );
        }
    }

    #[test]
    fn widths_and_angle_come_back_from_the_form() {
        for (angle, wide, narrow) in [
            (0.3_f64, 0.6_f64, 0.4_f64),
            (-0.7, 0.4, 0.6),
            (0.0, 0.5, 0.45),
        ] {
            let gaussian = Gaussian::elliptic(1.0, [0.0; 2], [wide, narrow], angle);
            let (widths, found) = gaussian.widths().unwrap();
            assert!((widths[0] - wide).abs() < 1e-12 && (widths[1] - narrow).abs() < 1e-12);
            assert!((found - angle).abs() < 1e-12);
        }
    }
}
