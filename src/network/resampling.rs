//! Resampling by cubic convolution (Keys, IEEE Trans. ASSP 29, 1153 (1981), eq. 4 with a = −½), the kernel widened where the
//! new pixels are larger than the old ones, so that nothing is aliased.

use ndarray::{Array2, s};
use rayon::prelude::*;

/// Half width of the kernel, in pixels of the coarser grid.
const REACH: f64 = 2.0;

/// Keys' kernel at distance `t` [px].
fn cubic(t: f64) -> f64 {
    let t = t.abs();
    if t < 1.0 {
        (1.5 * t - 2.5) * t * t + 1.0
    } else if t < REACH {
        ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0
    } else {
        0.0
    }
}

/// The old pixels that a new one is made of, along one axis; beyond the border the last pixel is repeated.
#[derive(Debug, Clone)]
pub(super) struct Taps {
    terms: Vec<(usize, f32)>,
}

impl Taps {
    /// For a new pixel of size `step` centred on `position`, both in old pixels, on an axis of `length` old pixels.
    pub(super) fn new(position: f64, step: f64, length: usize) -> Self {
        let widening = step.max(1.0);
        let (from, to) = (position - REACH * widening, position + REACH * widening);
        let weights = (from.ceil() as i64..=to.floor() as i64).map(|i| {
            let pixel = i.clamp(0, length as i64 - 1) as usize;
            (pixel, cubic((i as f64 - position) / widening))
        });
        let weights: Vec<(usize, f64)> = weights.filter(|(_, weight)| *weight != 0.0).collect();
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        Self {
            terms: weights
                .into_iter()
                .map(|(i, weight)| (i, (weight / sum) as f32))
                .collect(),
        }
    }

    /// For `count` new pixels, the first centred on `first`, each `step` further; all in old pixels.
    pub(super) fn row(first: f64, step: f64, count: usize, length: usize) -> Vec<Self> {
        let position = |i| first + i as f64 * step;
        (0..count)
            .map(|i| Self::new(position(i), step, length))
            .collect()
    }
}

impl Taps {
    /// The new pixel that a row of old ones makes.
    pub(super) fn of(&self, row: &[f32]) -> f32 {
        self.terms.iter().map(|&(i, weight)| weight * row[i]).sum()
    }
}

/// New pixels `(rows.len(), cols.len())` of an image.
pub(super) fn apply(image: &Array2<f32>, rows: &[Taps], cols: &[Taps]) -> Array2<f32> {
    let touched = || {
        rows.iter()
            .flat_map(|taps| taps.terms.iter().map(|(i, _)| *i))
    };
    let (first, last) = (touched().min().unwrap_or(0), touched().max().unwrap_or(0));
    let band = image.slice(s![first..=last, ..]);
    let across = Array2::from_shape_fn((band.nrows(), cols.len()), |(y, x)| {
        cols[x]
            .terms
            .iter()
            .map(|&(i, weight)| weight * band[(y, i)])
            .sum::<f32>()
    });
    Array2::from_shape_fn((rows.len(), cols.len()), |(y, x)| {
        rows[y]
            .terms
            .iter()
            .map(|&(i, weight)| weight * across[(i - first, x)])
            .sum()
    })
}

/// A whole image with pixel size `old` `[y, x]` at the pixel size `new` [Å]; the first pixel stays where it is.
pub(super) fn resample(image: &Array2<f32>, old: [f64; 2], new: f64) -> Array2<f32> {
    let (height, width) = image.dim();
    let taps = |length: usize, old: f64| {
        // The last new pixel centre that is not beyond the last old one; 1e-9 forgives rounding.
        let count = ((length - 1) as f64 * old / new + 1e-9).floor() as usize + 1;
        Taps::row(0.0, new / old, count, length)
    };
    let (rows, cols) = (taps(height, old[0]), taps(width, old[1]));
    let bands: Vec<Array2<f32>> = rows
        .par_chunks(64)
        .map(|rows| apply(image, rows, &cols))
        .collect();
    let views: Vec<_> = bands.iter().map(|band| band.view()).collect();
    ndarray::concatenate(ndarray::Axis(0), &views).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_grid_gives_the_same_image() {
        let image = Array2::from_shape_fn((70, 9), |(y, x)| ((y * 31 + x * 17) % 13) as f32);
        assert_eq!(resample(&image, [0.2, 0.2], 0.2), image);
    }

    #[test]
    fn a_parabola_is_resampled_exactly_and_a_constant_whatever_the_ratio() {
        // Keys: the kernel reproduces polynomials of second degree, away from the border.
        let parabola = |y: f64, x: f64| 0.3 * y * y - 0.2 * x * y + x + 1.0;
        let image = Array2::from_shape_fn((20, 20), |(y, x)| parabola(y as f64, x as f64) as f32);
        let fine = resample(&image, [0.2, 0.2], 0.13);
        let at = |i: usize| i as f64 * 0.13 / 0.2;
        for (y, x) in [(10, 10), (7, 15), (18, 9)] {
            let (ours, expected) = (f64::from(fine[(y, x)]), parabola(at(y), at(x)));
            // f32 sums of values near 100.
            assert!((ours - expected).abs() < 1e-4, "{ours} {expected}");
        }
        for new in [0.05, 0.31, 0.9] {
            let flat = resample(&Array2::from_elem((20, 20), 3.0), [0.2, 0.2], new);
            assert!(flat.iter().all(|v| (v - 3.0).abs() < 1e-5));
        }
    }

    #[test]
    fn what_the_coarse_grid_cannot_carry_vanishes() {
        // A checkerboard at the finest period, on pixels 2.5 times as large, would alias to a moiré of full contrast.
        let image =
            Array2::from_shape_fn((60, 60), |(y, x)| if (x + y) % 2 == 0 { 1.0 } else { -1.0 });
        let coarse = resample(&image, [0.1, 0.1], 0.25);
        let inner = coarse.slice(s![4..20, 4..20]);
        assert!(inner.iter().all(|v| v.abs() < 0.02), "{inner:?}");
    }
}
