//! Laws that every simulation obeys, whatever the specimen.

use ferrostem::multislice::{Illumination, Multislice, Potential, Precision, ScatteringTable};
use ndarray::Array2;
use num_complex::Complex;

use super::specimens::{A, crystal, vacuum};
use super::{detectors, optics, probe};

fn total(pattern: &Array2<f64>) -> f64 {
    pattern.sum()
}

/// In vacuum nothing is lost and nothing changes direction. Double precision rounds at 1e-16 a slice, single at 6e-8 a pixel and
/// slice, of either sign.
#[test]
fn vacuum_conserves_norm() {
    let empty = vacuum(15.0, 400.0, 2.0);
    for (precision, tolerance) in [(Precision::F64, 1e-12), (Precision::F32, 1e-6)] {
        let rings = detectors(&[(0.0, 35.0), (35.0, 60.0)]);
        let simulation =
            Multislice::new(&empty, &optics(&probe(30.0), precision, &rings, &[1, 200])).unwrap();
        let tilted = simulation.with_tilt([12.0, -7.0]);
        let signal = tilted.scan(&[[3.1, 4.7]]);
        for exit in 0..2 {
            let lost = (signal[(0, exit, 0)] - 1.0).abs();
            println!("{precision:?}, exit {exit}: {lost:.1e}");
            assert!(lost < tolerance, "{lost:.1e}");
            assert!(signal[(1, exit, 0)] < tolerance);
        }
    }
}

/// Disjoint rings that cover the band collect the whole pattern; only the order of the sums differs.
#[test]
fn rings_sum_to_total() {
    let specimen = crystal(3, 4, (128, 128));
    let rings = detectors(&[
        (0.0, 15.0),
        (15.0, 30.0),
        (30.0, 55.0),
        (55.0, 89.9),
        (0.0, 89.9),
    ]);
    let simulation = Multislice::new(
        &specimen,
        &optics(&probe(25.0), Precision::F64, &rings, &[3, 8]),
    )
    .unwrap();
    let position = [5.3, 4.1];
    let signal = simulation.scan(&[position]);
    let patterns = simulation.diffraction(position);
    for exit in 0..2 {
        let parts: f64 = (0..4).map(|ring| signal[(ring, exit, 0)]).sum();
        assert!((parts - signal[(4, exit, 0)]).abs() < 1e-12);
        // Between 89.9 mrad and the band limit at 89.98 mrad almost nothing is left.
        assert!((parts - total(&patterns[exit])).abs() < 1e-6);
        assert!(
            parts < 1.0 && parts > 0.9,
            "only the band limit loses electrons: {parts}"
        );
    }
}

/// Centre of mass `[x, y]` of the intensity of a wave on a square cell [Å].
fn centre(wave: &Array2<Complex<f64>>, side: f64) -> [f64; 2] {
    let pixel = side / wave.dim().0 as f64;
    let sum: f64 = wave.iter().map(Complex::norm_sqr).sum();
    let moment = |axis: usize| {
        wave.indexed_iter()
            .map(|((y, x), v)| [x, y][axis] as f64 * pixel * v.norm_sqr())
            .sum::<f64>()
    };
    [moment(0) / sum, moment(1) / sum]
}

/// The soft tails of the probe wrap around the cell, which biases the centre by less than 1e-3 Å; the beam moves by 1 Å.
#[test]
fn tilt_moves_the_beam_by_depth_times_tangent() {
    let (side, depth) = (30.0, 60.0);
    let empty = vacuum(side, depth, 2.0);
    let simulation =
        Multislice::new(&empty, &optics(&probe(15.0), Precision::F64, &[], &[30])).unwrap();
    let beam = Illumination::Probe([side / 2.0, side / 2.0]);
    let tilt = [20.0, -12.0];
    let straight = centre(&simulation.exit_waves(beam)[0], side);
    let moved = centre(&simulation.with_tilt(tilt).exit_waves(beam)[0], side);
    for axis in 0..2 {
        let expected = depth * (tilt[axis] * 1e-3).tan();
        let shift = moved[axis] - straight[axis];
        assert!((shift - expected).abs() < 1e-2, "{shift} {expected}");
    }
}

/// A lattice translation is a whole number of pixels here, so that nothing but rounding can differ.
#[test]
fn a_lattice_translation_changes_no_intensity() {
    let specimen = crystal(3, 5, (120, 126));
    let rings = detectors(&[(0.0, 20.0), (40.0, 80.0)]);
    let simulation = Multislice::new(
        &specimen,
        &optics(&probe(30.0), Precision::F64, &rings, &[10]),
    )
    .unwrap();
    let tilted = simulation.with_tilt([9.0, 4.0]);
    let signal = tilted.scan(&[[0.7, 1.9], [0.7 + A, 1.9], [0.7 - 2.0 * A, 1.9 + A]]);
    for detector in 0..2 {
        let first = signal[(detector, 0, 0)];
        for probe in 1..3 {
            assert!((signal[(detector, 0, probe)] / first - 1.0).abs() < 1e-10);
        }
    }
}

