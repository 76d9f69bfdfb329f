//! Complex numbers in vector registers, real and imaginary parts in registers of their own.

use std::marker::PhantomData;

use super::super::fft::Real;
use super::registers::Registers;

/// As many complex numbers as a register holds: real parts, imaginary parts.
pub(in super::super) type Complexes<T, S> = [<S as Registers<T>>::Lane; 2];

/// The arithmetic of complex numbers in registers `S`.
#[derive(Clone, Copy)]
pub(in super::super) struct Arithmetic<T, S> {
    pub(in super::super) simd: S,
    numbers: PhantomData<T>,
}

impl<T: Real, S: Registers<T>> Arithmetic<T, S> {
    #[inline(always)]
    pub(in super::super) fn new(simd: S) -> Self {
        Self {
            simd,
            numbers: PhantomData,
        }
    }

    /// One real number in all places.
    #[inline(always)]
    pub(super) fn real(self, value: f64) -> S::Lane {
        self.simd.splat(T::narrow(value))
    }

    /// Zeros.
    #[inline(always)]
    pub(in super::super) fn zero(self) -> Complexes<T, S> {
        [self.simd.splat(T::zero()); 2]
    }

    /// One complex number in all places.
    #[inline(always)]
    pub(super) fn splat(self, [re, im]: [T; 2]) -> Complexes<T, S> {
        [self.simd.splat(re), self.simd.splat(im)]
    }

    /// a + b.
    #[inline(always)]
    pub(super) fn add(self, a: Complexes<T, S>, b: Complexes<T, S>) -> Complexes<T, S> {
        [self.simd.add(a[0], b[0]), self.simd.add(a[1], b[1])]
    }

    /// a − b.
    #[inline(always)]
    pub(super) fn sub(self, a: Complexes<T, S>, b: Complexes<T, S>) -> Complexes<T, S> {
        [self.simd.sub(a[0], b[0]), self.simd.sub(a[1], b[1])]
    }

    /// a + i b.
    #[inline(always)]
    pub(super) fn add_i(self, a: Complexes<T, S>, b: Complexes<T, S>) -> Complexes<T, S> {
        [self.simd.sub(a[0], b[1]), self.simd.add(a[1], b[0])]
    }

    /// a − i b.
    #[inline(always)]
    pub(super) fn sub_i(self, a: Complexes<T, S>, b: Complexes<T, S>) -> Complexes<T, S> {
        [self.simd.add(a[0], b[1]), self.simd.sub(a[1], b[0])]
    }

    /// a b.
    #[inline(always)]
    pub(in super::super) fn mul(self, a: Complexes<T, S>, b: Complexes<T, S>) -> Complexes<T, S> {
        let (re, im) = (self.simd.mul(a[0], b[0]), self.simd.mul(a[0], b[1]));
        [
            self.simd.neg_mul_add(a[1], b[1], re),
            self.simd.mul_add(a[1], b[0], im),
        ]
    }

    /// a x for a real a.
    #[inline(always)]
    pub(super) fn scale(self, a: S::Lane, x: Complexes<T, S>) -> Complexes<T, S> {
        [self.simd.mul(a, x[0]), self.simd.mul(a, x[1])]
    }

    /// x + a y for a real a.
    #[inline(always)]
    pub(super) fn add_scaled(
        self,
        x: Complexes<T, S>,
        a: S::Lane,
        y: Complexes<T, S>,
    ) -> Complexes<T, S> {
        [
            self.simd.mul_add(a, y[0], x[0]),
            self.simd.mul_add(a, y[1], x[1]),
        ]
    }

    /// x − a y for a real a.
    #[inline(always)]
    pub(super) fn sub_scaled(
        self,
        x: Complexes<T, S>,
        a: S::Lane,
        y: Complexes<T, S>,
    ) -> Complexes<T, S> {
        [
            self.simd.neg_mul_add(a, y[0], x[0]),
            self.simd.neg_mul_add(a, y[1], x[1]),
        ]
    }
}

/// Numbers as pairs of registers, as many as a whole number of pairs holds.
#[inline(always)]
pub(in super::super) fn complexes<T, S: Registers<T>>(values: &[T]) -> &[Complexes<T, S>] {
    S::lanes(values).as_chunks().0
}

/// The same to write to.
#[inline(always)]
pub(in super::super) fn complexes_mut<T, S: Registers<T>>(
    values: &mut [T],
) -> &mut [Complexes<T, S>] {
    S::lanes_mut(values).as_chunks_mut().0
}

/// i z* of each: real and imaginary parts change places. The forward transform of that is i z* of the backward transform.
#[inline(always)]
pub(in super::super) fn swapped<V: Copy>([re, im]: [V; 2]) -> [V; 2] {
    [im, re]
}
