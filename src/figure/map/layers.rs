//! What a panel draws: image, columns, arrows, cells, the dividing line.

use super::keys::Keys;
use super::layout::{Place, pitch};
use super::{Layer, MapStyle, Panel, Split, WallLine, drawable};
use crate::crystal::polarization::{Point, PolarVector};
use crate::error::{Error, Result};
use crate::figure::axes::{LABEL_SIZE, draw_nothing};
use crate::figure::canvas::{Anchor, Canvas, Frame, Paint, TextStyle};
use crate::figure::colour::{BLACK, GRID, INK, NO_VALUE, Rgb, WHITE, Wheel};
use crate::figure::micrograph::{coloured_png, grey_png};
use crate::image::Image;
use crate::neighbours::Neighbours;

/// Colours of the two sublattices: warm rings for A, cool dots for B.
pub(super) const A_COLOUR: Rgb = Rgb([0xff, 0x9a, 0x1f]);
/// See [`A_COLOUR`].
pub(super) const B_COLOUR: Rgb = Rgb([0x2f, 0xc4, 0xff]);
/// Opacity of a micrograph that vectors or numbers lie on.
const FAINT_IMAGE: f64 = 0.25;
/// A pixel drawn larger than this is shown as a square, not interpolated [px].
const LARGE_PIXEL: f64 = 6.0;

/// Draws all of a panel that lies within its frame.
pub(super) fn draw_layer(
    canvas: &mut Canvas,
    panel: &Panel,
    style: &MapStyle,
    place: &Place,
    keys: &Keys,
) -> Result<()> {
    if let Some(image) = panel.image {
        let faint = !matches!(panel.layer, Layer::Nothing | Layer::Columns { .. });
        let opacity = if faint { FAINT_IMAGE } else { 1.0 };
        draw_image(canvas, image, place, opacity, |image| {
            grey_png(&image.data, style.stretch)
        })?;
    }
    let mut is_empty = false;
    match panel.layer {
        Layer::Nothing => is_empty = panel.image.is_none(),
        Layer::Columns { a, b } => draw_columns(canvas, a, b, place),
        Layer::Arrows(vectors) => {
            for vector in keys.arrows.chosen(vectors) {
                keys.arrows.draw(canvas, place, vector);
            }
            is_empty = !vectors.iter().any(drawable);
        }
        Layer::Field(vectors) => is_empty = !draw_field(canvas, vectors, place, keys),
        Layer::Scalar { positions, values } => {
            is_empty = !draw_scalar(canvas, positions, values, place, keys);
        }
        Layer::Values(image) => {
            let (scale, limits) = (keys.bar.scale, keys.bar.limits);
            let colours = |image: &Image| coloured_png(&image.data, scale, limits);
            draw_image(canvas, image, place, 1.0, colours)?;
        }
    }
    if is_empty {
        draw_nothing(canvas, place.frame, "nothing to show");
    }
    for wall in &style.walls {
        draw_wall(canvas, wall, place);
    }
    if let Some(split) = &style.split {
        draw_split(canvas, split, place);
    }
    Ok(())
}

/// A wall: its middle as a dark line with a light edge, its width as a band.
fn draw_wall(canvas: &mut Canvas, wall: &WallLine, place: &Place) {
    let [from, to] = wall.ends.map(|end| place.at(end));
    let step = [to[0] - from[0], to[1] - from[1]];
    let length = step[0].hypot(step[1]);
    if !(length > 0.0 && length.is_finite()) {
        return;
    }
    let side = wall.half_width * place.scale / length;
    let across = [-side * step[1], side * step[0]];
    if wall.half_width > 0.0 {
        let corner = |end: [f64; 2], sign: f64| [0, 1].map(|k| end[k] + sign * across[k]);
        let band = [
            corner(from, 1.0),
            corner(to, 1.0),
            corner(to, -1.0),
            corner(from, -1.0),
        ];
        let paint = Paint {
            opacity: 0.12,
            ..Paint::fill(BLACK)
        };
        canvas.polyline(&band, true, &paint);
    }
    draw_wall_line(canvas, from, to);
}

/// The middle of a wall [px].
pub(super) fn draw_wall_line(canvas: &mut Canvas, from: [f64; 2], to: [f64; 2]) {
    canvas.line(from, to, &Paint::stroke(WHITE, 3.4));
    canvas.line(from, to, &Paint::stroke(BLACK, 1.6));
}

