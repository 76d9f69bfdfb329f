//! All columns at once: every column is fitted with the present model of its neighbours subtracted, the two sublattices in
//! turn, a few times over.
//!
//! Neighbouring columns overlap, and a fit that ignores it is drawn towards the tails of its neighbours: measured
//! displacements shrink. Subtracting the neighbours removes the bias. While one sublattice is fitted the other stands
//! still, so all columns of a turn are independent and the result does not depend on threads.

use ndarray::Array2;
use rayon::prelude::*;

use super::field::{Column, Field};
use super::filter::smooth;
use super::find::{Ghost, Site};
use super::gaussian::{Fitted, Gaussian, Pixel, Prior, Shape, fit};
use super::lattice::length;
use super::noise::{self, Noise};
use super::settings::{ColumnSettings, Weighting};
use super::{background, common};
use crate::crystal::polarization::Point;
use crate::image::Image;
use crate::neighbours::Neighbours;
use crate::progress::Reporter;

/// Width that the first fits start from [pitch]; 0.5 Å in BiFeO₃.
const START_WIDTH: f64 = 0.125;
/// Farthest that a fit may move from its start [pitch].
const MAX_SHIFT: f64 = 0.3;
/// Widths that a column can have [pitch].
const WIDTHS: std::ops::RangeInclusive<f64> = 0.03..=0.4;
/// Widths that a column can have, over the median of its sublattice.
const RELATIVE_WIDTHS: std::ops::RangeInclusive<f64> = 0.5..=2.0;
/// Spread of 1/width² among neighbouring columns of a sublattice, over its median: ±10 % in width. It holds a column only
/// where the data do not say better: where noise is strong, or columns so broad that each could trade width against its
/// neighbours'.
const FORM_SPREAD: f64 = 0.2;
/// Columns of its sublattice around a column that say what form is typical there.
const TYPICAL_COLUMNS: usize = 37;
/// Fraction of the window that must be in the image for the shape to be free.
const FULL_WINDOW: f64 = 0.75;
/// Fits all sites; the result keeps their order.
pub(super) fn fit_all(
    image: &Image,
    sites: &[Site],
    ghosts: &[Ghost],
    pitch: f64,
    settings: &ColumnSettings,
    reporter: &Reporter,
) -> Vec<Column> {
    let field = Field {
        image,
        ghosts,
        pitch,
        radius: settings.window * pitch,
    };
    let fitter = Fitter {
        weighting: settings.weighting,
        field,
    };
    let field = &fitter.field;
    let seen = smooth(&image.data, field.pixels_per(settings.smoothing));
    let mut background = background::dark_places(field, &seen);
    let mut columns: Vec<Column> = sites
        .iter()
        .map(|site| fitter.start(site, &seen, &background))
        .collect();
    let mut noise = None;
    let bar = reporter.bar("fitting columns", settings.sweeps as u64);
    for sweep in 0..settings.sweeps {
        if sweep > 0 {
            common::step(field, &mut columns, &mut background, noise);
            let model = field.model(&columns);
            background = background::between_windows(field, &columns, &model);
            noise = noise::measure(field, &columns, &model, &background);
        }
        for class in 0..2 {
            fitter.turn(&mut columns, class, &background, noise);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    columns
}

/// Fits columns on a field.
struct Fitter<'a> {
    field: Field<'a>,
    weighting: Weighting,
}

impl Fitter<'_> {
    /// A round column on the background, as high as the smoothed image there.
    fn start(&self, site: &Site, seen: &Array2<f32>, background: &Array2<f32>) -> Column {
        let pixel = self.field.nearest(site.position);
        let background = f64::from(background[pixel]);
        let height = (f64::from(seen[pixel]) - background).max(0.0);
        Column {
            gaussian: Gaussian::round(height, site.position, START_WIDTH * self.field.pitch),
            background,
            sigma: [f64::INFINITY; 3],
            fitted: false,
            free: false,
            start: site.position,
            class: site.class(),
        }
    }

    /// Fits one sublattice, the other standing still.
    fn turn(
        &self,
        columns: &mut [Column],
        class: usize,
        background: &Array2<f32>,
        noise: Option<Noise>,
    ) {
        let model = self.field.model(columns);
        let typical = typical_forms(columns, class);
        columns
            .par_iter_mut()
            .zip(typical)
            .filter(|(column, _)| column.class == class)
            .for_each(|(column, typical)| {
                let pixels = self.pixels(column, &model, background, noise);
                let free = self
                    .whole(&pixels)
                    .then(|| {
                        let prior = typical.map(|t| Prior {
                            form: t.form,
                            stiffness: (FORM_SPREAD * 0.5 * (t.form[0] + t.form[2])).powi(-2),
                        });
                        self.attempt(
                            &pixels,
                            column,
                            column.gaussian,
                            Shape::Free(prior),
                            typical,
                        )
                    })
                    .flatten();
                column.free = free.is_some();
                let fitted = free.or_else(|| self.fallback(&pixels, column, typical));
                column.fitted = fitted.is_some();
                if let Some(Fitted { gaussian, sigma }) = fitted {
                    column.gaussian = gaussian;
                    column.sigma = sigma;
                } else {
                    column.gaussian.position = column.start;
                    column.sigma = [f64::INFINITY; 3];
                }
                column.background =
                    f64::from(background[self.field.nearest(column.gaussian.position)]);
            });
    }

    /// Whether enough of the window is in the image to fit a shape.
    fn whole(&self, pixels: &[Pixel]) -> bool {
        let area = std::f64::consts::PI * self.field.radius * self.field.radius;
        let pixel = self.field.image.sampling[0] * self.field.image.sampling[1];
        pixels.len() as f64 * pixel >= FULL_WINDOW * area
    }

    /// A fit from the start with the typical shape of the sublattice, or with the shape it has before that is known.
    fn fallback(
        &self,
        pixels: &[Pixel],
        column: &Column,
        typical: Option<Gaussian>,
    ) -> Option<Fitted> {
        let start = Gaussian {
            form: typical.map_or(column.gaussian.form, |t| t.form),
            position: column.start,
            ..column.gaussian
        };
        self.attempt(pixels, column, start, Shape::Kept, None)
    }

    /// A fit that stays near its start, with a positive height and a possible width.
    fn attempt(
        &self,
        pixels: &[Pixel],
        column: &Column,
        start: Gaussian,
        shape: Shape,
        typical: Option<Gaussian>,
    ) -> Option<Fitted> {
        let found = fit(pixels, start, shape)?;
        let at = found.gaussian.position;
        let shift = length([at[0] - column.start[0], at[1] - column.start[1]]);
        let (widths, _) = found.gaussian.widths()?;
        let possible = widths
            .iter()
            .all(|w| WIDTHS.contains(&(w / self.field.pitch)));
        let alike = typical.and_then(|t| t.widths()).is_none_or(|(usual, _)| {
            let mean = (usual[0] * usual[1]).sqrt();
            widths.iter().all(|w| RELATIVE_WIDTHS.contains(&(w / mean)))
        });
        let inside = shift <= MAX_SHIFT * self.field.pitch;
        (found.gaussian.height > 0.0 && inside && possible && alike).then_some(found)
    }

    /// The window of a column, with the background and the peaks of its neighbours subtracted.
    fn pixels(
        &self,
        column: &Column,
        model: &Array2<f64>,
        background: &Array2<f32>,
        noise: Option<Noise>,
    ) -> Vec<Pixel> {
        let own = &column.gaussian;
        self.field
            .window(own.position, self.field.radius)
            .map(|(index, position)| {
                let under = f64::from(background[index]);
                let others = model[index] - own.peak(position);
                let variance = noise.map_or(1.0, |n| n.variance(model[index] + under));
                Pixel {
                    position,
                    value: f64::from(self.field.image.data[index]) - under - others,
                    weight: match self.weighting {
                        Weighting::Uniform => noise.map_or(1.0, |n| 1.0 / n.variance(under)),
                        Weighting::Noise => 1.0 / variance,
                    },
                    variance,
                }
            })
            .collect()
    }
}

/// The typical form around each column: the medians of p, q and s over the nearest columns of its sublattice whose shape was
/// free; `None` where there are none yet.
fn typical_forms(columns: &[Column], class: usize) -> Vec<Option<Gaussian>> {
    let free: Vec<&Column> = columns
        .iter()
        .filter(|c| c.class == class && c.free)
        .collect();
    let positions: Vec<Point> = free.iter().map(|c| c.gaussian.position).collect();
    let tree = Neighbours::new(&positions);
    columns
        .par_iter()
        .map(|column| {
            if column.class != class || free.is_empty() {
                return None;
            }
            let near = tree.nearest(column.gaussian.position, TYPICAL_COLUMNS);
            let form = std::array::from_fn(|k| {
                let mut entries: Vec<f64> = near
                    .iter()
                    .map(|(index, _)| free[*index].gaussian.form[k])
                    .collect();
                entries.sort_by(f64::total_cmp);
                entries[entries.len() / 2]
            });
            let typical = Gaussian {
                form,
                ..column.gaussian
            };
            typical.widths().map(|_| typical)
        })
        .collect()
}
