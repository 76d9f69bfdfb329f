//! Moments of Gaussian shapes over the pixels around a column: sums of weights, shapes and what the model leaves, times powers
//! of the offset from the column's centre.
//!
//! Strips of [`LANES`] pixels go down the rows. Along a strip dx does not change, so that only powers of dy are summed there;
//! those of dx follow once a strip.
//!
//! Kernels are types, not closures: [`Arch::dispatch`] compiles what is inlined into it for the widest registers that the
//! processor has, and closures are not.

use std::ops::Range;

use pulp::{Arch, NullaryFnOnce};

use super::field::Residual;
use super::rows::{LANES, Lanes, STEPS, exp};
use crate::neighbours::Point;

/// Exponents of a moment, 0 to 4, along either axis.
const POWERS: usize = 5;
/// Sums Σ … dxᵃ dyᵇ for a + b ≤ 4.
pub(super) type Table = [[f64; POWERS]; POWERS];
/// Such sums, for each of the pixels that go side by side.
type LaneTable = [[Lanes; POWERS]; POWERS];

/// A rectangle of pixels, and the point [Å] that offsets are from.
pub(super) struct Patch<'a> {
    pub(super) residual: &'a Residual,
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
    /// Pixels `[y, x]` [Å].
    pub(super) sampling: [f64; 2],
    pub(super) centre: Point,
}

impl Patch<'_> {
    #[inline(always)]
    fn dy(&self, row: usize) -> f64 {
        row as f64 * self.sampling[0] - self.centre[1]
    }

    /// Offsets of the pixels from column `col` on.
    #[inline(always)]
    fn dx(&self, col: usize) -> Lanes {
        let (mut dx, first) = ([0.0; LANES], col as f64 * self.sampling[1] - self.centre[0]);
        for l in 0..LANES {
            dx[l] = first + STEPS[l] * self.sampling[1];
        }
        dx
    }
}

/// Exponent −½ (form) of a Gaussian, or of a product of them, as a polynomial of the offset.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Exponent {
    xx: f64,
    xy: f64,
    yy: f64,
    x: f64,
    y: f64,
    constant: f64,
}

impl Exponent {
    /// Of the shape with this form `[p, q, s]` [1/Å²] around `centre` [Å].
    #[must_use]
    #[inline(always)]
    pub(super) fn of([p, q, s]: [f64; 3], [x, y]: Point) -> Self {
        Self {
            xx: -0.5 * p,
            xy: -q,
            yy: -0.5 * s,
            x: p * x + q * y,
            y: q * x + s * y,
            constant: -0.5 * (p * x * x + 2.0 * q * x * y + s * y * y),
        }
    }

    /// Of the product with another shape.
    #[must_use]
    pub(super) fn times(self, other: Self) -> Self {
        Self {
            xx: self.xx + other.xx,
            xy: self.xy + other.xy,
            yy: self.yy + other.yy,
            x: self.x + other.x,
            y: self.y + other.y,
            constant: self.constant + other.constant,
        }
    }

    /// As a polynomial of dy, at given dx: coefficients of dy and 1 (that of dy² is `yy`).
    #[inline(always)]
    fn down(&self, dx: &Lanes) -> [Lanes; 2] {
        let mut lines = [[0.0; LANES]; 2];
        for l in 0..LANES {
            lines[0][l] = self.xy * dx[l] + self.y;
            lines[1][l] = (self.xx * dx[l] + self.x) * dx[l] + self.constant;
        }
        lines
    }
}

/// Moments of one shape g with weights w and rests r: `square` Σ w g² dxᵃ dyᵇ, `rest` Σ w r g dxᵃ dyᵇ (a + b ≤ 2), `flat`
/// Σ w g dxᵃ dyᵇ.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) square: Table,
    pub(super) rest: Table,
    pub(super) flat: Table,
}

impl Moments {
    /// Over a patch around the centre of the shape with this form `[p, q, s]` [1/Å²].
    pub(super) fn over(patch: &Patch<'_>, form: [f64; 3]) -> Self {
        Arch::new().dispatch(OfShape { patch, form })
    }
}

/// Moments of one shape.
struct OfShape<'a> {
    patch: &'a Patch<'a>,
    form: [f64; 3],
}

impl NullaryFnOnce for OfShape<'_> {
    type Output = Moments;

    #[inline(always)]
    fn call(self) -> Moments {
        let Self { patch, form } = self;
        let exponent = Exponent::of(form, [0.0; 2]);
        let [mut square, mut rest, mut flat] = [[[[0.0; LANES]; POWERS]; POWERS]; 3];
        for col in patch.cols.clone().step_by(LANES) {
            let dx = patch.dx(col);
            let down = exponent.down(&dx);
            let [mut squares, mut rests, mut flats] = [[[0.0; LANES]; POWERS]; 3];
            for row in patch.rows.clone() {
                let dy = patch.dy(row);
                let weights = load(patch.residual.weights_from(row, col));
                let left = load(patch.residual.rests_from(row, col));
                let (mut a, mut b, mut c) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
                for l in 0..LANES {
                    let shape = exp((exponent.yy * dy + down[0][l]) * dy + down[1][l]);
                    c[l] = weights[l] * shape;
                    a[l] = c[l] * shape;
                    b[l] = c[l] * left[l];
                }
                powers::<5>(&mut squares, a, dy);
                powers::<3>(&mut rests, b, dy);
                powers::<5>(&mut flats, c, dy);
            }
            across(&mut square, &squares, &dx, 5);
            across(&mut rest, &rests, &dx, 3);
            across(&mut flat, &flats, &dx, 5);
        }
        Moments {
            square: total(&square),
            rest: total(&rest),
            flat: total(&flat),
        }
    }
}