/// An image at its place: pixel (0, 0) has its centre at the origin.
fn draw_image(
    canvas: &mut Canvas,
    image: &Image,
    place: &Place,
    opacity: f64,
    encode: impl FnOnce(&Image) -> Result<Vec<u8>>,
) -> Result<()> {
    if image.data.is_empty() {
        let got = format!("{:?} pixels", image.data.dim());
        return Err(Error::unmeasurable(
            "draw an image",
            got,
            "at least one pixel",
        ));
    }
    let [height, width] = image.extent();
    let [dy, dx] = image.sampling;
    let corner = place.at([-dx / 2.0, -dy / 2.0]);
    let frame = Frame {
        x: corner[0],
        y: corner[1],
        width: width * place.scale,
        height: height * place.scale,
    };
    let smooth = dx.max(dy) * place.scale < LARGE_PIXEL;
    canvas.picture(frame, &encode(image)?, smooth, opacity);
    Ok(())
}

fn draw_columns(canvas: &mut Canvas, a: &[Point], b: &[Point], place: &Place) {
    let both: Vec<Point> = a.iter().chain(b).copied().collect();
    let radius = marker_radius(&both, place);
    let finite = |point: &&Point| point[0].is_finite() && point[1].is_finite();
    for &point in a.iter().filter(finite) {
        draw_a(canvas, place.at(point), radius);
    }
    for &point in b.iter().filter(finite) {
        draw_b(canvas, place.at(point), radius);
    }
}

fn marker_radius(points: &[Point], place: &Place) -> f64 {
    (0.26 * pitch(points).unwrap_or(1.0) * place.scale).clamp(1.2, 5.0)
}

/// The sign of an A column: a ring with a dark edge, which leaves the column visible.
pub(super) fn draw_a(canvas: &mut Canvas, at: [f64; 2], radius: f64) {
    let width = (0.42 * radius).max(0.8);
    canvas.circle(at, radius, &Paint::stroke(BLACK, width + 0.9));
    canvas.circle(at, radius, &Paint::stroke(A_COLOUR, width));
}

/// The sign of a B column: a dot with a dark edge.
pub(super) fn draw_b(canvas: &mut Canvas, at: [f64; 2], radius: f64) {
    let paint = Paint {
        stroke: Some(BLACK),
        width: 0.5,
        ..Paint::fill(B_COLOUR)
    };
    canvas.circle(at, 0.66 * radius, &paint);
}

/// Cells in the colours of the wheel; flagged ones grey. Says whether there was any.
fn draw_field(canvas: &mut Canvas, vectors: &[PolarVector], place: &Place, keys: &Keys) -> bool {
    let drawn: Vec<&PolarVector> = vectors.iter().filter(|vector| drawable(vector)).collect();
    let positions: Vec<Point> = drawn.iter().map(|vector| vector.position).collect();
    let cell = Cell::of(&positions);
    for vector in &drawn {
        let relative = vector.displacement.map(|d| d / keys.arrows.radius_pm);
        let colour = if vector.flags == 0 {
            Wheel::Pale.colour(relative)
        } else {
            NO_VALUE
        };
        cell.draw(canvas, place, vector.position, colour);
    }
    !drawn.is_empty()
}

/// Cells in the colours of the bar; those without a number light grey. Says whether there was any.
fn draw_scalar(
    canvas: &mut Canvas,
    positions: &[Point],
    values: &[f64],
    place: &Place,
    keys: &Keys,
) -> bool {
    let drawn: Vec<(Point, f64)> = positions
        .iter()
        .copied()
        .zip(values.iter().copied())
        .filter(|(point, _)| point[0].is_finite() && point[1].is_finite())
        .collect();
    let cell = Cell::of(
        &drawn
            .iter()
            .map(|(point, _)| *point)
            .collect::<Vec<Point>>(),
    );
    for (point, value) in &drawn {
        let colour = if value.is_finite() {
            keys.bar.colour(*value)
        } else {
            GRID
        };
        cell.draw(canvas, place, *point, colour);
    }
    !drawn.is_empty()
}

/// Half the edges of the cell that tiles a lattice of points, as two vectors [Å].
struct Cell([Point; 2]);

impl Cell {
    /// Side of a cell that stands alone [Å].
    const LONE: f64 = 4.0;

