//! Any other crystal, from a file: CIF, XYZ (plain or extended) or the XYZ of multislice programs.
//!
//! The crystal of the file is turned, or strained a little, into a box with right angles whose z axis is the beam (`cut`); the box is
//! repeated, sites that several species share are drawn atom by atom (`sites`), and the columns are found by projection
//! (`columns`). What was done is told in notes.

mod cif;
mod columns;
mod cut;
mod kirkland;
mod lattice;
mod sites;
mod star;
mod supercell;
mod symbol;
mod symmetry;
mod xyz;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use xyz::{Frame, frames, write_extended_xyz};

use self::lattice::Matrix;
use self::sites::Atom;
use super::element;
use super::structure::{Structure, Truth};
use crate::error::{Error, Result};
use crate::settings::Source;

/// The `[structure]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StructureFile {
    /// The file, beside the settings file or from the working folder.
    pub path: PathBuf,
    /// Its format; told by the name and the content if not given.
    pub format: Option<Format>,
    /// CIF: name of the data block; the first with atoms if not given.
    pub block: Option<String>,
    /// CIF: Hermann–Mauguin symbol in place of what the file says, with the setting behind a colon: `"F d -3 m :2"`.
    pub space_group: Option<String>,
    /// XYZ: edges of the box, in place of what the file says [Å].
    pub cell_angstrom: Option<[f64; 3]>,
    /// Edges x, y, z (beam) of the box in units of the file's axes; the file's own axes if neither this nor `beam` is given.
    /// Fractions, such as `1.3333`, are allowed where the crystal has the translation.
    pub supercell: Option<[[f64; 3]; 3]>,
    /// Direction along the beam in units of the file's axes; the smallest orthogonal box is then found.
    pub beam: Option<[f64; 3]>,
    /// With `beam`: direction to the right in the image, in units of the file's axes.
    pub right: Option<[f64; 3]>,
    /// Number of boxes along x, y and the beam.
    #[serde(default = "one_box")]
    pub cells: [usize; 3],
    /// Added to all positions in the box, to choose where it is cut: atomic planes should lie in the middle of slices [Å].
    #[serde(default)]
    pub shift_angstrom: [f64; 3],
    /// Elements of the A sublattice.
    #[serde(default)]
    pub a_elements: Vec<String>,
    /// Elements of the B sublattice.
    #[serde(default)]
    pub b_elements: Vec<String>,
    /// Largest strain that may make nearly right angles right.
    #[serde(default = "largest_strain")]
    pub largest_strain: f64,
    /// With `beam`: longest edge across the beam [Å].
    #[serde(default = "largest_box")]
    pub largest_box_angstrom: f64,
    /// Symmetry images of an atom closer than this are one atom on a special position [Å].
    #[serde(default = "merge")]
    pub merge_angstrom: f64,
    /// Atoms closer than this are on top of each other, or, if partly occupied, alternatives [Å].
    #[serde(default = "closest")]
    pub closest_angstrom: f64,
    /// An atom belongs to a column if it is within this of the column's first atom, seen along the beam [Å].
    #[serde(default = "column_tolerance")]
    pub column_tolerance_angstrom: f64,
}

fn one_box() -> [usize; 3] {
    [1; 3]
}

fn largest_strain() -> f64 {
    0.02
}

fn largest_box() -> f64 {
    30.0
}

fn merge() -> f64 {
    0.05
}

fn closest() -> f64 {
    0.7
}

fn column_tolerance() -> f64 {
    0.8
}

/// Format of a structure file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Crystallographic information file.
    Cif,
    /// Plain or extended XYZ.
    Xyz,
    /// XYZ of multislice programs: box, then `Z x y z occupancy u`.
    Kirkland,
}

/// A crystal read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The atoms in a box with right angles, beam along z.
    pub structure: Structure,
    /// The columns over one period of the box; D where there is one.
    pub truth: Truth,
    /// 1-D rms displacement by atomic number [Å], for the elements of which the file gives one.
    pub rms: BTreeMap<u8, f64>,
    /// What was done: symmetry, box, strain, occupation, truth.
    pub notes: Vec<String>,
}

