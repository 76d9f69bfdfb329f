//! Plots: a data region with labelled axes, grid and title, alone or in aligned rows.

use super::canvas::{Anchor, Canvas, Frame, LINE_SPACING, Paint, TextStyle};
use super::colour::{FAINT, GRID, INK};
use super::font::{Weight, text_width, wrap};
use super::ticks::Axis;

/// Font size of tick labels [px].
pub(super) const TICK_SIZE: f64 = 11.0;
/// Font size of axis labels and legends [px].
pub(super) const LABEL_SIZE: f64 = 12.0;
/// Font size of panel titles [px].
pub(super) const TITLE_SIZE: f64 = 13.0;
/// Font size of a figure's heading [px].
const HEADING_SIZE: f64 = 15.0;
/// Room around a figure [px].
pub(super) const MARGIN: f64 = 16.0;
/// Room between panels [px].
pub(super) const GAP: f64 = 26.0;

/// A plot: where it stands on the sheet and what its axes show.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// The region of the data.
    pub(super) frame: Frame,
}

impl Plot {
    /// Room that a plot needs left of its frame for the y axis: labels of ticks, label of the axis [px].
    pub(super) fn left_margin(y: &Axis, height: f64) -> f64 {
        let ticks = y.ticks(height);
        let widths = ticks
            .iter()
            .map(|tick| text_width(&tick.label, TICK_SIZE, Weight::Regular));
        let lines = label_lines(&y.label, height).len() as f64;
        widths.fold(0.0, f64::max) + lines * LABEL_SIZE * LINE_SPACING + 14.0
    }

    /// Room below the frame for the x axis [px].
    pub(super) fn bottom_margin(x: &Axis, width: f64) -> f64 {
        TICK_SIZE + 14.0 + label_lines(&x.label, width).len() as f64 * LABEL_SIZE * LINE_SPACING
    }

    /// Room above the frame for the title [px].
    pub(super) fn top_margin(title: &str, width: f64) -> f64 {
        title_lines(title, width).len() as f64 * TITLE_SIZE * LINE_SPACING + 6.0
    }

    /// Place of a value on the sheet; `None` where an axis cannot show it.
    pub(super) fn place(&self, x: f64, y: f64) -> Option<[f64; 2]> {
        Some([
            self.frame.x + self.x.fraction(x)? * self.frame.width,
            self.frame.bottom() - self.y.fraction(y)? * self.frame.height,
        ])
    }

    /// Draws title, grid, ticks and labels.
    pub(super) fn draw(&self, canvas: &mut Canvas) {
        let frame = self.frame;
        let lines = title_lines(&self.title, frame.width);
        let lift = (lines.len() as f64 - 1.0) * TITLE_SIZE * LINE_SPACING;
        canvas.paragraph(
            [frame.x, frame.y - 8.0 - lift],
            &lines,
            &TextStyle::bold(TITLE_SIZE),
        );
        for tick in self.x.ticks(frame.width) {
            if let Some(fraction) = self.x.fraction(tick.value) {
                let x = frame.x + fraction * frame.width;
                canvas.line([x, frame.y], [x, frame.bottom()], &Paint::stroke(GRID, 1.0));
                let style = TextStyle::new(TICK_SIZE).anchored(Anchor::Middle);
                canvas.text([x, frame.bottom() + TICK_SIZE + 5.0], &tick.label, &style);
            }
        }
        for tick in self.y.ticks(frame.height) {
            if let Some(fraction) = self.y.fraction(tick.value) {
                let y = frame.bottom() - fraction * frame.height;
                canvas.line([frame.x, y], [frame.right(), y], &Paint::stroke(GRID, 1.0));
                let style = TextStyle::new(TICK_SIZE).anchored(Anchor::End);
                canvas.text([frame.x - 6.0, y + 0.36 * TICK_SIZE], &tick.label, &style);
            }
        }
        self.draw_labels(canvas);
    }

    /// Draws the two axis lines; after the data, so that they lie on top.
    pub(super) fn draw_border(&self, canvas: &mut Canvas) {
        let frame = self.frame;
        let corners = [
            [frame.x, frame.y],
            [frame.x, frame.bottom()],
            [frame.right(), frame.bottom()],
        ];
        canvas.polyline(&corners, false, &Paint::stroke(INK, 1.0));
    }

