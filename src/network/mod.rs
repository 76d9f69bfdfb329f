//! Deep networks.
mod checkpoint;
mod convolution;
mod kernel;
mod network;
mod optimizer;
mod pooling;
mod prediction;
mod regressor;
mod resampling;
mod samples;
mod settings;
mod split;
mod subimages;
mod symmetry;
mod training;

#[cfg(test)]
mod check;

pub use prediction::{DenseMap, Ensemble};
pub use regressor::{Description, Normalisation, Regressor};
pub use samples::Samples;
pub use settings::{Mode, ModelSettings, SubimageSettings, TrainingSettings};
pub use split::{SplitSettings, split_by_position, split_lines};
pub use subimages::{Subimages, cut_at, grid_centres, labels_between, standardized};
pub use training::{EpochRecord, Recipe, Trained, train};
