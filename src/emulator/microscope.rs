//! What a response belongs to: the material and the microscope with which it was learnt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::multislice::{Detector, Precision, ProbeSettings, ScatteringTable, ThermalSettings};

/// The microscope, the thermal motion and the numerics of a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Microscope {
    /// Pixels of the wave along the edge of a cell.
    pub pixels_per_cell: usize,
    /// Slices along the edge of a cell.
    pub slices_per_cell: usize,
    /// How many times finer transmission functions are made.
    pub oversampling: usize,
    /// Precision of the waves.
    pub precision: Precision,
    /// Table of scattering factors.
    pub scattering_factors: ScatteringTable,
    /// The thermal motion, which is the material too: its elements are those that the response knows.
    pub thermal_diffuse: ThermalSettings,
    /// The electron probe.
    pub probe: ProbeSettings,
    /// The detectors by name.
    pub detectors: BTreeMap<String, Detector>,
}
