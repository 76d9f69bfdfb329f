//! Axes, fractional coordinates, and the translations of a crystal. Vectors are rows: r = f · axes.

use std::collections::HashMap;

/// Three rows of three.
pub(super) type Matrix = [[f64; 3]; 3];

pub(super) const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// v · m.
pub(super) fn times(v: [f64; 3], m: &Matrix) -> [f64; 3] {
    std::array::from_fn(|j| v[0] * m[0][j] + v[1] * m[1][j] + v[2] * m[2][j])
}

pub(super) fn product(a: &Matrix, b: &Matrix) -> Matrix {
    a.map(|row| times(row, b))
}

pub(super) fn transpose(m: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| m[j][i]))
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn length(v: [f64; 3]) -> f64 {
    dot(v, v).sqrt()
}

pub(super) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

pub(super) fn determinant(m: &Matrix) -> f64 {
    dot(m[0], cross(m[1], m[2]))
}

/// The inverse of a matrix that is not singular; its columns are the reciprocal axes of the rows.
pub(super) fn inverse(m: &Matrix) -> Matrix {
    let volume = determinant(m);
    let reciprocal = [cross(m[1], m[2]), cross(m[2], m[0]), cross(m[0], m[1])];
    transpose(&reciprocal.map(|row| row.map(|x| x / volume)))
}

/// a_i · a_j.
pub(super) fn metric(axes: &Matrix) -> Matrix {
    product(axes, &transpose(axes))
}

/// Angles between rows 2 and 3, 1 and 3, 1 and 2 [°].
pub(super) fn angles(axes: &Matrix) -> [f64; 3] {
    [(1, 2), (0, 2), (0, 1)].map(|(i, j)| {
        let cosine = dot(axes[i], axes[j]) / (length(axes[i]) * length(axes[j]));
        cosine.clamp(-1.0, 1.0).acos().to_degrees()
    })
}

/// The difference of two fractional points to the nearest image, axis by axis in −½ … ½.
pub(super) fn nearest_image(from: [f64; 3], to: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| {
        let difference = to[axis] - from[axis];
        difference - difference.round()
    })
}

/// Into 0 ≤ f < 1; what is rounding away from 1 becomes 0, so that a plane of atoms is not cut in two.
pub(super) fn wrap(point: [f64; 3]) -> [f64; 3] {
    point.map(|x| {
        let wrapped = x.rem_euclid(1.0);
        if wrapped > 1.0 - 1e-9 { 0.0 } else { wrapped }
    })
}

/// Points of a periodic cell that can be asked what lies within a short distance.
pub(super) struct Vicinity {
    axes: Matrix,
    radius: f64,
    bins: [i64; 3],
    content: HashMap<[i64; 3], Vec<usize>>,
    points: Vec<[f64; 3]>,
}

impl Vicinity {
    /// An empty cell; `radius` [Å] must be below half the distance of its faces.
    pub(super) fn new(axes: &Matrix, radius: f64) -> Self {
        let reciprocal = transpose(&inverse(axes));
        let bins = reciprocal.map(|row| ((1.0 / (length(row) * radius)) as i64).clamp(1, 1000));
        Self {
            axes: *axes,
            radius,
            bins,
            content: HashMap::new(),
            points: Vec::new(),
        }
    }

    fn bin(&self, point: [f64; 3]) -> [i64; 3] {
        let wrapped = wrap(point);
        std::array::from_fn(|axis| (wrapped[axis] * self.bins[axis] as f64) as i64)
    }

    /// Adds a fractional point; its index counts from 0.
    pub(super) fn push(&mut self, point: [f64; 3]) {
        let bin = self.bin(point);
        self.content.entry(bin).or_default().push(self.points.len());
        self.points.push(point);
    }

    /// The nearest point within the radius: index and distance [Å].
    pub(super) fn nearest(&self, point: [f64; 3]) -> Option<(usize, f64)> {
        let centre = self.bin(point);
        let mut best: Option<(usize, f64)> = None;
        for step in 0..27 {
            let bin: [i64; 3] = std::array::from_fn(|axis| {
                let offset = step / 3_i64.pow(axis as u32) % 3 - 1;
                (centre[axis] + offset).rem_euclid(self.bins[axis])
            });
            for &index in self.content.get(&bin).into_iter().flatten() {
                let distance = length(times(nearest_image(self.points[index], point), &self.axes));
                let closer = best.is_none_or(|(other, least)| {
                    distance < least || distance == least && index < other
                });
                if distance <= self.radius && closer {
                    best = Some((index, distance));
                }
            }
        }
        best
    }
}

