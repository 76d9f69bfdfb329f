//! Full-field multislice: every probe is a wave on the whole grid, propagated through every slice.

use std::sync::Arc;

use ndarray::{Array2, Array3};
use num_complex::Complex;

use super::engine::{Engine, Entrance, Wave};
use super::fft::{Fft2, widen};
use super::grid::Grid;
use super::lanes::{Lanes, Tile};
use super::optics::Optics;
use super::potential::Potential;
use super::readout::{Readout, Visit};
use super::settings::Precision;
use super::slices::Slices;
use crate::error::Result;
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
    bench: Arc<Bench>,
}

/// What does not depend on the tilt or the precision.
struct Bench {
    grid: Grid,
    readout: Readout,
    exits: Vec<usize>,
}

/// The engine in the precision of the settings.
pub(super) enum AnyEngine {
    F32(Engine<f32>),
    F64(Engine<f64>),
}

impl AnyEngine {
    /// The same for a specimen tilted by `[x, y]` [mrad].
    pub(super) fn with_tilt(&self, tilt_mrad: [f64; 2]) -> Self {
        match self {
            Self::F32(engine) => Self::F32(engine.with_tilt(tilt_mrad)),
            Self::F64(engine) => Self::F64(engine.with_tilt(tilt_mrad)),
        }
    }

    /// Readings of probes, `(reading, exit, probe)`.
    pub(super) fn scan(&self, readout: &Readout, visits: &[Visit]) -> Array3<f64> {
        match self {
            Self::F32(engine) => readout.scan(engine, visits),
            Self::F64(engine) => readout.scan(engine, visits),
        }
    }
}

impl Multislice {
    /// Makes everything ready, at zero tilt.
    ///
    /// # Errors
    /// A detector or the aperture reaches beyond the band limit; a detector has no width; an exit is outside the specimen.
    pub fn new(potential: &Potential, optics: &Optics) -> Result<Self> {
        optics.check_exits(potential.order().len())?;
        let bench = Bench {
            grid: *potential.grid(),
            readout: Readout::new(optics, potential.grid())?,
            exits: optics.exit_slices.clone(),
        };
        let engine = match optics.precision {
            Precision::F32 => AnyEngine::F32(engine(potential, optics)?),
            Precision::F64 => AnyEngine::F64(engine(potential, optics)?),
        };
        Ok(Self {
            engine,
            bench: Arc::new(bench),
        })
    }

    /// The same for a specimen tilted by `[x, y]` [mrad]; only the propagator is new, the rest is shared.
    #[must_use]
    pub fn with_tilt(&self, tilt_mrad: [f64; 2]) -> Self {
        Self {
            engine: self.engine.with_tilt(tilt_mrad),
            bench: Arc::clone(&self.bench),
        }
    }

    /// What each channel of the detectors collects from each probe, `(channel, thickness, probe)`, as a fraction of the
    /// incident beam. Probes run in parallel; the numbers do not depend on how many do.
    #[must_use]
    pub fn scan(&self, positions: &[Point]) -> Array3<f64> {
        self.visit(positions.iter().map(|&position| (position, None)))
    }

    /// The same with a mistilt of its own `[x, y]` [mrad] for every probe: where a specimen bends slowly, each probe sees the
    /// tilt of its place.
    #[must_use]
    pub fn scan_tilted(&self, probes: &[(Point, [f64; 2])]) -> Array3<f64> {
        self.visit(
            probes
                .iter()
                .map(|&(position, tilt)| (position, Some(tilt))),
        )
    }

    fn visit(&self, probes: impl Iterator<Item = (Point, Option<[f64; 2]>)>) -> Array3<f64> {
        let visit = |(position, tilt_mrad)| Visit {
            position,
            corner: [0; 2],
            tilt_mrad,
        };
        let visits: Vec<Visit> = probes.map(visit).collect();
        self.engine.scan(&self.bench.readout, &visits)
    }

    /// Exit waves, one `(y, x)` per thickness. The incident plane wave has ψ = 1; the incident probe has Σ|F\[ψ\]|² = 1.
    #[must_use]
    pub fn exit_waves(&self, illumination: Illumination) -> Vec<Array2<Complex<f64>>> {
        let fft = Fft2::new(self.bench.grid.shape());
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
            AnyEngine::F32(engine) => self.bench.incident(engine, position),
            AnyEngine::F64(engine) => self.bench.incident(engine, position),
        };
        invert(&mut wave, &Fft2::new(self.bench.grid.shape()));
        wave
    }

    fn exit_spectra(&self, illumination: Illumination) -> Vec<Array2<Complex<f64>>> {
        match &self.engine {
            AnyEngine::F32(engine) => self.bench.exit_spectra(engine, illumination),
            AnyEngine::F64(engine) => self.bench.exit_spectra(engine, illumination),
        }
    }
}

impl Bench {
    fn wave(&self, illumination: Illumination) -> Wave<'_> {
        Wave::whole(match illumination {
            Illumination::PlaneWave => Entrance::Beam([0; 2]),
            Illumination::Probe(position) => Entrance::Probe(self.readout.probe(), position),
        })
    }

    fn exit_spectra<T: Lanes>(
        &self,
        engine: &Engine<T>,
        illumination: Illumination,
    ) -> Vec<Array2<Complex<f64>>> {
        let mut spectra = vec![Array2::zeros(self.grid.shape()); self.exits.len()];
        let mut work = engine.workspace();
        engine.run(
            &[self.wave(illumination)],
            &self.exits,
            std::slice::from_mut(&mut work),
            None,
            &mut |place, columns| self.store(&mut spectra[place.exit], columns, engine.columns()),
        );
        spectra
    }

    fn incident<T: Lanes>(&self, engine: &Engine<T>, position: Point) -> Array2<Complex<f64>> {
        let mut spectrum = Array2::zeros(self.grid.shape());
        let mut work = engine.workspace();
        engine.enter(
            &self.wave(Illumination::Probe(position)).entrance,
            &mut work,
            Some(&mut |columns| self.store(&mut spectrum, columns, engine.columns())),
        );
        spectrum
    }

    /// Puts columns F\[ψ\]/N in their places in F\[ψ\].
    fn store<T: Lanes>(
        &self,
        spectrum: &mut Array2<Complex<f64>>,
        columns: &Tile<'_, T>,
        kept: &[usize],
    ) {
        let scale = self.pixels();
        columns.lines(|line, values| {
            let mut column = spectrum.column_mut(kept[line]);
            for (target, value) in column.iter_mut().zip(values) {
                *target = widen(*value) * scale;
            }
        });
    }

    fn pixels(&self) -> f64 {
        let (rows, cols) = self.grid.shape();
        (rows * cols) as f64
    }
}

fn engine<T: Lanes>(potential: &Potential, optics: &Optics) -> Result<Engine<T>> {
    let slices = Arc::new(Slices::new(potential, optics)?);
    Ok(Engine::new(slices, potential.grid(), [0.0; 2]))
}

/// From the spectrum to the wave.
fn invert(wave: &mut Array2<Complex<f64>>, fft: &Fft2<f64>) {
    if let Some(values) = wave.as_slice_mut() {
        fft.inverse(values, &mut fft.scratch());
    }
}
