//! Where the panels stand and how large they are.

use super::{Layer, Panel};
use crate::crystal::polarization::Point;
use crate::figure::axes::{GAP, LABEL_SIZE, MARGIN, TITLE_SIZE, heading_height};
use crate::figure::canvas::{Anchor, Canvas, Frame, LINE_SPACING, TextStyle};
use crate::figure::font::{Weight, wrap};
use crate::neighbours::Neighbours;

/// Side of the square with the area of a single panel [px].
const SINGLE_SIDE: f64 = 540.0;
/// Longest side of a panel [px].
const LONGEST_SIDE: f64 = 900.0;
/// Width and height that several panels share [px].
const SHARED: [f64; 2] = [840.0, 760.0];
/// Panels are enlarged until their signs stand so far apart [px]: arrows, columns, cells …
const COMFORTABLE_PITCH: [f64; 3] = [13.0, 8.0, 3.0];
/// … by at most this factor.
const LARGEST_ENLARGEMENT: f64 = 1.6;
/// Side by side compares best: more columns are chosen as long as they keep this part of the
/// greatest worth.
const WIDER: f64 = 0.7;
/// Least width of a column of panels, for their titles [px].
const LEAST_WIDTH: f64 = 130.0;
/// Width of the column of keys [px].
pub(super) const KEYS_WIDTH: f64 = 168.0;
/// Distances of neighbours are taken from about this many points.
const PITCH_SAMPLES: usize = 2000;

/// Field of view and arrangement, common to all panels.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Upper left corner of the field of view [Å].
    origin: Point,
    /// Width and height of the field of view [Å].
    field: [f64; 2],
    /// [px/Å].
    pub(super) scale: f64,
    columns: usize,
    panels: usize,
    head: f64,
    title_lines: usize,
    heading_width: f64,
}

/// From Å to the sheet, in one panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) frame: Frame,
    pub(super) scale: f64,
    origin: Point,
}

impl Place {
    /// Where a point of the field stands on the sheet [px].
    pub(super) fn at(&self, point: Point) -> [f64; 2] {
        [
            self.frame.x + (point[0] - self.origin[0]) * self.scale,
            self.frame.y + (point[1] - self.origin[1]) * self.scale,
        ]
    }
}

impl Layout {
    pub(super) fn new(heading: &str, panels: &[Panel]) -> Self {
        let [low, high] = field_of_view(panels);
        let field = [high[0] - low[0], high[1] - low[1]];
        let wanted = panels.iter().filter_map(comfortable_scale);
        let (scale, columns) = arrange(field, panels.len(), wanted.fold(0.0, f64::max));
        let mut layout = Self {
            origin: low,
            field,
            scale,
            columns,
            panels: panels.len(),
            head: 0.0,
            title_lines: 0,
            heading_width: 0.0,
        };
        let width = layout.slot_width();
        let lines = panels.iter().filter(|panel| !panel.title.is_empty());
        let lines = lines.map(|panel| wrap(&panel.title, TITLE_SIZE, Weight::Bold, width).len());
        layout.title_lines = lines.max().unwrap_or(0);
        layout.heading_width = layout.width();
        layout.head = heading_height(heading, layout.heading_width);
        layout
    }

    /// Width of the whole sheet [px].
    pub(super) fn width(&self) -> f64 {
        self.keys_left() + KEYS_WIDTH + MARGIN
    }

    /// Left edge of the keys [px].
    pub(super) fn keys_left(&self) -> f64 {
        MARGIN + self.columns as f64 * (self.slot_width() + GAP)
    }

    /// Upper edge of the first panel [px].
    pub(super) fn top(&self) -> f64 {
        self.head + self.title_room()
    }

    /// Lower edge of the last panel [px].
    pub(super) fn bottom(&self) -> f64 {
        let last = self.frame(self.panels.saturating_sub(1));
        last.bottom()
    }

    /// The region of panel `index`.
    pub(super) fn frame(&self, index: usize) -> Frame {
        let [width, height] = self.field.map(|length| length * self.scale);
        let (row, column) = (index / self.columns, index % self.columns);
        Frame {
            x: MARGIN + column as f64 * (self.slot_width() + GAP),
            y: self.top() + row as f64 * (height + self.title_room() + GAP),
            width,
            height,
        }
    }

    pub(super) fn place(&self, index: usize) -> Place {
        Place {
            frame: self.frame(index),
            scale: self.scale,
            origin: self.origin,
        }
    }

    pub(super) fn draw_title(&self, canvas: &mut Canvas, index: usize, title: &str) {
        let frame = self.frame(index);
        let lines = wrap(title, TITLE_SIZE, Weight::Bold, self.slot_width());
        let lift = (lines.len() as f64 - 1.0) * TITLE_SIZE * LINE_SPACING;
        let style = TextStyle::bold(TITLE_SIZE).anchored(Anchor::Start);
        canvas.paragraph([frame.x, frame.y - 7.0 - lift], &lines, &style);
    }

    fn slot_width(&self) -> f64 {
        (self.field[0] * self.scale).max(LEAST_WIDTH)
    }

    fn title_room(&self) -> f64 {
        if self.title_lines == 0 {
            return 4.0;
        }
        self.title_lines as f64 * TITLE_SIZE * LINE_SPACING + 0.4 * LABEL_SIZE
    }
}

