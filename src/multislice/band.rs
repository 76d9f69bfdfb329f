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
}

impl Band {
    pub(super) fn new(grid: &Grid) -> Self {
        let cols = grid.shape().1;
        // Frequencies rise from 0 at the front and fall from 0 at the back, so the pruned ones are contiguous.
        let outside = |k: &f64| k.abs() >= grid.band_limit();
        let kx = grid.kx();
        let start = kx.iter().position(outside).unwrap_or(cols);
        let end = kx.iter().rposition(outside).map_or(cols, |i| i + 1);
        Self {
            pruned: start..end,
            cols,
        }
    }

    /// The kept columns, as columns of the full spectrum.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        (0..self.pruned.start).chain(self.pruned.end..self.cols)
    }

    /// Place of a kept column of the full spectrum in the list of kept ones.
    pub(super) fn kept(&self, column: usize) -> usize {
        if column < self.pruned.start {
            column
        } else {
            column - self.pruned.len()
        }
    }

    /// The kept columns in tiles `(first, count)`.
    pub(super) fn tiles(&self) -> impl Iterator<Item = (usize, usize)> {
        tiles(0, self.pruned.start).chain(tiles(self.pruned.end, self.cols))
    }

    /// A spectrum from a function of `(kx, ky)` [1/Å].
    pub(super) fn spectrum<V>(&self, grid: &Grid, value: impl Fn(f64, f64) -> V) -> Vec<V> {
        let (kx, ky) = (grid.kx(), grid.ky());
        self.columns()
            .flat_map(|column| ky.iter().map(move |&y| (column, y)))
            .map(|(column, y)| value(kx[column], y))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_columns_are_those_below_the_band_limit() {
        for cols in [16, 30, 33] {
            let grid = Grid::new((12, cols), [4.0, 5.0]).unwrap();
            let band = Band::new(&grid);
            let kx = grid.kx();
            let below: Vec<usize> = (0..cols)
                .filter(|&c| kx[c].abs() < grid.band_limit())
                .collect();
            assert_eq!(band.columns().collect::<Vec<_>>(), below);
            assert!(below.iter().enumerate().all(|(i, &c)| band.kept(c) == i));
            let tiled: Vec<usize> = band.tiles().flat_map(|(f, n)| f..f + n).collect();
            assert_eq!(tiled, below);
        }
    }
}
