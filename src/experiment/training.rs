//! The `train` command: a dataset, or a source of drawn images, in; a folder with a trained ensemble out.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::drawn::{Drawn, Part};
use super::evaluation::Evaluation;
use super::stream::{Stream, StreamSettings, response_for};
use crate::error::{Error, Result};
use crate::figure::curve::{Curve, Look, Series};
use crate::network::{
    self, CalibratedOn, Filed, Mode, ModelSettings, Recipe, Regressor, Resampled, SubimageSettings,
    Supply, Trained, TrainingSettings,
};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::settings::Source;
use crate::storage::claim::{Claim, Company};
use crate::storage::dataset::{Circumstance, Dataset, Split};
use crate::storage::output::{OutputFolder, partial_path, refuse_inputs, write_file};

/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

/// A training file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    /// Master seed of weights, shuffles and augmentation.
    pub seed: u64,
    /// The dataset; a relative path is looked up beside the settings file first, then from the working folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<PathBuf>,
    /// Sub-images that are in memory at once, at most [MiB]; what is more is read from the dataset again and again.
    #[serde(default = "default_memory")]
    pub memory_mib: f64,
    /// Folder of a model to start from (fine-tuning); looked up as the dataset is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Whether a dataset of another window or pixel size than the model's that is started from is resampled.
    #[serde(default)]
    pub resample: bool,
    /// In place of a dataset: specimens that the emulator draws, new ones in every epoch; `count` sub-images are an epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated: Option<StreamSettings>,
    /// What the network looks at, with `[emulated]`; a dataset says it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subimages: Option<SubimageSettings>,
    /// Sub-images that are drawn once, with `[emulated]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
    /// What the networks look like.
    #[serde(default)]
    pub model: ModelSettings,
    /// How they are trained.
    #[serde(default)]
    pub training: TrainingSettings,
}

fn default_memory() -> f64 {
    2048.0
}

/// `[held_out]`: sizes of what is drawn once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeldOut {
    /// Sub-images that choose the epoch.
    pub validation: usize,
    /// Sub-images that calibrate the uncertainty; 0: those of the validation do.
    pub calibration: usize,
    /// Sub-images that test.
    pub test: usize,
    /// Sub-images of one image, at most: what the others show they show, too.
    pub per_image: usize,
}

impl Default for HeldOut {
    fn default() -> Self {
        Self {
            validation: 2000,
            calibration: 2000,
            test: 2000,
            per_image: 16,
        }
    }
}

impl TrainSettings {
    /// Checks the sections.
    ///
    /// # Errors
    /// File, line, key, what it got and what is allowed.
    pub fn validate(&self, source: &Source) -> Result<()> {
        self.training.validate(source)?;
        source.in_range("memory_mib", self.memory_mib, 1e-6..=1e9, "MiB", "")?;
        if self.dataset.is_some() == self.emulated.is_some() {
            let (got, allowed) = match self.dataset {
                Some(_) => ("beside [emulated]", "one of dataset, [emulated]"),
                None => ("nothing", "a dataset, or the section [emulated]"),
            };
            return Err(source.wrong("dataset", got, allowed));
        }
        match (&self.emulated, &self.subimages) {
            (Some(_), Some(subimages)) => subimages.validate(source)?,
            (Some(_), None) => {
                let allowed = "the section [subimages], with [emulated]";
                return Err(source.wrong("subimages", "nothing", allowed));
            }
            (None, Some(_)) => {
                let allowed = "no such section: the dataset says how it was cut";
                return Err(source.wrong("subimages", "a section", allowed));
            }
            (None, None) => {}
        }
        let held_out = self.held_out.unwrap_or_default();
        if self.emulated.is_none() && self.held_out.is_some() {
            let allowed = "no such section: the dataset has its parts";
            return Err(source.wrong("held_out", "a section", allowed));
        }
        if held_out.per_image == 0 {
            return Err(source.wrong("held_out.per_image", 0, "at least one sub-image"));
        }
        if held_out.validation == 0 {
            return Err(source.wrong("held_out.validation", 0, "at least one sub-image"));
        }
        Ok(())
    }
}

/// Trains what `source` asks for and writes the folder `output`. An interrupted training is gone on with; with `resume` there
/// has to be one.
///
/// # Errors
/// A wrong setting, a dataset that does not fit, a finished `output` without `force`, nothing to resume.
pub fn train(
    source: &Source,
    output: &Path,
    force: bool,
    resume: bool,
    reporter: &Reporter,
) -> Result<()> {
    let settings: TrainSettings = source.parse()?;
    settings.validate(source)?;
    let partial = partial_path(output);
    if resume && !partial.exists() {
        return Err(Error::unmeasurable(
            "--resume",
            format!("no {}", partial.display()),
            "an interrupted training",
        ));
    }
    let work = Work {
        settings: &settings,
        source,
        output,
        force,
        reporter,
    };
    match (&settings.dataset, &settings.emulated, &settings.subimages) {
        (_, Some(emulated), Some(subimages)) => work.on_drawn(emulated, subimages),
        (Some(dataset), ..) => work.on_dataset(&source.find(dataset)),
        _ => Err(source.wrong("dataset", "nothing", "a dataset, or the section [emulated]")),
    }
}

