//! One Gauss–Newton step for all columns, the typical shape of either sublattice and the background.
//!
//! A column's form f (p, q, s) is the typical one of its sublattice, T, plus a deviation δ of known spread τ: the fit
//! minimizes Σ w (image − m)² + Σ |δ|²/τ², T free. Where the pixels say little of a column's own shape it takes that of its
//! fellows, where they say much it has its own. The equations K z = g hold everything at once: blocks of columns and of
//! pairs that overlap, six sums for T, a few splines of the background; conjugate gradients solve them (M. R. Hestenes and
//! E. Stiefel, J. Res. Natl. Bur. Stand. 49, 409 (1952)), conditioned by their blocks.

use rayon::prelude::*;

use super::background::{Ground, Place};
use super::gaussian::{Matrix, PARAMETERS, Vector, cholesky, inverse};
use super::normal::Normal;

/// Entries of a form.
const FORM: usize = 3;
/// Damping of each parameter's own curvature: the first that makes the equations positive is taken (columns see the
/// background as a parabola, so that where tails fill the cell they may not be). It slows the last digits, not the result.
const DAMPING: [f64; 3] = [0.001, 0.01, 0.1];
/// Most conjugate-gradient steps.
const MAX_STEPS: usize = 60;
/// Columns that are summed in one go; the sums of these are added in order, whatever the number of threads.
const CHUNK: usize = 512;

/// What is known of the shape of one sublattice's columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typical {
    pub(super) form: [f64; FORM],
    /// Variance of an entry of the form among columns.
    pub(super) variance: f64,
}

/// A value for every unknown.
#[derive(Debug, Clone)]
pub(super) struct Unknowns {
    /// Height, position, deviation of the form.
    pub(super) columns: Vec<Vector>,
    /// Typical forms.
    pub(super) forms: [[f64; FORM]; 2],
    /// Nodes of the background.
    pub(super) background: Vec<f64>,
}

/// The equations of everything.
pub(super) struct System<'a> {
    normal: &'a Normal,
    ground: &'a Ground,
    classes: &'a [usize],
    places: Vec<Place>,
    /// Columns in each cell of the background.
    members: Vec<Vec<usize>>,
    /// Pairs of each column, and the other column.
    touching: Vec<Vec<(usize, usize)>>,
    stiffness: [f64; 2],
    /// Damped blocks of the columns, without what is known of their shapes.
    blocks: Vec<Matrix>,
    /// Inverses of the blocks, with what is known.
    inverses: Vec<Matrix>,
    /// Inverses of the equations of the typical forms.
    shared: [[[f64; FORM]; FORM]; 2],
}

impl<'a> System<'a> {
    /// `least` is added to the curvature of position, for columns without height.
    pub(super) fn new(
        normal: &'a Normal,
        ground: &'a Ground,
        places: Vec<Place>,
        classes: &'a [usize],
        typical: &[Typical; 2],
        least: f64,
    ) -> Self {
        let stiffness = typical.map(|t| 1.0 / t.variance);
        let mut touching = vec![Vec::new(); normal.blocks.len()];
        for (index, pair) in normal.pairs.iter().enumerate() {
            let [i, j] = pair.columns;
            touching[i].push((index, j));
            touching[j].push((index, i));
        }
        let (blocks, inverses): (Vec<Matrix>, Vec<Matrix>) = normal
            .blocks
            .par_iter()
            .zip(classes)
            .map(|(block, &class)| {
                let mut matrix = block.hessian;
                for k in 0..PARAMETERS {
                    matrix[k][k] *= 1.0 + DAMPING[0];
                    matrix[k][k] += [f64::MIN_POSITIVE, least, 0.0][k.div_ceil(2).min(2)];
                }
                (matrix, inverted(&stiffened(matrix, stiffness[class])))
            })
            .unzip();
        let mut members = vec![Vec::new(); ground.count()];
        for (index, place) in places.iter().enumerate() {
            members[place.cell].push(index);
        }
        let shared = [0, 1].map(|class| inverted(&form_block(&blocks, classes, class)));
        Self {
            normal,
            ground,
            classes,
            places,
            members,
            touching,
            stiffness,
            blocks,
            inverses,
            shared,
        }
    }

