//! The bench of a study: where it keeps what it has made so far, and what all studies share.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::comparison::Comparison;
use super::template::SimulationTemplate;
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::figure::map::{Layer, MapStyle, Panel, Split, panels_figure};
use crate::figure::report::{Report, Section};
use crate::image::Image;
use crate::network::{self, Recipe, Regressor, Samples};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::settings::Source;
use crate::simulation::{Plan, Shard, SimulationSettings, simulate};
use crate::storage::hspy::{ImageFile, read_images};
use crate::storage::output::write_file;

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

/// The place where a study keeps what it has made so far.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    /// Master seed of the study.
    pub(super) seed: u64,
    /// What the study is about.
    pub(super) about: About,
    /// What its simulations share.
    pub(super) simulation: SimulationTemplate,
    /// The unfinished folder of results.
    pub(super) folder: PathBuf,
    /// The experiment file, at its `[simulation]` section.
    pub(super) source: Source,
    /// Hash of the resolved experiment file: networks of other settings are not taken over.
    pub(super) key: String,
    /// Whether the numbers mean nothing.
    pub(super) smoke: bool,
    /// Who is told.
    pub(super) reporter: Reporter,
    /// Stages so far and how long they took [s].
    pub(super) timings: Vec<(String, f64)>,
}

impl Bench {
    /// A report with its title, question and opening section.
    pub(super) fn report(&self) -> Report {
        Report {
            title: self.about.title.clone(),
            subtitle: self.about.question.clone(),
            sections: vec![about_section(&self.about)],
            ..Report::default()
        }
    }

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
    pub(super) fn simulate(
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

    /// Saves a figure among those of the study; smoke runs are marked.
    pub(super) fn save(&self, figure: &Figure, stem: &str) -> Result<()> {
        let folder = self.folder.join("figures");
        if self.smoke {
            figure.clone().marked_smoke().save(&folder, stem, true)
        } else {
            figure.save(&folder, stem, true)
        }
    }

    /// Removes what is no result of this study: states of unfinished networks, and images and networks that an interrupted
    /// run with other settings left.
    pub(super) fn clear(&self, simulations: &[(String, SimulationSettings)]) -> Result<()> {
        let images: Vec<PathBuf> = simulations
            .iter()
            .map(|(name, settings)| self.image_path(name, settings))
            .collect();
        let ours = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            images.iter().any(|image| image == path) || name.ends_with(&self.key)
        };
        for folder in ["images", "models", "checkpoints"] {
            let folder = self.folder.join(folder);
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            for path in entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| !ours(path))
            {
                let removed = if path.is_dir() {
                    std::fs::remove_dir_all(&path)
                } else {
                    std::fs::remove_file(&path)
                };
                removed.map_err(Error::io("remove", &path))?;
            }
        }
        let checkpoints = self.folder.join("checkpoints");
        if checkpoints.exists() {
            std::fs::remove_dir_all(&checkpoints).map_err(Error::io("remove", &checkpoints))?;
        }
        Ok(())
    }
}

/// What every report says first.
pub(super) fn about_section(about: &About) -> Section {
    let About {
        reproduces, note, ..
    } = about;
    let paragraphs = vec![format!("What it stands beside: {reproduces}"), note.clone()];
    Section {
        heading: "What this is".to_owned(),
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
