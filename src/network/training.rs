//! Training: every network of an ensemble from its own seed, epoch by epoch, with a checkpoint after each.
//!
//! The weights of the epoch with the lowest validation error are kept. A run that was killed goes on as if it had not been,
//! bit by bit.

use std::path::Path;

use indicatif::ProgressBar;
use rand::seq::SliceRandom;

use super::architecture::{Architecture, OUTPUTS, Weights};
use super::batch::{Batches, compute};
use super::calibration::{CalibratedOn, Conformal};
use super::checkpoint::Checkpoint;
use super::familiarity::Familiarity;
use super::loss::Loss;
use super::optimizer::{Optimizer, learning_rate};
use super::prediction;
use super::regressor::{Description, Network, Normalisation, Regressor, keep_memory};
use super::settings::{Auxiliary, ModelSettings, SubimageSettings, TrainingSettings};
use super::supply::{self, Pass, Supply, survey};
use crate::error::{Error, Result};
use crate::progress::Reporter;
use crate::provenance::SCHEMA_VERSION;
use crate::rng::{Rng, stream};
use crate::settings::Source;

/// What is to be trained, apart from the samples.
#[derive(Debug, Clone)]
pub struct Recipe<'a> {
    /// Master seed.
    pub seed: u64,
    /// `[model]`.
    pub model: &'a ModelSettings,
    /// `[training]`.
    pub training: &'a TrainingSettings,
    /// `[subimages]`: how the samples were cut.
    pub subimages: &'a SubimageSettings,
    /// Weights to start from (fine-tuning), network by network; `None` starts from random ones.
    pub start: Option<&'a Regressor>,
}

/// One line of the history of a network.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Root mean square error per component over the epoch's (augmented) training samples, while it ran [pm].
    pub train_rms_pm: f64,
    /// Root mean square error per component of the validation samples after the epoch [pm].
    pub validation_rms_pm: f64,
}

/// A trained ensemble and how it went.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The networks, each with the weights of its best epoch.
    pub regressor: Regressor,
    /// History of each network.
    pub histories: Vec<Vec<EpochRecord>>,
}

impl Trained {
    /// `history.csv`: `network,epoch,learning_rate,train_rms_pm,validation_rms_pm`.
    #[must_use]
    pub fn history_csv(&self) -> String {
        let mut csv = "network,epoch,learning_rate,train_rms_pm,validation_rms_pm\n".to_owned();
        for (network, history) in self.histories.iter().enumerate() {
            for r in history {
                csv += &format!(
                    "{network},{},{:e},{},{}\n",
                    r.epoch, r.learning_rate, r.train_rms_pm, r.validation_rms_pm
                );
            }
        }
        csv
    }
}

/// Trains an ensemble. With a `checkpoint` folder the state is kept there after every epoch, and what is there is gone on
/// with.
///
/// # Errors
/// Samples that do not fit the settings, a checkpoint of another training, an error that is no longer a number, or a disk
/// that refuses.
pub fn train(
    recipe: &Recipe,
    train: &dyn Supply,
    validation: &dyn Supply,
    checkpoint: Option<&Path>,
    reporter: &Reporter,
) -> Result<Trained> {
    keep_memory();
    let run = Run::new(recipe, train, validation)?;
    let checkpoint = checkpoint.map(|folder| Checkpoint::new(folder, run.fingerprint()));
    let steps = recipe.training.ensemble * recipe.training.epochs * run.steps_per_epoch();
    let bar = reporter.bar("training", steps as u64);
    let mut states = Vec::new();
    for network in 0..recipe.training.ensemble {
        let epochs = recipe.training.epochs;
        let work = || run.network(network, epochs, checkpoint.as_ref(), &bar);
        // From among the workers: from outside, each short piece of parallel work would wait for one of them to wake.
        states.push(rayon::join(work, || ()).0?);
    }
    bar.finish();
    run.finish(states)
}

/// State of one network at the end of an epoch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    /// Weights and moments.
    pub optimizer: Optimizer,
    /// Weights (where one is kept, their running average) of the epoch with the lowest validation error.
    pub best: Weights,
    /// The epochs so far.
    pub history: Vec<EpochRecord>,
}

impl State {
    /// Lowest validation error so far [pm].
    fn best_rms(&self) -> f64 {
        let errors = self.history.iter().map(|record| record.validation_rms_pm);
        errors.fold(f64::INFINITY, f64::min)
    }

    /// Epochs since the lowest validation error.
    fn epochs_since_best(&self) -> usize {
        let best = self.best_rms();
        let mut later = self.history.iter().rev();
        later
            .position(|record| record.validation_rms_pm == best)
            .unwrap_or(0)
    }
}

/// Everything that stays the same during a training.
struct Run<'a> {
    recipe: &'a Recipe<'a>,
    batches: Batches<'a>,
    samples: &'a dyn Supply,
    validation: &'a dyn Supply,
    /// Hash of the samples.
    hash: String,
}

