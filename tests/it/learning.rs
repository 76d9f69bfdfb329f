//! Labels, parts, streams, uncertainty and prediction: from image files to judged maps, on lattices of Gaussian columns with known truth.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use ferrostem::crystal::polarization::flags;
use ferrostem::experiment::{self, Density, DrawnSamples, Part, Reading, Stream, StreamSettings};
use ferrostem::image::Image;
use ferrostem::network::{
    CalibratedOn, Filed, ModelSettings, Pass, Recipe, Regressor, Samples, SubimageSettings, Supply,
    TrainingSettings, cut_at, train,
};
use ferrostem::progress::Reporter;
use ferrostem::provenance::Provenance;
use ferrostem::rng::{Rng, stream};
use ferrostem::settings::Source;
use ferrostem::storage::dataset::{
    Circumstance, Dataset, DatasetInfo, DatasetWriter, Split, SubImages,
};
use ferrostem::{Error, Result};
use ndarray::{Array2, Axis};

use crate::commands::entries;
use crate::emulator::lesson;
use crate::settings::{ferrostem, refusal};
use crate::stream::EMULATED;

/// Lattice parameter [Å].
const CELL: f64 = 3.965;
/// Pixel size of the images [Å].
const SAMPLING: f64 = 0.2;

/// Columns A (peak 1) and B (peak ⅓) of σ 0.5 Å on `cells` × `cells` cells of side `cell` [Å], every B displaced by up to 40 pm along each axis, with
/// a background of 0.3 and noise of 0.02; and the true position and D of every B.
fn lattice(seed: u64, cells: usize, cell: f64) -> (Image, Vec<[f64; 4]>) {
    let mut rng = stream(seed, "lattice", 0);
    let side = (cells as f64 * cell / SAMPLING) as usize;
    let mut data = Array2::from_elem((side, side), 0.3_f32);
    let mut truth = Vec::new();
    let mut paint = |centre: [f64; 2], peak: f64| {
        let from = |axis: usize| ((centre[axis] - 2.5) / SAMPLING).max(0.0) as usize;
        let to = |axis: usize| (((centre[axis] + 2.5) / SAMPLING).max(0.0) as usize).min(side);
        for y in from(1)..to(1) {
            for x in from(0)..to(0) {
                let (dx, dy) = (
                    x as f64 * SAMPLING - centre[0],
                    y as f64 * SAMPLING - centre[1],
                );
                data[(y, x)] += (peak * (-(dx * dx + dy * dy) / 0.5).exp()) as f32;
            }
        }
    };
    for i in 0..cells * cells {
        let corner = [(i % cells) as f64 * cell, (i / cells) as f64 * cell];
        paint(corner, 1.0);
        let d: [f64; 2] = std::array::from_fn(|_| rng.random_range(-40.0..40.0));
        let b = [0, 1].map(|axis| corner[axis] + cell / 2.0 + d[axis] / 100.0);
        paint(b, 1.0 / 3.0);
        truth.push([b[0], b[1], d[0], d[1]]);
    }
    data.mapv_inplace(|v| {
        let noise: f64 = (0..12).map(|_| rng.random_range(-0.5..0.5)).sum();
        v + (0.02 * noise) as f32
    });
    let image = Image {
        data,
        sampling: [SAMPLING; 2],
    };
    (image, truth)
}

