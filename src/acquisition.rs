//! What the microscope does to an ideal image: source size, scan distortion, dose.
//!
//! The order is that of the instrument. The finite source blurs the image; the scan visits displaced positions; each dwell counts
//! electrons, which are Poisson distributed. Intensities stay fractions of the incident beam: counts over electrons per pixel.
//!
//! An image of whole periods is blurred exactly: its Fourier coefficients times exp(−2π²σ²k²), as the source does to a periodic
//! image of limited bandwidth, also where σ is less than a pixel or more than a period. A mirrored image is convolved with
//! samples of the Gaussian.

use std::f64::consts::{PI, TAU};

use ndarray::{Array2, ArrayView1, Axis};
use rand_distr::{Distribution, Normal, Poisson};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::image::Image;
use crate::rng::stream;
use crate::settings::Source;
use crate::units::{FWHM_PER_SIGMA, PM_PER_ANGSTROM};

/// Half-width of the sampled blur kernel in standard deviations; the part cut off is 2e-9 of the whole.
const KERNEL_SIGMAS: f64 = 6.0;
/// Tail of the exact blur kernel that is rounding of its sum, 1.
const KERNEL_ROUNDING: f64 = 1e-15;

/// The `[acquisition]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acquisition {
    /// Full width at half maximum of the Gaussian source image [Å]; 0 is a point source.
    pub source_fwhm_angstrom: f64,
    /// Electrons per Å²; left out: no counting noise.
    pub dose_per_angstrom2: Option<f64>,
    /// Standard deviation of the x offset of each scan row [pm].
    #[serde(default)]
    pub row_jitter_pm: f64,
    /// Drift of the specimen over the whole frame `[x, y]` [Å]; it grows linearly in time, along rows and from row to row.
    #[serde(default)]
    pub drift_angstrom: [f64; 2],
}

/// What lies beyond the border of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// The image repeats: the scan covers whole periods of the specimen.
    Periodic,
    /// The image is mirrored at its border.
    Mirror,
}

impl Border {
    /// Index inside `0..n` for any integer index.
    fn wrap(self, index: i64, n: usize) -> usize {
        let n = n as i64;
        match self {
            Self::Periodic => index.rem_euclid(n) as usize,
            Self::Mirror => {
                let folded = index.rem_euclid(2 * n);
                folded.min(2 * n - 1 - folded) as usize
            }
        }
    }
}

impl Acquisition {
    /// Checks the numbers.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source) -> Result<()> {
        let at = |key: &str| format!("acquisition.{key}");
        source.in_range(
            &at("source_fwhm_angstrom"),
            self.source_fwhm_angstrom,
            0.0..=5.0,
            "Å",
            "",
        )?;
        if let Some(dose) = self.dose_per_angstrom2 {
            source.in_range(
                &at("dose_per_angstrom2"),
                dose,
                1e-3..=1e12,
                "electrons per Å²",
                "",
            )?;
        }
        source.in_range(
            &at("row_jitter_pm"),
            self.row_jitter_pm,
            0.0..=200.0,
            "pm",
            "picometres, not Å",
        )?;
        for component in self.drift_angstrom {
            source.in_range(
                &at("drift_angstrom"),
                component,
                -50.0..=50.0,
                "Å over the frame",
                "",
            )?;
        }
        Ok(())
    }

    /// An acquired image of an ideal one; `frame` numbers the image among those of one seed.
    ///
    /// # Errors
    /// An ideal intensity is negative or not finite, so that it cannot be counted.
    pub fn acquire(&self, ideal: &Image, border: Border, seed: u64, frame: u64) -> Result<Image> {
        let mut data = blur(ideal, self.source_fwhm_angstrom / FWHM_PER_SIGMA, border);
        if self.row_jitter_pm > 0.0 || self.drift_angstrom != [0.0; 2] {
            data = self.distort(&data, ideal.sampling, border, seed, frame)?;
        }
        if let Some(dose) = self.dose_per_angstrom2 {
            count(
                &mut data,
                dose * ideal.sampling[0] * ideal.sampling[1],
                seed,
                frame,
            )?;
        }
        Ok(Image {
            data: data.mapv(|x| x as f32),
            sampling: ideal.sampling,
        })
    }

    /// The image as visited by a scan with row jitter and drift.
    fn distort(
        &self,
        data: &Array2<f64>,
        sampling: [f64; 2],
        border: Border,
        seed: u64,
        frame: u64,
    ) -> Result<Array2<f64>> {
        let (rows, cols) = data.dim();
        let mut rng = stream(seed, "row jitter", frame);
        let jitter = Normal::new(0.0, self.row_jitter_pm / PM_PER_ANGSTROM)
            .map_err(Error::compute("row jitter"))?;
        let offsets: Vec<f64> = (0..rows).map(|_| jitter.sample(&mut rng)).collect();
        Ok(Array2::from_shape_fn((rows, cols), |(row, col)| {
            let time = (row * cols + col) as f64 / (rows * cols) as f64;
            let x = offsets[row] - self.drift_angstrom[0] * time;
            let y = -self.drift_angstrom[1] * time;
            cubic(
                data,
                row as f64 + y / sampling[0],
                col as f64 + x / sampling[1],
                border,
            )
            .max(0.0)
        }))
    }
}

