//! Plans and whole simulations: what is resolved, what it costs, what is written.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use ferrostem::multislice::WindowedSettings;
use ferrostem::progress::Reporter;
use ferrostem::settings::Source;
use ferrostem::simulation::{Plan, SimulationSettings, simulate};
use ferrostem::storage::{hspy, micrograph};

/// The good simulation with changes.
fn source(changes: &[&str]) -> Source {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/good/simulation.toml");
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    let source = Source::read(&file).unwrap();
    source.with_overrides(&changes).unwrap()
}

fn plan(changes: &[&str]) -> Plan {
    let source = source(changes);
    let settings: SimulationSettings = source.parse().unwrap();
    Plan::new(&settings, &source).unwrap()
}

const CAMERA: &str = "detectors.camera.pixelated.outer_mrad=48.0";

/// What is left out is kept with the results as if it had been said: unfinished parts are those of these numbers.
#[test]
fn the_defaults_of_windows_are_resolved() {
    let windowed = "multislice.method=\"windowed\"";
    let silent = plan(&[windowed]);
    let resolved = silent.settings.multislice.windowed.clone();
    assert_eq!(resolved, Some(WindowedSettings::default()));
    let said = plan(&[windowed, "multislice.windowed.border_intensity=0.002"]);
    assert_eq!(silent.key(&[]), said.key(&[]));
    let other = plan(&[windowed, "multislice.windowed.border_intensity=0.003"]);
    assert_ne!(silent.key(&[]), other.key(&[]));
    assert_eq!(plan(&[]).settings.multislice.windowed, None);
}

/// 61 × 61 pixels of 1.58 mrad within 48 mrad, for 45 × 45 probes. 16 bytes each for the 495 probes of a unit, and as much for
/// every thread; 4 bytes each on disk.
#[test]
fn patterns_are_counted() {
    let (without, with) = (plan(&[]), plan(&[CAMERA]));
    let pixels = with.cameras[0].1.shape().iter().product::<usize>() as u64;
    assert_eq!(pixels, 61 * 61);
    let more = with.work().unwrap().bytes - without.work().unwrap().bytes;
    let threads = rayon::current_num_threads() as u64;
    assert_eq!(more, 16 * (11 * 45 + threads) * pixels);
    let on_disk = (45 * 45 * 4 * pixels) as f64 / f64::from(1 << 20);
    let text = with.describe().unwrap();
    for part in [
        "camera: 61 × 61 px of 1.582 × 1.582 mrad (x × y)",
        &format!("{on_disk:.1} MiB of 4D data"),
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!without.describe().unwrap().contains("4D"));
}

/// The law that ties the file together: a pattern summed over an annulus is the annular image, for every tilt and thickness, in the
/// mean over phonon configurations. Single precision on disk rounds each of some hundred numbers by 6e-8.
#[test]
fn patterns_on_disk_sum_to_the_image() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("image.hspy");
    let source = source(&[
        CAMERA,
        "tilts_mrad=[[0.0, 0.0], [6.0, -2.0]]",
        "multislice.exit_thicknesses_nm=[0.79286, 1.58572]",
        "phonons={ configurations = 3, rms_angstrom = { Bi = 0.08, Fe = 0.07, O = 0.09 } }",
        "scan.step_angstrom=1.6",
        "acquisition.source_fwhm_angstrom=0.0",
        "acquisition.dose_per_angstrom2=1e9",
    ]);
    let settings: SimulationSettings = source.parse().unwrap();
    let quiet = Reporter::quiet();
    simulate(&settings, &source, &path, false, None, &quiet).unwrap();
    let file = hspy::read_images(&path).unwrap();
    let named = |stack: &&hspy::DetectorStack| stack.name == "haadf_ideal";
    let image = &file.detectors.iter().find(named).unwrap().data;
    let patterns = micrograph::open(&path, Some("camera")).unwrap();
    assert_eq!(patterns.frames, image.len());
    let plan = plan(&[CAMERA]);
    let camera = &plan.cameras[0].1;
    let (offset, step) = (camera.offset_mrad(), camera.step_mrad());
    for (index, expected) in image.iter().enumerate() {
        let angle = |(y, x): (usize, usize)| {
            let k = [0, 1].map(|axis| offset[axis] + step[axis] * [y, x][axis] as f64);
            k[0].hypot(k[1])
        };
        let pattern = patterns.frame(index).unwrap();
        let inside = pattern
            .indexed_iter()
            .filter(|(place, _)| (35.0..48.0).contains(&angle(*place)));
        let sum: f64 = inside.map(|(_, value)| f64::from(*value)).sum();
        assert!(
            (sum / f64::from(*expected) - 1.0).abs() < 1e-6,
            "{index}: {sum} {expected}"
        );
    }
}
