//! Fourier transforms of several lines of numbers side by side: line l stands in place l of every register.
//!
//! A butterfly then works on whole registers, as if they were numbers, and nothing is ever shuffled. The forward transform
//! decimates in frequency and leaves the frequencies where they come ([`Transform::places`]); the backward one
//! decimates in time and takes them in that order. Between the two stands a product with a function of the frequency, for
//! which any order will do, so that neither sorts (van Loan, *Computational Frameworks for the Fast Fourier Transform* (1992),
//! sec. 1.9). The last pass forward, the product and the first pass backward are one.
//!
//! The backward transform is the forward one with real and imaginary parts swapped, and the mirrored order of passes.
//!
//! Lengths with prime factors beyond 5 are left to rustfft, line by line.

use std::f64::consts::TAU;
use std::sync::Arc;

use num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use super::super::fft::Real;
use super::arithmetic::{Arithmetic, Complexes, complexes, complexes_mut, swapped};
use super::butterflies::{Butterfly, Eight, Five, Four, Three, Two};
use super::registers::{Kernel, Lanes, Registers, Vectors};

/// The transform of lines of one length, shared by all threads.
pub(in super::super) struct Transform<T: Real> {
    length: usize,
    way: Way<T>,
    places: Vec<usize>,
}

enum Way<T: Real> {
    /// The first decimates the whole line, the last has no block below.
    Passes(Vec<Pass<T>>),
    /// Line by line.
    General(Arc<dyn Fft<T>>),
}

/// Butterflies of `radix` numbers within blocks of `length`.
struct Pass<T> {
    radix: usize,
    length: usize,
    /// exp(−2πi j q/length), `(j, q)`, j < length/radix and 1 ≤ q < radix.
    twiddles: Vec<[T; 2]>,
}

impl<T: Lanes> Transform<T> {
    pub(in super::super) fn new(length: usize, vectors: Vectors) -> Self {
        let Some(radices) = radices(length, vectors == Vectors::Avx512) else {
            return Self {
                length,
                way: Way::General(FftPlanner::new().plan_fft_forward(length)),
                places: (0..length).collect(),
            };
        };
        let mut places = vec![0; length];
        for place in 0..length {
            places[frequency(place, length, &radices)] = place;
        }
        let mut block = length;
        let pass = |&radix: &usize| {
            let pass = Pass::new(radix, block);
            block /= radix;
            pass
        };
        Self {
            length,
            way: Way::Passes(radices.iter().map(pass).collect()),
            places,
        }
    }
}

impl<T: Real> Transform<T> {
    /// Numbers in a line.
    pub(in super::super) fn length(&self) -> usize {
        self.length
    }

    /// For each frequency, its place in a transformed tile.
    pub(in super::super) fn places(&self) -> &[usize] {
        &self.places
    }

    /// Forward, times `factors`, and backward without the factor 1/N.
    #[inline(always)]
    pub(in super::super) fn filter<S: Registers<T>>(
        &self,
        a: Arithmetic<T, S>,
        tile: &mut [T],
        factors: &[T],
    ) {
        match &self.way {
            Way::Passes(passes) => filter(a.simd, passes, tile, factors),
            Way::General(_) => {
                self.forward(a, tile);
                multiply(a, tile, factors);
                self.backward(a, tile);
            }
        }
    }

    /// Forward: from the natural order to [`Transform::places`].
    #[inline(always)]
    pub(in super::super) fn forward<S: Registers<T>>(&self, a: Arithmetic<T, S>, tile: &mut [T]) {
        match &self.way {
            Way::Passes(passes) => {
                for pass in passes {
                    a.simd.call(Outward { pass, tile });
                }
            }
            Way::General(fft) => line_by_line(tile, S::LANES, |line| fft.process(line)),
        }
    }

    /// Backward: from [`Transform::places`] to the natural order, without the factor 1/N.
    #[inline(always)]
    pub(in super::super) fn backward<S: Registers<T>>(&self, a: Arithmetic<T, S>, tile: &mut [T]) {
        match &self.way {
            Way::Passes(passes) => {
                for pass in passes.iter().rev() {
                    a.simd.call(Homeward { pass, tile });
                }
            }
            Way::General(fft) => line_by_line(tile, S::LANES, |line| {
                line.iter_mut().for_each(|z| *z = Complex::new(z.im, z.re));
                fft.process(line);
                line.iter_mut().for_each(|z| *z = Complex::new(z.im, z.re));
            }),
        }
    }
}

/// Multiplies a transformed tile.
#[inline(always)]
pub(in super::super) fn multiply<T: Real, S: Registers<T>>(
    a: Arithmetic<T, S>,
    tile: &mut [T],
    factors: &[T],
) {
    let factors = complexes::<T, S>(factors);
    for (value, factor) in complexes_mut::<T, S>(tile).iter_mut().zip(factors) {
        *value = a.mul(*value, *factor);
    }
}

