//! The settings of a simulation file, and the checks that need more than one section.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::crystal::one_crystal;
use super::emulation::EmulatorSettings;
use crate::acquisition::Acquisition;
use crate::crystal::Specimen;
use crate::crystal::phonons::Phonons;
use crate::crystal::structure_file::StructureFile;
use crate::crystal::tilt_field::TiltFieldSettings;
use crate::error::Result;
use crate::multislice::{Detector, MultisliceSettings, ProbeSettings, ThermalSettings};
use crate::settings::Source;

/// A whole simulation: images of one specimen over tilts × thicknesses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulationSettings {
    /// Master seed of every random stream (texture, Sm sites, dose, jitter).
    pub seed: u64,
    /// Mistilts of the specimen `[tx, ty]` [mrad].
    pub tilts_mrad: Vec<[f64; 2]>,
    /// What is in the microscope, by recipe; or `structure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub specimen: Option<Specimen>,
    /// What is in the microscope, from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structure: Option<StructureFile>,
    /// Tilt that changes over the field, added to each of the tilts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tilt_field: Option<TiltFieldSettings>,
    /// Thermal motion; left out, the lattice is at rest.
    pub phonons: Option<Phonons>,
    /// Thermal motion by the absorptive model, in place of phonons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thermal_diffuse: Option<ThermalSettings>,
    /// The grid of the wave function.
    pub grid: GridSettings,
    /// How the wave is propagated.
    pub multislice: MultisliceSettings,
    /// What the method `emulator` draws with; for `auto`, that it may draw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulator: Option<EmulatorSettings>,
    /// The electron probe.
    pub probe: ProbeSettings,
    /// Where the probe goes.
    pub scan: ScanSettings,
    /// Detectors by name, `[detectors.NAME]`.
    pub detectors: BTreeMap<String, Detector>,
    /// What the microscope adds; left out, the images are ideal.
    pub acquisition: Option<Acquisition>,
}

/// The `[grid]` section: exactly one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridSettings {
    /// Number of pixels `[x, y]`.
    pub pixels: Option<[usize; 2]>,
    /// Largest pixel size [Å]; the numbers of pixels become the next ones made of the factors 2, 3 and 5.
    pub sampling_angstrom: Option<f64>,
}

/// The `[scan]` section: an area, and exactly one of `step_angstrom` and `points`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanSettings {
    /// First probe position `[x, y]` [Å].
    pub start_angstrom: [f64; 2],
    /// End of the area `[x, y]`, itself not visited [Å]; left out: the end of the specimen.
    pub end_angstrom: Option<[f64; 2]>,
    /// Distance of neighbouring positions [Å], kept exactly.
    pub step_angstrom: Option<f64>,
    /// Number of positions `[x, y]`, spread evenly.
    pub points: Option<[usize; 2]>,
}

impl SimulationSettings {
    /// Whether electrons scattered elastically into a detector count.
    #[must_use]
    pub fn counts_elastic(&self) -> bool {
        self.thermal_diffuse
            .as_ref()
            .is_none_or(|thermal| thermal.count_elastic)
    }

    /// Checks every section by itself; [`super::Plan::new`] checks them against each other.
    ///
    /// # Errors
    /// File, line, key, what it got and what is allowed.
    pub fn validate(&self, source: &Source) -> Result<()> {
        self.validate_crystal(source)?;
        self.multislice.validate(source)?;
        self.probe.validate(source)?;
        self.validate_tilts(source)?;
        self.validate_detectors(source)?;
        self.validate_images(source)?;
        if let Some(emulator) = &self.emulator {
            emulator.validate(&source.under("emulator"))?;
        }
        if self.phonons.is_some() && self.thermal_diffuse.is_some() {
            let got = "beside [phonons]";
            return Err(source.wrong("thermal_diffuse", got, "one model of thermal motion"));
        }
        self.acquisition
            .as_ref()
            .map_or(Ok(()), |acquisition| acquisition.validate(source))
    }

    /// One crystal, and its tilt field.
    fn validate_crystal(&self, source: &Source) -> Result<()> {
        match (&self.specimen, &self.structure) {
            (Some(specimen), None) => specimen.validate(&source.under("specimen"))?,
            (None, Some(file)) => file.validate(&source.under("structure"))?,
            _ => return Err(one_crystal(self, source)),
        }
        match &self.tilt_field {
            Some(field) => field.validate(&source.under("tilt_field"), self.specimen.as_ref()),
            None => Ok(()),
        }
    }

    fn validate_tilts(&self, source: &Source) -> Result<()> {
        const KEY: &str = "tilts_mrad";
        if self.tilts_mrad.is_empty() {
            let allowed = "at least one tilt, such as [[0.0, 0.0]]";
            return Err(source.wrong(KEY, "an empty list", allowed));
        }
        for tilt in self.tilts_mrad.iter().flatten() {
            source.in_range(KEY, *tilt, -100.0..=100.0, "mrad", "small angles only")?;
        }
        Ok(())
    }

    /// Each detector by itself, and its name.
    fn validate_detectors(&self, source: &Source) -> Result<()> {
        if self.detectors.is_empty() {
            return Err(source.wrong("detectors", "none", "at least one section [detectors.NAME]"));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        for (name, detector) in &self.detectors {
            if name.is_empty() || !name.chars().all(fits) {
                let (key, got) = (format!("detectors.{name}"), format!("`{name}`"));
                return Err(source.wrong(&key, got, "a name of letters, digits, `_` and `-`"));
            }
            detector.validate(source, name)?;
        }
        Ok(())
    }

    /// No two images, or patterns, of one name.
    fn validate_images(&self, source: &Source) -> Result<()> {
        let mut names = BTreeSet::new();
        for (name, detector) in &self.detectors {
            let mut images = detector.image_names(name);
            if images.is_empty() {
                images.push(name.clone());
            }
            for image in images {
                if !names.insert(image.clone()) {
                    let got = format!("an image `{image}` that another detector writes too");
                    return Err(source.wrong(&format!("detectors.{name}"), got, "another name"));
                }
            }
        }
        Ok(())
    }
}
