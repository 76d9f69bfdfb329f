//! BiFeO₃ and its relatives, cell by cell, seen along [100] of the pseudocubic cell.
//!
//! Ideal cell (i, j, k): A at a(i, j, k), B at the body centre, O_α at B − (a/2) e_α; everything is moved by a/4 along the beam
//! so that each atomic plane lies in the middle of a slice of thickness a/2. With a polar field p (components ±1 in a domain)
//! and amplitude η, relative to the oxygen cage (R3c BiFeO₃: Palewicz, Przeniosło, Sosnowska & Hewat, Acta Cryst. B 63, 537
//! (2007), 298 K, written in pseudocubic axes):
//!
//! * u_A = 0.09634 a η p, u_B = 0.03676 a η p; hence D = u_B − u_A = −0.0596 a η p, antiparallel to P;
//! * O_α moves by 0.0181 a η p_α along α and −0.00905 a η p_β along the other two axes;
//! * the octahedra turn in antiphase, O_α moves by s w (p × r), s = (−1)^(i+j+k), r = −(a/2) e_α, w = 0.1243.
//!
//! **Rhombohedral shear** (off unless asked for): pseudocubic axes enclose α = 89.43° instead of 90° in a domain (+ + +), the
//! symmetric strain having ε_xz = ½ cos α. Atoms at depth z below the entrance face are moved by ε p_z (p_x, p_y) z, so the columns
//! lean by ε = 5 mrad towards (s_x s_z, s_y s_z). The other half of the angle would be a slope of the surfaces, and ε_xy a shear in
//! the plane: both are left out, the block stays periodic, and where domains meet their columns lean apart. A mistilt t_x shows
//! a column at depth z at x₀ − z tan t_x: a lean of +ε along x looks like a tilt of −ε, and t_x = +ε makes it upright.

use super::composition::Antipolar;
use super::displacements::DisplacementField;
use super::field::PolarField;
use super::film::{Interface, SUBSTRATE};
use super::lattice::Lattice;
use super::structure::{Structure, Truth};
use super::{Sublattice, element};
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

/// What moves the atoms of a cell off their ideal places.
#[derive(Debug, Clone, PartialEq)]
pub enum Distortion {
    /// The R3c recipe with amplitude η and a polar field.
    R3c {
        /// Amplitude η of the polar displacements.
        amplitude: f64,
        /// Polar field p.
        field: PolarField,
        /// ε of the rhombohedral shear [rad].
        shear: f64,
    },
    /// Each sublattice moved as a whole, oxygen cage unturned: the cubic cell (zeros) and simple polar cells.
    Rigid {
        /// Shift of A, B and O `[x, y, z]` [Å].
        shifts: [[f64; 3]; 3],
    },
    /// Displacements given cell by cell.
    Given(DisplacementField),
}

/// Which elements sit on the A and B sites.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Occupation {
    /// Fraction of the A sites (of the film, if there is one) that hold Sm instead of Bi.
    pub samarium: f64,
    /// Where a substrate ends.
    pub interface: Option<Interface>,
    /// Seed of the draws.
    pub seed: u64,
}

/// A block of perovskite.
#[derive(Debug, Clone, PartialEq)]
pub struct Perovskite {
    /// Number of cells along x, y, z.
    pub cells: [usize; 3],
    /// Where the cells lie.
    pub lattice: Lattice,
    /// Displacements.
    pub distortion: Distortion,
    /// Antipolar shifts of the A sites, on top.
    pub antipolar: Option<Antipolar>,
    /// Shift of all A and all B atoms `[x, y, z]`, on top [Å].
    pub injected: [[f64; 3]; 2],
    /// Elements.
    pub occupation: Occupation,
}

/// Shifts of the atoms of a cell [Å].
struct Shifts {
    a: [f64; 3],
    b: [f64; 3],
    oxygen: [[f64; 3]; 3],
}

impl Perovskite {
    /// The atoms, and the truth about their columns over one period of the block.
    #[must_use]
    pub fn build(&self) -> (Structure, Truth) {
        let [nx, ny, nz] = self.cells;
        let cell = self.lattice.extent(self.cells);
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
        let edges = self.lattice.edges(index[1]);
        let corner = self.lattice.corner(index);
        let centre = std::array::from_fn(|axis| corner[axis] + edges[axis] / 2.0);
        let shifts = self.shifts(index, corner, centre);
        let [a_element, b_element] = self.occupation.elements(index, [corner[1], centre[1]]);
        let oxygen = |axis: usize| {
            let mut position = add(centre, shifts.oxygen[axis]);
            position[axis] -= edges[axis] / 2.0;
            (element::O, Sublattice::O, position)
        };
        let [injected_a, injected_b] = self.injected;
        let antipolar = self.antipolar.map_or([0.0; 3], |shifts| shifts.at(index));
        let at_a = add(add(add(corner, shifts.a), antipolar), injected_a);
        let at_b = add(add(centre, shifts.b), injected_b);
        [
            (a_element, Sublattice::A, at_a),
            (b_element, Sublattice::B, at_b),
            oxygen(0),
            oxygen(1),
            oxygen(2),
        ]
    }

