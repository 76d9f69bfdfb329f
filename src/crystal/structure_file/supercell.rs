//! The box of a structure file: planned on the primitive cells of the crystal, then filled with atoms.

use std::collections::{BTreeMap, BTreeSet};

use super::cut::{self, Cut, Search};
use super::lattice::{self, IDENTITY, Matrix, Vicinity};
use super::sites::Site;
use super::{Crystal, StructureFile};
use crate::crystal::Sublattice;
use crate::crystal::element;
use crate::crystal::structure::Structure;
use crate::error::Result;
use crate::settings::Source;

/// More atoms than this are a slip of the pen.
const MOST_ATOMS: f64 = 5e7;
/// Translations inside the cell are looked for in cells of up to so many sites.
const MOST_SITES_FOR_TRANSLATIONS: usize = 5000;
/// How well a row of a supercell must meet a translation of the crystal, in units of the axes: `-1.333` is −4/3.
const ROW_TOLERANCE: f64 = 2e-3;

impl StructureFile {
    /// The box, and the sites of a primitive cell in it.
    pub(super) fn plan(
        &self,
        source: &Source,
        crystal: &Crystal,
        sites: Vec<Site>,
    ) -> Result<Plan> {
        let whole = |row: &[f64; 3]| row.iter().all(|x| (x - x.round()).abs() < 1e-6);
        let rows = self.supercell.unwrap_or(IDENTITY);
        self.check_repeats(source, crystal, &rows)?;
        let needed = self.beam.is_some() || !rows.iter().all(whole);
        let tolerance = self.merge_angstrom.max(0.01);
        let small = sites.len() <= MOST_SITES_FOR_TRANSLATIONS;
        let translations = match (needed, small) {
            (true, true) => site_translations(&crystal.axes, &sites, self.merge_angstrom.max(0.01)),
            _ => vec![[0.0; 3]],
        };
        let basis = lattice::primitive(&translations);
        let primitive = lattice::product(&basis, &crystal.axes);
        let cut = match self.beam {
            Some(beam) => self.search(source, beam, &crystal.axes, &primitive)?,
            None => self.given(source, rows, &translations, &basis, &primitive)?,
        };
        let (sites, notes) =
            primitive_sites(sites, &translations, &basis, &primitive, 2.0 * tolerance);
        let plan = Plan {
            notes: self.tell(&cut, &basis, &sites, notes),
            cut,
            sites,
        };
        let atoms = plan.cut.cells() as f64
            * plan.sites.len() as f64
            * self.cells.iter().map(|&n| n as f64).product::<f64>();
        if atoms > MOST_ATOMS {
            let got = format!("{:?}, {atoms:e} atoms", self.cells);
            return Err(source.wrong("cells", got, format!("at most {MOST_ATOMS:e} atoms")));
        }
        Ok(plan)
    }

