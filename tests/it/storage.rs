//! Files: what is written is read again, a full disk loses nothing.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use ferrostem::crystal::Sublattice;
use ferrostem::crystal::polarization::PolarVector;
use ferrostem::crystal::{Structure, Truth};
use ferrostem::provenance::Provenance;
use ferrostem::storage::dataset::{
    Circumstance, Dataset, DatasetInfo, DatasetWriter, Split, SubImages,
};
use ferrostem::storage::hspy::{self, DetectorStack, ImageFile};
use ferrostem::storage::polarization::{self, MapGrid};
use ferrostem::storage::{info, micrograph, tables};
use ndarray::{Array2, Array4};
use ndarray_npy::WriteNpyExt;

/// A real file, by its path outside the project. Absent ones are skipped loudly, but not where CI has them.
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = shared.join("realdata").join(name);
    if path.exists() {
        return Some(path);
    }
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!(in_ci && shared.exists()), "{} is missing", path.display());
    eprintln!("SKIPPED: {} is not there", path.display());
    None
}

pub(crate) fn images() -> ImageFile {
    let stack = |name: &str, start: f32| DetectorStack {
        name: name.to_owned(),
        data: Array4::from_shape_fn((2, 3, 5, 7), |(t, d, y, x)| {
            start + (t * 1000 + d * 100 + y * 10 + x) as f32
        }),
    };
    let mut provenance = Provenance::start("simulate", "seed = 3\n".to_owned(), Some(u64::MAX));
    provenance.start_unix_seconds = 1;
    ImageFile {
        detectors: vec![stack("bf", 0.5), stack("haadf", 0.25)],
        sampling: [0.2, 0.1],
        offset: [1.0, -2.0],
        tilts_mrad: vec![[0.0, 0.0], [5.0, -2.5]],
        thicknesses_nm: vec![5.0, 10.0, 30.0],
        structure: Structure {
            positions: vec![[0.0, 0.0, 1.0], [2.0, 2.0, 3.0]],
            numbers: vec![83, 26],
            cell: [4.0, 4.0, 4.0],
            sublattices: vec![Sublattice::A, Sublattice::B],
        },
        truth: Truth {
            a_columns: vec![[0.0, 0.0], [0.4, 0.0]],
            b_columns: vec![[0.2, 0.2]],
            displacements: vec![[-23.6, 1.5]],
        },
        provenance,
    }
}

#[test]
fn images_come_back_as_they_were_written() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("i.hspy");
    let file = images();
    hspy::write_images(&path, &file, false).unwrap();
    assert_eq!(hspy::read_images(&path).unwrap(), file);
    assert!(
        hspy::write_images(&path, &file, false).is_err(),
        "replaced without force"
    );
    hspy::write_images(&path, &file, true).unwrap();
}

#[test]
fn the_same_images_are_the_same_bytes() {
    let here = tempfile::tempdir().unwrap();
    let paths = ["a.hspy", "b.hspy"].map(|name| here.path().join(name));
    for path in &paths {
        hspy::write_images(path, &images(), false).unwrap();
        // A time stamp in an object header has a resolution of one second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
}

#[test]
fn a_single_image_is_a_plain_image() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("i.hspy");
    let mut file = images();
    file.detectors = vec![DetectorStack {
        name: "haadf".to_owned(),
        data: Array4::ones((1, 1, 5, 7)),
    }];
    file.tilts_mrad = vec![[1.0, 2.0]];
    file.thicknesses_nm = vec![10.0];
    hspy::write_images(&path, &file, false).unwrap();
    assert_eq!(hspy::read_images(&path).unwrap(), file);
    let opened = micrograph::open(&path, None).unwrap();
    assert_eq!(opened.signals[0].shape, [5, 7]);
    assert_eq!(opened.label(0), "tilt (1, 2) mrad, thickness 10 nm");
}

