//! One Gauss–Newton step for all columns, the typical shape of either sublattice and the height of the background.
//!
//! A column's form f (p, q, s) is the typical one of its sublattice, T, plus a deviation of known spread τ: the fit
//! minimizes Σ w (image − m)² + Σ |f − T|²/τ², T free. Where the pixels say little of a column's own shape it takes that
//! of its fellows, where they say much it has its own. T and the background touch all columns, so the step is that of a
//! bordered system: K u = g for the columns (K sparse: blocks of columns and of pairs that overlap), solved for the right
//! side and for every border; what is left are seven equations.

use rayon::prelude::*;

use super::gaussian::{Matrix, PARAMETERS, Vector, cholesky, solve};
use super::normal::{Normal, Pair};

/// All parameters of a column.
const ALL: [usize; PARAMETERS] = [0, 1, 2, 3, 4, 5];
/// Damping of each parameter's own curvature; slows the last digits, not the result.
const DAMPING: f64 = 1e-4;
/// Parameters shared by all columns: form of the two sublattices, background.
const SHARED: usize = 7;
/// Most conjugate-gradient steps for one right side.
const MAX_STEPS: usize = 40;
/// Residual at which the equations count as solved, over the right side.
const PRECISION: f64 = 1e-4;

/// What is known of the shape of one sublattice's columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typical {
    pub(super) form: [f64; 3],
    /// Variance of an entry of the form among columns.
    pub(super) variance: f64,
}

/// The step of everything.
pub(super) struct Step {
    pub(super) columns: Vec<Vector>,
    pub(super) forms: [[f64; 3]; 2],
    pub(super) background: f64,
}

/// The equations of the columns with what is known of their shapes.
pub(super) struct System<'a> {
    pairs: &'a [Pair],
    /// Pairs of each column.
    touching: Vec<Vec<usize>>,
    diagonal: Vec<Matrix>,
    /// Cholesky factors of `diagonal`.
    factors: Vec<Matrix>,
}

impl<'a> System<'a> {
    /// `least` is added to the curvature of position, for columns without height.
    pub(super) fn new(normal: &'a Normal, stiffness: &[f64], least: f64) -> Self {
        let mut touching = vec![Vec::new(); normal.blocks.len()];
        for (index, pair) in normal.pairs.iter().enumerate() {
            for i in pair.columns {
                touching[i].push(index);
            }
        }
        let (diagonal, factors) = normal
            .blocks
            .par_iter()
            .zip(stiffness)
            .map(|(block, stiffness)| {
                let mut matrix = block.hessian;
                for k in 0..PARAMETERS {
                    matrix[k][k] *= 1.0 + DAMPING;
                    matrix[k][k] += [f64::MIN_POSITIVE, least, *stiffness][k.div_ceil(2).min(2)];
                }
                (matrix, factor(matrix))
            })
            .unzip();
        Self {
            pairs: &normal.pairs,
            touching,
            diagonal,
            factors,
        }
    }

    /// K u.
    fn product(&self, u: &[Vector]) -> Vec<Vector> {
        (0..u.len())
            .into_par_iter()
            .map(|i| {
                let mut sum = times(&self.diagonal[i], &u[i]);
                for &index in &self.touching[i] {
                    let Pair { columns, block } = &self.pairs[index];
                    let term = if columns[0] == i {
                        times(block, &u[columns[1]])
                    } else {
                        times_transposed(block, &u[columns[0]])
                    };
                    (0..PARAMETERS).for_each(|k| sum[k] += term[k]);
                }
                sum
            })
            .collect()
    }

    fn precondition(&self, right: &[Vector]) -> Vec<Vector> {
        right
            .par_iter()
            .zip(&self.factors)
            .map(|(r, factor)| solve(factor, r, &ALL))
            .collect()
    }

    /// u with K u = `right`, by conjugate gradients on the columns' blocks (at once where no columns overlap).
    fn solve(&self, right: &[Vector]) -> Vec<Vector> {
        let mut u = self.precondition(right);
        if self.pairs.is_empty() {
            return u;
        }
        let product = self.product(&u);
        let mut rest: Vec<Vector> = right.iter().zip(&product).map(|(r, p)| minus(r, p)).collect();
        let mut conditioned = self.precondition(&rest);
        let mut direction = conditioned.clone();
        let mut power = dot(&rest, &conditioned);
        let goal = PRECISION * PRECISION * dot(right, &u);
        for _ in 0..MAX_STEPS {
            if power <= goal {
                break;
            }
            let product = self.product(&direction);
            let length = power / dot(&direction, &product);
            add(&mut u, &direction, length);
            add(&mut rest, &product, -length);
            conditioned = self.precondition(&rest);
            let next = dot(&rest, &conditioned);
            let turn = next / power;
            power = next;
            for (d, c) in direction.iter_mut().zip(&conditioned) {
                *d = std::array::from_fn(|k| c[k] + turn * d[k]);
            }
        }
        u
    }