/// The translations inside the cell, exact multiples of one over their number, 0 among them, that carry each point onto one of the
/// same `kind`, to within `tolerance` [Å].
pub(super) fn translations(
    axes: &Matrix,
    points: &[[f64; 3]],
    kinds: &[usize],
    tolerance: f64,
) -> Vec<[f64; 3]> {
    let count = |kind: usize| kinds.iter().filter(|&&other| other == kind).count();
    let most = kinds.iter().copied().max().map_or(0, |kind| kind + 1);
    let Some(rarest) = (0..most)
        .filter(|&kind| count(kind) > 0)
        .min_by_key(|&kind| count(kind))
    else {
        return vec![[0.0; 3]];
    };
    let mut cells: Vec<Vicinity> = (0..most).map(|_| Vicinity::new(axes, tolerance)).collect();
    for (point, &kind) in points.iter().zip(kinds) {
        cells[kind].push(*point);
    }
    let start = kinds.iter().position(|&kind| kind == rarest).unwrap_or(0);
    let carries = |shift: &[f64; 3]| {
        points.iter().zip(kinds).all(|(point, &kind)| {
            let moved = std::array::from_fn(|axis| point[axis] + shift[axis]);
            cells[kind].nearest(moved).is_some()
        })
    };
    let shifts = points
        .iter()
        .zip(kinds)
        .filter(|&(_, &kind)| kind == rarest)
        .map(|(point, _)| std::array::from_fn(|axis| point[axis] - points[start][axis]));
    let found: Vec<[f64; 3]> = shifts.filter(carries).collect();
    // A group of m translations: m times each of them is a lattice vector.
    let order = found.len() as f64;
    found
        .into_iter()
        .map(|shift| wrap(shift.map(|x| (x * order).round() / order)))
        .collect()
}

/// Three vectors, right-handed, that generate the lattice of the cell and these translations; rows in units of the axes.
pub(super) fn primitive(translations: &[[f64; 3]]) -> Matrix {
    let order = translations.len().max(1) as f64;
    let mut rows: Vec<[i64; 3]> = IDENTITY
        .iter()
        .chain(translations)
        .map(|row| row.map(|x| (x * order).round() as i64))
        .collect();
    // Euclid's algorithm, column by column, leaves one row with an entry in each.
    for column in 0..3 {
        loop {
            let nonzero = |row: &[i64; 3]| row[column] != 0;
            let pivot = (column..rows.len())
                .filter(|&index| nonzero(&rows[index]))
                .min_by_key(|&index| rows[index][column].abs());
            let Some(pivot) = pivot else { break };
            rows.swap(column, pivot);
            let first = rows[column];
            let mut finished = true;
            for row in &mut rows[column + 1..] {
                let factor = row[column].div_euclid(first[column]);
                *row = std::array::from_fn(|axis| row[axis] - factor * first[axis]);
                finished &= row[column] == 0;
            }
            if finished {
                break;
            }
        }
    }
    let mut basis: Matrix = std::array::from_fn(|i| rows[i].map(|x| x as f64 / order));
    if determinant(&basis) < 0.0 {
        basis[2] = basis[2].map(|x| -x);
    }
    basis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_undoes_the_axes() {
        let axes = [[5.0, 0.0, 0.0], [-2.5, 4.3, 0.0], [0.3, 0.2, 13.0]];
        let point = [0.2, -0.7, 1.4];
        let back = times(times(point, &axes), &inverse(&axes));
        assert!((0..3).all(|i| (back[i] - point[i]).abs() < 1e-12));
    }

    #[test]
    fn a_face_centred_cell_has_four_translations_and_a_primitive_cell_of_a_quarter() {
        let axes = IDENTITY.map(|row| row.map(|x| 4.0 * x));
        let centring = [[0.0; 3], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]];
        let mut points = centring.to_vec();
        points.extend(centring.map(|t| wrap(t.map(|x| x + 0.5))));
        points[1][0] += 0.0001; // coordinates are rounded
        let kinds = [0, 0, 0, 0, 1, 1, 1, 1];
        let found = translations(&axes, &points, &kinds, 0.01);
        assert_eq!(found, centring);
        assert_eq!(determinant(&primitive(&found)), 0.25);
        assert_eq!(
            translations(&axes, &points, &[0, 1, 2, 3, 4, 4, 4, 4], 0.01).len(),
            1
        );
    }

    #[test]
    fn the_vicinity_reaches_through_the_faces() {
        let axes = [[5.0, 0.0, 0.0], [-2.5, 4.330_127, 0.0], [0.0, 0.0, 3.0]];
        let mut vicinity = Vicinity::new(&axes, 0.5);
        vicinity.push([0.02, 0.98, 0.5]);
        vicinity.push([0.5, 0.5, 0.5]);
        let (index, distance) = vicinity.nearest([0.98, 0.02, 0.5]).unwrap();
        assert_eq!(index, 0);
        // (-0.04, 0.04) in axes of 5 Å at 120°: 0.2 √3 Å.
        assert!((distance - 0.2 * 3.0_f64.sqrt()).abs() < 1e-6, "{distance}");
        assert_eq!(vicinity.nearest([0.3, 0.3, 0.1]), None);
    }
}
