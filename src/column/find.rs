//! Where the columns are, roughly, and which site of the lattice each one occupies.
//!
//! Peaks of the smoothed image are claimed by lattice sites in a growth from a seed: each step predicts a site from its
//! known neighbours with the basis seen around them, and takes the peak nearest to it. So slow drift, shear and bending do
//! no harm, and the sublattice belongs to the site, not to the brightness of its peak: where the contrast of A and B
//! inverts, as across an interface, indices carry on.
//!
//! Sites count in half cells: `[2i, 2j]` is one sublattice, `[2i+1, 2j+1]` the other.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use ndarray::Array2;

use super::filter::{maxima, smooth};
use super::lattice::{Lattice, length};
use crate::crystal::polarization::Point;
use crate::image::Image;
use crate::neighbours::Neighbours;

/// Background taken off the smoothed image: its smoothing over that of the columns.
const BACKGROUND_OVER_SMOOTHING: f64 = 3.0;
/// Farthest that a peak may lie from its predicted site [pitch]; the next site is 0.71 away.
const CATCH: f64 = 0.22;
/// Weakest peak that counts, over the strong ones (the upper tenth).
const WEAKEST: f64 = 0.03;
/// Distance from the border at which a column is sure to be seen [pitch].
pub(super) const VISIBLE: f64 = 0.1;
/// Distance from the border at which all of a column's shape is seen [pitch].
const WELL_INSIDE: f64 = 0.5;
/// How much of the observed step enters the local basis; the rest comes from the neighbours.
const LEARNING: f64 = 0.3;
/// Steps to sites of the same sublattice, in half cells.
const SAME: [[i32; 2]; 4] = [[2, 0], [-2, 0], [0, 2], [0, -2]];
/// Steps to sites of the other sublattice, in half cells.
const OTHER: [[i32; 2]; 4] = [[1, 1], [1, -1], [-1, 1], [-1, -1]];

/// An occupied site of the lattice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    /// In half cells; both even or both odd.
    pub(super) half: [i32; 2],
    /// Peak, or prediction where no peak shows [Å].
    pub(super) position: Point,
    /// Basis around here.
    basis: Lattice,
}

impl Site {
    /// Which of the two sublattices: 0 for even sites, 1 for odd ones.
    pub(super) fn class(&self) -> usize {
        self.half[0].rem_euclid(2) as usize
    }

    fn predict(&self, step: [i32; 2]) -> Point {
        let v = self
            .basis
            .vector(0.5 * f64::from(step[0]), 0.5 * f64::from(step[1]));
        [self.position[0] + v[0], self.position[1] + v[1]]
    }
}

/// The peaks of the smoothed image.
struct Peaks {
    /// The image smoothed over a part of a column.
    seen: Array2<f32>,
    positions: Vec<Point>,
    /// Rise over the surroundings.
    rises: Vec<f64>,
    tree: Neighbours,
}

impl Peaks {
    fn of(image: &Image, pitch: f64, smoothing: f64) -> Self {
        let fine = image.sampling.map(|s| smoothing * pitch / s);
        let coarse = fine.map(|s| s * BACKGROUND_OVER_SMOOTHING);
        let seen = smooth(&image.data, fine);
        let rise = &seen - &smooth(&image.data, coarse);
        let mut found = maxima(&rise);
        let mut values: Vec<f64> = found.iter().map(|m| m.value).collect();
        values.sort_by(f64::total_cmp);
        let strong = values.get(values.len() * 9 / 10).copied().unwrap_or(0.0);
        found.retain(|m| m.value > WEAKEST * strong);
        let positions: Vec<Point> = found
            .iter()
            .map(|m| {
                [
                    m.pixel[0] * image.sampling[1],
                    m.pixel[1] * image.sampling[0],
                ]
            })
            .collect();
        Self {
            seen,
            tree: Neighbours::new(&positions),
            rises: found.iter().map(|m| m.value).collect(),
            positions,
        }
    }

    /// The highest peak within `reach` of a point that `taken` does not hold.
    fn near(&self, at: Point, reach: f64, taken: &[bool]) -> Option<usize> {
        self.tree
            .within(at, reach)
            .into_iter()
            .map(|(index, _)| index)
            .filter(|&index| !taken[index])
            .max_by(|&i, &j| self.rises[i].total_cmp(&self.rises[j]).then(j.cmp(&i)))
    }

