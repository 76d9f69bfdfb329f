//! The inner loop of the matrices M: products of waves, summed over pixels in vector registers.
//!
//! Lanes of neighbouring pixels stand in a register; the real and imaginary sums of a few waves with a few others (a tile)
//! stay in registers over all pixels, so that a number that is loaded serves several products. Every sum has its fixed order;
//! it depends on the width of the processor's registers, not on threads.

use std::ops::Range;

use num_complex::Complex;
use pulp::{Simd, WithSimd};

use super::interference::Picked;
use crate::multislice::fft::Real;

/// Real numbers side by side in a vector register.
pub(in crate::multislice) trait Lanes: Real {
    /// A register.
    type Lane<S: Simd>: Copy;
    /// As many whole registers as there are.
    fn lanes<S: Simd>(values: &[Self]) -> &[Self::Lane<S>];
    /// Zeros.
    fn zeros<S: Simd>(simd: S) -> Self::Lane<S>;
    /// a b.
    fn product<S: Simd>(simd: S, a: Self::Lane<S>, b: Self::Lane<S>) -> Self::Lane<S>;
    /// a b + sum.
    fn add_product<S: Simd>(
        simd: S,
        a: Self::Lane<S>,
        b: Self::Lane<S>,
        sum: Self::Lane<S>,
    ) -> Self::Lane<S>;
    /// −a b + sum.
    fn subtract_product<S: Simd>(
        simd: S,
        a: Self::Lane<S>,
        b: Self::Lane<S>,
        sum: Self::Lane<S>,
    ) -> Self::Lane<S>;
    /// The sum of all numbers of a register.
    fn total<S: Simd>(simd: S, lane: Self::Lane<S>) -> f64;
}

impl Lanes for f32 {
    type Lane<S: Simd> = S::f32s;
    #[inline(always)]
    fn lanes<S: Simd>(values: &[Self]) -> &[S::f32s] {
        S::as_simd_f32s(values).0
    }
    #[inline(always)]
    fn zeros<S: Simd>(simd: S) -> S::f32s {
        simd.splat_f32s(0.0)
    }
    #[inline(always)]
    fn product<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.mul_f32s(a, b)
    }
    #[inline(always)]
    fn add_product<S: Simd>(simd: S, a: S::f32s, b: S::f32s, sum: S::f32s) -> S::f32s {
        simd.mul_add_e_f32s(a, b, sum)
    }
    #[inline(always)]
    fn subtract_product<S: Simd>(simd: S, a: S::f32s, b: S::f32s, sum: S::f32s) -> S::f32s {
        simd.negate_mul_add_e_f32s(a, b, sum)
    }
    #[inline(always)]
    fn total<S: Simd>(simd: S, lane: S::f32s) -> f64 {
        simd.reduce_sum_f32s(lane).widen()
    }
}

impl Lanes for f64 {
    type Lane<S: Simd> = S::f64s;
    #[inline(always)]
    fn lanes<S: Simd>(values: &[Self]) -> &[S::f64s] {
        S::as_simd_f64s(values).0
    }
    #[inline(always)]
    fn zeros<S: Simd>(simd: S) -> S::f64s {
        simd.splat_f64s(0.0)
    }
    #[inline(always)]
    fn product<S: Simd>(simd: S, a: S::f64s, b: S::f64s) -> S::f64s {
        simd.mul_f64s(a, b)
    }
    #[inline(always)]
    fn add_product<S: Simd>(simd: S, a: S::f64s, b: S::f64s, sum: S::f64s) -> S::f64s {
        simd.mul_add_e_f64s(a, b, sum)
    }
    #[inline(always)]
    fn subtract_product<S: Simd>(simd: S, a: S::f64s, b: S::f64s, sum: S::f64s) -> S::f64s {
        simd.negate_mul_add_e_f64s(a, b, sum)
    }
    #[inline(always)]
    fn total<S: Simd>(simd: S, lane: S::f64s) -> f64 {
        simd.reduce_sum_f64s(lane).widen()
    }
}

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

/// Adds that part, with the widest registers of the processor.
pub(super) fn add_products<T: Lanes>(rows: Rows<'_, T>) {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = pulp::x86::V4::try_new() {
            return Simd::vectorize(simd, rows);
        }
        if let Some(simd) = pulp::x86::V3::try_new() {
            return Simd::vectorize(simd, rows);
        }
    }
    pulp::Arch::new().dispatch(rows);
}

impl<T: Lanes> WithSimd for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            self.add::<S, 3>(simd);
        } else {
            self.add::<S, 2>(simd);
        }
    }
}

impl<T: Lanes> Rows<'_, T> {
    /// In tiles of `TILE` × `TILE` waves.
    #[inline(always)]
    fn add<S: Simd, const TILE: usize>(self, simd: S) {
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
fn products<T: Lanes, S: Simd, const TILE: usize>(
    simd: S,
    left: [(&[T], &[T]); TILE],
    right: [(&[T], &[T]); TILE],
    weights: &[T],
) -> [[Complex<f64>; TILE]; TILE] {
    let weights = T::lanes::<S>(weights);
    let left_re = left.map(|(re, _)| &T::lanes::<S>(re)[..weights.len()]);
    let left_im = left.map(|(_, im)| &T::lanes::<S>(im)[..weights.len()]);
    let right_re = right.map(|(re, _)| &T::lanes::<S>(re)[..weights.len()]);
    let right_im = right.map(|(_, im)| &T::lanes::<S>(im)[..weights.len()]);
    let mut re = [[T::zeros(simd); TILE]; TILE];
    let mut im = re;
    for (step, weight) in weights.iter().enumerate() {
        let seen_re = right_re.map(|lanes| T::product(simd, lanes[step], *weight));
        let seen_im = right_im.map(|lanes| T::product(simd, lanes[step], *weight));
        for i in 0..TILE {
            let (a, b) = (left_re[i][step], left_im[i][step]);
            for j in 0..TILE {
                re[i][j] = T::add_product(simd, a, seen_re[j], re[i][j]);
                im[i][j] = T::add_product(simd, a, seen_im[j], im[i][j]);
                re[i][j] = T::add_product(simd, b, seen_im[j], re[i][j]);
                im[i][j] = T::subtract_product(simd, b, seen_re[j], im[i][j]);
            }
        }
    }
    std::array::from_fn(|i| {
        std::array::from_fn(|j| Complex::new(T::total(simd, re[i][j]), T::total(simd, im[i][j])))
    })
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
        for result in [
            sums::<T>(add_products),
            sums::<T>(|rows| rows.with_simd(pulp::Scalar::new())),
        ] {
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
