//! Gradients against finite differences in f64, for the tests of every layer.

use candle_core::{Device, Tensor, Var};

use crate::rng::{Rng, stream};

/// A tensor of numbers between −1 and 1.
pub(super) fn random(shape: &[usize], index: u64) -> Tensor {
    let mut rng = stream(5, "check", index);
    let values: Vec<f64> = (0..shape.iter().product())
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Compares the gradient of Σ w·f(arguments), w fixed random weights, with central differences for every number.
///
/// With step h = 1e-6 and piecewise linear layers the difference quotient is exact up to rounding, about 1e-16/h times the
/// size of the sum: 1e-8 for sums near 100. A kink within h of an argument would show; random arguments have none.
pub(super) fn assert_gradient(arguments: &[Tensor], layer: impl Fn(&[Tensor]) -> Tensor) {
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
    for (which, variable) in variables.iter().enumerate() {
        let gradient = gradients.get(variable.as_tensor()).unwrap();
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
            assert!(
                (numeric - analytic).abs() < 1e-7,
                "argument {which}, number {i}: {analytic} against {numeric}"
            );
        }
    }
}
