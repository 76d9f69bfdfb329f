//! Training and inference of two networks, in samples per second: `cargo bench -- network`. `benches/network.py` does the same
//! with PyTorch, and lets the two take turns.
//!
//! Model A: convolutions 1–32–32, pooling, 32–64–64, pooling, 128 hidden, 2 outputs, on 32 × 32 pixels; model B: with batch
//! normalization, on 64 × 64 pixels. Batches of 64. What is timed is all of a training, shuffles, mirrored samples and optimizer
//! included, and of predictions all from arrays to arrays.

use std::time::Instant;

use ferrostem::network::{
    Mode, ModelSettings, Normalization, Recipe, Regressor, Samples, SubimageSettings,
    TrainingSettings, train,
};
use ferrostem::progress::Reporter;
use ndarray::{Array2, Array4, Axis};

/// Samples of an epoch.
const SAMPLES: usize = 64 * 16;
/// Epochs of a training: what is done once in a training (first weights, calibration, what the windows look like) counts with
/// the share that it has in a short one.
const EPOCHS: usize = 8;

/// Prints the lines, if asked for: these are no benches of criterion, as a step takes as long as it takes.
pub(crate) fn benches() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let wanted = filters.is_empty() || filters.iter().any(|filter| *filter == "network");
    if !wanted {
        return;
    }
    let once = arguments.iter().any(|argument| argument == "--test");
    for (name, normalization, side) in [
        ("A", Normalization::None, 32),
        ("B", Normalization::Batch, 64),
    ] {
        bench(name, normalization, side, if once { 0.0 } else { 3.0 });
    }
}

/// Repeats for `seconds`, but once at least, and prints the rate, and the rate per second of processor time, which other
/// programs on the machine hardly change.
fn rates(what: &str, seconds: f64, each: usize, mut work: impl FnMut()) {
    let (start, processor) = (Instant::now(), processor_seconds());
    let mut samples = 0;
    while samples == 0 || start.elapsed().as_secs_f64() < seconds {
        work();
        samples += each;
    }
    let rate = samples as f64 / start.elapsed().as_secs_f64();
    let used = processor_seconds() - processor;
    println!(
        "ferrostem f32 {what} {rate:.0} samples/s, {:.0} per processor second",
        samples as f64 / used
    );
}

/// Processor time of all threads so far [s]; NaN where there is no `/proc`.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time are fields 14 and 15, in hundredths of a second; field 2 ends with the last parenthesis.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks = fields.skip(11).take(2).map(|field| field.parse::<f64>());
    ticks
        .sum::<Result<f64, _>>()
        .map_or(f64::NAN, |ticks| ticks / 100.0)
}

fn bench(name: &str, normalization: Normalization, side: usize, seconds: f64) {
    let model = ModelSettings {
        blocks: vec![vec![32, 32], vec![64, 64]],
        hidden: 128,
        pool_last: true,
        normalization,
        ..ModelSettings::default()
    };
    let training = TrainingSettings {
        epochs: if seconds > 0.0 { EPOCHS } else { 1 },
        ensemble: 1,
        ..TrainingSettings::default()
    };
    let subimages = SubimageSettings {
        mode: Mode::CentredB,
        window_angstrom: side as f64 * 0.25,
        sampling_angstrom: 0.25,
        stride_angstrom: None,
        jitter_angstrom: 0.0,
    };
    let recipe = Recipe {
        seed: 1,
        model: &model,
        training: &training,
        subimages: &subimages,
        start: None,
    };
    let (many, one) = (samples(SAMPLES, side), samples(1, side));
    let train = || train(&recipe, &many, &one, None, &Reporter::quiet()).unwrap();
    let regressor = train().regressor;
    rates(&format!("{name} train"), seconds, EPOCHS * SAMPLES, || {
        train();
    });
    rates(&format!("{name} infer"), seconds, SAMPLES, || {
        regressor.predict_patches(many.subimages.view()).unwrap();
    });
    if normalization == Normalization::None && seconds > 0.0 {
        dense(&regressor, side);
    }
}

/// The map of an image of 1024² pixels every 4 pixels, in one pass, beside its windows one by one (a part of them, and its
/// part of the windows).
fn dense(regressor: &Regressor, window: usize) {
    const SIDE: usize = 1024;
    const STRIDE: usize = 4;
    let image = samples(1, SIDE).subimages;
    let image = image
        .index_axis(Axis(0), 0)
        .index_axis(Axis(0), 0)
        .to_owned();
    let (wall, processor) = used(|| {
        regressor.predict_dense(image.view(), STRIDE).unwrap();
    });
    let across = (SIDE - window) / STRIDE + 1;
    let part = samples(SAMPLES, window);
    let (one_by_one, theirs) = used(|| {
        regressor.predict_patches(part.subimages.view()).unwrap();
    });
    let share = (across * across) as f64 / SAMPLES as f64;
    println!(
        "ferrostem f32 dense map of {SIDE}², stride {STRIDE}: {wall:.3} s ({processor:.2} s of processor); window by window {:.2} s \
         ({:.1} s), {:.0} times ({:.0} times) as long",
        share * one_by_one,
        share * theirs,
        share * one_by_one / wall,
        share * theirs / processor
    );
}

/// Seconds, and seconds of processor, of one of five turns.
fn used(mut work: impl FnMut()) -> (f64, f64) {
    const TURNS: usize = 5;
    work();
    let (start, processor) = (Instant::now(), processor_seconds());
    (0..TURNS).for_each(|_| work());
    let turns = TURNS as f64;
    (
        start.elapsed().as_secs_f64() / turns,
        (processor_seconds() - processor) / turns,
    )
}

/// Numbers that repeat, but not soon.
fn samples(count: usize, side: usize) -> Samples {
    let number = |i: usize| ((i * 7919 % 10_007) as f32) / 5000.0 - 1.0;
    let subimages = Array4::from_shape_fn((count, 1, side, side), |(n, _, y, x)| {
        number((n * side + y) * side + x)
    });
    let targets = Array2::from_shape_fn((count, 2), |(n, c)| 20.0 * number(2 * n + c));
    Samples::new(subimages, targets)
}
