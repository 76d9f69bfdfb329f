//! Domain walls: where two domains face each other, cut into nearly straight segments, each with a profile fit.
//!
//! Along `a` and along `b` every cell of a domain looks for the next domain within a few cells; half-way between the two lies
//! a point of the wall. Points that hang together are a wall. It is cut by the distance along it into segments, and
//! [`super::profile`] fits D across each, from unsmoothed cells: position along the normal, direction of the normal, half width
//! and the plateaus on both sides.

use serde::{Deserialize, Serialize};

use super::cells::{Cell, is_sound};
use super::covariance::Covariance;
use super::domains::{Domains, by_index};
use super::profile::{self, Profile};
use crate::column::ColumnMap;
use crate::crystal::polarization::Point;
use crate::error::Result;
use crate::neighbours::Neighbours;

/// Points of a wall closer than this hang together [pitch]: √2 for a step around a corner, and a half for distortions.
const LINKED: f64 = 1.7;
/// Fewest points of a segment, for its direction to be known.
const LEAST_POINTS: usize = 3;
/// Cells of a domain count on its own side, and by this much beyond [pitch].
const TRESPASS: f64 = 1.5;

/// Settings of the walls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WallSettings {
    /// Widest gap between two domains that is still a wall [cells].
    pub largest_gap_cells: usize,
    /// Length of a segment along the wall [cells].
    pub segment_cells: f64,
    /// How far the profile reaches to both sides [cells]; another domain ends it half-way.
    pub reach_cells: f64,
}

impl Default for WallSettings {
    fn default() -> Self {
        Self {
            largest_gap_cells: 4,
            segment_cells: 10.0,
            reach_cells: 7.0,
        }
    }
}

impl WallSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The key, the value and the range.
    pub fn validate(&self) -> Result<()> {
        super::settings::in_range(
            "walls",
            &[
                (
                    "largest_gap_cells",
                    self.largest_gap_cells as f64,
                    0.0,
                    50.0,
                ),
                ("segment_cells", self.segment_cells, 3.0, 1000.0),
                ("reach_cells", self.reach_cells, 2.0, 100.0),
            ],
        )
    }
}

/// A straight piece of a wall between two domains.
#[derive(Debug, Clone, PartialEq)]
pub struct WallSegment {
    /// Number of the wall that it is part of.
    pub wall: usize,
    /// The domains on the two sides; the normal points from the first to the second.
    pub domains: [usize; 2],
    /// Length along the wall [Å].
    pub length: f64,
    /// The profile across it.
    pub profile: Profile,
}

impl WallSegment {
    /// Both ends of the segment [Å].
    #[must_use]
    pub fn ends(&self) -> [Point; 2] {
        let Profile { centre, normal, .. } = self.profile;
        [-0.5, 0.5].map(|side| {
            let along = side * self.length;
            [centre[0] - along * normal[1], centre[1] + along * normal[0]]
        })
    }
}

/// A point of a wall: half-way between two cells of different domains.
struct Facing {
    domains: [usize; 2],
    middle: Point,
    /// From the cell of the first domain to that of the second.
    step: Point,
}

/// The walls between the domains of a map.
pub(super) fn walls(
    map: &ColumnMap,
    cells: &[Cell],
    domains: &Domains,
    settings: &WallSettings,
) -> Vec<WallSegment> {
    let mut facing = facing(cells, domains, settings.largest_gap_cells);
    facing.sort_by_key(|point| point.domains);
    let pitch = map.lattice.pitch();
    let mut segments = Vec::new();
    let mut wall = 0;
    for between in facing.chunk_by(|p, q| p.domains == q.domains) {
        let points: Vec<Point> = between.iter().map(|point| point.middle).collect();
        for piece in clusters(&points, LINKED * pitch) {
            if piece.len() < LEAST_POINTS {
                continue;
            }
            let found: Vec<WallSegment> = cut(&points, &piece, pitch, settings.segment_cells)
                .iter()
                .filter_map(|part| {
                    let part: Vec<&Facing> = part.iter().map(|&i| &between[i]).collect();
                    segment(map, cells, domains, settings, &part, wall)
                })
                .collect();
            wall += usize::from(!found.is_empty());
            segments.extend(found);
        }
    }
    segments
}

