//! Bad settings as data: each file of `tests/configs/bad/` holds its expected message after `#^`, below the line it concerns.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// The program, quiet, in a folder.
pub(crate) fn ferrostem(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrostem"));
    command.current_dir(folder).arg("--quiet");
    command
}

/// What a command that must fail with exit code 2 writes to standard error.
pub(crate) fn refusal(command: &mut Command) -> String {
    let output = command.assert().code(2).get_output().clone();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("error: "), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

pub(crate) fn configs(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_bad_setting_is_refused_with_its_line_and_what_is_allowed() {
    let files = configs("tests/configs/bad");
    assert!(files.len() >= 15);
    let here = tempfile::tempdir().unwrap();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let first = lines
            .iter()
            .position(|line| line.starts_with("#^ "))
            .unwrap();
        let expected: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("#^ "))
            .collect();
        for command in [["check"].as_slice(), &["simulate", "-o", "image.hspy"]] {
            let message = refusal(
                ferrostem(here.path())
                    .arg(command[0])
                    .arg(&file)
                    .args(&command[1..]),
            );
            for part in &expected {
                assert!(
                    message.contains(part),
                    "{}: expected `{part}` in\n{message}",
                    file.display()
                );
            }
            // Ours say `file:line:`, the parser's `line N`.
            let place = [format!(":{first}:"), format!("line {first},")];
            assert!(
                place.iter().any(|p| message.contains(p)),
                "{}: line {first} in\n{message}",
                file.display()
            );
        }
    }
    assert_eq!(
        fs::read_dir(here.path()).unwrap().count(),
        0,
        "a refused command leaves nothing"
    );
}

#[test]
fn every_shipped_simulation_is_checked_whole() {
    let here = tempfile::tempdir().unwrap();
    for folder in ["simulations", "tests/configs/good", "experiments"] {
        for file in configs(folder) {
            ferrostem(here.path())
                .arg("check")
                .arg(&file)
                .assert()
                .success();
        }
    }
}

#[test]
fn an_override_is_checked_like_the_file() {
    let here = tempfile::tempdir().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/good/simulation.toml");
    let check = |set: &str| {
        refusal(
            ferrostem(here.path())
                .arg("check")
                .arg(&file)
                .args(["--set", set]),
        )
    };
    assert!(check("probe.energy_kev=300000").contains("probe.energy_kev: got 300000"));
    assert!(check("probe.nonsense=1").contains("unknown field `nonsense`"));
    assert!(check("probe.energy_kev").contains("key=value"));
    assert!(check("seed.deeper=1").contains("below a section"));
}

/// What is refused for the field of a probe is allowed on a larger one, and the other way round: two cells have no pixel in this
/// ring, four have.
#[test]
fn a_detector_is_judged_by_the_field_of_the_engine() {
    let here = tempfile::tempdir().unwrap();
    let bad = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/bad");
    for (file, cure) in [
        ("bloch-waves", "multislice.bloch.points=4"),
        ("prism", "multislice.prism.interpolation=1"),
    ] {
        let file = bad.join(format!("detector-between-pixels-of-{file}.toml"));
        let mut check = ferrostem(here.path());
        check.arg("check").arg(&file);
        assert!(refusal(&mut check).contains("no pixel"));
        check.args(["--set", cure]).assert().success();
    }
}
