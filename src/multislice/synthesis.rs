//! Real fields from half of their spectrum.
//!
//! The spectrum of a real field is conjugate-even, F(−k) = F(k)*: columns of k_x ≥ 0 tell all. They are transformed back along
//! y, and then two rows at once along x, one as the real and one as the imaginary part of a complex row: half the work of a
//! complex transform.

use std::sync::Arc;

use ndarray::Array2;
use num_complex::Complex;
use rustfft::{Fft, FftPlanner};

/// Rows gathered at once from the columns: whole lines of the cache.
const ROWS: usize = 32;

/// Plans for fields of one shape.
pub(super) struct Synthesis {
    rows: usize,
    cols: usize,
    column: Arc<dyn Fft<f64>>,
    row: Arc<dyn Fft<f64>>,
}

impl Synthesis {
    /// For `(rows, cols)` pixels.
    pub(super) fn new((rows, cols): (usize, usize)) -> Self {
        let mut planner = FftPlanner::new();
        Self {
            rows,
            cols,
            column: planner.plan_fft_inverse(rows),
            row: planner.plan_fft_inverse(cols),
        }
    }

    /// The field Σ_k F(k) exp(2πi k·r), `(y, x)`, the plain sum without 1/N. `fill(column)` adds to the columns of F, from
    /// kx = 0 to the highest in turn and empty at first, in the order of the transform. At the highest frequency of an even
    /// count, which stands for both signs, the real part counts.
    pub(super) fn field(&self, mut fill: impl FnMut(&mut [Complex<f64>])) -> Array2<f64> {
        let scratch = self.column.get_inplace_scratch_len();
        let mut scratch = vec![Complex::default(); scratch.max(self.row.get_inplace_scratch_len())];
        let half = self.cols / 2 + 1;
        let mut columns = Vec::with_capacity(half * self.rows);
        let mut column = vec![Complex::default(); self.rows];
        for _ in 0..half {
            column.fill(Complex::default());
            fill(&mut column);
            // Each is transformed while it is in the cache, and seen again only as a part of the rows.
            self.column.process_with_scratch(&mut column, &mut scratch);
            columns.extend_from_slice(&column);
        }
        let mut field = Array2::zeros((self.rows, self.cols));
        if let Some(rows) = field.as_slice_mut() {
            self.all_rows(&columns, rows, &mut scratch);
        }
        field
    }

    fn all_rows(&self, columns: &[Complex<f64>], field: &mut [f64], scratch: &mut [Complex<f64>]) {
        let mut pairs = vec![Complex::default(); ROWS / 2 * self.cols];
        for (block, rows) in field.chunks_mut(ROWS * self.cols).enumerate() {
            let count = rows.len() / self.cols;
            let pairs = &mut pairs[..count.div_ceil(2) * self.cols];
            self.gather(columns, (ROWS * block, count), pairs);
            self.row.process_with_scratch(pairs, scratch);
            let both = rows.chunks_mut(2 * self.cols);
            for (both, pair) in both.zip(pairs.chunks_exact(self.cols)) {
                let (even, odd) = both.split_at_mut(self.cols);
                for (value, source) in even.iter_mut().zip(pair) {
                    *value = source.re;
                }
                for (value, source) in odd.iter_mut().zip(pair) {
                    *value = source.im;
                }
            }
        }
    }

    /// Rows `first..first + count` of the spectrum along x, two and two as F(k_x) + i G(k_x).
    fn gather(
        &self,
        columns: &[Complex<f64>],
        (first, count): (usize, usize),
        pairs: &mut [Complex<f64>],
    ) {
        for (x, column) in columns.chunks_exact(self.rows).enumerate() {
            let own = x == 0 || 2 * x == self.cols; // a frequency that is its own negative
            for (pair, both) in column[first..first + count].chunks(2).enumerate() {
                let (f, g) = (both[0], both.get(1).copied().unwrap_or_default());
                let row = &mut pairs[pair * self.cols..][..self.cols];
                if own {
                    row[x] = Complex::new(f.re, g.re);
                } else {
                    row[x] = Complex::new(f.re - g.im, f.im + g.re);
                    row[self.cols - x] = Complex::new(f.re + g.im, g.re - f.im);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    use crate::rng::{Rng, stream};

    /// A real field, its spectrum by the definition, and back: rounding of sums over 200 terms.
    #[test]
    fn a_real_field_comes_back_from_half_of_its_spectrum() {
        let mut rng = stream(6, "field", 0);
        for (rows, cols) in [(12, 15), (17, 8), (7, 5), (4, 4), (33, 6)] {
            let field = Array2::from_shape_fn((rows, cols), |_| rng.random::<f64>() - 0.5);
            let synthesis = Synthesis::new((rows, cols));
            let mut kx = 0;
            let back = synthesis.field(|column| {
                for (ky, value) in column.iter_mut().enumerate() {
                    let turn = |y: usize, x: usize| {
                        let (y, x) = ((ky * y) as f64 / rows as f64, (kx * x) as f64 / cols as f64);
                        Complex::cis(-TAU * (y + x))
                    };
                    *value = field.indexed_iter().map(|((y, x), v)| turn(y, x) * v).sum();
                }
                kx += 1;
            }) / (rows * cols) as f64;
            let error = (&back - &field).fold(0.0_f64, |m, v| m.max(v.abs()));
            assert!(error < 1e-14, "{rows} x {cols}: {error}");
        }
    }
}
