//! Smooth numbers in little space: integers times a power of two, as differences along their last axis.
//!
//! Each picture of a stack gets a step, the largest power of two that is not coarser than what its user allows, and its numbers become
//! integers; deflate makes small ones short, so that a picture that hardly matters takes hardly any room. Differences are folded
//! to 0, −1, 1, −2, 2 … → 0, 1, 2, 3, 4 …, so that high bytes are zero for both signs.
//!
//! A power of two loses nothing: integers below 2²⁴ times it are exact in single precision. Numbers that already are such multiples
//! are kept as they are, whatever is allowed, so that writing what was read gives the same bytes.

use ndarray::ArrayView3;

use super::hdf::Node;
use crate::error::{Error, Result};

/// Steps from zero to the largest number, at most (a power of two): new steps are no finer than this …
const FINEST: i32 = 22;
/// … and numbers on steps no finer than this are kept. One more, since the largest may be rounded up.
const KEPT: i32 = FINEST + 1;
/// Exponent of the least number of single precision.
const LEAST_EXPONENT: i32 = -149;

/// Numbers of shape `(picture, …, …)` as they stand in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rounded {
    pub(super) shape: [usize; 3],
    /// Logarithm to base 2 of the step of each picture.
    exponents: Vec<i32>,
    /// Folded differences of integers along the last axis; the first of each line counts from zero.
    differences: Vec<u32>,
}

impl Rounded {
    /// Rounds finite numbers to steps that are not coarser than `coarsest`, one per picture.
    pub(super) fn new(values: ArrayView3<'_, f32>, coarsest: &[f64]) -> Self {
        let (pictures, lines, length) = values.dim();
        let mut exponents = Vec::with_capacity(pictures);
        let mut differences = Vec::with_capacity(values.len());
        for (picture, &coarsest) in values.outer_iter().zip(coarsest) {
            let exponent = exponent(picture.iter().copied(), coarsest);
            let step = power(exponent);
            let integer = |value: f32| (f64::from(value) / step).round() as i32;
            // Rounding may have left a coarser step than asked for: it is the one that will be found again.
            let shift = trailing_zeros(picture.iter().copied().map(integer));
            exponents.push(shift.map_or(0, |shift| exponent + shift));
            for line in picture.outer_iter() {
                let mut before = 0;
                for &value in line {
                    let here = integer(value) >> shift.unwrap_or(0);
                    differences.push(fold(here - before));
                    before = here;
                }
            }
        }
        Self {
            shape: [pictures, lines, length],
            exponents,
            differences,
        }
    }

    /// The numbers in the order of memory; not finite where the file is wrong.
    pub(super) fn values(&self) -> Vec<f32> {
        let [_, lines, length] = self.shape;
        let mut values = Vec::with_capacity(self.differences.len());
        let pictures = self.differences.chunks((lines * length).max(1));
        for (picture, &exponent) in pictures.zip(&self.exponents) {
            let step = power(exponent);
            for line in picture.chunks(length) {
                let mut here = 0_i32;
                for &difference in line {
                    here = here.wrapping_add(unfold(difference));
                    values.push((f64::from(here) * step) as f32);
                }
            }
        }
        values
    }

    /// Writes the integers as `name` and the steps as `name_exponents`.
    pub(super) fn write(&self, node: &Node, name: &str, axes: &str) -> Result<()> {
        let [_, lines, length] = self.shape;
        let array = ArrayView3::from_shape(self.shape, &self.differences);
        let array = array.map_err(Error::compute("shaping integers"))?;
        let dataset = node.write_compressed(name, array, &[1, lines, length])?;
        node.label(&dataset, "axes", axes)?;
        let coding = "n = value / 2^exponent, d = differences of n along the last axis, stored 2 d for d >= 0 and -2 d - 1 for d < 0";
        node.label(&dataset, "coding", coding)?;
        let exponents = ndarray::aview1(&self.exponents);
        node.write(&exponents_of(name), exponents)?;
        Ok(())
    }

    /// Reads what [`Rounded::write`] wrote.
    pub(super) fn read(node: &Node, name: &str) -> Result<Self> {
        let (found, differences) = node.read::<u32>(name)?;
        let exponents = node.read::<i32>(&exponents_of(name))?.1;
        match *found.as_slice() {
            [pictures, lines, length] if pictures == exponents.len() => Ok(Self {
                shape: [pictures, lines, length],
                exponents,
                differences,
            }),
            _ => {
                let got = format!("shape {found:?} with {} exponents", exponents.len());
                Err(node.wrong(name, got, "three axes, and an exponent for each picture"))
            }
        }
    }

