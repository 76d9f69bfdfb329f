//! Arrays of four numbers: what the compiler makes of them runs on any processor.

use super::super::fft::Real;
use super::registers::{Kernel, MOST, Registers};

/// Numbers side by side.
const LANES: usize = 4;

/// Whether a fused multiply-add is an instruction of every processor of this kind, and not a slow function.
const FUSED: bool = cfg!(target_arch = "aarch64");

/// Registers without any special instruction.
#[derive(Clone, Copy)]
pub(super) struct Portable;

#[inline(always)]
fn fused<T: Real>(a: T, b: T, c: T) -> T {
    if FUSED { a.fused(b, c) } else { a * b + c }
}

impl<T: Real> Registers<T> for Portable {
    type Lane = [T; LANES];
    const LANES: usize = LANES;
    const COUNT: usize = 16;

    #[inline(always)]
    fn lanes(values: &[T]) -> &[[T; LANES]] {
        values.as_chunks().0
    }
    #[inline(always)]
    fn lanes_mut(values: &mut [T]) -> &mut [[T; LANES]] {
        values.as_chunks_mut().0
    }
    #[inline(always)]
    fn splat(self, value: T) -> [T; LANES] {
        [value; LANES]
    }
    #[inline(always)]
    fn add(self, mut a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
        for i in 0..LANES {
            a[i] = a[i] + b[i];
        }
        a
    }
    #[inline(always)]
    fn sub(self, mut a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
        for i in 0..LANES {
            a[i] = a[i] - b[i];
        }
        a
    }
    #[inline(always)]
    fn mul(self, mut a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
        for i in 0..LANES {
            a[i] = a[i] * b[i];
        }
        a
    }
    #[inline(always)]
    fn mul_add(self, mut a: [T; LANES], b: [T; LANES], c: [T; LANES]) -> [T; LANES] {
        for i in 0..LANES {
            a[i] = fused(a[i], b[i], c[i]);
        }
        a
    }
    #[inline(always)]
    fn neg_mul_add(self, mut a: [T; LANES], b: [T; LANES], c: [T; LANES]) -> [T; LANES] {
        for i in 0..LANES {
            a[i] = fused(-a[i], b[i], c[i]);
        }
        a
    }
    #[inline(always)]
    fn call<K: Kernel<T>>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
    #[inline(always)]
    fn total(self, lane: [T; LANES]) -> f64 {
        ((lane[0] + lane[1]) + (lane[2] + lane[3])).widen()
    }
    #[inline(always)]
    fn splice(self, a: [T; LANES], b: [T; LANES], from: usize) -> [T; LANES] {
        let mut out = a;
        for (i, value) in out.iter_mut().enumerate() {
            let place = from + i;
            *value = if place < LANES {
                a[place]
            } else {
                b[place - LANES]
            };
        }
        out
    }
    #[inline(always)]
    fn transpose(self, square: &mut [[T; LANES]; MOST]) {
        let rows = *square;
        for (x, column) in square.iter_mut().take(LANES).enumerate() {
            *column = [rows[0][x], rows[1][x], rows[2][x], rows[3][x]];
        }
    }
}
