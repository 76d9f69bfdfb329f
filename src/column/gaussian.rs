//! One elliptical Gaussian and its least-squares fit.
//!
//! m(r) = h exp(−½ [p dx² + 2q dx dy + s dy²]); the quadratic form is the inverse of the covariance of the peak, which
//! has no angle that becomes undefined for a round column. The fit is the damped Gauss–Newton method of Levenberg and
//! Marquardt (D. W. Marquardt, J. Soc. Indust. Appl. Math. 11, 431 (1963), with the damping scaled by the diagonal).

use crate::crystal::polarization::Point;

/// Number of parameters: height, x, y, p, q, s.
pub(super) const PARAMETERS: usize = 6;
/// Standard deviations of a column to which its model reaches; exp(−5²/2) = 4e-6.
const MODEL_REACH: f64 = 5.0;
/// Damping tried before a fit is given up; a step that small changes nothing.
const MAX_DAMPING: f64 = 1e9;
/// Iterations of one fit; every column is fitted again in the next sweep.
const MAX_ITERATIONS: usize = 8;
/// A fit is finished when the sum of squares falls by less than this fraction.
const PRECISION: f64 = 1e-6;

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

/// One pixel of a fit window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pixel {
    /// Centre of the pixel [Å].
    pub(super) position: Point,
    /// Intensity, background and neighbours subtracted.
    pub(super) value: f64,
    /// Weight in the sum of squares.
    pub(super) weight: f64,
    /// Variance of `value`, for the covariance of the result.
    pub(super) variance: f64,
}

/// Which parameters are free.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// All; the form is held near a typical one if there is one.
    Free(Option<Prior>),
    /// Height and position; the quadratic form is kept.
    Kept,
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

    /// Value at a point.
    pub(super) fn peak(&self, at: Point) -> f64 {
        self.height * self.shape(at).0
    }

    /// Distance from the centre at which it is taken to end [Å]; 0 if it is no ellipse.
    pub(super) fn reach(&self) -> f64 {
        self.widths()
            .map_or(0.0, |(w, _)| MODEL_REACH * w[0].max(w[1]))
    }

    /// Value at a point, and its derivative with respect to ln width.
    pub(super) fn peak_and_widening(&self, at: Point) -> (f64, f64) {
        let (shape, dx, dy) = self.shape(at);
        let [p, q, s] = self.form;
        let peak = self.height * shape;
        (peak, peak * (p * dx * dx + 2.0 * q * dx * dy + s * dy * dy))
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

/// What is known of the form of a column before its fit: a typical form, and how much columns differ from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prior {
    pub(super) form: [f64; 3],
    /// 1/variance of each entry of the form.
    pub(super) stiffness: f64,
}

/// A finished fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fitted {
    pub(super) gaussian: Gaussian,
    /// Standard deviations of x, y [Å] and of the height.
    pub(super) sigma: [f64; 3],
}

/// Fits the pixels, from `start`. `None` if it does not converge to a peak of an ellipse's shape.
pub(super) fn fit(pixels: &[Pixel], start: Gaussian, shape: Shape) -> Option<Fitted> {
    let (free, prior): (&[usize], _) = match shape {
        Shape::Free(prior) => (&[0, 1, 2, 3, 4, 5], prior),
        Shape::Kept => (&[0, 1, 2], None),
    };
    let problem = Problem {
        pixels,
        free,
        prior,
    };
    if pixels.len() <= free.len() {
        return None;
    }
    let mut gaussian = start;
    let mut damping = 1e-3;
    let (mut hessian, mut gradient, mut misfit) = problem.normal_equations(&gaussian);
    for _ in 0..MAX_ITERATIONS {
        let step = problem.damped_step(&gaussian, &hessian, &gradient, misfit, &mut damping);
        let Some((next, next_misfit)) = step else {
            break; // no step of any size lowers the misfit: a minimum within rounding
        };
        let gain = misfit - next_misfit;
        gaussian = next;
        (hessian, gradient, misfit) = problem.normal_equations(&gaussian);
        if gain <= PRECISION * misfit {
            break;
        }
    }
    gaussian.widths()?;
    let sigma = problem.standard_deviations(&gaussian, &hessian)?;
    let finite = gaussian.parameters().iter().all(|x| x.is_finite());
    finite.then_some(Fitted { gaussian, sigma })
}

/// What is minimized: Σ weight (value − model)² + stiffness |form − typical form|².
struct Problem<'a> {
    pixels: &'a [Pixel],
    free: &'a [usize],
    prior: Option<Prior>,
}

