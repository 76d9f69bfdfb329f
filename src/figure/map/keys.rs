//! The column of keys beside the panels: wheel, arrow, colour bar, signs.

use super::arrows::ArrowScale;
use super::layers::{draw_a, draw_b, draw_wall_line};
use super::layout::{KEYS_WIDTH, Layout};
use super::{Layer, MapStyle, Panel, drawable, wheel_radius};
use crate::crystal::polarization::PolarVector;
use crate::error::Result;
use crate::figure::axes::{LABEL_SIZE, TICK_SIZE};
use crate::figure::canvas::{Canvas, Frame, LINE_SPACING, Paint, TextStyle};
use crate::figure::colour::{GRID, NO_VALUE, Wheel};
use crate::figure::font::{Weight, wrap};
use crate::figure::heat::extremes;
use crate::figure::legend::{ColourBar, draw_wheel};
use crate::figure::micrograph::percentiles;
use crate::figure::ticks::significant;

/// Radius of the colour wheel [px].
const WHEEL_RADIUS: f64 = 52.0;
/// Height of the colour bar [px].
const BAR_HEIGHT: f64 = 170.0;
/// Longest arrow in the key [px].
const LONGEST_SAMPLE: f64 = 70.0;
/// Where words beside a sign begin [px].
const INDENT: f64 = 28.0;
/// Room between keys [px].
const KEY_GAP: f64 = 16.0;

/// Everything the reader needs to read the panels, and the scales by which they are drawn.
pub(super) struct Keys {
    pub(super) arrows: ArrowScale,
    pub(super) bar: ColourBar,
    entries: Vec<Key>,
}

