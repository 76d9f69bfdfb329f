//! Small image filters: averaging of pixels, Gaussian smoothing, local maxima.

use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis, s};
use pulp::Arch;

/// Half width of the Gaussian kernel in standard deviations; beyond it lies 6e-5 of the weight.
const KERNEL_REACH: f64 = 4.0;

/// A local maximum of an image, by parabolas through its neighbours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maximum {
    /// Fractional `[col, row]` [px].
    pub(super) pixel: [f64; 2],
    /// Value at the pixel.
    pub(super) value: f64,
}

/// Mean over blocks of `factor = [rows, cols]` pixels; an incomplete block at the end is dropped.
pub(super) fn bin(data: &Array2<f32>, factor: [usize; 2]) -> Array2<f32> {
    let (rows, cols) = data.dim();
    let scale = 1.0 / (factor[0] * factor[1]) as f32;
    Array2::from_shape_fn((rows / factor[0], cols / factor[1]), |(r, c)| {
        let (r, c) = (r * factor[0], c * factor[1]);
        data.slice(s![r..r + factor[0], c..c + factor[1]]).sum() * scale
    })
}

/// Gaussian smoothing with standard deviations `sigma = [y, x]` [px]; at borders the kernel is cut and normalized again.
pub(super) fn smooth(data: &Array2<f32>, sigma: [f64; 2]) -> Array2<f32> {
    let down = smooth_rows(data, sigma[0]);
    let across = smooth_rows(&transposed(down), sigma[1]);
    transposed(across)
}

/// Smoothing along the row index: each row becomes a weighted mean of the rows around it.
fn smooth_rows(data: &Array2<f32>, sigma: f64) -> Array2<f32> {
    let rows = data.nrows();
    let reach = (KERNEL_REACH * sigma).ceil() as usize;
    let kernel: Vec<f32> = (0..=reach)
        .map(|i| (-0.5 * (i as f64 / sigma.max(1e-9)).powi(2)).exp() as f32)
        .collect();
    let mut out = Array2::zeros(data.raw_dim());
    out.axis_iter_mut(Axis(0))
        .into_par_iter()
        .enumerate()
        .for_each(|(row, mut target)| {
            let sources = row.saturating_sub(reach)..(row + reach + 1).min(rows);
            let total: f32 = sources.clone().map(|r| kernel[r.abs_diff(row)]).sum();
            let Some(target) = target.as_slice_mut() else {
                return;
            };
            Arch::new().dispatch(|| {
                for source in sources {
                    let weight = kernel[source.abs_diff(row)] / total;
                    let values = data.row(source).to_slice().unwrap_or_default();
                    for (sum, value) in target.iter_mut().zip(values) {
                        *sum += weight * value;
                    }
                }
            });
        });
    out
}

/// Lowest value within `reach = [rows, cols]` pixels of each pixel along both axes.
pub(super) fn lowest(data: &Array2<f32>, reach: [usize; 2]) -> Array2<f32> {
    let down = lowest_in_columns(data, reach[0]);
    let across = lowest_in_columns(&transposed(down), reach[1]);
    transposed(across)
}

fn lowest_in_columns(data: &Array2<f32>, reach: usize) -> Array2<f32> {
    let rows = data.nrows();
    let mut out = data.clone();
    out.axis_iter_mut(Axis(0))
        .into_par_iter()
        .enumerate()
        .for_each(|(row, mut target)| {
            for source in row.saturating_sub(reach)..(row + reach + 1).min(rows) {
                target.zip_mut_with(&data.row(source), |low, value| *low = low.min(*value));
            }
        });
    out
}

fn transposed(data: Array2<f32>) -> Array2<f32> {
    data.reversed_axes().as_standard_layout().into_owned()
}

/// All maxima over their eight neighbours, in reading order; the outermost pixels are none.
pub(super) fn maxima(data: &Array2<f32>) -> Vec<Maximum> {
    let (rows, cols) = data.dim();
    let mut found = Vec::new();
    for r in 1..rows.saturating_sub(1) {
        for c in 1..cols.saturating_sub(1) {
            let value = data[(r, c)];
            // On a plateau the first pixel in reading order wins.
            let earlier = [(r - 1, c - 1), (r - 1, c), (r - 1, c + 1), (r, c - 1)];
            let later = [(r, c + 1), (r + 1, c - 1), (r + 1, c), (r + 1, c + 1)];
            if earlier.iter().all(|&p| value > data[p]) && later.iter().all(|&p| value >= data[p]) {
                let dx = vertex(data[(r, c - 1)], value, data[(r, c + 1)]);
                let dy = vertex(data[(r - 1, c)], value, data[(r + 1, c)]);
                found.push(Maximum {
                    pixel: [c as f64 + dx, r as f64 + dy],
                    value: f64::from(value),
                });
            }
        }
    }
    found
}

/// Where the parabola through values at −1, 0, 1 has its vertex, within half a step.
fn vertex(before: f32, at: f32, after: f32) -> f64 {
    let bend = f64::from(before) - 2.0 * f64::from(at) + f64::from(after);
    if bend >= 0.0 {
        return 0.0;
    }
    (0.5 * (f64::from(before) - f64::from(after)) / bend).clamp(-0.5, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_widens_a_gaussian_by_adding_variances() {
        let gaussian = |s: f64| {
            Array2::from_shape_fn((61, 41), |(r, c)| {
                let q = (r as f64 - 30.2).powi(2) + (c as f64 - 20.3).powi(2);
                ((-0.5 * q / (s * s)).exp() / (s * s)) as f32
            })
        };
        let wide = smooth(&gaussian(2.0), [1.5, 1.5]);
        let difference = (&wide - &gaussian(2.5)).mapv(f32::abs);
        // 6e-5 of the weight is cut, and the sum over pixels replaces an integral.
        assert!(difference.iter().all(|d| *d < 2e-4 * 0.16));
        let peaks = maxima(&wide);
        assert_eq!(peaks.len(), 1);
        let [x, y] = peaks[0].pixel;
        assert!(
            (x - 20.3).abs() < 0.02 && (y - 30.2).abs() < 0.02,
            "{x} {y}"
        );
    }

    #[test]
    fn binning_keeps_the_mean() {
        let data = Array2::from_shape_fn((7, 9), |(r, c)| (r * 10 + c) as f32);
        let binned = bin(&data, [2, 3]);
        assert_eq!(binned.dim(), (3, 3));
        assert_eq!(
            binned[(1, 2)],
            (26.0 + 27.0 + 28.0 + 36.0 + 37.0 + 38.0) / 6.0
        );
    }
}
