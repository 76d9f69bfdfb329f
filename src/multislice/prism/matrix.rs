//! The scattering matrix S(r, k): every beam k of the probe, sent through the specimen as a plane wave.

use std::ops::Range;

use num_complex::Complex;
use rayon::prelude::*;

use super::super::band::Band;
use super::super::engine::{Engine, Entrance, Workspace};
use super::super::fft::Real;
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

impl<T: Real> Matrix<T> {
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
                engine.enter(&Entrance::Beam(pixel), work, |_, _| {});
                store(work, band, kept, wave);
            },
        );
        matrix
    }

    /// Sends the beams on to the depth of `plane` slices.
    pub(super) fn advance(&mut self, engine: &Engine<T>, band: &Band, plane: usize) {
        let (kept, passed) = (self.kept, self.plane..plane);
        if passed.is_empty() {
            return;
        }
        self.values.par_chunks_exact_mut(self.pitch).for_each_init(
            || engine.workspace(),
            |work, wave| {
                load(wave, band, kept, work);
                engine.advance(passed.clone(), work);
                store(work, band, kept, wave);
            },
        );
        self.plane = plane;
    }

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

fn store<T: Real>(work: &mut Workspace<T>, band: &Band, kept: usize, wave: &mut [T]) {
    let rows = work.wave().chunks_exact(band.cols);
    for (row, stored) in rows.zip(wave.chunks_exact_mut(2 * kept)) {
        let (re, im) = stored.split_at_mut(kept);
        let inside = row[..band.pruned.start]
            .iter()
            .chain(&row[band.pruned.end..]);
        for ((re, im), value) in re.iter_mut().zip(im).zip(inside) {
            (*re, *im) = (value.re, value.im);
        }
    }
}

fn load<T: Real>(wave: &[T], band: &Band, kept: usize, work: &mut Workspace<T>) {
    let rows = work.wave().chunks_exact_mut(band.cols);
    for (row, stored) in rows.zip(wave.chunks_exact(2 * kept)) {
        spread(stored, band, row);
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
