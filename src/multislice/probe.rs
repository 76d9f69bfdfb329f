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
    /// `[probe.focal_spread]`; every electron has the same focus if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub focal_spread: Option<FocalSpread>,
}

/// A normal distribution of the defocus (chromatic aberration, jitter of the supplies); intensities are averaged over it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FocalSpread {
    /// Standard deviation [Å].
    pub rms_angstrom: f64,
    /// Number of defocus values of the Gauss–Hermite quadrature, odd: n of them integrate a polynomial of degree 2n − 1 exactly.
    #[serde(default = "seven")]
    pub points: usize,
}

fn seven() -> usize {
    7
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

    /// The probes whose intensities are averaged over the focal spread, with their weights, from one side of the focus to the
    /// other; only this one without a spread.
    #[must_use]
    pub fn focal_series(&self) -> Vec<(f64, Self)> {
        let Some(spread) = &self.focal_spread else {
            return vec![(1.0, self.clone())];
        };
        let at = |(node, weight): (f64, f64)| {
            let probe = Self {
                aberrations: self.aberrations.refocused(node * spread.rms_angstrom),
                focal_spread: None,
                ..self.clone()
            };
            (weight, probe)
        };
        gauss_hermite(spread.points).into_iter().map(at).collect()
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

/// Nodes and weights of the quadrature of n points for the standard normal distribution, nodes rising: the zeros of the
/// Hermite polynomial He_n by bisection, weights n!/(n He_{n−1})² (Abramowitz & Stegun 25.4.46).
fn gauss_hermite(points: usize) -> Vec<(f64, f64)> {
    let n = points as f64;
    // He_n and He_{n−1}, both over √(n!) of their degree: these stay small.
    let polynomials = |x: f64| {
        let (mut below, mut value) = (0.0, 1.0);
        for degree in 0..points {
            let d = degree as f64;
            (below, value) = (value, (x * value - d.sqrt() * below) / (d + 1.0).sqrt());
        }
        (value, below)
    };
    let mut found: Vec<f64> = Vec::new();
    // Between ±2√n, where all zeros lie, a step below their least distance: each change of sign holds one.
    let reach = 2.0 * n.sqrt() + 1.0;
    let steps = 40 * points;
    let place = |i: usize| reach * (2.0 * i as f64 / steps as f64 - 1.0) + 1e-7;
    for i in 0..steps {
        let (mut low, mut high) = (place(i), place(i + 1));
        if (polynomials(low).0 < 0.0) == (polynomials(high).0 < 0.0) {
            continue;
        }
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if (polynomials(low).0 < 0.0) == (polynomials(middle).0 < 0.0) {
                low = middle;
            } else {
                high = middle;
            }
        }
        found.push(0.5 * (low + high));
    }
    let weight = |x: f64| 1.0 / (n * polynomials(x).1.powi(2));
    found.into_iter().map(|x| (x, weight(x))).collect()
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
            let open = settings.transmission(grid, [kx, ky]);
            if open == 0.0 {
                return Complex::default();
            }
            let chi = settings
                .aberrations
                .chi(lambda * kx.hypot(ky), ky.atan2(kx));
            Complex::from_polar(open, -TAU / lambda * chi)
        });
        let norm = spectrum.iter().map(Complex::norm_sqr).sum::<f64>().sqrt();
        for value in &mut spectrum {
            *value /= norm;
        }
        Ok(Self { spectrum, band })
    }

    /// A probe with the given spectrum, `(kept column, ky)` on `grid`.
    pub(super) fn from_spectrum(spectrum: Vec<Complex<f64>>, grid: &Grid) -> Self {
        let band = Band::new(grid);
        Self { spectrum, band }
    }

    /// The spectrum at the origin, `(kept column, ky)`.
    pub(super) fn spectrum(&self) -> &[Complex<f64>] {
        &self.spectrum
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

    /// Shows what is not zero of the kept column number `kept` of the moved probe's spectrum, as `show(index of ky, value)`.
    pub(super) fn column(
        &self,
        kept: usize,
        shift: &Shift,
        mut show: impl FnMut(usize, Complex<f64>),
    ) {
        let rows = self.band.ky().len();
        let column = &self.spectrum[kept * rows..(kept + 1) * rows];
        let across = shift.x[kept];
        for (index, (value, along)) in column.iter().zip(&shift.y).enumerate() {
            if value.re != 0.0 || value.im != 0.0 {
                show(index, value * across * along);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quadrature_has_the_moments_of_the_normal_distribution() {
        for points in [1, 3, 7, 15] {
            let nodes = gauss_hermite(points);
            assert_eq!(nodes.len(), points);
            let moment = |power: i32| nodes.iter().map(|(x, w)| w * x.powi(power)).sum::<f64>();
            assert!((moment(0) - 1.0).abs() < 1e-12, "{points}");
            assert!(moment(1).abs() < 1e-12);
            if points > 1 {
                assert!((moment(2) - 1.0).abs() < 1e-12);
            }
            if points > 2 {
                assert!((moment(4) - 3.0).abs() < 1e-11);
            }
        }
    }
}
