//! Drawing: patches of all columns, averaged where they overlap.
//!
//! The patch of a column is a sum of a few pictures, weighted by polynomials of its surroundings, and is put where the column
//! stands by a filter that shifts by a fraction of a pixel. Columns of a kind are drawn many at a time.

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView1, ArrayView2};
use pulp::{Arch, NullaryFnOnce};

use super::expansion::variables;
use super::patch::REACH;
use super::response::Response;
use super::sites::{Kind, Sites};
use super::stamp::Stamp;
use super::surroundings::{Symmetry, centre, standard_orientation, surroundings};
use super::taps::{Fractions, TAPS};
use crate::error::Result;
use crate::neighbours::Point;
use crate::units::RAD_PER_MRAD;

/// Largest internal pixel [Å].
const LARGEST_PIXEL: f64 = 0.201;
/// Half rows of columns that are drawn as one piece; the cutting, and so the sum, does not depend on threads.
const PIECE: i64 = 4;
/// Columns whose patches are made at once, so that they stay in the second cache.
const AT_ONCE: usize = 64;

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
    fractions: &'static Fractions,
    edge: f64,
    /// Internal pixel `[x, y]` [Å], and how many of them are a pixel of the frame.
    pixel: [f64; 2],
    fine: [usize; 2],
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
            Stamp::new(kind, kernel, index, pixel, response.edge, transposed)
        };
        Ok(Self {
            stamps: vec![
                stamp(Kind::A, false),
                stamp(Kind::B, false),
                stamp(Kind::O, false),
                stamp(Kind::O, true),
            ],
            fractions: Fractions::all(),
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
                let places = rows.flat_map(|y| across.clone().map(move |x| [x, y]));
                let places: Vec<[i64; 2]> = places.collect();
                self.draw(sites, frame, &places, tilt, &mut strip);
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

    /// Adds columns to a strip of the image, kind after kind.
    fn draw(
        &self,
        sites: &Sites,
        frame: &Frame,
        places: &[[i64; 2]],
        tilt: &(dyn Fn(Point) -> [f64; 2] + Sync),
        strip: &mut Strip,
    ) {
        let mut work = Work::default();
        for (number, stamp) in self.stamps.iter().enumerate() {
            let of_stamp = places.iter().filter(|&&place| stamp_of(place) == number);
            let there = of_stamp
                .map(|&place| self.column(sites, frame, stamp, place))
                .filter(|column| strip.meets(stamp, column));
            let there: Vec<Column> = there.collect();
            for columns in there.chunks(AT_ONCE) {
                let patches = self.patches(sites, stamp, columns, tilt, &mut work.values);
                for (column, patch) in columns.iter().zip(patches.outer_iter()) {
                    let taps = column.off.map(|off| self.fractions.at(off));
                    work.shift(stamp, patch, taps);
                    strip.add(stamp, column, &work.shifted, self.pixel);
                }
            }
        }
    }

    /// Where a column stands.
    fn column(&self, sites: &Sites, frame: &Frame, stamp: &Stamp, place: [i64; 2]) -> Column {
        let (ideal, shift) = (sites.ideal(place), centre(sites, place));
        let position: Point = std::array::from_fn(|axis| ideal[axis] + shift[axis]);
        let pixels: [f64; 2] =
            std::array::from_fn(|axis| (position[axis] - frame.start[axis]) / self.pixel[axis]);
        let next = pixels.map(f64::ceil);
        Column {
            place,
            position,
            corner: std::array::from_fn(|axis| next[axis] as i64 - stamp.half[axis] as i64),
            off: std::array::from_fn(|axis| next[axis] - pixels[axis]),
        }
    }

    /// Patches of columns, `(column, pixel)`.
    fn patches(
        &self,
        sites: &Sites,
        stamp: &Stamp,
        columns: &[Column],
        tilt: &(dyn Fn(Point) -> [f64; 2] + Sync),
        values: &mut Vec<f64>,
    ) -> Array2<f32> {
        let mut rows: Vec<f32> = Vec::new();
        let mut tilts = Vec::with_capacity(columns.len());
        for column in columns {
            let standard = standard_orientation(column.place);
            let around = surroundings(sites, column.place, standard, self.edge);
            variables(stamp.order, &around, values);
            rows.extend(values.iter().map(|&x| x as f32));
            let (tilt, lean) = (tilt(column.position), sites.column(column.place).lean);
            let local = std::array::from_fn(|axis| tilt[axis] - lean[axis] / RAD_PER_MRAD);
            tilts.push(standard.vector(local));
        }
        let shape = (columns.len(), values.len());
        let rows = ArrayView2::from_shape(shape, &rows);
        rows.map_or_else(
            |_| Array2::zeros((0, 0)),
            |rows| stamp.patches(rows, &tilts),
        )
    }
}

/// Number of the stamp for a place: A, B, O, and O with its A neighbours along y.
fn stamp_of(place: [i64; 2]) -> usize {
    let turned = standard_orientation(place) == Symmetry::TRANSPOSITION;
    Kind::at(place) as usize + usize::from(turned)
}

/// A column on the pixels of a frame.
struct Column {
    place: [i64; 2],
    /// `[x, y]` [Å].
    position: Point,
    /// First pixel that is drawn `[x, y]`.
    corner: [i64; 2],
    /// How far the pixel half a stamp behind it is beyond the column, 0 … 1 `[x, y]` [px].
    off: [f64; 2],
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
        self.sums.len() / self.cols.max(1)
    }

    /// Whether any pixel of a column lies here.
    fn meets(&self, stamp: &Stamp, column: &Column) -> bool {
        let inside = |axis: usize, first: usize, length: usize| {
            let corner = column.corner[axis] - first as i64;
            corner < length as i64 && corner + stamp.width(axis) as i64 > 0
        };
        inside(0, 0, self.cols) && inside(1, self.top, self.rows())
    }

    /// Adds the image of a column, weighted.
    fn add(&mut self, stamp: &Stamp, column: &Column, image: &[f32], pixel: [f64; 2]) {
        let cols = stamp.width(0);
        let squared = |axis: usize, n: usize| {
            let from_centre = n as f64 - stamp.half[axis] as f64 + column.off[axis];
            (from_centre * pixel[axis]).powi(2) as f32
        };
        let across: Vec<f32> = (0..cols).map(|x| squared(0, x)).collect();
        let [left, top] = [column.corner[0], column.corner[1] - self.top as i64];
        let first = left.max(0) as usize;
        let last = (left + cols as i64).clamp(0, self.cols as i64) as usize;
        let from = (first as i64 - left) as usize;
        let seen = from..from + last - first;
        let (rows, wide) = (self.rows() as i64, self.cols);
        for (y, row) in image.chunks(cols).enumerate() {
            let line = top + y as i64;
            if !(0..rows).contains(&line) {
                continue;
            }
            let places = line as usize * wide + first..line as usize * wide + last;
            Arch::new().dispatch(Lay {
                values: &row[seen.clone()],
                across: &across[seen.clone()],
                down: squared(1, y),
                sums: &mut self.sums[places.clone()],
                weights: &mut self.weights[places],
            });
        }
    }
}

