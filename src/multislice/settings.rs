//! The sections `[probe]` and `[multislice]` of a settings file, and what each may say on its own.
//!
//! What they may say together, and about the specimen, is in [`checks`](super::checks).

use serde::{Deserialize, Serialize};

use super::probe::ProbeSettings;
use super::scattering::ScatteringTable;
use super::slicing::slice_count;
use crate::error::Result;
use crate::settings::Source;
use crate::units::ANGSTROM_PER_NM;

/// The way a wave is sent through the specimen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Conventional full-field multislice ([`Multislice`](super::Multislice)): one wave on the whole specimen per probe.
    Multislice,
    /// A periodic cell, scanned by Bloch waves (`Bloch`).
    Bloch,
    /// Every probe on a window of the specimen (`Windowed`).
    Windowed,
    /// The scattering matrix, interpolated (`Prism`).
    Prism,
    /// A response that was learnt from the others, certified against them.
    Emulator,
    /// Whichever of the others suits the specimen and the scan; the reason is said.
    Auto,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Multislice => "multislice",
            Self::Bloch => "bloch",
            Self::Windowed => "windowed",
            Self::Prism => "prism",
            Self::Emulator => "emulator",
            Self::Auto => "auto",
        })
    }
}

/// `[multislice.bloch]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlochSettings {
    /// N: the image is exactly that of N × N cells side by side, in which the probe stands alone.
    pub points: Option<usize>,
    /// In place of N: the least side of the N × N cells [Å].
    pub field_angstrom: Option<f64>,
}

impl BlochSettings {
    /// N for cells whose smaller side is `side` [Å].
    #[must_use]
    pub fn points(&self, side: f64) -> usize {
        let fill = |field: f64| (field / side * (1.0 - 1e-6)).ceil().max(1.0) as usize;
        self.points.or(self.field_angstrom.map(fill)).unwrap_or(1)
    }
}

/// `[multislice.windowed]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowedSettings {
    /// Largest part of the intensity that may lie in the outer tenth of the window at an exit; the window grows until it is
    /// below. For BiFeO₃ at rest, 5 and 10 nm thick, a probe of 25 mrad and 8 mrad of tilt, largest errors against the full
    /// field in per cent of the image's peak:
    ///
    /// | bound | window (5, 10 nm) | dark field from 60 mrad | 30 to 60 mrad | 12 to 25 mrad | up to 10 mrad |
    /// |---|---|---|---|---|---|
    /// | 0.05 | 12, 25 Å | 0.05, 0.02 | 2.8, 0.6 | 2.1, 0.5 | 0.1, 0.03 |
    /// | 0.01 | 12, 30 Å | 0.05, 0.01 | 2.8, 0.1 | 2.1, 0.3 | 0.1, 0.02 |
    /// | 0.005 | 15, 30 Å | 0.04, 0.01 | 1.3, 0.1 | 1.4, 0.3 | 0.1, 0.02 |
    /// | 0.002 | 22, 30 Å | 0.02, 0.01 | 0.5, 0.1 | 0.8, 0.3 | 0.03, 0.02 |
    ///
    /// A detector that ends where the aperture does misses, or gains, up to twice the part of the probe that is cut off.
    #[serde(default = "border_intensity")]
    pub border_intensity: f64,
    /// A fixed side of the window [Å], in place of the search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_angstrom: Option<f64>,
    /// Memory for the transmission functions of one region of the specimen [GiB].
    #[serde(default = "one_gib")]
    pub memory_gib: f64,
}

fn border_intensity() -> f64 {
    0.002
}

fn one_gib() -> f64 {
    1.0
}

impl Default for WindowedSettings {
    fn default() -> Self {
        Self {
            border_intensity: border_intensity(),
            window_angstrom: None,
            memory_gib: one_gib(),
        }
    }
}

/// `[multislice.prism]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrismSettings {
    /// f: every f-th beam along each axis is computed, and probes live on 1/f of the field; 1 is exact.
    pub interpolation: usize,
    /// Memory for the scattering matrix [GiB]; probes are read in several passes where it does not suffice.
    #[serde(default = "four_gib")]
    pub memory_gib: f64,
}

