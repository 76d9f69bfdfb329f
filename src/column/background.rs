//! The background under all columns: a smooth surface of quadratic B-splines, a node every few cells.
//!
//! It is shared, since a constant of its own for every column would trade against width and height where columns are broad
//! (in a small window a wide Gaussian is a paraboloid) and let them run away. Its nodes are unknowns of the same equations
//! as the columns: to learn it from what the columns leave, in turns, would take very many turns where tails fill the cell.

use ndarray::Array2;
use pulp::Arch;
use rayon::prelude::*;

use super::field::{Field, Residual};
use super::filter::{bin, lowest, smooth};
use super::gaussian::Vector;
use crate::crystal::polarization::Point;

/// Splines that do not vanish in a cell, along one axis.
const ORDER: usize = 3;
/// Splines that do not vanish in a cell.
pub(super) const SPLINES: usize = ORDER * ORDER;
/// Quadratic B-splines in a cell, as coefficients of 1, t, t²; t runs from 0 to 1.
const BASIS: [[f64; 3]; ORDER] = [[0.5, -1.0, 0.5], [0.5, 1.0, -1.0], [0.0, 0.0, 0.5]];
/// Points per pitch, at least, at which dark places are looked for.
const POINTS: f64 = 7.0;
/// Reach in which the first background looks for the darkest place [pitch]: it takes in the middle between two A columns.
const DARK_REACH: f64 = 0.6;
/// Standard deviation that the dark places are smoothed with [pitch].
const DARK_SMOOTHING: f64 = 0.9;
/// Weight added to every node, over the mean: where all pixels are masked a node stays where it is; elsewhere it slows the
/// last digits, not the result.
const LEAST_WEIGHT: f64 = 5e-2;
/// Pixels that are summed side by side.
const LANES: usize = 8;

/// A smooth background.
#[derive(Clone)]
pub(super) struct Background {
    /// Coefficients of the splines; those of cell `(r, c)` are `(r..r + 3, c..c + 3)`.
    nodes: Array2<f64>,
    /// Pixels per cell, `[rows, cols]`.
    spacing: [f64; 2],
}

/// Where a column is on the background: the surface there is a quadratic polynomial of the offset [Å].
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Index of its cell.
    pub(super) cell: usize,
    /// Values of the splines, their first derivatives and half their second ones, along x and along y.
    across: [[f64; ORDER]; 3],
    down: [[f64; ORDER]; 3],
}

/// Normal equations of the nodes.
pub(super) struct Ground {
    /// Σ w · rest · spline for each node.
    pub(super) gradient: Vec<f64>,
    /// Σ w · spline² for each node.
    pub(super) diagonal: Vec<f64>,
    /// Σ w · spline · spline of the cells' splines.
    cells: Vec<[[f64; SPLINES]; SPLINES]>,
    /// Nodes in a row.
    stride: usize,
}

impl Background {
    /// The first background: the darkest places around; `seen` is the image smoothed against pixel noise, `spacing` the
    /// distance of the nodes [pitch].
    pub(super) fn dark_places(field: &Field<'_>, seen: &Array2<f32>, spacing: f64) -> Self {
        let pitch = field.pixels_per(1.0);
        let block = pitch.map(|p| ((p / POINTS) as usize).max(1));
        let per = |axis: usize, length: f64| length * pitch[axis] / block[axis] as f64;
        let reach = [0, 1].map(|axis| per(axis, DARK_REACH).round() as usize);
        let sigma = [0, 1].map(|axis| per(axis, DARK_SMOOTHING));
        let dark = smooth(&lowest(&bin(seen, block), reach), sigma);
        let shape = [seen.nrows(), seen.ncols()];
        let cells: [usize; 2] = std::array::from_fn(|axis| {
            (shape[axis] as f64 / (spacing * pitch[axis]))
                .round()
                .max(1.0) as usize
        });
        let spacing: [f64; 2] = std::array::from_fn(|axis| shape[axis] as f64 / cells[axis] as f64);
        // Spline n is highest at (n − ½) cells.
        let near = |axis: usize, node: usize| {
            let pixel = ((node as f64 - 0.5) * spacing[axis]).max(0.0);
            ((pixel / block[axis] as f64) as usize).min(dark.shape()[axis] - 1)
        };
        let nodes = Array2::from_shape_fn((cells[0] + 2, cells[1] + 2), |(r, c)| {
            f64::from(dark[(near(0, r), near(1, c))])
        });
        Self { nodes, spacing }
    }

