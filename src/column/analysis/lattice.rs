//! The local lattice of each cell, from its four A columns: a, b, c/a, angle, rotation, strain; and the distances A–A and B–B.
//!
//! With the corners r₀₀, r₁₀, r₁₁, r₀₁ the local basis is a = ½(r₁₀ − r₀₀ + r₁₁ − r₀₁), b = ½(r₀₁ − r₀₀ + r₁₁ − r₁₀). The
//! deformation gradient F carries a reference basis into it, F = (a b)(a₀ b₀)⁻¹, and is parted into a rotation and a stretch,
//! F = R U with U symmetric (M. E. Gurtin, *An Introduction to Continuum Mechanics* (1981), § 2); the strain is U − 1, which for small
//! strains is the ½(∇u + ∇uᵀ) of geometric phase analysis (M. J. Hÿtch et al., Ultramicroscopy 74, 131 (1998), eq. 31) but holds for any rotation.
//! Standard deviations are those of the four columns, carried through the derivatives of each quantity.

use std::collections::HashMap;

use nalgebra::{Matrix2, Matrix4, SVector};
use serde::{Deserialize, Serialize};

use super::cells::{Cell, of_column};
use super::covariance::Covariance;
use crate::column::lattice::{Lattice, length};
use crate::column::{AtomColumn, ColumnMap};
use crate::crystal::Sublattice;
use crate::crystal::polarization::Point;
use crate::units::PM_PER_ANGSTROM;

/// Step of the derivatives [Å]: quantities are smooth on the scale of a cell, 4 Å.
const STEP: f64 = 1e-4;

/// Which lattice vector is c.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CAxis {
    /// The one nearest to the image's x: c/a = |a|/|b|.
    X,
    /// The one nearest to the image's y, as in films that grow upwards: c/a = |b|/|a|.
    #[default]
    Y,
}

/// Settings of the local lattice.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatticeSettings {
    /// Which lattice vector is c.
    pub c_axis: CAxis,
    /// Strain and rotation relative to the mean lattice of the whole map even where there is a reference region.
    pub relative_to_whole: bool,
}

/// A number and its standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// Its standard deviation; NaN where it is not known.
    pub sigma: f64,
}

/// The lattice of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalLattice {
    /// Lattice vector nearest to x [Å].
    pub a: Point,
    /// Lattice vector nearest to y [Å].
    pub b: Point,
    /// Length of `a` [Å].
    pub a_length: Measured,
    /// Length of `b` [Å].
    pub b_length: Measured,
    /// Angle between `a` and `b` [degrees].
    pub angle: Measured,
    /// Length of c over that of a.
    pub c_over_a: Measured,
    /// Rotation against the reference lattice, from x towards y (clockwise on screen) [mrad].
    pub rotation: Measured,
    /// Strain along x.
    pub strain_xx: Measured,
    /// Strain along y.
    pub strain_yy: Measured,
    /// Shear strain, half the change of the angle between x and y.
    pub strain_xy: Measured,
}

/// Quantities of a basis `[ax, ay, bx, by]`, in the order of the fields of [`LocalLattice`].
fn quantities(basis: [f64; 4], inverse: &Matrix2<f64>, c_axis: CAxis) -> SVector<f64, 8> {
    let [ax, ay, bx, by] = basis;
    let (a, b) = (ax.hypot(ay), bx.hypot(by));
    let angle = (ax * by - ay * bx).atan2(ax * bx + ay * by).to_degrees();
    let gradient = Matrix2::new(ax, bx, ay, by) * inverse;
    let (f, g) = (
        gradient[(0, 0)] + gradient[(1, 1)],
        gradient[(1, 0)] - gradient[(0, 1)],
    );
    let rotation = g.atan2(f);
    let (sin, cos) = rotation.sin_cos();
    let stretch = Matrix2::new(cos, sin, -sin, cos) * gradient;
    let c_over_a = match c_axis {
        CAxis::X => a / b,
        CAxis::Y => b / a,
    };
    SVector::from([
        a,
        b,
        angle,
        c_over_a,
        1000.0 * rotation,
        stretch[(0, 0)] - 1.0,
        stretch[(1, 1)] - 1.0,
        0.5 * (stretch[(0, 1)] + stretch[(1, 0)]),
    ])
}