fn four_gib() -> f64 {
    4.0
}

/// Precision of the waves; potentials, phases and sums are always in double precision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision: images within 2e-5 of those in double precision, almost twice as fast.
    #[default]
    F32,
    /// Double precision.
    F64,
}

impl Precision {
    /// Bytes of a complex number.
    #[must_use]
    pub fn complex_bytes(self) -> u64 {
        match self {
            Self::F32 => 8,
            Self::F64 => 16,
        }
    }
}

/// The `[multislice]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultisliceSettings {
    /// The engine.
    pub method: Method,
    /// Table of scattering factors.
    pub scattering_factors: ScatteringTable,
    /// Largest thickness of a slice [Å].
    pub slice_thickness_angstrom: f64,
    /// Precision of the waves.
    #[serde(default)]
    pub precision: Precision,
    /// How many times finer than the wave's grid the transmission functions are computed, along each axis. 1 is what other
    /// programs do; there, the HAADF signal of a column depends on where it lies between the pixels (a static Fe column on
    /// pixels of 0.075 Å: by 6 %, and by 0.4 % at 2). Costs time and memory at the start only.
    #[serde(default = "no_oversampling")]
    pub oversampling: usize,
    /// Depths at which the wave is detected, rising [nm].
    pub exit_thicknesses_nm: Vec<f64>,
    /// `[multislice.bloch]`, for that method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bloch: Option<BlochSettings>,
    /// `[multislice.windowed]`, for that method; it has defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windowed: Option<WindowedSettings>,
    /// `[multislice.prism]`, for that method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prism: Option<PrismSettings>,
}

fn no_oversampling() -> usize {
    1
}

impl ProbeSettings {
    /// Checks what `[probe]` says on its own.
    ///
    /// # Errors
    /// A value out of its range, probably in another unit; both C10 and defocus.
    pub fn validate(&self, source: &Source) -> Result<()> {
        source.in_range(
            "probe.energy_kev",
            self.energy_kev,
            10.0..=1000.0,
            "keV",
            "a 200 kV microscope has energy_kev = 200, not 200000",
        )?;
        source.in_range(
            "probe.semiangle_mrad",
            self.semiangle_mrad,
            0.2..=200.0,
            "mrad",
            "0.03 rad is semiangle_mrad = 30",
        )?;
        let aberrations = &self.aberrations;
        if let (Some(c10), Some(_)) = (aberrations.c10_angstrom, aberrations.defocus_angstrom) {
            return Err(source.wrong(
                "probe.aberrations.c10_angstrom",
                format!("{c10} beside defocus_angstrom"),
                "one of the two (C10 = -defocus)",
            ));
        }
        if let Some(spread) = &self.focal_spread {
            let key = "probe.focal_spread.rms_angstrom";
            source.in_range(key, spread.rms_angstrom, 0.0..=1000.0, "Å", "3 nm is 30 Å")?;
            if !(1..=31).contains(&spread.points) || spread.points % 2 == 0 {
                let key = "probe.focal_spread.points";
                return Err(source.wrong(key, spread.points, "an odd number from 1 to 31"));
            }
        }
        for (key, value) in aberrations.values() {
            if !value.is_finite() {
                let key = format!("probe.aberrations.{key}");
                return Err(source.wrong(&key, value, "a finite number"));
            }
        }
        Ok(())
    }
}

