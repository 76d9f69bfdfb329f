//! Maps: what lies where in the field of view.
//!
//! Panels of one figure share their field of view, their scale, the radius of their colour wheel, the factor of their arrows
//! and the ends of their colour bar, so that truth, prediction and difference can be compared by eye. Pixels may be
//! rectangular: lengths on the sheet are proportional to Å along both axes.

mod arrows;
mod keys;
mod layers;
mod layout;

use super::Figure;
use super::axes::draw_heading;
use super::canvas::{Canvas, Paint};
use super::colour::{ColourScale, INK};
use super::statistics::quantile;
use super::ticks::round_up;
use crate::crystal::polarization::{Point, PolarVector};
use crate::error::Result;
use crate::image::Image;
use keys::Keys;
use layers::draw_layer;
use layout::Layout;

/// What a panel shows on top of its image.
#[derive(Debug, Clone, Copy)]
pub enum Layer<'a> {
    /// The image alone.
    Nothing,
    /// Column positions [Å].
    Columns {
        /// A columns: rings.
        a: &'a [Point],
        /// B columns: dots.
        b: &'a [Point],
    },
    /// Vectors as arrows in the colour of their direction.
    Arrows(&'a [PolarVector]),
    /// Vectors as cells in the colour of their direction and magnitude.
    Field(&'a [PolarVector]),
    /// Numbers as cells, with a colour bar.
    Scalar {
        /// Centres of the cells [Å].
        positions: &'a [Point],
        /// One number a cell; NaN draws an empty grey cell.
        values: &'a [f64],
    },
    /// An image of numbers, such as an activation or a difference, with a colour bar.
    Values(&'a Image),
}

/// One map.
#[derive(Debug, Clone)]
pub struct Panel<'a> {
    /// Written above the map.
    pub title: String,
    /// The micrograph beneath; faint under vectors and numbers.
    pub image: Option<&'a Image>,
    /// What lies on top.
    pub layer: Layer<'a>,
}

/// A straight line that parts the field, such as training from test data.
#[derive(Debug, Clone, PartialEq)]
pub enum Split {
    /// An upright line.
    Vertical {
        /// Where it crosses the x axis [Å].
        x: f64,
        /// Names of the left and the right part.
        names: [String; 2],
    },
    /// A level line.
    Horizontal {
        /// Where it crosses the y axis [Å].
        y: f64,
        /// Names of the upper and the lower part.
        names: [String; 2],
    },
}

/// A straight piece of a domain wall.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WallLine {
    /// Its ends [Å].
    pub ends: [Point; 2],
    /// Half width of the wall [Å]: a band of twice this is shaded; 0 for none.
    pub half_width: f64,
}

/// What holds for all panels of a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct MapStyle {
    /// |D| at the rim of the colour wheel [pm]; `None` takes the 95th percentile of what is drawn, rounded up.
    pub radius_pm: Option<f64>,
    /// Which way the arrows point, written below the wheel.
    pub convention: String,
    /// A line through every panel.
    pub split: Option<Split>,
    /// Domain walls, drawn over every panel.
    pub walls: Vec<WallLine>,
    /// What vectors with flags are called in the key.
    pub flagged: &'static str,
    /// Quantity and unit of the colour bar.
    pub scalar_label: String,
    /// Ends of the colour bar; `None` takes the extremes of what is drawn.
    pub scalar_limits: Option<[f64; 2]>,
    /// Colours of the colour bar.
    pub scalar_scale: ColourScale,
    /// Percentiles of the image that become black and white (0 to 100).
    pub stretch: [f64; 2],
}

impl Default for MapStyle {
    fn default() -> Self {
        Self {
            radius_pm: None,
            convention: "D = B − mean of 4 A".to_owned(),
            split: None,
            walls: Vec::new(),
            flagged: "flagged",
            scalar_label: String::new(),
            scalar_limits: None,
            scalar_scale: ColourScale::default(),
            stretch: [0.5, 99.8],
        }
    }
}

/// An image with its A and B columns marked.
///
/// # Errors
/// The image has no pixels or cannot be encoded.
pub fn columns_figure(title: &str, image: &Image, a: &[Point], b: &[Point]) -> Result<Figure> {
    let panel = Panel {
        title: String::new(),
        image: Some(image),
        layer: Layer::Columns { a, b },
    };
    panels_figure(title, &[panel], &MapStyle::default())
}

