//! Covariances of vectors in the image plane.

use nalgebra::Matrix2;

/// A symmetric 2 × 2 matrix, `[xx, xy, yy]`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Covariance {
    /// Variance along x.
    pub xx: f64,
    /// Covariance of x and y.
    pub xy: f64,
    /// Variance along y.
    pub yy: f64,
}

impl Covariance {
    /// Of independent components with these standard deviations.
    #[must_use]
    pub fn diagonal(sigma: [f64; 2]) -> Self {
        Self {
            xx: sigma[0] * sigma[0],
            xy: 0.0,
            yy: sigma[1] * sigma[1],
        }
    }

    /// The same, `factor` times as large.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            xx: factor * self.xx,
            xy: factor * self.xy,
            yy: factor * self.yy,
        }
    }

    /// Of the sum of two independent vectors.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            xx: self.xx + other.xx,
            xy: self.xy + other.xy,
            yy: self.yy + other.yy,
        }
    }

    /// Standard deviations along x and y.
    #[must_use]
    pub fn sigma(self) -> [f64; 2] {
        [self.xx.sqrt(), self.yy.sqrt()]
    }

    /// Variance of the component along a unit vector.
    #[must_use]
    pub fn along(self, [x, y]: [f64; 2]) -> f64 {
        x * x * self.xx + 2.0 * x * y * self.xy + y * y * self.yy
    }

    /// Whether it is that of a measurement: finite and positive definite.
    #[must_use]
    pub fn is_known(self) -> bool {
        let determinant = self.xx * self.yy - self.xy * self.xy;
        self.xx.is_finite() && self.yy.is_finite() && self.xx > 0.0 && determinant > 0.0
    }

    /// vᵀ C⁻¹ v, the squared length of a vector in standard deviations; `None` where the covariance is not known.
    #[must_use]
    pub fn chi_square(self, [x, y]: [f64; 2]) -> Option<f64> {
        let determinant = self.xx * self.yy - self.xy * self.xy;
        let value = (x * x * self.yy - 2.0 * x * y * self.xy + y * y * self.xx) / determinant;
        (self.is_known() && value.is_finite()).then_some(value)
    }

    /// As a matrix.
    pub(super) fn matrix(self) -> Matrix2<f64> {
        Matrix2::new(self.xx, self.xy, self.xy, self.yy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chi_square_is_the_squared_length_in_standard_deviations() {
        let plain = Covariance::diagonal([2.0, 0.5]);
        assert_eq!(plain.chi_square([4.0, 0.5]), Some(5.0));
        // A correlated one: C⁻¹ = [[2, -1], [-1, 2]]/3, so (1, 1) has 2/3 and (1, -1) has 2.
        let correlated = Covariance {
            xx: 2.0,
            xy: 1.0,
            yy: 2.0,
        };
        let close = |v: [f64; 2], expected: f64| {
            correlated
                .chi_square(v)
                .is_some_and(|x| (x - expected).abs() < 1e-12)
        };
        assert!(close([1.0, 1.0], 2.0 / 3.0) && close([1.0, -1.0], 2.0));
        let unknown = Covariance::diagonal([f64::INFINITY, 1.0]);
        assert!(unknown.chi_square([1.0, 1.0]).is_none() && !unknown.is_known());
        assert!(Covariance::default().chi_square([0.0, 0.0]).is_none());
    }
}
