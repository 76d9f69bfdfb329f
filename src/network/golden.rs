//! The layers beside PyTorch's numbers (`tests/golden/network.py`), and the table of gradient checks.

use std::collections::HashMap;

use candle_core::{Tensor, Var};

use super::check::{random, worst_gradient};
use super::convolution::convolve;
use super::loss::Loss;
use super::normalization::{Statistics, normalize};
use super::pooling::{Pooling, pool};
use super::skip::add_cropped;

fn golden() -> HashMap<String, Tensor> {
    let bytes = include_bytes!("../../tests/golden/network.safetensors");
    candle_core::safetensors::load_buffer(bytes, &candle_core::Device::Cpu).unwrap()
}

/// The largest difference, beside the largest number of `expected`.
fn apart(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let largest = |t: &Tensor| {
        t.abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap()
    };
    largest(&(found - expected).unwrap()) / largest(expected)
}

#[test]
fn layers_and_their_gradients_are_those_of_pytorch() {
    const LEAVES: [&str; 8] = [
        "input",
        "first.kernel",
        "first.bias",
        "second.kernel",
        "gain",
        "shift",
        "last.kernel",
        "last.bias",
    ];
    let golden = golden();
    for (name, pooling) in [("maximum", Pooling::Maximum), ("average", Pooling::Average)] {
        let expected = |key: &str| &golden[&format!("{name}.{key}")];
        let leaves = LEAVES.map(|key| Var::from_tensor(expected(key)).unwrap());
        let [
            input,
            first_kernel,
            first_bias,
            second_kernel,
            gain,
            shift,
            last,
            last_bias,
        ] = leaves.each_ref().map(|leaf| leaf.as_tensor());
        let first = convolve(input, first_kernel, first_bias, true).unwrap();
        let none = Tensor::zeros(18, input.dtype(), input.device()).unwrap();
        let second = convolve(&first, second_kernel, &none, false).unwrap();
        let statistics = Statistics::of(&second).unwrap();
        let normalized = normalize(&second, gain, shift, statistics.clone(), true).unwrap();
        let pooled = pool(&normalized, pooling).unwrap();
        let result = convolve(&pooled, last, last_bias, false).unwrap();
        for (key, found) in [
            ("first", &first),
            ("second", &second),
            ("normalized", &normalized),
            ("pooled", &pooled),
            ("result", &result),
        ] {
            assert!(apart(found, expected(key)) < 1e-12, "{name} {key}");
        }
        // PyTorch keeps the variance of the population.
        let population = statistics.count as f64 / (statistics.count as f64 - 1.0);
        let variance: Vec<f64> = statistics.variance.iter().map(|v| v * population).collect();
        let variance = Tensor::from_vec(variance, 18, input.device()).unwrap();
        assert!(apart(&variance, expected("variance")) < 1e-12);
        let sum = (result * expected("weights")).unwrap().sum_all().unwrap();
        let gradients = sum.backward().unwrap();
        for (key, leaf) in LEAVES.iter().zip(&leaves) {
            let found = gradients.get(leaf.as_tensor()).unwrap();
            let apart = apart(found, expected(&format!("gradient.{key}")));
            assert!(apart < 1e-12, "{name} gradient of {key}: {apart}");
        }
    }
}

#[test]
fn the_likelihood_is_that_of_pytorch() {
    let golden = golden();
    let rows = |key: &str| -> Vec<Vec<f64>> { golden[key].to_vec2().unwrap() };
    let loss = Loss {
        variance: true,
        auxiliary_weight: 0.0,
    };
    let narrow = |row: &[f64]| row.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    let samples = rows("likelihood.outputs")
        .into_iter()
        .zip(rows("likelihood.labels"));
    for ((outputs, labels), expected) in samples.zip(rows("likelihood.gradient")) {
        let mut gradient = [0.0; 4];
        loss.gradient(&narrow(&outputs), &narrow(&labels), 1.0, &mut gradient);
        for (found, expected) in gradient.iter().zip(expected) {
            // f32 here, f64 there: some roundings of 6e-8.
            assert!((f64::from(*found) - expected).abs() < 1e-6 * (1.0 + expected.abs()));
        }
    }
}

/// A layer with arguments to check it at.
type Case<'a> = (&'a str, Vec<Tensor>, Box<dyn Fn(&[Tensor]) -> Tensor>);

/// `cargo test --release gradients_of_all_layers -- --nocapture` prints the table.
#[test]
fn gradients_of_all_layers_are_finite_differences() {
    let image = || random(&[2, 7, 8, 3], 11);
    let convolution = || vec![image(), random(&[3, 3, 3, 17], 12), random(&[17], 13)];
    let dense = || vec![image(), random(&[7, 8, 3, 5], 14), random(&[5], 15)];
    let channels = || vec![image(), random(&[3], 16), random(&[3], 17)];
    let normalized = |rectify| {
        move |a: &[Tensor]| {
            let statistics = Statistics::of(&a[0]).unwrap();
            normalize(&a[0], &a[1], &a[2], statistics, rectify).unwrap()
        }
    };
    let convolved = |rectify| move |a: &[Tensor]| convolve(&a[0], &a[1], &a[2], rectify).unwrap();
    let pooled = |pooling| move |a: &[Tensor]| pool(&a[0], pooling).unwrap();
    let cases: Vec<Case> = vec![
        (
            "convolution + bias",
            convolution(),
            Box::new(convolved(false)),
        ),
        (
            "convolution + bias + ReLU",
            convolution(),
            Box::new(convolved(true)),
        ),
        ("dense + bias + ReLU", dense(), Box::new(convolved(true))),
        ("normalization", channels(), Box::new(normalized(false))),
        (
            "normalization + ReLU",
            channels(),
            Box::new(normalized(true)),
        ),
        (
            "pooling, maximum",
            vec![image()],
            Box::new(pooled(Pooling::Maximum)),
        ),
        (
            "pooling, average",
            vec![image()],
            Box::new(pooled(Pooling::Average)),
        ),
        (
            "shortcut + ReLU",
            vec![random(&[2, 3, 4, 3], 18), image()],
            Box::new(|a: &[Tensor]| add_cropped(&a[0], &a[1]).unwrap()),
        ),
    ];
    println!("| layer | numbers | largest difference from the finite one |\n|---|---|---|");
    for (name, arguments, layer) in cases {
        let numbers: usize = arguments.iter().map(Tensor::elem_count).sum();
        let worst = worst_gradient(&arguments, layer);
        println!("| {name} | {numbers} | {worst:.1e} |");
        assert!(worst < 1e-7, "{name}: {worst}");
    }
}
