//! Multislice against abTEM 1.0.11 with exact potentials: the small golden file always, the whole reference set where it lies
//! beside the checkout. `tests/golden/multislice.md` tells how they were made.

use std::path::PathBuf;

use ferrostem::multislice::{
    Aberrations, Illumination, Multislice, Potential, Precision, ProbeSettings, ScatteringTable,
};
use ferrostem::units::{interaction, wavelength};
use hdf5::{File, Group};
use ndarray::{ArrayD, Axis, IxDyn};
use num_complex::Complex;

use super::{detectors, optics, probe};

const DETECTORS: [(f64, f64); 4] = [(0.0, 15.0), (15.0, 30.0), (40.0, 80.0), (80.0, 100.0)];
const EXITS: [usize; 3] = [20, 50, 100];
const PIXELS: (usize, usize) = (192, 192);
const ELEMENTS: [(&str, u8); 6] = [
    ("O", 8),
    ("Ti", 22),
    ("Fe", 26),
    ("Sr", 38),
    ("Sm", 62),
    ("Bi", 83),
];
/// f_e and potentials: relative.
const POTENTIAL_GATE: f64 = 1e-5;
/// Waves and diffraction patterns, of the largest modulus or pixel; image pixels above [`IMAGE_FLOOR`], relative.
fn gate(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::F64 => 1e-6,
    }
}
/// Fraction of the incident beam below which a pixel is not compared.
const IMAGE_FLOOR: f64 = 1e-6;

/// A complex number as abTEM's files store it.
#[derive(hdf5::H5Type, Clone, Copy)]
#[repr(C)]
struct Stored {
    r: f32,
    i: f32,
}

/// A group of reference data, and which pixels of waves it holds.
struct Reference {
    group: Group,
    stride: usize,
    name: String,
}

impl Reference {
    fn floats(&self, name: &str) -> ArrayD<f64> {
        self.group.dataset(name).unwrap().read_dyn::<f64>().unwrap()
    }

    fn waves(&self, name: &str) -> ArrayD<Complex<f64>> {
        let stored = self.group.dataset(name).unwrap();
        let stored = stored.read_dyn::<Stored>().unwrap();
        stored.mapv(|z| Complex::new(f64::from(z.r), f64::from(z.i)))
    }

    /// Rows of three or two numbers.
    fn rows<const N: usize>(&self, name: &str) -> Vec<[f64; N]> {
        rows(&self.floats(name))
    }

    fn potential(&self, positions: &[[f64; 3]]) -> Potential {
        let numbers = self.group.dataset("atoms/numbers").unwrap();
        let numbers = numbers.read_raw::<u8>().unwrap();
        let cell = self.group.dataset("atoms/cell").unwrap();
        let cell: [f64; 3] = cell.read_raw().unwrap().try_into().unwrap();
        Potential::new(
            positions,
            &numbers,
            cell,
            PIXELS,
            ScatteringTable::Lobato,
            1.9825,
        )
        .unwrap()
    }

    fn crystal(&self) -> Potential {
        self.potential(&self.rows("atoms/positions"))
    }

    /// Largest difference of a wave `(y, x)` from stored pixels `(x, y)`, over the largest stored modulus.
    fn wave_error(
        &self,
        wave: &ndarray::Array2<Complex<f64>>,
        stored: ndarray::ArrayViewD<'_, Complex<f64>>,
    ) -> f64 {
        let (mut error, mut peak) = (0.0_f64, 0.0_f64);
        for (index, value) in stored.indexed_iter() {
            let ours = wave[(index[1] * self.stride, index[0] * self.stride)];
            error = error.max((ours - value).norm());
            peak = peak.max(value.norm());
        }
        error / peak
    }

    fn report(&self, what: &str, error: f64, gate: f64) {
        println!("{}: {what}: {error:.2e} (gate {gate:.0e})", self.name);
        assert!(error < gate, "{}: {what}: {error:.3e}", self.name);
    }
}

fn rows<const N: usize>(array: &ArrayD<f64>) -> Vec<[f64; N]> {
    let values: Vec<f64> = array.iter().copied().collect();
    values
        .chunks_exact(N)
        .map(|row| row.try_into().unwrap())
        .collect()
}

/// The golden data, and the whole file where the reference set is present.
fn references(name: &str) -> Vec<Reference> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let golden = File::open(root.join("tests/golden/multislice.h5")).unwrap();
    let mut found = vec![Reference {
        group: golden.group(name).unwrap(),
        stride: 4,
        name: format!("golden {name}"),
    }];
    found.extend(full_reference(name));
    found
}

/// The whole file of the reference set; says loudly when there is none.
fn full_reference(name: &str) -> Option<Reference> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/reference");
    let path = folder.join(format!("public_{name}.h5"));
    if !path.exists() {
        let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!(in_ci && folder.exists()), "{} is missing", path.display());
        eprintln!("SKIPPED: {} is not here; golden data only", path.display());
        return None;
    }
    Some(Reference {
        group: File::open(&path).unwrap().as_group().unwrap(),
        stride: 1,
        name: format!("public_{name}"),
    })
}