    /// The right side: what the pixels and the known shapes pull at; `deviations` are those of the forms.
    fn right(&self, deviations: &[[f64; FORM]]) -> Unknowns {
        let pulls = || self.normal.blocks.iter().map(|block| block.gradient);
        let columns =
            pulls()
                .zip(self.classes)
                .zip(deviations)
                .map(|((mut g, &class), deviation)| {
                    for k in 0..FORM {
                        g[FORM + k] -= self.stiffness[class] * deviation[k];
                    }
                    g
                });
        Unknowns {
            columns: columns.collect(),
            forms: self.form_sums(&pulls().collect::<Vec<_>>()),
            background: self.ground.gradient.clone(),
        }
    }

    /// Sums of the columns' form entries over either sublattice.
    fn form_sums(&self, columns: &[Vector]) -> [[f64; FORM]; 2] {
        let mut sums = [[0.0; FORM]; 2];
        for (column, &class) in columns.iter().zip(self.classes) {
            for k in 0..FORM {
                sums[class][k] += column[FORM + k];
            }
        }
        sums
    }

    /// K z, with more damping of columns and background.
    fn product(&self, z: &Unknowns, damping: f64) -> Unknowns {
        let whole = |i: usize| -> Vector {
            let (mut v, shared) = (z.columns[i], z.forms[self.classes[i]]);
            (0..FORM).for_each(|k| v[FORM + k] += shared[k]);
            v
        };
        let (mut columns, bare): (Vec<Vector>, Vec<Vector>) = (0..z.columns.len())
            .into_par_iter()
            .map(|i| {
                let v = whole(i);
                let mut sum = times(&self.blocks[i], &v);
                add(
                    &mut sum,
                    &times(
                        &self.normal.blocks[i].ground,
                        &self.ground.polynomial(&self.places[i], &z.background),
                    ),
                );
                for &(index, other) in &self.touching[i] {
                    let pair = &self.normal.pairs[index];
                    let term = if pair.columns[0] == i {
                        times(&pair.block, &whole(other))
                    } else {
                        times_transposed(&pair.block, &whole(other))
                    };
                    add(&mut sum, &term);
                }
                (sum, times_transposed(&self.normal.blocks[i].ground, &v))
            })
            .unzip();
        let forms = self.form_sums(&columns);
        for ((column, u), &class) in columns.iter_mut().zip(&z.columns).zip(self.classes) {
            (FORM..PARAMETERS).for_each(|k| column[k] += self.stiffness[class] * u[k]);
        }
        columns
            .iter_mut()
            .zip(&z.columns)
            .zip(&self.blocks)
            .for_each(|((column, u), block)| {
                (0..PARAMETERS).for_each(|k| column[k] += damping * block[k][k] * u[k]);
            });
        let parts: Vec<_> = (0..self.members.len())
            .into_par_iter()
            .map(|cell| {
                let places = self.members[cell]
                    .iter()
                    .map(|&i| (self.places[i], bare[i]));
                self.ground.part(cell, &z.background, places)
            })
            .collect();
        Unknowns {
            columns,
            forms,
            background: self.ground.gathered(&parts, &z.background, damping),
        }
    }

    fn precondition(&self, right: &Unknowns) -> Unknowns {
        let columns = right.columns.par_iter().zip(&self.inverses);
        Unknowns {
            columns: columns
                .with_min_len(CHUNK)
                .map(|(r, inverse)| times(inverse, r))
                .collect(),
            forms: [0, 1].map(|class| times(&self.shared[class], &right.forms[class])),
            background: right
                .background
                .iter()
                .zip(&self.ground.diagonal)
                .map(|(r, d)| r / d)
                .collect(),
        }
    }

