//! What a person may change about the column map; the defaults serve every [100] perovskite image.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The sublattice that is brighter over the whole image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Brighter {
    /// A is brighter (Bi, Pb, Ba, Sr beside Fe or Ti): the rule in HAADF.
    A,
    /// B is brighter (Nb, Ta, W beside a light A).
    B,
}

/// How positions are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// All columns at once, by maximum likelihood.
    Joint,
    /// One Gaussian and a constant in a window of each column's own, all pixels alike: for comparison with programs that do so.
    Gaussian,
    /// The centre of mass above the rim of the window: likewise for comparison.
    CentreOfMass,
}

impl Method {
    /// Its name in settings and files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Joint => "joint",
            Self::Gaussian => "gaussian",
            Self::CentreOfMass => "centre_of_mass",
        }
    }
}

/// How the pixels of a column are weighted in its fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// All alike: little affected by columns that are not Gaussian.
    Uniform,
    /// By 1/variance, with a variance that grows linearly with intensity, as measured from the image itself.
    Noise,
}

/// Settings of [`measure`](crate::column::measure). Lengths are fractions of the pitch of the A lattice that the image shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnSettings {
    /// How positions are measured; which columns there are, the joint fit tells for all methods.
    pub method: Method,
    /// Which sublattice is brighter.
    pub brighter: Brighter,
    /// Weights of the pixels.
    pub weighting: Weighting,
    /// Radius of the window around a column: of its fit where columns are fitted alone; of the pixels that tell the noise;
    /// columns nearer than 0.6 of it to the border are flagged [pitch].
    pub window: f64,
    /// Most steps of the joint fit; it ends earlier when the columns stand still.
    pub sweeps: usize,
    /// Standard deviation of the Gaussian that the image is smoothed with to see columns as peaks [pitch].
    pub smoothing: f64,
    /// Distance of the nodes of the background, which is smooth between them [pitch].
    pub background_spacing: f64,
    /// How many standard errors the periodicity must stand above chance for the image to count as a lattice.
    pub minimum_significance: f64,
    /// Height of a column over its standard deviation, for it to count as a column.
    pub minimum_signal_to_noise: f64,
    /// Least height of a column over that of the strong ones (the upper tenth): what is left where tails of columns meet is
    /// no column, however little noise there is.
    pub minimum_height: f64,
    /// Distance of a column from where its neighbours put it, at which it is flagged as an outlier [pitch].
    pub maximum_deviation: f64,
    /// Misfit of a column above the median of its sublattice, in standard deviations of that, at which it is flagged.
    pub maximum_misfit: f64,
    /// Pseudocubic lattice constant that the calibration is compared with [Å].
    pub nominal_pitch_angstrom: f64,
}

impl Default for ColumnSettings {
    fn default() -> Self {
        Self {
            method: Method::Joint,
            brighter: Brighter::A,
            weighting: Weighting::Noise,
            window: 0.38,
            sweeps: 25,
            smoothing: 0.1,
            background_spacing: 2.0,
            minimum_significance: 5.0,
            minimum_signal_to_noise: 5.0,
            minimum_height: 0.01,
            maximum_deviation: 0.1,
            maximum_misfit: 7.0,
            nominal_pitch_angstrom: 3.95,
        }
    }
}

impl ColumnSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Setting`], with the key, the value and the range.
    pub fn validate(&self) -> Result<()> {
        let ranges = [
            ("window", self.window, 0.2, 0.7),
            ("sweeps", self.sweeps as f64, 1.0, 50.0),
            ("smoothing", self.smoothing, 0.03, 0.2),
            ("background_spacing", self.background_spacing, 1.0, 100.0),
            (
                "minimum_significance",
                self.minimum_significance,
                2.0,
                1000.0,
            ),
            (
                "minimum_signal_to_noise",
                self.minimum_signal_to_noise,
                0.0,
                1000.0,
            ),
            ("minimum_height", self.minimum_height, 0.0, 0.5),
            ("maximum_deviation", self.maximum_deviation, 0.02, 0.4),
            ("maximum_misfit", self.maximum_misfit, 1.0, 1e9),
            (
                "nominal_pitch_angstrom",
                self.nominal_pitch_angstrom,
                2.0,
                10.0,
            ),
        ];
        for (key, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Err(Error::Setting {
                    place: format!("columns.{key}"),
                    got: value.to_string(),
                    allowed: format!("{low} to {high}"),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_wrong_values_are_refused() {
        assert!(toml::from_str::<ColumnSettings>("windw = 0.4").is_err());
        let settings: ColumnSettings =
            toml::from_str("brighter = \"B\"\nweighting = \"uniform\"\nwindow = 4").unwrap();
        assert_eq!(
            (settings.brighter, settings.weighting),
            (Brighter::B, Weighting::Uniform)
        );
        let error = settings.validate().unwrap_err().to_string();
        assert_eq!(error, "columns.window: got 4; allowed: 0.2 to 0.7");
        ColumnSettings::default().validate().unwrap();
    }
}