/// Polar vectors as arrows over a faint image.
///
/// # Errors
/// The image has no pixels or cannot be encoded.
pub fn arrows_figure(
    title: &str,
    image: Option<&Image>,
    vectors: &[PolarVector],
    style: &MapStyle,
) -> Result<Figure> {
    let panel = Panel {
        title: String::new(),
        image,
        layer: Layer::Arrows(vectors),
    };
    panels_figure(title, &[panel], style)
}

/// Polar vectors as coloured cells.
///
/// # Errors
/// A picture cannot be encoded.
pub fn field_figure(title: &str, vectors: &[PolarVector], style: &MapStyle) -> Result<Figure> {
    let panel = Panel {
        title: String::new(),
        image: None,
        layer: Layer::Field(vectors),
    };
    panels_figure(title, &[panel], style)
}

/// Numbers at positions [Å] as coloured cells; the style names them and chooses their colours.
///
/// # Errors
/// A picture cannot be encoded.
pub fn scalar_figure(
    title: &str,
    positions: &[Point],
    values: &[f64],
    style: &MapStyle,
) -> Result<Figure> {
    let panel = Panel {
        title: String::new(),
        image: None,
        layer: Layer::Scalar { positions, values },
    };
    panels_figure(title, &[panel], style)
}

/// Maps side by side (or below each other, whichever shows them larger) at one scale.
///
/// # Errors
/// An image has no pixels or cannot be encoded.
pub fn panels_figure(title: &str, panels: &[Panel], style: &MapStyle) -> Result<Figure> {
    let layout = Layout::new(title, panels);
    let keys = Keys::new(panels, style, &layout);
    let height = layout.bottom().max(layout.top() + keys.height()) + super::axes::MARGIN;
    let mut canvas = Canvas::new(layout.width(), height);
    draw_heading(&mut canvas, title, layout.width());
    for (index, panel) in panels.iter().enumerate() {
        let frame = layout.frame(index);
        layout.draw_title(&mut canvas, index, &panel.title);
        let mut drawn = Ok(());
        canvas.clipped(frame, |canvas| {
            drawn = draw_layer(canvas, panel, style, &layout.place(index), &keys);
        });
        drawn?;
        canvas.rect(frame, &Paint::stroke(INK, 0.8));
        if index == 0 {
            super::legend::draw_scale_bar(&mut canvas, frame, layout.scale);
        }
    }
    keys.draw(&mut canvas, [layout.keys_left(), layout.top()])?;
    Ok(canvas.into_figure(title))
}

/// Whether a vector can be drawn at all.
fn drawable(vector: &PolarVector) -> bool {
    let [x, y] = vector.position;
    let [dx, dy] = vector.displacement;
    x.is_finite() && y.is_finite() && dx.is_finite() && dy.is_finite()
}

/// Radius of the wheel: as asked, or the rounded-up 95th percentile of |D| over all vectors without flags [pm].
fn wheel_radius(panels: &[Panel], style: &MapStyle) -> f64 {
    let magnitudes: Vec<f64> = panels
        .iter()
        .flat_map(|panel| match panel.layer {
            Layer::Arrows(vectors) | Layer::Field(vectors) => vectors,
            _ => &[],
        })
        .filter(|vector| vector.flags == 0 && drawable(vector))
        .map(|vector| vector.displacement[0].hypot(vector.displacement[1]))
        .collect();
    let usual = quantile(&magnitudes, 0.95).filter(|radius| *radius > 1e-6);
    let asked = style
        .radius_pm
        .filter(|radius| *radius > 0.0 && radius.is_finite());
    asked.or(usual.map(round_up)).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wheel_is_as_large_as_nearly_all_vectors_or_as_asked() {
        let vector = |length: f64, flags| PolarVector {
            position: [0.0, 0.0],
            displacement: [0.6 * length, 0.8 * length],
            sigma: [f64::NAN; 2],
            flags,
        };
        let mut vectors: Vec<PolarVector> =
            (0..=100).map(|i| vector(f64::from(i) * 0.35, 0)).collect();
        vectors.push(vector(9000.0, 4));
        let panel = Panel {
            title: String::new(),
            image: None,
            layer: Layer::Arrows(&vectors),
        };
        // The 95th percentile is 33.25 pm; the next round number is 35.
        let mut style = MapStyle::default();
        assert_eq!(wheel_radius(std::slice::from_ref(&panel), &style), 35.0);
        style.radius_pm = Some(33.4);
        assert_eq!(wheel_radius(&[panel], &style), 33.4);
        assert_eq!(wheel_radius(&[], &MapStyle::default()), 1.0);
    }
}
