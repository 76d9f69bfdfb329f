//! A sheet of paper that turns into SVG: lines, shapes, text, pictures, clipped regions.
//!
//! Lengths are in CSS pixels, origin in the upper left corner, y down. Clipping uses nested `<svg>` elements, so that the
//! text has no identifiers which could collide when several figures share one page.

use std::fmt::Write;

use base64::Engine;

use super::Figure;
use super::colour::{FAINT, INK, PAPER, Rgb};
use super::font::{FAMILY, Weight};

/// An axis-parallel rectangle on the sheet [px].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Frame {
    /// The right edge.
    #[must_use]
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    /// The lower edge.
    #[must_use]
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }
}

/// How a shape is filled and outlined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paint {
    /// Colour of the inside.
    pub fill: Option<Rgb>,
    /// Colour of the outline.
    pub stroke: Option<Rgb>,
    /// Width of the outline [px].
    pub width: f64,
    /// Length of dashes and gaps [px]; 0 draws a full line.
    pub dash: f64,
    /// 0 (invisible) to 1.
    pub opacity: f64,
}

impl Paint {
    /// Filled, no outline.
    #[must_use]
    pub const fn fill(colour: Rgb) -> Self {
        Self {
            fill: Some(colour),
            stroke: None,
            width: 0.0,
            dash: 0.0,
            opacity: 1.0,
        }
    }

    /// An outline `width` [px] wide, not filled.
    #[must_use]
    pub const fn stroke(colour: Rgb, width: f64) -> Self {
        Self {
            fill: None,
            stroke: Some(colour),
            width,
            dash: 0.0,
            opacity: 1.0,
        }
    }

    fn attributes(&self) -> String {
        let mut text = match self.fill {
            Some(colour) => format!(" fill=\"{}\"", colour.hex()),
            None => " fill=\"none\"".to_owned(),
        };
        if let Some(colour) = self.stroke {
            text += &format!(
                " stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"",
                colour.hex(),
                number(self.width)
            );
        }
        if self.dash > 0.0 {
            text += &format!(" stroke-dasharray=\"{}\"", number(self.dash));
        }
        if self.opacity < 1.0 {
            text += &format!(" opacity=\"{}\"", number(self.opacity));
        }
        text
    }
}

/// Which point of a text stands at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The left end of the baseline.
    Start,
    /// The middle of the baseline.
    Middle,
    /// The right end of the baseline.
    End,
}

/// How a text is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextStyle {
    /// Font size [px].
    pub size: f64,
    /// Colour of the letters.
    pub colour: Rgb,
    /// Which point stands at the given place.
    pub anchor: Anchor,
    /// Thickness of the letters.
    pub weight: Weight,
    /// Turned about its place, clockwise [degree].
    pub rotation: f64,
    /// Colour of an edge around the letters, for text on pictures.
    pub halo: Option<Rgb>,
}

impl TextStyle {
    /// Plain ink, left-aligned.
    #[must_use]
    pub const fn new(size: f64) -> Self {
        Self {
            size,
            colour: INK,
            anchor: Anchor::Start,
            weight: Weight::Regular,
            rotation: 0.0,
            halo: None,
        }
    }

    /// The same, of second rank.
    #[must_use]
    pub const fn faint(size: f64) -> Self {
        Self {
            colour: FAINT,
            ..Self::new(size)
        }
    }

    /// The same, bold.
    #[must_use]
    pub const fn bold(size: f64) -> Self {
        Self {
            weight: Weight::Bold,
            ..Self::new(size)
        }
    }

    /// The same as plain, with an edge of paper around the letters, for text over data.
    #[must_use]
    pub const fn on_paper(size: f64) -> Self {
        Self {
            halo: Some(PAPER),
            ..Self::new(size)
        }
    }

    /// The same with another anchor.
    #[must_use]
    pub const fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
}

