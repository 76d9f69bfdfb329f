//! The lattice prior: the basis of the A lattice, from the image alone.
//!
//! The autocorrelation C of a perovskite image along [100] peaks at lattice vectors, where A meets A and B meets B, with
//! a² + b², and at half diagonals, where A meets B, with 2ab (a, b: brightness). Two short high peaks about as long and
//! about perpendicular are a basis, either of the A lattice or, where A and B are about equally bright, of the lattice of
//! all columns. The cell's centre tells: in the former C peaks there (A meets B), in the latter it has a hole.
//! Noise is white, so it adds to C at lag zero only, and the answer averages over the whole image.
//!
//! The length of the pitch in pixels is not known beforehand: the image is averaged over 1, 2, 4, … pixels, and the finest
//! level that holds the second neighbours and is significant is taken. Sampling is used only to make pixels square and to report Å.

use ndarray::{Array2, Axis};
use pulp::Arch;
use rayon::prelude::*;

use super::filter::{bin, maxima, smooth};
use crate::crystal::polarization::Point;
use crate::image::Image;

/// Longest lag along each axis [averaged px]; a pitch up to 18 of them shows its second neighbours.
const REACH: usize = 40;
/// Largest fraction of the image that a lag may take.
const REACH_FRACTION: f64 = 0.67;
/// Shortest pitch that counts [averaged px]: below it, columns are not resolved.
const MIN_PITCH: f64 = 4.5;
/// Standard deviation of the slow background taken off [averaged px]: wider than any pitch at its level.
const BACKGROUND: f64 = 14.0;
/// Pixels that the autocorrelation is averaged over; more would not make it better.
const MAX_PIXELS: usize = 1 << 18;
/// Products that are summed side by side.
const LANES: usize = 32;
/// Levels of averaging: factors 1, 2, 4, 8, so pitches up to some 150 px.
const LEVELS: u32 = 4;
/// Height of C at the cell's centre, between the holes (0) and the lattice points (1), that shows a column there.
const CENTRE_HEIGHT: f64 = 0.1;
/// Half-way, as a factor, between a pitch and a half diagonal: 2^(1/4).
const HALF_WAY: f64 = 1.189_207_115;

/// The repeat of the A lattice, in the image plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lattice {
    /// Basis vector nearest to +x [Å].
    pub a: Point,
    /// The other one, clockwise on screen from `a` (y is down) [Å].
    pub b: Point,
}

impl Lattice {
    /// Vector `i a + j b` [Å].
    #[must_use]
    pub fn vector(&self, i: f64, j: f64) -> Point {
        [i * self.a[0] + j * self.b[0], i * self.a[1] + j * self.b[1]]
    }

    /// Geometric mean of the lengths of `a` and `b` [Å].
    #[must_use]
    pub fn pitch(&self) -> f64 {
        (length(self.a) * length(self.b)).sqrt()
    }

    /// The same lattice with `a` nearest to +x and `b` clockwise from it.
    #[must_use]
    fn oriented(u: Point, v: Point) -> Self {
        let (mut a, mut b) = if u[0].abs() / length(u) >= v[0].abs() / length(v) {
            (u, v)
        } else {
            (v, u)
        };
        if a[0] < 0.0 {
            a = a.map(|x| -x);
        }
        if a[0] * b[1] - a[1] * b[0] < 0.0 {
            b = b.map(|x| -x);
        }
        Self { a, b }
    }
}

/// Length of a vector.
pub(super) fn length(v: Point) -> f64 {
    v[0].hypot(v[1])
}

/// A lattice and how far it stands above chance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence {
    pub(super) lattice: Lattice,
    /// Mean of C at second neighbours, in standard errors of as many values of C at random lags.
    pub(super) significance: f64,
    /// Whether all second neighbours lay within reach.
    complete: bool,
}

/// The A lattice of the image: the finest level with a significance of at least `enough`, else the most significant one.
/// `nominal` [Å] decides only where B does not show.
pub(super) fn find(image: &Image, nominal: f64, enough: f64) -> Option<Evidence> {
    let mut best: Option<Evidence> = None;
    for level in 0..LEVELS {
        let Some(evidence) = at_level(image, 1 << level, nominal) else {
            continue;
        };
        if evidence.complete && evidence.significance >= enough {
            return Some(evidence);
        }
        if best.is_none_or(|b| evidence.significance > b.significance) {
            best = Some(evidence);
        }
    }
    best
}

