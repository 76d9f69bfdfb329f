//! AdamW with a warm-up and a cosine schedule, its state open to be saved.
//!
//! Kingma and Ba, ICLR 2015, algorithm 1, with the decay taken out of the gradient (Loshchilov and Hutter, ICLR 2019,
//! algorithm 2) and the cosine of Loshchilov and Hutter, ICLR 2017, eq. 5, without restarts.

use super::architecture::{Architecture, Weights};
use super::settings::TrainingSettings;

/// Decay of the mean of the gradient (β₁), the usual value.
const MEAN_DECAY: f64 = 0.9;
/// Decay of the mean square of the gradient (β₂), the usual value.
const SQUARE_DECAY: f64 = 0.999;
/// Added to the root mean square (ε), the usual value.
const EPSILON: f64 = 1e-8;

/// Weights on their way, with the running means of their gradients.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Optimizer {
    /// The weights.
    pub weights: Weights,
    /// Running mean of the gradient.
    pub mean: Weights,
    /// Running mean of its square.
    pub square: Weights,
    /// Steps taken.
    pub steps: u64,
}

impl Optimizer {
    /// Before the first step.
    pub(super) fn new(weights: Weights) -> Self {
        let zeros: Weights = weights.iter().map(|array| vec![0.0; array.len()]).collect();
        Self {
            weights,
            mean: zeros.clone(),
            square: zeros,
            steps: 0,
        }
    }

    /// One step along `gradient`, first shortened to `clip_norm`.
    pub(super) fn step(&mut self, gradient: &Weights, rate: f64, settings: &TrainingSettings) {
        self.steps += 1;
        let norm = norm(gradient);
        let shorten = if norm > settings.clip_norm {
            settings.clip_norm / norm
        } else {
            1.0
        };
        let debias = |decay: f64| 1.0 / (1.0 - decay.powf(self.steps as f64));
        let (debias_mean, debias_square) = (debias(MEAN_DECAY), debias(SQUARE_DECAY));
        for (index, gradient) in gradient.iter().enumerate() {
            let decay = if Architecture::is_kernel(index) {
                settings.weight_decay
            } else {
                0.0
            };
            let moments = self.mean[index].iter_mut().zip(&mut self.square[index]);
            let weights = self.weights[index].iter_mut().zip(moments);
            for ((weight, (mean, square)), &gradient) in weights.zip(gradient) {
                let gradient = f64::from(gradient) * shorten;
                let m = MEAN_DECAY * f64::from(*mean) + (1.0 - MEAN_DECAY) * gradient;
                let v =
                    SQUARE_DECAY * f64::from(*square) + (1.0 - SQUARE_DECAY) * gradient * gradient;
                let direction = m * debias_mean / ((v * debias_square).sqrt() + EPSILON);
                let w = f64::from(*weight);
                *weight = (w - rate * (direction + decay * w)) as f32;
                (*mean, *square) = (m as f32, v as f32);
            }
        }
    }
}

/// Euclidean norm over all arrays.
fn norm(gradient: &Weights) -> f64 {
    let squares = gradient.iter().flatten().map(|&g| f64::from(g).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Learning rate of step `step` (from 0) with `steps_per_epoch` steps in each epoch.
pub(super) fn learning_rate(settings: &TrainingSettings, step: u64, steps_per_epoch: u64) -> f64 {
    let epoch = (step as f64 + 1.0) / steps_per_epoch as f64;
    let (warmup, epochs) = (settings.warmup_epochs, settings.epochs as f64);
    if epoch < warmup {
        return settings.learning_rate * epoch / warmup;
    }
    let progress = ((epoch - warmup) / (epochs - warmup).max(f64::MIN_POSITIVE)).min(1.0);
    settings.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_has_the_length_of_the_rate_whatever_the_gradient() {
        let settings = TrainingSettings {
            weight_decay: 0.0,
            clip_norm: 1e9,
            ..TrainingSettings::default()
        };
        for size in [1e-3_f32, 1.0, 1e3] {
            let mut optimizer = Optimizer::new(vec![vec![1.0, 1.0]]);
            optimizer.step(&vec![vec![size, -size]], 0.01, &settings);
            // ε is 1e-8 beside a gradient of at least 1e-3.
            assert!((optimizer.weights[0][0] - 0.99).abs() < 1e-6);
            assert!((optimizer.weights[0][1] - 1.01).abs() < 1e-6);
        }
    }

    #[test]
    fn steps_agree_with_candle() {
        use candle_core::{Device, Var};
        use candle_nn::{AdamW, Optimizer as _, ParamsAdamW};
        let settings = TrainingSettings {
            weight_decay: 0.1,
            clip_norm: 1e9,
            ..TrainingSettings::default()
        };
        let mut ours = Optimizer::new(vec![vec![0.3, -2.0, 0.7]]);
        let theirs = Var::new(&[0.3_f32, -2.0, 0.7], &Device::Cpu).unwrap();
        let parameters = ParamsAdamW {
            lr: 0.01,
            weight_decay: 0.1,
            ..ParamsAdamW::default()
        };
        let mut candle = AdamW::new(vec![theirs.clone()], parameters).unwrap();
        for _ in 0..5 {
            let gradient: Vec<f32> = ours.weights[0].iter().map(|w| 2.0 * w).collect();
            ours.step(&vec![gradient], 0.01, &settings);
            candle
                .backward_step(&theirs.sqr().unwrap().sum_all().unwrap())
                .unwrap();
        }
        for (ours, theirs) in ours.weights[0].iter().zip(theirs.to_vec1::<f32>().unwrap()) {
            // Both round to f32, candle inside the step too.
            assert!((ours - theirs).abs() < 1e-5, "{ours} {theirs}");
        }
    }

    #[test]
    fn the_gradient_is_shortened_to_the_clip_norm() {
        let settings = TrainingSettings {
            clip_norm: 1.0,
            ..TrainingSettings::default()
        };
        let mut long = Optimizer::new(vec![vec![0.0, 0.0]]);
        long.step(&vec![vec![30.0, 40.0]], 0.01, &settings);
        assert!((long.mean[0][0] - 0.06).abs() < 1e-7 && (long.mean[0][1] - 0.08).abs() < 1e-7);
    }

    #[test]
    fn the_rate_rises_then_falls_to_zero() {
        let settings = TrainingSettings {
            epochs: 4,
            warmup_epochs: 1.0,
            learning_rate: 1.0,
            ..TrainingSettings::default()
        };
        let rates: Vec<f64> = (0..40)
            .map(|step| learning_rate(&settings, step, 10))
            .collect();
        assert!((rates[0] - 0.1).abs() < 1e-12 && (rates[9] - 1.0).abs() < 1e-12);
        assert!(rates[9..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(rates[39].abs() < 1e-12);
    }
}
