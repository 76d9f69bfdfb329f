//! Drawing: patches of all columns, averaged where they overlap.
//!
//! The patch of a column is a sum of a few pictures, weighted by polynomials of its surroundings, and is put where the column
//! stands by a filter that shifts by a fraction of a pixel (a sinc with a Kaiser window). An image at 30 mrad and 200 kV has nothing
//! beyond 2.4 1/Å; pixels of 0.2 Å carry it.

use ndarray::Array2;
use ndarray::parallel::prelude::*;
use pulp::Arch;

use super::expansion::{Order, terms};
use super::patch::{HALF, PIXELS_PER_CELL, REACH, SIDE};
use super::response::{Kernel, Response};
use super::sites::{Kind, Sites};
use super::surroundings::{Symmetry, centre, standard_orientation, surroundings};
use crate::error::Result;
use crate::neighbours::Point;
use crate::units::RAD_PER_MRAD;

/// Taps of the shift, and the parameter of its window. Errors of images at 0.198 Å: 0.01 % rms of the contrast, 0.06 % at worst.
const TAPS: usize = 16;
const KAISER: f64 = 7.0;
/// The same for pictures, whose pixels are half as large.
const PICTURE_TAPS: usize = 8;
const PICTURE_KAISER: f64 = 4.5;
/// Fractions of a pixel for which taps are kept.
const FRACTIONS: usize = 2048;
/// Largest internal pixel [Å].
const LARGEST_PIXEL: f64 = 0.201;
/// Half rows of columns that are drawn as one piece; the cutting, and so the sum, does not depend on threads.
const PIECE: i64 = 4;

/// What is drawn: positions of pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// First pixel `[x, y]` [Å].
    pub start: Point,
    /// Distance of neighbours `[x, y]` [Å].
    pub step: [f64; 2],
    /// Pixels `[x, y]`.
    pub points: [usize; 2],
}

/// A response made ready to draw at one thickness and on pixels of one size.
pub struct Painter {
    stamps: Vec<Stamp>,
    taps: Vec<[f32; TAPS]>,
    edge: f64,
    /// Internal pixel `[x, y]` [Å], and how many of them are a pixel of the frame.
    pixel: [f64; 2],
    fine: [usize; 2],
}

/// Pictures of one kind of column in one orientation.
struct Stamp {
    order: Order,
    /// Half widths of what is drawn `[x, y]` [px]; the pictures reach half the taps farther.
    half: [usize; 2],
    /// `(picture, y, x)`.
    pictures: Vec<f32>,
    /// `(term, picture)`.
    coefficients: Array2<f32>,
}

impl Painter {
    /// For a thickness of `depth` cells and pixels `step` `[x, y]` apart [Å].
    ///
    /// # Errors
    /// A thickness that was not learnt.
    pub fn new(response: &Response, depth: usize, step: [f64; 2]) -> Result<Self> {
        let index = response.depth(depth)?;
        let fine = step.map(|step| (step / LARGEST_PIXEL).ceil().max(1.0) as usize);
        let pixel = [step[0] / fine[0] as f64, step[1] / fine[1] as f64];
        let stamp = |kind: Kind, transposed: bool| {
            let kernel = &response.kernels[kind as usize];
            Stamp::new(kernel, index, pixel, response.edge, transposed)
        };
        let taps = (0..=FRACTIONS).map(|n| kaiser(n as f64 / FRACTIONS as f64 - 0.5, KAISER));
        Ok(Self {
            stamps: vec![
                stamp(Kind::A, false),
                stamp(Kind::B, false),
                stamp(Kind::O, false),
                stamp(Kind::O, true),
            ],
            taps: taps.collect(),
            edge: response.edge,
            pixel,
            fine,
        })
    }

