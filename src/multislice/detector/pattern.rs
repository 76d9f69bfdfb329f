//! The camera of a pixelated detector: which pixels of the diffraction pattern it keeps, binned, the beam in the middle.

use num_complex::Complex;

use super::super::fft::{Real, intensity};
use super::super::grid::Grid;
use super::settings::{Detector, PixelatedDetector};
use crate::error::{Error, Result};
use crate::units::RAD_PER_MRAD;

/// A square of pixels in the diffraction plane; arrays are `(ky, kx)`, frequencies rising along both axes.
///
/// The pixels of the diffraction pattern are λ/L wide on a field of side L, and the camera holds those with |α_x| and |α_y|
/// below its outer angle, as many as fill whole bins. The beam, α = 0, lies in the middle pixel of a bin, for an even
/// number of pixels in the first one behind the middle.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternGrid {
    bin: usize,
    /// Side of the field, the inverse of the width of a pixel of the pattern, `[y, x]` [Å].
    extent: [f64; 2],
    /// The pixels of the camera along `[ky, kx]`.
    shape: [usize; 2],
    /// Signed index of the first pixel of the pattern that is kept, `[ky, kx]`.
    first: [i64; 2],
    wavelength: f64,
}

impl PatternGrid {
    /// The camera for patterns of waves on `field`.
    ///
    /// # Errors
    /// The outer angle is beyond the band limit; a bin is larger than the pattern, or nothing.
    pub fn new(detector: &PixelatedDetector, field: &Grid, wavelength: f64) -> Result<Self> {
        let limit = Detector::limit_mrad(field, wavelength);
        if !(0.0 < detector.outer_mrad && detector.outer_mrad <= limit) {
            return Err(Error::unmeasurable(
                "pixelated detector",
                format!("an outer angle of {} mrad", detector.outer_mrad),
                format!("more than 0, at most {limit:.1} mrad, the band limit of this grid"),
            ));
        }
        let bin = detector.bin;
        let largest = Self::largest_bin(detector, field, wavelength);
        if !(1..=largest).contains(&bin) {
            return Err(Error::unmeasurable(
                "pixelated detector",
                format!("bins of {bin} pixels"),
                format!("1 to {largest}, the pixels of the pattern along its shorter side"),
            ));
        }
        let pixels = pixels_on_one_side(detector, field, wavelength);
        // Bin j holds the pixels from j · bin − half.
        let half = bin / 2;
        let below = pixels.map(|pixels| (pixels - half) / bin);
        let above = pixels.map(|pixels| (pixels + half + 1 - bin) / bin);
        Ok(Self {
            bin,
            extent: field.extent(),
            shape: [0, 1].map(|axis| below[axis] + 1 + above[axis]),
            first: below.map(|below| -((below * bin + half) as i64)),
            wavelength,
        })
    }

    /// The largest bin that the pattern of waves on `field` fills.
    #[must_use]
    pub fn largest_bin(detector: &PixelatedDetector, field: &Grid, wavelength: f64) -> usize {
        let [y, x] = pixels_on_one_side(detector, field, wavelength);
        2 * y.min(x) + 1
    }

