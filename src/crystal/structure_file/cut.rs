//! Which orthogonal box is cut out of a crystal: given as a supercell, or found for a beam direction.
//!
//! Multislice needs a box with right angles. Axes that are orthogonal are only turned. Axes that are nearly so (pseudocubic BiFeO₃,
//! 89.43°) are strained: every atom keeps its fractional coordinates and the edges their lengths, so that only the angles change. The
//! strain is the largest principal one, from the eigenvalues μ of the matrix of the cosines between the edges: ε = μ^(−½) − 1.

use super::lattice::{Matrix, angles, cross, dot, inverse, length, product, times};

/// Strain below which a box counts as orthogonal.
const EXACT: f64 = 1e-4;

/// A box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    /// Edges in units of the primitive lattice vectors, rows.
    pub(super) rows: [[i64; 3]; 3],
    /// Lengths of the edges [Å].
    pub(super) edges: [f64; 3],
    /// Angles between the edges before the strain [°].
    pub(super) angles: [f64; 3],
    /// Largest principal strain that makes them right.
    pub(super) strain: f64,
}

impl Cut {
    /// The box with these edges; `lattice` holds the primitive vectors [Å].
    pub(super) fn new(rows: [[i64; 3]; 3], lattice: &Matrix) -> Self {
        let vectors = product(&real(rows), lattice);
        Self {
            rows,
            edges: vectors.map(length),
            angles: angles(&vectors),
            strain: strain(&vectors),
        }
    }

    /// Number of primitive cells in the box; negative if its edges are left-handed.
    pub(super) fn cells(&self) -> i64 {
        let [a, b, c] = self.rows;
        let minor = |i: usize, j: usize| b[i] * c[j] - b[j] * c[i];
        a[0] * minor(1, 2) - a[1] * minor(0, 2) + a[2] * minor(0, 1)
    }

    /// All lattice vectors inside the box, in units of the primitive vectors.
    pub(super) fn translations(&self) -> Vec<[i64; 3]> {
        let [a, b, c] = self.rows;
        let minor = |p: [i64; 3], q: [i64; 3]| -> [i64; 3] {
            [
                p[1] * q[2] - p[2] * q[1],
                p[2] * q[0] - p[0] * q[2],
                p[0] * q[1] - p[1] * q[0],
            ]
        };
        // t = f · rows, so that f · cells is t · adjugate: integers, and inside when 0 ≤ … < cells.
        let (cells, adjugate) = (self.cells(), [minor(b, c), minor(c, a), minor(a, b)]);
        let inside = |t: [i64; 3]| {
            adjugate.iter().all(|column| {
                let f = t[0] * column[0] + t[1] * column[1] + t[2] * column[2];
                (0..cells).contains(&f)
            })
        };
        let range = |axis: usize| {
            let parts = [a[axis], b[axis], c[axis]];
            let below: i64 = parts.iter().filter(|&&x| x < 0).sum();
            let above: i64 = parts.iter().filter(|&&x| x > 0).sum();
            below..=above
        };
        let mut found = Vec::new();
        for i in range(0) {
            for j in range(1) {
                found.extend(range(2).map(|k| [i, j, k]).filter(|&t| inside(t)));
            }
        }
        found
    }
}

pub(super) fn real(rows: [[i64; 3]; 3]) -> Matrix {
    rows.map(|row| row.map(|x| x as f64))
}

/// The largest principal strain that makes the angles between these vectors right.
fn strain(vectors: &Matrix) -> f64 {
    let unit = vectors.map(|v| v.map(|x| x / length(v)));
    let [p, q, r] = [
        dot(unit[1], unit[2]),
        dot(unit[0], unit[2]),
        dot(unit[0], unit[1]),
    ];
    // Eigenvalues 1 + 2 s cos(θ + 2πk/3) of a symmetric matrix with a diagonal of ones (Smith, Commun. ACM 4, 168 (1961)).
    let size = ((p * p + q * q + r * r) / 3.0).sqrt();
    if size < 1e-15 {
        return 0.0;
    }
    let third = (p * q * r / size.powi(3)).clamp(-1.0, 1.0).acos() / 3.0;
    (0..3)
        .map(|k| 1.0 + 2.0 * size * (third + std::f64::consts::TAU * f64::from(k) / 3.0).cos())
        .map(|eigenvalue| (eigenvalue.max(1e-12).powf(-0.5) - 1.0).abs())
        .fold(0.0, f64::max)
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    /// Direction along the beam [Å, any length].
    pub(super) beam: [f64; 3],
    /// Direction to the right in the image [Å, any length], if it is asked for.
    pub(super) right: Option<[f64; 3]>,
    /// Longest edge across the beam [Å].
    pub(super) largest_box: f64,
    /// Largest strain.
    pub(super) largest_strain: f64,
}

