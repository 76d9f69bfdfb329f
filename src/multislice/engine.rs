//! The conventional multislice loop for one precision (Cowley & Moodie, Acta Cryst. **10**, 609 (1957); Kirkland, *Advanced
//! Computing in Electron Microscopy*, 2nd ed., ch. 6): ψ ← F⁻¹[P F[t ψ]], slice by slice. All engines are built on it.
//!
//! A slice is two passes over the wave, one over its rows and one over its columns ([`Wavefield`]). Plans, transmissions and
//! propagator are made once and shared; the loop allocates nothing.
//!
//! A wave may be smaller than the specimen: then it sees the part of the transmission functions where its window lies. It may
//! be a Bloch wave exp(2πi q·r) u(r): then u, periodic over the grid, is what is propagated.

use std::ops::Range;
use std::sync::Arc;

use num_complex::Complex;

use super::band::Band;
use super::fft::{intensity, narrow, narrow_modulus};
use super::grid::Grid;
use super::lanes::{Aligned, Lanes, Tile, Vectors};
use super::probe::{Probe, Shift};
use super::propagator::{Drift, propagator};
use super::slices::{Sheet, Slices};
use super::wavefield::{Watcher, Wavefield};
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

/// Which of some waves is seen where.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its number among those sent side by side.
    pub(super) wave: usize,
    /// The index of the exit where it leaves, or of the next one.
    pub(super) exit: usize,
}

