//! What is done to sub-images while a network trains, so that it learns from microscopes that are not those of the samples.
//!
//! In the order of the instrument: the source blurs, thickness and carbon change contrast and background, the scan displaces rows, counting
//! and the readout add noise. Every sample is disturbed by its own numbers, anew in every epoch; turns and mirrors come before ([`super`]).
//!
//! A sub-image is standardized: intensity I is (I − mean)/deviation of its image. With level = mean/deviation, a pixel of size p counts
//! n = c p² (v + level)/level electrons, where c electrons per Å² stand for the mean; Poisson noise then adds level²/(c p²) to the variance of
//! the image, and the readout its own. A blurred, noisy image is standardized by its own deviation, so a disturbed sub-image
//! is scaled by 1/√(1 + that), and a blurred one to the deviation that it had.
//!
//! Disturbances work on pixels of the network, and beyond the border of a sub-image its last pixel is repeated.

use std::ops::RangeInclusive;

use rand_distr::{Distribution, Poisson, StandardNormal};
use serde::{Deserialize, Serialize};

use super::resampling::Taps;
use crate::error::Result;
use crate::rng::{ChaCha8Rng, Rng};
use crate::settings::Source;
use crate::units::{FWHM_PER_SIGMA, PM_PER_ANGSTROM};

/// Half width of the kernel of the blur, in standard deviations: what is cut off is 6e-5 of the whole.
const KERNEL_SIGMAS: f64 = 4.0;

/// `[training.augmentation]`: from where to where each disturbance is drawn, evenly; a dose evenly in its logarithm. What is left out is
/// not done.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Electrons that are detected per Å² where the image has its mean: Poisson noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts_per_angstrom2: Option<[f64; 2]>,
    /// Standard deviation of Gaussian noise of a pixel, in units of the image's standard deviation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readout: Option<[f64; 2]>,
    /// Full width at half maximum of a further blur [Å].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blur_fwhm_angstrom: Option<[f64; 2]>,
    /// Factor of the contrast; 1 leaves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<[f64; 2]>,
    /// Background that is added, in units of the image's standard deviation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<[f64; 2]>,
    /// Slope of a background in any direction, in units of the image's standard deviation per Å.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slope_per_angstrom: Option<[f64; 2]>,
    /// Standard deviation of the offset of each row along x [pm].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_jitter_pm: Option<[f64; 2]>,
}

impl Augmentation {
    /// Whether nothing is done.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether noise needs the level of the image.
    #[must_use]
    pub fn counts_electrons(&self) -> bool {
        self.counts_per_angstrom2.is_some()
    }

    /// Checks the ranges; `source` stands at the section.
    ///
    /// # Errors
    /// Ends that do not rise, or lie outside of what is sensible.
    pub fn validate(&self, source: &Source) -> Result<()> {
        type Limits = RangeInclusive<f64>;
        let check = |key: &str, ends: Option<[f64; 2]>, limits: Limits, unit: &str| {
            let Some([least, most]) = ends else {
                return Ok(());
            };
            source.in_range(key, least, limits.clone(), unit, "the least")?;
            source.in_range(key, most, limits, unit, "the most")?;
            if least > most {
                return Err(source.wrong(key, format!("[{least}, {most}]"), "[least, most]"));
            }
            Ok(())
        };
        let counts = self.counts_per_angstrom2;
        check("counts_per_angstrom2", counts, 1e-3..=1e12, "1/Å²")?;
        check("readout", self.readout, 0.0..=100.0, "deviations")?;
        check(
            "blur_fwhm_angstrom",
            self.blur_fwhm_angstrom,
            0.0..=5.0,
            "Å",
        )?;
        check("contrast", self.contrast, 0.01..=100.0, "")?;
        check("background", self.background, -100.0..=100.0, "deviations")?;
        let slope = self.slope_per_angstrom;
        check("slope_per_angstrom", slope, 0.0..=100.0, "deviations per Å")?;
        check("row_jitter_pm", self.row_jitter_pm, 0.0..=200.0, "pm")
    }

