//! The few numbers that figures write beside what they draw.

/// √(π/2): standard error of a median over that of a mean, for a normal distribution
/// (Kendall and Stuart, *The Advanced Theory of Statistics*, vol. 1, § 14.6).
const MEDIAN_OVER_MEAN: f64 = 1.253_314_137_315_5;
/// Standard deviation of a normal distribution over its median absolute deviation, 1/Φ⁻¹(3/4).
const SIGMA_OVER_MAD: f64 = 1.482_602_218_505_6;

/// Middle, its standard error and spread of a sample, robust against outliers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    pub(super) median: f64,
    /// 1.2533 `spread`/√n.
    pub(super) standard_error: f64,
    /// 1.4826 × median absolute deviation: the standard deviation of a normal distribution.
    pub(super) spread: f64,
    pub(super) count: usize,
}

/// Summary of the finite ones among `values`; `None` if there are none.
pub(super) fn summary(values: &[f64]) -> Option<Summary> {
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let median = quantile(&finite, 0.5)?;
    let deviations: Vec<f64> = finite.iter().map(|v| (v - median).abs()).collect();
    let spread = SIGMA_OVER_MAD * quantile(&deviations, 0.5)?;
    Some(Summary {
        median,
        standard_error: MEDIAN_OVER_MEAN * spread / (finite.len() as f64).sqrt(),
        spread,
        count: finite.len(),
    })
}

/// Quantile by linear interpolation between order statistics, of the finite ones among `values`.
pub(super) fn quantile(values: &[f64], fraction: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    if sorted.is_empty() {
        return None;
    }
    sorted.sort_by(f64::total_cmp);
    let place = fraction.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64))
}

/// Least-squares line y = `slope` x + `intercept`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) slope: f64,
    pub(super) intercept: f64,
    /// Standard error of the slope, from the residuals.
    pub(super) slope_error: f64,
}

/// The line through finite points; `None` for fewer than three or without spread in x.
pub(super) fn line(points: &[[f64; 2]]) -> Option<Line> {
    let n = points.len() as f64;
    let mean = |axis: usize| points.iter().map(|p| p[axis]).sum::<f64>() / n;
    let [x0, y0] = [mean(0), mean(1)];
    let sxx: f64 = points.iter().map(|p| (p[0] - x0).powi(2)).sum();
    if points.len() < 3 || sxx <= 0.0 {
        return None;
    }
    let slope = points
        .iter()
        .map(|p| (p[0] - x0) * (p[1] - y0))
        .sum::<f64>()
        / sxx;
    let intercept = y0 - slope * x0;
    let residual: f64 = points
        .iter()
        .map(|p| (p[1] - slope * p[0] - intercept).powi(2))
        .sum();
    Some(Line {
        slope,
        intercept,
        slope_error: (residual / (n - 2.0) / sxx).sqrt(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_ignores_outliers_and_what_is_no_number() {
        let s = summary(&[1.0, 2.0, 3.0, 4.0, 1e9, f64::NAN]).unwrap();
        assert_eq!((s.median, s.count), (3.0, 5));
        assert!((s.spread - SIGMA_OVER_MAD).abs() < 1e-12);
        assert!(summary(&[f64::NAN]).is_none());
    }

    #[test]
    fn a_line_is_recovered_with_its_error() {
        // y = 2x + 1 with residuals ±1, arranged so that they correlate with neither x nor 1:
        // Sxx = 5, residual sum 4, n = 4, so the error is √(4/2/5).
        let points = [[0.0, 2.0], [1.0, 2.0], [2.0, 4.0], [3.0, 8.0]];
        let fitted = line(&points).unwrap();
        assert!((fitted.slope - 2.0).abs() < 1e-12 && (fitted.intercept - 1.0).abs() < 1e-12);
        assert!((fitted.slope_error - 0.4_f64.sqrt()).abs() < 1e-12);
        assert!(line(&points[..2]).is_none());
        assert!(line(&[[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]).is_none());
    }
}
