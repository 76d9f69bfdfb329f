//! Making the predicted uncertainty the size of the errors.
//!
//! The spread of a few networks says where they are unsure, but not by how much: it is small by chance here and there, and
//! networks share errors. A residual added in square mends both (after Kuleshov, Fenner and Ermon, ICML 2018, who fit the
//! predicted distribution to held-out errors). Networks that say a variance themselves are scaled instead (Levi et al., Sensors 22,
//! 5540 (2022), eq. 11).
//!
//! A standard deviation says nothing about tails. The conformal radius does, whatever the distribution: the score of a sample is
//! |error|/σ̄ with σ̄² = (σx² + σy²)/2, and the quantile number ⌈(n + 1) p⌉ of the n scores of samples that were not trained on, times σ̄, is the radius
//! of a circle that holds the true D of a new sample of the same kind with a probability of at least p (Vovk, Gammerman and Shafer,
//! Algorithmic Learning in a Random World, 2005; Lei et al., JASA 113, 1094 (2018), section 2.2).

use ndarray::{Array2, Axis, concatenate};
use serde::{Deserialize, Serialize};

use super::prediction::Predictions;
use super::regressor::Regressor;
use super::samples::Samples;
use super::supply::{Supply, pieces};
use crate::error::{Error, Result};

/// Probabilities with which a circle is to hold the true D.
pub const LEVELS: [f64; 3] = [0.5, 0.9, 0.95];

/// Which samples made the uncertainty the size of the errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibratedOn {
    /// Those that chose the epoch, too: errors may be a little larger elsewhere.
    #[default]
    Validation,
    /// Those of the calibration part.
    Calibration,
}

/// Circles that hold the true D.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conformal {
    /// Samples that it rests on.
    pub samples: usize,
    /// Probabilities, rising.
    pub levels: Vec<f64>,
    /// Radius over σ̄ for each of them; infinite where the samples are too few.
    pub quantiles: Vec<f64>,
}

impl Conformal {
    /// From scores |error|/σ̄ of samples that were not trained on.
    #[must_use]
    pub fn new(mut scores: Vec<f64>, levels: &[f64]) -> Self {
        scores.sort_by(f64::total_cmp);
        let quantile = |level: &f64| {
            // A product such as 20 · 0.95 must not be rounded above its integer.
            let rank = ((scores.len() + 1) as f64 * level - 1e-9).ceil().max(1.0) as usize;
            scores.get(rank - 1).copied().unwrap_or(f64::INFINITY)
        };
        Self {
            samples: scores.len(),
            levels: levels.to_vec(),
            quantiles: levels.iter().map(quantile).collect(),
        }
    }

    /// Radii [pm], one for each level, where sigma is `[x, y]` [pm].
    #[must_use]
    pub fn radii(&self, sigma: [f64; 2]) -> Vec<f64> {
        let mean = mean_sigma(sigma);
        self.quantiles.iter().map(|q| q * mean).collect()
    }
}

/// σ̄ [pm].
fn mean_sigma([x, y]: [f64; 2]) -> f64 {
    ((x * x + y * y) / 2.0).sqrt()
}

/// |error|/σ̄ of each sample; no error counts as 0, whatever σ̄.
pub(super) fn scores(predicted: &Predictions, targets: &Array2<f32>) -> Vec<f64> {
    let score = |n: usize| {
        let error = [0, 1].map(|c| predicted.mean[(n, c)] - f64::from(targets[(n, c)]));
        let length = error[0].hypot(error[1]);
        let sigma = mean_sigma([predicted.sigma[(n, 0)], predicted.sigma[(n, 1)]]);
        if length == 0.0 { 0.0 } else { length / sigma }
    };
    (0..targets.nrows()).map(score).collect()
}

