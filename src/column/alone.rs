//! Columns each by itself, as most programs measure them: for comparison with numbers from elsewhere.
//!
//! The window around each column is a disc of the settings' radius; what neighbours put into it is taken for background, so
//! that displacements come out too small (tails pull a column towards its neighbours) or depend on the radius.
//!
//! * Gaussian: [`fit_window`], one elliptical Gaussian on a constant by unweighted least squares.
//! * Centre of mass: Σ (I − least I) r / Σ (I − least I). Its window is centred on its own result in a second round.

use rayon::prelude::*;

use super::field::{Column, Field};
use super::find::{Found, Site};
use super::gaussian::Gaussian;
use super::noise::Noise;
use super::rows::disc;
use super::settings::{ColumnSettings, Method};
use super::window_fit::{WindowFit, fit_window};
use crate::crystal::polarization::Point;
use crate::progress::Reporter;

/// How often a window is moved to the centre found.
const ROUNDS: usize = 1;

/// Measures all sites; the result keeps their order.
pub(super) fn fit_each(
    field: &Field<'_>,
    found: &Found,
    settings: &ColumnSettings,
    reporter: &Reporter,
) -> Vec<Column> {
    let radius = settings.window * field.pitch;
    let variance = Noise::first(field).variance(0.0);
    let bar = reporter.bar("fitting columns", found.sites.len() as u64);
    let columns = found
        .sites
        .par_iter()
        .map(|site| {
            let measured = if settings.method == Method::CentreOfMass {
                centre_of_mass(field, site, radius, variance)
            } else {
                gaussian(field, site, radius, variance)
            };
            bar.inc(1);
            measured.unwrap_or_else(|| lost(site, field.pitch))
        })
        .collect();
    bar.finish_and_clear();
    columns
}

/// A column that no measurement finds: it stays where the search put it.
fn lost(site: &Site, pitch: f64) -> Column {
    Column {
        gaussian: Gaussian::round(0.0, site.position, 0.1 * pitch),
        background: f64::NAN,
        sigma: [f64::INFINITY; 3],
        fitted: false,
        start: site.position,
        class: site.class(),
        misfit: f64::NAN,
    }
}

fn gaussian(field: &Field<'_>, site: &Site, radius: f64, variance: f64) -> Option<Column> {
    let settings = WindowFit {
        radius_angstrom: radius,
        recentre: ROUNDS,
    };
    let found = fit_window(field.image, false, site.position, &settings).ok()?;
    Some(Column {
        gaussian: Gaussian::elliptic(found.height, found.position, found.widths, found.angle),
        background: found.background,
        sigma: found.sigma,
        fitted: true,
        start: site.position,
        class: site.class(),
        misfit: found.residual.powi(2) / variance,
    })
}

/// Moments of the intensity above the least one in a disc.
struct Mass {
    least: f64,
    /// Σ (I − least), [units of the image · px].
    total: f64,
    centre: Point,
    /// Second central moment along x and y [Å²], and the number of pixels.
    spread: [f64; 2],
    pixels: f64,
}

fn mass(field: &Field<'_>, at: Point, radius: f64) -> Option<Mass> {
    let [sy, sx] = field.image.sampling;
    let chords = || disc(field.image.data.dim(), [sy, sx], at, radius);
    let pixels = || {
        chords().flat_map(|(row, across)| {
            across.map(move |col| {
                let value = f64::from(field.image.data[(row, col)]);
                ([col as f64 * sx, row as f64 * sy], value)
            })
        })
    };
    let least = pixels()
        .map(|(_, value)| value)
        .fold(f64::INFINITY, f64::min);
    let total: f64 = pixels().map(|(_, value)| value - least).sum();
    let moment = |of: &dyn Fn(Point) -> f64| {
        pixels()
            .map(|(at, value)| (value - least) * of(at))
            .sum::<f64>()
            / total
    };
    let centre = [moment(&|at| at[0]), moment(&|at| at[1])];
    let spread = [0, 1].map(|k| moment(&|at| (at[k] - centre[k]).powi(2)));
    let found = total > 0.0 && spread.iter().all(|s| *s > 0.0);
    found.then(|| Mass {
        least,
        total,
        centre,
        spread,
        pixels: pixels().count() as f64,
    })
}

/// Standard deviations are those of even noise in the window: Var x = V Σ (x − centre)² / (Σ (I − least))².
fn centre_of_mass(field: &Field<'_>, site: &Site, radius: f64, variance: f64) -> Option<Column> {
    let mut mass_there = mass(field, site.position, radius)?;
    for _ in 0..ROUNDS {
        mass_there = mass(field, mass_there.centre, radius)?;
    }
    let Mass {
        least,
        total,
        centre,
        spread,
        pixels,
    } = mass_there;
    let [sy, sx] = field.image.sampling;
    let widths = spread.map(f64::sqrt);
    let height = total * sx * sy / (2.0 * std::f64::consts::PI * widths[0] * widths[1]);
    // The mean square of x over a disc is a quarter of the radius squared.
    let position = (variance * pixels * radius * radius / 4.0).sqrt() / total;
    Some(Column {
        gaussian: Gaussian::elliptic(height, centre, widths, 0.0),
        background: least,
        sigma: [
            position,
            position,
            height * (variance * pixels).sqrt() / total,
        ],
        fitted: true,
        start: site.position,
        class: site.class(),
        misfit: f64::NAN,
    })
}
