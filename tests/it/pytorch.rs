//! The script of the documentation that runs a model in PyTorch says what the program says.

use std::path::Path;
use std::process::Command;

use ferrostem::network::{
    Mode, ModelSettings, Normalization, Recipe, Samples, SubimageSettings, TrainingSettings, train,
};
use ferrostem::progress::Reporter;
use ferrostem::provenance::Provenance;
use ferrostem::rng::{Rng, stream};
use ndarray::{Array2, Array4};

/// A Python with PyTorch, safetensors and NumPy: `FERROSTEM_PYTHON`, or `python3`.
fn python() -> Option<String> {
    let name = std::env::var("FERROSTEM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(&name);
    command.args(["-c", "import torch, safetensors, numpy, tomllib"]);
    let there = command.output().is_ok_and(|output| output.status.success());
    there.then_some(name)
}

fn samples(count: usize, seed: u64) -> Samples {
    let mut random = stream(seed, "samples", 0);
    Samples {
        subimages: Array4::from_shape_simple_fn((count, 1, 16, 16), || {
            random.random_range(-1.0..1.0)
        }),
        targets: Array2::from_shape_simple_fn((count, 2), || random.random_range(-20.0..20.0)),
        levels: Vec::new(),
    }
}

#[test]
fn a_model_says_the_same_in_pytorch() {
    let Some(python) = python() else {
        eprintln!(
            "SKIPPED: no Python with torch, safetensors and numpy (FERROSTEM_PYTHON names one)"
        );
        return;
    };
    let here = tempfile::tempdir().unwrap();
    let model = ModelSettings {
        blocks: vec![vec![6, 6, 6], vec![8]],
        hidden: 10,
        residual: true,
        normalization: Normalization::Batch,
        variance: true,
        ..ModelSettings::default()
    };
    let training = TrainingSettings {
        epochs: 2,
        ensemble: 2,
        ..TrainingSettings::default()
    };
    let subimages = SubimageSettings {
        mode: Mode::CentredB,
        window_angstrom: 4.0,
        sampling_angstrom: 0.25,
        stride_angstrom: None,
        jitter_angstrom: 0.0,
    };
    let recipe = Recipe {
        seed: 3,
        model: &model,
        training: &training,
        subimages: &subimages,
        start: None,
    };
    let trained = train(
        &recipe,
        &samples(96, 1),
        &samples(32, 2),
        None,
        &Reporter::quiet(),
    )
    .unwrap();
    let provenance = Provenance::start("train", String::new(), Some(3)).finished();
    trained.regressor.save(here.path(), &provenance).unwrap();
    let fresh = samples(20, 4).subimages;
    ndarray_npy::write_npy(here.path().join("subimages.npy"), &fresh).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pytorch.py");
    let output = Command::new(python)
        .current_dir(here.path())
        .args([script.to_str().unwrap(), ".", "subimages.npy", "D.npy"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let theirs: Array2<f32> = ndarray_npy::read_npy(here.path().join("D.npy")).unwrap();
    let ours = trained
        .regressor
        .predict_patches(fresh.view())
        .unwrap()
        .mean;
    let largest = ours.iter().fold(0.0_f64, |most, d| most.max(d.abs()));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!(
            (ours - f64::from(*theirs)).abs() < 1e-5 * largest,
            "{ours} {theirs}"
        );
    }
}
