//! One convolutional network from a sub-image to a polar displacement.
//!
//! Blocks of unpadded 3 × 3 convolutions with ReLU, 2 × 2 pooling between the blocks, then a convolution as large as what is
//! left (the hidden layer) and a 1 × 1 convolution to the two components and what else is asked for. Where asked for, channels
//! are normalized before the rectifier, and pairs of convolutions have a shortcut around them. Nothing is padded and nothing
//! looks at a whole sub-image but the hidden layer, so one pass over a larger image gives, every [`ModelSettings::stride`]
//! pixels, exactly what the sub-image there would give (Long, Shelhamer and Darrell, CVPR 2015, section 3).

use candle_core::{Device, Result, Tensor};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::convolution::{Turned, convolution_gradient, convolve};
use super::normalization::{EPSILON, Statistics, normalization_gradient, normalize};
use super::pooling::{Pooling, pool, pool_gradient};
use super::settings::{KERNEL, ModelSettings, Normalization};
use super::skip::{add_cropped, add_inside, rectifier_gradient};
use crate::rng::stream;

/// Components of the polar displacement.
pub(super) const OUTPUTS: usize = 2;

/// Name of the layer whose kernel is as large as what is left of a sub-image.
const HIDDEN: &str = "hidden";

/// Names, shapes and order of the weights of a network, and what is done with them; the weights themselves travel beside it,
/// one `Vec` per array.
#[derive(Debug, Clone)]
pub(super) struct Architecture {
    arrays: Vec<Array>,
    steps: Vec<Step>,
}

/// Weights of one kind.
#[derive(Debug, Clone)]
struct Array {
    name: String,
    shape: Vec<usize>,
    role: Role,
}

/// What an array of weights is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Role {
    /// A kernel `(y, x, in, out)`, with the variance times fan-in that it starts with.
    Kernel {
        /// Variance of the first weights, times fan-in.
        gain: f64,
        /// Whether it is as large as its input, in a sub-image.
        whole: bool,
    },
    /// One number for each channel, with its first value.
    Channel {
        /// First value.
        first: f32,
    },
    /// A running mean of a statistic, for each channel: no gradient leads there.
    Statistic {
        /// First value.
        first: f32,
    },
}

/// One step of the way of an image through the network; numbers are those of arrays.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// Convolution with kernel `kernel` and, where there is none after a normalization, the bias that follows it.
    Convolution {
        kernel: usize,
        bias: bool,
        rectify: bool,
    },
    /// Normalization with gain, shift, running mean and running variance from array `gain` on.
    Normalization { gain: usize, rectify: bool },
    /// Pooling.
    Pooling(Pooling),
    /// A shortcut starts.
    Keep,
    /// A shortcut ends: what was kept is added and the sum rectified.
    Add,
}

/// Weights of a network, in the order of [`Architecture::arrays`].
pub(super) type Weights = Vec<Vec<f32>>;

impl Architecture {
    /// The layers for sub-images that leave `remaining` pixels before the hidden layer.
    pub(super) fn new(settings: &ModelSettings, remaining: usize) -> Self {
        let mut network = Self {
            arrays: Vec::new(),
            steps: Vec::new(),
        };
        let normalized = settings.normalization == Normalization::Batch;
        let mut inputs = 1;
        for (b, block) in settings.blocks.iter().enumerate() {
            if b > 0 {
                network.steps.push(Step::Pooling(settings.pooling));
            }
            for (c, &outputs) in block.iter().enumerate() {
                // In pairs after the first one.
                let (starts, ends) = (c % 2 == 1, c > 0 && c % 2 == 0);
                if settings.residual && starts {
                    network.steps.push(Step::Keep);
                }
                let name = format!("block{b}.convolution{c}");
                let shape = [KERNEL, KERNEL, inputs, outputs];
                let rectify = !(settings.residual && ends);
                network.convolution(&name, shape, rectify, normalized);
                if settings.residual && ends {
                    network.steps.push(Step::Add);
                }
                inputs = outputs;
            }
        }
        if settings.pool_last {
            network.steps.push(Step::Pooling(settings.pooling));
        }
        let hidden = [remaining, remaining, inputs, settings.hidden];
        network.convolution(HIDDEN, hidden, true, false);
        let last = [1, 1, settings.hidden, settings.outputs()];
        network.convolution("displacement", last, false, false);
        network
    }

