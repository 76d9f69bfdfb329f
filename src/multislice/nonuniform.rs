//! Fourier sums over points that lie on no grid, S(k) = Σ_j exp(−2πi k·r_j), column by column of k_x.
//!
//! In a column the phases along x are plain factors c_j = exp(−2πi k_x x_j), and what is left is a sum along y, Σ_j c_j
//! exp(−2πi k_y y_j): a non-uniform fast Fourier transform of type 1. Every c_j is spread over the nearest nodes of a line that
//! is somewhat finer than the pixels, as a smooth kernel φ of compact support. The fast transform of that line is S times φ̂,
//! plus what folds back from frequencies beyond the fine line's, where φ̂ is next to nothing; dividing by φ̂ leaves S. The
//! kernel is the "exponential of semicircle", φ(z) = exp(β(√(1−z²) − 1)) for |z| ≤ 1, whose error falls by a factor of about
//! exp(π √(1−1/σ)) with every node of its width, σ being how many times finer the line is (Barnett, Magland & af Klinteberg,
//! SIAM J. Sci. Comput. **41**, C479 (2019)). φ̂ has no closed form and is integrated numerically.
//!
//! Why along one axis only: atoms are few, some hundred per column, and spreading them anew in every column takes less time
//! than a transform along x would, needs no memory of the size of the grid, and is exact along x. For the same reason the
//! kernel is wide and the line hardly finer than the pixels, where the method is mostly used with σ = 2.
//!
//! S(−k) is the conjugate of S(k): columns of k_x ≥ 0 tell all.

use std::f64::consts::{PI, TAU};
use std::sync::Arc;

use num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::neighbours::Point;

/// Nodes that a point is spread over, and the least σ: together an error of 3e-12 of the root of the number of points at the
/// highest frequencies, where φ̂ is smallest and rounding counts most.
const WIDTH: usize = 20;
const UPSAMPLING: f64 = 1.35;
/// β as a fraction of π·width·(1 − 1/2σ), the value at which φ̂ would end just where frequencies begin to fold back.
const SAFETY: f64 = 0.97;
/// Nodes of the integral φ̂; its error is that of the kernel's jump at the ends, exp(−β), from about 60 on.
const QUADRATURE: usize = 96;
/// Columns from one whose phases are computed to the next; between, each is a product with the one before, which rounds.
const RENEWAL: usize = 32;

/// The transform for one shape of the grid of frequencies.
pub(super) struct NonuniformTransform {
    /// Frequencies along y from 0 to the highest, the Nyquist frequency of an even count.
    half: usize,
    /// Nodes of the fine line.
    nodes: usize,
    beta: f64,
    /// 1/φ̂ of those frequencies.
    correction: Vec<f64>,
    fft: Arc<dyn Fft<f64>>,
}

/// A sum over points, column by column.
pub(super) struct Columns<'a> {
    transform: &'a NonuniformTransform,
    spread: Vec<Spread>,
    /// exp(−2πi k_x x) of every point in the next column, and their quotients from one column to the next.
    phases: Vec<Complex<f64>>,
    step: Vec<Complex<f64>>,
    /// Index of the next column.
    x: usize,
    line: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    values: Vec<Complex<f64>>,
}

/// A point made ready.
struct Spread {
    /// Its place along x as a fraction of the period.
    across: f64,
    /// Its first node along y, and the weights of [`WIDTH`] nodes from there on.
    first: usize,
    weights: [f64; WIDTH],
}

impl NonuniformTransform {
    /// For `rows` frequencies along y; along x they are as many as are asked for.
    pub(super) fn new(rows: usize) -> Self {
        let nodes = quick_nodes((UPSAMPLING * rows as f64).ceil() as usize);
        let upsampling = nodes as f64 / rows as f64;
        let beta = SAFETY * PI * WIDTH as f64 * (1.0 - 0.5 / upsampling);
        let half = rows / 2 + 1;
        let correction = |m: usize| 1.0 / transformed_kernel(beta, m as f64 / nodes as f64);
        Self {
            half,
            nodes,
            beta,
            correction: (0..half).map(correction).collect(),
            fft: FftPlanner::new().plan_fft_forward(nodes),
        }
    }