/// Adds a row of a column's image, weighted by (1 − r²/reach²)⁴. Kernels are types, not closures: what is inlined into the
/// dispatcher is compiled for the widest registers, and closures are not.
struct Lay<'a> {
    values: &'a [f32],
    /// Squares of the distances from the centre, along the row and down to it [Å²].
    across: &'a [f32],
    down: f32,
    sums: &'a mut [f32],
    weights: &'a mut [f32],
}

impl NullaryFnOnce for Lay<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let inverse = (1.0 / (REACH * REACH)) as f32;
        let values = self.values.iter().zip(self.across);
        let targets = self.sums.iter_mut().zip(self.weights);
        for ((value, across), (sum, weights)) in values.zip(targets) {
            let inside = (1.0 - (across + self.down) * inverse).max(0.0);
            let square = inside * inside;
            let weight = square * square;
            *sum += weight * value;
            *weights += weight;
        }
    }
}

/// Memory of a piece.
#[derive(Default)]
struct Work {
    values: Vec<f64>,
    between: Vec<f32>,
    shifted: Vec<f32>,
}

impl Work {
    /// Shifts a patch by a fraction of a pixel: pixel n of the result is read from the [`TAPS`] of the patch from n on.
    fn shift(&mut self, stamp: &Stamp, patch: ArrayView1<'_, f32>, taps: [&[f32; TAPS]; 2]) {
        let (cols, rows, wide) = (stamp.width(0), stamp.width(1), stamp.patch_width(0));
        for (values, length) in [
            (&mut self.between, rows * wide),
            (&mut self.shifted, rows * cols),
        ] {
            values.clear();
            values.resize(length, 0.0);
        }
        let [across, down] = taps;
        Arch::new().dispatch(Shift {
            patch: patch.to_slice().unwrap_or_default(),
            across,
            down,
            between: &mut self.between,
            wide,
            shifted: &mut self.shifted,
            cols,
        });
    }
}

/// Interpolates a patch down its columns, then along its rows.
struct Shift<'a> {
    patch: &'a [f32],
    across: &'a [f32; TAPS],
    down: &'a [f32; TAPS],
    between: &'a mut [f32],
    /// Pixels in a row of the patch.
    wide: usize,
    shifted: &'a mut [f32],
    /// Pixels in a row of the result.
    cols: usize,
}

impl NullaryFnOnce for Shift<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (y, row) in self.between.chunks_mut(self.wide).enumerate() {
            for (t, tap) in self.down.iter().enumerate() {
                let first = (y + t) * self.wide;
                for (sum, value) in row.iter_mut().zip(&self.patch[first..first + self.wide]) {
                    *sum += tap * value;
                }
            }
        }
        let rows = self.shifted.chunks_mut(self.cols);
        for (row, from) in rows.zip(self.between.chunks(self.wide)) {
            for (t, tap) in self.across.iter().enumerate() {
                for (sum, value) in row.iter_mut().zip(&from[t..t + self.cols]) {
                    *sum += tap * value;
                }
            }
        }
    }
}
