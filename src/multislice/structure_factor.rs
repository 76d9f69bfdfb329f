//! Structure factors S(k) = Σ_j exp(−2πi k·r_j) on all frequencies of a grid, with the exact phase of every atom.
//!
//! Two ways lead there, and [`StructureFactors`] takes the quicker one:
//!
//! * A phase separates, exp(−2πi k·r) = exp(−2πi k_x x) exp(−2πi k_y y), so that the sum over atoms is a matrix product
//!   `(kx, atoms) · (atoms, ky)`. Cosines are even and sines are odd in k: the products of cosines and sines over frequencies
//!   of one sign give all four quadrants, with a quarter of the multiplications of complex phases over all frequencies. The
//!   time grows with atoms times pixels.
//! * A [non-uniform Fourier transform](NonuniformTransform) hardly minds how many atoms there are.
//!
//! Both agree to 1e-11 of the number of atoms, far below what a scattering factor is known to.

use std::f64::consts::TAU;
use std::sync::OnceLock;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis, concatenate, s};
use num_complex::Complex;

use super::grid::Grid;
use super::nonuniform::{NonuniformTransform, Workspace};
use crate::neighbours::Point;

/// Frequencies along x whose products are held at once.
const BLOCK: usize = 64;
/// Up to so many atoms the matrix product is quicker. Either time is proportional to the pixels, nearly, so that the number
/// of atoms decides; nothing else may, or results would depend on the machine.
const FEW_ATOMS: usize = 64;

/// Structure factors for one shape of the grid of frequencies.
pub(super) struct StructureFactors {
    shape: (usize, usize),
    /// Made when first needed.
    nonuniform: OnceLock<NonuniformTransform>,
}

impl StructureFactors {
    /// For `(rows, cols)` frequencies.
    pub(super) fn new(shape: (usize, usize)) -> Self {
        Self {
            shape,
            nonuniform: OnceLock::new(),
        }
    }

    /// Σ exp(−2πi k·r_j) over points in a field of `extent` = `[y, x]` [Å], column by column, so that nothing of the size of
    /// the grid need be held: `show(index of kx ≥ 0, values)`, the values for ky from 0 to the highest and from the lowest
    /// to −1. An even number of rows has its highest frequency twice, with both signs.
    pub(super) fn columns(
        &self,
        points: &[Point],
        extent: [f64; 2],
        workspace: &mut Workspace,
        show: impl FnMut(usize, &[Complex<f64>]),
    ) {
        if points.len() <= FEW_ATOMS {
            return separable_columns(points, self.shape, extent, show);
        }
        let make = || NonuniformTransform::new(self.shape);
        let transform = self.nonuniform.get_or_init(make);
        transform.columns(points, extent, workspace, show);
    }
}

/// Σ exp(−2πi k·r_j) over points, `(ky, kx)` in the order of the transform.
pub(super) fn structure_factor(points: &[Point], grid: &Grid) -> Array2<Complex<f64>> {
    let (rows, cols) = grid.shape();
    let mut whole = Array2::zeros((rows, cols));
    let factors = StructureFactors::new((rows, cols));
    factors.columns(points, grid.extent(), &mut Workspace::new(), |x, values| {
        let count = values.len();
        for y in 0..rows {
            // The highest frequency of an even count is negative in the transform's order.
            let here = if 2 * y < rows { y } else { y + count - rows };
            let opposite = values[(count - here) % count].conj();
            if 2 * x < cols {
                whole[(y, x)] = values[here];
            }
            if x > 0 {
                whole[(y, cols - x)] = opposite;
            }
        }
    });
    whole
}

/// As [`StructureFactors::columns`], by the matrix product.
fn separable_columns(
    points: &[Point],
    (rows, cols): (usize, usize),
    [height, width]: [f64; 2],
    mut show: impl FnMut(usize, &[Complex<f64>]),
) {
    let (tall, wide) = (rows / 2 + 1, cols / 2 + 1);
    let along = waves(tall, points.iter().map(|p| p[1] / height));
    let along = concatenate![Axis(0), along[0], along[1]];
    let across = waves(wide, points.iter().map(|p| p[0] / width));
    let mut values = vec![Complex::default(); 2 * tall - 1];
    for first in (0..wide).step_by(BLOCK) {
        let last = (first + BLOCK).min(wide);
        // `(cosine and sine along x, cosine and sine along y)`.
        let [even, odd] = [0, 1].map(|part: usize| {
            let block = across[part].slice(s![first..last, ..]);
            let mut product = Array2::zeros((last - first, 2 * tall));
            general_mat_mul(1.0, &block, &along.t(), 0.0, &mut product);
            product
        });
        for (x, (even, odd)) in (first..last).zip(even.outer_iter().zip(odd.outer_iter())) {
            for y in 0..tall {
                let (cc, cs) = (even[y], even[tall + y]);
                let (sc, ss) = (odd[y], odd[tall + y]);
                // exp(−iα) exp(−iβ), and with −β for the other sign of k_y.
                values[y] = Complex::new(cc - ss, -(cs + sc));
                if y > 0 {
                    values[2 * tall - 1 - y] = Complex::new(cc + ss, cs - sc);
                }
            }
            show(x, &values);
        }
    }
}

