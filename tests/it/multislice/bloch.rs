//! Bloch waves against the full field.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrostem::multislice::{
    Bloch, CentreOfMassDetector, Detector, Multislice, Optics, Potential, Precision,
    ScatteringTable, SegmentedDetector, ThermalDiffuse, ThermalSettings,
};
use ndarray::Array3;

use super::{detectors, optics, probe};

/// Sides of the cell `[x, y]` and its height [Å]: BiFeO₃, drawn out along y.
const CELL: [f64; 3] = [3.9643, 4.4, 3.9643];
/// Pixels of a cell.
const SHAPE: (usize, usize) = (36, 32);

/// `copies` × `copies` cells, 4 deep, in slices of half a cell; the Fe column off its place.
fn crystal(copies: u32) -> Potential {
    let basis = [
        (83, [0.0, 0.0, 0.25]),
        (26, [0.53, 0.48, 0.75]),
        (8, [0.5, 0.5, 0.25]),
        (8, [0.5, 0.0, 0.75]),
        (8, [0.0, 0.5, 0.75]),
    ];
    let (mut positions, mut numbers) = (Vec::new(), Vec::new());
    for i in 0..copies * copies * 4 {
        let corner = [i % copies, i / copies % copies, i / (copies * copies)].map(f64::from);
        for (number, site) in basis {
            let position = |axis: usize| CELL[axis] * (corner[axis] + site[axis]);
            positions.push(std::array::from_fn(position));
            numbers.push(number);
        }
    }
    let n = copies as usize;
    Potential::new(
        &positions,
        &numbers,
        [CELL[0] * n as f64, CELL[1] * n as f64, CELL[2] * 4.0],
        (SHAPE.0 * n, SHAPE.1 * n),
        ScatteringTable::Lobato,
        CELL[2] / 2.0,
    )
    .unwrap()
}

/// Bright and dark field, a segmented detector and a centre of mass, behind two thicknesses.
fn microscope(precision: Precision) -> Optics {
    let mut kinds = detectors(&[(0.0, 12.0), (40.0, 63.0)]);
    kinds.push(Detector::Segmented(SegmentedDetector {
        inner_mrad: 10.0,
        outer_mrad: 60.0,
        rings: 2,
        sectors: 3,
        rotation_rad: 0.3,
    }));
    kinds.push(Detector::CentreOfMass(CentreOfMassDetector {
        inner_mrad: 0.0,
        outer_mrad: 60.0,
    }));
    let mut lens = probe(23.0);
    lens.aberrations.defocus_angstrom = Some(30.0);
    lens.aberrations.c12_angstrom = 20.0;
    optics(&lens, precision, &kinds, &[5, 8])
}

fn thermal(optics: &Optics, count_elastic: bool) -> ThermalDiffuse {
    let rms = [("Bi", 0.0735), ("Fe", 0.0686), ("O", 0.09)];
    let settings = ThermalSettings {
        rms_angstrom: rms.map(|(symbol, rms)| (symbol.to_owned(), rms)).into(),
        count_elastic,
    };
    ThermalDiffuse::new(
        &settings,
        ScatteringTable::Lobato,
        &optics.probe,
        &optics.detectors,
    )
    .unwrap()
}

/// Largest difference in a channel over the largest value there.
fn worst(one: &Array3<f64>, other: &Array3<f64>) -> f64 {
    let mut worst: f64 = 0.0;
    for (one, other) in one.outer_iter().zip(other.outer_iter()) {
        let most = other.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let off = one.iter().zip(&other).map(|(a, b)| (a - b).abs());
        worst = worst.max(off.fold(0.0, f64::max) / most);
    }
    worst
}

/// Rounding only: 1e-16 and 6e-8 a step, and the weakest channels are a thousandth of the beam; the gate is 1e-5.
#[test]
fn bloch_waves_give_the_image_of_the_supercell() {
    let positions: Vec<[f64; 2]> = (0..5)
        .map(|i| [1.3 * f64::from(i) - 1.0, 0.9 * f64::from(i)])
        .collect();
    for (precision, tolerance) in [(Precision::F64, 1e-10), (Precision::F32, 1e-5)] {
        for (points, motion) in [(3, None), (4, None), (3, Some(true)), (4, Some(false))] {
            let mut optics = microscope(precision);
            let (mut cell, mut supercell) = (crystal(1), crystal(points));
            if let Some(count_elastic) = motion {
                if !count_elastic {
                    // The centre of mass of diffuse electrons is zero.
                    optics.detectors.pop();
                }
                let thermal = thermal(&optics, count_elastic);
                let rms: BTreeMap<u8, f64> = thermal.rms().clone();
                cell = cell.damped(&rms).unwrap();
                supercell = supercell.damped(&rms).unwrap();
                optics.thermal = Some(Arc::new(thermal));
            }
            let bloch = Bloch::new(&cell, &optics, points as usize).unwrap();
            let full = Multislice::new(&supercell, &optics).unwrap();
            for tilt in [[0.0, 0.0], [8.0, -3.0]] {
                let bloch = bloch.with_tilt(tilt).scan(&positions);
                let full = full.with_tilt(tilt).scan(&positions);
                let off = worst(&bloch, &full);
                assert!(off < tolerance, "N = {points} {motion:?} {tilt:?}: {off:e}");
            }
        }
    }
}

#[test]
fn bloch_images_are_the_same_bytes_for_any_number_of_threads() {
    let cell = crystal(1);
    let optics = microscope(Precision::F32);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            // Four Bloch vectors: on one thread one after the other, on eight their beams side by side.
            let bloch = Bloch::new(&cell, &optics, 2).unwrap();
            bloch.scan(&[[0.1, 0.2], [2.0, 3.0]])
        })
    };
    assert_eq!(run(1), run(8));
    assert_eq!(run(1), run(3));
}

/// The image repeats with the cell; phases of 1e2 turns round at 1e-14.
#[test]
fn bloch_images_repeat_with_the_cell() {
    let bloch = Bloch::new(&crystal(1), &microscope(Precision::F32), 2).unwrap();
    let image = bloch.scan(&[[0.3, 0.7], [0.3 + 5.0 * CELL[0], 0.7 - 2.0 * CELL[1]]]);
    for reading in image.rows() {
        assert!((reading[0] - reading[1]).abs() < 1e-12);
    }
}

#[test]
fn bloch_waves_that_make_no_sense_are_refused() {
    let cell = crystal(1);
    let refusal = |points: usize, semiangle: f64, exits: &[usize]| {
        let mut optics = microscope(Precision::F32);
        optics.probe.semiangle_mrad = semiangle;
        optics.exit_slices = exits.to_vec();
        Bloch::new(&cell, &optics, points)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(refusal(0, 20.0, &[8]).contains("at least 1"));
    assert!(refusal(2, 90.0, &[8]).contains("band limit"));
    assert!(refusal(2, 20.0, &[9]).contains("from 1 to 8"));
}
