//! Full-field multislice: every probe is a wave on the whole grid, propagated through every slice.

use std::sync::Arc;

use ndarray::{Array2, Array3, Array4};
use num_complex::Complex;
use rayon::prelude::*;

use super::band::Band;
use super::detector::Detector;
use super::detector::readout::Readout;
use super::engine::Engine;
pub use super::engine::Illumination;
use super::fft::{Fft2, Real, widen};
use super::grid::Grid;
use super::potential::Potential;
use super::probe::ProbeSettings;
use super::propagator::propagator;
use super::settings::Precision;
use crate::error::{Error, Result};
use crate::neighbours::Point;

/// A specimen, a probe, detectors, exit thicknesses and a tilt, made ready: waves can be sent through.
pub struct Multislice {
    engine: AnyEngine,
    optics: Arc<Optics>,
}

/// What the detectors read from some probes.
#[derive(Debug, Clone, PartialEq)]
pub struct Signals {
    /// Channels of all detectors, `(channel, thickness, probe)`.
    pub channels: Array3<f64>,
    /// Patterns of each pixelated detector, `(thickness, probe, ky, kx)`, as fractions of the incident beam.
    pub patterns: Vec<Array4<f32>>,
}

/// What does not depend on the tilt or the precision.
struct Optics {
    grid: Grid,
    wavelength: f64,
    slice_thickness: f64,
    readout: Readout,
    exits: Vec<usize>,
}

/// The engine in the precision of the settings.
enum AnyEngine {
    F32(Engine<f32>),
    F64(Engine<f64>),
}

impl Multislice {
    /// Makes everything ready, at zero tilt. `exit_slices` are the numbers of slices after which waves are detected, rising.
    ///
    /// # Errors
    /// A detector or the aperture reaches beyond the band limit; a detector has no width; an exit is outside the specimen.
    pub fn new(
        potential: &Potential,
        probe: &ProbeSettings,
        precision: Precision,
        detectors: &[Detector],
        exit_slices: &[usize],
    ) -> Result<Self> {
        let optics = Optics::new(potential, probe, detectors, exit_slices)?;
        let flight = optics.flight([0.0; 2]);
        let engine = match precision {
            Precision::F32 => AnyEngine::F32(Engine::new(potential, probe, &flight)?),
            Precision::F64 => AnyEngine::F64(Engine::new(potential, probe, &flight)?),
        };
        Ok(Self {
            engine,
            optics: Arc::new(optics),
        })
    }

    /// The same for a specimen tilted by `[x, y]` [mrad]; only the propagator is new, the rest is shared.
    #[must_use]
    pub fn with_tilt(&self, tilt_mrad: [f64; 2]) -> Self {
        let flight = self.optics.flight(tilt_mrad);
        Self {
            engine: match &self.engine {
                AnyEngine::F32(engine) => AnyEngine::F32(engine.with_flight(&flight)),
                AnyEngine::F64(engine) => AnyEngine::F64(engine.with_flight(&flight)),
            },
            optics: Arc::clone(&self.optics),
        }
    }

    /// What each channel of the detectors collects from each probe, `(channel, thickness, probe)`, as a fraction of the
    /// incident beam (times the channel's weights). Probes run in parallel; the numbers do not depend on how many do.
    #[must_use]
    pub fn scan(&self, positions: &[Point]) -> Array3<f64> {
        self.signals(positions).channels
    }

    /// The same, with the patterns of pixelated detectors.
    #[must_use]
    pub fn signals(&self, positions: &[Point]) -> Signals {
        match &self.engine {
            AnyEngine::F32(engine) => self.optics.scan(engine, positions),
            AnyEngine::F64(engine) => self.optics.scan(engine, positions),
        }
    }

    /// Exit waves, one `(y, x)` per thickness. The incident plane wave has ψ = 1; the incident probe has Σ|F\[ψ\]|² = 1.
    #[must_use]
    pub fn exit_waves(&self, illumination: Illumination) -> Vec<Array2<Complex<f64>>> {
        let fft = Fft2::new(self.optics.grid.shape());
        let mut waves = self.exit_spectra(illumination);
        for wave in &mut waves {
            invert(wave, &fft);
        }
        waves
    }

    /// Diffraction patterns of the probe at `position` [Å], one `(ky, kx)` per thickness, the beam at pixel
    /// `(rows / 2, cols / 2)`; the sum over all pixels is the fraction of the incident beam.
    #[must_use]
    pub fn diffraction(&self, position: Point) -> Vec<Array2<f64>> {
        let spectra = self.exit_spectra(Illumination::Probe(position));
        let centred = |spectrum: &Array2<Complex<f64>>| {
            let (rows, cols) = spectrum.dim();
            Array2::from_shape_fn((rows, cols), |(y, x)| {
                spectrum[((y + rows.div_ceil(2)) % rows, (x + cols.div_ceil(2)) % cols)].norm_sqr()
            })
        };
        spectra.iter().map(centred).collect()
    }

    /// The incident probe at `position` [Å], `(y, x)`, Σ|F\[ψ\]|² = 1.
    #[must_use]
    pub fn probe(&self, position: Point) -> Array2<Complex<f64>> {
        let mut wave = match &self.engine {
            AnyEngine::F32(engine) => self.optics.incident(engine, position),
            AnyEngine::F64(engine) => self.optics.incident(engine, position),
        };
        invert(&mut wave, &Fft2::new(self.optics.grid.shape()));
        wave
    }

