//! Laws of the emulator, on a small response that is learnt here: few blocks, thin, coarse. It is no good measure of what a full one
//! can do; its certificate is.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::path::Path;
use std::sync::OnceLock;

use ferrostem::crystal::Structure;
use ferrostem::emulator::{Block, Frame, Microscope, Painter, Response, Sites, TrainingSettings};
use ferrostem::multislice::Method;
use ferrostem::progress::Reporter;
use ferrostem::provenance::Provenance;
use ferrostem::settings::Source;
use ferrostem::simulation::{Curriculum, Plan, SimulationSettings, simulate};
use ferrostem::storage::responses::write_response;
use ndarray::Array2;

const EDGE: f64 = 3.9643;
const CELLS: usize = 4;
const DEPTH: usize = 6;

const MICROSCOPE: &str = r#"
pixels_per_cell = 24
slices_per_cell = 2
oversampling = 1
precision = "f32"
scattering_factors = "lobato"
[thermal_diffuse]
rms_angstrom = { Bi = 0.0735, Sm = 0.0735, Fe = 0.0686, O = 0.0900 }
count_elastic = false
[probe]
energy_kev = 200.0
semiangle_mrad = 30.0
aperture = "soft"
[detectors.haadf]
inner_mrad = 80.0
outer_mrad = 200.0
"#;

fn curriculum() -> Curriculum {
    let microscope: Microscope = Source::from_text("microscope.toml", MICROSCOPE)
        .parse()
        .unwrap();
    Curriculum {
        microscope,
        training: TrainingSettings {
            blocks: 8,
            validation_blocks: 1,
            cells: CELLS,
            depth_cells: DEPTH,
            least_depth_cells: DEPTH - 1,
            modes: 100,
            ..TrainingSettings::default()
        },
        edge: EDGE,
        seed: 3,
    }
}

/// Learnt once for all tests; what it left behind stays for [`a_killed_run_goes_on_to_the_same_response`].
pub(crate) fn lesson() -> &'static (tempfile::TempDir, Response) {
    static LESSON: OnceLock<(tempfile::TempDir, Response)> = OnceLock::new();
    LESSON.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut learnt = curriculum()
            .learn(folder.path(), &Reporter::quiet())
            .unwrap();
        (folder, learnt.pop().unwrap())
    })
}

fn unseen(index: u64) -> Block {
    Block::draw(&curriculum().training, EDGE, 99, index).unwrap()
}

fn frame(points: usize) -> Frame {
    let step = CELLS as f64 * EDGE / points as f64;
    Frame {
        start: [0.0; 2],
        step: [step; 2],
        points: [points; 2],
    }
}

fn paint(structure: &Structure, tilt: [f64; 2], frame: &Frame) -> Array2<f32> {
    let response = &lesson().1;
    let sites = Sites::new(structure, [CELLS, CELLS, DEPTH], DEPTH).unwrap();
    let painter = Painter::new(response, DEPTH, frame.step).unwrap();
    painter.paint(&sites, frame, &|_| tilt)
}

fn contrast(image: &Array2<f32>) -> f32 {
    let most = image.iter().fold(f32::MIN, |m, x| m.max(*x));
    most - image.iter().fold(f32::MAX, |m, x| m.min(*x))
}

fn rms(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    let squares: f32 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    (squares / a.len() as f32).sqrt()
}

