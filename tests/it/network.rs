//! The whole way of a network: image → sub-images → training → predictions, on images of Gaussian columns with known truth.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::LazyLock;

use ferrostem::crystal::polarization::PolarVector;
use ferrostem::image::Image;
use ferrostem::network::{
    Mode, ModelSettings, Recipe, Regressor, Samples, SplitSettings, SubimageSettings, Trained,
    TrainingSettings, cut_at, grid_centres, labels_between, split_by_position, standardized, train,
};
use ferrostem::progress::Reporter;
use ferrostem::provenance::Provenance;
use ferrostem::rng::{Rng, stream};
use ferrostem::storage::dataset::Split;
use ndarray::{Array2, Array4, Axis, concatenate, s};

/// Lattice parameter [Å].
const CELL: f64 = 3.965;
/// Cells along each side of an image.
const CELLS: usize = 18;
/// Pixel size of the images along `[y, x]` [Å], other than the networks' and not square.
const SAMPLING: [f64; 2] = [0.2, 0.21];
const SUBIMAGES: SubimageSettings = SubimageSettings {
    mode: Mode::CentredB,
    window_angstrom: 7.0,
    sampling_angstrom: 0.25,
    stride_angstrom: None,
    jitter_angstrom: 0.0,
};

/// An image of A columns (peak 1, σ 0.5 Å) and B columns (peak ⅓), and the truth: each B displaced by up to 40 pm along each
/// axis. Gaussian noise with a standard deviation of 0.02.
fn specimen(seed: u64) -> (Image, Vec<PolarVector>) {
    let mut rng = stream(seed, "specimen", 0);
    let mut columns: Vec<([f64; 2], f64)> = Vec::new();
    let mut truth = Vec::new();
    for i in 0..CELLS * CELLS {
        let corner = [(i % CELLS) as f64 * CELL, (i / CELLS) as f64 * CELL];
        columns.push((corner, 1.0));
        let displacement: [f64; 2] = std::array::from_fn(|_| rng.random_range(-40.0..40.0));
        let position = [0, 1].map(|c| corner[c] + CELL / 2.0 + displacement[c] / 100.0);
        columns.push((position, 1.0 / 3.0));
        if i % CELLS < CELLS - 1 && i / CELLS < CELLS - 1 {
            truth.push(PolarVector {
                position,
                displacement,
                sigma: [0.0; 2],
                flags: 0,
            });
        }
    }
    let side = (CELLS - 1) as f64 * CELL;
    let mut data = Array2::zeros(SAMPLING.map(|s| (side / s) as usize));
    for (centre, peak) in columns {
        let pixel =
            |axis: usize, by: f64| ((centre[axis] + by) / SAMPLING[1 - axis]).max(0.0) as usize;
        for y in pixel(1, -2.5)..pixel(1, 2.5).min(data.nrows()) {
            for x in pixel(0, -2.5)..pixel(0, 2.5).min(data.ncols()) {
                let (dx, dy) = (
                    x as f64 * SAMPLING[1] - centre[0],
                    y as f64 * SAMPLING[0] - centre[1],
                );
                data[(y, x)] += (peak * (-(dx * dx + dy * dy) / 0.5).exp()) as f32;
            }
        }
    }
    data.mapv_inplace(|v| {
        // Twelve uniform deviates have a variance of 1.
        let noise: f64 = (0..12).map(|_| rng.random_range(-0.5..0.5)).sum();
        v + (0.02 * noise) as f32
    });
    (
        Image {
            data,
            sampling: SAMPLING,
        },
        truth,
    )
}

/// Samples around the B columns of specimens.
fn samples(seeds: std::ops::Range<u64>) -> Samples {
    let parts = seeds.map(|seed| {
        let (image, truth) = specimen(seed);
        let points: Vec<[f64; 2]> = truth.iter().map(|v| v.position).collect();
        let cut = cut_at(&image, &points, &SUBIMAGES).unwrap();
        let targets = Array2::from_shape_fn((cut.kept.len(), 2), |(i, c)| {
            truth[cut.kept[i]].displacement[c] as f32
        });
        (cut.subimages, targets)
    });
    let (subimages, targets): (Vec<Array4<f32>>, Vec<Array2<f32>>) = parts.unzip();
    let subimages: Vec<_> = subimages.iter().map(|a| a.view()).collect();
    let targets: Vec<_> = targets.iter().map(|a| a.view()).collect();
    Samples::new(
        concatenate(Axis(0), &subimages).unwrap(),
        concatenate(Axis(0), &targets).unwrap(),
    )
}

/// One short training for all tests: three specimens of about 230 cells, an ensemble of two.
static TRAINED: LazyLock<Trained> = LazyLock::new(|| {
    let model = ModelSettings {
        blocks: vec![vec![8, 8], vec![16, 16]],
        hidden: 32,
        ..ModelSettings::default()
    };
    let training = TrainingSettings {
        epochs: 30,
        batch: 32,
        ensemble: 2,
        ..TrainingSettings::default()
    };
    let recipe = Recipe {
        seed: 1,
        model: &model,
        training: &training,
        subimages: &SUBIMAGES,
        start: None,
    };
    train(
        &recipe,
        &samples(0..3),
        &samples(3..4),
        None,
        &Reporter::quiet(),
    )
    .unwrap()
});