    /// A file may say that an axis does not repeat; then it is not repeated.
    fn check_repeats(&self, source: &Source, crystal: &Crystal, rows: &Matrix) -> Result<()> {
        let own = *rows == IDENTITY && self.beam.is_none();
        for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
            if !crystal.periodic[axis] && (!own || self.cells[axis] != 1) {
                let key = if own { "cells" } else { "supercell" };
                let got = format!(
                    "a box that repeats along {name}, along which the file is not periodic (pbc)"
                );
                return Err(source.wrong(
                    key,
                    got,
                    "the file's own axes, once along those that do not repeat",
                ));
            }
        }
        Ok(())
    }

    fn search(
        &self,
        source: &Source,
        beam: [f64; 3],
        axes: &Matrix,
        primitive: &Matrix,
    ) -> Result<Cut> {
        let search = Search {
            beam: lattice::times(beam, axes),
            right: self.right.map(|right| lattice::times(right, axes)),
            largest_box: self.largest_box_angstrom,
            largest_strain: self.largest_strain,
        };
        search.run(primitive).ok_or_else(|| {
            let got = format!("{beam:?}, along which no box with right angles was found");
            let allowed = format!(
                "a lattice direction with a box of at most {} Å (largest_box_angstrom) and a strain of at most {} (largest_strain)",
                self.largest_box_angstrom, self.largest_strain
            );
            source.wrong("beam", got, allowed)
        })
    }

    fn given(
        &self,
        source: &Source,
        rows: Matrix,
        translations: &[[f64; 3]],
        basis: &Matrix,
        primitive: &Matrix,
    ) -> Result<Cut> {
        let inverse = lattice::inverse(basis);
        let mut whole = [[0; 3]; 3];
        for (row, found) in rows.iter().zip(&mut whole) {
            let meets = |t: &&[f64; 3]| {
                lattice::nearest_image(**t, *row)
                    .iter()
                    .all(|x| x.abs() < ROW_TOLERANCE)
            };
            let Some(translation) = translations.iter().find(meets) else {
                let known: Vec<String> = translations.iter().map(|t| format!("{t:.4?}")).collect();
                let got = format!("{row:?}, which is no translation of the crystal");
                let allowed = format!("whole numbers of axes, plus one of {}", known.join(", "));
                return Err(source.wrong("supercell", got, allowed));
            };
            let exact = std::array::from_fn(|i| translation[i] + (row[i] - translation[i]).round());
            *found = lattice::times(exact, &inverse).map(|x| x.round() as i64);
        }
        let cut = Cut::new(whole, primitive);
        if cut.cells() <= 0 {
            let got = format!("{rows:?}, of {} cells", cut.cells());
            let allowed =
                "edges that span a right-handed box: swap two of them, or turn one around";
            return Err(source.wrong("supercell", got, allowed));
        }
        if cut.strain > self.largest_strain {
            let [alpha, beta, gamma] = cut.angles;
            let got = format!(
                "a box with angles {alpha:.2}°, {beta:.2}°, {gamma:.2}°: a strain of {:.4} would make them right",
                cut.strain
            );
            let allowed = format!(
                "a strain of at most {} (largest_strain): another `supercell`, or `beam = [u, v, w]` to have a box found",
                self.largest_strain
            );
            return Err(source.wrong("supercell", got, allowed));
        }
        Ok(cut)
    }

    /// The notes about box and occupation.
    fn tell(
        &self,
        cut: &Cut,
        basis: &Matrix,
        sites: &[Site],
        mut notes: Vec<String>,
    ) -> Vec<String> {
        let rows = lattice::product(&cut::real(cut.rows), basis);
        let row = |axis: usize| {
            let numbers: Vec<String> = rows[axis]
                .iter()
                .map(|x| format!("{}", (x * 1e4).round() / 1e4))
                .collect();
            format!("[{}]", numbers.join(", "))
        };
        let [x, y, z] = cut.edges;
        notes.push(format!(
            "box of {x:.4} × {y:.4} × {z:.4} Å: x, y, z along {}, {}, {} of the file's axes",
            row(0),
            row(1),
            row(2)
        ));
        if cut.strain > 1e-6 {
            let [alpha, beta, gamma] = cut.angles;
            notes.push(format!(
                "angles of {alpha:.3}°, {beta:.3}°, {gamma:.3}° were made right, edges kept: largest principal strain {:.5}",
                cut.strain
            ));
        }
        let mixed = sites.iter().filter(|site| !site.is_full()).count();
        if mixed > 0 {
            notes.push(format!(
                "{mixed} of {} sites are partly occupied: drawn atom by atom",
                sites.len()
            ));
        }
        notes
    }

    /// All atoms of the repeated box.
    pub(super) fn fill(&self, plan: &Plan, seed: u64) -> Structure {
        let sublattice: BTreeMap<u8, Sublattice> = [
            (&self.a_elements, Sublattice::A),
            (&self.b_elements, Sublattice::B),
        ]
        .into_iter()
        .flat_map(|(names, kind)| {
            names
                .iter()
                .filter_map(move |name| Some((element::number(name)?, kind)))
        })
        .collect();
        let Cut { rows, edges, .. } = plan.cut;
        let inverse = lattice::inverse(&cut::real(rows));
        let translations = plan.cut.translations();
        let mut structure = Structure {
            positions: Vec::new(),
            numbers: Vec::new(),
            cell: std::array::from_fn(|axis| edges[axis] * self.cells[axis] as f64),
            sublattices: Vec::new(),
        };
        let [nx, ny, nz] = self.cells;
        let boxes =
            (0..ny).flat_map(|j| (0..nx).flat_map(move |i| (0..nz).map(move |k| [i, j, k])));
        for repeat in boxes {
            let origin: [i64; 3] = std::array::from_fn(|axis| {
                (0..3).map(|row| repeat[row] as i64 * rows[row][axis]).sum()
            });
            for translation in &translations {
                let cell = std::array::from_fn(|axis| origin[axis] + translation[axis]);
                for (index, site) in plan.sites.iter().enumerate() {
                    let Some(atom) = site.draw(seed, index, cell) else {
                        continue;
                    };
                    let place = std::array::from_fn(|i| atom.position[i] + translation[i] as f64);
                    let place = lattice::times(place, &inverse);
                    let shifted =
                        std::array::from_fn(|i| place[i] + self.shift_angstrom[i] / edges[i]);
                    let wrapped = lattice::wrap(shifted);
                    structure.positions.push(std::array::from_fn(|axis| {
                        (wrapped[axis] + repeat[axis] as f64) * edges[axis]
                    }));
                    structure.numbers.push(atom.number);
                    structure.sublattices.push(
                        sublattice
                            .get(&atom.number)
                            .copied()
                            .unwrap_or(Sublattice::O),
                    );
                }
            }
        }
        structure
    }
}