#[test]
fn our_images_open_as_micrographs_with_truth_and_labels() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("i.hspy");
    let file = images();
    hspy::write_images(&path, &file, false).unwrap();
    let opened = micrograph::open(&path, None).unwrap();
    assert_eq!(
        (opened.format, opened.frames, opened.shape),
        ("hspy", 6, [5, 7])
    );
    assert_eq!(
        opened.title, "haadf",
        "of equal images the HAADF one is taken"
    );
    assert_eq!(opened.notices.len(), 1);
    assert!(
        opened.notices[0].contains("/Experiments/bf/data"),
        "{:?}",
        opened.notices
    );
    assert_eq!(opened.sampling, Some([0.2, 0.1]));
    assert_eq!(opened.truth.as_ref(), Some(&file.truth));
    assert_eq!(opened.label(4), "tilt (5, -2.5) mrad, thickness 10 nm");
    assert_eq!(
        opened.frame(4).unwrap(),
        file.detectors[1].data.slice(ndarray::s![1, 1, .., ..])
    );
    for name in ["bf", "Experiments/bf", "/Experiments/bf/data"] {
        let bf = micrograph::open(&path, Some(name)).unwrap();
        assert_eq!(bf.frame(0).unwrap()[(0, 0)], 0.5, "{name}");
    }
    let error = micrograph::open(&path, Some("abf"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`abf`") && error.contains("/Experiments/haadf/data"),
        "{error}"
    );
    assert!(opened.frame(6).unwrap_err().to_string().contains("0 to 5"));
}

const INFO: fn() -> DatasetInfo = || DatasetInfo {
    mode: "centred".to_owned(),
    window_angstrom: 4.0,
    sampling_angstrom: 0.5,
    shape: [3, 4],
};

fn circumstance(piece: usize) -> Circumstance {
    Circumstance {
        tilt_mrad: [piece as f32, -1.0],
        thickness_nm: 10.0,
        level: 2.5,
    }
}

/// Writes `pieces` of `count` sub-images; pixel (0, 0) of each is its number.
fn write_dataset(path: &Path, pieces: usize, count: usize) -> ferrostem::Result<()> {
    let mut writer = DatasetWriter::create(path, &INFO(), false)?;
    for piece in 0..pieces {
        let first = piece * count;
        let subimages = Array4::from_shape_fn((count, 1, 3, 4), |(n, _, y, x)| {
            (first + n) as f32 + (y * 4 + x) as f32 * 0.01
        });
        let targets = Array2::from_shape_fn((count, 2), |(n, axis)| {
            (first + n) as f32 * [1.0, -1.0][axis]
        });
        let centres: Vec<[f64; 2]> = (0..count).map(|n| [(first + n) as f64, 0.5]).collect();
        let splits: Vec<Split> = (0..count)
            .map(|n| [Split::Train, Split::Validation, Split::Test][n % 3])
            .collect();
        writer.append(&SubImages {
            subimages: subimages.view(),
            targets: targets.view(),
            centres: &centres,
            image: &vec![piece as u32; count],
            split: &splits,
            circumstances: &vec![circumstance(piece); count],
        })?;
    }
    writer.finish(&Provenance::start("dataset", String::new(), Some(7)))
}

#[test]
fn data_sets_are_read_in_any_order() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("d.h5");
    write_dataset(&path, 3, 10).unwrap();
    let dataset = Dataset::open(&path).unwrap();
    assert_eq!((dataset.len(), &dataset.info), (30, &INFO()));
    let indices = [29, 3, 4, 5, 3, 0, 28];
    let (subimages, targets) = dataset.read(&indices).unwrap();
    for (place, &index) in indices.iter().enumerate() {
        assert_eq!(subimages[[place, 0, 0, 0]], index as f32);
        assert_eq!(subimages[[place, 0, 2, 3]], index as f32 + 0.11);
        assert_eq!(
            [targets[[place, 0]], targets[[place, 1]]],
            [index as f32, -(index as f32)]
        );
    }
    assert_eq!(dataset.splits()[11], Split::Validation);
    assert_eq!(dataset.indices(Split::Test).len(), 9);
    assert_eq!(
        (dataset.images()[19], dataset.centres()[19]),
        (1, [19.0, 0.5])
    );
    assert_eq!(dataset.circumstances()[19], circumstance(1));
    assert_eq!(dataset.provenance().unwrap().seed, Some(7));
    assert!(
        dataset
            .read(&[30])
            .unwrap_err()
            .to_string()
            .contains("below 30")
    );
    assert_eq!(dataset.read(&[]).unwrap().0.dim(), (0, 1, 3, 4));
}

