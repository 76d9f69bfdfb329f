//! The emulator as an engine: what it can draw, and drawing it.

use ndarray::Array3;
use serde::{Deserialize, Serialize};

use super::extremes::Extremes;
use super::plan::Plan;
use super::settings::SimulationSettings;
use super::units::Unit;
use crate::emulator::{Frame, Microscope, Painter, Response, Sites, TrainingSettings};
use crate::error::{Error, Result};
use crate::multislice::Detector;
use crate::neighbours::Point;
use crate::settings::Source;
use crate::units::ANGSTROM_PER_NM;

/// Thicknesses that differ by less than this part of a cell are the same.
const SAME: f64 = 1e-3;

/// The `[emulator]` section; all keys have defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmulatorSettings {
    /// A response file; left out, one that fits is looked for, and made if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<std::path::PathBuf>,
    /// Edge of the ideal cell that the response is made for [Å]; specimens may be strained against it by half a per cent.
    pub lattice_angstrom: f64,
    /// Pixels of the wave along the edge of a cell, for the exact engine that the response is learnt from.
    pub pixels_per_cell: usize,
    /// Seed of the blocks that it is learnt from.
    pub seed: u64,
    /// These blocks.
    pub training: TrainingSettings,
}

impl Default for EmulatorSettings {
    fn default() -> Self {
        Self {
            response: None,
            lattice_angstrom: 3.9643,
            pixels_per_cell: 64,
            seed: 1,
            training: TrainingSettings::default(),
        }
    }
}

impl EmulatorSettings {
    /// Checks the numbers; `source` stands at this section.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source) -> Result<()> {
        source.in_range(
            "lattice_angstrom",
            self.lattice_angstrom,
            3.0..=6.0,
            "Å",
            "a perovskite cell",
        )?;
        let pixels = self.pixels_per_cell as f64;
        source.in_range(
            "pixels_per_cell",
            pixels,
            16.0..=256.0,
            "",
            "64 for 30 mrad and 200 kV",
        )?;
        self.training.validate(&source.under("training"))
    }
}

/// What a response has to be for, to draw a simulation; `sections` names what stands in the way.
///
/// # Errors
/// What the emulator cannot do, in words.
pub(super) fn microscope(settings: &SimulationSettings) -> std::result::Result<Microscope, String> {
    let given = settings.emulator.clone().unwrap_or_default();
    let Some(specimen) = &settings.specimen else {
        return Err("a structure from a file: it draws specimens made by a recipe".to_owned());
    };
    if specimen.film.is_some() {
        return Err("a film on its substrate: it knows one material at a time".to_owned());
    }
    let Some(thermal) = &settings.thermal_diffuse else {
        return Err(
            "no [thermal_diffuse]: what it learnt from has that model of thermal motion".to_owned(),
        );
    };
    let annular = |detector: &Detector| matches!(detector, Detector::Annular(_));
    if let Some((name, _)) = settings
        .detectors
        .iter()
        .find(|(_, detector)| !annular(detector))
    {
        return Err(format!(
            "the detector {name}: it draws images of annular detectors"
        ));
    }
    let mut thermal = thermal.clone();
    // Sm moves like the Bi that it replaces, unless said otherwise; a response knows both.
    if let Some(&rms) = thermal.rms_angstrom.get("Bi") {
        thermal.rms_angstrom.entry("Sm".to_owned()).or_insert(rms);
    }
    let multislice = &settings.multislice;
    let slices = specimen.lattice().edge / multislice.slice_thickness_angstrom;
    Ok(Microscope {
        pixels_per_cell: given.pixels_per_cell,
        slices_per_cell: (slices - SAME).ceil().max(1.0) as usize,
        oversampling: multislice.oversampling,
        precision: multislice.precision,
        scattering_factors: multislice.scattering_factors,
        thermal_diffuse: thermal,
        probe: settings.probe.clone(),
        detectors: settings.detectors.clone(),
    })
}

