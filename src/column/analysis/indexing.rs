//! A map from positions alone, such as those that another program has fitted.
//!
//! The lattice is read off the A positions: the mean direction of steps to nearest neighbours modulo 90°, ¼ arg Σ exp(4iθ), and
//! their means along and across it. From the A column nearest to the middle it grows, step by step, over whatever distortion
//! and drift the positions have; a column counts where it is within a third of a pitch of where the step leads.

use std::collections::HashMap;
use std::f64::consts::FRAC_PI_2;

use crate::column::lattice::{Lattice, length};
use crate::column::map::{mean_lattice, polar_vectors};
use crate::column::{AtomColumn, ColumnMap};
use crate::crystal::Sublattice;
use crate::crystal::polarization::Point;
use crate::error::{Error, Result};
use crate::neighbours::Neighbours;

/// What is attempted, in messages.
const WHAT: &str = "map from positions";
/// Neighbours this much farther than the nearest ones still count as nearest [pitch].
const NEAREST: f64 = 1.3;
/// A column is where a step leads to, within this [pitch].
const TOLERANCE: f64 = 0.34;
/// Fewest A columns: 2 × 2.
const LEAST: usize = 4;

/// Columns at `a` and `b` [Å] as a map. `sigma` are the standard deviations of positions of A and B per axis [Å], NaN where they are not known;
/// `nominal` [Å] is the pitch that the calibration is compared with. Columns that are not part of the lattice are left out.
///
/// # Errors
/// A position that is no number, fewer than four A columns on a lattice, or no cell among them.
pub fn map_of_positions(
    a: &[Point],
    b: &[Point],
    sigma: [f64; 2],
    nominal: f64,
) -> Result<ColumnMap> {
    let bad = a.iter().chain(b).find(|p| p.iter().any(|x| !x.is_finite()));
    if let Some(bad) = bad {
        return Err(Error::unmeasurable(
            WHAT,
            format!("a position {bad:?}"),
            "numbers",
        ));
    }
    let guess = guess(a).ok_or_else(|| {
        Error::unmeasurable(WHAT, format!("{} A columns", a.len()), "a lattice of them")
    })?;
    let indices = grow(a, &guess);
    let mut columns: Vec<AtomColumn> = (a.iter().zip(&indices))
        .filter_map(|(at, index)| Some(column(*at, Sublattice::A, (*index)?, sigma[0])))
        .collect();
    if columns.len() < LEAST {
        let got = format!("{} of {} A columns on a lattice", columns.len(), a.len());
        return Err(Error::unmeasurable(WHAT, got, format!("at least {LEAST}")));
    }
    columns.extend(between(b, a, &indices, &guess, sigma[1]));
    let low: [i32; 2] =
        [0, 1].map(|k| columns.iter().map(|c| c.index[k]).min().unwrap_or_default());
    for column in &mut columns {
        column.index = [0, 1].map(|k| column.index[k] - low[k]);
    }
    columns.sort_by_key(|c| (c.sublattice, c.index[1], c.index[0]));
    let vectors = polar_vectors(&columns);
    let lattice = mean_lattice(&columns).filter(|_| !vectors.is_empty());
    let Some(lattice) = lattice else {
        return Err(Error::unmeasurable(
            WHAT,
            format!("{} A and {} B columns that make no cell", a.len(), b.len()),
            "B columns amid four A columns each",
        ));
    };
    Ok(ColumnMap {
        columns,
        vectors,
        lattice,
        calibration_ratio: lattice.pitch() / nominal,
        significance: f64::NAN,
        method: "given",
    })
}

fn column(position: Point, sublattice: Sublattice, index: [i32; 2], sigma: f64) -> AtomColumn {
    AtomColumn {
        position,
        position_sigma: [sigma; 2],
        sublattice,
        height: f64::NAN,
        background: f64::NAN,
        sigma: [f64::NAN; 2],
        angle: f64::NAN,
        index,
        misfit: f64::NAN,
        flags: 0,
    }
}

