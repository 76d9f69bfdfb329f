//! Gaussians along rows of pixels, without branches: the compiler turns these loops into vector instructions.

use std::f64::consts::{LN_2, LOG2_E};
use std::ops::Range;

use super::gaussian::Gaussian;
use crate::neighbours::Point;

/// 1.5 · 2⁵²: a number below 2⁵¹ added to it is rounded to an integer, which then stands in its lowest bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// Where the exponent of an f64 begins, and its bias.
const EXPONENT: (u32, u64) = (52, 1023);
/// Below it, exp is taken to be exp of it: 1e-304.
const LEAST: f64 = -700.0;
/// Pixels that are summed side by side.
const LANES: usize = 4;
/// Sums over a row: moments 0 to 4 of weight · shape², 0 to 2 of weight · shape · rest, 0 to 4 of weight · shape.
const SUMS: usize = 13;

/// exp(x) for x ≤ 0, to 1e-11 of it: 2ⁿ by its bits, the rest by its series.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    let scaled = x.max(LEAST) * LOG2_E;
    let shifted = scaled + ROUNDER;
    let f = (scaled - (shifted - ROUNDER)) * LN_2;
    let mut series = 1.0 / 362_880.0;
    for factorial in [40_320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        series = series * f + 1.0 / factorial;
    }
    let power = (shifted.to_bits() << EXPONENT.0).wrapping_add(EXPONENT.1 << EXPONENT.0);
    series * f64::from_bits(power)
}

/// Equally spaced pixels of a row: the first is at `first` from a centre, each next one `step` farther.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) first: f64,
    pub(super) step: f64,
    /// Distance of the row from the centre.
    pub(super) dy: f64,
}

impl Row {
    #[inline(always)]
    fn dx(&self, k: usize) -> f64 {
        self.first + k as f64 * self.step
    }
}

/// Adds the Gaussian to a row of a model.
#[inline(always)]
pub(super) fn draw(line: &mut [f64], gaussian: &Gaussian, row: Row) {
    let [p, q, s] = gaussian.form;
    let (linear, constant) = (-q * row.dy, -0.5 * s * row.dy * row.dy);
    for (k, value) in line.iter_mut().enumerate() {
        let dx = row.dx(k);
        *value += gaussian.height * exp((linear - 0.5 * p * dx) * dx + constant);
    }
}

/// exp of −½ the form, as coefficients of dx², dx, 1 in a row.
#[derive(Debug, Clone, Copy)]
struct Exponent {
    square: f64,
    linear: f64,
    constant: f64,
}

impl Exponent {
    #[inline(always)]
    fn of(form: [f64; 3], [dx, dy]: Point) -> Self {
        // −½ [p (x + dx)² + 2q (x + dx) dy + s dy²]
        let [p, q, s] = form;
        Self {
            square: -0.5 * p,
            linear: -p * dx - q * dy,
            constant: -0.5 * (p * dx * dx + 2.0 * q * dx * dy + s * dy * dy),
        }
    }

    #[inline(always)]
    fn at(&self, x: f64) -> f64 {
        (self.square * x + self.linear) * x + self.constant
    }
}

/// Moments of products of pixels with Gaussian shapes: `square[a][b]` = Σ w g² dxᵃ dyᵇ, with `rest` Σ w r g dxᵃ dyᵇ and
/// `flat` Σ w g dxᵃ dyᵇ; a + b ≤ 4, for `rest` ≤ 2.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) square: [[f64; 5]; 5],
    pub(super) rest: [[f64; 3]; 3],
    pub(super) flat: [[f64; 5]; 5],
}

impl Moments {
    /// Adds a row of pixels.
    #[inline(always)]
    pub(super) fn add(&mut self, form: [f64; 3], row: Row, weights: &[f32], rests: &[f32]) {
        let exponent = Exponent::of(form, [0.0, row.dy]);
        let mut sums = [[0.0; LANES]; SUMS];
        let count = weights.len().min(rests.len());
        let whole = count - count % LANES;
        for k in (0..whole).step_by(LANES) {
            let w: [f32; LANES] = std::array::from_fn(|l| weights[k + l]);
            let r: [f32; LANES] = std::array::from_fn(|l| rests[k + l]);
            lanes(&mut sums, exponent, row, k, w, r);
        }
        let left = |from: &[f32], l: usize| from.get(whole + l).copied().unwrap_or(0.0);
        let w = std::array::from_fn(|l| {
            if whole + l < count {
                left(weights, l)
            } else {
                0.0
            }
        });
        let r = std::array::from_fn(|l| {
            if whole + l < count {
                left(rests, l)
            } else {
                0.0
            }
        });
        lanes(&mut sums, exponent, row, whole, w, r);
        let total = sums.map(|lane| lane.iter().sum::<f64>());
        let mut power = 1.0;
        for b in 0..5 {
            for a in 0..5 - b {
                self.square[a][b] += total[a] * power;
                self.flat[a][b] += total[8 + a] * power;
            }
            for a in 0..3_usize.saturating_sub(b) {
                self.rest[a][b] += total[5 + a] * power;
            }
            power *= row.dy;
        }
    }
}