impl<T: Real> Pass<T> {
    fn new(radix: usize, length: usize) -> Self {
        let twiddle = |j: usize, q: usize| {
            let z = Complex::cis(-TAU * (j * q % length) as f64 / length as f64);
            [T::narrow(z.re), T::narrow(z.im)]
        };
        Self {
            radix,
            length,
            twiddles: (0..length / radix)
                .flat_map(|j| (1..radix).map(move |q| twiddle(j, q)))
                .collect(),
        }
    }
}

/// The radices of a length, rising, so that the pass without twiddles is the largest; none if it has other prime factors.
/// Butterflies of eight need more registers than `many` says that there are.
fn radices(length: usize, many: bool) -> Option<Vec<usize>> {
    let (mut rest, mut twos, mut radices) = (length, 0, Vec::new());
    for prime in [2, 3, 5] {
        while rest > 0 && rest % prime == 0 {
            rest /= prime;
            if prime == 2 {
                twos += 1;
            } else {
                radices.push(prime);
            }
        }
    }
    // With the fours that are left: 16 = 4 · 4, and an odd number of factors 2 has one eight at least.
    let eights = match twos {
        0 | 1 => 0,
        _ if !many => twos % 2,
        _ if twos % 3 == 1 => (twos - 4) / 3,
        _ => twos / 3,
    };
    let left = twos - 3 * eights;
    radices.extend(std::iter::repeat_n(8, eights));
    radices.extend(std::iter::repeat_n(4, left / 2));
    radices.extend(std::iter::repeat_n(2, left % 2));
    radices.sort_unstable();
    (rest == 1 && !radices.is_empty()).then_some(radices)
}

/// The frequency that the decimation leaves at a place.
fn frequency(mut place: usize, length: usize, radices: &[usize]) -> usize {
    let (mut frequency, mut weight, mut block) = (0, 1, length);
    for radix in radices {
        block /= radix;
        frequency += weight * (place / block);
        place %= block;
        weight *= radix;
    }
    frequency
}

/// All passes forward, the product, and all backward. What lies below the first pass is done block by block: a block stays in
/// the nearest cache.
#[inline(always)]
fn filter<T: Real, S: Registers<T>>(simd: S, passes: &[Pass<T>], tile: &mut [T], factors: &[T]) {
    let (first, below) = match passes {
        [] => return,
        [pass] => {
            let turn = Turn {
                pass,
                tile,
                factors,
            };
            return simd.call(turn);
        }
        [first, below @ ..] => (first, below),
    };
    let Some((last, middle)) = below.split_last() else {
        return;
    };
    simd.call(Outward { pass: first, tile });
    let length = 2 * S::LANES * first.length / first.radix;
    let blocks = tile.chunks_exact_mut(length);
    for (tile, factors) in blocks.zip(factors.chunks_exact(length)) {
        for pass in middle {
            simd.call(Outward { pass, tile });
        }
        simd.call(Turn {
            pass: last,
            tile,
            factors,
        });
        for pass in middle.iter().rev() {
            simd.call(Homeward { pass, tile });
        }
    }
    simd.call(Homeward { pass: first, tile });
}

/// A pass forward.
struct Outward<'a, T> {
    pass: &'a Pass<T>,
    tile: &'a mut [T],
}

impl<T: Real> Kernel<T> for Outward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Registers<T>>(self, simd: S) {
        let (a, Pass { twiddles, .. }) = (Arithmetic::new(simd), self.pass);
        let tile = complexes_mut::<T, S>(self.tile);
        for block in tile.chunks_exact_mut(self.pass.length) {
            match self.pass.radix {
                2 => outward::<T, S, Two, 2>(a, block, twiddles),
                3 => outward::<T, S, Three, 3>(a, block, twiddles),
                4 => outward::<T, S, Four, 4>(a, block, twiddles),
                5 => outward::<T, S, Five, 5>(a, block, twiddles),
                _ => outward::<T, S, Eight, 8>(a, block, twiddles),
            }
        }
    }
}

/// A pass backward.
struct Homeward<'a, T> {
    pass: &'a Pass<T>,
    tile: &'a mut [T],
}

