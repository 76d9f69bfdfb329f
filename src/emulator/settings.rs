//! What blocks a response is learnt from. These are numerics, and have defaults.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::settings::Source;

/// `[multislice.emulator.training]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSettings {
    /// Blocks to learn from.
    pub blocks: usize,
    /// Blocks that only tell which order is best.
    pub validation_blocks: usize,
    /// Cells along each side of a block: the field that a probe has for itself.
    pub cells: usize,
    /// Cells along each side of the field that images are corrected to.
    pub field_cells: usize,
    /// Depth of a block [cells].
    pub depth_cells: usize,
    /// Least depth that is learnt [cells].
    pub least_depth_cells: usize,
    /// Largest mistilt [mrad].
    pub tilt_mrad: f64,
    /// Largest mean in-plane polar field, of which a domain has √2.
    pub mean_amplitude: f64,
    /// Rms of the waves on top, per component.
    pub rms_amplitude: f64,
    /// Shortest of these waves [Å].
    pub shortest_wave_angstrom: f64,
    /// Standard deviation of the shift of every column by itself, per axis [Å].
    pub column_noise_angstrom: f64,
    /// Largest shift of the A and of the B sublattice as wholes, per axis [Å].
    pub rigid_shift_angstrom: f64,
    /// Largest part of the A sites that hold Sm; every other block holds some.
    pub samarium_fraction: f64,
    /// Images of columns that are kept, per kind, once they are fitted.
    pub modes: usize,
    /// Weight that holds higher terms back, relative to the data.
    pub ridge: f64,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            blocks: 52,
            validation_blocks: 4,
            cells: 4,
            field_cells: 8,
            depth_cells: 76,
            least_depth_cells: 9,
            tilt_mrad: 10.5,
            mean_amplitude: 1.4,
            rms_amplitude: 0.4,
            shortest_wave_angstrom: 11.0,
            column_noise_angstrom: 0.04,
            rigid_shift_angstrom: 0.1,
            samarium_fraction: 0.25,
            modes: 128,
            ridge: 3e-4,
        }
    }
}

impl TrainingSettings {
    /// Depths that are learnt [cells].
    #[must_use]
    pub fn depths(&self) -> Vec<usize> {
        (self.least_depth_cells..=self.depth_cells).collect()
    }

    /// Checks the numbers; `source` stands at this section.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source) -> Result<()> {
        let count =
            |key: &str, value: usize, allowed: std::ops::RangeInclusive<f64>, hint: &str| {
                source.in_range(key, value as f64, allowed, "", hint)
            };
        count(
            "blocks",
            self.blocks,
            2.0..=1000.0,
            "52 give what is certified",
        )?;
        count("validation_blocks", self.validation_blocks, 1.0..=100.0, "")?;
        count(
            "cells",
            self.cells,
            4.0..=32.0,
            "an even number: R3c repeats every 2 cells",
        )?;
        if self.cells % 2 == 1 {
            return Err(source.wrong(
                "cells",
                self.cells,
                "an even number: R3c repeats every 2 cells",
            ));
        }
        let block = self.cells as f64;
        count(
            "field_cells",
            self.field_cells,
            block..=64.0,
            "at least cells",
        )?;
        let least = self.least_depth_cells as f64;
        count(
            "least_depth_cells",
            self.least_depth_cells,
            1.0..=1000.0,
            "cells, not nm",
        )?;
        count(
            "depth_cells",
            self.depth_cells,
            least..=1000.0,
            "cells, not nm, at least least_depth_cells",
        )?;
        count("modes", self.modes, 4.0..=200.0, "")?;
        for (key, value, most) in [
            ("tilt_mrad", self.tilt_mrad, 50.0),
            ("mean_amplitude", self.mean_amplitude, 3.0),
            ("rms_amplitude", self.rms_amplitude, 3.0),
            ("column_noise_angstrom", self.column_noise_angstrom, 0.5),
            ("samarium_fraction", self.samarium_fraction, 1.0),
            ("rigid_shift_angstrom", self.rigid_shift_angstrom, 0.5),
            ("ridge", self.ridge, 1.0),
        ] {
            source.in_range(key, value, 0.0..=most, "", "")?;
        }
        let key = "shortest_wave_angstrom";
        source.in_range(
            key,
            self.shortest_wave_angstrom,
            4.0..=100.0,
            "Å",
            "Å, not nm",
        )
    }
}