/// HAADF signal of a static Fe column of 20 cells under the probe, column and probe moved together by `shift` [Å], for
/// pixels of 12 Å / `pixels`.
fn signal_between_pixels(shift: f64, pixels: usize, oversampling: usize) -> f64 {
    let centre = [6.0 + shift, 6.0 + 0.37 * shift];
    let positions: Vec<[f64; 3]> = (0..20)
        .map(|i| [centre[0], centre[1], 3.9643 * f64::from(i) + 1.0])
        .collect();
    let cell = [12.0, 12.0, 3.9643 * 20.0];
    let (table, slice) = (ScatteringTable::Lobato, 1.98215);
    let column = Potential::new(&positions, &[26; 20], cell, (pixels, pixels), table, slice)
        .and_then(|potential| potential.oversampled(oversampling))
        .unwrap();
    let rings = detectors(&[(80.0, 100.0)]);
    let optics = optics(&probe(30.0), Precision::F64, &rings, &[40]);
    let simulation = Multislice::new(&column, &optics).unwrap();
    simulation.scan(&[centre])[(0, 0, 0)]
}

/// Where a column lies between the pixels must not matter. exp(iσv) aliases on the wave's own grid, by 4 % of the signal at
/// 0.08 Å, and abTEM's bilinear placing of atoms loses up to 21 % there. Oversampling to pixels of about 0.013 Å leaves less
/// than 0.1 % over 16 positions, for the detector nearest to the band limit.
#[test]
fn images_do_not_depend_on_where_the_pixels_lie() {
    let spread = |pixels: usize, oversampling: usize| {
        let signals: Vec<f64> = (0..16)
            .map(|i| f64::from(i) / 16.0 * 12.0 / pixels as f64)
            .map(|shift| signal_between_pixels(shift, pixels, oversampling))
            .collect();
        let largest = signals.iter().copied().fold(0.0, f64::max);
        largest / signals.iter().copied().fold(f64::INFINITY, f64::min) - 1.0
    };
    let plain = spread(150, 1);
    assert!(
        plain > 0.02,
        "oversampling has nothing to mend: {plain:.1e}"
    );
    for (pixels, oversampling) in [(150, 6), (200, 5), (300, 4)] {
        let spread = spread(pixels, oversampling);
        println!("{pixels} pixels, oversampling {oversampling}: {spread:.1e}");
        assert!(spread < 1e-3, "{pixels} pixels: {spread:.1e}");
    }
}

#[test]
fn scans_are_the_same_bytes_for_any_number_of_threads() {
    let specimen = crystal(2, 3, (64, 72));
    let rings = detectors(&[(0.0, 20.0), (30.0, 60.0)]);
    let positions: Vec<[f64; 2]> = (0..23)
        .map(|i| [0.31 * f64::from(i), 0.17 * f64::from(i)])
        .collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            Multislice::new(
                &specimen,
                &optics(&probe(30.0), Precision::F32, &rings, &[2, 6]),
            )
            .unwrap()
            .scan(&positions)
        })
    };
    let one = run(1);
    for threads in [2, 5] {
        let many = run(threads);
        assert!(
            one.iter()
                .zip(&many)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }
}

/// One pass with several exits gives what separate passes give.
#[test]
fn exits_of_one_pass_are_those_of_separate_passes() {
    let specimen = crystal(2, 4, (64, 64));
    let rings = detectors(&[(30.0, 60.0)]);
    let signal = |exits: &[usize]| {
        Multislice::new(
            &specimen,
            &optics(&probe(30.0), Precision::F64, &rings, exits),
        )
        .unwrap()
        .scan(&[[1.0, 2.0]])
    };
    let together = signal(&[1, 4, 8]);
    for (index, exit) in [1, 4, 8].into_iter().enumerate() {
        assert_eq!(together[(0, index, 0)], signal(&[exit])[(0, 0, 0)]);
    }
}

#[test]
fn simulations_that_make_no_sense_are_refused() {
    let specimen = crystal(2, 2, (64, 64));
    let build = |semiangle, rings: &[(f64, f64)], exits: &[usize]| {
        let optics = optics(&probe(semiangle), Precision::F32, &detectors(rings), exits);
        Multislice::new(&specimen, &optics)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(build(30.0, &[(40.0, 200.0)], &[4]).contains("band limit"));
    assert!(build(90.0, &[], &[4]).contains("semiangle of 90 mrad"));
    assert!(build(30.0, &[], &[5]).contains("from 1 to 4"));
    assert!(build(30.0, &[], &[2, 2]).contains("rising"));
    assert!(build(30.0, &[], &[]).contains("at least one"));
}