/// Where domains face each other along `a` and `b`.
fn facing(cells: &[Cell], domains: &Domains, gap: usize) -> Vec<Facing> {
    let at = by_index(cells);
    let mut all = Vec::new();
    for (number, cell) in cells.iter().enumerate() {
        let Some(own) = domains.of_cell[number] else {
            continue;
        };
        for [i, j] in [[1, 0], [0, 1]] {
            let next = (1..=gap as i32 + 1).find_map(|step| {
                let index = [cell.index[0] + step * i, cell.index[1] + step * j];
                let near = *at.get(&index)?;
                Some((near, domains.of_cell[near]?))
            });
            let Some((near, other)) = next.filter(|(_, other)| *other != own) else {
                continue;
            };
            let (p, q) = (cell.centre, cells[near].centre);
            let sign = if own < other { 1.0 } else { -1.0 };
            all.push(Facing {
                domains: [own.min(other), own.max(other)],
                middle: [0, 1].map(|k| 0.5 * (p[k] + q[k])),
                step: [0, 1].map(|k| sign * (q[k] - p[k])),
            });
        }
    }
    all
}

/// Points that hang together, each cluster in rising order, clusters by their first point.
fn clusters(points: &[Point], reach: f64) -> Vec<Vec<usize>> {
    let tree = Neighbours::new(points);
    let mut seen = vec![false; points.len()];
    let mut all = Vec::new();
    for start in 0..points.len() {
        if seen[start] {
            continue;
        }
        let mut cluster: Vec<usize> = distances_along(points, &tree, start, reach)
            .into_iter()
            .map(|(point, _)| point)
            .collect();
        cluster.sort_unstable();
        for &point in &cluster {
            seen[point] = true;
        }
        all.push(cluster);
    }
    all
}

/// All points that hang together with `start`, with their distance along the wall in steps of the links [Å].
fn distances_along(
    points: &[Point],
    tree: &Neighbours,
    start: usize,
    reach: f64,
) -> Vec<(usize, f64)> {
    let mut distance = vec![f64::INFINITY; points.len()];
    distance[start] = 0.0;
    let mut order = vec![start];
    let mut next = 0;
    while next < order.len() {
        let from = order[next];
        next += 1;
        for (near, step) in tree.within(points[from], reach) {
            if distance[near].is_infinite() {
                distance[near] = distance[from] + step;
                order.push(near);
            }
        }
    }
    order.into_iter().map(|i| (i, distance[i])).collect()
}

/// Parts of a wall about `length` pitches long: equal steps of the distance from its farthest point.
fn cut(points: &[Point], piece: &[usize], pitch: f64, length: f64) -> Vec<Vec<usize>> {
    let own: Vec<Point> = piece.iter().map(|&i| points[i]).collect();
    let tree = Neighbours::new(&own);
    let far = |from: &[(usize, f64)]| {
        let farthest = from.iter().max_by(|p, q| p.1.total_cmp(&q.1));
        farthest.copied().unwrap_or((0, 0.0))
    };
    let end = far(&distances_along(&own, &tree, 0, LINKED * pitch)).0;
    let along = distances_along(&own, &tree, end, LINKED * pitch);
    let whole = far(&along).1;
    let count = (whole / (length * pitch)).round().max(1.0);
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); count as usize];
    for (point, distance) in along {
        let part = (distance / whole.max(1e-9) * count) as usize;
        parts[part.min(count as usize - 1)].push(point);
    }
    // A wall that closes upon itself has two parts at each distance.
    let mut cut = Vec::new();
    for mut part in parts {
        part.sort_unstable();
        let of_part: Vec<Point> = part.iter().map(|&i| own[i]).collect();
        for cluster in clusters(&of_part, LINKED * pitch) {
            cut.push(cluster.into_iter().map(|i| piece[part[i]]).collect());
        }
    }
    cut
}

