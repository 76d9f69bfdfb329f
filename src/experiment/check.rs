//! The `check` command: what a settings file resolves to, and what it will cost.

use super::dataset::DatasetSettings;
use super::map_settings::MapSettings;
use super::study::Study;
use super::training::TrainSettings;
use crate::error::{Error, Result};
use crate::settings::Source;
use crate::simulation::{Plan, SimulationSettings};

/// Validates a settings file of any kind, told apart by its sections, and describes it.
///
/// # Errors
/// File, line, key, what it got and what is allowed.
pub fn check(source: &Source) -> Result<String> {
    let sections = source.sections();
    let has = |name: &str| sections.iter().any(|section| section == name);
    if has("about") {
        let study = Study::read(source)?;
        let under = source.under("simulation");
        let mut text = format!("{}\n{}\n", resolved(&study)?, study.about.time);
        let mut total = 0.0;
        for (name, settings) in study.simulations() {
            let (lines, seconds) = simulation(&settings, &under)?;
            text += &format!("\nsimulation {name}\n{lines}\n");
            total += seconds;
        }
        text += &format!("\nall simulations   about {total:.0} s; fits and networks come on top\n");
        Ok(text)
    } else if has("images") || has("labels") {
        let settings: DatasetSettings = source.parse()?;
        settings.validate(source)?;
        resolved(&settings)
    } else if ["columns", "map", "positions", "figures"]
        .into_iter()
        .any(has)
    {
        let settings: MapSettings = source.parse()?;
        settings.validate()?;
        resolved(&settings)
    } else if has("dataset") || has("emulated") {
        let settings: TrainSettings = source.parse()?;
        settings.validate(source)?;
        resolved(&settings)
    } else {
        let settings: SimulationSettings = source.parse()?;
        Ok(format!(
            "{}\n{}",
            resolved(&settings)?,
            simulation(&settings, source)?.0
        ))
    }
}

/// Size, work and time of one simulation.
fn simulation(settings: &SimulationSettings, source: &Source) -> Result<(String, f64)> {
    let plan = Plan::new(settings, source)?;
    plan.check_memory(source)?;
    let seconds = plan.estimate_seconds()?;
    let threads = rayon::current_num_threads();
    let text = format!(
        "{}\ntime              about {seconds:.0} s with {threads} threads of this machine",
        plan.describe()?
    );
    Ok((text, seconds))
}

fn resolved<T: serde::Serialize>(settings: &T) -> Result<String> {
    toml::to_string_pretty(settings).map_err(Error::compute("writing the resolved settings"))
}
