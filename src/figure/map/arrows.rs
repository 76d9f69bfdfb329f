//! Arrows: how long, how thick, which ones.

use super::drawable;
use super::layout::{Layout, Place, pitch};
use crate::crystal::polarization::{Point, PolarVector};
use crate::figure::canvas::{Canvas, Paint};
use crate::figure::colour::{INK, NO_VALUE, PAPER, Wheel};
use crate::figure::ticks::round_down;
use crate::units::PM_PER_ANGSTROM;

/// Arrows closer than this are thinned out [px].
const LEAST_PITCH: f64 = 9.0;
/// Length of an arrow as long as the wheel's radius, in units of the distance of arrows.
const LENGTH: f64 = 0.92;
/// Arrows longer than this many wheel radii are cut there.
const LONGEST: f64 = 1.5;
/// Arrows farther apart than this have an edge, which would darken smaller ones [px].
const EDGED_PITCH: f64 = 24.0;
/// Distance assumed around a lone arrow [Å].
const LONE_PITCH: f64 = 4.0;

/// What all arrows of a figure have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ArrowScale {
    /// |D| at the wheel's rim [pm].
    pub(super) radius_pm: f64,
    /// Drawn length over true length.
    pub(super) factor: f64,
    /// One vector is drawn in each square of this many distances of neighbours.
    pub(super) thinning: usize,
    /// Distance of arrows on the sheet [px].
    pitch: f64,
    /// Distance of arrows in the field [Å].
    block: f64,
}

impl ArrowScale {
    /// The scale for vectors that lie as densely as the densest of `sets`.
    pub(super) fn new(sets: &[&[PolarVector]], radius_pm: f64, layout: &Layout) -> Self {
        let distances = sets.iter().filter_map(|vectors| {
            let drawn = vectors.iter().filter(|vector| drawable(vector));
            pitch(&drawn.map(|vector| vector.position).collect::<Vec<Point>>())
        });
        let nearest = distances.fold(f64::INFINITY, f64::min);
        let nearest = if nearest.is_finite() {
            nearest
        } else {
            LONE_PITCH
        };
        let thinning = (LEAST_PITCH / (nearest * layout.scale)).ceil().max(1.0);
        let block = nearest * thinning;
        let exact = LENGTH * block * PM_PER_ANGSTROM / radius_pm;
        // Two digits are enough for the reader, and the arrows are drawn by the number that is written.
        let digit = round_down(exact).log10().floor() - 1.0;
        let unit = 10f64.powf(digit);
        Self {
            radius_pm,
            factor: (exact / unit).floor() * unit,
            thinning: thinning as usize,
            pitch: block * layout.scale,
            block,
        }
    }

    /// Length on the sheet of a displacement as long as the wheel's radius [px].
    pub(super) fn radius_length(&self) -> f64 {
        self.radius_pm / PM_PER_ANGSTROM * self.factor * self.pitch / self.block
    }

