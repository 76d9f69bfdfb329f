//! One convolutional network from a sub-image to a polar displacement.
//!
//! Blocks of unpadded 3 × 3 convolutions with ReLU, 2 × 2 pooling between the blocks, then a convolution as large as what is
//! left (the hidden layer) and a 1 × 1 convolution to the two components. Nothing is padded and nothing looks at a whole
//! sub-image but the hidden layer, so one pass over a larger image gives, every [`ModelSettings::stride`] pixels, exactly what
//! the sub-image there would give (Long, Shelhamer and Darrell, CVPR 2015, section 3).

use candle_core::{Device, Result, Tensor};
use rand_distr::{Distribution, StandardNormal};

use super::convolution::{convolution_gradient, convolve};
use super::pooling::{pool, pool_gradient};
use super::settings::{KERNEL, ModelSettings};
use crate::rng::stream;

/// Components of the polar displacement.
pub(super) const OUTPUTS: usize = 2;

/// Names, shapes and order of the weights of a network; the weights themselves travel beside it, one `Vec` per array.
#[derive(Debug, Clone)]
pub(super) struct Architecture {
    layers: Vec<Layer>,
}

/// One convolution.
#[derive(Debug, Clone)]
struct Layer {
    name: String,
    /// `(y, x, in, out)`.
    kernel: [usize; 4],
    /// Whether the input is pooled first.
    pooled: bool,
    rectify: bool,
}

/// Weights of a network: kernel, bias, kernel, bias … in the order of the layers.
pub(super) type Weights = Vec<Vec<f32>>;

impl Architecture {
    /// The layers for sub-images that leave `remaining` pixels before the hidden layer.
    pub(super) fn new(settings: &ModelSettings, remaining: usize) -> Self {
        let mut layers = Vec::new();
        let mut inputs = 1;
        for (b, block) in settings.blocks.iter().enumerate() {
            for (c, &outputs) in block.iter().enumerate() {
                layers.push(Layer {
                    name: format!("block{b}.convolution{c}"),
                    kernel: [KERNEL, KERNEL, inputs, outputs],
                    pooled: b > 0 && c == 0,
                    rectify: true,
                });
                inputs = outputs;
            }
        }
        layers.push(Layer {
            name: "hidden".to_owned(),
            kernel: [remaining, remaining, inputs, settings.hidden],
            pooled: false,
            rectify: true,
        });
        layers.push(Layer {
            name: "displacement".to_owned(),
            kernel: [1, 1, settings.hidden, OUTPUTS],
            pooled: false,
            rectify: false,
        });
        Self { layers }
    }

    /// Name and shape of each array of weights: kernels `(y, x, in, out)`, biases `(out)`.
    pub(super) fn arrays(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.layers.iter().flat_map(|layer| {
            [
                (format!("{}.weight", layer.name), layer.kernel.to_vec()),
                (format!("{}.bias", layer.name), vec![layer.kernel[3]]),
            ]
        })
    }

    /// Whether array `index` is a kernel; weight decay spares biases.
    pub(super) fn is_kernel(index: usize) -> bool {
        index.is_multiple_of(2)
    }

    /// Normal deviates of variance 2/fan-in for the kernels (He et al., ICCV 2015, eq. 10; 1/fan-in for the last, which has
    /// no ReLU), zero biases.
    pub(super) fn initial_weights(&self, seed: u64) -> Weights {
        let arrays = self.layers.iter().enumerate().map(|(index, layer)| {
            let fan_in: usize = layer.kernel[..3].iter().product();
            let gain = if layer.rectify { 2.0 } else { 1.0 };
            let deviation = (gain / fan_in as f64).sqrt();
            let mut rng = stream(seed, "weights", index as u64);
            let kernel = (0..fan_in * layer.kernel[3]).map(|_| {
                let deviate: f64 = StandardNormal.sample(&mut rng);
                (deviate * deviation) as f32
            });
            [kernel.collect(), vec![0.0; layer.kernel[3]]]
        });
        arrays.flatten().collect()
    }

