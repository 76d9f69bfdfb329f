//! All columns at once: every column is fitted with the present model of its neighbours subtracted, the two sublattices in
//! turn, a few times over.
//!
//! Neighbouring columns overlap, and a fit that ignores it is drawn towards the tails of its neighbours: measured
//! displacements shrink. Subtracting the neighbours removes the bias. While one sublattice is fitted the other stands
//! still, so all columns of a turn are independent and the result does not depend on threads.
//!
//! The background is shared: what is left of the image without the peaks, smoothed over more than a cell. A constant of its
//! own for every column would trade against width and height where columns are broad (in a small window a wide Gaussian is
//! a paraboloid) and let them run away.
//!
//! The noise is measured, not assumed: the variance of the residual as a linear function of the model, c0 + c1 m, which
//! covers readout noise, counting noise, and any gain and offset of the detector.

use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis};

use super::filter::{lowest, smooth};
use super::find::{Ghost, Site};
use super::gaussian::{
    Fitted, Gaussian, PARAMETERS, Pixel, Prior, Shape, Vector, accumulate, cholesky, fit, solve,
};
use super::lattice::length;
use super::settings::{ColumnSettings, Weighting};
use crate::crystal::polarization::Point;
use crate::image::Image;
use crate::neighbours::Neighbours;
use crate::progress::Reporter;

/// Width that the first fits start from [pitch]; 0.5 Å in BiFeO₃.
const START_WIDTH: f64 = 0.125;
/// Standard deviation that the background is smoothed with [pitch]; it lets 1/1000 of the lattice through.
const BACKGROUND_SMOOTHING: f64 = 0.6;
/// Reach in which the first background looks for the darkest place [pitch]: it takes in the middle between two A columns.
const BACKGROUND_REACH: f64 = 0.6;
/// Largest distance from a column at which a pixel has no part in the background [pitch]; the middle between two A columns is
/// 0.5 from four of them.
const CLOSED: f64 = 0.4;
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
/// Rows that the common step looks at.
const COMMON_ROWS: usize = 160;
/// Largest common change of ln height and ln width in one step.
const MAX_COMMON_STEP: f64 = 0.3;
/// Fraction of the window that must be in the image for the shape to be free.
const FULL_WINDOW: f64 = 0.75;
/// Classes of model intensity in which the noise is measured.
const NOISE_CLASSES: usize = 24;

/// A column as the fit left it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) gaussian: Gaussian,
    pub(super) background: f64,
    /// Standard deviations of x, y [Å] and of the height; infinite where the fit failed.
    pub(super) sigma: [f64; 3],
    /// Whether the last fit ended within its bounds.
    pub(super) fitted: bool,
    /// Whether its shape was free in that fit.
    free: bool,
    start: Point,
    class: usize,
}

/// Variance of a pixel as a linear function of the model there.
#[derive(Debug, Clone, Copy)]
struct Noise {
    constant: f64,
    slope: f64,
    floor: f64,
}

impl Noise {
    fn variance(&self, model: f64) -> f64 {
        (self.constant + self.slope * model).max(self.floor)
    }
}

/// Fits all sites; the result keeps their order.
pub(super) fn fit_all(
    image: &Image,
    sites: &[Site],
    ghosts: &[Ghost],
    pitch: f64,
    settings: &ColumnSettings,
    reporter: &Reporter,
) -> Vec<Column> {
    let fitter = Fitter {
        image,
        ghosts,
        pitch,
        radius: settings.window * pitch,
        weighting: settings.weighting,
    };
    let mut background = fitter.dark_places(settings.smoothing);
    let mut columns: Vec<Column> = sites
        .iter()
        .map(|site| fitter.start(site, &background))
        .collect();
    let mut noise = None;
    let bar = reporter.bar("fitting columns", settings.sweeps as u64);
    for _ in 0..settings.sweeps {
        for class in 0..2 {
            fitter.turn(&mut columns, class, &background, noise);
        }
        fitter.common_step(&mut columns, &mut background, noise);
        let model = fitter.model(&columns);
        background = fitter.background(&columns, &model);
        noise = fitter.noise(&columns, &model, &background);
        bar.inc(1);
    }
    bar.finish_and_clear();
    columns
}

struct Fitter<'a> {
    image: &'a Image,
    ghosts: &'a [Ghost],
    pitch: f64,
    radius: f64,
    weighting: Weighting,
}

