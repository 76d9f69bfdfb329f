//! Domains: connected cells whose D points the same way.
//!
//! 1. D is averaged over the neighbourhood of each cell, with weights exp(−r²/2s²) over r cells, so that noise does not break
//!    domains apart. The covariance of this average counts every column once.
//! 2. Cells whose average differs from zero at the level of the significance mask get the direction, of k evenly spread ones,
//!    that is nearest to it; the others, such as the middle of walls, belong to none.
//! 3. Cells of one direction that touch along `a` or `b` are a domain if they are enough.
//!
//! Directions are counted from the lattice vector `a` towards `b`. Where the first one is not given it is `a` itself or
//! half-way to the next one, whichever is nearer to the phase of Σ |D| exp(i k θ): along the axes as in tetragonal crystals, or along the diagonals of the
//! cell as in rhombohedral ones. Only the profile fits of [`super::walls`] measure where a domain ends; this map is a start for them.

use std::collections::HashMap;
use std::f64::consts::{PI, TAU};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cells::{Cell, Weights, is_sound};
use super::covariance::Covariance;
use super::significance::probability;
use crate::column::ColumnMap;
use crate::column::lattice::Lattice;
use crate::crystal::polarization::Point;
use crate::error::Result;

/// The neighbourhood ends at this many widths of its weights.
const REACH: f64 = 2.0;

/// Settings of the segmentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DomainSettings {
    /// Number of evenly spread directions.
    pub directions: usize,
    /// The first direction, from the lattice vector `a` towards `b` [degrees]; found if left out.
    pub first_direction_degrees: Option<f64>,
    /// Width s of the neighbourhood over which D is averaged [cells]; 0 for none.
    pub smoothing_cells: f64,
    /// Fewest cells of a domain.
    pub minimum_cells: usize,
}

impl Default for DomainSettings {
    fn default() -> Self {
        Self {
            directions: 4,
            first_direction_degrees: None,
            smoothing_cells: 1.0,
            minimum_cells: 12,
        }
    }
}

impl DomainSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The key, the value and the range.
    pub fn validate(&self) -> Result<()> {
        super::settings::in_range(
            "domains",
            &[
                ("directions", self.directions as f64, 2.0, 64.0),
                ("smoothing_cells", self.smoothing_cells, 0.0, 10.0),
                ("minimum_cells", self.minimum_cells as f64, 1.0, 1e9),
                (
                    "first_direction_degrees",
                    self.first_direction_degrees.unwrap_or(0.0),
                    -360.0,
                    360.0,
                ),
            ],
        )
    }
}

/// One domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// Which of the directions, from 0.
    pub direction: usize,
    /// That direction in the image, from x (right) towards y (down) [degrees].
    pub direction_degrees: f64,
    /// Indices of its cells.
    pub cells: Vec<usize>,
    /// Mean of its cells' positions [Å].
    pub centre: Point,
    /// Its area, that of its cells [nm²].
    pub area_nm2: f64,
    /// Mean D over its cells [pm].
    pub mean: [f64; 2],
    /// Covariance of `mean` without what a reference adds [pm²].
    pub covariance: Covariance,
}

/// The domains of a map.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Domains {
    /// The domains, largest first.
    pub list: Vec<Domain>,
    /// Which domain each cell belongs to.
    pub of_cell: Vec<Option<usize>>,
    /// The first direction that was used, from `a` towards `b` [degrees].
    pub first_direction_degrees: f64,
}

/// Cells by their lattice index.
pub(super) fn by_index(cells: &[Cell]) -> HashMap<[i32; 2], usize> {
    let all = cells.iter().enumerate();
    all.map(|(number, cell)| (cell.index, number)).collect()
}

/// Parts a map into domains; cells count as polar at `level`.
pub(super) fn segment(
    map: &ColumnMap,
    cells: &[Cell],
    level: f64,
    settings: &DomainSettings,
) -> Domains {
    let at = by_index(cells);
    let smooth: Vec<Option<[f64; 2]>> = cells
        .par_iter()
        .map(|cell| polar_mean(map, cells, &at, cell, level, settings.smoothing_cells))
        .collect();
    let count = settings.directions;
    let first = settings.first_direction_degrees.map_or_else(
        || first_direction(&smooth, &map.lattice, count),
        f64::to_radians,
    );
    let class: Vec<Option<usize>> = smooth
        .iter()
        .map(|d| d.map(|d| nearest_direction(crystal_angle(d, &map.lattice) - first, count)))
        .collect();
    let mut parts = connected(cells, &at, &class);
    parts.retain(|part| part.len() >= settings.minimum_cells);
    parts.sort_by_key(|part| (std::cmp::Reverse(part.len()), part[0]));
    let mut of_cell = vec![None; cells.len()];
    for (number, part) in parts.iter().enumerate() {
        for &cell in part {
            of_cell[cell] = Some(number);
        }
    }
    let list = parts
        .into_iter()
        .map(|part| {
            let direction = class[part[0]].unwrap_or(0);
            let angle = first + TAU * direction as f64 / count as f64;
            domain(
                map,
                cells,
                part,
                direction,
                image_angle(angle, &map.lattice),
            )
        })
        .collect();
    Domains {
        list,
        of_cell,
        first_direction_degrees: first.to_degrees(),
    }
}