/// Depths of the exits of a plan [cells].
///
/// # Errors
/// A thickness that is not of whole cells.
fn depths(plan: &Plan) -> Result<Vec<usize>> {
    let edge = plan.structure.cell[0] / cells(plan)[0] as f64;
    let whole = |&nm: &f64| {
        let cells = nm * ANGSTROM_PER_NM / edge;
        if (cells - cells.round()).abs() > SAME {
            return Err(Error::unmeasurable(
                "emulator, multislice.exit_thicknesses_nm",
                format!("{nm} nm, {cells:.3} cells"),
                format!("whole cells of {:.5} nm", edge / ANGSTROM_PER_NM),
            ));
        }
        Ok(cells.round() as usize)
    };
    plan.thicknesses_nm().iter().map(whole).collect()
}

fn cells(plan: &Plan) -> [usize; 3] {
    plan.settings
        .specimen
        .as_ref()
        .map_or([1; 3], |specimen| specimen.cells)
}

/// A plan made ready to be drawn.
pub(super) struct Emulation {
    /// Columns at each exit.
    sites: Vec<Sites>,
    /// `(detector, exit)`.
    painters: Vec<Vec<Painter>>,
}

impl Emulation {
    /// With one response per detector; everything is inside their ranges.
    ///
    /// # Errors
    /// What is outside a range, with the range.
    pub(super) fn new(plan: &Plan, responses: &[Response]) -> Result<Self> {
        let depths = depths(plan)?;
        let sites: Vec<Sites> = depths
            .iter()
            .map(|&depth| Sites::new(&plan.structure, cells(plan), depth))
            .collect::<Result<_>>()?;
        let mut painters = Vec::new();
        for response in responses {
            for sites in &sites {
                check(plan, sites, response)?;
            }
            let painter = |&depth: &usize| Painter::new(response, depth, plan.raster.step);
            painters.push(depths.iter().map(painter).collect::<Result<_>>()?);
        }
        Ok(Self { sites, painters })
    }

    /// Readings of a unit, `(channel, thickness, probe)`.
    pub(super) fn readings(&self, plan: &Plan, unit: &Unit) -> Array3<f64> {
        let raster = &plan.raster;
        let frame = Frame {
            start: [
                raster.start[0] + unit.cols.start as f64 * raster.step[0],
                raster.start[1] + unit.rows.start as f64 * raster.step[1],
            ],
            step: raster.step,
            points: [unit.cols.len(), unit.rows.len()],
        };
        let tilt = |point: Point| local_tilt(plan, unit.tilt, point);
        let shape = (self.painters.len(), self.sites.len(), unit.len());
        let mut readings = Array3::zeros(shape);
        for (channel, painters) in self.painters.iter().enumerate() {
            for (exit, (painter, sites)) in painters.iter().zip(&self.sites).enumerate() {
                let image = painter.paint(sites, &frame, &tilt);
                for (probe, value) in image.iter().enumerate() {
                    readings[(channel, exit, probe)] = f64::from(*value);
                }
            }
        }
        readings
    }
}

/// The mistilt at a point [mrad].
fn local_tilt(plan: &Plan, tilt: usize, point: Point) -> [f64; 2] {
    let whole = plan.settings.tilts_mrad[tilt];
    let field = plan.tilt_field.as_ref();
    let here = field.map_or([0.0; 2], |field| field.at(point));
    [whole[0] + here[0], whole[1] + here[1]]
}

/// Checks that all columns that are drawn are inside the range of a response.
fn check(plan: &Plan, sites: &Sites, response: &Response) -> Result<()> {
    let (range, raster) = (&response.certificate.range, &plan.raster);
    let step = raster.step[0].min(raster.step[1]);
    if step < range.step_angstrom {
        return Err(Error::unmeasurable(
            "emulator, scan step",
            format!("{step} Å"),
            format!(
                "{} Å or more, for which the response file is certified",
                range.step_angstrom
            ),
        ));
    }
    let last = |axis: usize| (raster.points[axis] - 1) as f64 * raster.step[axis];
    let area = [0, 1].map(|axis| [raster.start[axis], raster.start[axis] + last(axis)]);
    let tilts = |point| {
        let all = 0..plan.settings.tilts_mrad.len();
        all.map(|tilt| local_tilt(plan, tilt, point)).collect()
    };
    Extremes::of(sites, area, &tilts).check(sites, response)
}
