//! Which D differ from zero: χ² of each vector against its covariance, and the false discovery rate over the map.
//!
//! If D = 0, χ² = Dᵀ C⁻¹ D follows the χ² distribution with two degrees of freedom, so a larger one has the probability
//! p = exp(−χ²/2). At a level α a map of n cells without any polarization shows α n cells as polar. Where that is too many,
//! the step-up rule of Benjamini and Hochberg (J. R. Stat. Soc. B 57, 289 (1995), eq. 1) holds the expected part of false
//! ones among those that are shown at α instead; cells that share A columns correlate positively, for which the rule holds too
//! (Benjamini and Yekutieli, Ann. Stat. 29, 1165 (2001), theorem 1.2).

use serde::{Deserialize, Serialize};

/// Settings of the significance mask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignificanceSettings {
    /// Probability of a χ² as large by chance, below which D counts as different from zero; or the false discovery rate.
    pub level: f64,
    /// Hold the false discovery rate over the map at `level`, not the rate of each cell.
    pub false_discovery_rate: bool,
}

impl Default for SignificanceSettings {
    fn default() -> Self {
        Self {
            level: 0.05,
            false_discovery_rate: false,
        }
    }
}

/// How sure it is that D of a cell is not zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Significance {
    /// Dᵀ C⁻¹ D; NaN where the covariance is not known.
    pub chi_square: f64,
    /// Probability of a larger one if D = 0.
    pub probability: f64,
    /// Whether D counts as different from zero; never where a cell is flagged or its covariance is not known.
    pub significant: bool,
}

/// Probability of a larger χ² with two degrees of freedom.
pub(super) fn probability(chi_square: f64) -> f64 {
    (-0.5 * chi_square).exp()
}

/// The largest p that is kept, by Benjamini and Hochberg: the largest p₍k₎ ≤ α k/n.
fn threshold(probabilities: impl Iterator<Item = f64>, level: f64) -> f64 {
    let mut sorted: Vec<f64> = probabilities.collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let kept = sorted.iter().enumerate().rev();
    kept.map(|(rank, p)| (*p, level * (rank + 1) as f64 / count))
        .find(|(p, limit)| p <= limit)
        .map_or(-1.0, |(p, _)| p)
}

/// The significance of each χ²; `None` stands for a cell that does not count.
pub(super) fn judge(
    chi_squares: &[Option<f64>],
    settings: &SignificanceSettings,
) -> Vec<Significance> {
    let counted = chi_squares.iter().flatten().map(|&x| probability(x));
    let limit = if settings.false_discovery_rate {
        threshold(counted, settings.level)
    } else {
        settings.level
    };
    let judged = chi_squares.iter().map(|chi_square| {
        let chi_square = chi_square.unwrap_or(f64::NAN);
        let probability = probability(chi_square);
        Significance {
            chi_square,
            probability,
            significant: probability <= limit,
        }
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_up_rule_is_that_of_benjamini_and_hochberg() {
        // Their table, section 3: 15 p-values, 4 rejected at q = 0.05 (Bonferroni rejects 3).
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ];
        assert_eq!(threshold(p.into_iter(), 0.05), 0.0095);
        assert_eq!(threshold([0.2, 0.9].into_iter(), 0.05), -1.0);
        assert_eq!(threshold(std::iter::empty(), 0.05), -1.0);
    }

    #[test]
    fn what_does_not_count_is_never_significant() {
        let judged = judge(
            &[Some(100.0), None, Some(0.0)],
            &SignificanceSettings::default(),
        );
        assert_eq!(
            judged.iter().map(|s| s.significant).collect::<Vec<_>>(),
            [true, false, false]
        );
        // p = 0.05 at χ² = −2 ln 0.05 = 5.991.
        assert!((probability(5.991_464_547) - 0.05).abs() < 1e-9);
    }
}
