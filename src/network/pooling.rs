//! 2 × 2 maximum pooling as an operation of candle's graph. The gradient goes, whole, to the first of the largest values
//! (candle's stock operation passes on a quarter of it).

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, WithDType};

use super::kernel::{for_real, slice};

/// Side of the pooling window and its stride [px].
pub(super) const POOL: usize = 2;

/// Largest of each 2 × 2 window of `(n, y, x, channel)`; an odd last row or column is left out.
///
/// # Errors
/// Not four axes, or a type other than f32 and f64.
pub(super) fn pool(input: &Tensor) -> Result<Tensor> {
    input.dims4()?;
    input.contiguous()?.apply_op1(Pooling)
}

struct Pooling;

/// Calls `visit(output range, input offsets of the four corners)` for each window; the range and the stretches from the
/// corners run over the channels.
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

/// The four stretches of `length` numbers from `starts`.
fn corners<T>(values: &[T], starts: [usize; 4], length: usize) -> [&[T]; 4] {
    starts.map(|start| &values[start..start + length])
}

fn larger<T: PartialOrd>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

fn pooled_shape(dims: &[usize]) -> Shape {
    (dims[0], dims[1] / POOL, dims[2] / POOL, dims[3]).into()
}

impl CustomOp1 for Pooling {
    fn name(&self) -> &'static str {
        "pooling"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = pooled_shape(layout.dims());
        let out = for_real!(input, T => {
            let input = slice::<T>(input, layout)?;
            let mut out: Vec<T> = vec![0.0; shape.elem_count()];
            for_windows(layout.dims(), |range, starts| {
                let [a, b, c, d] = corners(input, starts, range.len());
                for (i, out) in out[range].iter_mut().enumerate() {
                    *out = larger(larger(a[i], b[i]), larger(c[i], d[i]));
                }
            });
            T::to_cpu_storage_owned(out)
        });
        Ok((out, shape))
    }

    fn bwd(&self, input: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        pool_gradient(input, gradient).map(Some)
    }
}

/// Gradient of the `input` of [`pool`] from the `gradient` of the result.
///
/// # Errors
/// A type other than f32 and f64.
pub(super) fn pool_gradient(input: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    input.apply_op2_no_bwd(&gradient.contiguous()?, &PoolingGradient)
}

/// Gradient of the input from the input and the gradient of the result.
struct PoolingGradient;

impl CustomOp2 for PoolingGradient {
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
            let (input, gradient) = (slice::<T>(input, layout)?, slice::<T>(gradient, gradient_layout)?);
            let mut out: Vec<T> = vec![0.0; input.len()];
            for_windows(layout.dims(), |range, starts| {
                let [a, b, c, d] = corners(input, starts, range.len());
                for (i, &gradient) in gradient[range].iter().enumerate() {
                    let (upper, lower) = (larger(a[i], b[i]), larger(c[i], d[i]));
                    let (from_upper, from_lower) =
                        if lower > upper { (0.0, gradient) } else { (gradient, 0.0) };
                    out[starts[0] + i] = if b[i] > a[i] { 0.0 } else { from_upper };
                    out[starts[1] + i] = if b[i] > a[i] { from_upper } else { 0.0 };
                    out[starts[2] + i] = if d[i] > c[i] { 0.0 } else { from_lower };
                    out[starts[3] + i] = if d[i] > c[i] { from_lower } else { 0.0 };
                }
            });
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
        let pooled = pool(&input).unwrap();
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
    fn the_gradient_of_the_pooling_is_the_finite_difference() {
        assert_gradient(&[random(&[2, 6, 5, 3], 7)], |a| pool(&a[0]).unwrap());
    }
}
