//! Two-dimensional Fourier transforms over rustfft: rows where they lie, columns in tiles of a few gathered columns.
//!
//! A column of a row-major array touches a cache line per element. Gathering [`TILE`] neighbouring columns at once uses
//! whole cache lines, needs no transposed copy of the array, and lets a caller transform only the columns it wants.

use std::sync::Arc;

use num_complex::Complex;
use rustfft::{Fft, FftNum, FftPlanner};

/// Columns gathered at once: 128 bytes of a row in f32, two cache lines.
pub(super) const TILE: usize = 16;
/// Unused elements between the columns of a tile: 128 bytes in f32.
const TILE_GAP: usize = 16;

/// The two precisions of a wave.
pub(super) trait Real: FftNum + Default {
    /// Rounds a number computed in double precision.
    fn narrow(value: f64) -> Self;
    /// The number in double precision.
    fn widen(self) -> f64;
    /// Distance from 1 to the next number.
    fn epsilon() -> Self;
    /// `self · factor + sum`, rounded once.
    fn fused(self, factor: Self, sum: Self) -> Self;
}

impl Real for f32 {
    fn narrow(value: f64) -> Self {
        value as f32
    }
    fn widen(self) -> f64 {
        f64::from(self)
    }
    fn epsilon() -> Self {
        Self::EPSILON
    }
    #[inline(always)]
    fn fused(self, factor: Self, sum: Self) -> Self {
        self.mul_add(factor, sum)
    }
}

impl Real for f64 {
    fn narrow(value: f64) -> Self {
        value
    }
    fn widen(self) -> f64 {
        self
    }
    fn epsilon() -> Self {
        Self::EPSILON
    }
    #[inline(always)]
    fn fused(self, factor: Self, sum: Self) -> Self {
        self.mul_add(factor, sum)
    }
}

/// Rounds a complex number computed in double precision.
pub(super) fn narrow<T: Real>(value: Complex<f64>) -> Complex<T> {
    Complex::new(T::narrow(value.re), T::narrow(value.im))
}

/// Rounds a complex number so that its modulus is kept: what rounding both parts does to it is undone in the smaller one, whose
/// steps are finer, as far as that turns the phase no more than rounding does. A factor that is applied hundreds of times then
/// neither feeds nor drains the wave.
pub(super) fn narrow_modulus<T: Real>(value: Complex<f64>) -> Complex<T> {
    let mut rounded: Complex<T> = narrow(value);
    let excess = intensity(rounded) - value.norm_sqr();
    let most = T::epsilon().widen() * value.norm();
    let mended = |part: T| {
        let part = part.widen();
        T::narrow(part - (0.5 * excess / part).clamp(-most, most))
    };
    if value.re.abs() < value.im.abs() && value.re.abs() > most {
        rounded.re = mended(rounded.re);
    } else if value.im.abs() > most {
        rounded.im = mended(rounded.im);
    }
    rounded
}

/// A complex number in double precision.
pub(super) fn widen<T: Real>(value: Complex<T>) -> Complex<f64> {
    Complex::new(value.re.widen(), value.im.widen())
}

/// |z|² in double precision.
pub(super) fn intensity<T: Real>(value: Complex<T>) -> f64 {
    widen(value).norm_sqr()
}

/// Plans for arrays of one shape, shared by all threads.
pub(super) struct Fft2<T: Real> {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Distance between the columns of a tile: apart from a power of two, which would put them all in the same few
    /// lines of the cache.
    stride: usize,
    row_forward: Arc<dyn Fft<T>>,
    row_inverse: Arc<dyn Fft<T>>,
    column_forward: Arc<dyn Fft<T>>,
    column_inverse: Arc<dyn Fft<T>>,
}

/// Memory that transforms work in; one per thread.
pub(super) struct Scratch<T: Real> {
    /// [`TILE`] columns, one after the other.
    tile: Vec<Complex<T>>,
    fft: Vec<Complex<T>>,
}

impl<T: Real> Fft2<T> {
    pub(super) fn new((rows, cols): (usize, usize)) -> Self {
        let mut planner = FftPlanner::new();
        Self {
            rows,
            cols,
            stride: rows + TILE_GAP,
            row_forward: planner.plan_fft_forward(cols),
            row_inverse: planner.plan_fft_inverse(cols),
            column_forward: planner.plan_fft_forward(rows),
            column_inverse: planner.plan_fft_inverse(rows),
        }
    }

    pub(super) fn scratch(&self) -> Scratch<T> {
        let plans = [
            &self.row_forward,
            &self.row_inverse,
            &self.column_forward,
            &self.column_inverse,
        ];
        let longest = plans
            .iter()
            .map(|plan| plan.get_inplace_scratch_len())
            .max();
        Scratch {
            tile: vec![Complex::default(); TILE * self.stride],
            fft: vec![Complex::default(); longest.unwrap_or(0)],
        }
    }

    /// Forward transform of one row, or of several that follow each other.
    pub(super) fn row_forward(&self, rows: &mut [Complex<T>], scratch: &mut Scratch<T>) {
        self.row_forward
            .process_with_scratch(rows, &mut scratch.fft);
    }

    /// Inverse transform of one row, or of several that follow each other, without the factor 1/N.
    pub(super) fn row_inverse(&self, rows: &mut [Complex<T>], scratch: &mut Scratch<T>) {
        self.row_inverse
            .process_with_scratch(rows, &mut scratch.fft);
    }

