//! The state of a training after each epoch, on disk.
//!
//! `network-0.toml` holds the history and names the safetensors file with weights, moments and best weights of that epoch.
//! The tensors are written first, the TOML then replaces the older one in one step, and only then the older tensors go: at
//! any moment a whole checkpoint is there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::architecture::{Architecture, Weights};
use super::optimizer::Optimizer;
use super::training::{EpochRecord, State};
use crate::error::{Error, Result};
use crate::storage::output::{OutputFile, write_file};

/// A folder of checkpoints of one training.
pub(super) struct Checkpoint {
    folder: PathBuf,
    fingerprint: String,
}

/// `network-0.toml`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Hash of settings and samples.
    fingerprint: String,
    /// Name of the file with the tensors.
    tensors: String,
    /// Steps taken.
    steps: u64,
    /// Epochs done.
    history: Vec<EpochRecord>,
}

impl Checkpoint {
    /// The checkpoints in `folder` of the training with this `fingerprint`.
    pub(super) fn new(folder: &Path, fingerprint: String) -> Self {
        Self {
            folder: folder.to_owned(),
            fingerprint,
        }
    }

    fn record_path(&self, network: usize) -> PathBuf {
        self.folder.join(format!("network-{network}.toml"))
    }

    /// The last state of a network, with a running average where it is `averaged`; `None` where there is none.
    ///
    /// # Errors
    /// The checkpoint is of another training, or damaged.
    pub(super) fn load(
        &self,
        network: usize,
        architecture: &Architecture,
        averaged: bool,
    ) -> Result<Option<State>> {
        let Some(record) = self.record(network)? else {
            return Ok(None);
        };
        if record.fingerprint != self.fingerprint {
            let got = "a checkpoint of other settings or samples";
            let path = self.record_path(network);
            return Err(Error::data(
                &path,
                "fingerprint",
                got,
                "the same ones, or a fresh folder",
            ));
        }
        let path = self.folder.join(&record.tensors);
        let tensors = read_tensors(&path)?;
        let part = |part: &str| take_weights(&path, &tensors, part, architecture);
        Ok(Some(State {
            optimizer: Optimizer {
                weights: part("weights.")?,
                mean: part("mean.")?,
                square: part("square.")?,
                average: averaged.then(|| part("average.")).transpose()?,
                steps: record.steps,
            },
            best: part("best.")?,
            history: record.history,
        }))
    }

    fn record(&self, network: usize) -> Result<Option<Record>> {
        let path = self.record_path(network);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let record = toml::from_str(&text).map_err(|error| Error::Syntax {
            path,
            message: error.to_string(),
        })?;
        Ok(Some(record))
    }

    /// Keeps the state of a network at the end of an epoch.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn save(
        &self,
        network: usize,
        architecture: &Architecture,
        state: &State,
    ) -> Result<()> {
        let older = self.record(network)?.map(|record| record.tensors);
        let name = format!(
            "network-{network}-epoch-{}.safetensors",
            state.history.len()
        );
        let optimizer = &state.optimizer;
        let mut tensors = HashMap::new();
        let parts = [
            ("weights.", &optimizer.weights),
            ("mean.", &optimizer.mean),
            ("square.", &optimizer.square),
            ("best.", &state.best),
        ];
        let average = optimizer
            .average
            .iter()
            .map(|average| ("average.", average));
        for (part, weights) in parts.into_iter().chain(average) {
            put_weights(&mut tensors, part, architecture, weights)?;
        }
        write_tensors(&self.folder.join(&name), &tensors)?;
        let record = Record {
            fingerprint: self.fingerprint.clone(),
            tensors: name.clone(),
            steps: optimizer.steps,
            history: state.history.clone(),
        };
        let text = toml::to_string(&record).map_err(Error::compute("writing a checkpoint"))?;
        write_file(&self.record_path(network), text.as_bytes())?;
        if let Some(older) = older.filter(|older| *older != name) {
            let path = self.folder.join(older);
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }
}

/// Adds weights under `prefix` + name of the array.
///
/// # Errors
/// Weights of other sizes than the architecture's.
pub(super) fn put_weights(
    tensors: &mut HashMap<String, Tensor>,
    prefix: &str,
    architecture: &Architecture,
    weights: &Weights,
) -> Result<()> {
    for ((name, shape), values) in architecture.arrays().zip(weights) {
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu)
            .map_err(Error::compute("collecting weights"))?;
        tensors.insert(format!("{prefix}{name}"), tensor);
    }
    Ok(())
}

/// Takes the weights under `prefix` out of the tensors of the file `path`.
///
/// # Errors
/// An array is missing, has another shape, or is not f32.
pub(super) fn take_weights(
    path: &Path,
    tensors: &HashMap<String, Tensor>,
    prefix: &str,
    architecture: &Architecture,
) -> Result<Weights> {
    let take = |(name, shape): (String, Vec<usize>)| {
        let name = format!("{prefix}{name}");
        let found = tensors.get(&name);
        let values = found
            .filter(|tensor| tensor.dims() == shape)
            .and_then(|tensor| tensor.flatten_all().ok()?.to_vec1::<f32>().ok());
        values.ok_or_else(|| {
            let got = found.map_or("nothing".to_owned(), |t| {
                format!("{:?} {:?}", t.dtype(), t.dims())
            });
            Error::data(path, name, got, format!("F32 {shape:?}"))
        })
    };
    architecture.arrays().map(take).collect()
}

/// Writes tensors, whole or not at all.
///
/// # Errors
/// The disk refuses.
pub(super) fn write_tensors(path: &Path, tensors: &HashMap<String, Tensor>) -> Result<()> {
    let file = OutputFile::create(path, true)?;
    let refused = |error: candle_core::Error| std::io::Error::other(error.to_string());
    candle_core::safetensors::save(tensors, file.temporary())
        .map_err(|error| Error::io("write", path)(refused(error)))?;
    file.finish()
}

/// Reads tensors.
///
/// # Errors
/// The file cannot be read or is not safetensors.
pub(super) fn read_tensors(path: &Path) -> Result<HashMap<String, Tensor>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .map_err(|error| Error::data(path, "header", error.to_string(), "a safetensors file"))
}
