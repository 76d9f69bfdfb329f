//! The sections `[detectors.NAME]`: which kind of detector, and its angles.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use super::super::grid::Grid;
use super::super::thermal::DiffuseDetector;
use crate::error::Result;
use crate::settings::Source;
use crate::units::RAD_PER_MRAD;

/// Most rings of a segmented detector, and most sectors of a ring.
const MAX_RINGS_AND_SECTORS: (usize, usize) = (100, 360);

/// An annular detector, centred on the beam: a `[detectors.NAME]` section. Bright field and annular bright field are annular
/// detectors too, inside the bright disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnularDetector {
    /// Inner angle, included [mrad].
    pub inner_mrad: f64,
    /// Outer angle, not included [mrad].
    pub outer_mrad: f64,
}

/// An annulus cut into rings of equal width and sectors of equal angle: `[detectors.NAME.segmented]`.
///
/// Sector s of n covers the azimuths 2πs/n ≤ (φ − rotation) mod 2π < 2π(s + 1)/n, φ from +x towards +y.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentedDetector {
    /// Inner angle, included [mrad].
    pub inner_mrad: f64,
    /// Outer angle, not included [mrad].
    pub outer_mrad: f64,
    /// Number of rings.
    pub rings: usize,
    /// Number of sectors of a ring.
    pub sectors: usize,
    /// Where the first sector begins [rad].
    #[serde(default)]
    pub rotation_rad: f64,
}

impl SegmentedDetector {
    /// The angles of each segment, sectors of a ring one after the other.
    pub(in super::super) fn parts(&self) -> Vec<DiffuseDetector> {
        let width = (self.outer_mrad - self.inner_mrad) / self.rings as f64;
        let step = TAU / self.sectors as f64;
        let part = |segment: usize| {
            let (ring, sector) = (segment / self.sectors, segment % self.sectors);
            let start = self.rotation_rad + sector as f64 * step;
            DiffuseDetector {
                inner_mrad: self.inner_mrad + ring as f64 * width,
                outer_mrad: self.inner_mrad + (ring + 1) as f64 * width,
                sector: (self.sectors > 1).then_some((start, start + step)),
            }
        };
        (0..self.rings * self.sectors).map(part).collect()
    }
}

/// The centre of mass of the pattern: `[detectors.NAME.com]`, or `[detectors.NAME.icom]` for its integral over the scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CentreOfMassDetector {
    /// Inner angle, included [mrad].
    #[serde(default)]
    pub inner_mrad: f64,
    /// Outer angle, not included [mrad].
    pub outer_mrad: f64,
}

/// Four quadrants, opposite ones subtracted: `[detectors.NAME.dpc]`, or `[detectors.NAME.idpc]` for the integral over the
/// scan.
///
/// Quadrant q is centred on the azimuth rotation + qπ/2; the differences are turned back by the rotation, so that the
/// components lie along x and y of the image for any rotation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuadrantDetector {
    /// Inner angle, included [mrad].
    pub inner_mrad: f64,
    /// Outer angle, not included [mrad].
    pub outer_mrad: f64,
    /// Azimuth of the centre of the first quadrant [rad].
    #[serde(default)]
    pub rotation_rad: f64,
}

/// A camera that keeps the whole pattern of every probe: `[detectors.NAME.pixelated]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelatedDetector {
    /// Half the side of the camera [mrad].
    pub outer_mrad: f64,
    /// How many pixels of the diffraction pattern, along each axis, are summed into one of the camera.
    #[serde(default = "no_binning")]
    pub bin: usize,
}

fn no_binning() -> usize {
    1
}