    /// Number of cells along `[y, x]`.
    fn cells(&self) -> [usize; 2] {
        [self.nodes.nrows() - 2, self.nodes.ncols() - 2]
    }

    /// Pixels whose centre is in a cell along one axis.
    fn pixels(&self, axis: usize, cell: usize, count: usize) -> std::ops::Range<usize> {
        let edge = |cell: usize| {
            ((cell as f64 * self.spacing[axis] - 0.5).ceil().max(0.0) as usize).min(count)
        };
        edge(cell)..if cell + 1 == self.cells()[axis] {
            count
        } else {
            edge(cell + 1)
        }
    }

    /// The cell of a point along one axis, and how far it is in it.
    fn locate(&self, axis: usize, pixel: f64) -> (usize, f64) {
        let at = ((pixel + 0.5) / self.spacing[axis]).clamp(0.0, self.cells()[axis] as f64);
        let cell = (at as usize).min(self.cells()[axis] - 1);
        (cell, at - cell as f64)
    }

    /// Adds to the nodes.
    pub(super) fn add(&mut self, step: &[f64]) {
        self.nodes
            .iter_mut()
            .zip(step)
            .for_each(|(node, step)| *node += step);
    }

    /// Where a point [Å] is.
    pub(super) fn place(&self, field: &Field<'_>, at: Point) -> Place {
        let [sy, sx] = field.image.sampling;
        let (row, v) = self.locate(0, at[1] / sy);
        let (col, u) = self.locate(1, at[0] / sx);
        let splines = |t: f64, step: f64| {
            let of = |f: &dyn Fn([f64; 3]) -> f64| BASIS.map(f);
            [
                of(&|c| c[0] + t * (c[1] + t * c[2])),
                of(&|c| (c[1] + 2.0 * t * c[2]) / step),
                of(&|c| c[2] / (step * step)),
            ]
        };
        Place {
            cell: row * self.cells()[1] + col,
            across: splines(u, self.spacing[1] * sx),
            down: splines(v, self.spacing[0] * sy),
        }
    }

    /// Writes a row of pixels.
    pub(super) fn draw(&self, row: usize, line: &mut [f64]) {
        let (r, v) = self.locate(0, row as f64);
        let down = BASIS.map(|c| c[0] + v * (c[1] + v * c[2]));
        let mixed: Vec<f64> = (0..self.nodes.ncols())
            .map(|c| (0..ORDER).map(|j| down[j] * self.nodes[(r + j, c)]).sum())
            .collect();
        for cell in 0..self.cells()[1] {
            let power = |a: usize| {
                (0..ORDER)
                    .map(|i| mixed[cell + i] * BASIS[i][a])
                    .sum::<f64>()
            };
            let (c0, c1, c2) = (power(0), power(1), power(2));
            let pixels = self.pixels(1, cell, line.len());
            let first = (pixels.start as f64 + 0.5) / self.spacing[1] - cell as f64;
            let step = 1.0 / self.spacing[1];
            for (k, value) in line[pixels].iter_mut().enumerate() {
                let t = first + k as f64 * step;
                *value = c0 + t * (c1 + t * c2);
            }
        }
    }

    /// The value at a pixel.
    pub(super) fn at(&self, (row, col): (usize, usize)) -> f64 {
        let (r, v) = self.locate(0, row as f64);
        let (c, u) = self.locate(1, col as f64);
        let [down, across] = [v, u].map(|t| BASIS.map(|c| c[0] + t * (c[1] + t * c[2])));
        (0..SPLINES)
            .map(|k| {
                down[k / ORDER] * across[k % ORDER] * self.nodes[(r + k / ORDER, c + k % ORDER)]
            })
            .sum()
    }