/// D averaged around a cell [pm], if it differs from zero.
fn polar_mean(
    map: &ColumnMap,
    cells: &[Cell],
    at: &HashMap<[i32; 2], usize>,
    cell: &Cell,
    level: f64,
    width: f64,
) -> Option<[f64; 2]> {
    if !is_sound(cell) {
        return None;
    }
    let reach = (REACH * width).floor() as i32;
    let mut around = Vec::new();
    for (i, j) in (-reach..=reach).flat_map(|j| (-reach..=reach).map(move |i| (i, j))) {
        let distance = f64::from(i * i + j * j);
        let near = at.get(&[cell.index[0] + i, cell.index[1] + j]);
        let near = near.map(|&number| &cells[number]).filter(|c| is_sound(c));
        if let Some(near) = near.filter(|_| distance <= (REACH * width).powi(2)) {
            let weight = if width > 0.0 {
                (-0.5 * distance / (width * width)).exp()
            } else {
                1.0
            };
            around.push((near, weight));
        }
    }
    let sum: f64 = around.iter().map(|(_, weight)| weight).sum();
    let mean = Weights::of(
        around
            .into_iter()
            .map(|(near, weight)| (near, weight / sum)),
    );
    let value = mean.value();
    // What the reference adds is common to all cells: it bends no domain, but a polarization below it means nothing.
    let common = Covariance {
        xx: cell.total.xx - cell.covariance.xx,
        xy: cell.total.xy - cell.covariance.xy,
        yy: cell.total.yy - cell.covariance.yy,
    };
    let own = mean.covariance(map);
    let total = own.plus(common);
    let covariance = if total.is_known() { total } else { own };
    // Where no uncertainty is known every vector counts.
    let chi_square = covariance.chi_square(value).unwrap_or(f64::INFINITY);
    (probability(chi_square) <= level).then_some(value)
}

/// Angle of a vector of the image from `a` towards `b`, as if `a` and `b` were at right angles [rad].
fn crystal_angle(d: [f64; 2], lattice: &Lattice) -> f64 {
    let (a, b) = (lattice.a, lattice.b);
    let (s, t) = (d[0] * b[1] - d[1] * b[0], a[0] * d[1] - a[1] * d[0]);
    // Coefficients of a and b, times the length of each.
    (t * b[0].hypot(b[1])).atan2(s * a[0].hypot(a[1]))
}

/// The angle in the image, from x towards y [degrees], of a direction `angle` [rad] from `a` towards `b`.
fn image_angle(angle: f64, lattice: &Lattice) -> f64 {
    let unit = |v: Point| v.map(|x| x / v[0].hypot(v[1]));
    let (a, b) = (unit(lattice.a), unit(lattice.b));
    let (sin, cos) = angle.sin_cos();
    let d = [cos * a[0] + sin * b[0], cos * a[1] + sin * b[1]];
    d[1].atan2(d[0]).to_degrees()
}

/// Which of `count` directions is nearest to an angle from the first [rad].
fn nearest_direction(angle: f64, count: usize) -> usize {
    let place = (angle / TAU * count as f64).round() as i64;
    place.rem_euclid(count as i64) as usize
}

/// 0, or half a step: whichever is nearer to the phase of Σ |D| exp(i k θ) [rad].
fn first_direction(smooth: &[Option<[f64; 2]>], lattice: &Lattice, count: usize) -> f64 {
    let sum = smooth.iter().flatten().fold([0.0, 0.0], |sum, d| {
        let angle = count as f64 * crystal_angle(*d, lattice);
        let size = d[0].hypot(d[1]);
        [sum[0] + size * angle.cos(), sum[1] + size * angle.sin()]
    });
    if sum[0] >= 0.0 {
        0.0
    } else {
        PI / count as f64
    }
}

/// Cells of one class that touch, each part in rising order.
fn connected(
    cells: &[Cell],
    at: &HashMap<[i32; 2], usize>,
    class: &[Option<usize>],
) -> Vec<Vec<usize>> {
    let mut seen = vec![false; cells.len()];
    let mut parts = Vec::new();
    for start in 0..cells.len() {
        if seen[start] || class[start].is_none() {
            continue;
        }
        seen[start] = true;
        let mut part = vec![start];
        let mut next = 0;
        while next < part.len() {
            let index = cells[part[next]].index;
            next += 1;
            for [i, j] in [[1, 0], [0, 1], [-1, 0], [0, -1]] {
                if let Some(&near) = at.get(&[index[0] + i, index[1] + j])
                    && !seen[near]
                    && class[near] == class[start]
                {
                    seen[near] = true;
                    part.push(near);
                }
            }
        }
        part.sort_unstable();
        parts.push(part);
    }
    parts
}

fn domain(
    map: &ColumnMap,
    cells: &[Cell],
    part: Vec<usize>,
    direction: usize,
    direction_degrees: f64,
) -> Domain {
    let members: Vec<&Cell> = part.iter().map(|&cell| &cells[cell]).collect();
    let mean = Weights::mean(&members);
    let count = members.len() as f64;
    let (a, b) = (map.lattice.a, map.lattice.b);
    let cell_area = (a[0] * b[1] - a[1] * b[0]).abs();
    Domain {
        direction,
        direction_degrees,
        centre: [0, 1].map(|k| members.iter().map(|c| c.position[k]).sum::<f64>() / count),
        area_nm2: count * cell_area / 100.0,
        mean: mean.value(),
        covariance: mean.covariance(map),
        cells: part,
    }
}
