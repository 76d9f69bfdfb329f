//! Sums of waves: out_j = Σ_i c_ji in_i, row by row, the inner loop of PRISM.
//!
//! Waves here are *parted*: a row holds all real parts, then all imaginary parts. A complex sum is then a real one over twice
//! as many rows, [re; im] ← [[c_re, −c_im], [c_im, c_re]] · [re; im], which fills the vector units without shuffling.

use num_complex::Complex;

use super::super::fft::Real;

/// Real rows of the outcome computed side by side.
const OUTPUTS: usize = 4;
/// Elements of a row computed side by side; eight vector registers hold the sums.
const LANES: usize = 16;

/// The coefficients of sums of waves.
pub(super) struct Coefficients<T> {
    /// `(block of rows, input row, row in the block)`, rows filled up with zeros.
    blocks: Vec<Vec<[T; OUTPUTS]>>,
    /// Number of real rows of the outcome.
    rows: usize,
}

/// Parted rows of waves: that of wave i begins at `i * pitch`, its imaginary part `half` later.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    pub(super) values: &'a [T],
    pub(super) pitch: usize,
    pub(super) half: usize,
}

impl<T: Real> Coefficients<T> {
    /// `outputs` sums over `inputs` waves, from `coefficient(output, input)`.
    pub(super) fn new(
        outputs: usize,
        inputs: usize,
        coefficient: impl Fn(usize, usize) -> Complex<f64>,
    ) -> Self {
        let rows = 2 * outputs;
        let mut blocks = vec![vec![[T::zero(); OUTPUTS]; 2 * inputs]; rows.div_ceil(OUTPUTS)];
        for output in 0..outputs {
            let (block, row) = (2 * output / OUTPUTS, 2 * output % OUTPUTS);
            for input in 0..inputs {
                let c = coefficient(output, input);
                let (re, im) = (T::narrow(c.re), T::narrow(c.im));
                let block = &mut blocks[block];
                (block[2 * input][row], block[2 * input + 1][row]) = (re, -im);
                (block[2 * input][row + 1], block[2 * input + 1][row + 1]) = (im, re);
            }
        }
        Self { blocks, rows }
    }

    /// Adds the sums over elements `start..start + length` of each row to `outcome`, whose real rows begin `pitch` apart.
    pub(super) fn add(
        &self,
        inputs: Rows<'_, T>,
        (start, length): (usize, usize),
        outcome: &mut [T],
        pitch: usize,
    ) {
        vectorized(Sum {
            coefficients: self,
            inputs,
            start,
            length,
            outcome,
            pitch,
        });
    }
}

struct Sum<'a, T> {
    coefficients: &'a Coefficients<T>,
    inputs: Rows<'a, T>,
    start: usize,
    length: usize,
    outcome: &'a mut [T],
    pitch: usize,
}

impl<T: Real> Sum<'_, T> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let rows = self.coefficients.rows;
        for (number, block) in self.coefficients.blocks.iter().enumerate() {
            let first = number * OUTPUTS;
            for from in (0..self.length).step_by(LANES) {
                let count = LANES.min(self.length - from);
                let at = self.start + from;
                let sums = if count == LANES {
                    sum::<T, FUSED>(block, self.inputs, |values| whole(&values[at..]))
                } else {
                    sum::<T, FUSED>(block, self.inputs, |values| part(&values[at..at + count]))
                };
                for (row, sums) in (first..rows).zip(&sums) {
                    let begin = row * self.pitch + from;
                    let outcome = &mut self.outcome[begin..begin + count];
                    for (value, sum) in outcome.iter_mut().zip(sums) {
                        *value = *value + *sum;
                    }
                }
            }
        }
    }
}

/// The sums of one block of rows over the lanes that `load` takes of each row.
#[inline(always)]
fn sum<T: Real, const FUSED: bool>(
    block: &[[T; OUTPUTS]],
    inputs: Rows<'_, T>,
    load: impl Fn(&[T]) -> [T; LANES],
) -> [[T; LANES]; OUTPUTS] {
    let mut sums = [[T::zero(); LANES]; OUTPUTS];
    for (input, pair) in block.as_chunks::<2>().0.iter().enumerate() {
        for (part, factors) in pair.iter().enumerate() {
            let lanes = load(&inputs.values[input * inputs.pitch + part * inputs.half..]);
            for (sums, factor) in sums.iter_mut().zip(factors) {
                for (sum, value) in sums.iter_mut().zip(&lanes) {
                    *sum = if FUSED {
                        value.fused(*factor, *sum)
                    } else {
                        *value * *factor + *sum
                    };
                }
            }
        }
    }
    sums
}

#[inline(always)]
fn whole<T: Real>(values: &[T]) -> [T; LANES] {
    values.first_chunk().copied().unwrap_or_default()
}

#[inline(always)]
fn part<T: Real>(values: &[T]) -> [T; LANES] {
    let mut lanes = [T::zero(); LANES];
    for (lane, value) in lanes.iter_mut().zip(values) {
        *lane = *value;
    }
    lanes
}

#[cfg(target_arch = "x86_64")]
struct Vectorized<'a, T>(Sum<'a, T>);

#[cfg(target_arch = "x86_64")]
impl<T: Real> pulp::NullaryFnOnce for Vectorized<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.0.run::<true>();
    }
}

/// Runs the sum with AVX2 and fused multiply-add where the processor has them; elsewhere `mul_add` is a slow library call.
fn vectorized<T: Real>(sum: Sum<'_, T>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(Vectorized(sum));
    }
    sum.run::<{ cfg!(target_arch = "aarch64") }>();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, stream};

    /// Sums of three outputs (a block and a half) over a stretch of 21 elements (a tile and a part) against the definition.
    #[test]
    fn the_quick_sum_agrees_with_the_definition() {
        let (outputs, inputs, width, start, length) = (3, 5, 30, 4, 21);
        let mut rng = stream(4, "combination", 0);
        let mut number = || Complex::new(rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0));
        let factors: Vec<Complex<f64>> = (0..outputs * inputs).map(|_| number()).collect();
        let waves: Vec<Vec<Complex<f64>>> = (0..inputs)
            .map(|_| (0..width).map(|_| number()).collect())
            .collect();
        let values: Vec<f64> = waves
            .iter()
            .flat_map(|wave| {
                let imaginary = wave.iter().map(|v| v.im);
                wave.iter().map(|v| v.re).chain(imaginary)
            })
            .collect();
        let rows = Rows {
            values: &values,
            pitch: 2 * width,
            half: width,
        };
        let coefficients = Coefficients::new(outputs, inputs, |p, k| factors[p * inputs + k]);
        let mut outcome = vec![1.0; 2 * outputs * length];
        coefficients.add(rows, (start, length), &mut outcome, length);
        for output in 0..outputs {
            for x in 0..length {
                let sum: Complex<f64> = (0..inputs)
                    .map(|k| factors[output * inputs + k] * waves[k][start + x])
                    .sum();
                let re = outcome[2 * output * length + x] - 1.0;
                let im = outcome[(2 * output + 1) * length + x] - 1.0;
                assert!((Complex::new(re, im) - sum).norm() < 1e-12);
            }
        }
    }
}