impl<'a> Run<'a> {
    fn new(recipe: &'a Recipe, train: &'a dyn Supply, validation: &'a dyn Supply) -> Result<Self> {
        let window = recipe.subimages.window();
        // Callers without a settings file get the same messages, without a line.
        let source = Source::from_text("training", "");
        recipe.training.validate(&source)?;
        recipe.subimages.validate(&source)?;
        recipe.model.validate(&source, window)?;
        let components = recipe.model.label_components();
        let mut hasher = blake3::Hasher::new();
        let squares = survey(train, "training", window, components, &mut hasher)?;
        survey(validation, "validation", window, components, &mut hasher)?;
        if recipe.training.augmentation.counts_electrons() {
            supply::check_levels(train)?;
        }
        let (scales, architecture) = match recipe.start {
            Some(start) => start.as_start(recipe.model, window)?,
            None => {
                let remaining = recipe.model.remaining(window).ok_or_else(|| {
                    let allowed = recipe.model.allowed_windows(window);
                    Error::unmeasurable("the model", format!("a window of {window} px"), allowed)
                })?;
                let architecture = Architecture::new(recipe.model, remaining);
                (scales(recipe.model, &squares), architecture)
            }
        };
        let batches = Batches {
            augmentation: &recipe.training.augmentation,
            count: train.count(),
            sampling: recipe.subimages.sampling_angstrom,
            architecture,
            window,
            scales,
            vectors: vectors(recipe.model),
            loss: Loss {
                variance: recipe.model.variance,
                auxiliary_weight: recipe.training.auxiliary_weight,
            },
            shard: recipe.training.shard,
            augment: recipe.training.augment,
        };
        Ok(Self {
            recipe,
            batches,
            samples: train,
            validation,
            hash: hasher.finalize().to_hex().to_string(),
        })
    }

    fn steps_per_epoch(&self) -> usize {
        self.batches.count.div_ceil(self.recipe.training.batch)
    }

