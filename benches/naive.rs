//! The inner step as a careful user of rustfft writes it: ψ t, rows, transposition, rows, P, and the same back.
//!
//! Rows are a cache line longer in memory than their pixels: without that, lines of a transposition that are a power of two
//! apart fall on the same few places of the cache, and all of it is slower.

use std::f32::consts::PI;
use std::sync::Arc;

use num_complex::Complex;
use rustfft::{Fft, FftPlanner};

/// Side of the squares that are transposed at once.
const SQUARE: usize = 16;
/// Numbers between the rows: a cache line.
const GAP: usize = 8;

/// A wave on n × n pixels, its slice and propagator, and the transforms.
pub(crate) struct Naive {
    pixels: usize,
    start: Vec<Complex<f32>>,
    wave: Vec<Complex<f32>>,
    other: Vec<Complex<f32>>,
    transmission: Vec<Complex<f32>>,
    propagator: Vec<Complex<f32>>,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Naive {
    /// A narrow wave, a smooth phase object, and a propagator with a band limit at 2/3.
    pub(crate) fn new(pixels: usize) -> Self {
        let mut planner = FftPlanner::new();
        let (forward, inverse) = (
            planner.plan_fft_forward(pixels),
            planner.plan_fft_inverse(pixels),
        );
        let room = forward
            .get_inplace_scratch_len()
            .max(inverse.get_inplace_scratch_len());
        let centred =
            |i: usize| (i as f32 + pixels as f32 / 2.0) % pixels as f32 - pixels as f32 / 2.0;
        let start = padded(pixels, |y, x| {
            Complex::from((-(centred(y).powi(2) + centred(x).powi(2)) / 50.0).exp())
        });
        let limit = pixels as f32 / 3.0;
        let norm = 1.0 / (pixels * pixels) as f32;
        Self {
            pixels,
            wave: start.clone(),
            other: start.clone(),
            start,
            transmission: padded(pixels, |y, x| {
                Complex::cis(0.7 * (0.37 * x as f32).sin() * (0.21 * y as f32).cos())
            }),
            propagator: padded(pixels, |y, x| {
                let k2 = (centred(y).powi(2) + centred(x).powi(2)) / limit.powi(2);
                Complex::cis(-PI * k2) * if k2 < 1.0 { norm } else { 0.0 }
            }),
            forward,
            inverse,
            scratch: vec![Complex::default(); room],
        }
    }

    /// The wave enters and passes that many slices. It is a fresh one every time: what t scatters beyond the band limit is lost,
    /// and numbers that have become too small are slow.
    pub(crate) fn run(&mut self, slices: usize) -> Complex<f32> {
        self.wave.copy_from_slice(&self.start);
        for _ in 0..slices {
            self.step();
        }
        self.wave[0]
    }

    fn step(&mut self) {
        multiply(&mut self.wave, &self.transmission);
        self.transform(&Arc::clone(&self.forward));
        multiply(&mut self.wave, &self.propagator);
        self.transform(&Arc::clone(&self.inverse));
    }

    /// Along x, along y.
    fn transform(&mut self, fft: &Arc<dyn Fft<f32>>) {
        self.rows(fft);
        transpose(self.pixels, &self.wave, &mut self.other);
        std::mem::swap(&mut self.wave, &mut self.other);
        self.rows(fft);
        transpose(self.pixels, &self.wave, &mut self.other);
        std::mem::swap(&mut self.wave, &mut self.other);
    }

    fn rows(&mut self, fft: &Arc<dyn Fft<f32>>) {
        for row in self.wave.chunks_exact_mut(self.pixels + GAP) {
            fft.process_with_scratch(&mut row[..self.pixels], &mut self.scratch);
        }
    }
}

/// A function of row and column, in memory.
fn padded(pixels: usize, value: impl Fn(usize, usize) -> Complex<f32>) -> Vec<Complex<f32>> {
    let pitch = pixels + GAP;
    let at = |i: usize| match i % pitch {
        x if x < pixels => value(i / pitch, x),
        _ => Complex::default(),
    };
    (0..pixels * pitch).map(at).collect()
}

fn multiply(wave: &mut [Complex<f32>], factors: &[Complex<f32>]) {
    for (value, factor) in wave.iter_mut().zip(factors) {
        *value *= factor;
    }
}

/// Square by square, so that both sides stay in the nearest cache.
fn transpose(pixels: usize, from: &[Complex<f32>], to: &mut [Complex<f32>]) {
    let pitch = pixels + GAP;
    for top in (0..pixels).step_by(SQUARE) {
        for left in (0..pixels).step_by(SQUARE) {
            for x in left..(left + SQUARE).min(pixels) {
                for y in top..(top + SQUARE).min(pixels) {
                    to[x * pitch + y] = from[y * pitch + x];
                }
            }
        }
    }
}
