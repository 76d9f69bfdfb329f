//! The local tilt of a specimen over the image: a global mistilt, the lean of the columns in each domain, and bending.
//!
//! Tilts follow the program's convention: at tilt (t_x, t_y) a column at depth z appears at x₀ − z tan t_x. A foil bent into a
//! cylinder of radius R turns by 1/R per length. A field need not be periodic.

use serde::{Deserialize, Serialize};

use super::Specimen;
use super::field::PolarField;
use super::polarization::Point;
use super::specimen::rhombohedral_shear;
use crate::error::Result;
use crate::settings::Source;
use crate::units::{ANGSTROM_PER_NM, RAD_PER_MRAD};

/// Nanometres per micrometre.
const NM_PER_UM: f64 = 1000.0;

/// The `[tilt_field]` section: any of the three, added up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TiltFieldSettings {
    /// Tilt of the whole specimen `[tx, ty]` [mrad], added to each of the simulation's tilts.
    pub global_mrad: Option<[f64; 2]>,
    /// Lean of the columns with the local polar axis, `[tilt_field.domain]`.
    pub domain: Option<Domain>,
    /// Bending, `[tilt_field.bending.gradient]` or `[tilt_field.bending.cylinder]`.
    pub bending: Option<Bending>,
}

/// The lean that the rhombohedral shear gives the columns of a domain, as a tilt: (t_x, t_y) = −ε p_z (p_x, p_y), averaged over the
/// depth. It stands in for `r3c.rhombohedral_angle_degrees` where atoms shall stay in upright columns; with both, it counts twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Angle between the pseudocubic axes in a domain (+ + +) [°], 89.43 in BiFeO₃.
    pub rhombohedral_angle_degrees: f64,
}

/// How the foil is bent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Bending {
    /// Tilts that change linearly.
    Gradient {
        /// Where the bending adds no tilt `[x, y]` [Å].
        centre_angstrom: [f64; 2],
        /// Change of `[tx, ty]` along x [mrad/nm].
        along_x_mrad_per_nm: [f64; 2],
        /// Change of `[tx, ty]` along y [mrad/nm].
        along_y_mrad_per_nm: [f64; 2],
    },
    /// A cylinder.
    Cylinder {
        /// A point of the line where the bending adds no tilt `[x, y]` [Å].
        centre_angstrom: [f64; 2],
        /// Radius of curvature [µm]; negative for a foil bent the other way.
        radius_um: f64,
        /// Direction in which the tilt changes, from x towards y [°]; the cylinder's axis is at right angles to it.
        azimuth_degrees: f64,
    },
}

impl TiltFieldSettings {
    /// Checks the numbers; `source` stands at this section.
    ///
    /// # Errors
    /// The key, what it got and what is allowed; a domain tilt in a specimen without polar domains.
    pub fn validate(&self, source: &Source, specimen: Option<&Specimen>) -> Result<()> {
        let all = |key: &str, values: [f64; 2], largest: f64, unit: &str, hint: &str| {
            values
                .iter()
                .try_for_each(|&value| source.in_range(key, value, -largest..=largest, unit, hint))
        };
        if let Some(tilt) = self.global_mrad {
            all("global_mrad", tilt, 100.0, "mrad", "small angles only")?;
        }
        if let Some(domain) = &self.domain {
            let key = "domain.rhombohedral_angle_degrees";
            let angle = domain.rhombohedral_angle_degrees;
            source.in_range(key, angle, 85.0..=95.0, "°", "89.43 in BiFeO3")?;
            if !specimen.is_some_and(|specimen| specimen.r3c.is_some() || specimen.film.is_some()) {
                let allowed = "a specimen with polar domains, r3c or film";
                return Err(source.wrong("domain", "a specimen without", allowed));
            }
        }
        match &self.bending {
            None => Ok(()),
            Some(Bending::Gradient {
                centre_angstrom,
                along_x_mrad_per_nm,
                along_y_mrad_per_nm,
            }) => {
                let unit = "mrad/nm";
                let name = |key: &str| format!("bending.gradient.{key}");
                all(&name("centre_angstrom"), *centre_angstrom, 1e5, "Å", "")?;
                let largest = 10.0;
                for (key, value) in [
                    ("along_x_mrad_per_nm", along_x_mrad_per_nm),
                    ("along_y_mrad_per_nm", along_y_mrad_per_nm),
                ] {
                    all(&name(key), *value, largest, unit, "1 is a radius of 1 µm")?;
                }
                Ok(())
            }
            Some(Bending::Cylinder {
                centre_angstrom,
                radius_um,
                azimuth_degrees,
            }) => {
                let name = |key: &str| format!("bending.cylinder.{key}");
                all(&name("centre_angstrom"), *centre_angstrom, 1e5, "Å", "")?;
                if !(radius_um.is_finite() && radius_um.abs() >= 0.1) {
                    let allowed = "at least 0.1 µm, or at most -0.1 µm";
                    return Err(source.wrong(&name("radius_um"), radius_um, allowed));
                }
                source.in_range(
                    &name("azimuth_degrees"),
                    *azimuth_degrees,
                    -360.0..=360.0,
                    "°",
                    "",
                )
            }
        }
    }
}

