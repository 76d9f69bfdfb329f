//! The columns of a perovskite block as the response model sees them: where each stands, how it leans, how it is rough inside.
//!
//! Sites are counted on the half lattice, in steps of a/2: A columns at (even, even), B columns at (odd, odd), oxygen columns
//! between. A B column also holds the apical oxygens of its octahedra, which are described by themselves.

use crate::crystal::Structure;
use crate::crystal::{Sublattice, element};
use crate::error::{Error, Result};

/// Atoms of a cell, in the order in which recipes build them: A, B, O below and beside B along x, y and the beam.
const ATOMS: usize = 5;
/// Legendre moments of the doping over depth.
pub const MOMENTS: usize = 6;

/// A string of atoms along the beam, one in every cell, up to some depth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Strand {
    /// Displacement of the column from its ideal place, on the entrance face `[x, y]` [Å].
    pub shift: [f64; 2],
    /// How the column leans: displacement per depth `[x, y]` [rad].
    pub lean: [f64; 2],
    /// Mean squares of what is left, `[xx, xy, yy]` [Å²].
    pub spread: [f64; 3],
    /// Mean of what is left with alternating signs, the first atom's positive `[x, y]` [Å].
    pub stagger: [f64; 2],
    /// Largest part of what is left that does not alternate [Å].
    pub bend: f64,
}

/// The kinds of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Bi, Sm.
    A = 0,
    /// Fe, with the apical oxygens.
    B = 1,
    /// Oxygen alone.
    O = 2,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::O];

    /// The kind at a place of the half lattice `[x, y]`.
    #[must_use]
    pub fn at([x, y]: [i64; 2]) -> Self {
        match (x.rem_euclid(2), y.rem_euclid(2)) {
            (0, 0) => Self::A,
            (1, 1) => Self::B,
            _ => Self::O,
        }
    }

    /// Places of the columns of this kind in a block of `cells` × `cells`, on the half lattice.
    #[must_use]
    pub fn places(self, cells: usize) -> Vec<[i64; 2]> {
        let side = 2 * cells as i64;
        let all = (0..side * side).map(|n| [n % side, n / side]);
        all.filter(|&place| Self::at(place) == self).collect()
    }
}

/// All columns of a block that is periodic across the beam, down to some depth.
#[derive(Debug, Clone, PartialEq)]
pub struct Sites {
    /// Cells `[x, y]`.
    pub cells: [usize; 2],
    /// Edge of the ideal cell [Å].
    pub edge: f64,
    /// `(atom of the cell, j, i)`.
    strands: Vec<Strand>,
    /// Legendre moments of the Sm occupation of the A columns over depth, `(j, i)`.
    doping: Vec<[f64; MOMENTS]>,
}

impl Sites {
    /// The columns of a block of `cells` `[x, y, z]` built by a recipe, down to `depth` cells.
    ///
    /// # Errors
    /// Atoms that are not those of a perovskite recipe, cell by cell; a depth beyond the block.
    pub fn new(structure: &Structure, cells: [usize; 3], depth: usize) -> Result<Self> {
        let [nx, ny, nz] = cells;
        let edge = structure.cell[0] / nx as f64;
        check(structure, cells, depth, edge)?;
        let mut strands = vec![Strand::default(); ATOMS * nx * ny];
        let mut doping = vec![[0.0; MOMENTS]; nx * ny];
        let extent = [structure.cell[0], structure.cell[1]];
        for j in 0..ny {
            for i in 0..nx {
                let first = (j * nx + i) * nz * ATOMS;
                let path = |atom: usize| -> Vec<[f64; 2]> {
                    let ideal = ideal([i, j], atom).map(|place| place * edge / 2.0);
                    let off = |k: usize| {
                        let position = structure.positions[first + k * ATOMS + atom];
                        std::array::from_fn(|axis| {
                            let off = position[axis] - ideal[axis];
                            off - extent[axis] * (off / extent[axis]).round()
                        })
                    };
                    (0..depth).map(off).collect()
                };
                let cations = [path(0), path(1)];
                let leans = [lean(&cations[0], edge), lean(&cations[1], edge)];
                let both = [0, 1].map(|axis| 0.5 * (leans[0][axis] + leans[1][axis]));
                for atom in 0..ATOMS {
                    let place = (atom * ny + j) * nx + i;
                    strands[place] = match atom {
                        0 | 1 => Strand::new(&cations[atom], leans[atom], edge),
                        4 => Strand::new(&path(atom), leans[1], edge),
                        _ => Strand::new(&path(atom), both, edge),
                    };
                }
                let doped = |k: usize| structure.numbers[first + k * ATOMS] == element::SM;
                doping[j * nx + i] = moments(depth, doped);
            }
        }
        Ok(Self {
            cells: [nx, ny],
            edge,
            strands,
            doping,
        })
    }