/// The local basis `[ax, ay, bx, by]` [Å] and its covariance [Å²].
fn basis(corners: [&AtomColumn; 4]) -> ([f64; 4], Matrix4<f64>) {
    // Signs of the corners (0, 0), (1, 0), (1, 1), (0, 1) in a and b.
    let (in_a, in_b) = ([-0.5, 0.5, 0.5, -0.5], [-0.5, -0.5, 0.5, 0.5]);
    let sum = |signs: [f64; 4], axis: usize| -> f64 {
        let terms = signs.iter().zip(corners);
        terms.map(|(sign, c)| sign * c.position[axis]).sum()
    };
    let spread = |weights: [f64; 4]| {
        let terms = weights.iter().zip(corners);
        let sum = terms.fold(Covariance::default(), |sum, (w, column)| {
            sum.plus(of_column(column).scaled(*w))
        });
        sum.scaled(PM_PER_ANGSTROM.powi(-2)).matrix()
    };
    let (own, cross) = (spread([0.25; 4]), spread([0.25, -0.25, 0.25, -0.25]));
    let mut covariance = Matrix4::zeros();
    covariance.fixed_view_mut::<2, 2>(0, 0).copy_from(&own);
    covariance.fixed_view_mut::<2, 2>(2, 2).copy_from(&own);
    covariance.fixed_view_mut::<2, 2>(0, 2).copy_from(&cross);
    covariance.fixed_view_mut::<2, 2>(2, 0).copy_from(&cross);
    let basis = [sum(in_a, 0), sum(in_a, 1), sum(in_b, 0), sum(in_b, 1)];
    (basis, covariance)
}

/// The lattice of a cell; strain and rotation against `reference`.
pub(super) fn local(
    map: &ColumnMap,
    cell: &Cell,
    reference: &Lattice,
    c_axis: CAxis,
) -> LocalLattice {
    let frame = Matrix2::new(
        reference.a[0],
        reference.b[0],
        reference.a[1],
        reference.b[1],
    );
    let inverse = frame
        .try_inverse()
        .unwrap_or_else(|| Matrix2::repeat(f64::NAN));
    let (basis, covariance) = basis(cell.a.map(|corner| &map.columns[corner]));
    let at = |basis| quantities(basis, &inverse, c_axis);
    let values = at(basis);
    let mut jacobian = nalgebra::SMatrix::<f64, 8, 4>::zeros();
    for k in 0..4 {
        let (mut up, mut down) = (basis, basis);
        up[k] += STEP;
        down[k] -= STEP;
        jacobian.set_column(k, &((at(up) - at(down)) / (2.0 * STEP)));
    }
    let variance = (jacobian * covariance * jacobian.transpose()).diagonal();
    let quantity = |k: usize| Measured {
        value: values[k],
        sigma: known(variance[k]),
    };
    LocalLattice {
        a: [basis[0], basis[1]],
        b: [basis[2], basis[3]],
        a_length: quantity(0),
        b_length: quantity(1),
        angle: quantity(2),
        c_over_a: quantity(3),
        rotation: quantity(4),
        strain_xx: quantity(5),
        strain_yy: quantity(6),
        strain_xy: quantity(7),
    }
}

/// A standard deviation, NaN where the variance is not that of a measurement.
fn known(variance: f64) -> f64 {
    if variance.is_finite() && variance > 0.0 {
        variance.sqrt()
    } else {
        f64::NAN
    }
}

/// Two neighbouring columns of one sublattice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// A–A or B–B.
    pub sublattice: Sublattice,
    /// Whether it runs along the lattice vector nearest to x (`true`) or to y.
    pub along_a: bool,
    /// Half-way between the two [Å].
    pub middle: Point,
    /// From one to the other [Å].
    pub length: Measured,
    /// Flags of both columns together.
    pub flags: u32,
}

/// All distances between nearest neighbours of the A and of the B sublattice.
pub(super) fn distances(map: &ColumnMap) -> Vec<Distance> {
    let at: HashMap<(Sublattice, [i32; 2]), &AtomColumn> = map
        .columns
        .iter()
        .map(|column| ((column.sublattice, column.index), column))
        .collect();
    let mut all = Vec::new();
    for column in &map.columns {
        for (along_a, step) in [(true, [1, 0]), (false, [0, 1])] {
            let index = [column.index[0] + step[0], column.index[1] + step[1]];
            if let Some(other) = at.get(&(column.sublattice, index)) {
                all.push(distance(column, other, along_a));
            }
        }
    }
    all
}

fn distance(one: &AtomColumn, other: &AtomColumn, along_a: bool) -> Distance {
    let arm = [0, 1].map(|k| other.position[k] - one.position[k]);
    let long = length(arm);
    let both = of_column(one).plus(of_column(other));
    let variance = both.along(arm.map(|x| x / long)) / PM_PER_ANGSTROM.powi(2);
    Distance {
        sublattice: one.sublattice,
        along_a,
        middle: [0, 1].map(|k| 0.5 * (one.position[k] + other.position[k])),
        length: Measured {
            value: long,
            sigma: known(variance),
        },
        flags: one.flags | other.flags,
    }
}
