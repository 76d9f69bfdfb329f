//! The tilt reference: a region that is known to be non-polar, such as a substrate.
//!
//! A crystal that is tilted against the beam shows A and B apart as if it were polar, by the same vector everywhere
//! (docs/physics.md): from one image alone, a uniform tilt and a uniform D cannot be told apart. Where D must be zero, its mean
//! over the region is the tilt's part, and is subtracted everywhere. The subtraction adds one error, that of the mean, which
//! is common to all cells: it moves the zero of the whole map, and leaves differences between cells, and walls, as they are.

use serde::{Deserialize, Serialize};

use super::cells::{Cell, Weights, is_sound};
use super::covariance::Covariance;
use super::lattice::LocalLattice;
use crate::column::ColumnMap;
use crate::crystal::polarization::Point;
use crate::error::{Error, Result};

/// Fewest cells that make a reference.
const LEAST_CELLS: usize = 4;

/// Which region is non-polar; exactly one key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReferenceSettings {
    /// `[left, top, right, bottom]` [Å].
    pub rectangle_angstrom: Option<[f64; 4]>,
    /// `[left, top, right, bottom]` in parts (0 to 1) of the field that the columns span.
    pub rectangle_fraction: Option<[f64; 4]>,
    /// Cells whose local lattice vector `a`, the one nearest to x, is as long as this, `[least, most]` [Å].
    pub a_between_angstrom: Option<[f64; 2]>,
    /// Cells whose local lattice vector `b`, the one nearest to y, is as long as this, `[least, most]` [Å].
    pub b_between_angstrom: Option<[f64; 2]>,
}

/// The mean of D over the region that is declared non-polar.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Mean D, which was subtracted [pm].
    pub mean: [f64; 2],
    /// Its covariance, common to all cells [pm²].
    pub covariance: Covariance,
    /// Scatter of D within the region over the scatter that the columns' standard deviations predict, as a ratio of variances; where it is more
    /// than 1, `covariance` is enlarged by it. NaN where nothing is predicted.
    pub scatter: f64,
    /// Whether each cell of the map is part of the region.
    pub member: Vec<bool>,
}

impl Reference {
    /// Number of cells in the region.
    #[must_use]
    pub fn count(&self) -> usize {
        self.member.iter().filter(|m| **m).count()
    }
}

impl ReferenceSettings {
    /// Checks that one region is named, with its ends in order.
    ///
    /// # Errors
    /// None or several, or an end before its beginning.
    pub fn validate(&self) -> Result<()> {
        let rectangle = |r: &[f64; 4]| r[0] < r[2] && r[1] < r[3];
        let range = |r: &[f64; 2]| r[0] < r[1];
        let given = [
            (
                "rectangle_angstrom",
                self.rectangle_angstrom.as_ref().map(rectangle),
            ),
            (
                "rectangle_fraction",
                self.rectangle_fraction.as_ref().map(rectangle),
            ),
            (
                "a_between_angstrom",
                self.a_between_angstrom.as_ref().map(range),
            ),
            (
                "b_between_angstrom",
                self.b_between_angstrom.as_ref().map(range),
            ),
        ];
        let named: Vec<&(&str, Option<bool>)> = given.iter().filter(|g| g.1.is_some()).collect();
        let wrong = |key: &str, got: &str, allowed: &str| Error::Setting {
            place: format!("reference{key}"),
            got: got.to_owned(),
            allowed: allowed.to_owned(),
        };
        match named.as_slice() {
            [(_, Some(true))] => Ok(()),
            [(key, _)] => Err(wrong(
                &format!(".{key}"),
                "ends that are not in order",
                "left < right and top < bottom, or least < most",
            )),
            _ => Err(wrong(
                "",
                &format!("{} regions", named.len()),
                "exactly one of rectangle_angstrom, rectangle_fraction, a_between_angstrom, b_between_angstrom",
            )),
        }
    }

    /// In words, with the numbers.
    #[must_use]
    pub fn told(&self) -> String {
        if let Some(r) = self.rectangle_angstrom {
            format!("the rectangle {r:?} Å")
        } else if let Some(r) = self.rectangle_fraction {
            format!("the rectangle {r:?} in parts of the field")
        } else if let Some(r) = self.a_between_angstrom {
            format!("cells with a within {r:?} Å")
        } else {
            format!(
                "cells with b within {:?} Å",
                self.b_between_angstrom.unwrap_or_default()
            )
        }
    }

