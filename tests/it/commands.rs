//! The commands as a person runs them: the chain on a small simulated image, bad input, full disks, interruptions.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ferrostem::rng::{Rng, stream};
use ndarray::Array2;

use crate::settings::{ferrostem, refusal};

/// Settings of a simulation of a second.
fn good() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/good/simulation.toml")
}

/// A folder with an image, a dataset and a model, made once.
static CHAIN: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let here = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        ferrostem(here.path()).args(arguments).assert().success();
    };
    let good = good();
    run(&[
        "simulate",
        good.to_str().unwrap(),
        "-o",
        "image.hspy",
        "--set",
        "specimen.cells=[10,8,4]",
        "--set",
        "scan.end_angstrom=[38.6,30.7]",
    ]);
    fs::write(here.path().join("dataset.toml"), DATASET).unwrap();
    fs::write(here.path().join("train.toml"), TRAIN).unwrap();
    run(&["dataset", "dataset.toml", "-o", "dataset.h5"]);
    run(&["train", "train.toml", "-o", "model"]);
    here
});

const DATASET: &str = r#"images = ["image.hspy"]
[subimages]
mode = "grid"
window_angstrom = 6.0
sampling_angstrom = 0.3
stride_angstrom = 1.2
[labels.truth]
"#;

const TRAIN: &str = r#"seed = 3
dataset = "dataset.h5"
[model]
blocks = [[4], [4]]
hidden = 8
[training]
epochs = 3
batch = 16
ensemble = 2
"#;

/// Datasets that a file holds, without its provenance: two files are alike if these bytes are.
fn data_of(path: &Path) -> Vec<u8> {
    let file = ferrostem::storage::hspy::read_images(path).unwrap();
    let mut bytes = Vec::new();
    for detector in &file.detectors {
        bytes.extend(detector.name.as_bytes());
        bytes.extend(detector.data.iter().flat_map(|x| x.to_le_bytes()));
    }
    bytes.extend(format!("{:?}{:?}", file.truth, file.structure).into_bytes());
    bytes
}

pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Every file below a folder whose bytes must repeat: all but provenance and pictures of it.
fn repeatable(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let kind = path
                .extension()
                .and_then(|e| e.to_str())
                .unwrap_or_default()
                .to_owned();
            let bytes = match kind.as_str() {
                "csv" | "safetensors" | "svg" | "png" => fs::read(&path).unwrap(),
                "hspy" => data_of(&path),
                _ => continue,
            };
            found.push((path.strip_prefix(folder).unwrap().to_owned(), bytes));
        }
    }
    found.sort();
    found
}

#[test]
fn the_chain_ends_in_maps_of_both_kinds() {
    let here = CHAIN.path();
    ferrostem(here)
        .args(["columns", "image.hspy", "-o", "map"])
        .assert()
        .success();
    let map = entries(&here.join("map"));
    for file in [
        "columns.csv",
        "polarization.csv",
        "polarization.hspy",
        "columns.png",
        "polarization.svg",
        "histogram.png",
        "truth.txt",
    ] {
        assert!(
            map.iter().any(|name| name == file),
            "{file} is not in {map:?}"
        );
    }
    // The polar cell has D = (20, -10) pm; a thin film shows it within a few pm.
    let vectors =
        ferrostem::storage::tables::read_polarization(&here.join("map/polarization.csv")).unwrap();
    let mean = |axis: usize| {
        vectors.iter().map(|v| v.displacement[axis]).sum::<f64>() / vectors.len() as f64
    };
    assert!(
        (mean(0) - 20.0).abs() < 6.0 && (mean(1) + 10.0).abs() < 6.0,
        "({}, {})",
        mean(0),
        mean(1)
    );
    ferrostem(here)
        .args(["predict", "model", "image.hspy", "-o", "prediction"])
        .assert()
        .success();
    assert!(here.join("prediction/polarization.csv").exists());
    for file in ["image.hspy", "dataset.h5", "model", "map"] {
        ferrostem(here).args(["info", file]).assert().success();
    }
    let again = refusal(ferrostem(here).args(["columns", "image.hspy", "-o", "map"]));
    assert!(
        again.contains("already there") && again.contains("--force"),
        "{again}"
    );
    ferrostem(here)
        .args(["columns", "image.hspy", "-o", "map", "--force"])
        .assert()
        .success();
}