/// Blocks that it has not seen, harsher than any domain wall: within 2 % rms of the contrast of what the exact engine gives. (A full
/// response learns from twenty times as many columns.)
#[test]
fn unseen_blocks_are_drawn_as_the_exact_engine_images_them() {
    for index in [1, 2] {
        let block = unseen(index);
        let points = 20 * CELLS;
        let images = block
            .images(&curriculum().microscope, &[DEPTH], points, 2)
            .unwrap();
        let exact = images.index_axis(ndarray::Axis(0), 0).to_owned();
        let exact = exact
            .mapv(|x| x as f32)
            .into_shape_with_order((points, points))
            .unwrap();
        let drawn = paint(&block.structure, block.tilt_mrad, &frame(points));
        let error = rms(&exact, &drawn) / contrast(&exact);
        assert!(error < 0.02, "{error}");
        // And far better than an image that knows nothing of displacements.
        let straight = Block::draw(
            &TrainingSettings {
                mean_amplitude: 0.0,
                rms_amplitude: 0.0,
                column_noise_angstrom: 0.0,
                rigid_shift_angstrom: 0.0,
                samarium_fraction: 0.0,
                ..curriculum().training
            },
            EDGE,
            99,
            index,
        )
        .unwrap();
        let blind = paint(&straight.structure, block.tilt_mrad, &frame(points));
        assert!(rms(&exact, &blind) > 4.0 * rms(&exact, &drawn));
    }
}

/// x and y exchanged, or x turned round, in specimen, tilt and image: the same, to rounding in single precision.
#[test]
fn mirrored_specimens_have_mirrored_images() {
    let block = unseen(3);
    let points = 20 * CELLS;
    let image = paint(&block.structure, block.tilt_mrad, &frame(points));
    let of_cell = 5 * DEPTH;
    // Atoms of a cell: A, B, O beside B along x, y and z; in the mirrored crystal O_x and O_y change places.
    let transposed = {
        let mut structure = block.structure.clone();
        for j in 0..CELLS {
            for i in 0..CELLS {
                for k in 0..DEPTH {
                    for (atom, other) in [(0, 0), (1, 1), (2, 3), (3, 2), (4, 4)] {
                        let to = (j * CELLS + i) * of_cell + 5 * k + atom;
                        let from = (i * CELLS + j) * of_cell + 5 * k + other;
                        let [x, y, z] = block.structure.positions[from];
                        structure.positions[to] = [y, x, z];
                        structure.numbers[to] = block.structure.numbers[from];
                    }
                }
            }
        }
        structure
    };
    let [tx, ty] = block.tilt_mrad;
    let mirrored = paint(&transposed, [ty, tx], &frame(points));
    let error = rms(&image.t().to_owned(), &mirrored) / contrast(&image);
    assert!(error < 2e-3, "{error}");
}

/// The crystal moved by part of a pixel, and the frame with it: the same image; the filters that shift patches err by 1e-3.
#[test]
fn a_crystal_moved_as_a_whole_has_its_image_moved() {
    let block = unseen(4);
    let still = frame(20 * CELLS);
    let shift = [0.137, -0.061];
    let mut moved = block.structure.clone();
    for position in &mut moved.positions {
        for axis in 0..2 {
            position[axis] = (position[axis] + shift[axis]).rem_euclid(moved.cell[axis]);
        }
    }
    let following = Frame {
        start: shift,
        ..still
    };
    let image = paint(&block.structure, block.tilt_mrad, &still);
    let same = paint(&moved, block.tilt_mrad, &following);
    let error = rms(&image, &same) / contrast(&image);
    assert!(error < 1e-5, "{error}");
    // On pixels that stay where they are, patches are shifted by filters.
    let fine = |start: [f64; 2]| Frame { start, ..still };
    let filtered = paint(
        &moved,
        block.tilt_mrad,
        &fine([shift[0] - 0.05, shift[1] + 0.08]),
    );
    let direct = paint(&block.structure, block.tilt_mrad, &fine([-0.05, 0.08]));
    let error = rms(&filtered, &direct) / contrast(&image);
    assert!(error < 1e-5, "{error}");
}

/// Every second pixel of an image with half the step is the image: the band is the same.
#[test]
fn finer_pixels_show_the_same_image() {
    let block = unseen(5);
    let coarse = paint(&block.structure, block.tilt_mrad, &frame(20 * CELLS));
    let fine = paint(&block.structure, block.tilt_mrad, &frame(40 * CELLS));
    let every_second = fine.slice(ndarray::s![..;2, ..;2]).to_owned();
    let error = rms(&coarse, &every_second) / contrast(&coarse);
    assert!(error < 2e-3, "{error}");
}

