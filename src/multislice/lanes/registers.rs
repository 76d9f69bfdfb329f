//! Vector registers: several real numbers side by side, and what kernels do with them.
//!
//! A kernel is written once, for any [`Registers`], and compiled for each kind: AVX-512, AVX2 with fused multiply-add, and
//! arrays of four numbers, which the compiler turns into what every processor has (SSE2 on x86-64, NEON on aarch64). Which kind
//! runs is decided when the program does ([`Vectors`]).

use std::sync::OnceLock;

use super::super::fft::Real;
#[cfg(not(target_arch = "x86_64"))]
use super::portable::Portable;

/// Numbers in the widest register.
pub(in super::super) const MOST: usize = 16;

/// The registers of a processor that hold numbers of type `T`. Functions are those of single numbers, for all at once.
pub(in super::super) trait Registers<T>: Copy {
    /// One register.
    type Lane: Copy + 'static;
    /// Numbers in a register.
    const LANES: usize;
    /// Registers that the processor has.
    const COUNT: usize;

    /// Numbers as registers, which they fill without rest.
    fn lanes(values: &[T]) -> &[Self::Lane];
    /// The same to write to.
    fn lanes_mut(values: &mut [T]) -> &mut [Self::Lane];
    /// One number in all places.
    fn splat(self, value: T) -> Self::Lane;
    /// a + b.
    fn add(self, a: Self::Lane, b: Self::Lane) -> Self::Lane;
    /// a − b.
    fn sub(self, a: Self::Lane, b: Self::Lane) -> Self::Lane;
    /// a b.
    fn mul(self, a: Self::Lane, b: Self::Lane) -> Self::Lane;
    /// a b + c, rounded once where the processor can.
    fn mul_add(self, a: Self::Lane, b: Self::Lane, c: Self::Lane) -> Self::Lane;
    /// c − a b, rounded once where the processor can.
    fn neg_mul_add(self, a: Self::Lane, b: Self::Lane, c: Self::Lane) -> Self::Lane;
    /// The sum of all numbers of a register.
    fn total(self, lane: Self::Lane) -> f64;
    /// The numbers of `a` from number `from` on, then the first of `b`.
    fn splice(self, a: Self::Lane, b: Self::Lane, from: usize) -> Self::Lane;
    /// Runs a kernel as a function of its own, compiled for these registers: what is called from several places is compiled
    /// once.
    fn call<K: Kernel<T>>(self, kernel: K) -> K::Output;
    /// Transposes the square of the first [`Registers::LANES`] registers.
    fn transpose(self, square: &mut [Self::Lane; MOST]);
}

/// Work that is compiled for every kind of registers. What it calls has to be `#[inline(always)]`, closures as well, or it is
/// compiled for the least of processors.
pub(in super::super) trait Kernel<T> {
    type Output;
    fn run<S: Registers<T>>(self, simd: S) -> Self::Output;
}

/// The kind of vector registers that the kernels use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vectors {
    /// 512 bits, 32 registers.
    Avx512,
    /// 256 bits, 16 registers, with fused multiply-add.
    Avx2,
    /// What every processor has.
    Portable,
}

impl Vectors {
    /// Name of the environment variable that asks for narrower registers than the processor has, so that results agree bit by
    /// bit with those of an older one.
    pub const VARIABLE: &str = "FERROSTEM_VECTORS";