    /// Pixels of the camera `[ky, kx]`.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Number of pixels of the camera.
    pub(in super::super) fn len(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// Width of a pixel of the camera, `[ky, kx]` [mrad].
    #[must_use]
    pub fn step_mrad(&self) -> [f64; 2] {
        let bin = self.bin as f64;
        self.extent
            .map(|extent| bin * self.wavelength / extent / RAD_PER_MRAD)
    }

    /// Angle at the centre of pixel (0, 0), `[ky, kx]` [mrad].
    #[must_use]
    pub fn offset_mrad(&self) -> [f64; 2] {
        let step = self.step_mrad();
        let middle = (self.bin as f64 - 1.0) / 2.0;
        [0, 1].map(|axis| (self.first[axis] as f64 + middle) / self.bin as f64 * step[axis])
    }

    /// The camera's pixels in spectra on `grid`, whose frequencies are shifted by `offset_k` `[x, y]` [1/Å].
    ///
    /// A grid of a part of the field, such as one cell of a crystal with its Bloch vectors, fills a part of the pixels.
    pub(in super::super) fn pixels(&self, grid: &Grid, offset_k: [f64; 2]) -> PatternPixels {
        let place = |axis: usize, k: f64| {
            let index = (k * self.extent[axis]).round() as i64 - self.first[axis];
            let pixel = usize::try_from(index).ok()? / self.bin;
            (pixel < self.shape[axis]).then_some(pixel)
        };
        let rows = grid.ky().into_iter().enumerate();
        let rows = rows.filter_map(|(y, k)| Some((y, place(0, k + offset_k[1])?)));
        let columns = grid.kx().into_iter().map(|k| place(1, k + offset_k[0]));
        PatternPixels {
            width: self.shape[1],
            columns: columns.collect(),
            rows: rows.collect(),
        }
    }
}

/// Pixels of the pattern on each side of the beam, `[ky, kx]`.
fn pixels_on_one_side(detector: &PixelatedDetector, field: &Grid, wavelength: f64) -> [usize; 2] {
    let outer = detector.outer_mrad * RAD_PER_MRAD;
    field.extent().map(|extent| {
        let inside = |index: &u32| wavelength * (f64::from(*index) / extent) < outer;
        (1..).take_while(inside).count()
    })
}

/// Where the pixels of a spectrum lie on the camera.
#[derive(Debug)]
pub(in super::super) struct PatternPixels {
    /// Columns of the camera.
    width: usize,
    /// Column of the camera for each k_x.
    columns: Vec<Option<usize>>,
    /// Index of k_y and row of the camera.
    rows: Vec<(usize, usize)>,
}

impl PatternPixels {
    /// Adds |value|² of column k_x of the full spectrum, `values` by k_y, to a `pattern` `(ky, kx)`, flat.
    pub(in super::super) fn collect<T: Real>(
        &self,
        column: usize,
        values: &[Complex<T>],
        pattern: &mut [f64],
    ) {
        if let Some(column) = self.columns[column] {
            for &(y, row) in &self.rows {
                pattern[row * self.width + column] += intensity(values[y]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAVELENGTH: f64 = 0.025;

    fn field() -> Grid {
        Grid::new((64, 72), [8.0, 9.0]).unwrap()
    }

    fn camera(outer_mrad: f64, bin: usize) -> Result<PatternGrid> {
        PatternGrid::new(&PixelatedDetector { outer_mrad, bin }, &field(), WAVELENGTH)
    }

    /// Intensity on the camera of a single beam of k = `place` in units of the field's frequencies `[x, y]`.
    fn spot(camera: &PatternGrid, grid: &Grid, offset: [f64; 2], k: [f64; 2]) -> Vec<f64> {
        let pixels = camera.pixels(grid, offset);
        let mut pattern = vec![0.0; camera.len()];
        for (column, kx) in grid.kx().into_iter().enumerate() {
            let values: Vec<Complex<f32>> = grid
                .ky()
                .into_iter()
                .map(|ky| (kx + offset[0] - k[0]).hypot(ky + offset[1] - k[1]) < 1e-9)
                .map(|on| Complex::new(f32::from(u8::from(on)), 0.0))
                .collect();
            pixels.collect(column, &values, &mut pattern);
        }
        pattern
    }

    /// A beam appears on the pixel whose angle, by the axes, is its own, to half a bin; for a wave on the whole field, and
    /// for a periodic wave on a quarter of it with a Bloch vector.
    #[test]
    fn axes_say_where_a_beam_is() {
        let cell = Grid::new((32, 36), [4.0, 4.5]).unwrap();
        for bin in [1, 2, 3, 4] {
            let camera = camera(40.0, bin).unwrap();
            let (offset, step, shape) = (camera.offset_mrad(), camera.step_mrad(), camera.shape());
            for place in [[0_i32, 0], [1, 0], [-3, 4], [5, -7]] {
                let k = [f64::from(place[0]) / 9.0, f64::from(place[1]) / 8.0];
                let whole = spot(&camera, &field(), [0.0; 2], k);
                let lit: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] > 0.0).collect();
                let [pixel] = lit.as_slice() else {
                    panic!("{} pixels for {place:?}, bin {bin}", lit.len());
                };
                let found = [pixel / shape[1], pixel % shape[1]];
                for axis in 0..2 {
                    let angle = offset[axis] + step[axis] * found[axis] as f64;
                    let away = (angle - 1e3 * WAVELENGTH * k[1 - axis]).abs();
                    assert!(away < 0.5 * step[axis], "{place:?}, bin {bin}: {away}");
                }
                let odd = [place[0].rem_euclid(2), place[1].rem_euclid(2)];
                let bloch = [f64::from(odd[0]) / 9.0, f64::from(odd[1]) / 8.0];
                assert_eq!(spot(&camera, &cell, bloch, k), whole);
            }
        }
    }

    #[test]
    fn the_camera_ends_inside_its_angle_and_bins_are_full() {
        // Pixels of 3.125 (ky) and 2.778 mrad (kx): 12 and 14 of them within 40 mrad on each side.
        assert_eq!(camera(40.0, 1).unwrap().shape(), [25, 29]);
        assert_eq!(camera(40.0, 3).unwrap().shape(), [7, 9]);
        assert_eq!(camera(40.0, 2).unwrap().shape(), [12, 14]);
        // An outer angle on a pixel leaves that out, as it does for annular detectors.
        assert_eq!(camera(12.5, 1).unwrap().shape(), [7, 9]);
        for bin in 1..=25 {
            let camera = camera(40.0, bin).unwrap();
            for axis in 0..2 {
                let edges = [0.0, camera.shape()[axis] as f64].map(|index| {
                    camera.offset_mrad()[axis] + (index - 0.5) * camera.step_mrad()[axis]
                });
                let pixel = camera.step_mrad()[axis] / bin as f64;
                assert!(edges.iter().all(|edge| edge.abs() < 40.0 + 0.5 * pixel));
            }
        }
        for (outer, bin) in [(40.0, 26), (40.0, 0), (70.0, 1), (0.0, 1), (f64::NAN, 1)] {
            assert!(camera(outer, bin).is_err());
        }
    }
}