    /// The image of columns on the pixels of `frame`, `(y, x)`; `tilt` gives the mistilt at a point [mrad].
    #[must_use]
    pub fn paint(
        &self,
        sites: &Sites,
        frame: &Frame,
        tilt: &(dyn Fn(Point) -> [f64; 2] + Sync),
    ) -> Array2<f32> {
        let points: [usize; 2] =
            std::array::from_fn(|axis| (frame.points[axis].max(1) - 1) * self.fine[axis] + 1);
        let spacing = sites.edge / 2.0;
        // Columns may be off their places by less than a cell.
        let reach = |axis: usize| REACH + self.pixel[axis] * 2.0 + 2.0 * spacing;
        let span = |axis: usize| {
            let last = frame.start[axis] + points[axis] as f64 * self.pixel[axis];
            let first = (frame.start[axis] - reach(axis)) / spacing;
            first.floor() as i64..((last + reach(axis)) / spacing).ceil() as i64 + 1
        };
        let (across, down) = (span(0), span(1));
        let pieces: Vec<i64> = (down.start..down.end).step_by(PIECE as usize).collect();
        let strips: Vec<Strip> = pieces
            .par_iter()
            .map(|&first| {
                let rows = first..(first + PIECE).min(down.end);
                let at = |y: f64| {
                    let row = (y - frame.start[1]) / self.pixel[1];
                    row.clamp(0.0, points[1] as f64) as usize
                };
                let top = at(rows.start as f64 * spacing - reach(1));
                let end = at(rows.end as f64 * spacing + reach(1));
                let mut strip = Strip::new(top, [end - top, points[0]]);
                let mut work = Work::default();
                for y in rows {
                    for x in across.clone() {
                        self.draw(sites, frame, [x, y], tilt, &mut work, &mut strip);
                    }
                }
                strip
            })
            .collect();
        let mut whole = Strip::new(0, [points[1], points[0]]);
        for strip in strips {
            let first = strip.top * points[0];
            let places = first..first + strip.sums.len();
            let sums = whole.sums[places.clone()].iter_mut().zip(&strip.sums);
            sums.for_each(|(to, from)| *to += from);
            let weights = whole.weights[places].iter_mut().zip(&strip.weights);
            weights.for_each(|(to, from)| *to += from);
        }
        Array2::from_shape_fn((frame.points[1], frame.points[0]), |(y, x)| {
            let place = y * self.fine[1] * points[0] + x * self.fine[0];
            whole.sums[place] / whole.weights[place]
        })
    }

    /// Adds one column to a strip of the image.
    fn draw(
        &self,
        sites: &Sites,
        frame: &Frame,
        place: [i64; 2],
        tilt: &(dyn Fn(Point) -> [f64; 2] + Sync),
        work: &mut Work,
        strip: &mut Strip,
    ) {
        let standard = standard_orientation(place);
        let turned = standard == Symmetry::TRANSPOSITION;
        let stamp = &self.stamps[Kind::at(place) as usize + usize::from(turned)];
        let (ideal, shift) = (sites.ideal(place), centre(sites, place));
        let position: [f64; 2] = std::array::from_fn(|axis| ideal[axis] + shift[axis]);
        let pixels: [f64; 2] =
            std::array::from_fn(|axis| (position[axis] - frame.start[axis]) / self.pixel[axis]);
        let nearest = pixels.map(|p| p.round() as i64);
        let corner = [
            nearest[0] - stamp.half[0] as i64,
            nearest[1] - stamp.half[1] as i64 - strip.top as i64,
        ];
        let inside = |axis: usize, length: usize| {
            corner[axis] < length as i64 && corner[axis] + stamp.width(axis) as i64 > 0
        };
        if !(inside(0, strip.cols) && inside(1, strip.rows())) {
            return;
        }
        let around = surroundings(sites, place, standard, self.edge);
        let lean = sites.column(place).lean;
        let tilt = tilt(position);
        let local = std::array::from_fn(|axis| tilt[axis] - lean[axis] / RAD_PER_MRAD);
        terms(
            stamp.order,
            &around,
            standard.vector(local),
            &mut work.terms,
        );
        let off: [f64; 2] = std::array::from_fn(|axis| nearest[axis] as f64 - pixels[axis]);
        let taps = off.map(|off| &self.taps[((off + 0.5) * FRACTIONS as f64).round() as usize]);
        work.compose(stamp);
        work.shift(stamp, taps);
        work.add(stamp, strip, corner, off, self.pixel);
    }
}

/// Rows of the image: weighted sums, and sums of weights.
struct Strip {
    top: usize,
    cols: usize,
    sums: Vec<f32>,
    weights: Vec<f32>,
}

impl Strip {
    fn new(top: usize, [rows, cols]: [usize; 2]) -> Self {
        Self {
            top,
            cols,
            sums: vec![0.0; rows * cols],
            weights: vec![0.0; rows * cols],
        }
    }

    fn rows(&self) -> usize {
        self.sums.len() / self.cols
    }
}

/// Memory of a piece.
#[derive(Default)]
struct Work {
    terms: Vec<f64>,
    coefficients: Vec<f32>,
    /// The column's patch, `(y, x)`, with room around it for the taps.
    patch: Vec<f32>,
    between: Vec<f32>,
    shifted: Vec<f32>,
}

