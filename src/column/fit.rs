//! All columns at once, by maximum likelihood: Gauss–Newton steps for every column, the typical shapes and the background
//! together, with weights from the model's own noise.
//!
//! Neighbouring columns overlap, and a fit that ignores it is drawn towards the tails of its neighbours: measured
//! displacements shrink. With weights 1/V(m) and a variance proportional to the model, each step is Fisher's scoring of
//! the Poisson likelihood; with an offset or readout noise it is that of the quasi-likelihood (R. W. M. Wedderburn,
//! Biometrika 61, 439 (1974)), which needs no more than the measured V(m).
//!
//! How much columns of a sublattice differ in shape is measured along the way: the spread is the mean square of the
//! deviations plus their posterior variance (the EM step of empirical Bayes). Where the dose is too low to tell shapes
//! apart they are shared, which is what keeps positions at the Cramér–Rao bound there.

use rayon::prelude::*;

use super::background::Background;
use super::field::{Column, Field, Residual};
use super::find::Found;
use super::gaussian::{Gaussian, Matrix, PARAMETERS, Vector};
use super::joint::{System, Typical};
use super::lattice::length;
use super::noise::{self, Noise};
use super::normal::{self, Normal};
use super::settings::{ColumnSettings, Weighting};
use crate::progress::Reporter;

/// Width that the first fits start from [pitch]; 0.5 Å in BiFeO₃.
const START_WIDTH: f64 = 0.125;
/// Farthest that a fit may move from its start [pitch].
const MAX_SHIFT: f64 = 0.3;
/// Widths that a column can have [pitch].
const WIDTHS: std::ops::RangeInclusive<f64> = 0.03..=0.4;
/// Widths that a column can have, over the typical one of its sublattice.
const RELATIVE_WIDTHS: std::ops::RangeInclusive<f64> = 0.5..=2.0;
/// Spread of 1/width² among the columns of a sublattice, over its mean: to start with, at least, at most.
const SPREAD: [f64; 3] = [0.1, 0.01, 0.5];
/// Steps in which all columns of a sublattice keep one shape: until it is known roughly, where columns overlap one could
/// swallow its neighbours.
const ALIKE_STEPS: usize = 3;
/// Longest step of a position [width], least height after a step [height before], largest step of 1/width² [itself].
const LONGEST: [f64; 3] = [0.5, 0.2, 0.45];
/// Width beyond which tails fill the cell [pitch]. There only all columns together tell a background from tails, and a
/// shape from that of its neighbours: columns of a sublattice then keep one shape, and the background bends less.
const BROAD: f64 = 0.185;
/// Width that no typical shape exceeds [pitch]: wider ones, on a lower background, fit the tails of real columns (which are no
/// Gaussians) ever better, and displacements grow with them without end.
const BROADEST: f64 = 0.26;
/// Distance of the background's nodes there, over that of the settings.
const COARSER: f64 = 4.0;
/// Steps before the fit may be finished.
const LEAST_STEPS: usize = 4;
/// Root mean square step of the positions at which it is finished [standard deviations].
const STANDSTILL: f64 = 0.02;
/// Part of a step to which its equations are solved; the next step makes up for the rest.
const PRECISION: f64 = 0.01;
/// The same as a length, which is never taken for running away [pitch].
const STANDSTILL_LENGTH: f64 = 1e-4;
/// A step so many times longer than the shortest one before leads away: it is taken back, and the fit ends.
const RUNAWAY: f64 = 4.0;
/// Next term of the variance of a position, s² (1 + 3 s²/σ²), at low dose: where the maximum of a likelihood is, is no longer
/// linear in the noise, which adds s²/σ² times the square of the shape's second derivative beside that of its first, 3/2,
/// and the height found there is too high and scatters, which makes s too small by as much again (after E. Naftali and
/// N. C. Makris, J. Acoust. Soc. Am. 110, 1917 (2001)). This is for even noise; for counts without background there is no
/// such term, and columns on a background are nearer to the former.
const SECOND_ORDER: f64 = 3.0;
/// Standard deviation of a position that no pixels tell of [pitch].
const LOST: f64 = 10.0;

/// What the fit of all sites ends with.
pub(super) struct Fitted {
    /// In the order of the sites.
    pub(super) columns: Vec<Column>,
    pub(super) noise: Noise,
    /// What the model leaves of the image.
    pub(super) residual: Residual,
}

