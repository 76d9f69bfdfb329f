//! The columns of any periodic crystal, found by projection, and the truth about them.
//!
//! The atoms of a sublattice are projected along the beam; those within a tolerance of a column's first atom belong to it, and the
//! column stands at their mean. D is that of [`crate::crystal::polarization`], for B columns that four A columns surround. Seen along
//! other directions than ⟨100⟩ a perovskite has no such four: where a fifth A column is nearly as close, there is no D.

use std::collections::HashMap;

use crate::crystal::Sublattice;
use crate::crystal::polarization::{Point, polar_cells};
use crate::crystal::structure::{Structure, Truth};
use crate::neighbours::Neighbours;

/// The fifth A column of a cell must be this much farther from B than the fourth; it is 2.2 times in a square.
const FIFTH_OVER_FOURTH: f64 = 1.3;

/// The truth over one period of a structure, and what is to be said about it. `tolerance` [Å] is the largest distance of an atom
/// from the first atom of its column.
pub(super) fn truth(structure: &Structure, tolerance: f64) -> (Truth, Vec<String>) {
    let extent = [structure.cell[0], structure.cell[1]];
    let of = |wanted: Sublattice| {
        let atoms = structure.positions.iter().zip(&structure.sublattices);
        let points = atoms
            .filter(|(_, kind)| **kind == wanted)
            .map(|(p, _)| [p[0], p[1]]);
        columns(points, extent, tolerance)
    };
    let (a, b) = (of(Sublattice::A), of(Sublattice::B));
    let mut notes = Vec::new();
    for (name, columns) in [("A", &a), ("B", &b)] {
        if let Some(distance) =
            closest(columns, extent).filter(|&distance| distance < 2.0 * tolerance)
        {
            notes.push(format!(
                "{name} columns {distance:.2} Å apart: not all are columns; the tolerance is {tolerance} Å (column_tolerance_angstrom)"
            ));
        }
    }
    let (b_columns, displacements): (Vec<Point>, Vec<[f64; 2]>) =
        polar(&a, &b, extent).into_iter().unzip();
    if b_columns.len() < b.len() {
        notes.push(format!(
            "{} of {} B columns have a polar displacement: the others are not surrounded by four A columns",
            b_columns.len(),
            b.len()
        ));
    }
    let truth = Truth {
        a_columns: a,
        b_columns,
        displacements,
    };
    (truth, notes)
}

/// Mean positions of the columns, in the order in which their first atoms are listed.
fn columns(points: impl Iterator<Item = Point>, extent: [f64; 2], tolerance: f64) -> Vec<Point> {
    let bins = extent.map(|edge| ((edge / tolerance) as i64).max(1));
    let bin = |point: Point| -> [i64; 2] {
        std::array::from_fn(|axis| {
            ((point[axis] / extent[axis]).rem_euclid(1.0) * bins[axis] as f64) as i64
        })
    };
    let step = |from: Point, to: Point| -> Point {
        std::array::from_fn(|axis| {
            let difference = to[axis] - from[axis];
            difference - (difference / extent[axis]).round() * extent[axis]
        })
    };
    let mut found: Vec<(Point, Point, f64)> = Vec::new();
    let mut content: HashMap<[i64; 2], Vec<usize>> = HashMap::new();
    for point in points {
        let centre = bin(point);
        let mut near: Option<(usize, f64)> = None;
        for (dx, dy) in (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (dx, dy))) {
            let key = [
                (centre[0] + dx).rem_euclid(bins[0]),
                (centre[1] + dy).rem_euclid(bins[1]),
            ];
            for &index in content.get(&key).into_iter().flatten() {
                let [x, y] = step(found[index].0, point);
                let distance = x.hypot(y);
                if distance <= tolerance && near.is_none_or(|(_, least)| distance < least) {
                    near = Some((index, distance));
                }
            }
        }
        if let Some((index, _)) = near {
            let (first, sum, count) = &mut found[index];
            let [x, y] = step(*first, point);
            *sum = [sum[0] + x, sum[1] + y];
            *count += 1.0;
        } else {
            content.entry(centre).or_default().push(found.len());
            found.push((point, [0.0; 2], 1.0));
        }
    }
    found
        .into_iter()
        .map(|(first, sum, count)| [first[0] + sum[0] / count, first[1] + sum[1] / count])
        .collect()
}

