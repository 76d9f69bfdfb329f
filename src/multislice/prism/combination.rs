//! Sums of waves: out_j = Σ_i c_ji in_i, row by row, the inner loop of PRISM.
//!
//! Waves here are *parted*: a row holds all real parts, then all imaginary parts. A complex sum is then a real one over twice
//! as many rows, [re; im] ← [[c_re, −c_im], [c_im, c_re]] · [re; im], which fills the vector units without shuffling.

use num_complex::Complex;

use super::super::lanes::{Kernel, Lanes, MOST, Registers, Vectors};

/// Real rows of the outcome computed side by side.
const OUTPUTS: usize = 4;
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

impl<T: Lanes> Coefficients<T> {
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
        let sum = Sum {
            coefficients: self,
            inputs,
            start,
            length,
            outcome,
            pitch,
        };
        T::run(Vectors::of_processor(), sum);
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

impl<T: Lanes> Kernel<T> for Sum<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Registers<T>>(mut self, simd: S) {
        let length = self.length;
        for number in 0..self.coefficients.blocks.len() {
            let mut from = 0;
            if S::COUNT >= 32 {
                from = self.wide::<S, 4>(simd, number, from);
            }
            from = self.wide::<S, 2>(simd, number, from);
            from = self.wide::<S, 1>(simd, number, from);
            if from < length {
                self.last(simd, number, from);
            }
        }
    }
}

impl<T: Lanes> Sum<'_, T> {
    /// Adds a block of rows from element `from` on, `REGISTERS` registers at a time, as long as they are full; returns where it
    /// stopped.
    #[inline(always)]
    fn wide<S: Registers<T>, const REGISTERS: usize>(
        &mut self,
        simd: S,
        number: usize,
        mut from: usize,
    ) -> usize {
        let count = REGISTERS * S::LANES;
        while self.length - from >= count {
            let at = self.start + from;
            let mut sums = [[simd.splat(T::zero()); REGISTERS]; OUTPUTS];
            let pairs = self.coefficients.blocks[number].as_chunks::<2>().0;
            for (input, pair) in pairs.iter().enumerate() {
                for (part, factors) in pair.iter().enumerate() {
                    let begin = input * self.inputs.pitch + part * self.inputs.half + at;
                    let values = S::lanes(&self.inputs.values[begin..begin + count]);
                    for (sums, factor) in sums.iter_mut().zip(factors) {
                        let factor = simd.splat(*factor);
                        for (sum, value) in sums.iter_mut().zip(values) {
                            *sum = simd.mul_add(factor, *value, *sum);
                        }
                    }
                }
            }
            let rows = number * OUTPUTS..self.coefficients.rows;
            for (row, sums) in rows.zip(&sums) {
                let begin = row * self.pitch + from;
                let outcome = S::lanes_mut(&mut self.outcome[begin..begin + count]);
                for (value, sum) in outcome.iter_mut().zip(sums) {
                    *value = simd.add(*value, *sum);
                }
            }
            from += count;
        }
        from
    }

    /// The elements from `from` on, fewer than a register holds.
    #[inline(always)]
    fn last<S: Registers<T>>(&mut self, simd: S, number: usize, from: usize) {
        let (at, count) = (self.start + from, self.length - from);
        let mut sums = [simd.splat(T::zero()); OUTPUTS];
        let pairs = self.coefficients.blocks[number].as_chunks::<2>().0;
        for (input, pair) in pairs.iter().enumerate() {
            for (part, factors) in pair.iter().enumerate() {
                let begin = input * self.inputs.pitch + part * self.inputs.half + at;
                let mut values = [T::zero(); MOST];
                values[..count].copy_from_slice(&self.inputs.values[begin..begin + count]);
                let value = S::lanes(&values[..S::LANES])[0];
                for (sum, factor) in sums.iter_mut().zip(factors) {
                    *sum = simd.mul_add(simd.splat(*factor), value, *sum);
                }
            }
        }
        let rows = number * OUTPUTS..self.coefficients.rows;
        for (row, sum) in rows.zip(sums) {
            let begin = row * self.pitch + from;
            let outcome = &mut self.outcome[begin..begin + count];
            let mut values = [T::zero(); MOST];
            values[..count].copy_from_slice(outcome);
            let total = simd.add(S::lanes(&values[..S::LANES])[0], sum);
            S::lanes_mut(&mut values[..S::LANES])[0] = total;
            outcome.copy_from_slice(&values[..count]);
        }
    }
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