    /// The vectors that are drawn: all, or the one nearest to the middle of each square block.
    pub(super) fn chosen<'a>(&self, vectors: &'a [PolarVector]) -> Vec<&'a PolarVector> {
        let all: Vec<&PolarVector> = vectors.iter().filter(|vector| drawable(vector)).collect();
        if self.thinning == 1 {
            return all;
        }
        let least = |axis: usize| {
            let values = all.iter().map(|vector| vector.position[axis]);
            // Half a neighbour's distance of room, so that rounding moves no vector to another block.
            values.fold(f64::INFINITY, f64::min) - 0.5 * self.block / self.thinning as f64
        };
        let origin = [least(0), least(1)];
        let mut blocks = std::collections::BTreeMap::new();
        for vector in all {
            let place = [0, 1].map(|axis| (vector.position[axis] - origin[axis]) / self.block);
            let middle = place.map(|p| p - p.floor() - 0.5);
            let distance = middle[0].hypot(middle[1]);
            let entry = blocks
                .entry(place.map(|p| p.floor() as i64))
                .or_insert((distance, vector));
            if distance < entry.0 {
                *entry = (distance, vector);
            }
        }
        blocks.into_values().map(|(_, vector)| vector).collect()
    }

    /// Draws one arrow, its middle at the vector's position; flagged ones hollow and grey.
    pub(super) fn draw(&self, canvas: &mut Canvas, place: &Place, vector: &PolarVector) {
        let relative = vector.displacement.map(|d| d / self.radius_pm);
        let fraction = relative[0].hypot(relative[1]);
        let pixels = self.factor * place.scale / PM_PER_ANGSTROM;
        let cut = (LONGEST / fraction).min(1.0);
        let arrow = vector.displacement.map(|d| d * pixels * cut);
        let paint = self.paint(relative, vector.flags);
        self.draw_at(canvas, place.at(vector.position), arrow, &paint);
    }

    /// Colour by direction, with a fine edge where there is room for one; hollow and grey for flagged vectors.
    pub(super) fn paint(&self, relative: [f64; 2], flags: u32) -> Paint {
        if flags != 0 {
            return Paint {
                fill: Some(PAPER),
                ..Paint::stroke(NO_VALUE, 1.0)
            };
        }
        let plain = Paint::fill(Wheel::Grey.colour(relative));
        if self.pitch < EDGED_PITCH {
            return plain;
        }
        Paint {
            stroke: Some(INK),
            width: 0.35,
            ..plain
        }
    }

    /// Draws an arrow given by its middle and its extent [px].
    pub(super) fn draw_at(
        &self,
        canvas: &mut Canvas,
        middle: [f64; 2],
        arrow: [f64; 2],
        paint: &Paint,
    ) {
        let thickness = (0.12 * self.pitch).clamp(1.8, 4.2);
        let length = arrow[0].hypot(arrow[1]);
        if length < thickness {
            canvas.circle(middle, thickness / 2.0, paint);
            return;
        }
        canvas.polyline(&outline(middle, arrow, thickness), true, paint);
    }

    /// Magnitude beyond which arrows are cut [pm].
    pub(super) fn longest_pm(&self) -> f64 {
        LONGEST * self.radius_pm
    }

    /// How many of `vectors` are cut.
    pub(super) fn cut(&self, vectors: &[PolarVector]) -> usize {
        let longest = self.longest_pm();
        let chosen = self.chosen(vectors).into_iter();
        chosen
            .filter(|v| v.displacement[0].hypot(v.displacement[1]) > longest)
            .count()
    }
}

/// Seven corners of an arrow, from the tail around the tip.
fn outline(middle: [f64; 2], arrow: [f64; 2], thickness: f64) -> Vec<[f64; 2]> {
    let length = arrow[0].hypot(arrow[1]);
    let along = [arrow[0] / length, arrow[1] / length];
    let head = (2.9 * thickness).min(0.52 * length);
    let half_head = 0.55 * head;
    let half_shaft = (thickness / 2.0).min(0.45 * half_head);
    let (tail, neck, tip) = (-length / 2.0, length / 2.0 - head, length / 2.0);
    [
        [tail, half_shaft],
        [neck, half_shaft],
        [neck, half_head],
        [tip, 0.0],
        [neck, -half_head],
        [neck, -half_shaft],
        [tail, -half_shaft],
    ]
    .map(|[forward, side]| {
        [
            middle[0] + forward * along[0] - side * along[1],
            middle[1] + forward * along[1] + side * along[0],
        ]
    })
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_points_along_its_vector_and_has_its_length() {
        let corners = outline([10.0, 20.0], [6.0, 8.0], 1.0);
        let (tip, tail) = (
            corners[3],
            [0, 1].map(|i| (corners[0][i] + corners[6][i]) / 2.0),
        );
        assert!((tip[0] - 13.0).abs() < 1e-9 && (tip[1] - 24.0).abs() < 1e-9);
        assert!((tail[0] - 7.0).abs() < 1e-9 && (tail[1] - 16.0).abs() < 1e-9);
    }

    #[test]
    fn thinning_keeps_one_vector_a_block() {
        let vectors: Vec<PolarVector> = (0..10_000)
            .map(|i| PolarVector {
                position: [f64::from(i % 100), f64::from(i / 100)],
                displacement: [1.0, 0.0],
                sigma: [f64::NAN; 2],
                flags: 0,
            })
            .collect();
        let scale = ArrowScale {
            radius_pm: 1.0,
            factor: 1.0,
            thinning: 5,
            pitch: 10.0,
            block: 5.0,
        };
        let chosen = scale.chosen(&vectors);
        assert_eq!(chosen.len(), 400);
        assert!(
            chosen
                .iter()
                .all(|v| v.position.map(|p| p % 5.0) == [2.0, 2.0])
        );
    }
}