#[test]
fn an_unfinished_data_set_leaves_nothing() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("d.h5");
    let mut writer = DatasetWriter::create(&path, &INFO(), false).unwrap();
    let (pixels, targets) = (Array4::zeros((1, 1, 9, 9)), Array2::zeros((1, 2)));
    let error = writer
        .append(&SubImages {
            subimages: pixels.view(),
            targets: targets.view(),
            centres: &[[0.0, 0.0]],
            image: &[0],
            split: &[Split::Train],
            circumstances: &[circumstance(0)],
        })
        .unwrap_err();
    assert!(error.to_string().contains("(1, 1, 3, 4)"), "{error}");
    drop(writer);
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
}

fn cells() -> Vec<PolarVector> {
    (0..20)
        .map(|i| PolarVector {
            position: [f64::from(i % 5) * 4.0, f64::from(i / 5) * 4.0],
            displacement: [f64::from(i), -f64::from(i)],
            sigma: [1.0, if i == 3 { f64::NAN } else { 2.0 }],
            flags: u32::from(i == 3),
        })
        .collect()
}

#[test]
fn polarization_maps_keep_cells_and_grid() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("polarization.hspy");
    let cells = cells();
    let mut grid = MapGrid::nearest(&cells, 4.0).unwrap();
    grid.cells[(3, 4)] = None;
    let provenance = Provenance::start("columns", String::new(), None);
    polarization::write_polarization(&path, &cells, &grid, &provenance, false).unwrap();
    let again = polarization::read_cells(&path).unwrap();
    assert_eq!(again[19], cells[19]);
    assert!(again[3].sigma[1].is_nan());
    let map = micrograph::open(&path, Some("dy")).unwrap();
    assert_eq!((map.shape, map.sampling), ([4, 5], Some([4.0, 4.0])));
    let hole = map.frame(0).unwrap_err().to_string();
    assert!(hole.contains("row 3, column 4"), "{hole}");
}

#[test]
fn info_tells_what_is_in_every_kind_of_file() {
    let here = tempfile::tempdir().unwrap();
    let contains = |path: &Path, parts: &[&str]| {
        let text = info::describe(path).unwrap();
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in\n{text}");
        }
    };
    let path = here.path().join("i.hspy");
    hspy::write_images(&path, &images(), false).unwrap();
    contains(
        &path,
        &[
            "hspy",
            "7 × 5 px",
            "0.100000 × 0.200000 Å",
            "thickness 30 nm",
            "2 atoms",
            "1 B columns",
            "seed = 3",
            "simulate",
        ],
    );
    let path = here.path().join("d.h5");
    write_dataset(&path, 2, 6).unwrap();
    contains(&path, &["12 of 4 × 3 px", "centred", "0.5 Å", "validation"]);
    let path = here.path().join("polarization.hspy");
    let cells = cells();
    let grid = MapGrid::nearest(&cells, 4.0).unwrap();
    polarization::write_polarization(
        &path,
        &cells,
        &grid,
        &Provenance::start("columns", String::new(), None),
        false,
    )
    .unwrap();
    contains(&path, &["20 polar displacements", "sigma_dx"]);
    let path = here.path().join("a.npy");
    Array2::<f32>::ones((3, 4))
        .write_npy(fs::File::create(&path).unwrap())
        .unwrap();
    contains(&path, &["npy", "4 × 3 px", "not calibrated"]);
    let folder = here.path().join("model");
    fs::create_dir(&folder).unwrap();
    assert!(info::describe(&folder).is_err());
    fs::write(folder.join("model.toml"), "window_angstrom = 4.0\n").unwrap();
    contains(&folder, &["model.toml", "window_angstrom = 4.0"]);
    if let Some(path) = real("BTO_crystal_2.dm4") {
        contains(&path, &["dm4", "476 × 465 px", "0.355919 × 0.355919 Å"]);
    }
}

