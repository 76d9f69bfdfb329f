//! The noise, measured and not assumed: the variance of the residual as a linear function of the model, c0 + c1 m, which
//! covers readout noise, counting noise, and any gain and offset of the detector.

use ndarray::Array2;

use super::field::{Column, Field};
use super::gaussian::PARAMETERS;

/// Classes of model intensity in which the variance is measured.
const CLASSES: usize = 24;

/// Variance of a pixel as a linear function of the model there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    constant: f64,
    slope: f64,
    floor: f64,
}

impl Noise {
    pub(super) fn variance(&self, model: f64) -> f64 {
        (self.constant + self.slope * model).max(self.floor)
    }
}

/// The noise, from the residuals in all windows, whose pixels are shared out to classes of equal size by model value.
pub(super) fn measure(
    field: &Field<'_>,
    columns: &[Column],
    model: &Array2<f64>,
    background: &Array2<f32>,
) -> Option<Noise> {
    let mut samples: Vec<(f64, f64)> = Vec::new();
    for column in columns.iter().filter(|column| column.fitted) {
        let first = samples.len();
        for (index, _) in field.window(column.gaussian.position, field.radius) {
            let value = model[index] + f64::from(background[index]);
            let residual = f64::from(field.image.data[index]) - value;
            samples.push((value, residual * residual));
        }
        // A fit takes up as many degrees of freedom as it has parameters.
        let count = (samples.len() - first) as f64;
        let lost = count / (count - PARAMETERS as f64).max(1.0);
        for sample in &mut samples[first..] {
            sample.1 *= lost;
        }
    }
    samples.sort_by(|p, q| p.0.total_cmp(&q.0));
    let size = samples.len().div_ceil(CLASSES).max(1);
    let classes: Vec<[f64; 2]> = samples
        .chunks(size)
        .map(|class| {
            let count = class.len() as f64;
            [
                class.iter().map(|s| s.0).sum::<f64>() / count,
                class.iter().map(|s| s.1).sum::<f64>() / count,
            ]
        })
        .collect();
    line_through(&classes)
}

/// The straight line through `[model, variance]` points, each weighted by 1/variance² (a variance is known to a fixed
/// fraction); never falling, never below a tenth of the lowest class.
fn line_through(classes: &[[f64; 2]]) -> Option<Noise> {
    let lowest = classes.iter().map(|c| c[1]).fold(f64::INFINITY, f64::min);
    if !(lowest > 0.0 && lowest.is_finite()) {
        return None;
    }
    let weight = |c: &[f64; 2]| c[1].powi(-2);
    let total: f64 = classes.iter().map(weight).sum();
    let mean = |axis: usize| classes.iter().map(|c| weight(c) * c[axis]).sum::<f64>() / total;
    let (x, y) = (mean(0), mean(1));
    let spread: f64 = classes.iter().map(|c| weight(c) * (c[0] - x).powi(2)).sum();
    let joint: f64 = classes
        .iter()
        .map(|c| weight(c) * (c[0] - x) * (c[1] - y))
        .sum();
    let slope = if spread > 0.0 {
        (joint / spread).max(0.0)
    } else {
        0.0
    };
    Some(Noise {
        constant: y - slope * x,
        slope,
        floor: 0.1 * lowest,
    })
}
