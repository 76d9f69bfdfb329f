//! Unpadded convolution with bias and ReLU as one operation of candle's graph, with its own gradient.
//!
//! candle's stock CPU convolution spends its time in im2col copies and its gradient in scalar loops; ReLU'(0) is 1 there.
//! Tensors inside the network are channels last, `(n, y, x, channel)`, weights `(y, x, in, out)`: [`super::kernel`] then
//! reads patches in place. The gradient of the input is the correlation of the zero-padded gradient with the weights
//! turned by 180° and input and output exchanged (Dumoulin and Visin, arXiv:1603.07285, section 4); rows of zeros are passed
//! over, and the gradient of the rectifier is taken while the zeros are put around.

use candle_core::{
    CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, WithDType, bail,
};

use rayon::prelude::*;

use super::kernel::{
    Columns, Correlation, Framed, Sliding, WeightGradient, for_real, numbers, padded, slice,
};
use super::registers::Real;
use crate::multislice::Vectors;

/// `input (n, y, x, in) ⋆ weights (y, x, in, out) + bias (out)`, then max(0, ·) where `rectify`; the result is
/// `(n, y − rows + 1, x − cols + 1, out)`.
///
/// # Errors
/// Shapes that do not fit, or a type other than f32 and f64.
pub(super) fn convolve(
    input: &Tensor,
    weights: &Tensor,
    bias: &Tensor,
    rectify: bool,
) -> Result<Tensor> {
    let (_, height, width, channels) = input.dims4()?;
    let (rows, cols, inputs, outputs) = weights.dims4()?;
    if channels != inputs || bias.dims1()? != outputs || rows > height || cols > width {
        bail!("a convolution of {input:?} with {weights:?} and {bias:?} does not fit");
    }
    let operation = Convolution { rectify };
    input.contiguous()?.apply_op3(weights, bias, operation)
}

/// How the kernel slides. Where it is a single pixel, all pixels are one row; where it is as large as its input (`whole`), all
/// images are, and their numbers the channels: both are plain matrix products.
fn sliding(input: &[usize], weights: &[usize], whole: bool) -> Sliding {
    let (count, height, width, channels) = if whole {
        (1, 1, input[0], input[1..].iter().product())
    } else if weights[..2] == [1, 1] {
        (1, 1, input[..3].iter().product(), input[3])
    } else {
        (input[0], input[1], input[2], input[3])
    };
    let (rows, cols) = if whole {
        (1, 1)
    } else {
        (weights[0], weights[1])
    };
    Sliding {
        count,
        height,
        width,
        channels,
        rows,
        cols,
        margin: 0,
    }
}

fn is_whole(input: &[usize], weights: &[usize]) -> bool {
    input[1..] == weights[..3]
}

/// The forward operation.
struct Convolution {
    rectify: bool,
}

impl Convolution {
    fn run<T: Real>(&self, input: &[T], weights: &[T], bias: &[T], sliding: Sliding) -> Vec<T> {
        let outputs = bias.len();
        let (weights, bias) = (Columns::new(weights, outputs), Columns::new(bias, outputs));
        correlated(sliding, input, &weights, Some(&bias), self.rectify, outputs)
    }
}

/// Multiply-adds of an image from which on images of a shard are shared out to workers that have nothing else to do; each
/// image has its own place in the result, whoever works on it.
const WORTH_SHARING: usize = 1 << 23;

