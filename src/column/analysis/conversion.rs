//! From D to the polarization in the image plane, P = κ D.
//!
//! An image along the beam shows A and B, not how far the oxygen moved, so κ carries an assumption: that oxygen moves with B
//! in the proportion of a known crystal. Either κ is given, or the Born effective charges Z* and the proportion ρ = u_O/u_B, both displacements relative to A:
//!
//! P = (e/Ω) Σ Z* u = (e/Ω) (Z*_B + 3 ρ Z*_O) D   (R. Resta and D. Vanderbilt, in *Physics of Ferroelectrics*, Topics Appl. Phys. 105 (2007), eq. 38),
//!
//! Ω the volume of the pseudocubic cell. The default κ is that of BiFeO₃: |P| = 96 µC/cm² along [111], the middle of the 90 to
//! 100 µC/cm² that J. B. Neaton et al., Phys. Rev. B 71, 014113 (2005) calculate, which is 55.5 µC/cm² along each pseudocubic
//! axis, over the −23.62 pm per axis of the structure of A. Palewicz et al., Acta Cryst. B 63, 537 (2007). The spread of the
//! published P, ±5 %, is not part of the standard deviations of P that are reported.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::units::PM_PER_ANGSTROM;

/// κ of BiFeO₃ [µC/cm² per pm].
const BIFEO3: f64 = -2.35;
/// Where it comes from.
const BIFEO3_SOURCE: &str = "BiFeO3: P = 96 uC/cm2 along [111] (90 to 100: Neaton et al., Phys. Rev. B 71, 014113 (2005)) over \
    D = -23.62 pm per axis (Palewicz et al., Acta Cryst. B 63, 537 (2007))";
/// e/Å² in µC/cm² (CODATA 2018, exact).
const CHARGE_PER_AREA: f64 = 1_602.176_634;

/// How D becomes P; the section is there when P is wanted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolarizationSettings {
    /// κ in P = κ (r_B − mean r_A) [µC/cm² per pm]; −2.35, that of BiFeO₃, if neither it nor `born` is given.
    pub kappa_uc_per_cm2_per_pm: Option<f64>,
    /// κ from Born effective charges.
    pub born: Option<BornCharges>,
    /// Where the numbers come from; written into every file.
    pub source: Option<String>,
}

/// Born effective charges, and what is known of the oxygen that the image does not show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BornCharges {
    /// Of B [e].
    pub b: f64,
    /// Of oxygen, the mean over the three [e].
    pub oxygen: f64,
    /// Displacement of oxygen over that of B, both relative to A.
    pub oxygen_over_b: f64,
    /// Volume of the pseudocubic cell [Å³].
    pub volume_angstrom3: f64,
}

/// The conversion that was used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conversion {
    /// κ in P = κ (r_B − mean r_A) [µC/cm² per pm].
    pub kappa_uc_per_cm2_per_pm: f64,
    /// Where it comes from.
    pub source: String,
}

impl PolarizationSettings {
    /// The conversion that is asked for.
    ///
    /// # Errors
    /// κ and Born charges are both given, or a number is not one.
    pub fn conversion(&self) -> Result<Conversion> {
        let wrong = |key: &str, got: String, allowed: &str| Error::Setting {
            place: format!("polarization.{key}"),
            got,
            allowed: allowed.to_owned(),
        };
        let kappa = match (self.kappa_uc_per_cm2_per_pm, &self.born) {
            (Some(_), Some(_)) => {
                let allowed = "either this or the section [polarization.born]";
                return Err(wrong("kappa_uc_per_cm2_per_pm", "both".to_owned(), allowed));
            }
            (Some(kappa), None) => kappa,
            (None, Some(born)) => born.kappa(),
            (None, None) => BIFEO3,
        };
        if !kappa.is_finite() || kappa == 0.0 {
            let allowed = "numbers that make it finite and not zero; a positive cell volume";
            return Err(wrong("kappa_uc_per_cm2_per_pm", kappa.to_string(), allowed));
        }
        let is_default = self.kappa_uc_per_cm2_per_pm.is_none() && self.born.is_none();
        let source = match (&self.source, &self.born) {
            (Some(source), _) => source.clone(),
            (None, _) if is_default => BIFEO3_SOURCE.to_owned(),
            (None, Some(born)) => born.told(),
            (None, None) => "given in the settings without a source".to_owned(),
        };
        Ok(Conversion {
            kappa_uc_per_cm2_per_pm: kappa,
            source,
        })
    }
}

impl BornCharges {
    fn kappa(&self) -> f64 {
        let charge = self.b + 3.0 * self.oxygen_over_b * self.oxygen;
        CHARGE_PER_AREA * charge / self.volume_angstrom3 / PM_PER_ANGSTROM
    }

    fn told(&self) -> String {
        format!(
            "Born effective charges Z*_B = {} e, Z*_O = {} e, oxygen moves {} times as far as B, cell of {} A3; given in the settings",
            self.b, self.oxygen, self.oxygen_over_b, self.volume_angstrom3
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_that_of_bismuth_ferrite() {
        // D = −23.62 pm per axis must give 90 to 100 µC/cm² along [111], against D.
        let kappa = PolarizationSettings::default()
            .conversion()
            .unwrap()
            .kappa_uc_per_cm2_per_pm;
        let along = kappa * -23.62 * 3.0_f64.sqrt();
        assert!((95.0..97.0).contains(&along), "{along}");
    }

    /// With the charges that A and B would have alone: Z*_A = −Z*_B − 3 Z*_O, so a frame at rest with oxygen
    /// (ρ = u_O/u_B seen from A) has P = (e/Ω)(Z_A u_A + Z_B u_B).
    #[test]
    fn born_charges_do_not_depend_on_what_stands_still() {
        let (u_a, u_b, z_a, z_b, volume) = (0.2, -0.1, 4.3, 3.5, 62.0);
        let z_o = -(z_a + z_b) / 3.0;
        let expected = CHARGE_PER_AREA * (z_a * u_a + z_b * u_b) / volume;
        let settings = PolarizationSettings {
            born: Some(BornCharges {
                b: z_b,
                oxygen: z_o,
                oxygen_over_b: -u_a / (u_b - u_a),
                volume_angstrom3: volume,
            }),
            ..PolarizationSettings::default()
        };
        let conversion = settings.conversion().unwrap();
        let found = conversion.kappa_uc_per_cm2_per_pm * (u_b - u_a) * PM_PER_ANGSTROM;
        assert!(
            (found - expected).abs() < 1e-9 * expected.abs(),
            "{found} {expected}"
        );
        assert!(conversion.source.contains("Born"));
    }

    #[test]
    fn contradictions_are_refused() {
        let both: PolarizationSettings = toml::from_str(
            "kappa_uc_per_cm2_per_pm = 1.0\nborn = { b = 1, oxygen = -1, oxygen_over_b = 1, volume_angstrom3 = 60 }",
        )
        .unwrap();
        assert!(both.conversion().is_err());
        let none: PolarizationSettings = toml::from_str(
            "born = { b = 1, oxygen = -1, oxygen_over_b = 1, volume_angstrom3 = 0 }",
        )
        .unwrap();
        assert!(none.conversion().is_err());
    }
}
