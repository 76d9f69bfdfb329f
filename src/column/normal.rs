//! Normal equations of all columns at once: what the pixels say of every column, and of every pair that overlaps.
//!
//! With the model m = b + Σ hᵢ gᵢ and weights w, the Gauss–Newton step solves JᵀWJ · step = JᵀW(image − m). The derivative
//! of hᵢ gᵢ with respect to a parameter is a polynomial in (dx, dy) times gᵢ, so all entries of the 6×6 blocks of JᵀWJ are
//! combinations of 15 moments Σ w g² dxᵃ dyᵇ: one exponential and a few products a pixel.

use rayon::prelude::*;

use super::field::{Column, Field, Residual};
use super::gaussian::{Gaussian, Matrix, PARAMETERS, Vector};
use super::moments::{Exponent, Moments, Patch, Table, product_moments};
use super::rows::span;
use crate::neighbours::{Neighbours, Point};

/// Standard deviations of a column within which its pixels count; beyond lie 0.3 % of what they tell of its width.
const REACH: f64 = 5.0;
/// Columns whose shapes overlap by less than this part, exp(−d²/4σ²), do not see each other in the equations; in the model
/// they do. The first is for columns that are well apart, the second for those of which only all together are told from a
/// background.
const LEAST_OVERLAP: [f64; 2] = [1e-3, 1e-6];
/// Width up to which columns are well apart [pitch].
const APART: f64 = 0.16;
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
        let pairs = overlaps(columns, field.pitch)
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
    let patch = patch(
        field,
        residual,
        gaussian.position,
        gaussian.position,
        reach(gaussian),
    );
    let moments = Moments::over(&patch, gaussian.form);
    let slopes = slopes(gaussian);
    Block {
        hessian: sandwich(&slopes, &moments.square, &slopes),
        gradient: linear(&slopes, &moments.rest),
        ground: sandwich(&slopes, &moments.flat, &IDENTITY),
    }
}

fn pair(field: &Field<'_>, mine: &Gaussian, other: &Gaussian, residual: &Residual) -> Matrix {
    let offset: Point = std::array::from_fn(|k| other.position[k] - mine.position[k]);
    let (middle, reach) = product(mine, other);
    let patch = patch(field, residual, mine.position, middle, reach);
    let exponent = Exponent::of(mine.form, [0.0; 2]).times(Exponent::of(other.form, offset));
    let moments = product_moments(&patch, exponent);
    sandwich(&slopes(mine), &moments, &moved(&slopes(other), offset))
}

/// The pixels within `reach` of `middle` along both axes [Å], with offsets from `centre`.
fn patch<'a>(
    field: &Field<'_>,
    residual: &'a Residual,
    centre: Point,
    middle: Point,
    reach: f64,
) -> Patch<'a> {
    let ([sy, sx], shape) = (field.image.sampling, field.image.data.dim());
    Patch {
        residual,
        rows: span(middle[1], reach, sy, shape.0),
        cols: span(middle[0], reach, sx, shape.1),
        sampling: field.image.sampling,
        centre,
    }
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
fn overlaps(columns: &[Column], pitch: f64) -> Vec<[usize; 2]> {
    let positions: Vec<Point> = columns.iter().map(|c| c.gaussian.position).collect();
    let tree = Neighbours::new(&positions);
    let variances: Vec<f64> = columns
        .iter()
        .map(|c| c.gaussian.widths().map_or(0.0, |(w, _)| w[0] * w[1]))
        .collect();
    let largest = variances.iter().copied().fold(0.0, f64::max);
    let mean = variances.iter().sum::<f64>() / variances.len().max(1) as f64;
    let least = LEAST_OVERLAP[usize::from(mean > (APART * pitch).powi(2))];
    // exp(−d²/2(σᵢ² + σⱼ²)) against the least overlap.
    let squared = |sum: f64| -2.0 * least.ln() * sum;
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
fn sandwich(left: &Matrix, moments: &Table, right: &Matrix) -> Matrix {
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

fn linear(slopes: &Matrix, moments: &Table) -> Vector {
    slopes.map(|row| {
        (0..PARAMETERS)
            .map(|k| row[k] * moments[MONOMIALS[k][0]][MONOMIALS[k][1]])
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

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
        // 27 columns: the last strip is not whole.
        let residual = Residual::of(&Array2::from_elem((30, 27), 0.8), &Array2::zeros((30, 27)));
        let patch = Patch {
            residual: &residual,
            rows: 0..30,
            cols: 0..27,
            sampling: [0.1; 2],
            centre: mine.position,
        };
        let exponent = Exponent::of(mine.form, [0.0; 2]).times(Exponent::of(other.form, offset));
        let moments = product_moments(&patch, exponent);
        let mut slow = [[0.0; PARAMETERS]; PARAMETERS];
        for (row, col) in (0..30).flat_map(|row| (0..27).map(move |col| (row, col))) {
            let at = [0.1 * f64::from(col), 0.1 * f64::from(row)];
            let (_, p) = mine.derivatives(at);
            let (_, q) = other.derivatives(at);
            for i in 0..PARAMETERS {
                for j in 0..PARAMETERS {
                    slow[i][j] += 0.8 * p[i] * q[j];
                }
            }
        }
        let fast = sandwich(&slopes(&mine), &moments, &moved(&slopes(&other), offset));
        for (f, s) in fast.iter().flatten().zip(slow.iter().flatten()) {
            assert!((f - s).abs() < 1e-5 * (1.0 + s.abs()), "{f} {s}");
        }
    }
}