/// A `.npy` file of an image.
fn write_npy(path: &Path, data: &Array2<f32>) {
    let (rows, cols) = data.dim();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data.iter().flat_map(|v| v.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

/// A person's table of the cells of several images.
fn write_table(path: &Path, images: &[Vec<[f64; 4]>]) {
    let mut text = "x_angstrom,y_angstrom,dx_pm,dy_pm,image\n".to_owned();
    for (image, cells) in images.iter().enumerate() {
        for [x, y, dx, dy] in cells {
            writeln!(text, "{x},{y},{dx},{dy},{image}").unwrap();
        }
    }
    fs::write(path, text).unwrap();
}

const SUBIMAGES: &str = "mode = \"centred_b\"\nwindow_angstrom = 7.0\nsampling_angstrom = 0.25\n";
const MODEL: &str = "[model]\nblocks = [[8, 8], [16, 16]]\nhidden = 32\n[training]\nepochs = 25\nbatch = 32\nensemble = 2\n";

fn subimages(text: &str) -> SubimageSettings {
    Source::from_text("subimages", text).parse().unwrap()
}

fn quiet() -> Reporter {
    Reporter::quiet()
}

/// Makes `data.h5` in `folder` of eight lattices by image, labelled by a table.
fn make_data(folder: &Path, subimages: &str) -> Result<PathBuf> {
    let mut tables = Vec::new();
    let mut names = Vec::new();
    for seed in 0..8 {
        let (image, truth) = lattice(seed, 14, CELL);
        write_npy(&folder.join(format!("{seed}.npy")), &image.data);
        names.push(format!("\"{seed}.npy\""));
        tables.push(truth);
    }
    write_table(&folder.join("labels.csv"), &tables);
    let text = format!(
        "images = [{}]\nsampling_angstrom = {SAMPLING}\n[subimages]\n{subimages}[labels.table]\nfile = \"labels.csv\"\n\
         [split]\nby = \"image\"\ntrain_fraction = 0.8\nvalidation_fraction = 0.2\ncalibration_fraction = 0.3\n",
        names.join(", ")
    );
    let file = folder.join("data.toml");
    fs::write(&file, text).unwrap();
    let output = folder.join("data.h5");
    experiment::make_dataset(&Source::read(&file)?, &output, true, &quiet())?;
    Ok(output)
}

/// Trains on `data.h5` of `folder` and returns the model's folder.
fn make_model(folder: &Path, name: &str, settings: &str) -> Result<PathBuf> {
    let file = folder.join(format!("{name}.toml"));
    fs::write(
        &file,
        format!("seed = 3\ndataset = \"data.h5\"\n{settings}"),
    )
    .unwrap();
    let output = folder.join(name);
    experiment::train(&Source::read(&file)?, &output, true, false, &quiet())?;
    Ok(output)
}

/// A folder with a dataset and a model of it, made once.
static CENTRED: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let here = tempfile::tempdir().unwrap();
    make_data(here.path(), SUBIMAGES).unwrap();
    make_model(here.path(), "model", MODEL).unwrap();
    here
});

/// The same without atom finding.
static GRID: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let here = tempfile::tempdir().unwrap();
    let grid = SUBIMAGES.replace("centred_b", "grid") + "stride_angstrom = 2.5\n";
    make_data(here.path(), &grid).unwrap();
    let model = MODEL.replace("epochs = 25", "epochs = 4");
    make_model(here.path(), "model", &model).unwrap();
    here
});

#[test]
fn a_table_labels_its_cells_and_the_parts_go_by_image() {
    let data = Dataset::open(&CENTRED.path().join("data.h5")).unwrap();
    for (row, centre) in data.centres().iter().enumerate() {
        let (_, truth) = lattice(u64::from(data.images()[row]), 14, CELL);
        let cell = truth
            .iter()
            // Windows are cut up to 0.2 Å off along either axis.
            .find(|c| (c[0] - centre[0]).abs().max((c[1] - centre[1]).abs()) < 0.2 + 1e-9);
        for axis in 0..2 {
            let label = f64::from(data.targets()[(row, axis)]);
            assert!((label - cell.unwrap()[2 + axis]).abs() < 1e-5);
        }
    }
    for image in 0..8 {
        let mut of_image = (0..data.len()).filter(|&row| data.images()[row] == image);
        let first = of_image.next().map(|row| data.splits()[row]);
        assert!(of_image.all(|row| Some(data.splits()[row]) == first));
    }
    for part in Split::ALL {
        assert!(!data.indices(part).is_empty(), "{part:?}");
    }
}

#[test]
fn wrong_tables_are_refused_with_their_line() {
    let here = tempfile::tempdir().unwrap();
    make_data(here.path(), SUBIMAGES).unwrap();
    let table = fs::read_to_string(here.path().join("labels.csv")).unwrap();
    let with = |change: &dyn Fn(&str) -> String| {
        fs::write(here.path().join("labels.csv"), change(&table)).unwrap();
        let source = Source::read(&here.path().join("data.toml")).unwrap();
        let error = experiment::make_dataset(&source, &here.path().join("x.h5"), true, &quiet());
        error.unwrap_err().to_string()
    };
    let lines = table.lines().count();
    for (row, expected) in [
        ("500,1,0,0,0", "a position (500, 1) Å outside of the image"),
        ("1,1,0,0,8", "image: got 8; allowed: 0 to 7"),
        ("1,1,NaN,0,0", "dx_pm: got `NaN`; allowed: a finite number"),
    ] {
        let message = with(&|table| format!("{table}{row}\n"));
        assert!(
            message.contains(expected) && message.contains(&format!("line {}", lines + 1)),
            "{message}"
        );
    }
    let again = with(&|table| format!("{table}{}\n", table.lines().nth(5).unwrap()));
    assert!(again.contains("got the cell of line 6 again"), "{again}");
    let one = with(&|table| table.replace(",image", ",picture"));
    assert!(
        one.contains("again") || one.contains("image: got nothing"),
        "{one}"
    );
    assert!(!here.path().join("x.h5").exists());
}

