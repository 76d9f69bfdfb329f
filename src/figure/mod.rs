//! Figures and reports. Every figure is drawn once, as SVG, and rasterised from that same SVG with an embedded font, so the
//! picture in a paper, the one in `report.html` and the one on screen agree to the letter on every machine.
//!
//! * [`curve`]: series over an axis, with errors, as small multiples;
//! * [`map`]: columns, polar vectors as arrows or coloured cells, scalars, side by side at one scale;
//! * [`histogram`] and [`scatter`]: distributions of measured displacements, measured against true;
//! * [`rose`]: how many vectors point where;
//! * [`heat`]: matrices with their numbers;
//! * [`report`]: all of it on one page that needs no network.
//!
//! The module knows neither columns nor networks: it takes images, polar vectors, points and numbers. The same input gives the
//! same bytes.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "units stand in brackets: [px], [pm]"
)]

mod axes;
pub mod canvas;
pub mod colour;
pub mod curve;
pub mod font;
pub mod heat;
pub mod histogram;
mod legend;
pub mod map;
mod micrograph;
pub mod report;
pub mod rose;
pub mod scatter;
mod statistics;
mod ticks;

use std::path::Path;

use resvg::{tiny_skia, usvg};

use crate::error::{Error, Result};
use crate::storage::output::{refuse_file, write_file};

/// Pixels of a saved PNG per CSS pixel: 3 gives 288 dots per inch at the size that the SVG asks for.
const PNG_SCALE: f64 = 3.0;

/// A finished drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The drawing as a complete SVG document.
    pub svg: String,
    /// Width [px].
    pub width: f64,
    /// Height [px].
    pub height: f64,
}

impl Figure {
    /// The drawing as PNG, `scale` pixels per CSS pixel.
    ///
    /// # Errors
    /// The drawing has no area, or is too large for memory.
    pub fn to_png(&self, scale: f64) -> Result<Vec<u8>> {
        let failed = Error::compute::<String>("draw a figure");
        let options = usvg::Options {
            font_family: font::EMBEDDED_FAMILY.to_owned(),
            fontdb: font::database(),
            ..usvg::Options::default()
        };
        let tree = usvg::Tree::from_str(&self.svg, &options)
            .map_err(Error::compute("read the SVG of a figure"))?;
        let side = |length: f64| (length * scale).round().max(0.0) as u32;
        let (width, height) = (side(self.width), side(self.height));
        let Some(mut pixels) = tiny_skia::Pixmap::new(width, height) else {
            return Err(failed(format!("no room for {width} × {height} pixels")));
        };
        let transform = tiny_skia::Transform::from_scale(scale as f32, scale as f32);
        resvg::render(&tree, transform, &mut pixels.as_mut());
        // The ground is opaque, so that colours are not premultiplied and alpha can go.
        let colours = pixels.pixels().iter();
        let bytes: Vec<u8> = colours
            .flat_map(|p| [p.red(), p.green(), p.blue()])
            .collect();
        let shape = (height as usize, width as usize);
        micrograph::encode(&bytes, shape, image::ExtendedColorType::Rgb8)
    }

    /// The drawing with the word SMOKE across its upper right corner: made by a run that only tests the machinery.
    #[must_use]
    pub fn marked_smoke(mut self) -> Self {
        let end = self.svg.rfind("</svg>").unwrap_or(self.svg.len());
        let mark = format!(
            "<text x=\"{}\" y=\"12\" font-size=\"11\" font-weight=\"bold\" fill=\"{}\" text-anchor=\"end\">SMOKE</text>\n",
            self.width - 10.0,
            colour::PALETTE[1].hex()
        );
        self.svg.insert_str(end, &mark);
        self
    }

    /// Writes `STEM.png` (288 dots per inch) and `STEM.svg` into `folder`.
    ///
    /// # Errors
    /// One of them exists and `force` is not set, or the system refuses.
    pub fn save(&self, folder: &Path, stem: &str, force: bool) -> Result<()> {
        let paths = ["png", "svg"].map(|extension| folder.join(format!("{stem}.{extension}")));
        for path in &paths {
            refuse_file(path, force)?;
        }
        let [png, svg] = paths;
        write_file(&png, &self.to_png(PNG_SCALE)?)?;
        write_file(&svg, self.svg.as_bytes())
    }
}
