//! PRISM against the full-field engine.

use ferrostem::multislice::{
    Aberrations, FocalSpread, Multislice, Optics, Potential, Precision, Prism, PrismSettings,
};
use ndarray::{Array3, ArrayView1, Axis};

use super::specimens::{crystal, displaced, vacuum};
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

/// Beams f apart do not see that cells repeat beyond the window: PRISM on 2 × 2 cells that repeat is the full field of one, with
/// its probe, wherever the windows lie. Half of these probes stand where they are cut by the border of the field.
#[test]
fn on_a_crystal_that_repeats_the_window_it_is_exact() {
    let (large, small) = (crystal(4, 6, (144, 144)), crystal(2, 6, (72, 72)));
    let rings = detectors(&[(0.0, 20.0), (10.0, 40.0), (40.0, 62.0)]);
    let optics = optics(&probe(20.0), Precision::F64, &rings, &[5, 12]);
    let full = Multislice::new(&small, &optics).unwrap();
    let prism = Prism::new(&large, &optics, &settings(2, 1.0)).unwrap();
    for tilt in TILTS {
        let expected = full.with_tilt(tilt).scan(&positions());
        let worst = difference(&prism.with_tilt(tilt).scan(&positions()), &expected);
        assert!(worst < 1e-9, "at {tilt:?}: {worst:e}");
    }
}

/// Per channel and thickness, the greatest root mean square difference of two images over the mean.
fn deviation(a: &Array3<f64>, b: &Array3<f64>) -> f64 {
    let images = a.lanes(Axis(2)).into_iter().zip(b.lanes(Axis(2)));
    let of_image = |(a, b): (ArrayView1<f64>, ArrayView1<f64>)| {
        let square = (&a - &b).mapv(|d| d * d).mean().unwrap();
        square.sqrt() / b.mean().unwrap()
    };
    images.map(of_image).fold(0.0, f64::max)
}

/// Atoms moved by up to 0.2 Å, so that no window is like the other. In a window of half the field, 12 Å, images differ by 4.5 % of
/// the mean at most (measured; the tails of the probe), in a third by more; tilt makes no difference to that.
#[test]
fn with_interpolation_it_is_nearly_multislice() {
    let specimen = displaced(6, 10, (192, 192), |n| 0.2 * (1.7 * (n * n) as f64).sin());
    let rings = detectors(&[(0.0, 20.0), (40.0, 62.0)]);
    let optics = optics(&probe(25.0), Precision::F32, &rings, &[8, 20]);
    for tilt in TILTS {
        let full = Multislice::new(&specimen, &optics).unwrap();
        let expected = full.with_tilt(tilt).scan(&positions());
        let [half, third] = [2, 3].map(|interpolation| {
            let settings = settings(interpolation, 1.0);
            let prism = Prism::new(&specimen, &optics, &settings).unwrap();
            deviation(&prism.with_tilt(tilt).scan(&positions()), &expected)
        });
        assert!(half < 0.06, "at {tilt:?}: {half}");
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

/// Every number is summed in an order of its own, whatever the threads.
#[test]
fn threads_change_no_bit() {
    let specimen = crystal(3, 2, (96, 96));
    let optics = optics(
        &probe(22.0),
        Precision::F32,
        &detectors(&[(40.0, 60.0)]),
        &[4],
    );
    let scan = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let simulate = || {
            let prism = Prism::new(&specimen, &optics, &settings(2, 0.001)).unwrap();
            prism.scan(&positions())
        };
        pool.build().unwrap().install(simulate)
    };
    assert_eq!(scan(1), scan(3));
}