/// The convention turns D of a table over.
#[test]
fn a_table_of_the_other_convention_is_turned_over() {
    let here = tempfile::tempdir().unwrap();
    let (image, truth) = lattice(0, 14, CELL);
    write_npy(&here.path().join("i.npy"), &image.data);
    write_table(&here.path().join("l.csv"), &[truth]);
    let make = |more: &str| {
        let text = format!(
            "images = [\"i.npy\"]\nsampling_angstrom = {SAMPLING}\n[subimages]\n{SUBIMAGES}[labels.table]\nfile = \"l.csv\"\n{more}"
        );
        let file = here.path().join("d.toml");
        fs::write(&file, text).unwrap();
        let output = here.path().join("d.h5");
        experiment::make_dataset(&Source::read(&file).unwrap(), &output, true, &quiet()).unwrap();
        Dataset::open(&output).unwrap().targets().clone()
    };
    let (plain, other) = (make(""), make("convention = \"a_minus_b\"\n"));
    assert_eq!(plain, -other);
}

fn weights(folder: &Path) -> Vec<Vec<u8>> {
    let names = [
        "weights-0.safetensors",
        "weights-1.safetensors",
        "familiar.safetensors",
        "history.csv",
        "evaluation.csv",
    ];
    names
        .iter()
        .map(|name| fs::read(folder.join(name)).unwrap())
        .collect()
}

/// 24 KiB are four sub-images: every batch is read by itself.
#[test]
fn a_training_that_streams_ends_with_the_bytes_of_one_that_holds_all() {
    let here = tempfile::tempdir().unwrap();
    fs::copy(CENTRED.path().join("data.h5"), here.path().join("data.h5")).unwrap();
    let model = MODEL.replace("epochs = 25", "epochs = 2");
    let disturbed = format!(
        "{model}[training.augmentation]\ncounts_per_angstrom2 = [1e3, 1e4]\nrow_jitter_pm = [0.0, 5.0]\n"
    );
    let held = make_model(here.path(), "held", &disturbed).unwrap();
    let streamed = format!("memory_mib = 0.024\n{disturbed}");
    let streamed = make_model(here.path(), "streamed", &streamed).unwrap();
    assert_eq!(weights(&held), weights(&streamed));
    let other = make_model(here.path(), "other", &model).unwrap();
    assert_ne!(weights(&held), weights(&other));
}

#[test]
fn no_piece_of_a_file_is_larger_than_its_bound() {
    let data = Dataset::open(&CENTRED.path().join("data.h5")).unwrap();
    let rows = data.indices(Split::Train);
    for (bytes, expected) in [(0.0, 1), (2.0 * 28.0 * 28.0 * 4.0 * 10.0, 10)] {
        assert_eq!(
            Filed::new(&data, rows.clone(), bytes, &[])
                .unwrap()
                .at_once(),
            expected
        );
    }
}

/// A new specimen, its windows around the B columns, and their labels.
fn fresh(seed: u64, cell: f64) -> Samples {
    let (image, truth) = lattice(seed, 20, cell);
    let points: Vec<[f64; 2]> = truth.iter().map(|c| [c[0], c[1]]).collect();
    let cut = cut_at(&image, &points, &subimages(SUBIMAGES)).unwrap();
    let targets = Array2::from_shape_fn((cut.kept.len(), 2), |(n, axis)| {
        truth[cut.kept[n]][2 + axis] as f32
    });
    Samples::new(cut.subimages, targets)
}

#[test]
fn circles_hold_the_truth_of_a_new_specimen_as_often_as_they_promise() {
    let regressor = Regressor::load(&CENTRED.path().join("model")).unwrap();
    let description = regressor.description();
    assert_eq!(description.calibrated_on, CalibratedOn::Calibration);
    let test = fresh(100, CELL);
    let (found, targets) = regressor.predict_supply(&test).unwrap();
    for (level, probability) in description.conformal.levels.iter().enumerate() {
        let held = (0..targets.nrows()).filter(|&n| {
            let error = [0, 1].map(|c| found.mean[(n, c)] - f64::from(targets[(n, c)]));
            let radii = description
                .conformal
                .radii([found.sigma[(n, 0)], found.sigma[(n, 1)]]);
            error[0].hypot(error[1]) <= radii[level]
        });
        let coverage = held.count() as f64 / targets.nrows() as f64;
        // Some 290 calibration and 290 test cells: three standard deviations of each, √(p(1−p)/290) ≤ 3 %, together 12 %.
        let slack = 3.0 * (2.0 * probability * (1.0 - probability) / 290.0).sqrt();
        assert!(
            (coverage - probability).abs() < slack,
            "{probability}: {coverage}"
        );
    }
}

