//! Adam and AdamW with a warm-up and schedules, their state open to be saved.
//!
//! Kingma and Ba, ICLR 2015, algorithm 1, with the decay in the gradient or taken out of it (Loshchilov and Hutter, ICLR 2019,
//! algorithm 2), and the cosine of Loshchilov and Hutter, ICLR 2017, eq. 5, without restarts. The running average of the weights
//! is that of Polyak and Juditsky (SIAM J. Control Optim. 30, 838, 1992) with an exponential memory.

use rayon::prelude::*;

use super::architecture::{Architecture, Role, Weights};
use super::settings::{Method, Schedule, TrainingSettings};

/// Decay of the mean of the gradient (β₁), the usual value.
const MEAN_DECAY: f64 = 0.9;
/// Decay of the mean square of the gradient (β₂), the usual value.
const SQUARE_DECAY: f64 = 0.999;
/// Added to the root mean square (ε), the usual value.
const EPSILON: f64 = 1e-8;
/// Weights that one thread goes through at a time; fewer are not worth waking another one.
const CHUNK: usize = 32_768;

/// Weights on their way, with the running means of their gradients.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Optimizer {
    /// The weights.
    pub weights: Weights,
    /// Running mean of the gradient.
    pub mean: Weights,
    /// Running mean of its square.
    pub square: Weights,
    /// Running average of the weights, where one is kept.
    pub average: Option<Weights>,
    /// Steps taken.
    pub steps: u64,
}

/// What is the same for all weights of a step.
struct Rates {
    rate: f64,
    shorten: f64,
    debias_mean: f64,
    debias_square: f64,
    /// Decay beside the step.
    decay: f64,
    /// Decay as part of the gradient.
    decay_in_gradient: f64,
}

impl Optimizer {
    /// Before the first step; with a running average where `averaged`.
    pub(super) fn new(weights: Weights, averaged: bool) -> Self {
        let zeros: Weights = weights.iter().map(|array| vec![0.0; array.len()]).collect();
        Self {
            average: averaged.then(|| weights.clone()),
            weights,
            mean: zeros.clone(),
            square: zeros,
            steps: 0,
        }
    }

    /// The weights that stand for the network: their running average, where one is kept.
    pub(super) fn outcome(&self) -> &Weights {
        self.average.as_ref().unwrap_or(&self.weights)
    }

    /// One step along `gradient`, first shortened to `clip_norm`; running statistics, whose "gradient" is a new value, move
    /// towards it.
    pub(super) fn step(
        &mut self,
        architecture: &Architecture,
        gradient: &Weights,
        rate: f64,
        settings: &TrainingSettings,
    ) {
        self.steps += 1;
        let norm = norm(architecture, gradient);
        let shorten = if norm > settings.clip_norm {
            settings.clip_norm / norm
        } else {
            1.0
        };
        let debias = |decay: f64| 1.0 / (1.0 - decay.powf(self.steps as f64));
        for (index, role) in architecture.roles().enumerate() {
            let gradient = &gradient[index];
            if let Role::Statistic { .. } = role {
                for (weight, &value) in self.weights[index].iter_mut().zip(gradient) {
                    *weight += settings.statistics_momentum as f32 * (value - *weight);
                }
                continue;
            }
            // Biases, gains and shifts are spared.
            let decays = matches!(role, Role::Kernel { .. });
            let decay = if decays { settings.weight_decay } else { 0.0 };
            let beside = settings.optimizer == Method::AdamW;
            let rates = Rates {
                rate,
                shorten,
                debias_mean: debias(MEAN_DECAY),
                debias_square: debias(SQUARE_DECAY),
                decay: if beside { decay } else { 0.0 },
                decay_in_gradient: if beside { 0.0 } else { decay },
            };
            if gradient.len() <= CHUNK {
                let (mean, square) = (&mut self.mean[index], &mut self.square[index]);
                rates.step(&mut self.weights[index], mean, square, gradient);
                continue;
            }
            let weights = self.weights[index].par_chunks_mut(CHUNK);
            let moments = self.mean[index]
                .par_chunks_mut(CHUNK)
                .zip(self.square[index].par_chunks_mut(CHUNK));
            let all = weights.zip(moments).zip(gradient.par_chunks(CHUNK));
            all.for_each(|((weights, (mean, square)), gradient)| {
                rates.step(weights, mean, square, gradient);
            });
        }
        self.follow(settings.averaging);
    }

    /// Moves the running average towards the weights; at first its memory is as short as the training.
    fn follow(&mut self, decay: f64) {
        let Some(average) = &mut self.average else {
            return;
        };
        let steps = self.steps as f64;
        let part = 1.0 - decay.min(steps / (steps + 10.0));
        for (average, weights) in average.iter_mut().zip(&self.weights) {
            for (average, &weight) in average.iter_mut().zip(weights) {
                *average += part as f32 * (weight - *average);
            }
        }
    }
}

impl Rates {
    fn step(&self, weights: &mut [f32], mean: &mut [f32], square: &mut [f32], gradient: &[f32]) {
        let moments = mean.iter_mut().zip(square);
        for ((weight, (mean, square)), &gradient) in weights.iter_mut().zip(moments).zip(gradient) {
            let w = f64::from(*weight);
            let gradient = f64::from(gradient) * self.shorten + self.decay_in_gradient * w;
            let m = MEAN_DECAY * f64::from(*mean) + (1.0 - MEAN_DECAY) * gradient;
            let v = SQUARE_DECAY * f64::from(*square) + (1.0 - SQUARE_DECAY) * gradient * gradient;
            let direction = m * self.debias_mean / ((v * self.debias_square).sqrt() + EPSILON);
            *weight = (w - self.rate * (direction + self.decay * w)) as f32;
            (*mean, *square) = (m as f32, v as f32);
        }
    }
}

