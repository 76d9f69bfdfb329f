//! A measured map against the truth: error, slope and bias. An error without its slope says little: a method that shrinks every
//! displacement has a small error where displacements are small.

use crate::crystal::Truth;
use crate::crystal::polarization::{PolarVector, flags};
use crate::neighbours::Neighbours;

/// Measured minus true D, cell by cell, and what it comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Measured vectors that have a true counterpart.
    pub measured: Vec<PolarVector>,
    /// The true displacement of each [pm].
    pub truth: Vec<[f64; 2]>,
}

impl Comparison {
    /// Pairs each vector without flags (but for those of windows that a network does not know) with the true B column nearest to it, if one is within `reach` [Å].
    #[must_use]
    pub fn new(measured: &[PolarVector], truth: &Truth, reach: f64) -> Self {
        let columns = Neighbours::new(&truth.b_columns);
        let mut comparison = Self {
            measured: Vec::new(),
            truth: Vec::new(),
        };
        let good = |vector: &&PolarVector| vector.flags & !flags::UNLIKE == 0;
        for vector in measured.iter().filter(good) {
            if let Some(&(nearest, distance)) = columns.nearest(vector.position, 1).first()
                && distance <= reach
            {
                comparison.measured.push(*vector);
                comparison.truth.push(truth.displacements[nearest]);
            }
        }
        comparison
    }

    /// The pairs whose position satisfies `keep`.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&PolarVector) -> bool) -> Self {
        let (measured, truth) = self
            .measured
            .iter()
            .zip(&self.truth)
            .filter(|(m, _)| keep(m))
            .unzip();
        Self { measured, truth }
    }

    /// Pairs of several comparisons together.
    #[must_use]
    pub fn pooled(parts: &[Self]) -> Self {
        Self {
            measured: parts
                .iter()
                .flat_map(|part| part.measured.clone())
                .collect(),
            truth: parts.iter().flat_map(|part| part.truth.clone()).collect(),
        }
    }

    /// Number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.truth.len()
    }

    /// Whether nothing could be compared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.truth.is_empty()
    }

    /// Root mean square error per axis [pm].
    #[must_use]
    pub fn rms(&self) -> f64 {
        let sum: f64 = self
            .differences()
            .iter()
            .flat_map(|v| v.displacement)
            .map(|d| d * d)
            .sum();
        (sum / (2 * self.len()) as f64).sqrt()
    }

    /// Mean error `[x, y]` [pm].
    #[must_use]
    pub fn bias(&self) -> [f64; 2] {
        let differences = self.differences();
        std::array::from_fn(|axis| {
            differences
                .iter()
                .map(|v| v.displacement[axis])
                .sum::<f64>()
                / self.len() as f64
        })
    }

    /// Slope of the line through measured against true D, all components of all cells together: 1 is right, less is
    /// shrinkage.
    #[must_use]
    pub fn slope(&self) -> f64 {
        let pairs = || {
            let cells = self.measured.iter().zip(&self.truth);
            cells.flat_map(|(m, t)| [0, 1].map(|axis| (m.displacement[axis], t[axis])))
        };
        let n = (2 * self.len()) as f64;
        let mean_measured = pairs().map(|(m, _)| m).sum::<f64>() / n;
        let mean_true = pairs().map(|(_, t)| t).sum::<f64>() / n;
        let cross: f64 = pairs()
            .map(|(m, t)| (m - mean_measured) * (t - mean_true))
            .sum();
        let square: f64 = pairs().map(|(_, t)| (t - mean_true).powi(2)).sum();
        cross / square
    }

    /// The result in a line.
    #[must_use]
    pub fn line(&self) -> String {
        let [x, y] = self.bias();
        format!(
            "against the truth of {} cells: rms error {:.2} pm per axis, slope {:.3}, mean error ({x:+.2}, {y:+.2}) pm",
            self.len(),
            self.rms(),
            self.slope()
        )
    }

    /// Measured minus true, as vectors at the measured places.
    #[must_use]
    pub fn differences(&self) -> Vec<PolarVector> {
        let difference = |(m, t): (&PolarVector, &[f64; 2])| PolarVector {
            displacement: [m.displacement[0] - t[0], m.displacement[1] - t[1]],
            ..*m
        };
        self.measured
            .iter()
            .zip(&self.truth)
            .map(difference)
            .collect()
    }

    /// The true vectors at the measured places.
    #[must_use]
    pub fn true_vectors(&self) -> Vec<PolarVector> {
        let pairs = self.measured.iter().zip(&self.truth);
        pairs
            .map(|(m, t)| PolarVector {
                displacement: *t,
                sigma: [f64::NAN; 2],
                ..*m
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shrunk_and_shifted_map_is_told_as_such() {
        let points: Vec<[f64; 2]> = (0..25)
            .map(|n| [f64::from(n % 5) * 4.0, f64::from(n / 5) * 4.0])
            .collect();
        let displacements: Vec<[f64; 2]> = (0..25)
            .map(|n| [f64::from(n) - 12.0, 6.0 - f64::from(n % 7)])
            .collect();
        let truth = Truth {
            a_columns: Vec::new(),
            b_columns: points.clone(),
            displacements: displacements.clone(),
        };
        let measured: Vec<PolarVector> = points
            .iter()
            .zip(&displacements)
            .map(|(p, d)| PolarVector {
                position: [p[0] + 0.1, p[1]],
                displacement: [0.8 * d[0] + 3.0, 0.8 * d[1] + 3.0],
                sigma: [1.0; 2],
                flags: 0,
            })
            .collect();
        let comparison = Comparison::new(&measured, &truth, 1.0);
        assert_eq!(comparison.len(), 25);
        assert!((comparison.slope() - 0.8).abs() < 1e-12);
        let mean: [f64; 2] =
            std::array::from_fn(|axis| displacements.iter().map(|d| d[axis]).sum::<f64>() / 25.0);
        let bias = comparison.bias();
        assert!(
            (bias[0] - (3.0 - 0.2 * mean[0])).abs() < 1e-12
                && (bias[1] - (3.0 - 0.2 * mean[1])).abs() < 1e-12
        );
        assert!(Comparison::new(&measured, &truth, 0.05).is_empty());
    }
}
