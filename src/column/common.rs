//! What all columns share: the balance of heights, widths and background.
//!
//! Where columns overlap, a background slightly too high makes all of them slightly too narrow, and the other way round; turn
//! by turn this balance is found only slowly, since each column sees it from inside its window. One Gauss–Newton step in the
//! five shared parameters finds it at once.

use ndarray::Array2;
use rayon::prelude::*;

use super::field::{Column, Field};
use super::gaussian::{PARAMETERS, Vector, accumulate, cholesky, solve};
use super::noise::Noise;

/// Rows that the step looks at; more would not make it better.
const ROWS: usize = 160;
/// Largest change of ln height and ln width in one step.
const MAX_STEP: f64 = 0.3;

/// Changes ln height and ln width of each sublattice, and the background, by one Gauss–Newton step.
pub(super) fn step(
    field: &Field<'_>,
    columns: &mut [Column],
    background: &mut Array2<f32>,
    noise: Option<Noise>,
) {
    let free = [0, 1, 2, 3, 4];
    let mut hessian = [[0.0; PARAMETERS]; PARAMETERS];
    let mut gradient = [0.0; PARAMETERS];
    for (row, line) in slopes(field, columns) {
        for (col, slope) in line.iter().enumerate().filter(|(_, s)| s[4] > 0.0) {
            if !field.is_inner((row, col)) {
                continue;
            }
            let model = slope[0] + slope[1] + f64::from(background[(row, col)]);
            let weight = noise.map_or(1.0, |n| 1.0 / n.variance(model));
            let residual = f64::from(field.image.data[(row, col)]) - model;
            accumulate(&mut hessian, slope, weight);
            for i in free {
                gradient[i] += weight * residual * slope[i];
            }
        }
    }
    let Some(lower) = cholesky(&hessian, &free) else {
        return;
    };
    let change = solve(&lower, &gradient, &free);
    let bounded = |x: f64| x.clamp(-MAX_STEP, MAX_STEP);
    for column in columns {
        column.gaussian.height *= bounded(change[column.class]).exp();
        let narrower = (-2.0 * bounded(change[2 + column.class])).exp();
        column.gaussian.form = column.gaussian.form.map(|entry| entry * narrower);
    }
    *background += change[4] as f32;
}

/// For some rows, per pixel: the peaks of either sublattice, their derivatives with respect to ln width, and 1 where any
/// column reaches.
fn slopes(field: &Field<'_>, columns: &[Column]) -> Vec<(usize, Vec<Vector>)> {
    let [sy, sx] = field.image.sampling;
    let (rows, cols) = field.image.data.dim();
    let chosen: Vec<usize> = (0..rows).step_by(rows.div_ceil(ROWS)).collect();
    let gaussians = field.gaussians(columns);
    chosen
        .into_par_iter()
        .map(|row| {
            let y = row as f64 * sy;
            let mut line = vec![[0.0; PARAMETERS]; cols];
            for (gaussian, class) in &gaussians {
                let reach = gaussian.reach();
                let x = gaussian.position[0];
                if (y - gaussian.position[1]).abs() > reach {
                    continue;
                }
                let low = ((x - reach) / sx).ceil().max(0.0) as usize;
                let high = (((x + reach) / sx).floor().max(-1.0) + 1.0) as usize;
                for (col, slope) in line.iter_mut().enumerate().take(high).skip(low) {
                    let (peak, widening) = gaussian.peak_and_widening([col as f64 * sx, y]);
                    slope[*class] += peak;
                    slope[2 + class] += widening;
                    slope[4] = 1.0;
                }
            }
            (row, line)
        })
        .collect()
}
