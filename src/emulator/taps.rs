//! Filters that read between samples: a sinc with a Kaiser window.
//!
//! An image at 30 mrad and 200 kV has nothing beyond 2.4 1/Å. On pixels of 0.2 Å the filter that shifts patches is off by 0.01 % rms
//! of the contrast of such an image; pictures, whose pixels are half as large, need fewer taps.

use std::sync::LazyLock;

/// Taps of the filter that shifts patches, and the parameter of its window.
pub(super) const TAPS: usize = 16;
const KAISER: f64 = 7.0;
/// The same for reading pictures.
pub(super) const PICTURE_TAPS: usize = 12;
const PICTURE_KAISER: f64 = 7.0;
/// Fractions of a sample for which taps are kept.
const FRACTIONS: usize = 2048;

/// Taps for shifting by any fraction of a sample, to a 2048th part.
#[derive(Debug, Clone)]
pub(super) struct Fractions(Vec<[f32; TAPS]>);

/// They are the same for every image.
static ALL: LazyLock<Fractions> = LazyLock::new(|| {
    let taps = |n: usize| kaiser(n as f64 / FRACTIONS as f64, KAISER);
    Fractions((0..=FRACTIONS).map(taps).collect())
});

impl Fractions {
    /// All of them, made once.
    #[must_use]
    pub(super) fn all() -> &'static Self {
        &ALL
    }

    /// Taps for the value at `fraction` (0 … 1) of a sample, from samples at 1 − [`TAPS`]/2 … [`TAPS`]/2.
    #[must_use]
    pub(super) fn at(&self, fraction: f64) -> &[f32; TAPS] {
        &self.0[(fraction.clamp(0.0, 1.0) * FRACTIONS as f64).round() as usize]
    }
}

/// Taps for the value of a picture at `fraction` (0 … 1) of a pixel, from pixels at 1 − [`PICTURE_TAPS`]/2 … [`PICTURE_TAPS`]/2.
#[must_use]
pub(super) fn picture_taps(fraction: f64) -> [f32; PICTURE_TAPS] {
    kaiser(fraction, PICTURE_KAISER)
}

/// Taps for the value at `fraction` (0 … 1), from samples at 1 − N/2 … N/2; their sum is one.
fn kaiser<const N: usize>(fraction: f64, parameter: f64) -> [f32; N] {
    let bessel = |x: f64| {
        let (mut sum, mut term) = (1.0, 1.0);
        for k in 1..40 {
            term *= (x / (2.0 * f64::from(k))).powi(2);
            sum += term;
        }
        sum
    };
    let half = N as f64 / 2.0;
    let raw: [f64; N] = std::array::from_fn(|t| {
        let x = t as f64 + 1.0 - half - fraction;
        let turn = std::f64::consts::PI * x;
        let sinc = if x.abs() < 1e-12 {
            1.0
        } else {
            turn.sin() / turn
        };
        let inside = (1.0 - (x / half).powi(2)).max(0.0);
        sinc * bessel(parameter * inside.sqrt()) / bessel(parameter)
    });
    let sum: f64 = raw.iter().sum();
    raw.map(|tap| (tap / sum) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wave of `frequency` per sample read between samples, against its formula.
    fn worst<const N: usize>(frequency: f64, taps: impl Fn(f64) -> [f32; N]) -> f64 {
        let wave = |x: f64| (std::f64::consts::TAU * frequency * x + 0.3).cos();
        let off = |fraction: f64| {
            let taps = taps(fraction);
            let sum: f64 = (0..N)
                .map(|t| f64::from(taps[t]) * wave(t as f64 + 1.0 - N as f64 / 2.0))
                .sum();
            (sum - wave(fraction)).abs()
        };
        (0..=64)
            .map(|n| off(f64::from(n) / 64.0))
            .fold(0.0, f64::max)
    }

    /// On pixels of 0.2 Å waves of up to 1.5 1/Å are read within 2e-4, one of 2 1/Å, of which images hold next to nothing, within 5 %.
    #[test]
    fn patches_are_shifted_as_waves_are() {
        let fractions = Fractions::all();
        for (frequency, tolerance) in [(0.0, 1e-6), (0.2, 2e-4), (0.3, 2e-4), (0.4, 5e-2)] {
            let worst = worst(frequency, |fraction| *fractions.at(fraction));
            assert!(worst < tolerance, "{frequency}: {worst}");
        }
    }

    /// The same for pictures on pixels of 0.1 Å, up to all that images hold.
    #[test]
    fn pictures_are_read_as_waves_are() {
        for (frequency, tolerance) in [(0.0, 1e-6), (0.1, 3e-4), (0.24, 4e-4)] {
            let worst = worst(frequency, picture_taps);
            assert!(worst < tolerance, "{frequency}: {worst}");
        }
    }
}