    /// The step of everything, to a part `precision` of it.
    pub(super) fn step(&self, deviations: &[[f64; FORM]], precision: f64) -> Unknowns {
        let [least, middle, most] = DAMPING;
        [0.0, middle - least]
            .into_iter()
            .find_map(|damping| self.attempt(deviations, precision, damping).ok())
            .unwrap_or_else(|| {
                let last = self.attempt(deviations, precision, most - least);
                last.unwrap_or_else(|partial| partial)
            })
    }

    /// The step with this damping; as far as it got, where the equations are not positive.
    fn attempt(
        &self,
        deviations: &[[f64; FORM]],
        precision: f64,
        damping: f64,
    ) -> Result<Unknowns, Unknowns> {
        let mut rest = self.right(deviations);
        let mut conditioned = self.precondition(&rest);
        let mut direction = conditioned.clone();
        let mut power = rest.dot(&conditioned);
        let goal = precision * precision * power;
        let mut z = Unknowns {
            columns: vec![[0.0; PARAMETERS]; rest.columns.len()],
            forms: [[0.0; FORM]; 2],
            background: vec![0.0; rest.background.len()],
        };
        for _ in 0..MAX_STEPS {
            let product = self.product(&direction, damping);
            let bend = direction.dot(&product);
            if bend.is_nan() || bend <= 0.0 {
                return Err(z);
            }
            z.add(&direction, power / bend);
            rest.add(&product, -power / bend);
            conditioned = self.precondition(&rest);
            let next = rest.dot(&conditioned);
            if next <= goal {
                break;
            }
            direction.turn(next / power, &conditioned);
            power = next;
        }
        Ok(z)
    }

    /// Covariance of the parameters of each column, those of the columns that overlap with it free as well.
    pub(super) fn covariances(&self) -> Vec<Matrix> {
        (0..self.blocks.len())
            .into_par_iter()
            .map(|i| {
                if self.touching[i].is_empty() {
                    return self.inverses[i];
                }
                let mut left = stiffened(self.blocks[i], self.stiffness[self.classes[i]]);
                for &(index, other) in &self.touching[i] {
                    let pair = &self.normal.pairs[index];
                    let block = if pair.columns[0] == i {
                        pair.block
                    } else {
                        transposed(&pair.block)
                    };
                    // The inverse is symmetric: its rows times those of the block.
                    let solved = block.map(|row| times(&self.inverses[other], &row));
                    for (left, row) in left.iter_mut().zip(&block) {
                        let taken = times(&solved, row);
                        (0..PARAMETERS).for_each(|b| left[b] -= taken[b]);
                    }
                }
                cholesky(&left).map_or(self.inverses[i], |factor| inverse(&factor))
            })
            .collect()
    }
}

impl Unknowns {
    /// A part of a step.
    pub(super) fn scaled(mut self, part: f64) -> Self {
        let numbers = self
            .columns
            .as_flattened_mut()
            .iter_mut()
            .chain(self.forms.as_flattened_mut());
        numbers.chain(&mut self.background).for_each(|x| *x *= part);
        self
    }

    fn add(&mut self, other: &Self, factor: f64) {
        self.pair_up(other, |x, y| *x += factor * y);
    }

    /// `conditioned` plus `part` of itself.
    fn turn(&mut self, part: f64, conditioned: &Self) {
        self.pair_up(conditioned, |x, y| *x = y + part * *x);
    }

    fn pair_up(&mut self, other: &Self, with: impl Fn(&mut f64, f64) + Sync) {
        let columns = self
            .columns
            .par_iter_mut()
            .zip(&other.columns)
            .with_min_len(CHUNK);
        columns.for_each(|(x, y)| x.iter_mut().zip(y).for_each(|(x, y)| with(x, *y)));
        let forms = self
            .forms
            .iter_mut()
            .flatten()
            .zip(other.forms.iter().flatten());
        let background = self.background.iter_mut().zip(&other.background);
        forms.chain(background).for_each(|(x, y)| with(x, *y));
    }