impl<T: Real> Kernel<T> for Homeward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Registers<T>>(self, simd: S) {
        let (a, Pass { twiddles, .. }) = (Arithmetic::new(simd), self.pass);
        let tile = complexes_mut::<T, S>(self.tile);
        for block in tile.chunks_exact_mut(self.pass.length) {
            match self.pass.radix {
                2 => homeward::<T, S, Two, 2>(a, block, twiddles),
                3 => homeward::<T, S, Three, 3>(a, block, twiddles),
                4 => homeward::<T, S, Four, 4>(a, block, twiddles),
                5 => homeward::<T, S, Five, 5>(a, block, twiddles),
                _ => homeward::<T, S, Eight, 8>(a, block, twiddles),
            }
        }
    }
}

/// The last pass forward, the product, the first pass backward.
struct Turn<'a, T> {
    pass: &'a Pass<T>,
    tile: &'a mut [T],
    factors: &'a [T],
}

impl<T: Real> Kernel<T> for Turn<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Registers<T>>(self, simd: S) {
        let a = Arithmetic::new(simd);
        let tile = complexes_mut::<T, S>(self.tile);
        let factors = complexes::<T, S>(self.factors);
        match self.pass.radix {
            2 => turn::<T, S, Two, 2>(a, tile, factors),
            3 => turn::<T, S, Three, 3>(a, tile, factors),
            4 => turn::<T, S, Four, 4>(a, tile, factors),
            5 => turn::<T, S, Five, 5>(a, tile, factors),
            _ => turn::<T, S, Eight, 8>(a, tile, factors),
        }
    }
}

/// The `R` parts of a block, whose numbers of one place meet in a butterfly.
#[inline(always)]
fn parts<V, const R: usize>(mut block: &mut [V]) -> [&mut [V]; R] {
    let length = block.len() / R;
    std::array::from_fn(|_| {
        let (part, rest) = std::mem::take(&mut block).split_at_mut(length);
        block = rest;
        part
    })
}

/// Butterflies, then twiddles.
#[inline(always)]
fn outward<T: Real, S: Registers<T>, B: Butterfly<R>, const R: usize>(
    a: Arithmetic<T, S>,
    block: &mut [Complexes<T, S>],
    twiddles: &[[T; 2]],
) {
    let length = block.len() / R;
    let parts = parts::<_, R>(block);
    for (j, twiddles) in twiddles.chunks_exact(R - 1).enumerate().take(length) {
        let mut x = [parts[0][j]; R];
        for q in 1..R {
            x[q] = parts[q][j];
        }
        let y = B::transform(a, x);
        parts[0][j] = y[0];
        for q in 1..R {
            parts[q][j] = a.mul(y[q], a.splat(twiddles[q - 1]));
        }
    }
}

/// Twiddles, then butterflies, real and imaginary parts swapped.
#[inline(always)]
fn homeward<T: Real, S: Registers<T>, B: Butterfly<R>, const R: usize>(
    a: Arithmetic<T, S>,
    block: &mut [Complexes<T, S>],
    twiddles: &[[T; 2]],
) {
    let length = block.len() / R;
    let parts = parts::<_, R>(block);
    for (j, twiddles) in twiddles.chunks_exact(R - 1).enumerate().take(length) {
        let mut x = [swapped(parts[0][j]); R];
        for q in 1..R {
            x[q] = a.mul(swapped(parts[q][j]), a.splat(twiddles[q - 1]));
        }
        let y = B::transform(a, x);
        for q in 0..R {
            parts[q][j] = swapped(y[q]);
        }
    }
}

#[inline(always)]
fn turn<T: Real, S: Registers<T>, B: Butterfly<R>, const R: usize>(
    a: Arithmetic<T, S>,
    block: &mut [Complexes<T, S>],
    factors: &[Complexes<T, S>],
) {
    let factors = factors.as_chunks::<R>().0;
    for (values, factors) in block.as_chunks_mut::<R>().0.iter_mut().zip(factors) {
        let mut x = B::transform(a, *values);
        for q in 0..R {
            x[q] = swapped(a.mul(x[q], factors[q]));
        }
        let y = B::transform(a, x);
        for q in 0..R {
            values[q] = swapped(y[q]);
        }
    }
}

