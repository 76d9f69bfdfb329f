//! What a simulation will do, resolved and checked before anything is computed.

use std::path::PathBuf;
use std::sync::Arc;

use super::crystal::Crystal;
use super::method;
use super::scan::{Raster, wave_grid};
use super::settings::SimulationSettings;
use super::units::{Unit, block_of, cut};
use crate::crystal::snapshots::Snapshots;
use crate::crystal::tilt_field::TiltField;
use crate::crystal::{Structure, Truth};
use crate::error::Result;
use crate::multislice::checks::{Sizes, Work, check_detector, expected_work, probe_room};
use crate::multislice::{
    Detector, Grid, Method, Multislice, Optics, Potential, ThermalDiffuse, slice_count,
};
use crate::neighbours::Point;
use crate::progress::Reporter;
use crate::provenance::InputHash;
use crate::settings::Source;
use crate::units::ANGSTROM_PER_NM;

/// Pixels of transmission functions above this make columns depend on where they lie between them, by more than about a
/// per cent for a light column [Å].
const COARSE: f64 = 0.04;

/// Slices of the trial that a time estimate is made from.
const SLICES_OF_A_TRIAL: usize = 8;

/// Memory that is free for a program [bytes], where the system tells.
fn free_memory() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// A resolved simulation.
#[derive(Debug, Clone)]
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
    /// Smaller side of the periodic field that a probe has for itself [Å].
    probe_side: f64,
    /// Local tilts, added to each of the tilts.
    pub tilt_field: Option<TiltField>,
    /// Phonon configurations that were given.
    snapshots: Option<Snapshots>,
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
        let (settings, reason) = method::resolve(settings, structure.cell);
        method::check(&settings, source, &grid)?;
        let field = method::probe_field(&settings, source, &grid)?;
        for (name, detector) in &settings.detectors {
            // What is scattered diffusely into a detector is known for any angle.
            if settings.counts_elastic() {
                check_detector(source, name, detector, &grid, &settings.probe)?;
            }
        }
        if let Some(phonons) = &settings.phonons {
            let under = source.under("phonons");
            phonons.validate(&under, structure, crystal.snapshots.as_ref())?;
        }
        if let Some(thermal) = &settings.thermal_diffuse {
            thermal.validate(&source.under("thermal_diffuse"), &structure.numbers)?;
        }
        Ok(Self {
            exit_slices: settings.multislice.exit_slices(source, height)?,
            raster: Raster::new(&settings.scan, [x, y], source)?,
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
        })
    }

    /// The units of work, in order.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let method = self.settings.multislice.method;
        cut(
            &self.raster,
            block_of(method, &self.raster),
            self.configurations(),
            self.settings.tilts_mrad.len(),
            method == Method::Windowed,
        )
    }

    /// Number of phonon configurations; 1 for a lattice at rest.
    #[must_use]
    pub fn configurations(&self) -> usize {
        self.settings
            .phonons
            .as_ref()
            .map_or(1, |phonons| phonons.count(self.snapshots.as_ref()))
    }

    /// The projected potential of a phonon configuration, slice by slice.
    ///
    /// # Errors
    /// An element that the scattering table does not hold.
    pub fn potential(&self, configuration: usize) -> Result<Potential> {
        let Structure {
            positions,
            numbers,
            cell,
            ..
        } = &self.structure;
        let displaced;
        let positions = match &self.settings.phonons {
            None => positions,
            Some(phonons) => {
                displaced = phonons.displaced(
                    &self.structure,
                    self.settings.seed,
                    configuration,
                    self.snapshots.as_ref(),
                )?;
                &displaced
            }
        };
        let multislice = &self.settings.multislice;
        let (table, thickness) = (
            multislice.scattering_factors,
            multislice.slice_thickness_angstrom,
        );
        Potential::new(
            positions,
            numbers,
            *cell,
            self.grid.shape(),
            table,
            thickness,
        )?
        .oversampled(multislice.oversampling)
        .and_then(|potential| match &self.settings.thermal_diffuse {
            None => Ok(potential),
            Some(thermal) => potential.damped(&thermal.rms_by_number()),
        })
    }

    /// The microscope; detectors are in the order of their names.
    ///
    /// # Errors
    /// The scattering table lacks an element of the thermal-diffuse model.
    pub fn optics(&self) -> Result<Optics> {
        let detectors: Vec<Detector> = self.settings.detectors.values().cloned().collect();
        let (probe, table) = (
            &self.settings.probe,
            self.settings.multislice.scattering_factors,
        );
        let thermal = self.settings.thermal_diffuse.as_ref();
        let tables = thermal.map(|thermal| ThermalDiffuse::new(thermal, table, probe, &detectors));
        Ok(Optics {
            probe: probe.clone(),
            detectors,
            exit_slices: self.exit_slices.clone(),
            precision: self.settings.multislice.precision,
            thermal: tables.transpose()?.map(Arc::new),
        })
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

    /// What identifies the numbers of this simulation: the settings that the wave depends on, the content of the files they
    /// name, and the program's version.
    #[must_use]
    pub fn key(&self, inputs: &[InputHash]) -> String {
        let settings = SimulationSettings {
            acquisition: None,
            ..self.settings.clone()
        };
        let hashes: Vec<&str> = inputs.iter().map(|input| input.blake3.as_str()).collect();
        format!(
            "{}\n{}\n{}",
            crate::provenance::VERSION,
            toml::to_string(&settings).unwrap_or_default(),
            hashes.join("\n")
        )
    }

    /// Lines about size and work, for `check` and `--verbose`.
    ///
    /// # Errors
    /// As [`Plan::potential`].
    pub fn describe(&self) -> Result<String> {
        let (rows, cols) = self.grid.shape();
        let [dy, dx] = self.grid.sampling();
        let band_limit = Detector::limit_mrad(&self.grid, self.settings.probe.wavelength());
        let [px, py] = self.raster.points;
        let [sx, sy] = self.raster.step;
        let thicknesses: Vec<String> = self
            .thicknesses_nm()
            .iter()
            .map(|t| format!("{t:.3}"))
            .collect();
        let work = self.work()?;
        let lines = [
            ("crystal", self.notes.join("; ")),
            ("atoms", self.structure.len().to_string()),
            (
                "grid",
                format!("{cols} × {rows} px of {dx:.4} × {dy:.4} Å (x × y)"),
            ),
            ("band limit", format!("{band_limit:.1} mrad")),
            (
                "probes",
                format!("{px} × {py}, {sx:.4} × {sy:.4} Å apart (x × y)"),
            ),
            (
                "method",
                match (&self.reason, self.settings.multislice.method) {
                    (Some(reason), method) => format!("{method}: {reason}"),
                    (None, method) => method.to_string(),
                },
            ),
            ("tilts", self.settings.tilts_mrad.len().to_string()),
            (
                "phonons",
                match (&self.settings.phonons, &self.settings.thermal_diffuse) {
                    (Some(_), _) => format!("{} configurations", self.configurations()),
                    (None, Some(_)) => "thermal-diffuse model, one pass".to_owned(),
                    (None, None) => "none, the lattice is at rest".to_owned(),
                },
            ),
            ("exit thicknesses", format!("{} nm", thicknesses.join(", "))),
            ("wave-slices", work.wave_slices.to_string()),
            (
                "memory",
                format!("about {:.2} GiB", work.bytes as f64 / f64::from(1u32 << 30)),
            ),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:<18}{value}"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    /// Wave-slices and memory.
    ///
    /// # Errors
    /// As [`Plan::potential`].
    pub fn work(&self) -> Result<Work> {
        let sizes = Sizes {
            shape: self.grid.shape(),
            slices: self.exit_slices.last().copied().unwrap_or(0),
            unique_slices: self.potential(0)?.unique_slices(),
            probes: self.raster.len(),
            tilts: self.settings.tilts_mrad.len() * self.configurations(),
            threads: rayon::current_num_threads(),
            oversampling: self.settings.multislice.oversampling,
        };
        Ok(expected_work(sizes, self.settings.multislice.precision))
    }

    /// Refuses work that this machine's memory cannot hold.
    ///
    /// # Errors
    /// What it needs and what is free.
    pub fn check_memory(&self, source: &Source) -> Result<()> {
        let Some(free) = free_memory() else {
            return Ok(());
        };
        let multislice = &self.settings.multislice;
        let (rows, cols) = self.grid.shape();
        // The scattering factors of three elements on the fine grid come first; only then is the rest worth counting.
        let fine = (rows * cols * multislice.oversampling.pow(2)) as f64 * 8.0 * 3.0;
        let needed = if fine > free {
            fine
        } else {
            self.work()?.bytes as f64
        };
        if needed <= free {
            return Ok(());
        }
        let gib = f64::from(1u32 << 30);
        let got = format!(
            "a {cols} × {rows} px wave that needs {:.1} GiB with its potentials",
            needed / gib
        );
        let allowed = format!(
            "what fits into the {:.1} GiB free here: a coarser grid, a smaller specimen, less oversampling",
            free / gib
        );
        Err(source.wrong("grid", got, allowed))
    }

    /// Seconds that the whole work will take on this machine, from a few waves sent through a few slices.
    ///
    /// # Errors
    /// As [`Plan::potential`].
    pub fn estimate_seconds(&self) -> Result<f64> {
        let slices = self
            .exit_slices
            .last()
            .copied()
            .unwrap_or(1)
            .min(SLICES_OF_A_TRIAL);
        let optics = Optics {
            exit_slices: vec![slices],
            ..self.optics()?
        };
        let engine = Multislice::new(&self.potential(0)?, &optics)?;
        let waves = 2 * rayon::current_num_threads();
        let positions = vec![self.raster.start; waves];
        // The first pass touches the memory, the second is timed.
        let _ = engine.scan(&positions);
        let start = std::time::Instant::now();
        let _ = engine.scan(&positions);
        let each = start.elapsed().as_secs_f64() / (waves * slices) as f64;
        Ok(each * self.work()?.wave_slices as f64)
    }

    /// Says what may surprise: a probe that spreads beyond its field, detectors that touch the taper of the band limit,
    /// columns that look different between the pixels.
    pub fn warn(&self, reporter: &Reporter) {
        let depth = self.thicknesses_nm().last().copied().unwrap_or(0.0);
        let (room, why) = probe_room(&self.settings.probe, depth * ANGSTROM_PER_NM);
        if room > self.probe_side {
            reporter.say(format!(
                "warning: the probe has {:.1} Å for itself and may need {room:.1} Å at {depth:.1} nm: {why}; beyond that it \
                 meets its own periodic images (channelling keeps it narrower)",
                self.probe_side
            ));
        }
        let [dy, dx] = self.grid.sampling();
        let multislice = &self.settings.multislice;
        let fine = dy.max(dx) / multislice.oversampling as f64;
        if multislice.oversampling == 1 && fine > COARSE && self.settings.thermal_diffuse.is_none()
        {
            reporter.say(format!(
                "warning: transmission functions are made on pixels of {fine:.3} Å: the dark-field signal of a column depends \
                 on where it lies between them, by per cents; multislice.oversampling = {} would cure most of it (1 is what \
                 other programs do)",
                (dy.max(dx) / COARSE).ceil()
            ));
        }
        if self.configurations() > 1 && multislice.method == Method::Bloch {
            reporter.say(
                "warning: with method bloch the displacements of a phonon configuration repeat with the cell; \
                 [thermal_diffuse] has no such order",
            );
        }
        if !self.settings.counts_elastic() {
            return;
        }
        let wavelength = self.settings.probe.wavelength();
        let limit = Detector::limit_mrad(&self.grid, wavelength);
        for (name, detector) in &self.settings.detectors {
            if detector.touches_taper(&self.grid, wavelength) {
                reporter.say(format!(
                    "warning: detector {name} reaches into the taper below the band limit of {limit:.1} mrad: its outer \
                     part is damped by the grid, not by physics; a finer grid cures this"
                ));
            }
        }
    }
}
