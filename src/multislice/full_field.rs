//! Full-field multislice: every probe is a wave on the whole grid, propagated through every slice.

use std::sync::Arc;

use ndarray::{Array2, Array3};
use num_complex::Complex;
use rayon::prelude::*;

use super::detector::{AnnularDetector, DetectorPixels};
use super::engine::{Engine, Entrance, Wave};
use super::fft::{Fft2, Real, intensity, widen};
use super::grid::Grid;
use super::potential::Potential;
use super::probe::{Probe, ProbeSettings};
use super::settings::Precision;
use super::slices::Slices;
use crate::error::{Error, Result};
use crate::neighbours::Point;

/// What enters the specimen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Illumination {
    /// The plane wave ψ = 1, along the axis of the microscope.
    PlaneWave,
    /// The probe at a position `[x, y]` [Å].
    Probe(Point),
}

/// A specimen, a probe, detectors, exit thicknesses and a tilt, made ready: waves can be sent through.
pub struct Multislice {
    engine: AnyEngine,
    optics: Arc<Optics>,
}

/// What does not depend on the tilt or the precision.
struct Optics {
    grid: Grid,
    probe: Probe,
    detectors: Vec<DetectorPixels>,
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
        detectors: &[AnnularDetector],
        exit_slices: &[usize],
    ) -> Result<Self> {
        let optics = Optics::new(potential, probe, detectors, exit_slices)?;
        let engine = match precision {
            Precision::F32 => AnyEngine::F32(engine(potential, probe)),
            Precision::F64 => AnyEngine::F64(engine(potential, probe)),
        };
        Ok(Self {
            engine,
            optics: Arc::new(optics),
        })
    }

    /// The same for a specimen tilted by `[x, y]` [mrad]; only the propagator is new, the rest is shared.
    #[must_use]
    pub fn with_tilt(&self, tilt_mrad: [f64; 2]) -> Self {
        Self {
            engine: match &self.engine {
                AnyEngine::F32(engine) => AnyEngine::F32(engine.with_tilt(tilt_mrad)),
                AnyEngine::F64(engine) => AnyEngine::F64(engine.with_tilt(tilt_mrad)),
            },
            optics: Arc::clone(&self.optics),
        }
    }

    /// What each detector collects from each probe, `(detector, thickness, probe)`, as a fraction of the incident beam.
    /// Probes run in parallel; the numbers do not depend on how many do.
    #[must_use]
    pub fn scan(&self, positions: &[Point]) -> Array3<f64> {
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
        detectors: &[AnnularDetector],
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
        let pixels = |detector| DetectorPixels::new(detector, &grid, probe.wavelength());
        Ok(Self {
            detectors: detectors.iter().map(pixels).collect::<Result<_>>()?,
            probe: Probe::new(probe, &grid)?,
            grid,
            exits: exit_slices.to_vec(),
        })
    }

    fn wave(&self, illumination: Illumination) -> Wave<'_> {
        Wave::whole(match illumination {
            Illumination::PlaneWave => Entrance::Beam([0; 2]),
            Illumination::Probe(position) => Entrance::Probe(&self.probe, position),
        })
    }

    fn scan<T: Real>(&self, engine: &Engine<T>, positions: &[Point]) -> Array3<f64> {
        let (detectors, exits) = (self.detectors.len(), self.exits.len());
        let shape = (detectors, exits, positions.len());
        if detectors == 0 {
            return Array3::zeros(shape);
        }
        let scale = self.pixels().powi(2); // |F[ψ]|² from |F[ψ]/N|²
        let mut sums = vec![0.0; positions.len() * detectors * exits];
        sums.par_chunks_exact_mut(detectors * exits)
            .zip(positions)
            .for_each_init(
                || engine.workspace(),
                |work, (sums, &position)| {
                    let wave = self.wave(Illumination::Probe(position));
                    let pass = |_: usize, _: &_, _: usize, _: &[Complex<T>]| {};
                    engine.run(&wave, &self.exits, work, pass, |exit, column, values| {
                        for (index, detector) in self.detectors.iter().enumerate() {
                            let ranges = detector.ranges(column).iter();
                            let seen = ranges.flat_map(|range| &values[range.clone()]);
                            sums[index * exits + exit] += seen.map(|v| intensity(*v)).sum::<f64>();
                        }
                    });
                },
            );
        Array3::from_shape_fn(shape, |(detector, exit, probe)| {
            sums[(probe * detectors + detector) * exits + exit] * scale
        })
    }

    fn exit_spectra<T: Real>(
        &self,
        engine: &Engine<T>,
        illumination: Illumination,
    ) -> Vec<Array2<Complex<f64>>> {
        let mut spectra = vec![Array2::zeros(self.grid.shape()); self.exits.len()];
        let mut work = engine.workspace();
        engine.run(
            &self.wave(illumination),
            &self.exits,
            &mut work,
            |_, _, _, _| {},
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
            &self.wave(Illumination::Probe(position)).entrance,
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

fn engine<T: Real>(potential: &Potential, probe: &ProbeSettings) -> Engine<T> {
    let slices = Arc::new(Slices::new(potential, probe.energy()));
    Engine::new(slices, potential.grid(), [0.0; 2])
}

/// From the spectrum to the wave.
fn invert(wave: &mut Array2<Complex<f64>>, fft: &Fft2<f64>) {
    if let Some(values) = wave.as_slice_mut() {
        fft.inverse(values, &mut fft.scratch());
    }
}