/// Whoever looks at rows of a wave in real space before a slice.
pub(super) type Before<'a, T> = &'a mut dyn FnMut(Place, &Sheet<T>, &Tile<'_, T>);

/// Whoever looks at columns of the spectrum of a wave behind an exit.
pub(super) type Behind<'a, T> = &'a mut dyn FnMut(Place, &Tile<'_, T>);

/// A specimen and a tilt, made ready; shared by all threads.
pub(super) struct Engine<T: Lanes> {
    slices: Arc<Slices<T>>,
    lens: Arc<Lens<T>>,
    /// P/N at the engine's own tilt, as the column pass takes it.
    propagator: Aligned<T>,
}

/// What depends on the wave's grid alone.
struct Lens<T: Lanes> {
    field: Wavefield<T>,
    band: Band,
    /// P/N at zero tilt, `(kept column, ky)`.
    straight: Vec<Complex<f64>>,
}

/// The memory of one thread.
pub(super) struct Workspace<T> {
    /// The wave between slices; engines that send many side by side put each in turn here.
    pub(super) wave: Aligned<T>,
    /// Some of its rows, and what they are multiplied with.
    tile: Aligned<T>,
    factors: Aligned<T>,
    shift: Shift,
    drift: Drift,
    /// P/N at a wave's own tilt.
    tilted: Aligned<T>,
}

impl<T: Lanes> Engine<T> {
    /// An engine for waves on `grid`, whose pixels are those of the specimen, at zero tilt. `q` = `[x, y]` [1/Å] is that of
    /// Bloch waves, else zero.
    pub(super) fn new(slices: Arc<Slices<T>>, grid: &Grid, q: [f64; 2]) -> Self {
        let band = Band::around(grid, q);
        let (rows, cols) = grid.shape();
        let flight = propagator(&band, slices.thickness(), slices.wavelength());
        let with_scale = |scale: f64| {
            let lens = Lens {
                field: Wavefield::new(&band, Vectors::of_processor()),
                band: band.clone(),
                straight: flight.iter().map(|p| p * scale).collect(),
            };
            Self {
                propagator: lens.arranged(lens.straight.iter().copied()),
                lens: Arc::new(lens),
                slices: Arc::clone(&slices),
            }
        };
        let scale = 1.0 / (rows * cols) as f64;
        let gain = with_scale(scale).vacuum_gain();
        with_scale(scale / gain)
    }

    /// The same for a specimen tilted by `[x, y]` [mrad]; only the propagator is new, the rest is shared.
    pub(super) fn with_tilt(&self, tilt_mrad: [f64; 2]) -> Self {
        let Lens { band, straight, .. } = &*self.lens;
        let mut drift = Drift::default();
        drift.set(band, self.slices.thickness(), tilt_mrad);
        Self {
            slices: Arc::clone(&self.slices),
            propagator: self.lens.arranged(drift.apply(straight)),
            lens: Arc::clone(&self.lens),
        }
    }

    /// What a slice of vacuum multiplies the modulus of a wave by: 1, but for the rounding of the transforms' factors, which in
    /// single precision is some 1e-7 and always to the same side. Measured on a wave that fills the aperture.
    fn vacuum_gain(&self) -> f64 {
        let Lens { field, band, .. } = &*self.lens;
        let mut work = self.workspace();
        let Workspace {
            wave,
            tile,
            factors,
            ..
        } = &mut work;
        let mut norms = [0.0; 2];
        let aperture = |kept: usize, set: &mut dyn FnMut(usize, [T; 2])| {
            let kx = band.kx()[kept];
            for (y, &ky) in band.ky().iter().enumerate() {
                if kx.hypot(ky) <= self.slices.aperture() {
                    // Any phases that are not special.
                    let value = narrow(Complex::cis(kx + 2.0 * ky) / self.pixels());
                    norms[0] += intensity(value);
                    set(y, [value.re, value.im]);
                }
            }
        };
        field.enter(wave, aperture, None);
        for slice in 1..=VACUUM_SLICES {
            let mut measure = |columns: &Tile<'_, T>| {
                columns.lines(|_, line| {
                    norms[1] += line.iter().map(|&value| intensity(value)).sum::<f64>();
                });
            };
            let show = (slice == VACUUM_SLICES).then_some(&mut measure as Watcher<'_, T>);
            field.pass_rows(wave, [tile, factors], None, None);
            field.pass_columns(wave, &self.propagator, show);
        }
        (norms[1] / norms[0]).powf(0.5 / VACUUM_SLICES as f64)
    }

    /// The slices it sends waves through.
    pub(super) fn slices(&self) -> &Arc<Slices<T>> {
        &self.slices
    }

    /// Number of pixels of a wave.
    pub(super) fn pixels(&self) -> f64 {
        let (rows, cols) = self.lens.field.shape();
        (rows * cols) as f64
    }

    /// The columns of the spectrum that are kept, as those of the full one.
    pub(super) fn columns(&self) -> &[usize] {
        self.lens.field.kept()
    }

    pub(super) fn workspace(&self) -> Workspace<T> {
        let field = &self.lens.field;
        Workspace {
            wave: field.wave(),
            tile: field.tile(),
            factors: field.tile(),
            shift: Shift::default(),
            drift: Drift::default(),
            tilted: Aligned::default(),
        }
    }

    /// Sends some waves through the specimen, side by side: what they need of a slice is fetched once. Each has a workspace.
    ///
    /// Before each slice a wave in real space passes by, some rows at a time, as `before` if anyone looks. Behind each of the
    /// slices `exits` (counted from 1, rising) its spectrum passes by as `behind`; these values are F\[ψ\]/N.
    pub(super) fn run(
        &self,
        waves: &[Wave<'_>],
        exits: &[usize],
        works: &mut [Workspace<T>],
        mut before: Option<Before<'_, T>>,
        behind: Behind<'_, T>,
    ) {
        for (wave, work) in waves.iter().zip(&mut *works) {
            self.enter(&wave.entrance, work, None);
            if let Some(tilt_mrad) = wave.tilt_mrad {
                let Lens { band, straight, .. } = &*self.lens;
                work.drift.set(band, self.slices.thickness(), tilt_mrad);
                let tilted = work.drift.apply(straight);
                self.lens.arrange(tilted, &mut work.tilted);
            }
        }
        let field = &self.lens.field;
        let mut passed = 0;
        let last = exits.last().copied().unwrap_or(0);
        for (number, slice) in self.slices.first(last).enumerate() {
            let leaving = exits[passed] == number + 1;
            for (index, (wave, work)) in waves.iter().zip(&mut *works).enumerate() {
                let place = Place {
                    wave: index,
                    exit: passed,
                };
                match &mut before {
                    None => self.transmit(slice, wave.corner, work, None),
                    Some(before) => {
                        let mut show = |rows: &Tile<'_, T>| before(place, slice, rows);
                        self.transmit(slice, wave.corner, work, Some(&mut show));
                    }
                }
                let mut leave = |columns: &Tile<'_, T>| behind(place, columns);
                let show = leaving.then_some(&mut leave as Watcher<'_, T>);
                let propagator = match wave.tilt_mrad {
                    None => &self.propagator,
                    Some(_) => &work.tilted,
                };
                field.pass_columns(&mut work.wave, propagator, show);
            }
            passed += usize::from(leaving);
        }
    }

    /// Sends the wave in `work`, as large as the specimen and at the engine's tilt, through the slices `passed`.
    pub(super) fn advance(&self, passed: Range<usize>, work: &mut Workspace<T>) {
        for slice in self.slices.first(passed.end).skip(passed.start) {
            self.step(slice, work, None, None);
        }
    }

    /// Sets the wave to the incident one; its spectrum F\[ψ\]/N passes by.
    pub(super) fn enter(
        &self,
        entrance: &Entrance<'_>,
        work: &mut Workspace<T>,
        show: Option<Watcher<'_, T>>,
    ) {
        let Workspace { wave, shift, .. } = work;
        let field = &self.lens.field;
        match entrance {
            Entrance::Beam([row, col]) => {
                let fill = |kept: usize, set: &mut dyn FnMut(usize, [T; 2])| {
                    if field.kept()[kept] == *col {
                        set(*row, [T::one(), T::zero()]);
                    }
                };
                field.enter(wave, fill, show);
            }
            Entrance::Probe(probe, position) => {
                probe.place(*position, shift);
                let scale = 1.0 / self.pixels();
                let fill = |kept: usize, set: &mut dyn FnMut(usize, [T; 2])| {
                    probe.column(kept, shift, |ky, value| {
                        let value = narrow(value * scale);
                        set(ky, [value.re, value.im]);
                    });
                };
                field.enter(wave, fill, show);
            }
        }
    }

    /// Sends the wave through one slice at the engine's own tilt; rows in real space pass by before it, columns of the spectrum
    /// behind it.
    pub(super) fn step(
        &self,
        slice: &Sheet<T>,
        work: &mut Workspace<T>,
        before: Option<Watcher<'_, T>>,
        behind: Option<Watcher<'_, T>>,
    ) {
        self.transmit(slice, [0; 2], work, before);
        let field = &self.lens.field;
        field.pass_columns(&mut work.wave, &self.propagator, behind);
    }

    fn transmit(
        &self,
        slice: &Sheet<T>,
        corner: [usize; 2],
        work: &mut Workspace<T>,
        show: Option<Watcher<'_, T>>,
    ) {
        let Workspace {
            wave,
            tile,
            factors,
            ..
        } = work;
        let conjugate = Some((&slice.conjugate, corner));
        let field = &self.lens.field;
        field.pass_rows(wave, [tile, factors], conjugate, show);
    }

    /// Row `y` of the wave in `work`, `(y, kx)`: real parts and imaginary parts of the kept columns.
    pub(super) fn copy_row(&self, work: &Workspace<T>, y: usize, re: &mut [T], im: &mut [T]) {
        self.lens.field.copy_row(&work.wave, y, re, im);
    }

    /// Sets row `y` of the wave in `work`.
    pub(super) fn set_row(&self, work: &mut Workspace<T>, y: usize, re: &[T], im: &[T]) {
        self.lens.field.set_row(&mut work.wave, y, re, im);
    }
}

impl<T: Lanes> Lens<T> {
    /// A propagator as the column pass takes it.
    fn arranged(&self, propagator: impl Iterator<Item = Complex<f64>>) -> Aligned<T> {
        let mut arranged = Aligned::default();
        self.arrange(propagator, &mut arranged);
        arranged
    }

    fn arrange(&self, propagator: impl Iterator<Item = Complex<f64>>, out: &mut Aligned<T>) {
        let rounded = propagator.map(narrow_modulus);
        self.field.arrange(rounded.map(|p| [p.re, p.im]), out);
    }
}