#[inline(always)]
fn lanes(
    sums: &mut [[f64; LANES]; SUMS],
    exponent: Exponent,
    row: Row,
    k: usize,
    weights: [f32; LANES],
    rests: [f32; LANES],
) {
    for l in 0..LANES {
        let dx = row.dx(k + l);
        let shape = exp(exponent.at(dx));
        let flat = f64::from(weights[l]) * shape;
        let (square, rest) = (flat * shape, flat * f64::from(rests[l]));
        let dx2 = dx * dx;
        let terms = [
            square,
            square * dx,
            square * dx2,
            square * dx2 * dx,
            square * dx2 * dx2,
            rest,
            rest * dx,
            rest * dx2,
            flat,
            flat * dx,
            flat * dx2,
            flat * dx2 * dx,
            flat * dx2 * dx2,
        ];
        for (sum, term) in sums.iter_mut().zip(terms) {
            sum[l] += term;
        }
    }
}

/// Moments Σ w g h dxᵃ dyᵇ of the product of two shapes, about the centre of the first; `offset` is the second's centre.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PairMoments(pub(super) [[f64; 5]; 5]);

impl PairMoments {
    /// Adds a row of pixels.
    #[inline(always)]
    pub(super) fn add(&mut self, forms: [[f64; 3]; 2], offset: Point, row: Row, weights: &[f32]) {
        let mine = Exponent::of(forms[0], [0.0, row.dy]);
        let other = Exponent::of(forms[1], [-offset[0], row.dy - offset[1]]);
        let exponent = Exponent {
            square: mine.square + other.square,
            linear: mine.linear + other.linear,
            constant: mine.constant + other.constant,
        };
        let mut total = [0.0; 5];
        for (k, weight) in weights.iter().enumerate() {
            let dx = row.dx(k);
            let mut term = f64::from(*weight) * exp(exponent.at(dx));
            for sum in &mut total {
                *sum += term;
                term *= dx;
            }
        }
        let mut power = 1.0;
        for b in 0..5 {
            for (moment, sum) in self.0.iter_mut().zip(&total).take(5 - b) {
                moment[b] += sum * power;
            }
            power *= row.dy;
        }
    }
}

/// The chords of a disc on the pixels of an image: `(row, columns)`.
pub(super) fn disc(
    shape: (usize, usize),
    [sy, sx]: [f64; 2],
    centre: Point,
    radius: f64,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let span = |at: f64, reach: f64, step: f64, count: usize| {
        let low = ((at - reach) / step).ceil().max(0.0) as usize;
        let high = (((at + reach) / step).floor().max(-1.0) + 1.0) as usize;
        low.min(count)..high.min(count)
    };
    span(centre[1], radius, sy, shape.0).filter_map(move |row| {
        let dy = row as f64 * sy - centre[1];
        let half = (radius * radius - dy * dy).max(0.0).sqrt();
        let across = span(centre[0], half, sx, shape.1);
        (!across.is_empty()).then_some((row, across))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_exponential_is_the_exponential() {
        for k in 0..20_000 {
            let x = -0.003 * f64::from(k);
            assert!((exp(x) / x.exp() - 1.0).abs() < 2e-11, "{x}");
        }
        assert!(exp(-1e9) < 1e-300);
    }

    #[test]
    fn moments_are_sums_over_pixels() {
        let form = [3.1, 0.7, 4.2];
        let weights: Vec<f32> = (0..7).map(|k| 1.0 + 0.1 * k as f32).collect();
        let rests: Vec<f32> = (0..7).map(|k| 0.3 - 0.2 * k as f32).collect();
        let row = Row {
            first: -0.53,
            step: 0.17,
            dy: 0.21,
        };
        let offset = [0.4, -0.3];
        let (mut moments, mut pair) = (Moments::default(), PairMoments::default());
        moments.add(form, row, &weights, &rests);
        pair.add([form, form], offset, row, &weights);
        let (mut square, mut rest, mut product) = (0.0, 0.0, 0.0);
        for k in 0..7 {
            let at = [row.first + k as f64 * row.step, row.dy];
            let shape = |centre| Gaussian {
                height: 1.0,
                position: centre,
                form,
            };
            let g = shape([0.0; 2]).peak(at);
            let w = f64::from(weights[k]);
            square += w * g * g * at[0].powi(3) * at[1];
            rest += w * g * f64::from(rests[k]) * at[0] * at[1];
            product += w * g * shape(offset).peak(at) * at[0].powi(2) * at[1].powi(2);
        }
        assert!((moments.square[3][1] - square).abs() < 1e-10);
        assert!((moments.rest[1][1] - rest).abs() < 1e-10);
        assert!((pair.0[2][2] - product).abs() < 1e-10);
    }
}
