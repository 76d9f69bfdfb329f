//! The background under all columns: smooth over more than a cell, held on a grid of a few points per cell.
//!
//! It is shared, since a constant of its own for every column would trade against width and height where columns are broad
//! (in a small window a wide Gaussian is a paraboloid) and let them run away.

use ndarray::{Array2, s};

use super::field::{Field, Residual};
use super::filter::{bin, lowest, smooth};

/// Points of the grid per pitch, at least.
const POINTS: f64 = 7.0;
/// Reach in which the first background looks for the darkest place [pitch]: it takes in the middle between two A columns.
const DARK_REACH: f64 = 0.6;

/// A smooth background; between the points of its grid, which are the centres of blocks of pixels, it is linear.
pub(super) struct Background {
    grid: Array2<f32>,
    /// Pixels of a block, `[rows, cols]`.
    block: [usize; 2],
    /// Standard deviation of its smoothing [blocks].
    sigma: [f64; 2],
}

impl Background {
    /// The first background: the darkest places around, smoothed over `smoothing` [pitch]; `seen` is the image smoothed
    /// against pixel noise.
    pub(super) fn dark_places(field: &Field<'_>, seen: &Array2<f32>, smoothing: f64) -> Self {
        let pitch = field.pixels_per(1.0);
        let block = pitch.map(|p| ((p / POINTS) as usize).max(1));
        let blocks_per = |axis: usize| pitch[axis] / block[axis] as f64;
        let reach = [0, 1].map(|axis| (DARK_REACH * blocks_per(axis)).round() as usize);
        let sigma = [0, 1].map(|axis| smoothing * blocks_per(axis));
        let grid = smooth(&lowest(&bin(seen, block), reach), sigma);
        Self { grid, block, sigma }
    }

    /// Adds what the columns leave of the image, smoothed.
    pub(super) fn learn(&mut self, field: &Field<'_>, residual: &Residual) {
        let [rows, cols] = field.inner();
        let mut weights = Array2::<f32>::zeros(self.grid.raw_dim());
        let mut rests = weights.clone();
        for row in rows {
            let r = row / self.block[0];
            if r >= self.grid.nrows() {
                break;
            }
            let values = residual
                .weights_of(row, cols.clone())
                .iter()
                .zip(residual.rests_of(row, cols.clone()));
            for (col, (weight, rest)) in cols.clone().zip(values) {
                let c = (col / self.block[1]).min(self.grid.ncols() - 1);
                weights[(r, c)] += weight;
                rests[(r, c)] += weight * rest;
            }
        }
        let mean = weights.mean().unwrap_or(1.0);
        let weights = smooth(&weights, self.sigma).mapv(|w| w.max(1e-6 * mean));
        self.grid += &(smooth(&rests, self.sigma) / weights);
    }

    /// Adds a constant.
    pub(super) fn raise(&mut self, by: f64) {
        self.grid += by as f32;
    }

    /// Writes a row of pixels.
    pub(super) fn draw(&self, row: usize, line: &mut [f64]) {
        let (r, next, part) = between(row, self.block[0], self.grid.nrows());
        let mixed: Vec<f64> = self
            .grid
            .slice(s![r, ..])
            .iter()
            .zip(self.grid.row(next))
            .map(|(a, b)| f64::from(a + part * (b - a)))
            .collect();
        for (col, value) in line.iter_mut().enumerate() {
            let (c, next, part) = between(col, self.block[1], mixed.len());
            *value = mixed[c] + f64::from(part) * (mixed[next] - mixed[c]);
        }
    }

    /// The value at a pixel.
    pub(super) fn at(&self, (row, col): (usize, usize)) -> f64 {
        let (r, below, part) = between(row, self.block[0], self.grid.nrows());
        let (c, right, across) = between(col, self.block[1], self.grid.ncols());
        let mix = |a: f32, b: f32, part: f32| a + part * (b - a);
        let top = mix(self.grid[(r, c)], self.grid[(r, right)], across);
        let bottom = mix(self.grid[(below, c)], self.grid[(below, right)], across);
        f64::from(mix(top, bottom, part))
    }
}

/// The two grid points beside a pixel and how far it is from the first to the second.
fn between(pixel: usize, block: usize, count: usize) -> (usize, usize, f32) {
    let at = ((pixel as f32 + 0.5) / block as f32 - 0.5).clamp(0.0, (count - 1) as f32);
    let first = at as usize;
    (first, (first + 1).min(count - 1), at - first as f32)
}
