//! How far a response can be trusted: its errors against the exact engine on textures that it has not seen, and the range in which
//! this was found out.

use serde::{Deserialize, Serialize};

/// One comparison: a texture, a tilt, a thickness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the texture.
    pub texture: String,
    /// Mistilt `[x, y]` [mrad].
    pub tilt_mrad: [f64; 2],
    /// Thickness [nm].
    pub thickness_nm: f64,
    /// Root mean square of the difference of the images, in per cent of the exact image's contrast (strongest less weakest pixel).
    pub rms_percent: f64,
    /// Largest difference of a pixel, in per cent of the contrast.
    pub worst_percent: f64,
    /// The same two with a source of [`Certificate::source_fwhm_angstrom`].
    pub blurred_rms_percent: f64,
    /// Largest difference with the source.
    pub blurred_worst_percent: f64,
    /// Root mean square difference of D as fitted, per axis, with the source [pm].
    pub displacement_pm: f64,
    /// Cells that were compared.
    pub cells: usize,
}

/// Where a response holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Largest local tilt [mrad].
    pub tilt_mrad: f64,
    /// Largest |D| [pm].
    pub displacement_pm: f64,
    /// Largest difference of displacements of neighbours of one sublattice [pm].
    pub gradient_pm: f64,
    /// Largest part of a column of A sites that is Sm, averaged over depth.
    pub samarium_fraction: f64,
    /// Largest deviation of a column from a straight line [pm].
    pub bend_pm: f64,
    /// Largest mean square that the atoms of an oxygen column are off its straight line along an axis [Å²]: it grows as the square
    /// of the polarization, and the response with its third power.
    #[serde(default = "default_roughness")]
    pub roughness_angstrom2: f64,
    /// Least distance of pixels [Å].
    pub step_angstrom: f64,
    /// Largest strain of the cell against the ideal one.
    pub strain: f64,
}

/// That of 1.8 times the displacements of BiFeO₃. Responses are learnt from blocks that seldom go beyond; at more than twice these
/// displacements drawn intensities of B columns came out below zero.
fn default_roughness() -> f64 {
    0.2
}

impl Default for Range {
    fn default() -> Self {
        Self {
            tilt_mrad: 10.0,
            displacement_pm: 60.0,
            gradient_pm: 60.0,
            samarium_fraction: 0.4,
            bend_pm: 1.0,
            roughness_angstrom2: default_roughness(),
            step_angstrom: 0.02,
            strain: 0.005,
        }
    }
}

/// What is known of the errors of a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Certificate {
    /// Comparisons with the exact engine.
    pub comparisons: Vec<Comparison>,
    /// Source of the blurred images [Å].
    pub source_fwhm_angstrom: f64,
    /// Where the response holds.
    pub range: Range,
}

impl Certificate {
    /// The largest errors of all comparisons: rms and worst pixel in per cent, D in pm.
    #[must_use]
    pub fn worst(&self) -> [f64; 3] {
        let largest =
            |of: fn(&Comparison) -> f64| self.comparisons.iter().map(of).fold(0.0, f64::max);
        [
            largest(|c| c.rms_percent),
            largest(|c| c.worst_percent),
            largest(|c| c.displacement_pm),
        ]
    }
}
