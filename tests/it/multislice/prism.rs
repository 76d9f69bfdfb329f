//! PRISM against the full-field engine.

use ferrostem::multislice::{
    Aberrations, FocalSpread, Multislice, Optics, Potential, Precision, Prism, PrismSettings,
};
use ndarray::Array3;

use super::laws::{crystal, vacuum};
use super::{detectors, optics, probe};

/// Straight, and tilted by 8 mrad and more.
const TILTS: [[f64; 2]; 3] = [[0.0, 0.0], [8.0, -3.0], [-20.0, 15.0]];

fn settings(interpolation: usize, memory_gib: f64) -> PrismSettings {
    PrismSettings {
        interpolation,
        memory_gib,
    }
}

/// Two lines of a raster, and three probes elsewhere, one of them beyond the cell.
fn positions() -> Vec<[f64; 2]> {
    let raster = (0..22).map(|i| {
        [
            0.31 + 0.37 * f64::from(i % 11),
            4.2 + 0.5 * f64::from(i / 11),
        ]
    });
    raster
        .chain([[7.7, 1.3], [-2.1, 13.4], [3.3, 3.9]])
        .collect()
}

/// Greatest relative difference of two sets of readings.
fn difference(a: &Array3<f64>, b: &Array3<f64>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    let each = a.iter().zip(b).map(|(a, b)| (a / b - 1.0).abs());
    each.fold(0.0, f64::max)
}

fn compare(specimen: &Potential, optics: &Optics, settings: &PrismSettings, tolerance: f64) {
    let full = Multislice::new(specimen, optics).unwrap();
    let prism = Prism::new(specimen, optics, settings).unwrap();
    for tilt in TILTS {
        let expected = full.with_tilt(tilt).scan(&positions());
        let got = prism.with_tilt(tilt).scan(&positions());
        let worst = difference(&got, &expected);
        assert!(worst < tolerance, "at {tilt:?}: {worst:e}");
    }
}

/// All beams are there, so only rounding differs: single precision loses 1e-5 in 16 slices.
#[test]
fn without_interpolation_it_is_multislice() {
    let specimen = crystal(3, 8, (96, 108));
    let rings = detectors(&[(0.0, 20.0), (10.0, 40.0), (40.0, 62.0)]);
    for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::F64, 1e-9)] {
        let optics = optics(&probe(25.0), precision, &rings, &[3, 16]);
        compare(&specimen, &optics, &settings(1, 1.0), tolerance);
    }
}

/// Aberrations and focus only change the weights of the beams.
#[test]
fn aberrations_and_focal_spread_need_no_new_matrix() {
    let specimen = crystal(3, 3, (96, 96));
    let rings = detectors(&[(0.0, 20.0), (40.0, 60.0)]);
    let mut lens = probe(22.0);
    lens.aberrations = Aberrations {
        defocus_angstrom: Some(35.0),
        c12_angstrom: 12.0,
        phi12_rad: 0.4,
        c21_angstrom: 300.0,
        ..Aberrations::default()
    };
    lens.focal_spread = Some(FocalSpread {
        rms_angstrom: 20.0,
        points: 3,
    });
    let optics = optics(&lens, Precision::F64, &rings, &[6]);
    compare(&specimen, &optics, &settings(1, 1.0), 1e-9);
}

/// Beams in blocks and probes in passes: only the order of the sums differs.
#[test]
fn little_memory_changes_no_number() {
    let specimen = crystal(3, 3, (96, 96));
    let rings = detectors(&[(0.0, 20.0), (40.0, 60.0)]);
    let mut lens = probe(22.0);
    lens.focal_spread = Some(FocalSpread {
        rms_angstrom: 20.0,
        points: 3,
    });
    let optics = optics(&lens, Precision::F64, &rings, &[2, 6]);
    for interpolation in [1, 2] {
        let scan = |memory_gib| {
            let settings = settings(interpolation, memory_gib);
            let grid = specimen.grid();
            let work = Prism::expected_work(grid, &optics, &settings, positions().len()).unwrap();
            let prism = Prism::new(&specimen, &optics, &settings).unwrap();
            (work, prism.with_tilt([8.0, -3.0]).scan(&positions()))
        };
        let (plenty, expected) = scan(1.0);
        let (less, got) = scan(0.004);
        assert!(less.bytes < plenty.bytes && less.wave_slices > plenty.wave_slices);
        assert!(difference(&got, &expected) < 1e-11);
    }
}

/// In vacuum a lattice of probes is a probe of the window, exactly, and the window follows it: nothing is lost or moves away.
#[test]
fn vacuum_conserves_the_norm_of_every_probe() {
    let empty = vacuum(20.0, 60.0, 2.0);
    let rings = detectors(&[(0.0, 25.0), (25.0, 50.0)]);
    let optics = optics(&probe(20.0), Precision::F64, &rings, &[1, 30]);
    for interpolation in [1, 2, 4] {
        let prism = Prism::new(&empty, &optics, &settings(interpolation, 1.0)).unwrap();
        let signal = prism.with_tilt([30.0, -10.0]).scan(&positions());
        for ((ring, _, _), value) in signal.indexed_iter() {
            let expected = if ring == 0 { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-12, "{interpolation}: {value}");
        }
    }
}

/// The windows are half of the field, 12 Å, and lose some of what is scattered; see the tolerance.
#[test]
fn with_interpolation_it_is_nearly_multislice() {
    let specimen = crystal(6, 10, (192, 192));
    let rings = detectors(&[(0.0, 20.0), (40.0, 62.0)]);
    let optics = optics(&probe(25.0), Precision::F32, &rings, &[8, 20]);
    let measured = |interpolation, tilt| {
        let scan = |prism: Prism| prism.with_tilt(tilt).scan(&positions());
        let expected = Multislice::new(&specimen, &optics).unwrap();
        let expected = expected.with_tilt(tilt).scan(&positions());
        let prism = Prism::new(&specimen, &optics, &settings(interpolation, 1.0)).unwrap();
        difference(&scan(prism), &expected)
    };
    for tilt in TILTS {
        let (half, third) = (measured(2, tilt), measured(3, tilt));
        println!("{tilt:?}: {half} {third}");
        assert!(half < 0.03, "at {tilt:?}: {half}");
        assert!(third > half, "a smaller window is worse: {third}");
    }
}

#[test]
fn an_interpolation_that_does_not_divide_the_pixels_is_refused() {
    let specimen = crystal(2, 1, (60, 90));
    let optics = optics(&probe(20.0), Precision::F32, &[], &[1]);
    for interpolation in [0, 4] {
        let refused = Prism::new(&specimen, &optics, &settings(interpolation, 1.0));
        let message = refused.err().unwrap().to_string();
        let got = format!("interpolation = {interpolation} on 60 x 90 pixels");
        assert!(message.contains(&got), "{message}");
        assert!(message.contains("[1, 2, 3, 5, 6, 10, 15]"), "{message}");
    }
}