    /// The cell of roughly square lattices, turned and sheared as they are. The direction of its first edge is the mean of
    /// the directions to nearest neighbours modulo 90°, ¼ arg Σ exp(4iθ); the edges are the medians along and across it.
    fn of(points: &[Point]) -> Self {
        let side = pitch(points).unwrap_or(Self::LONE);
        let tree = Neighbours::new(points);
        let stride = points.len().div_ceil(2000).max(1);
        let steps: Vec<Point> = points
            .iter()
            .step_by(stride)
            .flat_map(|&p| {
                let near = tree.nearest(p, 5).into_iter();
                near.filter(|(_, distance)| *distance > 0.0 && *distance < 1.3 * side)
                    .map(move |(index, _)| [points[index][0] - p[0], points[index][1] - p[1]])
            })
            .collect();
        let angles = steps.iter().map(|step| 4.0 * step[1].atan2(step[0]));
        let sum = angles.fold([0.0, 0.0], |sum, angle| {
            [sum[0] + angle.cos(), sum[1] + angle.sin()]
        });
        let angle = if steps.is_empty() {
            0.0
        } else {
            sum[1].atan2(sum[0]) / 4.0
        };
        Self(
            [angle, angle + std::f64::consts::FRAC_PI_2].map(|direction| {
                let edge = median_edge(&steps, direction);
                let fallback = [direction.cos() * side, direction.sin() * side];
                edge.unwrap_or(fallback).map(|length| length / 2.0)
            }),
        )
    }

    fn draw(&self, canvas: &mut Canvas, place: &Place, centre: Point, colour: Rgb) {
        let Self([u, v]) = self;
        let corners = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]].map(|[p, q]| {
            place.at([
                centre[0] + p * u[0] + q * v[0],
                centre[1] + p * u[1] + q * v[1],
            ])
        });
        // The thin edge of the same colour closes the hairlines that antialiasing leaves between neighbours.
        let paint = Paint {
            stroke: Some(colour),
            width: 0.5,
            ..Paint::fill(colour)
        };
        canvas.polyline(&corners, true, &paint);
    }
}

/// Component-wise median of the steps within 45° of `direction`, both ways.
fn median_edge(steps: &[Point], direction: f64) -> Option<Point> {
    let (sin, cos) = direction.sin_cos();
    let along: Vec<Point> = steps
        .iter()
        .filter_map(|step| {
            let (forward, side) = (step[0] * cos + step[1] * sin, step[1] * cos - step[0] * sin);
            (forward.abs() > side.abs()).then(|| step.map(|length| length * forward.signum()))
        })
        .collect();
    let median = |axis: usize| {
        let values: Vec<f64> = along.iter().map(|step| step[axis]).collect();
        crate::figure::statistics::quantile(&values, 0.5)
    };
    Some([median(0)?, median(1)?])
}

/// The dividing line with the names of the parts beside it.
fn draw_split(canvas: &mut Canvas, split: &Split, place: &Place) {
    let frame = place.frame;
    let text = TextStyle {
        ..TextStyle::on_paper(LABEL_SIZE)
    };
    let dashed = Paint {
        dash: 6.0,
        ..Paint::stroke(INK, 2.0)
    };
    match split {
        Split::Vertical { x, names } => {
            let x = place.at([*x, 0.0])[0];
            canvas.line([x, frame.y], [x, frame.bottom()], &dashed);
            let y = frame.y + LABEL_SIZE + 5.0;
            canvas.text([x - 7.0, y], &names[0], &text.anchored(Anchor::End));
            canvas.text([x + 7.0, y], &names[1], &text.anchored(Anchor::Start));
        }
        Split::Horizontal { y, names } => {
            let y = place.at([0.0, *y])[1];
            canvas.line([frame.x, y], [frame.right(), y], &dashed);
            let end = text.anchored(Anchor::End);
            canvas.text([frame.right() - 7.0, y - 7.0], &names[0], &end);
            canvas.text([frame.right() - 7.0, y + LABEL_SIZE + 5.0], &names[1], &end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_tile_a_turned_and_sheared_lattice() {
        let (u, v): (Point, Point) = ([3.9, 0.5], [-0.6, 4.1]);
        let points: Vec<Point> = (0..400)
            .map(|i| (f64::from(i % 20), f64::from(i / 20)))
            .map(|(p, q)| [p * u[0] + q * v[0], p * u[1] + q * v[1]])
            .collect();
        let Cell([first, second]) = Cell::of(&points);
        let close = |half: Point, edge: Point| {
            (2.0 * half[0] - edge[0]).hypot(2.0 * half[1] - edge[1]) < 1e-9
        };
        assert!(close(first, u) && close(second, v), "{first:?} {second:?}");
    }
}
