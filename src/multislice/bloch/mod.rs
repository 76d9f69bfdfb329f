//! A periodic specimen scanned by Bloch waves: exactly the image of N × N cells in which the probe stands alone, computed on
//! one cell.
//!
//! A probe in N × N cells is a sum of beams K = g + q, g a frequency of the cell and q one of N × N Bloch vectors. A periodic
//! specimen changes g, never q (Bloch's theorem): beams of different q never meet in a pixel of the diffraction pattern, and
//! add no interference to a sum over equal cells either. So every beam goes through one cell by itself, as a periodic wave
//! u_g exp(2πi (g + q)·r), and the image is
//!
//! I(r₀) = Σ_q Σ_{g,g'} Ψ_g* Ψ_g' exp(2πi (g − g')·r₀) M_q\[g, g'\],
//!
//! where M is the interference that a detector sees: Σ_K w(K) û_g* û_g' behind the specimen, and for thermal-diffuse
//! scattering Σ W(r) u_g* u_g' before each slice. Ordered by h = g − g' these are the Fourier coefficients of the image, which
//! then costs the same for any number of positions (the same sums for Bloch waves diagonalized: Allen *et al.*, Ultramicroscopy
//! **96**, 47 (2003); for plane waves by multislice they are the transmission cross coefficients).
//!
//! The number of waves is that of the beams in the aperture on N × N cells. Their time grows with N² and with the square of
//! the cell's area, that of the matrices with its cube: large cells are for the other engines.

mod beams;
mod coefficients;
mod interference;
mod products;
#[cfg(test)]
mod tests;

use std::f64::consts::PI;
use std::sync::Arc;

use ndarray::{Array3, Array4};
use num_complex::Complex;
use rayon::prelude::*;

use self::beams::BlochBeams;
pub use self::coefficients::ImageCoefficients;
use self::interference::{Interference, Mask, Picked};
use super::detector::channels::{Channels, Weight};
use super::engine::{Engine, Entrance, Workspace};
use super::grid::Grid;
use super::lanes::{Aligned, Lanes, Tile};
use super::optics::Optics;
use super::potential::Potential;
use super::settings::Precision;
use super::slices::{Sheet, Slices};
use super::wavefield::Watcher;
use crate::error::{Error, Result};
use crate::neighbours::Point;
use crate::units::RAD_PER_MRAD;

/// Pixels of a slice that scatter diffusely less than this part of the strongest one are left out, in single and in double
/// precision. What they would add is at most this part of what the whole beam would give on the strongest pixel.
const NEGLIGIBLE: (f64, f64) = (1e-9, 1e-14);

/// A periodic specimen, a probe, detectors, exit thicknesses and a tilt, made ready.
pub struct Bloch {
    specimen: AnySpecimen,
    bench: Arc<Bench>,
    tilt_mrad: [f64; 2],
}

/// What depends neither on the tilt nor on the precision.
struct Bench {
    grid: Grid,
    bloch: Vec<BlochBeams>,
    /// On the diffraction pattern of each Bloch vector; none if what is scattered elastically does not count.
    channels: Vec<Channels>,
    readings: usize,
    exits: Vec<usize>,
    /// Largest h `[x, y]` in the image.
    reach: [i64; 2],
}

/// The specimen in the precision of the settings.
#[derive(Clone)]
enum AnySpecimen {
    F32(Arc<Specimen<f32>>),
    F64(Arc<Specimen<f64>>),
}

struct Specimen<T> {
    slices: Arc<Slices<T>>,
    /// Where each different slice scatters diffusely.
    diffuse: Vec<Mask<T>>,
}

