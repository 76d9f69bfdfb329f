//! Laws of a training: threads, interruptions, bad samples.

use super::super::check::gaussian_samples;
use super::super::samples::Samples;
use super::super::settings::{Mode, Normalization, Schedule};
use super::*;
use crate::provenance::Provenance;

const SUBIMAGES: SubimageSettings = SubimageSettings {
    mode: Mode::CentredB,
    window_angstrom: 6.0,
    sampling_angstrom: 0.5,
    stride_angstrom: None,
    jitter_angstrom: 0.0,
};

fn settings() -> (ModelSettings, TrainingSettings) {
    let model = ModelSettings {
        blocks: vec![vec![4], vec![6]],
        hidden: 8,
        ..ModelSettings::default()
    };
    let training = TrainingSettings {
        epochs: 4,
        batch: 20,
        ensemble: 2,
        ..TrainingSettings::default()
    };
    (model, training)
}

fn trained(checkpoint: Option<&Path>) -> Trained {
    let (model, training) = settings();
    let recipe = Recipe {
        seed: 3,
        model: &model,
        training: &training,
        subimages: &SUBIMAGES,
        start: None,
    };
    let (samples, validation) = (
        gaussian_samples(70, &SUBIMAGES, 1),
        gaussian_samples(30, &SUBIMAGES, 2),
    );
    train(
        &recipe,
        &samples,
        &validation,
        checkpoint,
        &Reporter::quiet(),
    )
    .unwrap()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| trained(None))
    };
    let (one, three) = (with(1), with(3));
    assert_eq!(one.regressor.networks, three.regressor.networks);
    assert_eq!(one.history_csv(), three.history_csv());
    assert_ne!(one.regressor.networks[0], one.regressor.networks[1]);
}

#[test]
fn a_training_that_was_stopped_goes_on_as_if_it_had_not_been() {
    let straight = trained(None);
    let folder = tempfile::tempdir().unwrap();
    let (model, training) = settings();
    let recipe = Recipe {
        seed: 3,
        model: &model,
        training: &training,
        subimages: &SUBIMAGES,
        start: None,
    };
    let (samples, validation) = (
        gaussian_samples(70, &SUBIMAGES, 1),
        gaussian_samples(30, &SUBIMAGES, 2),
    );
    let run = Run::new(&recipe, &samples, &validation).unwrap();
    let checkpoint = Checkpoint::new(folder.path(), run.fingerprint());
    let stopped = run
        .network(0, 2, Some(&checkpoint), &ProgressBar::hidden())
        .unwrap();
    let kept = checkpoint
        .load(0, &run.batches.architecture, false)
        .unwrap()
        .unwrap();
    assert_eq!(stopped, kept);
    assert_ne!(stopped.best, straight.regressor.networks[0]);
    let resumed = trained(Some(folder.path()));
    assert_eq!(resumed.regressor.networks, straight.regressor.networks);
    assert_eq!(resumed.histories, straight.histories);
    assert_eq!(
        resumed.regressor.description,
        straight.regressor.description
    );
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(
        files, 4,
        "one record and one file of tensors for each network"
    );
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    trained(Some(folder.path()));
    let (model, mut training) = settings();
    training.learning_rate *= 2.0;
    let recipe = Recipe {
        seed: 3,
        model: &model,
        training: &training,
        subimages: &SUBIMAGES,
        start: None,
    };
    let samples = gaussian_samples(70, &SUBIMAGES, 1);
    let quiet = Reporter::quiet();
    let error = train(&recipe, &samples, &samples, Some(folder.path()), &quiet).unwrap_err();
    assert!(
        error.to_string().contains("other settings or samples"),
        "{error}"
    );
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let (model, training) = settings();
    let recipe = Recipe {
        seed: 3,
        model: &model,
        training: &training,
        subimages: &SUBIMAGES,
        start: None,
    };
    let mut samples = gaussian_samples(10, &SUBIMAGES, 1);
    let quiet = Reporter::quiet();
    let empty = gaussian_samples(0, &SUBIMAGES, 1);
    let error = train(&recipe, &samples, &empty, None, &quiet)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "the validation samples: got none; needed: at least one"
    );
    let nothing = TrainingSettings {
        batch: 0,
        ..training.clone()
    };
    let without = Recipe {
        training: &nothing,
        ..recipe.clone()
    };
    let error = train(&without, &samples, &samples, None, &quiet)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "training: training.batch: got 0; allowed: 1 to 65536"
    );
    samples.targets[(3, 1)] = f32::NAN;
    let error = train(&recipe, &samples, &samples, None, &quiet)
        .unwrap_err()
        .to_string();
    assert!(error.contains("not finite"), "{error}");
}

