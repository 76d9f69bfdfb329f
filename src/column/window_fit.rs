//! One column by itself: an elliptical Gaussian and a constant in a circular window, by unweighted least squares.
//!
//! Most published column positions are fits of this kind (such as Nord et al., Adv. Struct. Chem. Imaging 3, 9 (2017)),
//! and so it is the measurement that biases of such positions refer to. Unlike the joint map it takes neighbouring columns
//! for a part of the constant, so that its result depends on the radius of the window. The window is round about an
//! expected position; once fitted, it is moved to the centre found and the fit repeated.
//!
//! Levenberg–Marquardt as in `gaussian`, carried on until the centre stands still to 1e-11 Å: differences of positions
//! between images are then free of the fit's own noise.

use super::gaussian::{Gaussian, PARAMETERS, accumulate, cholesky, solve};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::neighbours::Point;

/// Number of parameters: those of the Gaussian and the constant.
pub(super) const FREE: usize = PARAMETERS + 1;
/// Last step of the centre in a fit that is finished [Å].
const STANDSTILL: f64 = 1e-11;
/// Damping below which a short step means a minimum, not caution.
const FREELY: f64 = 1e-3;
/// Steps, tried ones included, before a fit is given up; one that gets there takes 10 to 30.
const MAX_STEPS: usize = 500;
/// Rise of the misfit that rounding explains, as a fraction of the squares of the pixels about their mean.
const ROUNDING: f64 = 1e-15;
/// A pixel on the rim of the window belongs to it, whatever the rounding of its distance.
const RIM: f64 = 1.0 + 1e-9;

/// Settings of [`fit_window`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowFit {
    /// Radius of the window [Å]; pixels with their centre inside count, all alike.
    pub radius_angstrom: f64,
    /// How often the window is moved to the centre found, and the fit repeated.
    pub recentre: usize,
}

/// A fitted column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowColumn {
    /// Centre [Å]; near the expected position, also where that lies beyond the border of a periodic image.
    pub position: Point,
    /// Peak above the constant [units of the image].
    pub height: f64,
    /// Principal standard deviations, that of the axis nearest to x first [Å].
    pub widths: [f64; 2],
    /// Angle of the first principal axis from x towards y [rad], within ±π/4.
    pub angle: f64,
    /// The constant [units of the image].
    pub background: f64,
    /// Root mean square of image minus fit over the window [units of the image].
    pub residual: f64,
}

/// Fits the column near `expected` [Å]. A `periodic` image repeats beyond its borders; of another, the window keeps what
/// lies inside.
///
/// # Errors
/// The window holds too few pixels, more than a period, or values that are not finite; there is no peak in it: all pixels are
/// alike, the fit does not converge, leaves the window or finds a dip.
pub fn fit_window(
    image: &Image,
    periodic: bool,
    expected: Point,
    settings: &WindowFit,
) -> Result<WindowColumn> {
    let fail = |got: String, needed: &str| {
        let [x, y] = expected;
        let radius = settings.radius_angstrom;
        let what = format!("window fit of radius {radius} Å at ({x:.3}, {y:.3}) Å");
        Err(Error::unmeasurable(what, got, needed))
    };
    let extent = image.extent();
    let radius = settings.radius_angstrom;
    let positive = |lengths: &[f64]| lengths.iter().all(|l| l.is_finite() && *l > 0.0);
    if !positive(&[radius]) || !positive(&image.sampling) || !expected.iter().all(|c| c.is_finite())
    {
        let got = format!("pixels of {:?} Å", image.sampling);
        return fail(got, "a finite place, a positive radius and pixel size");
    }
    if periodic && 2.0 * radius > extent[0].min(extent[1]) {
        let got = format!("a period of {:.3} × {:.3} Å (y × x)", extent[0], extent[1]);
        return fail(got, "a window no wider than the period");
    }
    let mut centre = expected;
    let mut column = None;
    for _ in 0..=settings.recentre {
        let pixels = pixels(image, periodic, centre, radius);
        if pixels.len() <= FREE {
            let got = format!("{} pixels in the window", pixels.len());
            return fail(got, "more than the 7 parameters of the fit");
        }
        if let Some((_, value)) = pixels.iter().find(|(_, value)| !value.is_finite()) {
            return fail(format!("a pixel of {value}"), "finite intensities");
        }
        let Some(fitted) = fit(&pixels, centre, radius) else {
            let got = format!("{} pixels without a peak that a fit finds", pixels.len());
            return fail(got, "a column that is brighter than what is around it");
        };
        centre = fitted.position;
        column = Some(fitted);
    }
    column.map_or_else(|| fail("nothing".to_owned(), "a fit"), Ok)
}