/// A flat window, and one of noise, of a standardized image.
fn strange(window: usize) -> Samples {
    let mut rng = stream(9, "strange", 0);
    let pixels = ndarray::Array4::from_shape_fn((60, 1, window, window), |(n, ..)| {
        let noise: f64 = (0..12).map(|_| rng.random_range(-0.5..0.5)).sum();
        match n / 20 {
            // Vacuum: nothing but a little noise at a level below the mean.
            0 => (-1.2 + 0.05 * noise) as f32,
            // The mean of the image, as of a film that has lost its order.
            1 => (0.05 * noise) as f32,
            _ => noise as f32,
        }
    });
    Samples::new(pixels, Array2::zeros((60, 2)))
}

fn flagged(regressor: &Regressor, samples: &Samples) -> f64 {
    let flags = regressor.flags_of_supply(samples).unwrap();
    let unlike = flags.iter().filter(|&&flag| flag == flags::UNLIKE).count();
    unlike as f64 / flags.len() as f64
}

#[test]
fn windows_unlike_the_training_data_are_flagged_and_fresh_ones_of_the_same_kind_are_not() {
    for folder in [&CENTRED, &GRID] {
        let regressor = Regressor::load(&folder.path().join("model")).unwrap();
        let window = regressor.description().window_px;
        assert_eq!(flagged(&regressor, &strange(window)), 1.0);
        // Another lattice: 12 % smaller cells.
        assert!(flagged(&regressor, &fresh(101, 3.5)) > 0.95);
        let same: Vec<f64> = (102..105)
            .map(|seed| flagged(&regressor, &fresh(seed, CELL)))
            .collect();
        let same = same.iter().sum::<f64>() / 3.0;
        assert!(same <= 0.01, "{same}");
    }
}

/// Four images high enough for several bands; at strides that divide that of the model and do not.
#[test]
fn a_dense_map_in_bands_equals_its_windows_one_by_one() {
    let regressor = Regressor::load(&GRID.path().join("model")).unwrap();
    // 30 cells are 119 Å, 476 px of the network; bands are of 256 px.
    let (image, _) = lattice(200, 30, CELL);
    for stride in [1.0, 0.75, 2.5] {
        let map = regressor.predict_map(&image, stride).unwrap();
        let some: Vec<usize> = (0..map.len()).step_by(map.len() / 500).collect();
        let points: Vec<[f64; 2]> = some.iter().map(|&n| map[n].position).collect();
        let at = regressor.predict_at(&image, &points).unwrap();
        assert_eq!(at.len(), points.len());
        let step = (stride / 0.25_f64).round() * 0.25;
        let rows = ((image.data.nrows() - 1) as f64 * SAMPLING / 0.25).floor() as usize + 1;
        let side = (rows - 28) / (stride / 0.25).round() as usize + 1;
        assert_eq!(map.len(), side * side);
        assert!((map[1].position[0] - map[0].position[0] - step).abs() < 1e-9);
        for (n, at) in some.iter().zip(&at) {
            for axis in 0..2 {
                // Windows of the map come of one resampled image, those at points are resampled alone: rounding of weights, near
                // 1e-7 of the intensities, grows through the layers.
                let apart = (map[*n].displacement[axis] - at.displacement[axis]).abs();
                assert!(apart < 0.02, "stride {stride}: {apart} pm");
            }
        }
    }
}

