//! Vector registers: several numbers side by side, and what the kernels of the layers do with them.
//!
//! A kernel is written once, for any [`Registers`], and compiled for each kind: AVX-512, AVX2 with fused multiply-add, and
//! arrays of four numbers, which the compiler turns into what every processor has. Which kind runs is decided when the program
//! does ([`Vectors`]). Double precision, only there to check gradients, always uses the arrays.

use candle_core::WithDType;
#[cfg(target_arch = "x86_64")]
use pulp::bytemuck::{cast_slice, cast_slice_mut};
#[cfg(target_arch = "x86_64")]
use pulp::{
    NullaryFnOnce, Simd, f32x8, f32x16,
    x86::{V3, V4},
};

use crate::multislice::Vectors;

/// The registers of a processor that hold numbers of type `T`.
pub(super) trait Registers<T>: Copy {
    /// One register.
    type Lane: Copy;
    /// Numbers in a register.
    const LANES: usize;
    /// Rows of a tile of sums that is two registers wide: together with what they are made of they fill the registers.
    const ROWS: usize;

    /// Numbers as registers, which they fill without rest.
    fn lanes(values: &[T]) -> &[Self::Lane];
    /// The same to write to.
    fn lanes_mut(values: &mut [T]) -> &mut [Self::Lane];
    /// One number in all places.
    fn splat(self, value: T) -> Self::Lane;
    /// a b + c, rounded once where the processor can.
    fn mul_add(self, a: Self::Lane, b: Self::Lane, c: Self::Lane) -> Self::Lane;
    /// 0 where `a` is not above 0, else `a`; what is no number stays so.
    fn rectify(self, a: Self::Lane) -> Self::Lane;
}

/// Work that is compiled for every kind of registers. What it calls has to be `#[inline(always)]`, or it is compiled for the
/// least of processors.
pub(super) trait Kernel<T> {
    fn run<S: Registers<T>>(self, simd: S);
}

/// The two precisions: f32 to work, f64 to check gradients.
pub(super) trait Real: WithDType {
    /// `self · b + c`, rounded once.
    fn fused(self, b: Self, c: Self) -> Self;

    /// Runs a kernel with registers of the given kind, which the processor has.
    fn run<K: Kernel<Self>>(vectors: Vectors, kernel: K);
}

impl Real for f32 {
    #[inline(always)]
    fn fused(self, b: f32, c: f32) -> f32 {
        self.mul_add(b, c)
    }

    fn run<K: Kernel<f32>>(vectors: Vectors, kernel: K) {
        #[cfg(target_arch = "x86_64")]
        match (vectors, V4::try_new(), V3::try_new()) {
            (Vectors::Avx512, Some(simd), _) => return simd.vectorize(Call(kernel, simd)),
            (Vectors::Avx512 | Vectors::Avx2, _, Some(simd)) => {
                return simd.vectorize(Call(kernel, simd));
            }
            _ => {}
        }
        let _ = vectors;
        kernel.run(Portable);
    }
}

impl Real for f64 {
    #[inline(always)]
    fn fused(self, b: f64, c: f64) -> f64 {
        self.mul_add(b, c)
    }

    fn run<K: Kernel<f64>>(_: Vectors, kernel: K) {
        kernel.run(Portable);
    }
}

/// A kernel and the registers that it runs with.
#[cfg(target_arch = "x86_64")]
struct Call<K, S>(K, S);

#[cfg(target_arch = "x86_64")]
impl<K: Kernel<f32>, S: Registers<f32>> NullaryFnOnce for Call<K, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.0.run(self.1);
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! registers_of_x86 {
    ($simd:ty, $lane:ty, $rows:literal) => {
        impl Registers<f32> for $simd {
            type Lane = $lane;
            const LANES: usize = size_of::<$lane>() / size_of::<f32>();
            const ROWS: usize = $rows;

            #[inline(always)]
            fn lanes(values: &[f32]) -> &[$lane] {
                cast_slice(values)
            }
            #[inline(always)]
            fn lanes_mut(values: &mut [f32]) -> &mut [$lane] {
                cast_slice_mut(values)
            }
            #[inline(always)]
            fn splat(self, value: f32) -> $lane {
                Simd::splat_f32s(self, value)
            }
            #[inline(always)]
            fn mul_add(self, a: $lane, b: $lane, c: $lane) -> $lane {
                Simd::mul_add_f32s(self, a, b, c)
            }
            #[inline(always)]
            fn rectify(self, a: $lane) -> $lane {
                // The instruction gives its second operand where one is no number.
                Simd::max_f32s(self, Simd::splat_f32s(self, 0.0), a)
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
registers_of_x86!(V4, f32x16, 12);
#[cfg(target_arch = "x86_64")]
registers_of_x86!(V3, f32x8, 6);

/// Numbers side by side in an array.
const PORTABLE: usize = 4;

/// Whether a fused multiply-add is an instruction of every processor of this kind, and not a slow function.
const FUSED: bool = cfg!(target_arch = "aarch64");

/// Registers without any special instruction.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl<T: Real> Registers<T> for Portable {
    type Lane = [T; PORTABLE];
    const LANES: usize = PORTABLE;
    const ROWS: usize = 6;

    #[inline(always)]
    fn lanes(values: &[T]) -> &[[T; PORTABLE]] {
        values.as_chunks().0
    }
    #[inline(always)]
    fn lanes_mut(values: &mut [T]) -> &mut [[T; PORTABLE]] {
        values.as_chunks_mut().0
    }
    #[inline(always)]
    fn splat(self, value: T) -> [T; PORTABLE] {
        [value; PORTABLE]
    }
    #[inline(always)]
    fn mul_add(self, a: [T; PORTABLE], b: [T; PORTABLE], mut c: [T; PORTABLE]) -> [T; PORTABLE] {
        for i in 0..PORTABLE {
            c[i] = if FUSED {
                a[i].fused(b[i], c[i])
            } else {
                a[i] * b[i] + c[i]
            };
        }
        c
    }
    #[inline(always)]
    fn rectify(self, mut a: [T; PORTABLE]) -> [T; PORTABLE] {
        for value in &mut a {
            if *value <= T::zero() {
                *value = T::zero();
            }
        }
        a
    }
}
