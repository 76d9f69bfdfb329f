//! Some lines of a field side by side, as kernels leave them, for whoever wants to look.

use num_complex::Complex;

use super::super::fft::Real;
use super::arithmetic::complexes;
use super::field::Columns;
use super::registers::{Kernel, Lanes, Registers, Vectors};

/// Places whose terms are summed in the wave's precision before they are added in double.
const SHORT: usize = 64;

/// Lines of a wave, number by number in the order of a transform.
pub(in super::super) struct Tile<'a, T> {
    /// Place of the first line among all.
    pub(in super::super) first: usize,
    /// Lines that are no padding.
    pub(in super::super) count: usize,
    /// `(place, real or imaginary part, line)`.
    pub(in super::super) values: &'a [T],
    /// For each place, the index of its number in the line.
    pub(in super::super) order: &'a [usize],
    /// Whether imaginary parts come first.
    pub(in super::super) swapped: bool,
    pub(in super::super) vectors: Vectors,
}

impl<T: Lanes> Tile<'_, T> {
    /// Lines side by side, with padding.
    fn lanes(&self) -> usize {
        self.values.len() / (2 * self.order.len())
    }

    /// For each place the index of its number in the line, and the real and imaginary parts of all lines.
    pub(in super::super) fn places(&self) -> impl Iterator<Item = (usize, &[T], &[T])> {
        let lanes = self.lanes();
        let pairs = self.values.chunks_exact(2 * lanes);
        self.order.iter().zip(pairs).map(move |(&index, pair)| {
            let (first, second) = pair.split_at(lanes);
            if self.swapped {
                (index, second, first)
            } else {
                (index, first, second)
            }
        })
    }

    /// Shows line after line, with its place among all, as complex numbers in their natural order.
    pub(in super::super) fn lines(&self, mut show: impl FnMut(usize, &[Complex<T>])) {
        let mut line = vec![Complex::default(); self.order.len()];
        for l in 0..self.count {
            for (index, re, im) in self.places() {
                line[index] = Complex::new(re[l], im[l]);
            }
            show(self.first + l, &line);
        }
    }

    /// Σ w |z|² with the weights of the columns from `corner` `[row, col]` on, if the lines are rows.
    pub(in super::super) fn weigh(&self, weights: &Columns<T>, corner: [usize; 2]) -> f64 {
        let kernel = Weigh {
            tile: self,
            weights,
            corner,
        };
        T::run(self.vectors, kernel)
    }
}

struct Weigh<'a, T> {
    tile: &'a Tile<'a, T>,
    weights: &'a Columns<T>,
    corner: [usize; 2],
}

impl<T: Real> Kernel<T> for Weigh<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Registers<T>>(self, simd: S) -> f64 {
        let Tile {
            first,
            values,
            order,
            ..
        } = self.tile;
        let [top, left] = self.corner;
        let values = complexes::<T, S>(values);
        let mut total = 0.0;
        for (values, order) in values.chunks(SHORT).zip(order.chunks(SHORT)) {
            let mut sum = simd.splat(T::zero());
            for (&[a, b], &x) in values.iter().zip(order) {
                let weight = self.weights.real::<S>(top + first, left + x);
                let square = simd.mul_add(a, a, simd.mul(b, b));
                sum = simd.mul_add(weight, square, sum);
            }
            total += simd.total(sum);
        }
        total
    }
}
