//! Matrices as coloured cells with their numbers: errors of every network on every composition.

use ndarray::Array2;

use super::Figure;
use super::axes::{LABEL_SIZE, MARGIN, TICK_SIZE, draw_heading, heading_height};
use super::canvas::{Anchor, Canvas, Frame, LINE_SPACING, Paint, TextStyle};
use super::colour::{ColourScale, NO_VALUE, PAPER};
use super::font::{Weight, text_width, wrap};
use super::legend::ColourBar;
use super::ticks::decimal;
use crate::error::{Error, Result};

/// A matrix to show.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeatMap {
    /// Heading of the figure.
    pub title: String,
    /// What the rows are, such as `trained on`.
    pub row_title: String,
    /// What the columns are, such as `tested on`.
    pub column_title: String,
    /// Names of the rows, top to bottom.
    pub rows: Vec<String>,
    /// Names of the columns, left to right.
    pub columns: Vec<String>,
    /// Numbers `(rows, columns)`; NaN draws an empty cell.
    pub values: Array2<f64>,
    /// Spread of each number, or `None`; written below it as ±.
    pub spread: Option<Array2<f64>>,
    /// What the numbers are, with their unit, such as `RMS error [pm]`.
    pub label: String,
    /// Decimals written.
    pub decimals: usize,
    /// Colours.
    pub scale: ColourScale,
    /// Values at the ends of the colour bar; from the data if `None`.
    pub limits: Option<[f64; 2]>,
}

/// Height of a cell [px].
const CELL_HEIGHT: f64 = 54.0;
/// Least width of a cell [px].
const CELL_WIDTH: f64 = 70.0;

impl HeatMap {
    /// Draws it.
    ///
    /// # Errors
    /// Names, values and spreads differ in number, or the colour bar cannot be encoded.
    pub fn figure(&self) -> Result<Figure> {
        let shape = (self.rows.len(), self.columns.len());
        let spread = self.spread.as_ref().map_or(shape, Array2::dim);
        if self.values.dim() != shape || spread != shape {
            return Err(Error::unmeasurable(
                format!("draw the matrix \"{}\"", self.title),
                format!("values {:?}, spread {spread:?}", self.values.dim()),
                format!("the shape of its names, {shape:?}"),
            ));
        }
        let bar = ColourBar {
            label: self.label.clone(),
            scale: self.scale,
            limits: ColourBar::limits(self.limits, || extremes(self.values.iter().copied())),
        };
        let layout = Layout::new(self);
        let width = layout.frame.right() + 28.0 + ColourBar::WIDTH + MARGIN;
        // The bar with its label is as high as the cells, within reason.
        let bar_height = (layout.frame.height - bar.height(0.0)).clamp(90.0, 260.0);
        let bottom = layout.frame.y + bar.height(bar_height).max(layout.frame.height);
        let mut canvas = Canvas::new(width, bottom + MARGIN);
        draw_heading(&mut canvas, &self.title, width);
        self.draw_names(&mut canvas, &layout);
        for ((row, column), &value) in self.values.indexed_iter() {
            self.draw_cell(
                &mut canvas,
                layout.cell(row, column),
                [row, column],
                value,
                &bar,
            );
        }
        let corner = [layout.frame.right() + 28.0, layout.frame.y];
        bar.draw(&mut canvas, corner, bar_height)?;
        Ok(canvas.into_figure(&self.title))
    }

    fn draw_cell(
        &self,
        canvas: &mut Canvas,
        cell: Frame,
        at: [usize; 2],
        value: f64,
        bar: &ColourBar,
    ) {
        let ground = if value.is_finite() {
            bar.colour(value)
        } else {
            PAPER
        };
        let paint = Paint {
            stroke: Some(PAPER),
            width: 1.5,
            ..Paint::fill(ground)
        };
        canvas.rect(cell, &paint);
        let spread = self.spread.as_ref().map(|spread| spread[at]);
        let spread = spread.filter(|s| s.is_finite() && value.is_finite());
        let centre = [cell.x + cell.width / 2.0, cell.y + cell.height / 2.0];
        let colour = if value.is_finite() {
            ground.readable_on()
        } else {
            NO_VALUE
        };
        let style = TextStyle {
            colour,
            ..TextStyle::bold(TICK_SIZE + 3.0).anchored(Anchor::Middle)
        };
        let lift = if spread.is_some() { -1.0 } else { 5.0 };
        canvas.text(
            [centre[0], centre[1] + lift],
            &decimal(value, self.decimals),
            &style,
        );
        if let Some(spread) = spread {
            let style = TextStyle {
                colour,
                ..TextStyle::new(TICK_SIZE).anchored(Anchor::Middle)
            };
            let text = format!("± {}", decimal(spread, self.decimals));
            canvas.text([centre[0], centre[1] + 15.0], &text, &style);
        }
    }

