//! The pixel grid of a wave, its spatial frequencies and its band limit.
//!
//! Products of two functions alias beyond the Nyquist frequency; keeping waves and transmission functions below two thirds
//! of it makes every product exact (Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed., ch. 6).

use crate::error::{Error, Result};

/// The band limit as a fraction of the Nyquist frequency of the coarser axis: two thirds, as abTEM 1.0.11 rounds it, so that
/// results compare to 1e-6 (the soft edge turns the seventh digit of the limit into the sixth of a signal next to it).
const BAND_FRACTION: f64 = 0.666_666_6;
/// Width of the soft edge below the band limit, in units of 1/sampling; abTEM's value, so that results compare.
const TAPER: f64 = 0.01;

/// Pixels of a periodic field; arrays are `(rows, cols)` = `(y, x)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    shape: (usize, usize),
    extent: [f64; 2],
}

impl Grid {
    /// A grid of `(rows, cols)` pixels over a field of height and width `extent` = `[y, x]` [Å].
    ///
    /// # Errors
    /// Fewer than 4 pixels along an axis, or a side that is not a positive length.
    pub fn new(shape: (usize, usize), extent: [f64; 2]) -> Result<Self> {
        if shape.0 < 4 || shape.1 < 4 {
            return Err(Error::unmeasurable(
                "grid of the wave",
                format!("{} rows, {} columns", shape.0, shape.1),
                "at least 4 of each",
            ));
        }
        if !extent.iter().all(|side| side.is_finite() && *side > 0.0) {
            return Err(Error::unmeasurable(
                "grid of the wave",
                format!("a field of {} x {} Å (y, x)", extent[0], extent[1]),
                "positive lengths",
            ));
        }
        Ok(Self { shape, extent })
    }

    /// The smallest grid that is at least as fine as `sampling` [Å] and quick to transform (no prime factor above 5).
    ///
    /// # Errors
    /// As [`Grid::new`]; also a sampling that is not a positive length.
    pub fn with_sampling(extent: [f64; 2], sampling: f64) -> Result<Self> {
        if !(sampling.is_finite() && sampling > 0.0) {
            return Err(Error::unmeasurable(
                "grid of the wave",
                format!("a sampling of {sampling} Å"),
                "a positive length",
            ));
        }
        // A side of 15.86 Å at 15.86/192 Å means 192 pixels, whatever the last bit says.
        let pixels = |side: f64| quick_length((side / sampling * (1.0 - 1e-12)).ceil() as usize);
        Self::new((pixels(extent[0]), pixels(extent[1])), extent)
    }

    /// Pixels `(rows, cols)`.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// Height and width of the field `[y, x]` [Å].
    #[must_use]
    pub fn extent(&self) -> [f64; 2] {
        self.extent
    }

    /// Pixel size `[y, x]` [Å].
    #[must_use]
    pub fn sampling(&self) -> [f64; 2] {
        [
            self.extent[0] / self.shape.0 as f64,
            self.extent[1] / self.shape.1 as f64,
        ]
    }

    /// Spatial frequencies along y, in the order of the transform [1/Å].
    #[must_use]
    pub fn ky(&self) -> Vec<f64> {
        frequencies(self.shape.0, self.extent[0])
    }

    /// Spatial frequencies along x, in the order of the transform [1/Å].
    #[must_use]
    pub fn kx(&self) -> Vec<f64> {
        frequencies(self.shape.1, self.extent[1])
    }

    /// Band limit k_c: no wave has a component at or beyond it [1/Å].
    #[must_use]
    pub fn band_limit(&self) -> f64 {
        BAND_FRACTION / (2.0 * self.coarser())
    }

    /// Where the soft edge below the band limit begins [1/Å].
    #[must_use]
    pub fn taper_start(&self) -> f64 {
        self.band_limit() - TAPER / self.coarser()
    }

    /// The band-limiting aperture A(k): 1 up to the taper, a half cosine down to 0 at the band limit.
    #[must_use]
    pub fn band_weight(&self, k: f64) -> f64 {
        let start = self.taper_start();
        if k <= start {
            1.0
        } else if k <= self.band_limit() {
            let phase = std::f64::consts::PI * (k - start) / (self.band_limit() - start);
            0.5 * (1.0 + phase.cos())
        } else {
            0.0
        }
    }

    fn coarser(&self) -> f64 {
        let [y, x] = self.sampling();
        y.max(x)
    }
}

/// Frequencies of a discrete Fourier transform of `count` samples over `length` [Å]: 0, 1, … , −1 over `length` [1/Å].
fn frequencies(count: usize, length: f64) -> Vec<f64> {
    (0..count)
        .map(|i| {
            let signed = if i < count.div_ceil(2) {
                i as f64
            } else {
                i as f64 - count as f64
            };
            signed / length
        })
        .collect()
}

/// The smallest number not below `count` whose prime factors are 2, 3 and 5.
pub(super) fn quick_length(count: usize) -> usize {
    (count.max(4)..)
        .find(|&n| {
            let mut rest = n;
            for prime in [2, 3, 5] {
                while rest % prime == 0 {
                    rest /= prime;
                }
            }
            rest == 1
        })
        .unwrap_or(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_follow_the_order_of_the_transform() {
        assert_eq!(frequencies(4, 2.0), [0.0, 0.5, -1.0, -0.5]);
        assert_eq!(frequencies(5, 1.0), [0.0, 1.0, 2.0, -2.0, -1.0]);
    }

    #[test]
    fn a_sampling_gives_the_next_quick_grid() {
        let grid = Grid::with_sampling([15.86, 7.93], 15.86 / 192.0).unwrap();
        assert_eq!(grid.shape(), (192, 96));
        let grid = Grid::with_sampling([10.0, 10.0], 10.0 / 193.0).unwrap();
        assert_eq!(grid.shape(), (200, 200));
        assert!(Grid::with_sampling([10.0, 10.0], 0.0).is_err());
        assert!(Grid::new((2, 64), [1.0, 1.0]).is_err());
    }

    #[test]
    fn the_band_weight_falls_from_one_to_nothing_below_the_limit() {
        let grid = Grid::new((192, 192), [15.86, 15.86]).unwrap();
        let (start, limit) = (grid.taper_start(), grid.band_limit());
        assert!((grid.band_weight(start) - 1.0).abs() < 1e-15);
        assert!((grid.band_weight(0.5 * (start + limit)) - 0.5).abs() < 1e-12);
        assert!(grid.band_weight(limit) < 1e-15);
        assert!(grid.band_weight(limit * 1.001) == 0.0);
    }
}