/// cos 2πm r and sin 2πm r for `count` frequencies m from 0 and all atoms, `places` as fractions r of the period, each
/// `(frequency, atom)`.
fn waves(count: usize, places: impl Iterator<Item = f64>) -> [Array2<f64>; 2] {
    let places: Vec<f64> = places.map(|place| place - place.round()).collect();
    let angle = |m: usize, atom: usize| TAU * (m as f64 * places[atom]);
    let shape = (count, places.len());
    let (mut cosines, mut sines) = (Array2::zeros(shape), Array2::zeros(shape));
    for m in 0..count {
        for atom in 0..places.len() {
            (sines[(m, atom)], cosines[(m, atom)]) = angle(m, atom).sin_cos();
        }
    }
    [cosines, sines]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, stream};

    /// Height and width of the field.
    const EXTENT: [f64; 2] = [5.0, 7.0];
    /// Odd, prime, narrower than the kernel of the non-uniform transform, more columns than a tile, not square.
    const SHAPES: [(usize, usize); 8] = [
        (150, 12),
        (9, 16),
        (4, 5),
        (7, 7),
        (33, 64),
        (97, 31),
        (48, 81),
        (64, 64),
    ];

    /// Some of them are periodic images of points in the cell.
    fn points(count: usize) -> Vec<Point> {
        let mut rng = stream(4, "atoms", count as u64);
        (0..count)
            .map(|_| {
                let [y, x] = EXTENT.map(|side| side * (3.0 * rng.random::<f64>() - 1.0));
                [x, y]
            })
            .collect()
    }

    /// The largest difference from the sum over atoms, term by term.
    fn error(points: &[Point], shape: (usize, usize)) -> f64 {
        let grid = Grid::new(shape, EXTENT).unwrap();
        let fast = structure_factor(points, &grid);
        let mut worst = 0.0_f64;
        for (y, ky) in grid.ky().into_iter().enumerate() {
            for (x, kx) in grid.kx().into_iter().enumerate() {
                let phase = |p: &Point| Complex::cis(-TAU * (kx * p[0] + ky * p[1]));
                let slow: Complex<f64> = points.iter().map(phase).sum();
                worst = worst.max((fast[(y, x)] - slow).norm());
            }
        }
        worst
    }

    /// Each of 40 phases is exact to 1e-14 (arguments of some 100 radians), sums round below that.
    #[test]
    fn a_matrix_product_is_the_sum_over_few_atoms() {
        for shape in SHAPES {
            let error = error(&points(40), shape);
            assert!(error < 1e-11, "{shape:?}: {error}");
        }
    }

    /// To what the width of the kernel promises, 1e-11 of the number of atoms.
    #[test]
    fn the_nonuniform_transform_is_the_sum_over_many_atoms() {
        for shape in SHAPES {
            for count in [FEW_ATOMS + 1, 300] {
                let error = error(&points(count), shape);
                assert!(error < 1e-11 * count as f64, "{shape:?}, {count}: {error}");
            }
        }
    }

    /// On a grid as large as those of use, where the definition would take too long: the matrix product judges.
    #[test]
    fn both_ways_agree_on_a_large_grid() {
        let (shape, points) = ((500, 486), points(200));
        let mut exact = Vec::new();
        separable_columns(&points, shape, EXTENT, |_, values| {
            exact.push(values.to_vec());
        });
        let mut shown = 0;
        let factors = StructureFactors::new(shape);
        factors.columns(&points, EXTENT, &mut Workspace::new(), |x, values| {
            shown += 1;
            let pairs = values.iter().zip(&exact[x]);
            let worst = pairs.fold(0.0_f64, |worst, (a, b)| worst.max((a - b).norm()));
            assert!(worst < 1e-11 * points.len() as f64, "{x}: {worst}");
        });
        assert_eq!((shown, exact.len()), (244, 244));
    }

    /// The same memory for one set of atoms after another: nothing of the first is left.
    #[test]
    fn memory_is_used_again_without_a_trace() {
        let factors = StructureFactors::new((30, 44));
        let sums = |points: &[Point], workspace: &mut Workspace| {
            let mut sums = Vec::new();
            factors.columns(points, EXTENT, workspace, |_, values| {
                sums.extend_from_slice(values);
            });
            sums
        };
        let mut used = Workspace::new();
        sums(&points(90), &mut used);
        let again = sums(&points(70), &mut used);
        assert_eq!(again, sums(&points(70), &mut Workspace::new()));
    }

    #[test]
    fn no_atoms_scatter_nothing() {
        let grid = Grid::new((6, 5), [2.0, 2.0]).unwrap();
        assert!(structure_factor(&[], &grid).iter().all(|s| s.norm() == 0.0));
    }
}
