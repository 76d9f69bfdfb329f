//! The inner loops of the convolution: two products that share one shape of register tile.
//!
//! With channels last, a patch of an image is `rows` contiguous runs of `cols · channels` numbers, so a convolution needs no
//! im2col copy: it is a matrix product whose left factor is read in place (the "direct convolution" of Zhang, Franchetti and
//! Low, ICML 2018). Output channels stand side by side in two registers, up to [`Registers::ROWS`] pixels or weights are worked
//! on at once, and every sum runs over its terms in one fixed order: results depend neither on how the work is cut nor on the
//! number of threads.

#![expect(
    clippy::needless_range_loop,
    clippy::manual_memcpy,
    reason = "tiles are reached by constant indices alone, which keeps them in registers"
)]

use std::borrow::Cow;
use std::ops::Deref;

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

use super::registers::{Kernel, Real, Registers};
use crate::multislice::Vectors;

/// Output channels are filled up with zeros to a multiple of this, the widest register.
const PADDED: usize = 16;
/// Bytes that a strip of rows may take, so that it stays in the nearest cache while all weights are gone through.
const STRIP: usize = 24 * 1024;

/// The numbers of a contiguous tensor.
///
/// # Errors
/// The tensor is strided or of another type.
pub(super) fn slice<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a tensor of shape {:?} is not contiguous", layout.dims());
    };
    Ok(&T::cpu_storage_as_slice(storage)?[start..end])
}

/// A tensor whose numbers are being read.
pub(super) struct Numbers<'a, Guard> {
    storage: Guard,
    layout: &'a Layout,
}

/// The numbers of `tensor`.
pub(super) fn numbers(tensor: &Tensor) -> Numbers<'_, impl Deref<Target = Storage>> {
    let (storage, layout) = tensor.storage_and_layout();
    Numbers { storage, layout }
}

impl<Guard: Deref<Target = Storage>> Numbers<'_, Guard> {
    /// All of them.
    ///
    /// # Errors
    /// The tensor is strided, of another type, or not in the memory of the processor.
    pub(super) fn slice<T: Real>(&self) -> Result<&[T]> {
        match &*self.storage {
            Storage::Cpu(storage) => slice(storage, self.layout),
            _ => bail!("a tensor that is not in the memory of the processor"),
        }
    }
}

/// Runs an expression with `$real` standing for the type of the numbers in `$storage`.
macro_rules! for_real {
    ($storage:expr, $real:ident => $work:expr) => {
        match candle_core::backend::BackendStorage::dtype($storage) {
            candle_core::DType::F32 => {
                type $real = f32;
                $work
            }
            candle_core::DType::F64 => {
                type $real = f64;
                $work
            }
            other => candle_core::bail!("numbers of type {other:?}: only f32 and f64"),
        }
    };
}
pub(super) use for_real;

/// Rows of numbers, one for each output channel, filled up with zeros to a whole number of registers.
pub(super) struct Columns<'a, T: Real> {
    values: Cow<'a, [T]>,
    /// Numbers in a row.
    stride: usize,
}

impl<'a, T: Real> Columns<'a, T> {
    /// Rows of `channels` numbers; nothing is copied where they already fill the registers.
    pub(super) fn new(values: &'a [T], channels: usize) -> Self {
        let stride = padded(channels);
        if stride == channels {
            let values = Cow::Borrowed(values);
            return Self { values, stride };
        }
        let mut filled = vec![T::zero(); values.len() / channels * stride];
        for (filled, row) in filled
            .chunks_exact_mut(stride)
            .zip(values.chunks_exact(channels))
        {
            filled[..channels].copy_from_slice(row);
        }
        let values = Cow::Owned(filled);
        Self { values, stride }
    }
}

/// Channels with those added that fill the registers.
pub(super) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(PADDED)
}

/// How a kernel slides over images `(n, height, width, channels)`, one pixel a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sliding {
    /// Images.
    pub count: usize,
    /// Rows of an image.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Numbers in a pixel.
    pub channels: usize,
    /// Rows of the kernel.
    pub rows: usize,
    /// Pixels in a row of the kernel.
    pub cols: usize,
    /// Rows of zeros that count as above and below each image, without being there.
    pub margin: usize,
}

impl Sliding {
    /// Rows and columns of the result.
    pub(super) fn result(&self) -> (usize, usize) {
        let height = self.height + 2 * self.margin + 1 - self.rows;
        (height, self.width + 1 - self.cols)
    }

