//! The gradient of a batch, shard by shard.
//!
//! A batch is cut into shards of [`Batches::shard`] samples, whatever the number of threads. Each shard goes through the network by
//! itself, so everything about it stays in the cache of one core; the gradients are added in the order of the shards. The same
//! seed therefore gives the same bits on any number of threads.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::architecture::{Architecture, OUTPUTS, Prepared, Role, Weights};
use super::augmentation::Augmentation;
use super::loss::Loss;
use super::samples::Samples;
use super::symmetry::Symmetry;
use crate::error::{Error, Result};
use crate::rng::{Rng, stream};

/// Weights whose gradients one thread adds up at a time; fewer are not worth waking another one.
const CHUNK: usize = 32_768;

/// What batches are made of.
#[derive(Debug)]
pub(super) struct Batches<'a> {
    /// How samples are disturbed.
    pub augmentation: &'a Augmentation,
    /// Samples of an epoch.
    pub count: usize,
    /// Pixel size of the sub-images [Å].
    pub sampling: f64,
    /// The network.
    pub architecture: Architecture,
    /// Side of the sub-images [px].
    pub window: usize,
    /// What each component of the labels is divided by: those of D by the same number of pm, then what is said beside D.
    pub scales: Vec<f64>,
    /// First components of vectors among the labels: they turn with the image.
    pub vectors: Vec<usize>,
    /// What is made small.
    pub loss: Loss,
    /// Samples that go through the network together; part of the result, since it fixes the order of sums.
    pub shard: usize,
    /// Whether samples are turned and mirrored, labels with them.
    pub augment: bool,
}

impl Batches<'_> {
    /// Sum of squared errors of a batch and the gradient of their mean, shard by shard. `batch` holds the numbers of the samples
    /// within their epoch, `samples` those samples, in the same order.
    pub(super) fn gradient(
        &self,
        weights: &Weights,
        samples: &Samples,
        batch: &[usize],
        seed: u64,
        epoch: usize,
    ) -> Result<(f64, Weights)> {
        let prepared = self.architecture.prepared(weights).map_err(compute)?;
        let shards: Vec<(f64, Weights)> = batch
            .par_chunks(self.shard)
            .enumerate()
            .map(|(number, shard)| {
                let first = number * self.shard;
                let (images, labels) = self.gather(samples, first, shard, seed, epoch);
                self.shard_gradient(&prepared, images, &labels, batch.len())
            })
            .collect::<candle_core::Result<_>>()
            .map_err(compute)?;
        let squares = shards.iter().map(|(squares, _)| squares).sum();
        Ok((squares, added(shards)))
    }

    /// Images and scaled labels of a shard that begins at row `first` of `samples`, turned, mirrored and disturbed where asked for.
    fn gather(
        &self,
        samples: &Samples,
        first: usize,
        shard: &[usize],
        seed: u64,
        epoch: usize,
    ) -> (Vec<f32>, Vec<f32>) {
        let mut images = Vec::with_capacity(shard.len() * self.window * self.window);
        let mut labels = Vec::with_capacity(shard.len() * self.scales.len());
        for (row, &sample) in (first..).zip(shard) {
            let index = (epoch * self.count + sample) as u64;
            let symmetry = if self.augment {
                stream(seed, "augment", index).random_range(0..Symmetry::COUNT)
            } else {
                0
            };
            let symmetry = Symmetry::new(symmetry);
            let image = samples.subimages.index_axis(ndarray::Axis(0), row);
            let start = images.len();
            let image = image.as_standard_layout();
            symmetry.turn_image(
                image.as_slice().unwrap_or_default(),
                self.window,
                &mut images,
            );
            if !self.augmentation.is_none() {
                let level = samples.levels.get(row).copied();
                let rng = &mut stream(seed, "disturb", index);
                self.augmentation
                    .disturb(&mut images[start..], self.sampling, level, rng);
            }
            let first = labels.len();
            let targets = samples.targets.row(row);
            labels.extend(
                targets
                    .iter()
                    .zip(&self.scales)
                    .map(|(&v, s)| (f64::from(v) / s) as f32),
            );
            for vector in self.vectors.iter().map(|c| first + c) {
                let turned = symmetry.turn_vector([labels[vector], labels[vector + 1]]);
                labels[vector..vector + 2].copy_from_slice(&turned);
            }
        }
        (images, labels)
    }

    /// The pixels of samples as a network sees them in its first epoch.
    pub(super) fn images(&self, samples: &Samples, numbers: &[usize], seed: u64) -> Vec<f32> {
        self.gather(samples, 0, numbers, seed, 0).0
    }

    /// Sum of squared errors of D of one shard, and its part of the gradient of the batch's mean; for running statistics its
    /// part of the batch's mean of them.
    fn shard_gradient(
        &self,
        prepared: &Prepared,
        images: Vec<f32>,
        labels: &[f32],
        batch: usize,
    ) -> candle_core::Result<(f64, Weights)> {
        let components = self.scales.len();
        let count = labels.len() / components;
        let shape = (count, self.window, self.window, 1);
        let images = Tensor::from_vec(images, shape, &Device::Cpu)?;
        let mut squares = 0.0;
        // The derivative of Σ error² / (2 batch).
        let share = (2.0 / (batch * OUTPUTS) as f64) as f32;
        let gradients = self.architecture.gradient(prepared, &images, |result| {
            let outputs: Vec<f32> = result.flatten_all()?.to_vec1()?;
            let mut gradient = vec![0.0; outputs.len()];
            let each = outputs.len() / count;
            let samples = outputs
                .chunks_exact(each)
                .zip(labels.chunks_exact(components));
            for ((outputs, labels), gradient) in samples.zip(gradient.chunks_exact_mut(each)) {
                squares += self.loss.gradient(outputs, labels, share, gradient);
            }
            Tensor::from_vec(gradient, result.dims(), &Device::Cpu)
        })?;
        let part = count as f32 / batch as f32;
        let gradients = gradients.iter().zip(self.architecture.roles());
        let gradients = gradients.map(|(gradient, role)| {
            let mut numbers: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
            if let Role::Statistic { .. } = role {
                numbers.iter_mut().for_each(|number| *number *= part);
            }
            Ok(numbers)
        });
        Ok((squares, gradients.collect::<candle_core::Result<_>>()?))
    }
}

