//! Unpadded convolution with bias and ReLU as one operation of candle's graph, with its own gradient.
//!
//! candle's stock CPU convolution spends its time in im2col copies and its gradient in scalar loops; ReLU'(0) is 1 there.
//! Tensors inside the network are channels last, `(n, y, x, channel)`, weights `(y, x, in, out)`: [`super::kernel`] then
//! reads patches in place. The gradient of the input is the correlation of the zero-padded gradient with the weights
//! turned by 180° and input and output exchanged (Dumoulin and Visin, arXiv:1603.07285, section 4).

use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail,
};

use super::kernel::{Patches, Real, correlate, for_real, slice, to_lanes, weight_gradient};

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

/// Sizes of one convolution. A kernel as large as its input is a plain matrix product: one pixel, all numbers as channels.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    count: usize,
    height: usize,
    width: usize,
    inputs: usize,
    rows: usize,
    cols: usize,
    outputs: usize,
}

impl Sizes {
    /// From the shapes of the input `(n, y, x, in)` and of the weights `(y, x, in, out)`.
    fn new(input: &[usize], weights: &[usize]) -> Self {
        let whole = input[1..] == weights[..3];
        let (height, width, inputs, rows, cols) = if whole {
            (1, 1, input[1..].iter().product(), 1, 1)
        } else {
            (input[1], input[2], input[3], weights[0], weights[1])
        };
        Self {
            count: input[0],
            height,
            width,
            inputs,
            rows,
            cols,
            outputs: weights[3],
        }
    }

    fn patches(&self) -> Patches {
        let shape = (self.count, self.height, self.width, self.inputs);
        Patches::new(shape, (self.rows, self.cols))
    }
}

/// The forward operation.
struct Convolution {
    rectify: bool,
}

impl Convolution {
    fn run<T: Real>(&self, input: &[T], weights: &[T], bias: &[T], sizes: Sizes) -> CpuStorage {
        let patches = sizes.patches();
        let mut out = vec![T::zero(); patches.count() * sizes.outputs];
        let lanes = to_lanes(weights, sizes.outputs);
        correlate(input, &patches, &lanes, &mut out, sizes.outputs);
        for pixel in out.chunks_exact_mut(sizes.outputs) {
            for (value, &bias) in pixel.iter_mut().zip(bias) {
                let sum = *value + bias;
                let cut = self.rectify && sum <= T::zero();
                *value = if cut { T::zero() } else { sum };
            }
        }
        T::to_cpu_storage_owned(out)
    }
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
        let sizes = Sizes::new(shape, kernel);
        let out = for_real!(input, T => self.run::<T>(
            slice(input, input_layout)?,
            slice(weights, weights_layout)?,
            slice(bias, bias_layout)?,
            sizes,
        ));
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
        let gradients = convolution_gradient(
            input,
            weights,
            result,
            gradient,
            self.rectify,
            input.track_op(),
        )?;
        Ok((
            gradients.input,
            Some(gradients.weights),
            Some(gradients.bias.reshape(bias.dims())?),
        ))
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

/// Gradients of `convolve(input, weights, …, rectify) = result` from the `gradient` of the result; that of the input only
/// where `of_input`.
///
/// # Errors
/// A type other than f32 and f64.
pub(super) fn convolution_gradient(
    input: &Tensor,
    weights: &Tensor,
    result: &Tensor,
    gradient: &Tensor,
    rectify: bool,
    of_input: bool,
) -> Result<Gradients> {
    let mut gradient = gradient.contiguous()?;
    if rectify {
        gradient = gradient.apply_op2_no_bwd(result, &RectifierGradient)?;
    }
    let (rows, cols, inputs, outputs) = weights.dims4()?;
    let (kernel, length) = ((rows, cols, inputs), rows * cols * inputs);
    let both = input.apply_op2_no_bwd(&gradient, &WeightGradient { kernel })?;
    let operation = InputGradient {
        shape: input.dims4()?,
    };
    Ok(Gradients {
        input: of_input
            .then(|| gradient.apply_op2_no_bwd(weights, &operation))
            .transpose()?,
        weights: both.narrow(0, 0, length)?.reshape(weights.dims())?,
        bias: both.narrow(0, length, 1)?.reshape(outputs)?,
    })
}

/// `gradient` where the rectified `result` is above zero, 0 elsewhere.
struct RectifierGradient;

impl CustomOp2 for RectifierGradient {
    fn name(&self) -> &'static str {
        "gradient of the rectifier"
    }

