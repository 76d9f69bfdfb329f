//! Structure factors S(k) = Σ_j exp(−2πi k·r_j) on all frequencies of a grid, with the exact phase of every atom.
//!
//! A phase separates, exp(−2πi k·r) = exp(−2πi k_x x) exp(−2πi k_y y), so that the sum over atoms is a matrix product
//! `(ky, atoms) · (atoms, kx)`. Cosines are even and sines are odd in k: the products of cosines and sines over frequencies
//! of one sign give all four quadrants, with a quarter of the multiplications of complex phases over all frequencies.

use std::f64::consts::TAU;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis, concatenate, s};
use num_complex::Complex;

use super::grid::Grid;
use crate::neighbours::Point;

/// Frequencies along y whose products are held at once.
const BLOCK: usize = 64;

/// Σ exp(−2πi k·r_j) over points, `(ky, kx)` in the order of the transform.
pub(super) fn structure_factor(points: &[Point], grid: &Grid) -> Array2<Complex<f64>> {
    let mut whole = Array2::zeros(grid.shape());
    structure_rows(points, grid, |y, row| {
        let pairs = whole.row_mut(y).into_iter().zip(row);
        pairs.for_each(|(value, source)| *value = *source);
    });
    whole
}

/// The same row by row, in any order, as `show(index of ky, values by kx)`: nothing of the size of the grid is held.
pub(super) fn structure_rows(
    points: &[Point],
    grid: &Grid,
    mut show: impl FnMut(usize, &[Complex<f64>]),
) {
    let (rows, cols) = grid.shape();
    let along = waves(&grid.ky()[..=rows / 2], points, 1);
    let across = waves(&grid.kx()[..=cols / 2], points, 0);
    let across = concatenate![Axis(0), across[0], across[1]];
    let half = cols / 2 + 1;
    let mut row = vec![Complex::default(); cols];
    for first in (0..=rows / 2).step_by(BLOCK) {
        let last = (first + BLOCK).min(rows / 2 + 1);
        // `(cosine and sine along y, cosine and sine along x)`.
        let [even, odd] = [0, 1].map(|part: usize| {
            let block = along[part].slice(s![first..last, ..]);
            let mut product = Array2::zeros((last - first, 2 * half));
            general_mat_mul(1.0, &block, &across.t(), 0.0, &mut product);
            product
        });
        for (y, (even, odd)) in (first..last).zip(even.outer_iter().zip(odd.outer_iter())) {
            for (index, sign) in [(y, 1.0), ((rows - y) % rows, -1.0)] {
                // Zero has no negative; the highest frequency of an even count is negative in the transform's order.
                if sign < 0.0 && (index == y && y == 0) || sign > 0.0 && 2 * y == rows {
                    continue;
                }
                for x in 0..half {
                    let (cc, cs) = (even[x], even[half + x]);
                    let (sc, ss) = (sign * odd[x], sign * odd[half + x]);
                    // exp(−iα) exp(−iβ), and with −α for the other sign of k_x.
                    row[x] = Complex::new(cc - ss, -(cs + sc));
                    if x > 0 {
                        row[cols - x] = Complex::new(cc + ss, cs - sc);
                    }
                }
                show(index, &row);
            }
        }
    }
}

/// cos 2πk r and sin 2πk r for the magnitudes of all frequencies and all atoms, each `(frequency, atom)`; `axis` 0 is x, 1 is y.
fn waves(frequencies: &[f64], points: &[Point], axis: usize) -> [Array2<f64>; 2] {
    let shape = (frequencies.len(), points.len());
    let (mut cosines, mut sines) = (Array2::zeros(shape), Array2::zeros(shape));
    for (k, frequency) in frequencies.iter().enumerate() {
        for (atom, point) in points.iter().enumerate() {
            let (sine, cosine) = (TAU * frequency.abs() * point[axis]).sin_cos();
            cosines[(k, atom)] = cosine;
            sines[(k, atom)] = sine;
        }
    }
    [cosines, sines]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, stream};

    /// Term by term. Each of 40 phases is exact to 1e-14 (arguments of some 100 radians), sums round below that.
    #[test]
    fn quadrants_are_the_sum_over_atoms() {
        let mut rng = stream(4, "atoms", 0);
        let points: Vec<Point> = (0..40)
            .map(|_| [7.0 * rng.random::<f64>(), 5.0 * rng.random::<f64>() - 1.0])
            .collect();
        for shape in [(150, 12), (9, 16), (4, 5), (7, 7)] {
            let grid = Grid::new(shape, [5.0, 7.0]).unwrap();
            let fast = structure_factor(&points, &grid);
            for (y, ky) in grid.ky().into_iter().enumerate() {
                for (x, kx) in grid.kx().into_iter().enumerate() {
                    let phase = |p: &Point| Complex::cis(-TAU * (kx * p[0] + ky * p[1]));
                    let slow: Complex<f64> = points.iter().map(phase).sum();
                    assert!((fast[(y, x)] - slow).norm() < 1e-11, "{shape:?} {y} {x}");
                }
            }
        }
    }

    #[test]
    fn no_atoms_scatter_nothing() {
        let grid = Grid::new((6, 5), [2.0, 2.0]).unwrap();
        assert!(structure_factor(&[], &grid).iter().all(|s| s.norm() == 0.0));
    }
}
