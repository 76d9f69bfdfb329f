//! Round trips, damage, keys, and how large files are.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::path::PathBuf;

use super::*;
use crate::crystal::element;
use crate::crystal::{Structure, Sublattice};
use crate::emulator::{Certificate, Comparison, Frame, Painter, TrainingSettings};
use crate::emulator::{Order, Sites};
use crate::multislice::{
    AnnularDetector, Aperture, Detector, Precision, ProbeSettings, ScatteringTable, ThermalSettings,
};
use crate::rng::{Rng, stream};

const EDGE: f64 = 3.965;

fn annulus(inner_mrad: f64, outer_mrad: f64) -> Detector {
    Detector::Annular(AnnularDetector {
        inner_mrad,
        outer_mrad,
    })
}

fn microscope() -> Microscope {
    let rms = [("Bi", 0.08), ("Fe", 0.06), ("O", 0.07), ("Sm", 0.08)];
    Microscope {
        pixels_per_cell: 40,
        slices_per_cell: 2,
        oversampling: 1,
        precision: Precision::F32,
        scattering_factors: ScatteringTable::Lobato,
        thermal_diffuse: ThermalSettings {
            rms_angstrom: rms.map(|(name, rms)| (name.to_owned(), rms)).into(),
            count_elastic: true,
        },
        probe: ProbeSettings {
            energy_kev: 200.0,
            semiangle_mrad: 30.0,
            aperture: Aperture::Soft,
            aberrations: Default::default(),
            focal_spread: None,
        },
        detectors: BTreeMap::from([
            ("haadf".to_owned(), annulus(80.0, 200.0)),
            ("maadf".to_owned(), annulus(50.0, 80.0)),
        ]),
    }
}

/// Smooth pictures of norm one, and coefficients that are smooth over depth and fall from picture to picture, about as learnt ones do.
fn kernel(kind: Kind, order: Order, depths: &[usize], pictures: usize) -> Kernel {
    let mut rng = stream(7, "test", kind as u64);
    let mut uniform = |from: f64, to: f64| from + (to - from) * rng.random::<f64>();
    let mut images = Array2::<f32>::zeros((pictures, SIDE * SIDE));
    for mut image in images.outer_iter_mut() {
        let blobs: Vec<[f64; 4]> = (0..12)
            .map(|_| {
                [
                    uniform(0.0, 91.0),
                    uniform(0.0, 91.0),
                    uniform(4.0, 9.0),
                    uniform(-1.0, 1.0),
                ]
            })
            .collect();
        for (n, pixel) in image.iter_mut().enumerate() {
            let (x, y) = ((n % SIDE) as f64, (n / SIDE) as f64);
            let value = |[u, v, w, h]: &[f64; 4]| {
                h * (-((x - u).powi(2) + (y - v).powi(2)) / (2.0 * w * w)).exp()
            };
            *pixel = blobs.iter().map(value).sum::<f64>() as f32;
        }
        let norm = image.iter().map(|x| x * x).sum::<f32>().sqrt();
        image.mapv_inplace(|x| x / norm);
    }
    let terms = degrees(order, kind).iter().sum::<usize>();
    let mut coefficients = Array3::zeros((depths.len(), terms, pictures));
    for term in 0..terms {
        let size = if term == 0 {
            1.0
        } else {
            0.1 * 10.0_f64.powf(uniform(-3.0, 0.0))
        };
        for picture in 0..pictures {
            let size = size * (-(picture as f64) / 8.0).exp() * uniform(-1.0, 1.0);
            let (period, phase) = (uniform(12.0, 80.0), uniform(0.0, TAU));
            for (depth, &cells) in depths.iter().enumerate() {
                let cells = cells as f64;
                let wave = 1.0 + 0.7 * (TAU * cells / period + phase).cos();
                coefficients[(depth, term, picture)] = (0.01 * cells * size * wave) as f32;
            }
        }
    }
    Kernel {
        order,
        images,
        coefficients,
    }
}