/// A file system of a given size, unmounted when dropped; `None` where mounting is not allowed.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn mount(size: &str) -> Option<Self> {
        let here = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(here.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: mounting a tmpfs is not allowed here");
        }
        mounted.then_some(Self(here))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        // Lazily: programs that other tests started in a bad moment may still hold handles of files there.
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let Some(disk) = TinyDisk::mount("200k") else {
        return;
    };
    let folder = disk.0.path();
    let left = || {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let refused = |result: ferrostem::Result<()>| {
        let error = result.unwrap_err();
        let of_writing = matches!(error, ferrostem::Error::Io { doing: "write", .. });
        assert!(
            of_writing && error.to_string().contains("No space left on device"),
            "{error}"
        );
        assert!(left().is_empty(), "left behind: {:?}", left());
    };
    // Noise does not compress. The sizes let the disk fill up at the first frame, in the middle, and while closing.
    let mut rng = ferrostem::rng::stream(1, "noise", 0);
    for side in [65, 100, 300] {
        let mut file = images();
        for detector in &mut file.detectors {
            let pixel = || ferrostem::rng::Rng::random(&mut rng);
            detector.data = Array4::from_shape_simple_fn((2, 3, side, side), pixel);
        }
        refused(hspy::write_images(&folder.join("i.hspy"), &file, false));
    }
    for (pieces, count) in [(1, 2500), (1, 3500), (3, 5000), (40, 1000), (8, 20_000)] {
        refused(write_dataset(&folder.join("d.h5"), pieces, count));
    }
    let many: Vec<PolarVector> = cells().into_iter().cycle().take(5000).collect();
    let grid = MapGrid::nearest(&many, 4.0).unwrap();
    let provenance = Provenance::start("columns", String::new(), None);
    refused(polarization::write_polarization(
        &folder.join("p.hspy"),
        &many,
        &grid,
        &provenance,
        false,
    ));
    refused(tables::write_table(
        &folder.join("t.csv"),
        &["x"],
        vec![["1.25".to_owned()]; 100_000],
    ));
    // What fits is written after all. The library's files are inherited by programs that other tests start in this moment;
    // until those end, the space of files since removed is not free.
    let start = std::time::Instant::now();
    while let Err(error) = hspy::write_images(&folder.join("i.hspy"), &images(), false) {
        assert!(start.elapsed().as_secs() < 120, "{error}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// Writes the files that `tests/golden/hyperspy_loads.py` loads with HyperSpy; run by hand, its output is in that script.
#[test]
#[ignore = "writes files for a check with another program"]
fn files_for_hyperspy() {
    let folder = PathBuf::from(std::env::var("FERROSTEM_HYPERSPY_DIR").unwrap());
    hspy::write_images(&folder.join("images.hspy"), &images(), true).unwrap();
    let mut single = images();
    single.detectors.truncate(1);
    single.detectors[0].data = Array4::ones((1, 1, 5, 7));
    single.tilts_mrad.truncate(1);
    single.thicknesses_nm.truncate(1);
    hspy::write_images(&folder.join("single.hspy"), &single, true).unwrap();
    let mut even = images();
    even.thicknesses_nm = vec![5.0, 10.0, 15.0];
    hspy::write_images(&folder.join("even.hspy"), &even, true).unwrap();
    let provenance = Provenance::start("columns", String::new(), None);
    let grid = MapGrid::nearest(&cells(), 4.0).unwrap();
    polarization::write_polarization(
        &folder.join("polarization.hspy"),
        &cells(),
        &grid,
        &provenance,
        true,
    )
    .unwrap();
}
