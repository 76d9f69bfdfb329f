//! Series over an axis, with error bars or bands, alone or as small multiples.

use super::Figure;
use super::axes::{LABEL_SIZE, MARGIN, Plot, PlotGrid, draw_heading, draw_nothing, heading_height};
use super::canvas::{Anchor, Canvas, LINE_SPACING, Paint, TextStyle};
use super::colour::{FAINT, PALETTE, PAPER, Rgb};
use super::font::{Weight, text_width, wrap};
use super::ticks::Axis;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Look {
    /// Markers joined by a line.
    #[default]
    LineAndMarkers,
    /// A line: for many points, and for models.
    Line,
    /// A dashed line: for bounds and theory.
    Dashed,
    /// Markers alone: for measurements in no order.
    Markers,
}

/// How standard deviations are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spread {
    /// A bar of ±1 standard deviation at each point.
    #[default]
    Bars,
    /// A band of ±1 standard deviation along the line.
    Band,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Name in the legend; panels of one figure give a name one colour.
    pub label: String,
    /// Abscissae; points that are not finite are left out.
    pub x: Vec<f64>,
    /// Ordinates, as many as `x`.
    pub y: Vec<f64>,
    /// Standard deviations of `y`, or empty; NaN where not known.
    pub sigma: Vec<f64>,
    /// How it is drawn.
    pub look: Look,
    /// How `sigma` is drawn.
    pub spread: Spread,
}

/// A horizontal line with a name: a published value, a bound, zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Written at the line.
    pub label: String,
    /// Ordinate.
    pub y: f64,
}

/// One panel of curves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    /// Title of the panel.
    pub title: String,
    /// Quantity and unit of the abscissa, such as `tilt [mrad]`.
    pub x_label: String,
    /// Quantity and unit of the ordinate.
    pub y_label: String,
    /// Logarithmic abscissa.
    pub log_x: bool,
    /// Logarithmic ordinate.
    pub log_y: bool,
    /// Ends of the abscissa; from the data if `None`.
    pub x_limits: Option<[f64; 2]>,
    /// Ends of the ordinate; from the data if `None`.
    pub y_limits: Option<[f64; 2]>,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Horizontal lines.
    pub references: Vec<Reference>,
}

/// Width and height of the data region of a single panel [px].
const SINGLE: [f64; 2] = [520.0, 320.0];
/// The same for panels that share a figure [px].
const MULTIPLE: [f64; 2] = [300.0, 215.0];
/// Half the width of a marker [px].
const MARKER_RADIUS: f64 = 3.6;
/// Series with more points are drawn without markers, which would cover the line.
const MOST_MARKERS: usize = 60;

impl Curve {
    /// The panel as a figure of its own.
    #[must_use]
    pub fn figure(&self) -> Figure {
        curves_figure("", std::slice::from_ref(self), 1)
    }

    fn axes(&self) -> [Axis; 2] {
        let abscissae = self
            .series
            .iter()
            .flat_map(|series| series.x.iter().copied());
        let ordinates = self.series.iter().flat_map(|series| {
            series.y.iter().enumerate().flat_map(|(i, &y)| {
                let sigma = series.sigma.get(i).copied().filter(|s| s.is_finite());
                let sigma = sigma.unwrap_or(0.0);
                [y - sigma, y, y + sigma]
            })
        });
        let ordinates = ordinates.chain(self.references.iter().map(|reference| reference.y));
        [
            Axis::over(&self.x_label, self.log_x, self.x_limits, abscissae),
            Axis::over(&self.y_label, self.log_y, self.y_limits, ordinates),
        ]
    }
}

/// Several panels in rows of `columns`, with one legend: a series name has one colour throughout.
#[must_use]
pub fn curves_figure(title: &str, panels: &[Curve], columns: usize) -> Figure {
    let size = if panels.len() > 1 { MULTIPLE } else { SINGLE };
    let axes = panels
        .iter()
        .map(|panel| (panel.title.clone(), panel.axes()));
    let grid = PlotGrid::new(axes.collect(), size, columns, 0.0);
    let names = names(panels);
    let legend = Legend::layout(&names, grid.size[0]);
    let width = grid.size[0] + 2.0 * MARGIN;
    let head = heading_height(title, width);
    let grid = grid.moved([MARGIN, head + legend.height]);
    let mut canvas = Canvas::new(width, head + legend.height + grid.size[1] + MARGIN);
    draw_heading(&mut canvas, title, width);
    legend.draw(&mut canvas, [MARGIN, head], panels, &names);
    for (panel, plot) in panels.iter().zip(&grid.plots) {
        draw_panel(&mut canvas, panel, plot, &names);
    }
    let first = panels.first().map_or("", |panel| panel.title.as_str());
    canvas.into_figure(if title.is_empty() { first } else { title })
}

