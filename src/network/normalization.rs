//! Batch normalization and the rectifier after it as one operation of candle's graph, with its own gradient.
//!
//! While a network is trained, every channel is shifted and scaled to mean 0 and variance 1 over the images that go through the
//! network together and all their pixels, then scaled by a gain and shifted (Ioffe and Szegedy, ICML 2015, algorithm 1).
//! Statistics are those of a shard of the batch, which stays in the cache of one core and depends on no other thread
//! ("ghost batch normalization", Hoffer, Hubara and Soudry, NIPS 2017, algorithm 1; what PyTorch does for each device). A trained
//! network uses the running mean of these statistics, which [`super::architecture`] puts into the weights of the convolution
//! before: there is nothing left to do then.

use candle_core::{
    CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, WithDType, bail,
};

use super::kernel::{for_real, numbers, slice};
use super::registers::{Kernel, Real, Registers};
use crate::multislice::Vectors;

/// Added to variances, the value that PyTorch takes if none is given.
pub(super) const EPSILON: f64 = 1e-5;
/// Pixels whose sum is kept in the precision of the numbers before it is added in f64.
const BLOCK: usize = 64;

/// Mean and variance of each channel.
#[derive(Debug, Clone)]
pub(super) struct Statistics {
    /// Mean.
    pub mean: Vec<f64>,
    /// Variance (of the numbers themselves, not of a population they are drawn from).
    pub variance: Vec<f64>,
    /// numbers in each channel.
    pub count: usize,
}

impl Statistics {
    /// Those of `(n, y, x, channel)`.
    ///
    /// # Errors
    /// A type other than f32 and f64.
    pub(super) fn of(input: &Tensor) -> Result<Self> {
        match input.dtype() {
            DType::F32 => Self::of_numbers::<f32>(input),
            DType::F64 => Self::of_numbers::<f64>(input),
            other => bail!("numbers of type {other:?}: only f32 and f64"),
        }
    }

    fn of_numbers<T: Real>(input: &Tensor) -> Result<Self> {
        let channels = input.dim(3)?;
        let input = numbers(input);
        let input = input.slice::<T>()?;
        let count = input.len() / channels;
        let moment = |centre: Option<&[f64]>| {
            let mut sums = vec![0.0; channels];
            let centre = centre.map(narrow::<T>);
            let kernel = Moment {
                input,
                centre: centre.as_deref(),
                sums: &mut sums,
            };
            T::run(Vectors::of_processor(), kernel);
            sums.iter_mut().for_each(|sum| *sum /= count as f64);
            sums
        };
        let mean = moment(None);
        let variance = moment(Some(&mean));
        Ok(Self {
            mean,
            variance,
            count,
        })
    }

    /// 1/√(variance + ε).
    fn inverse(&self, channel: usize) -> f64 {
        1.0 / (self.variance[channel] + EPSILON).sqrt()
    }
}

fn narrow<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

/// Sums over all pixels, by channel: of the numbers, or of their squared distances from `centre`.
struct Moment<'a, T> {
    input: &'a [T],
    centre: Option<&'a [T]>,
    sums: &'a mut [f64],
}

impl<T: Real> Kernel<T> for Moment<'_, T> {
    #[inline(always)]
    fn run<S: Registers<T>>(self, _: S) {
        let channels = self.sums.len();
        let mut block_sums = vec![T::zero(); channels];
        for block in self.input.chunks(BLOCK * channels) {
            block_sums.fill(T::zero());
            for pixel in block.chunks_exact(channels) {
                if let Some(centre) = self.centre {
                    for ((sum, &value), &centre) in block_sums.iter_mut().zip(pixel).zip(centre) {
                        *sum += (value - centre) * (value - centre);
                    }
                } else {
                    for (sum, &value) in block_sums.iter_mut().zip(pixel) {
                        *sum += value;
                    }
                }
            }
            for (sum, block) in self.sums.iter_mut().zip(&block_sums) {
                *sum += block.to_f64();
            }
        }
    }
}

/// `(input − mean)/√(variance + ε) · gain + shift`, then max(0, ·) where `rectify`, with the `statistics` of this very input.
///
/// # Errors
/// Shapes that do not fit, or a type other than f32 and f64.
pub(super) fn normalize(
    input: &Tensor,
    gain: &Tensor,
    shift: &Tensor,
    statistics: Statistics,
    rectify: bool,
) -> Result<Tensor> {
    let channels = input.dim(3)?;
    if gain.dims1()? != channels || shift.dims1()? != channels {
        bail!("a normalization of {input:?} by {gain:?} and {shift:?} does not fit");
    }
    let operation = Normalization {
        statistics,
        rectify,
    };
    input.apply_op3(gain, shift, operation)
}

struct Normalization {
    statistics: Statistics,
    rectify: bool,
}