/// Moments Σ w exp(…) dxᵃ dyᵇ over a patch.
pub(super) fn product_moments(patch: &Patch<'_>, exponent: Exponent) -> Table {
    Arch::new().dispatch(OfProduct { patch, exponent })
}

/// Moments of a product of shapes.
struct OfProduct<'a> {
    patch: &'a Patch<'a>,
    exponent: Exponent,
}

impl NullaryFnOnce for OfProduct<'_> {
    type Output = Table;

    #[inline(always)]
    fn call(self) -> Table {
        let Self { patch, exponent } = self;
        let mut sums = [[[0.0; LANES]; POWERS]; POWERS];
        for col in patch.cols.clone().step_by(LANES) {
            let dx = patch.dx(col);
            let down = exponent.down(&dx);
            let mut strip = [[0.0; LANES]; POWERS];
            for row in patch.rows.clone() {
                let dy = patch.dy(row);
                let weights = load(patch.residual.weights_from(row, col));
                let mut product = [0.0; LANES];
                for l in 0..LANES {
                    product[l] =
                        weights[l] * exp((exponent.yy * dy + down[0][l]) * dy + down[1][l]);
                }
                powers::<5>(&mut strip, product, dy);
            }
            across(&mut sums, &strip, &dx, 5);
        }
        total(&sums)
    }
}

/// The first pixels of a line.
#[inline(always)]
fn load(line: &[f32]) -> Lanes {
    let mut lanes = [0.0; LANES];
    if let Some(pixels) = line.first_chunk::<LANES>() {
        for l in 0..LANES {
            lanes[l] = f64::from(pixels[l]);
        }
    }
    lanes
}

/// Adds `term` · dyᵇ for b below `N`.
#[inline(always)]
fn powers<const N: usize>(sums: &mut [Lanes; POWERS], mut term: Lanes, dy: f64) {
    for sum in sums.iter_mut().take(N) {
        for l in 0..LANES {
            sum[l] += term[l];
            term[l] *= dy;
        }
    }
}

/// Adds the sums of a strip times dxᵃ, for a + b below `count`.
#[inline(always)]
fn across(table: &mut LaneTable, strip: &[Lanes; POWERS], dx: &Lanes, count: usize) {
    let mut power = [1.0; LANES];
    for (a, moments) in table.iter_mut().enumerate().take(count) {
        for (moment, sum) in moments.iter_mut().zip(strip).take(count - a) {
            for l in 0..LANES {
                moment[l] += power[l] * sum[l];
            }
        }
        for l in 0..LANES {
            power[l] *= dx[l];
        }
    }
}

#[inline(always)]
fn total(table: &LaneTable) -> Table {
    let mut sums = [[0.0; POWERS]; POWERS];
    for a in 0..POWERS {
        for b in 0..POWERS - a {
            sums[a][b] = table[a][b].iter().sum();
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::column::gaussian::Gaussian;

    #[test]
    fn moments_are_sums_over_pixels() {
        let form = [3.1, 0.7, 4.2];
        let weights = Array2::from_shape_fn((9, 13), |(r, c)| 1.0 + 0.1 * (r * 3 + c) as f32);
        let rests = Array2::from_shape_fn((9, 13), |(r, c)| 0.3 - 0.02 * (r + 2 * c) as f32);
        let residual = Residual::of(&weights, &rests);
        let centre = [0.93, 0.71];
        let patch = Patch {
            residual: &residual,
            rows: 1..8,
            cols: 2..13,
            sampling: [0.19, 0.17],
            centre,
        };
        let moments = Moments::over(&patch, form);
        let (mut square, mut rest, mut flat) = (0.0, 0.0, 0.0);
        for (row, col) in (1..8).flat_map(|row| (2..13).map(move |col| (row, col))) {
            let at = [0.17 * col as f64, 0.19 * row as f64];
            let shape = Gaussian {
                height: 1.0,
                position: centre,
                form,
            };
            let (g, [dx, dy]) = (shape.peak(at), [at[0] - centre[0], at[1] - centre[1]]);
            let (w, r) = (f64::from(weights[(row, col)]), f64::from(rests[(row, col)]));
            square += w * g * g * dx.powi(3) * dy;
            rest += w * g * r * dx * dy;
            flat += w * g * dy.powi(4);
        }
        assert!((moments.square[3][1] - square).abs() < 1e-9);
        assert!((moments.rest[1][1] - rest).abs() < 1e-9);
        assert!((moments.flat[0][4] - flat).abs() < 1e-9);
    }
}
