//! 2 × 2 pooling, to the largest or the mean of four, as operations of candle's graph. The gradient of the largest goes, whole,
//! to the first of the largest values (candle's stock operation passes on a quarter of it).

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, WithDType};
use serde::{Deserialize, Serialize};

use super::kernel::{for_real, slice};
use super::registers::{Kernel, Real, Registers};
use crate::multislice::Vectors;

/// Side of the pooling window and its stride [px].
pub(super) const POOL: usize = 2;

/// What becomes of four pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The largest of them, channel by channel.
    #[default]
    Maximum,
    /// Their mean.
    Average,
}

/// Largest or mean of each 2 × 2 window of `(n, y, x, channel)`; an odd last row or column is left out.
///
/// # Errors
/// Not four axes, or a type other than f32 and f64.
pub(super) fn pool(input: &Tensor, pooling: Pooling) -> Result<Tensor> {
    input.dims4()?;
    input.contiguous()?.apply_op1(Pool(pooling))
}

struct Pool(Pooling);

/// Calls `visit(output range, input offsets of the four corners)` for each window; the range and the stretches from the
/// corners run over the channels.
#[inline(always)]
fn for_windows(dims: &[usize], mut visit: impl FnMut(Range<usize>, [usize; 4])) {
    let (height, width, channels) = (dims[1], dims[2], dims[3]);
    let mut index = 0;
    for image in 0..dims[0] {
        for y in 0..height / POOL {
            for x in 0..width / POOL {
                let first = ((image * height + POOL * y) * width + POOL * x) * channels;
                let below = first + width * channels;
                visit(
                    index..index + channels,
                    [first, first + channels, below, below + channels],
                );
                index += channels;
            }
        }
    }
}

#[inline(always)]
fn larger<T: PartialOrd>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

fn pooled_shape(dims: &[usize]) -> Shape {
    (dims[0], dims[1] / POOL, dims[2] / POOL, dims[3]).into()
}

/// The four stretches of `length` numbers from `starts`.
#[inline(always)]
fn corners<T>(values: &[T], starts: [usize; 4], length: usize) -> [&[T]; 4] {
    let [a, b, c, d] = starts;
    [
        &values[a..a + length],
        &values[b..b + length],
        &values[c..c + length],
        &values[d..d + length],
    ]
}

struct Forward<'a, T> {
    pooling: Pooling,
    dims: &'a [usize],
    input: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    #[inline(always)]
    fn run<S: Registers<T>>(self, _: S) {
        let quarter = T::from_f64(0.25);
        let out = self.out;
        for_windows(self.dims, |range, starts| {
            let length = range.len();
            let [a, b, c, d] = corners(self.input, starts, length);
            let out = &mut out[range];
            match self.pooling {
                Pooling::Maximum => {
                    for i in 0..length {
                        out[i] = larger(larger(a[i], b[i]), larger(c[i], d[i]));
                    }
                }
                Pooling::Average => {
                    for i in 0..length {
                        out[i] = ((a[i] + b[i]) + (c[i] + d[i])) * quarter;
                    }
                }
            }
        });
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "pooling"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = pooled_shape(layout.dims());
        let out = for_real!(input, T => {
            let mut out: Vec<T> = vec![0.0; shape.elem_count()];
            let kernel = Forward {
                pooling: self.0,
                dims: layout.dims(),
                input: slice::<T>(input, layout)?,
                out: &mut out,
            };
            T::run(Vectors::of_processor(), kernel);
            T::to_cpu_storage_owned(out)
        });
        Ok((out, shape))
    }

    fn bwd(&self, input: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        pool_gradient(input, gradient, self.0).map(Some)
    }
}

/// Gradient of the `input` of [`pool`] from the `gradient` of the result.
///
/// # Errors
/// A type other than f32 and f64.
pub(super) fn pool_gradient(input: &Tensor, gradient: &Tensor, pooling: Pooling) -> Result<Tensor> {
    input.apply_op2_no_bwd(&gradient.contiguous()?, &PoolGradient(pooling))
}

/// Gradient of the input from the input and the gradient of the result.
struct PoolGradient(Pooling);

