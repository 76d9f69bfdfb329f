//! What a simulation will do, resolved and checked before anything is computed.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::crystal::Crystal;
use super::emulation::Emulation;
use super::method;
use super::responses::available_responses;
use super::scan::{Raster, wave_grid};
use super::settings::SimulationSettings;
use super::units::{Unit, block_of, cut};
use crate::crystal::snapshots::Snapshots;
use crate::crystal::tilt_field::TiltField;
use crate::crystal::{Structure, Truth};
use crate::error::{Error, Result};
use crate::multislice::checks::{check_detector, check_sight};
use crate::multislice::{
    Detector, Grid, Method, PatternGrid, Windowed, WindowedSettings, slice_count,
};
use crate::neighbours::Point;
use crate::provenance::InputHash;
use crate::settings::Source;
use crate::units::ANGSTROM_PER_NM;

/// A resolved simulation.
#[derive(Clone)]
pub struct Plan {
    /// The settings it came from, `auto` replaced by a method.
    pub settings: SimulationSettings,
    /// Why this method, if it was to be found.
    pub reason: Option<String>,
    /// The atoms.
    pub structure: Structure,
    /// The truth about the columns over one period of the specimen.
    pub truth: Truth,
    /// The grid of the wave.
    pub grid: Grid,
    /// The probe positions.
    pub raster: Raster,
    /// Slices after which the detectors are read.
    pub exit_slices: Vec<usize>,
    /// The cameras of the pixelated detectors, by name and in their order.
    pub cameras: Vec<(String, PatternGrid)>,
    /// Smaller side of the periodic field that a probe has for itself [Å].
    probe_side: f64,
    /// The window of the method of this name, once it was searched.
    pub(super) window: OnceLock<Arc<Windowed>>,
    /// Local tilts, added to each of the tilts.
    pub tilt_field: Option<TiltField>,
    /// Phonon configurations that were given.
    pub(super) snapshots: Option<Snapshots>,
    /// What a person should know about how a file was read.
    pub notes: Vec<String>,
    /// Files that were read besides the settings.
    pub inputs: Vec<PathBuf>,
}

impl Plan {
    /// Resolves settings that came from `source`, and checks its sections against each other.
    ///
    /// # Errors
    /// File, line, key, what it got and what is allowed.
    pub fn new(settings: &SimulationSettings, source: &Source) -> Result<Self> {
        settings.validate(source)?;
        let crystal = Crystal::new(settings, source)?;
        let structure = &crystal.structure;
        let [x, y, height] = structure.cell;
        let grid = wave_grid(&settings.grid, [x, y], source)?;
        let given = settings.multislice.windowed.clone();
        let (settings, reason) = method::resolve(settings, structure.cell);
        method::check(&settings, source, &grid)?;
        let field = method::probe_field(&settings, source, &grid)?;
        check_detectors(&settings, source, &grid, &field)?;
        check_thermal(&settings, source, &crystal)?;
        let chosen = reason.is_some();
        let mut plan = Self {
            exit_slices: settings.multislice.exit_slices(source, height)?,
            raster: Raster::new(&settings.scan, [x, y], source)?,
            cameras: cameras(&settings, &grid)?,
            window: OnceLock::new(),
            probe_side: method::smaller_side(&field),
            settings,
            reason,
            structure: crystal.structure,
            truth: crystal.truth,
            tilt_field: crystal.tilt_field,
            snapshots: crystal.snapshots,
            notes: crystal.notes,
            inputs: crystal.inputs,
            grid,
        };
        let asked = chosen && plan.settings.emulator.is_some();
        if asked {
            match plan.drawn(source) {
                Ok(drawn) => return Ok(drawn),
                Err(why) => plan.reason = plan.reason.map(|r| format!("{r}; not drawn: {why}")),
            }
        }
        Ok(plan.without_vain_windows(given))
    }

    /// The same by the emulator, if there are responses and the plan is inside their ranges.
    fn drawn(&self, source: &Source) -> Result<Self> {
        let mut plan = self.clone();
        plan.settings.multislice.method = Method::Emulator;
        let Some(responses) = available_responses(&plan.settings, source)? else {
            return Err(Error::unmeasurable(
                "emulator",
                "no response for this material and microscope",
                "one that `ferrostem response` has made",
            ));
        };
        Emulation::new(&plan, &responses)?;
        plan.reason = Some("inside the range that its response is certified for".to_owned());
        Ok(plan)
    }

    /// With the full field in place of windows that were chosen by `auto`, if no window suits; `given` is what the settings say
    /// of windows.
    fn without_vain_windows(mut self, given: Option<WindowedSettings>) -> Self {
        let chosen = self.reason.is_some();
        if chosen
            && self.settings.multislice.method == Method::Windowed
            && let Err(error) = self.windowed()
        {
            self.settings.multislice.method = Method::Multislice;
            self.settings.multislice.windowed = given;
            self.reason = Some(format!("no window suits ({error})"));
        }
        self
    }