/// A box and what fills it.
pub(super) struct Plan {
    cut: Cut,
    /// Sites of one primitive cell, positions in units of the primitive vectors.
    sites: Vec<Site>,
    pub(super) notes: Vec<String>,
}

/// Translations inside the cell that leave the crystal as it is.
fn site_translations(axes: &Matrix, sites: &[Site], tolerance: f64) -> Vec<[f64; 3]> {
    // Sites are of one kind if they hold the same species with the same occupancies.
    let content = |site: &Site| -> Vec<(u8, i64)> {
        let mut content: Vec<_> = site
            .occupants
            .iter()
            .map(|o| (o.number, (o.occupancy * 1e4).round() as i64))
            .collect();
        content.sort_unstable();
        content
    };
    let contents: Vec<_> = sites.iter().map(content).collect();
    let different: BTreeSet<_> = contents.iter().cloned().collect();
    let kinds: Vec<usize> = contents
        .iter()
        .map(|content| different.range(..content.clone()).count())
        .collect();
    let points: Vec<[f64; 3]> = sites
        .iter()
        .map(|site| site.occupants[0].position)
        .collect();
    lattice::translations(axes, &points, &kinds, tolerance)
}

/// One site of each set that the translations connect, in units of the primitive vectors; the rest lie within `tolerance` [Å] of an
/// image of one of these.
fn primitive_sites(
    sites: Vec<Site>,
    translations: &[[f64; 3]],
    basis: &Matrix,
    primitive: &Matrix,
    tolerance: f64,
) -> (Vec<Site>, Vec<String>) {
    let inverse = lattice::inverse(basis);
    let total = sites.len();
    let mut kept: Vec<Site> = Vec::new();
    let mut vicinity = Vicinity::new(primitive, tolerance);
    for mut site in sites {
        for occupant in &mut site.occupants {
            occupant.position = lattice::times(occupant.position, &inverse);
        }
        let first = site.occupants[0].position;
        if translations.len() == 1 || vicinity.nearest(first).is_none() {
            vicinity.push(first);
            kept.push(site);
        }
    }
    let notes = match translations.len() {
        1 => Vec::new(),
        count => vec![format!(
            "{total} sites in the cell, {} in each of its {count} primitive cells",
            kept.len()
        )],
    };
    (kept, notes)
}
