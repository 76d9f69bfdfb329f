//! What a person may change about the analysis of a map; all of it has defaults, and nothing of it touches the fit.

use serde::{Deserialize, Serialize};

use super::conversion::PolarizationSettings;
use super::domains::DomainSettings;
use super::lattice::LatticeSettings;
use super::reference::ReferenceSettings;
use super::significance::SignificanceSettings;
use super::walls::WallSettings;
use crate::error::{Error, Result};

/// Which way D points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Convention {
    /// D = r_B − mean of four r_A, as everywhere in this program.
    #[default]
    BMinusA,
    /// The opposite, D = mean of four r_A − r_B: along P in crystals such as BiFeO₃ and PbTiO₃, whose A and B move against oxygen with A farther.
    AMinusB,
}

impl Convention {
    /// What r_B − mean r_A is multiplied with.
    #[must_use]
    pub fn sign(self) -> f64 {
        match self {
            Self::BMinusA => 1.0,
            Self::AMinusB => -1.0,
        }
    }

    /// As a formula.
    #[must_use]
    pub fn formula(self) -> &'static str {
        match self {
            Self::BMinusA => "D = B − mean of 4 A",
            Self::AMinusB => "D = mean of 4 A − B",
        }
    }

    /// In a word, for tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::BMinusA => "b_minus_a",
            Self::AMinusB => "a_minus_b",
        }
    }
}

/// Settings of [`Analysis`](super::Analysis).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnalysisSettings {
    /// Which way D points, in every table, file and figure.
    pub convention: Convention,
    /// Which D differ from zero.
    pub significance: SignificanceSettings,
    /// The local lattice.
    pub lattice: LatticeSettings,
    /// Domains.
    pub domains: DomainSettings,
    /// Walls between them.
    pub walls: WallSettings,
    /// The region that is known to be non-polar, if there is one.
    pub reference: Option<ReferenceSettings>,
    /// P from D, if it is wanted.
    pub polarization: Option<PolarizationSettings>,
}

impl AnalysisSettings {
    /// Checks all ranges.
    ///
    /// # Errors
    /// The key, the value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        in_range(
            "significance",
            &[("level", self.significance.level, 1e-12, 0.5)],
        )?;
        self.domains.validate()?;
        self.walls.validate()?;
        if let Some(reference) = &self.reference {
            reference.validate()?;
        }
        if let Some(polarization) = &self.polarization {
            polarization.conversion()?;
        }
        Ok(())
    }
}

/// Checks that values of a section lie in their ranges: `(key, value, low, high)`.
pub(super) fn in_range(section: &str, ranges: &[(&str, f64, f64, f64)]) -> Result<()> {
    for (key, value, low, high) in ranges {
        if !(low..=high).contains(&value) {
            return Err(Error::Setting {
                place: format!("{section}.{key}"),
                got: value.to_string(),
                allowed: format!("{low} to {high}"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> AnalysisSettings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn wrong_values_name_their_key() {
        let message = |text: &str| settings(text).validate().unwrap_err().to_string();
        let starts = |text: &str, key: &str| assert!(message(text).starts_with(key), "{text}");
        starts("significance = { level = 2 }", "significance.level: got 2");
        starts("domains = { directions = 1 }", "domains.directions");
        starts("walls = { reach_cells = nan }", "walls.reach_cells");
        starts("reference = {}", "reference: got 0 regions");
        starts(
            "reference = { rectangle_angstrom = [0, 0, 0, 9] }",
            "reference.rectangle_angstrom",
        );
        starts(
            "reference = { a_between_angstrom = [3, 4], b_between_angstrom = [3, 4] }",
            "reference: got 2 regions",
        );
        assert!(toml::from_str::<AnalysisSettings>("levl = 1").is_err());
        settings("").validate().unwrap();
        settings("convention = \"a_minus_b\"\npolarization = {}")
            .validate()
            .unwrap();
    }
}