    /// Covariance of the parameters of each column, those of the columns that overlap with it free as well.
    pub(super) fn covariances(&self) -> Vec<Matrix> {
        (0..self.diagonal.len())
            .into_par_iter()
            .map(|i| {
                let mut left = self.diagonal[i];
                for &index in &self.touching[i] {
                    let Pair { columns, block } = &self.pairs[index];
                    let mine = columns[0] == i;
                    let other = columns[usize::from(mine)];
                    for a in 0..PARAMETERS {
                        let row = if mine { block[a] } else { block.map(|row| row[a]) };
                        let solved = solve(&self.factors[other], &row, &ALL);
                        for b in 0..PARAMETERS {
                            let row = if mine { block[b] } else { block.map(|row| row[b]) };
                            left[a][b] -= (0..PARAMETERS).map(|k| row[k] * solved[k]).sum::<f64>();
                        }
                    }
                }
                let factor = cholesky(&left, &ALL).unwrap_or(self.factors[i]);
                std::array::from_fn(|k| {
                    let mut unit = [0.0; PARAMETERS];
                    unit[k] = 1.0;
                    solve(&factor, &unit, &ALL)
                })
            })
            .collect()
    }
}

/// The step; `pull` is Σ w r and `weight` Σ w over all pixels, `forms` and `classes` those of the columns.
pub(super) fn step(
    normal: &Normal,
    system: &System<'_>,
    forms: &[[f64; 3]],
    classes: &[usize],
    typical: &[Typical; 2],
    [pull, weight]: [f64; 2],
) -> Step {
    let stiffness = typical.map(|t| 1.0 / t.variance);
    let count = forms.len();
    let right: Vec<Vector> = (0..count)
        .map(|i| {
            let mut g = normal.blocks[i].gradient;
            for k in 0..3 {
                g[3 + k] += stiffness[classes[i]] * (typical[classes[i]].form[k] - forms[i][k]);
            }
            g
        })
        .collect();
    let borders: Vec<Vec<Vector>> = (0..SHARED)
        .map(|shared| border(shared, normal, classes, stiffness))
        .collect();
    let free = system.solve(&right);
    let solved: Vec<Vec<Vector>> = borders.iter().map(|b| system.solve(b)).collect();
    // Shared equations: S z = t, with z the shared steps.
    let mut matrix = [[0.0; SHARED]; SHARED];
    let mut target = [0.0; SHARED];
    for a in 0..SHARED {
        for b in 0..SHARED {
            matrix[a][b] = -dot(&borders[a], &solved[b]);
        }
        target[a] = dot(&borders[a], &free);
        if a == SHARED - 1 {
            matrix[a][a] += weight;
            target[a] += pull;
        } else {
            let (class, k) = (a / 3, a % 3);
            let members = (0..count).filter(|&i| classes[i] == class);
            let (mut number, mut sum) = (0.0, 0.0);
            for i in members {
                number += 1.0;
                sum += forms[i][k] - typical[class].form[k];
            }
            matrix[a][a] += number * stiffness[class];
            target[a] += stiffness[class] * sum;
        }
    }
    let all: [usize; SHARED] = std::array::from_fn(|k| k);
    let shared = cholesky(&matrix, &all).map_or([0.0; SHARED], |lower| solve(&lower, &target, &all));
    let mut columns = free;
    for (z, u) in shared.iter().zip(&solved) {
        add(&mut columns, u, *z);
    }
    Step {
        columns,
        forms: [0, 1].map(|class| std::array::from_fn(|k| shared[3 * class + k])),
        background: shared[SHARED - 1],
    }
}

/// How the columns' right sides change with a shared parameter.
fn border(shared: usize, normal: &Normal, classes: &[usize], stiffness: [f64; 2]) -> Vec<Vector> {
    let blocks = normal.blocks.iter().zip(classes);
    blocks
        .map(|(block, &class)| {
            if shared == SHARED - 1 {
                return block.flat.map(|c| -c);
            }
            let mut vector = [0.0; PARAMETERS];
            if shared / 3 == class {
                vector[3 + shared % 3] = stiffness[class];
            }
            vector
        })
        .collect()
}

/// Cholesky factor, or that of the diagonal where the matrix is singular to rounding.
fn factor(matrix: Matrix) -> Matrix {
    cholesky(&matrix, &ALL).unwrap_or_else(|| {
        let mut diagonal = [[0.0; PARAMETERS]; PARAMETERS];
        for k in 0..PARAMETERS {
            diagonal[k][k] = matrix[k][k].max(f64::MIN_POSITIVE).sqrt();
        }
        diagonal
    })
}

fn times(matrix: &Matrix, u: &Vector) -> Vector {
    matrix.map(|row| (0..PARAMETERS).map(|k| row[k] * u[k]).sum())
}

fn times_transposed(matrix: &Matrix, u: &Vector) -> Vector {
    std::array::from_fn(|k| (0..PARAMETERS).map(|l| matrix[l][k] * u[l]).sum())
}

fn minus(u: &Vector, v: &Vector) -> Vector {
    std::array::from_fn(|k| u[k] - v[k])
}

fn add(u: &mut [Vector], v: &[Vector], factor: f64) {
    for (u, v) in u.iter_mut().zip(v) {
        (0..PARAMETERS).for_each(|k| u[k] += factor * v[k]);
    }
}

fn dot(u: &[Vector], v: &[Vector]) -> f64 {
    let pairs = u.iter().zip(v);
    pairs
        .map(|(u, v)| (0..PARAMETERS).map(|k| u[k] * v[k]).sum::<f64>())
        .sum()
}
