//! BiFeO₃ and its relatives, cell by cell, seen along [100] of the pseudocubic cell.
//!
//! Ideal cell (i, j, k): A at a(i, j, k), B at the body centre, O_α at B − (a/2) e_α; everything is moved by a/4 along the beam
//! so that each atomic plane lies in the middle of a slice of thickness a/2. With a polar field p (components ±1 in a domain)
//! and amplitude η, relative to the oxygen cage (R3c BiFeO₃: Palewicz, Przeniosło, Sosnowska & Hewat, Acta Cryst. B 63, 537
//! (2007), written in pseudocubic axes):
//!
//! * u_A = 0.09634 a η p, u_B = 0.03676 a η p; hence D = u_B − u_A = −0.0596 a η p, antiparallel to P;
//! * O_α moves by 0.0181 a η p_α along α and −0.00905 a η p_β along the other two axes;
//! * the octahedra turn in antiphase, O_α moves by s w (p × r), s = (−1)^(i+j+k), r = −(a/2) e_α, w = 0.1243.

use super::Sublattice;
use super::structure::{Structure, Truth};
use super::texture::Field;
use crate::rng::{Rng, stream};

/// Shift of the A site over a η p.
const A_SHIFT: f64 = 0.096_34;
/// Shift of the B site over a η p.
const B_SHIFT: f64 = 0.036_76;
/// Shift of the oxygen O_α along α, over a η p_α.
const O_SHIFT_ALONG: f64 = 0.018_1;
/// Shift of the oxygen O_α across α, over a η p_β.
const O_SHIFT_ACROSS: f64 = -0.009_05;
/// Octahedral rotation vector over p [rad].
const ROTATION: f64 = 0.124_3;

/// Atomic numbers of what sits on the sites.
pub mod element {
    /// Oxygen.
    pub const O: u8 = 8;
    /// Iron.
    pub const FE: u8 = 26;
    /// Samarium.
    pub const SM: u8 = 62;
    /// Bismuth.
    pub const BI: u8 = 83;
}

/// What moves the atoms of a cell off their ideal places.
#[derive(Debug, Clone, PartialEq)]
pub enum Distortion {
    /// The R3c recipe with amplitude η and a polar field.
    R3c {
        /// Amplitude η of the polar displacements.
        amplitude: f64,
        /// Polar field p(x, y).
        field: Field,
    },
    /// Each sublattice moved as a whole, oxygen cage unturned: the cubic cell (zeros) and simple polar cells.
    Rigid {
        /// Shift of A, B and O `[x, y, z]` [Å].
        shifts: [[f64; 3]; 3],
    },
}

/// A block of perovskite.
#[derive(Debug, Clone, PartialEq)]
pub struct Perovskite {
    /// Number of cells along x, y, z.
    pub cells: [usize; 3],
    /// Pseudocubic lattice parameter [Å].
    pub lattice: f64,
    /// Displacements.
    pub distortion: Distortion,
    /// Fraction of A sites that hold Sm instead of Bi.
    pub samarium: f64,
    /// Seed of the Sm occupation.
    pub seed: u64,
}

impl Perovskite {
    /// The atoms, and the truth about their columns over one period of the block.
    #[must_use]
    pub fn build(&self) -> (Structure, Truth) {
        let [nx, ny, nz] = self.cells;
        let cell = self.cells.map(|n| n as f64 * self.lattice);
        let mut structure = Structure {
            positions: Vec::with_capacity(nx * ny * nz * 5),
            numbers: Vec::with_capacity(nx * ny * nz * 5),
            cell,
            sublattices: Vec::with_capacity(nx * ny * nz * 5),
        };
        let mut a_columns = vec![[0.0; 2]; nx * ny];
        let mut b_columns = vec![[0.0; 2]; nx * ny];
        for j in 0..ny {
            for i in 0..nx {
                for k in 0..nz {
                    for (number, sublattice, position) in self.atoms([i, j, k]) {
                        let column = match sublattice {
                            Sublattice::A => Some(&mut a_columns[j * nx + i]),
                            Sublattice::B => Some(&mut b_columns[j * nx + i]),
                            Sublattice::O => None,
                        };
                        if let Some(column) = column {
                            column[0] += position[0] / nz as f64;
                            column[1] += position[1] / nz as f64;
                        }
                        structure.positions.push(std::array::from_fn(|axis| {
                            position[axis].rem_euclid(cell[axis])
                        }));
                        structure.numbers.push(number);
                        structure.sublattices.push(sublattice);
                    }
                }
            }
        }
        (
            structure,
            Truth::periodic(a_columns, b_columns, [nx, ny], [cell[0], cell[1]]),
        )
    }

    /// The five atoms of cell (i, j, k), not wrapped into the block.
    fn atoms(&self, index: [usize; 3]) -> [(u8, Sublattice, [f64; 3]); 5] {
        let a = self.lattice;
        let corner = [
            index[0] as f64 * a,
            index[1] as f64 * a,
            index[2] as f64 * a + a / 4.0,
        ];
        let centre = corner.map(|x| x + a / 2.0);
        let [shift_a, shift_b, shifts_o] =
            self.shifts(index, [corner[0], corner[1]], [centre[0], centre[1]]);
        let oxygen = |axis: usize| {
            let mut position = add(centre, shifts_o[axis]);
            position[axis] -= a / 2.0;
            (element::O, Sublattice::O, position)
        };
        [
            (
                self.a_element(index),
                Sublattice::A,
                add(corner, shift_a[0]),
            ),
            (element::FE, Sublattice::B, add(centre, shift_b[0])),
            oxygen(0),
            oxygen(1),
            oxygen(2),
        ]
    }

