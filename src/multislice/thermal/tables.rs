//! W(Q) of every species for the absorption and for every detector, tabulated over |Q|.
//!
//! Tables have equal steps and are read by the polynomial through the six nearest nodes; W and its harmonics are even and
//! smooth in |Q|. The step is halved until that polynomial predicts what is found half way between the nodes to 1.6e-5 of
//! W(0). The new nodes then join the table; the error, of the sixth order in the step, falls by another 64, and stays below
//! 1e-6 of W(0).

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use num_complex::Complex;
use rayon::prelude::*;

use super::super::scattering::ScatteringTable;
use super::settings::DiffuseDetector;
use super::weight::Atom;
use crate::error::{Error, Result};
use crate::units::{RAD_PER_MRAD, interaction, wavelength};

/// Absorption counts scattering up to this |k| [1/Å], where Kirkland's factors end: of W(0), 1 % (O, 0.09 Å) to 8 % (Cs,
/// 0.03 Å) lies beyond, at angles above 300 mrad at 200 kV. Detectors that reach farther take the absorption with them.
const LARGEST_K: f64 = 12.0;
/// Largest error of a table, as a fraction of W(0).
const TOLERANCE: f64 = 1e-6;
/// By how much the last halving must improve the table: a quarter of what it does by its order.
const LAST_HALVING: f64 = 16.0;
/// Beyond where W and its harmonics stay below this fraction of W(0), they are zero.
const NEGLIGIBLE: f64 = 1e-8;
/// First step of a table, and the step in which its end is sought [1/Å].
const FIRST_STEP: f64 = 0.25;
/// Halvings after which the step is finer, 0.004 1/Å, than any W asks for.
const HALVINGS: usize = 6;
/// Highest harmonic 2m = 128: a very heavy atom that hardly moves (Cs, 0.03 Å) leaves 2e-7 of W(0) to the higher ones.
const HARMONICS: usize = 64;

/// W(Q) of every species for the absorption and for every detector.
pub struct ThermalTables {
    detectors: Vec<DiffuseDetector>,
    /// For every detector, the annulus it is part of: an index into a species' tables.
    annuli: Vec<usize>,
    species: BTreeMap<u8, Species>,
}

/// The tables of one species.
struct Species {
    absorption: RadialTable,
    annuli: Vec<RadialTable>,
}

/// An annulus that detectors share: |k| from and to [1/Å], and whether a sector of it is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Annulus {
    range: (f64, f64),
    sectors: bool,
}

impl ThermalTables {
    /// Tables for atoms that move by `rms` along an axis, by atomic number [Å], in a beam of `energy` [eV].
    ///
    /// # Errors
    /// An element that `table` lacks; a detector without width.
    pub fn new(
        rms: &BTreeMap<u8, f64>,
        table: ScatteringTable,
        energy: f64,
        detectors: &[DiffuseDetector],
    ) -> Result<Self> {
        detectors.iter().try_for_each(DiffuseDetector::check)?;
        let (rings, annuli) = share_annuli(detectors, wavelength(energy));
        let farthest = rings
            .iter()
            .map(|ring| ring.range.1)
            .fold(LARGEST_K, f64::max);
        let build = |(&number, &rms): (&u8, &f64)| {
            let atom = Atom::new(table.factor(number)?, rms, interaction(energy));
            let highest = |ring: &Annulus| if ring.sectors { HARMONICS } else { 0 };
            let tabulate =
                |ring: &Annulus| RadialTable::new(&atom, ring.range, highest(ring), 2.0 * farthest);
            let species = Species {
                absorption: RadialTable::new(&atom, (0.0, farthest), 0, 2.0 * farthest),
                annuli: rings.iter().map(tabulate).collect(),
            };
            Ok((number, species))
        };
        Ok(Self {
            species: rms.iter().map(build).collect::<Result<_>>()?,
            detectors: detectors.to_vec(),
            annuli,
        })
    }

