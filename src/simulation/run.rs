//! Doing what a plan says, unit by unit, and writing the images.

use std::path::Path;

use ndarray::{Array2, Array4, s};

use super::plan::Plan;
use super::settings::SimulationSettings;
use super::simulator::Simulator;
use super::units::{Shard, Unit};
use crate::acquisition::Acquisition;
use crate::error::Result;
use crate::image::Image;
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::settings::Source;
use crate::storage::claim::{Claim, Company};
use crate::storage::hspy::{DetectorStack, ImageFile, write_images};
use crate::storage::output::{partial_path, refuse_file, refuse_inputs};
use crate::storage::parts::Parts;

/// What a call of [`simulate`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The image file is there.
    Finished,
    /// This shard's units are there; so many units of other shards are still missing.
    ShardFinished {
        /// Units that no shard has computed yet.
        missing: usize,
    },
}

/// Simulates the images that `settings` (from `source`) ask for and writes them to `output`.
///
/// With a `shard`, only its units are computed; without, all that are missing, and the file is written. Units that an
/// interrupted call or a shard left in `NAME.partial` beside `output` are taken over.
///
/// # Errors
/// A wrong setting, a finished `output` without `force`, or a file that cannot be written.
pub fn simulate(
    settings: &SimulationSettings,
    source: &Source,
    output: &Path,
    force: bool,
    shard: Option<Shard>,
    reporter: &Reporter,
) -> Result<Outcome> {
    let plan = Plan::new(settings, source)?;
    refuse_file(output, force)?;
    refuse_inputs(output, &[source.path()])?;
    plan.check_memory(source)?;
    plan.warn(reporter);
    reporter.detail(plan.describe()?);
    let provenance = Provenance::start(
        "simulate",
        toml::to_string(settings).unwrap_or_default(),
        Some(settings.seed),
    );
    let company = if shard.is_some() {
        Company::Shards
    } else {
        Company::None
    };
    let _claim = Claim::new(&partial_path(output), &plan.key(), company, force)?;
    let parts = Parts::new(&partial_path(output), &plan.key());
    compute_missing(&plan, &parts, shard, reporter)?;
    let units = plan.units();
    let missing = (0..units.len())
        .filter(|&index| parts.read(index).is_none())
        .count();
    if shard.is_some() {
        return Ok(Outcome::ShardFinished { missing });
    }
    let file = assemble(&plan, &parts, provenance)?;
    write_images(output, &file, force)?;
    parts.remove()?;
    Ok(Outcome::Finished)
}

/// What the microscope makes of an ideal image of this plan; `frame` numbers its random streams.
///
/// # Errors
/// An intensity that cannot be counted.
pub fn acquire(
    plan: &Plan,
    acquisition: &Acquisition,
    ideal: Array2<f32>,
    frame: u64,
) -> Result<Image> {
    let [x, y, _] = plan.settings.specimen.extent();
    let image = Image {
        data: ideal,
        sampling: [plan.raster.step[1], plan.raster.step[0]],
    };
    acquisition.acquire(
        &image,
        plan.raster.border([x, y]),
        plan.settings.seed,
        frame,
    )
}

/// Every frame of detector number `detector` as acquired, `(tilt, thickness, y, x)`.
fn acquire_stack(
    plan: &Plan,
    acquisition: &Acquisition,
    ideal: &Array4<f32>,
    detector: usize,
) -> Result<Array4<f32>> {
    let (tilts, thicknesses, ..) = ideal.dim();
    let mut acquired = Array4::zeros(ideal.dim());
    for tilt in 0..tilts {
        for thickness in 0..thicknesses {
            let frame = ((detector * tilts + tilt) * thicknesses + thickness) as u64;
            let image = acquire(
                plan,
                acquisition,
                ideal.slice(s![tilt, thickness, .., ..]).to_owned(),
                frame,
            )?;
            acquired
                .slice_mut(s![tilt, thickness, .., ..])
                .assign(&image.data);
        }
    }
    Ok(acquired)
}