#[test]
fn threads_do_not_matter() {
    let block = unseen(6);
    let draw = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| paint(&block.structure, block.tilt_mrad, &frame(20 * CELLS)))
    };
    assert_eq!(draw(1), draw(4));
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// A block lost and another damaged: they are run again, on another number of threads, and the response is the same bit by bit.
#[test]
fn a_killed_run_goes_on_to_the_same_response() {
    let (folder, whole) = lesson();
    let here = tempfile::tempdir().unwrap();
    copy(folder.path(), here.path());
    std::fs::remove_file(here.path().join("part-001007")).unwrap();
    std::fs::write(here.path().join("part-001008"), b"half").unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .unwrap();
    let again = pool.install(|| curriculum().learn(here.path(), &Reporter::quiet()).unwrap());
    assert_eq!(&again[0], whole);
}

#[test]
fn thicknesses_that_were_not_learnt_are_refused_with_the_range() {
    let error = lesson().1.depth(40).unwrap_err().to_string();
    assert!(error.contains("40 cells (15.86 nm)"), "{error}");
    assert!(error.contains("1.98 to 2.38 nm"), "{error}");
}

/// A simulation that the small response can draw.
const SIMULATION: &str = r#"
seed = 1
tilts_mrad = [[0.0, 0.0], [5.0, -3.0]]
[specimen]
cells = [4, 4, 6]
lattice_angstrom = 3.9643
[specimen.r3c]
amplitude = 1.0
[specimen.r3c.texture.uniform]
direction = [1.0, 1.0, 1.0]
[thermal_diffuse]
rms_angstrom = { Bi = 0.0735, Fe = 0.0686, O = 0.0900 }
count_elastic = false
[grid]
pixels = [96, 96]
[multislice]
method = "emulator"
scattering_factors = "lobato"
slice_thickness_angstrom = 1.98215
precision = "f32"
exit_thicknesses_nm = [2.37858]
[emulator]
response = "response.h5"
pixels_per_cell = 24
[probe]
energy_kev = 200.0
semiangle_mrad = 30.0
aperture = "soft"
[scan]
start_angstrom = [0.0, 0.0]
points = [60, 48]
[detectors.haadf]
inner_mrad = 80.0
outer_mrad = 200.0
"#;

/// The small response as a file, with a settings file beside it in which `changes` are made.
fn bench(changes: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    let provenance = Provenance::start("response", String::new(), Some(3)).finished();
    let path = folder.path().join("response.h5");
    write_response(&path, &lesson().1, &provenance, false).unwrap();
    let mut text = SIMULATION.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let file = folder.path().join("sim.toml");
    std::fs::write(&file, text).unwrap();
    let source = Source::read(&file).unwrap();
    (folder, source)
}

fn run(changes: &[(&str, &str)]) -> ferrostem::Result<tempfile::TempDir> {
    let (folder, source) = bench(changes);
    let settings: SimulationSettings = source.parse()?;
    let output = folder.path().join("image.hspy");
    simulate(&settings, &source, &output, false, None, &Reporter::quiet())?;
    Ok(folder)
}

/// The same settings by the exact engine: the drawn image is near, and all else in the file is the same.
#[test]
fn a_simulation_is_drawn_into_the_same_file() {
    let drawn = run(&[]).unwrap();
    let exact = run(&[("\"emulator\"", "\"multislice\"")]).unwrap();
    let read = |folder: &tempfile::TempDir| {
        let path = folder.path().join("image.hspy");
        ferrostem::storage::micrograph::open(&path, None).unwrap()
    };
    let (drawn, exact) = (read(&drawn), read(&exact));
    assert_eq!(drawn.truth, exact.truth);
    assert_eq!(drawn.frames, 2);
    for frame in 0..2 {
        let [a, b] = [&drawn, &exact].map(|file| file.image(frame, None).unwrap());
        assert_eq!((a.data.dim(), a.sampling), (b.data.dim(), b.sampling));
        assert!(rms(&a.data, &b.data) < 0.02 * contrast(&b.data));
    }
}

