//! What every engine is asked: the probe, the detectors, where they are read, how thermal motion and focus are averaged.

use std::sync::Arc;

use super::detector::Detector;
use super::grid::Grid;
use super::probe::{Probe, ProbeSettings};
use super::settings::Precision;
use super::thermal::ThermalDiffuse;
use crate::error::{Error, Result};

/// The microscope around the specimen. Engines read the [channels](Detector::channel_count) of its detectors behind its exits.
#[derive(Clone)]
pub struct Optics {
    /// The probe.
    pub probe: ProbeSettings,
    /// The detectors.
    pub detectors: Vec<Detector>,
    /// Numbers of slices after which waves are detected, rising.
    pub exit_slices: Vec<usize>,
    /// Precision of the waves.
    pub precision: Precision,
    /// Thermal motion by the absorptive model; left out, the atoms stand where they are.
    pub thermal: Option<Arc<ThermalDiffuse>>,
}

impl Optics {
    /// Checks the exits against a specimen of `slices`.
    ///
    /// # Errors
    /// No exit, exits that do not rise, an exit outside the specimen.
    pub(super) fn check_exits(&self, slices: usize) -> Result<()> {
        let exits = &self.exit_slices;
        let rising = exits.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = exits.iter().all(|exit| (1..=slices).contains(exit));
        if rising && inside && !exits.is_empty() {
            return Ok(());
        }
        Err(Error::unmeasurable(
            "multislice",
            format!("exits after slices {exits:?}"),
            format!("rising numbers from 1 to {slices}, at least one"),
        ))
    }

    /// Number of channels of all detectors.
    pub(super) fn channel_count(&self) -> usize {
        self.detectors.iter().map(Detector::channel_count).sum()
    }

    /// Whether electrons scattered elastically into a detector count.
    pub(super) fn counts_elastic(&self) -> bool {
        self.thermal.as_ref().is_none_or(|t| t.count_elastic())
    }

    /// The probes of the focal series on a grid, with their weights; just one without focal spread.
    ///
    /// # Errors
    /// The aperture reaches beyond the band limit.
    pub(super) fn focal_probes(&self, grid: &Grid) -> Result<Vec<(f64, Probe)>> {
        let series = self.probe.focal_series().into_iter();
        series
            .map(|(weight, probe)| Ok((weight, Probe::new(&probe, grid)?)))
            .collect()
    }
}