    fn dot(&self, other: &Self) -> f64 {
        let chunks = self
            .columns
            .par_chunks(CHUNK)
            .zip(other.columns.par_chunks(CHUNK));
        let columns: Vec<f64> = chunks
            .map(|(x, y)| {
                x.as_flattened()
                    .iter()
                    .zip(y.as_flattened())
                    .map(|(x, y)| x * y)
                    .sum()
            })
            .collect();
        let forms = self
            .forms
            .iter()
            .flatten()
            .zip(other.forms.iter().flatten());
        let background = self.background.iter().zip(&other.background);
        columns.iter().sum::<f64>() + forms.chain(background).map(|(x, y)| x * y).sum::<f64>()
    }
}

/// Sum of the form parts of the blocks of a sublattice; the unit matrix for an empty one.
fn form_block(blocks: &[Matrix], classes: &[usize], class: usize) -> [[f64; FORM]; FORM] {
    let mut sum = [[0.0; FORM]; FORM];
    for block in blocks
        .iter()
        .zip(classes)
        .filter(|(_, c)| **c == class)
        .map(|(b, _)| b)
    {
        for a in 0..FORM {
            for b in 0..FORM {
                sum[a][b] += block[FORM + a][FORM + b];
            }
        }
    }
    if sum[0][0] > 0.0 {
        sum
    } else {
        std::array::from_fn(|a| std::array::from_fn(|b| f64::from(u8::from(a == b))))
    }
}

/// A block with what is known of the form.
fn stiffened(mut block: Matrix, stiffness: f64) -> Matrix {
    (FORM..PARAMETERS).for_each(|k| block[k][k] += stiffness);
    block
}

/// The inverse, or that of the diagonal where the matrix is singular to rounding.
fn inverted<const N: usize>(matrix: &[[f64; N]; N]) -> [[f64; N]; N] {
    cholesky(matrix).map_or_else(
        || {
            let mut diagonal = [[0.0; N]; N];
            for k in 0..N {
                diagonal[k][k] = matrix[k][k].max(f64::MIN_POSITIVE).recip();
            }
            diagonal
        },
        |factor| inverse(&factor),
    )
}

fn times<const N: usize>(matrix: &[[f64; N]; N], u: &[f64; N]) -> [f64; N] {
    let mut product = [0.0; N];
    for (sum, row) in product.iter_mut().zip(matrix) {
        for k in 0..N {
            *sum += row[k] * u[k];
        }
    }
    product
}

fn times_transposed(matrix: &Matrix, u: &Vector) -> Vector {
    std::array::from_fn(|k| (0..PARAMETERS).map(|l| matrix[l][k] * u[l]).sum())
}

fn transposed(matrix: &Matrix) -> Matrix {
    std::array::from_fn(|k| matrix.map(|row| row[k]))
}

