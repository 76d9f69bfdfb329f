//! Sites of a cell and what sits on them: one atom, one of several by chance, or nothing.
//!
//! A site that is full holds its atom. Atoms listed with an occupancy below 1 that lie closer together than two atoms can are
//! alternatives of one site: one of them is drawn, or a vacancy if the occupancies do not sum to 1. The draw comes from a counter
//! generator keyed on (seed, site, cell), so that it depends neither on the size of the box nor on the order of the work.

use std::path::Path;

use super::lattice::{Matrix, Vicinity, wrap};
use crate::crystal::element;
use crate::error::{Error, Result};
use crate::rng::{Rng, stream};

/// Occupancies are rounded in files: a third written as 0.333 three times, or 0.334.
const OCCUPANCY_TOLERANCE: f64 = 0.005;

/// An atom as a file lists it, symmetry applied.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Atom {
    /// Atomic number.
    pub(super) number: u8,
    /// Fractional position.
    pub(super) position: [f64; 3],
    /// Part of the cells in which it is there.
    pub(super) occupancy: f64,
    /// Mean square displacement along one axis [Å²], if the file gives it.
    pub(super) mean_square: Option<f64>,
    /// Line of the file.
    pub(super) line: usize,
}

/// What may sit on a site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Occupant {
    /// Atomic number.
    pub(super) number: u8,
    /// Fractional position.
    pub(super) position: [f64; 3],
    /// Probability.
    pub(super) occupancy: f64,
}

/// A site: its occupants exclude each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Site {
    /// Never empty.
    pub(super) occupants: Vec<Occupant>,
}

impl Site {
    /// Whether the site always holds the same atom.
    pub(super) fn is_full(&self) -> bool {
        matches!(self.occupants.as_slice(), [only] if only.occupancy >= 1.0)
    }

    /// What sits here in a cell, `index` being the site's.
    pub(super) fn draw(&self, seed: u64, index: usize, cell: [i64; 3]) -> Option<&Occupant> {
        if self.is_full() {
            return self.occupants.first();
        }
        // 22 bits for the site, 14 for each index of the cell.
        let counter = cell.iter().fold(index as u64, |counter, &i| {
            counter << 14 | (i.rem_euclid(1 << 14)) as u64
        });
        let mut left: f64 = stream(seed, "occupancy", counter).random();
        self.occupants.iter().find(|occupant| {
            left -= occupant.occupancy;
            left < 0.0
        })
    }
}

/// Gathers atoms into sites.
///
/// # Errors
/// An occupancy that is negative or sums to more than 1 on a site; atoms closer than `closest` [Å].
pub(super) fn sites(path: &Path, axes: &Matrix, atoms: &[Atom], closest: f64) -> Result<Vec<Site>> {
    for atom in atoms {
        let allowed = 0.0..=1.0 + OCCUPANCY_TOLERANCE;
        if !allowed.contains(&atom.occupancy) {
            let place = format!("line {}", atom.line);
            let got = format!("an occupancy of {}", atom.occupancy);
            return Err(Error::data(path, place, got, "0 to 1"));
        }
    }
    let mut sites: Vec<Site> = Vec::new();
    let mut lines: Vec<usize> = Vec::new();
    let mut leaders = Vicinity::new(axes, closest);
    for atom in atoms.iter().filter(|atom| atom.occupancy > 0.0) {
        let position = wrap(atom.position);
        let occupant = Occupant {
            number: atom.number,
            position,
            occupancy: atom.occupancy.min(1.0),
        };
        let Some((index, distance)) = leaders.nearest(position) else {
            leaders.push(position);
            sites.push(Site {
                occupants: vec![occupant],
            });
            lines.push(atom.line);
            continue;
        };
        let site = &mut sites[index];
        site.occupants.push(occupant);
        let total: f64 = site.occupants.iter().map(|o| o.occupancy).sum();
        if total > 1.0 + OCCUPANCY_TOLERANCE {
            return Err(crowded(
                path,
                site,
                total,
                distance,
                [lines[index], atom.line],
                closest,
            ));
        }
    }
    for site in &mut sites {
        normalise(site);
    }
    apart(path, axes, &sites, &lines, closest)?;
    Ok(sites)
}

/// A sum within the rounding of 1 becomes 1.
fn normalise(site: &mut Site) {
    let total: f64 = site.occupants.iter().map(|o| o.occupancy).sum();
    if (total - 1.0).abs() <= OCCUPANCY_TOLERANCE {
        site.occupants.iter_mut().for_each(|o| o.occupancy /= total);
    }
}

