//! Measured against true: the slope tells shrinkage from skill, which an error alone cannot.

use super::Figure;
use super::axes::{
    LABEL_SIZE, MARGIN, Plot, PlotGrid, TICK_SIZE, draw_heading, draw_nothing, heading_height,
};
use super::canvas::{Canvas, LINE_SPACING, Paint, TextStyle};
use super::colour::{FAINT, PALETTE};
use super::histogram::decimals_for;
use super::statistics::line;
use super::ticks::{Axis, decimal, significant};

/// One cloud of points.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scatter {
    /// Title of the panel.
    pub title: String,
    /// What is true, with its unit, such as `true dx [pm]`.
    pub x_label: String,
    /// What was measured, with its unit.
    pub y_label: String,
    /// Unit alone, written after the numbers.
    pub unit: String,
    /// `[true, measured]`; pairs with a value that is not finite are left out.
    pub points: Vec<[f64; 2]>,
}

/// Side of the square data region [px].
const SIDE: f64 = 280.0;
/// Clouds are thinned to this many points, evenly in their order; the numbers always use all.
const MOST_POINTS: usize = 4000;

/// Panels side by side in rows of `columns`; both axes of a panel have the same range.
#[must_use]
pub fn scatter_figure(title: &str, panels: &[Scatter], columns: usize) -> Figure {
    let axes = panels.iter().map(|panel| {
        let [x, y] = [&panel.x_label, &panel.y_label]
            .map(|label| Axis::over(label, false, None, panel.finite().into_iter().flatten()));
        (panel.title.clone(), [x, y])
    });
    let grid = PlotGrid::new(axes.collect(), [SIDE, SIDE], columns, 0.0);
    let width = grid.size[0] + 2.0 * MARGIN;
    let head = heading_height(title, width);
    let grid = grid.moved([MARGIN, head]);
    let mut canvas = Canvas::new(width, head + grid.size[1] + MARGIN);
    draw_heading(&mut canvas, title, width);
    for (panel, plot) in panels.iter().zip(&grid.plots) {
        draw_panel(&mut canvas, panel, plot);
    }
    canvas.into_figure(title)
}

impl Scatter {
    fn finite(&self) -> Vec<[f64; 2]> {
        let finite = |point: &&[f64; 2]| point[0].is_finite() && point[1].is_finite();
        self.points.iter().filter(finite).copied().collect()
    }
}

fn draw_panel(canvas: &mut Canvas, panel: &Scatter, plot: &Plot) {
    plot.draw(canvas);
    let points = panel.finite();
    if points.is_empty() {
        draw_nothing(canvas, plot.frame, "no values");
    }
    let stride = points.len().div_ceil(MOST_POINTS).max(1);
    canvas.clipped(plot.frame, |canvas| {
        let opacity = if points.len() > 300 { 0.35 } else { 0.7 };
        let paint = Paint {
            opacity,
            ..Paint::fill(PALETTE[0])
        };
        for place in points
            .iter()
            .step_by(stride)
            .filter_map(|p| plot.place(p[0], p[1]))
        {
            canvas.circle(place, 2.2, &paint);
        }
        let [low, high] = plot.x.range;
        let ends = |y: &dyn Fn(f64) -> f64| [low, high].map(|x| plot.place(x, y(x)));
        let dashed = Paint {
            dash: 4.0,
            ..Paint::stroke(FAINT, 1.2)
        };
        if let [Some(from), Some(to)] = ends(&|x| x) {
            canvas.line(from, to, &dashed);
        }
        if let Some(fitted) = line(&points)
            && let [Some(from), Some(to)] = ends(&|x| fitted.intercept + fitted.slope * x)
        {
            canvas.line(from, to, &Paint::stroke(PALETTE[1], 1.8));
        }
    });
    draw_numbers(canvas, panel, plot, &points, stride);
    plot.draw_border(canvas);
}

/// Slope, error and count, in the upper left corner where a rising cloud leaves room.
fn draw_numbers(
    canvas: &mut Canvas,
    panel: &Scatter,
    plot: &Plot,
    points: &[[f64; 2]],
    stride: usize,
) {
    let mut lines = Vec::new();
    if let Some(fitted) = line(points) {
        let decimals = decimals_for(fitted.slope_error).min(4);
        let [slope, error] = [fitted.slope, fitted.slope_error].map(|v| decimal(v, decimals));
        lines.push(format!("slope {slope} ± {error}"));
    }
    if !points.is_empty() {
        let squares: f64 = points.iter().map(|p| (p[1] - p[0]).powi(2)).sum();
        let rms = (squares / points.len() as f64).sqrt();
        lines.push(format!("RMS error {} {}", significant(rms), panel.unit));
        let thinned = if stride > 1 {
            format!(" (1 in {stride} drawn)")
        } else {
            String::new()
        };
        lines.push(format!("n = {}{thinned}", points.len()));
    }
    let corner = [plot.frame.x + 9.0, plot.frame.y + LABEL_SIZE + 5.0];
    let below = canvas.paragraph(corner, &lines, &TextStyle::on_paper(LABEL_SIZE));
    let legend = ["dashed: measured = true".to_owned()];
    if !points.is_empty() {
        let at = [corner[0], below + (TICK_SIZE - LABEL_SIZE) * LINE_SPACING];
        canvas.paragraph(
            at,
            &legend,
            &TextStyle {
                colour: FAINT,
                ..TextStyle::on_paper(TICK_SIZE)
            },
        );
    }
}