    /// Number of detectors.
    #[must_use]
    pub fn detectors(&self) -> usize {
        self.detectors.len()
    }

    /// W_tot(Q) of an element at Q = `[x, y]` [1/Å], over all angles [Å²].
    ///
    /// # Errors
    /// The tables lack the element.
    pub fn absorbed(&self, number: u8, q: [f64; 2]) -> Result<f64> {
        Ok(self.species(number)?.absorption.annulus(q))
    }

    /// W(Q) of an element at Q = `[x, y]` [1/Å], over the angles of a detector [Å²].
    ///
    /// # Errors
    /// The tables lack the element.
    ///
    /// # Panics
    /// `detector` is not below [`ThermalTables::detectors`].
    pub fn detected(&self, number: u8, detector: usize, q: [f64; 2]) -> Result<f64> {
        let table = &self.species(number)?.annuli[self.annuli[detector]];
        Ok(match self.detectors[detector].sector {
            None => table.annulus(q),
            Some(sector) => table.sector(q, sector),
        })
    }

    fn species(&self, number: u8) -> Result<&Species> {
        self.species.get(&number).ok_or_else(|| {
            Error::unmeasurable(
                "thermal diffuse scattering",
                format!("tables of the atomic numbers {:?}", self.species.keys()),
                format!("one of the atomic number {number} too, since the specimen holds it"),
            )
        })
    }
}

/// The different annuli of detectors, and for every detector the index of its own.
fn share_annuli(detectors: &[DiffuseDetector], wavelength: f64) -> (Vec<Annulus>, Vec<usize>) {
    let mut rings: Vec<Annulus> = Vec::new();
    let mut indices = Vec::with_capacity(detectors.len());
    for detector in detectors {
        let k = |angle_mrad: f64| angle_mrad * RAD_PER_MRAD / wavelength;
        let range = (k(detector.inner_mrad), k(detector.outer_mrad));
        let known = rings.iter().position(|ring| ring.range == range);
        let index = known.unwrap_or_else(|| {
            let sectors = false;
            rings.push(Annulus { range, sectors });
            rings.len() - 1
        });
        rings[index].sectors |= detector.sector.is_some();
        indices.push(index);
    }
    (rings, indices)
}

/// W and its harmonics over |Q|.
struct RadialTable {
    /// Distance of the nodes [1/Å].
    step: f64,
    /// Harmonics W_0, W_1, … [Å²] at the nodes 0, 1, … and beyond the last one that is read.
    nodes: Vec<Vec<f64>>,
}

/// Harmonics that show where a table ends; higher ones are smaller there.
const SCANNED: usize = 2;
/// Nodes beyond the interval that is read: three on each side make the polynomial.
const MARGIN: usize = 3;

impl RadialTable {
    /// The annulus `range` of |k| for |Q| up to `end` at most, with the harmonics up to `highest`.
    fn new(atom: &Atom, range: (f64, f64), highest: usize, end: f64) -> Self {
        let at = |q: f64| atom.harmonics(range, q, highest);
        let zero = at(0.0)[0].abs();
        let coarse = |q: f64| atom.harmonics(range, q, highest.min(SCANNED));
        let steps = significant_steps(&coarse, end, NEGLIGIBLE * zero);
        let sample = |count: usize, place: &(dyn Fn(usize) -> f64 + Sync)| -> Vec<Vec<f64>> {
            (0..count).into_par_iter().map(|i| at(place(i))).collect()
        };
        let mut table = Self {
            step: FIRST_STEP,
            // Halving gives up the outer nodes beside which nothing new is known: less than another margin in all.
            nodes: sample(steps + 1 + 2 * MARGIN, &|i| FIRST_STEP * i as f64),
        };
        for _ in 0..HALVINGS {
            let step = table.step;
            let between = sample(table.nodes.len() - MARGIN, &|i| step * (i as f64 + 0.5));
            let error = |(i, exact): (usize, &Vec<f64>)| {
                let found = table.harmonics(step * (i as f64 + 0.5));
                let differences = found.iter().zip(exact).map(|(f, e)| (f - e).abs());
                differences.fold(0.0, f64::max)
            };
            let worst = between.iter().enumerate().map(error).fold(0.0, f64::max);
            table.refine(between);
            if worst <= LAST_HALVING * TOLERANCE * zero {
                break;
            }
        }
        table.trim(NEGLIGIBLE * zero);
        table
    }

