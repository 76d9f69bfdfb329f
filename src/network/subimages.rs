//! Cutting sub-images: around given points, or on a grid; and labels for windows that are centred on no cell.

use ndarray::{Array2, Array4, Axis};
use rayon::prelude::*;

use super::resampling::{Taps, apply};
use super::settings::SubimageSettings;
use crate::crystal::polarization::PolarVector;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::neighbours::{Neighbours, Point};

/// A cell counts as a neighbour of a point within this many cell lengths: the next cells of a lattice are 1 away, and single
/// cells by their displacement more.
const REACH_CELLS: f64 = 1.5;
/// Cells that a label is interpolated from.
const CELLS: usize = 4;

/// Sub-images of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Subimages {
    /// `(n, 1, y, x)`, standardized.
    pub subimages: Array4<f32>,
    /// Centres of the sub-images [Å].
    pub centres: Vec<Point>,
    /// For each sub-image, the index of its point among the points given.
    pub kept: Vec<usize>,
    /// Mean of the image over its standard deviation.
    pub level: f32,
}

/// The image less its mean, divided by its standard deviation: what every sub-image is cut from.
///
/// # Errors
/// An image without contrast, or with numbers that are not finite.
pub fn standardized(image: &Image) -> Result<Array2<f32>> {
    let (mean, deviation) = moments(image)?;
    Ok(image
        .data
        .mapv(|v| ((f64::from(v) - mean) / deviation) as f32))
}

/// Mean and standard deviation of an image.
fn moments(image: &Image) -> Result<(f64, f64)> {
    let count = image.data.len() as f64;
    let mean = image.data.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let squares = image.data.iter().map(|&v| (f64::from(v) - mean).powi(2));
    let deviation = (squares.sum::<f64>() / count).sqrt();
    if !(deviation.is_finite() && deviation > 0.0) {
        let got = format!("an image with a standard deviation of {deviation}");
        return Err(Error::unmeasurable(
            "standardizing an image",
            got,
            "finite numbers with contrast",
        ));
    }
    Ok((mean, deviation))
}

/// Sub-images centred on `points` [Å], to a fraction of a pixel; points whose window leaves the image are left out.
///
/// # Errors
/// A window larger than the image, or an image without contrast.
pub fn cut_at(image: &Image, points: &[Point], settings: &SubimageSettings) -> Result<Subimages> {
    check_window(image, settings)?;
    let (mean, deviation) = moments(image)?;
    let standardized = standardized(image)?;
    let (window, sampling) = (settings.window(), settings.sampling_angstrom);
    let half = half_width(settings);
    let inside = |point: &Point| {
        // A millionth of an ångström forgives rounding.
        (0..2).all(|axis| {
            point[axis] >= half - 1e-6 && point[axis] <= last_pixel(image, axis) - half + 1e-6
        })
    };
    let (kept, centres): (Vec<usize>, Vec<Point>) = points
        .iter()
        .enumerate()
        .filter(|(_, point)| inside(point))
        .map(|(i, p)| (i, *p))
        .unzip();
    let mut subimages = Array4::zeros((centres.len(), 1, window, window));
    let pixels = subimages.axis_iter_mut(Axis(0)).into_par_iter();
    pixels.zip(&centres).for_each(|(mut subimage, centre)| {
        let taps = |axis: usize| {
            // Points are [x, y], sampling is [y, x].
            let old = image.sampling[1 - axis];
            let first = (centre[axis] - half) / old;
            Taps::row(
                first,
                sampling / old,
                window,
                image.data.len_of(Axis(1 - axis)),
            )
        };
        let cut = apply(&standardized, &taps(1), &taps(0));
        subimage.index_axis_mut(Axis(0), 0).assign(&cut);
    });
    Ok(Subimages {
        subimages,
        centres,
        kept,
        level: (mean / deviation) as f32,
    })
}

/// Centres [Å] of the windows on a grid, rows first, every `stride_angstrom`, all inside the image.
///
/// # Errors
/// A window larger than the image, or no stride.
pub fn grid_centres(image: &Image, settings: &SubimageSettings) -> Result<Vec<Point>> {
    check_window(image, settings)?;
    let stride = settings.stride().ok_or_else(|| {
        let got = "no subimages.stride_angstrom";
        Error::unmeasurable("cutting on a grid", got, "the distance between sub-images")
    })?;
    let step = stride as f64 * settings.sampling_angstrom;
    let half = half_width(settings);
    let count =
        |axis: usize| ((last_pixel(image, axis) - 2.0 * half + 1e-9) / step).floor() as usize + 1;
    let (rows, cols) = (count(1), count(0));
    let place = |index: usize| half + index as f64 * step;
    Ok((0..rows * cols)
        .map(|i| [place(i % cols), place(i / cols)])
        .collect())
}

/// D [pm] at points that are centred on no cell: the mean of the four nearest cells weighted with the inverse square of their
/// distance (Shepard 1968). Points that are not among cells (the fourth is farther than 1.5 cell lengths) have no label.
#[must_use]
pub fn labels_between(points: &[Point], cells: &[PolarVector]) -> Vec<Option<[f64; 2]>> {
    let positions: Vec<Point> = cells.iter().map(|cell| cell.position).collect();
    let tree = Neighbours::new(&positions);
    let mut pitches: Vec<f64> = positions
        .iter()
        .filter_map(|&p| tree.nearest(p, 2).get(1).map(|n| n.1))
        .collect();
    pitches.sort_by(f64::total_cmp);
    let pitch = pitches.get(pitches.len() / 2).copied().unwrap_or(0.0);
    let label = |&point: &Point| {
        let nearest = tree.nearest(point, CELLS);
        let far = nearest
            .last()
            .is_none_or(|(_, distance)| *distance > REACH_CELLS * pitch);
        if nearest.len() < CELLS || far {
            return None;
        }
        // A millionth of a cell keeps the weight of a cell right at the point finite.
        let weight = |distance: f64| 1.0 / (distance.powi(2) + (1e-6 * pitch).powi(2));
        let total: f64 = nearest.iter().map(|(_, distance)| weight(*distance)).sum();
        let component = |axis: usize| {
            let terms = nearest
                .iter()
                .map(|(i, d)| cells[*i].displacement[axis] * weight(*d));
            terms.sum::<f64>() / total
        };
        Some([component(0), component(1)])
    };
    points.iter().map(label).collect()
}

/// Distance from the centre of a window to its outermost pixel centres [Å].
fn half_width(settings: &SubimageSettings) -> f64 {
    (settings.window() - 1) as f64 / 2.0 * settings.sampling_angstrom
}

/// Coordinate of the last pixel centre along x (0) or y (1) [Å].
fn last_pixel(image: &Image, axis: usize) -> f64 {
    (image.data.len_of(Axis(1 - axis)) - 1) as f64 * image.sampling[1 - axis]
}

fn check_window(image: &Image, settings: &SubimageSettings) -> Result<()> {
    let side = 2.0 * half_width(settings);
    if (0..2).any(|axis| side > last_pixel(image, axis) + 1e-9) {
        let [height, width] = image.extent();
        let what = format!("cutting windows of {} Å", settings.window_angstrom);
        let got = format!("an image of {width:.3} × {height:.3} Å");
        return Err(Error::unmeasurable(
            what,
            got,
            "an image larger than the window",
        ));
    }
    Ok(())
}