    /// The widest that the processor has, or what [`Vectors::VARIABLE`] asks for, if it has that.
    #[must_use]
    pub fn of_processor() -> Self {
        static CHOSEN: OnceLock<Vectors> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let wanted = std::env::var(Self::VARIABLE).ok();
            let wanted = wanted.and_then(|name| Self::named(&name));
            wanted.unwrap_or(Self::Avx512).or_narrower()
        })
    }

    /// `avx512`, `avx2` or `portable`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "avx512" => Some(Self::Avx512),
            "avx2" => Some(Self::Avx2),
            "portable" => Some(Self::Portable),
            _ => None,
        }
    }

    /// All kinds that this processor has, the widest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let all = [Self::Avx512, Self::Avx2, Self::Portable];
        all.into_iter()
            .filter(|kind| kind.or_narrower() == *kind)
            .collect()
    }

    #[cfg(target_arch = "x86_64")]
    fn or_narrower(self) -> Self {
        let (wide, half) = (pulp::x86::V4::is_available(), pulp::x86::V3::is_available());
        match self {
            Self::Avx512 if wide => Self::Avx512,
            Self::Avx512 | Self::Avx2 if half => Self::Avx2,
            _ => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn or_narrower(self) -> Self {
        Self::Portable
    }
}

/// The numbers that kernels work on.
pub(in super::super) trait Lanes: Real {
    /// Runs a kernel with registers of the given kind, which the processor has.
    fn run<K: Kernel<Self>>(vectors: Vectors, kernel: K) -> K::Output;

    /// Numbers in a register.
    fn count(vectors: Vectors) -> usize {
        struct Count;
        impl<T> Kernel<T> for Count {
            type Output = usize;
            fn run<S: Registers<T>>(self, _: S) -> usize {
                S::LANES
            }
        }
        Self::run(vectors, Count)
    }
}

impl Lanes for f32 {
    #[inline]
    fn run<K: Kernel<f32>>(vectors: Vectors, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        return super::x86::run(vectors, kernel);
        #[cfg(not(target_arch = "x86_64"))]
        return portable(vectors, kernel);
    }
}

impl Lanes for f64 {
    #[inline]
    fn run<K: Kernel<f64>>(vectors: Vectors, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        return super::x86::run(vectors, kernel);
        #[cfg(not(target_arch = "x86_64"))]
        return portable(vectors, kernel);
    }
}

/// Where there is only one kind.
#[cfg(not(target_arch = "x86_64"))]
fn portable<T: Real, K: Kernel<T>>(_: Vectors, kernel: K) -> K::Output {
    kernel.run(Portable)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Transposed<'a, T>(&'a mut [T]);

    impl<T: Real> Kernel<T> for Transposed<'_, T> {
        type Output = ();

        fn run<S: Registers<T>>(self, simd: S) {
            let lanes = S::lanes_mut(self.0);
            let mut square = [lanes[0]; MOST];
            square[..S::LANES].copy_from_slice(lanes);
            simd.transpose(&mut square);
            lanes.copy_from_slice(&square[..S::LANES]);
        }
    }

    struct Spliced<'a, T>(&'a [T], usize);

    impl<T: Real> Kernel<T> for Spliced<'_, T> {
        type Output = Vec<T>;

        fn run<S: Registers<T>>(self, simd: S) -> Vec<T> {
            let lanes = S::lanes(self.0);
            let mut out = vec![T::zero(); S::LANES];
            S::lanes_mut(&mut out)[0] = simd.splice(lanes[0], lanes[1], self.1);
            out
        }
    }

    fn splice<T: Lanes>(vectors: Vectors) {
        let side = T::count(vectors);
        let numbers: Vec<T> = (0..2 * side).map(|i| T::narrow(i as f64)).collect();
        for from in 0..side {
            let found = T::run(vectors, Spliced(&numbers, from));
            assert!(found == numbers[from..from + side], "{vectors:?} {from}");
        }
    }

    #[test]
    fn registers_are_spliced() {
        for vectors in Vectors::available() {
            splice::<f32>(vectors);
            splice::<f64>(vectors);
        }
    }

    fn transpose<T: Lanes>(vectors: Vectors) {
        let side = T::count(vectors);
        let value = |y: usize, x: usize| T::narrow((y * side + x) as f64);
        let mut square: Vec<T> = (0..side * side)
            .map(|i| value(i / side, i % side))
            .collect();
        T::run(vectors, Transposed(&mut square));
        for (i, found) in square.into_iter().enumerate() {
            assert!(found == value(i % side, i / side), "{vectors:?} {i}");
        }
    }

    #[test]
    fn rows_become_columns() {
        for vectors in Vectors::available() {
            transpose::<f32>(vectors);
            transpose::<f64>(vectors);
        }
    }

    #[test]
    fn kinds_have_names() {
        for (name, kind) in [
            ("avx512", Vectors::Avx512),
            ("avx2", Vectors::Avx2),
            ("portable", Vectors::Portable),
        ] {
            assert_eq!(Vectors::named(name), Some(kind));
        }
        assert_eq!(Vectors::named("mmx"), None);
        assert!(Vectors::available().contains(&Vectors::of_processor()));
    }
}
