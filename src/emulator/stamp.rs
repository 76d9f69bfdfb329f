//! The pictures of one kind of column on the pixels of an image, and the patches that are made of them.
//!
//! Many patches are made at once: two matrix products, values of terms times coefficients, and these times pictures.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use super::expansion::{Order, degrees, powers};
use super::patch::{HALF, PIXELS_PER_CELL, REACH, SIDE};
use super::response::Kernel;
use super::sites::Kind;
use super::taps::{PICTURE_TAPS, TAPS, picture_taps};

/// Pictures of one kind of column in one orientation.
pub(super) struct Stamp {
    /// How far the polynomials go.
    pub(super) order: Order,
    /// Half widths of what is drawn `[x, y]` [px].
    pub(super) half: [usize; 2],
    /// Powers of the tilt of each variable.
    degrees: Vec<usize>,
    /// `(picture, pixel)`.
    pictures: Array2<f32>,
    /// `(term, picture)`.
    coefficients: Array2<f32>,
}

impl Stamp {
    /// For pixels `[x, y]` [Å], at a depth given by its index; `edge` is that of the ideal cell [Å].
    pub(super) fn new(
        kind: Kind,
        kernel: &Kernel,
        depth: usize,
        pixel: [f64; 2],
        edge: f64,
        transposed: bool,
    ) -> Self {
        let half = pixel.map(|pixel| (REACH / pixel).floor() as usize + 1);
        let step = edge / PIXELS_PER_CELL as f64;
        let along = |axis: usize| interpolation(half[axis], pixel[axis] / step);
        let (across, down) = (along(0), along(1));
        let pixels = down.nrows() * across.nrows();
        let mut pictures = Array2::zeros((kernel.images.nrows(), pixels));
        for (picture, mut to) in kernel.images.outer_iter().zip(pictures.outer_iter_mut()) {
            let square = Array2::from_shape_fn((SIDE, SIDE), |(y, x)| {
                let [y, x] = if transposed { [x, y] } else { [y, x] };
                picture[y * SIDE + x]
            });
            let drawn = down.dot(&square).dot(&across.t());
            to.assign(&Array1::from_iter(drawn));
        }
        Self {
            order: kernel.order,
            half,
            degrees: degrees(kernel.order, kind),
            pictures,
            coefficients: kernel.coefficients.index_axis(Axis(0), depth).to_owned(),
        }
    }

    /// Pixels along an axis of what is drawn: those at −half … half − 1 plus a fraction.
    pub(super) fn width(&self, axis: usize) -> usize {
        2 * self.half[axis]
    }

    /// Pixels along an axis of a patch, which filters of [`TAPS`] make into what is drawn.
    pub(super) fn patch_width(&self, axis: usize) -> usize {
        self.width(axis) + TAPS - 1
    }

    /// Patches `(column, pixel)` of columns with such variables `(column, variable)` and tilts [mrad].
    pub(super) fn patches(
        &self,
        variables: ArrayView2<'_, f32>,
        tilts: &[[f64; 2]],
    ) -> Array2<f32> {
        let columns = variables.nrows();
        let mut weights = Array2::zeros((columns, self.pictures.nrows()));
        let mut first = 0;
        // Columns mostly share their tilt.
        while first < columns {
            let alike = tilts[first..]
                .iter()
                .take_while(|tilt| **tilt == tilts[first]);
            let end = first + alike.count().max(1);
            let of_these = variables.slice(s![first..end, ..]);
            weights
                .slice_mut(s![first..end, ..])
                .assign(&of_these.dot(&self.coefficients_at(tilts[first])));
            first = end;
        }
        weights.dot(&self.pictures)
    }

    /// Coefficients `(variable, picture)` at a tilt [mrad].
    fn coefficients_at(&self, tilt_mrad: [f64; 2]) -> Array2<f32> {
        let powers = powers(self.order, tilt_mrad);
        let mut result = Array2::zeros((self.degrees.len(), self.coefficients.ncols()));
        let mut rows = self.coefficients.outer_iter();
        for (mut to, &degree) in result.outer_iter_mut().zip(&self.degrees) {
            for (&power, row) in powers[..degree].iter().zip(rows.by_ref()) {
                to.scaled_add(power as f32, &row);
            }
        }
        result
    }
}

/// Takes the pixels of a picture to those of a patch, `ratio` as large.
fn interpolation(half: usize, ratio: f64) -> Array2<f32> {
    let first = 1.0 - (half + TAPS / 2) as f64;
    let mut matrix = Array2::zeros((2 * half + TAPS - 1, SIDE));
    for (row, mut weights) in matrix.outer_iter_mut().enumerate() {
        let place = HALF as f64 + (row as f64 + first) * ratio;
        let taps = picture_taps(place - place.floor());
        for (t, tap) in taps.into_iter().enumerate() {
            let pixel = place.floor() as i64 + t as i64 + 1 - PICTURE_TAPS as i64 / 2;
            weights[pixel.clamp(0, SIDE as i64 - 1) as usize] += tap;
        }
    }
    matrix
}
