//! The profile of D across a wall: D(ξ) = M + H tanh((ξ − ξ₀)/w).
//!
//! This is the wall of a double-well free energy (L. D. Landau and E. M. Lifshitz; A. K. Tagantsev et al., *Domains in Ferroic Crystals and Thin Films*
//! (2010), eq. 6.2.14), w its half width, M − H and M + H the plateaus. ξ is the distance along the normal, whose
//! direction is fitted too: a wall that is taken askew looks wide. The seven parameters are those of least
//! χ² = (D − D(ξ))ᵀ V⁻¹ (D − D(ξ)) over both components of all cells, by Levenberg and Marquardt's method; V holds the covariance of each cell and that between cells
//! that share A columns. Their standard deviations are those of (JᵀV⁻¹J)⁻¹, enlarged by √(χ²/ν) where χ² is less likely than 1 %.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn, SMatrix, SVector};

use super::cells::{Cell, shared};
use super::covariance::Covariance;
use super::lattice::Measured;
use crate::column::ColumnMap;
use crate::crystal::polarization::Point;

/// Parameters: ξ₀ [Å], w [Å], angle of the normal [rad], M [pm], H [pm].
const PARAMETERS: usize = 7;
/// Most steps of the fit.
const STEPS: usize = 60;
/// Relative change of χ² at which the fit ends.
const CONVERGED: f64 = 1e-10;
/// First half widths that are tried [pitch].
const FIRST_WIDTHS: [f64; 3] = [0.5, 1.2, 3.0];
/// Narrowest half width that a lattice of cells can show [pitch].
const NARROWEST: f64 = 0.3;
/// 99th percentile of the normal distribution.
const UNLIKELY: f64 = 2.326_347_874;

/// Quality bits of a profile; 0 means nothing to report.
pub mod profile_flags {
    /// The fit did not converge.
    pub const NOT_CONVERGED: u32 = 1;
    /// The wall is narrower than the lattice can show, or as narrow as its error: its half width is an upper bound, `half_width` + 2σ.
    pub const UNRESOLVED: u32 = 2;
    /// The cells scatter more than their standard deviations say: those of the profile are enlarged.
    pub const EXCESS_SCATTER: u32 = 4;
}

/// A wall's profile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// A point of the wall, in the middle of the segment [Å].
    pub centre: Point,
    /// Unit normal, from the first domain to the second.
    pub normal: Point,
    /// Standard deviation of `centre` along the normal [Å].
    pub position_sigma: f64,
    /// Standard deviation of the direction of the normal [degrees].
    pub angle_sigma: f64,
    /// w in tanh(ξ/w) [Å].
    pub half_width: Measured,
    /// D far to both sides [pm].
    pub plateaus: [[f64; 2]; 2],
    /// Their covariances [pm²].
    pub plateau_covariances: [Covariance; 2],
    /// Change of D along the normal, second minus first [pm]; bound charge is its opposite times κ.
    pub normal_jump: Measured,
    /// χ² of the fit; NaN where no standard deviations are known.
    pub chi_square: f64,
    /// Number of components less the number of parameters.
    pub freedom: usize,
    /// Number of cells.
    pub cells: usize,
    /// Sum of the bits in [`profile_flags`].
    pub flags: u32,
}

impl Profile {
    /// Angle between the plateaus [degrees], 0 to 180.
    #[must_use]
    pub fn turn_degrees(&self) -> f64 {
        let [[px, py], [qx, qy]] = self.plateaus;
        (px * qy - py * qx)
            .atan2(px * qx + py * qy)
            .abs()
            .to_degrees()
    }
}

/// The data of a fit, seen from a wall's frame.
struct Data {
    /// Positions of the cells relative to the centre, along the first normal and the first tangent [Å].
    places: Vec<[f64; 2]>,
    /// L⁻¹ D with V = L Lᵀ.
    whitened: DVector<f64>,
    factor: Cholesky<f64, Dyn>,
    /// Whether V is that of known standard deviations.
    known: bool,
}

type Parameters = SVector<f64, PARAMETERS>;