/// All that has a state: running statistics, an average of the weights, a variance, early stopping.
fn everything() -> (ModelSettings, TrainingSettings) {
    let (model, training) = settings();
    let model = ModelSettings {
        blocks: vec![vec![4, 4, 4], vec![6]],
        residual: true,
        normalization: Normalization::Batch,
        variance: true,
        auxiliary: vec![Auxiliary::Tilt],
        ..model
    };
    let training = TrainingSettings {
        averaging: 0.9,
        schedule: Schedule::Step,
        ..training
    };
    (model, training)
}

/// Samples whose tilt is as the displacement.
fn tilted(count: usize, seed: u64) -> Samples {
    let subimages = SubimageSettings {
        window_angstrom: 7.0,
        ..SUBIMAGES
    };
    let plain = gaussian_samples(count, &subimages, seed);
    let targets = ndarray::concatenate![ndarray::Axis(1), plain.targets, plain.targets];
    Samples { targets, ..plain }
}

#[test]
fn a_stopped_training_of_everything_goes_on_bit_by_bit_and_predicts_with_its_statistics() {
    let (model, training) = everything();
    let subimages = SubimageSettings {
        window_angstrom: 7.0,
        ..SUBIMAGES
    };
    let recipe = Recipe {
        seed: 3,
        model: &model,
        training: &training,
        subimages: &subimages,
        start: None,
    };
    let (samples, validation) = (tilted(70, 1), tilted(30, 2));
    let quiet = Reporter::quiet();
    let straight = train(&recipe, &samples, &validation, None, &quiet).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new(&recipe, &samples, &validation).unwrap();
    let checkpoint = Checkpoint::new(folder.path(), run.fingerprint());
    run.network(0, 2, Some(&checkpoint), &ProgressBar::hidden())
        .unwrap();
    let resumed = train(&recipe, &samples, &validation, Some(folder.path()), &quiet).unwrap();
    assert_eq!(straight.regressor.networks, resumed.regressor.networks);
    assert_eq!(straight.history_csv(), resumed.history_csv());
    let found = straight
        .regressor
        .predict_patches(validation.subimages.view())
        .unwrap();
    assert!(
        found
            .noise
            .iter()
            .all(|&noise| noise > 0.0 && noise.is_finite())
    );
    let provenance = Provenance::start("train", "seed = 3".to_owned(), Some(3));
    straight.regressor.save(folder.path(), &provenance).unwrap();
    let loaded = Regressor::load(folder.path()).unwrap();
    let again = loaded.predict_patches(validation.subimages.view()).unwrap();
    assert_eq!(found, again);
    let error = train(
        &recipe,
        &gaussian_samples(9, &subimages, 1),
        &validation,
        None,
        &quiet,
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("with labels (9, 4)"), "{error}");
}

#[test]
fn a_training_ends_when_patience_does() {
    let (model, training) = settings();
    let training = TrainingSettings {
        epochs: 30,
        ensemble: 1,
        patience: 2,
        // Nothing is learnt at this rate, or it goes up and down.
        learning_rate: 1.0,
        ..training
    };
    let recipe = Recipe {
        seed: 3,
        model: &model,
        training: &training,
        subimages: &SUBIMAGES,
        start: None,
    };
    let samples = gaussian_samples(40, &SUBIMAGES, 1);
    let trained = train(&recipe, &samples, &samples, None, &Reporter::quiet()).unwrap();
    let history = &trained.histories[0];
    let errors = history.iter().map(|record| record.validation_rms_pm);
    let best = errors.clone().fold(f64::INFINITY, f64::min);
    assert!(history.len() < 30);
    assert_eq!(
        errors.clone().position(|e| e == best),
        Some(history.len() - 3)
    );
}