fn response(order: Order, depths: std::ops::RangeInclusive<usize>, pictures: usize) -> Response {
    let depths: Vec<usize> = depths.collect();
    let comparison = Comparison {
        texture: "vortex".into(),
        tilt_mrad: [5.0, 0.0],
        thickness_nm: 20.0,
        rms_percent: 0.21,
        worst_percent: 1.25,
        blurred_rms_percent: 0.1,
        blurred_worst_percent: 0.5,
        displacement_pm: 0.125,
        cells: 100,
    };
    Response {
        microscope: microscope(),
        detector: "haadf".into(),
        edge: EDGE,
        training: TrainingSettings::default(),
        kernels: Kind::ALL.map(|kind| kernel(kind, order, &depths, pictures)),
        depths,
        errors_by_order: [vec![0.01, 0.002], vec![0.02, f64::NAN], vec![]],
        certificate: Certificate {
            comparisons: vec![comparison],
            ..Certificate::default()
        },
    }
}

fn small() -> Response {
    response(Order::LADDER[0], 9..=12, 3)
}

fn provenance() -> Provenance {
    Provenance::start("simulate", "a = 1".into(), Some(3))
}

fn written(folder: &tempfile::TempDir, response: &Response) -> PathBuf {
    let path = folder.path().join("response.h5");
    write_response(&path, response, &provenance(), true).unwrap();
    path
}

fn refused(path: &Path, parts: &[&str]) {
    let error = read_response(path).unwrap_err().to_string();
    for part in [&path.display().to_string()[..]].iter().chain(parts) {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

/// A structure with columns out of place by 0.15 Å rms, 15 % of A sites being Sm.
fn sites(cells: usize, depth: usize) -> Sites {
    use Sublattice::{A, B, O};
    let mut rng = stream(8, "test", 0);
    let mut structure = Structure {
        positions: Vec::new(),
        numbers: Vec::new(),
        cell: [cells, cells, depth].map(|n| n as f64 * EDGE),
        sublattices: [A, B, O, O, O].repeat(cells * cells * depth),
    };
    let ideal = [[0.0, 0.0], [0.5, 0.5], [0.0, 0.5], [0.5, 0.0], [0.5, 0.5]];
    for column in 0..cells * cells {
        let shifts = ideal.map(|_| [0, 1].map(|_| 0.5 * (rng.random::<f64>() - 0.5)));
        for k in 0..depth {
            for (atom, place) in ideal.iter().enumerate() {
                let x = ((column % cells) as f64 + place[0]) * EDGE + shifts[atom][0];
                let y = ((column / cells) as f64 + place[1]) * EDGE + shifts[atom][1];
                structure.positions.push([x, y, (k as f64 + 0.5) * EDGE]);
                let doped = atom == 0 && rng.random::<f64>() < 0.15;
                structure.numbers.push(if doped { element::SM } else { 8 });
            }
        }
    }
    Sites::new(&structure, [cells, cells, depth], depth).unwrap()
}

fn drawn(response: &Response, depth: usize) -> Array2<f32> {
    let frame = Frame {
        start: [0.0; 2],
        step: [0.2; 2],
        points: [60, 60],
    };
    let painter = Painter::new(response, depth, frame.step).unwrap();
    painter.paint(&sites(4, depth), &frame, &|_| [6.0, -4.0])
}

/// Root mean square and largest difference of what is drawn from a response and from its file, in parts of the contrast.
fn errors(before: &Response, after: &Response, depth: usize) -> [f64; 2] {
    let (a, b) = (drawn(before, depth), drawn(after, depth));
    let extreme = |of: fn(f32, f32) -> f32| a.iter().copied().reduce(of).unwrap();
    let contrast = f64::from(extreme(f32::max) - extreme(f32::min));
    let off: Vec<f64> = a
        .iter()
        .zip(&b)
        .map(|(a, b)| f64::from((a - b).abs()))
        .collect();
    let squares: f64 = off.iter().map(|x| x * x).sum();
    let worst = off.iter().copied().fold(0.0, f64::max);
    [
        (squares / off.len() as f64).sqrt() / contrast,
        worst / contrast,
    ]
}

/// What is read is what was written but for rounding, and from then on nothing changes, not even a byte of the data.
#[test]
fn a_response_is_rounded_once() {
    let here = tempfile::tempdir().unwrap();
    let first = response(Order::LADDER[3], 9..=14, 12);
    let path = written(&here, &first);
    let mut once = read_response(&path).unwrap();
    let digest = hdf::open(&path).unwrap().text("digest");
    let error = write_response(&path, &once, &provenance(), false).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }));
    write_response(&path, &once, &provenance(), true).unwrap();
    assert_eq!(hdf::open(&path).unwrap().text("digest"), digest);
    let mut twice = read_response(&path).unwrap();
    assert!(once.errors_by_order[1][1].is_nan() && twice.errors_by_order[1][1].is_nan());
    once.errors_by_order[1][1] = 0.0;
    twice.errors_by_order[1][1] = 0.0;
    assert_eq!(once, twice);
    assert_eq!(
        (&once.microscope, &once.training),
        (&first.microscope, &first.training)
    );
    assert_eq!(
        (&once.certificate, once.edge),
        (&first.certificate, first.edge)
    );
    // What rounding promises, 1e-4 at the worst pixel; and it does round, or the bound would say nothing.
    for depth in [9, 14] {
        let [rms, worst] = errors(&first, &once, depth);
        assert!(rms > 1e-8 && worst < 1e-4, "{rms} {worst}");
    }
    let text = crate::storage::info::describe(&path).unwrap();
    for part in [
        "cell 3.965 Å, thermal motion Bi 0.08 Å",
        "200 kV, 30 mrad; 40 px and 2 slices per cell",
        "haadf, 80 to 200 mrad",
        "3.57 to 5.55 nm, 6 depths",
        "579 terms × 12 pictures, order 4 of 8",
        "1 comparisons, at worst 0.21 % rms, 1.25 % at a pixel, D 0.12 pm",
        "`simulate`",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let bytes = std::fs::read(&path).unwrap();
    let from_bytes = read_response_bytes("BFO", &bytes).unwrap();
    assert_eq!(from_bytes.kernels, once.kernels);
    let error = read_response_bytes("BFO", &bytes[..5000])
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("BFO: "), "{error}");
}

