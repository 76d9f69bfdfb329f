//! The inner loops of the convolution: three products that share one register tile.
//!
//! With channels last, a patch of an image is `kernel_rows` contiguous runs of `kernel_cols · channels` numbers, so a
//! convolution needs no im2col copy: it is a matrix product whose left factor is read in place (the "direct convolution" of
//! Zhang, Franchetti and Low, ICML 2018). Sixteen output channels stand side by side in vector registers, [`TILE`] patches
//! or weights are worked on at once, and every sum runs over its terms in one fixed order: results do not depend on how the
//! work is cut, and AVX2 gives the same bits whatever the tile.

use candle_core::{CpuStorage, Layout, Result, WithDType, bail};

/// Output channels side by side in vector registers.
pub(super) const LANES: usize = 16;
/// Rows of the register tile: 6 × 16 sums fill 12 of the 16 AVX2 registers.
const TILE: usize = 6;

/// One value for each of sixteen output channels; channels beyond the last hold zero.
pub(super) type Lane<T> = [T; LANES];

/// The two precisions: f32 to work, f64 to check gradients.
pub(super) trait Real: WithDType {
    /// `self · b + c`, rounded once.
    fn fused(self, b: Self, c: Self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn fused(self, b: f32, c: f32) -> f32 {
        self.mul_add(b, c)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn fused(self, b: f64, c: f64) -> f64 {
        self.mul_add(b, c)
    }
}

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

/// Where the patches of an unpadded convolution with stride 1 lie in a channels-last batch `(n, y, x, channel)`.
#[derive(Debug, Clone)]
pub(super) struct Patches {
    /// Offset of the first number of each output pixel's patch, pixels in the order (n, y, x).
    starts: Vec<usize>,
    /// Offset from one row of a patch to the next.
    row_stride: usize,
    /// Numbers in one row of a patch: kernel columns times channels.
    row_length: usize,
    /// Rows of a patch.
    rows: usize,
}

impl Patches {
    /// Patches of `kernel = (rows, cols)` in a batch of shape `(n, y, x, channel)`.
    pub(super) fn new(shape: (usize, usize, usize, usize), kernel: (usize, usize)) -> Self {
        let (count, height, width, channels) = shape;
        let (out_height, out_width) = (height + 1 - kernel.0, width + 1 - kernel.1);
        let starts = (0..count * out_height * out_width)
            .map(|pixel| {
                let (line, x) = (pixel / out_width, pixel % out_width);
                let (image, y) = (line / out_height, line % out_height);
                ((image * height + y) * width + x) * channels
            })
            .collect();
        Self {
            starts,
            row_stride: width * channels,
            row_length: kernel.1 * channels,
            rows: kernel.0,
        }
    }

    /// Numbers in a patch.
    pub(super) fn length(&self) -> usize {
        self.rows * self.row_length
    }

    /// Number of patches, which is the number of output pixels.
    pub(super) fn count(&self) -> usize {
        self.starts.len()
    }
}

/// Cuts rows of `channels` numbers into blocks of [`LANES`], block after block, each over all rows.
pub(super) fn to_lanes<T: Real>(values: &[T], channels: usize) -> Vec<Lane<T>> {
    let mut lanes = Vec::with_capacity(values.len().div_ceil(channels) * channels.div_ceil(LANES));
    for first in (0..channels).step_by(LANES) {
        let width = LANES.min(channels - first);
        lanes.extend(values.chunks_exact(channels).map(|row| {
            let mut lane = [T::zero(); LANES];
            lane[..width].copy_from_slice(&row[first..first + width]);
            lane
        }));
    }
    lanes
}

/// `out[pixel][c] = Σ_k patch(pixel)[k] · weights[k][c]`, out channels-last with `channels` channels; `weights` is cut by
/// [`to_lanes`].
pub(super) fn correlate<T: Real>(
    input: &[T],
    patches: &Patches,
    weights: &[Lane<T>],
    out: &mut [T],
    channels: usize,
) {
    for (block, weights) in weights.chunks_exact(patches.length()).enumerate() {
        let first = block * LANES;
        let mut store = |pixel: usize, sums: &[Lane<T>]| store(out, channels, pixel, first, sums);
        for (pixel, wide) in tiles(patches.count()) {
            if wide {
                store(
                    pixel,
                    &patch_sums::<T, TILE>(input, patches, pixel, weights),
                );
            } else {
                store(pixel, &patch_sums::<T, 1>(input, patches, pixel, weights));
            }
        }
    }
}

/// `out[k][c] = Σ_pixel patch(pixel)[k] · gradient[pixel][c]`, `gradient` cut by [`to_lanes`], out `(patch length, channels)`.
pub(super) fn weight_gradient<T: Real>(
    input: &[T],
    patches: &Patches,
    gradient: &[Lane<T>],
    out: &mut [T],
    channels: usize,
) {
    for (block, gradient) in gradient.chunks_exact(patches.count()).enumerate() {
        let first = block * LANES;
        let mut store = |weight: usize, sums: &[Lane<T>]| store(out, channels, weight, first, sums);
        for row in 0..patches.rows {
            for (column, wide) in tiles(patches.row_length) {
                let (offset, weight) = (
                    row * patches.row_stride + column,
                    row * patches.row_length + column,
                );
                if wide {
                    store(
                        weight,
                        &weight_sums::<T, TILE>(input, patches, offset, gradient),
                    );
                } else {
                    store(
                        weight,
                        &weight_sums::<T, 1>(input, patches, offset, gradient),
                    );
                }
            }
        }
    }
}

/// Starts of the tiles over `0..length`, and whether they are [`TILE`] wide. The last tile is moved back to end at `length`
/// and writes some results a second time, with the same values; a length below one tile goes one by one.
fn tiles(length: usize) -> impl Iterator<Item = (usize, bool)> {
    let wide = length >= TILE;
    (0..length)
        .step_by(if wide { TILE } else { 1 })
        .map(move |start| {
            if wide {
                (start.min(length - TILE), true)
            } else {
                (start, false)
            }
        })
}

/// Writes the rows of a tile that starts at row `row` into channels `first…` of `out`.
fn store<T: Real>(out: &mut [T], channels: usize, row: usize, first: usize, sums: &[Lane<T>]) {
    let width = LANES.min(channels - first);
    for (out, sum) in out[row * channels..].chunks_exact_mut(channels).zip(sums) {
        out[first..first + width].copy_from_slice(&sum[..width]);
    }
}

/// Sums of `M` patches against sixteen output channels.
fn patch_sums<T: Real, const M: usize>(
    input: &[T],
    patches: &Patches,
    pixel: usize,
    weights: &[Lane<T>],
) -> [Lane<T>; M] {
    let mut sums = [[T::zero(); LANES]; M];
    for (row, weights) in weights.chunks_exact(patches.row_length).enumerate() {
        let lines: [&[T]; M] = std::array::from_fn(|i| {
            let start = patches.starts[pixel + i] + row * patches.row_stride;
            &input[start..start + weights.len()]
        });
        vectorized(PatchRow {
            lines,
            weights,
            sums: &mut sums,
        });
    }
    sums
}

/// One kernel row of `M` patches: `sums[i] += Σ_k lines[i][k] · weights[k]`.
struct PatchRow<'a, T, const M: usize> {
    lines: [&'a [T]; M],
    weights: &'a [Lane<T>],
    sums: &'a mut [Lane<T>; M],
}

impl<T: Real, const M: usize> Product for PatchRow<'_, T, M> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let mut sums = *self.sums;
        let lines = self.lines.map(|line| &line[..self.weights.len()]);
        for (k, weights) in self.weights.iter().enumerate() {
            for i in 0..M {
                accumulate::<T, FUSED>(&mut sums[i], lines[i][k], weights);
            }
        }
        *self.sums = sums;
    }
}

