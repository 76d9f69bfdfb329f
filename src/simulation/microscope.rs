//! What a plan hands to the engines: the potentials of its atoms, probe and detectors, windows.

use std::ops::Range;
use std::sync::Arc;

use super::plan::Plan;
use crate::crystal::Structure;
use crate::error::Result;
use crate::multislice::{Detector, Optics, Potential, ScanArea, ThermalDiffuse, Windowed};

impl Plan {
    /// The projected potential of a phonon configuration, slice by slice.
    ///
    /// # Errors
    /// An element that the scattering table does not hold.
    pub fn potential(&self, configuration: usize) -> Result<Potential> {
        let Structure {
            positions,
            numbers,
            cell,
            ..
        } = &self.structure;
        let displaced;
        let positions = match &self.settings.phonons {
            None => positions,
            Some(phonons) => {
                displaced = phonons.displaced(
                    &self.structure,
                    self.settings.seed,
                    configuration,
                    self.snapshots.as_ref(),
                )?;
                &displaced
            }
        };
        let multislice = &self.settings.multislice;
        let (table, thickness) = (
            multislice.scattering_factors,
            multislice.slice_thickness_angstrom,
        );
        Potential::new(
            positions,
            numbers,
            *cell,
            self.grid.shape(),
            table,
            thickness,
        )?
        .oversampled(multislice.oversampling)
        .and_then(|potential| match &self.settings.thermal_diffuse {
            None => Ok(potential),
            Some(thermal) => potential.damped(&thermal.rms_by_number()),
        })
    }

    /// The microscope; detectors are in the order of their names.
    ///
    /// # Errors
    /// The scattering table lacks an element of the thermal-diffuse model.
    pub fn optics(&self) -> Result<Optics> {
        let detectors: Vec<Detector> = self.settings.detectors.values().cloned().collect();
        let (probe, table) = (
            &self.settings.probe,
            self.settings.multislice.scattering_factors,
        );
        let thermal = self.settings.thermal_diffuse.as_ref();
        let tables = thermal.map(|thermal| ThermalDiffuse::new(thermal, table, probe, &detectors));
        Ok(Optics {
            probe: probe.clone(),
            detectors,
            exit_slices: self.exit_slices.clone(),
            precision: self.settings.multislice.precision,
            thermal: tables.transpose()?.map(Arc::new),
        })
    }

    /// The windows of the method of this name, searched when they are first asked for.
    ///
    /// # Errors
    /// The window cannot reach its bound; as [`Plan::optics`] and [`Plan::potential`].
    pub fn windowed(&self) -> Result<Arc<Windowed>> {
        if let Some(found) = self.window.get() {
            return Ok(Arc::clone(found));
        }
        let settings = self.settings.multislice.windowed.clone();
        let found = Arc::new(Windowed::new(
            Arc::new(self.potential(0)?),
            &self.optics()?,
            &settings.unwrap_or_default(),
            &self.area(0..self.raster.points[1], 0..self.raster.points[0]),
        )?);
        Ok(Arc::clone(self.window.get_or_init(|| found)))
    }

    /// A rectangle of the raster, with all tilts that its probes may meet.
    #[must_use]
    pub fn area(&self, rows: Range<usize>, cols: Range<usize>) -> ScanArea {
        let width = self.raster.points[0];
        let corner = |row: usize, col: usize| self.raster.position(row * width + col);
        ScanArea {
            low: corner(rows.start, cols.start),
            high: corner(rows.end - 1, cols.end - 1),
            tilts_mrad: self.tilts_met(),
        }
    }

    /// Mistilts between which those of all probes lie; of the whole raster, so that all areas have the same windows.
    fn tilts_met(&self) -> Vec<[f64; 2]> {
        let tilts = &self.settings.tilts_mrad;
        let Some(field) = &self.tilt_field else {
            return tilts.clone();
        };
        let mut range = [[f64::INFINITY; 2], [f64::NEG_INFINITY; 2]];
        for local in (0..self.raster.len()).map(|index| field.at(self.raster.position(index))) {
            for axis in 0..2 {
                range[0][axis] = range[0][axis].min(local[axis]);
                range[1][axis] = range[1][axis].max(local[axis]);
            }
        }
        let sum = |tilt: &[f64; 2], local: [f64; 2]| [tilt[0] + local[0], tilt[1] + local[1]];
        let ends = |tilt| range.map(|local| sum(tilt, local));
        tilts.iter().flat_map(ends).collect()
    }
}