fn rms(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v * v, count + 1.0));
    (sum / count).sqrt()
}

#[test]
fn a_network_learns_the_displacement_of_a_specimen_it_never_saw() {
    let test = samples(4..5);
    let found = TRAINED
        .regressor
        .predict_patches(test.subimages.view())
        .unwrap();
    let errors = || {
        found
            .mean
            .iter()
            .zip(&test.targets)
            .map(|(p, t)| p - f64::from(*t))
    };
    let error = rms(errors());
    // Displacements are uniform within ±40 pm, so saying nothing costs 23.1 pm.
    assert!(error < 3.0, "RMS error {error:.2} pm");
    // The predicted sigma must be the size of the errors. It is calibrated on some 230 other cells of the same kind; 450
    // numbers on either side give the ratio to about 5 %, and heavy tails make it several times worse.
    let scaled = rms(errors()
        .zip(&found.sigma)
        .map(|(error, sigma)| error / sigma));
    assert!(
        (0.75..1.33).contains(&scaled),
        "errors over sigma {scaled:.2}"
    );
}

#[test]
fn a_mirrored_sub_image_gives_the_mirrored_displacement() {
    let test = samples(4..5);
    let plain = TRAINED
        .regressor
        .predict_patches(test.subimages.view())
        .unwrap();
    let mirrored = test.subimages.slice(s![.., .., .., ..;-1]);
    let mirrored = TRAINED.regressor.predict_patches(mirrored).unwrap();
    let turned = test.subimages.view().permuted_axes([0, 1, 3, 2]);
    let turned = TRAINED.regressor.predict_patches(turned).unwrap();
    let pairs = || {
        plain
            .mean
            .outer_iter()
            .zip(mirrored.mean.outer_iter())
            .zip(turned.mean.outer_iter())
    };
    let mirror = rms(pairs().flat_map(|((p, m), _)| [p[0] + m[0], p[1] - m[1]]));
    let turn = rms(pairs().flat_map(|((p, _), t)| [p[0] - t[1], p[1] - t[0]]));
    // Symmetry is learnt, not built in: it holds as well as the displacement itself.
    assert!(
        mirror < 3.0 && turn < 3.0,
        "mirror {mirror:.2} pm, turn {turn:.2} pm"
    );
}

#[test]
fn the_dense_map_equals_the_sub_images_at_any_stride() {
    let (image, _) = specimen(4);
    let data = standardized(&image).unwrap();
    let regressor = &TRAINED.regressor;
    let window = regressor.description().window_px;
    for (stride, height, width) in [
        (2, 101, 170),
        (1, 61, 60),
        (3, 90, 77),
        (4, 60, 150),
        (5, 28, 28),
    ] {
        let part = data.slice(s![..height, 7..7 + width]);
        let map = regressor.predict_dense(part, stride).unwrap();
        let (rows, cols, _) = map.mean.dim();
        assert_eq!(
            (rows, cols),
            (
                (height - window) / stride + 1,
                (width - window) / stride + 1
            )
        );
        let mut patches = Array4::zeros((rows * cols, 1, window, window));
        for (i, mut patch) in patches.outer_iter_mut().enumerate() {
            let (y, x) = (i / cols * stride, i % cols * stride);
            patch
                .index_axis_mut(Axis(0), 0)
                .assign(&part.slice(s![y..y + window, x..x + window]));
        }
        let slow = regressor.predict_patches(patches.view()).unwrap();
        // The scale is 23 pm; every sum runs in the same order in both, so they agree to the last bit or nearly.
        for (fast, slow) in map
            .mean
            .iter()
            .zip(&slow.mean)
            .chain(map.sigma.iter().zip(&slow.sigma))
        {
            assert!(
                (fast - slow).abs() < 1e-5 * 23.0,
                "stride {stride}: {fast} {slow}"
            );
        }
    }
}

#[test]
fn the_map_of_an_image_agrees_with_predictions_at_its_points() {
    let (image, _) = specimen(5);
    let map = TRAINED.regressor.predict_map(&image, 1.0).unwrap();
    let points: Vec<[f64; 2]> = map.iter().map(|v| v.position).collect();
    let at = TRAINED.regressor.predict_at(&image, &points).unwrap();
    assert_eq!(map.len(), at.len());
    let apart = map
        .iter()
        .zip(&at)
        .flat_map(|(a, b)| [0, 1].map(|c| a.displacement[c] - b.displacement[c]));
    // Both resample the image with the same kernel; only f32 rounding of the tap weights differs.
    let worst = apart.fold(0.0_f64, |worst, d| worst.max(d.abs()));
    assert!(worst < 0.02, "{worst} pm");
    let at_columns: Vec<[f64; 2]> = specimen(5).1.iter().map(|v| v.position).collect();
    let skipped = TRAINED.regressor.predict_at(&image, &at_columns).unwrap();
    assert!(
        skipped.len() < at_columns.len(),
        "windows that leave the image are left out"
    );
}