    /// The weights as tensors, in order.
    pub(super) fn tensors(&self, weights: &Weights) -> Result<Vec<Tensor>> {
        let arrays = self.arrays().zip(weights);
        arrays
            .map(|((_, shape), values)| Tensor::from_slice(values, shape, &Device::Cpu))
            .collect()
    }

    /// Displacements `(n, y', x', 2)`, in units of the target scale, of images `(n, y, x, 1)`.
    pub(super) fn forward(&self, weights: &[Tensor], images: &Tensor) -> Result<Tensor> {
        let mut x = images.clone();
        for (layer, weights) in self.layers.iter().zip(weights.chunks_exact(2)) {
            if layer.pooled {
                x = pool(&x)?;
            }
            x = convolve(&x, &weights[0], &weights[1], layer.rectify)?;
        }
        Ok(x)
    }

    /// Gradient of each array of weights, where `of_result` gives that of the result.
    ///
    /// It walks back through the layers itself: candle's `backward` adds every gradient to a tensor of zeros, and for more
    /// than 65536 numbers it does so in a pool of spinning threads that fights with the workers for the cores.
    pub(super) fn gradient(
        &self,
        weights: &[Tensor],
        images: &Tensor,
        of_result: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Vec<Tensor>> {
        let mut steps = Vec::with_capacity(self.layers.len());
        let mut x = images.clone();
        for (layer, weights) in self.layers.iter().zip(weights.chunks_exact(2)) {
            let before = x;
            let input = if layer.pooled {
                pool(&before)?
            } else {
                before.clone()
            };
            x = convolve(&input, &weights[0], &weights[1], layer.rectify)?;
            steps.push((layer, &weights[0], before, input, x.clone()));
        }
        let mut gradient = of_result(&x)?;
        let mut gradients = Vec::with_capacity(weights.len());
        for (index, (layer, weights, before, input, result)) in steps.iter().enumerate().rev() {
            let of =
                convolution_gradient(input, weights, result, &gradient, layer.rectify, index > 0)?;
            if let Some(of_input) = of.input {
                gradient = if layer.pooled {
                    pool_gradient(before, &of_input)?
                } else {
                    of_input
                };
            }
            gradients.extend([of.bias, of.weights]);
        }
        gradients.reverse();
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::super::check::{assert_gradient, random};
    use super::*;

    #[test]
    fn the_gradient_of_a_whole_network_is_the_finite_difference() {
        let settings = ModelSettings {
            blocks: vec![vec![3], vec![4]],
            hidden: 5,
        };
        let architecture = Architecture::new(&settings, settings.remaining(10).unwrap());
        let mut arguments: Vec<Tensor> = architecture
            .arrays()
            .enumerate()
            .map(|(index, (_, shape))| random(&shape, index as u64))
            .collect();
        arguments.push(random(&[2, 10, 10, 1], 50));
        assert_gradient(&arguments, |all| {
            let (images, weights) = all.split_last().unwrap();
            architecture.forward(weights, images).unwrap()
        });
    }

    #[test]
    fn walking_back_gives_the_gradient_of_candle() {
        let settings = ModelSettings {
            blocks: vec![vec![3, 4], vec![5]],
            hidden: 6,
        };
        let architecture = Architecture::new(&settings, settings.remaining(14).unwrap());
        let variables: Vec<Var> = architecture
            .arrays()
            .enumerate()
            .map(|(index, (_, shape))| Var::from_tensor(&random(&shape, index as u64)).unwrap())
            .collect();
        let weights: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
        let images = random(&[3, 14, 14, 1], 60);
        let squares = architecture
            .forward(&weights, &images)
            .unwrap()
            .sqr()
            .unwrap();
        let theirs = squares.sum_all().unwrap().backward().unwrap();
        let ours = architecture
            .gradient(&weights, &images, |result| result * 2.0)
            .unwrap();
        for (weights, ours) in weights.iter().zip(ours) {
            let difference = (theirs.get(weights).unwrap() - &ours)
                .unwrap()
                .abs()
                .unwrap();
            let difference = difference.sum_all().unwrap().to_scalar::<f64>().unwrap();
            assert_eq!(ours.dims(), weights.dims());
            // The same f64 operations in the same order.
            assert!(difference < 1e-9, "{difference}");
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