    /// Disturbs the square sub-image `pixels` of pixel size `sampling` [Å] of an image of this `level`.
    pub(super) fn disturb(
        &self,
        pixels: &mut [f32],
        sampling: f64,
        level: Option<f32>,
        rng: &mut ChaCha8Rng,
    ) {
        let side = pixels.len().isqrt();
        if let Some(fwhm) = self.blur_fwhm_angstrom {
            let sigma = even(fwhm, rng) / FWHM_PER_SIGMA / sampling;
            blur(pixels, side, sigma);
        }
        if let Some(ends) = self.contrast {
            let factor = even(ends, rng) as f32;
            pixels.iter_mut().for_each(|v| *v *= factor);
        }
        if let Some(ends) = self.background {
            let background = even(ends, rng) as f32;
            pixels.iter_mut().for_each(|v| *v += background);
        }
        if let Some(ends) = self.slope_per_angstrom {
            incline(pixels, side, even(ends, rng) * sampling, rng);
        }
        if let Some(ends) = self.row_jitter_pm {
            let deviation = even(ends, rng) / PM_PER_ANGSTROM / sampling;
            jitter(pixels, side, deviation, rng);
        }
        let mut variance = 0.0;
        if let (Some(ends), Some(level)) = (self.counts_per_angstrom2, level) {
            let counts = even(ends.map(f64::ln), rng).exp() * sampling * sampling;
            variance += count(pixels, f64::from(level), counts, rng);
        }
        if let Some(ends) = self.readout {
            let deviation = even(ends, rng);
            for v in pixels.iter_mut() {
                let deviate: f64 = StandardNormal.sample(rng);
                *v += (deviation * deviate) as f32;
            }
            variance += deviation * deviation;
        }
        let scale = (1.0 / (1.0 + variance).sqrt()) as f32;
        pixels.iter_mut().for_each(|v| *v *= scale);
    }
}

/// Evenly between two ends.
fn even([a, b]: [f64; 2], rng: &mut ChaCha8Rng) -> f64 {
    a + (b - a) * rng.random::<f64>()
}

/// Convolves with a Gaussian of standard deviation `sigma` [px] and gives back the deviation that the sub-image had.
fn blur(pixels: &mut [f32], side: usize, sigma: f64) {
    let reach = (KERNEL_SIGMAS * sigma).floor() as i64;
    if reach < 1 {
        return;
    }
    let before = moments(pixels);
    let kernel: Vec<f64> = (-reach..=reach)
        .map(|i| (-(i as f64).powi(2) / (2.0 * sigma * sigma)).exp())
        .collect();
    let total: f64 = kernel.iter().sum();
    // Along rows, then, exchanged, along columns.
    for _ in 0..2 {
        let old = pixels.to_vec();
        for y in 0..side {
            for x in 0..side {
                let terms = (-reach..=reach).zip(&kernel).map(|(i, weight)| {
                    let at = (x as i64 + i).clamp(0, side as i64 - 1) as usize;
                    weight * f64::from(old[y * side + at])
                });
                pixels[x * side + y] = (terms.sum::<f64>() / total) as f32;
            }
        }
    }
    let after = moments(pixels);
    if after.1 > 0.0 {
        for v in pixels.iter_mut() {
            *v = (before.0 + (f64::from(*v) - after.0) * before.1 / after.1) as f32;
        }
    }
}

/// Mean and standard deviation.
fn moments(pixels: &[f32]) -> (f64, f64) {
    let count = pixels.len() as f64;
    let mean = pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let squares = pixels.iter().map(|&v| (f64::from(v) - mean).powi(2));
    (mean, (squares.sum::<f64>() / count).sqrt())
}

/// Adds a plane through zero in the middle that rises by `slope` a pixel, in any direction.
fn incline(pixels: &mut [f32], side: usize, slope: f64, rng: &mut ChaCha8Rng) {
    let (sin, cos) = (rng.random::<f64>() * std::f64::consts::TAU).sin_cos();
    let middle = (side as f64 - 1.0) / 2.0;
    for (i, v) in pixels.iter_mut().enumerate() {
        let (x, y) = ((i % side) as f64 - middle, (i / side) as f64 - middle);
        *v += (slope * (cos * x + sin * y)) as f32;
    }
}