    /// The peak that sits best among four others at ±a and ±b: that with the highest weakest of the five.
    fn seed(&self, lattice: &Lattice, reach: f64) -> Option<usize> {
        let free = vec![false; self.positions.len()];
        let support = |index: usize| {
            let at = self.positions[index];
            [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
                .iter()
                .map(|[i, j]| {
                    let v = lattice.vector(*i, *j);
                    self.near([at[0] + v[0], at[1] + v[1]], reach, &free)
                        .map_or(0.0, |other| self.rises[other])
                })
                .fold(self.rises[index], f64::min)
        };
        let scores: Vec<f64> = (0..self.positions.len()).map(support).collect();
        (0..scores.len())
            .max_by(|&i, &j| scores[i].total_cmp(&scores[j]).then(j.cmp(&i)))
            .filter(|&best| scores[best] > 0.0)
    }
}

/// A site to try, best first: the smaller the misfit of the neighbour that proposed it, the earlier.
#[derive(PartialEq)]
struct Proposal {
    misfit: f64,
    order: usize,
    half: [i32; 2],
}

impl Eq for Proposal {}

impl Ord for Proposal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.misfit
            .total_cmp(&other.misfit)
            .then(self.order.cmp(&other.order))
    }
}

impl PartialOrd for Proposal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The growing set of sites.
struct Growth<'a> {
    peaks: &'a Peaks,
    pitch: f64,
    sites: Vec<Site>,
    at: HashMap<[i32; 2], usize>,
    taken: Vec<bool>,
    queue: BinaryHeap<Reverse<Proposal>>,
    proposals: usize,
}

impl Growth<'_> {
    fn known(&self, half: [i32; 2], steps: &[[i32; 2]]) -> Vec<(Site, [i32; 2])> {
        steps
            .iter()
            .filter_map(|step| {
                let neighbour = [half[0] - step[0], half[1] - step[1]];
                self.at
                    .get(&neighbour)
                    .map(|&index| (self.sites[index], *step))
            })
            .collect()
    }

    /// Where a site should be, and the basis there; from its own sublattice if that is known, since the other is displaced.
    fn predict(&self, half: [i32; 2]) -> Option<(Point, Lattice)> {
        let mut near = self.known(half, &SAME);
        if near.is_empty() {
            near = self.known(half, &OTHER);
        }
        if near.is_empty() {
            return None;
        }
        let mean = |value: fn(&Site, [i32; 2]) -> Point| -> Point {
            let sum = near.iter().fold([0.0; 2], |sum, (site, step)| {
                let v = value(site, *step);
                [sum[0] + v[0], sum[1] + v[1]]
            });
            sum.map(|x| x / near.len() as f64)
        };
        let basis = Lattice {
            a: mean(|site, _| site.basis.a),
            b: mean(|site, _| site.basis.b),
        };
        Some((mean(Site::predict), basis))
    }

    /// Lets the observed steps to known neighbours of the same sublattice teach the basis.
    fn learn(&self, half: [i32; 2], position: Point, mut basis: Lattice) -> Lattice {
        for (site, step) in self.known(half, &SAME) {
            let (target, sign) = if step[0] != 0 {
                (&mut basis.a, f64::from(step[0].signum()))
            } else {
                (&mut basis.b, f64::from(step[1].signum()))
            };
            for axis in 0..2 {
                let observed = sign * (position[axis] - site.position[axis]);
                target[axis] += LEARNING * (observed - target[axis]);
            }
        }
        basis
    }

    fn add(&mut self, half: [i32; 2], position: Point, basis: Lattice, misfit: f64) {
        self.at.insert(half, self.sites.len());
        self.sites.push(Site {
            half,
            position,
            basis,
        });
        for step in SAME.iter().chain(&OTHER) {
            let half = [half[0] + step[0], half[1] + step[1]];
            if !self.at.contains_key(&half) {
                self.proposals += 1;
                self.queue.push(Reverse(Proposal {
                    misfit,
                    order: self.proposals,
                    half,
                }));
            }
        }
    }

    fn grow(&mut self) {
        while let Some(Reverse(proposal)) = self.queue.pop() {
            if self.at.contains_key(&proposal.half) {
                continue;
            }
            let Some((expected, basis)) = self.predict(proposal.half) else {
                continue;
            };
            let Some(peak) = self.peaks.near(expected, CATCH * self.pitch, &self.taken) else {
                continue;
            };
            self.taken[peak] = true;
            let position = self.peaks.positions[peak];
            let misfit = length([position[0] - expected[0], position[1] - expected[1]]);
            let basis = self.learn(proposal.half, position, basis);
            self.add(proposal.half, position, basis, misfit);
        }
    }

    /// Empty sites beside known ones, with their predictions, in a fixed order.
    fn holes(&self) -> Vec<Site> {
        let mut holes: Vec<[i32; 2]> = self
            .sites
            .iter()
            .flat_map(|site| {
                SAME.iter()
                    .chain(&OTHER)
                    .map(|step| [site.half[0] + step[0], site.half[1] + step[1]])
            })
            .filter(|half| !self.at.contains_key(half))
            .collect();
        holes.sort_unstable();
        holes.dedup();
        holes
            .into_iter()
            .filter_map(|half| {
                let (position, basis) = self.predict(half)?;
                Some(Site {
                    half,
                    position,
                    basis,
                })
            })
            .collect()
    }

    /// Adds sites without a peak, amid at least three of their four neighbours of the other sublattice, or as many of
    /// those that are well in the image: weak columns, and those on the slopes of strong ones.
    fn fill(&mut self, extent: Point) {
        for hole in self.holes() {
            let possible = OTHER
                .iter()
                .filter(|step| within(hole.predict(**step), extent, VISIBLE * self.pitch))
                .count();
            let known = self.known(hole.half, &OTHER).len();
            if within(hole.position, extent, VISIBLE * self.pitch)
                && known > 0
                && 4 * known >= 3 * possible
            {
                self.add(hole.half, hole.position, hole.basis, 0.0);
            }
        }
    }

    /// The nearest known site of the same sublattice that is well in the image, or the one deepest in it: what a column at
    /// the very border looks like is known too badly to be passed on.
    fn twin(&self, half: [i32; 2], extent: Point) -> Option<usize> {
        let depth = |index: usize| {
            let at = self.sites[index].position;
            let depths = (0..2).map(|k| at[k].min(extent[k] - at[k]));
            depths.fold(WELL_INSIDE * self.pitch, f64::min)
        };
        let range = || (-2..=2).map(|n| 2 * n);
        let near = range().flat_map(|i| range().map(move |j| [i, j]));
        let mut known: Vec<(usize, i32)> = near
            .filter_map(|[i, j]| {
                let index = self.at.get(&[half[0] + i, half[1] + j])?;
                Some((*index, i * i + j * j))
            })
            .collect();
        known.sort_by(|p, q| depth(q.0).total_cmp(&depth(p.0)).then(p.1.cmp(&q.1)));
        known.first().map(|known| known.0)
    }

    /// Sites at the border or just beyond it, each with the known site that it is most like.
    fn ghosts(&self, extent: Point) -> Vec<Ghost> {
        self.holes()
            .into_iter()
            .filter(|hole| !within(hole.position, extent, VISIBLE * self.pitch))
            .filter_map(|hole| {
                let twin = self.twin(hole.half, extent)?;
                Some(Ghost {
                    position: hole.position,
                    twin,
                })
            })
            .collect()
    }
}