    /// A network of one kernel of `channels` numbers, for the tests of what is done with weights.
    #[cfg(test)]
    pub(super) fn of_one_kernel(channels: usize) -> Self {
        let mut network = Self {
            arrays: Vec::new(),
            steps: Vec::new(),
        };
        network.array(
            "only",
            "weight",
            &[1, 1, 1, channels],
            Role::Kernel {
                gain: 1.0,
                whole: false,
            },
        );
        network
    }

    /// Adds a convolution, with a normalization after it where `normalized`.
    fn convolution(&mut self, name: &str, shape: [usize; 4], rectify: bool, normalized: bool) {
        let (kernel, channels) = (self.arrays.len(), shape[3]);
        let gain = if rectify { 2.0 } else { 1.0 };
        let whole = name == HIDDEN;
        self.array(name, "weight", &shape, Role::Kernel { gain, whole });
        self.steps.push(Step::Convolution {
            kernel,
            bias: !normalized,
            rectify: rectify && !normalized,
        });
        if !normalized {
            self.array(name, "bias", &[channels], Role::Channel { first: 0.0 });
            return;
        }
        let gain = self.arrays.len();
        self.array(name, "gain", &[channels], Role::Channel { first: 1.0 });
        self.array(name, "shift", &[channels], Role::Channel { first: 0.0 });
        let zero = Role::Statistic { first: 0.0 };
        self.array(name, "running_mean", &[channels], zero);
        let one = Role::Statistic { first: 1.0 };
        self.array(name, "running_variance", &[channels], one);
        self.steps.push(Step::Normalization { gain, rectify });
    }

    fn array(&mut self, layer: &str, name: &str, shape: &[usize], role: Role) {
        self.arrays.push(Array {
            name: format!("{layer}.{name}"),
            shape: shape.to_vec(),
            role,
        });
    }

    /// Name and shape of each array of weights: kernels `(y, x, in, out)`, all else one number for each channel.
    pub(super) fn arrays(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let arrays = self.arrays.iter();
        arrays.map(|array| (array.name.clone(), array.shape.clone()))
    }

    /// What each array of weights is.
    pub(super) fn roles(&self) -> impl Iterator<Item = Role> {
        self.arrays.iter().map(|array| array.role)
    }

    /// Numbers that the network says about a sub-image.
    pub(super) fn outputs(&self) -> usize {
        self.arrays.last().map_or(OUTPUTS, |array| array.shape[0])
    }

    /// Normal deviates of variance 2/fan-in for the kernels (He et al., ICCV 2015, eq. 10; 1/fan-in for those without a ReLU
    /// of their own), zero biases, gains of 1.
    pub(super) fn initial_weights(&self, seed: u64) -> Weights {
        let mut kernels = 0;
        let arrays = self.arrays.iter().map(|array| match array.role {
            Role::Kernel { gain, .. } => {
                let fan_in: usize = array.shape[..3].iter().product();
                let deviation = (gain / fan_in as f64).sqrt();
                let mut rng = stream(seed, "weights", kernels);
                kernels += 1;
                let kernel = (0..fan_in * array.shape[3]).map(|_| {
                    let deviate: f64 = StandardNormal.sample(&mut rng);
                    (deviate * deviation) as f32
                });
                kernel.collect()
            }
            Role::Channel { first } | Role::Statistic { first } => vec![first; array.shape[0]],
        });
        arrays.collect()
    }

    /// The weights as tensors, in order.
    pub(super) fn tensors(&self, weights: &Weights) -> Result<Vec<Tensor>> {
        let arrays = self.arrays.iter().zip(weights);
        arrays
            .map(|(array, values)| Tensor::from_slice(values, array.shape.as_slice(), &Device::Cpu))
            .collect()
    }

    /// The network that a trained one is: normalizations by running statistics are put into the kernels before them,
    /// ((k ⋆ x) − mean)/√(variance + ε) · gain + shift = (k gain/√(variance + ε)) ⋆ x + (shift − mean gain/√(variance + ε)).
    pub(super) fn folded(&self, weights: &Weights) -> (Self, Weights) {
        let (mut steps, mut arrays) = (Vec::new(), Vec::new());
        let mut folded: Weights = Vec::new();
        for step in &self.steps {
            match *step {
                Step::Convolution {
                    kernel,
                    bias,
                    rectify,
                } => {
                    steps.push(Step::Convolution {
                        kernel: arrays.len(),
                        bias: true,
                        rectify,
                    });
                    arrays.push(self.arrays[kernel].clone());
                    folded.push(weights[kernel].clone());
                    if bias {
                        arrays.push(self.arrays[kernel + 1].clone());
                        folded.push(weights[kernel + 1].clone());
                    }
                }
                Step::Normalization { gain, rectify } => {
                    let bias = fold(folded.last_mut(), &weights[gain..gain + 4]);
                    arrays.push(self.arrays[gain + 1].clone());
                    folded.push(bias);
                    if let Some(Step::Convolution { rectify: of, .. }) = steps.last_mut() {
                        *of = rectify;
                    }
                }
                other => steps.push(other),
            }
        }
        (Self { arrays, steps }, folded)
    }