    /// Puts the values half way between the nodes in their places.
    fn refine(&mut self, between: Vec<Vec<f64>>) {
        let mut halves = between.into_iter();
        let nodes = std::mem::take(&mut self.nodes);
        self.nodes = nodes
            .into_iter()
            .flat_map(|node| [Some(node), halves.next()])
            .map_while(|node| node)
            .collect();
        self.step *= 0.5;
    }

    /// Leaves out, node by node, the highest harmonics that are below `negligible`.
    fn trim(&mut self, negligible: f64) {
        for node in &mut self.nodes {
            let last = node.iter().rposition(|w| w.abs() > negligible);
            node.truncate(last.unwrap_or(0) + 1);
        }
    }

    /// W of the whole annulus at Q [Å²].
    fn annulus(&self, [x, y]: [f64; 2]) -> f64 {
        let Some((first, weights)) = self.place(x.hypot(y)) else {
            return 0.0;
        };
        TAU * self.read(first, &weights, 0)
    }

    /// W of the sector from azimuth `start` to `end` at Q [Å²].
    fn sector(&self, [x, y]: [f64; 2], (start, end): (f64, f64)) -> f64 {
        let Some((first, weights)) = self.place(x.hypot(y)) else {
            return 0.0;
        };
        let azimuth = y.atan2(x);
        // sin 2mβ − sin 2mα = 2 cos m(α + β) sin m(β − α), the angles counted from Q; both factors by powers of exp(i…).
        let sum = Complex::cis(start + end - 2.0 * azimuth);
        let width = Complex::cis(end - start);
        let (mut sums, mut widths) = (sum, width);
        let mut total = self.read(first, &weights, 0) * (end - start);
        for m in 1..self.harmonic_count(first) {
            total += self.read(first, &weights, m) * 2.0 * sums.re * widths.im / m as f64;
            (sums, widths) = (sums * sum, widths * width);
        }
        total
    }

    /// All harmonics at |Q|.
    fn harmonics(&self, q: f64) -> Vec<f64> {
        let Some((first, weights)) = self.place(q) else {
            return Vec::new();
        };
        let count = self.harmonic_count(first);
        (0..count).map(|m| self.read(first, &weights, m)).collect()
    }

    /// The first of the six nodes around |Q|, which may lie below zero, and their weights (Lagrange); nothing beyond the end.
    fn place(&self, q: f64) -> Option<(isize, [f64; 6])> {
        let position = q / self.step;
        let below = position.floor();
        if below as usize + MARGIN >= self.nodes.len() {
            return None;
        }
        let t = position - below;
        let weights = std::array::from_fn(|i| {
            let others = (0..6).filter(|&j| j != i);
            others
                .map(|j| (t + 2.0 - j as f64) / (i as f64 - j as f64))
                .product()
        });
        Some((below as isize - 2, weights))
    }

    /// Harmonics that the six nodes from `first` have between them.
    fn harmonic_count(&self, first: isize) -> usize {
        let lengths = (0..6).map(|i| self.node(first + i).len());
        lengths.max().unwrap_or(0)
    }

    /// Harmonic `m` from six nodes.
    fn read(&self, first: isize, weights: &[f64; 6], m: usize) -> f64 {
        let terms = weights.iter().zip(first..).map(|(weight, index)| {
            let value = self.node(index).get(m).copied().unwrap_or(0.0);
            weight * value
        });
        terms.sum()
    }

    /// The harmonics at a node; W is even.
    fn node(&self, index: isize) -> &[f64] {
        &self.nodes[index.unsigned_abs()]
    }
}

