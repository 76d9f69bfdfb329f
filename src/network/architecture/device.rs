//! The same network by candle's own kernels, on whatever device they run: a graphics processor, with the feature `cuda`.
//!
//! Own kernels are for the processor, where candle's convolutions are several times slower than they could be. Model files and
//! results are the same. Only predictions go this way: candle's pooling has a wrong gradient.

use candle_core::{Device, Result, Tensor};

use super::{Architecture, Role, Step, Weights};
use crate::network::pooling::{POOL, Pooling};

/// A trained network, normalizations put into its kernels, on a device.
#[derive(Debug, Clone)]
pub(in crate::network) struct OnDevice {
    steps: Vec<Step>,
    /// Kernels `(out, in, y, x)`, biases `(1, out, 1, 1)`.
    weights: Vec<Tensor>,
    device: Device,
}

impl OnDevice {
    /// Puts a network that is [`Architecture::folded`] on a device.
    pub(in crate::network) fn new(
        architecture: &Architecture,
        weights: &Weights,
        device: &Device,
    ) -> Result<Self> {
        let tensors = architecture.tensors(weights)?;
        let arrays = tensors.iter().zip(&architecture.arrays);
        let weights = arrays.map(|(tensor, array)| {
            let there = match array.role {
                Role::Kernel { .. } => tensor.permute([3, 2, 0, 1])?,
                Role::Channel { .. } | Role::Statistic { .. } => {
                    tensor.reshape((1, array.shape[0], 1, 1))?
                }
            };
            there.contiguous()?.to_device(device)
        });
        Ok(Self {
            steps: architecture.steps.clone(),
            weights: weights.collect::<Result<_>>()?,
            device: device.clone(),
        })
    }

    /// What the network says `(n, y', x', outputs)` about images `(n, y, x, 1)`.
    pub(in crate::network) fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let mut kept = None;
        // With one channel, channels last and channels first are the same numbers in the same order.
        let (n, height, width, _) = images.dims4()?;
        let mut x = images.reshape((n, 1, height, width))?;
        x = x.to_device(&self.device)?;
        for step in &self.steps {
            x = match *step {
                Step::Convolution {
                    kernel,
                    bias,
                    rectify,
                } => {
                    let mut sum = x.conv2d(&self.weights[kernel], 0, 1, 1, 1)?;
                    if bias {
                        sum = sum.broadcast_add(&self.weights[kernel + 1])?;
                    }
                    if rectify { sum.relu()? } else { sum }
                }
                Step::Pooling(Pooling::Maximum) => x.max_pool2d(POOL)?,
                Step::Pooling(Pooling::Average) => x.avg_pool2d(POOL)?,
                Step::Keep => {
                    kept = Some(x.clone());
                    x
                }
                Step::Add => cropped_sum(&x, kept.as_ref().unwrap_or(&x))?.relu()?,
                // Folded networks have none.
                Step::Normalization { .. } => x,
            };
        }
        x.permute([0, 2, 3, 1])?
            .contiguous()?
            .to_device(&Device::Cpu)
    }
}

/// The sum with what a shortcut brings, its border cut off.
fn cropped_sum(x: &Tensor, kept: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let (_, _, whole, _) = kept.dims4()?;
    let margin = (whole - height) / 2;
    let inside = kept.narrow(2, margin, height)?.narrow(3, margin, width)?;
    x + inside
}

#[cfg(test)]
mod tests {
    use super::super::tests::{WINDOWS, architecture, models};
    use super::*;
    use crate::network::check::random;

    #[test]
    fn candles_kernels_say_what_ours_say() {
        for (settings, window) in models().iter().zip(WINDOWS) {
            let whole = architecture(settings, window);
            let (folded, weights) = whole.folded(&whole.initial_weights(5));
            let images = random(&[3, window, window, 1], 80);
            let images = images.to_dtype(candle_core::DType::F32).unwrap();
            let tensors = folded.tensors(&weights).unwrap();
            let ours = folded.forward(&tensors, &images).unwrap();
            let there = OnDevice::new(&folded, &weights, &Device::Cpu).unwrap();
            let theirs = there.forward(&images).unwrap();
            assert_eq!(ours.dims(), theirs.dims());
            let largest = |t: &Tensor| {
                let largest = t.abs().unwrap().max_all().unwrap();
                f64::from(largest.to_scalar::<f32>().unwrap())
            };
            let apart = largest(&(&ours - &theirs).unwrap());
            // Sums of f32 in another order.
            assert!(apart < 1e-5 * largest(&ours), "{apart}");
        }
    }
}