fn at_level(image: &Image, factor: usize, nominal: f64) -> Option<Evidence> {
    let coarse = image.sampling[0].max(image.sampling[1]);
    let factor = image
        .sampling
        .map(|s| factor * (coarse / s).round().max(1.0) as usize);
    let sampling = [
        image.sampling[1] * factor[1] as f64,
        image.sampling[0] * factor[0] as f64,
    ];
    let binned = bin(&image.data, factor);
    let reach =
        [binned.nrows(), binned.ncols()].map(|n| REACH.min((REACH_FRACTION * n as f64) as usize));
    if reach[0] < 6 || reach[1] < 6 {
        return None;
    }
    let flat = &binned - &smooth(&binned, [BACKGROUND; 2]);
    let correlation = Correlation {
        values: autocorrelation(&flat, reach),
        sampling,
    };
    let (u, v) = correlation.basis()?;
    let lattice = correlation.a_lattice(u, v, nominal);
    let (significance, complete) = correlation.significance(u, v);
    Some(Evidence {
        lattice,
        significance,
        complete,
    })
}

/// Mean of I(r) I(r + lag) over positions r, for lags `(−reach..=reach)` along both axes, smoothed over 3×3 lags.
///
/// Of large images only some rows r are used; the golden ratio spreads them so that they meet every phase of the lattice.
fn autocorrelation(data: &Array2<f32>, reach: [usize; 2]) -> Array2<f32> {
    let (rows, cols) = data.dim();
    let count = (MAX_PIXELS / cols).clamp(1, rows);
    let chosen: Vec<usize> = if count == rows {
        (0..rows).collect()
    } else {
        (0..count)
            .map(|k| ((k as f64 * 0.618_033_988_75).fract() * rows as f64) as usize)
            .collect()
    };
    let width = 2 * reach[1] + 1;
    let half: Vec<Vec<f32>> = (0..=reach[0])
        .into_par_iter()
        .map(|dy| {
            (0..width)
                .map(|c| mean_product(data, &chosen, dy, c as isize - reach[1] as isize))
                .collect()
        })
        .collect();
    let mut full = Array2::from_shape_fn((2 * reach[0] + 1, width), |(r, c)| {
        if r >= reach[0] {
            half[r - reach[0]][c]
        } else {
            half[reach[0] - r][width - 1 - c]
        }
    });
    // Pixel noise lives at lag zero alone; what its neighbours say is the signal.
    let (r, c) = (reach[0], reach[1]);
    full[(r, c)] = 0.5 * (full[(r, c + 1)] + full[(r + 1, c)]);
    smooth(&full, [0.7; 2])
}

fn mean_product(data: &Array2<f32>, chosen: &[usize], dy: usize, dx: isize) -> f32 {
    let (rows, cols) = data.dim();
    let shift = dx.unsigned_abs();
    let (mut sum, mut count) = (0.0_f64, 0_usize);
    Arch::new().dispatch(|| {
        for &row in chosen.iter().filter(|&&row| row + dy < rows) {
            let (first, second) = (data.row(row), data.row(row + dy));
            let (Some(first), Some(second)) = (first.to_slice(), second.to_slice()) else {
                continue;
            };
            let (first, second) = if dx >= 0 {
                (&first[..cols - shift], &second[shift..])
            } else {
                (&first[shift..], &second[..cols - shift])
            };
            sum += f64::from(dot(first, second));
            count += first.len();
        }
    });
    (sum / count.max(1) as f64) as f32
}