    /// One ideal cell of `edge` [Å], again and again.
    #[must_use]
    pub fn undistorted(edge: f64) -> Self {
        Self {
            cells: [1, 1],
            edge,
            strands: vec![Strand::default(); ATOMS],
            doping: vec![[0.0; MOMENTS]],
        }
    }

    /// The column at a place of the half lattice `[x, y]`, anywhere.
    #[must_use]
    pub fn column(&self, place: [i64; 2]) -> &Strand {
        let atom = match (place[0].rem_euclid(2), place[1].rem_euclid(2)) {
            (0, 0) => 0,
            (1, 1) => 1,
            (0, _) => 2,
            _ => 3,
        };
        self.strand(atom, place)
    }

    /// The apical oxygens in the B column at a place of the half lattice `[x, y]`, anywhere.
    #[must_use]
    pub fn apical(&self, place: [i64; 2]) -> &Strand {
        self.strand(4, place)
    }

    /// Legendre moments of the Sm occupation over depth of the A column at a place of the half lattice `[x, y]`, anywhere.
    #[must_use]
    pub fn doping(&self, place: [i64; 2]) -> &[f64; MOMENTS] {
        let [i, j] = self.cell(place);
        &self.doping[j * self.cells[0] + i]
    }

    /// The ideal place of a column, not wrapped into the block `[x, y]` [Å].
    #[must_use]
    pub fn ideal(&self, place: [i64; 2]) -> [f64; 2] {
        place.map(|n| n as f64 * self.edge / 2.0)
    }

    fn cell(&self, place: [i64; 2]) -> [usize; 2] {
        std::array::from_fn(|axis| {
            place[axis]
                .div_euclid(2)
                .rem_euclid(self.cells[axis] as i64) as usize
        })
    }

    fn strand(&self, atom: usize, place: [i64; 2]) -> &Strand {
        let [i, j] = self.cell(place);
        &self.strands[(atom * self.cells[1] + j) * self.cells[0] + i]
    }
}

/// Place of an atom of cell `[i, j]` on the half lattice `[x, y]`.
fn ideal([i, j]: [usize; 2], atom: usize) -> [f64; 2] {
    let off = [[0, 0], [1, 1], [0, 1], [1, 0], [1, 1]][atom];
    [(2 * i + off[0]) as f64, (2 * j + off[1]) as f64]
}

impl Strand {
    /// A strand from the displacements of its atoms [Å], with a lean that is known.
    fn new(path: &[[f64; 2]], lean: [f64; 2], edge: f64) -> Self {
        let count = path.len() as f64;
        // Atoms lie in the middle of cells, but for a common shift that moves all columns alike.
        let along = |k: usize, axis: usize| lean[axis] * (k as f64 + 0.5) * edge;
        let straight = |k: usize, axis: usize| path[k][axis] - along(k, axis);
        let shift: [f64; 2] = std::array::from_fn(|axis| {
            (0..path.len()).map(|k| straight(k, axis)).sum::<f64>() / count
        });
        let rest: Vec<[f64; 2]> = (0..path.len())
            .map(|k| std::array::from_fn(|axis| straight(k, axis) - shift[axis]))
            .collect();
        let mean = |of: &dyn Fn(usize) -> f64| (0..rest.len()).map(of).sum::<f64>() / count;
        let sign = |k: usize| if k.is_multiple_of(2) { 1.0 } else { -1.0 };
        let stagger: [f64; 2] = std::array::from_fn(|axis| mean(&|k| sign(k) * rest[k][axis]));
        let bend = (0..rest.len())
            .map(|k| {
                let off = |axis: usize| rest[k][axis] - sign(k) * stagger[axis];
                off(0).hypot(off(1))
            })
            .fold(0.0, f64::max);
        Self {
            shift,
            lean,
            spread: [(0, 0), (0, 1), (1, 1)].map(|(p, q)| mean(&|k| rest[k][p] * rest[k][q])),
            stagger,
            bend,
        }
    }
}