    /// Adds everything to a hash.
    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        for size in self.shape {
            hasher.update(&(size as u64).to_le_bytes());
        }
        for exponent in &self.exponents {
            hasher.update(&exponent.to_le_bytes());
        }
        for difference in &self.differences {
            hasher.update(&difference.to_le_bytes());
        }
    }
}

fn exponents_of(name: &str) -> String {
    format!("{name}_exponents")
}

/// Exponent of the step of some numbers.
fn exponent(values: impl Iterator<Item = f32> + Clone, coarsest: f64) -> i32 {
    let largest = values.clone().fold(0.0_f32, |most, x| most.max(x.abs()));
    if largest == 0.0 {
        return 0;
    }
    let lowest = values.filter_map(lowest_bit).min().unwrap_or(0);
    if f64::from(largest) <= power(lowest + KEPT) {
        return lowest;
    }
    let finest = floor_log2(f64::from(largest)) + 1 - FINEST;
    let wanted = if coarsest > 0.0 && coarsest.is_finite() {
        floor_log2(coarsest)
    } else {
        finest
    };
    wanted.max(finest).max(LEAST_EXPONENT)
}

/// Exponent of the lowest bit of a number that is set.
fn lowest_bit(value: f32) -> Option<i32> {
    let bits = value.to_bits();
    let (field, fraction) = ((bits >> 23) & 0xff, bits & 0x7f_ffff);
    let (mantissa, exponent) = match field {
        0 => (fraction, LEAST_EXPONENT),
        field => (fraction | 0x80_0000, field as i32 - 1 + LEAST_EXPONENT),
    };
    (mantissa != 0).then(|| exponent + mantissa.trailing_zeros() as i32)
}

/// Bits that are zero at the end of all integers; none if all are zero.
fn trailing_zeros(integers: impl Iterator<Item = i32>) -> Option<i32> {
    let all = integers.fold(0, |all, n| all | n);
    (all != 0).then(|| all.trailing_zeros() as i32)
}

/// Largest n with 2ⁿ ≤ x, for positive normal numbers.
fn floor_log2(x: f64) -> i32 {
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

fn power(exponent: i32) -> f64 {
    2.0_f64.powi(exponent)
}

fn fold(n: i32) -> u32 {
    ((n << 1) ^ (n >> 31)) as u32
}

fn unfold(n: u32) -> i32 {
    (n >> 1) as i32 ^ -((n & 1) as i32)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::rng::{Rng, stream};

    fn back(rounded: &Rounded) -> Array3<f32> {
        Array3::from_shape_vec(rounded.shape, rounded.values()).unwrap()
    }

    /// Random numbers of many sizes: off by half the allowed step at most, and a second rounding changes nothing, whatever is
    /// allowed then.
    #[test]
    fn rounding_keeps_the_step_and_is_done_once() {
        let mut rng = stream(5, "test", 0);
        for size in [1e-30, 1e-3, 1.0, 1e20] {
            let mut random = || size * (rng.random::<f32>() - 0.5) * rng.random::<f32>().powi(9);
            let values = Array3::from_shape_simple_fn((3, 4, 50), &mut random);
            let size = f64::from(size);
            let coarsest = [size * 1e-6, size * 1e-3, size * 10.0];
            let rounded = Rounded::new(values.view(), &coarsest);
            let once = back(&rounded);
            for (n, coarsest) in coarsest.iter().enumerate() {
                let pairs = values.outer_iter().zip(once.outer_iter()).nth(n).unwrap();
                for (a, b) in pairs.0.iter().zip(pairs.1) {
                    assert!(f64::from((a - b).abs()) <= 0.5001 * coarsest, "{a} {b}");
                }
            }
            assert!(
                once.index_axis(ndarray::Axis(0), 2)
                    .iter()
                    .all(|x| *x == 0.0)
            );
            for factor in [1e-9, 1.0, 1e9] {
                assert_eq!(
                    Rounded::new(once.view(), &coarsest.map(|c| c * factor)),
                    rounded
                );
            }
        }
    }

    /// Round numbers, zeros and the least of single precision come back bit by bit.
    #[test]
    fn numbers_on_a_step_are_kept() {
        let least = f32::from_bits(1);
        for values in [
            [0.5, -3.0, 0.0, 1024.0],
            [least, -3.0 * least, 0.0, 0.0],
            [0.0; 4],
        ] {
            let array = Array3::from_shape_vec((1, 2, 2), values.to_vec()).unwrap();
            assert_eq!(back(&Rounded::new(array.view(), &[1e30])), array);
        }
    }

    #[test]
    fn folding_is_undone() {
        for n in [0, 1, -1, 2, -2, i32::MAX, i32::MIN] {
            assert_eq!(unfold(fold(n)), n);
        }
        assert_eq!([0, -1, 1, -2, 2].map(fold), [0, 1, 2, 3, 4]);
    }
}
