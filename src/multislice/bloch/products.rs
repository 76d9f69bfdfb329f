//! The inner loop of the matrices M: products of waves, summed over pixels in vector registers.
//!
//! Lanes of neighbouring pixels stand in a register; the real and imaginary sums of a few waves with a few others (a tile)
//! stay in registers over all pixels, so that a number that is loaded serves several products. Every sum has its fixed order;
//! it depends on the width of the processor's registers, not on threads.

use std::ops::Range;

use num_complex::Complex;

use super::interference::Picked;
use crate::multislice::lanes::{Kernel, Lanes, Registers, Vectors};

/// The part of some rows of M that a block of pixels gives.
pub(super) struct Rows<'a, T> {
    pub(super) waves: &'a [&'a Picked<T>],
    /// The pixels.
    pub(super) span: &'a Range<usize>,
    /// What they count.
    pub(super) weights: &'a [T],
    /// The first row.
    pub(super) first: usize,
    /// M\[g, g'\] of the rows.
    pub(super) sums: &'a mut [Complex<f64>],
}

/// Adds that part.
pub(super) fn add_products<T: Lanes>(rows: Rows<'_, T>) {
    T::run(Vectors::of_processor(), rows);
}

impl<T: Lanes> Kernel<T> for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Registers<T>>(self, simd: S) {
        if S::COUNT >= 32 {
            self.add::<S, 3>(simd);
        } else {
            self.add::<S, 2>(simd);
        }
    }
}

impl<T: Lanes> Rows<'_, T> {
    /// In tiles of `TILE` × `TILE` waves.
    #[inline(always)]
    fn add<S: Registers<T>, const TILE: usize>(self, simd: S) {
        let beams = self.waves.len();
        let rows = self.sums.len() / beams;
        // Beyond the last wave stands the last one again; what it gives is not used.
        let wave = |n: usize| {
            let wave = self.waves[n.min(beams - 1)];
            (&wave.re[self.span.clone()], &wave.im[self.span.clone()])
        };
        for i in (0..rows).step_by(TILE) {
            let left = std::array::from_fn::<_, TILE, _>(|n| wave(self.first + i + n));
            for j in (self.first + i..beams).step_by(TILE) {
                let right = std::array::from_fn::<_, TILE, _>(|n| wave(j + n));
                let tile = products::<T, S, TILE>(simd, left, right, self.weights);
                for (n, row) in tile.iter().enumerate().take(rows - i) {
                    let sums = &mut self.sums[(i + n) * beams..][..beams];
                    for (sum, value) in sums[j..].iter_mut().zip(row) {
                        *sum += value;
                    }
                }
            }
        }
    }
}

/// Σ w u_g* u_g' for a few g and g', from real and imaginary parts of the waves.
#[inline(always)]
fn products<T: Lanes, S: Registers<T>, const TILE: usize>(
    simd: S,
    left: [(&[T], &[T]); TILE],
    right: [(&[T], &[T]); TILE],
    weights: &[T],
) -> [[Complex<f64>; TILE]; TILE] {
    let weights = S::lanes(weights);
    let left_re = left.map(|(re, _)| &S::lanes(re)[..weights.len()]);
    let left_im = left.map(|(_, im)| &S::lanes(im)[..weights.len()]);
    let right_re = right.map(|(re, _)| &S::lanes(re)[..weights.len()]);
    let right_im = right.map(|(_, im)| &S::lanes(im)[..weights.len()]);
    let mut re = [[simd.splat(T::zero()); TILE]; TILE];
    let mut im = re;
    for (step, weight) in weights.iter().enumerate() {
        let (mut seen_re, mut seen_im) = ([*weight; TILE], [*weight; TILE]);
        for j in 0..TILE {
            seen_re[j] = simd.mul(right_re[j][step], *weight);
            seen_im[j] = simd.mul(right_im[j][step], *weight);
        }
        for i in 0..TILE {
            let (a, b) = (left_re[i][step], left_im[i][step]);
            for j in 0..TILE {
                re[i][j] = simd.mul_add(a, seen_re[j], re[i][j]);
                im[i][j] = simd.mul_add(a, seen_im[j], im[i][j]);
                re[i][j] = simd.mul_add(b, seen_im[j], re[i][j]);
                im[i][j] = simd.neg_mul_add(b, seen_re[j], im[i][j]);
            }
        }
    }
    let mut totals = [[Complex::default(); TILE]; TILE];
    for i in 0..TILE {
        for j in 0..TILE {
            totals[i][j] = Complex::new(simd.total(re[i][j]), simd.total(im[i][j]));
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, stream};

    /// Seven waves over 48 pixels with weights of both signs, rows 2 to 6 of their matrix.
    fn sums<T: Lanes>(work: impl Fn(Rows<'_, T>)) -> Vec<Complex<f64>> {
        let mut rng = stream(4, "products", 0);
        let mut numbers = || -> Vec<T> {
            let number = |_| T::narrow(rng.random_range(-1.0..1.0));
            (0..48).map(number).collect()
        };
        let weights = numbers();
        let waves: Vec<Picked<T>> = (0..7)
            .map(|_| Picked {
                re: numbers(),
                im: numbers(),
            })
            .collect();
        let mut sums = vec![Complex::default(); 5 * 7];
        work(Rows {
            waves: &waves.iter().collect::<Vec<_>>(),
            span: &(0..48),
            weights: &weights,
            first: 2,
            sums: &mut sums,
        });
        sums
    }

    /// The definition, term by term in double precision.
    fn plain<T: Lanes>(rows: Rows<'_, T>) {
        let value =
            |wave: &Picked<T>, x: usize| Complex::new(wave.re[x].widen(), wave.im[x].widen());
        for (place, sum) in rows.sums.iter_mut().enumerate() {
            let (left, right) = (rows.waves[rows.first + place / 7], rows.waves[place % 7]);
            for x in rows.span.clone() {
                *sum += value(left, x).conj() * value(right, x) * rows.weights[x].widen();
            }
        }
    }

    fn compare<T: Lanes>(tolerance: f64) {
        let expected = sums::<T>(plain);
        for vectors in Vectors::available() {
            let result = sums::<T>(|rows| T::run(vectors, rows));
            for (place, (sum, expected)) in result.iter().zip(&expected).enumerate() {
                if place % 7 >= place / 7 + 2 {
                    assert!((sum - expected).norm() < tolerance, "{place}");
                }
            }
        }
    }

    /// 48 terms of at most 2, rounded a few times each.
    #[test]
    fn products_in_registers_are_the_sums_of_the_definition() {
        compare::<f64>(1e-13);
        compare::<f32>(2e-5);
    }
}
