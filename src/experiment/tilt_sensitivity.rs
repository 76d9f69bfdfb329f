//! How a mistilt of the crystal fakes a polarization: apparent shifts of A and B columns against tilt, azimuth, thickness,
//! source size and the window of the fit.
//!
//! One period of each specimen is scanned; how its images are measured is told in `tilt_measurement`. What is reported is
//! measured minus true, so that a real displacement does not count, in the frame of the entrance face: a probe is where it
//! enters the crystal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::template::SimulationTemplate;
use crate::column::ColumnSettings;
use crate::crystal::Specimen;
use crate::error::Result;
use crate::settings::Source;
use crate::simulation::SimulationSettings;

/// The `[tilt_sensitivity]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TiltSensitivity {
    /// Sizes of the tilt [mrad].
    pub magnitudes_mrad: Vec<f64>,
    /// Directions of the tilt, from x towards y [degrees].
    pub azimuths_degrees: Vec<f64>,
    /// Source sizes, full width at half maximum [Å].
    pub source_fwhm_angstrom: Vec<f64>,
    /// How columns are measured, `[fit.window]` or `[fit.map]`.
    pub fit: Option<Fit>,
    /// Of a file without `fit`: the same as `fit.map.repeats`.
    pub repeats: Option<[usize; 2]>,
    /// Of a file without `fit`: the same as `fit.map.columns`.
    pub columns: Option<ColumnSettings>,
    /// What the figures show of it; left out, the middle of each list.
    pub shown: Option<ShownSettings>,
    /// Numbers known from elsewhere, which the report sets beside its own.
    #[serde(default)]
    pub expected: Vec<ExpectedShifts>,
    /// The specimens, by name.
    pub specimens: BTreeMap<String, Specimen>,
}

/// How columns are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Fit {
    /// Each column by itself, in windows of several radii.
    Window(WindowFits),
    /// All columns together, by the column map of the repeated image.
    Map(MapFit),
}

/// The `[fit.window]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowFits {
    /// Radii of the window [Å].
    pub radii_angstrom: Vec<f64>,
    /// How often the window is moved to the centre found, and the fit repeated.
    #[serde(default = "once")]
    pub recentre: usize,
}

fn once() -> usize {
    1
}

/// The `[fit.map]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapFit {
    /// How often the scanned period is repeated for the map, `[x, y]`.
    pub repeats: [usize; 2],
    /// How columns are fitted.
    #[serde(default)]
    pub columns: ColumnSettings,
}

/// The `[shown]` section: the cut through the table that figures show, each a value of its list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownSettings {
    /// Size of the tilt [mrad].
    pub magnitude_mrad: f64,
    /// Thicknesses; the nearest simulated ones are shown [nm].
    pub thicknesses_nm: Vec<f64>,
    /// Source size [Å].
    pub source_fwhm_angstrom: f64,
    /// Radius of the window [Å]; of `[fit.window]` only.
    pub radius_angstrom: Option<f64>,
}

/// Apparent D along the tilt at several thicknesses, known from elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedShifts {
    /// Where the numbers come from.
    pub reference: String,
    /// Name of the specimen.
    pub specimen: String,
    /// Size of the tilt [mrad].
    pub magnitude_mrad: f64,
    /// Direction of the tilt [degrees].
    pub azimuth_degrees: f64,
    /// Source size [Å].
    pub source_fwhm_angstrom: f64,
    /// Radius of the window [Å].
    pub radius_angstrom: Option<f64>,
    /// Thicknesses [nm].
    pub thicknesses_nm: Vec<f64>,
    /// D along the tilt, less its value at zero tilt, for each thickness [pm].
    pub d_along_tilt_pm: Vec<f64>,
}

/// A tilt as size and direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tilt {
    /// Size [mrad].
    pub magnitude: f64,
    /// Direction [degrees].
    pub azimuth: f64,
}

impl Tilt {
    /// `[tx, ty]` [mrad].
    #[must_use]
    pub fn vector(self) -> [f64; 2] {
        let angle = self.azimuth.to_radians();
        [self.magnitude * angle.cos(), self.magnitude * angle.sin()]
    }

    /// Component of a vector along the tilt.
    #[must_use]
    pub fn along(self, vector: [f64; 2]) -> f64 {
        let angle = self.azimuth.to_radians();
        vector[0] * angle.cos() + vector[1] * angle.sin()
    }

    /// Component of a vector across the tilt, positive at 90° from x towards y.
    #[must_use]
    pub fn across(self, vector: [f64; 2]) -> f64 {
        let angle = self.azimuth.to_radians();
        vector[1] * angle.cos() - vector[0] * angle.sin()
    }
}