/// The mean basis of a roughly square lattice of points: the first vector within 45° of x, the second clockwise from it.
fn guess(points: &[Point]) -> Option<Lattice> {
    let tree = Neighbours::new(points);
    let nearest = points
        .iter()
        .filter_map(|&p| Some(tree.nearest(p, 2).get(1)?.1));
    let mut nearest: Vec<f64> = nearest.collect();
    nearest.sort_by(f64::total_cmp);
    let pitch = *nearest
        .get(nearest.len() / 2)
        .filter(|pitch| **pitch > 0.0)?;
    let steps: Vec<Point> = points
        .iter()
        .flat_map(|&p| {
            let near = tree.within(p, NEAREST * pitch).into_iter();
            near.filter(|(_, distance)| *distance > 0.0)
                .map(move |(i, _)| [points[i][0] - p[0], points[i][1] - p[1]])
        })
        .collect();
    let sum = steps.iter().fold([0.0, 0.0], |sum, step| {
        let angle = 4.0 * step[1].atan2(step[0]);
        [sum[0] + angle.cos(), sum[1] + angle.sin()]
    });
    let first = 0.25 * f64::atan2(sum[1], sum[0]);
    let [a, b] = [first, first + FRAC_PI_2].map(|angle| mean_step(&steps, angle));
    Some(Lattice { a: a?, b: b? })
}

/// Mean of the steps within 45° of a direction, both ways.
fn mean_step(steps: &[Point], angle: f64) -> Option<Point> {
    let (sin, cos) = angle.sin_cos();
    let along: Vec<Point> = steps
        .iter()
        .filter_map(|[x, y]| {
            let (forward, side) = (x * cos + y * sin, y * cos - x * sin);
            (forward > side.abs()).then_some([*x, *y])
        })
        .collect();
    let count = along.len() as f64;
    (!along.is_empty()).then(|| [0, 1].map(|k| along.iter().map(|s| s[k]).sum::<f64>() / count))
}

/// Lattice indices of the points that a growth from the middle reaches.
fn grow(points: &[Point], lattice: &Lattice) -> Vec<Option<[i32; 2]>> {
    let count = points.len() as f64;
    let middle = [0, 1].map(|k| points.iter().map(|p| p[k]).sum::<f64>() / count);
    let tree = Neighbours::new(points);
    let mut indices = vec![None; points.len()];
    let mut taken = HashMap::new();
    let mut queue = Vec::new();
    if let Some(&(first, _)) = tree.nearest(middle, 1).first() {
        indices[first] = Some([0, 0]);
        taken.insert([0, 0], first);
        queue.push((first, [0, 0]));
    }
    let mut next = 0;
    while next < queue.len() {
        let (from, index): (usize, [i32; 2]) = queue[next];
        next += 1;
        for step in [[1, 0], [0, 1], [-1, 0], [0, -1]] {
            let target = [index[0] + step[0], index[1] + step[1]];
            let vector = lattice.vector(f64::from(step[0]), f64::from(step[1]));
            let place = [points[from][0] + vector[0], points[from][1] + vector[1]];
            let near = tree.nearest(place, 1).first().copied();
            let near = near.filter(|(_, distance)| *distance <= TOLERANCE * lattice.pitch());
            if let Some((found, _)) = near
                && indices[found].is_none()
                && !taken.contains_key(&target)
            {
                indices[found] = Some(target);
                taken.insert(target, found);
                queue.push((found, target));
            }
        }
    }
    indices
}

/// B columns with the index of the cell that they lie in, seen from the nearest A column; each cell has at most one.
fn between(
    b: &[Point],
    a: &[Point],
    indices: &[Option<[i32; 2]>],
    lattice: &Lattice,
    sigma: f64,
) -> Vec<AtomColumn> {
    let tree = Neighbours::new(a);
    let (u, v) = (lattice.a, lattice.b);
    let determinant = u[0] * v[1] - u[1] * v[0];
    let mut taken: HashMap<[i32; 2], ()> = HashMap::new();
    b.iter()
        .filter_map(|&at| {
            let (near, distance) = tree.nearest(at, 1).first().copied()?;
            let corner = indices[near].filter(|_| distance < length(u).max(length(v)))?;
            let arm = [at[0] - a[near][0], at[1] - a[near][1]];
            let s = (arm[0] * v[1] - arm[1] * v[0]) / determinant;
            let t = (u[0] * arm[1] - u[1] * arm[0]) / determinant;
            let index = [corner[0] + s.floor() as i32, corner[1] + t.floor() as i32];
            taken
                .insert(index, ())
                .is_none()
                .then(|| column(at, Sublattice::B, index, sigma))
        })
        .collect()
}