impl MultisliceSettings {
    /// Checks what `[multislice]` says on its own.
    ///
    /// # Errors
    /// A value out of its range, probably in another unit; exit thicknesses missing or not rising.
    pub fn validate(&self, source: &Source) -> Result<()> {
        source.in_range(
            "multislice.slice_thickness_angstrom",
            self.slice_thickness_angstrom,
            0.25..=20.0,
            "Å",
            "0.2 nm is 2 Å",
        )?;
        if !(1..=8).contains(&self.oversampling) {
            let key = "multislice.oversampling";
            return Err(source.wrong(key, self.oversampling, "1 to 8 times finer"));
        }
        self.validate_engines(source)?;
        let exits = &self.exit_thicknesses_nm;
        for &exit in exits {
            source.in_range(EXITS, exit, 0.02..=1000.0, "nm", "200 Å is 20 nm")?;
        }
        if exits.is_empty() || exits.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(source.wrong(
                EXITS,
                format!("{exits:?}"),
                "at least one thickness, each greater than the one before",
            ));
        }
        Ok(())
    }

    /// Checks the sections of the engines, and that the chosen one has what it needs.
    fn validate_engines(&self, source: &Source) -> Result<()> {
        if self.method == Method::Bloch && self.bloch.is_none() {
            let allowed =
                "a section [multislice.bloch] with points = N: the image is that of N × N cells";
            return Err(source.wrong("multislice.bloch", "nothing", allowed));
        }
        if self.method == Method::Prism && self.prism.is_none() {
            let allowed =
                "a section [multislice.prism] with interpolation = f: 1 is exact, 2 to 4 are quick";
            return Err(source.wrong("multislice.prism", "nothing", allowed));
        }
        if let Some(bloch) = &self.bloch {
            match (bloch.points, bloch.field_angstrom) {
                (Some(points), None) if (1..=64).contains(&points) => {}
                (Some(points), None) => {
                    return Err(source.wrong("multislice.bloch.points", points, "1 to 64"));
                }
                (None, Some(field)) => {
                    let key = "multislice.bloch.field_angstrom";
                    source.in_range(key, field, 1.0..=1000.0, "Å", "3 nm is 30 Å")?;
                }
                (points, field) => {
                    let got = format!("points = {points:?}, field_angstrom = {field:?}");
                    let allowed = "exactly one of points and field_angstrom";
                    return Err(source.wrong("multislice.bloch", got, allowed));
                }
            }
        }
        if let Some(prism) = &self.prism {
            if !(1..=16).contains(&prism.interpolation) {
                let key = "multislice.prism.interpolation";
                return Err(source.wrong(key, prism.interpolation, "1 (exact) to 16"));
            }
            let key = "multislice.prism.memory_gib";
            source.in_range(key, prism.memory_gib, 0.001..=4096.0, "GiB", "")?;
        }
        if let Some(windowed) = &self.windowed {
            let key = "multislice.windowed.border_intensity";
            let hint = "a part of the beam, such as 0.01";
            source.in_range(key, windowed.border_intensity, 1e-9..=0.5, "", hint)?;
            if let Some(window) = windowed.window_angstrom {
                let key = "multislice.windowed.window_angstrom";
                source.in_range(key, window, 1.0..=1000.0, "Å", "2 nm is 20 Å")?;
            }
            let key = "multislice.windowed.memory_gib";
            source.in_range(key, windowed.memory_gib, 0.001..=4096.0, "GiB", "")?;
        }
        Ok(())
    }

    /// The numbers of slices after which waves are detected, for a specimen of `height` [Å]: the slice boundary nearest to
    /// each exit thickness.
    ///
    /// # Errors
    /// A thickness exceeds the height; two thicknesses fall on the same boundary.
    pub fn exit_slices(&self, source: &Source, height: f64) -> Result<Vec<usize>> {
        let count = slice_count(height, self.slice_thickness_angstrom);
        let thickness = height / count as f64;
        let mut slices = Vec::new();
        for &exit in &self.exit_thicknesses_nm {
            // Half a percent of a slice: an exit at "the full height" may be written with few digits.
            if exit * ANGSTROM_PER_NM > height + 0.005 * thickness {
                let height = height / ANGSTROM_PER_NM;
                let allowed =
                    format!("at most {height:.4} nm, the height of the specimen (200 Å is 20 nm)");
                return Err(source.wrong(EXITS, exit, allowed));
            }
            let slice = (exit * ANGSTROM_PER_NM / thickness).round() as usize;
            let slice = slice.clamp(1, count);
            if slices.last() == Some(&slice) {
                let allowed = format!("thicknesses at least a slice, {thickness:.4} Å, apart");
                return Err(source.wrong(EXITS, format!("{exit} nm after its neighbour"), allowed));
            }
            slices.push(slice);
        }
        Ok(slices)
    }
}