impl Data {
    fn new(map: &ColumnMap, cells: &[&Cell], centre: Point, [nx, ny]: Point) -> Option<Self> {
        let known = cells.iter().all(|cell| cell.covariance.is_known());
        let count = cells.len();
        let mut covariance = DMatrix::identity(2 * count, 2 * count);
        if known {
            for (row, one) in cells.iter().enumerate() {
                for (col, other) in cells.iter().enumerate().take(row + 1) {
                    let block = if row == col {
                        one.covariance
                    } else {
                        shared(map, one, other)
                    };
                    let block = block.matrix();
                    covariance
                        .fixed_view_mut::<2, 2>(2 * row, 2 * col)
                        .copy_from(&block);
                    covariance
                        .fixed_view_mut::<2, 2>(2 * col, 2 * row)
                        .copy_from(&block);
                }
            }
        }
        let factor = Cholesky::new(covariance)?;
        let values = cells.iter().flat_map(|cell| cell.displacement);
        let values = DVector::from_iterator(2 * count, values);
        let places = cells.iter().map(|cell| {
            let [x, y] = [0, 1].map(|k| cell.centre[k] - centre[k]);
            [x * nx + y * ny, x * ny - y * nx]
        });
        Some(Self {
            places: places.collect(),
            whitened: factor.l_dirty().solve_lower_triangular(&values)?,
            factor,
            known,
        })
    }

    /// Whitened residual and derivatives.
    fn linearized(&self, p: &Parameters) -> Option<(DVector<f64>, DMatrix<f64>)> {
        let count = self.places.len();
        let (sin, cos) = p[2].sin_cos();
        let mut model = DVector::zeros(2 * count);
        let mut slopes = DMatrix::zeros(2 * count, PARAMETERS);
        for (cell, [across, along]) in self.places.iter().enumerate() {
            // A positive angle turns the normal towards the tangent.
            let xi = cos * across + sin * along - p[0];
            let turned = -sin * across + cos * along;
            let shape = (xi / p[1]).tanh();
            let slope = 1.0 - shape * shape;
            for k in 0..2 {
                let (row, half) = (2 * cell + k, p[5 + k]);
                model[row] = p[3 + k] + half * shape;
                slopes[(row, 0)] = -half * slope / p[1];
                slopes[(row, 1)] = -half * slope * xi / (p[1] * p[1]);
                slopes[(row, 2)] = half * slope * turned / p[1];
                slopes[(row, 3 + k)] = 1.0;
                slopes[(row, 5 + k)] = shape;
            }
        }
        let factor = self.factor.l_dirty();
        let residual = &self.whitened - factor.solve_lower_triangular(&model)?;
        Some((residual, factor.solve_lower_triangular(&slopes)?))
    }
}

/// Parameters, their covariance, χ², and whether the fit converged.
struct Fitted {
    parameters: Parameters,
    covariance: SMatrix<f64, PARAMETERS, PARAMETERS>,
    chi_square: f64,
    converged: bool,
}

/// Levenberg and Marquardt's method (D. W. Marquardt, J. SIAM 11, 431 (1963)), the half width within its bounds.
fn descend(data: &Data, start: Parameters, widths: [f64; 2]) -> Option<Fitted> {
    let mut parameters = start;
    let (mut residual, mut slopes) = data.linearized(&parameters)?;
    let mut chi_square = residual.norm_squared();
    let mut damping = 1e-3;
    let mut converged = false;
    for _ in 0..STEPS {
        let normal = slopes.transpose() * &slopes;
        let mut damped = normal.clone();
        for k in 0..PARAMETERS {
            damped[(k, k)] += damping * normal[(k, k)].max(1e-12);
        }
        let step = Cholesky::new(damped)?.solve(&(slopes.transpose() * &residual));
        let mut next = parameters;
        for k in 0..PARAMETERS {
            next[k] += step[k];
        }
        next[1] = next[1].clamp(widths[0], widths[1]);
        let (new_residual, new_slopes) = data.linearized(&next)?;
        let new = new_residual.norm_squared();
        if new <= chi_square {
            converged = chi_square - new <= CONVERGED * chi_square;
            (parameters, residual, slopes, chi_square) = (next, new_residual, new_slopes, new);
            damping = (0.2 * damping).max(1e-12);
        } else {
            damping *= 8.0;
            converged = damping > 1e12;
        }
        if converged {
            break;
        }
    }
    let normal = slopes.transpose() * &slopes;
    let inverse = Cholesky::new(normal)?.inverse();
    Some(Fitted {
        parameters,
        covariance: SMatrix::from_fn(|r, c| inverse[(r, c)]),
        chi_square,
        converged,
    })
}

