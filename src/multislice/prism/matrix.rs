//! The scattering matrix S(r, k): every beam k of the probe, sent through the specimen as a plane wave.

use std::ops::Range;

use num_complex::Complex;
use rayon::prelude::*;

use super::super::band::Band;
use super::super::engine::{Engine, Entrance, Workspace};
use super::super::fft::Real;
use super::super::lanes::Lanes;
use super::combination::Rows;

/// Unused elements between the waves: apart from a power of two, which would put them all in the same lines of the cache.
const GAP: usize = 32;

/// Some beams at one depth. A wave is kept as between slices, `(y, kx)` without the columns beyond the band limit; a row
/// holds the real parts, then the imaginary ones.
#[derive(Clone)]
pub(super) struct Matrix<T> {
    values: Vec<T>,
    /// From one wave to the next.
    pitch: usize,
    /// Kept columns.
    kept: usize,
    /// Which beams of the list.
    pub(super) beams: Range<usize>,
    /// Number of slices passed.
    pub(super) plane: usize,
}

/// Elements of a wave, the gap included.
pub(super) fn pitch(rows: usize, band: &Band) -> usize {
    2 * rows * band.kx().len() + GAP
}

impl<T: Lanes> Matrix<T> {
    /// The beams `chosen` of the list `pixels` of the spectrum, in front of the specimen.
    pub(super) fn new(
        engine: &Engine<T>,
        band: &Band,
        pixels: &[[usize; 2]],
        chosen: Range<usize>,
    ) -> Self {
        let pitch = pitch(band.ky().len(), band);
        let mut matrix = Self {
            values: vec![T::zero(); chosen.len() * pitch],
            pitch,
            kept: band.kx().len(),
            beams: chosen.clone(),
            plane: 0,
        };
        let (kept, values) = (matrix.kept, &mut matrix.values);
        let waves = values.par_chunks_exact_mut(pitch).zip(&pixels[chosen]);
        waves.for_each_init(
            || engine.workspace(),
            |work, (wave, &pixel)| {
                engine.enter(&Entrance::Beam(pixel), work, None);
                store(engine, work, kept, wave);
            },
        );
        matrix
    }

    /// Sends the beams on to the depth of `plane` slices.
    pub(super) fn advance(&mut self, engine: &Engine<T>, plane: usize) {
        let (kept, passed) = (self.kept, self.plane..plane);
        if passed.is_empty() {
            return;
        }
        self.values.par_chunks_exact_mut(self.pitch).for_each_init(
            || engine.workspace(),
            |work, wave| {
                load(engine, wave, kept, work);
                engine.advance(passed.clone(), work);
                store(engine, work, kept, wave);
            },
        );
        self.plane = plane;
    }
}

impl<T> Matrix<T> {
    /// Row y of the waves from number `first` of the list on.
    pub(super) fn rows(&self, first: usize, y: usize) -> Rows<'_, T> {
        let start = (first - self.beams.start) * self.pitch + y * 2 * self.kept;
        Rows {
            values: &self.values[start..],
            pitch: self.pitch,
            half: self.kept,
        }
    }
}

fn store<T: Lanes>(engine: &Engine<T>, work: &Workspace<T>, kept: usize, wave: &mut [T]) {
    let rows = wave.len() - GAP;
    for (y, row) in wave[..rows].chunks_exact_mut(2 * kept).enumerate() {
        let (re, im) = row.split_at_mut(kept);
        engine.copy_row(work, y, re, im);
    }
}

fn load<T: Lanes>(engine: &Engine<T>, wave: &[T], kept: usize, work: &mut Workspace<T>) {
    let rows = wave.len() - GAP;
    for (y, row) in wave[..rows].chunks_exact(2 * kept).enumerate() {
        let (re, im) = row.split_at(kept);
        engine.set_row(work, y, re, im);
    }
}

/// A parted row without the columns beyond the band limit, put into a full one; those columns become zero.
pub(super) fn spread<T: Real>(stored: &[T], band: &Band, row: &mut [Complex<T>]) {
    let (re, im) = stored.split_at(stored.len() / 2);
    let (front, back) = row.split_at_mut(band.pruned.end);
    let (front, pruned) = front.split_at_mut(band.pruned.start);
    pruned.fill(Complex::default());
    let inside = front.iter_mut().chain(back);
    for (value, (re, im)) in inside.zip(re.iter().zip(im)) {
        *value = Complex::new(*re, *im);
    }
}
