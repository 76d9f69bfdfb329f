//! Where a specimen is cut along the beam, and which of the slices hold the same atoms.

use std::collections::{BTreeMap, HashMap};

use crate::neighbours::Point;

/// Positions that differ by less are the same [Å]: far below any displacement, far above rounding.
const SAME_POSITION: f64 = 1e-9;
/// A number of slices that exceeds a whole one by less than this fraction of a slice is that whole number.
const WHOLE_SLICE: f64 = 1e-6;

/// The atoms of a slice by species, projected.
pub(super) type SliceAtoms = BTreeMap<u8, Vec<Point>>;

/// Slices of at most `slice_thickness` in `height` (both in Å); a height of 100.0000001 slices has 100.
#[must_use]
pub fn slice_count(height: f64, slice_thickness: f64) -> usize {
    ((height / slice_thickness - WHOLE_SLICE).ceil() as usize).max(1)
}

/// The slice that holds depth `z`, or nothing if `z` is more than a slice outside the cell.
pub(super) fn slice_of(z: f64, thickness: f64, count: usize) -> Option<usize> {
    // An atom meant to lie on a boundary belongs below it, whatever the last bit says.
    let slice = ((z + SAME_POSITION) / thickness).floor();
    (slice >= -1.0 && slice <= count as f64).then(|| (slice.max(0.0) as usize).min(count - 1))
}

/// Finds slices with the same atoms: the index of each slice's potential, and the different slices.
pub(super) fn deduplicate(
    slices: Vec<SliceAtoms>,
    extent: [f64; 2],
) -> (Vec<usize>, Vec<SliceAtoms>) {
    let mut known = HashMap::new();
    let mut unique = Vec::new();
    let mut order = Vec::with_capacity(slices.len());
    for atoms in slices {
        let index = *known.entry(fingerprint(&atoms, extent)).or_insert_with(|| {
            unique.push(atoms);
            unique.len() - 1
        });
        order.push(index);
    }
    (order, unique)
}

/// Species and periodic positions in steps of [`SAME_POSITION`], in an order that does not depend on the atoms' order.
fn fingerprint(atoms: &SliceAtoms, extent: [f64; 2]) -> Vec<(u8, i64, i64)> {
    // The offset keeps the borders between steps away from positions that people write down.
    let step = |value: f64, length: f64| {
        let steps = (value / SAME_POSITION + 0.309_016_99).floor() as i64;
        steps.rem_euclid((length / SAME_POSITION).round() as i64)
    };
    let mut key: Vec<_> = atoms
        .iter()
        .flat_map(|(&number, points)| points.iter().map(move |&point| (number, point)))
        .map(|(number, [x, y])| (number, step(y, extent[0]), step(x, extent[1])))
        .collect();
    key.sort_unstable();
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_counted_without_the_last_bit() {
        assert_eq!(slice_count(198.25, 1.9825), 100);
        assert_eq!(slice_count(100.000_000_1, 1.0), 100);
        assert_eq!(slice_count(100.1, 1.0), 101);
        assert_eq!(slice_count(0.5, 2.0), 1);
        assert_eq!(slice_of(3.0 * 1.9825 - 1e-13, 1.9825, 4), Some(3));
        assert_eq!(slice_of(-0.1, 2.0, 4), Some(0));
        assert_eq!(slice_of(8.0, 2.0, 4), Some(3));
        assert_eq!(slice_of(10.5, 2.0, 4), None);
    }
}