    /// What the network says `(n, y', x', outputs)` about images `(n, y, x, 1)`. Normalizations take the statistics of these
    /// very images; see [`Self::folded`].
    pub(super) fn forward(&self, weights: &[Tensor], images: &Tensor) -> Result<Tensor> {
        let mut kept = None;
        let mut x = images.clone();
        for step in &self.steps {
            x = match *step {
                Step::Keep => {
                    kept = Some(x.clone());
                    x
                }
                Step::Add => add_cropped(&x, kept.as_ref().unwrap_or(&x))?,
                other => other.forward(weights, &x)?.0,
            };
        }
        Ok(x)
    }

    /// Weights as the gradients of a batch need them, worked out once for all shards.
    pub(super) fn prepared(&self, weights: &Weights) -> Result<Prepared> {
        self.prepare(self.tensors(weights)?)
    }

    fn prepare(&self, weights: Vec<Tensor>) -> Result<Prepared> {
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
    pub(super) fn gradient(
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

/// Puts a normalization `[gain, shift, mean, variance]` into the kernel before it; the result is the bias.
fn fold(kernel: Option<&mut Vec<f32>>, normalization: &[Vec<f32>]) -> Vec<f32> {
    let at = |which: usize, c: usize| f64::from(normalization[which][c]);
    let channels = 0..normalization[0].len();
    let factor: Vec<f64> = channels
        .map(|c| at(0, c) / (at(3, c) + EPSILON).sqrt())
        .collect();
    for row in kernel
        .into_iter()
        .flat_map(|k| k.chunks_exact_mut(factor.len()))
    {
        for (weight, factor) in row.iter_mut().zip(&factor) {
            *weight = (f64::from(*weight) * factor) as f32;
        }
    }
    let shifted = factor.iter().enumerate();
    shifted
        .map(|(c, factor)| (at(1, c) - at(2, c) * factor) as f32)
        .collect()
}

/// Weights as tensors, and those of them turned that gradients are led back through.
pub(super) struct Prepared {
    weights: Vec<Tensor>,
    turned: Vec<Option<Turned>>,
}

/// A step that images have gone through.
struct Passed {
    step: Step,
    input: Tensor,
    result: Tensor,
    statistics: Option<Statistics>,
}

impl Step {
    /// The result of a step on its own, and the statistics that it took.
    fn forward(self, weights: &[Tensor], x: &Tensor) -> Result<(Tensor, Option<Statistics>)> {
        match self {
            Self::Convolution {
                kernel,
                bias,
                rectify,
            } => {
                let none;
                let bias = if bias {
                    &weights[kernel + 1]
                } else {
                    none = Tensor::zeros(weights[kernel].dim(3)?, x.dtype(), &Device::Cpu)?;
                    &none
                };
                Ok((convolve(x, &weights[kernel], bias, rectify)?, None))
            }
            Self::Normalization { gain, rectify } => {
                let statistics = Statistics::of(x)?;
                let (gain, shift) = (&weights[gain], &weights[gain + 1]);
                let result = normalize(x, gain, shift, statistics.clone(), rectify)?;
                Ok((result, Some(statistics)))
            }
            Self::Pooling(pooling) => Ok((pool(x, pooling)?, None)),
            Self::Keep | Self::Add => Ok((x.clone(), None)),
        }
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

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::super::check::{assert_gradient, random};
    use super::*;

    /// Every kind of step, small.
    fn models() -> [ModelSettings; 4] {
        let plain = ModelSettings {
            blocks: vec![vec![3, 4], vec![5]],
            hidden: 6,
            ..ModelSettings::default()
        };
        let residual = ModelSettings {
            blocks: vec![vec![3, 3, 3], vec![4]],
            residual: true,
            variance: true,
            ..plain.clone()
        };
        let normalized = ModelSettings {
            normalization: Normalization::Batch,
            pool_last: true,
            pooling: Pooling::Average,
            ..plain.clone()
        };
        let all = ModelSettings {
            normalization: Normalization::Batch,
            ..residual.clone()
        };
        [plain, residual, normalized, all]
    }

    /// A window that survives.
    const WINDOWS: [usize; 4] = [14, 14, 16, 14];

    fn architecture(settings: &ModelSettings, window: usize) -> Architecture {
        Architecture::new(settings, settings.remaining(window).unwrap())
    }

    #[test]
    fn the_gradient_of_a_whole_network_is_the_finite_difference() {
        for (settings, window) in models().iter().zip(WINDOWS) {
            let architecture = architecture(settings, window);
            let mut arguments: Vec<Tensor> = architecture
                .arrays()
                .enumerate()
                .map(|(index, (_, shape))| random(&shape, index as u64))
                .collect();
            arguments.push(random(&[2, window, window, 1], 50));
            assert_gradient(&arguments, |all| {
                let (images, weights) = all.split_last().unwrap();
                architecture.forward(weights, images).unwrap()
            });
        }
    }

    #[test]
    fn walking_back_gives_the_gradient_of_candle() {
        for (settings, window) in models().iter().zip(WINDOWS) {
            let architecture = architecture(settings, window);
            let variables: Vec<Var> = architecture
                .arrays()
                .enumerate()
                .map(|(index, (_, shape))| Var::from_tensor(&random(&shape, index as u64)).unwrap())
                .collect();
            let weights: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
            let images = random(&[3, window, window, 1], 60);
            let squares = architecture
                .forward(&weights, &images)
                .unwrap()
                .sqr()
                .unwrap();
            let theirs = squares.sum_all().unwrap().backward().unwrap();
            let prepared = architecture.prepare(weights.clone()).unwrap();
            let ours = architecture
                .gradient(&prepared, &images, |result| result * 2.0)
                .unwrap();
            for ((weights, ours), role) in weights.iter().zip(ours).zip(architecture.roles()) {
                assert_eq!(ours.dims(), weights.dims());
                if let Role::Statistic { .. } = role {
                    continue;
                }
                let theirs = theirs.get(weights).unwrap();
                let size = theirs.abs().unwrap().sum_all().unwrap();
                let difference = (theirs - &ours).unwrap().abs().unwrap().sum_all().unwrap();
                let ratio =
                    difference.to_scalar::<f64>().unwrap() / size.to_scalar::<f64>().unwrap();
                // The same f64 operations in the same order, but for sums of gradients.
                assert!(ratio < 1e-12, "{ratio}");
            }
        }
    }

    #[test]
    fn a_folded_network_says_what_the_normalized_one_says_with_these_statistics() {
        for (settings, window) in models()[2..].iter().zip(&WINDOWS[2..]) {
            let architecture = architecture(settings, *window);
            let mut weights = architecture.initial_weights(3);
            let images = random(&[16, *window, *window, 1], 70);
            let images = images.to_dtype(candle_core::DType::F32).unwrap();
            // Statistics of these images as running ones, but for the step from a sample to a population.
            let prepared = architecture.prepared(&weights).unwrap();
            let found = architecture
                .gradient(&prepared, &images, |result| Ok(result.clone()))
                .unwrap();
            for (index, role) in architecture.roles().enumerate() {
                if let Role::Statistic { .. } = role {
                    weights[index] = found[index].to_vec1().unwrap();
                }
            }
            let direct = architecture.forward(&prepared.weights, &images).unwrap();
            let (plain, folded) = architecture.folded(&weights);
            let folded = plain
                .forward(&plain.tensors(&folded).unwrap(), &images)
                .unwrap();
            let size = direct.abs().unwrap().max_all().unwrap();
            let apart = (direct - folded).unwrap().abs().unwrap().max_all().unwrap();
            let ratio = apart.to_scalar::<f32>().unwrap() / size.to_scalar::<f32>().unwrap();
            // The variances of the second block, of 16 images of 5² pixels each, differ by 1/400 from those of a
            // population; without the statistics the two differ by their size.
            assert!(ratio < 0.03, "{ratio}");
        }
    }

    #[test]
    fn initial_weights_depend_on_the_seed_alone_and_have_the_variance_of_he() {
        let settings = ModelSettings::default();
        let architecture = Architecture::new(&settings, 3);
        let weights = architecture.initial_weights(1);
        assert_eq!(weights, architecture.initial_weights(1));
        assert_ne!(weights, architecture.initial_weights(2));
        // 9216 deviates of variance 2/288: the estimate scatters by √(2/9216) = 1.5 %.
        let kernel = &weights[6];
        let variance = kernel.iter().map(|w| w * w).sum::<f32>() / kernel.len() as f32;
        assert!((variance * 288.0 / 2.0 - 1.0).abs() < 0.06, "{variance}");
    }
}
