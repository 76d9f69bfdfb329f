//! Positions as other programs measure them: every column by itself, in a round window about its peak.
//!
//! * One Gaussian and a constant by unweighted least squares, as in Atomap (M. Nord et al., Adv. Struct. Chem. Imaging 3, 9 (2017)).
//! * The centre of mass of what rises above the mean of the window's rim (its darkest pixel, which other programs take, depends
//!   on the noise).
//!
//! Both take the tails of neighbours for a part of the column. Where windows follow their columns this draws them towards the
//! nearer neighbour, and displacements come out too large; where windows stay at undisplaced sites, as those of some other
//! programs do, the cut of the window holds columns back, and displacements come out too small. Which columns there are, their noise and their quality come from the joint fit, so that the methods differ
//! in positions alone. Standard deviations follow from the measured noise by propagation, H⁻¹ (Σ V g gᵀ) H⁻¹ for the Gaussian and
//! Σ V (x − x̄)² / (Σ I)² for the centre of mass; they say nothing of the pull of neighbours.

use rayon::prelude::*;

use super::field::{Column, Field};
use super::fit::Fitted;
use super::gaussian::{Gaussian, accumulate, cholesky, solve};
use super::rows::disc;
use super::settings::Method;
use super::window_fit::{FREE, Model, peak};
use crate::crystal::polarization::Point;

/// How often the window is moved to the centre found.
const RECENTRE: usize = 2;
/// Where the rim of a window begins [radius].
const RIM: f64 = 0.8;

/// A pixel of a window.
#[derive(Debug, Clone, Copy)]
struct Pixel {
    /// [Å]
    at: Point,
    value: f64,
    /// From the noise that the joint fit has measured.
    variance: f64,
}

/// The columns with positions by `method`; `radius` is that of the windows [Å].
pub(super) fn measured(
    field: &Field<'_>,
    fitted: &Fitted,
    method: Method,
    radius: f64,
) -> Vec<Column> {
    let column = |joint: &Column| match method {
        Method::Joint => *joint,
        Method::Gaussian => settled(field, fitted, joint, radius, gaussian),
        Method::CentreOfMass => settled(field, fitted, joint, radius, centre_of_mass),
    };
    fitted.columns.par_iter().map(column).collect()
}

/// A measurement repeated in a window that moves to its result.
fn settled(
    field: &Field<'_>,
    fitted: &Fitted,
    joint: &Column,
    radius: f64,
    measure: fn(&Column, &[Pixel], Point, f64) -> Option<Column>,
) -> Column {
    let mut centre = joint.start;
    let mut found = None;
    for _ in 0..=RECENTRE {
        let pixels = pixels(field, fitted, centre, radius);
        found = measure(joint, &pixels, centre, radius).filter(|column| {
            let [x, y] = column.gaussian.position;
            (x - joint.start[0]).hypot(y - joint.start[1]) <= radius
        });
        let Some(column) = &found else { break };
        centre = column.gaussian.position;
    }
    found.unwrap_or(Column {
        gaussian: Gaussian {
            position: joint.start,
            ..joint.gaussian
        },
        sigma: [f64::INFINITY; 3],
        fitted: false,
        ..*joint
    })
}

/// The usable pixels of a window.
fn pixels(field: &Field<'_>, fitted: &Fitted, centre: Point, radius: f64) -> Vec<Pixel> {
    let [sy, sx] = field.image.sampling;
    disc(field.image.data.dim(), [sy, sx], centre, radius)
        .flat_map(|(row, across)| across.map(move |col| (row, col)))
        .filter_map(|pixel| {
            let [weight, rest] = fitted.residual.at(pixel);
            let value = f64::from(field.image.data[pixel]);
            (weight > 0.0).then(|| Pixel {
                at: [pixel.1 as f64 * sx, pixel.0 as f64 * sy],
                value,
                variance: fitted.noise.variance(value - rest),
            })
        })
        .collect()
}

fn gaussian(joint: &Column, pixels: &[Pixel], centre: Point, radius: f64) -> Option<Column> {
    if pixels.len() <= FREE {
        return None;
    }
    let values: Vec<(Point, f64)> = pixels.iter().map(|p| (p.at, p.value)).collect();
    let (model, _) = peak(&values, centre, radius)?;
    let sigma = deviations(&model, pixels)?;
    Some(Column {
        gaussian: model.gaussian,
        background: model.background,
        sigma: [sigma[1], sigma[2], sigma[0]],
        fitted: true,
        ..*joint
    })
}

/// Standard deviations of the parameters of an unweighted fit.
fn deviations(model: &Model, pixels: &[Pixel]) -> Option<[f64; FREE]> {
    let mut hessian = [[0.0; FREE]; FREE];
    let slopes: Vec<[f64; FREE]> = pixels.iter().map(|p| model.slope(p.at)).collect();
    for slope in &slopes {
        accumulate(&mut hessian, slope, 1.0);
    }
    let factor = cholesky(&hessian)?;
    let mut sums = [0.0; FREE];
    for (slope, pixel) in slopes.iter().zip(pixels) {
        let influence = solve(&factor, slope);
        for (sum, x) in sums.iter_mut().zip(influence) {
            *sum += pixel.variance * x * x;
        }
    }
    Some(sums.map(f64::sqrt))
}

/// Height and shape are those of the joint fit: a centre of mass has none.
fn centre_of_mass(joint: &Column, pixels: &[Pixel], centre: Point, radius: f64) -> Option<Column> {
    let distance = |p: &Pixel| (p.at[0] - centre[0]).hypot(p.at[1] - centre[1]);
    let (sum, count) = pixels
        .iter()
        .filter(|p| distance(p) > RIM * radius)
        .fold((0.0, 0.0), |(sum, count), p| (sum + p.value, count + 1.0));
    let ground = sum / count;
    let mass: f64 = pixels.iter().map(|p| p.value - ground).sum();
    if !(mass.is_finite() && mass > 0.0) {
        return None;
    }
    let mean = |k: usize| {
        let moments = pixels.iter().map(|p| (p.value - ground) * p.at[k]);
        moments.sum::<f64>() / mass
    };
    let position = [mean(0), mean(1)];
    let sigma = |k: usize| {
        let terms = pixels
            .iter()
            .map(|p| p.variance * (p.at[k] - position[k]).powi(2));
        terms.sum::<f64>().sqrt() / mass
    };
    Some(Column {
        gaussian: Gaussian {
            position,
            ..joint.gaussian
        },
        background: ground,
        sigma: [sigma(0), sigma(1), joint.sigma[2]],
        fitted: true,
        ..*joint
    })
}