    /// Shifts of A (in `[0][0]`), B (in `[1][0]`) and the three oxygens (`[2]`) of a cell [Å].
    fn shifts(&self, index: [usize; 3], corner: [f64; 2], centre: [f64; 2]) -> [[[f64; 3]; 3]; 3] {
        match &self.distortion {
            Distortion::Rigid { shifts: [a, b, o] } => [[*a; 3], [*b; 3], [*o; 3]],
            Distortion::R3c { amplitude, field } => {
                let size = self.lattice * amplitude;
                let at_a = field.at(corner).map(|p| A_SHIFT * size * p);
                let p = field.at(centre);
                let at_b = p.map(|p| B_SHIFT * size * p);
                let sign = if index.iter().sum::<usize>() % 2 == 0 {
                    1.0
                } else {
                    -1.0
                };
                let oxygen: [[f64; 3]; 3] = std::array::from_fn(|axis| {
                    let mut arm = [0.0; 3];
                    arm[axis] = -self.lattice / 2.0;
                    let turn = cross(p, arm).map(|x| sign * ROTATION * x);
                    std::array::from_fn(|other| {
                        let polar = if other == axis {
                            O_SHIFT_ALONG
                        } else {
                            O_SHIFT_ACROSS
                        };
                        polar * size * p[other] + turn[other]
                    })
                });
                [[at_a; 3], [at_b; 3], oxygen]
            }
        }
    }

    /// Bi or Sm on the A site of a cell, from a counter generator: the same for any size and cutting of the block.
    fn a_element(&self, [i, j, k]: [usize; 3]) -> u8 {
        if self.samarium <= 0.0 {
            return element::BI;
        }
        let counter = (i as u64) | ((j as u64) << 21) | ((k as u64) << 42);
        let draw: f64 = stream(self.seed, "samarium", counter).random();
        if draw < self.samarium {
            element::SM
        } else {
            element::BI
        }
    }
}

fn add(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|i| a[i] + b[i])
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r3c(direction: [f64; 3]) -> Perovskite {
        let distortion = Distortion::R3c {
            amplitude: 1.0,
            field: Field::Uniform(direction),
        };
        Perovskite {
            cells: [2, 2, 2],
            lattice: 3.9643,
            distortion,
            samarium: 0.0,
            seed: 1,
        }
    }

    #[test]
    fn every_variant_has_the_published_displacement() {
        for n in 0..8 {
            let p: [f64; 3] =
                std::array::from_fn(|axis| if n >> axis & 1 == 0 { 1.0 } else { -1.0 });
            let (structure, truth) = r3c(p).build();
            assert_eq!(structure.len(), 40);
            for d in truth.displacements {
                assert!(
                    (d[0] + 23.62 * p[0]).abs() < 0.01 && (d[1] + 23.62 * p[1]).abs() < 0.01,
                    "{d:?}"
                );
            }
        }
    }

    #[test]
    fn the_r3c_cell_keeps_its_bond_lengths() {
        // Palewicz et al. (2007), 298 K: three short and three long Fe–O bonds, 1.95 and 2.11 Å.
        let crystal = r3c([1.0, 1.0, 1.0]);
        let (structure, _) = crystal.build();
        let fe = structure.positions[1];
        let mut bonds: Vec<f64> = (0..structure.len())
            .filter(|&n| structure.numbers[n] == element::O)
            .map(|n| {
                (0..3)
                    .map(|axis| {
                        let d = structure.positions[n][axis] - fe[axis];
                        (d - (d / structure.cell[axis]).round() * structure.cell[axis]).powi(2)
                    })
                    .sum::<f64>()
                    .sqrt()
            })
            .collect();
        bonds.sort_by(f64::total_cmp);
        for bond in &bonds[..3] {
            assert!((bond - 1.95).abs() < 0.02, "{bonds:?}");
        }
        for bond in &bonds[3..6] {
            assert!((bond - 2.11).abs() < 0.02, "{bonds:?}");
        }
    }

    #[test]
    fn samarium_does_not_depend_on_the_size_of_the_block() {
        let mut small = r3c([1.0, 1.0, 1.0]);
        small.samarium = 0.2;
        let mut large = small.clone();
        large.cells = [4, 2, 2];
        let occupation = |crystal: &Perovskite| -> Vec<u8> {
            (0..8)
                .map(|n| crystal.a_element([n & 1, n >> 1 & 1, n >> 2]))
                .collect()
        };
        assert_eq!(occupation(&small), occupation(&large));
        large.cells = [16, 16, 16];
        let (structure, _) = large.build();
        let count = structure
            .numbers
            .iter()
            .filter(|&&z| z == element::SM)
            .count() as f64;
        assert!((count / 4096.0 - 0.2).abs() < 0.02, "{count}");
    }

    #[test]
    fn rigid_shifts_give_their_difference() {
        let shifts = [[0.1, 0.0, 0.0], [0.3, -0.2, 0.1], [0.0; 3]];
        let crystal = Perovskite {
            distortion: Distortion::Rigid { shifts },
            ..r3c([0.0; 3])
        };
        for d in crystal.build().1.displacements {
            assert!((d[0] - 20.0).abs() < 1e-9 && (d[1] + 20.0).abs() < 1e-9);
        }
    }
}