/// Sums over all pixels of `M` neighbouring patch numbers times the gradient of sixteen output channels.
fn weight_sums<T: Real, const M: usize>(
    input: &[T],
    patches: &Patches,
    offset: usize,
    gradient: &[Lane<T>],
) -> [Lane<T>; M] {
    let mut sums = [[T::zero(); LANES]; M];
    vectorized(WeightColumn {
        input: &input[offset..],
        starts: &patches.starts,
        gradient,
        sums: &mut sums,
    });
    sums
}

/// `M` neighbouring weights: `sums[i] += Σ_pixel input[start(pixel) + i] · gradient[pixel]`.
struct WeightColumn<'a, T, const M: usize> {
    input: &'a [T],
    starts: &'a [usize],
    gradient: &'a [Lane<T>],
    sums: &'a mut [Lane<T>; M],
}

impl<T: Real, const M: usize> Product for WeightColumn<'_, T, M> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let mut sums = *self.sums;
        for (&start, gradient) in self.starts.iter().zip(self.gradient) {
            let values = &self.input[start..start + M];
            for i in 0..M {
                accumulate::<T, FUSED>(&mut sums[i], values[i], gradient);
            }
        }
        *self.sums = sums;
    }
}

#[inline(always)]
fn accumulate<T: Real, const FUSED: bool>(sum: &mut Lane<T>, value: T, lane: &Lane<T>) {
    for l in 0..LANES {
        sum[l] = if FUSED {
            value.fused(lane[l], sum[l])
        } else {
            sum[l] + value * lane[l]
        };
    }
}

/// An inner loop that is compiled once for every processor and once for AVX2 with fused multiply-add.
trait Product {
    /// Runs it; where the hardware cannot fuse, `mul_add` is a slow library call, so `FUSED` says whether to.
    fn run<const FUSED: bool>(self);
}

#[cfg(target_arch = "x86_64")]
struct Vectorized<P>(P);

#[cfg(target_arch = "x86_64")]
impl<P: Product> pulp::NullaryFnOnce for Vectorized<P> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.0.run::<true>();
    }
}

/// Runs `product` with AVX2 and fused multiply-add where the processor has them.
#[inline(always)]
fn vectorized(product: impl Product) {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return simd.vectorize(Vectorized(product));
    }
    product.run::<{ cfg!(target_arch = "aarch64") }>();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, stream};

    #[test]
    fn the_product_is_the_same_with_and_without_vector_instructions() {
        let mut rng = stream(9, "kernel", 0);
        let mut numbers =
            |count| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (input, weights) = (numbers(TILE * 40), to_lanes(&numbers(40 * LANES), LANES));
        let lines: [&[f32]; TILE] = std::array::from_fn(|i| &input[i * 40..(i + 1) * 40]);
        let (mut fast, mut plain) = ([[0.0; LANES]; TILE], [[0.0; LANES]; TILE]);
        vectorized(PatchRow {
            lines,
            weights: &weights,
            sums: &mut fast,
        });
        PatchRow {
            lines,
            weights: &weights,
            sums: &mut plain,
        }
        .run::<false>();
        for (fast, plain) in fast.iter().flatten().zip(plain.iter().flatten()) {
            // 40 terms of at most 1, rounded once or twice each: some units of 6e-8.
            assert!((fast - plain).abs() < 1e-5, "{fast} {plain}");
        }
    }
}
