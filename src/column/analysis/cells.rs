//! Cells: D with its covariance, and how it correlates between cells that share A columns.
//!
//! D = r_B − ¼ Σ r_A, so neighbouring cells share two A columns and diagonal ones share one:
//! cov(D_i, D_j) = (1/16) Σ over shared A of cov(r_A). In a mean over n cells inside a region each A column counts with four cells, so the mean has the variance
//! (σ_B² + σ_A²)/n, not (σ_B² + σ_A²/4)/n as if the cells were independent. [`Weights`] does this sum exactly.

use crate::column::{AtomColumn, ColumnMap};
use crate::crystal::Sublattice;
use crate::crystal::polarization::{Point, polar_cells};
use crate::units::PM_PER_ANGSTROM;

use super::Convention;
use super::covariance::Covariance;

/// A B column amid four A columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// `(i, j)`: the B column between A of `(i, j)` and of `(i+1, j+1)`.
    pub index: [i32; 2],
    /// Index of the B column in [`ColumnMap::columns`].
    pub b: usize,
    /// Indices of the A columns at `(i, j)`, `(i+1, j)`, `(i+1, j+1)`, `(i, j+1)`.
    pub a: [usize; 4],
    /// The B column [Å].
    pub position: Point,
    /// Mean of the four A columns, which does not move with D [Å].
    pub centre: Point,
    /// D in the convention of the analysis, less the reference if there is one [pm].
    pub displacement: [f64; 2],
    /// Covariance of `displacement` from its own five columns [pm²].
    pub covariance: Covariance,
    /// `covariance`, and what the reference adds to it [pm²]. The added part is common to all cells.
    pub total: Covariance,
    /// Sum of the bits in [`flags`](crate::crystal::polarization::flags).
    pub flags: u32,
}

/// Covariance of a column's position [pm²].
pub(super) fn of_column(column: &AtomColumn) -> Covariance {
    Covariance::diagonal(column.position_sigma.map(|s| s * PM_PER_ANGSTROM))
}

/// The cells of a map, in the order of its vectors.
pub(super) fn cells(map: &ColumnMap, convention: Convention) -> Vec<Cell> {
    let indices = |sublattice| -> Vec<usize> {
        let all = map.columns.iter().enumerate();
        all.filter(|(_, c)| c.sublattice == sublattice)
            .map(|(index, _)| index)
            .collect()
    };
    let positions =
        |of: &[usize]| -> Vec<Point> { of.iter().map(|&i| map.columns[i].position).collect() };
    let (a, b) = (indices(Sublattice::A), indices(Sublattice::B));
    polar_cells(&positions(&a), &positions(&b))
        .iter()
        .map(|found| {
            let corners = around(map, b[found.b], found.a.map(|i| a[i]));
            cell(map, b[found.b], corners, found.displacement, convention)
        })
        .collect()
}

/// Corners in the order (0, 0), (1, 0), (1, 1), (0, 1): by their angle around B, in the frame of the mean lattice.
fn around(map: &ColumnMap, b: usize, corners: [usize; 4]) -> [usize; 4] {
    let centre = map.columns[b].position;
    let (u, v) = (map.lattice.a, map.lattice.b);
    let angle = |corner: &usize| {
        let at = map.columns[*corner].position;
        let arm = [at[0] - centre[0], at[1] - centre[1]];
        let (s, t) = (arm[0] * v[1] - arm[1] * v[0], u[0] * arm[1] - u[1] * arm[0]);
        t.atan2(s)
    };
    let mut sorted = corners;
    sorted.sort_by(|p, q| angle(p).total_cmp(&angle(q)));
    sorted
}

fn cell(
    map: &ColumnMap,
    b: usize,
    a: [usize; 4],
    displacement: [f64; 2],
    convention: Convention,
) -> Cell {
    let columns = &map.columns;
    let covariance = a.iter().fold(of_column(&columns[b]), |sum, &corner| {
        sum.plus(of_column(&columns[corner]).scaled(1.0 / 16.0))
    });
    let flags = a.iter().fold(columns[b].flags, |bits, &corner| {
        bits | columns[corner].flags
    });
    Cell {
        index: columns[b].index,
        b,
        a,
        position: columns[b].position,
        centre: std::array::from_fn(|k| {
            a.iter().map(|&i| columns[i].position[k]).sum::<f64>() / 4.0
        }),
        displacement: displacement.map(|d| convention.sign() * d),
        covariance,
        total: covariance,
        flags,
    }
}

/// Covariance of D between two cells, from the columns that they share [pm²].
pub(super) fn shared(map: &ColumnMap, one: &Cell, other: &Cell) -> Covariance {
    let common = one.a.iter().filter(|corner| other.a.contains(corner));
    common.fold(Covariance::default(), |sum, &corner| {
        sum.plus(of_column(&map.columns[corner]).scaled(1.0 / 16.0))
    })
}

/// A weighted sum of D over cells, written as weights of columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    /// `(column, weight)`, each column once, in rising order.
    columns: Vec<(usize, f64)>,
    sum: [f64; 2],
}

impl Weights {
    /// Σ w D over cells with their weights.
    pub(super) fn of<'a>(cells: impl Iterator<Item = (&'a Cell, f64)>) -> Self {
        let mut all: Vec<(usize, f64)> = Vec::new();
        let mut sum = [0.0; 2];
        for (cell, weight) in cells {
            all.push((cell.b, weight));
            all.extend(cell.a.map(|corner| (corner, -0.25 * weight)));
            for (total, d) in sum.iter_mut().zip(cell.displacement) {
                *total += weight * d;
            }
        }
        all.sort_by_key(|(column, _)| *column);
        let mut columns: Vec<(usize, f64)> = Vec::new();
        for (column, weight) in all {
            match columns.last_mut() {
                Some(last) if last.0 == column => last.1 += weight,
                _ => columns.push((column, weight)),
            }
        }
        Self { columns, sum }
    }

    /// The mean of D over cells, all alike.
    pub(super) fn mean(cells: &[&Cell]) -> Self {
        let weight = 1.0 / cells.len() as f64;
        Self::of(cells.iter().map(|cell| (*cell, weight)))
    }

    /// Σ w D [pm].
    pub(super) fn value(&self) -> [f64; 2] {
        self.sum
    }

    /// Covariance of the sum [pm²]: Σ w² cov(r) over columns.
    pub(super) fn covariance(&self, map: &ColumnMap) -> Covariance {
        let columns = self.columns.iter();
        columns.fold(Covariance::default(), |sum, &(column, weight)| {
            sum.plus(of_column(&map.columns[column]).scaled(weight * weight))
        })
    }

    /// Covariance of the sum with D of one cell [pm²].
    pub(super) fn with(&self, map: &ColumnMap, cell: &Cell) -> Covariance {
        let terms = [
            (cell.b, 1.0),
            (cell.a[0], -0.25),
            (cell.a[1], -0.25),
            (cell.a[2], -0.25),
            (cell.a[3], -0.25),
        ];
        terms
            .iter()
            .fold(Covariance::default(), |sum, &(column, factor)| {
                let found = self.columns.binary_search_by_key(&column, |(c, _)| *c);
                let weight = found.map_or(0.0, |place| self.columns[place].1);
                // Columns that have no part in the sum may be unmeasured: 0 · ∞ is not 0.
                if weight == 0.0 {
                    return sum;
                }
                sum.plus(of_column(&map.columns[column]).scaled(weight * factor))
            })
    }
}

/// Whether a cell counts in statistics.
pub(super) fn is_sound(cell: &Cell) -> bool {
    cell.flags == 0 && cell.displacement.iter().all(|d| d.is_finite())
}
