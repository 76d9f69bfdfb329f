//! Gaussians on the pixels of an image, several pixels at a time and without branches: the compiler turns these loops into
//! vector instructions.

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
/// Pixels that go side by side.
pub(super) const LANES: usize = 8;
/// How many pixels each is from the first of those that go side by side.
pub(super) const STEPS: Lanes = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
/// One number for each of the pixels that go side by side.
pub(super) type Lanes = [f64; LANES];

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

/// Adds a Gaussian to a row of a model, `dy` [Å] off its centre, from pixel `first` on, `dx` [Å] off, pixels of `step` [Å].
/// It goes on to the next multiple of [`LANES`]; `line` must be as long.
#[inline(always)]
pub(super) fn draw(line: &mut [f64], gaussian: &Gaussian, [dx, dy]: Point, step: f64) {
    let [p, q, s] = gaussian.form;
    let (square, linear, constant) = (-0.5 * p, -q * dy, -0.5 * s * dy * dy);
    let mut first = dx;
    for values in line.as_chunks_mut::<LANES>().0 {
        for l in 0..LANES {
            let x = first + STEPS[l] * step;
            values[l] += gaussian.height * exp((square * x + linear) * x + constant);
        }
        first += LANES as f64 * step;
    }
}

/// The pixels along one axis, of `count` with a distance of `step` [Å], within `reach` [Å] of `at` [Å].
pub(super) fn span(at: f64, reach: f64, step: f64, count: usize) -> Range<usize> {
    let low = ((at - reach) / step).ceil().max(0.0) as usize;
    let high = (((at + reach) / step).floor().max(-1.0) + 1.0) as usize;
    low.min(count)..high.min(count)
}

/// The chords of a disc on the pixels of an image: `(row, columns)`.
pub(super) fn disc(
    shape: (usize, usize),
    [sy, sx]: [f64; 2],
    centre: Point,
    radius: f64,
) -> impl Iterator<Item = (usize, Range<usize>)> {
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
    fn a_drawn_row_is_the_gaussian() {
        let gaussian = Gaussian {
            height: 2.5,
            position: [1.3, 0.4],
            form: [3.1, 0.7, 4.2],
        };
        let mut line = vec![1.0; 16];
        draw(&mut line, &gaussian, [0.2 - 1.3, -0.4], 0.15);
        for (k, value) in line.iter().enumerate() {
            let exact = 1.0 + gaussian.peak([0.2 + 0.15 * k as f64, 0.0]);
            assert!((value - exact).abs() < 1e-10, "{value} {exact}");
        }
    }
}