/// Samples of a part, and what is known about each.
type WithCircumstances<'a> = (&'a dyn Supply, Vec<Circumstance>);

/// The parts of the samples of a training.
struct Parts<'a> {
    train: &'a dyn Supply,
    validation: &'a dyn Supply,
    calibration: &'a dyn Supply,
    test: WithCircumstances<'a>,
}

/// A training and where it goes.
struct Work<'a> {
    settings: &'a TrainSettings,
    source: &'a Source,
    output: &'a Path,
    force: bool,
    reporter: &'a Reporter,
}

impl Work<'_> {
    /// On the parts of a dataset.
    fn on_dataset(&self, path: &Path) -> Result<()> {
        let dataset = Dataset::open(path)?;
        let own = subimages_of(&dataset)?;
        let start = self.start()?;
        let subimages = match &start {
            Some(start) => {
                let subimages = &start.description().subimages;
                refuse_other_windows(&own, subimages, path, self.settings.resample)?;
                subimages.clone()
            }
            None => own.clone(),
        };
        let bytes = self.settings.memory_mib * MIB;
        let part = |part| {
            Filed::new(
                &dataset,
                dataset.indices(part),
                bytes,
                &self.settings.model.auxiliary,
            )
        };
        let filed = [
            part(Split::Train)?,
            part(Split::Validation)?,
            part(Split::Calibration)?,
        ];
        let test = Filed::new(&dataset, dataset.indices(Split::Test), bytes, &[])?;
        let all = [&filed[0], &filed[1], &filed[2], &test];
        let resampled = all.map(|filed| Resampled::new(filed, &own, &subimages));
        let [a, b, c, d] = resampled;
        let resampled = [a?, b?, c?, d?];
        let supply = |index: usize| -> &dyn Supply {
            if same_windows(&own, &subimages) {
                all[index]
            } else {
                &resampled[index]
            }
        };
        let circumstances = dataset.indices(Split::Test);
        let circumstances = circumstances
            .iter()
            .map(|&row| dataset.circumstances()[row]);
        let parts = Parts {
            train: supply(0),
            validation: supply(1),
            calibration: supply(2),
            test: (supply(3), circumstances.collect()),
        };
        self.run(&parts, &subimages, start.as_ref(), &[path])
    }

    /// On images that are drawn for every epoch.
    fn on_drawn(&self, emulated: &StreamSettings, subimages: &SubimageSettings) -> Result<()> {
        let response = response_for(emulated, self.source)?;
        emulated.validate(&self.source.under("emulated"), &response)?;
        let stream = Stream::new(emulated, subimages, response);
        let held_out = self.settings.held_out.unwrap_or_default();
        let largest = emulated.count.max(held_out.validation);
        // An epoch is held as it was drawn, and once more in its order.
        let bytes = 2.0 * (largest * subimages.window().pow(2) * size_of::<f32>()) as f64;
        if bytes > self.settings.memory_mib * MIB {
            let got = format!("{largest} sub-images, {:.0} MiB", bytes / MIB);
            let allowed = format!(
                "as many as go into memory_mib = {}",
                self.settings.memory_mib
            );
            return Err(self.source.wrong("emulated.count", got, allowed));
        }
        let drawn = |part, count| Drawn::new(&stream, part, count, &self.settings.model.auxiliary);
        let train = drawn(Part::Train, emulated.count);
        let once = |part, count| drawn(part, count).at_most(held_out.per_image).once();
        let (validation, _) = once(Part::Validation, held_out.validation)?;
        let (calibration, _) = once(Part::Calibration, held_out.calibration)?;
        let test = Drawn::new(&stream, Part::Test, held_out.test, &[]);
        let (test, circumstances) = test.at_most(held_out.per_image).once()?;
        let parts = Parts {
            train: &train,
            validation: &validation,
            calibration: &calibration,
            test: (&test, circumstances),
        };
        let response = emulated
            .response
            .as_ref()
            .map(|path| self.source.find(path));
        let inputs: Vec<&Path> = response.iter().map(PathBuf::as_path).collect();
        self.run(&parts, subimages, self.start()?.as_ref(), &inputs)
    }

    /// The model to start from.
    fn start(&self) -> Result<Option<Regressor>> {
        let folder = self.settings.start.as_ref();
        folder
            .map(|folder| Regressor::load(&self.source.find(folder)))
            .transpose()
    }

    fn run(
        &self,
        parts: &Parts,
        subimages: &SubimageSettings,
        start: Option<&Regressor>,
        inputs: &[&Path],
    ) -> Result<()> {
        let settings = self.settings;
        settings.model.validate(self.source, subimages.window())?;
        let all: Vec<&Path> = inputs.iter().copied().chain([self.source.path()]).collect();
        refuse_inputs(self.output, &all)?;
        let folder = OutputFolder::resumable(self.output, self.force)?;
        let text = self.source.text().to_owned();
        let mut provenance = Provenance::start("train", text, Some(settings.seed));
        for input in inputs {
            provenance.add_input(input)?;
        }
        if let Some(start) = &settings.start {
            provenance.add_input(&self.source.find(start).join("model.toml"))?;
        }
        let key = format!(
            "{}\n{}\n{:?}",
            provenance.version,
            self.source.text(),
            provenance.inputs
        );
        let claim = Claim::new(folder.partial(), &key, Company::None, self.force)?;
        let checkpoint = folder.partial().join("checkpoint");
        let recipe = Recipe {
            seed: settings.seed,
            model: &settings.model,
            training: &settings.training,
            subimages,
            start,
        };
        let mut trained = network::train(
            &recipe,
            parts.train,
            parts.validation,
            Some(&checkpoint),
            self.reporter,
        )?;
        if parts.calibration.count() > 0 {
            trained
                .regressor
                .calibrate(parts.calibration, CalibratedOn::Calibration)?;
        }
        let (test, circumstances) = &parts.test;
        if test.count() > 0 {
            let evaluation = Evaluation::of_samples(&trained.regressor, *test, circumstances)?;
            self.reporter
                .say(format!("test part: {}", evaluation.line()));
            evaluation.write(folder.partial())?;
        }
        write_file(
            &folder.partial().join("history.csv"),
            trained.history_csv().as_bytes(),
        )?;
        history_figure(&trained).save(folder.partial(), "history", true)?;
        trained
            .regressor
            .save(folder.partial(), &provenance.finished())?;
        std::fs::remove_dir_all(&checkpoint).map_err(Error::io("remove", &checkpoint))?;
        claim.release()?;
        folder.finish()
    }
}