#[test]
fn a_prediction_says_circles_and_what_it_does_not_know() {
    let here = tempfile::tempdir().unwrap();
    let (mut image, _) = lattice(201, 14, CELL);
    // The lower third is vacuum.
    let rows = image.data.nrows();
    image
        .data
        .slice_mut(ndarray::s![2 * rows / 3.., ..])
        .fill(0.0);
    write_npy(&here.path().join("i.npy"), &image.data);
    let reading = Reading {
        sampling: Some(SAMPLING),
        ..Reading::default()
    };
    let output = here.path().join("map");
    let model = GRID.path().join("model");
    let density = Density::Every(1.0);
    experiment::predict(
        &model,
        &here.path().join("i.npy"),
        &reading,
        density,
        &output,
        false,
        &quiet(),
    )
    .unwrap();
    let text = fs::read_to_string(output.join("polarization.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some(
            "x_angstrom,y_angstrom,dx_pm,dy_pm,sigma_dx_pm,sigma_dy_pm,flags,radius_50_pm,radius_90_pm,radius_95_pm,convention"
        )
    );
    let border = rows as f64 * SAMPLING * 2.0 / 3.0;
    let (mut vacuum, mut crystal) = ([0, 0], [0, 0]);
    for line in lines {
        let fields: Vec<f64> = line
            .split(',')
            .take(10)
            .map(|f| f.parse().unwrap())
            .collect();
        assert!(fields[7] < fields[8] && fields[8] <= fields[9]);
        let of = if fields[1] > border + 3.5 {
            &mut vacuum
        } else if fields[1] < border - 3.5 {
            &mut crystal
        } else {
            continue;
        };
        of[usize::from(fields[6] as u32 & flags::UNLIKE != 0)] += 1;
    }
    assert!(vacuum[0] == 0 && vacuum[1] > 100, "{vacuum:?}");
    // A third of vacuum changes mean and deviation of the image, so the crystal looks other, too; it is not flagged as a whole.
    assert!(crystal[0] + crystal[1] > 100, "{crystal:?}");
    for stride in [0.0, -1.0, f64::NAN, 1e6] {
        let density = Density::Every(stride);
        let error = experiment::predict(
            &model,
            &here.path().join("i.npy"),
            &reading,
            density,
            &here.path().join("x"),
            false,
            &quiet(),
        );
        assert!(
            error.unwrap_err().to_string().starts_with("--stride: got"),
            "{stride}"
        );
    }
}

#[test]
fn a_model_is_judged_on_a_part_of_a_dataset() {
    let here = CENTRED.path();
    let output = here.join("judged");
    experiment::evaluate(
        &here.join("model"),
        &here.join("data.h5"),
        Split::Test,
        false,
        &output,
        true,
        &quiet(),
    )
    .unwrap();
    let table = |folder: &Path| fs::read_to_string(folder.join("evaluation.csv")).unwrap();
    // The training judges the same part.
    assert_eq!(table(&output), table(&here.join("model")));
    let text = table(&output);
    let row: Vec<&str> = text.lines().nth(1).unwrap().split(',').collect();
    let rms: f64 = row[4].parse().unwrap();
    let slope: f64 = row[5].parse().unwrap();
    assert!(rms < 4.0 && (slope - 1.0).abs() < 0.05, "{text}");
}

#[test]
fn a_dataset_of_other_windows_is_refused_and_resampled_on_request() {
    let here = tempfile::tempdir().unwrap();
    let wider = SUBIMAGES.replace("7.0", "8.0").replace("0.25", "0.2");
    let data = make_data(here.path(), &wider).unwrap();
    let model = CENTRED.path().join("model");
    let output = here.path().join("judged");
    let judge = |resample| {
        experiment::evaluate(
            &model,
            &data,
            Split::Test,
            resample,
            &output,
            true,
            &quiet(),
        )
    };
    let message = judge(false).unwrap_err().to_string();
    assert!(
        message.contains("got windows of 40 px, 8 Å, at 0.2 Å a pixel; allowed: windows of 28 px, 7 Å, at 0.25 Å a pixel"),
        "{message}"
    );
    judge(true).unwrap();
    let rms = |folder: &Path| -> f64 {
        let text = fs::read_to_string(folder.join("evaluation.csv")).unwrap();
        text.lines()
            .nth(1)
            .unwrap()
            .split(',')
            .nth(4)
            .unwrap()
            .parse()
            .unwrap()
    };
    // Resampled twice, by cubic convolution: a little worse than windows cut at once.
    let (own, resampled) = (rms(&model), rms(&output));
    assert!(resampled < 1.5 * own, "{resampled} pm, {own} pm");
    // Fine-tuning says the same.
    fs::create_dir(here.path().join("tune")).unwrap();
    let start = format!(
        "start = {:?}\n{}",
        model.display().to_string(),
        MODEL.replace("epochs = 25", "epochs = 1")
    );
    let refused = make_model(here.path(), "tuned", &start)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("windows of 40 px"), "{refused}");
    let tuned = make_model(here.path(), "tuned", &format!("resample = true\n{start}")).unwrap();
    assert_eq!(Regressor::load(&tuned).unwrap().description().window_px, 28);
    let small = SUBIMAGES.replace("7.0", "5.0");
    let data = make_data(here.path(), &small).unwrap();
    let error = experiment::evaluate(&model, &data, Split::Test, true, &output, true, &quiet());
    assert!(error.unwrap_err().to_string().contains("at least 7 Å"));
}

fn drawn_stream() -> Stream {
    let settings: StreamSettings = Source::from_text("emulated.toml", EMULATED)
        .parse()
        .unwrap();
    let text = "mode = \"centred_b\"\nwindow_angstrom = 7.2\nsampling_angstrom = 0.3\n";
    Stream::new(&settings, &subimages(text), lesson().1.clone())
}

