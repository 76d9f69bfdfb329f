//! The noise, measured and not assumed: the variance of the residual as a linear function of the model, c0 + c1 m, which
//! covers readout noise, counting noise, and any gain and offset of the detector.
//!
//! A fit follows the noise of its own pixels: the expected square of a residual is V − J C Jᵀ, with C the covariance of
//! the column's parameters, and what is missing is added.

use rayon::prelude::*;

use super::field::{Column, Field, Residual};
use super::gaussian::{Matrix, PARAMETERS};
use super::rows::disc;

/// Classes of model intensity in which the variance is measured.
const CLASSES: usize = 24;
/// Pixels that are looked at; they give the variance to half a percent.
const ENOUGH: usize = 100_000;
/// Rounds of weighting the classes by the line through them.
const ROUNDS: usize = 3;
/// Variance of a second difference [−1, 2, −1] over that of a pixel.
const SECOND_DIFFERENCE: f64 = 6.0;

/// Variance of a pixel as a linear function of the model there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    constant: f64,
    slope: f64,
    floor: f64,
}

impl Noise {
    pub(super) fn variance(&self, model: f64) -> f64 {
        (self.constant + self.slope * model).max(self.floor)
    }

    /// A first guess, the same everywhere: from second differences along rows, which also hold some of the signal.
    pub(super) fn first(field: &Field<'_>) -> Self {
        let squares = |line: &[f32]| {
            let differences = line.windows(3).map(|w| f64::from(2.0 * w[1] - w[0] - w[2]));
            differences.map(|d| d * d).sum::<f64>()
        };
        let data = &field.image.data;
        let sum: f64 = data
            .rows()
            .into_iter()
            .filter_map(|r| r.to_slice().map(squares))
            .sum();
        let variance = (sum / (SECOND_DIFFERENCE * data.len() as f64)).max(f64::MIN_POSITIVE);
        Self {
            constant: variance,
            slope: 0.0,
            floor: 0.1 * variance,
        }
    }
}

/// The noise, from residuals within `radius` [Å] of columns; their pixels are shared out to classes of equal size by model
/// value.
pub(super) fn measure(
    field: &Field<'_>,
    columns: &[Column],
    covariances: &[Matrix],
    residual: &Residual,
    radius: f64,
) -> Option<Noise> {
    let [sy, sx] = field.image.sampling;
    let each = std::f64::consts::PI * radius * radius / (sx * sy);
    let stride = (columns.len() as f64 * each / ENOUGH as f64)
        .ceil()
        .max(1.0) as usize;
    // An odd stride meets both sublattices.
    let chosen: Vec<usize> = (0..columns.len()).step_by(stride | 1).collect();
    let mut samples: Vec<(f64, f64)> = chosen
        .into_par_iter()
        .flat_map_iter(|index| {
            let gaussian = columns[index].gaussian;
            let covariance = &covariances[index];
            disc(field.image.data.dim(), [sy, sx], gaussian.position, radius).flat_map(
                move |(row, across)| {
                    across.filter_map(move |col| {
                        let [weight, rest] = residual.at((row, col));
                        let value = f64::from(field.image.data[(row, col)]) - rest;
                        let (_, slope) = gaussian.derivatives([col as f64 * sx, row as f64 * sy]);
                        let taken: f64 = (0..PARAMETERS)
                            .flat_map(|i| (0..PARAMETERS).map(move |j| (i, j)))
                            .map(|(i, j)| slope[i] * covariance[i][j] * slope[j])
                            .sum();
                        (weight > 0.0).then_some((value, rest * rest + taken))
                    })
                },
            )
        })
        .collect();
    samples.sort_unstable_by(|p, q| p.0.total_cmp(&q.0).then(p.1.total_cmp(&q.1)));
    let size = samples.len().div_ceil(CLASSES).max(1);
    let classes: Vec<[f64; 2]> = samples
        .chunks(size)
        .map(|class| {
            let count = class.len() as f64;
            [
                class.iter().map(|s| s.0).sum::<f64>() / count,
                class.iter().map(|s| s.1).sum::<f64>() / count,
            ]
        })
        .collect();
    line_through(&classes)
}

/// The straight line through `[model, variance]` points, each weighted by 1/variance² of the line (a variance is known to a
/// fixed fraction); never falling, never below a tenth of the lowest class.
fn line_through(classes: &[[f64; 2]]) -> Option<Noise> {
    let lowest = classes.iter().map(|c| c[1]).fold(f64::INFINITY, f64::min);
    if !(lowest > 0.0 && lowest.is_finite()) {
        return None;
    }
    let mean = classes.iter().map(|c| c[1]).sum::<f64>() / classes.len() as f64;
    let mut noise = Noise {
        constant: mean,
        slope: 0.0,
        floor: 0.1 * lowest,
    };
    for _ in 0..ROUNDS {
        let weights: Vec<f64> = classes
            .iter()
            .map(|c| noise.variance(c[0]).powi(-2))
            .collect();
        let total: f64 = weights.iter().sum();
        let mean = |value: &dyn Fn(&[f64; 2]) -> f64| {
            classes
                .iter()
                .zip(&weights)
                .map(|(c, w)| w * value(c))
                .sum::<f64>()
                / total
        };
        let (x, y) = (mean(&|c| c[0]), mean(&|c| c[1]));
        let spread = mean(&|c| (c[0] - x).powi(2));
        let joint = mean(&|c| (c[0] - x) * (c[1] - y));
        noise.slope = if spread > 0.0 {
            (joint / spread).max(0.0)
        } else {
            0.0
        };
        noise.constant = y - noise.slope * x;
    }
    Some(noise)
}
