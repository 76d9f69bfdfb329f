//! Running a study: read the file, compute what is missing, write tables, figures and report.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::comparison::Comparison;
use super::cross_composition::CrossComposition;
use super::demo::Demo;
use super::template::SimulationTemplate;
use super::tilt_sensitivity::TiltSensitivity;
use super::{cross_composition, demo, tilt_report};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::figure::map::{Layer, MapStyle, Panel, Split, panels_figure};
use crate::figure::report::Section;
use crate::image::Image;
use crate::network::{self, Recipe, Regressor, Samples};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::settings::Source;
use crate::simulation::{Plan, Shard, SimulationSettings, simulate};
use crate::storage::hspy::{ImageFile, read_images};
use crate::storage::output::{OutputFolder, write_file};

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

/// The `[about]` section: what a reader of the report is told first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Title of the report.
    pub title: String,
    /// The question.
    pub question: String,
    /// What of the paper it reproduces.
    pub reproduces: String,
    /// What to know before believing it.
    pub note: String,
    /// Expected time and memory.
    pub time: String,
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
    let folder = OutputFolder::resumable(output, force)?;
    let provenance = Provenance::start("run", source.text().to_owned(), Some(study.seed));
    let mut bench = Bench {
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
        tilt_report::report(&study, section, &bench)?
    } else if let Some(section) = &study.cross_composition {
        cross_composition::report(&study, section, &bench)?
    } else if let Some(section) = &study.demo {
        demo::report(&study, section, &bench)?
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
    bench.clear_checkpoints()?;
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

/// The place where a study keeps what it has made so far.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    /// The unfinished folder of results.
    pub(super) folder: PathBuf,
    /// The experiment file, at its `[simulation]` section.
    pub(super) source: Source,
    /// Hash of the resolved experiment file: networks of other settings are not taken over.
    key: String,
    /// Whether the numbers mean nothing.
    pub(super) smoke: bool,
    /// Who is told.
    pub(super) reporter: Reporter,
    /// Stages so far and how long they took [s].
    pub(super) timings: Vec<(String, f64)>,
}

impl Bench {
    /// Where the images of a simulation are; their name holds a hash of their settings.
    fn image_path(&self, name: &str, settings: &SimulationSettings) -> PathBuf {
        let text = format!(
            "{}\n{}",
            crate::provenance::VERSION,
            toml::to_string(settings).unwrap_or_default()
        );
        let hash = blake3::hash(text.as_bytes()).to_hex();
        self.folder
            .join("images")
            .join(format!("{name}-{}.hspy", &hash[..12]))
    }

    /// Simulates if the images are not there yet.
    fn simulate(
        &self,
        name: &str,
        settings: &SimulationSettings,
        shard: Option<Shard>,
    ) -> Result<()> {
        let path = self.image_path(name, settings);
        if !path.exists() {
            simulate(settings, &self.source, &path, false, shard, &self.reporter)?;
        }
        Ok(())
    }

    /// The images of a simulation that [`run`] has made, with their plan.
    pub(super) fn images(
        &self,
        name: &str,
        settings: &SimulationSettings,
    ) -> Result<(Plan, ImageFile)> {
        Ok((
            Plan::new(settings, &self.source)?,
            read_images(&self.image_path(name, settings))?,
        ))
    }

    /// A network trained by `recipe`, taken over from an interrupted run if it was finished there.
    pub(super) fn network(
        &self,
        name: &str,
        recipe: &Recipe,
        train: &Samples,
        validation: &Samples,
    ) -> Result<Regressor> {
        let folder = self
            .folder
            .join("models")
            .join(format!("{name}-{}", self.key));
        if folder.join("model.toml").exists() {
            return Regressor::load(&folder);
        }
        let checkpoint = self
            .folder
            .join("checkpoints")
            .join(format!("{name}-{}", self.key));
        let trained = network::train(recipe, train, validation, Some(&checkpoint), &self.reporter)?;
        write_file(
            &folder.join("history.csv"),
            trained.history_csv().as_bytes(),
        )?;
        super::training::history_figure(&trained).save(&folder, "history", true)?;
        let provenance =
            Provenance::start("train", self.source.text().to_owned(), Some(recipe.seed));
        trained.regressor.save(&folder, &provenance.finished())?;
        Ok(trained.regressor)
    }

    /// Prefix of titles: smoke runs say so on every output.
    pub(super) fn title(&self, title: &str) -> String {
        if self.smoke {
            format!("SMOKE — {title}")
        } else {
            title.to_owned()
        }
    }

    fn clear_checkpoints(&self) -> Result<()> {
        let folder = self.folder.join("checkpoints");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
        }
        Ok(())
    }
}

/// What every report says first.
pub(super) fn about(study: &Study) -> Section {
    let About {
        question,
        reproduces,
        note,
        ..
    } = &study.about;
    let paragraphs = vec![
        question.clone(),
        format!("What it stands beside: {reproduces}"),
        note.clone(),
    ];
    Section {
        heading: "Question".to_owned(),
        paragraphs,
        ..Section::default()
    }
}

/// Truth, measurement and difference side by side, on one scale; `line` parts training from test [Å].
///
/// # Errors
/// The image cannot be encoded.
pub(super) fn three_panels(
    title: &str,
    image: &Image,
    comparison: &Comparison,
    line: Option<f64>,
) -> Result<Figure> {
    let (truth, difference) = (comparison.true_vectors(), comparison.differences());
    let panel = |title: &str, vectors| Panel {
        title: title.to_owned(),
        image: Some(image),
        layer: Layer::Arrows(vectors),
    };
    let panels = [
        panel("truth", truth.as_slice()),
        panel("measured", comparison.measured.as_slice()),
        panel("measured − truth", difference.as_slice()),
    ];
    let names = ["training".to_owned(), "test".to_owned()];
    let split = line.map(|x| Split::Vertical { x, names });
    panels_figure(
        title,
        &panels,
        &MapStyle {
            split,
            ..MapStyle::default()
        },
    )
}