/// Whether sub-images have the same window and pixel size.
pub(super) fn same_windows(a: &SubimageSettings, b: &SubimageSettings) -> bool {
    let close = (a.sampling_angstrom / b.sampling_angstrom - 1.0).abs() < 1e-6;
    close && a.window() == b.window()
}

/// Fails if sub-images of the dataset `path` are not those of the model, unless they are to be resampled.
///
/// # Errors
/// Both windows and pixel sizes, and what to do.
pub(super) fn refuse_other_windows(
    own: &SubimageSettings,
    model: &SubimageSettings,
    path: &Path,
    resample: bool,
) -> Result<()> {
    if resample || same_windows(own, model) {
        return Ok(());
    }
    let told = |s: &SubimageSettings| {
        format!(
            "windows of {} px, {} Å, at {} Å a pixel",
            s.window(),
            s.window_angstrom,
            s.sampling_angstrom
        )
    };
    let allowed = format!(
        "{}, as of the model; or resampling, on request",
        told(model)
    );
    Err(Error::data(path, "sub-images", told(own), allowed))
}

/// How the sub-images of a dataset were cut.
pub(super) fn subimages_of(dataset: &Dataset) -> Result<SubimageSettings> {
    let mode = match dataset.info.mode.as_str() {
        "centred_b" => Mode::CentredB,
        "centred_a" => Mode::CentredA,
        "grid" => Mode::Grid,
        other => {
            let allowed = "centred_b, centred_a, grid";
            return Err(Error::data(
                dataset.path(),
                "attribute mode",
                format!("`{other}`"),
                allowed,
            ));
        }
    };
    let (window_angstrom, sampling_angstrom) =
        (dataset.info.window_angstrom, dataset.info.sampling_angstrom);
    // The stride of a dataset says how densely it was cut; a map is as dense as a quarter of a window unless told otherwise.
    let stride_angstrom = (mode == Mode::Grid).then_some(window_angstrom / 4.0);
    Ok(SubimageSettings {
        mode,
        window_angstrom,
        sampling_angstrom,
        stride_angstrom,
        // Whatever it was, it is done.
        jitter_angstrom: 0.0,
    })
}

/// Errors over the epochs, training and validation, one pair of lines a network.
pub(super) fn history_figure(trained: &Trained) -> crate::figure::Figure {
    let mut series = Vec::new();
    for (network, history) in trained.histories.iter().enumerate() {
        let name = if trained.histories.len() > 1 {
            format!(", network {}", network + 1)
        } else {
            String::new()
        };
        let x: Vec<f64> = history.iter().map(|record| record.epoch as f64).collect();
        let line = |label: &str, look, y: Vec<f64>| Series {
            label: format!("{label}{name}"),
            x: x.clone(),
            y,
            look,
            ..Series::default()
        };
        series.push(line(
            "training",
            Look::Dashed,
            history.iter().map(|r| r.train_rms_pm).collect(),
        ));
        series.push(line(
            "validation",
            Look::Line,
            history.iter().map(|r| r.validation_rms_pm).collect(),
        ));
    }
    let curve = Curve {
        title: "Error while training".to_owned(),
        x_label: "epoch".to_owned(),
        y_label: "rms error per axis (pm)".to_owned(),
        log_y: true,
        series,
        ..Curve::default()
    };
    curve.figure()
}
