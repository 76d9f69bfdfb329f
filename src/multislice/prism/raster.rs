//! Probes in an order that lets them share work: lines of one y, in pieces of neighbours whose windows nearly coincide.

use super::super::grid::Grid;
use crate::neighbours::Point;
use crate::units::RAD_PER_MRAD;

/// Most neighbours in a piece: their waves together are to stay near the processor.
const PIECE: usize = 8;
/// Windows that share work lie apart by at most 1/8 of their side.
const SLACK: usize = 8;

/// Where the windows lie in the field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Pixels `[rows, cols]` of the field.
    pub(super) shape: [usize; 2],
    /// Pixels `[rows, cols]` of a window.
    pub(super) window: [usize; 2],
    sampling: [f64; 2],
    /// How far a probe moves per slice, `[y, x]` [Å].
    drift: [f64; 2],
}

/// Neighbouring probes of one line: their places in the list and positions.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) line: usize,
    pub(super) probes: Vec<(usize, Point)>,
}

/// Neighbouring lines.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Group {
    /// The y of each line [Å].
    pub(super) lines: Vec<f64>,
    pub(super) pieces: Vec<Piece>,
    /// Number of probes.
    pub(super) probes: usize,
}

impl Field {
    pub(super) fn new(grid: &Grid, window: &Grid, slice: f64, tilt_mrad: [f64; 2]) -> Self {
        let [drift_x, drift_y] = tilt_mrad.map(|tilt| slice * (tilt * RAD_PER_MRAD).tan());
        Self {
            shape: grid.shape().into(),
            window: window.shape().into(),
            sampling: grid.sampling(),
            drift: [drift_y, drift_x],
        }
    }

    /// First `[row, column]` of the window of a probe that entered at `[x, y]`, behind `plane` slices; pixels beyond the field
    /// are its periodic images. A window as large as the field has no place of its own.
    pub(super) fn corner(&self, [x, y]: Point, plane: usize) -> [i64; 2] {
        if self.window == self.shape {
            return [0; 2];
        }
        let position = [y, x];
        std::array::from_fn(|axis| {
            let centre = position[axis] + plane as f64 * self.drift[axis];
            let half = self.window[axis] as f64 / 2.0;
            (centre / self.sampling[axis] - half).round() as i64
        })
    }

    /// Most pixels `[rows, cols]` that windows which share work cover together; a pixel is for rounding.
    pub(super) fn span(&self) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let window = self.window[axis];
            (window + window / SLACK + 1).min(self.shape[axis])
        })
    }

    /// Whether a window that begins at `corner` may share work along an axis with one at `first`.
    fn near(&self, axis: usize, first: Point, other: Point) -> bool {
        let distance = self.corner(other, 0)[axis] - self.corner(first, 0)[axis];
        (0..=(self.window[axis] / SLACK) as i64).contains(&distance)
    }

    /// Sorts probes into groups of at most `lines` lines and `probes` probes.
    pub(super) fn groups(&self, positions: &[Point], lines: usize, probes: usize) -> Vec<Group> {
        let mut sorted: Vec<(usize, Point)> = positions.iter().copied().enumerate().collect();
        sorted.sort_by(|(_, [ax, ay]), (_, [bx, by])| ay.total_cmp(by).then(ax.total_cmp(bx)));
        let mut groups: Vec<Group> = Vec::new();
        for probe in sorted {
            match groups.last_mut() {
                Some(group) if group.probes < probes && self.admits(group, probe.1, lines) => {
                    self.add(group, probe);
                }
                _ => {
                    let mut group = Group::default();
                    self.add(&mut group, probe);
                    groups.push(group);
                }
            }
        }
        groups
    }

    fn admits(&self, group: &Group, [x, y]: Point, lines: usize) -> bool {
        group.lines.last() == Some(&y)
            || (group.lines.len() < lines && self.near(0, [x, group.lines[0]], [x, y]))
    }

    fn add(&self, group: &mut Group, probe: (usize, Point)) {
        let y = probe.1[1];
        group.probes += 1;
        if group.lines.last() != Some(&y) {
            group.lines.push(y);
        }
        let line = group.lines.len() - 1;
        match group.pieces.last_mut() {
            Some(piece)
                if piece.line == line
                    && piece.probes.len() < PIECE
                    && self.near(1, piece.probes[0].1, probe.1) =>
            {
                piece.probes.push(probe);
            }
            _ => group.pieces.push(Piece {
                line,
                probes: vec![probe],
            }),
        }
    }
}

/// The stretch `first..first + count` of a periodic row of `period` pixels, as at most two ordinary ones: places in the stretch
/// and in the row, and lengths.
pub(super) fn stretches(
    first: i64,
    count: usize,
    period: usize,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let start = first.rem_euclid(period as i64) as usize;
    let ahead = count.min(period - start);
    [(0, start, ahead), (ahead, 0, count - ahead)]
        .into_iter()
        .filter(|(_, _, length)| *length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 64 × 64 pixels of 0.25 Å, windows of 32, slices of 2 Å at 100 mrad.
    fn field() -> Field {
        let grid = Grid::new((64, 64), [16.0; 2]).unwrap();
        let window = Grid::new((32, 32), [8.0; 2]).unwrap();
        Field::new(&grid, &window, 2.0, [100.0, 0.0])
    }

    #[test]
    fn windows_lie_around_their_probes_and_drift_with_them() {
        let field = field();
        assert_eq!(field.corner([8.0, 4.0], 0), [0, 16]);
        assert_eq!(field.corner([8.0, 3.0], 0), [-4, 16]);
        // 20 slices of 2 Å at tan 0.1: 4.013 Å, 16 pixels along x.
        assert_eq!(field.corner([8.0, 4.0], 20), [0, 32]);
    }

    #[test]
    fn every_probe_is_in_one_piece_whose_windows_nearly_coincide() {
        let field = field();
        let positions: Vec<Point> = (0..200)
            .map(|i| [f64::from(i % 20) * 0.9, f64::from(i / 20) * 0.7])
            .collect();
        let groups = field.groups(&positions, 4, 50);
        let mut seen = vec![0; positions.len()];
        for group in &groups {
            assert!(group.lines.len() <= 4 && group.probes <= 50);
            for piece in &group.pieces {
                let first = piece.probes[0].1;
                for &(index, position) in &piece.probes {
                    seen[index] += 1;
                    assert_eq!(position, positions[index]);
                    assert_eq!(position[1], group.lines[piece.line]);
                    for plane in [0, 7, 13] {
                        let from = field.corner(first, plane)[1];
                        let offset = field.corner(position, plane)[1] - from;
                        assert!(0 <= offset && offset as usize <= field.span()[1] - 32);
                    }
                }
            }
        }
        assert!(seen.iter().all(|count| *count == 1));
    }

    #[test]
    fn a_stretch_across_the_border_goes_on_at_the_other_side() {
        let all = |first, count| stretches(first, count, 10).collect::<Vec<_>>();
        assert_eq!(all(3, 4), [(0, 3, 4)]);
        assert_eq!(all(-3, 5), [(0, 7, 3), (3, 0, 2)]);
        assert_eq!(all(10, 10), [(0, 0, 10)]);
    }
}