#[test]
fn every_epoch_draws_new_images_and_the_same_ones_again() {
    let stream = drawn_stream();
    let read = |part, network, epoch| {
        let drawn = DrawnSamples::new(&stream, part, 40, &[]);
        let rows: Vec<usize> = (0..40).collect();
        drawn.read(Pass { network, epoch }, &rows).unwrap()
    };
    let first = read(Part::Train, 0, 0);
    assert_eq!(first, read(Part::Train, 0, 0));
    for (part, network, epoch) in [
        (Part::Train, 0, 1),
        (Part::Train, 1, 0),
        (Part::Validation, 0, 0),
        (Part::Calibration, 0, 0),
        (Part::Test, 0, 0),
    ] {
        assert_ne!(first, read(part, network, epoch), "{part:?}");
    }
    let sparse = DrawnSamples::new(&stream, Part::Train, 40, &[]).at_most(3);
    let (_, circumstances) = sparse.once().unwrap();
    let tilts: Vec<f32> = circumstances.iter().map(|c| c.tilt_mrad[0]).collect();
    assert!(tilts.chunk_by(|a, b| a == b).all(|image| image.len() <= 3));
    let drawn = DrawnSamples::new(&stream, Part::Train, 40, &[]);
    let pass = Pass {
        network: 0,
        epoch: 0,
    };
    let some = drawn.read(pass, &[7, 3]).unwrap();
    assert_eq!(
        some.subimages.index_axis(Axis(0), 1),
        first.subimages.index_axis(Axis(0), 3)
    );
}

/// A supply that fails from an epoch on, as a process that is killed.
struct Killed<'a> {
    supply: &'a DrawnSamples<'a>,
    at: usize,
}

impl Supply for Killed<'_> {
    fn count(&self) -> usize {
        self.supply.count()
    }

    fn at_once(&self) -> usize {
        self.supply.at_once()
    }

    fn read(&self, pass: Pass, rows: &[usize]) -> Result<Samples> {
        if pass.epoch >= self.at {
            return Err(Error::unmeasurable("the test", "an end", "going on"));
        }
        self.supply.read(pass, rows)
    }
}