/// The same image whatever the registers, but for rounding; the same bytes if the registers are the same.
#[test]
fn narrower_registers_give_the_same_image() {
    let here = tempfile::tempdir().unwrap();
    let images: Vec<Vec<f32>> = ["avx512", "avx2", "portable", "portable"]
        .iter()
        .enumerate()
        .map(|(number, vectors)| {
            let output = format!("{number}.hspy");
            let good = good();
            let arguments = ["simulate", good.to_str().unwrap(), "-o", &output];
            let mut command = ferrostem(here.path());
            command.env("FERROSTEM_VECTORS", vectors).args(arguments);
            command.assert().success();
            let file = ferrostem::storage::hspy::read_images(&here.path().join(output)).unwrap();
            file.detectors[0].data.iter().copied().collect()
        })
        .collect();
    let peak = images[0]
        .iter()
        .fold(0.0, |most: f32, value| most.max(*value));
    for image in &images[1..] {
        for (a, b) in image.iter().zip(&images[0]) {
            assert!((a - b).abs() < 1e-5 * peak, "{a} {b}");
        }
    }
    assert_eq!(images[2], images[3]);
}

#[test]
fn unknown_registers_are_refused() {
    let here = tempfile::tempdir().unwrap();
    let mut command = ferrostem(here.path());
    command.env("FERROSTEM_VECTORS", "mmx").args(["info", "x"]);
    let text = refusal(&mut command);
    assert!(text.contains("mmx") && text.contains("avx2"), "{text}");
}

#[test]
fn finished_results_are_not_replaced_without_force() {
    let here = CHAIN.path();
    let good = good();
    for arguments in [
        vec!["simulate", good.to_str().unwrap(), "-o", "image.hspy"],
        vec!["dataset", "dataset.toml", "-o", "dataset.h5"],
        vec!["train", "train.toml", "-o", "model"],
    ] {
        let message = refusal(ferrostem(here).args(&arguments));
        assert!(
            message.contains("already there") && message.contains("--force"),
            "{arguments:?}: {message}"
        );
    }
}

#[test]
fn force_replaces_no_input_and_no_foreign_folder() {
    let here = tempfile::tempdir().unwrap();
    fs::copy(
        CHAIN.path().join("image.hspy"),
        here.path().join("image.hspy"),
    )
    .unwrap();
    fs::copy(good(), here.path().join("own.toml")).unwrap();
    fs::create_dir(here.path().join("dear")).unwrap();
    fs::write(here.path().join("dear/keep.txt"), "dear").unwrap();
    for arguments in [
        ["columns", "image.hspy", "-o", "image.hspy", "--force"],
        ["columns", "image.hspy", "-o", "dear", "--force"],
        ["columns", "image.hspy", "-o", ".", "--force"],
        ["simulate", "own.toml", "-o", "own.toml", "--force"],
        ["simulate", "own.toml", "-o", "dear", "--force"],
    ] {
        refusal(ferrostem(here.path()).args(arguments));
        assert_eq!(
            entries(here.path()),
            ["dear", "image.hspy", "own.toml"],
            "{arguments:?}"
        );
    }
    assert!(here.path().join("dear/keep.txt").exists() && here.path().join("image.hspy").is_file());
    assert!(fs::read(here.path().join("own.toml")).unwrap() == fs::read(good()).unwrap());
}

#[test]
fn silly_requests_are_refused_before_memory_is_asked_for() {
    let here = tempfile::tempdir().unwrap();
    let good = good();
    let check = |sets: &[&str]| {
        let mut command = ferrostem(here.path());
        command.arg("check").arg(&good);
        for set in sets {
            command.args(["--set", set]);
        }
        refusal(&mut command)
    };
    assert!(check(&["specimen.cells=[4096,4096,4096]"]).contains("atoms"));
    let fine = [
        "grid.sampling_angstrom=0.005",
        "multislice.oversampling=8",
        "specimen.cells=[64,64,4]",
    ];
    assert!(check(&fine).contains("GiB"));
    assert!(check(&["scan.end_angstrom=[1e300,1]"]).contains("scan"));
}

#[test]
fn windows_larger_than_the_image_are_refused() {
    let here = CHAIN.path();
    let message = refusal(ferrostem(here).args([
        "dataset",
        "dataset.toml",
        "-o",
        "big.h5",
        "--set",
        "subimages.window_angstrom=60",
    ]));
    assert!(message.contains("window"), "{message}");
    let message = refusal(ferrostem(here).args([
        "dataset",
        "dataset.toml",
        "-o",
        "none.h5",
        "--set",
        "split.train_fraction=20",
    ]));
    assert!(
        message.contains("dataset.toml") && message.contains("split.train_fraction"),
        "{message}"
    );
    assert!(!here.join("big.h5").exists());
}

