//! Running a study: read the file, compute what is missing, write tables, figures and report.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::bench::{About, Bench};
use super::cross_composition::CrossComposition;
use super::demo::Demo;
use super::template::SimulationTemplate;
use super::tilt_sensitivity::TiltSensitivity;
use super::{cross_composition, demo, tilt_report};
use crate::error::Result;
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::settings::Source;
use crate::simulation::{Plan, Shard, SimulationSettings};
use crate::storage::claim::{Claim, Company};
use crate::storage::output::{OutputFolder, refuse_inputs, write_file};

/// An experiment file: one question, one section that says how it is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Master seed.
    pub seed: u64,
    /// What it is about.
    pub about: About,
    /// What its simulations share.
    pub simulation: SimulationTemplate,
    /// False polarization by mistilt.
    pub tilt_sensitivity: Option<TiltSensitivity>,
    /// Networks across compositions.
    pub cross_composition: Option<CrossComposition>,
    /// The whole chain, small.
    pub demo: Option<Demo>,
}

impl Study {
    /// Reads and checks an experiment file.
    ///
    /// # Errors
    /// File, line, key, what it got and what is allowed.
    pub fn read(source: &Source) -> Result<Self> {
        let study: Self = source.parse()?;
        let sections = [
            study.tilt_sensitivity.is_some(),
            study.cross_composition.is_some(),
            study.demo.is_some(),
        ];
        let chosen = sections.iter().filter(|&&given| given).count();
        if chosen != 1 {
            let allowed = "exactly one of [tilt_sensitivity], [cross_composition], [demo]";
            return Err(source.wrong(
                "about",
                format!("{chosen} experiments in one file"),
                allowed,
            ));
        }
        if let Some(section) = &study.tilt_sensitivity {
            section.validate(&source.under("tilt_sensitivity"))?;
        }
        if let Some(section) = &study.cross_composition {
            section.validate(&source.under("cross_composition"))?;
        }
        if let Some(section) = &study.demo {
            section.validate(&source.under("demo"))?;
        }
        for (_, settings) in study.simulations() {
            Plan::new(&settings, &source.under("simulation"))?;
        }
        Ok(study)
    }

    /// All simulations of the study, by name.
    #[must_use]
    pub fn simulations(&self) -> Vec<(String, SimulationSettings)> {
        let mut all = Vec::new();
        if let Some(section) = &self.tilt_sensitivity {
            all.extend(section.simulations(self.seed, &self.simulation, ""));
        }
        if let Some(section) = &self.cross_composition {
            all.extend(section.simulations(self.seed, &self.simulation));
        }
        if let Some(section) = &self.demo {
            all.extend(section.simulations(self.seed, &self.simulation));
        }
        all
    }
}

/// Runs the study of `source` into the folder `output`; what an interrupted run left there is gone on with. With a `shard`,
/// only its part of the simulations is computed, and `false` is returned.
///
/// # Errors
/// A wrong setting, a finished `output` without `force`, a disk that refuses.
pub fn run(
    source: &Source,
    output: &Path,
    smoke: bool,
    force: bool,
    shard: Option<Shard>,
    reporter: &Reporter,
) -> Result<bool> {
    let study = Study::read(source)?;
    refuse_inputs(output, &[source.path()])?;
    let folder = OutputFolder::resumable(output, force)?;
    let company = if shard.is_some() {
        Company::Shards
    } else {
        Company::None
    };
    // What is kept there carries hashes of its own settings: an unfinished study of other settings is no obstacle.
    let claim = Claim::new(folder.partial(), "study", company, force)?;
    let provenance = Provenance::start("run", source.text().to_owned(), Some(study.seed));
    let mut bench = Bench {
        seed: study.seed,
        about: study.about.clone(),
        simulation: study.simulation.clone(),
        folder: folder.partial().to_owned(),
        source: source.under("simulation"),
        key: blake3::hash(source.text().as_bytes()).to_hex()[..12].to_owned(),
        smoke,
        reporter: *reporter,
        timings: Vec::new(),
    };
    let simulations = study.simulations();
    for (number, (name, settings)) in simulations.iter().enumerate() {
        reporter.say(format!(
            "simulation {} of {}: {name}",
            number + 1,
            simulations.len()
        ));
        let start = Instant::now();
        bench.simulate(name, settings, shard)?;
        bench
            .timings
            .push((format!("simulation: {name}"), start.elapsed().as_secs_f64()));
    }
    if shard.is_some() {
        return Ok(false);
    }
    let mut report = if let Some(section) = &study.tilt_sensitivity {
        tilt_report::report(section, &bench)?
    } else if let Some(section) = &study.cross_composition {
        cross_composition::report(section, &bench)?
    } else if let Some(section) = &study.demo {
        demo::report(section, &bench)?
    } else {
        return Err(source.wrong("about", "no experiment", "one experiment section"));
    };
    let provenance = provenance.finished();
    report.smoke = smoke;
    report.provenance = provenance.to_toml();
    write_file(
        &bench.folder.join("report.html"),
        report.to_html()?.as_bytes(),
    )?;
    write_file(
        &bench.folder.join("provenance.toml"),
        provenance.to_toml().as_bytes(),
    )?;
    if smoke {
        let text = "SMOKE: made to see whether everything runs; the numbers in this folder mean nothing.\n";
        write_file(&bench.folder.join("SMOKE.txt"), text.as_bytes())?;
    }
    bench.clear(&simulations)?;
    claim.release()?;
    folder.finish()?;
    reporter.say(format!("{}", output.join("report.html").display()));
    Ok(true)
}

/// Runs the demonstration that is built into the program.
///
/// # Errors
/// A finished `output` without `force`, a disk that refuses.
pub fn demonstrate(output: &Path, smoke: bool, force: bool, reporter: &Reporter) -> Result<()> {
    let source = Source::from_text("demo.toml", include_str!("../../experiments/demo.toml"));
    let source = source.with_variant(smoke.then_some("smoke"))?;
    run(&source, output, smoke, force, None, reporter).map(|_| ())
}
