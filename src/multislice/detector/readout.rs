//! All that the detectors read from one diffraction pattern, as one list of numbers: the channels, then the pixels of each
//! camera.

use num_complex::Complex;

use super::super::fft::Real;
use super::super::grid::Grid;
use super::super::view::channels_on_window;
use super::channels::Channels;
use super::pattern::{PatternGrid, PatternPixels};
use super::settings::Detector;
use crate::error::Result;

/// What is read from the spectra of one grid.
#[derive(Debug)]
pub(in super::super) struct Readout {
    channels: Channels,
    cameras: Vec<(PatternGrid, PatternPixels)>,
}

impl Readout {
    /// The readout of `detectors` from waves on `grid`.
    ///
    /// # Errors
    /// As [`Channels::new`] and [`PatternGrid::new`].
    pub(in super::super) fn new(
        detectors: &[Detector],
        grid: &Grid,
        wavelength: f64,
    ) -> Result<Self> {
        let mut cameras = Vec::new();
        for detector in detectors {
            if let Detector::Pixelated(detector) = detector {
                let camera = PatternGrid::new(detector, grid, wavelength)?;
                let pixels = camera.pixels(grid, [0.0; 2]);
                cameras.push((camera, pixels));
            }
        }
        Ok(Self {
            channels: Channels::new(detectors, grid, [0.0; 2], wavelength)?,
            cameras,
        })
    }

    /// The same for detectors of the grid `whole` and waves on a `window` of it. Cameras have the pixels of the window.
    ///
    /// # Errors
    /// As [`Readout::new`].
    pub(in super::super) fn on_window(
        detectors: &[Detector],
        whole: &Grid,
        window: &Grid,
        wavelength: f64,
    ) -> Result<Self> {
        Ok(Self {
            channels: channels_on_window(detectors, whole, window, wavelength)?,
            ..Self::new(detectors, window, wavelength)?
        })
    }

    /// Number of channels, which come first.
    pub(in super::super) fn channels(&self) -> usize {
        self.channels.count()
    }

    /// The cameras of the pixelated detectors, in their order.
    pub(in super::super) fn cameras(&self) -> impl Iterator<Item = &PatternGrid> {
        self.cameras.iter().map(|(camera, _)| camera)
    }

    /// Length of the list.
    pub(in super::super) fn len(&self) -> usize {
        self.channels() + self.cameras().map(PatternGrid::len).sum::<usize>()
    }

    /// Adds column k_x of a spectrum, `values` by k_y, to the list of `numbers`.
    pub(in super::super) fn collect<T: Real>(
        &self,
        column: usize,
        values: &[Complex<T>],
        numbers: &mut [f64],
    ) {
        let (sums, mut rest) = numbers.split_at_mut(self.channels());
        self.channels.collect(column, values, sums);
        for (camera, pixels) in &self.cameras {
            let (pattern, after) = rest.split_at_mut(camera.len());
            pixels.collect(column, values, pattern);
            rest = after;
        }
    }
}
