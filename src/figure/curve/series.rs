//! Lines, markers, error bars and bands.

use super::{Look, Reference, Series, Spread};
use crate::figure::axes::Plot;
use crate::figure::canvas::{Canvas, Paint};
use crate::figure::colour::{FAINT, PALETTE, PAPER, Rgb};

/// Half the width of a marker [px].
const MARKER_RADIUS: f64 = 3.6;
/// Series with more points are drawn without markers, which would cover the line.
const MOST_MARKERS: usize = 60;
/// Dashes of references, in order of use [px].
const REFERENCE_DASHES: [f64; 3] = [3.0, 8.0, 1.4];

pub(super) fn draw_reference(
    canvas: &mut Canvas,
    plot: &Plot,
    reference: &Reference,
    number: usize,
) {
    if let Some(fraction) = plot.y.fraction(reference.y) {
        let frame = plot.frame;
        let y = frame.bottom() - fraction * frame.height;
        canvas.line([frame.x, y], [frame.right(), y], &reference_paint(number));
    }
}

pub(super) fn reference_paint(number: usize) -> Paint {
    Paint {
        dash: REFERENCE_DASHES[number % REFERENCE_DASHES.len()],
        ..Paint::stroke(FAINT, 1.4)
    }
}

pub(super) fn draw_series(canvas: &mut Canvas, plot: &Plot, series: &Series, number: usize) {
    let colour = PALETTE[number % PALETTE.len()];
    let points: Vec<(usize, [f64; 2])> = series
        .x
        .iter()
        .zip(&series.y)
        .enumerate()
        .filter_map(|(i, (&x, &y))| Some((i, plot.place(x, y)?)))
        .collect();
    match series.spread {
        Spread::Band => draw_band(canvas, plot, series, &points, colour),
        Spread::Bars => draw_bars(canvas, plot, series, &points, colour),
    }
    let places: Vec<[f64; 2]> = points.iter().map(|(_, place)| *place).collect();
    if series.look != Look::Markers {
        canvas.polyline(&places, false, &line_paint(series.look, colour));
    }
    if has_markers(series) {
        for place in places {
            draw_marker(canvas, place, number, colour);
        }
    }
}

pub(super) fn has_markers(series: &Series) -> bool {
    match series.look {
        Look::Markers => true,
        Look::LineAndMarkers => series.x.len() <= MOST_MARKERS,
        Look::Line | Look::Dashed => false,
    }
}

pub(super) fn line_paint(look: Look, colour: Rgb) -> Paint {
    Paint {
        dash: if look == Look::Dashed { 6.0 } else { 0.0 },
        ..Paint::stroke(colour, 1.8)
    }
}

/// Ends of ±1 standard deviation at point `index`, on the sheet; what a logarithmic axis cannot show ends at its foot.
fn ends(plot: &Plot, series: &Series, index: usize) -> Option<[f64; 2]> {
    let sigma = series
        .sigma
        .get(index)
        .filter(|s| s.is_finite() && **s > 0.0)?;
    let (x, y) = (series.x[index], series.y[index]);
    let high = plot.place(x, y + sigma)?[1];
    let low = plot
        .place(x, y - sigma)
        .map_or(plot.frame.bottom(), |place| place[1]);
    Some([low, high])
}

fn draw_bars(
    canvas: &mut Canvas,
    plot: &Plot,
    series: &Series,
    points: &[(usize, [f64; 2])],
    colour: Rgb,
) {
    let paint = Paint::stroke(colour, 1.2);
    for (index, [x, _]) in points {
        if let Some([low, high]) = ends(plot, series, *index) {
            canvas.line([*x, low], [*x, high], &paint);
            for end in [low, high] {
                canvas.line([x - 3.0, end], [x + 3.0, end], &paint);
            }
        }
    }
}

fn draw_band(
    canvas: &mut Canvas,
    plot: &Plot,
    series: &Series,
    points: &[(usize, [f64; 2])],
    colour: Rgb,
) {
    let edges: Vec<([f64; 2], [f64; 2])> = points
        .iter()
        .filter_map(|(index, [x, _])| {
            let [low, high] = ends(plot, series, *index)?;
            Some(([*x, low], [*x, high]))
        })
        .collect();
    let low = edges.iter().map(|edge| edge.0);
    let outline: Vec<[f64; 2]> = low.chain(edges.iter().rev().map(|edge| edge.1)).collect();
    let paint = Paint {
        opacity: 0.2,
        ..Paint::fill(colour)
    };
    canvas.polyline(&outline, true, &paint);
}

/// The marker of series `number`: shapes differ, so that colour is not the only sign.
pub(super) fn draw_marker(canvas: &mut Canvas, [x, y]: [f64; 2], number: usize, colour: Rgb) {
    let paint = Paint {
        stroke: Some(PAPER),
        width: 0.8,
        ..Paint::fill(colour)
    };
    let r = MARKER_RADIUS;
    let corners: &[[f64; 2]] = match number % 5 {
        0 => return canvas.circle([x, y], r, &paint),
        1 => &[[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
        2 => &[[0.0, -1.25], [1.15, 0.85], [-1.15, 0.85]],
        3 => &[[0.0, -1.3], [1.3, 0.0], [0.0, 1.3], [-1.3, 0.0]],
        _ => &[[0.0, 1.25], [1.15, -0.85], [-1.15, -0.85]],
    };
    let outline: Vec<[f64; 2]> = corners
        .iter()
        .map(|c| [x + c[0] * r, y + c[1] * r])
        .collect();
    canvas.polyline(&outline, true, &paint);
}
