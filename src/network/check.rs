//! For the tests: gradients against finite differences in f64, and synthetic cells of known displacement.

use candle_core::{Device, Tensor, Var};
use ndarray::{Array2, Array4};

use super::samples::Samples;
use super::settings::SubimageSettings;
use crate::rng::{Rng, stream};

/// A tensor of numbers between −1 and 1.
pub(super) fn random(shape: &[usize], index: u64) -> Tensor {
    let mut rng = stream(5, "check", index);
    let values: Vec<f64> = (0..shape.iter().product())
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Checks [`worst_gradient`].
pub(super) fn assert_gradient(arguments: &[Tensor], layer: impl Fn(&[Tensor]) -> Tensor) {
    let worst = worst_gradient(arguments, layer);
    assert!(worst < 1e-7, "{worst}");
}

/// The largest difference of the gradient of Σ w·f(arguments), w fixed random weights, from central differences, over every number.
///
/// With step h = 1e-6 and piecewise linear layers the difference quotient is exact up to rounding, about 1e-16/h times the
/// size of the sum: 1e-8 for sums near 100. A kink within h of an argument would show; random arguments have none.
pub(super) fn worst_gradient(arguments: &[Tensor], layer: impl Fn(&[Tensor]) -> Tensor) -> f64 {
    const STEP: f64 = 1e-6;
    let value = |arguments: &[Tensor]| {
        let out = layer(arguments);
        let weights = random(out.dims(), 99);
        (out * weights).unwrap().sum_all().unwrap()
    };
    let variables: Vec<Var> = arguments
        .iter()
        .map(|a| Var::from_tensor(a).unwrap())
        .collect();
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let gradients = value(&tensors).backward().unwrap();
    let mut worst = 0.0;
    for (which, variable) in variables.iter().enumerate() {
        // What the result does not depend on has no gradient.
        let none = variable.zeros_like().unwrap();
        let gradient = gradients.get(variable.as_tensor()).unwrap_or(&none);
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let numbers = arguments[which]
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap();
        for (i, &analytic) in gradient.iter().enumerate() {
            let shifted = |by: f64| {
                let mut numbers = numbers.clone();
                numbers[i] += by;
                let mut arguments = arguments.to_vec();
                arguments[which] =
                    Tensor::from_vec(numbers, arguments[which].dims(), &Device::Cpu).unwrap();
                value(&arguments).to_scalar::<f64>().unwrap()
            };
            let numeric = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
            // A difference that is no number counts as the worst.
            let difference = (numeric - analytic).abs();
            worst = if difference <= worst {
                worst
            } else {
                difference
            };
        }
    }
    worst
}

/// Cells of four A columns (peak 1, σ 0.5 Å, a = 3.965 Å) around a B column (peak ⅓) displaced by up to 40 pm along each axis,
/// with Gaussian noise of a tenth of the B peak's third, centred on the B column.
pub(super) fn gaussian_samples(count: usize, settings: &SubimageSettings, seed: u64) -> Samples {
    let window = settings.window();
    let mut subimages = Array4::zeros((count, 1, window, window));
    let mut targets = Array2::zeros((count, 2));
    for n in 0..count {
        let mut rng = stream(seed, "cells", n as u64);
        let d: [f64; 2] = std::array::from_fn(|_| rng.random_range(-40.0..40.0));
        for y in 0..window {
            for x in 0..window {
                let place =
                    |i: usize| (i as f64 - (window - 1) as f64 / 2.0) * settings.sampling_angstrom;
                let noise = rng.random_range(-0.02..0.02);
                let value = cell_intensity([place(x), place(y)], d) + noise;
                subimages[(n, 0, y, x)] = (value * 5.0 - 1.0) as f32;
            }
        }
        targets[(n, 0)] = d[0] as f32;
        targets[(n, 1)] = d[1] as f32;
    }
    Samples::new(subimages, targets)
}

/// Intensity at `[x, y]` [Å] from the B column of a cell with displacement `d` [pm] in an A lattice.
fn cell_intensity([x, y]: [f64; 2], d: [f64; 2]) -> f64 {
    const CELL: f64 = 3.965;
    let peak = |dx: f64, dy: f64| (-(dx * dx + dy * dy) / (2.0 * 0.25)).exp();
    let (x0, y0) = (x + d[0] / 100.0, y + d[1] / 100.0);
    let to_corner = |v: f64| (v / CELL).floor() * CELL + CELL / 2.0 - v;
    let corner = peak(to_corner(x0), to_corner(y0));
    let to_body = |v: f64| v - (v / CELL).round() * CELL;
    corner + peak(to_body(x), to_body(y)) / 3.0
}