    /// The normal equations of the nodes.
    pub(super) fn equations(&self, field: &Field<'_>, residual: &Residual) -> Ground {
        let [rows, cols] = self.cells();
        let shape = field.image.data.dim();
        let sums: Vec<Sums> = (0..rows)
            .into_par_iter()
            .flat_map_iter(|cell| {
                self.sums_of(cell, self.pixels(0, cell, shape.0), residual, shape.1)
            })
            .collect();
        let stride = cols + 2;
        let mut ground = Ground {
            gradient: vec![0.0; (rows + 2) * stride],
            diagonal: vec![0.0; (rows + 2) * stride],
            cells: sums.par_iter().map(Sums::matrix).collect(),
            stride,
        };
        for (cell, sums) in sums.iter().enumerate() {
            for (k, pull) in sums.gradient().into_iter().enumerate() {
                let node = ground.node(cell, k);
                ground.gradient[node] += pull;
                ground.diagonal[node] += ground.cells[cell][k][k];
            }
        }
        let mean = ground.diagonal.iter().sum::<f64>() / ground.diagonal.len() as f64;
        ground
            .diagonal
            .iter_mut()
            .for_each(|d| *d += LEAST_WEIGHT * mean);
        ground
    }

    /// Sums over the pixels of a row of cells.
    fn sums_of(
        &self,
        cell: usize,
        pixels: std::ops::Range<usize>,
        residual: &Residual,
        width: usize,
    ) -> Vec<Sums> {
        let mut sums = vec![Sums::default(); self.cells()[1]];
        for row in pixels {
            let v = (row as f64 + 0.5) / self.spacing[0] - cell as f64;
            Arch::new().dispatch(|| {
                for (col, sums) in sums.iter_mut().enumerate() {
                    let across = self.pixels(1, col, width);
                    let first = (across.start as f64 + 0.5) / self.spacing[1] - col as f64;
                    let weights = residual.weights_of(row, across.clone());
                    let rests = residual.rests_of(row, across);
                    sums.add([first, 1.0 / self.spacing[1], v], weights, rests);
                }
            });
        }
        sums
    }
}

/// Sums of weight · tᵃ vᵇ and weight · rest · tᵃ vᵇ over the pixels of a cell.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    square: [[f64; 5]; 5],
    rest: [[f64; 3]; 3],
}

impl Sums {
    /// Adds a row of pixels: the first at t = `first`, each next one `step` farther, all at `v`.
    #[inline(always)]
    fn add(&mut self, [first, step, v]: [f64; 3], weights: &[f32], rests: &[f32]) {
        let mut sums = [[0.0; LANES]; 8];
        let chunks = weights.chunks(LANES).zip(rests.chunks(LANES));
        for (n, (weights, rests)) in chunks.enumerate() {
            let (mut w, mut r) = ([0.0_f32; LANES], [0.0_f32; LANES]);
            w[..weights.len()].copy_from_slice(weights);
            r[..rests.len()].copy_from_slice(rests);
            for l in 0..LANES {
                let t = first + (n * LANES + l) as f64 * step;
                let t2 = t * t;
                let (weight, pull) = (f64::from(w[l]), f64::from(w[l] * r[l]));
                let (odd, even) = (weight * t, weight * t2);
                let terms = [
                    weight,
                    odd,
                    even,
                    odd * t2,
                    even * t2,
                    pull,
                    pull * t,
                    pull * t2,
                ];
                for k in 0..8 {
                    sums[k][l] += terms[k];
                }
            }
        }
        let total = sums.map(|lane| lane.iter().sum::<f64>());
        let mut power = 1.0;
        for b in 0..5 {
            for (square, sum) in self.square.iter_mut().zip(&total) {
                square[b] += sum * power;
            }
            for a in 0..if b < 3 { 3 } else { 0 } {
                self.rest[a][b] += total[5 + a] * power;
            }
            power *= v;
        }
    }

    fn gradient(&self) -> [f64; SPLINES] {
        std::array::from_fn(|k| {
            let (down, across) = (BASIS[k / ORDER], BASIS[k % ORDER]);
            (0..3)
                .map(|b| down[b] * (0..3).map(|a| across[a] * self.rest[a][b]).sum::<f64>())
                .sum()
        })
    }