    /// The units of work, in order.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let regions_first = self.settings.multislice.method == Method::Windowed;
        let tilts = self.settings.tilts_mrad.len();
        cut(
            &self.raster,
            self.block(),
            self.configurations(),
            tilts,
            regions_first,
        )
    }

    /// How the raster is cut into units, `(rows, cols)`.
    pub(super) fn block(&self) -> (usize, usize) {
        block_of(
            self.settings.multislice.method,
            &self.raster,
            self.numbers_per_probe(),
        )
    }

    /// Numbers that a probe gives: channels and pixels of cameras, at each exit.
    pub(super) fn numbers_per_probe(&self) -> usize {
        let pixels = |(_, camera): &(String, PatternGrid)| camera.shape().iter().product::<usize>();
        let readings = self.channel_count() + self.cameras.iter().map(pixels).sum::<usize>();
        readings * self.exit_slices.len()
    }

    /// Smaller side of the periodic field that a probe has for itself [Å].
    pub(super) fn probe_side(&self) -> f64 {
        self.probe_side
    }

    /// Number of phonon configurations; 1 for a lattice at rest.
    #[must_use]
    pub fn configurations(&self) -> usize {
        self.settings
            .phonons
            .as_ref()
            .map_or(1, |phonons| phonons.count(self.snapshots.as_ref()))
    }

    /// Number of channels of all detectors.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        let detectors = self.settings.detectors.values();
        detectors.map(Detector::channel_count).sum()
    }

    /// Probe positions of a unit [Å].
    #[must_use]
    pub fn positions(&self, unit: &Unit) -> Vec<Point> {
        let width = self.raster.points[0];
        unit.places()
            .map(|(row, col)| self.raster.position(row * width + col))
            .collect()
    }

    /// Thickness after each exit slice [nm].
    #[must_use]
    pub fn thicknesses_nm(&self) -> Vec<f64> {
        let height = self.structure.cell[2];
        let thickness =
            height / slice_count(height, self.settings.multislice.slice_thickness_angstrom) as f64;
        self.exit_slices
            .iter()
            .map(|&slices| slices as f64 * thickness / ANGSTROM_PER_NM)
            .collect()
    }

    /// What identifies the parts of this simulation: the settings that the wave depends on, the content of the files they
    /// name, how the raster is cut, and the program's version.
    #[must_use]
    pub fn key(&self, inputs: &[InputHash]) -> String {
        let settings = SimulationSettings {
            acquisition: None,
            ..self.settings.clone()
        };
        let hashes: Vec<&str> = inputs.iter().map(|input| input.blake3.as_str()).collect();
        let (rows, cols) = self.block();
        format!(
            "{}\n{}\n{}\n{rows} × {cols}",
            crate::provenance::VERSION,
            toml::to_string(&settings).unwrap_or_default(),
            hashes.join("\n")
        )
    }
}

/// Checks that the grid carries the detectors, and that they see something in the field that a probe has for itself.
fn check_detectors(
    settings: &SimulationSettings,
    source: &Source,
    grid: &Grid,
    field: &Grid,
) -> Result<()> {
    // What is scattered diffusely into a detector is known for any angle.
    if !settings.counts_elastic() {
        return Ok(());
    }
    for (name, detector) in &settings.detectors {
        check_detector(source, name, detector, grid, &settings.probe)?;
        check_sight(source, name, detector, field, &settings.probe)?;
    }
    Ok(())
}

/// Checks the models of thermal motion against the atoms.
fn check_thermal(settings: &SimulationSettings, source: &Source, crystal: &Crystal) -> Result<()> {
    let structure = &crystal.structure;
    if let Some(phonons) = &settings.phonons {
        let under = source.under("phonons");
        phonons.validate(&under, structure, crystal.snapshots.as_ref())?;
    }
    if let Some(thermal) = &settings.thermal_diffuse {
        thermal.validate(&source.under("thermal_diffuse"), &structure.numbers)?;
    }
    Ok(())
}

/// The cameras of the pixelated detectors.
fn cameras(settings: &SimulationSettings, grid: &Grid) -> Result<Vec<(String, PatternGrid)>> {
    let mut cameras = Vec::new();
    for (name, detector) in &settings.detectors {
        if let Detector::Pixelated(camera) = detector {
            let camera = PatternGrid::new(camera, grid, settings.probe.wavelength())?;
            cameras.push((name.clone(), camera));
        }
    }
    Ok(cameras)
}