#[test]
fn a_training_on_drawn_images_that_was_stopped_goes_on_bit_by_bit() {
    let stream = drawn_stream();
    let drawn = DrawnSamples::new(&stream, Part::Train, 60, &[]);
    let (validation, _) = DrawnSamples::new(&stream, Part::Validation, 30, &[])
        .once()
        .unwrap();
    let model = ModelSettings {
        blocks: vec![vec![4], vec![4]],
        hidden: 8,
        ..ModelSettings::default()
    };
    let training = TrainingSettings {
        epochs: 3,
        batch: 16,
        ensemble: 2,
        ..TrainingSettings::default()
    };
    let settings =
        subimages("mode = \"centred_b\"\nwindow_angstrom = 7.2\nsampling_angstrom = 0.3\n");
    let recipe = Recipe {
        seed: 4,
        model: &model,
        training: &training,
        subimages: &settings,
        start: None,
    };
    let straight = train(&recipe, &drawn, &validation, None, &quiet()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let killed = Killed {
        supply: &drawn,
        at: 2,
    };
    train(&recipe, &killed, &validation, Some(folder.path()), &quiet()).unwrap_err();
    let resumed = train(&recipe, &drawn, &validation, Some(folder.path()), &quiet()).unwrap();
    assert_eq!(straight.histories, resumed.histories);
    assert_eq!(
        straight.regressor.description(),
        resumed.regressor.description()
    );
    let predict = |regressor: &Regressor| regressor.predict_supply(&validation).unwrap();
    assert_eq!(predict(&straight.regressor), predict(&resumed.regressor));
}

#[test]
fn a_training_file_may_draw_its_images() {
    let here = tempfile::tempdir().unwrap();
    let provenance = Provenance::start("response", String::new(), Some(3));
    let response = here.path().join("r.h5");
    ferrostem::storage::responses::write_response(
        &response,
        &lesson().1,
        &provenance.finished(),
        false,
    )
    .unwrap();
    let emulated = EMULATED
        .replace("[textures", "[emulated.textures")
        .replace("count = 300", "count = 60");
    let text = |memory: &str| {
        format!(
            "seed = 1\n{memory}[subimages]\nmode = \"centred_b\"\nwindow_angstrom = 7.2\nsampling_angstrom = 0.3\n[held_out]\nvalidation = 30\n\
             calibration = 30\ntest = 30\n[model]\nblocks = [[4], [4]]\nhidden = 8\nauxiliary = [\"tilt\", \"thickness\"]\n[training]\nepochs = 2\nbatch = 16\nensemble = 1\n\
             [emulated]\nresponse = \"r.h5\"\n{emulated}"
        )
    };
    let file = here.path().join("train.toml");
    let run = |memory: &str| {
        fs::write(&file, text(memory)).unwrap();
        let output = here.path().join("model");
        experiment::train(&Source::read(&file)?, &output, true, false, &quiet()).map(|()| output)
    };
    let model = Regressor::load(&run("").unwrap()).unwrap();
    assert_eq!(model.description().auxiliary_scales.len(), 3);
    assert_eq!(model.description().conformal.samples, 30);
    let table = fs::read_to_string(here.path().join("model/evaluation.csv")).unwrap();
    assert!(table.lines().count() > 2, "tilts are known: {table}");
    let message = run("memory_mib = 0.1\n").unwrap_err().to_string();
    assert!(
        message.contains("emulated.count: got 60 sub-images"),
        "{message}"
    );
    let both = fs::read_to_string(&file)
        .unwrap()
        .replace("memory_mib = 0.1", "dataset = \"d.h5\"");
    fs::write(&file, both).unwrap();
    let message = refusal(ferrostem(here.path()).args(["check", "train.toml"]));
    assert!(
        message.contains("dataset: got beside [emulated]"),
        "{message}"
    );
}

#[test]
fn what_cannot_be_learnt_from_is_refused() {
    let here = tempfile::tempdir().unwrap();
    fs::copy(CENTRED.path().join("data.h5"), here.path().join("data.h5")).unwrap();
    let message = |settings: &str| {
        make_model(here.path(), "m", settings)
            .unwrap_err()
            .to_string()
    };
    let tilt = MODEL.replace("hidden = 32\n", "hidden = 32\nauxiliary = [\"tilt\"]\n");
    assert!(
        message(&tilt).contains("got no number for tilt"),
        "{}",
        message(&tilt)
    );
    let resume = ferrostem(here.path())
        .args(["train", "m.toml", "-o", "m", "--resume"])
        .output()
        .unwrap();
    assert_eq!(resume.status.code(), Some(2));
    let start = format!("start = \"nowhere\"\n{MODEL}");
    assert!(message(&start).contains("nowhere"));
    let wrong = format!("{MODEL}[training.augmentation]\nblur_fwhm_angstrom = [0.5, 50.0]\n");
    assert!(message(&wrong).contains("training.augmentation.blur_fwhm_angstrom"));
}

/// Writes a dataset of `count` windows of flat noise in the parts train, validation, test, train …, with targets `target(n)`.
fn plain_data(path: &Path, parts: &[Split], target: impl Fn(usize) -> [f32; 2]) {
    let info = DatasetInfo {
        mode: "centred_b".to_owned(),
        window_angstrom: 3.0,
        sampling_angstrom: 0.25,
        shape: [12, 12],
    };
    let count = parts.len();
    let mut rng = stream(2, "plain", 0);
    let pixels =
        ndarray::Array4::from_shape_fn((count, 1, 12, 12), |_| rng.random_range(-1.0..1.0));
    let targets = Array2::from_shape_fn((count, 2), |(n, axis)| target(n)[axis]);
    let mut writer = DatasetWriter::create(path, &info, true).unwrap();
    writer
        .append(&SubImages {
            subimages: pixels.view(),
            targets: targets.view(),
            centres: &vec![[0.0; 2]; count],
            image: &vec![0; count],
            split: parts,
            circumstances: &vec![Circumstance::default(); count],
        })
        .unwrap();
    writer
        .finish(&Provenance::start("dataset", String::new(), None))
        .unwrap();
}

const SMALL: &str =
    "[model]\nblocks = [[4], [4]]\nhidden = 8\n[training]\nepochs = 2\nbatch = 16\nensemble = 1\n";

#[test]
fn datasets_with_holes_are_refused_and_poor_ones_are_learnt_from() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("data.h5");
    let both = [Split::Train, Split::Validation];
    let train = |settings: &str| make_model(here.path(), "m", settings);
    let refused = |settings: &str| train(settings).unwrap_err().to_string();

    let thirty: Vec<Split> = (0..30).map(|n| both[n % 2]).collect();
    plain_data(&path, &thirty, |n| {
        [1.0, if n == 6 { f32::NAN } else { 2.0 }]
    });
    let message = refused(SMALL);
    assert!(
        message.contains("data.h5: sub-image 6: got no number for D"),
        "{message}"
    );

    plain_data(&path, &[Split::Train; 5], |_| [1.0, 2.0]);
    let message = refused(SMALL);
    assert!(
        message.contains("the validation samples: got none"),
        "{message}"
    );
    plain_data(&path, &[Split::Validation; 5], |_| [1.0, 2.0]);
    let message = refused(SMALL);
    assert!(
        message.contains("the training samples: got none"),
        "{message}"
    );

    let counts = format!("{SMALL}[training.augmentation]\ncounts_per_angstrom2 = [1e3, 1e4]\n");
    plain_data(&path, &thirty, |n| [n as f32, 2.0]);
    let message = refused(&counts);
    assert!(
        message.contains("augmentation.counts_per_angstrom2"),
        "{message}"
    );

    // One sub-image in each part; all targets alike; all zero.
    for (parts, target) in [
        (both.to_vec(), [3.0, -1.0]),
        (thirty.clone(), [3.0, -1.0]),
        (thirty, [0.0, 0.0]),
    ] {
        plain_data(&path, &parts, |_| target);
        let model = Regressor::load(&train(SMALL).unwrap()).unwrap();
        let data = Dataset::open(&path).unwrap();
        let filed = Filed::new(&data, data.indices(Split::Train), 1e6, &[]).unwrap();
        let (found, _) = model.predict_supply(&filed).unwrap();
        assert!(found.mean.iter().chain(&found.sigma).all(|v| v.is_finite()));
    }
}

