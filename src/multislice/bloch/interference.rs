//! How the beams of one Bloch vector interfere on the detectors: M\[g, g'\] = Σ w u_g* u_g', a sum over pixels with weights w.
//!
//! Each wave keeps the pixels that count, real and imaginary parts apart, so that the sums are products of real rows. They
//! run over lanes of neighbouring pixels, a few waves by a few at a time in registers; of the Hermitian matrix only
//! g ≤ g' is computed. Rows are cut into blocks that stay in the cache. Products and sums of a lane are in the waves'
//! precision, at most [`MOST_PIXELS`] over the lanes of them; what blocks give is added in double.

use num_complex::Complex;
use rayon::prelude::*;

use super::products::{Rows, add_products};
use crate::multislice::fft::Real;
use crate::multislice::lanes::{Lanes, Tile, Vectors};

/// Pixels are padded to a whole number of the widest lane.
const PADDING: usize = 16;
/// Pixels of a block: at most this many, or as many as keep all waves within [`BLOCK_NUMBERS`], but not fewer than the least.
const MOST_PIXELS: usize = 1024;
const LEAST_PIXELS: usize = 128;
const BLOCK_NUMBERS: usize = 1 << 16;

/// The pixels that any channel looks at, and how much each counts for each. Of the lines of a tile, all are kept at a place or
/// none.
pub(super) struct Mask<T> {
    /// For each tile of lines and each index in them, where the numbers go.
    places: Vec<Option<usize>>,
    /// Lines of a tile, and numbers of a line.
    lanes: usize,
    line: usize,
    /// Per channel, the weights of the kept pixels, then zeros.
    weights: Vec<Vec<T>>,
}

impl<T: Lanes> Mask<T> {
    /// From the weights of all pixels per channel, line after line; a channel without weights collects nothing. A place whose
    /// weights are all below `negligible` times the largest of their channels is left out.
    pub(super) fn new(maps: &[Vec<T>], line: usize, negligible: f64) -> Self {
        let lanes = T::count(Vectors::of_processor());
        let largest = |map: &Vec<T>| {
            map.iter()
                .fold(0.0, |most: f64, w| most.max(w.widen().abs()))
        };
        let least: Vec<f64> = maps.iter().map(|map| negligible * largest(map)).collect();
        let lines = maps.iter().map(Vec::len).max().unwrap_or(0) / line;
        let mut mask = Self {
            places: Vec::new(),
            lanes,
            line,
            weights: vec![Vec::new(); maps.len()],
        };
        let mut kept = 0;
        for first in (0..lines).step_by(lanes) {
            for index in 0..line {
                // Beyond the last line nothing counts.
                let weight = |map: &Vec<T>, l: usize| {
                    let value = map.get((first + l) * line + index);
                    value.copied().unwrap_or_else(T::zero)
                };
                let counts = |(map, least): (&Vec<T>, &f64)| {
                    (0..lanes).any(|l| weight(map, l).widen().abs() > *least)
                };
                let counts = maps.iter().zip(&least).any(counts);
                mask.places.push(counts.then_some(kept));
                if counts {
                    for (weights, map) in mask.weights.iter_mut().zip(maps) {
                        weights.extend((0..lanes).map(|l| weight(map, l)));
                    }
                    kept += lanes;
                }
            }
        }
        for weights in &mut mask.weights {
            weights.resize(kept.next_multiple_of(PADDING), T::zero());
        }
        mask
    }

    /// Number of kept pixels, with padding.
    pub(super) fn len(&self) -> usize {
        self.weights.first().map_or(0, Vec::len)
    }

    /// Copies what counts of some lines of a wave to its place.
    pub(super) fn pick(&self, tile: &Tile<'_, T>, picked: &mut Picked<T>) {
        let Some(places) = self.places.get(tile.first / self.lanes * self.line..) else {
            return;
        };
        for (place, (re, im)) in places.iter().zip(tile.numbers()) {
            if let Some(place) = *place {
                picked.re[place..][..re.len()].copy_from_slice(re);
                picked.im[place..][..im.len()].copy_from_slice(im);
            }
        }
    }
}

/// What counts of a wave.
#[derive(Clone, Default)]
pub(super) struct Picked<T> {
    pub(super) re: Vec<T>,
    pub(super) im: Vec<T>,
}

impl<T: Real> Picked<T> {
    pub(super) fn new(pixels: usize) -> Self {
        Self {
            re: vec![T::zero(); pixels],
            im: vec![T::zero(); pixels],
        }
    }
}

/// M of each channel.
#[derive(Clone)]
pub(super) struct Interference {
    beams: usize,
    /// Per channel `(g, g')`; what is below the diagonal is meaningless.
    sums: Vec<Vec<Complex<f64>>>,
}

impl Interference {
    pub(super) fn new(channels: usize, beams: usize) -> Self {
        Self {
            beams,
            sums: vec![vec![Complex::default(); beams * beams]; channels],
        }
    }

    /// The matrix of a channel, `(g, g')`, g ≤ g'.
    pub(super) fn of_channel(&self, channel: usize) -> &[Complex<f64>] {
        &self.sums[channel]
    }

    /// Adds the pixels of a mask; with `spread`, by all threads. The sums do not depend on that.
    pub(super) fn add<T: Lanes>(&mut self, mask: &Mask<T>, waves: &[&Picked<T>], spread: bool) {
        let (beams, pixels) = (self.beams, mask.len());
        let fitting = BLOCK_NUMBERS / beams.max(1) / PADDING * PADDING;
        let block = fitting.clamp(LEAST_PIXELS, MOST_PIXELS);
        for start in (0..pixels).step_by(block) {
            let span = start..pixels.min(start + block);
            for (sums, weights) in self.sums.iter_mut().zip(&mask.weights) {
                let weights = &weights[span.clone()];
                if weights.iter().all(|weight| weight.is_zero()) {
                    continue;
                }
                let rows = |(group, sums): (usize, &mut [Complex<f64>])| {
                    let first = group * GROUP;
                    add_products(Rows {
                        waves,
                        span: &span,
                        weights,
                        first,
                        sums,
                    });
                };
                if spread {
                    sums.par_chunks_mut(GROUP * beams)
                        .enumerate()
                        .for_each(rows);
                } else {
                    sums.chunks_mut(GROUP * beams).enumerate().for_each(rows);
                }
            }
        }
    }
}

/// Rows of M that are worked on together: a whole number of every tile.
const GROUP: usize = 6;