/// Names of all series in order of first appearance.
fn names(panels: &[Curve]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for series in panels.iter().flat_map(|panel| &panel.series) {
        if !names.contains(&series.label) {
            names.push(series.label.clone());
        }
    }
    names
}

fn draw_panel(canvas: &mut Canvas, panel: &Curve, plot: &Plot, names: &[String]) {
    plot.draw(canvas);
    canvas.clipped(plot.frame, |canvas| {
        for reference in &panel.references {
            draw_reference(canvas, plot, reference);
        }
        for series in &panel.series {
            let number = names.iter().position(|name| *name == series.label);
            draw_series(canvas, plot, series, number.unwrap_or(0));
        }
    });
    let shown = panel.series.iter().flat_map(|s| s.x.iter().zip(&s.y));
    if !shown.into_iter().any(|(&x, &y)| plot.place(x, y).is_some()) {
        draw_nothing(canvas, plot.frame, "no values");
    }
    plot.draw_border(canvas);
}

fn draw_reference(canvas: &mut Canvas, plot: &Plot, reference: &Reference) {
    let Some(fraction) = plot.y.fraction(reference.y) else {
        return;
    };
    let frame = plot.frame;
    let y = frame.bottom() - fraction * frame.height;
    let paint = Paint {
        dash: 3.0,
        ..Paint::stroke(FAINT, 1.2)
    };
    canvas.line([frame.x, y], [frame.right(), y], &paint);
    let above = if fraction > 0.93 { y + 13.0 } else { y - 4.0 };
    let style = TextStyle::faint(LABEL_SIZE - 1.5).anchored(Anchor::End);
    canvas.text([frame.right() - 5.0, above], &reference.label, &style);
}

fn draw_series(canvas: &mut Canvas, plot: &Plot, series: &Series, number: usize) {
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

fn has_markers(series: &Series) -> bool {
    match series.look {
        Look::Markers => true,
        Look::LineAndMarkers => series.x.len() <= MOST_MARKERS,
        Look::Line | Look::Dashed => false,
    }
}

fn line_paint(look: Look, colour: Rgb) -> Paint {
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
fn draw_marker(canvas: &mut Canvas, [x, y]: [f64; 2], number: usize, colour: Rgb) {
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

/// Names of series in rows above the panels.
struct Legend {
    /// Name, its lines, and place of the first baseline relative to the legend's corner.
    entries: Vec<(String, Vec<String>, [f64; 2])>,
    height: f64,
}

/// Room for the sample of a line before its name [px].
const SAMPLE_WIDTH: f64 = 30.0;

impl Legend {
    /// Flows the names into rows of `width` [px]; a name too long for a row takes several lines. Series without a name have
    /// no entry.
    fn layout(names: &[String], width: f64) -> Self {
        let row = LABEL_SIZE * LINE_SPACING + 3.0;
        let (mut x, mut y, mut lowest) = (0.0, LABEL_SIZE, 0.0);
        let mut entries = Vec::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            let lines = wrap(name, LABEL_SIZE, Weight::Regular, width - SAMPLE_WIDTH);
            let widths = lines
                .iter()
                .map(|line| text_width(line, LABEL_SIZE, Weight::Regular));
            let length = SAMPLE_WIDTH + widths.fold(0.0, f64::max);
            if x > 0.0 && x + length > width {
                (x, y) = (0.0, lowest + row);
            }
            lowest = y + (lines.len() - 1) as f64 * LABEL_SIZE * LINE_SPACING;
            entries.push((name.clone(), lines, [x, y]));
            x += length + 18.0;
        }
        let height = if entries.is_empty() {
            0.0
        } else {
            lowest + 12.0
        };
        Self { entries, height }
    }

    fn draw(&self, canvas: &mut Canvas, corner: [f64; 2], panels: &[Curve], names: &[String]) {
        for (name, lines, [x, y]) in &self.entries {
            let [x, y] = [corner[0] + x, corner[1] + y];
            let middle = y - 0.36 * LABEL_SIZE;
            let number = names.iter().position(|n| n == name).unwrap_or(0);
            let mut all = panels.iter().flat_map(|panel| &panel.series);
            if let Some(series) = all.find(|series| series.label == *name) {
                let colour = PALETTE[number % PALETTE.len()];
                if series.look != Look::Markers {
                    let paint = line_paint(series.look, colour);
                    canvas.line([x, middle], [x + 22.0, middle], &paint);
                }
                if has_markers(series) {
                    draw_marker(canvas, [x + 11.0, middle], number, colour);
                }
            }
            canvas.paragraph([x + SAMPLE_WIDTH, y], lines, &TextStyle::new(LABEL_SIZE));
        }
    }
}