    fn matrix(&self) -> [[f64; SPLINES]; SPLINES] {
        // Σ over powers of products of two splines along x, then along y.
        let products = |p: usize, q: usize| {
            let mut product = [0.0; 5];
            for (a, x) in BASIS[p].iter().enumerate() {
                for (b, y) in BASIS[q].iter().enumerate() {
                    product[a + b] += x * y;
                }
            }
            product
        };
        let pairs: [[[f64; 5]; ORDER]; ORDER] =
            std::array::from_fn(|p| std::array::from_fn(|q| products(p, q)));
        std::array::from_fn(|k| {
            std::array::from_fn(|l| {
                let across = pairs[k % ORDER][l % ORDER];
                let down = pairs[k / ORDER][l / ORDER];
                let along = |b: usize| (0..5).map(|a| across[a] * self.square[a][b]).sum::<f64>();
                (0..5).map(|b| down[b] * along(b)).sum()
            })
        })
    }
}

impl Ground {
    /// Index of the k-th node of a cell.
    fn node(&self, cell: usize, k: usize) -> usize {
        let cols = self.stride - 2;
        (cell / cols + k / ORDER) * self.stride + cell % cols + k % ORDER
    }

    /// Number of cells.
    pub(super) fn count(&self) -> usize {
        self.cells.len()
    }

    /// The cell's nodes out of all.
    fn nodes_of(&self, cell: usize, nodes: &[f64]) -> [f64; SPLINES] {
        std::array::from_fn(|k| nodes[self.node(cell, k)])
    }

    /// The polynomial (1, x, y, x², xy, y²) of a surface at a place.
    pub(super) fn polynomial(&self, place: &Place, nodes: &[f64]) -> Vector {
        let all = self.nodes_of(place.cell, nodes);
        let rows: [[f64; 3]; ORDER] = std::array::from_fn(|j| {
            place
                .across
                .map(|splines| (0..ORDER).map(|i| splines[i] * all[ORDER * j + i]).sum())
        });
        let mix = |a: usize, b: usize| {
            (0..ORDER)
                .map(|j| place.down[b][j] * rows[j][a])
                .sum::<f64>()
        };
        [
            mix(0, 0),
            mix(1, 0),
            mix(0, 1),
            mix(2, 0),
            mix(1, 1),
            mix(0, 2),
        ]
    }

    /// What a cell adds to the product of the equations with `nodes`: its own part, and that of the polynomials at places
    /// in it.
    pub(super) fn part(
        &self,
        cell: usize,
        nodes: &[f64],
        places: impl Iterator<Item = (Place, Vector)>,
    ) -> [f64; SPLINES] {
        let all = self.nodes_of(cell, nodes);
        let mut sum: [f64; SPLINES] =
            self.cells[cell].map(|row| (0..SPLINES).map(|k| row[k] * all[k]).sum());
        for (place, p) in places {
            let [x, xx, yy] = [[p[0], p[1], p[3]], [p[2], p[4], 0.0], [p[5], 0.0, 0.0]];
            for i in 0..ORDER {
                let mix = |c: [f64; 3]| (0..3).map(|a| c[a] * place.across[a][i]).sum::<f64>();
                let (value, first, second) = (mix(x), mix(xx), mix(yy));
                for j in 0..ORDER {
                    let [d0, d1, d2] = [0, 1, 2].map(|b| place.down[b][j]);
                    sum[ORDER * j + i] += value * d0 + first * d1 + second * d2;
                }
            }
        }
        sum
    }

    /// Adds up the parts of all cells, with the least weight of nodes and more damping.
    pub(super) fn gathered(
        &self,
        parts: &[[f64; SPLINES]],
        nodes: &[f64],
        damping: f64,
    ) -> Vec<f64> {
        let mean = self.diagonal.iter().sum::<f64>() / self.diagonal.len() as f64;
        let mut all: Vec<f64> = nodes
            .iter()
            .map(|node| (LEAST_WEIGHT + damping) * mean * node)
            .collect();
        for (cell, part) in parts.iter().enumerate() {
            for (k, value) in part.iter().enumerate() {
                all[self.node(cell, k)] += value;
            }
        }
        all
    }
}
