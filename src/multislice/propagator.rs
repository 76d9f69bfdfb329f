//! The flight from one slice to the next.

use std::f64::consts::{PI, TAU};

use num_complex::Complex;

use super::band::Band;
use crate::units::RAD_PER_MRAD;

/// The Fresnel propagator over a slice of `thickness` [Å], P = exp(−iπλ dz k²) A(k), as `(kept column, ky)` (Kirkland, *Advanced
/// Computing in Electron Microscopy*, 2nd ed., ch. 6).
pub(super) fn propagator(band: &Band, thickness: f64, wavelength: f64) -> Vec<Complex<f64>> {
    band.spectrum(|kx, ky| {
        let fresnel = -PI * wavelength * thickness * (kx * kx + ky * ky);
        Complex::from_polar(band.weight(kx.hypot(ky)), fresnel)
    })
}

/// What a mistilt multiplies the propagator by: exp(−2πi dz k_x tan t_x) over the kept columns and exp(−2πi dz k_y tan t_y)
/// over the rows.
#[derive(Default)]
pub(super) struct Drift {
    x: Vec<Complex<f64>>,
    y: Vec<Complex<f64>>,
}

impl Drift {
    /// Sets the phases for a specimen tilted by `tilt_mrad` = `[x, y]`; memory is used again.
    pub(super) fn set(&mut self, band: &Band, thickness: f64, tilt_mrad: [f64; 2]) {
        let [slope_x, slope_y] = tilt_mrad.map(|tilt| (tilt * RAD_PER_MRAD).tan());
        let phases = |out: &mut Vec<Complex<f64>>, frequencies: &[f64], slope: f64| {
            out.clear();
            let phase = |k: &f64| Complex::cis(-TAU * thickness * k * slope);
            out.extend(frequencies.iter().map(phase));
        };
        phases(&mut self.x, band.kx(), slope_x);
        phases(&mut self.y, band.ky(), slope_y);
    }

    /// The product of a propagator, `(kept column, ky)`, and the phases.
    pub(super) fn apply<'a>(
        &'a self,
        straight: &'a [Complex<f64>],
    ) -> impl Iterator<Item = Complex<f64>> + 'a {
        let columns = straight.chunks_exact(self.y.len()).zip(&self.x);
        columns.flat_map(|(column, across)| {
            let factors = column.iter().zip(&self.y);
            factors.map(move |(straight, along)| straight * across * along)
        })
    }
}
