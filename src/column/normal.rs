//! Normal equations of all columns at once: what the pixels say of every column, and of every pair that overlaps.
//!
//! With the model m = b + Σ hᵢ gᵢ and weights w, the Gauss–Newton step solves JᵀWJ · step = JᵀW(image − m). The derivative
//! of hᵢ gᵢ with respect to a parameter is a polynomial in (dx, dy) times gᵢ, so all entries of the 6×6 blocks of JᵀWJ are
//! combinations of 15 moments Σ w g² dxᵃ dyᵇ: one exponential and a few products a pixel.

use pulp::Arch;
use rayon::prelude::*;

use super::field::{Column, Field, Residual};
use super::gaussian::{Gaussian, Matrix, PARAMETERS, Vector};
use super::rows::{Moments, PairMoments, Row, disc};
use crate::neighbours::{Neighbours, Point};

/// Standard deviations of a column within which its pixels count; beyond lie 0.3 % of what they tell of its width.
const REACH: f64 = 5.0;
/// Columns whose shapes overlap by less than this part, exp(−d²/4σ²), do not see each other in the equations; in the model
/// they do.
const LEAST_OVERLAP: f64 = 1e-6;
/// The monomials 1, x, y, x², xy, y² as exponents.
const MONOMIALS: [[usize; 2]; PARAMETERS] = [[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]];

/// The monomials themselves.
const IDENTITY: Matrix = [
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
];

/// What the pixels say of one column.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Block {
    /// JᵀWJ.
    pub(super) hessian: Matrix,
    /// JᵀW(residual).
    pub(super) gradient: Vector,
    /// JᵀW(1, x, y, x², xy, y²): coupling to a background that is this polynomial of the offset from the centre [Å].
    pub(super) ground: Matrix,
}

/// JᵢᵀWJⱼ of two columns that overlap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) columns: [usize; 2],
    pub(super) block: Matrix,
}

/// The normal equations of all columns.
pub(super) struct Normal {
    pub(super) blocks: Vec<Block>,
    pub(super) pairs: Vec<Pair>,
}

impl Normal {
    /// The equations at the present columns.
    pub(super) fn at(field: &Field<'_>, columns: &[Column], residual: &Residual) -> Self {
        let blocks = columns
            .par_iter()
            .map(|column| block(field, &column.gaussian, residual))
            .collect();
        let pairs = overlaps(columns)
            .into_par_iter()
            .map(|[i, j]| Pair {
                columns: [i, j],
                block: pair(field, &columns[i].gaussian, &columns[j].gaussian, residual),
            })
            .collect();
        Self { blocks, pairs }
    }
}

/// How far the pixels of a column reach [Å].
fn reach(gaussian: &Gaussian) -> f64 {
    let widest = gaussian.widths().map_or(0.0, |(w, _)| w[0].max(w[1]));
    REACH * widest
}

/// The block of one column.
pub(super) fn block(field: &Field<'_>, gaussian: &Gaussian, residual: &Residual) -> Block {
    let [sy, sx] = field.image.sampling;
    let centre = gaussian.position;
    let mut moments = Moments::default();
    Arch::new().dispatch(|| {
        let reach = reach(gaussian);
        for (row, across) in disc(field.image.data.dim(), [sy, sx], centre, reach) {
            let place = Row {
                first: across.start as f64 * sx - centre[0],
                step: sx,
                dy: row as f64 * sy - centre[1],
            };
            let weights = residual.weights_of(row, across.clone());
            let rests = residual.rests_of(row, across);
            moments.add(gaussian.form, place, weights, rests);
        }
    });
    let slopes = slopes(gaussian);
    Block {
        hessian: sandwich(&slopes, &moments.square, &slopes),
        gradient: linear(&slopes, &moments.rest),
        ground: sandwich(&slopes, &moments.flat, &IDENTITY),
    }
}

fn pair(field: &Field<'_>, mine: &Gaussian, other: &Gaussian, residual: &Residual) -> Matrix {
    let [sy, sx] = field.image.sampling;
    let centre = mine.position;
    let offset: Point = std::array::from_fn(|k| other.position[k] - centre[k]);
    let (middle, reach) = product(mine, other);
    let mut moments = PairMoments::default();
    Arch::new().dispatch(|| {
        for (row, across) in disc(field.image.data.dim(), [sy, sx], middle, reach) {
            let place = Row {
                first: across.start as f64 * sx - centre[0],
                step: sx,
                dy: row as f64 * sy - centre[1],
            };
            let weights = residual.weights_of(row, across);
            moments.add([mine.form, other.form], offset, place, weights);
        }
    });
    sandwich(&slopes(mine), &moments.0, &moved(&slopes(other), offset))
}

/// Centre and reach [Å] of the product of two Gaussians, which is one itself.
fn product(mine: &Gaussian, other: &Gaussian) -> (Point, f64) {
    let form: [f64; 3] = std::array::from_fn(|k| mine.form[k] + other.form[k]);
    let [p, q, s] = form;
    let [dx, dy]: Point = std::array::from_fn(|k| other.position[k] - mine.position[k]);
    let [op, oq, os] = other.form;
    let (x, y) = (op * dx + oq * dy, oq * dx + os * dy);
    let determinant = p * s - q * q;
    let middle = [
        mine.position[0] + (s * x - q * y) / determinant,
        mine.position[1] + (p * y - q * x) / determinant,
    ];
    (middle, reach(&Gaussian { form, ..*mine }))
}

