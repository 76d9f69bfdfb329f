//! The part of a simulation that the specimens of a study share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::acquisition::Acquisition;
use crate::crystal::Specimen;
use crate::crystal::phonons::Phonons;
use crate::multislice::{
    AnnularDetector, Detector, MultisliceSettings, ProbeSettings, ThermalSettings,
};
use crate::simulation::{GridSettings, ScanSettings, SimulationSettings};

/// The `[simulation]` section of an experiment: a simulation file without specimen, tilts and acquisition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulationTemplate {
    /// Thermal motion; left out, the lattice is at rest.
    pub phonons: Option<Phonons>,
    /// Thermal motion by the absorptive model, in place of phonons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thermal_diffuse: Option<ThermalSettings>,
    /// The grid of the wave function.
    pub grid: GridSettings,
    /// How the wave is propagated.
    pub multislice: MultisliceSettings,
    /// The electron probe.
    pub probe: ProbeSettings,
    /// Where the probe goes.
    pub scan: ScanSettings,
    /// The detector; the images of a study come from one.
    pub detector: AnnularDetector,
}

/// Name of a study's detector in its image files.
const DETECTOR: &str = "adf";

impl SimulationTemplate {
    /// The whole simulation of one specimen.
    #[must_use]
    pub fn with(
        &self,
        seed: u64,
        specimen: &Specimen,
        tilts_mrad: Vec<[f64; 2]>,
        acquisition: Option<Acquisition>,
    ) -> SimulationSettings {
        SimulationSettings {
            emulator: None,
            seed,
            tilts_mrad,
            specimen: Some(specimen.clone()),
            structure: None,
            tilt_field: None,
            phonons: self.phonons.clone(),
            thermal_diffuse: self.thermal_diffuse.clone(),
            grid: self.grid.clone(),
            multislice: self.multislice.clone(),
            probe: self.probe.clone(),
            scan: self.scan.clone(),
            detectors: BTreeMap::from([(
                DETECTOR.to_owned(),
                Detector::Annular(self.detector.clone()),
            )]),
            acquisition,
        }
    }
}
