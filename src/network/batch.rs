//! The gradient of a batch, shard by shard.
//!
//! A batch is cut into shards of [`SHARD`] samples, whatever the number of threads. Each shard goes through the network by
//! itself, so everything about it stays in the cache of one core; the gradients are added in the order of the shards. The same
//! seed therefore gives the same bits on any number of threads.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::architecture::{Architecture, OUTPUTS, Weights};
use super::samples::Samples;
use super::symmetry::Symmetry;
use crate::error::{Error, Result};
use crate::rng::{Rng, stream};

/// Samples that go through the network together; part of the result, since it fixes the order of sums.
pub(super) const SHARD: usize = 8;

/// What batches are made of.
#[derive(Debug)]
pub(super) struct Batches<'a> {
    /// The samples that batches are drawn from.
    pub samples: &'a Samples,
    /// The network.
    pub architecture: Architecture,
    /// Side of the sub-images [px].
    pub window: usize,
    /// Displacements are divided by this [pm].
    pub scale: f64,
    /// Whether samples are turned and mirrored, labels with them.
    pub augment: bool,
}

impl Batches<'_> {
    /// Sum of squared errors of a batch and the gradient of their mean, shard by shard.
    pub(super) fn gradient(
        &self,
        weights: &Weights,
        batch: &[usize],
        seed: u64,
        epoch: usize,
    ) -> Result<(f64, Weights)> {
        let tensors = self.architecture.tensors(weights).map_err(compute)?;
        let shards: Vec<(f64, Weights)> = batch
            .par_chunks(SHARD)
            .map(|shard| {
                let (images, targets) = self.gather(shard, seed, epoch);
                self.shard_gradient(&tensors, images, targets, batch.len())
            })
            .collect::<candle_core::Result<_>>()
            .map_err(compute)?;
        let mut shards = shards.into_iter();
        let first = shards.next().unwrap_or_default();
        Ok(shards.fold(first, |(sum, mut total), (squares, gradient)| {
            for (total, gradient) in total.iter_mut().zip(&gradient) {
                for (total, gradient) in total.iter_mut().zip(gradient) {
                    *total += gradient;
                }
            }
            (sum + squares, total)
        }))
    }

    /// Images and scaled labels of a shard, turned and mirrored where asked for.
    fn gather(&self, shard: &[usize], seed: u64, epoch: usize) -> (Vec<f32>, Vec<f32>) {
        let mut images = Vec::with_capacity(shard.len() * self.window * self.window);
        let mut targets = Vec::with_capacity(shard.len() * OUTPUTS);
        for &sample in shard {
            let symmetry = if self.augment {
                let index = (epoch * self.samples.count() + sample) as u64;
                stream(seed, "augment", index).random_range(0..Symmetry::COUNT)
            } else {
                0
            };
            let symmetry = Symmetry::new(symmetry);
            let image = self.samples.subimages.index_axis(ndarray::Axis(0), sample);
            let image = image.as_standard_layout();
            symmetry.turn_image(
                image.as_slice().unwrap_or_default(),
                self.window,
                &mut images,
            );
            let target = [0, 1].map(|c| self.samples.targets[(sample, c)]);
            let turned = symmetry.turn_vector(target);
            targets.extend(turned.map(|d| (f64::from(d) / self.scale) as f32));
        }
        (images, targets)
    }

    /// Sum of squared errors of one shard, and its part of the gradient of the batch's mean.
    fn shard_gradient(
        &self,
        weights: &[Tensor],
        images: Vec<f32>,
        targets: Vec<f32>,
        batch: usize,
    ) -> candle_core::Result<(f64, Weights)> {
        let count = targets.len() / OUTPUTS;
        let shape = (count, self.window, self.window, 1);
        let images = Tensor::from_vec(images, shape, &Device::Cpu)?;
        let targets = Tensor::from_vec(targets, (count, 1, 1, OUTPUTS), &Device::Cpu)?;
        let mut squares = 0.0;
        let gradients = self.architecture.gradient(weights, &images, |result| {
            let errors = (result - targets)?;
            squares = f64::from(errors.sqr()?.sum_all()?.to_scalar::<f32>()?);
            // The derivative of Σ error² / (2 batch).
            errors * (2.0 / (batch * OUTPUTS) as f64)
        })?;
        let gradients = gradients
            .iter()
            .map(|gradient| gradient.flatten_all()?.to_vec1());
        Ok((squares, gradients.collect::<candle_core::Result<_>>()?))
    }
}

/// The error for a failure inside candle.
pub(super) fn compute(error: candle_core::Error) -> Error {
    Error::compute("training the network")(error)
}
