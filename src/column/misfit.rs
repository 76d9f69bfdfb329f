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
    let all: Vec<(f64, f64)> = (fitted.columns.par_iter())
        .map(|column| reduced(field, fitted, column, radius))
        .collect();
    let typical = [0, 1].map(|class| {
        let values = || {
            let members = fitted.columns.iter().zip(&all);
            members
                .filter(move |(column, (value, _))| column.class == class && value.is_finite())
                .map(|(_, (value, _))| *value)
        };
        let middle = median(values()).value;
        let spread = SIGMA_OVER_MAD * median(values().map(|v| (v - middle).abs())).value;
        [middle, spread / middle]
    });
    fitted
        .columns
        .iter()
        .zip(&all)
        .map(|(column, &(reduced, freedom))| {
            let [middle, spread] = typical[column.class];
            let sigma = spread.max((2.0 / freedom).sqrt());
            Misfit {
                reduced,
                stands_out: reduced > middle * (1.0 + limit * sigma),
            }
        })
        .collect()
}

/// χ²/ν and ν.
fn reduced(field: &Field<'_>, fitted: &Fitted, column: &Column, radius: f64) -> (f64, f64) {
    let (mut sum, mut count) = (0.0, 0_usize);
    let centre = column.gaussian.position;
    for (row, across) in disc(field.image.data.dim(), field.image.sampling, centre, radius) {
        for col in across {
            let [weight, rest] = fitted.residual.at((row, col));
            if weight > 0.0 {
                let model = f64::from(field.image.data[(row, col)]) - rest;
                sum += rest * rest / fitted.noise.variance(model);
                count += 1;
            }
        }
    }
    match count.checked_sub(PARAMETERS) {
        Some(freedom) if freedom > 0 => (sum / freedom as f64, freedom as f64),
        _ => (f64::NAN, 0.0),
    }
}