#[test]
fn images_without_calibration_or_atoms_are_refused() {
    let here = tempfile::tempdir().unwrap();
    let write = |name: &str, image: &Array2<f32>| {
        ndarray_npy::write_npy(here.path().join(name), image).unwrap();
    };
    let mut rng = stream(5, "noise", 0);
    write("flat.npy", &Array2::from_elem((200, 200), 7.0));
    write(
        "noise.npy",
        &Array2::from_shape_simple_fn((200, 200), || rng.random::<f32>()),
    );
    write(
        "tiny.npy",
        &Array2::from_shape_fn((6, 6), |(i, j)| (i * j) as f32),
    );
    let columns = |arguments: &[&str]| {
        refusal(
            ferrostem(here.path())
                .arg("columns")
                .args(arguments)
                .args(["-o", "map"]),
        )
    };
    let message = columns(&["noise.npy"]);
    assert!(
        message.contains("noise.npy") && message.contains("--sampling"),
        "{message}"
    );
    let message = columns(&["flat.npy", "--sampling", "0.2"]);
    assert!(
        message.contains("no atom columns") && message.contains("alike"),
        "{message}"
    );
    let message = columns(&["noise.npy", "--sampling", "0.2"]);
    assert!(message.contains("no atom columns"), "{message}");
    columns(&["tiny.npy", "--sampling", "0.2"]);
    let message = columns(&["flat.npy", "--sampling", "200"]);
    assert!(message.contains("0.001 to 10 Å"), "{message}");
    let message = columns(&["missing.npy"]);
    assert!(message.contains("missing.npy"), "{message}");
    assert_eq!(
        entries(here.path()),
        ["flat.npy", "noise.npy", "tiny.npy"],
        "nothing half-written"
    );
}

#[test]
fn truncated_files_are_refused_by_name() {
    let here = tempfile::tempdir().unwrap();
    let whole = fs::read(CHAIN.path().join("image.hspy")).unwrap();
    for part in [10, 100, 5000, whole.len() / 2, whole.len() - 1] {
        fs::write(here.path().join("cut.hspy"), &whole[..part]).unwrap();
        for arguments in [
            ["columns", "cut.hspy", "-o", "map"].as_slice(),
            &["info", "cut.hspy"],
        ] {
            let message = refusal(ferrostem(here.path()).args(arguments));
            assert!(message.contains("cut.hspy"), "{part}: {message}");
        }
    }
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/realdata/BTO_crystal_2.dm4");
    match fs::read(&real) {
        Ok(whole) => {
            for part in [3, 40, 4000, whole.len() / 2, whole.len() - 5000] {
                fs::write(here.path().join("cut.dm4"), &whole[..part]).unwrap();
                let message =
                    refusal(ferrostem(here.path()).args(["columns", "cut.dm4", "-o", "map"]));
                assert!(message.contains("cut.dm4"), "{part}: {message}");
            }
        }
        Err(_) => println!(
            "SKIPPED: {} is not here, truncated dm4 files were not tried",
            real.display()
        ),
    }
    assert!(!here.path().join("map").exists());
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let here = tempfile::tempdir().unwrap();
    let small = here.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&small)
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        println!("SKIPPED: no right to mount a small tmpfs, the full disk was not tried");
        return;
    }
    let image = CHAIN.path().join("image.hspy");
    let good = good();
    let mut failed = Vec::new();
    for arguments in [
        vec!["columns", image.to_str().unwrap(), "-o", "small/map"],
        vec![
            "simulate",
            good.to_str().unwrap(),
            "-o",
            "small/image.hspy",
            "--set",
            "scan.step_angstrom=0.1",
        ],
    ] {
        let message = refusal(ferrostem(here.path()).args(&arguments));
        failed.push((message, entries(&small)));
    }
    let unmounted = std::process::Command::new("umount")
        .arg("-l")
        .arg(&small)
        .status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    for (message, left) in failed {
        assert!(message.contains("No space left"), "{message}");
        assert!(
            left.iter().all(|name| name.ends_with(".partial")),
            "{left:?}"
        );
    }
}