/// One key.
enum Key {
    Wheel(Wheel),
    /// An arrow as long as the wheel's radius.
    Arrow,
    HollowArrow(&'static str),
    GreyCell(&'static str),
    EmptyCell(&'static str),
    Wall,
    A(usize),
    B(usize),
    Bar,
    Note(String),
}

impl Keys {
    pub(super) fn new(panels: &[Panel], style: &MapStyle, layout: &Layout) -> Self {
        let arrow_sets: Vec<&[PolarVector]> = panels.iter().filter_map(arrows_of).collect();
        let arrows = ArrowScale::new(&arrow_sets, wheel_radius(panels, style), layout);
        let bar = ColourBar {
            label: style.scalar_label.clone(),
            scale: style.scalar_scale,
            limits: ColourBar::limits(style.scalar_limits, || scalar_limits(panels)),
        };
        let mut keys = Self {
            arrows,
            bar,
            entries: Vec::new(),
        };
        keys.add_vectors(panels, style, &arrow_sets);
        keys.add_columns(panels);
        keys.add_bar(panels);
        if !style.walls.is_empty() {
            keys.entries.push(Key::Wall);
        }
        keys
    }

    fn add_vectors(&mut self, panels: &[Panel], style: &MapStyle, arrow_sets: &[&[PolarVector]]) {
        let fields: Vec<&[PolarVector]> = panels.iter().filter_map(field_of).collect();
        let mut all = arrow_sets.iter().chain(&fields).flat_map(|set| set.iter());
        if !all.any(drawable) {
            return;
        }
        let wheel = if fields.is_empty() {
            Wheel::Grey
        } else {
            Wheel::Pale
        };
        self.entries.push(Key::Wheel(wheel));
        if !arrow_sets.is_empty() {
            self.entries.push(Key::Arrow);
            let factor = significant(self.arrows.factor);
            self.entries
                .push(Key::Note(format!("arrows drawn ×{factor}")));
        }
        if !style.convention.is_empty() {
            self.entries.push(Key::Note(style.convention.clone()));
        }
        let flagged = |sets: &[&[PolarVector]]| {
            sets.iter()
                .flat_map(|vectors| vectors.iter())
                .filter(|v| v.flags != 0)
                .count()
        };
        if flagged(arrow_sets) > 0 {
            self.entries.push(Key::HollowArrow(style.flagged));
        }
        if flagged(&fields) > 0 {
            self.entries.push(Key::GreyCell(style.flagged));
        }
        if self.arrows.thinning > 1 && !arrow_sets.is_empty() {
            let number = self.arrows.thinning * self.arrows.thinning;
            self.entries
                .push(Key::Note(format!("1 in {number} vectors drawn")));
        }
        let cut: usize = arrow_sets
            .iter()
            .map(|vectors| self.arrows.cut(vectors))
            .sum();
        if cut > 0 {
            let longest = significant(self.arrows.longest_pm());
            self.entries.push(Key::Note(format!(
                "{cut} drawn short: longer than {longest}\u{a0}pm"
            )));
        }
    }

    fn add_columns(&mut self, panels: &[Panel]) {
        let columns = panels.iter().filter_map(|panel| match panel.layer {
            Layer::Columns { a, b } => Some([a.len(), b.len()]),
            _ => None,
        });
        if let Some([a, b]) = columns.reduce(|sum, next| [sum[0] + next[0], sum[1] + next[1]]) {
            self.entries.extend([Key::A(a), Key::B(b)]);
        }
    }

    fn add_bar(&mut self, panels: &[Panel]) {
        let has_bar =
            |panel: &Panel| matches!(panel.layer, Layer::Scalar { .. } | Layer::Values(_));
        if panels.iter().any(has_bar) {
            self.entries.push(Key::Bar);
        }
        let lacks = |panel: &Panel| match panel.layer {
            Layer::Scalar { values, .. } => values.iter().any(|value| !value.is_finite()),
            _ => false,
        };
        if panels.iter().any(lacks) {
            self.entries.push(Key::EmptyCell("no value"));
        }
    }

    /// Height of all keys [px].
    pub(super) fn height(&self) -> f64 {
        self.entries
            .iter()
            .map(|key| self.key_height(key) + KEY_GAP)
            .sum()
    }

    /// Draws the keys below each other from the upper left `corner`.
    pub(super) fn draw(&self, canvas: &mut Canvas, corner: [f64; 2]) -> Result<()> {
        let mut y = corner[1];
        for key in &self.entries {
            self.draw_key(canvas, key, [corner[0], y])?;
            y += self.key_height(key) + KEY_GAP;
        }
        Ok(())
    }

    fn key_height(&self, key: &Key) -> f64 {
        match key {
            Key::Wheel(_) => 2.0 * WHEEL_RADIUS + LABEL_SIZE + 8.0,
            Key::Arrow | Key::Wall | Key::EmptyCell(_) => LABEL_SIZE + 4.0,
            Key::HollowArrow(text) | Key::GreyCell(text) => {
                let lines = word_lines(text).len() as f64;
                LABEL_SIZE * (1.0 + (lines - 1.0) * LINE_SPACING) + 4.0
            }
            Key::A(_) | Key::B(_) => LABEL_SIZE,
            Key::Bar => self.bar.height(BAR_HEIGHT),
            Key::Note(text) => note_lines(text).len() as f64 * TICK_SIZE * LINE_SPACING,
        }
    }

    fn draw_key(&self, canvas: &mut Canvas, key: &Key, [x, y]: [f64; 2]) -> Result<()> {
        let middle = y + LABEL_SIZE / 2.0;
        match key {
            Key::Wheel(wheel) => {
                let centre = [x + WHEEL_RADIUS, y + WHEEL_RADIUS];
                let rim_pm = self.arrows.radius_pm;
                draw_wheel(canvas, centre, WHEEL_RADIUS, *wheel, rim_pm)?;
            }
            Key::Arrow => {
                let (length, magnitude) = self.sample_arrow();
                self.draw_arrow(canvas, [x, middle], length, 0);
                let text = format!("{} pm", significant(magnitude));
                word(canvas, [x + length + 8.0, middle], &text);
            }
            Key::HollowArrow(text) => {
                self.draw_arrow(canvas, [x, middle], 20.0, 1);
                words(canvas, [x + INDENT, middle], text);
            }
            Key::Wall => {
                draw_wall_line(canvas, [x, middle], [x + 20.0, middle]);
                word(canvas, [x + INDENT, middle], "domain wall");
            }
            Key::GreyCell(text) | Key::EmptyCell(text) => {
                let is_grey = matches!(key, Key::GreyCell(_));
                let cell = Frame {
                    x,
                    y,
                    width: LABEL_SIZE,
                    height: LABEL_SIZE,
                };
                canvas.rect(cell, &Paint::fill(if is_grey { NO_VALUE } else { GRID }));
                words(canvas, [x + INDENT, middle], text);
            }
            Key::A(count) => {
                draw_a(canvas, [x + 6.0, middle], 5.0);
                word(canvas, [x + 20.0, middle], &format!("A columns ({count})"));
            }
            Key::B(count) => {
                draw_b(canvas, [x + 6.0, middle], 5.0);
                word(canvas, [x + 20.0, middle], &format!("B columns ({count})"));
            }
            Key::Bar => self.bar.draw(canvas, [x, y], BAR_HEIGHT)?,
            Key::Note(text) => {
                let first = [x, y + TICK_SIZE * 0.8];
                canvas.paragraph(first, &note_lines(text), &TextStyle::faint(TICK_SIZE));
            }
        }
        Ok(())
    }

    /// Length [px] and magnitude [pm] of the arrow in the key: the wheel's radius, halved until there is room.
    fn sample_arrow(&self) -> (f64, f64) {
        let (mut length, mut magnitude) = (self.arrows.radius_length(), self.arrows.radius_pm);
        while length > LONGEST_SAMPLE {
            (length, magnitude) = (length / 2.0, magnitude / 2.0);
        }
        (length, magnitude)
    }

    fn draw_arrow(&self, canvas: &mut Canvas, [x, y]: [f64; 2], length: f64, flags: u32) {
        let paint = self.arrows.paint([1.0, 0.0], flags);
        self.arrows
            .draw_at(canvas, [x + length / 2.0, y], [length, 0.0], &paint);
    }
}

fn word(canvas: &mut Canvas, [x, middle]: [f64; 2], text: &str) {
    canvas.text(
        [x, middle + 0.36 * LABEL_SIZE],
        text,
        &TextStyle::new(LABEL_SIZE),
    );
}

/// Several lines beside a sign, the first in its middle.
fn words(canvas: &mut Canvas, [x, middle]: [f64; 2], text: &str) {
    let first = [x, middle + 0.36 * LABEL_SIZE];
    canvas.paragraph(first, &word_lines(text), &TextStyle::new(LABEL_SIZE));
}

fn word_lines(text: &str) -> Vec<String> {
    wrap(text, LABEL_SIZE, Weight::Regular, KEYS_WIDTH - INDENT)
}

fn note_lines(text: &str) -> Vec<String> {
    wrap(text, TICK_SIZE, Weight::Regular, KEYS_WIDTH)
}

fn arrows_of<'a>(panel: &Panel<'a>) -> Option<&'a [PolarVector]> {
    match panel.layer {
        Layer::Arrows(vectors) => Some(vectors),
        _ => None,
    }
}

fn field_of<'a>(panel: &Panel<'a>) -> Option<&'a [PolarVector]> {
    match panel.layer {
        Layer::Field(vectors) => Some(vectors),
        _ => None,
    }
}

/// Extremes of all numbers that the panels draw; of images of numbers, all but the outermost 0.2 %.
fn scalar_limits(panels: &[Panel]) -> [f64; 2] {
    extremes(panels.iter().flat_map(|panel| match panel.layer {
        Layer::Scalar { values, .. } => values.to_vec(),
        Layer::Values(image) => percentiles(&image.data, [0.1, 99.9]).to_vec(),
        _ => Vec::new(),
    }))
}
