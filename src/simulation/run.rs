//! Doing what a plan says, unit by unit, and writing the images.

use std::path::{Path, PathBuf};

use super::assembly::assemble;
use super::emulation::Emulation;
use super::plan::Plan;
use super::responses::responses;
use super::settings::SimulationSettings;
use super::simulator::Simulator;
use super::units::Shard;
use crate::emulator::Response;
use crate::error::Result;
use crate::multislice::Method;
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::settings::Source;
use crate::storage::claim::{Claim, Company};
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
    let inputs: Vec<&Path> = plan.inputs.iter().map(PathBuf::as_path).collect();
    refuse_inputs(output, &[&[source.path()], inputs.as_slice()].concat())?;
    let (plan, responses) = with_responses(plan, source, reporter)?;
    plan.check_memory(source)?;
    plan.warn(reporter);
    if let Some(reason) = &plan.reason {
        let method = plan.settings.multislice.method;
        reporter.say(format!("method {method}: {reason}"));
    }
    for note in &plan.notes {
        reporter.say(note);
    }
    reporter.detail(plan.describe()?);
    let mut provenance = Provenance::start(
        "simulate",
        toml::to_string(&plan.settings).unwrap_or_default(),
        Some(settings.seed),
    );
    for input in &plan.inputs {
        provenance.add_input(input)?;
    }
    let key = plan.key(&provenance.inputs);
    let company = if shard.is_some() {
        Company::Shards
    } else {
        Company::None
    };
    let _claim = Claim::new(&partial_path(output), &key, company, force)?;
    let parts = Parts::new(&partial_path(output), &key);
    compute_missing(&plan, &parts, &responses, shard, reporter)?;
    let units = plan.units();
    let missing = (0..units.len())
        .filter(|&index| parts.read(index).is_none())
        .count();
    if shard.is_some() {
        return Ok(Outcome::ShardFinished { missing });
    }
    assemble(&plan, &parts, provenance, output, force)?;
    parts.remove()?;
    Ok(Outcome::Finished)
}

/// The responses that a plan for the emulator needs; what the plan asks for is inside their ranges.
///
/// # Errors
/// What is outside; a response that cannot be had.
fn with_responses(
    plan: Plan,
    source: &Source,
    reporter: &Reporter,
) -> Result<(Plan, Vec<Response>)> {
    if plan.settings.multislice.method != Method::Emulator {
        return Ok((plan, Vec::new()));
    }
    let responses = responses(&plan.settings, source, reporter)?;
    Emulation::new(&plan, &responses)?;
    Ok((plan, responses))
}

/// Computes the units of a shard, or all, that are not there yet.
fn compute_missing(
    plan: &Plan,
    parts: &Parts,
    responses: &[Response],
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
    let mut simulator = Simulator::new(plan, responses)?;
    if plan.settings.multislice.method == Method::Windowed {
        reporter.say(window_error(plan)?);
    }
    for index in wanted {
        // What is read is dropped as soon as it is rounded: patterns are large.
        let rounded: Vec<f32> = simulator
            .readings(&units[index])?
            .into_iter()
            .map(|x| x as f32)
            .collect();
        parts.write(index, &rounded)?;
        bar.inc(units[index].len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// How far trial probes on windows are from those on a larger field, in words.
fn window_error(plan: &Plan) -> Result<String> {
    let windowed = plan.windowed()?;
    let error = match windowed.error_estimate() {
        Ok(error) => error,
        Err(error) => {
            return Ok(format!(
                "warning: the error of the windows is not known: {error}"
            ));
        }
    };
    let of_channels: Vec<String> = error
        .channels
        .iter()
        .map(|error| format!("{:.2} %", 100.0 * error))
        .collect();
    let against = if error.full_field {
        "the full field".to_owned()
    } else {
        format!("a window {:.1} Å wide", error.side)
    };
    Ok(format!(
        "windows of {:.1} Å: trial probes differ from {against} by at most {} of the strongest, per channel",
        windowed.window().extent()[0].min(windowed.window().extent()[1]),
        of_channels.join(", ")
    ))
}
