//! One convolutional network from a sub-image to a polar displacement.
//!
//! Blocks of unpadded 3 × 3 convolutions with ReLU, 2 × 2 pooling between the blocks, then a convolution as large as what is
//! left (the hidden layer) and a 1 × 1 convolution to the two components and what else is asked for. Where asked for, channels
//! are normalized before the rectifier, and pairs of convolutions have a shortcut around them. Nothing is padded and nothing
//! looks at a whole sub-image but the hidden layer, so one pass over a larger image gives, every [`ModelSettings::stride`]
//! pixels, exactly what the sub-image there would give (Long, Shelhamer and Darrell, CVPR 2015, section 3).

mod device;
mod gradient;

use candle_core::{Device, Result, Tensor};
use rand_distr::{Distribution, StandardNormal};

use super::convolution::convolve;
use super::normalization::{EPSILON, Statistics, normalize};
use super::pooling::{Pooling, pool};
use super::settings::{KERNEL, ModelSettings, Normalization};
use super::skip::add_cropped;
use crate::rng::stream;

pub(super) use device::OnDevice;
pub(super) use gradient::Prepared;

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

#[cfg(test)]
pub(super) mod tests {
    use candle_core::Var;

    use super::super::check::{assert_gradient, random};
    use super::*;

    /// Every kind of step, small.
    pub(super) fn models() -> [ModelSettings; 4] {
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
    pub(super) const WINDOWS: [usize; 4] = [14, 14, 16, 14];

    pub(super) fn architecture(settings: &ModelSettings, window: usize) -> Architecture {
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