    fn draw_labels(&self, canvas: &mut Canvas) {
        let frame = self.frame;
        let middle = TextStyle {
            anchor: Anchor::Middle,
            ..TextStyle::new(LABEL_SIZE)
        };
        let centre = frame.x + frame.width / 2.0;
        let baseline = frame.bottom() + TICK_SIZE + LABEL_SIZE + 13.0;
        canvas.paragraph(
            [centre, baseline],
            &label_lines(&self.x.label, frame.width),
            &middle,
        );
        let turned = TextStyle {
            rotation: -90.0,
            ..middle
        };
        let left = frame.x - Self::left_margin(&self.y, frame.height) + LABEL_SIZE;
        for (index, line) in label_lines(&self.y.label, frame.height).iter().enumerate() {
            let x = left + index as f64 * LABEL_SIZE * LINE_SPACING;
            canvas.text([x, frame.y + frame.height / 2.0], line, &turned);
        }
    }
}

fn label_lines(label: &str, length: f64) -> Vec<String> {
    wrap(label, LABEL_SIZE, Weight::Regular, length + 20.0)
}

fn title_lines(title: &str, width: f64) -> Vec<String> {
    wrap(title, TITLE_SIZE, Weight::Bold, width)
}

/// A text in the middle of a frame that has nothing to show.
pub(super) fn draw_nothing(canvas: &mut Canvas, frame: Frame, text: &str) {
    let at = [frame.x + frame.width / 2.0, frame.y + frame.height / 2.0];
    let style = TextStyle {
        colour: FAINT,
        ..TextStyle::new(LABEL_SIZE).anchored(Anchor::Middle)
    };
    canvas.text(at, text, &style);
}

/// Plots in rows, with aligned data regions.
#[derive(Debug, Clone)]
pub(super) struct PlotGrid {
    pub(super) plots: Vec<Plot>,
    /// Width and height of all of them together [px].
    pub(super) size: [f64; 2],
}

impl PlotGrid {
    /// Arranges `panels` (title, x axis, y axis) in rows of `columns`, each with a data region of `size` and with room for
    /// `notes` below; the upper left corner is at (0, 0) [px].
    pub(super) fn new(
        panels: Vec<(String, [Axis; 2])>,
        size: [f64; 2],
        columns: usize,
        notes: f64,
    ) -> Self {
        let columns = columns.clamp(1, panels.len().max(1));
        let mut margins = [0.0_f64; 3];
        for (title, [x, y]) in &panels {
            let needed = [
                Plot::left_margin(y, size[1]),
                Plot::top_margin(title, size[0]),
                Plot::bottom_margin(x, size[0]),
            ];
            margins = std::array::from_fn(|i| margins[i].max(needed[i]));
        }
        let [left, top, bottom] = margins;
        let pitch = [
            left + size[0] + GAP,
            top + size[1] + bottom + notes + GAP / 2.0,
        ];
        let rows = panels.len().div_ceil(columns);
        let plots = panels
            .into_iter()
            .enumerate()
            .map(|(index, (title, [x, y]))| Plot {
                title,
                x,
                y,
                frame: Frame {
                    x: (index % columns) as f64 * pitch[0] + left,
                    y: (index / columns) as f64 * pitch[1] + top,
                    width: size[0],
                    height: size[1],
                },
            });
        Self {
            plots: plots.collect(),
            // The last tick label of an x axis may stand out by half its width: 10 px.
            size: [
                columns as f64 * pitch[0] - GAP + 10.0,
                rows as f64 * pitch[1] - GAP / 2.0,
            ],
        }
    }

    /// The same, moved to the right and down.
    pub(super) fn moved(mut self, [x, y]: [f64; 2]) -> Self {
        for plot in &mut self.plots {
            plot.frame.x += x;
            plot.frame.y += y;
        }
        self
    }
}

/// Room that the heading of a figure takes, margin included [px].
pub(super) fn heading_height(heading: &str, width: f64) -> f64 {
    MARGIN + heading_lines(heading, width).len() as f64 * HEADING_SIZE * LINE_SPACING
}

/// Draws the heading of a figure `width` [px] wide.
pub(super) fn draw_heading(canvas: &mut Canvas, heading: &str, width: f64) {
    let lines = heading_lines(heading, width);
    canvas.paragraph(
        [MARGIN, MARGIN + HEADING_SIZE * 0.8],
        &lines,
        &TextStyle::bold(HEADING_SIZE),
    );
}

fn heading_lines(heading: &str, width: f64) -> Vec<String> {
    wrap(heading, HEADING_SIZE, Weight::Bold, width - 2.0 * MARGIN)
}
