//! The conventional multislice loop for one precision (Cowley & Moodie, Acta Cryst. **10**, 609 (1957); Kirkland, *Advanced
//! Computing in Electron Microscopy*, 2nd ed., ch. 6): ψ ← F⁻¹[P F[t ψ]], slice by slice. All engines are built on it.
//!
//! Between slices the wave is kept as `(y, kx)`: transformed along x, not along y. A slice is then two passes over memory:
//! every row goes to x, through t, and back to kx; every column goes to ky, through P, and back to y. Columns beyond the
//! band limit are zero after P and take no part. Plans, transmissions and propagator are made once and shared; the loop
//! allocates nothing.
//!
//! A wave may be smaller than the specimen: then it sees the part of the transmission functions where its window lies. It may
//! be a Bloch wave exp(2πi q·r) u(r): then u, periodic over the grid, is what is propagated.

use std::ops::Range;
use std::sync::Arc;

use num_complex::Complex;

use super::band::Band;
use super::fft::{Fft2, Real, Scratch, intensity, narrow, narrow_modulus};
use super::grid::Grid;
use super::probe::{Probe, Shift};
use super::propagator::{Drift, propagator};
use super::slices::{Slice, Slices};
use crate::neighbours::Point;

/// Slices of vacuum over which the rounding of the transforms is measured.
const VACUUM_SLICES: usize = 64;

/// What enters the specimen.
#[derive(Clone, Copy)]
pub(super) enum Entrance<'a> {
    /// A plane wave of modulus 1 with the frequency of pixel `[row, col]` of the spectrum (plus q of a Bloch wave).
    Beam([usize; 2]),
    /// A probe at a position `[x, y]` in the wave's window [Å].
    Probe(&'a Probe, Point),
}

/// A wave to be sent through the specimen.
#[derive(Clone, Copy)]
pub(super) struct Wave<'a> {
    /// What enters.
    pub(super) entrance: Entrance<'a>,
    /// First row and column of the specimen's grid that the wave's window covers.
    pub(super) corner: [usize; 2],
    /// Mistilt `[x, y]` [mrad] of the specimen where this wave passes, in place of the engine's own.
    pub(super) tilt_mrad: Option<[f64; 2]>,
}

impl<'a> Wave<'a> {
    /// A wave as large as the specimen.
    pub(super) fn whole(entrance: Entrance<'a>) -> Self {
        Self {
            entrance,
            corner: [0; 2],
            tilt_mrad: None,
        }
    }
}

/// A specimen and a tilt, made ready; shared by all threads.
pub(super) struct Engine<T: Real> {
    slices: Arc<Slices<T>>,
    lens: Arc<Lens<T>>,
    /// P/N at the engine's own tilt, `(kept column, ky)`.
    propagator: Vec<Complex<T>>,
}

/// What depends on the wave's grid alone.
struct Lens<T: Real> {
    fft: Fft2<T>,
    band: Band,
    /// P/N at zero tilt, `(kept column, ky)`.
    straight: Vec<Complex<f64>>,
}

/// The memory of one thread.
pub(super) struct Workspace<T: Real> {
    /// The wave, `(y, kx)` between slices; engines that send many side by side put each in turn here.
    pub(super) wave: Vec<Complex<T>>,
    scratch: Scratch<T>,
    shift: Shift,
    drift: Drift,
    /// P/N at a wave's own tilt.
    tilted: Vec<Complex<T>>,
}

impl<T: Real> Workspace<T> {
    /// The wave between slices, `(y, kx)`; columns beyond the band limit mean nothing.
    pub(super) fn wave(&mut self) -> &mut [Complex<T>] {
        &mut self.wave
    }
}

impl<T: Real> Engine<T> {
    /// An engine for waves on `grid`, whose pixels are those of the specimen, at zero tilt. `q` = `[x, y]` [1/Å] is that of
    /// Bloch waves, else zero.
    pub(super) fn new(slices: Arc<Slices<T>>, grid: &Grid, q: [f64; 2]) -> Self {
        let band = Band::around(grid, q);
        let (rows, cols) = grid.shape();
        let flight = propagator(&band, slices.thickness(), slices.wavelength());
        let with_scale = |scale: f64| {
            let straight: Vec<_> = flight.iter().map(|p| p * scale).collect();
            Self {
                propagator: straight.iter().copied().map(narrow_modulus).collect(),
                lens: Arc::new(Lens {
                    fft: Fft2::new(grid.shape()),
                    band: band.clone(),
                    straight,
                }),
                slices: Arc::clone(&slices),
            }
        };
        let scale = 1.0 / (rows * cols) as f64;
        let gain = with_scale(scale).vacuum_gain();
        with_scale(scale / gain)
    }

