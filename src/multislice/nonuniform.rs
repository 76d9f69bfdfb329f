//! Fourier sums over points that lie on no grid, S(k) = Σ_j exp(−2πi k·r_j), by a non-uniform fast Fourier transform (type 1).
//!
//! Every point is spread over the nearest nodes of a somewhat finer grid, as a smooth kernel φ of compact support. The fast
//! transform of that grid is S(k) times φ̂(k), plus what folds back from frequencies beyond the fine grid's, where φ̂ is next
//! to nothing; dividing by φ̂ leaves S. The kernel is the "exponential of semicircle", φ(z) = exp(β(√(1−z²) − 1)) for
//! |z| ≤ 1, whose error falls by a factor exp(π √(1−1/σ)) with every node of its width, σ being how many times finer the
//! fine grid is (Barnett, Magland & af Klinteberg, SIAM J. Sci. Comput. **41**, C479 (2019), eqs. 1.8, 3.10 and 4.5). φ̂ has
//! no closed form and is integrated numerically.
//!
//! Atoms are few beside pixels, so that a wide kernel costs nothing and a fine grid does: σ is well below the usual 2.
//!
//! S(−k) is the conjugate of S(k): the spread points are real, two rows go through one complex transform, and only columns
//! of k_x ≥ 0 are made.

use std::f64::consts::PI;
use std::sync::Arc;

use num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use super::fft::TILE;
use super::grid::quick_length;
use crate::neighbours::Point;

/// Nodes that a point is spread over along an axis, and the least ratio σ of the grids: together an error below 1e-11 of
/// the number of points at the highest frequencies, where φ̂ is smallest and rounding counts most, and below 1e-14 at half
/// of them.
const WIDTH: usize = 18;
const UPSAMPLING: f64 = 1.35;
/// β as a fraction of π·width·(1 − 1/2σ), the value at which φ̂ would end just where frequencies begin to fold back.
const SAFETY: f64 = 0.97;
/// Nodes of the integral φ̂; its error is that of the kernel's jump at the ends, exp(−β), from about 60 on.
const QUADRATURE: usize = 96;
/// Unused elements between the columns of a tile: columns of a power of two would share the same few lines of the cache.
const GAP: usize = 8;

/// The transform for one shape of the grid of frequencies.
pub(super) struct NonuniformTransform {
    along: Line,
    across: Line,
}

/// One axis.
struct Line {
    /// Frequencies from 0 to the highest, the Nyquist frequency of an even count.
    half: usize,
    /// Nodes of the fine grid.
    nodes: usize,
    beta: f64,
    /// 1/φ̂ of those frequencies.
    correction: Vec<f64>,
    fft: Arc<dyn Fft<f64>>,
}

/// Memory for a whole transform, filled anew by each; numbers are `[real, imaginary]`, for which the system hands out zeros
/// that nobody has to write.
pub(super) type Workspace = Vec<[f64; 2]>;

/// What the points leave on one axis: for each its first node and the weights of [`WIDTH`] nodes from there on.
struct Spread {
    first: Vec<usize>,
    weights: Vec<[f64; WIDTH]>,
}

impl NonuniformTransform {
    /// For `(rows, cols)` frequencies.
    pub(super) fn new((rows, cols): (usize, usize)) -> Self {
        let mut planner = FftPlanner::new();
        Self {
            along: Line::new(rows, &mut planner),
            across: Line::new(cols, &mut planner),
        }
    }

    /// S(k) over a field of `extent` = `[y, x]` [Å], column by column: `show(index of kx ≥ 0, values)`, the values for ky
    /// from 0 to the highest and from the lowest to −1, an odd number in any case.
    pub(super) fn columns(
        &self,
        points: &[Point],
        extent: [f64; 2],
        tiles: &mut Workspace,
        mut show: impl FnMut(usize, &[Complex<f64>]),
    ) {
        self.transform_rows(points, extent, tiles);
        let nodes = self.along.nodes;
        let stride = nodes + GAP;
        let mut columns = vec![Complex::default(); TILE * stride];
        let mut scratch = self.along.scratch();
        let mut values = vec![Complex::default(); 2 * self.along.half - 1];
        for (index, tile) in tiles.chunks_exact(TILE * nodes).enumerate() {
            for (y, row) in tile.chunks_exact(TILE).enumerate() {
                for (offset, value) in row.iter().enumerate() {
                    columns[offset * stride + y] = Complex::new(value[0], value[1]);
                }
            }
            let first = index * TILE;
            let columns = columns.chunks_exact_mut(stride);
            for (x, column) in (first..self.across.half).zip(columns) {
                let column = &mut column[..nodes];
                self.along.fft.process_with_scratch(column, &mut scratch);
                self.along.correct(column, &mut values);
                show(x, &values);
            }
        }
    }