impl Fitter<'_> {
    /// The first background: the darkest places around, smoothed.
    fn dark_places(&self, smoothing: f64) -> Array2<f32> {
        let pixels = |pitches: f64| self.image.sampling.map(|s| pitches * self.pitch / s);
        let seen = smooth(&self.image.data, pixels(smoothing));
        let reach = pixels(BACKGROUND_REACH).map(|r| r.round() as usize);
        smooth(&lowest(&seen, reach), pixels(BACKGROUND_SMOOTHING))
    }

    /// What the peaks leave between the windows, smoothed.
    fn background(&self, columns: &[Column], model: &Array2<f64>) -> Array2<f32> {
        let mut open = Array2::from_shape_fn(self.image.data.raw_dim(), |pixel| {
            f32::from(u8::from(self.is_inner(pixel)))
        });
        let radius = self.radius.min(CLOSED * self.pitch);
        for column in columns {
            for (index, _) in self.window(column.gaussian.position, radius) {
                open[index] = 0.0;
            }
        }
        let mut rest = self.image.data.clone();
        rest.zip_mut_with(model, |value, peaks| *value -= *peaks as f32);
        let sigma = self
            .image
            .sampling
            .map(|s| BACKGROUND_SMOOTHING * self.pitch / s);
        let weights = smooth(&open, sigma).mapv(|w| w.max(1e-9));
        smooth(&(rest * open), sigma) / weights
    }

    /// Whether a pixel is half a pitch or more from the border: farther out, tails of columns beyond it are not all known.
    fn is_inner(&self, pixel: (usize, usize)) -> bool {
        let inner = |at: usize, count: usize, step: f64| {
            at.min(count - 1 - at) as f64 * step >= 0.5 * self.pitch
        };
        let (rows, cols) = self.image.data.dim();
        let [sy, sx] = self.image.sampling;
        inner(pixel.0, rows, sy) && inner(pixel.1, cols, sx)
    }

    /// The pixel nearest to a point of the image.
    fn nearest(&self, at: Point) -> (usize, usize) {
        let (rows, cols) = self.image.data.dim();
        let [sy, sx] = self.image.sampling;
        let index = |x: f64, last: usize| (x.round().max(0.0) as usize).min(last);
        (index(at[1] / sy, rows - 1), index(at[0] / sx, cols - 1))
    }

    /// A round column on the background.
    fn start(&self, site: &Site, background: &Array2<f32>) -> Column {
        let pixel = self.nearest(site.position);
        let background = f64::from(background[pixel]);
        let height = (f64::from(self.image.data[pixel]) - background).max(0.0);
        Column {
            gaussian: Gaussian::round(height, site.position, START_WIDTH * self.pitch),
            background,
            sigma: [f64::INFINITY; 3],
            fitted: false,
            free: false,
            start: site.position,
            class: site.class(),
        }
    }

    /// Pixels `(row, col)` within the window around a point, with their positions [Å].
    fn window(
        &self,
        centre: Point,
        radius: f64,
    ) -> impl Iterator<Item = ((usize, usize), Point)> + use<> {
        let (rows, cols) = self.image.data.dim();
        let [sy, sx] = self.image.sampling;
        let range = |at: f64, step: f64, count: usize| {
            let low = ((at - radius) / step).ceil().max(0.0) as usize;
            let high = ((at + radius) / step).floor().max(-1.0) + 1.0;
            low..(high as usize).min(count)
        };
        let across = range(centre[0], sx, cols);
        range(centre[1], sy, rows).flat_map(move |row| {
            across.clone().filter_map(move |col| {
                let at = [col as f64 * sx, row as f64 * sy];
                let near = length([at[0] - centre[0], at[1] - centre[1]]) <= radius;
                near.then_some(((row, col), at))
            })
        })
    }

    /// Fits one sublattice, the other standing still.
    fn turn(
        &self,
        columns: &mut [Column],
        class: usize,
        background: &Array2<f32>,
        noise: Option<Noise>,
    ) {
        let model = self.model(columns);
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
                column.background = f64::from(background[self.nearest(column.gaussian.position)]);
            });
    }

    /// Whether enough of the window is in the image to fit a shape.
    fn whole(&self, pixels: &[Pixel]) -> bool {
        let area = std::f64::consts::PI * self.radius * self.radius;
        let pixel = self.image.sampling[0] * self.image.sampling[1];
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
        let possible = widths.iter().all(|w| WIDTHS.contains(&(w / self.pitch)));
        let alike = typical.and_then(|t| t.widths()).is_none_or(|(usual, _)| {
            let mean = (usual[0] * usual[1]).sqrt();
            widths.iter().all(|w| RELATIVE_WIDTHS.contains(&(w / mean)))
        });
        let inside = shift <= MAX_SHIFT * self.pitch;
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
        self.window(own.position, self.radius)
            .map(|(index, position)| {
                let under = f64::from(background[index]);
                let others = model[index] - own.peak(position);
                let variance = noise.map_or(1.0, |n| n.variance(model[index] + under));
                Pixel {
                    position,
                    value: f64::from(self.image.data[index]) - under - others,
                    weight: match self.weighting {
                        Weighting::Uniform => noise.map_or(1.0, |n| 1.0 / n.variance(under)),
                        Weighting::Noise => 1.0 / variance,
                    },
                    variance,
                }
            })
            .collect()
    }

    /// The sum of all peaks on the image's pixels.
    fn model(&self, columns: &[Column]) -> Array2<f64> {
        let [sy, sx] = self.image.sampling;
        let (rows, cols) = self.image.data.dim();
        let mut touching: Vec<Vec<(usize, f64)>> = vec![Vec::new(); rows];
        let gaussians = self.gaussians(columns);
        for (index, (gaussian, _)) in gaussians.iter().enumerate() {
            let reach = gaussian.reach();
            let y = gaussian.position[1];
            let low = ((y - reach) / sy).ceil().max(0.0) as usize;
            let high = ((y + reach) / sy).floor().max(-1.0) + 1.0;
            for list in touching.iter_mut().take(high as usize).skip(low) {
                list.push((index, reach));
            }
        }
        let mut model = Array2::zeros((rows, cols));
        model
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .enumerate()
            .for_each(|(row, mut line)| {
                for &(index, reach) in &touching[row] {
                    let gaussian = &gaussians[index].0;
                    let x = gaussian.position[0];
                    let low = ((x - reach) / sx).ceil().max(0.0) as usize;
                    let high = (((x + reach) / sx).floor().max(-1.0) + 1.0) as usize;
                    for col in low..high.min(cols) {
                        line[col] += gaussian.peak([col as f64 * sx, row as f64 * sy]);
                    }
                }
            });
        model
    }

    /// One Gauss–Newton step of what all columns share: ln height and ln width of each sublattice, and the background.
    ///
    /// Where columns overlap, a background slightly too high makes all of them slightly too narrow, and the other way round;
    /// turn by turn this balance is found only slowly, since each column sees it from inside its window.
    fn common_step(
        &self,
        columns: &mut [Column],
        background: &mut Array2<f32>,
        noise: Option<Noise>,
    ) {
        let free = [0, 1, 2, 3, 4];
        let mut hessian = [[0.0; PARAMETERS]; PARAMETERS];
        let mut gradient = [0.0; PARAMETERS];
        for (row, line) in self.common_slopes(columns) {
            for (col, slope) in line.iter().enumerate().filter(|(_, s)| s[4] > 0.0) {
                if !self.is_inner((row, col)) {
                    continue;
                }
                let model = slope[0] + slope[1] + f64::from(background[(row, col)]);
                let weight = noise.map_or(1.0, |n| 1.0 / n.variance(model));
                let residual = f64::from(self.image.data[(row, col)]) - model;
                accumulate(&mut hessian, slope, weight);
                for i in free {
                    gradient[i] += weight * residual * slope[i];
                }
            }
        }
        let Some(lower) = cholesky(&hessian, &free) else {
            return;
        };
        let change = solve(&lower, &gradient, &free);
        let bounded = |x: f64| x.clamp(-MAX_COMMON_STEP, MAX_COMMON_STEP);
        for column in columns {
            column.gaussian.height *= bounded(change[column.class]).exp();
            let narrower = (-2.0 * bounded(change[2 + column.class])).exp();
            column.gaussian.form = column.gaussian.form.map(|entry| entry * narrower);
        }
        *background += change[4] as f32;
    }

    /// For some rows, per pixel: the peaks of either sublattice, their derivatives with respect to ln width, and 1 where any
    /// column reaches.
    fn common_slopes(&self, columns: &[Column]) -> Vec<(usize, Vec<Vector>)> {
        let [sy, sx] = self.image.sampling;
        let (rows, cols) = self.image.data.dim();
        let chosen: Vec<usize> = (0..rows).step_by(rows.div_ceil(COMMON_ROWS)).collect();
        let gaussians = self.gaussians(columns);
        chosen
            .into_par_iter()
            .map(|row| {
                let y = row as f64 * sy;
                let mut line = vec![[0.0; PARAMETERS]; cols];
                for (gaussian, class) in &gaussians {
                    let reach = gaussian.reach();
                    let x = gaussian.position[0];
                    if (y - gaussian.position[1]).abs() > reach {
                        continue;
                    }
                    let low = ((x - reach) / sx).ceil().max(0.0) as usize;
                    let high = (((x + reach) / sx).floor().max(-1.0) + 1.0) as usize;
                    for (col, slope) in line.iter_mut().enumerate().take(high).skip(low) {
                        let (peak, widening) = gaussian.peak_and_widening([col as f64 * sx, y]);
                        slope[*class] += peak;
                        slope[2 + class] += widening;
                        slope[4] = 1.0;
                    }
                }
                (row, line)
            })
            .collect()
    }

    /// All columns, and those just outside the image, with their class.
    fn gaussians(&self, columns: &[Column]) -> Vec<(Gaussian, usize)> {
        let ghosts = self.ghosts.iter().map(|ghost| {
            let twin = &columns[ghost.twin];
            let gaussian = Gaussian {
                position: ghost.position,
                ..twin.gaussian
            };
            (gaussian, twin.class)
        });
        let inside = columns.iter().map(|c| (c.gaussian, c.class));
        inside.chain(ghosts).collect()
    }

    /// The noise, from the residuals in all windows, whose pixels are shared out to classes of equal size by model value.
    fn noise(
        &self,
        columns: &[Column],
        model: &Array2<f64>,
        background: &Array2<f32>,
    ) -> Option<Noise> {
        let mut samples: Vec<(f64, f64)> = Vec::new();
        for column in columns.iter().filter(|column| column.fitted) {
            let first = samples.len();
            for (index, _) in self.window(column.gaussian.position, self.radius) {
                let value = model[index] + f64::from(background[index]);
                let residual = f64::from(self.image.data[index]) - value;
                samples.push((value, residual * residual));
            }
            // A fit takes up as many degrees of freedom as it has parameters.
            let count = (samples.len() - first) as f64;
            let lost = count / (count - PARAMETERS as f64).max(1.0);
            for sample in &mut samples[first..] {
                sample.1 *= lost;
            }
        }
        samples.sort_by(|p, q| p.0.total_cmp(&q.0));
        let size = samples.len().div_ceil(NOISE_CLASSES).max(1);
        let classes: Vec<[f64; 2]> = samples
            .chunks(size)
            .map(|class| {
                let count = class.len() as f64;
                [
                    class.iter().map(|s| s.0).sum::<f64>() / count,
                    class.iter().map(|s| s.1).sum::<f64>() / count,
                ]
            })
            .collect();
        line_through(&classes)
    }
}

/// The straight line through `[model, variance]` points, each weighted by 1/variance² (a variance is known to a fixed
/// fraction); never falling, never below a tenth of the lowest class.
fn line_through(classes: &[[f64; 2]]) -> Option<Noise> {
    let lowest = classes.iter().map(|c| c[1]).fold(f64::INFINITY, f64::min);
    if !(lowest > 0.0 && lowest.is_finite()) {
        return None;
    }
    let weight = |c: &[f64; 2]| c[1].powi(-2);
    let total: f64 = classes.iter().map(weight).sum();
    let mean = |axis: usize| classes.iter().map(|c| weight(c) * c[axis]).sum::<f64>() / total;
    let (x, y) = (mean(0), mean(1));
    let spread: f64 = classes.iter().map(|c| weight(c) * (c[0] - x).powi(2)).sum();
    let joint: f64 = classes
        .iter()
        .map(|c| weight(c) * (c[0] - x) * (c[1] - y))
        .sum();
    let slope = if spread > 0.0 {
        (joint / spread).max(0.0)
    } else {
        0.0
    };
    Some(Noise {
        constant: y - slope * x,
        slope,
        floor: 0.1 * lowest,
    })
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
