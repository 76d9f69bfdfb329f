//! AVX-512 and AVX2: the arithmetic is pulp's, the transposition here is from shuffles within and between parts of 128 bits.

use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

use pulp::bytemuck::{cast_slice, cast_slice_mut};
use pulp::x86::{V3, V4};
use pulp::{NullaryFnOnce, Simd, cast, f32x8, f32x16, f64x4, f64x8};

use super::super::fft::Real;
use super::portable::Portable;
use super::registers::{Kernel, MOST, Registers, Vectors};

/// Runs a kernel with the registers asked for.
#[inline]
pub(super) fn run<T: Real, K: Kernel<T>>(vectors: Vectors, kernel: K) -> K::Output
where
    V4: Registers<T>,
    V3: Registers<T>,
{
    match (vectors, V4::try_new(), V3::try_new()) {
        (Vectors::Avx512, Some(simd), _) => simd.call(kernel),
        (Vectors::Avx512 | Vectors::Avx2, _, Some(simd)) => simd.call(kernel),
        _ => kernel.run(Portable),
    }
}

/// A kernel, the registers that it runs with, and any number of the type that it works on.
struct Call<K, S, T>(K, S, T);

impl<T, K: Kernel<T>, S: Registers<T>> NullaryFnOnce for Call<K, S, T> {
    type Output = K::Output;

    #[inline(always)]
    fn call(self) -> K::Output {
        self.0.run(self.1)
    }
}

/// The functions that pulp has under names of their own for each type.
macro_rules! arithmetic {
    ($type:ty, $lane:ty, $count:literal, $splat:ident, $add:ident, $sub:ident, $mul:ident, $mul_add:ident, $neg_mul_add:ident, $total:ident) => {
        type Lane = $lane;
        const LANES: usize = size_of::<$lane>() / size_of::<$type>();
        const COUNT: usize = $count;

        #[inline(always)]
        fn lanes(values: &[$type]) -> &[$lane] {
            cast_slice(values)
        }
        #[inline(always)]
        fn lanes_mut(values: &mut [$type]) -> &mut [$lane] {
            cast_slice_mut(values)
        }
        #[inline(always)]
        fn splat(self, value: $type) -> $lane {
            Simd::$splat(self, value)
        }
        #[inline(always)]
        fn add(self, a: $lane, b: $lane) -> $lane {
            Simd::$add(self, a, b)
        }
        #[inline(always)]
        fn sub(self, a: $lane, b: $lane) -> $lane {
            Simd::$sub(self, a, b)
        }
        #[inline(always)]
        fn mul(self, a: $lane, b: $lane) -> $lane {
            Simd::$mul(self, a, b)
        }
        #[inline(always)]
        fn mul_add(self, a: $lane, b: $lane, c: $lane) -> $lane {
            Simd::$mul_add(self, a, b, c)
        }
        #[inline(always)]
        fn neg_mul_add(self, a: $lane, b: $lane, c: $lane) -> $lane {
            Simd::$neg_mul_add(self, a, b, c)
        }
        #[inline(always)]
        fn call<K: Kernel<$type>>(self, kernel: K) -> K::Output {
            Self::vectorize(self, Call(kernel, self, 0.0))
        }
        #[inline(always)]
        fn total(self, lane: $lane) -> f64 {
            Simd::$total(self, lane).into()
        }
    };
}

