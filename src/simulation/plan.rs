//! What a simulation will do, resolved and checked before anything is computed.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::crystal::Crystal;
use super::method;
use super::scan::{Raster, wave_grid};
use super::settings::SimulationSettings;
use super::units::{Unit, block_of, cut};
use crate::crystal::snapshots::Snapshots;
use crate::crystal::tilt_field::TiltField;
use crate::crystal::{Structure, Truth};
use crate::error::Result;
use crate::multislice::checks::{check_detector, check_sight, probe_room};
use crate::multislice::{
    Detector, Grid, Method, Optics, Potential, ScanArea, ThermalDiffuse, Windowed, slice_count,
};
use crate::neighbours::Point;
use crate::progress::Reporter;
use crate::provenance::InputHash;
use crate::settings::Source;
use crate::units::{ANGSTROM_PER_NM, RAD_PER_MRAD};

/// Pixels of transmission functions above this make columns depend on where they lie between them, by more than about a
/// per cent for a light column [Å].
const COARSE: f64 = 0.04;

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
    /// Smaller side of the periodic field that a probe has for itself [Å].
    probe_side: f64,
    /// The window of the method of this name, once it was searched.
    window: OnceLock<Arc<Windowed>>,
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
                check_sight(source, name, detector, &field, &settings.probe)?;
            }
        }
        if let Some(phonons) = &settings.phonons {
            let under = source.under("phonons");
            phonons.validate(&under, structure, crystal.snapshots.as_ref())?;
        }
        if let Some(thermal) = &settings.thermal_diffuse {
            thermal.validate(&source.under("thermal_diffuse"), &structure.numbers)?;
        }
        let plan = Self {
            exit_slices: settings.multislice.exit_slices(source, height)?,
            raster: Raster::new(&settings.scan, [x, y], source)?,
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
        Ok(plan.without_vain_windows())
    }

    /// With the full field in place of windows that were chosen by `auto`, if no window suits.
    fn without_vain_windows(mut self) -> Self {
        let chosen = self.reason.is_some();
        if chosen
            && self.settings.multislice.method == Method::Windowed
            && let Err(error) = self.windowed()
        {
            self.settings.multislice.method = Method::Multislice;
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
        block_of(self.settings.multislice.method, &self.raster)
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

    /// The windows of the method of this name, searched when they are first asked for.
    ///
    /// # Errors
    /// The window cannot reach its bound; as [`Plan::optics`] and [`Plan::potential`].
    pub fn windowed(&self) -> Result<Arc<Windowed>> {
        if let Some(found) = self.window.get() {
            return Ok(Arc::clone(found));
        }
        let settings = self.settings.multislice.windowed.clone();
        let found = Arc::new(Windowed::new(
            Arc::new(self.potential(0)?),
            &self.optics()?,
            &settings.unwrap_or_default(),
            &self.area(0..self.raster.points[1], 0..self.raster.points[0]),
        )?);
        Ok(Arc::clone(self.window.get_or_init(|| found)))
    }

    /// A rectangle of the raster, with all tilts that its probes may meet.
    #[must_use]
    pub fn area(&self, rows: Range<usize>, cols: Range<usize>) -> ScanArea {
        let width = self.raster.points[0];
        let corner = |row: usize, col: usize| self.raster.position(row * width + col);
        let tilts = &self.settings.tilts_mrad;
        let tilts_mrad = match &self.tilt_field {
            None => tilts.clone(),
            Some(field) => {
                // Anywhere in the raster, so that all areas have the same windows.
                let all = (0..self.raster.len()).map(|index| field.at(self.raster.position(index)));
                let mut range = [[f64::INFINITY; 2], [f64::NEG_INFINITY; 2]];
                for local in all {
                    for axis in 0..2 {
                        range[0][axis] = range[0][axis].min(local[axis]);
                        range[1][axis] = range[1][axis].max(local[axis]);
                    }
                }
                let sum =
                    |tilt: &[f64; 2], local: [f64; 2]| [tilt[0] + local[0], tilt[1] + local[1]];
                tilts
                    .iter()
                    .flat_map(|tilt| range.map(|local| sum(tilt, local)))
                    .collect()
            }
        };
        ScanArea {
            low: corner(rows.start, cols.start),
            high: corner(rows.end - 1, cols.end - 1),
            tilts_mrad,
        }
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
            ("window", self.window_in_words()?),
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

    /// The window in words; nothing for other methods.
    fn window_in_words(&self) -> Result<String> {
        if self.settings.multislice.method != Method::Windowed {
            return Ok(String::new());
        }
        let windowed = self.windowed()?;
        let [height, width] = windowed.window().extent();
        let (rows, cols) = windowed.window().shape();
        let border = windowed.border_intensity().map_or_else(
            || "fixed".to_owned(),
            |border| format!("{border:.1e} of the beam in its outer tenth"),
        );
        Ok(format!(
            "{width:.1} × {height:.1} Å, {cols} × {rows} px (x × y), {border}"
        ))
    }

    /// Says what may surprise: a probe that spreads beyond its field, detectors that touch the taper of the band limit,
    /// columns that look different between the pixels.
    pub fn warn(&self, reporter: &Reporter) {
        let multislice = &self.settings.multislice;
        let depth = self.thicknesses_nm().last().copied().unwrap_or(0.0);
        let (room, why) = probe_room(&self.settings.probe, depth * ANGSTROM_PER_NM);
        if room > self.probe_side && multislice.method != Method::Windowed {
            reporter.say(format!(
                "warning: the probe has {:.1} Å for itself and may need {room:.1} Å at {depth:.1} nm: {why}; beyond that it \
                 meets its own periodic images (channelling keeps it narrower)",
                self.probe_side
            ));
        }
        let [dy, dx] = self.grid.sampling();
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
        let counted = self.settings.acquisition.as_ref();
        let signed = |(_, detector): &(&String, &Detector)| detector.is_signed();
        if counted.is_some_and(|acquisition| acquisition.dose_per_angstrom2.is_some())
            && let Some((name, _)) = self.settings.detectors.iter().find(signed)
        {
            reporter.say(format!(
                "warning: images of detector {name} are differences, not counts: they are blurred and distorted, without noise"
            ));
        }
        if self.configurations() > 1 && multislice.method == Method::Bloch {
            reporter.say(
                "warning: with method bloch the displacements of a phonon configuration repeat with the cell; \
                 [thermal_diffuse] has no such order",
            );
        }
        if multislice.method == Method::Prism
            && multislice
                .prism
                .as_ref()
                .is_some_and(|prism| prism.interpolation > 1)
            && self.settings.counts_elastic()
        {
            for (name, detector) in &self.settings.detectors {
                let reach = depth * ANGSTROM_PER_NM * (detector.outer_mrad() * RAD_PER_MRAD).tan();
                if reach > 0.5 * self.probe_side {
                    reporter.say(format!(
                        "warning: what is scattered to the outer angle of detector {name} travels {reach:.1} Å and leaves the \
                         window of PRISM, {:.1} Å wide: it comes back on the other side; less interpolation, or a wider specimen, \
                         cures this",
                        self.probe_side
                    ));
                }
            }
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