    /// S(k) over a field of `extent` = `[y, x]` [Å], ready to be computed column by column.
    pub(super) fn columns(&self, points: &[Point], extent: [f64; 2]) -> Columns<'_> {
        let spread = self.spread(points, extent);
        Columns {
            step: phases(&spread, 1),
            phases: Vec::new(),
            spread,
            transform: self,
            x: 0,
            line: vec![Complex::default(); self.nodes + WIDTH],
            scratch: vec![Complex::default(); self.fft.get_inplace_scratch_len()],
            values: vec![Complex::default(); 2 * self.half - 1],
        }
    }

    /// Makes points ready, in the order of their nodes, so that neighbours in memory follow each other.
    fn spread(&self, points: &[Point], [height, width]: [f64; 2]) -> Vec<Spread> {
        let reach = 0.5 * WIDTH as f64;
        let ready = |point: &Point| {
            let [across, along] = [point[0] / width, point[1] / height];
            let place = (along - along.floor()) * self.nodes as f64;
            let first = (place - reach).ceil();
            let weight = |i: usize| kernel(self.beta, (first + i as f64 - place) / reach);
            Spread {
                across: across - across.round(),
                first: (first as i64).rem_euclid(self.nodes as i64) as usize,
                weights: std::array::from_fn(weight),
            }
        };
        let mut spread: Vec<_> = points.iter().map(ready).collect();
        spread.sort_by_key(|point| point.first);
        spread
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

impl Columns<'_> {
    /// The next column, of kx = 0 at first and then rising: values for ky from 0 to the highest and from the lowest to −1, an
    /// odd number in any case.
    pub(super) fn next_column(&mut self) -> &[Complex<f64>] {
        if self.x.is_multiple_of(RENEWAL) {
            self.phases = phases(&self.spread, self.x);
        }
        self.x += 1;
        self.lay();
        let nodes = self.transform.nodes;
        let line = &mut self.line[..nodes];
        self.transform
            .fft
            .process_with_scratch(line, &mut self.scratch);
        self.transform.correct(line, &mut self.values);
        &self.values
    }

    /// Σ_j c_j φ(node − y_j) on the line for the phases c_j, which then go one step on.
    fn lay(&mut self) {
        self.line.fill(Complex::default());
        let phases = self.phases.iter_mut().zip(&self.step);
        for (point, (phase, step)) in self.spread.iter().zip(phases) {
            let nodes = &mut self.line[point.first..point.first + WIDTH];
            for (node, weight) in nodes.iter_mut().zip(&point.weights) {
                *node += *phase * weight;
            }
            *phase *= step;
        }
        // What stands beyond the end of the line belongs to its beginning.
        let nodes = self.transform.nodes;
        for beyond in nodes..self.line.len() {
            let value = self.line[beyond];
            self.line[beyond % nodes] += value;
        }
    }
}

/// exp(−2πi k_x x) of the points in column `column`.
fn phases(spread: &[Spread], column: usize) -> Vec<Complex<f64>> {
    let phase = |point: &Spread| Complex::cis(-TAU * (column as f64 * point.across));
    spread.iter().map(phase).collect()
}

/// The smallest number not below `count` that the transform is quickest at: factors 2 and 3, and 5 once.
fn quick_nodes(count: usize) -> usize {
    let quick = |&n: &usize| {
        let mut rest = if n.is_multiple_of(5) { n / 5 } else { n };
        for prime in [2, 3] {
            while rest.is_multiple_of(prime) {
                rest /= prime;
            }
        }
        rest == 1
    };
    (count.max(1)..).find(quick).unwrap_or(count)
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
        (beta * (sine - 1.0)).exp() * (TAU * frequency * reach * cosine).cos() * sine
    };
    reach * step * (0..QUADRATURE).map(term).sum::<f64>()
}
