//! Settings of a map: the fit, what is made of it, and which figures are drawn. A map needs none of them.

use serde::{Deserialize, Serialize};

use crate::column::ColumnSettings;
use crate::column::analysis::AnalysisSettings;
use crate::error::{Error, Result};

/// Settings of the commands `columns` and `positions`; every section and key may be left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MapSettings {
    /// Finding and fitting columns.
    pub columns: ColumnSettings,
    /// Significance, P, lattice, reference, domains, walls.
    pub map: AnalysisSettings,
    /// Errors of positions that come from a table.
    pub positions: PositionSettings,
    /// Figures.
    pub figures: FigureSettings,
}

/// What is known of positions that another program fitted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PositionSettings {
    /// Standard deviation of A positions per axis [Å]; not known if left out.
    pub sigma_a_angstrom: Option<f64>,
    /// Standard deviation of B positions per axis [Å]; not known if left out.
    pub sigma_b_angstrom: Option<f64>,
}

/// Figures of a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FigureSettings {
    /// |D| at the rim of the colour wheel [pm]; the 95th percentile, rounded up, if left out.
    pub radius_pm: Option<f64>,
    /// Which figures are drawn.
    pub draw: Vec<MapFigure>,
}

impl Default for FigureSettings {
    fn default() -> Self {
        Self {
            radius_pm: None,
            draw: MapFigure::ALL.to_vec(),
        }
    }
}

/// A figure of a map; its name is that of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapFigure {
    /// The columns on the image.
    Columns,
    /// D as arrows over the image, with the walls.
    Polarization,
    /// D as cells in the colours of the wheel.
    Wheel,
    /// The standard deviation of D.
    Uncertainty,
    /// D where it differs from zero.
    Significance,
    /// Histograms of D along x and y and of |D|.
    Histogram,
    /// Directions of D.
    Rose,
    /// Domains and walls.
    Domains,
    /// Lengths of a and b.
    Lattice,
    /// c/a.
    COverA,
    /// Rotation of the lattice.
    Rotation,
    /// The three components of strain.
    Strain,
}

impl MapFigure {
    /// All figures.
    pub const ALL: [Self; 12] = [
        Self::Columns,
        Self::Polarization,
        Self::Wheel,
        Self::Uncertainty,
        Self::Significance,
        Self::Histogram,
        Self::Rose,
        Self::Domains,
        Self::Lattice,
        Self::COverA,
        Self::Rotation,
        Self::Strain,
    ];

    /// Stem of its files.
    #[must_use]
    pub fn stem(self) -> &'static str {
        match self {
            Self::Columns => "columns",
            Self::Polarization => "polarization",
            Self::Wheel => "wheel",
            Self::Uncertainty => "uncertainty",
            Self::Significance => "significance",
            Self::Histogram => "histogram",
            Self::Rose => "rose",
            Self::Domains => "domains",
            Self::Lattice => "lattice",
            Self::COverA => "c_over_a",
            Self::Rotation => "rotation",
            Self::Strain => "strain",
        }
    }
}

impl MapSettings {
    /// Checks all ranges.
    ///
    /// # Errors
    /// The key, the value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        self.columns.validate()?;
        self.map.validate()?;
        let lengths = [
            ("figures.radius_pm", self.figures.radius_pm),
            (
                "positions.sigma_a_angstrom",
                self.positions.sigma_a_angstrom,
            ),
            (
                "positions.sigma_b_angstrom",
                self.positions.sigma_b_angstrom,
            ),
        ];
        for (key, value) in lengths {
            if let Some(value) = value.filter(|v| !(v.is_finite() && *v > 0.0)) {
                return Err(Error::Setting {
                    place: key.to_owned(),
                    got: value.to_string(),
                    allowed: "a positive number".to_owned(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Source;

    #[test]
    fn settings_can_be_set_one_by_one() {
        let overrides = [
            "map.convention=a_minus_b",
            "map.polarization={}",
            "map.reference.rectangle_fraction=[0, 0.8, 1, 1]",
            "figures.radius_pm=40",
            "figures.draw=[\"c_over_a\"]",
            "columns.brighter=B",
        ];
        let source = Source::from_text("settings", "")
            .with_overrides(&overrides.map(str::to_owned))
            .unwrap();
        let settings: MapSettings = source.parse().unwrap();
        settings.validate().unwrap();
        assert_eq!(settings.figures.draw, [MapFigure::COverA]);
        let again: MapSettings = toml::from_str(&toml::to_string(&settings).unwrap()).unwrap();
        assert_eq!(again, settings);
        let wrong: MapSettings = toml::from_str("figures = { radius_pm = -1 }").unwrap();
        assert!(
            wrong
                .validate()
                .unwrap_err()
                .to_string()
                .starts_with("figures.radius_pm")
        );
    }

    #[test]
    fn every_figure_has_its_own_files() {
        for (number, figure) in MapFigure::ALL.iter().enumerate() {
            let stems = MapFigure::ALL[..number].iter().map(|other| other.stem());
            assert!(stems.into_iter().all(|stem| stem != figure.stem()));
            let text = toml::to_string(&FigureSettings {
                radius_pm: None,
                draw: vec![*figure],
            });
            assert!(text.unwrap().contains(figure.stem()));
        }
    }
}
