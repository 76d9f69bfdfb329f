//! Atoms in a box, and the columns they form along the beam.

use super::Sublattice;
use super::polarization::{Point, displacement};

/// Columns nearer to the rim of a field than this are on it [Å].
const RIM: f64 = 1e-6;

/// Atoms in an orthogonal cell that is periodic in x and y; the beam runs along +z from z = 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Structure {
    /// Positions `[x, y, z]` [Å], inside the cell.
    pub positions: Vec<[f64; 3]>,
    /// Atomic numbers, one per atom.
    pub numbers: Vec<u8>,
    /// Edges of the cell `[x, y, z]` [Å].
    pub cell: [f64; 3],
    /// Sublattice of each atom.
    pub sublattices: Vec<Sublattice>,
}

impl Structure {
    /// Number of atoms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are no atoms.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

/// The truth about an image: where the columns are and how far each B column is off centre.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Truth {
    /// A columns, positions averaged over depth [Å].
    pub a_columns: Vec<Point>,
    /// B columns, positions averaged over depth [Å].
    pub b_columns: Vec<Point>,
    /// D of each B column, averaged over depth [pm].
    pub displacements: Vec<[f64; 2]>,
}

impl Truth {
    /// The truth of a perovskite of `nx × ny` columns per sublattice that is periodic over `extent` `[x, y]` [Å]:
    /// `a_columns` and `b_columns` in row-major order (y outer), the A column (i, j) being the upper left corner of cell (i, j).
    ///
    /// # Panics
    /// If the number of columns is not nx·ny.
    #[must_use]
    pub fn periodic(
        a_columns: Vec<Point>,
        b_columns: Vec<Point>,
        [nx, ny]: [usize; 2],
        extent: [f64; 2],
    ) -> Self {
        assert_eq!(a_columns.len(), nx * ny);
        assert_eq!(b_columns.len(), nx * ny);
        let corner = |i: usize, j: usize| {
            let p = a_columns[(j % ny) * nx + i % nx];
            [
                p[0] + (i / nx) as f64 * extent[0],
                p[1] + (j / ny) as f64 * extent[1],
            ]
        };
        let cell = |n: usize| {
            let (i, j) = (n % nx, n / nx);
            displacement(
                b_columns[n],
                [
                    corner(i, j),
                    corner(i + 1, j),
                    corner(i, j + 1),
                    corner(i + 1, j + 1),
                ],
            )
        };
        let displacements = (0..nx * ny).map(cell).collect();
        Self {
            a_columns,
            b_columns,
            displacements,
        }
    }

    /// The part of a periodic truth that lies in a field from `start` to `end` `[x, y]` [Å], in coordinates of the field;
    /// `cell` is the period `[x, y]` [Å].
    #[must_use]
    pub fn in_field(&self, start: Point, end: Point, cell: [f64; 2]) -> Self {
        let shifts = |axis: usize| {
            let first = (start[axis] / cell[axis]).floor() as i64 - 1;
            let last = (end[axis] / cell[axis]).ceil() as i64 + 1;
            first..=last
        };
        // A column on the rim belongs to the near one, whatever the last bits of a raster's end say.
        let inside = |p: &Point| {
            (0..2).all(|axis| p[axis] >= -RIM && p[axis] < end[axis] - start[axis] - RIM)
        };
        let mut field = Self::default();
        for j in shifts(1) {
            for i in shifts(0) {
                let moved = |p: &Point| {
                    [
                        p[0] + i as f64 * cell[0] - start[0],
                        p[1] + j as f64 * cell[1] - start[1],
                    ]
                };
                field
                    .a_columns
                    .extend(self.a_columns.iter().map(moved).filter(inside));
                for (b, d) in self.b_columns.iter().zip(&self.displacements) {
                    let b = moved(b);
                    if inside(&b) {
                        field.b_columns.push(b);
                        field.displacements.push(*d);
                    }
                }
            }
        }
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_periodic_crystal_keeps_every_column_once() {
        let a: Vec<Point> = (0..6)
            .map(|n| [(n % 3) as f64 * 4.0, (n / 3) as f64 * 4.0])
            .collect();
        let b: Vec<Point> = a.iter().map(|p| [p[0] + 2.1, p[1] + 1.8]).collect();
        let truth = Truth::periodic(a, b, [3, 2], [12.0, 8.0]);
        for d in &truth.displacements {
            assert!((d[0] - 10.0).abs() < 1e-9 && (d[1] + 20.0).abs() < 1e-9);
        }
        let whole = truth.in_field([0.0, 0.0], [12.0, 8.0], [12.0, 8.0]);
        assert_eq!((whole.a_columns.len(), whole.b_columns.len()), (6, 6));
        let rounded = truth.in_field([0.0, 0.0], [12.0 + 1e-12, 8.0 - 1e-12], [12.0, 8.0]);
        assert_eq!((rounded.a_columns.len(), rounded.b_columns.len()), (6, 6));
        let shifted = truth.in_field([-1.0, 3.0], [23.0, 11.0], [12.0, 8.0]);
        assert_eq!((shifted.a_columns.len(), shifted.b_columns.len()), (12, 12));
    }
}