    /// Numbers in an image.
    fn image(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Numbers of a patch that lie side by side.
    fn run(&self) -> usize {
        self.cols * self.channels
    }
}

/// `out[pixel][c] = bias[c] + Σ_k patch(pixel)[k] · weights[k][c]`, then max(0, ·) where `rectify`; out is channels last with
/// `outputs` channels. A bias of `None` is zero.
pub(super) struct Correlation<'a, T: Real> {
    pub sliding: Sliding,
    pub input: &'a [T],
    pub weights: &'a Columns<'a, T>,
    pub bias: Option<&'a Columns<'a, T>>,
    pub rectify: bool,
    pub outputs: usize,
    pub out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Correlation<'_, T> {
    #[inline(always)]
    fn run<S: Registers<T>>(mut self, simd: S) {
        let (height, width) = self.sliding.result();
        for line in 0..self.sliding.count * height {
            let row = Row::new(&self.sliding, line / height, line % height);
            let mut first = 0;
            while first < self.weights.stride {
                let two = first + 2 * S::LANES <= self.weights.stride;
                let place = line * width * self.outputs;
                let mut x = 0;
                while x < width {
                    let pixels = share(width - x, S::ROWS);
                    let at = (place + x * self.outputs, first);
                    let from = row.start + x * self.sliding.channels;
                    if two {
                        self.pixels::<S, 2>(simd, pixels, &row, from, at);
                    } else {
                        self.pixels::<S, 1>(simd, pixels, &row, from, at);
                    }
                    x += pixels;
                }
                first += if two { 2 } else { 1 } * S::LANES;
            }
        }
    }
}

/// Which rows of the kernel meet the image in a row of the result.
struct Row {
    /// Offset in the input of the first number of the first such row.
    start: usize,
    /// First of these rows of the kernel.
    first: usize,
    /// How many.
    count: usize,
}

impl Row {
    #[inline(always)]
    fn new(sliding: &Sliding, image: usize, y: usize) -> Self {
        let first = sliding.margin.saturating_sub(y);
        let last = (sliding.height + sliding.margin - y).min(sliding.rows);
        let line = image * sliding.height + y + first - sliding.margin;
        Self {
            start: line * sliding.width * sliding.channels,
            first,
            count: last - first,
        }
    }
}

/// The size of the next tile of `left` pixels, at most `most`, so that all come out about equal.
#[inline(always)]
fn share(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}

/// Calls a method with the size of the tile as a constant; sizes that the registers have no room for are not compiled.
macro_rules! with_rows {
    ($rows:expr, $most:expr, $M:ident => $call:expr) => {
        with_rows!(@ $rows, $most, $M => $call; 1 2 3 4 5 6 7 8 9 10 11 12)
    };
    (@ $rows:expr, $most:expr, $M:ident => $call:expr; $($count:literal)*) => {
        match $rows {
            $($count if $count <= $most => {
                const $M: usize = $count;
                $call
            })*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}

impl<T: Real> Correlation<'_, T> {
    /// A tile of `pixels` pixels whose patches start at `from`; the results go to `(offset of the first pixel, channel)`.
    #[inline(always)]
    fn pixels<S: Registers<T>, const N: usize>(
        &mut self,
        simd: S,
        pixels: usize,
        row: &Row,
        from: usize,
        at: (usize, usize),
    ) {
        with_rows!(pixels, S::ROWS, M => self.tile::<S, M, N>(simd, row, from, at));
    }

    #[inline(always)]
    fn tile<S: Registers<T>, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        row: &Row,
        from: usize,
        (place, first): (usize, usize),
    ) {
        let (sliding, stride) = (&self.sliding, self.weights.stride);
        let run = sliding.run();
        let mut sums = [[simd.splat(T::zero()); N]; M];
        if let Some(bias) = self.bias {
            let bias = S::lanes(&bias.values[first..first + N * S::LANES]);
            for i in 0..M {
                for n in 0..N {
                    sums[i][n] = bias[n];
                }
            }
        }
        for r in 0..row.count {
            let start = from + r * sliding.width * sliding.channels;
            let mut lines = [&self.input[..0]; M];
            for i in 0..M {
                let start = start + i * sliding.channels;
                lines[i] = &self.input[start..start + run];
            }
            let weights = (row.first + r) * run * stride;
            let weights = &self.weights.values[weights + first..weights + run * stride];
            sums = multiply::<T, S, M, N>(simd, lines, weights, stride, sums);
        }
        let rectify = self.rectify;
        if first + N * S::LANES <= self.outputs {
            for i in 0..M {
                let start = place + i * self.outputs + first;
                let out = S::lanes_mut(&mut self.out[start..start + N * S::LANES]);
                for n in 0..N {
                    let sum = sums[i][n];
                    out[n] = if rectify { simd.rectify(sum) } else { sum };
                }
            }
        } else if first < self.outputs {
            for i in 0..M {
                let mut numbers = [T::zero(); 2 * PADDED];
                let lanes = S::lanes_mut(&mut numbers[..N * S::LANES]);
                for n in 0..N {
                    let sum = sums[i][n];
                    lanes[n] = if rectify { simd.rectify(sum) } else { sum };
                }
                let start = place + i * self.outputs;
                let out = &mut self.out[start + first..start + self.outputs];
                out.copy_from_slice(&numbers[..self.outputs - first]);
            }
        }
    }
}