#[test]
fn a_saved_model_predicts_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let provenance = Provenance::start("train", "seed = 1".to_owned(), Some(1));
    TRAINED.regressor.save(folder.path(), &provenance).unwrap();
    let loaded = Regressor::load(folder.path()).unwrap();
    let test = samples(4..5);
    let predict = |r: &Regressor| r.predict_patches(test.subimages.view()).unwrap();
    assert_eq!(predict(&loaded), predict(&TRAINED.regressor));
    assert_eq!(loaded.description().provenance.as_ref(), Some(&provenance));
    std::fs::write(folder.path().join("weights-1.safetensors"), b"cut short").unwrap();
    let error = Regressor::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("weights-1.safetensors"), "{error}");
}

#[test]
fn fine_tuning_starts_from_the_weights_given() {
    let start = &TRAINED.regressor;
    let description = start.description();
    let training = TrainingSettings {
        epochs: 1,
        ensemble: 2,
        learning_rate: 1e-6,
        ..description.training.clone()
    };
    let recipe = Recipe {
        seed: 2,
        model: &description.model,
        training: &training,
        subimages: &SUBIMAGES,
        start: Some(start),
    };
    let validation = samples(3..4);
    let tuned = train(
        &recipe,
        &samples(5..6),
        &validation,
        None,
        &Reporter::quiet(),
    )
    .unwrap();
    for (tuned, plain) in tuned
        .regressor
        .description()
        .validation_rms_pm
        .iter()
        .zip(&description.validation_rms_pm)
    {
        // One epoch at a rate of 1e-6 moves hardly anything.
        assert!((tuned / plain - 1.0).abs() < 0.05, "{tuned} {plain}");
    }
}

#[test]
fn sub_images_follow_the_atoms_below_a_pixel() {
    let (image, truth) = specimen(6);
    let at = |shift: f64| {
        let points = [[
            truth[8 * (CELLS - 1) + 8].position[0] + shift,
            truth[8 * (CELLS - 1) + 8].position[1],
        ]];
        cut_at(&image, &points, &SUBIMAGES).unwrap().subimages
    };
    // A window moved by one pixel of the network shows the same numbers one pixel further.
    let (here, there) = (at(0.0), at(SUBIMAGES.sampling_angstrom));
    let apart = &here.slice(s![0, 0, .., 1..]) - &there.slice(s![0, 0, .., ..-1]);
    assert!(apart.iter().all(|v| v.abs() < 1e-4));
}

#[test]
fn a_grid_stays_inside_and_its_labels_lie_between_those_of_the_cells() {
    let (image, truth) = specimen(7);
    let grid = SubimageSettings {
        mode: Mode::Grid,
        stride_angstrom: Some(1.0),
        jitter_angstrom: 0.0,
        ..SUBIMAGES
    };
    let centres = grid_centres(&image, &grid).unwrap();
    assert_eq!(
        cut_at(&image, &centres, &grid).unwrap().centres.len(),
        centres.len()
    );
    let labels = labels_between(&centres, &truth);
    assert!(labels.iter().flatten().count() * 10 > centres.len() * 9);
    assert!(labels.iter().flatten().flatten().all(|d| d.abs() <= 40.0));
    let at_cells: Vec<[f64; 2]> = truth.iter().map(|v| v.position).collect();
    for (label, cell) in labels_between(&at_cells, &truth).iter().zip(&truth) {
        if let Some(label) = label {
            assert!((0..2).all(|c| (label[c] - cell.displacement[c]).abs() < 1e-6));
        }
    }
    assert_eq!(labels_between(&[[-30.0, 0.0]], &truth), [None]);
    let split = split_by_position(
        &centres,
        grid.window_angstrom,
        image.extent(),
        &SplitSettings::default(),
    );
    for part in [Split::Train, Split::Validation, Split::Test] {
        assert!(split.contains(&Some(part)), "{part:?}");
    }
}

#[test]
fn a_window_larger_than_the_image_is_refused() {
    let image = Image {
        data: Array2::from_shape_fn((20, 90), |(y, x)| (x + y) as f32),
        sampling: [0.2, 0.2],
    };
    let error = cut_at(&image, &[[2.0, 2.0]], &SUBIMAGES)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "cutting windows of 7 Å: got an image of 18.000 × 4.000 Å; needed: an image larger than the window"
    );
    let flat = Image {
        data: Array2::zeros((90, 90)),
        sampling: [0.2, 0.2],
    };
    assert!(
        cut_at(&flat, &[], &SUBIMAGES)
            .unwrap_err()
            .to_string()
            .contains("contrast")
    );
}