#[test]
fn what_the_response_is_not_for_is_refused_by_name() {
    let refused = |changes: &[(&str, &str)]| run(changes).map(|_| ()).unwrap_err().to_string();
    for (changes, expected) in [
        (
            &[("semiangle_mrad = 30.0", "semiangle_mrad = 25.0")][..],
            "semiangle_mrad = 30.0",
        ),
        (&[("Fe = 0.0686", "Fe = 0.0700")], "Fe = 0.07"),
        (
            &[("outer_mrad = 200.0", "outer_mrad = 150.0")],
            "outer_mrad = 150",
        ),
        (&[("[5.0, -3.0]", "[9.0, 8.0]")], "local tilt: got 12.04"),
        (
            &[("[2.37858]", "[1.58572]")],
            "thickness: got 4 cells (1.59 nm)",
        ),
        (&[("[2.37858]", "[2.18]")], "5.5"),
        (
            &[("points = [60, 48]", "step_angstrom = 0.01")],
            "scan step: got 0.01 Å",
        ),
        (
            &[(
                "[specimen.r3c]\namplitude = 1.0",
                "[specimen.r3c]\namplitude = 2.0",
            )],
            "displacement |D|: got 66",
        ),
        (
            &[
                (
                    "lattice_angstrom = 3.9643\n[specimen",
                    "lattice_angstrom = 3.92\n[specimen",
                ),
                ("[2.37858]", "[2.352]"),
            ],
            "strain",
        ),
        (
            &[(
                "[detectors.haadf]\ninner_mrad = 80.0\nouter_mrad = 200.0",
                "[detectors.haadf.segmented]\ninner_mrad = 80.0\nouter_mrad = 200.0\nrings = 1\nsectors = 4",
            )],
            "annular",
        ),
        (
            &[(
                "[thermal_diffuse]\nrms_angstrom = { Bi = 0.0735, Fe = 0.0686, O = 0.0900 }\ncount_elastic = false\n",
                "",
            )],
            "thermal_diffuse",
        ),
        (
            &[("response = \"response.h5\"", "response = \"nowhere.h5\"")],
            "nowhere.h5",
        ),
        (
            &[("response = \"response.h5\"", "response = \"sim.toml\"")],
            "sim.toml",
        ),
        (
            &[("pixels_per_cell = 24", "pixels_per_cell = 3")],
            "emulator.pixels_per_cell",
        ),
    ] {
        let message = refused(changes);
        assert!(message.contains(expected), "{changes:?}: {message}");
    }
}

/// `auto` draws where it may, and takes an exact engine where it may not, saying why.
#[test]
fn auto_falls_back_to_an_exact_engine_outside_the_range() {
    let resolved = |changes: &[(&str, &str)]| {
        let changes = [&[("method = \"emulator\"", "method = \"auto\"")], changes].concat();
        let (_folder, source) = bench(&changes);
        let settings: SimulationSettings = source.parse().unwrap();
        let plan = Plan::new(&settings, &source).unwrap();
        (plan.settings.multislice.method, plan.reason.unwrap())
    };
    assert_eq!(resolved(&[]).0, Method::Emulator);
    let (method, reason) = resolved(&[("[5.0, -3.0]", "[12.0, 0.0]")]);
    assert_ne!(method, Method::Emulator);
    assert!(
        reason.contains("not drawn: emulator, local tilt"),
        "{reason}"
    );
    let (method, _) = resolved(&[(
        "[emulator]\nresponse = \"response.h5\"\npixels_per_cell = 24\n",
        "",
    )]);
    assert_ne!(method, Method::Emulator, "only where it is asked for");
}