/// What makes mean error²/sigma² 1 after the residual, by component; 1 where nothing is known.
fn scale(predicted: &Predictions, targets: &Array2<f32>) -> [f64; 2] {
    std::array::from_fn(|c| {
        let rows = 0..targets.nrows();
        let terms = rows.map(|n| {
            let error = predicted.mean[(n, c)] - f64::from(targets[(n, c)]);
            (error / predicted.sigma[(n, c)]).powi(2)
        });
        let scale = (terms.sum::<f64>() / targets.nrows() as f64).sqrt();
        if scale.is_finite() && scale > 0.0 {
            scale
        } else {
            1.0
        }
    })
}

impl Regressor {
    /// Makes the uncertainty the size of the errors on `samples`, the conformal radii with it, and sets from where on a window counts as
    /// unlike the training data. What other samples said before is forgotten.
    ///
    /// # Errors
    /// No samples, or samples that do not fit the model.
    pub fn calibrate(&mut self, samples: &dyn Supply, on: CalibratedOn) -> Result<()> {
        if samples.count() == 0 {
            return Err(Error::unmeasurable(
                "the calibration samples",
                "none",
                "at least one",
            ));
        }
        self.description.residual_pm = [0.0; 2];
        self.description.sigma_scale = [1.0; 2];
        let (predicted, targets) = self.predict_supply(samples)?;
        let known = Samples::new(ndarray::Array4::zeros((targets.nrows(), 1, 1, 1)), targets);
        if !self.description.model.variance {
            self.description.residual_pm = residual(&predicted, &known);
        }
        let predicted = self.with_sigma(predicted);
        self.description.sigma_scale = scale(&predicted, &known.targets);
        let predicted = self.with_sigma(predicted);
        self.description.calibrated_on = on;
        self.description.conformal = Conformal::new(scores(&predicted, &known.targets), &LEVELS);
        self.set_threshold(samples)
    }

    /// What the ensemble says about all samples of a supply, and their D `(n, 2)` [pm].
    ///
    /// # Errors
    /// Samples that cannot be read, or do not fit the model.
    pub fn predict_supply(&self, samples: &dyn Supply) -> Result<(Predictions, Array2<f32>)> {
        let (mut all, mut targets) = (Vec::new(), Vec::new());
        pieces(samples, |piece| {
            all.push(self.predict_patches(piece.subimages.view())?);
            targets.push(piece.targets.slice(ndarray::s![.., ..2]).to_owned());
            Ok(())
        })?;
        let join = |of: fn(&Predictions) -> &Array2<f64>| {
            let views: Vec<_> = all.iter().map(|piece| of(piece).view()).collect();
            concatenate(Axis(0), &views).map_err(Error::compute("joining predictions"))
        };
        let views: Vec<_> = targets.iter().map(|t| t.view()).collect();
        let targets = concatenate(Axis(0), &views).map_err(Error::compute("joining labels"))?;
        let predictions = Predictions {
            mean: join(|p| &p.mean)?,
            spread: join(|p| &p.spread)?,
            noise: join(|p| &p.noise)?,
            sigma: join(|p| &p.sigma)?,
        };
        Ok((predictions, targets))
    }
}

