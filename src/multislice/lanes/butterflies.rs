//! Discrete Fourier transforms of a few complex numbers, y_k = Σ_j x_j exp(−2πi jk/R), in registers (R = 2, 4, 8: radix-2
//! butterflies; 3 and 5: Winograd's pairing of x_j and x_{R−j}; van Loan, *Computational Frameworks for the Fast Fourier
//! Transform* (1992)).

use std::f64::consts::FRAC_1_SQRT_2;

use super::super::fft::Real;
use super::arithmetic::{Arithmetic, Complexes};
use super::registers::Registers;

/// The transform of `R` numbers.
pub(super) trait Butterfly<const R: usize> {
    fn transform<T: Real, S: Registers<T>>(
        a: Arithmetic<T, S>,
        x: [Complexes<T, S>; R],
    ) -> [Complexes<T, S>; R];
}

/// Sine of 60°.
const SINE_60: f64 = 0.866_025_403_784_438_6;
/// Cosine and sine of 72°.
const FIFTH: [f64; 2] = [0.309_016_994_374_947_45, 0.951_056_516_295_153_5];
/// Cosine and sine of 144°.
const TWO_FIFTHS: [f64; 2] = [-0.809_016_994_374_947_5, 0.587_785_252_292_473_1];

pub(super) struct Two;
pub(super) struct Three;
pub(super) struct Four;
pub(super) struct Five;
pub(super) struct Eight;

impl Butterfly<2> for Two {
    #[inline(always)]
    fn transform<T: Real, S: Registers<T>>(
        a: Arithmetic<T, S>,
        x: [Complexes<T, S>; 2],
    ) -> [Complexes<T, S>; 2] {
        [a.add(x[0], x[1]), a.sub(x[0], x[1])]
    }
}

impl Butterfly<3> for Three {
    #[inline(always)]
    fn transform<T: Real, S: Registers<T>>(
        a: Arithmetic<T, S>,
        x: [Complexes<T, S>; 3],
    ) -> [Complexes<T, S>; 3] {
        let sum = a.add(x[1], x[2]);
        let across = a.scale(a.real(SINE_60), a.sub(x[1], x[2]));
        let along = a.sub_scaled(x[0], a.real(0.5), sum);
        [
            a.add(x[0], sum),
            a.sub_i(along, across),
            a.add_i(along, across),
        ]
    }
}

impl Butterfly<4> for Four {
    #[inline(always)]
    fn transform<T: Real, S: Registers<T>>(
        a: Arithmetic<T, S>,
        x: [Complexes<T, S>; 4],
    ) -> [Complexes<T, S>; 4] {
        let (even, other_even) = (a.add(x[0], x[2]), a.sub(x[0], x[2]));
        let (odd, other_odd) = (a.add(x[1], x[3]), a.sub(x[1], x[3]));
        [
            a.add(even, odd),
            a.sub_i(other_even, other_odd),
            a.sub(even, odd),
            a.add_i(other_even, other_odd),
        ]
    }
}

impl Butterfly<5> for Five {
    #[inline(always)]
    fn transform<T: Real, S: Registers<T>>(
        a: Arithmetic<T, S>,
        x: [Complexes<T, S>; 5],
    ) -> [Complexes<T, S>; 5] {
        let [c1, s1] = [a.real(FIFTH[0]), a.real(FIFTH[1])];
        let [c2, s2] = [a.real(TWO_FIFTHS[0]), a.real(TWO_FIFTHS[1])];
        let (near, near_difference) = (a.add(x[1], x[4]), a.sub(x[1], x[4]));
        let (far, far_difference) = (a.add(x[2], x[3]), a.sub(x[2], x[3]));
        let along_1 = a.add_scaled(a.add_scaled(x[0], c1, near), c2, far);
        let along_2 = a.add_scaled(a.add_scaled(x[0], c2, near), c1, far);
        let across_1 = a.add_scaled(a.scale(s1, near_difference), s2, far_difference);
        let across_2 = a.sub_scaled(a.scale(s2, near_difference), s1, far_difference);
        [
            a.add(a.add(x[0], near), far),
            a.sub_i(along_1, across_1),
            a.sub_i(along_2, across_2),
            a.add_i(along_2, across_2),
            a.add_i(along_1, across_1),
        ]
    }
}

impl Butterfly<8> for Eight {
    #[inline(always)]
    fn transform<T: Real, S: Registers<T>>(
        a: Arithmetic<T, S>,
        x: [Complexes<T, S>; 8],
    ) -> [Complexes<T, S>; 8] {
        let even = Four::transform(a, [x[0], x[2], x[4], x[6]]);
        let odd = Four::transform(a, [x[1], x[3], x[5], x[7]]);
        let half = a.real(FRAC_1_SQRT_2);
        let [[re_1, im_1], [re_3, im_3]] = [odd[1], odd[3]];
        // exp(−iπ/4) and −exp(−3iπ/4) times the odd ones are these over √2.
        let first = [a.simd.add(re_1, im_1), a.simd.sub(im_1, re_1)];
        let third = [a.simd.sub(re_3, im_3), a.simd.add(im_3, re_3)];
        [
            a.add(even[0], odd[0]),
            a.add_scaled(even[1], half, first),
            a.sub_i(even[2], odd[2]),
            a.sub_scaled(even[3], half, third),
            a.sub(even[0], odd[0]),
            a.sub_scaled(even[1], half, first),
            a.add_i(even[2], odd[2]),
            a.add_scaled(even[3], half, third),
        ]
    }
}
