//! A trained ensemble: its networks, what it was trained on, and the folder it lives in.
//!
//! A model folder holds `model.toml` ([`Description`]) and the weights, `weights.safetensors` of a single network or
//! `weights-0.safetensors …` of an ensemble. Kernels are `(y, x, in, out)`. `familiar.safetensors` holds what the training data look like
//! ([`super::familiarity`]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Once;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::architecture::{Architecture, OUTPUTS, OnDevice, Weights};
use super::calibration::{CalibratedOn, Conformal};
use super::checkpoint::{put_weights, read_tensors, take_weights, write_tensors};
use super::familiarity::{Familiarity, Threshold};
use super::settings::{ModelSettings, SubimageSettings, TrainingSettings};
use crate::error::{Error, Result};
use crate::provenance::{Provenance, SCHEMA_VERSION};
use crate::storage::output::write_file;

/// Name of the file of what the training data look like.
const FAMILIAR: &str = "familiar.safetensors";

/// What is done to intensities before a network sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// The mean of the whole image is subtracted and the result divided by the image's standard deviation. It is the same
    /// for every window of an image, so that one pass over the image gives what the windows give.
    Image,
}

/// `model.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Version of the layout of the folder.
    pub schema_version: u32,
    /// Master seed of the training.
    pub seed: u64,
    /// Side of the sub-images [px].
    pub window_px: usize,
    /// Outputs of the networks are multiplied by this: root mean square of the training displacements [pm].
    pub target_scale_pm: f64,
    /// What is said beside D is multiplied by these, component by component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auxiliary_scales: Vec<f64>,
    /// Added in square to the spread of the ensemble, so that the validation errors divided by their sigma have a mean square
    /// of 1; `[x, y]` [pm].
    pub residual_pm: [f64; 2],
    /// Sigma is multiplied by these at last, so that the same holds for networks that say a variance themselves; `[x, y]`.
    #[serde(default = "unscaled")]
    pub sigma_scale: [f64; 2],
    /// Which samples these numbers, the circles and the threshold rest on.
    #[serde(default)]
    pub calibrated_on: CalibratedOn,
    /// Circles that hold the true D with given probabilities; none in models of older versions.
    #[serde(default)]
    pub conformal: Conformal,
    /// From where on a window is unlike the training data; nothing in models of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub familiarity: Option<Threshold>,
    /// What is done to intensities.
    pub normalisation: Normalisation,
    /// Validation error of each network, root mean square per component [pm].
    pub validation_rms_pm: Vec<f64>,
    /// `[model]`.
    pub model: ModelSettings,
    /// `[training]`.
    pub training: TrainingSettings,
    /// `[subimages]`.
    pub subimages: SubimageSettings,
    /// Birth certificate, filled by [`Regressor::save`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
}

/// Sigma as it is.
fn unscaled() -> [f64; 2] {
    [1.0; 2]
}

/// An ensemble of networks that says what polar displacement a sub-image shows.
#[derive(Debug, Clone)]
pub struct Regressor {
    pub(super) description: Description,
    pub(super) architecture: Architecture,
    /// Weights of each network.
    pub(super) networks: Vec<Weights>,
    /// The same, ready to predict.
    pub(super) ready: Vec<Network>,
    /// What it has seen in training.
    pub(super) familiar: Option<Familiarity>,
}

/// A network that is done with training: its weights as tensors, normalizations put into them.
#[derive(Debug, Clone)]
pub(super) struct Network {
    /// What is done with the weights.
    pub architecture: Architecture,
    /// The weights.
    pub tensors: Vec<Tensor>,
    /// The same on a graphics processor, if there is one and the program is built for it.
    pub on_device: Option<OnDevice>,
}

impl Network {
    /// The trained network of these weights.
    pub(super) fn new(architecture: &Architecture, weights: &Weights) -> candle_core::Result<Self> {
        let (architecture, weights) = architecture.folded(weights);
        let tensors = architecture.tensors(&weights)?;
        // Without the feature `cuda` there never is one.
        let device = Device::new_cuda(0).ok();
        let on_device = device.map(|device| OnDevice::new(&architecture, &weights, &device));
        Ok(Self {
            on_device: on_device.transpose()?,
            architecture,
            tensors,
        })
    }
}

impl Regressor {
    pub(super) fn new(
        description: Description,
        architecture: Architecture,
        networks: Vec<Weights>,
    ) -> Result<Self> {
        let ready = networks
            .iter()
            .map(|weights| Network::new(&architecture, weights));
        let ready = ready
            .collect::<candle_core::Result<_>>()
            .map_err(Error::compute("making tensors of the weights"))?;
        Ok(Self {
            description,
            architecture,
            networks,
            ready,
            familiar: None,
        })
    }

