//! The `train` command: a dataset in, a folder with a trained ensemble out.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::figure::curve::{Curve, Look, Series};
use crate::network::{
    self, Mode, ModelSettings, Recipe, Samples, SubimageSettings, Trained, TrainingSettings,
};
use crate::progress::Reporter;
use crate::provenance::Provenance;
use crate::settings::Source;
use crate::storage::claim::{Claim, Company};
use crate::storage::dataset::{Dataset, Split};
use crate::storage::output::{OutputFolder, partial_path, refuse_inputs, write_file};

/// A training file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    /// Master seed of weights, shuffles and augmentation.
    pub seed: u64,
    /// The dataset; a relative path is looked up beside the settings file first, then from the working folder.
    pub dataset: PathBuf,
    /// What the networks look like.
    #[serde(default)]
    pub model: ModelSettings,
    /// How they are trained.
    #[serde(default)]
    pub training: TrainingSettings,
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
    settings.training.validate(source)?;
    let path = source.find(&settings.dataset);
    let dataset = Dataset::open(&path)?;
    let subimages = subimages_of(&dataset)?;
    settings.model.validate(source, subimages.window())?;
    let partial = partial_path(output);
    if resume && !partial.exists() {
        return Err(Error::unmeasurable(
            "--resume",
            format!("no {}", partial.display()),
            "an interrupted training",
        ));
    }
    refuse_inputs(output, &[source.path(), &path])?;
    let folder = OutputFolder::resumable(output, force)?;
    let mut provenance = Provenance::start("train", source.text().to_owned(), Some(settings.seed));
    provenance.add_input(&path)?;
    let key = format!(
        "{}\n{}\n{:?}",
        provenance.version,
        source.text(),
        provenance.inputs
    );
    let claim = Claim::new(folder.partial(), &key, Company::None, force)?;
    let part = |part| -> Result<Samples> {
        let (subimages, targets) = dataset.read(&dataset.indices(part))?;
        Ok(Samples { subimages, targets })
    };
    let checkpoint = folder.partial().join("checkpoint");
    let recipe = Recipe {
        seed: settings.seed,
        model: &settings.model,
        training: &settings.training,
        subimages: &subimages,
        start: None,
    };
    let trained = network::train(
        &recipe,
        &part(Split::Train)?,
        &part(Split::Validation)?,
        Some(&checkpoint),
        reporter,
    )?;
    let test = part(Split::Test)?;
    if test.count() > 0 {
        reporter.say(test_line(&trained, &test)?);
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

/// How the sub-images of a dataset were cut.
fn subimages_of(dataset: &Dataset) -> Result<SubimageSettings> {
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

fn test_line(trained: &Trained, test: &Samples) -> Result<String> {
    let found = trained.regressor.predict_patches(test.subimages.view())?;
    let square =
        |index: (usize, usize)| (found.mean[index] - f64::from(test.targets[index])).powi(2);
    let sum: f64 = (0..test.count())
        .flat_map(|row| [square((row, 0)), square((row, 1))])
        .sum();
    let rms = (sum / (2 * test.count()) as f64).sqrt();
    Ok(format!(
        "test part: rms error {rms:.2} pm per axis over {} sub-images",
        test.count()
    ))
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