impl Bloch {
    /// Makes everything ready, at zero tilt. The `potential` is that of one cell; the image is that of `points` × `points`.
    ///
    /// # Errors
    /// `points` is 0; a detector or the aperture reaches beyond the band limit; a detector has no width; an exit is outside
    /// the specimen.
    pub fn new(potential: &Potential, optics: &Optics, points: usize) -> Result<Self> {
        optics.check_exits(potential.order().len())?;
        if points == 0 {
            return Err(Error::unmeasurable(
                "bloch",
                "points = 0",
                "at least 1: the image is that of points x points cells",
            ));
        }
        let specimen = match optics.precision {
            Precision::F32 => {
                AnySpecimen::F32(Arc::new(Specimen::new(potential, optics, NEGLIGIBLE.0)?))
            }
            Precision::F64 => {
                AnySpecimen::F64(Arc::new(Specimen::new(potential, optics, NEGLIGIBLE.1)?))
            }
        };
        Ok(Self {
            specimen,
            bench: Arc::new(Bench::new(potential.grid(), optics, points)?),
            tilt_mrad: [0.0; 2],
        })
    }

    /// Memory that a scan takes beside the specimen, an upper bound [bytes]: each thread keeps all beams of a Bloch vector.
    #[must_use]
    pub fn bytes(grid: &Grid, optics: &Optics, points: usize) -> f64 {
        let [height, width] = grid.extent();
        let (rows, cols) = grid.shape();
        let pixels = (rows * cols) as f64;
        let number = optics.precision.complex_bytes() as f64;
        let aperture = optics.probe.semiangle_mrad * RAD_PER_MRAD / optics.probe.wavelength();
        // A frequency of the cell counts if any part of its step lies in the aperture.
        let beams = PI * (aperture + 0.5 / height.min(width)).powi(2) * height * width + 1.0;
        let cells = (points * points) as f64;
        let vectors = cells.min(rayon::current_num_threads() as f64);
        let channels = optics.channel_count() as f64;
        // A wave, what it shows before a slice, and what behind the last.
        let waves = beams * 3.0 * pixels * number;
        let matrices = 2.0 * channels * beams * beams * 16.0;
        let across = |side: f64| 4.0 * aperture * side + 3.0;
        let image =
            channels * optics.exit_slices.len() as f64 * across(height) * across(width) * 16.0;
        let probes = optics.probe.focal_series().len() as f64 * pixels * cells * 16.0;
        let masks = channels * cells * pixels * number;
        vectors * (waves + matrices + 3.0 * pixels * 16.0) + cells * image + probes + masks
    }

    /// The same for a specimen tilted by `[x, y]` [mrad]; everything is shared.
    #[must_use]
    pub fn with_tilt(&self, tilt_mrad: [f64; 2]) -> Self {
        Self {
            specimen: self.specimen.clone(),
            bench: Arc::clone(&self.bench),
            tilt_mrad,
        }
    }

    /// What each channel of the detectors collects from each probe, `(channel, thickness, probe)`, as a fraction of the
    /// incident beam, at positions `[x, y]` [Å]. Bloch vectors run in parallel; the numbers do not depend on how many do.
    #[must_use]
    pub fn scan(&self, positions: &[Point]) -> Array3<f64> {
        self.image_coefficients().at(positions)
    }

    /// The images of all channels and thicknesses, for any position. This is all the work; reading positions is quick.
    #[must_use]
    pub fn image_coefficients(&self) -> ImageCoefficients {
        ImageCoefficients {
            values: match &self.specimen {
                AnySpecimen::F32(specimen) => self.bench.image(specimen, self.tilt_mrad),
                AnySpecimen::F64(specimen) => self.bench.image(specimen, self.tilt_mrad),
            },
            extent: self.bench.grid.extent(),
        }
    }
}

impl<T: Lanes> Specimen<T> {
    fn new(potential: &Potential, optics: &Optics, negligible: f64) -> Result<Self> {
        Ok(Self::of(Slices::new(potential, optics)?, negligible))
    }

    fn of(slices: Slices<T>, negligible: f64) -> Self {
        let line = slices.grid().shape().1;
        let mask = |slice: &Sheet<T>| Mask::new(&slice.diffuse_maps(), line, negligible);
        Self {
            diffuse: slices.unique().iter().map(mask).collect(),
            slices: Arc::new(slices),
        }
    }
}