const EXITS: &str = "multislice.exit_thicknesses_nm";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::detector::Detector;
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Sections {
        probe: ProbeSettings,
        detectors: BTreeMap<String, Detector>,
        multislice: MultisliceSettings,
    }

    const TEXT: &str = r#"[probe]
energy_kev = 200
semiangle_mrad = 30
aperture = "soft"
[probe.aberrations]
defocus_angstrom = 40
c12_angstrom = 5
phi12_rad = 0.3
[detectors.haadf]
inner_mrad = 80
outer_mrad = 100
[multislice]
method = "multislice"
scattering_factors = "lobato"
slice_thickness_angstrom = 1.9825
exit_thicknesses_nm = [3.965, 19.825]
"#;

    /// Parses and validates `TEXT` with one text replaced by another.
    fn outcome(old: &str, new: &str) -> Result<Sections> {
        assert!(TEXT.contains(old));
        let source = Source::from_text("sim.toml", TEXT.replace(old, new));
        let sections: Sections = source.parse()?;
        sections.probe.validate(&source)?;
        for (name, detector) in &sections.detectors {
            detector.validate(&source, name)?;
        }
        sections.multislice.validate(&source)?;
        sections.multislice.exit_slices(&source, 198.25)?;
        Ok(sections)
    }

    #[test]
    fn good_settings_are_read_with_their_defaults() {
        let sections = outcome("[probe]", "[probe]").unwrap();
        assert_eq!(sections.multislice.precision, Precision::F32);
        assert!((sections.probe.aberrations.c10() + 40.0).abs() < 1e-12);
        let source = Source::from_text("sim.toml", TEXT);
        assert_eq!(sections.multislice.oversampling, 1);
        let exits = sections.multislice.exit_slices(&source, 198.25).unwrap();
        assert_eq!(exits, [20, 100]);
    }

    #[test]
    fn mistakes_are_named_with_line_key_and_what_is_allowed() {
        for (old, new, expected) in [
            (
                "energy_kev = 200",
                "energy_kev = 200000",
                "sim.toml:2: probe.energy_kev: got 200000; allowed: 10 to 1000 keV",
            ),
            (
                "semiangle_mrad = 30",
                "semiangle_mrad = 0.03",
                "0.03 rad is semiangle_mrad = 30",
            ),
            (
                "aperture = \"soft\"",
                "aperture = \"round\"",
                "expected `hard` or `soft`",
            ),
            (
                "phi12_rad = 0.3",
                "phi12_rad = nan",
                "probe.aberrations.phi12_rad: got NaN",
            ),
            ("phi12_rad = 0.3", "c10_angstrom = 40", "one of the two"),
            ("phi12_rad", "phi11_rad", "unknown field `phi11_rad`"),
            (
                "inner_mrad = 80",
                "inner_mrad = 120",
                "less than outer_mrad = 100",
            ),
            (
                "outer_mrad = 100",
                "outer_mrad = 0.1",
                "0.08 rad is 80 mrad",
            ),
            (
                "method = \"multislice\"",
                "method = \"magic\"",
                "unknown variant `magic`",
            ),
            ("\"lobato\"", "\"peng\"", "expected `lobato` or `kirkland`"),
            ("angstrom = 1.9825", "angstrom = 0.19825", "0.2 nm is 2 Å"),
            (
                "exit_thick",
                "oversampling = 0\nexit_thick",
                "1 to 8 times finer",
            ),
            ("[3.965, 19.825]", "[198.25]", "at most 19.8250 nm"),
            (
                "[3.965, 19.825]",
                "[8, 4]",
                "each greater than the one before",
            ),
            ("[3.965, 19.825]", "[4.0, 4.01]", "at least a slice"),
            ("[3.965, 19.825]", "[]", "at least one thickness"),
        ] {
            let message = outcome(old, new).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