/// The residual r that makes the mean of error²/(spread² + noise² + r²) over `samples` 1, by component [pm]; 0 where the spread alone
/// is larger than the errors.
pub(super) fn residual(predicted: &Predictions, samples: &Samples) -> [f64; 2] {
    std::array::from_fn(|c| {
        let (mean, spread) = (predicted.mean.column(c), predicted.spread.column(c));
        let noise = predicted.noise.column(c);
        let errors = mean.iter().zip(samples.targets.column(c));
        let terms: Vec<(f64, f64)> = errors
            .zip(spread.iter().zip(noise))
            .map(|((mean, &target), (&spread, noise))| {
                // A single network has no spread.
                let spread = if spread.is_nan() { 0.0 } else { spread };
                (
                    (mean - f64::from(target)).powi(2),
                    spread.powi(2) + noise.powi(2),
                )
            })
            .collect();
        let count = terms.len() as f64;
        // At r² = mean error² the mean is at most 1, and it falls with r: bisect, to the last bit of f64.
        let (mut low, mut high) = (0.0, terms.iter().map(|t| t.0).sum::<f64>() / count);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            let scaled = terms
                .iter()
                .map(|(error, spread)| error / (spread + middle));
            if scaled.sum::<f64>() > count {
                low = middle;
            } else {
                high = middle;
            }
        }
        high.sqrt()
    })
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use crate::rng::{Rng, stream};

    use ndarray::{Array2, Array4, array};

    use super::*;

    fn validation(errors: Array2<f32>) -> Samples {
        Samples::new(Array4::zeros((errors.nrows(), 1, 1, 1)), errors)
    }

    fn zero_means(spread: Array2<f64>) -> Predictions {
        let mean = Array2::zeros(spread.raw_dim());
        Predictions {
            mean,
            noise: Array2::zeros(spread.raw_dim()),
            sigma: spread.clone(),
            spread,
        }
    }

    #[test]
    fn without_spread_the_residual_is_the_root_mean_square_error() {
        let predicted = zero_means(Array2::from_elem((2, 2), f64::NAN));
        let [x, y] = residual(&predicted, &validation(array![[3.0, 1.0], [-4.0, 1.0]]));
        assert!((x - 12.5_f64.sqrt()).abs() < 1e-12 && (y - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_spread_larger_than_the_errors_leaves_no_residual() {
        let predicted = zero_means(array![[5.0, 0.5], [6.0, 0.1]]);
        let samples = validation(array![[3.0, 1.0], [-4.0, 2.0]]);
        let [x, y] = residual(&predicted, &samples);
        assert!(x < 1e-6, "{x}");
        let scaled = 1.0 / (0.25 + y * y) + 4.0 / (0.01 + y * y);
        assert!((scaled / 2.0 - 1.0).abs() < 1e-9, "{scaled}");
    }

    #[test]
    fn the_quantile_is_the_one_of_split_conformal_prediction() {
        let scores: Vec<f64> = (1..=19).map(f64::from).collect();
        // ⌈20 · 0.5⌉ = 10, ⌈20 · 0.9⌉ = 18, ⌈20 · 0.95⌉ = 19, ⌈20 · 0.99⌉ = 20 of 19.
        let found = Conformal::new(scores, &[0.5, 0.9, 0.95, 0.99]);
        assert_eq!(found.quantiles, [10.0, 18.0, 19.0, f64::INFINITY]);
        assert_eq!(found.radii([3.0, 4.0])[0], 10.0 * 12.5_f64.sqrt());
        assert_eq!(
            Conformal::new(Vec::new(), &[0.5]).quantiles,
            [f64::INFINITY]
        );
    }

    /// Whatever the distribution of the scores, the mean coverage over many calibrations lies between p and p + 1/(n + 1).
    #[test]
    fn circles_hold_as_often_as_they_promise() {
        let (mut held, mut trials) = ([0.0; 3], 0.0);
        for index in 0..400 {
            let mut rng = stream(6, "scores", index);
            // Heavy tails: a normal deviate over the square root of an even one.
            let mut score = || {
                let deviate: f64 = StandardNormal.sample(&mut rng);
                deviate.abs() / rng.random::<f64>().sqrt()
            };
            let circles = Conformal::new((0..99).map(|_| score()).collect(), &LEVELS);
            for _ in 0..100 {
                let new = score();
                trials += 1.0;
                for (held, quantile) in held.iter_mut().zip(&circles.quantiles) {
                    *held += f64::from(u8::from(new <= *quantile));
                }
            }
        }
        for (held, level) in held.iter().zip(LEVELS) {
            // 400 calibrations of 99: the coverage of one scatters by √(p(1−p)/101) ≤ 5 %, their mean by 0.25 %.
            let coverage = held / trials;
            assert!(
                (-0.01..0.02).contains(&(coverage - level)),
                "{level}: {coverage}"
            );
        }
    }
}