/// Largest relative error of `(detector, thickness, probe)` where the stored `(detector, thickness, x, y)` exceeds the floor;
/// probes run over y first.
fn image_error(ours: &ndarray::Array3<f64>, stored: ndarray::ArrayViewD<'_, f64>) -> f64 {
    let stored = stored.iter().zip(ours);
    stored
        .filter(|(value, _)| **value > IMAGE_FLOOR)
        .map(|(value, ours)| (ours / value - 1.0).abs())
        .fold(0.0, f64::max)
}

#[test]
fn constants_are_those_of_the_reference() {
    // From the attributes of every reference file; CODATA editions differ in the ninth digit.
    assert!((wavelength(200e3) / 0.025_079_340_317_328_468 - 1.0).abs() < 1e-8);
    assert!((interaction(200e3) / 7.288_401_085_927_866e-4 - 1.0).abs() < 1e-8);
}

#[test]
fn scattering_factors_and_projected_potentials_agree() {
    for reference in references("potential") {
        let k = reference.floats("k");
        let (mut factor_error, mut potential_error) = (0.0_f64, 0.0_f64);
        for (name, table) in [
            ("lobato", ScatteringTable::Lobato),
            ("kirkland", ScatteringTable::Kirkland),
        ] {
            for (element, number) in ELEMENTS {
                let place = format!("{name}/{element}");
                let factor = table.factor(number).unwrap();
                for (k, fe) in k.iter().zip(&reference.floats(&format!("{place}/fe"))) {
                    let error = factor.at_squared(k * k) / fe - 1.0;
                    factor_error = factor_error.max(error.abs());
                }
                let grid = reference
                    .group
                    .dataset(&format!("{place}/grid_exact_offgrid"));
                let grid = grid.unwrap();
                let atom = grid.attr("atom_xy_A").unwrap().read_raw::<f64>().unwrap();
                let potential = Potential::new(
                    &[[atom[0], atom[1], 0.5]],
                    &[number],
                    [8.0, 8.0, 1.0],
                    (128, 128),
                    table,
                    1.0,
                );
                let ours = potential.unwrap().projected(0).mapv(Complex::from);
                let stored = grid.read_dyn::<f64>().unwrap().mapv(Complex::from);
                let error = reference.wave_error(&ours, stored.view());
                potential_error = potential_error.max(error);
            }
        }
        reference.report("f_e", factor_error, POTENTIAL_GATE);
        reference.report("projected potential", potential_error, POTENTIAL_GATE);
    }
}

/// The six lenses of the reference, in its order.
fn lenses() -> [Aberrations; 6] {
    let perfect = Aberrations::default;
    [
        perfect(),
        Aberrations {
            c10_angstrom: Some(-80.0),
            ..perfect()
        },
        Aberrations {
            defocus_angstrom: Some(60.0),
            c30_angstrom: 12_000.0,
            ..perfect()
        },
        Aberrations {
            c12_angstrom: 40.0,
            phi12_rad: 0.6,
            ..perfect()
        },
        Aberrations {
            c21_angstrom: 600.0,
            phi21_rad: -0.4,
            c23_angstrom: 450.0,
            phi23_rad: 0.3,
            ..perfect()
        },
        Aberrations {
            c10_angstrom: Some(25.0),
            c12_angstrom: 20.0,
            phi12_rad: -1.1,
            c30_angstrom: -8_000.0,
            c50_angstrom: 5e6,
            ..perfect()
        },
    ]
}

#[test]
fn probes_agree() {
    let vacuum = Potential::new(
        &[],
        &[],
        [15.86, 15.86, 1.0],
        PIXELS,
        ScatteringTable::Lobato,
        1.0,
    )
    .unwrap();
    for reference in references("probe") {
        let stored = reference.waves("psi");
        let mut error = 0.0_f64;
        for (case, aberrations) in lenses().into_iter().enumerate() {
            let settings = ProbeSettings {
                aberrations,
                ..probe(30.0)
            };
            let simulation =
                Multislice::new(&vacuum, &optics(&settings, Precision::F64, &[], &[1])).unwrap();
            for (place, position) in reference.rows("positions_A").into_iter().enumerate() {
                let wave = simulation.probe(position);
                let stored = stored.index_axis(Axis(0), case);
                error = error.max(reference.wave_error(&wave, stored.index_axis(Axis(0), place)));
            }
        }
        reference.report("probes, f64", error, gate(Precision::F64));
    }
}

#[test]
fn exit_waves_agree() {
    for reference in references("exitwave") {
        let stored = reference.waves("psi_exact");
        let potential = reference.crystal();
        for precision in [Precision::F64, Precision::F32] {
            let flat =
                Multislice::new(&potential, &optics(&probe(30.0), precision, &[], &EXITS)).unwrap();
            let mut error = 0.0_f64;
            for (index, tilt) in reference.rows("tilts_mrad").into_iter().enumerate() {
                let waves = flat.with_tilt(tilt).exit_waves(Illumination::PlaneWave);
                for (exit, wave) in waves.iter().enumerate() {
                    let stored = stored.index_axis(Axis(0), index);
                    error = error.max(reference.wave_error(wave, stored.index_axis(Axis(0), exit)));
                }
            }
            reference.report(
                &format!("exit waves, {precision:?}"),
                error,
                gate(precision),
            );
        }
    }
}