/// Shows each line of a tile as complex numbers, and takes back what becomes of it.
fn line_by_line<T: Real>(tile: &mut [T], lanes: usize, mut change: impl FnMut(&mut [Complex<T>])) {
    let mut line = Vec::with_capacity(tile.len() / (2 * lanes));
    for l in 0..lanes {
        let pairs = tile.chunks_exact(2 * lanes);
        line.clear();
        line.extend(pairs.map(|pair| Complex::new(pair[l], pair[lanes + l])));
        change(&mut line);
        for (pair, value) in tile.chunks_exact_mut(2 * lanes).zip(&line) {
            (pair[l], pair[lanes + l]) = (value.re, value.im);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, stream};

    #[derive(Clone, Copy)]
    enum Task {
        Forward,
        Backward,
        Filter,
    }

    struct Work<'a, T: Real> {
        transform: &'a Transform<T>,
        tile: &'a mut [T],
        task: Task,
    }

    /// A different number at each place.
    fn wave(place: usize) -> Complex<f64> {
        Complex::new((place as f64).sin(), (0.7 * place as f64).cos())
    }

    impl<T: Lanes> Kernel<T> for Work<'_, T> {
        type Output = ();

        fn run<S: Registers<T>>(self, simd: S) {
            let a = Arithmetic::new(simd);
            match self.task {
                Task::Forward => self.transform.forward(a, self.tile),
                Task::Backward => self.transform.backward(a, self.tile),
                Task::Filter => {
                    let number = |i: usize| {
                        let (place, part) = (i / (2 * S::LANES), i / S::LANES % 2);
                        let value = wave(place);
                        T::narrow([value.re, value.im][part])
                    };
                    let factors: Vec<T> = (0..self.tile.len()).map(number).collect();
                    self.transform.filter(a, self.tile, &factors);
                }
            }
        }
    }

    /// Random lines of one length through a task, against rustfft in double precision; the error relative to the largest.
    fn error<T: Lanes>(length: usize, vectors: Vectors, task: Task) -> f64 {
        let (lanes, transform) = (T::count(vectors), Transform::<T>::new(length, vectors));
        let mut rng = stream(6, "lines", length as u64);
        let mut number = || rng.random_range(-1.0..1.0);
        let mut tile: Vec<T> = (0..2 * lanes * length)
            .map(|_| T::narrow(number()))
            .collect();
        let line = |tile: &[T], l: usize| -> Vec<Complex<f64>> {
            let pairs = tile.chunks_exact(2 * lanes);
            let value = |pair: &[T]| Complex::new(pair[l].widen(), pair[lanes + l].widen());
            pairs.map(value).collect()
        };
        let before = tile.clone();
        T::run(
            vectors,
            Work {
                transform: &transform,
                tile: &mut tile,
                task,
            },
        );
        let mut planner = FftPlanner::new();
        let (there, back) = (
            planner.plan_fft_forward(length),
            planner.plan_fft_inverse(length),
        );
        let mut order = vec![0; length];
        for (frequency, &place) in transform.places().iter().enumerate() {
            order[place] = frequency;
        }
        let (mut worst, mut most): (f64, f64) = (0.0, 0.0);
        for l in 0..lanes {
            let mut expected = line(&before, l);
            match task {
                Task::Forward => {
                    there.process(&mut expected);
                    expected = order.iter().map(|&k| expected[k]).collect();
                }
                Task::Backward => {
                    let mut sorted = expected.clone();
                    for (place, &k) in order.iter().enumerate() {
                        sorted[k] = expected[place];
                    }
                    back.process(&mut sorted);
                    expected = sorted;
                }
                Task::Filter => {
                    there.process(&mut expected);
                    for (place, &k) in order.iter().enumerate() {
                        expected[k] *= wave(place);
                    }
                    back.process(&mut expected);
                }
            }
            for (found, expected) in line(&tile, l).iter().zip(&expected) {
                worst = worst.max((found - expected).norm());
                most = most.max(expected.norm());
            }
        }
        worst / most
    }

    /// Every radix alone and combined, lengths of one pass, prime factors beyond 5, all kinds of registers. Rounding grows with
    /// the logarithm of the length: a few units of the last place.
    #[test]
    fn lines_side_by_side_transform_as_each_alone() {
        let lengths = [
            4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 20, 22, 24, 25, 27, 32, 48, 60, 64, 77, 96, 100, 125,
            128, 180, 256, 320, 360, 384, 509, 512, 1000, 1024,
        ];
        for vectors in Vectors::available() {
            for length in lengths {
                for task in [Task::Forward, Task::Backward, Task::Filter] {
                    let double = error::<f64>(length, vectors, task);
                    assert!(double < 2e-15, "{vectors:?} {length}: {double:e}");
                    let single = error::<f32>(length, vectors, task);
                    assert!(single < 1e-6, "{vectors:?} {length}: {single:e}");
                }
            }
        }
    }

    #[test]
    fn radices_make_up_the_length() {
        for length in 1..2000 {
            for many in [true, false] {
                let Some(radices) = radices(length, many) else {
                    assert!(
                        [2, 3, 5].iter().fold(length, |mut rest, prime| {
                            while rest % prime == 0 {
                                rest /= prime;
                            }
                            rest
                        }) > 1
                            || length == 1
                    );
                    continue;
                };
                assert_eq!(radices.iter().product::<usize>(), length, "{radices:?}");
                assert!(radices.iter().filter(|&&radix| radix == 2).count() <= 1);
            }
        }
    }
}
