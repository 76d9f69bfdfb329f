//! Some lines of a field side by side, as kernels leave them, for whoever wants to look.

use num_complex::Complex;

use super::super::fft::Real;
use super::arithmetic::complexes;
use super::field::Strips;
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
    /// For each index in the line, the place of its number.
    pub(in super::super) places: &'a [usize],
    /// Whether imaginary parts come first.
    pub(in super::super) swapped: bool,
    pub(in super::super) vectors: Vectors,
}

impl<T: Lanes> Tile<'_, T> {
    /// Lines side by side, with padding.
    fn lanes(&self) -> usize {
        self.values.len() / (2 * self.places.len())
    }

    /// For each index in the lines, the real and imaginary parts of all lines.
    pub(in super::super) fn numbers(&self) -> impl Iterator<Item = (&[T], &[T])> {
        let lanes = self.lanes();
        self.places.iter().map(move |place| {
            let pair = &self.values[2 * place * lanes..][..2 * lanes];
            let (first, second) = pair.split_at(lanes);
            if self.swapped {
                (second, first)
            } else {
                (first, second)
            }
        })
    }

    /// Shows line after line, with its place among all, as complex numbers in their natural order.
    pub(in super::super) fn lines(&self, mut show: impl FnMut(usize, &[Complex<T>])) {
        let mut line = vec![Complex::default(); self.places.len()];
        for l in 0..self.count {
            for (value, (re, im)) in line.iter_mut().zip(self.numbers()) {
                *value = Complex::new(re[l], im[l]);
            }
            show(self.first + l, &line);
        }
    }

    /// Σ w |z|² with the weights of the strips from `corner` `[row, col]` on, if the lines are rows.
    pub(in super::super) fn weigh(&self, weights: &Strips<T>, corner: [usize; 2]) -> f64 {
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
    weights: &'a Strips<T>,
    corner: [usize; 2],
}

impl<T: Real> Kernel<T> for Weigh<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Registers<T>>(self, simd: S) -> f64 {
        let Tile {
            first,
            values,
            places,
            ..
        } = self.tile;
        let [top, left] = self.corner;
        let values = complexes::<T, S>(values);
        let ([upper, lower], above) = self.weights.strips::<S>(top + first);
        let weights = upper[left..].iter().zip(&lower[left..]);
        let (mut total, mut sum) = (0.0, simd.splat(T::zero()));
        for (number, (&place, (&upper, &lower))) in places.iter().zip(weights).enumerate() {
            let [a, b] = values[place];
            let square = simd.mul_add(a, a, simd.mul(b, b));
            sum = simd.mul_add(simd.splice(upper, lower, above), square, sum);
            if number % SHORT == SHORT - 1 {
                total += simd.total(sum);
                sum = simd.splat(T::zero());
            }
        }
        total + simd.total(sum)
    }
}