/// A detector: a `[detectors.NAME]` section, with the angles of an annulus in it or exactly one of the sections of the other
/// kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Sections", into = "Sections")]
pub enum Detector {
    /// The sum over an annulus.
    Annular(AnnularDetector),
    /// The sum over each segment.
    Segmented(SegmentedDetector),
    /// The centre of mass.
    CentreOfMass(CentreOfMassDetector),
    /// The centre of mass, integrated over the scan.
    IntegratedCentreOfMass(CentreOfMassDetector),
    /// Differences of opposite quadrants (differential phase contrast).
    Dpc(QuadrantDetector),
    /// Differences of opposite quadrants, integrated over the scan.
    IntegratedDpc(QuadrantDetector),
    /// The pattern itself.
    Pixelated(PixelatedDetector),
}

/// A `[detectors.NAME]` section as it is written.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    inner_mrad: Option<f64>,
    outer_mrad: Option<f64>,
    segmented: Option<SegmentedDetector>,
    com: Option<CentreOfMassDetector>,
    icom: Option<CentreOfMassDetector>,
    dpc: Option<QuadrantDetector>,
    idpc: Option<QuadrantDetector>,
    pixelated: Option<PixelatedDetector>,
}

impl TryFrom<Sections> for Detector {
    type Error = String;

    fn try_from(sections: Sections) -> std::result::Result<Self, String> {
        let mut kinds = Vec::new();
        match (sections.inner_mrad, sections.outer_mrad) {
            (None, None) => {}
            (Some(inner_mrad), Some(outer_mrad)) => {
                let annulus = AnnularDetector {
                    inner_mrad,
                    outer_mrad,
                };
                kinds.push(Self::Annular(annulus));
            }
            (Some(_), None) => return Err("missing field `outer_mrad`".to_owned()),
            (None, Some(_)) => return Err("missing field `inner_mrad`".to_owned()),
        }
        kinds.extend(sections.segmented.map(Self::Segmented));
        kinds.extend(sections.com.map(Self::CentreOfMass));
        kinds.extend(sections.icom.map(Self::IntegratedCentreOfMass));
        kinds.extend(sections.dpc.map(Self::Dpc));
        kinds.extend(sections.idpc.map(Self::IntegratedDpc));
        kinds.extend(sections.pixelated.map(Self::Pixelated));
        let count = kinds.len();
        match kinds.pop() {
            Some(detector) if count == 1 => Ok(detector),
            _ => Err(format!(
                "got a detector of {count} kinds; allowed: one kind, by inner_mrad and outer_mrad (annular), or by one section \
                 segmented, com, icom, dpc, idpc or pixelated below it"
            )),
        }
    }
}

impl From<Detector> for Sections {
    fn from(detector: Detector) -> Self {
        let mut sections = Self::default();
        match detector {
            Detector::Annular(annulus) => {
                sections.inner_mrad = Some(annulus.inner_mrad);
                sections.outer_mrad = Some(annulus.outer_mrad);
            }
            Detector::Segmented(detector) => sections.segmented = Some(detector),
            Detector::CentreOfMass(detector) => sections.com = Some(detector),
            Detector::IntegratedCentreOfMass(detector) => sections.icom = Some(detector),
            Detector::Dpc(detector) => sections.dpc = Some(detector),
            Detector::IntegratedDpc(detector) => sections.idpc = Some(detector),
            Detector::Pixelated(detector) => sections.pixelated = Some(detector),
        }
        sections
    }
}

impl From<AnnularDetector> for Detector {
    fn from(detector: AnnularDetector) -> Self {
        Self::Annular(detector)
    }
}

impl AnnularDetector {
    /// Checks what `[detectors.NAME]` says on its own.
    ///
    /// # Errors
    /// An angle out of its range, probably in rad; inner not below outer.
    pub fn validate(&self, source: &Source, name: &str) -> Result<()> {
        Detector::from(self.clone()).validate(source, name)
    }
}

impl Detector {
    /// The outer angle, not included [mrad].
    #[must_use]
    pub fn outer_mrad(&self) -> f64 {
        self.angles().1
    }