impl Normalization {
    fn run<T: Real>(&self, input: &[T], gain: &[T], shift: &[T]) -> Vec<T> {
        let factor: Vec<f64> = (0..gain.len())
            .map(|c| gain[c].to_f64() * self.statistics.inverse(c))
            .collect();
        let offset: Vec<f64> = (0..gain.len())
            .map(|c| shift[c].to_f64() - factor[c] * self.statistics.mean[c])
            .collect();
        let mut out = vec![T::zero(); input.len()];
        let kernel = Scale {
            input,
            factor: &narrow(&factor),
            offset: &narrow(&offset),
            rectify: self.rectify,
            out: &mut out,
        };
        T::run(Vectors::of_processor(), kernel);
        out
    }
}

/// `out = input · factor + offset`, by channel, then max(0, ·) where `rectify`.
struct Scale<'a, T> {
    input: &'a [T],
    factor: &'a [T],
    offset: &'a [T],
    rectify: bool,
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Scale<'_, T> {
    #[inline(always)]
    fn run<S: Registers<T>>(self, _: S) {
        let channels = self.factor.len();
        let pixels = self.input.chunks_exact(channels);
        for (out, pixel) in self.out.chunks_exact_mut(channels).zip(pixels) {
            for c in 0..channels {
                let value = pixel[c] * self.factor[c] + self.offset[c];
                let cut = self.rectify && value <= T::zero();
                out[c] = if cut { T::zero() } else { value };
            }
        }
    }
}

impl CustomOp3 for Normalization {
    fn name(&self) -> &'static str {
        "normalization"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        shift: &CpuStorage,
        shift_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let out = for_real!(input, T => T::to_cpu_storage_owned(self.run::<T>(
            slice(input, input_layout)?,
            slice(gain, gain_layout)?,
            slice(shift, shift_layout)?,
        )));
        Ok((out, input_layout.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        gain: &Tensor,
        _shift: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let result = self.rectify.then_some(result);
        let of = normalization_gradient(input, gain, &self.statistics, result, gradient)?;
        Ok((Some(of.input), Some(of.gain), Some(of.shift)))
    }
}

/// Gradients of the operands of [`normalize`].
pub(super) struct Gradients {
    /// As the input.
    pub input: Tensor,
    /// As the gain.
    pub gain: Tensor,
    /// As the shift.
    pub shift: Tensor,
}

/// Gradients of a normalization with these `statistics` from the `gradient` of its result (Ioffe and Szegedy, section 3);
/// `result` is given where it rectifies.
///
/// # Errors
/// A type other than f32 and f64.
pub(super) fn normalization_gradient(
    input: &Tensor,
    gain: &Tensor,
    statistics: &Statistics,
    result: Option<&Tensor>,
    gradient: &Tensor,
) -> Result<Gradients> {
    match input.dtype() {
        DType::F32 => gradients::<f32>(input, gain, statistics, result, gradient),
        DType::F64 => gradients::<f64>(input, gain, statistics, result, gradient),
        other => bail!("numbers of type {other:?}: only f32 and f64"),
    }
}

fn gradients<T: Real>(
    input: &Tensor,
    gain: &Tensor,
    statistics: &Statistics,
    result: Option<&Tensor>,
    gradient: &Tensor,
) -> Result<Gradients> {
    let (channels, shape) = (input.dim(3)?, input.dims());
    let gradient = gradient.contiguous()?;
    let result = result.map(numbers);
    let result = result
        .as_ref()
        .map(|result| result.slice::<T>())
        .transpose()?;
    let (input, gain, gradient) = (numbers(input), numbers(gain), numbers(&gradient));
    let (input, gain) = (input.slice::<T>()?, gain.slice::<T>()?);
    let gradient = gradient.slice::<T>()?;
    let inverse: Vec<f64> = (0..channels).map(|c| statistics.inverse(c)).collect();
    // Σ g and Σ g (x − mean)/σ: the gradients of shift and gain.
    let (mut shift, mut product) = (vec![0.0; channels], vec![0.0; channels]);
    let sums = Sums {
        input,
        result,
        gradient,
        mean: &narrow(&statistics.mean),
        sums: &mut shift,
        products: &mut product,
    };
    T::run(Vectors::of_processor(), sums);
    let of_gain: Vec<f64> = (0..channels).map(|c| product[c] * inverse[c]).collect();
    // gain/σ (g − Σg/m − x̂ Σ(g x̂)/m) = factor g + slope (x − mean) + offset
    let m = statistics.count as f64;
    let factor: Vec<f64> = (0..channels)
        .map(|c| gain[c].to_f64() * inverse[c])
        .collect();
    let slope: Vec<f64> = (0..channels)
        .map(|c| -factor[c] * inverse[c] * of_gain[c] / m)
        .collect();
    let offset: Vec<f64> = (0..channels)
        .map(|c| -factor[c] * shift[c] / m - slope[c] * statistics.mean[c])
        .collect();
    let mut out = vec![T::zero(); input.len()];
    let back = Back {
        input,
        result,
        gradient,
        factor: &narrow(&factor),
        slope: &narrow(&slope),
        offset: &narrow(&offset),
        out: &mut out,
    };
    T::run(Vectors::of_processor(), back);
    Ok(Gradients {
        input: Tensor::from_vec(out, shape, &Device::Cpu)?,
        gain: Tensor::from_vec(narrow::<T>(&of_gain), channels, &Device::Cpu)?,
        shift: Tensor::from_vec(narrow::<T>(&shift), channels, &Device::Cpu)?,
    })
}

/// By channel, over all pixels where the rectified result is above zero: the sum of the gradient, and of the gradient times
/// `input − mean`.
struct Sums<'a, T> {
    input: &'a [T],
    result: Option<&'a [T]>,
    gradient: &'a [T],
    mean: &'a [T],
    sums: &'a mut [f64],
    products: &'a mut [f64],
}