impl Problem<'_> {
    /// JᵀWJ, JᵀW(residual), and the weighted sum of squares, all with the prior's part.
    fn normal_equations(&self, gaussian: &Gaussian) -> (Matrix, Vector, f64) {
        let (mut hessian, mut gradient, mut misfit) =
            ([[0.0; PARAMETERS]; PARAMETERS], [0.0; PARAMETERS], 0.0);
        for pixel in self.pixels {
            let (value, slope) = gaussian.derivatives(pixel.position);
            let residual = pixel.value - value;
            misfit += pixel.weight * residual * residual;
            accumulate(&mut hessian, &slope, pixel.weight);
            for i in 0..PARAMETERS {
                gradient[i] += pixel.weight * residual * slope[i];
            }
        }
        if let Some(prior) = self.prior {
            for k in 0..3 {
                hessian[3 + k][3 + k] += prior.stiffness;
                gradient[3 + k] += prior.stiffness * (prior.form[k] - gaussian.form[k]);
            }
            misfit += self.prior_misfit(gaussian);
        }
        (hessian, gradient, misfit)
    }

    fn prior_misfit(&self, gaussian: &Gaussian) -> f64 {
        self.prior.map_or(0.0, |prior| {
            let squares = prior.form.iter().zip(&gaussian.form);
            prior.stiffness * squares.map(|(t, f)| (t - f).powi(2)).sum::<f64>()
        })
    }

    /// The next parameters and their misfit; raises the damping until the misfit falls. `None` if it never does.
    fn damped_step(
        &self,
        gaussian: &Gaussian,
        hessian: &Matrix,
        gradient: &Vector,
        misfit: f64,
        damping: &mut f64,
    ) -> Option<(Gaussian, f64)> {
        while *damping < MAX_DAMPING {
            let mut damped = *hessian;
            for (i, row) in damped.iter_mut().enumerate() {
                row[i] *= 1.0 + *damping;
            }
            if let Some(lower) = cholesky(&damped, self.free) {
                let step = solve(&lower, gradient, self.free);
                let mut parameters = gaussian.parameters();
                for i in 0..PARAMETERS {
                    parameters[i] += step[i];
                }
                let next = Gaussian::from_parameters(parameters);
                let next_misfit = self.misfit(&next);
                if next_misfit < misfit {
                    *damping = (*damping * 0.1).max(1e-9);
                    return Some((next, next_misfit));
                }
            }
            *damping *= 10.0;
        }
        None
    }

    fn misfit(&self, gaussian: &Gaussian) -> f64 {
        let mut sum = self.prior_misfit(gaussian);
        for pixel in self.pixels {
            let residual = pixel.value - gaussian.peak(pixel.position);
            sum += pixel.weight * residual * residual;
        }
        // A form that is no longer an ellipse grows without bound.
        if sum.is_finite() && gaussian.widths().is_some() {
            sum
        } else {
            f64::INFINITY
        }
    }

    /// Standard deviations of x, y and height: H⁻¹ (JᵀW V W J) H⁻¹ with H = JᵀWJ and V the pixels' variances, which is
    /// right for any weights (and H⁻¹ where W = 1/V).
    fn standard_deviations(&self, gaussian: &Gaussian, hessian: &Matrix) -> Option<[f64; 3]> {
        let mut spread = [[0.0; PARAMETERS]; PARAMETERS];
        for pixel in self.pixels {
            let (_, slope) = gaussian.derivatives(pixel.position);
            accumulate(
                &mut spread,
                &slope,
                pixel.weight * pixel.weight * pixel.variance,
            );
        }
        let lower = cholesky(hessian, self.free)?;
        let variance = |k: usize| {
            let mut unit = [0.0; PARAMETERS];
            unit[k] = 1.0;
            let row = solve(&lower, &unit, self.free);
            let mut sum = 0.0;
            for i in 0..PARAMETERS {
                for j in 0..PARAMETERS {
                    sum += row[i] * spread[i.max(j)][i.min(j)] * row[j];
                }
            }
            sum
        };
        Some([variance(1).sqrt(), variance(2).sqrt(), variance(0).sqrt()])
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

/// Lower Cholesky factor of the free rows and columns (the matrix is given by its lower triangle); `None` if not positive.
pub(super) fn cholesky<const N: usize>(
    matrix: &[[f64; N]; N],
    free: &[usize],
) -> Option<[[f64; N]; N]> {
    let mut lower = [[0.0; N]; N];
    for (n, &i) in free.iter().enumerate() {
        for &j in &free[..=n] {
            let mut sum = matrix[i][j];
            for &k in free.iter().take_while(|&&k| k < j) {
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

/// Solves L Lᵀ x = right over the free parameters; the others are 0.
pub(super) fn solve<const N: usize>(
    lower: &[[f64; N]; N],
    right: &[f64; N],
    free: &[usize],
) -> [f64; N] {
    let mut x = [0.0; N];
    for &i in free {
        let known: f64 = free
            .iter()
            .take_while(|&&k| k < i)
            .map(|&k| lower[i][k] * x[k])
            .sum();
        x[i] = (right[i] - known) / lower[i][i];
    }
    for &i in free.iter().rev() {
        let known: f64 = free
            .iter()
            .rev()
            .take_while(|&&k| k > i)
            .map(|&k| lower[k][i] * x[k])
            .sum();
        x[i] = (x[i] - known) / lower[i][i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(truth: &Gaussian) -> Vec<Pixel> {
        (0..225)
            .map(|i| {
                let position = [f64::from(i % 15) * 0.2, f64::from(i / 15) * 0.2];
                Pixel {
                    position,
                    value: truth.peak(position),
                    weight: 1.0,
                    variance: 1.0,
                }
            })
            .collect()
    }

    #[test]
    fn a_perfect_column_is_found_exactly() {
        let truth = Gaussian {
            height: 3.0,
            position: [1.43, 1.37],
            form: [4.5, 0.8, 3.2],
        };
        let start = Gaussian::round(2.0, [1.6, 1.2], 0.45);
        let found = fit(&window(&truth), start, Shape::Free(None))
            .unwrap()
            .gaussian;
        let pairs = found.parameters().into_iter().zip(truth.parameters());
        assert!(
            pairs.into_iter().all(|(f, t)| (f - t).abs() < 1e-6),
            "{found:?}"
        );
    }

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
            let (c, s) = (angle.cos(), angle.sin());
            let (u, v) = (wide.powi(-2), narrow.powi(-2));
            let form = [
                u * c * c + v * s * s,
                (u - v) * c * s,
                u * s * s + v * c * c,
            ];
            let gaussian = Gaussian {
                form,
                ..Gaussian::round(1.0, [0.0; 2], 1.0)
            };
            let (widths, found) = gaussian.widths().unwrap();
            assert!((widths[0] - wide).abs() < 1e-12 && (widths[1] - narrow).abs() < 1e-12);
            assert!((found - angle).abs() < 1e-12);
        }
    }
}