/// The image convolved with a Gaussian of standard deviation `sigma` [Å], along rows and then along columns.
fn blur(image: &Image, sigma: f64, border: Border) -> Array2<f64> {
    let mut data = image.data.mapv(f64::from);
    if sigma <= 0.0 {
        return data;
    }
    let least = data.iter().fold(0.0, |least: f64, &value| least.min(value));
    for (axis, sampling) in image.sampling.into_iter().enumerate() {
        let kernel = match border {
            Border::Periodic => periodic_kernel(sigma / sampling, data.len_of(Axis(axis))),
            Border::Mirror => gaussian_kernel(sigma / sampling),
        };
        for mut lane in data.lanes_mut(Axis(axis)) {
            let blurred = convolve(lane.view(), &kernel, border);
            lane.iter_mut()
                .zip(blurred)
                .for_each(|(old, new)| *old = new);
        }
    }
    // Between pixels that are too coarse for the image, a band-limited one may swing below zero; intensities do not.
    data.mapv_inplace(|value| if value < least { least } else { value });
    data
}

/// The kernel whose Fourier transform over a period of `n` pixels is that of a Gaussian of `sigma` [px], at 0, 1, 2 … pixels:
/// K(j) = 1/n Σ_k exp(−2π²σ²k²/n²) cos(2πjk/n), k over −n/2 … n/2.
fn periodic_kernel(sigma: f64, n: usize) -> Vec<f64> {
    let period = n as f64;
    let transfer: Vec<f64> = (0..=n / 2)
        .map(|k| {
            let both = if k == 0 || 2 * k == n { 1.0 } else { 2.0 };
            both * (-2.0 * (PI * sigma * k as f64 / period).powi(2)).exp() / period
        })
        .collect();
    let at = |j: usize| {
        let terms = transfer.iter().enumerate();
        terms
            .map(|(k, t)| t * (TAU * (j * k % n) as f64 / period).cos())
            .sum::<f64>()
    };
    let mut kernel: Vec<f64> = (0..=n / 2).map(at).collect();
    if n.is_multiple_of(2) {
        // Half a period to the left and to the right is one pixel.
        kernel[n / 2] *= 0.5;
    }
    while kernel.len() > 1
        && kernel
            .last()
            .is_some_and(|tail| tail.abs() < KERNEL_ROUNDING)
    {
        kernel.pop();
    }
    kernel
}

/// Samples of a Gaussian at 0, 1, 2 … pixels, normalised over both sides.
fn gaussian_kernel(sigma: f64) -> Vec<f64> {
    let half = (KERNEL_SIGMAS * sigma).ceil() as usize;
    let kernel: Vec<f64> = (0..=half)
        .map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp())
        .collect();
    let sum = kernel[0] + 2.0 * kernel[1..].iter().sum::<f64>();
    kernel.into_iter().map(|k| k / sum).collect()
}

/// A lane convolved with a symmetric kernel, given from its middle outwards.
fn convolve(lane: ArrayView1<f64>, kernel: &[f64], border: Border) -> Vec<f64> {
    let (n, half) = (lane.len(), kernel.len() - 1);
    let padded: Vec<f64> = (-(half as i64)..(n + half) as i64)
        .map(|index| lane[border.wrap(index, n)])
        .collect();
    (half..n + half)
        .map(|i| {
            let tails =
                (1..=half).map(|offset| kernel[offset] * (padded[i - offset] + padded[i + offset]));
            kernel[0] * padded[i] + tails.sum::<f64>()
        })
        .collect()
}

