//! The raster of probe positions and the grid of pixels that a simulation resolves to.

use super::settings::{GridSettings, ScanSettings};
use crate::acquisition::Border;
use crate::error::Result;
use crate::multislice::Grid;
use crate::neighbours::Point;
use crate::settings::Source;

/// Numbers of pixels may not exceed this; larger waves would not fit any machine.
const MOST_PIXELS: usize = 16_384;
/// Probe positions farther out than this are a slip of the pen [Å].
const FARTHEST: f64 = 1e5;
/// Two lengths that differ by less than this fraction of a step are the same.
const SAME: f64 = 1e-6;

/// A raster of probe positions, row by row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Raster {
    /// First position `[x, y]` [Å].
    pub start: Point,
    /// Distance of neighbours `[x, y]` [Å].
    pub step: [f64; 2],
    /// Number of positions `[x, y]`.
    pub points: [usize; 2],
}

impl Raster {
    /// The raster of a `[scan]` section over a specimen of `extent` `[x, y]` [Å].
    ///
    /// # Errors
    /// Neither or both of step and points, an empty area, or a start outside the specimen.
    pub fn new(scan: &ScanSettings, extent: [f64; 2], source: &Source) -> Result<Self> {
        let start = scan.start_angstrom;
        let end = scan.end_angstrom.unwrap_or(extent);
        for value in start.into_iter().chain(end) {
            source.in_range(
                "scan",
                value,
                -FARTHEST..=FARTHEST,
                "Å",
                "start and end of the area",
            )?;
        }
        for axis in 0..2 {
            if !(start[axis].is_finite() && end[axis].is_finite() && end[axis] > start[axis]) {
                let got = format!("from {start:?} to {end:?}");
                return Err(source.wrong(
                    "scan.end_angstrom",
                    got,
                    "an end beyond the start on both axes",
                ));
            }
        }
        let (step, points) = match (scan.step_angstrom, scan.points) {
            (Some(step), None) => {
                source.in_range(
                    "scan.step_angstrom",
                    step,
                    0.005..=5.0,
                    "Å",
                    "Å, not nm or pm",
                )?;
                let count = |axis: usize| ((end[axis] - start[axis]) / step - SAME).ceil() as usize;
                ([step; 2], [count(0), count(1)])
            }
            (None, Some(points)) => {
                let step =
                    std::array::from_fn(|axis| (end[axis] - start[axis]) / points[axis] as f64);
                (step, points)
            }
            (step, points) => {
                let got = format!("step_angstrom = {step:?}, points = {points:?}");
                return Err(source.wrong("scan", got, "exactly one of step_angstrom and points"));
            }
        };
        if points.iter().any(|&n| n == 0 || n > MOST_PIXELS) {
            let allowed = format!("1 to {MOST_PIXELS} positions along each axis");
            return Err(source.wrong("scan.points", format!("{points:?}"), allowed));
        }
        Ok(Self {
            start,
            step,
            points,
        })
    }

    /// Number of positions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points[0] * self.points[1]
    }

    /// Whether there are no positions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Position number `index`, counted along rows [Å].
    #[must_use]
    pub fn position(&self, index: usize) -> Point {
        let (row, col) = (index / self.points[0], index % self.points[0]);
        [
            self.start[0] + col as f64 * self.step[0],
            self.start[1] + row as f64 * self.step[1],
        ]
    }

    /// End of the raster, one step beyond the last position `[x, y]` [Å].
    #[must_use]
    pub fn end(&self) -> Point {
        std::array::from_fn(|axis| self.start[axis] + self.step[axis] * self.points[axis] as f64)
    }

    /// Whether the raster covers whole periods of a crystal with `period` `[x, y]` [Å].
    #[must_use]
    pub fn is_periodic(&self, period: [f64; 2]) -> bool {
        (0..2).all(|axis| {
            let periods = self.step[axis] * self.points[axis] as f64 / period[axis];
            periods > 0.5 && (periods - periods.round()).abs() < SAME
        })
    }

    /// What lies beyond the border of the image of a crystal with `period` `[x, y]` [Å].
    #[must_use]
    pub fn border(&self, period: [f64; 2]) -> Border {
        if self.is_periodic(period) {
            Border::Periodic
        } else {
            Border::Mirror
        }
    }
}

/// The grid of a `[grid]` section over a specimen of `extent` `[x, y]` [Å].
///
/// # Errors
/// Neither or both of pixels and sampling, or a number that is out of range.
pub(super) fn wave_grid(grid: &GridSettings, [x, y]: [f64; 2], source: &Source) -> Result<Grid> {
    match (grid.pixels, grid.sampling_angstrom) {
        (Some([cols, rows]), None) => {
            if [cols, rows].iter().any(|n| !(8..=MOST_PIXELS).contains(n)) {
                let allowed = format!("8 to {MOST_PIXELS} along each axis");
                return Err(source.wrong("grid.pixels", format!("{:?}", [cols, rows]), allowed));
            }
            Grid::new((rows, cols), [y, x])
        }
        (None, Some(sampling)) => {
            source.in_range(
                "grid.sampling_angstrom",
                sampling,
                0.005..=0.5,
                "Å",
                "Å, not nm or pm",
            )?;
            Grid::with_sampling([y, x], sampling)
        }
        (pixels, sampling) => {
            let got = format!("pixels = {pixels:?}, sampling_angstrom = {sampling:?}");
            Err(source.wrong("grid", got, "exactly one of pixels and sampling_angstrom"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(step: Option<f64>, points: Option<[usize; 2]>) -> ScanSettings {
        ScanSettings {
            start_angstrom: [1.0, 2.0],
            end_angstrom: Some([5.0, 4.0]),
            step_angstrom: step,
            points,
        }
    }

    #[test]
    fn the_step_asked_for_is_the_step_made() {
        let source = Source::from_text("s", "");
        let raster = Raster::new(&scan(Some(0.3), None), [8.0; 2], &source).unwrap();
        assert_eq!((raster.points, raster.step), ([14, 7], [0.3, 0.3]));
        assert_eq!(raster.position(15), [1.3, 2.3]);
        let raster = Raster::new(&scan(None, Some([8, 8])), [8.0; 2], &source).unwrap();
        assert_eq!(raster.step, [0.5, 0.25]);
        assert_eq!(raster.border([4.0, 2.0]), Border::Periodic);
        assert_eq!(raster.border([3.0, 2.0]), Border::Mirror);
        assert!(Raster::new(&scan(None, None), [8.0; 2], &source).is_err());
        assert!(Raster::new(&scan(Some(0.1), Some([2, 2])), [8.0; 2], &source).is_err());
    }

    #[test]
    fn a_grid_is_given_by_pixels_or_by_sampling() {
        let source = Source::from_text("s", "");
        let both = |pixels, sampling_angstrom| GridSettings {
            pixels,
            sampling_angstrom,
        };
        let grid = wave_grid(&both(None, Some(0.1)), [12.0, 9.7], &source).unwrap();
        assert_eq!(grid.shape(), (100, 120));
        let grid = wave_grid(&both(Some([64, 32]), None), [12.0, 9.7], &source).unwrap();
        assert_eq!(grid.shape(), (32, 64));
        assert!(wave_grid(&both(None, None), [12.0, 9.7], &source).is_err());
        assert!(wave_grid(&both(Some([64, 32]), Some(0.1)), [12.0, 9.7], &source).is_err());
        assert!(wave_grid(&both(Some([4, 64]), None), [12.0, 9.7], &source).is_err());
    }
}