    /// What the ensemble was trained on, and how.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Scales of the labels and architecture for a training that starts from these weights.
    ///
    /// # Errors
    /// A model of another shape is to be trained.
    pub(super) fn as_start(
        &self,
        model: &ModelSettings,
        window: usize,
    ) -> Result<(Vec<f64>, Architecture)> {
        let own = &self.description;
        if own.model != *model || own.window_px != window {
            let got = format!("{:?} at {} px", own.model, own.window_px);
            let needed = format!("{model:?} at {window} px");
            return Err(Error::unmeasurable("the model to start from", got, needed));
        }
        let mut scales = vec![own.target_scale_pm; OUTPUTS];
        scales.extend(&own.auxiliary_scales);
        Ok((scales, self.architecture.clone()))
    }

    /// Writes `model.toml` and the weights into `folder`; `model.toml` last, so that a folder that has one is whole.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn save(&self, folder: &Path, provenance: &Provenance) -> Result<()> {
        for (path, weights) in self.weight_paths(folder).iter().zip(&self.networks) {
            let mut tensors = HashMap::new();
            put_weights(&mut tensors, "", &self.architecture, weights)?;
            write_tensors(path, &tensors)?;
        }
        if let Some(familiar) = &self.familiar {
            familiar.write(&folder.join(FAMILIAR))?;
        }
        let description = Description {
            provenance: Some(provenance.clone()),
            ..self.description.clone()
        };
        let text = toml::to_string(&description).map_err(Error::compute("writing model.toml"))?;
        write_file(&folder.join("model.toml"), text.as_bytes())
    }

    /// Reads a model folder.
    ///
    /// # Errors
    /// A file is missing, damaged, of a newer program, or does not fit the others.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("model.toml");
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let description: Description = toml::from_str(&text).map_err(|error| Error::Syntax {
            path: path.clone(),
            message: error.to_string(),
        })?;
        if description.schema_version != SCHEMA_VERSION {
            let got = description.schema_version.to_string();
            let allowed = format!("{SCHEMA_VERSION}, the layout of this program");
            return Err(Error::data(&path, "schema_version", got, allowed));
        }
        let model = &description.model;
        let remaining = model.remaining(description.window_px).ok_or_else(|| {
            let allowed = model.allowed_windows(description.window_px);
            Error::data(
                &path,
                "window_px",
                description.window_px.to_string(),
                allowed,
            )
        })?;
        let extra = model.label_components() - OUTPUTS;
        if description.auxiliary_scales.len() != extra {
            let got = format!("{} numbers", description.auxiliary_scales.len());
            let allowed = format!("{extra}, as model.auxiliary has components");
            return Err(Error::data(&path, "auxiliary_scales", got, allowed));
        }
        let architecture = Architecture::new(model, remaining);
        let count = description.validation_rms_pm.len();
        let paths = weight_paths(folder, count);
        let networks = paths.iter().map(|path| {
            let tensors = read_tensors(path)?;
            let weights = take_weights(path, &tensors, "", &architecture)?;
            if weights.iter().flatten().any(|w| !w.is_finite()) {
                return Err(Error::data(
                    path,
                    "weights",
                    "numbers that are not finite",
                    "finite weights; the file is damaged",
                ));
            }
            Ok(weights)
        });
        let networks = networks.collect::<Result<_>>()?;
        let window = description.window_px;
        let familiar = match description.familiarity {
            Some(_) => Some(Familiarity::read(&folder.join(FAMILIAR), window)?),
            None => None,
        };
        Ok(Self {
            familiar,
            ..Self::new(description, architecture, networks)?
        })
    }

    fn weight_paths(&self, folder: &Path) -> Vec<PathBuf> {
        weight_paths(folder, self.networks.len())
    }
}

/// Lets the allocator keep the memory of layers that are done with for the next ones, instead of handing it back to the system
/// and asking for it, page by page, again: that took a third of the time of a training on 64 × 64 pixels.
///
/// glibc takes the largest block that was ever freed, up to 32 MiB, as a hint of what is usual (mallopt(3), M_MMAP_THRESHOLD);
/// elsewhere this does nothing.
pub(super) fn keep_memory() {
    const USUAL: usize = (32 << 20) - (64 << 10);
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(USUAL))));
}

fn weight_paths(folder: &Path, count: usize) -> Vec<PathBuf> {
    if count == 1 {
        return vec![folder.join("weights.safetensors")];
    }
    let name = |network| folder.join(format!("weights-{network}.safetensors"));
    (0..count).map(name).collect()
}
