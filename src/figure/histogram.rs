//! Histograms with the median and its standard error: where the displacements lie, and how sure that is.
//!
//! Bin widths follow D. Freedman and P. Diaconis, Z. Wahrscheinlichkeitstheorie 57, 453 (1981): 2 IQR n^(−1/3).

use super::Figure;
use super::axes::{
    LABEL_SIZE, MARGIN, Plot, PlotGrid, TICK_SIZE, draw_heading, draw_nothing, heading_height,
};
use super::canvas::{Canvas, Frame, LINE_SPACING, Paint, TextStyle};
use super::colour::{FAINT, INK, PALETTE, PAPER};
use super::statistics::{Summary, quantile, summary};
use super::ticks::{Axis, decimal};
use crate::crystal::polarization::PolarVector;

/// One distribution.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// Title of the panel.
    pub title: String,
    /// Quantity with its unit, such as `dx [pm]`.
    pub label: String,
    /// Unit alone, written after the numbers.
    pub unit: String,
    /// The sample; values that are not finite are left out.
    pub values: Vec<f64>,
}

/// Width and height of the data region [px].
const SIZE: [f64; 2] = [320.0, 215.0];
/// Room for two lines of numbers below a panel [px].
const NOTES: f64 = 2.0 * LABEL_SIZE * LINE_SPACING + 4.0;
/// Fewest and most bins.
const BINS: [f64; 2] = [12.0, 80.0];
/// Values farther from the median than this many spreads are counted, not drawn.
const REACH: f64 = 8.0;

/// Panels side by side in rows of `columns`, all over the same range.
#[must_use]
pub fn histograms_figure(title: &str, panels: &[Histogram], columns: usize) -> Figure {
    let limits = common_limits(panels);
    let bins: Vec<Bins> = panels
        .iter()
        .map(|panel| Bins::of(&panel.values, limits))
        .collect();
    let axes = panels.iter().zip(&bins).map(|(panel, bins)| {
        let highest = bins.counts.iter().copied().max().unwrap_or(0).max(1);
        let x = Axis::over(&panel.label, false, Some(limits), std::iter::empty());
        let limits = Some([0.0, highest as f64 * 1.08]);
        let y = Axis::over("cells", false, limits, std::iter::empty());
        (panel.title.clone(), [x, y])
    });
    let grid = PlotGrid::new(axes.collect(), SIZE, columns, NOTES);
    let width = grid.size[0] + 2.0 * MARGIN;
    let head = heading_height(title, width);
    let grid = grid.moved([MARGIN, head]);
    let height = head + grid.size[1] + MARGIN;
    let mut canvas = Canvas::new(width, height);
    draw_heading(&mut canvas, title, width);
    for ((panel, bins), plot) in panels.iter().zip(&bins).zip(&grid.plots) {
        draw_panel(&mut canvas, panel, bins, plot);
    }
    canvas.into_figure(title)
}

/// Histograms of dx and dy [pm] of the vectors that carry no flag.
#[must_use]
pub fn displacement_histograms(title: &str, vectors: &[PolarVector]) -> Figure {
    let panels = [
        ("dx [pm], right is positive", 0),
        ("dy [pm], down is positive", 1),
    ]
    .map(|(label, axis)| {
        let clean = vectors.iter().filter(|vector| vector.flags == 0);
        Histogram {
            title: String::new(),
            label: label.to_owned(),
            unit: "pm".to_owned(),
            values: clean.map(|vector| vector.displacement[axis]).collect(),
        }
    });
    histograms_figure(title, &panels, 2)
}

/// A range that shows all panels, except for values beyond [`REACH`].
fn common_limits(panels: &[Histogram]) -> [f64; 2] {
    let mut limits: Option<[f64; 2]> = None;
    for panel in panels {
        let Some(Summary { median, spread, .. }) = summary(&panel.values) else {
            continue;
        };
        let reach = if spread > 0.0 {
            REACH * spread
        } else {
            f64::INFINITY
        };
        let shown = panel.values.iter().copied();
        for value in shown.filter(|v| v.is_finite() && (v - median).abs() <= reach) {
            let [low, high] = limits.unwrap_or([value, value]);
            limits = Some([low.min(value), high.max(value)]);
        }
    }
    let ends = limits.unwrap_or([0.0, 1.0]);
    Axis::over("", false, None, ends.into_iter()).range
}

/// Counts in equal bins over a range.
struct Bins {
    low: f64,
    width: f64,
    counts: Vec<usize>,
    /// Finite values outside the range.
    beyond: usize,
}