/// The fit across one part of a wall; `None` for too few points or cells.
fn segment(
    map: &ColumnMap,
    cells: &[Cell],
    domains: &Domains,
    settings: &WallSettings,
    part: &[&Facing],
    wall: usize,
) -> Option<WallSegment> {
    if part.len() < LEAST_POINTS {
        return None;
    }
    let frame = Frame::of(part, map.lattice.pitch());
    let between = part[0].domains;
    let chosen = frame.cells(cells, domains, between, settings.reach_cells);
    let start = [0, 1].map(|side| domains.list[between[side]].mean);
    let profile = profile::fit(map, &chosen, frame.centre, frame.normal, start, frame.pitch)?;
    Some(WallSegment {
        wall,
        domains: between,
        length: 2.0 * frame.half_length,
        profile,
    })
}

/// Place and direction of a part of a wall.
struct Frame {
    centre: Point,
    normal: Point,
    half_length: f64,
    pitch: f64,
}

impl Frame {
    /// The line that is nearest to the points (principal axis), its normal towards the second domain.
    fn of(part: &[&Facing], pitch: f64) -> Self {
        let count = part.len() as f64;
        let mean = |f: &dyn Fn(&Facing) -> f64| part.iter().map(|p| f(p)).sum::<f64>() / count;
        let centre = [0, 1].map(|k| mean(&|p| p.middle[k]));
        let moments = part.iter().fold(Covariance::default(), |sum, p| {
            let [x, y] = [0, 1].map(|k| p.middle[k] - centre[k]);
            sum.plus(Covariance {
                xx: x * x,
                xy: x * y,
                yy: y * y,
            })
        });
        let angle = 0.5 * (2.0 * moments.xy).atan2(moments.xx - moments.yy);
        let tangent = [angle.cos(), angle.sin()];
        let step = [0, 1].map(|k| mean(&|p| p.step[k]));
        let sign = if step[1] * tangent[0] - step[0] * tangent[1] < 0.0 {
            -1.0
        } else {
            1.0
        };
        let normal = [-sign * tangent[1], sign * tangent[0]];
        let along = |p: &&Facing| {
            let [x, y] = [0, 1].map(|k| p.middle[k] - centre[k]);
            (x * tangent[0] + y * tangent[1]).abs()
        };
        let half_length = part.iter().map(along).fold(0.0, f64::max) + 0.5 * pitch;
        Self {
            centre,
            normal,
            half_length,
            pitch,
        }
    }

    /// Distance of a point from the wall, and along it [Å].
    fn place(&self, point: Point) -> [f64; 2] {
        let [x, y] = [0, 1].map(|k| point[k] - self.centre[k]);
        let [nx, ny] = self.normal;
        [x * nx + y * ny, x * ny - y * nx]
    }

    /// The cells that the profile is fitted to: of both domains, each on its own side, and of none, up to half-way to the
    /// next domain.
    fn cells<'a>(
        &self,
        cells: &'a [Cell],
        domains: &Domains,
        [one, other]: [usize; 2],
        reach_cells: f64,
    ) -> Vec<&'a Cell> {
        let near: Vec<(&Cell, f64, Option<usize>)> = cells
            .iter()
            .zip(&domains.of_cell)
            .filter(|(cell, _)| is_sound(cell))
            .map(|(cell, domain)| (cell, self.place(cell.centre), *domain))
            .filter(|(_, [_, along], _)| along.abs() <= self.half_length)
            .map(|(cell, [across, _], domain)| (cell, across, domain))
            .collect();
        let trespass = TRESPASS * self.pitch;
        let is_own = |across: f64, domain: Option<usize>| match domain {
            None => true,
            Some(domain) if domain == one => across <= trespass,
            Some(domain) if domain == other => across >= -trespass,
            Some(_) => false,
        };
        let limit = |side: f64| {
            let foreign = near
                .iter()
                .filter(|(_, across, domain)| across * side > 0.0 && !is_own(*across, *domain));
            let first = foreign.map(|(_, across, _)| across.abs());
            (0.5 * first.fold(f64::INFINITY, f64::min)).min(reach_cells * self.pitch)
        };
        let (low, high) = (-limit(-1.0), limit(1.0));
        near.into_iter()
            .filter(|(_, across, domain)| (low..=high).contains(across) && is_own(*across, *domain))
            .map(|(cell, _, _)| cell)
            .collect()
    }
}
