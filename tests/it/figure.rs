//! Every kind of figure, drawn from synthetic data. The pictures stay in `target/tmp/figure` to be looked at.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod arrows;
mod bytes;
mod columns;
mod curves;
mod heat;
mod panels;
mod report;
mod scatter;

use std::path::{Path, PathBuf};

use ferrostem::crystal::polarization::{Point, PolarVector};
use ferrostem::figure::Figure;
use ferrostem::figure::map::MapStyle;
use ferrostem::image::Image;
use ferrostem::rng::{Rng, stream};
use ndarray::Array2;

const CELL: f64 = 3.96;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("figure")
}

/// Saves a figure and checks what a reader relies on: both files, the size, and that something is drawn. The SVG is parsed
/// strictly on the way to the PNG.
fn publish(figure: &Figure, stem: &str) {
    figure.save(&folder(), stem, true).unwrap();
    let png = std::fs::read(folder().join(format!("{stem}.png"))).unwrap();
    let pixels = image::load_from_memory(&png).unwrap().to_rgb8();
    let size = [pixels.width(), pixels.height()].map(f64::from);
    assert_eq!(size, [figure.width * 3.0, figure.height * 3.0], "{stem}");
    let mut colours: Vec<[u8; 3]> = pixels.pixels().map(|pixel| pixel.0).collect();
    colours.sort_unstable();
    colours.dedup();
    assert!(colours.len() > 20, "{stem} is blank");
    let svg = std::fs::read_to_string(folder().join(format!("{stem}.svg"))).unwrap();
    assert!(
        svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"),
        "{stem}"
    );
}

/// A lattice of `columns` × `rows` cells: A at the corners, B displaced from the centres by `displacement` [pm].
fn lattice(
    columns: usize,
    rows: usize,
    displacement: impl Fn(f64, f64) -> [f64; 2],
) -> (Vec<Point>, Vec<PolarVector>) {
    let grid = |nx: usize, ny: usize, offset: f64| {
        (0..nx * ny).map(move |i| {
            [
                ((i % nx) as f64 + offset) * CELL,
                ((i / nx) as f64 + offset) * CELL,
            ]
        })
    };
    let vectors = grid(columns, rows, 0.5 + 0.4).map(|[x, y]| {
        let d = displacement(
            x / CELL / columns as f64 - 0.5,
            y / CELL / rows as f64 - 0.5,
        );
        PolarVector {
            position: [x + d[0] / 100.0, y + d[1] / 100.0],
            displacement: d,
            sigma: [3.0, f64::NAN],
            flags: 0,
        }
    });
    (
        grid(columns + 1, rows + 1, 0.4).collect(),
        vectors.collect(),
    )
}

/// A vortex of 30 pm that vanishes in its core.
fn vortex(x: f64, y: f64) -> [f64; 2] {
    let r = x.hypot(y);
    let magnitude = 33.0 * (r / 0.12).tanh() / r.max(1e-9);
    [-y * magnitude, x * magnitude]
}

/// Gaussians at the columns, with noise; pixels may be rectangular.
fn micrograph(shape: (usize, usize), sampling: [f64; 2], a: &[Point], b: &[PolarVector]) -> Image {
    let mut data = Array2::from_elem(shape, 0.1_f32);
    let mut add = |point: Point, height: f64| {
        let reach = [0, 1].map(|axis| (2.0 / sampling[axis]).ceil() as i64);
        let [col, row] = [
            (point[0] / sampling[1]) as i64,
            (point[1] / sampling[0]) as i64,
        ];
        for r in (row - reach[0]).max(0)..(row + reach[0]).min(shape.0 as i64) {
            for c in (col - reach[1]).max(0)..(col + reach[1]).min(shape.1 as i64) {
                let dx = c as f64 * sampling[1] - point[0];
                let dy = r as f64 * sampling[0] - point[1];
                let value = height * (-(dx * dx + dy * dy) / (2.0 * 0.25)).exp();
                data[(r as usize, c as usize)] += value as f32;
            }
        }
    };
    a.iter().for_each(|&point| add(point, 1.0));
    b.iter().for_each(|vector| add(vector.position, 0.4));
    let mut rng = stream(3, "noise", 0);
    data.mapv_inplace(|value| value + 0.15 * (rng.random::<f32>() - 0.5));
    Image { data, sampling }
}

fn positions(vectors: &[PolarVector]) -> Vec<Point> {
    vectors.iter().map(|vector| vector.position).collect()
}

fn convention() -> MapStyle {
    MapStyle {
        convention: "D = B − mean of 4 A; P points against D in BiFeO3".to_owned(),
        ..MapStyle::default()
    }
}