    /// The same for a specimen tilted by `[x, y]` [mrad]; only the propagator is new, the rest is shared.
    pub(super) fn with_tilt(&self, tilt_mrad: [f64; 2]) -> Self {
        let mut propagator = Vec::new();
        let mut drift = Drift::default();
        drift.set(&self.lens.band, self.slices.thickness(), tilt_mrad);
        drift.apply(&self.lens.straight, &mut propagator);
        Self {
            slices: Arc::clone(&self.slices),
            lens: Arc::clone(&self.lens),
            propagator,
        }
    }

    /// What a slice of vacuum multiplies the modulus of a wave by: 1, but for the rounding of the transforms' factors, which in
    /// single precision is some 1e-7 and always to the same side. Measured on a wave that fills the aperture.
    fn vacuum_gain(&self) -> f64 {
        let Lens { fft, band, .. } = &*self.lens;
        let mut work = self.workspace();
        let mut norms = [0.0; 2];
        for tile in band.tiles() {
            fft.fill_columns(&mut work.wave, tile, &mut work.scratch, |column, values| {
                let kx = band.kx()[band.kept(column)];
                for (value, &ky) in values.iter_mut().zip(band.ky()) {
                    let inside = kx.hypot(ky) <= self.slices.aperture();
                    // Any phases that are not special.
                    let wave = Complex::cis(kx + 2.0 * ky) * f64::from(u8::from(inside));
                    *value = narrow(wave / self.pixels());
                    norms[0] += intensity(*value);
                }
            });
        }
        for slice in 1..=VACUUM_SLICES {
            for row in work.wave.chunks_exact_mut(fft.cols) {
                row[band.pruned.clone()].fill(Complex::default());
                fft.row_inverse(row, &mut work.scratch);
                fft.row_forward(row, &mut work.scratch);
            }
            self.propagate(&self.propagator, &mut work, |_, values| {
                if slice == VACUUM_SLICES {
                    norms[1] += values.iter().map(|&value| intensity(value)).sum::<f64>();
                }
            });
        }
        (norms[1] / norms[0]).powf(0.5 / VACUUM_SLICES as f64)
    }

    /// The slices it sends waves through.
    pub(super) fn slices(&self) -> &Arc<Slices<T>> {
        &self.slices
    }

    /// Number of pixels of a wave.
    pub(super) fn pixels(&self) -> f64 {
        (self.lens.fft.rows * self.lens.fft.cols) as f64
    }

    pub(super) fn workspace(&self) -> Workspace<T> {
        let fft = &self.lens.fft;
        Workspace {
            wave: vec![Complex::default(); fft.rows * fft.cols],
            scratch: fft.scratch(),
            shift: Shift::default(),
            drift: Drift::default(),
            tilted: Vec::new(),
        }
    }

    /// Sends one wave through the specimen.
    ///
    /// Before each slice the wave in real space passes by, row by row, as `at_row(index of the next exit, slice, y, values by
    /// x)`. Behind each of the slices `exits` (counted from 1, rising) its spectrum passes by as `at_exit(index of the exit,
    /// column kx of the full spectrum, values by ky)`; these values are F\[ψ\]/N.
    pub(super) fn run(
        &self,
        wave: &Wave<'_>,
        exits: &[usize],
        work: &mut Workspace<T>,
        mut at_row: impl FnMut(usize, &Slice<T>, usize, &[Complex<T>]),
        mut at_exit: impl FnMut(usize, usize, &[Complex<T>]),
    ) {
        self.enter(&wave.entrance, work, |_, _| {});
        let mut tilted = std::mem::take(&mut work.tilted);
        let propagator = match wave.tilt_mrad {
            None => &self.propagator,
            Some(tilt_mrad) => {
                let thickness = self.slices.thickness();
                work.drift.set(&self.lens.band, thickness, tilt_mrad);
                work.drift.apply(&self.lens.straight, &mut tilted);
                &tilted
            }
        };
        let mut passed = 0;
        let last = exits.last().copied().unwrap_or(0);
        for (number, slice) in self.slices.first(last).enumerate() {
            self.transmit(slice, wave.corner, work, |y, row| {
                at_row(passed, slice, y, row);
            });
            let leaving = exits[passed] == number + 1;
            self.propagate(propagator, work, |column, values| {
                if leaving {
                    at_exit(passed, column, values);
                }
            });
            passed += usize::from(leaving);
        }
        work.tilted = tilted;
    }