/// The sum of the gradients of all shards, in their order.
fn added(shards: Vec<(f64, Weights)>) -> Weights {
    let mut shards = shards.into_iter().map(|(_, gradient)| gradient);
    let mut total = shards.next().unwrap_or_default();
    let rest: Vec<Weights> = shards.collect();
    for (index, total) in total.iter_mut().enumerate() {
        let add = |(chunk, total): (usize, &mut [f32])| {
            for gradient in &rest {
                let gradient = &gradient[index][chunk * CHUNK..];
                for (total, gradient) in total.iter_mut().zip(gradient) {
                    *total += gradient;
                }
            }
        };
        if total.len() <= CHUNK {
            add((0, total));
        } else {
            total.par_chunks_mut(CHUNK).enumerate().for_each(add);
        }
    }
    total
}

/// The error for a failure inside candle.
pub(super) fn compute(error: candle_core::Error) -> Error {
    Error::compute("training the network")(error)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array4, Axis, concatenate};

    use super::super::check::random;
    use super::super::settings::ModelSettings;
    use super::*;

    /// Centre of mass of an image from its middle, `[x, y]` [px].
    fn centre_of_mass(image: &[f32], side: usize) -> [f32; 2] {
        let middle = (side as f32 - 1.0) / 2.0;
        let total: f32 = image.iter().sum();
        let along = |place: fn(usize, usize) -> usize| {
            let terms = image.iter().enumerate();
            terms
                .map(|(i, v)| v * (place(i, side) as f32 - middle))
                .sum::<f32>()
                / total
        };
        [along(|i, side| i % side), along(|i, side| i / side)]
    }

    /// Both D and the tilt of a sample are its centre of mass here, so after any turn they must be that of the turned image.
    #[test]
    fn every_vector_among_the_labels_turns_with_the_image() {
        const SIDE: usize = 14;
        let pixels = random(&[40, SIDE * SIDE], 1).to_vec2::<f64>().unwrap();
        let pixels: Vec<f32> = pixels.concat().iter().map(|v| (v + 1.5) as f32).collect();
        let vectors: Vec<f32> = pixels
            .chunks_exact(SIDE * SIDE)
            .flat_map(|image| centre_of_mass(image, SIDE))
            .collect();
        let subimages = Array4::from_shape_vec((40, 1, SIDE, SIDE), pixels).unwrap();
        let vectors = Array2::from_shape_vec((40, 2), vectors).unwrap();
        let targets = concatenate(Axis(1), &[vectors.view(), vectors.view()]).unwrap();
        let samples = Samples::new(subimages, targets);
        let settings = ModelSettings {
            blocks: vec![vec![2]],
            ..ModelSettings::default()
        };
        let batches = Batches {
            augmentation: &Augmentation::default(),
            count: 40,
            sampling: 0.25,
            architecture: Architecture::new(&settings, 12),
            window: SIDE,
            scales: vec![1.0; 4],
            vectors: vec![0, 2],
            loss: Loss {
                variance: false,
                auxiliary_weight: 1.0,
            },
            shard: 8,
            augment: true,
        };
        let all: Vec<usize> = (0..40).collect();
        let (images, labels) = batches.gather(&samples, 0, &all, 3, 5);
        let mut turned = 0;
        for (n, image) in images.chunks_exact(SIDE * SIDE).enumerate() {
            let expected = centre_of_mass(image, SIDE);
            for vector in [&labels[4 * n..4 * n + 2], &labels[4 * n + 2..4 * n + 4]] {
                assert!(
                    (0..2).all(|axis| (vector[axis] - expected[axis]).abs() < 1e-4),
                    "{n}"
                );
            }
            turned +=
                usize::from(image != samples.subimages.index_axis(Axis(0), n).as_slice().unwrap());
        }
        // Seven of eight operations change an image.
        assert!(turned > 25, "{turned}");
    }
}