    fn cpu_fwd(
        &self,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        result: &CpuStorage,
        result_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let out = for_real!(gradient, T => {
            let pairs = slice::<T>(gradient, gradient_layout)?.iter().zip(slice::<T>(result, result_layout)?);
            let kept = pairs.map(|(&gradient, &result)| if result > 0.0 { gradient } else { 0.0 });
            T::to_cpu_storage_owned(kept.collect())
        });
        Ok((out, gradient_layout.shape().clone()))
    }
}

/// Gradient of the input from the gradient `(n, y', x', out)` of the result and the weights.
struct InputGradient {
    /// Shape of the input `(n, y, x, in)`.
    shape: (usize, usize, usize, usize),
}

impl InputGradient {
    fn run<T: Real>(&self, gradient: &[T], weights: &[T], sizes: Sizes) -> CpuStorage {
        let (rows, cols) = (sizes.rows, sizes.cols);
        let (padded, shape) = pad(gradient, sizes);
        let patches = Patches::new(shape, (rows, cols));
        let turned = turn(weights, sizes);
        let mut out = vec![T::zero(); patches.count() * sizes.inputs];
        let lanes = to_lanes(&turned, sizes.inputs);
        correlate(&padded, &patches, &lanes, &mut out, sizes.inputs);
        T::to_cpu_storage_owned(out)
    }
}

/// The gradient with `rows − 1` and `cols − 1` zeros around each image, and its shape `(n, y, x, out)`.
fn pad<T: Real>(gradient: &[T], sizes: Sizes) -> (Vec<T>, (usize, usize, usize, usize)) {
    let (rows, cols, channels) = (sizes.rows - 1, sizes.cols - 1, sizes.outputs);
    let (height, width) = (sizes.height - rows, sizes.width - cols);
    let (tall, wide) = (height + 2 * rows, width + 2 * cols);
    let mut padded = vec![T::zero(); sizes.count * tall * wide * channels];
    for (line, values) in gradient.chunks_exact(width * channels).enumerate() {
        let (image, y) = (line / height, line % height);
        let start = ((image * tall + y + rows) * wide + cols) * channels;
        padded[start..start + values.len()].copy_from_slice(values);
    }
    (padded, (sizes.count, tall, wide, channels))
}

/// Weights `(y, x, in, out)` turned by 180° with input and output exchanged: `(y, x, out, in)`.
fn turn<T: Real>(weights: &[T], sizes: Sizes) -> Vec<T> {
    let plane = sizes.inputs * sizes.outputs;
    let mut turned = Vec::with_capacity(weights.len());
    for tap in weights.chunks_exact(plane).rev() {
        for output in 0..sizes.outputs {
            turned.extend((0..sizes.inputs).map(|input| tap[input * sizes.outputs + output]));
        }
    }
    turned
}

impl CustomOp2 for InputGradient {
    fn name(&self) -> &'static str {
        "gradient of the convolution's input"
    }

    fn cpu_fwd(
        &self,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (count, height, width, channels) = self.shape;
        let sizes = Sizes::new(&[count, height, width, channels], weights_layout.dims());
        let out = for_real!(gradient, T => self.run::<T>(
            slice(gradient, gradient_layout)?,
            slice(weights, weights_layout)?,
            sizes,
        ));
        Ok((out, self.shape.into()))
    }
}

/// Gradient of weights and bias: `(y · x · in + 1, out)`, the last row for the bias.
struct WeightGradient {
    /// `(y, x, in)` of the weights.
    kernel: (usize, usize, usize),
}

impl WeightGradient {
    fn run<T: Real>(&self, input: &[T], gradient: &[T], sizes: Sizes) -> CpuStorage {
        let patches = sizes.patches();
        let length = patches.length() * sizes.outputs;
        let mut out = vec![T::zero(); length + sizes.outputs];
        let (of_weights, of_bias) = out.split_at_mut(length);
        let lanes = to_lanes(gradient, sizes.outputs);
        weight_gradient(input, &patches, &lanes, of_weights, sizes.outputs);
        for pixel in gradient.chunks_exact(sizes.outputs) {
            for (sum, &value) in of_bias.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
        T::to_cpu_storage_owned(out)
    }
}

impl CustomOp2 for WeightGradient {
    fn name(&self) -> &'static str {
        "gradient of the convolution's weights"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, cols, inputs) = self.kernel;
        let outputs = gradient_layout.dims()[3];
        let sizes = Sizes::new(input_layout.dims(), &[rows, cols, inputs, outputs]);
        let out = for_real!(input, T => self.run::<T>(
            slice(input, input_layout)?,
            slice(gradient, gradient_layout)?,
            sizes,
        ));
        Ok((out, (rows * cols * inputs + 1, outputs).into()))
    }
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