impl Bending {
    /// Tilt `[tx, ty]` at a point [mrad].
    fn at(&self, point: Point) -> [f64; 2] {
        match *self {
            Self::Gradient {
                centre_angstrom,
                along_x_mrad_per_nm: along_x,
                along_y_mrad_per_nm: along_y,
            } => {
                let [x, y] = away(point, centre_angstrom);
                std::array::from_fn(|i| along_x[i] * x + along_y[i] * y)
            }
            Self::Cylinder {
                centre_angstrom,
                radius_um,
                azimuth_degrees,
            } => {
                let [x, y] = away(point, centre_angstrom);
                let (sin, cos) = azimuth_degrees.to_radians().sin_cos();
                let turned = (x * cos + y * sin) / (radius_um * NM_PER_UM) / RAD_PER_MRAD;
                [turned * cos, turned * sin]
            }
        }
    }
}

/// From a centre to a point, both [Å], in nm.
fn away(point: Point, centre: Point) -> [f64; 2] {
    std::array::from_fn(|axis| (point[axis] - centre[axis]) / ANGSTROM_PER_NM)
}

/// A tilt field laid over a specimen.
#[derive(Debug, Clone, PartialEq)]
pub struct TiltField {
    global: [f64; 2],
    bending: Option<Bending>,
    /// Polar field, the depths it is averaged over [Å], and ε [mrad].
    domain: Option<(PolarField, Vec<f64>, f64)>,
}

impl TiltField {
    /// The field that settings describe over a specimen, both checked; `seed` is the one the specimen is built with.
    #[must_use]
    pub fn new(settings: &TiltFieldSettings, specimen: Option<&Specimen>, seed: u64) -> Self {
        let domain = settings.domain.as_ref().and_then(|domain| {
            let specimen = specimen?;
            let layers = specimen.cells[2];
            let height = specimen.extent()[2];
            let depths = (0..layers).map(|k| (k as f64 + 0.5) * height / layers as f64);
            let shear = rhombohedral_shear(domain.rhombohedral_angle_degrees) / RAD_PER_MRAD;
            Some((specimen.polar_field(seed)?, depths.collect(), shear))
        });
        Self {
            global: settings.global_mrad.unwrap_or_default(),
            bending: settings.bending.clone(),
            domain,
        }
    }

    /// Tilt `[tx, ty]` [mrad] at a point `[x, y]` [Å].
    #[must_use]
    pub fn at(&self, point: Point) -> [f64; 2] {
        let bending = self.bending.as_ref().map_or([0.0; 2], |b| b.at(point));
        let domain = self.domain_at(point);
        std::array::from_fn(|i| self.global[i] + bending[i] + domain[i])
    }

    fn domain_at(&self, [x, y]: Point) -> [f64; 2] {
        let Some((field, depths, shear)) = &self.domain else {
            return [0.0; 2];
        };
        let mut mean = [0.0; 2];
        for &z in depths {
            let p = field.at([x, y, z]);
            for axis in 0..2 {
                mean[axis] -= shear * p[2] * p[axis] / depths.len() as f64;
            }
        }
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specimen(direction: &str) -> Specimen {
        let text = format!(
            "cells = [2, 2, 4]\nlattice_angstrom = 4.0\n[r3c]\namplitude = 1.0\ntexture = {{ uniform = {{ direction = {direction} }} }}"
        );
        Source::from_text("s", text).parse().unwrap()
    }

    fn field(text: &str, direction: &str) -> TiltField {
        let source = Source::from_text("s", text);
        let settings: TiltFieldSettings = source.parse().unwrap();
        let specimen = specimen(direction);
        settings.validate(&source, Some(&specimen)).unwrap();
        TiltField::new(&settings, Some(&specimen), 1)
    }

    #[test]
    fn global_domain_and_bending_add_up() {
        let text = "global_mrad = [1.0, -2.0]\n[domain]\nrhombohedral_angle_degrees = 89.43\n\
            [bending.gradient]\ncentre_angstrom = [10.0, 0.0]\nalong_x_mrad_per_nm = [0.5, 0.0]\nalong_y_mrad_per_nm = [0.0, 0.25]\n";
        // 0.57° / 2 = 4.974 mrad, towards (sx sz, sy sz); as a tilt, against it.
        let found = field(text, "[1, -1, -1]").at([30.0, 40.0]);
        let expected = [1.0 + 4.974 + 0.5 * 2.0, -2.0 - 4.974 + 0.25 * 4.0];
        assert!(
            (0..2).all(|i| (found[i] - expected[i]).abs() < 1e-3),
            "{found:?}"
        );
    }

    #[test]
    fn a_cylinder_turns_by_length_over_radius_across_its_axis() {
        let text = "[bending.cylinder]\ncentre_angstrom = [0.0, 0.0]\nradius_um = 2.0\nazimuth_degrees = 90.0\n";
        let field = field(text, "[1, 1, 1]");
        // 10 nm over 2 µm are 5 mrad.
        let tilt = field.at([70.0, 100.0]);
        assert!(tilt[0].abs() < 1e-12 && (tilt[1] - 5.0).abs() < 1e-12);
        assert!(field.at([70.0, 0.0])[1].abs() < 1e-12);
    }

    #[test]
    fn a_field_that_makes_no_sense_is_refused() {
        let error = |text: &str| {
            let source = Source::from_text("s", text);
            let settings: TiltFieldSettings = source.parse().unwrap();
            settings
                .validate(&source, Some(&specimen("[1, 1, 1]")))
                .unwrap_err()
                .to_string()
        };
        assert!(error("global_mrad = [0.0, 300.0]").contains("-100 to 100 mrad"));
        let cylinder = "[bending.cylinder]\ncentre_angstrom = [0.0, 0.0]\nradius_um = 0.0\nazimuth_degrees = 0.0\n";
        assert!(error(cylinder).contains("at least 0.1 µm"));
    }
}
