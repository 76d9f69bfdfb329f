//! Pixels that tell nothing: not finite, or saturated.
//!
//! They are filled from their surroundings, for what needs every pixel (smoothing, autocorrelation), and have no weight in the
//! fit.

use ndarray::Array2;

use super::WHAT;
use super::filter::smooth;
use crate::error::{Error, Result};
use crate::image::Image;

/// Largest part of the pixels that may be missing.
const MOST_MISSING: f64 = 0.75;
/// Neighbours at the highest value too, of eight, by which a pixel belongs to a plateau: counted electrons reach their
/// highest number in single pixels, a saturated detector in the middles of columns.
const PLATEAU: usize = 5;
/// Standard deviation of the smoothing that fills missing pixels [px]; tried wider where there is nothing near.
const FILL: [f64; 3] = [1.5, 6.0, 24.0];

/// An image without gaps, and which of its pixels were seen.
pub(super) struct Masked {
    /// Finite everywhere; rows lie one after the other.
    pub(super) image: Image,
    /// 1 where a pixel counts, 0 where it does not.
    pub(super) usable: Array2<f32>,
}

impl Masked {
    /// Masks an image.
    ///
    /// # Errors
    /// Most pixels are not finite.
    pub(super) fn of(image: &Image) -> Result<Self> {
        let mut usable = Array2::from_shape_fn(image.data.dim(), |pixel| {
            f32::from(u8::from(image.data[pixel].is_finite()))
        });
        let missing = usable.iter().filter(|u| **u == 0.0).count();
        if missing as f64 > MOST_MISSING * usable.len() as f64 {
            return Err(Error::unmeasurable(
                WHAT,
                format!("{missing} of {} pixels that are not finite", usable.len()),
                "finite intensities in at least a quarter of the image",
            ));
        }
        // Rows one after the other, as kernels go through them: files may hold them bottom up.
        let mut data = image.data.as_standard_layout().into_owned();
        if missing > 0 {
            fill(&mut data, &usable);
        }
        drop_saturated(&data, &mut usable);
        Ok(Self {
            image: Image {
                data,
                sampling: image.sampling,
            },
            usable,
        })
    }
}

/// Writes the smoothed surroundings into pixels that are not usable.
fn fill(data: &mut Array2<f32>, usable: &Array2<f32>) {
    let seen = ndarray::Zip::from(&*data)
        .and(usable)
        .map_collect(|v, u| if *u > 0.0 { *v } else { 0.0 });
    let mean = seen.sum() / usable.sum();
    for sigma in FILL {
        let (values, weights) = (smooth(&seen, [sigma; 2]), smooth(usable, [sigma; 2]));
        ndarray::Zip::from(&mut *data)
            .and(&values)
            .and(&weights)
            .for_each(|v, s, w| {
                if !v.is_finite() && *w > 1e-3 {
                    *v = s / w;
                }
            });
    }
    data.mapv_inplace(|v| if v.is_finite() { v } else { mean });
}

/// Takes out all pixels at the highest value if some of them form plateaus.
fn drop_saturated(data: &Array2<f32>, usable: &mut Array2<f32>) {
    let highest = data.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (rows, cols) = data.dim();
    let at_top: Vec<(usize, usize)> = data
        .indexed_iter()
        .filter(|(_, v)| **v == highest)
        .map(|(pixel, _)| pixel)
        .collect();
    let plateau = at_top.iter().any(|&(row, col)| {
        let near = |r: usize, c: usize| data[(r, c)] == highest;
        let around = row.saturating_sub(1)..(row + 2).min(rows);
        let same = around
            .flat_map(|r| (col.saturating_sub(1)..(col + 2).min(cols)).map(move |c| (r, c)))
            .filter(|&(r, c)| near(r, c))
            .count();
        same > PLATEAU
    });
    if plateau && at_top.len() < data.len() / 2 {
        for pixel in at_top {
            usable[pixel] = 0.0;
        }
    }
}
