//! The shift between two images: the maximum of their cross-correlation.
//!
//! C(d) = Σ_r f(r + d) g(r) has the spectrum F(k) G*(k). Waves finer than a given length are left out, so that C is needed on a
//! coarse grid only; from its highest point Newton's method finds the maximum of the trigonometric polynomial itself, which no
//! interpolation displaces.

use std::f64::consts::{PI, TAU};

use ndarray::Array2;
use num_complex::Complex;

use super::RegistrationSettings;
use crate::multislice::ImageTransform;

/// Most steps of Newton's method; it doubles the digits with each.
const STEPS: usize = 20;
/// Step below which the maximum is found [px].
const FOUND: f64 = 1e-9;
/// Largest distance of the maximum from the highest point of the grid, in grid steps.
const REACH: f64 = 1.5;

/// Part of a window's edge over which it fades at either side.
const TAPER: f64 = 0.125;
/// Contrast that is rounding, in parts of the mean.
const ROUNDING: f64 = 1e-9;

/// The shift of an image against another one `[y, x]` [px]; none where they have nothing in common.
pub(super) type Pair = Option<[f64; 2]>;

/// Compares windows of one shape.
pub(super) struct Correlator {
    /// Shape of the windows `[rows, cols]`.
    pub(super) shape: [usize; 2],
    /// Frequencies that are kept along y and x [1/px].
    frequencies: [Vec<f64>; 2],
    fine: ImageTransform,
    coarse: ImageTransform,
    finest: f64,
}

impl Correlator {
    pub(super) fn new(shape: [usize; 2], settings: &RegistrationSettings) -> Self {
        // Frequencies below 1 / finest, and an even number of them.
        let kept = shape.map(|size| {
            let half = (size as f64 / settings.finest_px).ceil() as usize;
            (2 * half.max(1)).min(size)
        });
        let frequencies = [0, 1].map(|axis| {
            let (count, size) = (kept[axis], shape[axis] as f64);
            (0..count)
                .map(|index| signed(index, count) as f64 / size)
                .collect()
        });
        Self {
            shape,
            frequencies,
            fine: ImageTransform::new((shape[0], shape[1])),
            coarse: ImageTransform::new((kept[0], kept[1])),
            finest: settings.finest_px,
        }
    }

    /// The kept part of the spectrum of a window's contrast, which fades towards its border; zero where there is none.
    pub(super) fn spectrum(&self, window: &Array2<f64>) -> Array2<Complex<f64>> {
        let tapers = self.shape.map(taper);
        let weight = |(row, col): (usize, usize)| tapers[0][row] * tapers[1][col];
        let total: f64 = tapers
            .iter()
            .map(|taper| taper.iter().sum::<f64>())
            .product();
        let weighted: f64 = window
            .indexed_iter()
            .map(|(place, value)| weight(place) * value)
            .sum();
        let mean = weighted / total;
        // An even field differs from its mean by rounding alone.
        let flat = |value: f64| (value - mean).abs() <= ROUNDING * mean.abs();
        if window.iter().all(|&value| flat(value)) {
            let [rows, cols] = [0, 1].map(|axis| self.frequencies[axis].len());
            return Array2::zeros((rows, cols));
        }
        let contrast =
            Array2::from_shape_fn(window.dim(), |place| weight(place) * (window[place] - mean));
        let spectrum = self.fine.forward(&contrast);
        let [ky, kx] = &self.frequencies;
        Array2::from_shape_fn((ky.len(), kx.len()), |(row, col)| {
            let index = |i: usize, count: usize, size: usize| {
                signed(i, count).rem_euclid(size as i64) as usize
            };
            let place = (
                index(row, ky.len(), self.shape[0]),
                index(col, kx.len(), self.shape[1]),
            );
            // Fades to nothing at the finest wave.
            let fraction = (ky[row].hypot(kx[col]) * self.finest).min(1.0);
            spectrum[place] * (0.5 * PI * fraction).cos()
        })
    }