impl TiltSensitivity {
    /// Checks the section; `source` stands at it.
    ///
    /// # Errors
    /// A number out of range, an empty list, a wrong specimen.
    pub fn validate(&self, source: &Source) -> Result<()> {
        for (key, list, most, unit) in [
            ("magnitudes_mrad", &self.magnitudes_mrad, 100.0, "mrad"),
            ("azimuths_degrees", &self.azimuths_degrees, 360.0, "degrees"),
            ("source_fwhm_angstrom", &self.source_fwhm_angstrom, 5.0, "Å"),
        ] {
            if list.is_empty() {
                return Err(source.wrong(key, "an empty list", "at least one number"));
            }
            list.iter()
                .try_for_each(|&value| source.in_range(key, value, 0.0..=most, unit, ""))?;
        }
        self.validate_fit(source)?;
        self.validate_shown(source)?;
        self.validate_expected(source)?;
        if self.specimens.is_empty() {
            return Err(source.wrong("specimens", "none", "at least one section specimens.NAME"));
        }
        let mut specimens = self.specimens.iter();
        specimens.try_for_each(|(name, specimen)| {
            specimen.validate(&source.under(&format!("specimens.{name}")))
        })
    }

    fn validate_fit(&self, source: &Source) -> Result<()> {
        if self.fit.is_some() == (self.repeats.is_some() || self.columns.is_some()) {
            let got = if self.fit.is_some() {
                "a fit beside repeats or columns"
            } else {
                "no fit"
            };
            return Err(source.wrong("fit", got, "one of the sections fit.window, fit.map"));
        }
        match self.fit() {
            Fit::Window(fits) => {
                let (radii, times) = ("fit.window.radii_angstrom", "fit.window.recentre");
                if fits.radii_angstrom.is_empty() {
                    return Err(source.wrong(radii, "an empty list", "at least one radius"));
                }
                source.in_range(times, fits.recentre as f64, 0.0..=100.0, "times", "")?;
                fits.radii_angstrom.iter().try_for_each(|&radius| {
                    source.in_range(radii, radius, 0.1..=5.0, "Å", "Å, not pm")
                })
            }
            Fit::Map(MapFit { repeats, .. }) => {
                if repeats.iter().all(|n| (1..=64).contains(n)) {
                    return Ok(());
                }
                let key = if self.fit.is_some() {
                    "fit.map.repeats"
                } else {
                    "repeats"
                };
                Err(source.wrong(key, format!("{repeats:?}"), "1 to 64 along x and y"))
            }
        }
    }

    fn validate_shown(&self, source: &Source) -> Result<()> {
        let Some(shown) = &self.shown else {
            return Ok(());
        };
        let radii = self.radii();
        for (key, value, list) in [
            (
                "shown.magnitude_mrad",
                Some(shown.magnitude_mrad),
                &self.magnitudes_mrad,
            ),
            (
                "shown.source_fwhm_angstrom",
                Some(shown.source_fwhm_angstrom),
                &self.source_fwhm_angstrom,
            ),
            ("shown.radius_angstrom", shown.radius_angstrom, &radii),
        ] {
            if let Some(value) = value.filter(|value| !list.contains(value)) {
                return Err(source.wrong(key, value, format!("one of {list:?}")));
            }
        }
        let key = "shown.thicknesses_nm";
        if shown.thicknesses_nm.is_empty() {
            return Err(source.wrong(key, "an empty list", "at least one thickness"));
        }
        let mut thicknesses = shown.thicknesses_nm.iter();
        thicknesses.try_for_each(|&t| source.in_range(key, t, 0.0..=1000.0, "nm", ""))
    }

    fn validate_expected(&self, source: &Source) -> Result<()> {
        for expected in &self.expected {
            if !self.specimens.contains_key(&expected.specimen) {
                let names: Vec<&String> = self.specimens.keys().collect();
                let got = format!("specimen {}", expected.specimen);
                return Err(source.wrong("expected", got, format!("one of {names:?}")));
            }
            let (known, thicknesses) = (
                expected.d_along_tilt_pm.len(),
                expected.thicknesses_nm.len(),
            );
            if known != thicknesses {
                let got = format!("{known} numbers at {thicknesses} thicknesses");
                return Err(source.wrong("expected", got, "a number for each thickness"));
            }
        }
        Ok(())
    }