/// Scalar product in independent sums, which the compiler turns into vector instructions.
#[inline(always)]
fn dot(first: &[f32], second: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (first.as_chunks::<LANES>(), second.as_chunks::<LANES>());
    let rest: f32 = a.1.iter().zip(b.1).map(|(x, y)| x * y).sum();
    for (x, y) in a.0.iter().zip(b.0) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The autocorrelation, lag zero in the middle; vectors are `[x, y]` [Å].
struct Correlation {
    values: Array2<f32>,
    /// `[x, y]` [Å per averaged px].
    sampling: [f64; 2],
}

impl Correlation {
    fn centre(&self) -> [f64; 2] {
        let (rows, cols) = self.values.dim();
        [(cols / 2) as f64, (rows / 2) as f64]
    }

    /// C at a lag [Å], by bilinear interpolation; `None` out of reach.
    fn at(&self, lag: Point) -> Option<f64> {
        let centre = self.centre();
        let [x, y]: [f64; 2] = std::array::from_fn(|i| lag[i] / self.sampling[i] + centre[i]);
        let (rows, cols) = self.values.dim();
        if !(x >= 0.0 && y >= 0.0 && x < (cols - 1) as f64 && y < (rows - 1) as f64) {
            return None;
        }
        let (c, r) = (x as usize, y as usize);
        let (fx, fy) = (x.fract(), y.fract());
        let value = |r, c| f64::from(self.values[(r, c)]);
        let top = value(r, c) * (1.0 - fx) + value(r, c + 1) * fx;
        let bottom = value(r + 1, c) * (1.0 - fx) + value(r + 1, c + 1) * fx;
        Some(top * (1.0 - fy) + bottom * fy)
    }

    /// Two short high peaks, about as long and about perpendicular.
    fn basis(&self) -> Option<(Point, Point)> {
        let centre = self.centre();
        let shortest = MIN_PITCH * self.sampling[0].max(self.sampling[1]);
        let peaks: Vec<(Point, f64)> = maxima(&self.values)
            .iter()
            .filter(|m| m.value > 0.0)
            .map(|m| {
                let lag = std::array::from_fn(|i| (m.pixel[i] - centre[i]) * self.sampling[i]);
                (lag, m.value)
            })
            .filter(|(lag, _)| length(*lag) >= shortest)
            .collect();
        let highest = peaks.iter().map(|p| p.1).fold(0.0, f64::max);
        let first = peaks
            .iter()
            .filter(|p| p.1 >= 0.8 * highest)
            .min_by(|p, q| length(p.0).total_cmp(&length(q.0)))?;
        // Fitness falls with unequal lengths (20 %) and with the cosine of the angle (0.3).
        let fitness = |p: &(Point, f64)| {
            let stretch = (length(p.0) / length(first.0)).ln() / 0.2;
            let cosine =
                (p.0[0] * first.0[0] + p.0[1] * first.0[1]) / (length(p.0) * length(first.0)) / 0.3;
            p.1 * (-0.5 * (stretch * stretch + cosine * cosine)).exp()
        };
        let second = peaks
            .iter()
            .max_by(|p, q| fitness(p).total_cmp(&fitness(q)))?;
        (fitness(second) > 0.1 * highest).then_some((first.0, second.0))
    }

    /// Mean of C at `i u + j v` over the given `(i, j)` that are within reach.
    fn mean_at(&self, u: Point, v: Point, points: &[[f64; 2]]) -> (f64, usize) {
        let values: Vec<f64> = points
            .iter()
            .filter_map(|[i, j]| self.at([i * u[0] + j * v[0], i * u[1] + j * v[1]]))
            .collect();
        (
            values.iter().sum::<f64>() / values.len().max(1) as f64,
            values.len(),
        )
    }

    /// The A lattice, of which (u, v) is a basis or which has its columns at every second point of (u, v).
    fn a_lattice(&self, u: Point, v: Point, nominal: f64) -> Lattice {
        let (peak, _) = self.mean_at(u, v, &[[1.0, 0.0], [0.0, 1.0]]);
        let (centre, _) = self.mean_at(u, v, &[[0.5, 0.5], [0.5, -0.5]]);
        let (hole, _) = self.mean_at(u, v, &[[1.0, 0.5], [0.5, 1.0], [1.0, -0.5], [-0.5, 1.0]]);
        let ratio = (length(u) * length(v)).sqrt() / nominal;
        let near_nominal = (1.0 / HALF_WAY..HALF_WAY).contains(&ratio);
        if centre - hole > CENTRE_HEIGHT * (peak - hole) || near_nominal {
            Lattice::oriented(u, v)
        } else {
            Lattice::oriented([u[0] + v[0], u[1] + v[1]], [u[0] - v[0], u[1] - v[1]])
        }
    }

    /// Mean of C at the second neighbours of the lattice (u, v), which had no part in its choice, over its standard error
    /// for random lags; and whether all were within reach.
    fn significance(&self, u: Point, v: Point) -> (f64, bool) {
        let points: [[f64; 2]; 10] = [
            [1.0, 1.0],
            [1.0, -1.0],
            [2.0, 0.0],
            [0.0, 2.0],
            [2.0, 1.0],
            [2.0, -1.0],
            [1.0, 2.0],
            [1.0, -2.0],
            [2.0, 2.0],
            [2.0, -2.0],
        ];
        let (mean, count) = self.mean_at(u, v, &points);
        let centre = self.centre();
        let outside: Vec<f64> = self
            .values
            .axis_iter(Axis(0))
            .enumerate()
            .flat_map(|(r, row)| {
                row.iter()
                    .enumerate()
                    .filter(|(c, _)| {
                        (r as f64 - centre[1]).hypot(*c as f64 - centre[0]) > MIN_PITCH
                    })
                    .map(|(_, value)| f64::from(*value))
                    .collect::<Vec<_>>()
            })
            .collect();
        let variance = outside.iter().map(|x| x * x).sum::<f64>() / outside.len().max(1) as f64;
        let significance = mean / variance.sqrt() * (count as f64).sqrt();
        (
            if significance.is_finite() {
                significance
            } else {
                0.0
            },
            count >= 8,
        )
    }
}