/// Value between pixels by cubic convolution (Keys, IEEE Trans. ASSP 29, 1153 (1981), a = −½).
fn cubic(data: &Array2<f64>, row: f64, col: f64, border: Border) -> f64 {
    let (rows, cols) = data.dim();
    let weights = |t: f64| {
        [
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ]
    };
    let (r0, c0) = (row.floor(), col.floor());
    let (wr, wc) = (weights(row - r0), weights(col - c0));
    let mut value = 0.0;
    for (i, weight_row) in wr.iter().enumerate() {
        let r = border.wrap(r0 as i64 + i as i64 - 1, rows);
        for (j, weight_col) in wc.iter().enumerate() {
            value +=
                weight_row * weight_col * data[(r, border.wrap(c0 as i64 + j as i64 - 1, cols))];
        }
    }
    value
}

/// Replaces each intensity by the fraction counted among `electrons` per pixel.
fn count(data: &mut Array2<f64>, electrons: f64, seed: u64, frame: u64) -> Result<()> {
    let mut rng = stream(seed, "dose", frame);
    for (index, value) in data.indexed_iter_mut() {
        let mean = *value * electrons;
        if mean > 0.0 {
            let counts = Poisson::new(mean).map_err(|error| Error::Compute {
                doing: "counting electrons",
                message: format!("pixel {index:?} expects {mean} electrons: {error}"),
            })?;
            *value = counts.sample(&mut rng) / electrons;
        } else if mean.is_nan() || mean < 0.0 {
            let message = format!(
                "pixel {index:?} expects {mean} electrons; a count needs a finite mean of at least 0"
            );
            return Err(Error::Compute {
                doing: "counting electrons",
                message,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point_source() -> Acquisition {
        Acquisition {
            source_fwhm_angstrom: 0.0,
            dose_per_angstrom2: None,
            row_jitter_pm: 0.0,
            drift_angstrom: [0.0; 2],
        }
    }

    fn wave(k: usize) -> Image {
        let data = Array2::from_shape_fn((64, 64), |(_, col)| {
            1.0 + (std::f64::consts::TAU * (k * col) as f64 / 64.0).cos() as f32
        });
        Image {
            data,
            sampling: [0.25, 0.25],
        }
    }

    #[test]
    fn blur_damps_a_wave_as_its_fourier_transform_says() {
        let blurred = Acquisition {
            source_fwhm_angstrom: 1.1,
            ..point_source()
        };
        let image = blurred.acquire(&wave(5), Border::Periodic, 0, 0).unwrap();
        let k = 5.0 / (64.0 * 0.25);
        let sigma = 1.1 / FWHM_PER_SIGMA;
        let damping = (-2.0 * (std::f64::consts::PI * sigma * k).powi(2)).exp();
        assert!((f64::from(image.data[(10, 0)]) - 1.0 - damping).abs() < 1e-6);
        assert!(
            (image.data.mean().unwrap() - 1.0).abs() < 1e-6,
            "blur keeps the mean"
        );
    }

    /// One period of waves along both axes, `(frequency, amplitude)` in cycles per period.
    fn period(n: usize, waves: &[([usize; 2], f64)]) -> Image {
        let data = Array2::from_shape_fn((n, n), |(row, col)| {
            let value = |([fx, fy], amplitude): &([usize; 2], f64)| {
                amplitude * (TAU * (fx * col + fy * row) as f64 / n as f64).cos()
            };
            (1.0 + waves.iter().map(value).sum::<f64>()) as f32
        });
        Image {
            data,
            sampling: [3.9643 / n as f64; 2],
        }
    }

    #[test]
    fn blur_of_a_period_is_exact_for_any_source_and_sampling() {
        // A source from a third of a pixel to more than a cell, on one cell of 40, 15 and 8 pixels.
        for n in [40, 15, 8] {
            for fwhm in [0.1, 0.5, 0.8, 1.1, 4.5] {
                let waves = [([1, 0], 0.2), ([2, 3], 0.1), ([0, n / 2], 0.1)];
                let sigma = fwhm / FWHM_PER_SIGMA;
                let damped = waves.map(|(f, amplitude)| {
                    let k2 = (f[0] * f[0] + f[1] * f[1]) as f64 / 3.9643_f64.powi(2);
                    (f, amplitude * (-2.0 * PI * PI * sigma * sigma * k2).exp())
                });
                let source = Acquisition {
                    source_fwhm_angstrom: fwhm,
                    ..point_source()
                };
                let blurred = source
                    .acquire(&period(n, &waves), Border::Periodic, 0, 0)
                    .unwrap();
                let difference = &blurred.data - &period(n, &damped).data;
                let worst = difference.iter().fold(0.0_f32, |w, d| w.max(d.abs()));
                // Pixels are f32 near 1, twice rounded.
                assert!(worst < 2.5e-7, "{n} px, {fwhm} Å: {worst}");
            }
        }
    }

    #[test]
    fn blur_makes_no_negative_intensities() {
        let mut image = period(8, &[]);
        image.data.fill(0.0);
        image.data[(3, 4)] = 1.0;
        let source = Acquisition {
            source_fwhm_angstrom: 0.3,
            ..point_source()
        };
        let blurred = source.acquire(&image, Border::Periodic, 0, 0).unwrap();
        assert!(blurred.data.iter().all(|&value| value >= 0.0));
    }

    #[test]
    fn counts_have_the_poisson_mean_and_variance() {
        let dosed = Acquisition {
            dose_per_angstrom2: Some(400.0),
            ..point_source()
        };
        let flat = Image {
            data: Array2::from_elem((200, 200), 0.5),
            sampling: [0.2, 0.2],
        };
        let image = dosed.acquire(&flat, Border::Mirror, 3, 0).unwrap();
        let counts = image.data.mapv(|x| f64::from(x) * 16.0);
        let mean = counts.mean().unwrap();
        let variance = counts.var(1.0);
        // 40,000 pixels of mean 8: standard errors 0.014 and 0.058.
        assert!(
            (mean - 8.0).abs() < 0.06 && (variance - 8.0).abs() < 0.25,
            "{mean} {variance}"
        );
        assert_eq!(image, dosed.acquire(&flat, Border::Mirror, 3, 0).unwrap());
        assert_ne!(image, dosed.acquire(&flat, Border::Mirror, 3, 1).unwrap());
        assert_ne!(image, dosed.acquire(&flat, Border::Mirror, 4, 0).unwrap());
    }

    #[test]
    fn drift_moves_the_last_row_by_its_whole_length() {
        let drifting = Acquisition {
            drift_angstrom: [0.5, 0.0],
            ..point_source()
        };
        let image = drifting.acquire(&wave(3), Border::Periodic, 0, 0).unwrap();
        // 0.5 Å is two pixels: what was at column c is seen at c + 2 in the end.
        for col in 0..64_usize {
            let moved = wave(3).data[(0, (col + 62) % 64)];
            assert!((image.data[(63, col)] - moved).abs() < 0.02);
            assert!((image.data[(0, col)] - wave(3).data[(0, col)]).abs() < 0.01);
        }
    }

    #[test]
    fn row_jitter_moves_rows_by_its_standard_deviation() {
        let jittery = Acquisition {
            row_jitter_pm: 10.0,
            ..point_source()
        };
        let image = jittery.acquire(&wave(1), Border::Periodic, 9, 0).unwrap();
        // At the steepest place of the wave the change per Å is 2π/16 Å.
        let slope = std::f64::consts::TAU / 16.0;
        let shifts: Vec<f64> = (0..64)
            .map(|row| f64::from(image.data[(row, 48)] - 1.0) / slope)
            .collect();
        let rms = (shifts.iter().map(|s| s * s).sum::<f64>() / 64.0).sqrt();
        assert!((rms - 0.10).abs() < 0.03, "{rms}");
    }

    #[test]
    fn borders_wrap_and_mirror() {
        assert_eq!(
            [-1, 0, 4, 5].map(|i| Border::Periodic.wrap(i, 5)),
            [4, 0, 4, 0]
        );
        assert_eq!(
            [-2, -1, 0, 4, 5, 6].map(|i| Border::Mirror.wrap(i, 5)),
            [1, 0, 0, 4, 4, 3]
        );
    }
}
