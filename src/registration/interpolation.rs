//! An image moved by a part of a pixel.
//!
//! Values between pixels are Σ f(n) h(t − n) along each axis with h(t) = sinc(t) sinc(t/a), Lanczos' kernel. With a = 6 it passes
//! waves longer than 4 px within 1e-3, where cubic interpolation damps them by up to 12 %; behind the border the image goes on
//! with its last pixel.

use std::f64::consts::PI;

use ndarray::Array2;

/// Half width a of the kernel [px].
const REACH: i64 = 6;

/// The pixels `area` = `[[first, end], [first, end]]` of rows and columns of what `image` shows `shift` = `[y, x]` [px] further.
#[must_use]
pub fn shifted(image: &Array2<f32>, shift: [f64; 2], area: [[usize; 2]; 2]) -> Array2<f64> {
    let (rows, cols) = image.dim();
    let [down, across] = shift.map(taps);
    let [height, width] = area.map(|[first, end]| end - first);
    // Rows first, for all columns; then columns.
    let mut between = Array2::<f64>::zeros((height, cols));
    for (row, mut target) in between.rows_mut().into_iter().enumerate() {
        for &(offset, weight) in &down {
            let source = ((area[0][0] + row) as i64 + offset).clamp(0, rows as i64 - 1);
            let source = image.row(source as usize);
            target.zip_mut_with(&source, |sum, &value| *sum += weight * f64::from(value));
        }
    }
    Array2::from_shape_fn((height, width), |(row, col)| {
        let place = (area[1][0] + col) as i64;
        across
            .iter()
            .map(|&(offset, weight)| {
                let source = (place + offset).clamp(0, cols as i64 - 1);
                weight * between[(row, source as usize)]
            })
            .sum()
    })
}

/// Offsets of the pixels around a place, and their weights; one for a whole number of pixels.
fn taps(shift: f64) -> Vec<(i64, f64)> {
    let base = shift.floor();
    let fraction = shift - base;
    if fraction == 0.0 {
        return vec![(base as i64, 1.0)];
    }
    let sinc = |t: f64| (PI * t).sin() / (PI * t);
    let weights: Vec<(i64, f64)> = (1 - REACH..=REACH)
        .map(|offset| {
            let t = offset as f64 - fraction;
            (base as i64 + offset, sinc(t) * sinc(t / REACH as f64))
        })
        .collect();
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    weights
        .into_iter()
        .map(|(offset, weight)| (offset, weight / total))
        .collect()
}