/// First steps up to `end` after the last of which everything stays below `negligible`.
fn significant_steps(at: &(impl Fn(f64) -> Vec<f64> + Sync), end: f64, negligible: f64) -> usize {
    let most = (end / FIRST_STEP).ceil() as usize;
    let counts = |&step: &usize| {
        let values = at(FIRST_STEP * step as f64);
        values.iter().any(|w| w.abs() > negligible)
    };
    (1..most).rev().find(counts).unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crystal::element;
    use crate::rng::{Rng, stream};

    fn detector(inner_mrad: f64, outer_mrad: f64, sector: Option<(f64, f64)>) -> DiffuseDetector {
        DiffuseDetector {
            inner_mrad,
            outer_mrad,
            sector,
        }
    }

    fn tables(number: u8, rms: f64, detectors: &[DiffuseDetector]) -> ThermalTables {
        let rms = BTreeMap::from([(number, rms)]);
        ThermalTables::new(&rms, ScatteringTable::Lobato, 200e3, detectors).unwrap()
    }

    /// Directions and lengths of Q over all that a table covers.
    fn frequencies() -> Vec<[f64; 2]> {
        let mut rng = stream(2, "frequencies", 0);
        let mut draw = || {
            let (length, azimuth) = (9.0 * rng.random::<f64>(), TAU * rng.random::<f64>());
            [length * azimuth.cos(), length * azimuth.sin()]
        };
        (0..50).map(|_| draw()).chain([[0.0; 2]]).collect()
    }

    /// `tests/golden/thermal.md` tells how the numbers were made; 1e-6 of W(0) is the error that the tables state.
    #[test]
    fn weights_are_those_of_a_direct_quadrature() {
        let text = include_str!("../../../tests/golden/thermal.csv");
        let lines: Vec<(Vec<&str>, Vec<f64>)> = text
            .lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                let numbers = cells[2..].iter().map(|c| c.parse().unwrap()).collect();
                (cells, numbers)
            })
            .collect();
        // An atom has 25 lines: five detectors at five Q, the first of which is 0.
        for atom in lines.chunks(25) {
            let (cells, x) = &atom[0];
            let table = match cells[0] {
                "lobato" => ScatteringTable::Lobato,
                _ => ScatteringTable::Kirkland,
            };
            let number = element::number(cells[1]).unwrap();
            let mrad = wavelength(x[1]) / RAD_PER_MRAD;
            let detectors: Vec<DiffuseDetector> = atom
                .chunks(5)
                .map(|lines| &lines[0].1)
                .map(|x| {
                    let sector = (x[5] - x[4] < 0.99 * TAU).then_some((x[4], x[5]));
                    detector(x[2] * mrad, x[3] * mrad, sector)
                })
                .collect();
            let rms = BTreeMap::from([(number, x[0])]);
            let tables = ThermalTables::new(&rms, table, x[1], &detectors).unwrap();
            for (index, lines) in atom.chunks(5).enumerate() {
                let zero = lines[0].1[8];
                for (cells, x) in lines {
                    let q = [x[6], x[7]];
                    let error = (tables.detected(number, index, q).unwrap() - x[8]).abs() / zero;
                    assert!(error < TOLERANCE, "{cells:?}: {error:e}");
                    let absorbed = tables.absorbed(number, q).unwrap();
                    assert!(index > 0 || (absorbed - x[8]).abs() < TOLERANCE * zero);
                }
            }
        }
    }

    #[test]
    fn tables_are_read_with_the_stated_error() {
        for (number, rms) in [(83, 0.0735), (8, 0.09), (55, 0.03)] {
            let atom = Atom::new(
                ScatteringTable::Lobato.factor(number).unwrap(),
                rms,
                interaction(200e3),
            );
            for range in [(0.0, 12.0), (3.2, 8.0)] {
                let table = RadialTable::new(&atom, range, 4, 24.0);
                let zero = atom.harmonics(range, 0.0, 0)[0];
                for i in 0..400 {
                    let q = 0.0601 * f64::from(i);
                    let exact = atom.harmonics(range, q, 4);
                    let mut read = table.harmonics(q);
                    read.resize(exact.len(), 0.0);
                    for (read, exact) in read.iter().zip(&exact) {
                        let error = (read - exact).abs() / zero;
                        assert!(error < TOLERANCE, "Z = {number}, Q = {q}: {error:e}");
                    }
                }
            }
        }
    }

    /// Sums of tables that err by 1e-6 each.
    #[test]
    fn sectors_sum_to_the_annulus_and_annuli_to_the_disk() {
        let cuts = [-0.4, 0.5, 1.1, 3.0, TAU - 0.4];
        let mut parts: Vec<DiffuseDetector> = cuts
            .windows(2)
            .map(|pair| detector(60.0, 150.0, Some((pair[0], pair[1]))))
            .collect();
        parts.extend([
            detector(60.0, 150.0, None),
            detector(0.0, 60.0, None),
            detector(0.0, 150.0, None),
        ]);
        let tables = tables(26, 0.07, &parts);
        let at = |index, q| tables.detected(26, index, q).unwrap();
        let zero = at(6, [0.0; 2]);
        for q in frequencies() {
            let sectors: f64 = (0..4).map(|index| at(index, q)).sum();
            assert!((sectors - at(4, q)).abs() < 1e-12 * zero);
            assert!((at(4, q) + at(5, q) - at(6, q)).abs() < 3.0 * TOLERANCE * zero);
        }
    }

    #[test]
    fn opposite_sectors_collect_the_same_and_directions_turn_with_the_detector() {
        let turn = 0.7;
        let half = TAU / 2.0;
        let tables = tables(
            8,
            0.09,
            &[
                detector(50.0, 120.0, Some((0.2, 1.0))),
                detector(50.0, 120.0, Some((0.2 + half, 1.0 + half))),
                detector(50.0, 120.0, Some((0.2 + turn, 1.0 + turn))),
            ],
        );
        let zero = tables.detected(8, 0, [0.0; 2]).unwrap();
        for [x, y] in frequencies() {
            let here = tables.detected(8, 0, [x, y]).unwrap();
            assert!((here - tables.detected(8, 1, [x, y]).unwrap()).abs() < 1e-12 * zero);
            let turned = [
                x * turn.cos() - y * turn.sin(),
                x * turn.sin() + y * turn.cos(),
            ];
            assert!((here - tables.detected(8, 2, turned).unwrap()).abs() < 1e-12 * zero);
        }
    }

    /// At Q = 0 nothing is negative, so parts stay below the whole; the detector to 400 mrad (16 1/Å) takes it along.
    #[test]
    fn detectors_collect_no_more_than_is_absorbed() {
        for number in [8, 38, 83] {
            for outer in [100.0, 300.0, 400.0] {
                let rings = [detector(0.0, 40.0, None), detector(40.0, outer, None)];
                let tables = tables(number, 0.08, &rings);
                let at = |index| tables.detected(number, index, [0.0; 2]).unwrap();
                let absorbed = tables.absorbed(number, [0.0; 2]).unwrap();
                assert!(at(0) > 0.0 && at(1) > 0.0);
                assert!(at(0) + at(1) <= absorbed * (1.0 + 2.0 * TOLERANCE));
                if outer < 301.0 {
                    assert!(at(0) + at(1) < absorbed);
                }
            }
        }
    }

    #[test]
    fn atoms_at_rest_and_unknown_ones() {
        let tables = tables(83, 0.0, &[detector(80.0, 200.0, Some((0.0, 1.0)))]);
        assert_eq!(tables.absorbed(83, [1.0, 2.0]).unwrap(), 0.0);
        assert_eq!(tables.detected(83, 0, [1.0, 2.0]).unwrap(), 0.0);
        let message = tables.absorbed(8, [0.0; 2]).unwrap_err().to_string();
        assert!(message.contains("atomic number 8"), "{message}");
    }
}