impl Bench {
    fn new(grid: &Grid, optics: &Optics, points: usize) -> Result<Self> {
        let bloch = BlochBeams::of_probe(optics, grid, points)?;
        let wavelength = optics.probe.wavelength();
        let elastic = if optics.counts_elastic() {
            optics.detectors.as_slice()
        } else {
            &[]
        };
        let channels = |bloch: &BlochBeams| Channels::new(elastic, grid, bloch.q, wavelength);
        let channels: Vec<_> = bloch.iter().map(channels).collect::<Result<_>>()?;
        let beams = || bloch.iter().flat_map(|bloch| &bloch.beams);
        let reach = |axis: usize| {
            let most = beams().map(|g| g[axis]).max().unwrap_or(0);
            most - beams().map(|g| g[axis]).min().unwrap_or(0)
        };
        Ok(Self {
            grid: *grid,
            readings: optics.channel_count(),
            exits: optics.exit_slices.clone(),
            reach: [reach(0), reach(1)],
            bloch,
            channels,
        })
    }

    /// Fourier coefficients of the image, `(channel, exit, h_y, h_x)`. With fewer Bloch vectors than threads, the beams of one
    /// go through in parallel.
    fn image<T: Lanes>(&self, specimen: &Specimen<T>, tilt_mrad: [f64; 2]) -> Array4<Complex<f64>> {
        let all = self.bloch.iter().zip(&self.channels);
        let spread = self.bloch.len() < rayon::current_num_threads();
        let part = |(bloch, channels): (&BlochBeams, &Channels)| {
            let slices = Arc::clone(&specimen.slices);
            let engine = Engine::new(slices, &self.grid, bloch.q).with_tilt(tilt_mrad);
            let behind = self.behind(channels, engine.columns());
            let flight = Flight {
                bench: self,
                bloch,
                engine,
                specimen,
                behind,
                spread,
            };
            flight.image()
        };
        let parts: Vec<_> = if spread {
            all.map(part).collect()
        } else {
            let all: Vec<_> = all.collect();
            all.into_par_iter().with_max_len(1).map(part).collect()
        };
        let mut sum = self.dark();
        for part in parts {
            sum += &part;
        }
        sum
    }

    /// Where the detectors look at spectra behind the specimen, column by column.
    fn behind<T: Lanes>(&self, channels: &Channels, columns: &[usize]) -> Mask<T> {
        let rows = self.grid.shape().0;
        let map = |channel: usize| {
            let mut map = vec![T::zero(); rows * columns.len()];
            for (column, weights) in columns.iter().zip(map.chunks_mut(rows)) {
                for run in channels.runs(channel, *column) {
                    match &run.weight {
                        Weight::One => weights[run.range.clone()].fill(T::one()),
                        Weight::Each(each) => {
                            for (weight, each) in weights[run.range.clone()].iter_mut().zip(each) {
                                *weight = T::narrow(*each);
                            }
                        }
                    }
                }
            }
            map
        };
        Mask::new(
            &(0..channels.count()).map(map).collect::<Vec<_>>(),
            rows,
            0.0,
        )
    }

    /// No image.
    fn dark(&self) -> Array4<Complex<f64>> {
        let [across, along] = self.reach.map(|reach| 2 * reach as usize + 1);
        Array4::zeros((self.readings, self.exits.len(), along, across))
    }
}

/// The beams of one Bloch vector on their way through the specimen.
struct Flight<'a, T: Lanes> {
    bench: &'a Bench,
    bloch: &'a BlochBeams,
    engine: Engine<T>,
    specimen: &'a Specimen<T>,
    behind: Mask<T>,
    /// Whether the beams are shared among threads.
    spread: bool,
}

/// A beam on its way.
struct Beam<T> {
    wave: Aligned<T>,
    /// What scatters diffusely in the slice that it is about to enter.
    before: Picked<T>,
    /// What is on the detectors behind the last slice, if it leaves there.
    behind: Picked<T>,
}