/// Moves each row by its own normal deviate of standard deviation `deviation` [px].
fn jitter(pixels: &mut [f32], side: usize, deviation: f64, rng: &mut ChaCha8Rng) {
    for row in pixels.chunks_exact_mut(side) {
        let deviate: f64 = StandardNormal.sample(rng);
        let old = row.to_vec();
        let taps = Taps::row(deviation * deviate, 1.0, side, side);
        for (v, taps) in row.iter_mut().zip(taps) {
            *v = taps.of(&old);
        }
    }
}

/// Counts electrons, `counts` in a pixel where the image has its mean; returns the variance of the noise in an image of this level.
fn count(pixels: &mut [f32], level: f64, counts: f64, rng: &mut ChaCha8Rng) -> f64 {
    for v in pixels.iter_mut() {
        let expected = counts * (f64::from(*v) + level) / level;
        // Where a background was taken away, or a kernel overshot, nothing is counted.
        let counted = Poisson::new(expected).map_or(0.0, |law| law.sample(rng));
        *v = (counted * level / counts - level) as f32;
    }
    level * level / counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    const SIDE: usize = 64;

    fn flat(value: f32) -> Vec<f32> {
        vec![value; SIDE * SIDE]
    }

    /// Columns of a lattice, centred between pixels.
    fn lattice() -> Vec<f32> {
        let wave = |i: usize| (std::f64::consts::TAU * i as f64 / 16.0).cos();
        (0..SIDE * SIDE)
            .map(|i| (wave(i % SIDE) + wave(i / SIDE)) as f32)
            .collect()
    }

    #[test]
    fn counting_noise_has_the_variance_of_poisson() {
        let (level, sampling) = (2.0_f32, 0.25);
        let augmentation = Augmentation {
            counts_per_angstrom2: Some([800.0; 2]),
            ..Augmentation::default()
        };
        let mut at_mean = 0.0;
        for value in [-1.5_f32, 0.0, 1.0] {
            let mut pixels = flat(value);
            augmentation.disturb(
                &mut pixels,
                sampling,
                Some(level),
                &mut stream(1, "test", 0),
            );
            let (mean, deviation) = moments(&pixels);
            // 50 counts in a pixel of mean intensity; v is level·n/50 − level, n of mean and variance 50 (v + 2)/2.
            let noise: f64 = 4.0 / 50.0;
            let scale = 1.0 / (1.0 + noise).sqrt();
            let expected = noise * (f64::from(value) + 2.0) / 2.0;
            // 4096 numbers: the mean to √(variance/4096), the variance to 2.2 %; four times that.
            let slack = 4.0 * (expected / 4096.0).sqrt();
            assert!(
                (mean / scale - f64::from(value)).abs() < slack,
                "{value}: {mean}"
            );
            let variance = (deviation / scale).powi(2);
            assert!(
                (variance / expected - 1.0).abs() < 0.09,
                "{value}: {variance} {expected}"
            );
            at_mean = if value == 0.0 { variance } else { at_mean };
        }
        assert!(at_mean > 0.07);
    }

    #[test]
    fn readout_noise_has_its_variance_and_the_image_keeps_a_deviation_of_one() {
        let augmentation = Augmentation {
            readout: Some([0.5; 2]),
            ..Augmentation::default()
        };
        let mut pixels = lattice();
        augmentation.disturb(&mut pixels, 0.25, None, &mut stream(2, "test", 0));
        let (mean, deviation) = moments(&pixels);
        assert!(
            mean.abs() < 0.05 && (deviation - 1.0).abs() < 0.05,
            "{mean} {deviation}"
        );
        let mut noise = flat(0.0);
        augmentation.disturb(&mut noise, 0.25, None, &mut stream(2, "test", 1));
        let expected = (0.25_f64 / 1.25).sqrt();
        assert!((moments(&noise).1 / expected - 1.0).abs() < 0.05);
    }

    #[test]
    fn blur_broadens_by_its_variance_and_keeps_the_deviation() {
        let mut pixels = flat(0.0);
        pixels[SIDE * 32 + 32] = 1.0;
        let before = moments(&pixels);
        blur(&mut pixels, SIDE, 2.0);
        let after = moments(&pixels);
        assert!((before.0 - after.0).abs() < 1e-6 && (before.1 - after.1).abs() < 1e-6);
        let base = pixels[0];
        let weights: Vec<f64> = pixels.iter().map(|v| f64::from(v - base)).collect();
        let total: f64 = weights.iter().sum();
        let second = weights.iter().enumerate();
        let variance: f64 = second
            .map(|(i, w)| w * ((i % SIDE) as f64 - 32.0).powi(2))
            .sum::<f64>()
            / total;
        // A sampled Gaussian that is cut at 4 σ has 0.998 of the variance.
        assert!((variance - 4.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn contrast_background_and_slope_are_what_they_say() {
        let rng = &mut stream(3, "test", 0);
        let augmentation = Augmentation {
            contrast: Some([2.0; 2]),
            background: Some([-0.5; 2]),
            ..Augmentation::default()
        };
        let mut pixels = lattice();
        augmentation.disturb(&mut pixels, 0.25, None, rng);
        for (new, old) in pixels.iter().zip(lattice()) {
            assert!((new - (2.0 * old - 0.5)).abs() < 1e-6);
        }
        let slope = Augmentation {
            slope_per_angstrom: Some([0.4; 2]),
            ..Augmentation::default()
        };
        let mut pixels = flat(0.0);
        slope.disturb(&mut pixels, 0.25, None, rng);
        let (x, y) = (pixels[1] - pixels[0], pixels[SIDE] - pixels[0]);
        assert!((x.hypot(y) - 0.1).abs() < 1e-5 && moments(&pixels).0.abs() < 1e-5);
    }

    #[test]
    fn jitter_moves_rows_by_its_deviation() {
        // On a ramp an offset of a row is a difference of its values.
        let ramp: Vec<f32> = (0..SIDE * SIDE).map(|i| (i % SIDE) as f32).collect();
        let mut offsets = Vec::new();
        for index in 0..8 {
            let mut pixels = ramp.clone();
            jitter(&mut pixels, SIDE, 0.3, &mut stream(4, "test", index));
            offsets.extend(pixels.chunks_exact(SIDE).map(|row| row[32] - 32.0));
        }
        let (mean, deviation) = moments(&offsets);
        // 512 rows: the deviation to 3 %.
        assert!(
            mean.abs() < 0.06 && (deviation / 0.3 - 1.0).abs() < 0.12,
            "{mean} {deviation}"
        );
    }

    #[test]
    fn the_same_numbers_disturb_in_the_same_way() {
        let all = Augmentation {
            counts_per_angstrom2: Some([1e2, 1e5]),
            readout: Some([0.0, 0.2]),
            blur_fwhm_angstrom: Some([0.0, 1.0]),
            contrast: Some([0.8, 1.2]),
            background: Some([-0.2, 0.2]),
            slope_per_angstrom: Some([0.0, 0.02]),
            row_jitter_pm: Some([0.0, 10.0]),
        };
        let with = |index| {
            let mut pixels = lattice();
            all.disturb(&mut pixels, 0.25, Some(1.5), &mut stream(5, "test", index));
            pixels
        };
        assert_eq!(with(0), with(0));
        assert_ne!(with(0), with(1));
        assert!(with(0).iter().all(|v| v.is_finite()));
    }

    #[test]
    fn ranges_are_checked_by_name() {
        let source = Source::from_text(
            "train.toml",
            "[training.augmentation]\nreadout = [0.2, 0.1]\n",
        );
        let source = source.under("training.augmentation");
        let wrong = Augmentation {
            readout: Some([0.2, 0.1]),
            ..Augmentation::default()
        };
        let message = wrong.validate(&source).unwrap_err().to_string();
        assert_eq!(
            message,
            "train.toml:2: training.augmentation.readout: got [0.2, 0.1]; allowed: [least, most]"
        );
    }
}
