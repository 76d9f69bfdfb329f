//! How well the pixels around a column look like the model: χ²/ν = Σ (image − m)²/V over a round window, ν its pixels less the
//! six parameters of a column.
//!
//! V is measured from the residuals of all columns, so the typical column has about 1, whatever the noise and however little
//! columns are Gaussian; what counts is how a column differs from its fellows.

use rayon::prelude::*;

use super::field::{Column, Field};
use super::fit::Fitted;
use super::gaussian::PARAMETERS;
use super::map::{SIGMA_OVER_MAD, median};
use super::rows::disc;

/// Least root mean square of what the model leaves for a column to stand out [its height]: without noise, rounding makes large
/// differences.
const LEAST_REST: f64 = 0.01;

/// Reduced χ² of one column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Misfit {
    /// NaN where too few pixels are usable.
    pub(super) reduced: f64,
    /// Whether it stands out among its fellows.
    pub(super) stands_out: bool,
}

/// The misfits of all columns within `radius` [Å] of each; one stands out when it is `limit` standard deviations above the
/// median of its sublattice. The standard deviation is √(2/ν), or what the sublattice shows where that is more.
pub(super) fn of(field: &Field<'_>, fitted: &Fitted, radius: f64, limit: f64) -> Vec<Misfit> {
    let all: Vec<Pixels> = (fitted.columns.par_iter())
        .map(|column| reduced(field, fitted, column, radius))
        .collect();
    let typical = [0, 1].map(|class| {
        let values = || {
            let members = fitted.columns.iter().zip(&all);
            members
                .filter(move |(column, pixels)| column.class == class && pixels.reduced.is_finite())
                .map(|(_, pixels)| pixels.reduced)
        };
        let middle = median(values()).value;
        let spread = SIGMA_OVER_MAD * median(values().map(|v| (v - middle).abs())).value;
        [middle, spread / middle]
    });
    fitted
        .columns
        .iter()
        .zip(&all)
        .map(|(column, pixels)| {
            let [middle, spread] = typical[column.class];
            let sigma = spread.max((2.0 / pixels.freedom).sqrt());
            let matters = pixels.rest > LEAST_REST * column.gaussian.height;
            Misfit {
                reduced: pixels.reduced,
                stands_out: matters && pixels.reduced > middle * (1.0 + limit * sigma),
            }
        })
        .collect()
}

/// What the pixels of a window say.
struct Pixels {
    /// χ²/ν; NaN where too few are usable.
    reduced: f64,
    /// ν.
    freedom: f64,
    /// Root mean square of what the model leaves [units of the image].
    rest: f64,
}

fn reduced(field: &Field<'_>, fitted: &Fitted, column: &Column, radius: f64) -> Pixels {
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0_usize);
    let centre = column.gaussian.position;
    for (row, across) in disc(field.image.data.dim(), field.image.sampling, centre, radius) {
        for col in across {
            let [weight, rest] = fitted.residual.at((row, col));
            if weight > 0.0 {
                let model = f64::from(field.image.data[(row, col)]) - rest;
                sum += rest * rest / fitted.noise.variance(model);
                squares += rest * rest;
                count += 1;
            }
        }
    }
    let freedom = count.saturating_sub(PARAMETERS) as f64;
    Pixels {
        reduced: if freedom > 0.0 {
            sum / freedom
        } else {
            f64::NAN
        },
        freedom,
        rest: (squares / count as f64).sqrt(),
    }
}
