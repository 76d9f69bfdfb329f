//! What happens to a wave in a slice: transmission through its projected potential, then a flight of its thickness.

use std::f64::consts::{PI, TAU};

use ndarray::Array2;
use num_complex::Complex;
use rayon::prelude::*;

use super::band::Band;
use super::fft::{Fft2, Real, narrow};
use super::grid::Grid;
use super::potential::Potential;
use crate::units::{RAD_PER_MRAD, interaction};

/// Transmission functions of a specimen: t = exp(iσv), band-limited (Kirkland, *Advanced Computing in Electron Microscopy*,
/// 2nd ed., ch. 6). Each different slice once, `(y, x)` row by row.
pub(super) struct Transmissions<T> {
    unique: Vec<Vec<Complex<T>>>,
    order: Vec<usize>,
}

impl<T: Real> Transmissions<T> {
    /// For a beam of `energy` [eV].
    pub(super) fn new(potential: &Potential, energy: f64) -> Self {
        let fine = Fft2::new(potential.fine_grid().shape());
        let coarse = Fft2::new(potential.grid().shape());
        let sigma = interaction(energy);
        let unique = (0..potential.unique_slices())
            .into_par_iter()
            .map(|index| {
                let exact = potential.projected(index).mapv(|v| Complex::cis(sigma * v));
                let limited = limit_band(exact, potential.grid(), &fine, &coarse);
                limited.into_iter().map(narrow).collect()
            })
            .collect();
        Self {
            unique,
            order: potential.order().to_vec(),
        }
    }

    /// The transmission functions of the first `count` slices, entrance first.
    pub(super) fn slices(&self, count: usize) -> impl Iterator<Item = &[Complex<T>]> {
        self.order[..count]
            .iter()
            .map(|&index| self.unique[index].as_slice())
    }
}

/// A function on the fine grid, without what lies beyond the band limit of the wave's grid, on that grid.
fn limit_band(
    function: Array2<Complex<f64>>,
    grid: &Grid,
    fine: &Fft2<f64>,
    coarse: &Fft2<f64>,
) -> Vec<Complex<f64>> {
    let mut spectrum = function.into_raw_vec_and_offset().0;
    fine.forward(&mut spectrum, &mut fine.scratch());
    let (ky, kx) = (grid.ky(), grid.kx());
    // The same frequency on both grids: negative ones count from the end.
    let place =
        |i: usize, frequency: f64, extra: usize| i + if frequency < 0.0 { extra } else { 0 };
    let scale = (coarse.rows * coarse.cols) as f64 / (fine.rows * fine.cols) as f64;
    let mut limited = Vec::with_capacity(ky.len() * kx.len());
    for (row, &y) in ky.iter().enumerate() {
        let row = place(row, y, fine.rows - coarse.rows);
        for (col, &x) in kx.iter().enumerate() {
            let col = place(col, x, fine.cols - coarse.cols);
            let weight = grid.band_weight(x.hypot(y)) * scale;
            limited.push(spectrum[row * fine.cols + col] * weight);
        }
    }
    coarse.inverse(&mut limited, &mut coarse.scratch());
    limited
}

/// The Fresnel propagator over a slice of `thickness` [Å] for a specimen tilted by `tilt_mrad` = `[x, y]`:
/// P = exp(−iπλ dz k²) A(k) exp(−2πi dz (k_x tan t_x + k_y tan t_y)) (Kirkland, 2nd ed., ch. 6), as
/// `(kept column, ky)`.
pub(super) fn propagator(
    grid: &Grid,
    band: &Band,
    thickness: f64,
    wavelength: f64,
    tilt_mrad: [f64; 2],
) -> Vec<Complex<f64>> {
    let [slope_x, slope_y] = tilt_mrad.map(|tilt| (tilt * RAD_PER_MRAD).tan());
    band.spectrum(grid, |kx, ky| {
        let fresnel = -PI * wavelength * thickness * (kx * kx + ky * ky);
        let drift = -TAU * thickness * (kx * slope_x + ky * slope_y);
        Complex::from_polar(grid.band_weight(kx.hypot(ky)), fresnel + drift)
    })
}