/// Centre [Å] and value of the pixels in a window.
fn pixels(image: &Image, periodic: bool, centre: Point, radius: f64) -> Vec<(Point, f64)> {
    let (rows, cols) = image.data.dim();
    let [dy, dx] = image.sampling;
    let span = |centre: f64, step: f64| {
        let reach = radius * RIM;
        ((centre - reach) / step).ceil() as i64..=((centre + reach) / step).floor() as i64
    };
    let inside = |index: i64, n: usize| {
        let index = if periodic {
            index.rem_euclid(n as i64)
        } else {
            index
        };
        usize::try_from(index).ok().filter(|&index| index < n)
    };
    let mut found = Vec::new();
    for row in span(centre[1], dy) {
        for col in span(centre[0], dx) {
            let at = [col as f64 * dx, row as f64 * dy];
            let distance = (at[0] - centre[0]).hypot(at[1] - centre[1]);
            if distance > radius * RIM {
                continue;
            }
            if let (Some(r), Some(c)) = (inside(row, rows), inside(col, cols)) {
                found.push((at, f64::from(image.data[(r, c)])));
            }
        }
    }
    found
}

/// A Gaussian on a constant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub(super) gaussian: Gaussian,
    pub(super) background: f64,
}

/// What a step of the fit needs: JᵀJ (lower triangle), Jᵀ(residual), and the sum of squares.
struct NormalEquations {
    hessian: [[f64; FREE]; FREE],
    gradient: [f64; FREE],
    misfit: f64,
}

impl Model {
    /// A round column that has the brightness range and the second moment of the pixels.
    fn start(pixels: &[(Point, f64)], centre: Point, radius: f64) -> Self {
        let least = pixels.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
        let most = pixels.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
        let weight: f64 = pixels.iter().map(|p| p.1 - least).sum();
        let moment: f64 = pixels
            .iter()
            .map(|(at, value)| {
                let [dx, dy] = [at[0] - centre[0], at[1] - centre[1]];
                (value - least) * (dx * dx + dy * dy)
            })
            .sum();
        let sigma = (0.5 * moment / weight).sqrt().clamp(0.05 * radius, radius);
        Self {
            gaussian: Gaussian::round(most - least, centre, sigma),
            background: least,
        }
    }

    fn stepped(&self, step: &[f64; FREE]) -> Self {
        let old = self.gaussian.parameters();
        Self {
            gaussian: Gaussian::from_parameters(std::array::from_fn(|i| old[i] + step[i])),
            background: self.background + step[PARAMETERS],
        }
    }

    /// Derivatives with respect to the parameters, the constant last.
    pub(super) fn slope(&self, at: Point) -> [f64; FREE] {
        let (_, slope) = self.gaussian.derivatives(at);
        std::array::from_fn(|i| slope.get(i).map_or(1.0, |s| *s))
    }

    fn normal_equations(&self, pixels: &[(Point, f64)]) -> NormalEquations {
        let mut sums = NormalEquations {
            hessian: [[0.0; FREE]; FREE],
            gradient: [0.0; FREE],
            misfit: 0.0,
        };
        for &(at, value) in pixels {
            let (peak, slope) = self.gaussian.derivatives(at);
            let slope: [f64; FREE] = std::array::from_fn(|i| slope.get(i).map_or(1.0, |s| *s));
            let residual = value - peak - self.background;
            sums.misfit += residual * residual;
            accumulate(&mut sums.hessian, &slope, 1.0);
            for (sum, slope) in sums.gradient.iter_mut().zip(slope) {
                *sum += residual * slope;
            }
        }
        sums
    }
}

/// The fit in one window; `None` where there is no peak.
fn fit(pixels: &[(Point, f64)], centre: Point, radius: f64) -> Option<WindowColumn> {
    let (model, misfit) = peak(pixels, centre, radius)?;
    let (widths, angle) = model.gaussian.widths()?;
    Some(WindowColumn {
        position: model.gaussian.position,
        height: model.gaussian.height,
        widths,
        angle,
        background: model.background,
        residual: (misfit / pixels.len() as f64).sqrt(),
    })
}