    /// Sends the wave in `work`, as large as the specimen and at the engine's tilt, through the slices `passed`.
    pub(super) fn advance(&self, passed: Range<usize>, work: &mut Workspace<T>) {
        for slice in self.slices.first(passed.end).skip(passed.start) {
            self.transmit(slice, [0; 2], work, |_, _| {});
            self.propagate(&self.propagator, work, |_, _| {});
        }
    }

    /// Sets the wave to the incident one, as `(y, kx)`; its spectrum passes by as in [`Engine::run`].
    pub(super) fn enter(
        &self,
        entrance: &Entrance<'_>,
        work: &mut Workspace<T>,
        mut show: impl FnMut(usize, &[Complex<T>]),
    ) {
        let Lens { fft, band, .. } = &*self.lens;
        let Workspace {
            wave,
            scratch,
            shift,
            ..
        } = work;
        if let Entrance::Probe(probe, position) = entrance {
            probe.place(*position, shift);
        }
        let scale = 1.0 / self.pixels();
        for tile in band.tiles() {
            fft.fill_columns(wave, tile, scratch, |column, values| {
                match entrance {
                    Entrance::Beam([row, col]) => {
                        values.fill(Complex::default());
                        if column == *col {
                            values[*row] = Complex::new(T::one(), T::zero());
                        }
                    }
                    Entrance::Probe(probe, _) => {
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

    /// Sends the wave through one slice at the engine's own tilt; it passes by before and behind it as in [`Engine::run`].
    pub(super) fn step(
        &self,
        slice: &Slice<T>,
        work: &mut Workspace<T>,
        at_row: impl FnMut(usize, &[Complex<T>]),
        at_column: impl FnMut(usize, &[Complex<T>]),
    ) {
        self.transmit(slice, [0; 2], work, at_row);
        self.propagate(&self.propagator, work, at_column);
    }

    /// Rows: kx to x, shown, times t, and back.
    fn transmit(
        &self,
        slice: &Slice<T>,
        [top, left]: [usize; 2],
        work: &mut Workspace<T>,
        mut show: impl FnMut(usize, &[Complex<T>]),
    ) {
        let Lens { fft, band, .. } = &*self.lens;
        let width = self.slices.grid().shape().1;
        for (y, row) in work.wave.chunks_exact_mut(fft.cols).enumerate() {
            row[band.pruned.clone()].fill(Complex::default());
            fft.row_inverse(row, &mut work.scratch);
            show(y, row);
            let start = (top + y) * width + left;
            multiply(row, &slice.transmission[start..start + fft.cols]);
            fft.row_forward(row, &mut work.scratch);
        }
    }

    /// Kept columns: y to ky, times P, shown, and back.
    fn propagate(
        &self,
        propagator: &[Complex<T>],
        work: &mut Workspace<T>,
        mut show: impl FnMut(usize, &[Complex<T>]),
    ) {
        let Lens { fft, band, .. } = &*self.lens;
        for tile in band.tiles() {
            fft.change_columns(&mut work.wave, tile, &mut work.scratch, |column, values| {
                let start = band.kept(column) * fft.rows;
                multiply(values, &propagator[start..start + fft.rows]);
                show(column, values);
            });
        }
    }
}

fn multiply<T: Real>(values: &mut [Complex<T>], factors: &[Complex<T>]) {
    for (value, factor) in values.iter_mut().zip(factors) {
        *value = *value * *factor;
    }
}