/// Whether a point is in the image, at least `margin` from its border.
fn within(at: Point, extent: Point, margin: f64) -> bool {
    (0..2).all(|axis| at[axis] >= margin && at[axis] <= extent[axis] - margin)
}

/// A column at the border of the image or beyond it, whose tail is inside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ghost {
    /// [Å]
    pub(super) position: Point,
    /// Index of a site of the same sublattice that it is taken to look like.
    pub(super) twin: usize,
}

/// What the search found.
pub(super) struct Found {
    /// The sites of the lattice that the image shows, in growth order.
    pub(super) sites: Vec<Site>,
    /// Those at the very border and just outside.
    pub(super) ghosts: Vec<Ghost>,
    /// The image smoothed over a part of a column.
    pub(super) seen: Array2<f32>,
}

/// The sites of the lattice that the image shows.
pub(super) fn sites(image: &Image, lattice: &Lattice, smoothing: f64) -> Found {
    let pitch = lattice.pitch();
    let peaks = Peaks::of(image, pitch, smoothing);
    let Some(seed) = peaks.seed(lattice, CATCH * pitch) else {
        return Found {
            sites: Vec::new(),
            ghosts: Vec::new(),
            seen: peaks.seen,
        };
    };
    let mut growth = Growth {
        taken: vec![false; peaks.positions.len()],
        peaks: &peaks,
        pitch,
        sites: Vec::new(),
        at: HashMap::new(),
        queue: BinaryHeap::new(),
        proposals: 0,
    };
    growth.taken[seed] = true;
    growth.add([0, 0], peaks.positions[seed], *lattice, 0.0);
    growth.grow();
    let (rows, cols) = image.data.dim();
    let extent = [
        (cols - 1) as f64 * image.sampling[1],
        (rows - 1) as f64 * image.sampling[0],
    ];
    growth.fill(extent);
    Found {
        ghosts: growth.ghosts(extent),
        sites: growth.sites,
        seen: peaks.seen,
    }
}
