//! Roses: how many vectors point where, as sectors in the colours of their directions. The area of a sector is proportional to
//! its number, so that a rose does not exaggerate what is frequent (N. I. Fisher, *Statistical Analysis of Circular Data*
//! (1993), § 2.2).

use std::f64::consts::TAU;

use super::Figure;
use super::axes::{LABEL_SIZE, MARGIN, TICK_SIZE, draw_heading, draw_nothing, heading_height};
use super::canvas::{Anchor, Canvas, Frame, Paint, TextStyle};
use super::colour::{FAINT, GRID, INK, PAPER, Wheel};
use super::ticks::significant;
use crate::crystal::polarization::PolarVector;

/// Radius of the longest sector [px].
const RADIUS: f64 = 165.0;
/// Number of sectors: 10° each.
const SECTORS: usize = 36;
/// Straight pieces of the arc of a sector.
const PIECES: usize = 8;

/// The directions of the vectors without flags; `note` says what they are, below the rose.
#[must_use]
pub fn rose_figure(title: &str, vectors: &[PolarVector], note: &str) -> Figure {
    let counts = counts(vectors);
    let width = 2.0 * (RADIUS + MARGIN + 40.0);
    let head = heading_height(title, width);
    let centre = [width / 2.0, head + RADIUS + 30.0];
    let mut canvas = Canvas::new(width, centre[1] + RADIUS + 62.0);
    draw_heading(&mut canvas, title, width);
    draw_web(&mut canvas, centre);
    let most = counts.iter().copied().max().unwrap_or(0);
    for (sector, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let reach = RADIUS * (count as f64 / most as f64).sqrt();
        draw_sector(&mut canvas, centre, sector, reach);
    }
    let total: usize = counts.iter().sum();
    if total == 0 {
        let frame = Frame {
            x: centre[0] - RADIUS,
            y: centre[1] - RADIUS,
            width: 2.0 * RADIUS,
            height: 2.0 * RADIUS,
        };
        draw_nothing(&mut canvas, frame, "no vectors");
    }
    let style = TextStyle::faint(TICK_SIZE).anchored(Anchor::Middle);
    let share = 100.0 * most as f64 / total.max(1) as f64;
    let lines = [
        format!(
            "{total} vectors; rim: {most} ({} %) in 10°, area ∝ number",
            significant((10.0 * share).round() / 10.0)
        ),
        note.to_owned(),
    ];
    canvas.paragraph([centre[0], centre[1] + RADIUS + 34.0], &lines, &style);
    canvas.into_figure(title)
}

/// Number of vectors in each sector; sector 0 is centred on +x, the next ones follow towards +y (down).
fn counts(vectors: &[PolarVector]) -> [usize; SECTORS] {
    let mut counts = [0; SECTORS];
    for vector in vectors.iter().filter(|vector| vector.flags == 0) {
        let [x, y] = vector.displacement;
        if x.is_finite() && y.is_finite() && (x != 0.0 || y != 0.0) {
            let place = (y.atan2(x) / TAU * SECTORS as f64).round() as i64;
            counts[place.rem_euclid(SECTORS as i64) as usize] += 1;
        }
    }
    counts
}

/// Rings at a quarter, a half and all of the largest number, and the axes of the image.
fn draw_web(canvas: &mut Canvas, centre: [f64; 2]) {
    for part in [0.25_f64, 0.5, 1.0] {
        canvas.circle(centre, RADIUS * part.sqrt(), &Paint::stroke(GRID, 1.0));
    }
    for (sign, name, anchor, shift) in [
        ([1.0, 0.0], "x", Anchor::Start, [6.0, 4.0]),
        ([0.0, 1.0], "y", Anchor::Middle, [0.0, 15.0]),
        ([-1.0, 0.0], "−x", Anchor::End, [-6.0, 4.0]),
        ([0.0, -1.0], "−y", Anchor::Middle, [0.0, -7.0]),
    ] {
        let end = [0, 1].map(|k| centre[k] + RADIUS * sign[k]);
        canvas.line(centre, end, &Paint::stroke(GRID, 1.0));
        let style = TextStyle {
            colour: FAINT,
            ..TextStyle::new(LABEL_SIZE).anchored(anchor)
        };
        canvas.text([end[0] + shift[0], end[1] + shift[1]], name, &style);
    }
}

fn draw_sector(canvas: &mut Canvas, centre: [f64; 2], sector: usize, reach: f64) {
    let step = TAU / SECTORS as f64;
    let middle = sector as f64 * step;
    let arc = (0..=PIECES).map(|piece| middle + step * (piece as f64 / PIECES as f64 - 0.5));
    let on_arc = |angle: f64| {
        [
            centre[0] + reach * angle.cos(),
            centre[1] + reach * angle.sin(),
        ]
    };
    let mut corners = vec![centre];
    corners.extend(arc.map(on_arc));
    let paint = Paint {
        stroke: Some(if reach > 12.0 { PAPER } else { INK }),
        width: 0.6,
        ..Paint::fill(Wheel::Pale.colour([middle.cos(), middle.sin()]))
    };
    canvas.polyline(&corners, true, &paint);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_counts_in_its_own_sector() {
        let vectors: Vec<PolarVector> = (0..SECTORS * 3)
            .map(|k| {
                let angle = TAU * (k % SECTORS) as f64 / SECTORS as f64 + 0.05;
                PolarVector {
                    position: [0.0; 2],
                    displacement: [angle.cos(), angle.sin()],
                    sigma: [1.0; 2],
                    flags: u32::from(k >= 2 * SECTORS),
                }
            })
            .collect();
        assert_eq!(counts(&vectors), [2; SECTORS]);
        assert_eq!(counts(&[]), [0; SECTORS]);
        assert!(rose_figure("Nothing", &[], "").svg.contains("no vectors"));
    }
}