impl<T: Real> Kernel<T> for Sums<'_, T> {
    #[inline(always)]
    fn run<S: Registers<T>>(self, _: S) {
        let channels = self.mean.len();
        let (mut sums, mut products) = (vec![T::zero(); channels], vec![T::zero(); channels]);
        let pixels = self.input.len() / channels;
        for first in (0..pixels).step_by(BLOCK) {
            sums.fill(T::zero());
            products.fill(T::zero());
            for pixel in first..(first + BLOCK).min(pixels) {
                let at = pixel * channels;
                let (input, gradient) = (
                    &self.input[at..at + channels],
                    &self.gradient[at..at + channels],
                );
                let result = self.result.map(|result| &result[at..at + channels]);
                let (sums, products) = (&mut sums[..channels], &mut products[..channels]);
                let mean = &self.mean[..channels];
                for c in 0..channels {
                    let kept = result.is_none_or(|result| result[c] > T::zero());
                    let gradient = if kept { gradient[c] } else { T::zero() };
                    sums[c] += gradient;
                    products[c] += gradient * (input[c] - mean[c]);
                }
            }
            for c in 0..channels {
                self.sums[c] += sums[c].to_f64();
                self.products[c] += products[c].to_f64();
            }
        }
    }
}

/// `out = factor · gradient + slope · input + offset`, by channel, the gradient 0 where the rectified result is not above zero.
struct Back<'a, T> {
    input: &'a [T],
    result: Option<&'a [T]>,
    gradient: &'a [T],
    factor: &'a [T],
    slope: &'a [T],
    offset: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Back<'_, T> {
    #[inline(always)]
    fn run<S: Registers<T>>(self, _: S) {
        let channels = self.factor.len();
        for (pixel, out) in self.out.chunks_exact_mut(channels).enumerate() {
            let at = pixel * channels;
            let (input, gradient) = (
                &self.input[at..at + channels],
                &self.gradient[at..at + channels],
            );
            let result = self.result.map(|result| &result[at..at + channels]);
            let (factor, slope) = (&self.factor[..channels], &self.slope[..channels]);
            let offset = &self.offset[..channels];
            for c in 0..channels {
                let kept = result.is_none_or(|result| result[c] > T::zero());
                let gradient = if kept { gradient[c] } else { T::zero() };
                out[c] = gradient * factor[c] + (input[c] * slope[c] + offset[c]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_gradient, random};
    use super::*;

    #[test]
    fn normalized_channels_have_mean_0_and_variance_1() {
        let input = (random(&[3, 5, 4, 6], 1) * 7.0).unwrap();
        let one = Tensor::ones(6, DType::F64, &Device::Cpu).unwrap();
        let zero = Tensor::zeros(6, DType::F64, &Device::Cpu).unwrap();
        let statistics = Statistics::of(&input).unwrap();
        let result = normalize(&input, &one, &zero, statistics, false).unwrap();
        let found = Statistics::of(&result).unwrap();
        for c in 0..6 {
            // Rounding of 60 numbers near 1; ε is 1e-5 beside a variance of about 16.
            assert!(found.mean[c].abs() < 1e-14, "{:?}", found.mean);
            assert!(
                (found.variance[c] - 1.0).abs() < 2e-6,
                "{:?}",
                found.variance
            );
        }
    }

    #[test]
    fn the_gradient_of_the_normalization_is_the_finite_difference() {
        let arguments = [random(&[3, 4, 5, 7], 2), random(&[7], 3), random(&[7], 4)];
        for rectify in [false, true] {
            assert_gradient(&arguments, |a| {
                let statistics = Statistics::of(&a[0]).unwrap();
                normalize(&a[0], &a[1], &a[2], statistics, rectify).unwrap()
            });
        }
    }
}