#[test]
fn damaged_files_are_refused() {
    let here = tempfile::tempdir().unwrap();
    let good = written(&here, &small());
    let (bytes, whole) = (std::fs::read(&good).unwrap(), read_response(&good).unwrap());
    let path = here.path().join("damaged.h5");
    for part in [0.3, 0.6, 0.99] {
        std::fs::write(&path, &bytes[..(bytes.len() as f64 * part) as usize]).unwrap();
        refused(
            &path,
            &["truncated file", "allowed: a whole, readable HDF5 object"],
        );
    }
    // Wherever a byte flips, before the library can stumble over it; at the end it is the seal.
    for place in (0..bytes.len())
        .step_by(997)
        .chain(bytes.len() - 90..bytes.len())
    {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        std::fs::write(&path, damaged).unwrap();
        let expected = if place < 8 {
            "not HDF5"
        } else {
            "the file is damaged: remove it"
        };
        refused(&path, &[expected]);
    }
    assert_eq!(read_response(&good).unwrap().kernels, whole.kernels);
}

/// Numbers that were changed with HDF5's own means are found by the digest, a key of something else by the microscope.
#[test]
fn changed_numbers_and_keys_are_refused() {
    let here = tempfile::tempdir().unwrap();
    let path = written(&here, &small());
    let file = hdf5::File::open_rw(&path).unwrap();
    let numbers = file.dataset("kernels/B/coefficients").unwrap();
    let mut values = numbers.read_raw::<u32>().unwrap();
    values[5] += 1;
    numbers.write_raw(&values).unwrap();
    drop((numbers, file));
    seal::seal(&path).unwrap();
    refused(
        &path,
        &[
            "/@digest: got data of BLAKE3 ",
            "the file is damaged: remove it",
        ],
    );

    let path = written(&here, &small());
    let other = response_key(&microscope(), "maadf", EDGE);
    let file = hdf5::File::open_rw(&path).unwrap();
    let text: hdf5::types::VarLenUnicode = other.parse().unwrap();
    file.attr("key").unwrap().write_scalar(&text).unwrap();
    drop(file);
    seal::seal(&path).unwrap();
    let right = response_key(&microscope(), "haadf", EDGE);
    let got = format!(
        "/@key: got key {other} with a microscope of key {right}; allowed: what was written"
    );
    refused(&path, &[&got]);
}