    fn draw_names(&self, canvas: &mut Canvas, layout: &Layout) {
        let frame = layout.frame;
        let title = TextStyle::bold(LABEL_SIZE).anchored(Anchor::Middle);
        let centre = frame.x + frame.width / 2.0;
        canvas.text(
            [centre, layout.head + LABEL_SIZE],
            &self.column_title,
            &title,
        );
        let turned = TextStyle {
            rotation: -90.0,
            ..title
        };
        let middle = frame.y + frame.height / 2.0;
        canvas.text([MARGIN + LABEL_SIZE, middle], &self.row_title, &turned);
        let style = TextStyle::new(LABEL_SIZE);
        for (column, name) in self.columns.iter().enumerate() {
            let cell = layout.cell(0, column);
            let lines = name_lines(name, layout.cell_width - 6.0);
            let lift = (lines.len() as f64 - 1.0) * LABEL_SIZE * LINE_SPACING;
            let at = [cell.x + cell.width / 2.0, frame.y - 8.0 - lift];
            canvas.paragraph(at, &lines, &style.anchored(Anchor::Middle));
        }
        for (row, name) in self.rows.iter().enumerate() {
            let cell = layout.cell(row, 0);
            let at = [
                frame.x - 9.0,
                cell.y + cell.height / 2.0 + 0.36 * LABEL_SIZE,
            ];
            canvas.text(at, name, &style.anchored(Anchor::End));
        }
    }
}

/// Where the cells stand.
struct Layout {
    /// Lower edge of the heading.
    head: f64,
    cell_width: f64,
    frame: Frame,
}

impl Layout {
    fn new(map: &HeatMap) -> Self {
        let widest = |names: &[String]| {
            let widths = names
                .iter()
                .map(|name| text_width(name, LABEL_SIZE, Weight::Regular));
            widths.fold(0.0, f64::max)
        };
        let cell_width = (widest(&map.columns) + 14.0).clamp(CELL_WIDTH, 2.0 * CELL_WIDTH);
        let (rows, columns) = (map.rows.len() as f64, map.columns.len() as f64);
        let x = MARGIN + LABEL_SIZE * LINE_SPACING + widest(&map.rows) + 18.0;
        let width = columns * cell_width;
        let head = heading_height(&map.title, x + width + 28.0 + ColourBar::WIDTH + MARGIN);
        let lines = map
            .columns
            .iter()
            .map(|name| name_lines(name, cell_width - 6.0).len());
        let lines = lines.max().unwrap_or(0) as f64 + 1.0;
        Self {
            head,
            cell_width,
            frame: Frame {
                x,
                y: head + lines * LABEL_SIZE * LINE_SPACING + 12.0,
                width,
                height: rows * CELL_HEIGHT,
            },
        }
    }

    fn cell(&self, row: usize, column: usize) -> Frame {
        Frame {
            x: self.frame.x + column as f64 * self.cell_width,
            y: self.frame.y + row as f64 * CELL_HEIGHT,
            width: self.cell_width,
            height: CELL_HEIGHT,
        }
    }
}

fn name_lines(name: &str, width: f64) -> Vec<String> {
    wrap(name, LABEL_SIZE, Weight::Regular, width)
}

/// Lowest and highest finite value; 0 to 1 if there is none, and some room around a single one.
pub(super) fn extremes(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let start = [f64::INFINITY, f64::NEG_INFINITY];
    let finite = values.filter(|value| value.is_finite());
    let [low, high] = finite.fold(start, |[low, high], v| [low.min(v), high.max(v)]);
    if low > high {
        return [0.0, 1.0];
    }
    if low == high {
        let room = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
        return [low - room, high + room];
    }
    [low, high]
}
