//! The part of a spectrum that can be other than zero: the columns k_x below the band limit.
//!
//! A spectrum here is a list of columns, `(kept column, ky)`, ky in the order of the transform: half the work and memory of
//! a full spectrum would go into columns that the band limit sets to zero.

use std::ops::Range;

use super::fft::tiles;
use super::grid::Grid;

/// Which columns of a `(rows, cols)` spectrum the band limit keeps.
#[derive(Debug, Clone)]
pub(super) struct Band {
    /// Columns that are zero; the kept ones are before and after.
    pub(super) pruned: Range<usize>,
    /// Columns of a row.
    pub(super) cols: usize,
    grid: Grid,
    /// Frequencies of the kept columns [1/Å].
    kx: Vec<f64>,
    ky: Vec<f64>,
}

impl Band {
    pub(super) fn new(grid: &Grid) -> Self {
        Self::around(grid, [0.0; 2])
    }

    /// The band of waves exp(2πi q·r) u(r), u periodic over the grid and `q` = `[x, y]` [1/Å] less than half a step of the
    /// spectrum: frequencies are those of the grid plus q.
    pub(super) fn around(grid: &Grid, q: [f64; 2]) -> Self {
        let cols = grid.shape().1;
        let shifted = |frequencies: Vec<f64>, by: f64| -> Vec<f64> {
            frequencies.into_iter().map(|k| k + by).collect()
        };
        let (kx, ky) = (shifted(grid.kx(), q[0]), shifted(grid.ky(), q[1]));
        // Frequencies rise from 0 at the front and fall from 0 at the back, so the pruned ones are contiguous.
        let outside = |k: &f64| k.abs() >= grid.band_limit();
        let start = kx.iter().position(outside).unwrap_or(cols);
        let end = kx.iter().rposition(outside).map_or(cols, |i| i + 1);
        Self {
            pruned: start..end,
            cols,
            grid: *grid,
            kx: kx[..start].iter().chain(&kx[end..]).copied().collect(),
            ky,
        }
    }

    /// Frequencies of the kept columns [1/Å].
    pub(super) fn kx(&self) -> &[f64] {
        &self.kx
    }

    /// Frequencies of the rows [1/Å].
    pub(super) fn ky(&self) -> &[f64] {
        &self.ky
    }

    /// The band-limiting aperture A(k).
    pub(super) fn weight(&self, k: f64) -> f64 {
        self.grid.band_weight(k)
    }

    /// The kept columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> + Clone {
        (0..self.pruned.start).chain(self.pruned.end..self.cols)
    }

    /// The kept columns in tiles `(first, count)`.
    pub(super) fn tiles(&self) -> impl Iterator<Item = (usize, usize)> {
        tiles(0, self.pruned.start).chain(tiles(self.pruned.end, self.cols))
    }

    /// A spectrum from a function of `(kx, ky)` [1/Å].
    pub(super) fn spectrum<V>(&self, value: impl Fn(f64, f64) -> V) -> Vec<V> {
        let column = |&x: &f64| self.ky.iter().map(move |&y| (x, y));
        self.kx
            .iter()
            .flat_map(column)
            .map(|(x, y)| value(x, y))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_columns_are_those_below_the_band_limit() {
        for (cols, q) in [(16, 0.0), (30, 0.0), (33, 0.0), (32, 0.09), (32, -0.09)] {
            let grid = Grid::new((12, cols), [4.0, 5.0]).unwrap();
            let band = Band::around(&grid, [q, 0.0]);
            let kx: Vec<f64> = grid.kx().into_iter().map(|k| k + q).collect();
            let below: Vec<usize> = (0..cols)
                .filter(|&c| kx[c].abs() < grid.band_limit())
                .collect();
            assert!(below.iter().zip(band.kx()).all(|(&c, &k)| kx[c] == k));
            let tiled: Vec<usize> = band.tiles().flat_map(|(f, n)| f..f + n).collect();
            assert_eq!(tiled, below);
        }
    }
}