fn add(u: &mut Vector, v: &Vector) {
    (0..PARAMETERS).for_each(|k| u[k] += v[k]);
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::Rng;

    use super::*;
    use crate::column::background::Background;
    use crate::column::field::{Column, Field, Residual};
    use crate::column::gaussian::Gaussian;
    use crate::column::noise::Noise;
    use crate::image::Image;
    use crate::rng::stream;

    /// Broad columns amid a field, each with its neighbours' tails on it.
    fn columns() -> Vec<Column> {
        let of = |k: i32| {
            let class = (k % 2) as usize;
            let position = [
                5.1 + 1.97 * f64::from(k % 5),
                5.3 + 3.9 * f64::from(k / 5) + 1.95 * f64::from(k % 2),
            ];
            Column {
                gaussian: Gaussian {
                    height: 1.0 + 0.1 * f64::from(k),
                    position,
                    form: [1.2 + 0.03 * f64::from(k), 0.1, 1.3],
                },
                background: 0.0,
                sigma: [0.0; 3],
                fitted: true,
                start: position,
                class,
            }
        };
        (0..10).map(of).collect()
    }

    #[test]
    fn the_product_is_that_of_sums_over_pixels() {
        let image = Image {
            data: Array2::from_shape_fn((70, 80), |(r, c)| (r * 7 % 13 + c * 5 % 11) as f32),
            sampling: [0.25, 0.22],
        };
        let usable = Array2::ones(image.data.raw_dim());
        let field = Field {
            image: &image,
            usable: &usable,
            ghosts: &[],
            pitch: 3.9,
        };
        let columns = columns();
        let background = Background::dark_places(&field, &image.data, 2.0);
        let mut residual = Residual::empty(image.data.dim());
        field.leave(&columns, &background, Noise::first(&field), &mut residual);
        let normal = Normal::at(&field, &columns, &residual);
        let ground = background.equations(&field, &residual);
        let places = columns
            .iter()
            .map(|c| background.place(&field, c.gaussian.position))
            .collect();
        let classes: Vec<usize> = columns.iter().map(|c| c.class).collect();
        let typical = [Typical {
            form: [1.2, 0.0, 1.2],
            variance: f64::INFINITY,
        }; 2];
        let system = System::new(&normal, &ground, places, &classes, &typical, 0.0);
        let mut random = stream(3, "test", 0);
        let mut numbers = || {
            let mut number = || random.random_range(-1.0..1.0);
            Unknowns {
                columns: columns
                    .iter()
                    .map(|_| std::array::from_fn(|_| number()))
                    .collect(),
                forms: std::array::from_fn(|_| std::array::from_fn(|_| number())),
                background: ground.gradient.iter().map(|_| number()).collect(),
            }
        };
        let (mut z, other) = (numbers(), numbers());
        let (there, back) = (
            other.dot(&system.product(&z, 0.0)),
            z.dot(&system.product(&other, 0.0)),
        );
        assert!(
            (there - back).abs() < 1e-9 * there.abs(),
            "not symmetric: {there} {back}"
        );
        // A level background: of one that bends from cell to cell, columns see the parabola at their centre only.
        z.background.fill(0.7);
        let fast = system.product(&z, 0.0);
        // J z on the pixels.
        let mut surface =
            Background::dark_places(&field, &Array2::zeros(image.data.raw_dim()), 2.0);
        surface.add(&z.background);
        let mut slow = vec![[0.0; PARAMETERS]; columns.len()];
        let mut total = 0.0;
        for row in 0..70 {
            for col in 0..80 {
                let at = [0.22 * col as f64, 0.25 * row as f64];
                let slopes: Vec<Vector> = columns
                    .iter()
                    .map(|c| c.gaussian.derivatives(at).1)
                    .collect();
                let mut change = surface.at((row, col));
                for (i, slope) in slopes.iter().enumerate() {
                    for (k, slope) in slope.iter().enumerate() {
                        let shared = if k < FORM {
                            0.0
                        } else {
                            z.forms[classes[i]][k - FORM]
                        };
                        change += slope * (z.columns[i][k] + shared);
                    }
                }
                let [weight, rest] = residual.at((row, col));
                for (sum, slope) in slow.iter_mut().zip(&slopes) {
                    (0..PARAMETERS).for_each(|k| sum[k] += weight * slope[k] * change);
                }
                total += weight * rest;
            }
        }
        let size = slow
            .iter()
            .flatten()
            .fold(0.0_f64, |most, x| most.max(x.abs()));
        for (f, s) in fast.columns.iter().flatten().zip(slow.iter().flatten()) {
            // The damping, and what is cut off of the tails.
            assert!((f - s).abs() < 0.012 * size, "{f} {s}");
        }
        // The splines sum to 1.
        let sum: f64 = ground.gradient.iter().sum();
        assert!((sum - total).abs() < 1e-6 * total.abs(), "{sum} {total}");
    }
}