/// A crystal as its file tells it, symmetry applied.
#[derive(Debug, Clone, PartialEq)]
struct Crystal {
    /// Axes of the cell, rows [Å].
    axes: Matrix,
    /// All atoms of one cell.
    atoms: Vec<Atom>,
    /// Which axes repeat.
    periodic: [bool; 3],
    notes: Vec<String>,
}

/// Checks that axes read from a file span a right-handed cell of a sensible size.
fn check_axes(path: &Path, line: usize, axes: &Matrix) -> Result<()> {
    let edges = axes.map(lattice::length);
    let volume = lattice::determinant(axes);
    let sensible = edges.iter().all(|edge| (1.0..=100_000.0).contains(edge));
    if sensible && volume > 1e-3 * edges.iter().product::<f64>() {
        return Ok(());
    }
    let got = format!("axes {axes:?}, of lengths {edges:.3?} Å and volume {volume:.3} Å³");
    let allowed = "three axes of at least 1 Å that span a right-handed cell";
    Err(Error::data(path, format!("line {line}"), got, allowed))
}

impl StructureFile {
    /// Checks the numbers; `source` stands at this section.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source) -> Result<()> {
        let range = |key: &str, value: f64, low: f64, high: f64, unit: &str| {
            source.in_range(key, value, low..=high, unit, "")
        };
        range("largest_strain", self.largest_strain, 0.0, 0.2, "")?;
        range(
            "largest_box_angstrom",
            self.largest_box_angstrom,
            2.0,
            100.0,
            "Å",
        )?;
        range("merge_angstrom", self.merge_angstrom, 0.0, 0.5, "Å")?;
        range("closest_angstrom", self.closest_angstrom, 0.01, 0.9, "Å")?;
        range(
            "column_tolerance_angstrom",
            self.column_tolerance_angstrom,
            0.01,
            3.0,
            "Å",
        )?;
        for shift in self.shift_angstrom {
            range("shift_angstrom", shift, -1e4, 1e4, "Å")?;
        }
        for edge in self.cell_angstrom.into_iter().flatten() {
            range("cell_angstrom", edge, 1.0, 1e5, "Å")?;
        }
        for number in self.supercell.into_iter().flatten().flatten() {
            range("supercell", number, -1000.0, 1000.0, "axes of the file")?;
        }
        if self.cells.iter().any(|&n| n == 0 || n > 4096) {
            let got = format!("{:?}", self.cells);
            return Err(source.wrong(
                "cells",
                got,
                "three numbers of boxes along x, y and the beam, 1 to 4096",
            ));
        }
        self.validate_directions(source)?;
        self.validate_elements(source)
    }

    fn validate_directions(&self, source: &Source) -> Result<()> {
        for (key, direction) in [("beam", self.beam), ("right", self.right)] {
            let Some(direction) = direction else { continue };
            if direction == [0.0; 3] || !direction.iter().all(|x| x.abs() <= 100.0) {
                let allowed = "a direction in units of the file's axes, such as [0, 0, 1]";
                return Err(source.wrong(key, format!("{direction:?}"), allowed));
            }
        }
        if self.beam.is_some() && self.supercell.is_some() {
            let allowed = "either `beam` (the box is found) or `supercell` (the box is given)";
            return Err(source.wrong("beam", "both beam and supercell", allowed));
        }
        if self.right.is_some() && self.beam.is_none() {
            return Err(source.wrong(
                "right",
                "right without beam",
                "`beam` too, or `supercell` instead",
            ));
        }
        Ok(())
    }

    fn validate_elements(&self, source: &Source) -> Result<()> {
        for (key, names) in [
            ("a_elements", &self.a_elements),
            ("b_elements", &self.b_elements),
        ] {
            if let Some(name) = names.iter().find(|name| element::number(name).is_none()) {
                return Err(source.wrong(
                    key,
                    format!("`{name}`"),
                    "chemical symbols such as \"Bi\"",
                ));
            }
        }
        if let Some(both) = self
            .a_elements
            .iter()
            .find(|name| self.b_elements.contains(name))
        {
            let allowed = "each element on one sublattice only";
            return Err(source.wrong(
                "b_elements",
                format!("`{both}`, which is an A element too"),
                allowed,
            ));
        }
        Ok(())
    }

    /// Reads the file and builds the box; `seed` draws the atoms of sites that several share, `source` stands at this section.
    ///
    /// # Errors
    /// The file is not there, does not make sense, or no box with right angles can be made.
    pub fn load(&self, source: &Source, seed: u64) -> Result<Loaded> {
        let path = source.find(&self.path);
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        // Names in old files are often not in UTF-8; nothing that matters here is.
        let text = String::from_utf8_lossy(&bytes);
        let crystal = self.read(&path, &text)?;
        let sites = sites::sites(&path, &crystal.axes, &crystal.atoms, self.closest_angstrom)?;
        let plan = self.plan(source, &crystal, sites)?;
        let mut notes = crystal.notes.clone();
        notes.extend(plan.notes.iter().cloned());
        let structure = self.fill(&plan, seed);
        if structure.is_empty() {
            return Err(Error::data(
                &path,
                "atoms",
                "no atoms drawn",
                "sites that are occupied",
            ));
        }
        let (truth, about) = columns::truth(&structure, self.column_tolerance_angstrom);
        notes.extend(about);
        notes.extend(self.absent(&structure));
        Ok(Loaded {
            structure,
            truth,
            rms: rms(&crystal.atoms),
            notes,
        })
    }

    fn read(&self, path: &Path, text: &str) -> Result<Crystal> {
        let extension = path
            .extension()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        let format = match self.format {
            Some(format) => format,
            None if extension.eq_ignore_ascii_case("cif") => Format::Cif,
            None if kirkland::looks_so(text) => Format::Kirkland,
            None if extension.to_ascii_lowercase().ends_with("xyz") => Format::Xyz,
            None => {
                let got = format!("a file named .{extension}");
                return Err(Error::data(
                    path,
                    "name",
                    got,
                    ".cif or .xyz, or `format` in the settings",
                ));
            }
        };
        match format {
            Format::Cif => {
                let choice = cif::Choice {
                    block: self.block.as_deref(),
                    space_group: self.space_group.as_deref(),
                    merge: self.merge_angstrom,
                };
                cif::read(path, text, &choice)
            }
            Format::Xyz => xyz::read(path, text, self.cell_angstrom),
            Format::Kirkland => kirkland::read(path, text),
        }
    }

    /// Elements of the sublattices that the structure does not hold.
    fn absent(&self, structure: &Structure) -> Vec<String> {
        let present: BTreeSet<u8> = structure.numbers.iter().copied().collect();
        let names = self.a_elements.iter().chain(&self.b_elements);
        let missing =
            names.filter(|name| element::number(name).is_none_or(|n| !present.contains(&n)));
        missing
            .map(|name| format!("there is no {name} in the structure"))
            .collect()
    }
}

/// 1-D rms displacement by element: the root of the mean of the mean squares, weighted by occupancy.
fn rms(atoms: &[Atom]) -> BTreeMap<u8, f64> {
    let mut sums: BTreeMap<u8, (f64, f64)> = BTreeMap::new();
    for atom in atoms {
        if let Some(square) = atom.mean_square {
            let (sum, weight) = sums.entry(atom.number).or_default();
            *sum += atom.occupancy * square;
            *weight += atom.occupancy;
        }
    }
    sums.into_iter()
        .filter(|(_, (_, weight))| *weight > 0.0)
        .map(|(number, (sum, weight))| (number, (sum / weight).sqrt()))
        .collect()
}
