//! Apparent shifts of the columns in one image of a tilt series.
//!
//! The image is one period of a crystal. It is blurred exactly, as a periodic image, for each source size; then either every
//! column is fitted by itself, from its true position, in windows of several radii, or the period is repeated and mapped
//! like any other image. Shifts are means over the columns of the period: D = B − mean A of a cell, averaged over all
//! cells, is the mean shift of B less the mean shift of A, as each A column belongs to four cells.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::tilt_sensitivity::{Fit, MapFit, TiltSensitivity, WindowFits};
use crate::acquisition::{Acquisition, Border};
use crate::column::{self, ColumnMap, WindowFit, fit_window};
use crate::crystal::{Sublattice, Truth};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::neighbours::{Neighbours, Point};
use crate::progress::Reporter;
use crate::units::PM_PER_ANGSTROM;

/// Measured minus true positions, averaged over the columns of an image, `[x, y]` [pm]; NaN where a column was not found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shifts {
    /// Of the A columns.
    pub a: [f64; 2],
    /// Of the B columns.
    pub b: [f64; 2],
    /// Of D: what the tilt fakes, plus the error of the fit at zero tilt.
    pub d: [f64; 2],
    /// True D, averaged over the cells.
    pub true_d: [f64; 2],
}

/// One measurement of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Source size, full width at half maximum [Å].
    pub source_fwhm: f64,
    /// Radius of the fit window [Å]; `None` of a map.
    pub radius: Option<f64>,
    /// What came out.
    pub shifts: Shifts,
    /// Why nothing came out.
    pub failure: Option<String>,
}

impl TiltSensitivity {
    /// Measures one ideal frame, a period of the specimen, at every source size and window radius.
    ///
    /// # Errors
    /// The truth is not that of a whole period, or no map can be made of the image. A column that a window fit does not find
    /// is no error of the study, but told in its [`Measured::failure`].
    pub fn measure(
        &self,
        ideal: ArrayView2<f32>,
        sampling: [f64; 2],
        truth: &Truth,
    ) -> Result<Vec<Measured>> {
        let (a, b) = (truth.a_columns.len(), truth.b_columns.len());
        if a == 0 || a != b || b != truth.displacements.len() {
            let got = format!("{a} A and {b} B columns in the scanned area");
            let needed = "as many of both: a scan of whole cells";
            return Err(Error::unmeasurable("shifts by tilt", got, needed));
        }
        let ideal = Image {
            data: ideal.to_owned(),
            sampling,
        };
        let measured: Vec<Vec<Measured>> = self
            .source_fwhm_angstrom
            .par_iter()
            .map(|&source_fwhm| {
                let image = blurred(&ideal, source_fwhm)?;
                match self.fit() {
                    Fit::Window(fits) => Ok(by_windows(&image, truth, &fits, source_fwhm)),
                    Fit::Map(fit) => by_map(&image, truth, &fit, source_fwhm).map(|m| vec![m]),
                }
            })
            .collect::<Result<_>>()?;
        Ok(measured.into_iter().flatten().collect())
    }
}

/// The image of a source of finite size.
fn blurred(ideal: &Image, source_fwhm_angstrom: f64) -> Result<Image> {
    let acquisition = Acquisition {
        source_fwhm_angstrom,
        dose_per_angstrom2: None,
        row_jitter_pm: 0.0,
        drift_angstrom: [0.0; 2],
    };
    acquisition.acquire(ideal, Border::Periodic, 0, 0)
}