/// Fits all sites; the result keeps their order.
pub(super) fn fit_all(
    field: &Field<'_>,
    found: &Found,
    settings: &ColumnSettings,
    reporter: &Reporter,
) -> Fitted {
    let pitch = field.pitch;
    let mut fit = Fit::start(field, found, settings);
    let bar = reporter.bar("fitting columns", settings.sweeps as u64);
    let mut residual = Residual::empty(field.image.data.dim());
    let mut least = f64::INFINITY;
    for sweep in 0..settings.sweeps {
        let before = fit.state.clone();
        let moved = fit.sweep(sweep, &mut residual);
        // In lengths: as the misfit goes, so does the noise measured from it, and standard deviations shrink under a step.
        let limit = RUNAWAY * least.max(STANDSTILL_LENGTH * pitch);
        if sweep >= LEAST_STEPS && moved.length > limit {
            fit.state = before;
            break;
        }
        least = least.min(moved.length);
        bar.inc(1);
        if sweep + 1 >= LEAST_STEPS && moved.deviations < STANDSTILL {
            break;
        }
    }
    bar.finish_and_clear();
    fit.finished(residual)
}

/// The state of the fit.
struct Fit<'a> {
    field: &'a Field<'a>,
    settings: &'a ColumnSettings,
    noise: Noise,
    /// Whether tails fill the cell.
    broad: bool,
    state: State,
}

/// Root mean square step of the positions.
struct Moved {
    /// In standard deviations.
    deviations: f64,
    /// [Å]
    length: f64,
}

/// What a step changes.
#[derive(Clone)]
struct State {
    columns: Vec<Column>,
    typical: [Typical; 2],
    background: Background,
}

impl<'a> Fit<'a> {
    /// Round columns on the background, as high as the smoothed image there.
    fn start(field: &'a Field<'a>, found: &Found, settings: &'a ColumnSettings) -> Self {
        let background = Background::dark_places(field, &found.seen, settings.background_spacing);
        let columns = found.sites.iter().map(|site| {
            let pixel = field.nearest(site.position);
            let under = background.at(pixel);
            let height = (f64::from(found.seen[pixel]) - under).max(0.0);
            Column {
                gaussian: Gaussian::round(height, site.position, START_WIDTH * field.pitch),
                background: under,
                sigma: [f64::INFINITY; 3],
                fitted: true,
                start: site.position,
                class: site.class(),
            }
        });
        let round = (START_WIDTH * field.pitch).powi(-2);
        let typical = Typical {
            form: [round, 0.0, round],
            variance: (SPREAD[1] * round).powi(2),
        };
        Self {
            field,
            settings,
            noise: Noise::first(field),
            broad: false,
            state: State {
                columns: columns.collect(),
                typical: [typical; 2],
                background,
            },
        }
    }

    /// Writes what the model leaves, with its weights.
    fn leave(&self, residual: &mut Residual) {
        let (field, state, noise) = (self.field, &self.state, self.noise);
        let noise = match self.settings.weighting {
            Weighting::Noise => noise,
            Weighting::Uniform => {
                let heights: f64 = state.columns.iter().map(|c| c.gaussian.height).sum();
                let half = 0.5 * heights / state.columns.len().max(1) as f64;
                noise.level(state.background.at((0, 0)) + half)
            }
        };
        field.leave(&state.columns, &state.background, noise, residual);
    }