impl<T: Lanes> Flight<'_, T> {
    /// The part of this Bloch vector in the image's Fourier coefficients.
    fn image(&self) -> Array4<Complex<f64>> {
        let Bench {
            exits, readings, ..
        } = self.bench;
        let pixels = self.engine.pixels();
        let slices = &self.specimen.slices;
        let mut image = self.bench.dark();
        let mut beams = self.enter();
        let mut diffuse = Interference::new(*readings, beams.len());
        let mut exit = 0;
        for (number, &index) in slices.order()[..*exits.last().unwrap_or(&0)]
            .iter()
            .enumerate()
        {
            let leaving = exits[exit] == number + 1;
            self.advance(&mut beams, index, leaving);
            let before: Vec<_> = beams.iter().map(|beam| &beam.before).collect();
            diffuse.add(&self.specimen.diffuse[index], &before, self.spread);
            if leaving {
                let mut elastic = Interference::new(*readings, beams.len());
                let behind: Vec<_> = beams.iter().map(|beam| &beam.behind).collect();
                elastic.add(&self.behind, &behind, self.spread);
                // Spectra are F[ψ]/N, and Σ|F[ψ]/N|² = Σ|ψ|²/N.
                self.collect(&diffuse, 1.0 / pixels, exit, &mut image);
                self.collect(&elastic, 1.0, exit, &mut image);
                exit += 1;
            }
        }
        image
    }

    fn enter(&self) -> Vec<Beam<T>> {
        let (rows, cols) = self.bench.grid.shape();
        let place = |n: i64, count: usize| n.rem_euclid(count as i64) as usize;
        let most = self.specimen.diffuse.iter().map(Mask::len).max();
        let mut work = self.engine.workspace();
        let beam = |&[x, y]: &[i64; 2]| {
            let entrance = Entrance::Beam([place(y, rows), place(x, cols)]);
            self.engine.enter(&entrance, &mut work, None);
            Beam {
                wave: work.wave.clone(),
                before: Picked::new(most.unwrap_or(0)),
                behind: Picked::new(self.behind.len()),
            }
        };
        self.bloch.beams.iter().map(beam).collect()
    }

    /// Sends all beams through a slice.
    fn advance(&self, beams: &mut [Beam<T>], index: usize, leaving: bool) {
        let step = |work: &mut Workspace<T>, beam: &mut Beam<T>| {
            std::mem::swap(&mut work.wave, &mut beam.wave);
            let Specimen { slices, diffuse } = self.specimen;
            let mut before = |rows: &Tile<'_, T>| diffuse[index].pick(rows, &mut beam.before);
            let mut behind = |columns: &Tile<'_, T>| self.behind.pick(columns, &mut beam.behind);
            self.engine.step(
                &slices.unique()[index],
                work,
                (diffuse[index].len() > 0).then_some(&mut before as Watcher<'_, T>),
                leaving.then_some(&mut behind as Watcher<'_, T>),
            );
            std::mem::swap(&mut work.wave, &mut beam.wave);
        };
        if self.spread {
            beams
                .par_iter_mut()
                .for_each_init(|| self.engine.workspace(), step);
        } else {
            let mut work = self.engine.workspace();
            beams.iter_mut().for_each(|beam| step(&mut work, beam));
        }
    }

    /// Adds Ψ_g* Ψ_g' M\[g, g'\] to the coefficients F\[g − g'\], times `scale`.
    fn collect(
        &self,
        seen: &Interference,
        scale: f64,
        exit: usize,
        image: &mut Array4<Complex<f64>>,
    ) {
        let beams = &self.bloch.beams;
        let [across, along] = self.bench.reach;
        for (left, g) in beams.iter().enumerate() {
            for (right, h) in beams.iter().enumerate().skip(left) {
                let coherence = self.bloch.coherence(left, right) * scale;
                let [x, y] = [g[0] - h[0], g[1] - h[1]];
                let place = |x: i64, y: i64| ((y + along) as usize, (x + across) as usize);
                for channel in 0..self.bench.readings {
                    let term = coherence * seen.of_channel(channel)[left * beams.len() + right];
                    let mut add = |(row, col): (usize, usize), term: Complex<f64>| {
                        image[(channel, exit, row, col)] += term;
                    };
                    if left == right {
                        add(place(0, 0), term);
                    } else {
                        add(place(x, y), term);
                        add(place(-x, -y), term.conj());
                    }
                }
            }
        }
    }
}