    /// How columns are measured.
    #[must_use]
    pub fn fit(&self) -> Fit {
        self.fit.clone().unwrap_or_else(|| {
            Fit::Map(MapFit {
                repeats: self.repeats.unwrap_or([1, 1]),
                columns: self.columns.clone().unwrap_or_default(),
            })
        })
    }

    /// Radii of the fit windows [Å]; none of a map.
    #[must_use]
    pub fn radii(&self) -> Vec<f64> {
        match self.fit() {
            Fit::Window(fits) => fits.radii_angstrom,
            Fit::Map(_) => Vec::new(),
        }
    }

    /// All tilts: zero once, every other size in every direction.
    #[must_use]
    pub fn tilts(&self) -> Vec<Tilt> {
        let mut tilts = Vec::new();
        for &azimuth in &self.azimuths_degrees {
            for &magnitude in &self.magnitudes_mrad {
                let repeated =
                    magnitude == 0.0 && tilts.iter().any(|tilt: &Tilt| tilt.magnitude == 0.0);
                if !repeated {
                    tilts.push(Tilt { magnitude, azimuth });
                }
            }
        }
        tilts
    }

    /// The simulations, one per specimen, named `prefix` + specimen.
    #[must_use]
    pub fn simulations(
        &self,
        seed: u64,
        template: &SimulationTemplate,
        prefix: &str,
    ) -> Vec<(String, SimulationSettings)> {
        let tilts: Vec<[f64; 2]> = self.tilts().into_iter().map(Tilt::vector).collect();
        let simulation = |(name, specimen): (&String, &Specimen)| {
            (
                format!("{prefix}{name}"),
                template.with(seed, specimen, tilts.clone(), None),
            )
        };
        self.specimens.iter().map(simulation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Result<TiltSensitivity> {
        let text = format!(
            "magnitudes_mrad = [0.0, 5.0]\nazimuths_degrees = [0.0, 90.0]\nsource_fwhm_angstrom = [0.8]\n{text}\n\
             [specimens.cubic]\ncells = [1, 1, 4]\nlattice_angstrom = 3.9643\ncubic = {{}}\n"
        );
        let source = Source::from_text("study.toml", text);
        let section: TiltSensitivity = source.parse()?;
        section.validate(&source)?;
        Ok(section)
    }

    #[test]
    fn zero_tilt_is_simulated_once() {
        let tilts = section("repeats = [4, 4]").unwrap().tilts();
        assert_eq!(tilts.len(), 3);
        assert!((tilts[2].vector()[1] - 5.0).abs() < 1e-12 && tilts[2].vector()[0].abs() < 1e-12);
        assert!((tilts[2].along([3.0, -2.0]) + 2.0).abs() < 1e-12);
        assert!((tilts[2].across([3.0, -2.0]) + 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_file_without_fit_measures_by_the_map() {
        let old = section("repeats = [3, 2]").unwrap();
        let new = section("[fit.map]\nrepeats = [3, 2]").unwrap();
        assert_eq!(old.fit(), new.fit());
        let window = section("[fit.window]\nradii_angstrom = [0.8, 1.0]").unwrap();
        assert_eq!(window.radii(), [0.8, 1.0]);
    }

    #[test]
    fn wrong_fits_and_cuts_are_refused_with_their_key() {
        let shown = "[fit.map]\nrepeats = [1, 1]\n[shown]\nmagnitude_mrad = 4.0\n\
                     thicknesses_nm = [5.0]\nsource_fwhm_angstrom = 0.8";
        let expected = "[fit.map]\nrepeats = [1, 1]\n[[expected]]\nreference = \"here\"\nspecimen = \"cubic\"\n\
                        magnitude_mrad = 5.0\nazimuth_degrees = 0.0\nsource_fwhm_angstrom = 0.8\n\
                        thicknesses_nm = [5.0, 6.0]\nd_along_tilt_pm = [1.0]";
        for (text, part) in [
            ("", "one of the sections"),
            ("repeats = [0, 1]", "repeats: got [0, 1]"),
            (
                "repeats = [1, 1]\n[fit.window]\nradii_angstrom = [1.0]",
                "beside repeats",
            ),
            ("[fit.window]\nradii_angstrom = []", "at least one radius"),
            ("[fit.window]\nradii_angstrom = [100.0]", "not pm"),
            ("[fit.windows]\nradii_angstrom = [1.0]", "unknown variant"),
            (
                shown,
                "shown.magnitude_mrad: got 4; allowed: one of [0.0, 5.0]",
            ),
            (expected, "1 numbers at 2 thicknesses"),
        ] {
            let message = section(text).unwrap_err().to_string();
            assert!(message.contains(part), "expected `{part}` in {message}");
        }
    }
}
