//! Atoms on top of each other: the sign of a wrong cell, of a wrong setting of a space group, or of a displacement in the wrong
//! unit.

use super::element;
use super::structure::Structure;
use crate::error::{Error, Result};

/// Atoms closer than this are one atom told twice [Å]; the shortest bond there is, H₂, has 0.74 Å.
const CLOSEST: f64 = 0.3;

/// Atoms sorted into the boxes of a coarse grid: linked lists.
struct Boxes {
    /// Number of boxes along x, y, z.
    count: [usize; 3],
    /// First atom of each box.
    head: Vec<Option<u32>>,
    /// The atom after each atom in its box.
    next: Vec<Option<u32>>,
}

impl Boxes {
    /// About one atom to a box, and no box smaller than the closest distance.
    fn new(structure: &Structure) -> Self {
        let volume: f64 = structure.cell.iter().product();
        let edge = (volume / structure.len().max(1) as f64).cbrt().max(CLOSEST);
        let count = structure
            .cell
            .map(|length| ((length / edge) as usize).max(1));
        let mut boxes = Self {
            count,
            head: vec![None; count.iter().product()],
            next: vec![None; structure.len()],
        };
        // Backwards, so that each list runs by rising number.
        for (atom, position) in structure.positions.iter().enumerate().rev() {
            let place = boxes.place(boxes.index(position, &structure.cell));
            boxes.next[atom] = boxes.head[place];
            boxes.head[place] = u32::try_from(atom).ok();
        }
        boxes
    }

    fn index(&self, position: &[f64; 3], cell: &[f64; 3]) -> [usize; 3] {
        std::array::from_fn(|axis| {
            let fraction = (position[axis] / cell[axis]).clamp(0.0, 1.0);
            ((fraction * self.count[axis] as f64) as usize).min(self.count[axis] - 1)
        })
    }

    fn place(&self, [x, y, z]: [usize; 3]) -> usize {
        (z * self.count[1] + y) * self.count[0] + x
    }

    /// Atoms in the boxes around a box, with it; x and y are periodic, z is not.
    fn around(&self, index: [usize; 3]) -> impl Iterator<Item = usize> {
        let steps = |axis: usize| (0..3_usize).map(move |step| (axis, step));
        let neighbours = steps(2).flat_map(move |z| {
            steps(1).flat_map(move |y| steps(0).map(move |x| [x, y, z].map(|(_, step)| step)))
        });
        neighbours
            .filter_map(move |step| {
                let z = (index[2] + step[2]).checked_sub(1)?;
                let around = |axis: usize| {
                    (index[axis] + step[axis] + self.count[axis] - 1) % self.count[axis]
                };
                (z < self.count[2]).then(|| self.place([around(0), around(1), z]))
            })
            .flat_map(move |place| {
                std::iter::successors(self.head[place], |&atom| self.next[atom as usize])
                    .map(|atom| atom as usize)
            })
    }
}

impl Structure {
    /// The first two atoms that are closer than 0.3 Å, by rising number, and their distance [Å]; the cell is periodic in x and y.
    #[must_use]
    pub fn overlapping(&self) -> Option<(usize, usize, f64)> {
        let boxes = Boxes::new(self);
        (0..self.len()).find_map(|atom| {
            boxes
                .around(boxes.index(&self.positions[atom], &self.cell))
                .filter(|&other| other > atom)
                .map(|other| (other, self.distance(atom, other)))
                .filter(|&(_, distance)| distance < CLOSEST)
                .min_by(|a, b| a.0.cmp(&b.0))
                .map(|(other, distance)| (atom, other, distance))
        })
    }

    /// Distance of two atoms, the shortest one in a cell that is periodic in x and y [Å].
    fn distance(&self, one: usize, other: usize) -> f64 {
        let [p, q] = [self.positions[one], self.positions[other]];
        let square: f64 = (0..3)
            .map(|axis| {
                let d = p[axis] - q[axis];
                let period = if axis < 2 {
                    self.cell[axis]
                } else {
                    f64::INFINITY
                };
                let turns = if period.is_finite() {
                    (d / period).round() * period
                } else {
                    0.0
                };
                (d - turns).powi(2)
            })
            .sum();
        square.sqrt()
    }

    /// Refuses atoms on top of each other; `place` says where the structure comes from.
    ///
    /// # Errors
    /// Both atoms, counted from 1, and their distance.
    pub fn check_overlaps(&self, place: &str) -> Result<()> {
        let Some((one, other, distance)) = self.overlapping() else {
            return Ok(());
        };
        let name = |atom: usize| {
            let [x, y, z] = self.positions[atom];
            let symbol = element::symbol(self.numbers[atom]);
            format!("atom {} ({symbol} at {x:.3}, {y:.3}, {z:.3} Å)", atom + 1)
        };
        Err(Error::Setting {
            place: place.to_owned(),
            got: format!("{} and {} {distance:.3} Å apart", name(one), name(other)),
            allowed: format!("atoms at least {CLOSEST} Å apart"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crystal::Sublattice;
    use crate::rng::{Rng, stream};

    fn structure(positions: Vec<[f64; 3]>, cell: [f64; 3]) -> Structure {
        let count = positions.len();
        Structure {
            positions,
            numbers: vec![element::FE; count],
            cell,
            sublattices: vec![Sublattice::B; count],
        }
    }

    #[test]
    fn overlaps_are_found_over_the_border_but_not_along_the_beam() {
        let cell = [8.0, 8.0, 4.0];
        let pair = |a, b| structure(vec![[4.0; 3], a, b], cell).overlapping();
        assert_eq!(pair([0.0; 3], [2.0, 2.0, 0.0]), None);
        let found = pair([0.1, 3.0, 1.0], [7.9, 3.0, 1.0]);
        assert!(found.is_some_and(|(i, j, d)| (i, j) == (1, 2) && (d - 0.2).abs() < 1e-9));
        assert_eq!(pair([1.0, 1.0, 0.0], [1.0, 1.0, 3.95]), None);
        let error = structure(vec![[1.0; 3], [1.0, 1.1, 1.0]], cell).check_overlaps("s.xyz");
        assert_eq!(
            error.unwrap_err().to_string(),
            "s.xyz: got atom 1 (Fe at 1.000, 1.000, 1.000 Å) and atom 2 (Fe at 1.000, 1.100, 1.000 Å) 0.100 Å apart; allowed: atoms at least 0.3 Å apart"
        );
    }

    #[test]
    fn the_grid_agrees_with_looking_at_every_pair() {
        for seed in 0..40 {
            let mut rng = stream(seed, "positions", 0);
            let cell = [6.0, 9.0, 5.0];
            let positions = (0..60)
                .map(|_| cell.map(|length| length * rng.random::<f64>()))
                .collect();
            let structure = structure(positions, cell);
            let slow = (0..60)
                .flat_map(|i| (i + 1..60).map(move |j| (i, j)))
                .map(|(i, j)| (i, j, structure.distance(i, j)))
                .find(|(_, _, distance)| *distance < CLOSEST);
            assert_eq!(structure.overlapping(), slow);
        }
    }
}