/// Scale [px/Å] and number of columns that show `count` panels of `field` [Å] largest, and near the `wanted` scale.
fn arrange(field: [f64; 2], count: usize, wanted: f64) -> (f64, usize) {
    let [width, height] = field;
    let single = (SINGLE_SIDE / (width * height).sqrt()).min(LONGEST_SIDE / width.max(height));
    let scale = |columns: usize| {
        let rows = count.div_ceil(columns);
        let room = [
            SHARED[0] / columns as f64 - GAP,
            SHARED[1] / rows as f64 - GAP,
        ];
        single
            .min(room[0].max(1.0) / width)
            .min(room[1].max(1.0) / height)
    };
    // What counts is the size of the panels, and that no row stays half empty.
    let worth = |columns: usize| {
        let places = count.div_ceil(columns) * columns;
        scale(columns) * count as f64 / places as f64
    };
    let best = (1..=count).map(worth).fold(0.0, f64::max);
    let columns = (1..=count)
        .rev()
        .find(|&columns| worth(columns) >= WIDER * best)
        .filter(|_| count > 1)
        .unwrap_or(1);
    let scale = if count > 1 { scale(columns) } else { single };
    let enlargement = (wanted / scale).clamp(1.0, LARGEST_ENLARGEMENT);
    (scale * enlargement, columns)
}

/// Scale at which the signs of a panel are easily told apart [px/Å]; `None` if it has none.
fn comfortable_scale(panel: &Panel) -> Option<f64> {
    let [arrows, columns, cells] = COMFORTABLE_PITCH;
    let comfortable = match panel.layer {
        Layer::Nothing | Layer::Values(_) => return None,
        Layer::Arrows(_) => arrows,
        Layer::Columns { .. } => columns,
        Layer::Field(_) | Layer::Scalar { .. } => cells,
    };
    Some(comfortable / pitch(&positions(panel))?)
}

/// Positions that a panel draws [Å].
fn positions(panel: &Panel) -> Vec<Point> {
    let all: Vec<Point> = match panel.layer {
        Layer::Nothing | Layer::Values(_) => Vec::new(),
        Layer::Columns { a, b } => a.iter().chain(b).copied().collect(),
        Layer::Arrows(vectors) | Layer::Field(vectors) => {
            vectors.iter().map(|vector| vector.position).collect()
        }
        Layer::Scalar { positions, .. } => positions.to_vec(),
    };
    let finite = |point: &Point| point[0].is_finite() && point[1].is_finite();
    all.into_iter().filter(finite).collect()
}

/// Median distance of a point to its nearest neighbour; `None` for fewer than two points.
pub(super) fn pitch(points: &[Point]) -> Option<f64> {
    let tree = Neighbours::new(points);
    let stride = points.len().div_ceil(PITCH_SAMPLES).max(1);
    let distances: Vec<f64> = points
        .iter()
        .step_by(stride)
        .filter_map(|&point| Some(tree.nearest(point, 2).get(1)?.1))
        .filter(|distance| *distance > 0.0)
        .collect();
    crate::figure::statistics::quantile(&distances, 0.5)
}

/// Corners of the region that all panels show [Å]: all images, or else all points with half a cell around them.
fn field_of_view(panels: &[Panel]) -> [Point; 2] {
    let mut low = [f64::INFINITY; 2];
    let mut high = [f64::NEG_INFINITY; 2];
    let mut include = |point: Point, room: f64| {
        for axis in 0..2 {
            low[axis] = low[axis].min(point[axis] - room);
            high[axis] = high[axis].max(point[axis] + room);
        }
    };
    for panel in panels {
        let layer = match panel.layer {
            Layer::Values(image) => Some(image),
            _ => None,
        };
        for image in panel.image.into_iter().chain(layer) {
            let [height, width] = image.extent();
            let [dy, dx] = image.sampling.map(|step| step / 2.0);
            include([-dx, -dy], 0.0);
            include([width - dx, height - dy], 0.0);
        }
        if panel.image.is_none() && layer.is_none() {
            let points = positions(panel);
            let room = pitch(&points).map_or(LONE_ROOM, |pitch| 0.6 * pitch);
            points.into_iter().for_each(|point| include(point, room));
        }
    }
    let sound = (0..2).all(|axis| low[axis].is_finite() && low[axis] < high[axis]);
    if sound {
        [low, high]
    } else {
        [[0.0; 2], [LONE_ROOM; 2]]
    }
}

/// Room around a point that has no neighbour [Å]: three perovskite cells.
const LONE_ROOM: f64 = 12.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elongated_panels_are_stacked_and_square_ones_stand_side_by_side() {
        assert_eq!(arrange([100.0, 100.0], 3, 0.0).1, 3);
        assert_eq!(arrange([500.0, 80.0], 3, 0.0).1, 1);
        assert_eq!(arrange([80.0, 500.0], 3, 0.0).1, 3);
    }

    #[test]
    fn dense_maps_are_enlarged() {
        let sparse = arrange([280.0, 280.0], 1, 1.0).0;
        let dense = arrange([280.0, 280.0], 1, 2.5).0;
        assert!(dense == 2.5 && dense > sparse);
    }

    #[test]
    fn pitch_is_the_distance_of_neighbours() {
        let points: Vec<Point> = (0..100)
            .map(|i| [f64::from(i % 10) * 3.9, f64::from(i / 10) * 4.1])
            .collect();
        assert!((pitch(&points).unwrap() - 3.9).abs() < 1e-9);
        assert!(pitch(&points[..1]).is_none());
    }
}
