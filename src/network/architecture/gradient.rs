//! The way back through a network: the gradient of each array of weights.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::{Architecture, Role, Step, Weights};
use crate::network::convolution::{Turned, convolution_gradient};
use crate::network::normalization::{Statistics, normalization_gradient};
use crate::network::pooling::pool_gradient;
use crate::network::skip::{add_cropped, add_inside, rectifier_gradient};

/// Weights as tensors, and those of them turned that gradients are led back through.
pub(in crate::network) struct Prepared {
    pub(super) weights: Vec<Tensor>,
    turned: Vec<Option<Turned>>,
}

/// A step that images have gone through.
struct Passed {
    step: Step,
    input: Tensor,
    result: Tensor,
    statistics: Option<Statistics>,
}

impl Architecture {
    /// Weights as the gradients of a batch need them, worked out once for all shards.
    pub(in crate::network) fn prepared(&self, weights: &Weights) -> Result<Prepared> {
        self.prepare(self.tensors(weights)?)
    }

    pub(super) fn prepare(&self, weights: Vec<Tensor>) -> Result<Prepared> {
        let arrays = weights.par_iter().zip(&self.arrays).enumerate();
        let turned = arrays.map(|(index, (tensor, array))| {
            // Nobody asks for the gradient of the images.
            let Role::Kernel { whole, .. } = array.role else {
                return Ok(None);
            };
            let turned = (index > 0).then(|| Turned::new(tensor, whole));
            turned.transpose()
        });
        let turned = turned.collect::<Result<_>>()?;
        Ok(Prepared { weights, turned })
    }

    /// Gradient of each array of weights, where `of_result` gives that of the result; for running statistics the statistics of
    /// these images.
    ///
    /// It walks back through the layers itself: candle's `backward` adds every gradient to a tensor of zeros, and for more
    /// than 65536 numbers it does so in a pool of spinning threads that fights with the workers for the cores.
    pub(in crate::network) fn gradient(
        &self,
        prepared: &Prepared,
        images: &Tensor,
        of_result: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Vec<Tensor>> {
        let mut passed = Vec::with_capacity(self.steps.len());
        let (mut x, mut kept) = (images.clone(), None);
        for step in &self.steps {
            let before = x;
            let statistics;
            (x, statistics) = match step {
                Step::Keep => {
                    kept = Some(before.clone());
                    (before.clone(), None)
                }
                Step::Add => {
                    let sum = add_cropped(&before, kept.as_ref().unwrap_or(&before))?;
                    (sum, None)
                }
                other => other.forward(&prepared.weights, &before)?,
            };
            passed.push(Passed {
                step: *step,
                input: before,
                result: x.clone(),
                statistics,
            });
        }
        let mut back = Back {
            prepared,
            gradient: of_result(&x)?,
            around: None,
            gradients: vec![None; self.arrays.len()],
        };
        drop(x);
        // What has been walked back through is not needed any more.
        while let Some(passed) = passed.pop() {
            back.step(&passed)?;
        }
        let gradients = back.gradients.into_iter().zip(&prepared.weights);
        gradients
            .map(|(gradient, weights)| gradient.map_or_else(|| weights.zeros_like(), Ok))
            .collect()
    }
}

/// The way back.
struct Back<'a> {
    prepared: &'a Prepared,
    /// Gradient of the result of the step that comes next.
    gradient: Tensor,
    /// Gradient that goes around, along a shortcut.
    around: Option<Tensor>,
    /// Gradients of the arrays of weights so far.
    gradients: Vec<Option<Tensor>>,
}

impl Back<'_> {
    fn step(&mut self, passed: &Passed) -> Result<()> {
        let result = &passed.result;
        match passed.step {
            Step::Convolution {
                kernel,
                bias,
                rectify,
            } => {
                let of = convolution_gradient(
                    &passed.input,
                    self.prepared.weights[kernel].dims(),
                    self.prepared.turned[kernel].as_ref(),
                    rectify.then_some(result),
                    &self.gradient,
                )?;
                self.gradients[kernel] = Some(of.weights);
                if bias {
                    self.gradients[kernel + 1] = Some(of.bias);
                }
                if let Some(of_input) = of.input {
                    self.gradient = of_input;
                }
            }
            Step::Normalization { gain, rectify } => self.normalization(passed, gain, rectify)?,
            Step::Pooling(pooling) => {
                self.gradient = pool_gradient(&passed.input, &self.gradient, pooling)?;
            }
            Step::Keep => {
                if let Some(around) = self.around.take() {
                    self.gradient = add_inside(&self.gradient, &around)?;
                }
            }
            Step::Add => {
                self.gradient = rectifier_gradient(result, &self.gradient)?;
                self.around = Some(self.gradient.clone());
            }
        }
        Ok(())
    }

    fn normalization(&mut self, passed: &Passed, gain: usize, rectify: bool) -> Result<()> {
        let Some(statistics) = &passed.statistics else {
            return Ok(());
        };
        let weights = &self.prepared.weights[gain];
        let result = rectify.then_some(&passed.result);
        let of =
            normalization_gradient(&passed.input, weights, statistics, result, &self.gradient)?;
        self.gradient = of.input;
        self.gradients[gain] = Some(of.gain);
        self.gradients[gain + 1] = Some(of.shift);
        // A population's variance, as it is estimated from these numbers.
        let population = statistics.count as f64 / (statistics.count as f64 - 1.0).max(1.0);
        let variance: Vec<f64> = statistics.variance.iter().map(|v| v * population).collect();
        for (index, values) in [(gain + 2, &statistics.mean), (gain + 3, &variance)] {
            let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
            self.gradients[index] = Some(tensor.to_dtype(weights.dtype())?);
        }
        Ok(())
    }
}