/// Compares the scanned images of `tilts` and prints the error of each detector.
fn compare_images(reference: &Reference, precision: Precision, tilts: usize) {
    let stored = reference.floats("images_exact");
    let positions = reference.rows("scan_positions_A");
    let potential = reference.crystal();
    assert_eq!(
        potential.unique_slices(),
        2,
        "a periodic crystal has few different slices"
    );
    let rings = detectors(&DETECTORS);
    let flat =
        Multislice::new(&potential, &optics(&probe(30.0), precision, &rings, &EXITS)).unwrap();
    let mut worst = 0.0_f64;
    for (index, tilt) in reference
        .rows("tilts_mrad")
        .into_iter()
        .take(tilts)
        .enumerate()
    {
        let ours = flat.with_tilt(tilt).scan(&positions);
        worst = worst.max(image_error(&ours, stored.index_axis(Axis(0), index)));
    }
    reference.report(&format!("images, {precision:?}"), worst, gate(precision));
}

#[test]
fn golden_images_agree_in_both_precisions() {
    let golden = &references("images")[0];
    for precision in [Precision::F64, Precision::F32] {
        compare_images(golden, precision, 2);
    }
}

#[test]
fn all_reference_images_agree() {
    if let Some(reference) = full_reference("images") {
        compare_images(&reference, Precision::F64, 10);
        compare_images(&reference, Precision::F32, 3);
    }
}

#[test]
fn reference_diffraction_patterns_agree() {
    let Some(reference) = full_reference("images") else {
        return;
    };
    let stored = reference.floats("cbed_exact"); // [tilt, thickness, position, kx, ky], 64 pixels around the beam
    let potential = reference.crystal();
    let tilts = reference.rows("tilts_mrad");
    let indices = reference.floats("cbed_tilt_index");
    for precision in [Precision::F64, Precision::F32] {
        let flat =
            Multislice::new(&potential, &optics(&probe(30.0), precision, &[], &EXITS)).unwrap();
        let (mut error, mut peak) = (0.0_f64, 0.0_f64);
        for (case, &tilt) in indices.iter().enumerate() {
            let tilted = flat.with_tilt(tilts[tilt as usize]);
            for (place, position) in reference.rows("cbed_positions_A").into_iter().enumerate() {
                for (exit, pattern) in tilted.diffraction(position).iter().enumerate() {
                    for x in 0..128 {
                        for y in 0..128 {
                            let value = stored[IxDyn(&[case, exit, place, x, y])];
                            let ours = pattern[(y + PIXELS.0 / 2 - 64, x + PIXELS.1 / 2 - 64)];
                            error = error.max((ours - value).abs());
                            peak = peak.max(value);
                        }
                    }
                }
            }
        }
        let what = format!("diffraction patterns, {precision:?}");
        reference.report(&what, error / peak, gate(precision));
    }
}

/// All configurations that the file holds, and their mean.
#[test]
fn images_of_a_thermally_disordered_crystal_agree() {
    for (reference, precision) in references("phonon")
        .iter()
        .flat_map(|reference| [(reference, Precision::F64), (reference, Precision::F32)])
    {
        let displaced = reference.floats("positions");
        let stored = reference.floats("images_exact");
        let tilt = reference.floats("tilt_mrad");
        let positions: Vec<[f64; 2]> = (0..100)
            .map(|i| {
                [
                    3.965 + 0.3965 * f64::from(i / 10),
                    3.965 + 0.3965 * f64::from(i % 10),
                ]
            })
            .collect();
        let rings = detectors(&DETECTORS);
        let count = stored.shape()[0];
        let mut mean = ndarray::Array3::<f64>::zeros((4, 3, 100));
        for configuration in 0..count {
            let atoms = displaced.index_axis(Axis(0), configuration).to_owned();
            let potential = reference.potential(&rows(&atoms));
            let optics = optics(&probe(30.0), precision, &rings, &EXITS);
            let simulation = Multislice::new(&potential, &optics).unwrap();
            let tilted = simulation.with_tilt([tilt[0], tilt[1]]);
            let images = tilted.scan(&positions);
            let error = image_error(&images, stored.index_axis(Axis(0), configuration));
            let what = format!("images of phonon configuration {configuration}, {precision:?}");
            reference.report(&what, error, gate(precision));
            mean += &(images / count as f64);
        }
        if count == 8 {
            let stored = reference.floats("mean_exact");
            let error = image_error(&mean, stored.view());
            let what = format!("mean of {count} phonon configurations, {precision:?}");
            reference.report(&what, error, gate(precision));
        }
    }
}