impl Bins {
    fn of(values: &[f64], [low, high]: [f64; 2]) -> Self {
        let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let quartiles = [0.25, 0.75].map(|q| quantile(&finite, q).unwrap_or(0.0));
        let wanted = 2.0 * (quartiles[1] - quartiles[0]) * (finite.len() as f64).powf(-1.0 / 3.0);
        let number = ((high - low) / wanted).clamp(BINS[0], BINS[1]).ceil();
        let number = if number.is_finite() { number } else { BINS[0] };
        let width = (high - low) / number;
        let mut counts = vec![0; number as usize];
        let mut beyond = 0;
        for value in finite {
            let bin = (value - low) / width;
            match counts.get_mut(bin as usize) {
                Some(count) if bin >= 0.0 => *count += 1,
                _ => beyond += 1,
            }
        }
        Self {
            low,
            width,
            counts,
            beyond,
        }
    }
}

fn draw_panel(canvas: &mut Canvas, panel: &Histogram, bins: &Bins, plot: &Plot) {
    plot.draw(canvas);
    let bar = Paint {
        stroke: Some(PAPER),
        width: 0.6,
        ..Paint::fill(PALETTE[5])
    };
    for (index, &count) in bins
        .counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
    {
        let left = bins.low + index as f64 * bins.width;
        let corners = (
            plot.place(left, count as f64),
            plot.place(left + bins.width, 0.0),
        );
        if let (Some(upper), Some(lower)) = corners {
            let frame = Frame {
                x: upper[0],
                y: upper[1],
                width: lower[0] - upper[0],
                height: lower[1] - upper[1],
            };
            canvas.rect(frame, &bar);
        }
    }
    match summary(&panel.values) {
        Some(found) => draw_summary(canvas, panel, bins, plot, &found),
        None => draw_nothing(canvas, plot.frame, "no values"),
    }
    plot.draw_border(canvas);
}

/// The median as a line with a band of ± its standard error, and the numbers below the plot.
fn draw_summary(canvas: &mut Canvas, panel: &Histogram, bins: &Bins, plot: &Plot, found: &Summary) {
    let frame = plot.frame;
    let at = |value: f64| plot.x.fraction(value).map(|f| frame.x + f * frame.width);
    let error = found.standard_error;
    if let (Some(low), Some(high)) = (at(found.median - error), at(found.median + error)) {
        let band = Frame {
            x: low,
            width: high - low,
            ..frame
        };
        let paint = Paint {
            opacity: 0.25,
            ..Paint::fill(PALETTE[1])
        };
        canvas.clipped(frame, |canvas| canvas.rect(band, &paint));
    }
    if let Some(x) = at(found.median) {
        canvas.line(
            [x, frame.y],
            [x, frame.bottom()],
            &Paint::stroke(PALETTE[1], 1.6),
        );
    }
    if let Some(zero) = at(0.0).filter(|x| (frame.x..=frame.right()).contains(x)) {
        let paint = Paint {
            dash: 3.0,
            ..Paint::stroke(FAINT, 1.0)
        };
        canvas.line([zero, frame.y], [zero, frame.bottom()], &paint);
    }
    let decimals = decimals_for(error);
    let (median, error) = (decimal(found.median, decimals), decimal(error, decimals));
    let spread = decimal(found.spread, decimals.min(2));
    let unit = &panel.unit;
    let beyond = if bins.beyond > 0 {
        format!(", {} beyond the axis", bins.beyond)
    } else {
        String::new()
    };
    let y = frame.bottom() + Plot::bottom_margin(&plot.x, frame.width) + LABEL_SIZE + 4.0;
    let style = TextStyle {
        colour: INK,
        ..TextStyle::bold(LABEL_SIZE)
    };
    canvas.text(
        [frame.x, y],
        &format!("median {median} ± {error} {unit}"),
        &style,
    );
    let note = format!(
        "spread {spread} {unit} (1.48 MAD), n = {}{beyond}",
        found.count
    );
    let y = y + LABEL_SIZE * LINE_SPACING;
    canvas.text([frame.x, y], &note, &TextStyle::faint(TICK_SIZE));
}

/// Decimals that show two digits of an uncertainty.
pub(super) fn decimals_for(error: f64) -> usize {
    if error > 0.0 && error.is_finite() {
        (1.0 - error.log10().floor()).clamp(0.0, 6.0) as usize
    } else {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_counted_once() {
        let values: Vec<f64> = (0..997).map(|i| f64::from(i * i % 101) - 50.0).collect();
        let bins = Bins::of(&values, [-40.0, 50.5]);
        assert_eq!(bins.counts.iter().sum::<usize>() + bins.beyond, 997);
        assert!(bins.beyond > 0);
        assert!(
            Bins::of(&[], [0.0, 1.0])
                .counts
                .iter()
                .all(|count| *count == 0)
        );
    }

    #[test]
    fn an_uncertainty_is_shown_with_two_digits() {
        assert_eq!(
            [0.034, 0.34, 3.4, 34.0, 0.0].map(decimals_for),
            [3, 2, 1, 0, 2]
        );
    }
}