/// A sheet that collects SVG elements in drawing order.
#[derive(Debug, Clone)]
pub struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    /// A white sheet [px].
    #[must_use]
    pub fn new(width: f64, height: f64) -> Self {
        let mut canvas = Self {
            width: width.ceil(),
            height: height.ceil(),
            body: String::new(),
        };
        let all = Frame {
            x: 0.0,
            y: 0.0,
            width: canvas.width,
            height: canvas.height,
        };
        canvas.rect(all, &Paint::fill(PAPER));
        canvas
    }

    /// A straight line.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], paint: &Paint) {
        self.element(format_args!(
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"{}/>",
            number(from[0]),
            number(from[1]),
            number(to[0]),
            number(to[1]),
            paint.attributes()
        ));
    }

    /// A line through points, or the polygon they enclose if `closed`.
    pub fn polyline(&mut self, points: &[[f64; 2]], closed: bool, paint: &Paint) {
        if points.is_empty() {
            return;
        }
        let mut path = path_through(points);
        if closed {
            path.push('Z');
        }
        self.path(&path, paint);
    }

    /// A path in SVG's own notation.
    pub fn path(&mut self, path: &str, paint: &Paint) {
        self.element(format_args!("<path d=\"{path}\"{}/>", paint.attributes()));
    }

    /// A rectangle.
    pub fn rect(&mut self, frame: Frame, paint: &Paint) {
        self.element(format_args!(
            "<rect{}{}/>",
            place(frame),
            paint.attributes()
        ));
    }

    /// A circle.
    pub fn circle(&mut self, centre: [f64; 2], radius: f64, paint: &Paint) {
        self.element(format_args!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\"{}/>",
            number(centre[0]),
            number(centre[1]),
            number(radius),
            paint.attributes()
        ));
    }

    /// A line of text.
    pub fn text(&mut self, at: [f64; 2], text: &str, style: &TextStyle) {
        let (x, y) = (number(at[0]), number(at[1]));
        let mut attributes = format!(
            " x=\"{x}\" y=\"{y}\" font-size=\"{}\" fill=\"{}\"",
            number(style.size),
            style.colour.hex()
        );
        match style.anchor {
            Anchor::Start => {}
            Anchor::Middle => attributes += " text-anchor=\"middle\"",
            Anchor::End => attributes += " text-anchor=\"end\"",
        }
        if style.weight == Weight::Bold {
            attributes += " font-weight=\"bold\"";
        }
        if style.rotation != 0.0 {
            attributes += &format!(" transform=\"rotate({} {x} {y})\"", number(style.rotation));
        }
        if let Some(halo) = style.halo {
            attributes += &format!(
                " stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\" paint-order=\"stroke\"",
                halo.hex(),
                number(style.size * 0.22)
            );
        }
        self.element(format_args!("<text{attributes}>{}</text>", escape(text)));
    }

    /// Lines of text below each other; returns the baseline after the last.
    pub fn paragraph(&mut self, at: [f64; 2], lines: &[String], style: &TextStyle) -> f64 {
        let mut baseline = at[1];
        for line in lines {
            self.text([at[0], baseline], line, style);
            baseline += style.size * LINE_SPACING;
        }
        baseline
    }

    /// A PNG stretched over `frame`; `smooth` interpolates between its pixels, otherwise they stay squares.
    pub fn picture(&mut self, frame: Frame, png: &[u8], smooth: bool, opacity: f64) {
        let rendering = if smooth {
            ""
        } else {
            " image-rendering=\"optimizeSpeed\" style=\"image-rendering:pixelated\""
        };
        self.element(format_args!(
            "<image{} preserveAspectRatio=\"none\"{rendering} opacity=\"{}\" href=\"{}\"/>",
            place(frame),
            number(opacity),
            png_uri(png)
        ));
    }

    /// Draws on a part of the sheet: what `draw` puts outside `frame` is cut off. Coordinates stay those of the sheet.
    pub fn clipped(&mut self, frame: Frame, draw: impl FnOnce(&mut Self)) {
        self.element(format_args!(
            "<svg{} viewBox=\"{} {} {} {}\">",
            place(frame),
            number(frame.x),
            number(frame.y),
            number(frame.width),
            number(frame.height)
        ));
        draw(self);
        self.element(format_args!("</svg>"));
    }

    /// The finished figure; `title` is what screen readers and tooltips say.
    #[must_use]
    pub fn into_figure(self, title: &str) -> Figure {
        let (width, height) = (number(self.width), number(self.height));
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"{FAMILY}\" role=\"img\">\n<title>{}</title>\n{}</svg>\n",
            escape(title),
            self.body
        );
        Figure {
            svg,
            width: self.width,
            height: self.height,
        }
    }

    fn element(&mut self, element: std::fmt::Arguments) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// Distance of baselines in units of the font size.
pub const LINE_SPACING: f64 = 1.35;

/// SVG path through points, not closed.
#[must_use]
pub fn path_through(points: &[[f64; 2]]) -> String {
    let mut path = String::new();
    for (index, point) in points.iter().enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{} {}", number(point[0]), number(point[1]));
    }
    path
}

/// A length in SVG with 0.01 px resolution; what is not finite becomes 0, which no caller should rely on.
fn number(value: f64) -> String {
    let hundredths = (value * 100.0).round();
    if !hundredths.is_finite() || hundredths == 0.0 {
        return "0".to_owned();
    }
    format!("{}", hundredths / 100.0)
}

fn place(frame: Frame) -> String {
    format!(
        " x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
        number(frame.x),
        number(frame.y),
        number(frame.width.max(0.0)),
        number(frame.height.max(0.0))
    )
}

/// A PNG as a `data:` address.
#[must_use]
pub fn png_uri(png: &[u8]) -> String {
    format!(
        "data:image/png;base64,{}",
        base64::engine::general_purpose::STANDARD.encode(png)
    )
}

/// Text made safe for XML and HTML; control characters, which XML 1.0 forbids, are dropped.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            '\n' | '\t' => safe.push(letter),
            '\u{fffe}' | '\u{ffff}' => {}
            _ if letter.is_control() => {}
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_element() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.text([0.0, 5.0], "</text><script>\u{0}\"&'", &TextStyle::new(5.0));
        let svg = canvas.into_figure("<title>").svg;
        assert!(svg.contains("&lt;/text&gt;&lt;script&gt;&quot;&amp;&#39;</text>"));
        assert!(svg.contains("<title>&lt;title&gt;</title>"));
    }

    #[test]
    fn lengths_are_short_and_always_numbers() {
        assert_eq!(number(1.0 / 3.0), "0.33");
        assert_eq!(number(-0.001), "0");
        assert_eq!(number(12.0), "12");
        assert_eq!(number(f64::NAN), "0");
    }

    #[test]
    fn what_lies_outside_a_clip_is_not_drawn() {
        let mut canvas = Canvas::new(20.0, 20.0);
        let frame = |x, y, width, height| Frame {
            x,
            y,
            width,
            height,
        };
        canvas.clipped(frame(5.0, 5.0, 10.0, 10.0), |canvas| {
            canvas.rect(frame(0.0, 0.0, 20.0, 20.0), &Paint::fill(INK));
        });
        let png = canvas.into_figure("").to_png(1.0).unwrap();
        let pixels = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(pixels.get_pixel(2, 2).0, PAPER.0);
        assert_eq!(pixels.get_pixel(10, 10).0, INK.0);
        assert_eq!(pixels.get_pixel(17, 10).0, PAPER.0);
    }
}