    /// Shifts of the atoms of a cell, from its ideal A and B places [Å].
    fn shifts(&self, index: [usize; 3], corner: [f64; 3], centre: [f64; 3]) -> Shifts {
        let rigid = |[a, b, o]: [[f64; 3]; 3]| Shifts {
            a,
            b,
            oxygen: [o; 3],
        };
        match &self.distortion {
            Distortion::Rigid { shifts } => rigid(*shifts),
            Distortion::Given(field) => rigid(field.at(index)),
            Distortion::R3c {
                amplitude,
                field,
                shear,
            } => {
                let size = self.lattice.scale() * amplitude;
                let [p_corner, p] = [field.at(corner), field.at(centre)];
                let oxygen = |axis: usize| {
                    let arm = self.lattice.edges(index[1])[axis] / 2.0;
                    // The oxygen on the entrance side of the B site lies half a cell higher.
                    let depth = if axis == 2 {
                        centre[2] - arm
                    } else {
                        centre[2]
                    };
                    add(
                        oxygen_shift(axis, p, size, arm, index),
                        lean(p, *shear, depth),
                    )
                };
                Shifts {
                    a: add(
                        p_corner.map(|p| A_SHIFT * size * p),
                        lean(p_corner, *shear, corner[2]),
                    ),
                    b: add(p.map(|p| B_SHIFT * size * p), lean(p, *shear, centre[2])),
                    oxygen: [oxygen(0), oxygen(1), oxygen(2)],
                }
            }
        }
    }
}

/// Shift of the oxygen on face `axis` at the distance `arm` from the B site; `size` is a η [Å].
fn oxygen_shift(axis: usize, p: [f64; 3], size: f64, arm: f64, index: [usize; 3]) -> [f64; 3] {
    let sign = if index.iter().sum::<usize>() % 2 == 0 {
        1.0
    } else {
        -1.0
    };
    let mut place = [0.0; 3];
    place[axis] = -arm;
    let turn = cross(p, place).map(|x| sign * ROTATION * x);
    std::array::from_fn(|other| {
        let polar = if other == axis {
            O_SHIFT_ALONG
        } else {
            O_SHIFT_ACROSS
        };
        polar * size * p[other] + turn[other]
    })
}

/// Shift of an atom at depth z by the rhombohedral shear ε [rad].
fn lean(p: [f64; 3], shear: f64, z: f64) -> [f64; 3] {
    let size = shear * p[2] * z;
    [size * p[0], size * p[1], 0.0]
}

impl Occupation {
    /// Elements on A and B of a cell, whose sites lie at these heights y [Å]: counter generators, so that a site keeps its
    /// element for any size and cutting of the block.
    fn elements(&self, [i, j, k]: [usize; 3], heights: [f64; 2]) -> [u8; 2] {
        let counter = (i as u64) | ((j as u64) << 21) | ((k as u64) << 42);
        let film: [bool; 2] = std::array::from_fn(|site| {
            self.interface
                .is_none_or(|interface| interface.is_film(site, heights[site], self.seed, counter))
        });
        let a = match film[0] {
            false => SUBSTRATE[0],
            true if self.is_samarium(counter) => element::SM,
            true => element::BI,
        };
        let b = if film[1] { element::FE } else { SUBSTRATE[1] };
        [a, b]
    }

    fn is_samarium(&self, counter: u64) -> bool {
        if self.samarium <= 0.0 {
            return false;
        }
        let draw: f64 = stream(self.seed, "samarium", counter).random();
        draw < self.samarium
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
    use crate::crystal::field::Field;

    fn r3c(direction: [f64; 3]) -> Perovskite {
        let distortion = Distortion::R3c {
            amplitude: 1.0,
            field: PolarField::everywhere(Field::Uniform(direction)),
            shear: 0.0,
        };
        Perovskite {
            cells: [2, 2, 2],
            lattice: Lattice::cubic(3.9643),
            distortion,
            antipolar: None,
            injected: [[0.0; 3]; 2],
            occupation: Occupation {
                samarium: 0.0,
                interface: None,
                seed: 1,
            },
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
        small.occupation.samarium = 0.2;
        let mut large = small.clone();
        large.cells = [4, 2, 2];
        let occupation = |crystal: &Perovskite| -> Vec<u8> {
            (0..8)
                .map(|n| crystal.atoms([n & 1, n >> 1 & 1, n >> 2])[0].0)
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