    /// Writes columns `first..first + count` of `field`: `fill(column, values)` sets each spectrum, which is then
    /// transformed back along y without the factor 1/N.
    pub(super) fn fill_columns(
        &self,
        field: &mut [Complex<T>],
        (first, count): (usize, usize),
        scratch: &mut Scratch<T>,
        mut fill: impl FnMut(usize, &mut [Complex<T>]),
    ) {
        for (offset, column) in self.columns(&mut scratch.tile, count).enumerate() {
            fill(first + offset, column);
            self.column_inverse
                .process_with_scratch(column, &mut scratch.fft);
        }
        self.scatter(&scratch.tile, field, (first, count));
    }

    /// Columns `first..first + count` of `field` forward along y, shown as `show(column, values)`; the field stays.
    pub(super) fn read_columns(
        &self,
        field: &[Complex<T>],
        (first, count): (usize, usize),
        scratch: &mut Scratch<T>,
        mut show: impl FnMut(usize, &[Complex<T>]),
    ) {
        self.gather(field, &mut scratch.tile, (first, count));
        for (offset, column) in self.columns(&mut scratch.tile, count).enumerate() {
            self.column_forward
                .process_with_scratch(column, &mut scratch.fft);
            show(first + offset, column);
        }
    }

    /// Forward transform of a whole `(rows, cols)` array.
    pub(super) fn forward(&self, field: &mut [Complex<T>], scratch: &mut Scratch<T>) {
        self.row_forward(field, scratch);
        self.all_columns(field, scratch, &self.column_forward);
    }

    /// Inverse transform of a whole `(rows, cols)` array, with 1/N.
    pub(super) fn inverse(&self, field: &mut [Complex<T>], scratch: &mut Scratch<T>) {
        self.row_inverse(field, scratch);
        self.all_columns(field, scratch, &self.column_inverse);
        let scale = T::narrow(1.0 / (self.rows * self.cols) as f64);
        for value in field {
            *value = *value * scale;
        }
    }

    fn all_columns(
        &self,
        field: &mut [Complex<T>],
        scratch: &mut Scratch<T>,
        plan: &Arc<dyn Fft<T>>,
    ) {
        for (first, count) in tiles(0, self.cols) {
            self.gather(field, &mut scratch.tile, (first, count));
            for column in self.columns(&mut scratch.tile, count) {
                plan.process_with_scratch(column, &mut scratch.fft);
            }
            self.scatter(&scratch.tile, field, (first, count));
        }
    }

    /// The first `count` columns of a tile.
    fn columns<'a>(
        &self,
        tile: &'a mut [Complex<T>],
        count: usize,
    ) -> impl Iterator<Item = &'a mut [Complex<T>]> + use<'a, T> {
        let rows = self.rows;
        tile.chunks_exact_mut(self.stride)
            .take(count)
            .map(move |column| &mut column[..rows])
    }

    /// Copies columns `first..first + count` of `field` into `tile`, one after the other.
    fn gather(
        &self,
        field: &[Complex<T>],
        tile: &mut [Complex<T>],
        (first, count): (usize, usize),
    ) {
        for (y, row) in field.chunks_exact(self.cols).enumerate() {
            for (offset, value) in row[first..first + count].iter().enumerate() {
                tile[offset * self.stride + y] = *value;
            }
        }
    }

    /// The way back of `gather`.
    fn scatter(
        &self,
        tile: &[Complex<T>],
        field: &mut [Complex<T>],
        (first, count): (usize, usize),
    ) {
        for (y, row) in field.chunks_exact_mut(self.cols).enumerate() {
            for (offset, value) in row[first..first + count].iter_mut().enumerate() {
                *value = tile[offset * self.stride + y];
            }
        }
    }
}

/// Cuts the columns `start..end` into tiles `(first, count)`.
pub(super) fn tiles(start: usize, end: usize) -> impl Iterator<Item = (usize, usize)> {
    (start..end)
        .step_by(TILE)
        .map(move |first| (first, TILE.min(end - first)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, stream};

    /// The definition of the crate's forward transform, term by term.
    fn slow_forward(field: &[Complex<f64>], rows: usize, cols: usize) -> Vec<Complex<f64>> {
        let turn = |k: usize, i: usize, n: usize| {
            Complex::cis(-std::f64::consts::TAU * (k * i) as f64 / n as f64)
        };
        let mut spectrum = vec![Complex::default(); rows * cols];
        for (index, value) in spectrum.iter_mut().enumerate() {
            let (v, u) = (index / cols, index % cols);
            *value = (0..rows * cols)
                .map(|i| field[i] * turn(v, i / cols, rows) * turn(u, i % cols, cols))
                .sum();
        }
        spectrum
    }

    #[test]
    fn the_fast_transform_agrees_with_the_definition_and_has_its_inverse() {
        let (rows, cols) = (12, 20); // more than a tile of columns, rows and columns different
        let mut rng = stream(3, "field", 0);
        let field: Vec<Complex<f64>> = (0..rows * cols)
            .map(|_| Complex::new(rng.random::<f64>(), rng.random::<f64>()))
            .collect();
        let fft = Fft2::new((rows, cols));
        let mut scratch = fft.scratch();
        let mut fast = field.clone();
        fft.forward(&mut fast, &mut scratch);
        let slow = slow_forward(&field, rows, cols);
        assert!(fast.iter().zip(&slow).all(|(f, s)| (f - s).norm() < 1e-10));
        fft.inverse(&mut fast, &mut scratch);
        assert!(fast.iter().zip(&field).all(|(f, s)| (f - s).norm() < 1e-12));
    }
}
