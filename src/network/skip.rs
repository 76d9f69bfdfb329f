//! The shortcut of a residual unit, `max(0, x + kept)`, as one operation of candle's graph, with its own gradient.
//!
//! Convolutions are not padded, so what went around them (He et al., CVPR 2016, eq. 1) is larger by what they took off: it is
//! cropped by the same number of pixels on each side. Cropping commutes with shifting the image, so dense maps stay exact.

use candle_core::{
    CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, WithDType, bail,
};

use super::kernel::{for_real, numbers, slice};
use super::registers::Real;

/// `max(0, input + kept)` of `(n, y, x, channel)`, `kept` being larger by the same number of pixels on each side.
///
/// # Errors
/// Shapes that do not fit, or a type other than f32 and f64.
pub(super) fn add_cropped(input: &Tensor, kept: &Tensor) -> Result<Tensor> {
    margin(input.dims(), kept.dims())?;
    input.apply_op2(kept, Shortcut)
}

/// Pixels by which `kept` is larger on each side.
fn margin(input: &[usize], kept: &[usize]) -> Result<usize> {
    let rows = kept[1].checked_sub(input[1]);
    let cols = kept[2].checked_sub(input[2]);
    match (rows, cols) {
        (Some(rows), Some(cols))
            if rows == cols && rows % 2 == 0 && input[0] == kept[0] && input[3] == kept[3] =>
        {
            Ok(rows / 2)
        }
        _ => bail!("a shortcut from {kept:?} to {input:?} does not fit"),
    }
}

/// For each row of the smaller images: offsets of its first number in the smaller and in the larger ones.
fn rows(small: &[usize], large: &[usize], margin: usize) -> impl Iterator<Item = (usize, usize)> {
    let (height, line) = (small[1], small[2] * small[3]);
    let (tall, wide, channels) = (large[1], large[2], large[3]);
    (0..small[0] * height).map(move |row| {
        let (image, y) = (row / height, row % height);
        let at = ((image * tall + y + margin) * wide + margin) * channels;
        (row * line, at)
    })
}

struct Shortcut;

impl CustomOp2 for Shortcut {
    fn name(&self) -> &'static str {
        "shortcut"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        layout: &Layout,
        kept: &CpuStorage,
        kept_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (small, large) = (layout.dims(), kept_layout.dims());
        let margin = margin(small, large)?;
        let line = small[2] * small[3];
        let out = for_real!(input, T => {
            let (input, kept) = (slice::<T>(input, layout)?, slice::<T>(kept, kept_layout)?);
            let mut out: Vec<T> = Vec::with_capacity(input.len());
            for (from, at) in rows(small, large, margin) {
                let pairs = input[from..from + line].iter().zip(&kept[at..at + line]);
                out.extend(pairs.map(|(&a, &b)| if a + b <= 0.0 { 0.0 } else { a + b }));
            }
            T::to_cpu_storage_owned(out)
        });
        Ok((out, layout.shape().clone()))
    }

    fn bwd(
        &self,
        _input: &Tensor,
        kept: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let passed = rectifier_gradient(result, gradient)?;
        let nothing = kept.zeros_like()?;
        let around = add_inside(&nothing, &passed)?;
        Ok((Some(passed), Some(around)))
    }
}

/// `gradient` where the rectified `result` is above zero, 0 elsewhere.
///
/// # Errors
/// A type other than f32 and f64.
pub(super) fn rectifier_gradient(result: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    match result.dtype() {
        DType::F32 => passed::<f32>(result, gradient),
        DType::F64 => passed::<f64>(result, gradient),
        other => bail!("numbers of type {other:?}: only f32 and f64"),
    }
}

fn passed<T: Real>(result: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let gradient = gradient.contiguous()?;
    let (result_numbers, of) = (numbers(result), numbers(&gradient));
    let pairs = result_numbers.slice::<T>()?.iter().zip(of.slice::<T>()?);
    let pass = |(&result, &gradient)| {
        if result > T::zero() {
            gradient
        } else {
            T::zero()
        }
    };
    Tensor::from_vec(pairs.map(pass).collect(), result.dims(), &Device::Cpu)
}

/// `outer` with `inner` added to its middle: the gradient of what a shortcut [`add_cropped`] kept.
///
/// # Errors
/// Shapes that do not fit, or a type other than f32 and f64.
pub(super) fn add_inside(outer: &Tensor, inner: &Tensor) -> Result<Tensor> {
    match outer.dtype() {
        DType::F32 => summed::<f32>(outer, inner),
        DType::F64 => summed::<f64>(outer, inner),
        other => bail!("numbers of type {other:?}: only f32 and f64"),
    }
}

fn summed<T: Real>(outer: &Tensor, inner: &Tensor) -> Result<Tensor> {
    let (small, large) = (inner.dims(), outer.dims());
    let margin = margin(small, large)?;
    let line = small[2] * small[3];
    let mut out = numbers(outer).slice::<T>()?.to_vec();
    let inner = numbers(inner);
    let inner = inner.slice::<T>()?;
    for (from, at) in rows(small, large, margin) {
        for (out, &value) in out[at..at + line].iter_mut().zip(&inner[from..from + line]) {
            *out += value;
        }
    }
    Tensor::from_vec(out, large, &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::super::check::{assert_gradient, random};
    use super::*;

    #[test]
    fn the_gradient_of_a_shortcut_is_the_finite_difference() {
        let arguments = [random(&[2, 3, 4, 3], 1), random(&[2, 7, 8, 3], 2)];
        assert_gradient(&arguments, |a| add_cropped(&a[0], &a[1]).unwrap());
    }
}
