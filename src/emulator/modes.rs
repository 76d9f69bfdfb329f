//! The images that columns are made of: leading principal components, as an orthonormal basis.
//!
//! Found by subspace iteration (Halko, Martinsson & Tropp, SIAM Rev. **53**, 217 (2011), algorithm 4.4), in single precision with Gram
//! matrices in double.

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis, s};

use super::surroundings::Symmetry;
use crate::rng::{Rng, stream};

/// Iterations: the spectra fall by decades, so that few suffice.
const ITERATIONS: usize = 4;
/// Vectors beyond those wanted, so that the last wanted are good too.
const SPARE: usize = 12;
/// Rows of a product that a thread takes at once.
const ROWS: usize = 128;

/// Orthonormal images.
#[derive(Debug, Clone, PartialEq)]
pub struct Modes {
    /// `(mode, pixel)`.
    pub images: Array2<f32>,
}

impl Modes {
    /// The `count` leading components of rows of pixels, about zero, the strongest first. The result does not depend on the
    /// number of threads.
    #[must_use]
    pub fn leading(rows: ArrayView2<'_, f32>, count: usize) -> Self {
        let (samples, pixels) = rows.dim();
        let wanted = count.min(samples).min(pixels);
        let kept = (wanted + SPARE).min(samples).min(pixels);
        let mut rng = stream(0, "modes", 0);
        let mut basis = Array2::from_shape_fn((kept, pixels), |_| rng.random::<f32>() - 0.5);
        orthonormalize(&mut basis);
        for _ in 0..ITERATIONS {
            let coefficients = product(rows, basis.t());
            basis = product(coefficients.t(), rows);
            orthonormalize(&mut basis);
        }
        let coefficients = product(rows, basis.t());
        let rotation = principal(&gram(coefficients.t()), wanted);
        Self {
            images: product(rotation.view(), basis.view()),
        }
    }

    /// Coefficients `(row, mode)` of rows of pixels.
    #[must_use]
    pub fn coefficients(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        product(rows, self.images.t())
    }

    /// What a symmetry does to coefficients, `(mode before, mode behind)`; images are squares of an odd `side`, about their centre.
    #[must_use]
    pub fn symmetry(&self, symmetry: Symmetry, side: usize) -> Array2<f32> {
        let mut moved = self.images.clone();
        for (mut to, from) in moved.outer_iter_mut().zip(self.images.outer_iter()) {
            for (pixel, value) in to.iter_mut().enumerate() {
                *value = from[symmetry.source_pixel(pixel, side)];
            }
        }
        self.coefficients(moved.view())
    }
}

impl Symmetry {
    /// The pixel of a square image of an odd `side` that goes to `pixel`, about the centre; pixels row by row.
    #[must_use]
    pub fn source_pixel(self, pixel: usize, side: usize) -> usize {
        let half = (side / 2) as i64;
        let from_centre = [(pixel % side) as i64 - half, (pixel / side) as i64 - half];
        let [x, y] = self.source(from_centre).map(|n| (n + half) as usize);
        y * side + x
    }
}

/// a b, block of rows by block of rows in parallel.
#[must_use]
pub fn product(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut result = Array2::zeros((a.nrows(), b.ncols()));
    result
        .axis_chunks_iter_mut(Axis(0), ROWS)
        .into_par_iter()
        .zip(a.axis_chunks_iter(Axis(0), ROWS))
        .for_each(|(mut to, from)| to.assign(&from.dot(&b)));
    result
}

/// a aᵀ in double precision.
fn gram(a: ArrayView2<'_, f32>) -> DMatrix<f64> {
    let n = a.nrows();
    let rows: Vec<Vec<f64>> = (0..n)
        .into_par_iter()
        .map(|i| {
            let row = a.row(i);
            let dot = |j: usize| -> f64 {
                let other = a.row(j);
                let pairs = row.iter().zip(other.iter());
                pairs.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
            };
            (0..=i).map(dot).collect()
        })
        .collect();
    DMatrix::from_fn(n, n, |i, j| rows[i.max(j)][i.min(j)])
}

/// The leading eigenvectors of a symmetric matrix as rows; their first large entry is positive.
fn principal(matrix: &DMatrix<f64>, count: usize) -> Array2<f32> {
    let eigen = SymmetricEigen::new(matrix.clone());
    let mut order: Vec<usize> = (0..matrix.nrows()).collect();
    order.sort_by(|&i, &j| eigen.eigenvalues[j].total_cmp(&eigen.eigenvalues[i]));
    Array2::from_shape_fn((count, matrix.nrows()), |(mode, row)| {
        eigen.eigenvectors[(row, order[mode])] as f32
    })
}

/// Makes rows orthonormal: twice by the eigenvectors of their Gram matrix, since once is not enough in single precision. Rows that
/// are dependent come out as zeros.
fn orthonormalize(basis: &mut Array2<f32>) {
    for _ in 0..2 {
        let eigen = SymmetricEigen::new(gram(basis.view()));
        let largest = eigen.eigenvalues.max();
        let n = basis.nrows();
        let rotation = Array2::from_shape_fn((n, n), |(i, j)| {
            let value = eigen.eigenvalues[i];
            if value <= 1e-10 * largest {
                return 0.0;
            }
            (eigen.eigenvectors[(j, i)] / value.sqrt()) as f32
        });
        *basis = product(rotation.view(), basis.slice(s![.., ..]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of rank 3 plus 1e-3 noise: three modes keep all but the noise, they are orthonormal, and the same for any threads.
    #[test]
    fn a_few_modes_hold_what_has_low_rank() {
        let mut rng = stream(3, "test", 0);
        let mut random = |n, m| Array2::from_shape_fn((n, m), |_| rng.random::<f32>() - 0.5);
        let rows = product(random(60, 3).view(), random(3, 50).view()) + random(60, 50) * 1e-3;
        let modes = Modes::leading(rows.view(), 3);
        let back = product(modes.coefficients(rows.view()).view(), modes.images.view());
        assert!((&rows - &back).iter().all(|x| x.abs() < 2e-3));
        let one = product(modes.images.view(), modes.images.t());
        for ((i, j), value) in one.indexed_iter() {
            assert!((value - f32::from(u8::from(i == j))).abs() < 1e-5);
        }
    }

    /// Coefficients of a mirrored image are the matrix times those of the image, where modes hold both.
    #[test]
    fn symmetries_act_on_coefficients() {
        let side = 7;
        let mut rng = stream(4, "test", 0);
        let random = Array2::from_shape_fn((2, side * side), |_| rng.random::<f32>());
        let mut all = Vec::new();
        for symmetry in Symmetry::SQUARE {
            for row in random.rows() {
                all.extend((0..side * side).map(|pixel| row[symmetry.source_pixel(pixel, side)]));
            }
        }
        let rows = Array2::from_shape_vec((16, side * side), all).unwrap();
        let modes = Modes::leading(rows.view(), 16);
        let coefficients = modes.coefficients(rows.view());
        for (n, symmetry) in Symmetry::SQUARE.into_iter().enumerate() {
            let matrix = modes.symmetry(symmetry, side);
            let moved = product(coefficients.slice(s![..2, ..]), matrix.view());
            let expected = coefficients.slice(s![2 * n..2 * n + 2, ..]);
            for (a, b) in moved.iter().zip(expected) {
                assert!((a - b).abs() < 1e-4, "{symmetry:?}: {a} {b}");
            }
        }
    }
}