/// The correlation of all images.
fn correlated<T: Real>(
    sliding: Sliding,
    input: &[T],
    weights: &Columns<'_, T>,
    bias: Option<&Columns<'_, T>>,
    rectify: bool,
    outputs: usize,
) -> Vec<T> {
    let (height, width) = sliding.result();
    let each = height * width * outputs;
    let mut out = vec![T::zero(); sliding.count * each];
    let run = |sliding: Sliding, input: &[T], out: &mut [T]| {
        let correlation = Correlation {
            sliding,
            input,
            weights,
            bias,
            rectify,
            outputs,
            out,
        };
        T::run(Vectors::of_processor(), correlation);
    };
    let work = each * sliding.rows * sliding.cols * sliding.channels;
    if sliding.count == 1 || work < WORTH_SHARING {
        run(sliding, input, &mut out);
        return out;
    }
    let image = sliding.height * sliding.width * sliding.channels;
    let images = out.par_chunks_exact_mut(each).enumerate();
    images.for_each(|(n, out)| {
        let one = Sliding {
            count: 1,
            ..sliding
        };
        run(one, &input[n * image..], out);
    });
    out
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (shape, kernel) = (input_layout.dims(), weights_layout.dims());
        let out = for_real!(input, T => T::to_cpu_storage_owned(self.run::<T>(
            slice(input, input_layout)?,
            slice(weights, weights_layout)?,
            slice(bias, bias_layout)?,
            sliding(shape, kernel, is_whole(shape, kernel)),
        )));
        let (height, width) = (shape[1] + 1 - kernel[0], shape[2] + 1 - kernel[1]);
        Ok((out, (shape[0], height, width, kernel[3]).into()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weights: &Tensor,
        bias: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let whole = is_whole(input.dims(), weights.dims());
        let turned = input.track_op().then(|| Turned::new(weights, whole));
        let turned = turned.transpose()?;
        let result = self.rectify.then_some(result);
        let of = convolution_gradient(input, weights.dims(), turned.as_ref(), result, gradient)?;
        let of_bias = of.bias.reshape(bias.dims())?;
        Ok((of.input, Some(of.weights), Some(of_bias)))
    }
}

/// Gradients of the operands of [`convolve`].
pub(super) struct Gradients {
    /// As the input, where asked for.
    pub input: Option<Tensor>,
    /// As the weights.
    pub weights: Tensor,
    /// As the bias.
    pub bias: Tensor,
}

/// Gradients of a convolution with weights of the shape `kernel` from the `gradient` of the result. That of the input is only
/// worked out where there are [`Turned`] weights; `result` is that of the convolution where it rectifies.
///
/// # Errors
/// A type other than f32 and f64.
pub(super) fn convolution_gradient(
    input: &Tensor,
    kernel: &[usize],
    turned: Option<&Turned>,
    result: Option<&Tensor>,
    gradient: &Tensor,
) -> Result<Gradients> {
    match input.dtype() {
        DType::F32 => gradients::<f32>(input, kernel, turned, result, gradient),
        DType::F64 => gradients::<f64>(input, kernel, turned, result, gradient),
        other => bail!("numbers of type {other:?}: only f32 and f64"),
    }
}

fn gradients<T: Real>(
    input: &Tensor,
    kernel: &[usize],
    turned: Option<&Turned>,
    result: Option<&Tensor>,
    gradient: &Tensor,
) -> Result<Gradients> {
    let (shape, outputs) = (input.dims(), kernel[3]);
    let whole = is_whole(shape, kernel);
    let whole = turned.map_or(whole, |turned| turned.whole);
    let sliding = sliding(shape, kernel, whole);
    let (height, width) = sliding.result();
    let gradient = gradient.contiguous()?;
    let result = result.map(numbers);
    let result = result
        .as_ref()
        .map(|result| result.slice::<T>())
        .transpose()?;
    let framed = Framed::new(
        numbers(&gradient).slice::<T>()?,
        result,
        (sliding.count * height, width, outputs),
        sliding.cols,
    );
    let of_input = turned.map(|turned| {
        let of_input = input_gradient(&framed, numbers(&turned.weights).slice::<T>()?, sliding);
        Tensor::from_vec(of_input, shape, &Device::Cpu)
    });
    let input = numbers(input);
    let of_weights = weight_gradient(&framed, input.slice::<T>()?, sliding, outputs);
    Ok(Gradients {
        input: of_input.transpose()?,
        weights: Tensor::from_vec(of_weights, kernel, &Device::Cpu)?,
        bias: Tensor::from_vec(framed.sums, outputs, &Device::Cpu)?,
    })
}

/// Gradient of the input, from [`Turned`] weights.
fn input_gradient<T: Real>(framed: &Framed<T>, turned: &[T], sliding: Sliding) -> Vec<T> {
    let inputs = sliding.channels;
    let back = Sliding {
        height: sliding.result().0,
        width: framed.width,
        channels: framed.channels,
        margin: sliding.rows - 1,
        ..sliding
    };
    let weights = Columns::new(turned, inputs);
    correlated(back, &framed.values, &weights, None, false, inputs)
}

fn weight_gradient<T: Real>(
    framed: &Framed<T>,
    input: &[T],
    sliding: Sliding,
    outputs: usize,
) -> Vec<T> {
    let length = sliding.rows * sliding.cols * sliding.channels;
    let mut out = vec![T::zero(); length * framed.channels];
    let kernel = WeightGradient {
        sliding,
        input,
        gradient: framed,
        out: &mut out,
    };
    T::run(Vectors::of_processor(), kernel);
    if framed.channels == outputs {
        return out;
    }
    let rows = out.chunks_exact(framed.channels);
    rows.flat_map(|row| &row[..outputs]).copied().collect()
}

/// Weights `(y, x, in, out)` turned by 180° with input and output exchanged, `(y, x, out, in)`: what the gradient of the input is
/// correlated with. Outputs are filled up with zeros to whole registers.
pub(super) struct Turned {
    weights: Tensor,
    /// For inputs as large as the kernel: `(out, y · x · in)`, not turned.
    whole: bool,
}

impl Turned {
    /// Turns `weights`, for inputs as large as the kernel where `whole`.
    ///
    /// # Errors
    /// A type other than f32 and f64.
    pub(super) fn new(weights: &Tensor, whole: bool) -> Result<Self> {
        let (rows, cols, inputs, outputs) = weights.dims4()?;
        let inputs = if whole { rows * cols * inputs } else { inputs };
        let weights = weights.contiguous()?;
        let read = numbers(&weights);
        let weights = match weights.dtype() {
            DType::F32 => flat(turn::<f32>(read.slice()?, inputs, outputs)),
            DType::F64 => flat(turn::<f64>(read.slice()?, inputs, outputs)),
            other => bail!("numbers of type {other:?}: only f32 and f64"),
        }?;
        Ok(Self { weights, whole })
    }
}

fn flat<T: Real>(values: Vec<T>) -> Result<Tensor> {
    let length = values.len();
    Tensor::from_vec(values, length, &Device::Cpu)
}

fn turn<T: Real>(weights: &[T], inputs: usize, outputs: usize) -> Vec<T> {
    let filled = padded(outputs) * inputs;
    let mut turned = vec![T::zero(); weights.len() / outputs * padded(outputs)];
    let taps = weights.chunks_exact(inputs * outputs).rev();
    for (turned, tap) in turned.chunks_exact_mut(filled).zip(taps) {
        // Some outputs at a time, so that whole lines of the cache are read.
        for first in (0..outputs).step_by(16) {
            for (input, row) in tap.chunks_exact(outputs).enumerate() {
                for output in first..(first + 16).min(outputs) {
                    turned[output * inputs + input] = row[output];
                }
            }
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_gradient, random};
    use super::*;

    /// Shapes with channel counts below, at and beyond a lane block, tiles that do not divide, and whole-window kernels.
    const CASES: [[usize; 7]; 4] = [
        // n, y, x, in, rows, cols, out
        [2, 7, 6, 1, 3, 3, 5],
        [2, 6, 9, 4, 3, 2, 18],
        [3, 5, 5, 3, 5, 5, 7],
        [5, 1, 1, 6, 1, 1, 2],
    ];

    #[test]
    fn the_convolution_agrees_with_the_stock_one() {
        for [n, y, x, inputs, rows, cols, outputs] in CASES {
            let input = random(&[n, y, x, inputs], 1)
                .to_dtype(candle_core::DType::F32)
                .unwrap();
            let weights = random(&[rows, cols, inputs, outputs], 2)
                .to_dtype(candle_core::DType::F32)
                .unwrap();
            let bias = random(&[outputs], 3)
                .to_dtype(candle_core::DType::F32)
                .unwrap();
            let ours = convolve(&input, &weights, &bias, true).unwrap();
            let first = input.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
            let kernel = weights.permute((3, 2, 0, 1)).unwrap().contiguous().unwrap();
            let stock = first.conv2d(&kernel, 0, 1, 1, 1).unwrap();
            let stock = stock
                .broadcast_add(&bias.reshape((1, outputs, 1, 1)).unwrap())
                .unwrap();
            let stock = stock.relu().unwrap().permute((0, 2, 3, 1)).unwrap();
            let difference = (ours - stock)
                .unwrap()
                .abs()
                .unwrap()
                .flatten_all()
                .unwrap();
            let difference = difference.max(0).unwrap().to_scalar::<f32>().unwrap();
            // Sums of at most 75 terms of order 1 in another order: a few units of 6e-8 each.
            assert!(difference < 1e-5, "{difference}");
        }
    }

    #[test]
    fn the_gradient_of_the_convolution_is_the_finite_difference() {
        for [n, y, x, inputs, rows, cols, outputs] in CASES {
            let arguments = [
                random(&[n, y, x, inputs], 4),
                random(&[rows, cols, inputs, outputs], 5),
                random(&[outputs], 6),
            ];
            for rectify in [false, true] {
                assert_gradient(&arguments, |a| {
                    convolve(&a[0], &a[1], &a[2], rectify).unwrap()
                });
            }
        }
    }

    #[test]
    fn the_rectifier_passes_nothing_at_zero() {
        let zero = candle_core::Var::zeros(
            (1, 1, 1, 1),
            candle_core::DType::F64,
            &candle_core::Device::Cpu,
        )
        .unwrap();
        let one = Tensor::ones(
            (1, 1, 1, 1),
            candle_core::DType::F64,
            &candle_core::Device::Cpu,
        )
        .unwrap();
        let bias = Tensor::zeros(1, candle_core::DType::F64, &candle_core::Device::Cpu).unwrap();
        let result = convolve(zero.as_tensor(), &one, &bias, true).unwrap();
        let gradient = result.sum_all().unwrap().backward().unwrap();
        let gradient = gradient.get(zero.as_tensor()).unwrap().sum_all().unwrap();
        assert_eq!(gradient.to_scalar::<f64>().unwrap(), 0.0);
    }
}