    /// One step of everything; how far the positions moved. The first residual still
    /// holds what is wrong with the start, and says nothing of the noise.
    fn sweep(&mut self, sweep: usize, residual: &mut Residual) -> Moved {
        self.leave(residual);
        let residual = &*residual;
        let normal = Normal::at(self.field, &self.state.columns, residual);
        let ground = self.state.background.equations(self.field, residual);
        let places = self
            .state
            .columns
            .par_iter()
            .map(|c| self.state.background.place(self.field, c.gaussian.position));
        let classes: Vec<usize> = self.state.columns.iter().map(|c| c.class).collect();
        let least = (LOST * self.field.pitch).powi(-2);
        let system = System::new(
            &normal,
            &ground,
            places.collect(),
            &classes,
            &self.state.typical,
            least,
        );
        let step = system.step(&self.deviations(), PRECISION);
        let covariances = system.covariances();
        if sweep > 0 {
            let radius = self.settings.window * self.field.pitch;
            let noise = noise::measure(
                self.field,
                &self.state.columns,
                &covariances,
                residual,
                radius,
            );
            self.noise = noise.unwrap_or(self.noise);
        }
        let part = self.part(step.forms);
        let step = step.scaled(part);
        self.state.background.add(&step.background);
        for (typical, change) in self.state.typical.iter_mut().zip(&step.forms) {
            typical.form = std::array::from_fn(|k| typical.form[k] + change[k]);
            let width = mean_width(typical.form);
            let part = width.map_or(1.0, |w| (w / (BROADEST * self.field.pitch)).max(1.0));
            typical.form = typical.form.map(|entry| entry * part * part);
        }
        let moved = self.apply(&step.columns, step.forms, &covariances, residual);
        if sweep + 1 == ALIKE_STEPS {
            self.widen();
        }
        self.spread(&covariances, sweep);
        moved
    }

    /// Notes whether columns are broad, and what follows.
    fn widen(&mut self) {
        let wide = self.state.typical.iter();
        let wide = wide.filter_map(|typical| mean_width(typical.form));
        self.broad = wide.fold(0.0, f64::max) > BROAD * self.field.pitch;
        if self.broad {
            let spacing = COARSER * self.settings.background_spacing;
            self.state.background = self.state.background.coarser(self.field, spacing);
        }
    }

    /// Deviations of the columns' forms from the typical ones.
    fn deviations(&self) -> Vec<[f64; 3]> {
        let columns = self.state.columns.iter();
        columns
            .map(|c| {
                std::array::from_fn(|k| c.gaussian.form[k] - self.state.typical[c.class].form[k])
            })
            .collect()
    }

    /// How much of the step of everything can be taken: no typical form may change by more than its bound.
    fn part(&self, changes: [[f64; 3]; 2]) -> f64 {
        (0..2)
            .map(|class| allowed(self.state.typical[class].form, changes[class]))
            .fold(1.0, f64::min)
    }

    /// Moves the columns and notes their standard deviations.
    fn apply(
        &mut self,
        steps: &[Vector],
        changes: [[f64; 3]; 2],
        covariances: &[Matrix],
        residual: &Residual,
    ) -> Moved {
        let spread = match self.settings.weighting {
            Weighting::Noise => None,
            Weighting::Uniform => Some(residual.spread(&self.field.image.data, self.noise)),
        };
        let (field, typical, background) =
            (self.field, &self.state.typical, &self.state.background);
        let squares: Vec<[f64; 2]> = self
            .state
            .columns
            .par_iter_mut()
            .zip(steps)
            .zip(covariances)
            .map(|((column, step), covariance)| {
                let covariance = match &spread {
                    None => *covariance,
                    Some(spread) => {
                        let middle = normal::block(field, &column.gaussian, spread).hessian;
                        product(&product(covariance, &middle), covariance)
                    }
                };
                column.sigma = [1, 2, 0].map(|k: usize| covariance[k][k].max(0.0).sqrt());
                let shared = changes[column.class];
                let step =
                    std::array::from_fn(|k| step[k] + if k < 3 { 0.0 } else { shared[k - 3] });
                let shift = move_column(column, &step, typical[column.class].form, field.pitch);
                column.background = background.at(field.nearest(column.gaussian.position));
                let counts = f64::from(u8::from(column.fitted));
                let deviations = shift / column.sigma[0].max(column.sigma[1]);
                [deviations, shift].map(|length| counts * length * length)
            })
            .collect();
        let count = squares.len().max(1) as f64;
        let [deviations, length] =
            [0, 1].map(|k| (squares.iter().map(|s| s[k]).sum::<f64>() / count).sqrt());
        Moved { deviations, length }
    }