/// The columns with their images around the cell, three cell edges or 20 Å far; an image has the index of its column modulo their number.
fn with_images(columns: &[Point], extent: [f64; 2]) -> Vec<Point> {
    let reach = extent.map(|edge| (20.0 / edge).ceil().min(3.0) as i64);
    let mut images = columns.to_vec();
    for j in -reach[1]..=reach[1] {
        for i in (-reach[0]..=reach[0]).filter(|&i| (i, j) != (0, 0)) {
            let shift = [i as f64 * extent[0], j as f64 * extent[1]];
            images.extend(columns.iter().map(|p| [p[0] + shift[0], p[1] + shift[1]]));
        }
    }
    images
}

/// The smallest distance of two columns of the periodic cell [Å].
fn closest(columns: &[Point], extent: [f64; 2]) -> Option<f64> {
    let tree = Neighbours::new(&with_images(columns, extent));
    let second = |&point: &Point| tree.nearest(point, 2).get(1).map(|&(_, distance)| distance);
    columns.iter().filter_map(second).reduce(f64::min)
}

/// B columns with a displacement D [pm].
fn polar(a: &[Point], b: &[Point], extent: [f64; 2]) -> Vec<(Point, [f64; 2])> {
    let images = with_images(a, extent);
    let tree = Neighbours::new(&images);
    let clear = |centre: Point| {
        let nearest = tree.nearest(centre, 5);
        nearest.len() == 5 && nearest[4].1 > FIFTH_OVER_FOURTH * nearest[3].1
    };
    polar_cells(&images, b)
        .into_iter()
        .filter(|cell| clear(b[cell.b]))
        .map(|cell| (b[cell.b], cell.displacement))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(cell: [f64; 3], atoms: &[(Sublattice, [f64; 3])]) -> Structure {
        Structure {
            positions: atoms.iter().map(|(_, position)| *position).collect(),
            numbers: vec![1; atoms.len()],
            cell,
            sublattices: atoms.iter().map(|(kind, _)| *kind).collect(),
        }
    }

    #[test]
    fn a_column_cut_by_the_border_is_one_column_at_its_mean() {
        use Sublattice::{A, B};
        let atoms = [
            (A, [0.1, 0.0, 0.0]),
            (A, [3.9, 0.0, 2.0]),
            (B, [2.3, 2.0, 1.0]),
        ];
        let (truth, notes) = truth(&structure([4.0, 4.0, 4.0], &atoms), 0.8);
        assert_eq!((truth.a_columns.len(), notes.len()), (1, 0), "{notes:?}");
        assert!(truth.a_columns[0][0].abs() < 1e-12);
        let [x, y] = truth.displacements[0];
        assert!((x - 30.0).abs() < 1e-9 && y.abs() < 1e-9, "{x} {y}");
    }

    #[test]
    fn along_the_face_diagonal_there_is_no_displacement() {
        use Sublattice::{A, B};
        // Perovskite along [110]: A at the corners of a × a/√2, B at half of a above each.
        let (a, short) = (4.0, 4.0 / 2.0_f64.sqrt());
        let atoms = [(A, [0.0, 0.0, 0.0]), (B, [a / 2.0, 0.0, 0.0])];
        let (truth, notes) = truth(&structure([a, short, 4.0], &atoms), 0.5);
        assert!(truth.displacements.is_empty() && truth.b_columns.is_empty());
        assert!(notes[0].starts_with("0 of 1 B columns"), "{notes:?}");
    }
}
