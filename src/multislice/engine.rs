//! The conventional multislice loop for one precision (Cowley & Moodie, Acta Cryst. **10**, 609 (1957); Kirkland, *Advanced
//! Computing in Electron Microscopy*, 2nd ed., ch. 6): ψ ← F⁻¹[P F[t ψ]], slice by slice.
//!
//! Between slices the wave is kept as `(y, kx)`: transformed along x, not along y. A slice is then two passes over memory:
//! every row goes to x, through t, and back to kx; every column goes to ky, through P, and back to y. Columns beyond the
//! band limit are zero after P and take no part. Plans, transmissions and propagator are made once and shared; the loop
//! allocates nothing.

use std::sync::Arc;

use num_complex::Complex;

use super::band::Band;
use super::fft::{Fft2, Real, Scratch, narrow};
use super::potential::Potential;
use super::probe::{Probe, ProbeSettings, Shift};
use super::propagator::Transmissions;
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

/// A specimen, a probe and a tilt, made ready; shared by all threads.
pub(super) struct Engine<T: Real> {
    shared: Arc<Shared<T>>,
    /// P/N, `(kept column, ky)`.
    propagator: Vec<Complex<T>>,
}

/// What does not depend on the tilt.
struct Shared<T: Real> {
    fft: Fft2<T>,
    band: Band,
    transmissions: Transmissions<T>,
    probe: Probe,
}

/// The memory of one thread.
pub(super) struct Workspace<T: Real> {
    /// The wave, `(y, kx)` between slices.
    wave: Vec<Complex<T>>,
    scratch: Scratch<T>,
    shift: Shift,
}

impl<T: Real> Engine<T> {
    /// An engine whose slices the `flight`, a propagator `(kept column, ky)`, follows.
    ///
    /// # Errors
    /// The aperture reaches beyond the band limit.
    pub(super) fn new(
        potential: &Potential,
        settings: &ProbeSettings,
        flight: &[Complex<f64>],
    ) -> Result<Self> {
        let grid = potential.grid();
        let band = Band::new(grid);
        let shared = Shared {
            probe: Probe::new(settings, grid, &band)?,
            fft: Fft2::new(grid.shape()),
            transmissions: Transmissions::new(potential, settings.energy()),
            band,
        };
        Ok(Self::with_shared(Arc::new(shared), flight))
    }

    /// The same with another propagator; plans, transmissions and probe are shared.
    pub(super) fn with_flight(&self, flight: &[Complex<f64>]) -> Self {
        Self::with_shared(Arc::clone(&self.shared), flight)
    }

    fn with_shared(shared: Arc<Shared<T>>, flight: &[Complex<f64>]) -> Self {
        let scale = 1.0 / shared.pixels();
        Self {
            propagator: flight.iter().map(|p| narrow(p * scale)).collect(),
            shared,
        }
    }

    pub(super) fn workspace(&self) -> Workspace<T> {
        let fft = &self.shared.fft;
        Workspace {
            wave: vec![Complex::default(); fft.rows * fft.cols],
            scratch: fft.scratch(),
            shift: Shift::default(),
        }
    }

    /// Sends one wave through the specimen. Behind each of the slices `exits` (counted from 1, rising) the spectrum passes
    /// by as `at_exit(index of the exit, column kx of the full spectrum, values by ky)`; the values are F\[ψ\]/N.
    pub(super) fn run(
        &self,
        illumination: Illumination,
        exits: &[usize],
        work: &mut Workspace<T>,
        mut at_exit: impl FnMut(usize, usize, &[Complex<T>]),
    ) {
        self.enter(illumination, work, |_, _| {});
        let mut passed = 0;
        let slices = exits.last().copied().unwrap_or(0);
        for (slice, transmission) in self.shared.transmissions.slices(slices).enumerate() {
            self.transmit(transmission, work);
            let leaving = exits[passed] == slice + 1;
            self.propagate(work, |column, values| {
                if leaving {
                    at_exit(passed, column, values);
                }
            });
            passed += usize::from(leaving);
        }
    }

    /// Sets the wave to the incident one, as `(y, kx)`; its spectrum passes by as in [`Engine::run`].
    pub(super) fn enter(
        &self,
        illumination: Illumination,
        work: &mut Workspace<T>,
        mut show: impl FnMut(usize, &[Complex<T>]),
    ) {
        let Shared {
            fft, band, probe, ..
        } = &*self.shared;
        let Workspace {
            wave,
            scratch,
            shift,
        } = work;
        if let Illumination::Probe(position) = illumination {
            probe.place(position, shift);
        }
        let scale = 1.0 / self.shared.pixels();
        for tile in band.tiles() {
            fft.fill_columns(wave, tile, scratch, |column, values| {
                match illumination {
                    Illumination::PlaneWave => {
                        values.fill(Complex::default());
                        if column == 0 {
                            values[0] = Complex::new(T::one(), T::zero());
                        }
                    }
                    Illumination::Probe(_) => {
                        let spectrum = probe.column(band.kept(column), shift);
                        for (value, source) in values.iter_mut().zip(spectrum) {
                            *value = narrow(source * scale);
                        }
                    }
                }
                show(column, values);
            });
        }
    }

    /// Rows: kx to x, times t, and back.
    fn transmit(&self, transmission: &[Complex<T>], work: &mut Workspace<T>) {
        let Shared { fft, band, .. } = &*self.shared;
        let rows = work.wave.chunks_exact_mut(fft.cols);
        for (row, through) in rows.zip(transmission.chunks_exact(fft.cols)) {
            row[band.pruned.clone()].fill(Complex::default());
            fft.row_inverse(row, &mut work.scratch);
            multiply(row, through);
            fft.row_forward(row, &mut work.scratch);
        }
    }

    /// Kept columns: y to ky, times P, shown, and back.
    fn propagate(&self, work: &mut Workspace<T>, mut show: impl FnMut(usize, &[Complex<T>])) {
        let Shared { fft, band, .. } = &*self.shared;
        for tile in band.tiles() {
            fft.change_columns(&mut work.wave, tile, &mut work.scratch, |column, values| {
                let start = band.kept(column) * fft.rows;
                multiply(values, &self.propagator[start..start + fft.rows]);
                show(column, values);
            });
        }
    }
}

impl<T: Real> Shared<T> {
    fn pixels(&self) -> f64 {
        (self.fft.rows * self.fft.cols) as f64
    }
}

fn multiply<T: Real>(values: &mut [Complex<T>], factors: &[Complex<T>]) {
    for (value, factor) in values.iter_mut().zip(factors) {
        *value = *value * *factor;
    }
}