/// The places of the numbers of a register.
const FIRST_16: [i32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const FIRST_HALF: [i32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const FIRST_8: [i64; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// Eight numbers of a and b together from place `from` on.
#[inline(always)]
fn splice_8(simd: V3, a: __m256, b: __m256, from: i32) -> __m256 {
    let f = simd.avx2;
    let places = f._mm256_add_epi32(cast(FIRST_HALF), simd.avx._mm256_set1_epi32(from));
    // The last three bits of a place count; beyond them are those of b.
    let beyond = f._mm256_cmpgt_epi32(places, simd.avx._mm256_set1_epi32(7));
    let (a, b) = (
        f._mm256_permutevar8x32_ps(a, places),
        f._mm256_permutevar8x32_ps(b, places),
    );
    simd.avx._mm256_blendv_ps(a, b, cast(beyond))
}

impl Registers<f32> for V4 {
    arithmetic!(
        f32,
        f32x16,
        32,
        splat_f32s,
        add_f32s,
        sub_f32s,
        mul_f32s,
        mul_add_e_f32s,
        negate_mul_add_e_f32s,
        reduce_sum_f32s
    );

    #[inline(always)]
    fn splice(self, a: f32x16, b: f32x16, from: usize) -> f32x16 {
        let f = self.avx512f;
        let places = f._mm512_add_epi32(cast(FIRST_16), f._mm512_set1_epi32(from as i32));
        cast(f._mm512_permutex2var_ps(cast(a), places, cast(b)))
    }

    #[inline(always)]
    fn transpose(self, square: &mut [f32x16; MOST]) {
        let f = self.avx512f;
        let rows: [__m512; 16] = cast(*square);
        let mut pairs = rows;
        for i in (0..16).step_by(2) {
            pairs[i] = f._mm512_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = f._mm512_unpackhi_ps(rows[i], rows[i + 1]);
        }
        // Of rows 4i to 4i + 3, part j of fours[4i + k] holds column 4j + k.
        let pairs: [__m512d; 16] = cast(pairs);
        let mut fours = pairs;
        for i in (0..16).step_by(4) {
            fours[i] = f._mm512_unpacklo_pd(pairs[i], pairs[i + 2]);
            fours[i + 1] = f._mm512_unpackhi_pd(pairs[i], pairs[i + 2]);
            fours[i + 2] = f._mm512_unpacklo_pd(pairs[i + 1], pairs[i + 3]);
            fours[i + 3] = f._mm512_unpackhi_pd(pairs[i + 1], pairs[i + 3]);
        }
        let fours: [__m512; 16] = cast(fours);
        for k in 0..4 {
            let (a, b, c, d) = (fours[k], fours[4 + k], fours[8 + k], fours[12 + k]);
            let even = f._mm512_shuffle_f32x4::<0x88>(a, b);
            let odd = f._mm512_shuffle_f32x4::<0xdd>(a, b);
            let even_below = f._mm512_shuffle_f32x4::<0x88>(c, d);
            let odd_below = f._mm512_shuffle_f32x4::<0xdd>(c, d);
            square[k] = cast(f._mm512_shuffle_f32x4::<0x88>(even, even_below));
            square[4 + k] = cast(f._mm512_shuffle_f32x4::<0x88>(odd, odd_below));
            square[8 + k] = cast(f._mm512_shuffle_f32x4::<0xdd>(even, even_below));
            square[12 + k] = cast(f._mm512_shuffle_f32x4::<0xdd>(odd, odd_below));
        }
    }
}

impl Registers<f64> for V4 {
    arithmetic!(
        f64,
        f64x8,
        32,
        splat_f64s,
        add_f64s,
        sub_f64s,
        mul_f64s,
        mul_add_e_f64s,
        negate_mul_add_e_f64s,
        reduce_sum_f64s
    );

    #[inline(always)]
    fn splice(self, a: f64x8, b: f64x8, from: usize) -> f64x8 {
        let f = self.avx512f;
        let places = f._mm512_add_epi64(cast(FIRST_8), f._mm512_set1_epi64(from as i64));
        cast(f._mm512_permutex2var_pd(cast(a), places, cast(b)))
    }

    #[inline(always)]
    fn transpose(self, square: &mut [f64x8; MOST]) {
        let f = self.avx512f;
        let rows: [__m512d; 16] = cast(*square);
        let mut pairs = rows;
        for i in (0..8).step_by(2) {
            pairs[i] = f._mm512_unpacklo_pd(rows[i], rows[i + 1]);
            pairs[i + 1] = f._mm512_unpackhi_pd(rows[i], rows[i + 1]);
        }
        // Of rows 2i and 2i + 1, part j of pairs[2i + k] holds column 2j + k.
        for k in 0..2 {
            let (a, b, c, d) = (pairs[k], pairs[2 + k], pairs[4 + k], pairs[6 + k]);
            let even = f._mm512_shuffle_f64x2::<0x88>(a, b);
            let odd = f._mm512_shuffle_f64x2::<0xdd>(a, b);
            let even_below = f._mm512_shuffle_f64x2::<0x88>(c, d);
            let odd_below = f._mm512_shuffle_f64x2::<0xdd>(c, d);
            square[k] = cast(f._mm512_shuffle_f64x2::<0x88>(even, even_below));
            square[2 + k] = cast(f._mm512_shuffle_f64x2::<0x88>(odd, odd_below));
            square[4 + k] = cast(f._mm512_shuffle_f64x2::<0xdd>(even, even_below));
            square[6 + k] = cast(f._mm512_shuffle_f64x2::<0xdd>(odd, odd_below));
        }
    }
}

impl Registers<f32> for V3 {
    arithmetic!(
        f32,
        f32x8,
        16,
        splat_f32s,
        add_f32s,
        sub_f32s,
        mul_f32s,
        mul_add_e_f32s,
        negate_mul_add_e_f32s,
        reduce_sum_f32s
    );

    #[inline(always)]
    fn splice(self, a: f32x8, b: f32x8, from: usize) -> f32x8 {
        cast(splice_8(self, cast(a), cast(b), from as i32))
    }

    #[inline(always)]
    fn transpose(self, square: &mut [f32x8; MOST]) {
        let f = self.avx;
        let rows: [__m256; 16] = cast(*square);
        let mut pairs = rows;
        for i in (0..8).step_by(2) {
            pairs[i] = f._mm256_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = f._mm256_unpackhi_ps(rows[i], rows[i + 1]);
        }
        // Of rows 4i to 4i + 3, half j of fours[4i + k] holds column 4j + k.
        let mut fours = pairs;
        for i in (0..8).step_by(4) {
            fours[i] = f._mm256_shuffle_ps::<0x44>(pairs[i], pairs[i + 2]);
            fours[i + 1] = f._mm256_shuffle_ps::<0xee>(pairs[i], pairs[i + 2]);
            fours[i + 2] = f._mm256_shuffle_ps::<0x44>(pairs[i + 1], pairs[i + 3]);
            fours[i + 3] = f._mm256_shuffle_ps::<0xee>(pairs[i + 1], pairs[i + 3]);
        }
        for k in 0..4 {
            square[k] = cast(f._mm256_permute2f128_ps::<0x20>(fours[k], fours[4 + k]));
            square[4 + k] = cast(f._mm256_permute2f128_ps::<0x31>(fours[k], fours[4 + k]));
        }
    }
}

impl Registers<f64> for V3 {
    arithmetic!(
        f64,
        f64x4,
        16,
        splat_f64s,
        add_f64s,
        sub_f64s,
        mul_f64s,
        mul_add_e_f64s,
        negate_mul_add_e_f64s,
        reduce_sum_f64s
    );

    #[inline(always)]
    fn splice(self, a: f64x4, b: f64x4, from: usize) -> f64x4 {
        // Each is two numbers of half the size.
        cast(splice_8(self, cast(a), cast(b), 2 * from as i32))
    }

    #[inline(always)]
    fn transpose(self, square: &mut [f64x4; MOST]) {
        let f = self.avx;
        let rows: [__m256d; 16] = cast(*square);
        let mut pairs = rows;
        for i in (0..4).step_by(2) {
            pairs[i] = f._mm256_unpacklo_pd(rows[i], rows[i + 1]);
            pairs[i + 1] = f._mm256_unpackhi_pd(rows[i], rows[i + 1]);
        }
        for k in 0..2 {
            square[k] = cast(f._mm256_permute2f128_pd::<0x20>(pairs[k], pairs[2 + k]));
            square[2 + k] = cast(f._mm256_permute2f128_pd::<0x31>(pairs[k], pairs[2 + k]));
        }
    }
}