#[test]
fn models_of_another_version_or_cut_off_are_refused_by_file() {
    let here = tempfile::tempdir().unwrap();
    for name in entries(&CENTRED.path().join("model")) {
        fs::copy(
            CENTRED.path().join("model").join(&name),
            here.path().join(&name),
        )
        .unwrap();
    }
    assert!(Regressor::load(here.path()).is_ok());
    for name in [
        "familiar.safetensors",
        "weights-1.safetensors",
        "model.toml",
    ] {
        let path = here.path().join(name);
        let whole = fs::read(&path).unwrap();
        for keep in [0, 7, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..keep]).unwrap();
            match Regressor::load(here.path()) {
                Err(error) => assert!(error.to_string().contains(name), "{name}: {error}"),
                // A settings file that lacks its last byte, the end of a line, is whole.
                Ok(_) => assert!(
                    name == "model.toml" && keep == whole.len() - 1,
                    "{name}, {keep} bytes"
                ),
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    let path = here.path().join("model.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replacen("schema_version = 1", "schema_version = 99", 1),
    )
    .unwrap();
    let message = Regressor::load(here.path()).unwrap_err().to_string();
    assert!(
        message.contains("schema_version: got 99; allowed: 1"),
        "{message}"
    );
}

/// Models of older versions know no circles, and no training data.
#[test]
fn a_model_without_circles_still_predicts() {
    let here = tempfile::tempdir().unwrap();
    for name in ["weights-0.safetensors", "weights-1.safetensors"] {
        fs::copy(
            CENTRED.path().join("model").join(name),
            here.path().join(name),
        )
        .unwrap();
    }
    let text = fs::read_to_string(CENTRED.path().join("model/model.toml")).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    for key in ["sigma_scale", "calibrated_on", "conformal", "familiarity"] {
        assert!(table.remove(key).is_some(), "{key}");
    }
    fs::write(here.path().join("model.toml"), table.to_string()).unwrap();
    let old = Regressor::load(here.path()).unwrap();
    assert!(flagged(&old, &strange(28)) == 0.0 && old.description().conformal.levels.is_empty());
}

/// A limit on the size of files stands for a full disk: it strikes in the middle of a checkpoint, and asks for no rights.
#[test]
fn a_full_disk_at_a_checkpoint_is_told_and_the_training_goes_on_when_there_is_room() {
    let here = tempfile::tempdir().unwrap();
    let thirty: Vec<Split> = (0..30)
        .map(|n| [Split::Train, Split::Validation][n % 2])
        .collect();
    plain_data(&here.path().join("data.h5"), &thirty, |n| [n as f32, 2.0]);
    let straight = make_model(here.path(), "straight", SMALL).unwrap();
    let limited = format!(
        "trap '' XFSZ; ulimit -f 8; exec '{}' --quiet train straight.toml -o model",
        env!("CARGO_BIN_EXE_ferrostem")
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &limited])
        .current_dir(here.path())
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("model.partial/checkpoint") && message.contains("File too large"),
        "{message}"
    );
    assert!(!here.path().join("model").exists());
    ferrostem(here.path())
        .args(["train", "straight.toml", "-o", "model"])
        .assert()
        .success();
    let weights = |folder: &Path| fs::read(folder.join("weights.safetensors")).unwrap();
    assert_eq!(weights(&straight), weights(&here.path().join("model")));
}