    /// Hash of all that decides the result.
    fn fingerprint(&self) -> String {
        let recipe = self.recipe;
        let mut hasher = blake3::Hasher::new();
        let settings = (recipe.seed, recipe.model, recipe.training, recipe.subimages);
        hasher.update(format!("{SCHEMA_VERSION} {settings:?}").as_bytes());
        hasher.update(self.hash.as_bytes());
        let start = recipe.start.into_iter().flat_map(|start| &start.networks);
        for value in start.flatten().flatten() {
            hasher.update(&value.to_le_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Seed of one network of the ensemble.
    fn network_seed(&self, network: usize) -> u64 {
        stream(self.recipe.seed, "network", network as u64).random()
    }

    /// Whether a running average of the weights is kept.
    fn averaged(&self) -> bool {
        self.recipe.training.averaging > 0.0
    }

    fn initial_state(&self, network: usize) -> State {
        let weights = match self.recipe.start {
            Some(start) => start.networks[network % start.networks.len()].clone(),
            None => self
                .batches
                .architecture
                .initial_weights(self.network_seed(network)),
        };
        State {
            optimizer: Optimizer::new(weights.clone(), self.averaged()),
            best: weights,
            history: Vec::new(),
        }
    }

    /// Trains network `network` up to epoch `until`, from its checkpoint if there is one.
    fn network(
        &self,
        network: usize,
        until: usize,
        checkpoint: Option<&Checkpoint>,
        bar: &ProgressBar,
    ) -> Result<State> {
        let kept = checkpoint
            .map(|c| c.load(network, &self.batches.architecture, self.averaged()))
            .transpose()?;
        let mut state = kept
            .flatten()
            .unwrap_or_else(|| self.initial_state(network));
        let seed = self.network_seed(network);
        bar.inc((state.history.len() * self.steps_per_epoch()) as u64);
        let patience = self.recipe.training.patience;
        for epoch in state.history.len()..until {
            if patience > 0 && state.epochs_since_best() >= patience {
                bar.inc(((until - epoch) * self.steps_per_epoch()) as u64);
                break;
            }
            let pass = Pass { network, epoch };
            let record = self.epoch(&mut state.optimizer, seed, pass, bar)?;
            if record.validation_rms_pm < state.best_rms() {
                state.best.clone_from(state.optimizer.outcome());
            }
            state.history.push(record);
            bar.set_message(format!(
                "network {}: training {:.2} pm, validation {:.2} pm",
                network + 1,
                record.train_rms_pm,
                record.validation_rms_pm
            ));
            if let Some(checkpoint) = checkpoint {
                checkpoint.save(network, &self.batches.architecture, &state)?;
            }
        }
        Ok(state)
    }

    /// One pass over the training samples, and the validation error after it.
    fn epoch(
        &self,
        optimizer: &mut Optimizer,
        seed: u64,
        pass: Pass,
        bar: &ProgressBar,
    ) -> Result<EpochRecord> {
        let training = self.recipe.training;
        let epoch = pass.epoch;
        let mut order: Vec<usize> = (0..self.batches.count).collect();
        order.shuffle(&mut stream(seed, "shuffle", epoch as u64));
        let (mut squares, mut rate) = (0.0, 0.0);
        // Whole batches, so that where the pieces end changes nothing.
        let at_once = (self.samples.at_once() / training.batch).max(1) * training.batch;
        for piece in order.chunks(at_once) {
            let samples = self.samples.read(pass, piece)?;
            for (number, batch) in piece.chunks(training.batch).enumerate() {
                let first = number * training.batch;
                let rows: Vec<usize> = (first..first + batch.len()).collect();
                let (sum, gradient) = self.batches.gradient(
                    &optimizer.weights,
                    &samples.select(&rows),
                    batch,
                    seed,
                    epoch,
                )?;
                squares += sum;
                rate = learning_rate(training, optimizer.steps, self.steps_per_epoch() as u64);
                optimizer.step(&self.batches.architecture, &gradient, rate, training);
                bar.inc(1);
            }
        }
        let train_rms_pm = self.rms(squares, self.batches.count);
        let validation_rms_pm = self.validation_rms(optimizer.outcome())?;
        if !(train_rms_pm.is_finite() && validation_rms_pm.is_finite()) {
            let what = format!("training, epoch {}", epoch + 1);
            let got = "an error that is no longer a number";
            return Err(Error::unmeasurable(
                what,
                got,
                "a lower training.learning_rate",
            ));
        }
        Ok(EpochRecord {
            epoch: epoch + 1,
            learning_rate: rate,
            train_rms_pm,
            validation_rms_pm,
        })
    }

    /// Root mean square error per component [pm] from the sum of squares in units of the scale.
    fn rms(&self, squares: f64, count: usize) -> f64 {
        self.batches.scales[0] * (squares / (OUTPUTS * count) as f64).sqrt()
    }

    fn validation_rms(&self, weights: &Weights) -> Result<f64> {
        let network = Network::new(&self.batches.architecture, weights).map_err(compute)?;
        let scale = self.batches.scales[0];
        let mut squares = 0.0;
        supply::pieces(self.validation, |samples| {
            let predicted = prediction::patches(&network, samples.subimages.view())?;
            for n in 0..samples.count() {
                for at in [(n, 0), (n, 1)] {
                    let label = f64::from(samples.targets[at]) / scale;
                    squares += (f64::from(predicted[at]) - label).powi(2);
                }
            }
            Ok(())
        })?;
        Ok(self.rms(squares, self.validation.count()))
    }

    /// What the samples look like, turned and disturbed as the networks saw them.
    fn familiarity(&self) -> Result<Familiarity> {
        let count = self.samples.count();
        let rows = Familiarity::chosen(count, self.recipe.seed);
        let mut windows = Vec::new();
        let pass = Pass {
            network: 0,
            epoch: 0,
        };
        for piece in rows.chunks(self.samples.at_once().max(1)) {
            let samples = self.samples.read(pass, piece)?;
            windows.extend(self.batches.images(&samples, piece, self.recipe.seed));
        }
        Familiarity::learn(windows, self.batches.window, self.recipe.seed)
    }

    /// The ensemble of the best weights, its uncertainty calibrated on the validation samples.
    fn finish(&self, states: Vec<State>) -> Result<Trained> {
        let recipe = self.recipe;
        let description = Description {
            schema_version: SCHEMA_VERSION,
            seed: recipe.seed,
            window_px: self.batches.window,
            target_scale_pm: self.batches.scales[0],
            auxiliary_scales: self.batches.scales[OUTPUTS..].to_vec(),
            residual_pm: [0.0; 2],
            sigma_scale: [1.0; 2],
            calibrated_on: CalibratedOn::Validation,
            conformal: Conformal::default(),
            familiarity: None,
            normalisation: Normalisation::Image,
            validation_rms_pm: states.iter().map(State::best_rms).collect(),
            model: recipe.model.clone(),
            training: recipe.training.clone(),
            subimages: recipe.subimages.clone(),
            provenance: None,
        };
        let (networks, histories) = states.into_iter().map(|s| (s.best, s.history)).unzip();
        let mut regressor =
            Regressor::new(description, self.batches.architecture.clone(), networks)?;
        regressor.familiar = Some(self.familiarity()?);
        regressor.calibrate(self.validation, CalibratedOn::Validation)?;
        Ok(Trained {
            regressor,
            histories,
        })
    }
}

/// What the labels are divided by, component by component: the root mean square of D, and of each thing said beside it, from the mean
/// squares of the labels.
fn scales(model: &ModelSettings, squares: &[f64]) -> Vec<f64> {
    let rms = |squares: &[f64]| {
        let rms = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        // Where all labels are zero any scale will do.
        if rms > 0.0 { rms } else { 1.0 }
    };
    let mut scales = vec![rms(&squares[..OUTPUTS]); OUTPUTS];
    for extra in &model.auxiliary {
        let columns = scales.len()..scales.len() + extra.components();
        scales.extend(vec![rms(&squares[columns]); extra.components()]);
    }
    scales
}

/// First components of D and of the other vectors among the labels.
fn vectors(model: &ModelSettings) -> Vec<usize> {
    let (mut vectors, mut next) = (vec![0], OUTPUTS);
    for &extra in &model.auxiliary {
        if extra == Auxiliary::Tilt {
            vectors.push(next);
        }
        next += extra.components();
    }
    vectors
}

#[cfg(test)]
mod tests;
