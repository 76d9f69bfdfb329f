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
//! Both agree to 1e-11 of the root of the number of atoms, which is what the sum amounts to at most frequencies.

use std::f64::consts::TAU;
use std::sync::OnceLock;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis, concatenate, s};
use num_complex::Complex;

use super::grid::Grid;
use super::nonuniform::{self, NonuniformTransform};
use crate::neighbours::Point;

/// Frequencies along x whose products are held at once.
const BLOCK: usize = 64;
/// Up to so many atoms the matrix product is quicker. Either time is proportional to the pixels, nearly, so that the number
/// of atoms decides; nothing else may, or results would depend on the machine.
const FEW_ATOMS: usize = 24;

/// Structure factors for one shape of the grid of frequencies.
pub(super) struct StructureFactors {
    shape: (usize, usize),
    /// Made when first needed.
    nonuniform: OnceLock<NonuniformTransform>,
}

/// A structure factor, column by column: nothing of the size of the grid is held.
pub(super) enum Columns<'a> {
    /// By the matrix product.
    Separable(Box<Separable>),
    /// By the non-uniform transform.
    Nonuniform(Box<nonuniform::Columns<'a>>),
}

impl StructureFactors {
    /// For `(rows, cols)` frequencies.
    pub(super) fn new(shape: (usize, usize)) -> Self {
        Self {
            shape,
            nonuniform: OnceLock::new(),
        }
    }

    /// Σ exp(−2πi k·r_j) over points in a field of `extent` = `[y, x]` [Å].
    pub(super) fn columns(&self, points: &[Point], extent: [f64; 2]) -> Columns<'_> {
        if points.len() <= FEW_ATOMS {
            return Columns::Separable(Box::new(Separable::new(points, self.shape, extent)));
        }
        let make = || NonuniformTransform::new(self.shape.0);
        let transform = self.nonuniform.get_or_init(make);
        Columns::Nonuniform(Box::new(transform.columns(points, extent)))
    }
}

impl Columns<'_> {
    /// The next column, of kx = 0 at first and then rising to the highest: values for ky from 0 to the highest and from the
    /// lowest to −1. An even number of rows has its highest frequency twice, with both signs.
    pub(super) fn next_column(&mut self) -> &[Complex<f64>] {
        match self {
            Self::Separable(columns) => columns.next_column(),
            Self::Nonuniform(columns) => columns.next_column(),
        }
    }
}

/// Σ exp(−2πi k·r_j) over points, `(ky, kx)` in the order of the transform.
pub(super) fn structure_factor(points: &[Point], grid: &Grid) -> Array2<Complex<f64>> {
    let (rows, cols) = grid.shape();
    let mut whole = Array2::zeros((rows, cols));
    let factors = StructureFactors::new((rows, cols));
    let mut columns = factors.columns(points, grid.extent());
    for x in 0..=cols / 2 {
        let values = columns.next_column();
        let count = values.len();
        for y in 0..rows {
            // The highest frequency of an even count is negative in the transform's order.
            let here = if 2 * y < rows { y } else { y + count - rows };
            if 2 * x < cols {
                whole[(y, x)] = values[here];
            }
            if x > 0 {
                whole[(y, cols - x)] = values[(count - here) % count].conj();
            }
        }
    }
    whole
}

/// The matrix product, a block of columns at a time.
pub(super) struct Separable {
    /// Cosines and sines, along y one below the other.
    along: Array2<f64>,
    across: [Array2<f64>; 2],
    /// `(cosine and sine along x, column, cosine and sine along y)` of the current block.
    products: [Array2<f64>; 2],
    /// Index of the next column.
    x: usize,
    values: Vec<Complex<f64>>,
}

impl Separable {
    fn new(points: &[Point], (rows, cols): (usize, usize), [height, width]: [f64; 2]) -> Self {
        let (tall, wide) = (rows / 2 + 1, cols / 2 + 1);
        let along = waves(tall, points.iter().map(|p| p[1] / height));
        Self {
            along: concatenate![Axis(0), along[0], along[1]],
            across: waves(wide, points.iter().map(|p| p[0] / width)),
            products: [0, 1].map(|_| Array2::zeros((BLOCK.min(wide), 2 * tall))),
            x: 0,
            values: vec![Complex::default(); 2 * tall - 1],
        }
    }

    fn next_column(&mut self) -> &[Complex<f64>] {
        let place = self.x % BLOCK;
        if place == 0 {
            self.multiply();
        }
        self.x += 1;
        let [even, odd] = [0, 1].map(|part: usize| self.products[part].row(place));
        let (count, tall) = (self.values.len(), self.values.len() / 2 + 1);
        for y in 0..tall {
            let (cc, cs) = (even[y], even[tall + y]);
            let (sc, ss) = (odd[y], odd[tall + y]);
            // exp(−iα) exp(−iβ), and with −β for the other sign of k_y.
            self.values[y] = Complex::new(cc - ss, -(cs + sc));
            if y > 0 {
                self.values[count - y] = Complex::new(cc + ss, cs - sc);
            }
        }
        &self.values
    }

    /// The products of the block that begins with the next column.
    fn multiply(&mut self) {
        let last = (self.x + BLOCK).min(self.across[0].nrows());
        for (across, product) in self.across.iter().zip(&mut self.products) {
            let block = across.slice(s![self.x..last, ..]);
            let mut product = product.slice_mut(s![..last - self.x, ..]);
            general_mat_mul(1.0, &block, &self.along.t(), 0.0, &mut product);
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

    /// Each of 20 phases is exact to 1e-14 (arguments of some 100 radians), sums round below that.
    #[test]
    fn a_matrix_product_is_the_sum_over_few_atoms() {
        for shape in SHAPES {
            let error = error(&points(20), shape);
            assert!(error < 1e-11, "{shape:?}: {error}");
        }
    }

    /// To what the width of the kernel promises, 1e-11; errors of atoms at random add up as the root of their number.
    #[test]
    fn the_nonuniform_transform_is_the_sum_over_many_atoms() {
        for shape in SHAPES {
            for count in [FEW_ATOMS + 1, 300] {
                let error = error(&points(count), shape);
                assert!(
                    error < 1e-11 * (count as f64).sqrt(),
                    "{shape:?}, {count}: {error}"
                );
            }
        }
    }

    /// On a grid as large as those of use, where the definition would take too long: the matrix product judges.
    #[test]
    fn both_ways_agree_on_a_large_grid() {
        let (shape, points) = ((500, 486), points(200));
        let factors = StructureFactors::new(shape);
        let mut fast = factors.columns(&points, EXTENT);
        let mut exact = Separable::new(&points, shape, EXTENT);
        for x in 0..=shape.1 / 2 {
            let pairs = fast.next_column().iter().zip(exact.next_column());
            let worst = pairs.fold(0.0_f64, |worst, (a, b)| worst.max((a - b).norm()));
            assert!(worst < 1e-11 * (points.len() as f64).sqrt(), "{x}: {worst}");
        }
    }

    #[test]
    fn no_atoms_scatter_nothing() {
        let grid = Grid::new((6, 5), [2.0, 2.0]).unwrap();
        assert!(structure_factor(&[], &grid).iter().all(|s| s.norm() == 0.0));
    }
}
