//! The pieces of image around columns: how large they are, how they are cut from a block's image, how they are joined again.
//!
//! A patch is the image itself around a column, on pixels counted from it. At every point of an image the patches of the columns
//! nearby are averaged, with weights (1 − r²/R²)⁴ that fall to zero at R = [`REACH`]; every point is nearer than that to two columns at least.

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis};

use super::sites::Sites;
use super::surroundings::{Symmetry, centre, standard_orientation};
use super::training::periodic_interpolation;

/// Pixels of patches along a cell.
pub const PIXELS_PER_CELL: usize = 40;
/// Pixels from the centre of a patch to its edge: 4.5 Å, so that filters find what they need beyond [`REACH`].
pub const HALF: usize = 45;
/// Pixels along the side of a patch.
pub const SIDE: usize = 2 * HALF + 1;
/// Where weights end [Å].
pub const REACH: f64 = 2.2;
/// How much pixels count that only filters see, and how far these see [Å].
const FILTERED: f64 = 0.05;
const FILTER_REACH: f64 = 1.9;

/// How much of the joined image each pixel of a patch is, row by row, where columns stand in their ideal places; pixels that only
/// filters see count a little, the less the farther they are.
#[must_use]
pub fn share(edge: f64) -> Vec<f32> {
    let pixel = edge / PIXELS_PER_CELL as f64;
    let weight = |x: f64, y: f64| (1.0 - (x * x + y * y) / (REACH * REACH)).max(0.0).powi(4);
    (0..SIDE * SIDE)
        .map(|n| {
            let off = |k: usize| (k as f64 - HALF as f64) * pixel;
            let (x, y) = (off(n % SIDE), off(n / SIDE));
            let places = (-6..=6).flat_map(|j| (-6..=6).map(move |i| [i, j]));
            let all: f64 = places
                .map(|[i, j]| weight(x - 0.5 * edge * f64::from(i), y - 0.5 * edge * f64::from(j)))
                .sum();
            let filtered = FILTERED / (1.0 + (x.hypot(y) / FILTER_REACH).powi(8));
            filtered.max(weight(x, y) / all) as f32
        })
        .collect()
}

/// Patches of a periodic image `(y, x)` around columns, each in standard orientation: `(column, pixel)`; `edge` is that of the ideal
/// cell, which pixels are parts of [Å].
#[must_use]
pub fn cut(
    image: ArrayView2<'_, f64>,
    sites: &Sites,
    places: &[[i64; 2]],
    edge: f64,
) -> Array2<f32> {
    let (rows, cols) = image.dim();
    let extent = sites.cells.map(|n| n as f64 * sites.edge);
    let pixel = edge / PIXELS_PER_CELL as f64;
    let mut patches = Array2::zeros((places.len(), SIDE * SIDE));
    patches
        .axis_iter_mut(Axis(0))
        .into_par_iter()
        .zip(places)
        .for_each(|(mut patch, &place)| {
            let (ideal, shift) = (sites.ideal(place), centre(sites, place));
            let along = |axis: usize, pixels: usize| {
                let step = extent[axis] / pixels as f64;
                let at = |n: usize| {
                    (ideal[axis] + shift[axis] + (n as f64 - HALF as f64) * pixel) / step
                };
                periodic_interpolation(&(0..SIDE).map(at).collect::<Vec<_>>(), pixels)
            };
            let mut square = along(1, rows).dot(&image).dot(&along(0, cols).t());
            if standard_orientation(place) == Symmetry::TRANSPOSITION {
                square.swap_axes(0, 1);
            }
            patch
                .iter_mut()
                .zip(&square)
                .for_each(|(to, from)| *to = *from as f32);
        });
    patches
}