    fn exit_spectra(&self, illumination: Illumination) -> Vec<Array2<Complex<f64>>> {
        match &self.engine {
            AnyEngine::F32(engine) => self.optics.exit_spectra(engine, illumination),
            AnyEngine::F64(engine) => self.optics.exit_spectra(engine, illumination),
        }
    }
}

impl Optics {
    fn new(
        potential: &Potential,
        probe: &ProbeSettings,
        detectors: &[Detector],
        exit_slices: &[usize],
    ) -> Result<Self> {
        let slices = potential.order().len();
        let rising = exit_slices.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = exit_slices.iter().all(|exit| (1..=slices).contains(exit));
        if !(rising && inside) || exit_slices.is_empty() {
            return Err(Error::unmeasurable(
                "multislice",
                format!("exits after slices {exit_slices:?}"),
                format!("rising numbers from 1 to {slices}, at least one"),
            ));
        }
        let grid = *potential.grid();
        Ok(Self {
            readout: Readout::new(detectors, &grid, probe.wavelength())?,
            grid,
            wavelength: probe.wavelength(),
            slice_thickness: potential.slice_thickness(),
            exits: exit_slices.to_vec(),
        })
    }

    fn flight(&self, tilt_mrad: [f64; 2]) -> Vec<Complex<f64>> {
        propagator(
            &self.grid,
            &Band::new(&self.grid),
            self.slice_thickness,
            self.wavelength,
            tilt_mrad,
        )
    }

    fn scan<T: Real>(&self, engine: &Engine<T>, positions: &[Point]) -> Signals {
        let (count, exits) = (self.readout.len(), self.exits.len());
        let mut numbers = vec![0.0; positions.len() * count * exits];
        if numbers.is_empty() {
            return self.signals(&numbers, positions.len());
        }
        numbers
            .par_chunks_exact_mut(count * exits)
            .zip(positions)
            .for_each_init(
                || engine.workspace(),
                |work, (numbers, &position)| {
                    let beam = Illumination::Probe(position);
                    engine.run(beam, &self.exits, work, |exit, column, values| {
                        let numbers = &mut numbers[exit * count..(exit + 1) * count];
                        self.readout.collect(column, values, numbers);
                    });
                },
            );
        self.signals(&numbers, positions.len())
    }

    /// Sorts what was read, `(probe, thickness, number)`.
    fn signals(&self, numbers: &[f64], probes: usize) -> Signals {
        let (count, exits) = (self.readout.len(), self.exits.len());
        let scale = self.pixels().powi(2); // |F[ψ]|² from |F[ψ]/N|²
        let at = |probe: usize, exit: usize, number: usize| {
            scale * numbers[(probe * exits + exit) * count + number]
        };
        let shape = (self.readout.channels(), exits, probes);
        let mut first = self.readout.channels();
        let mut patterns = Vec::new();
        for camera in self.readout.cameras() {
            let [rows, cols] = camera.shape();
            let shape = (exits, probes, rows, cols);
            patterns.push(Array4::from_shape_fn(shape, |(exit, probe, y, x)| {
                at(probe, exit, first + y * cols + x) as f32
            }));
            first += camera.len();
        }
        Signals {
            channels: Array3::from_shape_fn(shape, |(channel, exit, probe)| {
                at(probe, exit, channel)
            }),
            patterns,
        }
    }

    fn exit_spectra<T: Real>(
        &self,
        engine: &Engine<T>,
        illumination: Illumination,
    ) -> Vec<Array2<Complex<f64>>> {
        let mut spectra = vec![Array2::zeros(self.grid.shape()); self.exits.len()];
        let mut work = engine.workspace();
        engine.run(
            illumination,
            &self.exits,
            &mut work,
            |exit, column, values| {
                self.store(&mut spectra[exit], column, values);
            },
        );
        spectra
    }

    fn incident<T: Real>(&self, engine: &Engine<T>, position: Point) -> Array2<Complex<f64>> {
        let mut spectrum = Array2::zeros(self.grid.shape());
        let mut work = engine.workspace();
        engine.enter(
            Illumination::Probe(position),
            &mut work,
            |column, values| {
                self.store(&mut spectrum, column, values);
            },
        );
        spectrum
    }

    /// Puts a column F\[ψ\]/N in its place in F\[ψ\].
    fn store<T: Real>(
        &self,
        spectrum: &mut Array2<Complex<f64>>,
        column: usize,
        values: &[Complex<T>],
    ) {
        let scale = self.pixels();
        for (target, value) in spectrum.column_mut(column).iter_mut().zip(values) {
            *target = widen(*value) * scale;
        }
    }

    fn pixels(&self) -> f64 {
        let (rows, cols) = self.grid.shape();
        (rows * cols) as f64
    }
}

/// From the spectrum to the wave.
fn invert(wave: &mut Array2<Complex<f64>>, fft: &Fft2<f64>) {
    if let Some(values) = wave.as_slice_mut() {
        fft.inverse(values, &mut fft.scratch());
    }
}
