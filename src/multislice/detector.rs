//! Annular detectors: the fraction of the incident beam scattered into inner ≤ α < outer.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::grid::Grid;
use crate::error::{Error, Result};
use crate::units::RAD_PER_MRAD;

/// An annular detector, centred on the beam: a `[detectors.NAME]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnularDetector {
    /// Inner angle, included [mrad].
    pub inner_mrad: f64,
    /// Outer angle, not included [mrad].
    pub outer_mrad: f64,
}

impl AnnularDetector {
    /// Whether the detector reaches into the soft edge of the band limit, where the grid and not the specimen decides what
    /// is scattered: worth a warning, since more pixels would change the numbers.
    #[must_use]
    pub fn touches_taper(&self, grid: &Grid, wavelength: f64) -> bool {
        self.outer_mrad * RAD_PER_MRAD > wavelength * grid.taper_start()
    }

    /// The highest outer angle that a grid carries [mrad].
    #[must_use]
    pub fn limit_mrad(grid: &Grid, wavelength: f64) -> f64 {
        wavelength * grid.band_limit() / RAD_PER_MRAD
    }

    /// Whether the angle `alpha` [rad] is on the detector.
    fn contains(&self, alpha: f64) -> bool {
        (self.inner_mrad * RAD_PER_MRAD..self.outer_mrad * RAD_PER_MRAD).contains(&alpha)
    }
}

/// Checks a detector (stub).
pub(super) struct DetectorPixels;

impl DetectorPixels {
    /// # Errors
    /// The inner angle is not below the outer one, or the outer one is beyond the band limit.
    pub(super) fn new(detector: &AnnularDetector, grid: &Grid, wavelength: f64) -> Result<Self> {
        let limit = AnnularDetector::limit_mrad(grid, wavelength);
        let (inner, outer) = (detector.inner_mrad, detector.outer_mrad);
        if !(0.0 <= inner && inner < outer && outer <= limit) {
            return Err(Error::unmeasurable(
                "annular detector",
                format!("{inner} to {outer} mrad"),
                format!("0 <= inner < outer <= {limit:.1} mrad, the band limit of this grid"),
            ));
        }
        Ok(Self)
    }
}

/// A detector of any kind.
pub type Detector = AnnularDetector;

/// The channels of detectors: runs of each channel in each column.
pub(super) struct Channels(Vec<Vec<Vec<Run>>>);

/// Neighbouring pixels of a column that count for a channel.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Indices of k_y.
    pub(super) range: Range<usize>,
    /// How much they count.
    pub(super) weight: Weight,
}

/// Weights of the pixels of a run.
#[derive(Debug, Clone)]
pub(super) enum Weight {
    /// All count fully.
    One,
    /// Each by itself, as many as the run is long.
    #[expect(dead_code, reason = "stub")]
    Each(Vec<f64>),
}

impl Channels {
    pub(super) fn new(
        detectors: &[Detector],
        grid: &Grid,
        offset: [f64; 2],
        wavelength: f64,
    ) -> Result<Self> {
        let ky = grid.ky();
        let mut all = Vec::new();
        for detector in detectors {
            DetectorPixels::new(detector, grid, wavelength)?;
            let column = |kx: f64| {
                let on =
                    |y: &f64| detector.contains(wavelength * (kx + offset[0]).hypot(y + offset[1]));
                let run = |range| Run {
                    range,
                    weight: Weight::One,
                };
                runs(ky.iter().map(on)).into_iter().map(run).collect()
            };
            all.push(grid.kx().into_iter().map(column).collect());
        }
        Ok(Self(all))
    }
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
    pub(super) fn runs(&self, channel: usize, column: usize) -> &[Run] {
        &self.0[channel][column]
    }
    pub(super) fn collect<T: super::fft::Real>(
        &self,
        column: usize,
        values: &[num_complex::Complex<T>],
        sums: &mut [f64],
    ) {
        for (channel, sum) in sums.iter_mut().enumerate() {
            let runs = self.runs(channel, column).iter();
            let seen = runs.flat_map(|run| &values[run.range.clone()]);
            *sum += seen.map(|v| super::fft::intensity(*v)).sum::<f64>();
        }
    }
}

/// The maximal ranges over which `on` is true.
fn runs(on: impl Iterator<Item = bool>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (index, _) in on.enumerate().filter(|(_, on)| *on) {
        match ranges.last_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => ranges.push(index..index + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_what_is_on() {
        assert_eq!(
            runs([true, true, false, true, false, false, true].into_iter()),
            [0..2, 3..4, 6..7]
        );
        assert!(runs([false; 3].into_iter()).is_empty());
    }

    #[test]
    fn a_detector_beyond_the_band_or_turned_inside_out_is_refused() {
        let grid = Grid::new((64, 64), [8.0, 8.0]).unwrap();
        let make = |inner_mrad, outer_mrad| {
            let detector = AnnularDetector {
                inner_mrad,
                outer_mrad,
            };
            DetectorPixels::new(&detector, &grid, 0.025)
                .map(|_| detector.touches_taper(&grid, 0.025))
        };
        // kc = (2/3)/(2 · 0.125) = 2.667 1/Å is 66.7 mrad; the taper begins at 2.587 1/Å, 64.7 mrad.
        assert!(!make(10.0, 64.0).unwrap());
        assert!(make(10.0, 66.0).unwrap());
        assert!(make(10.0, 70.0).unwrap_err().to_string().contains("66.7"));
        assert!(make(20.0, 10.0).is_err());
        assert!(make(-1.0, 10.0).is_err());
    }
}
