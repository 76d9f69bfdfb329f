//! Aberrations of the probe-forming lens to fifth order, in Krivanek's notation.
//!
//! χ(α, φ) = Σ_{n,m} α^{n+1}/(n+1) C_{n,m} cos(m (φ − φ_{n,m})), with n + m odd and m ≤ n + 1
//! (Krivanek, Dellby & Lupini, Ultramicroscopy **78**, 1 (1999); polar form as in Kirkland, *Advanced Computing in Electron
//! Microscopy*, 2nd ed., ch. 2). φ runs from +x towards +y. C10 = −defocus, C30 is the spherical aberration.

use serde::{Deserialize, Serialize};

/// Aberration coefficients [Å] and their azimuths [rad]; what is not given is zero, the lens perfect in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aberrations {
    /// Underfocus, −C10 [Å]: a positive one puts the focus that far below the entrance face. Not together with C10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defocus_angstrom: Option<f64>,
    /// C10 [Å].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c10_angstrom: Option<f64>,
    /// Twofold astigmatism C12 [Å].
    pub c12_angstrom: f64,
    /// Azimuth of C12 [rad].
    pub phi12_rad: f64,
    /// Axial coma C21 [Å].
    pub c21_angstrom: f64,
    /// Azimuth of C21 [rad].
    pub phi21_rad: f64,
    /// Threefold astigmatism C23 [Å].
    pub c23_angstrom: f64,
    /// Azimuth of C23 [rad].
    pub phi23_rad: f64,
    /// Spherical aberration C30 [Å].
    pub c30_angstrom: f64,
    /// Star aberration C32 [Å].
    pub c32_angstrom: f64,
    /// Azimuth of C32 [rad].
    pub phi32_rad: f64,
    /// Fourfold astigmatism C34 [Å].
    pub c34_angstrom: f64,
    /// Azimuth of C34 [rad].
    pub phi34_rad: f64,
    /// Fourth-order coma C41 [Å].
    pub c41_angstrom: f64,
    /// Azimuth of C41 [rad].
    pub phi41_rad: f64,
    /// Three-lobe aberration C43 [Å].
    pub c43_angstrom: f64,
    /// Azimuth of C43 [rad].
    pub phi43_rad: f64,
    /// Fivefold astigmatism C45 [Å].
    pub c45_angstrom: f64,
    /// Azimuth of C45 [rad].
    pub phi45_rad: f64,
    /// Fifth-order spherical aberration C50 [Å].
    pub c50_angstrom: f64,
    /// Fifth-order twofold aberration C52 [Å].
    pub c52_angstrom: f64,
    /// Azimuth of C52 [rad].
    pub phi52_rad: f64,
    /// Rosette aberration C54 [Å].
    pub c54_angstrom: f64,
    /// Azimuth of C54 [rad].
    pub phi54_rad: f64,
    /// Sixfold astigmatism C56 [Å].
    pub c56_angstrom: f64,
    /// Azimuth of C56 [rad].
    pub phi56_rad: f64,
}

/// One aberration: order n, symmetry m, coefficient [Å], azimuth [rad].
type Term = (i32, f64, f64, f64);

impl Aberrations {
    /// The same with C10 changed by `change` [Å].
    #[must_use]
    pub fn refocused(&self, change: f64) -> Self {
        Self {
            c10_angstrom: Some(self.c10() + change),
            defocus_angstrom: None,
            ..self.clone()
        }
    }

    /// C10 [Å], from whichever of C10 and defocus is given.
    #[must_use]
    pub fn c10(&self) -> f64 {
        self.c10_angstrom
            .or(self.defocus_angstrom.map(|defocus| -defocus))
            .unwrap_or(0.0)
    }

    /// χ [Å] at the angle `alpha` [rad] and azimuth `phi` [rad].
    #[must_use]
    pub fn chi(&self, alpha: f64, phi: f64) -> f64 {
        self.terms()
            .map(|(n, m, c, azimuth)| {
                alpha.powi(n + 1) / f64::from(n + 1) * c * (m * (phi - azimuth)).cos()
            })
            .iter()
            .sum()
    }

