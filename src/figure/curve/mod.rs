//! Series over an axis, with error bars or bands, alone or as small multiples.

mod legend;
mod series;

use super::Figure;
use super::axes::{MARGIN, Plot, PlotGrid, draw_heading, draw_nothing, heading_height};
use super::canvas::Canvas;
use super::ticks::Axis;
use legend::Legend;
use series::{draw_reference, draw_series};

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
    /// Name in the legend; panels of one figure give a name one kind of dashes.
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

impl Curve {
    /// The panel as a figure of its own.
    #[must_use]
    pub fn figure(&self) -> Figure {
        let panel = Self {
            title: String::new(),
            ..self.clone()
        };
        curves_figure(&self.title, &[panel], 1)
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
    let names = Names::of(panels);
    let legend = Legend::layout(panels, &names, grid.size[0]);
    let width = grid.size[0] + 2.0 * MARGIN;
    let head = heading_height(title, width);
    let grid = grid.moved([MARGIN, head + legend.height]);
    let mut canvas = Canvas::new(width, head + legend.height + grid.size[1] + MARGIN);
    draw_heading(&mut canvas, title, width);
    legend.draw(&mut canvas, [MARGIN, head]);
    for (panel, plot) in panels.iter().zip(&grid.plots) {
        draw_panel(&mut canvas, panel, plot, &names);
    }
    let first = panels.first().map_or("", |panel| panel.title.as_str());
    canvas.into_figure(if title.is_empty() { first } else { title })
}

/// Names in order of first appearance; a name's place decides its colour or dashes in all panels.
struct Names {
    series: Vec<String>,
    references: Vec<String>,
}

impl Names {
    fn of(panels: &[Curve]) -> Self {
        let series = panels.iter().flat_map(|panel| &panel.series);
        let references = panels.iter().flat_map(|panel| &panel.references);
        Self {
            series: distinct(series.map(|series| &series.label)),
            references: distinct(references.map(|reference| &reference.label)),
        }
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        if !found.contains(name) {
            found.push(name.clone());
        }
    }
    found
}

/// Place of `name` among `names`.
fn number(names: &[String], name: &str) -> usize {
    names.iter().position(|other| other == name).unwrap_or(0)
}

fn draw_panel(canvas: &mut Canvas, panel: &Curve, plot: &Plot, names: &Names) {
    plot.draw(canvas);
    canvas.clipped(plot.frame, |canvas| {
        for reference in &panel.references {
            let number = number(&names.references, &reference.label);
            draw_reference(canvas, plot, reference, number);
        }
        for series in &panel.series {
            draw_series(canvas, plot, series, number(&names.series, &series.label));
        }
    });
    let mut points = panel.series.iter().flat_map(|s| s.x.iter().zip(&s.y));
    if !points.any(|(&x, &y)| plot.place(x, y).is_some()) {
        draw_nothing(canvas, plot.frame, "no values");
    }
    plot.draw_border(canvas);
}
