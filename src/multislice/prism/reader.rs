//! What detectors collect from the waves of probes on their windows.

use ndarray::Array3;
use num_complex::Complex;

use super::super::band::Band;
use super::super::detector::channels::Channels;
use super::super::fft::{Fft2, Real, Scratch};
use super::super::grid::Grid;
use super::super::lanes::Lanes;
use super::super::optics::Optics;
use super::super::slices::{Sheet, Slices};
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
    /// Of each different slice the map of what is scattered diffusely into each channel, `(y, x)` on the whole field; empty if
    /// nothing is.
    diffuse: Vec<Vec<Vec<T>>>,
}

/// The memory of one thread.
pub(super) struct Workspace<T: Real> {
    wave: Vec<Complex<T>>,
    scratch: Scratch<T>,
}

impl<T: Lanes> Reader<T> {
    pub(super) fn new(optics: &Optics, window: &Grid, slices: &Slices<T>) -> Result<Self> {
        let wavelength = optics.probe.wavelength();
        let channels = || Channels::new(&optics.detectors, window, [0.0; 2], wavelength);
        Ok(Self {
            elastic: optics.counts_elastic().then(channels).transpose()?,
            readings: optics.channel_count(),
            exits: optics.exit_slices.clone(),
            fft: Fft2::new(window.shape()),
            band: Band::new(window),
            diffuse: slices.unique().iter().map(Sheet::diffuse_maps).collect(),
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
            if ahead {
                let maps = &self.diffuse[slices.order()[plane]];
                let corner = [waves.top(), waves.left(probe)];
                self.diffuse(maps, slices.grid(), corner, &work.wave, diffuse);
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
        maps: &[Vec<T>],
        grid: &Grid,
        [top, left]: [i64; 2],
        wave: &[Complex<T>],
        sums: &mut [f64],
    ) {
        let (rows, cols) = grid.shape();
        let pixels = (self.fft.rows * self.fft.cols) as f64;
        let seen = sums.iter_mut().zip(maps);
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

/// Lanes summed side by side: independent sums keep the vector units busy.
const LANES: usize = 16;

/// Σ w |ψ|² over a row: products and short sums in the wave's precision, the rest in double.
fn weighted_intensity<T: Real>(row: &[Complex<T>], weights: &[T]) -> f64 {
    let mut lanes = [T::zero(); LANES];
    let (values, rest) = row.as_chunks::<LANES>();
    let (factors, rest_factors) = weights.as_chunks::<LANES>();
    for (values, factors) in values.iter().zip(factors) {
        for lane in 0..LANES {
            let value = values[lane];
            let square = value.re * value.re + value.im * value.im;
            lanes[lane] = lanes[lane] + square * factors[lane];
        }
    }
    let tail = rest.iter().zip(rest_factors);
    let tail =
        tail.map(|(value, factor)| ((value.re * value.re + value.im * value.im) * *factor).widen());
    lanes.iter().map(|lane| lane.widen()).sum::<f64>() + tail.sum::<f64>()
}