/// Computes the units of a shard, or all, that are not there yet.
fn compute_missing(
    plan: &Plan,
    parts: &Parts,
    shard: Option<Shard>,
    reporter: &Reporter,
) -> Result<()> {
    let units = plan.units();
    let mine = |index: &usize| shard.is_none_or(|shard| shard.has(*index));
    let wanted: Vec<usize> = (0..units.len())
        .filter(mine)
        .filter(|&index| parts.read(index).is_none())
        .collect();
    let total: usize = units
        .iter()
        .enumerate()
        .filter(|(i, _)| mine(i))
        .map(|(_, unit)| unit.len())
        .sum();
    let left: usize = wanted.iter().map(|&index| units[index].len()).sum();
    if wanted.is_empty() {
        return Ok(());
    }
    let bar = reporter.bar("probes", total as u64);
    bar.set_position((total - left) as u64);
    bar.reset_eta();
    let mut simulator = Simulator::new(plan);
    for index in wanted {
        let readings = simulator.readings(&units[index])?;
        let rounded: Vec<f32> = readings.iter().map(|&x| x as f32).collect();
        parts.write(index, &rounded)?;
        bar.inc(units[index].len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Puts the parts together, and adds what the microscope does.
fn assemble(plan: &Plan, parts: &Parts, provenance: Provenance) -> Result<ImageFile> {
    let [columns, rows] = plan.raster.points;
    let shape = (
        plan.settings.tilts_mrad.len(),
        plan.exit_slices.len(),
        rows,
        columns,
    );
    let mut sums = vec![Array4::<f64>::zeros(shape); plan.settings.detectors.len()];
    for (index, unit) in plan.units().iter().enumerate() {
        let numbers = parts.read(index).unwrap_or_default();
        place(&mut sums, unit, &numbers, plan);
    }
    let ideal: Vec<Array4<f32>> = sums.iter().map(|sum| sum.mapv(|x| x as f32)).collect();
    let mut detectors = Vec::new();
    if let Some(acquisition) = &plan.settings.acquisition {
        for (number, (name, stack)) in plan.settings.detectors.keys().zip(&ideal).enumerate() {
            let data = acquire_stack(plan, acquisition, stack, number)?;
            detectors.push(DetectorStack {
                name: name.clone(),
                data,
            });
        }
    }
    let suffix = if plan.settings.acquisition.is_some() {
        "_ideal"
    } else {
        ""
    };
    for (name, data) in plan.settings.detectors.keys().zip(ideal) {
        detectors.push(DetectorStack {
            name: format!("{name}{suffix}"),
            data,
        });
    }
    let [x, y, _] = plan.structure.cell;
    Ok(ImageFile {
        detectors,
        sampling: [plan.raster.step[1], plan.raster.step[0]],
        offset: [plan.raster.start[1], plan.raster.start[0]],
        tilts_mrad: plan.settings.tilts_mrad.clone(),
        thicknesses_nm: plan.thicknesses_nm(),
        structure: plan.structure.clone(),
        truth: plan
            .truth
            .in_field(plan.raster.start, plan.raster.end(), [x, y]),
        provenance: provenance.finished(),
    })
}

/// Adds the numbers `(detector, thickness, probe)` of a unit to the stacks, as its part of the mean over configurations.
fn place(stacks: &mut [Array4<f64>], unit: &Unit, numbers: &[f32], plan: &Plan) {
    let thicknesses = plan.exit_slices.len();
    let mut numbers = numbers.iter();
    let weight = 1.0 / plan.configurations() as f64;
    for stack in stacks {
        for thickness in 0..thicknesses {
            for ((row, col), &number) in unit.places().zip(numbers.by_ref()) {
                stack[(unit.tilt, thickness, row, col)] += weight * f64::from(number);
            }
        }
    }
}