/// Starts a command with its own standard error, to be interrupted.
fn start(folder: &Path, arguments: &[&str]) -> Child {
    std::process::Command::new(env!("CARGO_BIN_EXE_ferrostem"))
        .current_dir(folder)
        .args(arguments)
        .args(["--quiet", "--threads", "1"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Interrupts a command as soon as `begun` says that some of its work is on disk.
fn interrupt_when(child: &mut Child, begun: impl Fn() -> bool) {
    let start = Instant::now();
    while !begun() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the work ended before it could be interrupted"
        );
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "no work appeared on disk"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    // The shell's own kill: a small system has no program of that name.
    let kill = format!("kill -INT {}", child.id());
    assert!(
        std::process::Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

fn count_below(folder: &Path, name: &str) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                count_below(&path, name)
            } else {
                usize::from(path.to_string_lossy().contains(name))
            }
        })
        .sum()
}

#[test]
fn an_interrupted_simulation_ends_with_the_same_data() {
    let here = tempfile::tempdir().unwrap();
    let good = good();
    let arguments = |output| {
        vec![
            "simulate",
            good.to_str().unwrap(),
            "-o",
            output,
            "--set",
            "scan.step_angstrom=0.2",
        ]
    };
    ferrostem(here.path())
        .args(arguments("whole.hspy"))
        .assert()
        .success();
    let mut child = start(here.path(), &arguments("cut.hspy"));
    let parts = here.path().join("cut.hspy.partial");
    interrupt_when(&mut child, || count_below(&parts, "part-") >= 2);
    assert!(!here.path().join("cut.hspy").exists());
    ferrostem(here.path())
        .args(arguments("cut.hspy"))
        .assert()
        .success();
    assert!(data_of(&here.path().join("cut.hspy")) == data_of(&here.path().join("whole.hspy")));
    for shard in ["2/3", "1/3", "3/3"] {
        ferrostem(here.path())
            .args(arguments("shards.hspy"))
            .args(["--shard", shard])
            .assert()
            .success();
    }
    ferrostem(here.path())
        .args(arguments("shards.hspy"))
        .args(["--threads", "3"])
        .assert()
        .success();
    assert!(data_of(&here.path().join("shards.hspy")) == data_of(&here.path().join("whole.hspy")));
    assert_eq!(
        entries(here.path()),
        ["cut.hspy", "shards.hspy", "whole.hspy"]
    );
}

#[test]
fn an_interrupted_training_ends_with_the_same_weights() {
    let here = tempfile::tempdir().unwrap();
    fs::copy(
        CHAIN.path().join("dataset.h5"),
        here.path().join("dataset.h5"),
    )
    .unwrap();
    fs::write(
        here.path().join("train.toml"),
        TRAIN.replace("epochs = 3", "epochs = 60"),
    )
    .unwrap();
    let arguments = |output| vec!["train", "train.toml", "-o", output];
    let nothing = refusal(
        ferrostem(here.path())
            .args(arguments("cut"))
            .arg("--resume"),
    );
    assert!(
        nothing.contains("--resume") && nothing.contains("an interrupted training"),
        "{nothing}"
    );
    ferrostem(here.path())
        .args(arguments("whole"))
        .assert()
        .success();
    let mut child = start(here.path(), &arguments("cut"));
    let partial = here.path().join("cut.partial");
    interrupt_when(&mut child, || count_below(&partial, "toml") >= 1);
    assert!(!here.path().join("cut").exists());
    ferrostem(here.path())
        .args(arguments("cut"))
        .assert()
        .success();
    assert!(repeatable(&here.path().join("cut")) == repeatable(&here.path().join("whole")));
    assert!(!partial.exists());
}

#[test]
fn an_interrupted_study_ends_with_the_same_results() {
    let here = tempfile::tempdir().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/cross-composition.toml");
    let arguments = |output| vec!["run", file.to_str().unwrap(), "--smoke", "-o", output];
    ferrostem(here.path())
        .args(arguments("whole"))
        .assert()
        .success();
    let mut child = start(here.path(), &arguments("cut"));
    let partial = here.path().join("cut.partial");
    interrupt_when(&mut child, || count_below(&partial, "sm0-") >= 1);
    ferrostem(here.path())
        .args(arguments("cut"))
        .assert()
        .success();
    let (cut, whole) = (
        repeatable(&here.path().join("cut")),
        repeatable(&here.path().join("whole")),
    );
    assert!(whole.len() > 10);
    assert!(cut == whole);
    let report = fs::read_to_string(here.path().join("cut/report.html")).unwrap();
    assert!(report.contains("SMOKE"));
}