struct Backward<'a, T> {
    pooling: Pooling,
    dims: &'a [usize],
    input: &'a [T],
    gradient: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Backward<'_, T> {
    #[inline(always)]
    fn run<S: Registers<T>>(self, _: S) {
        let (zero, quarter) = (T::zero(), T::from_f64(0.25));
        let out = self.out;
        for_windows(self.dims, |range, starts| {
            let length = range.len();
            let gradient = &self.gradient[range];
            // The two pixels above lie side by side, and so do the two below.
            let (above, below) =
                out[starts[0]..starts[3] + length].split_at_mut(starts[2] - starts[0]);
            let (above_left, above_right) = above[..2 * length].split_at_mut(length);
            let (below_left, below_right) = below[..2 * length].split_at_mut(length);
            if self.pooling == Pooling::Average {
                for i in 0..length {
                    let share = gradient[i] * quarter;
                    above_left[i] = share;
                    above_right[i] = share;
                    below_left[i] = share;
                    below_right[i] = share;
                }
                return;
            }
            let [a, b, c, d] = corners(self.input, starts, length);
            for i in 0..length {
                let low = larger(c[i], d[i]) > larger(a[i], b[i]);
                let (from_above, from_below) = if low {
                    (zero, gradient[i])
                } else {
                    (gradient[i], zero)
                };
                above_left[i] = if b[i] > a[i] { zero } else { from_above };
                above_right[i] = if b[i] > a[i] { from_above } else { zero };
                below_left[i] = if d[i] > c[i] { zero } else { from_below };
                below_right[i] = if d[i] > c[i] { from_below } else { zero };
            }
        });
    }
}

impl CustomOp2 for PoolGradient {
    fn name(&self) -> &'static str {
        "gradient of the pooling"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let out = for_real!(input, T => {
            let input = slice::<T>(input, layout)?;
            let mut out: Vec<T> = vec![0.0; input.len()];
            let kernel = Backward {
                pooling: self.0,
                dims: layout.dims(),
                input,
                gradient: slice::<T>(gradient, gradient_layout)?,
                out: &mut out,
            };
            T::run(Vectors::of_processor(), kernel);
            T::to_cpu_storage_owned(out)
        });
        Ok((out, layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_gradient, random};
    use super::*;

    #[test]
    fn pooling_takes_the_largest_of_four() {
        let values: Vec<f32> = (0..30).map(|i| ((i * 7) % 30) as f32).collect();
        let input =
            Tensor::from_vec(values.clone(), (1, 3, 5, 2), &candle_core::Device::Cpu).unwrap();
        let pooled = pool(&input, Pooling::Maximum).unwrap();
        assert_eq!(pooled.dims(), [1, 1, 2, 2]);
        let at = |y: usize, x: usize, c: usize| values[(y * 5 + x) * 2 + c];
        let expected = |x: usize, c: usize| {
            at(0, x, c)
                .max(at(0, x + 1, c))
                .max(at(1, x, c))
                .max(at(1, x + 1, c))
        };
        assert_eq!(
            pooled.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            [
                expected(0, 0),
                expected(0, 1),
                expected(2, 0),
                expected(2, 1)
            ]
        );
    }

    #[test]
    fn the_mean_of_four_is_their_mean() {
        let input = random(&[2, 4, 6, 3], 8);
        let pooled = pool(&input, Pooling::Average).unwrap();
        let first = |t: &Tensor| t.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
        let stock = first(&input).avg_pool2d(2).unwrap();
        let difference = (first(&pooled) - stock).unwrap().abs().unwrap();
        let difference = difference.sum_all().unwrap().to_scalar::<f64>().unwrap();
        // 36 sums of four numbers below 1, rounded in f64.
        assert!(difference < 1e-13, "{difference}");
    }

    #[test]
    fn the_gradient_of_the_pooling_is_the_finite_difference() {
        for pooling in [Pooling::Maximum, Pooling::Average] {
            assert_gradient(&[random(&[2, 6, 5, 3], 7)], |a| {
                pool(&a[0], pooling).unwrap()
            });
        }
    }
}