impl Stamp {
    fn new(kernel: &Kernel, depth: usize, pixel: [f64; 2], edge: f64, transposed: bool) -> Self {
        let half = pixel.map(|pixel| (REACH / pixel).floor() as usize + 1);
        let step = edge / PIXELS_PER_CELL as f64;
        let along = |axis: usize| interpolation(half[axis] + TAPS / 2, pixel[axis] / step);
        let (across, down) = (along(0), along(1));
        let pictures = kernel.images.outer_iter().flat_map(|picture| {
            let square = Array2::from_shape_fn((SIDE, SIDE), |(y, x)| {
                let [y, x] = if transposed { [x, y] } else { [y, x] };
                picture[y * SIDE + x]
            });
            down.dot(&square)
                .dot(&across.t())
                .into_iter()
                .collect::<Vec<f32>>()
        });
        Self {
            order: kernel.order,
            half,
            pictures: pictures.collect(),
            coefficients: kernel
                .coefficients
                .index_axis(ndarray::Axis(0), depth)
                .to_owned(),
        }
    }

    /// Width of what is drawn along an axis [px].
    fn width(&self, axis: usize) -> usize {
        2 * self.half[axis] + 1
    }
}

/// Takes the pixels of a picture to others, `ratio` as large, from −`half` to `half`.
fn interpolation(half: usize, ratio: f64) -> Array2<f32> {
    let mut matrix = Array2::zeros((2 * half + 1, SIDE));
    for (row, mut weights) in matrix.outer_iter_mut().enumerate() {
        let place = HALF as f64 + (row as f64 - half as f64) * ratio;
        let taps: [f32; PICTURE_TAPS] = kaiser(place - place.round(), PICTURE_KAISER);
        for (t, tap) in taps.into_iter().enumerate() {
            let pixel = place.round() as i64 + t as i64 + 1 - PICTURE_TAPS as i64 / 2;
            weights[pixel.clamp(0, SIDE as i64 - 1) as usize] += tap;
        }
    }
    matrix
}

/// Pixels of a picture that are summed while they stay in the nearest cache.
const BLOCK: usize = 1024;
/// Pictures that are added at once.
const AT_ONCE: usize = 4;

impl Work {
    /// The column's patch from the values of its terms.
    fn compose(&mut self, stamp: &Stamp) {
        self.coefficients.clear();
        self.coefficients.resize(stamp.coefficients.ncols(), 0.0);
        let pixels = (stamp.width(0) + TAPS) * (stamp.width(1) + TAPS);
        self.patch.clear();
        self.patch.resize(pixels, 0.0);
        let (terms, coefficients, patch) = (&self.terms, &mut self.coefficients, &mut self.patch);
        Arch::new().dispatch(|| {
            for (term, row) in terms.iter().zip(stamp.coefficients.outer_iter()) {
                let (term, row) = (*term as f32, row.to_slice().unwrap_or_default());
                for (coefficient, value) in coefficients.iter_mut().zip(row) {
                    *coefficient += term * value;
                }
            }
            for (block, sums) in patch.chunks_mut(BLOCK).enumerate() {
                for (group, four) in coefficients.chunks(AT_ONCE).enumerate() {
                    let picture = |n: usize| {
                        let n = (group * AT_ONCE + n).min(coefficients.len() - 1);
                        let first = n * pixels + block * BLOCK;
                        &stamp.pictures[first..first + sums.len()]
                    };
                    let weight = |n: usize| four.get(n).copied().unwrap_or(0.0);
                    let [p, q, r, s] = [picture(0), picture(1), picture(2), picture(3)];
                    let [a, b, c, d] = [weight(0), weight(1), weight(2), weight(3)];
                    let pairs = p.iter().zip(q).zip(r.iter().zip(s));
                    for (sum, ((p, q), (r, s))) in sums.iter_mut().zip(pairs) {
                        *sum += (a * p + b * q) + (c * r + d * s);
                    }
                }
            }
        });
    }

