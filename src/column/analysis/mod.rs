//! What a map says: which D differ from zero, P, the local lattice, domains, their walls, and what a non-polar region tells of the tilt.
//!
//! All of it is computed from the columns and the standard deviations of their positions. Cells that share A columns correlate, and
//! every mean and every fit here counts that.

mod cells;
mod conversion;
mod covariance;
mod domains;
mod indexing;
mod lattice;
mod profile;
mod quantities;
mod reference;
mod settings;
mod significance;
mod tables;
#[cfg(test)]
mod tests;
mod walls;

pub use cells::Cell;
pub use conversion::{BornCharges, Conversion, PolarizationSettings};
pub use covariance::Covariance;
pub use domains::{Domain, DomainSettings, Domains};
pub use indexing::map_of_positions;
pub use lattice::{CAxis, Distance, LatticeSettings, LocalLattice, Measured};
pub use profile::{Profile, profile_flags};
pub use reference::{Reference, ReferenceSettings};
pub use settings::{AnalysisSettings, Convention};
pub use significance::{Significance, SignificanceSettings};
pub use tables::Table;
pub use walls::{WallSegment, WallSettings};

use super::ColumnMap;
use super::lattice::Lattice;
use super::map::mean_lattice;
use crate::crystal::polarization::PolarVector;
use crate::error::Result;
use cells::is_sound;
use rayon::prelude::*;

/// Deviation of the lattice from the nominal one at which the pixel size is in doubt; perovskites differ by less.
const CALIBRATION_IN_DOUBT: f64 = 0.06;

/// What a map says.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The settings that it was made with.
    pub settings: AnalysisSettings,
    /// One cell for each vector of the map, in its order.
    pub cells: Vec<Cell>,
    /// Whether D of each cell differs from zero.
    pub significance: Vec<Significance>,
    /// The lattice of each cell.
    pub lattices: Vec<LocalLattice>,
    /// The lattice that strain and rotation refer to.
    pub strain_reference: Lattice,
    /// A–A and B–B distances.
    pub distances: Vec<Distance>,
    /// Domains.
    pub domains: Domains,
    /// Walls between them, in segments.
    pub walls: Vec<WallSegment>,
    /// The non-polar region, if one is declared.
    pub reference: Option<Reference>,
    /// How P follows from D, if it is wanted.
    pub conversion: Option<Conversion>,
    /// The lattice contradicts the pixel size: what to say about it.
    pub calibration_warning: Option<String>,
}

impl Analysis {
    /// Analyses a map; `nominal` [Å] is the pitch that the pixel size is compared with.
    ///
    /// # Errors
    /// A setting is out of range, or the reference region holds fewer than four cells.
    pub fn new(map: &ColumnMap, settings: &AnalysisSettings, nominal: f64) -> Result<Self> {
        settings.validate()?;
        let mut cells = cells::cells(map, settings.convention);
        let lattices_against = |cells: &[Cell], frame: &Lattice| -> Vec<LocalLattice> {
            let c_axis = settings.lattice.c_axis;
            let of = |cell| lattice::local(map, cell, frame, c_axis);
            cells.par_iter().map(of).collect()
        };
        let mut strain_reference = map.lattice;
        let mut lattices = lattices_against(&cells, &strain_reference);
        let reference = match &settings.reference {
            Some(region) => {
                let member = region.members(map, &cells, &lattices);
                Some(reference::subtract(
                    map,
                    &mut cells,
                    member,
                    &region.told(),
                )?)
            }
            None => None,
        };
        let own = reference
            .as_ref()
            .and_then(|r| region_lattice(map, &cells, r));
        if let Some(own) = own.filter(|_| !settings.lattice.relative_to_whole) {
            strain_reference = own;
            lattices = lattices_against(&cells, &strain_reference);
        }
        let chi_squares: Vec<Option<f64>> = cells
            .iter()
            .map(|cell| {
                cell.total
                    .chi_square(cell.displacement)
                    .filter(|_| is_sound(cell))
            })
            .collect();
        let level = settings.significance.level;
        let domains = domains::segment(map, &cells, level, &settings.domains);
        let walls = walls::walls(map, &cells, &domains, &settings.walls);
        let polarization = settings.polarization.as_ref();
        Ok(Self {
            significance: significance::judge(&chi_squares, &settings.significance),
            distances: lattice::distances(map),
            conversion: polarization.map(|p| p.conversion()).transpose()?,
            calibration_warning: calibration_warning(map, nominal),
            settings: settings.clone(),
            cells,
            lattices,
            strain_reference,
            domains,
            walls,
            reference,
        })
    }

