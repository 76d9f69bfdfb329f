//! The section `[thermal_diffuse]` of a settings file, and the angles of a detector for diffuse scattering.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use crate::crystal::element;
use crate::error::{Error, Result};
use crate::settings::Source;

/// The `[thermal_diffuse]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThermalSettings {
    /// Root mean square displacement along one axis, by element [Å].
    pub rms_angstrom: BTreeMap<String, f64>,
    /// Whether a detector also counts what is scattered elastically into it. A real one does; the diffuse signal alone is
    /// smoother in thickness and tilt, and is what the thermal-diffuse literature shows.
    pub count_elastic: bool,
}

impl ThermalSettings {
    /// Checks the numbers; `source` stands at this section, `numbers` are the atomic numbers of the specimen.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source, numbers: &[u8]) -> Result<()> {
        for (symbol, &rms) in &self.rms_angstrom {
            let key = format!("rms_angstrom.{symbol}");
            if element::number(symbol).is_none() {
                return Err(source.wrong(&key, format!("`{symbol}`"), "a chemical symbol"));
            }
            source.in_range(&key, rms, 0.0..=0.5, "Å", "u, not B or U; about 0.07")?;
        }
        let given = self.rms_by_number();
        match numbers.iter().find(|number| !given.contains_key(number)) {
            Some(&number) => Err(source.wrong(
                &format!("rms_angstrom.{}", element::symbol(number)),
                "nothing",
                "a number, since the specimen holds it",
            )),
            None => Ok(()),
        }
    }

    /// The displacements by atomic number [Å].
    #[must_use]
    pub fn rms_by_number(&self) -> BTreeMap<u8, f64> {
        self.rms_angstrom
            .iter()
            .filter_map(|(symbol, &rms)| Some((element::number(symbol)?, rms)))
            .collect()
    }
}

/// The angles that a detector of diffuse scattering covers: an annulus, or a sector of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiffuseDetector {
    /// Inner angle [mrad].
    pub inner_mrad: f64,
    /// Outer angle [mrad].
    pub outer_mrad: f64,
    /// First and last azimuth [rad], from +x towards +y; the whole annulus if there is none.
    pub sector: Option<(f64, f64)>,
}

impl DiffuseDetector {
    /// # Errors
    /// Angles or azimuths in the wrong order, or more than a turn.
    pub(super) fn check(&self) -> Result<()> {
        let (inner, outer) = (self.inner_mrad, self.outer_mrad);
        let (start, end) = self.sector.unwrap_or((0.0, TAU));
        let rising = 0.0 <= inner && inner < outer && outer.is_finite();
        // A turn written as a sum of parts may exceed one by rounding.
        if rising && start < end && end - start <= TAU * (1.0 + 1e-9) {
            return Ok(());
        }
        Err(Error::unmeasurable(
            "detector of thermal diffuse scattering",
            format!("{inner} to {outer} mrad, azimuths {start} to {end} rad"),
            "0 <= inner < outer, and rising azimuths within one turn",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_strict_and_name_what_is_wrong() {
        let outcome = |text: &str| {
            let source = Source::from_text("sim.toml", text);
            let settings: ThermalSettings = source.parse()?;
            settings.validate(&source.under("thermal_diffuse"), &[8, 83, 8])?;
            Ok::<_, Error>(settings)
        };
        let good = outcome("rms_angstrom = { Bi = 0.0735, O = 0.09 }\ncount_elastic = true\n");
        let amplitudes = good.unwrap().rms_by_number();
        assert_eq!(amplitudes, BTreeMap::from([(8, 0.09), (83, 0.0735)]));
        for (text, expected) in [
            (
                "rms_angstrom = { Bi = 0.0735, O = 0.09 }\n",
                "missing field `count_elastic`",
            ),
            (
                "rms_angstrom = { Bi = 0.0735 }\ncount_elastic = true\n",
                "thermal_diffuse.rms_angstrom.O: got nothing",
            ),
            (
                "rms_angstrom = { Bi = 7.35, O = 0.09 }\ncount_elastic = true\n",
                "0 to 0.5 Å",
            ),
            (
                "rms_angstrom = { Bo = 0.07 }\ncount_elastic = true\n",
                "a chemical symbol",
            ),
        ] {
            let message = outcome(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_detector_turned_inside_out_is_refused() {
        let make = |inner_mrad, outer_mrad, sector| {
            DiffuseDetector {
                inner_mrad,
                outer_mrad,
                sector,
            }
            .check()
        };
        assert!(make(80.0, 200.0, None).is_ok());
        assert!(make(0.0, 200.0, Some((-0.5, 0.5))).is_ok());
        assert!(make(200.0, 80.0, None).is_err());
        assert!(make(f64::NAN, 80.0, None).is_err());
        assert!(make(0.0, 80.0, Some((0.0, 7.0))).is_err());
        assert!(make(0.0, 80.0, Some((1.0, 0.0))).is_err());
    }
}