/// Fits a profile to cells around a point of a wall; `start` are the plateaus of the two domains [pm]. `None` for too few cells.
pub(super) fn fit(
    map: &ColumnMap,
    cells: &[&Cell],
    centre: Point,
    normal: Point,
    start: [[f64; 2]; 2],
    pitch: f64,
) -> Option<Profile> {
    let freedom = (2 * cells.len())
        .checked_sub(PARAMETERS)
        .filter(|f| *f > 0)?;
    let data = Data::new(map, cells, centre, normal)?;
    let [p, q] = start;
    let middle = [0, 1].map(|k| 0.5 * (p[k] + q[k]));
    let half = [0, 1].map(|k| 0.5 * (q[k] - p[k]));
    let reach = data
        .places
        .iter()
        .map(|place| place[0].abs())
        .fold(pitch, f64::max);
    let widths = [NARROWEST * pitch, reach];
    let fitted = FIRST_WIDTHS
        .iter()
        .filter_map(|width| {
            let first = (width * pitch).min(reach);
            let start = [0.0, first, 0.0, middle[0], middle[1], half[0], half[1]];
            descend(&data, Parameters::from(start), widths)
        })
        .min_by(|p, q| p.chi_square.total_cmp(&q.chi_square))?;
    Some(told(&data, &fitted, freedom, [centre, normal], widths[0]))
}

/// The profile of fitted parameters.
fn told(
    data: &Data,
    fitted: &Fitted,
    freedom: usize,
    [centre, normal]: [Point; 2],
    narrowest: f64,
) -> Profile {
    let ratio = fitted.chi_square / freedom as f64;
    // χ²/ν has the standard deviation √(2/ν).
    let is_excess = ratio > 1.0 + UNLIKELY * (2.0 / freedom as f64).sqrt();
    let scale = if is_excess || !data.known { ratio } else { 1.0 };
    let p = &fitted.parameters;
    let covariance = fitted.covariance * scale;
    let sigma = |k: usize| covariance[(k, k)].sqrt();
    let tangent = [normal[1], -normal[0]];
    let (sin, cos) = p[2].sin_cos();
    let turned = [0, 1].map(|k| cos * normal[k] + sin * tangent[k]);
    let plateau = |side: f64, k: usize| p[3 + k] + side * p[5 + k];
    let spread = |side: f64| {
        let entry = |i: usize, j: usize| {
            covariance[(3 + i, 3 + j)]
                + side * (covariance[(3 + i, 5 + j)] + covariance[(5 + i, 3 + j)])
                + covariance[(5 + i, 5 + j)]
        };
        Covariance {
            xx: entry(0, 0),
            xy: entry(0, 1),
            yy: entry(1, 1),
        }
    };
    let halves = Covariance {
        xx: covariance[(5, 5)],
        xy: covariance[(5, 6)],
        yy: covariance[(6, 6)],
    };
    let unresolved = p[1] <= narrowest || sigma(1) >= p[1];
    Profile {
        centre: [0, 1].map(|k| centre[k] + p[0] * turned[k]),
        normal: turned,
        position_sigma: sigma(0),
        angle_sigma: sigma(2).to_degrees(),
        half_width: Measured {
            value: p[1],
            sigma: sigma(1),
        },
        plateaus: [-1.0, 1.0].map(|side| [plateau(side, 0), plateau(side, 1)]),
        plateau_covariances: [spread(-1.0), spread(1.0)],
        normal_jump: Measured {
            value: 2.0 * (p[5] * turned[0] + p[6] * turned[1]),
            sigma: 2.0 * halves.along(turned).sqrt(),
        },
        chi_square: if data.known {
            fitted.chi_square
        } else {
            f64::NAN
        },
        freedom,
        cells: data.places.len(),
        flags: if fitted.converged {
            0
        } else {
            profile_flags::NOT_CONVERGED
        } | if unresolved {
            profile_flags::UNRESOLVED
        } else {
            0
        } | if is_excess && data.known {
            profile_flags::EXCESS_SCATTER
        } else {
            0
        },
    }
}
