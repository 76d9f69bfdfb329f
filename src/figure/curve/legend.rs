//! Names of series and references, in rows above the panels, where they can cover nothing.

use super::series::{draw_marker, has_markers, line_paint, reference_paint};
use super::{Curve, Look, Names, number};
use crate::figure::axes::LABEL_SIZE;
use crate::figure::canvas::{Canvas, LINE_SPACING, Paint, TextStyle};
use crate::figure::colour::{PALETTE, Rgb};
use crate::figure::font::{Weight, text_width, wrap};

/// Room for the sample of a line before its name [px].
const SAMPLE_WIDTH: f64 = 30.0;
/// Room between entries [px].
const ENTRY_GAP: f64 = 18.0;

/// The legend of a figure.
pub(super) struct Legend {
    entries: Vec<Entry>,
    /// Height of all rows [px]; 0 if nothing has a name.
    pub(super) height: f64,
}

struct Entry {
    lines: Vec<String>,
    /// Start of the first baseline, relative to the legend's corner.
    place: [f64; 2],
    sample: Sample,
}

/// A name, and how what it names is drawn.
struct Sample {
    name: String,
    line: Option<Paint>,
    /// Number and colour of the marker.
    marker: Option<(usize, Rgb)>,
}

impl Legend {
    /// Flows the names into rows of `width` [px]; a name too long for a row takes several lines.
    pub(super) fn layout(panels: &[Curve], names: &Names, width: f64) -> Self {
        let row = LABEL_SIZE * LINE_SPACING + 3.0;
        let (mut x, mut y, mut lowest) = (0.0, LABEL_SIZE, 0.0);
        let mut entries = Vec::new();
        for sample in samples(panels, names) {
            let lines = wrap(
                &sample.name,
                LABEL_SIZE,
                Weight::Regular,
                width - SAMPLE_WIDTH,
            );
            let widths = lines
                .iter()
                .map(|line| text_width(line, LABEL_SIZE, Weight::Regular));
            let length = SAMPLE_WIDTH + widths.fold(0.0, f64::max);
            if x > 0.0 && x + length > width {
                (x, y) = (0.0, lowest + row);
            }
            lowest = y + (lines.len() - 1) as f64 * LABEL_SIZE * LINE_SPACING;
            entries.push(Entry {
                lines,
                place: [x, y],
                sample,
            });
            x += length + ENTRY_GAP;
        }
        let height = if entries.is_empty() {
            0.0
        } else {
            lowest + 12.0
        };
        Self { entries, height }
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, corner: [f64; 2]) {
        for entry in &self.entries {
            let [x, y] = [corner[0] + entry.place[0], corner[1] + entry.place[1]];
            let middle = y - 0.36 * LABEL_SIZE;
            if let Some(paint) = &entry.sample.line {
                canvas.line([x, middle], [x + 22.0, middle], paint);
            }
            if let Some((number, colour)) = entry.sample.marker {
                draw_marker(canvas, [x + 11.0, middle], number, colour);
            }
            let start = [x + SAMPLE_WIDTH, y];
            canvas.paragraph(start, &entry.lines, &TextStyle::new(LABEL_SIZE));
        }
    }
}

/// Everything that has a name, series first.
fn samples(panels: &[Curve], names: &Names) -> Vec<Sample> {
    let mut samples = Vec::new();
    for name in names.series.iter().filter(|name| !name.is_empty()) {
        let mut all = panels.iter().flat_map(|panel| &panel.series);
        let Some(series) = all.find(|series| series.label == *name) else {
            continue;
        };
        let number = number(&names.series, name);
        let colour = PALETTE[number % PALETTE.len()];
        let line = (series.look != Look::Markers).then(|| line_paint(series.look, colour));
        let marker = has_markers(series).then_some((number, colour));
        samples.push(Sample {
            name: name.clone(),
            line,
            marker,
        });
    }
    for (number, name) in names.references.iter().enumerate() {
        if !name.is_empty() {
            samples.push(Sample {
                name: name.clone(),
                line: Some(reference_paint(number)),
                marker: None,
            });
        }
    }
    samples
}