    /// The spread points transformed along x and corrected there, in tiles of [`TILE`] columns of kx, each row by row.
    fn transform_rows(&self, points: &[Point], extent: [f64; 2], tiles: &mut Workspace) {
        let (along, across) = (&self.along, &self.across);
        let spread = across.spread(points.iter().map(|p| p[0] / extent[1]));
        let rows = along.sort(&along.spread(points.iter().map(|p| p[1] / extent[0])));
        let tile = TILE * along.nodes;
        let size = across.half.div_ceil(TILE) * tile;
        if tiles.len() != size {
            *tiles = vec![[0.0; 2]; size];
        }
        let mut row = vec![Complex::default(); across.nodes];
        let mut scratch = across.scratch();
        for (index, pair) in rows.chunks(2).enumerate() {
            row.fill(Complex::default());
            across.add(&pair[0], &spread, &mut row, |value| &mut value.re);
            if let Some(second) = pair.get(1) {
                across.add(second, &spread, &mut row, |value| &mut value.im);
            }
            across.fft.process_with_scratch(&mut row, &mut scratch);
            for (x, correction) in across.correction.iter().enumerate() {
                // The transforms of the real and of the imaginary part are conjugate-even each.
                let (here, there) = (row[x], row[(across.nodes - x) % across.nodes].conj());
                let place = x / TILE * tile + 2 * index * TILE + x % TILE;
                let even = (here + there) * (0.5 * correction);
                tiles[place] = [even.re, even.im];
                if pair.len() == 2 {
                    let odd = (here - there) * (0.5 * correction);
                    tiles[place + TILE] = [odd.im, -odd.re];
                }
            }
        }
    }
}

impl Line {
    fn new(count: usize, planner: &mut FftPlanner<f64>) -> Self {
        let nodes = quick_length((UPSAMPLING * count as f64).ceil() as usize);
        let upsampling = nodes as f64 / count as f64;
        let beta = SAFETY * PI * WIDTH as f64 * (1.0 - 0.5 / upsampling);
        let half = count / 2 + 1;
        let correction = |m: usize| 1.0 / transformed_kernel(beta, m as f64 / nodes as f64);
        Self {
            half,
            nodes,
            beta,
            correction: (0..half).map(correction).collect(),
            fft: planner.plan_fft_forward(nodes),
        }
    }

    fn scratch(&self) -> Vec<Complex<f64>> {
        vec![Complex::default(); self.fft.get_inplace_scratch_len()]
    }

    /// Spreads points, given as fractions of the period.
    fn spread(&self, points: impl Iterator<Item = f64>) -> Spread {
        let (first, weights) = points
            .map(|fraction| {
                let place = (fraction - fraction.floor()) * self.nodes as f64;
                let first = (place - 0.5 * WIDTH as f64).ceil();
                let weights = std::array::from_fn(|i| {
                    kernel(self.beta, (first + i as f64 - place) / (0.5 * WIDTH as f64))
                });
                (
                    (first as i64).rem_euclid(self.nodes as i64) as usize,
                    weights,
                )
            })
            .unzip();
        Spread { first, weights }
    }

    /// For every node, the points that reach it, in their order, with their weights.
    fn sort(&self, spread: &Spread) -> Vec<Vec<(usize, f64)>> {
        let mut sorted = vec![Vec::new(); self.nodes];
        for (point, (first, weights)) in spread.first.iter().zip(&spread.weights).enumerate() {
            for (i, weight) in weights.iter().enumerate() {
                sorted[(first + i) % self.nodes].push((point, *weight));
            }
        }
        sorted
    }

    /// Adds weighted points to a part of a row.
    fn add(
        &self,
        points: &[(usize, f64)],
        spread: &Spread,
        row: &mut [Complex<f64>],
        part: impl Fn(&mut Complex<f64>) -> &mut f64,
    ) {
        for &(point, outer) in points {
            let mut node = spread.first[point];
            for weight in spread.weights[point] {
                *part(&mut row[node]) += outer * weight;
                node += 1;
                if node == self.nodes {
                    node = 0;
                }
            }
        }
    }

    /// Takes the wanted frequencies from a transformed line, divided by φ̂.
    fn correct(&self, line: &[Complex<f64>], values: &mut [Complex<f64>]) {
        let (rising, falling) = values.split_at_mut(self.half);
        for ((value, source), correction) in rising.iter_mut().zip(line).zip(&self.correction) {
            *value = source * correction;
        }
        let negative = falling.iter_mut().rev().zip(line.iter().rev());
        for ((value, source), correction) in negative.zip(&self.correction[1..]) {
            *value = source * correction;
        }
    }
}

/// φ(z), nothing beyond |z| = 1.
fn kernel(beta: f64, z: f64) -> f64 {
    let square = 1.0 - z * z;
    if square < 0.0 {
        return 0.0;
    }
    (beta * (square.sqrt() - 1.0)).exp()
}

/// φ̂ at a frequency in cycles per node: ∫ φ(2u/width) cos(2π frequency u) du over the kernel's width. With z = cos θ the
/// integrand is smooth and periodic but for exp(−β), and equal steps of θ converge exponentially.
fn transformed_kernel(beta: f64, frequency: f64) -> f64 {
    let reach = 0.5 * WIDTH as f64;
    let step = PI / QUADRATURE as f64;
    let term = |q: usize| {
        let (sine, cosine) = (step * (q as f64 + 0.5)).sin_cos();
        (beta * (sine - 1.0)).exp() * (2.0 * PI * frequency * reach * cosine).cos() * sine
    };
    reach * step * (0..QUADRATURE).map(term).sum::<f64>()
}