fn crowded(
    path: &Path,
    site: &Site,
    total: f64,
    distance: f64,
    [first, second]: [usize; 2],
    closest: f64,
) -> Error {
    let names: Vec<&str> = site
        .occupants
        .iter()
        .map(|o| element::symbol(o.number))
        .collect();
    let names = names.join(", ");
    let place = format!("lines {first} and {second}");
    if total > 1.0 && site.occupants.iter().all(|o| o.occupancy < 1.0) {
        let got = format!("occupancies of {names} that sum to {total:.3} on one site");
        return Error::data(path, place, got, "a sum of at most 1");
    }
    let got = format!("atoms on top of each other: {names}, {distance:.3} Å apart");
    let allowed = format!(
        "atoms at least {closest} Å apart (closest_angstrom): list no atom twice, not at 0 and again at the end of the cell"
    );
    Error::data(path, place, got, allowed)
}

/// Checks that no occupant is too close to one of another site: groups of alternatives must be compact.
fn apart(path: &Path, axes: &Matrix, sites: &[Site], lines: &[usize], closest: f64) -> Result<()> {
    let mut vicinity = Vicinity::new(axes, closest);
    let mut owners = Vec::new();
    for (index, site) in sites.iter().enumerate() {
        for occupant in &site.occupants {
            if let Some((other, distance)) = vicinity.nearest(occupant.position)
                && owners[other] != index
            {
                let pair = [lines[owners[other]], lines[index]];
                return Err(crowded(path, site, f64::NAN, distance, pair, closest));
            }
        }
        for occupant in &site.occupants {
            vicinity.push(occupant.position);
            owners.push(index);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Matrix = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]];

    fn atom(number: u8, x: f64, occupancy: f64, line: usize) -> Atom {
        Atom {
            number,
            position: [x, 0.0, 0.0],
            occupancy,
            mean_square: None,
            line,
        }
    }

    #[test]
    fn a_mixed_site_holds_each_species_as_often_as_stated() {
        let atoms = [
            atom(83, 0.0, 0.5, 1),
            atom(62, 0.999, 0.2, 2),
            atom(26, 0.5, 1.0, 3),
        ];
        let sites = sites(Path::new("f"), &AXES, &atoms, 0.7).unwrap();
        assert_eq!(sites.len(), 2);
        assert!(sites[1].is_full() && !sites[0].is_full());
        let mut counts: std::collections::BTreeMap<Option<u8>, f64> = Default::default();
        for i in 0..20_i64 {
            for j in 0..20 {
                for k in -10..10 {
                    let drawn = sites[0].draw(1, 0, [i, j, k]).map(|o| o.number);
                    *counts.entry(drawn).or_insert(0.0) += 1.0 / 8000.0;
                }
            }
        }
        // 8000 draws: standard deviation of a part of one half is 0.0056.
        for (number, part) in [(Some(83), 0.5), (Some(62), 0.2), (None, 0.3)] {
            assert!((counts[&number] - part).abs() < 0.02, "{counts:?}");
        }
    }

    #[test]
    fn crowding_is_refused_with_both_lines() {
        let check = |atoms: &[Atom]| {
            sites(Path::new("f"), &AXES, atoms, 0.7)
                .unwrap_err()
                .to_string()
        };
        let twice = check(&[atom(26, 0.0, 1.0, 4), atom(26, 1.0, 1.0, 9)]);
        assert!(
            twice.contains("lines 4 and 9: got atoms on top of each other: Fe, Fe, 0.000 Å"),
            "{twice}"
        );
        let sum = check(&[atom(26, 0.0, 0.7, 4), atom(83, 0.0, 0.4, 5)]);
        assert!(
            sum.contains("lines 4 and 5: got occupancies of Fe, Bi that sum to 1.100"),
            "{sum}"
        );
        let much = check(&[atom(26, 0.0, 1.5, 4)]);
        assert!(much.contains("line 4: got an occupancy of 1.5"), "{much}");
        let chain = check(&[
            atom(26, 0.0, 0.3, 1),
            atom(26, 0.15, 0.3, 2),
            atom(26, 0.3, 0.3, 3),
        ]);
        assert!(chain.contains("on top of each other"), "{chain}");
    }
}