/// Slope of the straight line through displacements [rad].
fn lean(path: &[[f64; 2]], edge: f64) -> [f64; 2] {
    let count = path.len() as f64;
    let middle = (count - 1.0) / 2.0;
    let squares: f64 = (0..path.len()).map(|k| (k as f64 - middle).powi(2)).sum();
    if squares == 0.0 {
        return [0.0; 2];
    }
    std::array::from_fn(|axis| {
        let products = path.iter().enumerate();
        let sum: f64 = products
            .map(|(k, off)| (k as f64 - middle) * off[axis])
            .sum();
        let slope = sum / squares / edge;
        // Columns that stand upright do so but for rounding of their positions.
        if slope.abs() < 1e-9 { 0.0 } else { slope }
    })
}

/// Mean of P_m(s) over the doped sites, s from −1 on the entrance face to 1 at the exit.
fn moments(depth: usize, doped: impl Fn(usize) -> bool) -> [f64; MOMENTS] {
    let mut sums = [0.0; MOMENTS];
    for k in (0..depth).filter(|&k| doped(k)) {
        let s = 2.0 * (k as f64 + 0.5) / depth as f64 - 1.0;
        let (mut before, mut term) = (0.0, 1.0);
        for (m, sum) in sums.iter_mut().enumerate() {
            *sum += term / depth as f64;
            let m = m as f64;
            (before, term) = (term, ((2.0 * m + 1.0) * s * term - m * before) / (m + 1.0));
        }
    }
    sums
}

fn check(structure: &Structure, [nx, ny, nz]: [usize; 3], depth: usize, edge: f64) -> Result<()> {
    let recipe = [
        Sublattice::A,
        Sublattice::B,
        Sublattice::O,
        Sublattice::O,
        Sublattice::O,
    ];
    let [x, y, _] = structure.cell;
    let square = (y / ny as f64 - edge).abs() < 1e-6 * edge && x > 0.0;
    let fits = structure.len() == ATOMS * nx * ny * nz
        && structure
            .sublattices
            .chunks(ATOMS)
            .all(|cell| cell == recipe);
    if square && fits && (1..=nz).contains(&depth) {
        return Ok(());
    }
    Err(Error::unmeasurable(
        "response model",
        format!(
            "{} atoms for {nx} × {ny} × {nz} cells, seen down to {depth} cells",
            structure.len()
        ),
        "a block of cubic perovskite cells from [specimen], no film and no structure file",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A column that leans, is rough with alternating sign, and nothing else: each part comes back.
    #[test]
    fn shift_lean_and_stagger_are_told_apart() {
        let edge = 4.0;
        let path: Vec<[f64; 2]> = (0..20)
            .map(|k| {
                let depth = (f64::from(k) + 0.5) * edge;
                let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
                [0.1 + 0.005 * depth, -0.2 + 0.03 * sign]
            })
            .collect();
        let slope = lean(&path, edge);
        assert!((slope[0] - 0.005).abs() < 1e-12);
        let strand = Strand::new(&path, [slope[0], 0.0], edge);
        assert!((strand.shift[0] - 0.1).abs() < 1e-12 && (strand.shift[1] + 0.2).abs() < 1e-12);
        assert!((strand.stagger[1] - 0.03).abs() < 1e-12);
        assert!((strand.spread[2] - 0.0009).abs() < 1e-12 && strand.spread[0] < 1e-12);
        assert!(strand.bend < 1e-12);
    }

    /// Σ over equally spaced sites of P_m is near zero for m > 0, and the first moment is the fraction.
    #[test]
    fn moments_of_full_occupation_are_those_of_a_constant() {
        let full = moments(50, |_| true);
        assert!((full[0] - 1.0).abs() < 1e-12);
        assert!(full[1..].iter().all(|m| m.abs() < 2e-3), "{full:?}");
        let upper = moments(50, |k| k < 25);
        assert!((upper[0] - 0.5).abs() < 1e-12 && (upper[1] + 0.25).abs() < 1e-3);
    }
}