/// Euclidean norm over all arrays that have a gradient.
fn norm(architecture: &Architecture, gradient: &Weights) -> f64 {
    let arrays = gradient.iter().zip(architecture.roles());
    let arrays = arrays.filter(|(_, role)| !matches!(role, Role::Statistic { .. }));
    let squares = arrays.map(|(array, _)| array.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>());
    squares.sum::<f64>().sqrt()
}

/// Learning rate of step `step` (from 0) with `steps_per_epoch` steps in each epoch.
pub(super) fn learning_rate(settings: &TrainingSettings, step: u64, steps_per_epoch: u64) -> f64 {
    let epoch = (step as f64 + 1.0) / steps_per_epoch as f64;
    let (warmup, epochs) = (settings.warmup_epochs, settings.epochs as f64);
    if epoch < warmup {
        return settings.learning_rate * epoch / warmup;
    }
    let part = match settings.schedule {
        Schedule::Cosine => {
            let progress = ((epoch - warmup) / (epochs - warmup).max(f64::MIN_POSITIVE)).min(1.0);
            0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
        }
        Schedule::Step => {
            // The step stands between epochs: the last step of an epoch belongs to it.
            let done = step / steps_per_epoch / settings.step_epochs as u64;
            settings.step_factor.powi(done as i32)
        }
        Schedule::Constant => 1.0,
    };
    settings.learning_rate * part
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that is one kernel.
    fn kernel() -> Architecture {
        Architecture::of_one_kernel(3)
    }

    #[test]
    fn the_first_step_has_the_length_of_the_rate_whatever_the_gradient() {
        let settings = TrainingSettings {
            weight_decay: 0.0,
            clip_norm: 1e9,
            ..TrainingSettings::default()
        };
        for size in [1e-3_f32, 1.0, 1e3] {
            let mut optimizer = Optimizer::new(vec![vec![1.0, 1.0]], false);
            optimizer.step(&kernel(), &vec![vec![size, -size]], 0.01, &settings);
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
        let mut ours = Optimizer::new(vec![vec![0.3, -2.0, 0.7]], false);
        let theirs = Var::new(&[0.3_f32, -2.0, 0.7], &Device::Cpu).unwrap();
        let parameters = ParamsAdamW {
            lr: 0.01,
            weight_decay: 0.1,
            ..ParamsAdamW::default()
        };
        let mut candle = AdamW::new(vec![theirs.clone()], parameters).unwrap();
        for _ in 0..5 {
            let gradient: Vec<f32> = ours.weights[0].iter().map(|w| 2.0 * w).collect();
            ours.step(&kernel(), &vec![gradient], 0.01, &settings);
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
        let mut long = Optimizer::new(vec![vec![0.0, 0.0]], false);
        long.step(&kernel(), &vec![vec![30.0, 40.0]], 0.01, &settings);
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

    #[test]
    fn the_rate_goes_down_in_steps() {
        let settings = TrainingSettings {
            warmup_epochs: 0.0,
            learning_rate: 1.0,
            schedule: Schedule::Step,
            step_epochs: 2,
            step_factor: 0.5,
            ..TrainingSettings::default()
        };
        let rates: Vec<f64> = (0..50)
            .map(|step| learning_rate(&settings, step, 10))
            .collect();
        let expected = |step: usize| 0.5_f64.powi(step as i32 / 20);
        assert!(
            rates
                .iter()
                .enumerate()
                .all(|(step, &rate)| rate == expected(step))
        );
    }

    #[test]
    fn decay_in_the_gradient_is_the_gradient_of_the_squared_weights() {
        let settings = |optimizer, weight_decay| TrainingSettings {
            optimizer,
            weight_decay,
            ..TrainingSettings::default()
        };
        let mut with = Optimizer::new(vec![vec![0.5, -2.0]], false);
        let mut by_hand = with.clone();
        with.step(
            &kernel(),
            &vec![vec![0.1, 0.2]],
            0.01,
            &settings(Method::Adam, 0.1),
        );
        // The norm is below clip_norm, so nothing is shortened.
        let gradient = vec![vec![0.1 + 0.1 * 0.5, 0.2 - 0.1 * 2.0]];
        by_hand.step(&kernel(), &gradient, 0.01, &settings(Method::AdamW, 0.0));
        for (with, by_hand) in with.mean[0].iter().zip(&by_hand.mean[0]) {
            assert!((with - by_hand).abs() < 1e-8, "{with} {by_hand}");
        }
    }

    #[test]
    fn the_average_follows_the_weights_behind() {
        let settings = TrainingSettings {
            averaging: 0.9,
            weight_decay: 0.0,
            ..TrainingSettings::default()
        };
        let mut optimizer = Optimizer::new(vec![vec![0.0]], true);
        for _ in 0..300 {
            optimizer.step(&kernel(), &vec![vec![-1.0]], 0.01, &settings);
        }
        // The weight grows by 0.01 a step; an average with a decay of 0.9 is 0.9/(1 − 0.9) = 9 steps behind.
        let behind = optimizer.weights[0][0] - optimizer.outcome()[0][0];
        assert!((behind - 0.09).abs() < 1e-3, "{behind}");
    }
}