    /// Inner and outer angle [mrad].
    pub(in super::super) fn angles(&self) -> (f64, f64) {
        match self {
            Self::Annular(d) => (d.inner_mrad, d.outer_mrad),
            Self::Segmented(d) => (d.inner_mrad, d.outer_mrad),
            Self::CentreOfMass(d) | Self::IntegratedCentreOfMass(d) => (d.inner_mrad, d.outer_mrad),
            Self::Dpc(d) | Self::IntegratedDpc(d) => (d.inner_mrad, d.outer_mrad),
            Self::Pixelated(d) => (0.0, d.outer_mrad),
        }
    }

    /// Whether its images are differences or angles, which counting statistics do not describe.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        matches!(
            self,
            Self::CentreOfMass(_)
                | Self::IntegratedCentreOfMass(_)
                | Self::Dpc(_)
                | Self::IntegratedDpc(_)
        )
    }

    /// Numbers that it makes of a diffraction pattern; none for a pixelated one, which keeps it.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        match self {
            Self::Annular(_) => 1,
            Self::Segmented(detector) => detector.rings * detector.sectors,
            Self::CentreOfMass(_)
            | Self::IntegratedCentreOfMass(_)
            | Self::Dpc(_)
            | Self::IntegratedDpc(_) => 2,
            Self::Pixelated(_) => 0,
        }
    }

    /// Whether it reaches into the soft edge of the band limit, where the grid and not the specimen decides what is
    /// scattered: worth a warning, since more pixels would change the numbers.
    #[must_use]
    pub fn touches_taper(&self, grid: &Grid, wavelength: f64) -> bool {
        self.outer_mrad() * RAD_PER_MRAD > wavelength * grid.taper_start()
    }

    /// The highest outer angle that a grid carries [mrad].
    #[must_use]
    pub fn limit_mrad(grid: &Grid, wavelength: f64) -> f64 {
        wavelength * grid.band_limit() / RAD_PER_MRAD
    }

    /// The key, below `detectors.NAME.`, of a value of this kind of detector.
    pub(in super::super) fn key(&self, value: &str) -> String {
        let section = match self {
            Self::Annular(_) => return value.to_owned(),
            Self::Segmented(_) => "segmented",
            Self::CentreOfMass(_) => "com",
            Self::IntegratedCentreOfMass(_) => "icom",
            Self::Dpc(_) => "dpc",
            Self::IntegratedDpc(_) => "idpc",
            Self::Pixelated(_) => "pixelated",
        };
        format!("{section}.{value}")
    }

    /// Checks what `[detectors.NAME]` says on its own.
    ///
    /// # Errors
    /// An angle out of its range, probably in rad; inner not below outer; no rings, sectors or pixels.
    pub fn validate(&self, source: &Source, name: &str) -> Result<()> {
        let hint = "0.08 rad is 80 mrad";
        let key = |value: &str| format!("detectors.{name}.{}", self.key(value));
        let (inner, outer) = self.angles();
        source.in_range(&key("inner_mrad"), inner, 0.0..=1000.0, "mrad", hint)?;
        source.in_range(&key("outer_mrad"), outer, 1.0..=1000.0, "mrad", hint)?;
        if inner >= outer {
            let allowed = format!("less than outer_mrad = {outer}");
            return Err(source.wrong(&key("inner_mrad"), inner, allowed));
        }
        let counts = |value: &str, count: usize, most: usize| {
            if (1..=most).contains(&count) {
                return Ok(());
            }
            Err(source.wrong(&key(value), count, format!("1 to {most}")))
        };
        let turn = |angle: f64| {
            let hint = "22.5° is 0.3927 rad";
            source.in_range(&key("rotation_rad"), angle, -7.0..=7.0, "rad", hint)
        };
        match self {
            Self::Segmented(detector) => {
                counts("rings", detector.rings, MAX_RINGS_AND_SECTORS.0)?;
                counts("sectors", detector.sectors, MAX_RINGS_AND_SECTORS.1)?;
                turn(detector.rotation_rad)
            }
            Self::Dpc(detector) | Self::IntegratedDpc(detector) => turn(detector.rotation_rad),
            Self::Pixelated(detector) => counts("bin", detector.bin, MAX_BIN),
            _ => Ok(()),
        }
    }
}

