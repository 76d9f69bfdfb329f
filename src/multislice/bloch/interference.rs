//! How the beams of one Bloch vector interfere on the detectors: M\[g, g'\] = Σ w u_g* u_g', a sum over pixels with weights w.
//!
//! Each wave keeps the pixels that count, real and imaginary parts apart, so that the sums are products of real rows. They
//! run over lanes of neighbouring pixels, a few waves by a few at a time in registers; of the Hermitian matrix only
//! g ≤ g' is computed. Rows are cut into blocks that stay in the cache. Products and sums of a lane are in the waves'
//! precision, at most [`MOST_PIXELS`] over the lanes of them; what blocks give is added in double.

use std::ops::Range;

use num_complex::Complex;
use rayon::prelude::*;

use super::products::{Lanes, Rows, add_products};
use crate::multislice::fft::Real;

/// Pixels are padded to a whole number of the widest lane.
const PADDING: usize = 16;
/// Pixels of a block: at most this many, or as many as keep all waves within [`BLOCK_NUMBERS`], but not fewer than the least.
const MOST_PIXELS: usize = 1024;
const LEAST_PIXELS: usize = 128;
const BLOCK_NUMBERS: usize = 1 << 16;

/// The pixels that any channel looks at, and how much each counts for each.
pub(super) struct Mask<T> {
    /// Per line of the image, neighbouring pixels and where they go.
    lines: Vec<Vec<(Range<usize>, usize)>>,
    /// Per channel, the weights of the kept pixels, then zeros.
    weights: Vec<Vec<T>>,
}

impl<T: Real> Mask<T> {
    /// From the weights of all pixels per channel, line after line; a channel without weights collects nothing. A pixel
    /// whose weights are below `negligible` times the largest of their channels is left out.
    pub(super) fn new(maps: &[Vec<T>], line: usize, negligible: f64) -> Self {
        let largest = |map: &Vec<T>| {
            map.iter()
                .fold(0.0, |most: f64, w| most.max(w.widen().abs()))
        };
        let least: Vec<f64> = maps.iter().map(|map| negligible * largest(map)).collect();
        let counts = |pixel: usize| {
            let mut limits = maps.iter().zip(&least);
            limits.any(|(map, least)| map.get(pixel).is_some_and(|w| w.widen().abs() > *least))
        };
        let pixels = maps.iter().map(Vec::len).max().unwrap_or(0);
        let mut kept = 0;
        let mut lines = Vec::new();
        for start in (0..pixels).step_by(line) {
            let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
            for x in (0..line).filter(|x| counts(start + x)) {
                match runs.last_mut() {
                    Some((run, _)) if run.end == x => run.end += 1,
                    _ => runs.push((x..x + 1, kept)),
                }
                kept += 1;
            }
            lines.push(runs);
        }
        let mut weights = vec![vec![T::zero(); kept.next_multiple_of(PADDING)]; maps.len()];
        for (weights, map) in weights.iter_mut().zip(maps) {
            for (line, runs) in map.chunks(line).zip(&lines) {
                for (run, place) in runs {
                    weights[*place..][..run.len()].copy_from_slice(&line[run.clone()]);
                }
            }
        }
        Self { lines, weights }
    }

    /// Number of kept pixels, with padding.
    pub(super) fn len(&self) -> usize {
        self.weights.first().map_or(0, Vec::len)
    }

    /// Copies what counts of a line of a wave to its place.
    pub(super) fn pick(&self, line: usize, values: &[Complex<T>], picked: &mut Picked<T>) {
        for (run, place) in self.lines.get(line).into_iter().flatten() {
            let re = &mut picked.re[*place..][..run.len()];
            let im = &mut picked.im[*place..][..run.len()];
            for ((value, re), im) in values[run.clone()].iter().zip(re).zip(im) {
                (*re, *im) = (value.re, value.im);
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
