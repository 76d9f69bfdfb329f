//! The electron probe: Ψ(k) = W(α) exp(−2πi k·r₀) exp(−i (2π/λ) χ(α, φ)), α = λ|k|, Σ|Ψ|² = 1
//! (Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed., ch. 5).

use std::f64::consts::TAU;

use num_complex::Complex;
use serde::{Deserialize, Serialize};

use super::aberrations::Aberrations;
use super::band::Band;
use super::grid::Grid;
use crate::error::{Error, Result};
use crate::neighbours::Point;
use crate::units::{RAD_PER_MRAD, wavelength};

/// The edge of the probe-forming aperture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aperture {
    /// 1 up to the semiangle, 0 beyond.
    Hard,
    /// Falls over one pixel of the spectrum, half at the semiangle: the probe changes smoothly with semiangle and cell.
    Soft,
}

/// The probe: the `[probe]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSettings {
    /// Beam energy [keV].
    pub energy_kev: f64,
    /// Convergence semiangle [mrad].
    pub semiangle_mrad: f64,
    /// Edge of the aperture.
    pub aperture: Aperture,
    /// `[probe.aberrations]`; a lens without any if left out.
    #[serde(default)]
    pub aberrations: Aberrations,
}

impl ProbeSettings {
    /// Beam energy [eV].
    #[must_use]
    pub fn energy(&self) -> f64 {
        self.energy_kev * 1e3
    }

    /// Wavelength [Å].
    #[must_use]
    pub fn wavelength(&self) -> f64 {
        wavelength(self.energy())
    }

    /// W(α): what the aperture lets through at frequency `k` = `[x, y]` [1/Å] on a grid.
    fn transmission(&self, grid: &Grid, [kx, ky]: [f64; 2]) -> f64 {
        let lambda = self.wavelength();
        let edge = self.semiangle_mrad * RAD_PER_MRAD;
        let k = kx.hypot(ky);
        if k == 0.0 {
            return 1.0;
        }
        match self.aperture {
            Aperture::Hard => f64::from(u8::from(lambda * k <= edge)),
            Aperture::Soft => {
                // The size of a pixel along the direction of k [rad].
                let [height, width] = grid.extent();
                let pixel = (kx / k * lambda / width).hypot(ky / k * lambda / height);
                ((edge - lambda * k) / pixel + 0.5).clamp(0.0, 1.0)
            }
        }
    }
}

/// The spectrum of a probe at the origin, ready to be moved.
pub(super) struct Probe {
    /// `(kept column, ky)`.
    spectrum: Vec<Complex<f64>>,
    band: Band,
}

/// The phases exp(−2πi k x) and exp(−2πi k y) that move a probe.
#[derive(Default)]
pub(super) struct Shift {
    x: Vec<Complex<f64>>,
    y: Vec<Complex<f64>>,
}

impl Probe {
    /// # Errors
    /// The aperture reaches beyond the band limit of the grid.
    pub(super) fn new(settings: &ProbeSettings, grid: &Grid) -> Result<Self> {
        let lambda = settings.wavelength();
        let limit = lambda * grid.band_limit() / RAD_PER_MRAD;
        if settings.semiangle_mrad >= limit {
            return Err(Error::unmeasurable(
                "probe",
                format!("a semiangle of {} mrad", settings.semiangle_mrad),
                format!("less than {limit:.1} mrad, the band limit of this grid: use more pixels"),
            ));
        }
        let band = Band::new(grid);
        let mut spectrum = band.spectrum(|kx, ky| {
            let chi = settings
                .aberrations
                .chi(lambda * kx.hypot(ky), ky.atan2(kx));
            Complex::from_polar(settings.transmission(grid, [kx, ky]), -TAU / lambda * chi)
        });
        let norm = spectrum.iter().map(Complex::norm_sqr).sum::<f64>().sqrt();
        for value in &mut spectrum {
            *value /= norm;
        }
        Ok(Self { spectrum, band })
    }

    /// Fills `shift` with the phases that move the probe to `position` [Å].
    pub(super) fn place(&self, [x, y]: Point, shift: &mut Shift) {
        let phases = |frequencies: &[f64], distance: f64, out: &mut Vec<Complex<f64>>| {
            out.clear();
            let phase = |k: &f64| Complex::cis(-TAU * k * distance);
            out.extend(frequencies.iter().map(phase));
        };
        phases(self.band.kx(), x, &mut shift.x);
        phases(self.band.ky(), y, &mut shift.y);
    }

    /// What the aperture lets through: frequency `[x, y]` [1/Å] and Ψ(k) of every beam.
    pub(super) fn beams(&self) -> impl Iterator<Item = ([f64; 2], Complex<f64>)> {
        let (kx, ky) = (self.band.kx(), self.band.ky());
        let rows = ky.len();
        let open = |(_, value): &(usize, &Complex<f64>)| value.norm_sqr() > 0.0;
        let beam = move |(n, value): (usize, &Complex<f64>)| ([kx[n / rows], ky[n % rows]], *value);
        self.spectrum.iter().enumerate().filter(open).map(beam)
    }

    /// Kept column number `kept` of the moved probe's spectrum, by ky.
    pub(super) fn column<'a>(
        &'a self,
        kept: usize,
        shift: &'a Shift,
    ) -> impl Iterator<Item = Complex<f64>> + 'a {
        let rows = self.band.ky().len();
        let column = &self.spectrum[kept * rows..(kept + 1) * rows];
        let across = shift.x[kept];
        column.iter().zip(&shift.y).map(move |(value, along)| {
            if value.re == 0.0 && value.im == 0.0 {
                *value
            } else {
                value * across * along
            }
        })
    }
}