/// The model that fits best, and the sum of squares it leaves; `None` where there is no peak.
pub(super) fn peak(pixels: &[(Point, f64)], centre: Point, radius: f64) -> Option<(Model, f64)> {
    let mean = pixels.iter().map(|p| p.1).sum::<f64>() / pixels.len() as f64;
    let squares: f64 = pixels.iter().map(|p| (p.1 - mean).powi(2)).sum();
    if squares <= 0.0 {
        return None;
    }
    let start = Model::start(pixels, centre, radius);
    let (model, misfit) = minimum(pixels, start, ROUNDING * squares)?;
    let [x, y] = model.gaussian.position;
    let inside = (x - centre[0]).hypot(y - centre[1]) <= radius;
    (inside && model.gaussian.height > 0.0).then_some((model, misfit))
}

/// The model at the minimum of the misfit, and the misfit there; `slack` is how far rounding may raise it.
fn minimum(pixels: &[(Point, f64)], start: Model, slack: f64) -> Option<(Model, f64)> {
    let mut model = start;
    let mut sums = model.normal_equations(pixels);
    let mut damping = 1e-3;
    for _ in 0..MAX_STEPS {
        let mut damped = sums.hessian;
        for (i, row) in damped.iter_mut().enumerate() {
            row[i] *= 1.0 + damping;
        }
        let step = cholesky(&damped).map(|lower| solve(&lower, &sums.gradient));
        let better = step.and_then(|step| {
            let next = model.stepped(&step);
            next.gaussian.widths()?;
            let sums_there = next.normal_equations(pixels);
            (sums_there.misfit <= sums.misfit + slack).then_some((next, sums_there, step))
        });
        let Some((next, sums_there, step)) = better else {
            damping *= 10.0;
            continue;
        };
        (model, sums) = (next, sums_there);
        if damping <= FREELY && step[1].hypot(step[2]) < STANDSTILL {
            return Some((model, sums.misfit));
        }
        damping *= 0.1;
    }
    None
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    const SETTINGS: WindowFit = WindowFit {
        radius_angstrom: 1.0,
        recentre: 1,
    };

    /// A 40 × 36 px image of one period.
    fn image(value: impl Fn(Point) -> f64) -> Image {
        let sampling = [0.099_107_5, 0.11];
        let data = Array2::from_shape_fn((40, 36), |(row, col)| {
            value([col as f64 * sampling[1], row as f64 * sampling[0]]) as f32
        });
        Image { data, sampling }
    }

    /// A turned ellipse on a constant at `centre`, repeated by the period of `image`.
    fn column(centre: Point) -> impl Fn(Point) -> f64 {
        let gaussian = Gaussian {
            height: 0.03,
            position: [0.0; 2],
            form: [5.5, 0.9, 4.2],
        };
        move |at| {
            let offset = |axis: usize, period: f64| {
                (at[axis] - centre[axis] + 0.5 * period).rem_euclid(period) - 0.5 * period
            };
            0.01 + gaussian.peak([offset(0, 3.96), offset(1, 3.9643)])
        }
    }

    fn distance(a: Point, b: Point) -> f64 {
        (a[0] - b[0]).hypot(a[1] - b[1])
    }

    #[test]
    fn a_gaussian_on_a_constant_is_found_exactly() {
        let truth = [1.87, 2.11];
        let found = fit_window(&image(column(truth)), true, [2.0, 2.0], &SETTINGS).unwrap();
        // Pixels are f32: 6e-8 of the peak each, over some hundred pixels and a width of half an Å.
        assert!(distance(found.position, truth) < 2e-8, "{found:?}");
        assert!((found.height - 0.03).abs() < 1e-8 && (found.background - 0.01).abs() < 1e-8);
        let (widths, angle) = Gaussian {
            height: 1.0,
            position: [0.0; 2],
            form: [5.5, 0.9, 4.2],
        }
        .widths()
        .unwrap();
        assert!(distance(found.widths, widths) < 1e-6 && (found.angle - angle).abs() < 1e-5);
        assert!(found.residual < 3e-9, "{}", found.residual);
    }

    #[test]
    fn a_window_wraps_around_a_periodic_image_only() {
        let truth = [-0.13, 3.93];
        let periodic = image(column(truth));
        let found = fit_window(&periodic, true, [0.0, 3.9643], &SETTINGS).unwrap();
        assert!(distance(found.position, truth) < 2e-8, "{found:?}");
        // Seen from another period it is the same column.
        let other = fit_window(&periodic, true, [3.96, 0.0], &SETTINGS).unwrap();
        let moved = [other.position[0] - 3.96, other.position[1] + 3.9643];
        assert!(distance(moved, truth) < 2e-8, "{other:?}");
        let cut = fit_window(&periodic, false, [-1.2, 4.9], &SETTINGS);
        assert!(cut.is_err(), "hardly a pixel inside: {cut:?}");
    }

    /// A peak that is no Gaussian, on a ground that is not flat: the result depends on every detail of the window.
    fn odd(centre: Point) -> impl Fn(Point) -> f64 {
        move |[x, y]| {
            let (dx, dy) = (x - centre[0], y - centre[1]);
            let r2 = dx * dx + 1.3 * dy * dy + 0.4 * dx * dy;
            1.0 / (1.0 + 6.0 * r2).powi(2) * (1.0 + 0.2 * dx - 0.1 * dy) + 0.02 * y
        }
    }

    #[test]
    fn a_whole_pixel_moves_the_result_by_a_whole_pixel() {
        let still = image(odd([1.9, 2.0]));
        let mut moved = still.clone();
        moved.data = Array2::from_shape_fn(still.data.dim(), |(row, col)| {
            still.data[((row + 39) % 40, (col + 33) % 36)]
        });
        let step = [3.0 * still.sampling[1], still.sampling[0]];
        let first = fit_window(&still, true, [2.0, 2.1], &SETTINGS).unwrap();
        let expected = [2.0 + step[0], 2.1 + step[1]];
        let second = fit_window(&moved, true, expected, &SETTINGS).unwrap();
        let back = [second.position[0] - step[0], second.position[1] - step[1]];
        // Both stand still to 1e-11 Å.
        assert!(distance(first.position, back) < 1e-10);
    }

    #[test]
    fn the_start_does_not_matter_where_the_window_ends_the_same() {
        // A window fixed by `fit` itself: any start in it leads to one minimum.
        let image = image(odd([1.9, 2.0]));
        let pixels = pixels(&image, true, [1.9, 2.0], 1.0);
        let ends: Vec<Point> = [[1.9, 2.0], [2.1, 1.8], [1.7, 2.2]]
            .into_iter()
            .map(|start| {
                let model = Model::start(&pixels, start, 1.0);
                minimum(&pixels, model, 1e-16).unwrap().0.gaussian.position
            })
            .collect();
        assert!(
            ends.iter().all(|end| distance(*end, ends[0]) < 1e-10),
            "{ends:?}"
        );
    }

    #[test]
    fn what_is_no_column_is_an_error() {
        let dip = |at: Point| 0.1 - column([1.9, 2.0])(at);
        let ramp = |[x, y]: Point| 0.1 + 0.02 * x + 0.05 * y;
        let hole = |at: Point| if at[0] > 2.0 { f64::NAN } else { at[1] };
        for nothing in [image(|_| 0.5), image(dip), image(ramp), image(hole)] {
            let found = fit_window(&nothing, true, [1.9, 2.0], &SETTINGS);
            assert!(found.is_err(), "{found:?}");
        }
    }

    #[test]
    fn windows_that_cannot_be_fitted_say_why() {
        let image = image(column([1.9, 2.0]));
        let message = |radius_angstrom: f64, expected: Point| {
            let settings = WindowFit {
                radius_angstrom,
                recentre: 1,
            };
            fit_window(&image, true, expected, &settings)
                .unwrap_err()
                .to_string()
        };
        assert!(message(0.15, [1.9, 2.0]).contains("pixels in the window"));
        assert!(message(2.5, [1.9, 2.0]).contains("no wider than the period"));
        assert!(message(f64::NAN, [1.9, 2.0]).contains("positive radius"));
        assert!(message(1.0, [f64::INFINITY, 2.0]).contains("finite place"));
    }
}