/// Most pixels of the pattern, along an axis, in one of the camera.
const MAX_BIN: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct File {
        detectors: BTreeMap<String, Detector>,
    }

    const ALL: &str = "[detectors.adf]
inner_mrad = 80
outer_mrad = 100
[detectors.seg.segmented]
inner_mrad = 20
outer_mrad = 60
rings = 2
sectors = 4
rotation_rad = 0.1
[detectors.a.com]
outer_mrad = 40
[detectors.b.icom]
outer_mrad = 40
[detectors.c.dpc]
inner_mrad = 0
outer_mrad = 30
[detectors.d.idpc]
inner_mrad = 5
outer_mrad = 30
rotation_rad = 0.7
[detectors.camera.pixelated]
outer_mrad = 50
bin = 2
";

    fn read(text: &str) -> Result<File> {
        let source = Source::from_text("sim.toml", text);
        let file: File = source.parse()?;
        for (name, detector) in &file.detectors {
            detector.validate(&source, name)?;
        }
        Ok(file)
    }

    #[test]
    fn every_kind_is_read_and_written_alike() {
        let file = read(ALL).unwrap();
        let outer: Vec<f64> = file.detectors.values().map(Detector::outer_mrad).collect();
        assert_eq!(outer, [40.0, 100.0, 40.0, 30.0, 50.0, 30.0, 60.0]);
        let channels: Vec<usize> = file
            .detectors
            .values()
            .map(Detector::channel_count)
            .collect();
        assert_eq!(channels, [2, 1, 2, 2, 0, 2, 8]);
        assert_eq!(read(&toml::to_string(&file).unwrap()).unwrap(), file);
    }

    #[test]
    fn an_annulus_is_written_as_ever() {
        let annulus = AnnularDetector {
            inner_mrad: 80.0,
            outer_mrad: 100.0,
        };
        let now = toml::to_string(&Detector::from(annulus.clone())).unwrap();
        assert_eq!(now, toml::to_string(&annulus).unwrap());
    }

    #[test]
    fn mistakes_are_named_with_line_key_and_what_is_allowed() {
        for (old, new, expected) in [
            ("outer_mrad = 100\n", "", "line 1, column 1"),
            ("outer_mrad = 100\n", "", "missing field `outer_mrad`"),
            ("bin = 2", "bim = 2", "line 23, column 1"),
            (
                "bin = 2",
                "bin = 0",
                "sim.toml:23: detectors.camera.pixelated.bin: got 0; allowed: 1 to 1024",
            ),
            (
                "sectors = 4",
                "sectors = 0",
                "sim.toml:8: detectors.seg.segmented.sectors: got 0",
            ),
            (
                "rings = 2",
                "rings = 0",
                "detectors.seg.segmented.rings: got 0",
            ),
            (
                "inner_mrad = 20",
                "inner_mrad = 60",
                "less than outer_mrad = 60",
            ),
            (
                "outer_mrad = 50",
                "outer_mrad = 0.05",
                "0.08 rad is 80 mrad",
            ),
            (
                "rotation_rad = 0.7",
                "rotation_rad = 45",
                "22.5° is 0.3927 rad",
            ),
            (
                "[detectors.a.com]",
                "[detectors.adf.com]",
                "a detector of 2 kinds",
            ),
            (
                "[detectors.a.com]\nouter_mrad = 40",
                "[detectors.a]",
                "a detector of 0 kinds",
            ),
            (
                "[detectors.a.com]",
                "[detectors.a.con]",
                "unknown field `con`",
            ),
        ] {
            assert!(ALL.contains(old), "{old}");
            let message = read(&ALL.replacen(old, new, 1)).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