impl Search {
    /// The smallest box with right angles whose z edge is the shortest lattice vector along the beam; the smallest one within the strain
    /// if none has right angles. Nothing if there is none, or the beam is along no lattice vector.
    pub(super) fn run(&self, lattice: &Matrix) -> Option<Cut> {
        let beam = along(self.beam, lattice)?;
        let axis = times(beam.map(|x| x as f64), lattice);
        let across = self.across(lattice, axis);
        let mut best: Option<Cut> = None;
        for &x in across.iter().filter(|&&x| first_is_positive(x)) {
            for &y in &across {
                let cut = Cut::new([x, y, beam], lattice);
                let right = self.right.is_none_or(|right| {
                    let vector = times(x.map(|n| n as f64), lattice);
                    self.small(length(cross(vector, right)), vector, right)
                        && dot(vector, right) > 0.0
                });
                let key = |cut: &Cut| (cut.strain > EXACT, cut.cells());
                let better = best.is_none_or(|best| key(&cut) < key(&best));
                if cut.cells() > 0
                    && cut.strain <= self.largest_strain.max(EXACT)
                    && right
                    && better
                {
                    best = Some(cut);
                }
            }
        }
        best
    }

    /// Whether a product of two vectors is as small as the strain allows.
    fn small(&self, product: f64, a: [f64; 3], b: [f64; 3]) -> bool {
        product.abs() <= (3.0 * self.largest_strain + EXACT) * length(a) * length(b)
    }

    /// Lattice vectors nearly at right angles to the axis, short ones first, positive ones before their opposites.
    fn across(&self, lattice: &Matrix, axis: [f64; 3]) -> Vec<[i64; 3]> {
        let inverse = inverse(lattice);
        let most = std::array::from_fn(|i| {
            let reciprocal = [inverse[0][i], inverse[1][i], inverse[2][i]];
            (self.largest_box * length(reciprocal)).floor() as i64
        });
        let mut found = Vec::new();
        let [u, v, w]: [i64; 3] = most;
        for i in -u..=u {
            for j in -v..=v {
                for k in -w..=w {
                    let vector = times([i as f64, j as f64, k as f64], lattice);
                    let size = length(vector);
                    let fits = size > 0.0 && size <= self.largest_box;
                    if fits && self.small(dot(vector, axis), vector, axis) {
                        // Rounded, so that equal lengths are equal.
                        found.push(((size * 1e6).round() as i64, [-i, -j, -k]));
                    }
                }
            }
        }
        found.sort_unstable();
        found
            .into_iter()
            .map(|(_, opposite)| opposite.map(|x| -x))
            .collect()
    }
}

fn first_is_positive(row: [i64; 3]) -> bool {
    row.into_iter().find(|&x| x != 0).is_some_and(|x| x > 0)
}

/// The shortest lattice vector along a direction, if there is one with indices up to a hundred.
fn along(direction: [f64; 3], lattice: &Matrix) -> Option<[i64; 3]> {
    let indices = times(direction, &inverse(lattice));
    let largest = indices.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    (1..=100).find_map(|n| {
        let scaled = indices.map(|x| x / largest * f64::from(n));
        let whole = scaled.iter().all(|x| (x - x.round()).abs() < 1e-6);
        whole.then(|| scaled.map(|x| x.round() as i64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_holds_as_many_translations_as_cells() {
        let lattice = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]];
        for rows in [
            [[1, -1, 0], [1, 1, 0], [0, 0, 1]],
            [[4, 2, -1], [2, 4, 1], [2, -2, 3]],
        ] {
            let cut = Cut::new(rows, &lattice);
            let found = cut.translations();
            assert_eq!(found.len() as i64, cut.cells(), "{rows:?}");
        }
    }

    #[test]
    fn the_strain_of_a_shear_is_half_its_angle() {
        let shear: f64 = 0.01;
        let vectors = [
            [1.0, 0.0, 0.0],
            [shear.sin(), shear.cos(), 0.0],
            [0.0, 0.0, 7.0],
        ];
        assert!(
            (strain(&vectors) - shear / 2.0).abs() < 1e-4,
            "{}",
            strain(&vectors)
        );
        assert_eq!(
            strain(&[[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 7.0]]),
            0.0
        );
    }

    #[test]
    fn the_smallest_box_along_a_diagonal_is_found() {
        let lattice = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]];
        let search = Search {
            beam: [1.0, 1.0, 0.0],
            right: None,
            largest_box: 12.0,
            largest_strain: 0.02,
        };
        let cut = search.run(&lattice).unwrap();
        assert_eq!((cut.cells(), cut.strain), (2, 0.0));
        assert_eq!(cut.rows[2], [1, 1, 0]);
        let turned = Search {
            right: Some([1.0, -1.0, 0.0]),
            ..search
        };
        assert_eq!(turned.run(&lattice).unwrap().rows[0], [1, -1, 0]);
        let irrational = Search {
            beam: [1.0, std::f64::consts::SQRT_2, 0.0],
            ..search
        };
        assert_eq!(irrational.run(&lattice), None);
    }
}
