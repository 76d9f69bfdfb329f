//! The thermal-diffuse model of one microscope: tables for its detectors, and what else its waves need to know.

use std::collections::BTreeMap;

use super::settings::{DiffuseDetector, ThermalSettings};
use super::tables::ThermalTables;
use crate::error::Result;
use crate::multislice::detector::Detector;
use crate::multislice::probe::ProbeSettings;
use crate::multislice::scattering::ScatteringTable;

/// Thermal motion by the absorptive model, for one beam and one set of detectors.
pub struct ThermalDiffuse {
    tables: ThermalTables,
    rms: BTreeMap<u8, f64>,
    /// Per channel of the detectors, which table it reads; none where opposite parts cancel.
    channels: Vec<Option<usize>>,
    count_elastic: bool,
}

impl ThermalDiffuse {
    /// Tables for the channels of `detectors`.
    ///
    /// # Errors
    /// An element that `table` lacks; a detector without width.
    pub fn new(
        settings: &ThermalSettings,
        table: ScatteringTable,
        probe: &ProbeSettings,
        detectors: &[Detector],
    ) -> Result<Self> {
        let mut angles = Vec::new();
        let mut channels = Vec::new();
        for part in detectors.iter().flat_map(Detector::diffuse) {
            channels.push(part.map(|part| {
                angles.push(part);
                angles.len() - 1
            }));
        }
        let rms = settings.rms_by_number();
        Ok(Self {
            tables: ThermalTables::new(&rms, table, probe.energy(), &angles)?,
            rms,
            channels,
            count_elastic: settings.count_elastic,
        })
    }

    /// The tables W(Q).
    #[must_use]
    pub fn tables(&self) -> &ThermalTables {
        &self.tables
    }

    /// Root mean square displacements along an axis by atomic number [Å], by which the potential is to be
    /// [damped](crate::multislice::Potential::damped).
    #[must_use]
    pub fn rms(&self) -> &BTreeMap<u8, f64> {
        &self.rms
    }

    /// Whether electrons scattered elastically into a detector count too.
    #[must_use]
    pub fn count_elastic(&self) -> bool {
        self.count_elastic
    }

    /// Per channel of the detectors, the number of its table; none where opposite parts of the detector cancel.
    pub(in crate::multislice) fn channels(&self) -> &[Option<usize>] {
        &self.channels
    }
}

impl Detector {
    /// For every channel, the angles over which it counts diffusely scattered electrons. These leave their places in all
    /// directions alike, k as often as −k, so that a centre of mass and a difference of opposite quadrants do not see them.
    fn diffuse(&self) -> Vec<Option<DiffuseDetector>> {
        let whole = |inner_mrad, outer_mrad| DiffuseDetector {
            inner_mrad,
            outer_mrad,
            sector: None,
        };
        match self {
            Self::Annular(annulus) => vec![Some(whole(annulus.inner_mrad, annulus.outer_mrad))],
            Self::Segmented(segments) => segments.parts().into_iter().map(Some).collect(),
            _ => vec![None; self.channel_count()],
        }
    }
}