/// `sums[i] + Σ_k lines[i][k] · weights[k]`. Sums come and go by value and are only reached by constant indices: that keeps them in
/// registers.
#[inline(always)]
fn multiply<T: Real, S: Registers<T>, const M: usize, const N: usize>(
    simd: S,
    lines: [&[T]; M],
    weights: &[T],
    stride: usize,
    mut sums: [[S::Lane; N]; M],
) -> [[S::Lane; N]; M] {
    for k in 0..lines[0].len() {
        let weights = S::lanes(&weights[k * stride..][..N * S::LANES]);
        for i in 0..M {
            let value = simd.splat(lines[i][k]);
            for n in 0..N {
                sums[i][n] = simd.mul_add(value, weights[n], sums[i][n]);
            }
        }
    }
    sums
}

/// A gradient with the zeros around it that the gradient of a convolution's input asks for: `cols − 1` pixels left and right
/// of each row, and channels up to a whole number of registers. It is zero, too, where the rectified result is not above zero.
pub(super) struct Framed<T> {
    /// `(n, y, left + x + right, channels)`.
    pub values: Vec<T>,
    /// Pixels in a row.
    pub width: usize,
    /// Pixels left of the first one, and right of the last one.
    pub side: usize,
    /// Numbers in a pixel.
    pub channels: usize,
    /// Sum over all pixels, the gradient of the bias.
    pub sums: Vec<T>,
}

/// Makes [`Framed`] of a gradient of rows of `width` pixels; `result` is that of the layer, if it rectifies.
pub(super) struct Frame<'a, T> {
    pub gradient: &'a [T],
    pub result: Option<&'a [T]>,
    pub width: usize,
    pub outputs: usize,
    pub framed: &'a mut Framed<T>,
}

impl<'a, T: Real> Framed<T> {
    /// Of `lines` rows of `width` pixels and `outputs` channels, for a kernel of `cols` columns.
    pub(super) fn new(
        gradient: &'a [T],
        result: Option<&'a [T]>,
        (lines, width, outputs): (usize, usize, usize),
        cols: usize,
    ) -> Self {
        let (side, channels) = (cols - 1, padded(outputs));
        let wide = width + 2 * side;
        let mut framed = Self {
            values: vec![T::zero(); lines * wide * channels],
            width: wide,
            side,
            channels,
            sums: vec![T::zero(); outputs],
        };
        let frame = Frame {
            gradient,
            result,
            width,
            outputs,
            framed: &mut framed,
        };
        T::run(Vectors::of_processor(), frame);
        framed
    }
}

impl<T: Real> Kernel<T> for Frame<'_, T> {
    #[inline(always)]
    fn run<S: Registers<T>>(self, _: S) {
        let line = self.width * self.outputs;
        let mut of_line = vec![T::zero(); self.outputs];
        let wide = self.framed.width * self.framed.channels;
        for (y, out) in self.framed.values.chunks_exact_mut(wide).enumerate() {
            let out = &mut out[self.framed.side * self.framed.channels..];
            let gradient = &self.gradient[y * line..][..line];
            let result = self.result.map(|result| &result[y * line..][..line]);
            of_line.fill(T::zero());
            for x in 0..self.width {
                let out = &mut out[x * self.framed.channels..][..self.outputs];
                out.copy_from_slice(&gradient[x * self.outputs..][..self.outputs]);
                if let Some(result) = result {
                    let result = &result[x * self.outputs..][..self.outputs];
                    for (out, &result) in out.iter_mut().zip(result) {
                        *out = if result > T::zero() { *out } else { T::zero() };
                    }
                }
                for (sum, &value) in of_line.iter_mut().zip(&*out) {
                    *sum += value;
                }
            }
            for (sum, &value) in self.framed.sums.iter_mut().zip(&of_line) {
                *sum += value;
            }
        }
    }
}

