//! The background under all columns: what is left of the image without the peaks, smoothed over more than a cell.
//!
//! It is shared, since a constant of its own for every column would trade against width and height where columns are broad
//! (in a small window a wide Gaussian is a paraboloid) and let them run away.

use ndarray::Array2;

use super::field::{Column, Field};
use super::filter::{lowest, smooth};

/// Standard deviation that the background is smoothed with [pitch]; it lets 1/1000 of the lattice through.
const SMOOTHING: f64 = 0.6;
/// Reach in which the first background looks for the darkest place [pitch]: it takes in the middle between two A columns.
const DARK_REACH: f64 = 0.6;
/// Largest distance from a column at which a pixel has no part in the background [pitch]; the middle between two A columns is
/// 0.5 from four of them.
const CLOSED: f64 = 0.4;

/// The first background: the darkest places around, smoothed; `seen` is the image smoothed against pixel noise.
pub(super) fn dark_places(field: &Field<'_>, seen: &Array2<f32>) -> Array2<f32> {
    let reach = field.pixels_per(DARK_REACH).map(|r| r.round() as usize);
    smooth(&lowest(seen, reach), field.pixels_per(SMOOTHING))
}

/// What the peaks leave between the windows, smoothed.
pub(super) fn between_windows(
    field: &Field<'_>,
    columns: &[Column],
    model: &Array2<f64>,
) -> Array2<f32> {
    let mut open = Array2::from_shape_fn(field.image.data.raw_dim(), |pixel| {
        f32::from(u8::from(field.is_inner(pixel)))
    });
    let radius = field.radius.min(CLOSED * field.pitch);
    for column in columns {
        for (index, _) in field.window(column.gaussian.position, radius) {
            open[index] = 0.0;
        }
    }
    let mut rest = field.image.data.clone();
    rest.zip_mut_with(model, |value, peaks| *value -= *peaks as f32);
    let sigma = field.pixels_per(SMOOTHING);
    let weights = smooth(&open, sigma).mapv(|w| w.max(1e-9));
    smooth(&(rest * open), sigma) / weights
}
