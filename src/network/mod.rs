//! Deep networks: from a sub-image straight to the polar displacement of the cell in it, with or without atom finding
//! (Nelson et al., npj Comput. Mater. 7, 149 (2021)).
//!
//! The way of the data: an image is standardized and sub-images are cut from it ([`cut_at`], [`grid_centres`]), labelled
//! (at columns with the cell's own D, elsewhere by [`labels_between`]) and split by position ([`split_by_position`]). An ensemble
//! of small convolutional networks is trained on them ([`train`]) to minimize the mean squared error of D, sub-images and labels
//! turned and mirrored together. The [`Regressor`] then says D ± σ for sub-images, at points, or in one pass over a whole
//! image; σ joins the spread of the ensemble (Lakshminarayanan et al., NIPS 2017) with a residual calibrated on the validation
//! samples.
//!
//! Inside, tensors are channels last, `(n, y, x, channel)`, against the house's `(n, channel, y, x)`: sixteen channels then lie
//! side by side in vector registers. With the single channel of sub-images both are the same numbers in the same order.
//!
//! candle carries tensors, the graph and safetensors; convolution and pooling are operations of our own, for speed and because
//! candle 0.11's pooling gradient is a quarter of what it must be. Random numbers are never candle's, which cannot be seeded
//! on the CPU.

mod architecture;
mod augmentation;
mod batch;
mod calibration;
mod checkpoint;
mod convolution;
mod familiarity;
mod kernel;
mod loss;
mod normalization;
mod optimizer;
mod pooling;
mod prediction;
mod registers;
mod regressor;
mod resampling;
mod samples;
mod settings;
mod skip;
mod split;
mod subimages;
mod supply;
mod symmetry;
mod training;

#[cfg(test)]
mod check;
#[cfg(test)]
mod golden;

pub use augmentation::Augmentation;
pub use calibration::{CalibratedOn, Conformal, LEVELS};
pub use familiarity::Threshold;
pub use pooling::Pooling;
pub use prediction::{DenseMap, Predictions};
pub use regressor::{Description, Normalisation, Regressor};
pub use samples::Samples;
pub use settings::{
    Auxiliary, Method, Mode, ModelSettings, Normalization, Schedule, SubimageSettings,
    TrainingSettings,
};
pub use split::{SplitBy, SplitSettings, split_by_position, split_lines};
pub use subimages::{Subimages, cut_at, grid_centres, labels_between, standardized};
pub use supply::{Filed, Pass, Resampled, Supply};
pub use training::{EpochRecord, Recipe, Trained, train};