    /// The spread of the forms of either sublattice.
    fn spread(&mut self, covariances: &[Matrix], sweep: usize) {
        for class in 0..2 {
            let typical = &mut self.state.typical[class];
            let (mut sum, mut count) = (0.0, 0.0);
            let members = self.state.columns.iter().zip(covariances);
            for (column, covariance) in members.filter(|(c, _)| c.class == class && c.fitted) {
                for k in 0..3 {
                    let deviation = column.gaussian.form[k] - typical.form[k];
                    sum += deviation * deviation + covariance[3 + k][3 + k];
                    count += 1.0;
                }
            }
            let mean = 0.5 * (typical.form[0] + typical.form[2]);
            let [start, least, most] = SPREAD.map(|spread| (spread * mean).powi(2));
            typical.variance = match sweep + 1 {
                0..ALIKE_STEPS => least,
                _ if self.broad => least,
                ALIKE_STEPS => start,
                _ => (sum / f64::max(count, 1.0)).clamp(least, most),
            };
        }
    }

    /// The columns, with those that no fit holds back at their start.
    fn finished(mut self, mut residual: Residual) -> Fitted {
        self.leave(&mut residual);
        for column in &mut self.state.columns {
            let typical = self.state.typical[column.class].form;
            column.fitted = column.gaussian.height > 0.0
                && is_near(column, self.field.pitch)
                && is_possible(&column.gaussian, typical, self.field.pitch);
            let [p, _, s] = column.gaussian.form;
            for (sigma, inverse) in column.sigma.iter_mut().zip([p, s]) {
                *sigma *= (1.0 + SECOND_ORDER * *sigma * *sigma * inverse).sqrt();
            }
            if !column.fitted {
                column.gaussian.position = column.start;
                column.sigma = [f64::INFINITY; 3];
            }
        }
        Fitted {
            columns: self.state.columns,
            noise: self.noise,
            residual,
        }
    }
}

/// Geometric mean of the principal standard deviations of a form [Å]; `None` where it is no ellipse.
fn mean_width(form: [f64; 3]) -> Option<f64> {
    let shape = Gaussian {
        height: 1.0,
        position: [0.0; 2],
        form,
    };
    shape.widths().map(|(w, _)| (w[0] * w[1]).sqrt())
}

/// The part of a change that a form may take in one step.
fn allowed(form: [f64; 3], change: [f64; 3]) -> f64 {
    let mean = 0.5 * (form[0] + form[2]);
    let longest = change.iter().fold(0.0_f64, |most, c| most.max(c.abs()));
    (LONGEST[2] * mean / longest.max(f64::MIN_POSITIVE)).min(1.0)
}

/// Moves a column by a bounded step; the length of the shift [Å]. One that leaves its site starts again with the typical form.
fn move_column(column: &mut Column, step: &Vector, typical: [f64; 3], pitch: f64) -> f64 {
    let gaussian = &mut column.gaussian;
    let width = gaussian.widths().map_or(0.0, |(w, _)| w[0].min(w[1]));
    let shift = [step[1], step[2]];
    let part = (LONGEST[0] * width / length(shift).max(f64::MIN_POSITIVE)).min(1.0);
    for (coordinate, shift) in gaussian.position.iter_mut().zip(shift) {
        *coordinate += part * shift;
    }
    gaussian.height = (gaussian.height + step[0]).max(LONGEST[1] * gaussian.height);
    let change = [step[3], step[4], step[5]];
    let part_of_form = allowed(gaussian.form, change);
    gaussian.form = std::array::from_fn(|k| gaussian.form[k] + part_of_form * change[k]);
    if !is_possible(gaussian, typical, pitch) {
        gaussian.form = typical;
    }
    column.fitted = is_near(column, pitch);
    if !column.fitted {
        column.gaussian.position = column.start;
    }
    part * length(shift)
}

fn is_near(column: &Column, pitch: f64) -> bool {
    let at = column.gaussian.position;
    length([at[0] - column.start[0], at[1] - column.start[1]]) <= MAX_SHIFT * pitch
}

/// Whether a column can have this form, given the typical one.
fn is_possible(gaussian: &Gaussian, typical: [f64; 3], pitch: f64) -> bool {
    let Some((widths, _)) = gaussian.widths() else {
        return false;
    };
    let mean = mean_width(typical).unwrap_or(pitch);
    widths
        .iter()
        .all(|w| WIDTHS.contains(&(w / pitch)) && RELATIVE_WIDTHS.contains(&(w / mean)))
}

fn product(left: &Matrix, right: &Matrix) -> Matrix {
    left.map(|row| std::array::from_fn(|l| (0..PARAMETERS).map(|k| row[k] * right[k][l]).sum()))
}