/// Index pairs i < j of columns that overlap, in a fixed order.
fn overlaps(columns: &[Column]) -> Vec<[usize; 2]> {
    let positions: Vec<Point> = columns.iter().map(|c| c.gaussian.position).collect();
    let tree = Neighbours::new(&positions);
    let variances: Vec<f64> = columns
        .iter()
        .map(|c| c.gaussian.widths().map_or(0.0, |(w, _)| w[0] * w[1]))
        .collect();
    let largest = variances.iter().copied().fold(0.0, f64::max);
    // exp(−d²/2(σᵢ² + σⱼ²)) against the least overlap.
    let squared = |sum: f64| -2.0 * LEAST_OVERLAP.ln() * sum;
    (0..columns.len())
        .into_par_iter()
        .flat_map_iter(|i| {
            let mut near: Vec<usize> = tree
                .within(positions[i], squared(variances[i] + largest).sqrt())
                .into_iter()
                .filter(|(j, d)| *j > i && d * d < squared(variances[i] + variances[*j]))
                .map(|(j, _)| j)
                .collect();
            near.sort_unstable();
            near.into_iter().map(move |j| [i, j])
        })
        .collect()
}

/// Derivatives of h g with respect to h, x, y, p, q, s, over g, as coefficients of the monomials.
pub(super) fn slopes(gaussian: &Gaussian) -> Matrix {
    let ([p, q, s], h) = (gaussian.form, gaussian.height);
    [
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, h * p, h * q, 0.0, 0.0, 0.0],
        [0.0, h * q, h * s, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, -0.5 * h, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, -h, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, -0.5 * h],
    ]
}

/// Polynomials in (dx − x, dy − y) as polynomials in (dx, dy).
fn moved(slopes: &Matrix, [x, y]: Point) -> Matrix {
    let shifted: Matrix = [
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [-x, 1.0, 0.0, 0.0, 0.0, 0.0],
        [-y, 0.0, 1.0, 0.0, 0.0, 0.0],
        [x * x, -2.0 * x, 0.0, 1.0, 0.0, 0.0],
        [x * y, -y, -x, 0.0, 1.0, 0.0],
        [y * y, 0.0, -2.0 * y, 0.0, 0.0, 1.0],
    ];
    slopes.map(|row| std::array::from_fn(|l| (0..PARAMETERS).map(|k| row[k] * shifted[k][l]).sum()))
}

/// left · M · rightᵀ, M the moments of the products of monomials.
fn sandwich(left: &Matrix, moments: &[[f64; 5]; 5], right: &Matrix) -> Matrix {
    let gram: Matrix = std::array::from_fn(|k| {
        std::array::from_fn(|l| {
            let [a, b] = [0, 1].map(|axis| MONOMIALS[k][axis] + MONOMIALS[l][axis]);
            moments[a][b]
        })
    });
    left.map(|row| {
        let half: Vector =
            std::array::from_fn(|l| (0..PARAMETERS).map(|k| row[k] * gram[k][l]).sum());
        right.map(|other| (0..PARAMETERS).map(|l| half[l] * other[l]).sum())
    })
}

fn linear(slopes: &Matrix, moments: &[[f64; 3]; 3]) -> Vector {
    slopes.map(|row| {
        (0..PARAMETERS)
            .map(|k| row[k] * moments[MONOMIALS[k][0]][MONOMIALS[k][1]])
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_the_sum_of_products_of_derivatives() {
        let mine = Gaussian {
            height: 2.0,
            position: [1.0, 1.3],
            form: [2.1, 0.3, 1.7],
        };
        let other = Gaussian {
            height: 0.7,
            position: [2.1, 1.9],
            form: [1.4, -0.2, 2.2],
        };
        let offset = [1.1, 0.6];
        let mut moments = PairMoments::default();
        let mut slow = [[0.0; PARAMETERS]; PARAMETERS];
        for row in 0..30 {
            let dy = 0.1 * f64::from(row) - mine.position[1];
            let place = Row {
                first: -mine.position[0],
                step: 0.1,
                dy,
            };
            moments.add([mine.form, other.form], offset, place, &[0.8; 30]);
            for col in 0..30 {
                let at = [0.1 * f64::from(col), 0.1 * f64::from(row)];
                let (_, p) = mine.derivatives(at);
                let (_, q) = other.derivatives(at);
                for i in 0..PARAMETERS {
                    for j in 0..PARAMETERS {
                        slow[i][j] += 0.8 * p[i] * q[j];
                    }
                }
            }
        }
        let fast = sandwich(&slopes(&mine), &moments.0, &moved(&slopes(&other), offset));
        for (f, s) in fast.iter().flatten().zip(slow.iter().flatten()) {
            assert!((f - s).abs() < 1e-5 * (1.0 + s.abs()), "{f} {s}");
        }
    }
}