    /// Shifts the patch by a fraction of a pixel; what remains is what is drawn.
    fn shift(&mut self, stamp: &Stamp, [across, down]: [&[f32; TAPS]; 2]) {
        let (cols, rows) = (stamp.width(0), stamp.width(1));
        let wide = cols + TAPS;
        for (values, length) in [
            (&mut self.between, rows * wide),
            (&mut self.shifted, rows * cols),
        ] {
            values.clear();
            values.resize(length, 0.0);
        }
        let (patch, between, shifted) = (&self.patch, &mut self.between, &mut self.shifted);
        // Pixel n of the result lies at n + TAPS/2 of the patch, and tap t looks t + 1 − TAPS/2 farther.
        Arch::new().dispatch(|| {
            for (y, row) in between.chunks_mut(wide).enumerate() {
                for (t, &tap) in down.iter().enumerate() {
                    let first = (y + t + 1) * wide;
                    for (sum, value) in row.iter_mut().zip(&patch[first..first + wide]) {
                        *sum += tap * value;
                    }
                }
            }
            for (row, from) in shifted.chunks_mut(cols).zip(between.chunks(wide)) {
                for (t, &tap) in across.iter().enumerate() {
                    for (sum, value) in row.iter_mut().zip(&from[t + 1..t + 1 + cols]) {
                        *sum += tap * value;
                    }
                }
            }
        });
    }

    /// Adds the shifted patch to a strip, weighted; `off` is where the nearest pixel lies from the column [px].
    fn add(
        &self,
        stamp: &Stamp,
        strip: &mut Strip,
        [left, top]: [i64; 2],
        off: [f64; 2],
        pixel: [f64; 2],
    ) {
        let cols = stamp.width(0);
        let squared = |axis: usize, n: usize| {
            ((n as f64 - stamp.half[axis] as f64 + off[axis]) * pixel[axis]).powi(2)
        };
        let across: Vec<f32> = (0..cols).map(|x| squared(0, x) as f32).collect();
        let first = left.max(0) as usize;
        let last = (left + cols as i64).clamp(0, strip.cols as i64) as usize;
        let from = (first as i64 - left) as usize;
        let width = last - first;
        let (rows, wide) = (strip.rows() as i64, strip.cols);
        let inverse = (1.0 / (REACH * REACH)) as f32;
        Arch::new().dispatch(|| {
            for (y, row) in self.shifted.chunks(cols).enumerate() {
                let line = top + y as i64;
                if !(0..rows).contains(&line) {
                    continue;
                }
                let down = squared(1, y) as f32;
                let places = line as usize * wide + first..line as usize * wide + last;
                let values = row[from..from + width]
                    .iter()
                    .zip(&across[from..from + width]);
                let sums = strip.sums[places.clone()].iter_mut();
                let targets = sums.zip(&mut strip.weights[places]);
                for ((value, across), (sum, weights)) in values.zip(targets) {
                    let inside = (1.0 - (across + down) * inverse).max(0.0);
                    let square = inside * inside;
                    let weight = square * square;
                    *sum += weight * value;
                    *weights += weight;
                }
            }
        });
    }
}

/// Taps of a sinc with a Kaiser window for the value at `fraction` (−1/2 … 1/2) of a pixel, from samples at 1 − N/2 … N/2.
fn kaiser<const N: usize>(fraction: f64, parameter: f64) -> [f32; N] {
    let bessel = |x: f64| {
        let (mut sum, mut term) = (1.0, 1.0);
        for k in 1..40 {
            term *= (x / (2.0 * f64::from(k))).powi(2);
            sum += term;
        }
        sum
    };
    let half = N as f64 / 2.0;
    let raw: [f64; N] = std::array::from_fn(|t| {
        let x = t as f64 + 1.0 - half - fraction;
        let turn = std::f64::consts::PI * x;
        let sinc = if x.abs() < 1e-12 {
            1.0
        } else {
            turn.sin() / turn
        };
        let inside = (1.0 - (x / half).powi(2)).max(0.0);
        sinc * bessel(parameter * inside.sqrt()) / bessel(parameter)
    });
    let sum: f64 = raw.iter().sum();
    raw.map(|tap| (tap / sum) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wave of 2 1/Å on pixels of 0.2 Å, shifted: within 2 % of its amplitude, one of 1 1/Å within 1e-3.
    #[test]
    fn taps_shift_waves() {
        for (frequency, tolerance) in [(0.2, 1e-3), (0.4, 2e-2)] {
            for n in [0, 500, 1024, 2048] {
                let f = f64::from(n) / FRACTIONS as f64 - 0.5;
                let taps: [f32; TAPS] = kaiser(f, KAISER);
                let wave = |x: f64| (std::f64::consts::TAU * frequency * x + 0.3).cos();
                let sum: f64 = (0..TAPS)
                    .map(|t| f64::from(taps[t]) * wave(t as f64 - TAPS as f64 / 2.0 + 1.0))
                    .sum();
                assert!((sum - wave(f)).abs() < tolerance, "{frequency} {f}: {sum}");
            }
        }
    }
}