/// `out[k][c] += Σ_pixel patch(pixel)[k] · gradient[pixel][c]`; out has the (filled up) channels of the gradient.
pub(super) struct WeightGradient<'a, T: Real> {
    pub sliding: Sliding,
    pub input: &'a [T],
    pub gradient: &'a Framed<T>,
    pub out: &'a mut [T],
}

impl<T: Real> Kernel<T> for WeightGradient<'_, T> {
    #[inline(always)]
    fn run<S: Registers<T>>(mut self, simd: S) {
        let (height, _) = self.sliding.result();
        let line = self.sliding.width * self.sliding.channels
            + self.gradient.width * self.gradient.channels;
        let lines = (STRIP / (line * size_of::<T>())).clamp(1, height);
        for image in 0..self.sliding.count {
            for y in (0..height).step_by(lines) {
                self.strip(simd, image, y..(y + lines).min(height));
            }
        }
    }
}

impl<T: Real> WeightGradient<'_, T> {
    /// Adds what the rows `lines` of the result of one image say, to all weights.
    #[inline(always)]
    fn strip<S: Registers<T>>(&mut self, simd: S, image: usize, lines: std::ops::Range<usize>) {
        let run = self.sliding.run();
        let mut first = 0;
        while first < self.gradient.channels {
            let two = first + 2 * S::LANES <= self.gradient.channels;
            for r in 0..self.sliding.rows {
                let mut k = 0;
                while k < run {
                    let weights = share(run - k, S::ROWS);
                    let at = (image, lines.clone());
                    if two {
                        self.weights::<S, 2>(simd, weights, at, (r, k, first));
                    } else {
                        self.weights::<S, 1>(simd, weights, at, (r, k, first));
                    }
                    k += weights;
                }
            }
            first += if two { 2 } else { 1 } * S::LANES;
        }
    }

    #[inline(always)]
    fn weights<S: Registers<T>, const N: usize>(
        &mut self,
        simd: S,
        weights: usize,
        at: (usize, std::ops::Range<usize>),
        which: (usize, usize, usize),
    ) {
        with_rows!(weights, S::ROWS, M => self.tile::<S, M, N>(simd, at, which));
    }

    /// `M` weights that follow each other in row `r` of the kernel from number `k` on, channels from `first` on.
    #[inline(always)]
    fn tile<S: Registers<T>, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        (image, lines): (usize, std::ops::Range<usize>),
        (r, k, first): (usize, usize, usize),
    ) {
        let (sliding, gradient) = (&self.sliding, self.gradient);
        let (height, width) = sliding.result();
        let out = (r * sliding.run() + k) * gradient.channels + first;
        let mut sums = [[simd.splat(T::zero()); N]; M];
        for i in 0..M {
            let out = out + i * gradient.channels;
            let before = S::lanes(&self.out[out..out + N * S::LANES]);
            for n in 0..N {
                sums[i][n] = before[n];
            }
        }
        for y in lines {
            let start = image * sliding.image() + (y + r) * sliding.width * sliding.channels + k;
            let end = start + (width - 1) * sliding.channels + M;
            let input = &self.input[start..end];
            let line = (image * height + y) * gradient.width + gradient.side;
            let of_line = &gradient.values[line * gradient.channels + first..];
            let strides = (sliding.channels, gradient.channels);
            sums = gather::<T, S, M, N>(simd, input, of_line, strides, width, sums);
        }
        for i in 0..M {
            let out = out + i * gradient.channels;
            let after = S::lanes_mut(&mut self.out[out..out + N * S::LANES]);
            for n in 0..N {
                after[n] = sums[i][n];
            }
        }
    }
}

/// `sums[i] + Σ_x input[x][i] · gradient[x]` over `width` pixels, `strides` numbers apart.
#[inline(always)]
fn gather<T: Real, S: Registers<T>, const M: usize, const N: usize>(
    simd: S,
    input: &[T],
    gradient: &[T],
    strides: (usize, usize),
    width: usize,
    mut sums: [[S::Lane; N]; M],
) -> [[S::Lane; N]; M] {
    for x in 0..width {
        let values = &input[x * strides.0..][..M];
        let of_pixel = S::lanes(&gradient[x * strides.1..][..N * S::LANES]);
        for i in 0..M {
            let value = simd.splat(values[i]);
            for n in 0..N {
                sums[i][n] = simd.mul_add(value, of_pixel[n], sums[i][n]);
            }
        }
    }
    sums
}