#[test]
fn foreign_files_are_told_from_responses() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("foreign.h5");
    let wanted = "allowed: a response of the emulator: HDF5 with kind = `ferrostem response`";
    std::fs::write(&path, "no HDF5 at all").unwrap();
    refused(&path, &["got a file that is not HDF5", wanted]);
    std::fs::write(&path, "").unwrap();
    refused(&path, &["got a file that is not HDF5", wanted]);
    for (name, value, got) in [
        (
            "kind",
            "ferrostem dataset",
            "got a file of kind `ferrostem dataset`",
        ),
        ("file_format", "HyperSpy", "got an HDF5 file of HyperSpy"),
        ("title", "x", "got an HDF5 file without a kind"),
        ("kind", KIND, "got a file without its seal at the end"),
    ] {
        let sink = Sink::create(&path, true).unwrap();
        sink.root().set_text(name, value).unwrap();
        sink.finish().unwrap();
        let parts = [got, wanted];
        refused(&path, &parts[..if value == KIND { 1 } else { 2 }]);
    }
    seal::seal(&path).unwrap();
    refused(
        &path,
        &["/@schema: got nothing; allowed: 1; another version"],
    );
    assert!(matches!(read_response(here.path()), Err(Error::Io { .. })));
    assert!(matches!(
        read_response(&here.path().join("none")),
        Err(Error::Io { .. })
    ));
}

/// Responses that could not be drawn are not written, and nothing is left behind.
#[test]
fn what_cannot_be_drawn_is_not_written() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("r.h5");
    type Spoil = fn(&mut Response);
    let bad: [(Spoil, &str); 5] = [
        (
            |r| r.depths[1] = 17,
            "depths: got [9, 17, 11, 12]; allowed: cells, rising by one",
        ),
        (|r| r.detector = "bf".into(), "@detector: got `bf`"),
        (
            |r| r.kernels[1].order = Order::LADDER[1],
            "kernels/B: got pictures",
        ),
        (
            |r| r.kernels[2].images[(0, 7)] = f32::NAN,
            "kernels/O: got NaN; allowed: finite",
        ),
        (
            |r| r.kernels[0].images = Array2::zeros((3, 4)),
            "kernels/A: got pictures [3, 4]",
        ),
    ];
    for (spoil, expected) in bad {
        let mut response = small();
        spoil(&mut response);
        let error = write_response(&path, &response, &provenance(), false).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
}

/// The key is that of one detector's angles, whatever it is called and whatever stands beside it.
#[test]
fn keys_are_of_what_a_response_is_for() {
    let (base, haadf) = (microscope(), "haadf");
    let key = response_key(&base, haadf, EDGE);
    assert!(key.len() == 16 && key.chars().all(|c| c.is_ascii_hexdigit()));
    let mut same = microscope();
    same.detectors = BTreeMap::from([("other".to_owned(), annulus(80.0, 200.0))]);
    assert_eq!(response_key(&same, "other", EDGE + 1e-8), key);
    let other: [fn(&mut Microscope); 4] = [
        |m| m.probe.semiangle_mrad = 29.0,
        |m| m.oversampling = 2,
        |m| m.thermal_diffuse.count_elastic = false,
        |m| _ = m.detectors.insert("haadf".into(), annulus(80.0, 201.0)),
    ];
    for change in other {
        let mut microscope = microscope();
        change(&mut microscope);
        assert_ne!(response_key(&microscope, haadf, EDGE), key);
    }
    assert_ne!(response_key(&base, "maadf", EDGE), key);
    assert_ne!(response_key(&base, haadf, EDGE + 2e-6), key);
}

/// Size and time of a file as large as a real one, and how far images are off.
#[test]
#[ignore = "a measurement"]
fn size_of_a_whole_response() {
    let here = tempfile::tempdir().unwrap();
    for order in [3, 4, 6, 7] {
        let first = response(Order::LADDER[order], 9..=76, 48);
        let start = std::time::Instant::now();
        let path = written(&here, &first);
        let (wrote, start) = (start.elapsed(), std::time::Instant::now());
        let read = read_response(&path).unwrap();
        let took = start.elapsed();
        let terms = first
            .kernels
            .each_ref()
            .map(|kernel| kernel.coefficients.dim().1);
        let size = std::fs::metadata(&path).unwrap().len();
        let [thin, thick] = [9, 76].map(|depth| errors(&first, &read, depth));
        println!("{terms:?} terms: {size} bytes, {wrote:?}, {took:?}, off by {thin:?} {thick:?}");
        let root = hdf::open(&path).unwrap();
        for name in NAMES {
            for set in ["pictures", "coefficients"] {
                let bytes = root
                    .dataset(&format!("kernels/{name}/{set}"))
                    .unwrap()
                    .storage_size();
                println!("  {name} {set}: {bytes}");
            }
        }
    }
}
