//! What detectors collect from the waves of probes on their windows.

use ndarray::Array3;
use num_complex::Complex;

use super::super::band::Band;
use super::super::detector::channels::Channels;
use super::super::fft::{Fft2, Real, Scratch};
use super::super::grid::Grid;
use super::super::optics::Optics;
use super::super::readout::weighted_intensity;
use super::super::slices::{Slice, Slices};
use super::raster::stretches;
use super::reduction::Waves;
use crate::error::Result;

/// Detectors on the grid of a window.
pub(super) struct Reader<T: Real> {
    /// None if what is scattered elastically does not count.
    elastic: Option<Channels>,
    readings: usize,
    exits: Vec<usize>,
    fft: Fft2<T>,
    band: Band,
}

/// The memory of one thread.
pub(super) struct Workspace<T: Real> {
    wave: Vec<Complex<T>>,
    scratch: Scratch<T>,
}

impl<T: Real> Reader<T> {
    pub(super) fn new(optics: &Optics, window: &Grid) -> Result<Self> {
        let wavelength = optics.probe.wavelength();
        let channels = || Channels::new(&optics.detectors, window, [0.0; 2], wavelength);
        Ok(Self {
            elastic: optics.counts_elastic().then(channels).transpose()?,
            readings: optics.channel_count(),
            exits: optics.exit_slices.clone(),
            fft: Fft2::new(window.shape()),
            band: Band::new(window),
        })
    }

    /// Number of readings of a probe at an exit.
    pub(super) fn readings(&self) -> usize {
        self.readings
    }

    /// Number of exits.
    pub(super) fn exits(&self) -> usize {
        self.exits.len()
    }

    pub(super) fn workspace(&self) -> Workspace<T> {
        Workspace {
            wave: vec![Complex::default(); self.fft.rows * self.fft.cols],
            scratch: self.fft.scratch(),
        }
    }

    /// For each probe of a piece, behind `plane` slices, what is scattered into each channel elastically (at an exit) and what
    /// thermal motion scatters there in the next slice: `(probe, elastic or diffuse, channel)`.
    pub(super) fn read(
        &self,
        waves: &Waves<T>,
        slices: &Slices<T>,
        plane: usize,
        work: &mut Workspace<T>,
    ) -> Vec<f64> {
        let readings = self.readings();
        let mut sums = vec![0.0; waves.probes() * 2 * readings];
        let channels = self.elastic.as_ref();
        let channels = channels.filter(|_| self.exits.contains(&plane));
        let ahead = self.exits.last().is_some_and(|last| plane < *last);
        for (probe, sums) in sums.chunks_exact_mut(2 * readings).enumerate() {
            let (elastic, diffuse) = sums.split_at_mut(readings);
            waves.extract(probe, &mut work.wave);
            if let Some(slice) = slices.first(plane + usize::from(ahead)).nth(plane) {
                let corner = [waves.top(), waves.left(probe)];
                self.diffuse(slice, slices.grid(), corner, &work.wave, diffuse);
            }
            if let Some(channels) = channels {
                self.elastic(channels, work, elastic);
            }
        }
        sums
    }

    /// Σ W |ψ|² over the window that begins at `corner`, a fraction of the beam.
    fn diffuse(
        &self,
        slice: &Slice<T>,
        grid: &Grid,
        [top, left]: [i64; 2],
        wave: &[Complex<T>],
        sums: &mut [f64],
    ) {
        let (rows, cols) = grid.shape();
        let pixels = (self.fft.rows * self.fft.cols) as f64;
        let seen = sums.iter_mut().zip(&slice.diffuse);
        for (sum, map) in seen.filter(|(_, map)| !map.is_empty()) {
            for (y, row) in wave.chunks_exact(self.fft.cols).enumerate() {
                let start = (top + y as i64).rem_euclid(rows as i64) as usize * cols;
                for (to, from, length) in stretches(left, row.len(), cols) {
                    let weights = &map[start + from..start + from + length];
                    *sum += weighted_intensity(&row[to..to + length], weights) / pixels;
                }
            }
        }
    }

    /// What the detectors collect from the wave in `work`, a fraction of the beam.
    fn elastic(&self, channels: &Channels, work: &mut Workspace<T>, sums: &mut [f64]) {
        let Workspace { wave, scratch } = work;
        self.fft.row_forward(wave, scratch);
        for tile in self.band.tiles() {
            self.fft
                .read_columns(wave, tile, scratch, |column, values| {
                    channels.collect(column, values, sums);
                });
        }
        let pixels = (self.fft.rows * self.fft.cols) as f64;
        for sum in sums {
            *sum /= pixels * pixels;
        }
    }

    /// Adds the readings of one probe behind `plane` slices to its column of `(channel, exit, probe)`: what is scattered
    /// elastically there, and at all later exits what thermal motion scatters in the next slice.
    pub(super) fn add_to(
        &self,
        sums: &mut Array3<f64>,
        probe: usize,
        plane: usize,
        weight: f64,
        readings: &[f64],
    ) {
        let (elastic, diffuse) = readings.split_at(self.readings());
        for (exit, &behind) in self.exits.iter().enumerate() {
            for channel in 0..self.readings() {
                let sum = &mut sums[(channel, exit, probe)];
                if behind == plane {
                    *sum += weight * elastic[channel];
                }
                if behind > plane {
                    *sum += weight * diffuse[channel];
                }
            }
        }
    }
}
