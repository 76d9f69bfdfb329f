//! Keys that maps share: colour bar, colour wheel, scale bar.

use image::ExtendedColorType;

use super::axes::{LABEL_SIZE, TICK_SIZE};
use super::canvas::{Anchor, Canvas, Frame, LINE_SPACING, Paint, TextStyle};
use super::colour::{ColourScale, INK, PAPER, Rgb, Wheel};
use super::font::{Weight, text_width, wrap};
use super::micrograph::encode;
use super::ticks::{Axis, round_down, significant};
use crate::error::Result;
use crate::units::ANGSTROM_PER_NM;

/// A vertical colour bar with its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ColourBar {
    /// Quantity and unit, written above.
    pub(super) label: String,
    pub(super) scale: ColourScale,
    /// Values at the lower and the upper end.
    pub(super) limits: [f64; 2],
}

impl ColourBar {
    /// Room for the bar, its values and its label [px].
    pub(super) const WIDTH: f64 = 118.0;

    /// Ends of a bar: as asked, or as found where nothing sensible was asked.
    pub(super) fn limits(asked: Option<[f64; 2]>, found: impl FnOnce() -> [f64; 2]) -> [f64; 2] {
        let sensible = |[low, high]: &[f64; 2]| low < high && (high - low).is_finite();
        asked.filter(sensible).unwrap_or_else(found)
    }

    /// Colour of a value; values beyond the ends have the ends' colours.
    pub(super) fn colour(&self, value: f64) -> Rgb {
        let [low, high] = self.limits;
        self.scale.colour((value - low) / (high - low))
    }

    /// Height of the label and of a bar of `height` together [px].
    pub(super) fn height(&self, height: f64) -> f64 {
        self.label_lines().len() as f64 * LABEL_SIZE * LINE_SPACING + height + 14.0
    }

    /// Draws the label and below it a bar of `height` [px].
    pub(super) fn draw(&self, canvas: &mut Canvas, corner: [f64; 2], height: f64) -> Result<()> {
        let style = TextStyle::new(LABEL_SIZE);
        let first = [corner[0], corner[1] + LABEL_SIZE * 0.8];
        let below = canvas.paragraph(first, &self.label_lines(), &style);
        let bar = Frame {
            x: corner[0],
            y: below - LABEL_SIZE * 0.5,
            width: 16.0,
            height,
        };
        let levels = (0..256)
            .rev()
            .flat_map(|level| self.scale.colour(f64::from(level) / 255.0).0);
        let png = encode(
            &levels.collect::<Vec<u8>>(),
            (256, 1),
            ExtendedColorType::Rgb8,
        )?;
        canvas.picture(bar, &png, true, 1.0);
        canvas.rect(bar, &Paint::stroke(INK, 0.8));
        let axis = Axis::over("", false, Some(self.limits), std::iter::empty());
        for tick in axis.ticks(height) {
            let Some(fraction) = axis.fraction(tick.value) else {
                continue;
            };
            let y = bar.bottom() - fraction * bar.height;
            canvas.line(
                [bar.right(), y],
                [bar.right() + 4.0, y],
                &Paint::stroke(INK, 0.8),
            );
            let at = [bar.right() + 7.0, y + 0.36 * TICK_SIZE];
            canvas.text(at, &tick.label, &TextStyle::new(TICK_SIZE));
        }
        Ok(())
    }

    fn label_lines(&self) -> Vec<String> {
        wrap(&self.label, LABEL_SIZE, Weight::Regular, Self::WIDTH)
    }
}

/// Pixels along the side of the picture of a wheel.
const WHEEL_PIXELS: usize = 240;

/// Draws the wheel that gives directions their colours, with the magnitude of its rim [pm].
pub(super) fn draw_wheel(
    canvas: &mut Canvas,
    centre: [f64; 2],
    radius: f64,
    wheel: Wheel,
    rim_pm: f64,
) -> Result<()> {
    let frame = Frame {
        x: centre[0] - radius,
        y: centre[1] - radius,
        width: 2.0 * radius,
        height: 2.0 * radius,
    };
    canvas.picture(frame, &wheel_png(wheel)?, true, 1.0);
    // The hand shows what "radius" means.
    let end = [centre[0] + radius, centre[1]];
    canvas.line(centre, end, &Paint::stroke(INK, 1.0));
    for x in [centre[0], end[0]] {
        canvas.line(
            [x, centre[1] - 3.0],
            [x, centre[1] + 3.0],
            &Paint::stroke(INK, 1.0),
        );
    }
    let style = TextStyle::new(LABEL_SIZE).anchored(Anchor::Middle);
    let at = [centre[0], centre[1] + radius + LABEL_SIZE + 5.0];
    canvas.text(at, &format!("radius {} pm", significant(rim_pm)), &style);
    Ok(())
}

/// The wheel as a disc with a soft edge on a transparent ground.
fn wheel_png(wheel: Wheel) -> Result<Vec<u8>> {
    let half = WHEEL_PIXELS as f64 / 2.0;
    let mut bytes = Vec::with_capacity(4 * WHEEL_PIXELS * WHEEL_PIXELS);
    for row in 0..WHEEL_PIXELS {
        for col in 0..WHEEL_PIXELS {
            let offset = [col as f64 + 0.5 - half, row as f64 + 0.5 - half];
            // One pixel of partial cover at the rim.
            let cover = (half - offset[0].hypot(offset[1])).clamp(0.0, 1.0);
            bytes.extend(wheel.colour(offset.map(|length| length / half)).0);
            bytes.push((cover * 255.0).round() as u8);
        }
    }
    encode(
        &bytes,
        (WHEEL_PIXELS, WHEEL_PIXELS),
        ExtendedColorType::Rgba8,
    )
}

/// Draws a bar of a round length in the lower left corner of a map with `scale` [px/Å].
pub(super) fn draw_scale_bar(canvas: &mut Canvas, map: Frame, scale: f64) {
    let longest = (0.35 * map.width).min(150.0);
    let length = round_down(longest / scale);
    let text = if length >= ANGSTROM_PER_NM {
        format!("{} nm", significant(length / ANGSTROM_PER_NM))
    } else {
        format!("{} Å", significant(length))
    };
    let bar = length * scale;
    let words = text_width(&text, LABEL_SIZE, Weight::Bold);
    let plate = Frame {
        x: map.x + 6.0,
        y: map.bottom() - 36.0,
        width: bar.max(words) + 16.0,
        height: 30.0,
    };
    let ground = Paint {
        opacity: 0.82,
        ..Paint::fill(PAPER)
    };
    canvas.rect(plate, &ground);
    let middle = plate.x + plate.width / 2.0;
    let style = TextStyle::bold(LABEL_SIZE).anchored(Anchor::Middle);
    canvas.text([middle, plate.y + LABEL_SIZE + 2.0], &text, &style);
    let line = Frame {
        x: middle - bar / 2.0,
        y: plate.bottom() - 9.0,
        width: bar,
        height: 4.0,
    };
    canvas.rect(line, &Paint::fill(INK));
}