    fn contains(&self, cell: &Cell, local: &LocalLattice, [low, high]: [Point; 2]) -> bool {
        let inside = |[left, top, right, bottom]: [f64; 4], [x, y]: Point| {
            (left..=right).contains(&x) && (top..=bottom).contains(&y)
        };
        let within = |[least, most]: [f64; 2], length: f64| (least..=most).contains(&length);
        if let Some(rectangle) = self.rectangle_angstrom {
            inside(rectangle, cell.position)
        } else if let Some(rectangle) = self.rectangle_fraction {
            let part = |k: usize| (cell.position[k] - low[k]) / (high[k] - low[k]);
            inside(rectangle, [part(0), part(1)])
        } else if let Some(range) = self.a_between_angstrom {
            within(range, local.a_length.value)
        } else {
            self.b_between_angstrom
                .is_some_and(|range| within(range, local.b_length.value))
        }
    }

    /// Which cells are part of the region.
    pub(super) fn members(
        &self,
        map: &ColumnMap,
        cells: &[Cell],
        lattices: &[LocalLattice],
    ) -> Vec<bool> {
        let bound = |k: usize, pick: fn(f64, f64) -> f64, start: f64| {
            map.columns.iter().map(|c| c.position[k]).fold(start, pick)
        };
        let field = [
            [0, 1].map(|k| bound(k, f64::min, f64::INFINITY)),
            [0, 1].map(|k| bound(k, f64::max, f64::NEG_INFINITY)),
        ];
        let pairs = cells.iter().zip(lattices);
        pairs
            .map(|(cell, local)| is_sound(cell) && self.contains(cell, local, field))
            .collect()
    }
}

/// Takes the mean D of the member cells off all cells, and adds its covariance to their `total`.
///
/// # Errors
/// Fewer than four member cells.
pub(super) fn subtract(
    map: &ColumnMap,
    cells: &mut [Cell],
    member: Vec<bool>,
    region: &str,
) -> Result<Reference> {
    let chosen: Vec<&Cell> = (cells.iter().zip(&member))
        .filter(|(_, m)| **m)
        .map(|(cell, _)| cell)
        .collect();
    if chosen.len() < LEAST_CELLS {
        return Err(Error::unmeasurable(
            "tilt reference",
            format!("{} unflagged cells in {region}", chosen.len()),
            format!("at least {LEAST_CELLS}"),
        ));
    }
    let weights = Weights::mean(&chosen);
    let mean = weights.value();
    let (scatter, sample) = scatter(&chosen, mean);
    let counted = weights.covariance(map);
    let excess = scatter.max(1.0);
    let covariance = if counted.is_known() {
        counted.scaled(excess)
    } else {
        sample.scaled(1.0 / chosen.len() as f64)
    };
    for (cell, is_member) in cells.iter_mut().zip(&member) {
        cell.displacement = [0, 1].map(|k| cell.displacement[k] - mean[k]);
        let mut total = cell.covariance.plus(covariance);
        if counted.is_known() {
            // The region's own cells, and those that share an A column with it, are part of the mean.
            total = total.plus(weights.with(map, cell).scaled(-2.0));
        }
        // Where the scatter enlarges the error of the mean, no cell can be surer than that.
        let unsound = *is_member && !total.is_known() && cell.covariance.is_known();
        cell.total = if unsound { covariance } else { total };
    }
    Ok(Reference {
        mean,
        covariance,
        scatter,
        member,
    })
}

/// Mean of χ² about the mean over its expectation, and the sample covariance [pm²].
fn scatter(cells: &[&Cell], mean: [f64; 2]) -> (f64, Covariance) {
    let freedom = cells.len() as f64 - 1.0;
    let offsets = cells
        .iter()
        .map(|c| [0, 1].map(|k| c.displacement[k] - mean[k]));
    let sample = offsets.clone().fold(Covariance::default(), |sum, [x, y]| {
        sum.plus(Covariance {
            xx: x * x,
            xy: x * y,
            yy: y * y,
        })
    });
    let chi: Option<f64> = cells
        .iter()
        .zip(offsets)
        .map(|(cell, offset)| cell.covariance.chi_square(offset))
        .sum();
    (
        chi.map_or(f64::NAN, |chi| chi / (2.0 * freedom)),
        sample.scaled(1.0 / freedom),
    )
}