    /// D in the convention of the analysis, less the reference, with its whole standard deviation.
    #[must_use]
    pub fn vectors(&self) -> Vec<PolarVector> {
        let vector = |cell: &Cell| PolarVector {
            position: cell.position,
            displacement: cell.displacement,
            sigma: cell.total.sigma(),
            flags: cell.flags,
        };
        self.cells.iter().map(vector).collect()
    }

    /// κ for D in the convention of the analysis [µC/cm² per pm].
    #[must_use]
    pub fn kappa(&self) -> Option<f64> {
        let conversion = self.conversion.as_ref()?;
        Some(self.settings.convention.sign() * conversion.kappa_uc_per_cm2_per_pm)
    }

    /// Which way D points, and what was taken off it: for figures.
    #[must_use]
    pub fn convention(&self) -> String {
        let formula = self.settings.convention.formula();
        match self.reference {
            Some(_) => format!("{formula}, less its mean over the non-polar region"),
            None => formula.to_owned(),
        }
    }

    /// What is known about the zero of D.
    #[must_use]
    pub fn zero(&self) -> String {
        let Some(reference) = &self.reference else {
            return "no region is declared non-polar: a uniform tilt of the crystal and a uniform D look alike in one image and \
                    cannot be told apart, so a constant vector may have to be taken off every D. Differences between cells, and \
                    walls, do not depend on it"
                .to_owned();
        };
        let [x, y] = reference.mean;
        let [sx, sy] = reference.covariance.sigma();
        let region = self
            .settings
            .reference
            .as_ref()
            .map(ReferenceSettings::told);
        format!(
            "zero of D: the mean over {} cells of {}, ({x:+.3} ± {sx:.3}, {y:+.3} ± {sy:.3}) pm, is taken off; its error is \
             common to all cells and is part of their standard deviations. Scatter within the region over what is expected of noise: {:.2}",
            reference.count(),
            region.unwrap_or_default(),
            reference.scatter,
        )
    }
}

/// The mean lattice of a region's A columns.
fn region_lattice(map: &ColumnMap, cells: &[Cell], reference: &Reference) -> Option<Lattice> {
    let members = cells.iter().zip(&reference.member).filter(|(_, m)| **m);
    let mut corners: Vec<usize> = members.flat_map(|(cell, _)| cell.a).collect();
    corners.sort_unstable();
    corners.dedup();
    let columns: Vec<_> = corners.into_iter().map(|i| map.columns[i]).collect();
    mean_lattice(&columns)
}

/// What to say where the lattice contradicts the pixel size; `nominal` is the pitch of a perovskite [Å].
#[must_use]
pub fn calibration_warning(map: &ColumnMap, nominal: f64) -> Option<String> {
    let ratio = map.calibration_ratio;
    ((ratio - 1.0).abs() > CALIBRATION_IN_DOUBT).then(|| {
        format!(
            "the lattice is {:.1} % {} than a perovskite's {nominal} Å: is the pixel size right? Lengths, D and P scale with it; \
             1/{ratio:.4} of it would make the lattice {nominal} Å",
            100.0 * (ratio - 1.0).abs(),
            if ratio > 1.0 { "larger" } else { "smaller" },
        )
    })
}