/// Every column by itself, in windows of every radius.
fn by_windows(image: &Image, truth: &Truth, fits: &WindowFits, source_fwhm: f64) -> Vec<Measured> {
    let measured = |&radius_angstrom: &f64| {
        let settings = WindowFit {
            radius_angstrom,
            recentre: fits.recentre,
        };
        let a = window_shift(image, &truth.a_columns, &settings);
        let b = window_shift(image, &truth.b_columns, &settings);
        let failure = [&a, &b]
            .into_iter()
            .find_map(|shift| shift.as_ref().err().map(ToString::to_string));
        let [a, b] = [a, b].map(|shift| shift.unwrap_or([f64::NAN; 2]));
        Measured {
            source_fwhm,
            radius: Some(radius_angstrom),
            shifts: Shifts {
                a,
                b,
                d: [b[0] - a[0], b[1] - a[1]],
                true_d: true_d(truth),
            },
            failure,
        }
    };
    fits.radii_angstrom.iter().map(measured).collect()
}

/// Mean of fitted minus true position over columns of a periodic image [pm].
fn window_shift(image: &Image, columns: &[Point], settings: &WindowFit) -> Result<[f64; 2]> {
    let mut sum = [0.0; 2];
    for &column in columns {
        let found = fit_window(image, true, column, settings)?.position;
        for axis in 0..2 {
            sum[axis] += (found[axis] - column[axis]) * PM_PER_ANGSTROM;
        }
    }
    Ok(sum.map(|s| s / columns.len() as f64))
}

/// All columns together, in the repeated image.
fn by_map(image: &Image, truth: &Truth, fit: &MapFit, source_fwhm: f64) -> Result<Measured> {
    let [height, width] = image.extent();
    let repeated = Image {
        data: tile(&image.data, fit.repeats),
        sampling: image.sampling,
    };
    let map = column::measure(&repeated, &fit.columns, &Reporter::quiet())?;
    let true_d = true_d(truth);
    let vectors: Vec<_> = map.good_vectors().collect();
    let mean = |axis: usize| {
        vectors.iter().map(|v| v.displacement[axis]).sum::<f64>() / vectors.len() as f64
    };
    Ok(Measured {
        source_fwhm,
        radius: None,
        shifts: Shifts {
            a: map_shift(&map, Sublattice::A, &truth.a_columns, [width, height]),
            b: map_shift(&map, Sublattice::B, &truth.b_columns, [width, height]),
            d: std::array::from_fn(|axis| mean(axis) - true_d[axis]),
            true_d,
        },
        failure: None,
    })
}

/// True D, averaged over the cells [pm].
fn true_d(truth: &Truth) -> [f64; 2] {
    let count = truth.displacements.len() as f64;
    std::array::from_fn(|axis| truth.displacements.iter().map(|d| d[axis]).sum::<f64>() / count)
}

/// An image repeated `[x, y]` times.
fn tile(image: &Array2<f32>, [nx, ny]: [usize; 2]) -> Array2<f32> {
    let (rows, cols) = image.dim();
    Array2::from_shape_fn((rows * ny, cols * nx), |(row, col)| {
        image[(row % rows, col % cols)]
    })
}

/// Mean of measured minus nearest true position over the unflagged columns of a sublattice [pm].
fn map_shift(
    map: &ColumnMap,
    sublattice: Sublattice,
    truth: &[Point],
    period: [f64; 2],
) -> [f64; 2] {
    let images = [-1.0, 0.0, 1.0];
    let around = images
        .iter()
        .flat_map(|j| images.iter().map(move |i| [i * period[0], j * period[1]]));
    let all: Vec<Point> = around
        .flat_map(|shift| {
            truth
                .iter()
                .map(move |p| [p[0] + shift[0], p[1] + shift[1]])
        })
        .collect();
    let tree = Neighbours::new(&all);
    let mut sum = [0.0; 2];
    let mut count = 0.0;
    for column in map.of(sublattice).filter(|column| column.flags == 0) {
        let wrapped: Point =
            std::array::from_fn(|axis| column.position[axis].rem_euclid(period[axis]));
        if let Some(&(nearest, _)) = tree.nearest(wrapped, 1).first() {
            for axis in 0..2 {
                sum[axis] += (wrapped[axis] - all[nearest][axis]) * PM_PER_ANGSTROM;
            }
            count += 1.0;
        }
    }
    sum.map(|s| s / count)
}