    /// How far from the axis a ray that leaves the lens at (`alpha`, `phi`) [rad] passes at `depth` [Å] below the entrance
    /// face: |∇χ + α depth| [Å].
    #[must_use]
    pub fn ray_distance(&self, alpha: f64, phi: f64, depth: f64) -> f64 {
        let (mut radial, mut azimuthal) = (alpha * depth, 0.0);
        for (n, m, c, azimuth) in self.terms() {
            let (sin, cos) = (m * (phi - azimuth)).sin_cos();
            radial += alpha.powi(n) * c * cos;
            azimuthal -= alpha.powi(n) * c * m / f64::from(n + 1) * sin;
        }
        radial.hypot(azimuthal)
    }

    /// Every value that a person can give, with its key, for validation.
    pub(super) fn values(&self) -> impl Iterator<Item = (String, f64)> {
        let given = [
            ("c10_angstrom", self.c10_angstrom),
            ("defocus_angstrom", self.defocus_angstrom),
        ];
        let terms = self.terms();
        let named = terms.into_iter().flat_map(|(n, m, c, azimuth)| {
            [
                (format!("c{n}{m}_angstrom"), c),
                (format!("phi{n}{m}_rad"), azimuth),
            ]
        });
        given
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| (key.to_owned(), value)))
            .chain(named)
    }

    fn terms(&self) -> [Term; 14] {
        [
            (1, 0.0, self.c10(), 0.0),
            (1, 2.0, self.c12_angstrom, self.phi12_rad),
            (2, 1.0, self.c21_angstrom, self.phi21_rad),
            (2, 3.0, self.c23_angstrom, self.phi23_rad),
            (3, 0.0, self.c30_angstrom, 0.0),
            (3, 2.0, self.c32_angstrom, self.phi32_rad),
            (3, 4.0, self.c34_angstrom, self.phi34_rad),
            (4, 1.0, self.c41_angstrom, self.phi41_rad),
            (4, 3.0, self.c43_angstrom, self.phi43_rad),
            (4, 5.0, self.c45_angstrom, self.phi45_rad),
            (5, 0.0, self.c50_angstrom, 0.0),
            (5, 2.0, self.c52_angstrom, self.phi52_rad),
            (5, 4.0, self.c54_angstrom, self.phi54_rad),
            (5, 6.0, self.c56_angstrom, self.phi56_rad),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Aberrations {
        Aberrations {
            defocus_angstrom: Some(30.0),
            c12_angstrom: 15.0,
            phi12_rad: 0.4,
            c23_angstrom: 700.0,
            phi23_rad: -0.2,
            c34_angstrom: 9e3,
            c45_angstrom: 2e5,
            phi45_rad: 0.9,
            c56_angstrom: 4e6,
            ..Aberrations::default()
        }
    }

    /// The transverse ray aberration is the gradient of χ; central differences with step 1e-6 err by 1e-7 of it.
    #[test]
    fn a_ray_is_displaced_by_the_gradient_of_chi() {
        let (lens, step) = (some(), 1e-6);
        for (alpha, phi) in [(0.01, 0.3), (0.03, 2.0), (0.025, -1.2)] {
            let at = |x: f64, y: f64| lens.chi(x.hypot(y), y.atan2(x));
            let (x, y) = (alpha * f64::cos(phi), alpha * f64::sin(phi));
            let dx = (at(x + step, y) - at(x - step, y)) / (2.0 * step);
            let dy = (at(x, y + step) - at(x, y - step)) / (2.0 * step);
            let expected = (dx + 50.0 * x).hypot(dy + 50.0 * y);
            let distance = lens.ray_distance(alpha, phi, 50.0);
            assert!(
                (distance - expected).abs() < 1e-6 * expected,
                "{distance} {expected}"
            );
        }
    }

    #[test]
    fn an_underfocused_beam_is_narrowest_at_its_defocus() {
        let lens = Aberrations {
            defocus_angstrom: Some(80.0),
            ..Aberrations::default()
        };
        assert!(lens.ray_distance(0.03, 0.0, 80.0) < 1e-12);
        assert!((lens.ray_distance(0.03, 0.0, 0.0) - 2.4).abs() < 1e-12);
        assert!((lens.c10() + 80.0).abs() < 1e-12);
    }
}