    /// Shift of the image with spectrum `moved` against that of `reference`.
    pub(super) fn shift(
        &self,
        moved: &Array2<Complex<f64>>,
        reference: &Array2<Complex<f64>>,
    ) -> Pair {
        let mut product = moved.clone();
        product.zip_mut_with(reference, |f, g| *f *= g.conj());
        let correlation = self.coarse.inverse(&product);
        let (place, highest) = correlation
            .indexed_iter()
            .max_by(|a, b| a.1.total_cmp(b.1))?;
        if !(highest.is_finite() && *highest > 0.0) {
            return None;
        }
        let (rows, cols) = correlation.dim();
        let step = [
            self.shape[0] as f64 / rows as f64,
            self.shape[1] as f64 / cols as f64,
        ];
        let start = [
            signed(place.0, rows) as f64 * step[0],
            signed(place.1, cols) as f64 * step[1],
        ];
        self.climb(&product, start, step)
    }

    /// The maximum next to `start` of the correlation with spectrum `product`.
    fn climb(&self, product: &Array2<Complex<f64>>, start: [f64; 2], step: [f64; 2]) -> Pair {
        let mut place = start;
        for _ in 0..STEPS {
            let ([gy, gx], [yy, yx, xx]) = self.derivatives(product, place);
            let determinant = yy * xx - yx * yx;
            // A maximum curves down in every direction.
            if !(determinant > 0.0 && yy < 0.0) {
                return None;
            }
            let change = [
                (yx * gx - xx * gy) / determinant,
                (yx * gy - yy * gx) / determinant,
            ];
            place = [place[0] + change[0], place[1] + change[1]];
            let near = |axis: usize| (place[axis] - start[axis]).abs() <= REACH * step[axis];
            if !(near(0) && near(1)) {
                return None;
            }
            if change[0].abs().max(change[1].abs()) < FOUND {
                break;
            }
        }
        Some(place)
    }

    /// Gradient `[y, x]` and second derivatives `[yy, yx, xx]` of the correlation at a place.
    fn derivatives(
        &self,
        product: &Array2<Complex<f64>>,
        [y, x]: [f64; 2],
    ) -> ([f64; 2], [f64; 3]) {
        let [ky, kx] = &self.frequencies;
        let turns: Vec<Complex<f64>> = kx.iter().map(|k| Complex::cis(TAU * k * x)).collect();
        let (mut gradient, mut curvature) = ([0.0; 2], [0.0; 3]);
        for (row, ky) in product.rows().into_iter().zip(ky) {
            let turn = Complex::cis(TAU * ky * y);
            // Moments of the row in kx: of order 0, 1 and 2.
            let mut moments = [Complex::new(0.0, 0.0); 3];
            for ((value, phase), kx) in row.iter().zip(&turns).zip(kx) {
                let wave = value * phase;
                moments[0] += wave;
                moments[1] += wave * *kx;
                moments[2] += wave * (kx * kx);
            }
            let [zero, one, two] = moments.map(|moment| moment * turn);
            gradient[0] -= ky * zero.im;
            gradient[1] -= one.im;
            curvature[0] -= TAU * ky * ky * zero.re;
            curvature[1] -= TAU * ky * one.re;
            curvature[2] -= TAU * two.re;
        }
        (gradient, curvature)
    }
}

/// Weights along an edge of `size` px: 1, and sin² at both ends.
fn taper(size: usize) -> Vec<f64> {
    let width = TAPER * size as f64;
    (0..size)
        .map(|i| {
            let border = (i as f64 + 0.5).min((size - i) as f64 - 0.5);
            (0.5 * PI * (border / width).min(1.0)).sin().powi(2)
        })
        .collect()
}

/// Index of a frequency with its sign: the second half of `count` is negative.
fn signed(index: usize, count: usize) -> i64 {
    if 2 * index < count {
        index as i64
    } else {
        index as i64 - count as i64
    }
}
