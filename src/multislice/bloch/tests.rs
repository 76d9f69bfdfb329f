//! Bloch waves against the waves of probes that stand alone in as many cells.

use std::f64::consts::TAU;

use super::*;
use crate::multislice::probe::{Aperture, FocalSpread, ProbeSettings};
use crate::multislice::readout::{Readout, Visit};
use crate::multislice::{Aberrations, AnnularDetector, ScatteringTable};
use crate::rng::{Rng, stream};

/// Pixels of the cell, its sides `[x, y]` [Å], and how many of them side by side.
struct Case {
    shape: (usize, usize),
    sides: [f64; 2],
    points: usize,
}

/// Three layers of a few atoms at random, some of them out of the middle of their slices, in `copies` × `copies` cells.
fn specimen(case: &Case, copies: usize) -> Potential {
    let (layer, [width, height]) = (3.9, case.sides);
    let mut rng = stream(7, "atoms", 0);
    let (mut positions, mut numbers) = (Vec::new(), Vec::new());
    for atom in 0..9_u8 {
        let [x, y] = [width * rng.random::<f64>(), height * rng.random::<f64>()];
        let z = layer * (f64::from(atom / 3) + 0.3 * f64::from(atom % 3) + 0.05);
        for copy in 0..copies * copies {
            let (i, j) = ((copy % copies) as f64, (copy / copies) as f64);
            positions.push([x + width * i, y + height * j, z]);
            numbers.push([8, 26, 83][usize::from(atom % 3)]);
        }
    }
    let n = copies as f64;
    Potential::new(
        &positions,
        &numbers,
        [n * width, n * height, 3.0 * layer],
        (case.shape.0 * copies, case.shape.1 * copies),
        ScatteringTable::Lobato,
        layer / 2.0,
    )
    .unwrap()
}

fn optics(precision: Precision) -> Optics {
    let ring = |inner_mrad, outer_mrad| {
        AnnularDetector {
            inner_mrad,
            outer_mrad,
        }
        .into()
    };
    Optics {
        probe: ProbeSettings {
            energy_kev: 200.0,
            semiangle_mrad: 21.0,
            aperture: Aperture::Soft,
            aberrations: Aberrations {
                c10_angstrom: Some(-40.0),
                c12_angstrom: 25.0,
                phi12_rad: 0.4,
                c21_angstrom: 700.0,
                ..Aberrations::default()
            },
            focal_spread: Some(FocalSpread {
                rms_angstrom: 30.0,
                points: 3,
            }),
        },
        detectors: vec![ring(0.0, 15.0), ring(25.0, 43.0)],
        exit_slices: vec![2, 3, 6],
        precision,
        thermal: None,
    }
}

/// Made-up diffuse scattering, periodic with the cell: smooth, of both signs, zero in a part of the cell in one channel.
fn map(case: &Case, copies: usize, index: usize, channel: usize) -> Vec<f64> {
    let (rows, cols) = (case.shape.0 * copies, case.shape.1 * copies);
    let at = |pixel: usize| {
        let (y, x) = (pixel / cols % case.shape.0, pixel % case.shape.1);
        let turn = |i: usize, n: usize| TAU * i as f64 / n as f64;
        let value = (turn(x, case.shape.1) + index as f64).cos()
            + 0.4 * (2.0 * turn(y, case.shape.0)).sin()
            + 0.2;
        0.01 * if channel == 0 { value.max(0.0) } else { value }
    };
    (0..rows * cols).map(at).collect()
}

fn maps(case: &Case, copies: usize, index: usize) -> Vec<Vec<f64>> {
    (0..2)
        .map(|channel| map(case, copies, index, channel))
        .collect()
}

/// Both scans, `(channel, exit, position)`.
fn both<T: Lanes>(
    case: &Case,
    precision: Precision,
    tilt: [f64; 2],
    diffuse: bool,
) -> [Array3<f64>; 2] {
    let optics = optics(precision);
    let mut rng = stream(8, "positions", 0);
    let positions: Vec<Point> = (0..7)
        .map(|_| {
            case.sides
                .map(|side| side * (2.0 * rng.random::<f64>() - 0.5))
        })
        .collect();
    let slices = |copies: usize| {
        let slices = Slices::<T>::new(&specimen(case, copies), &optics).unwrap();
        if diffuse {
            slices.scattering(|index| maps(case, copies, index))
        } else {
            slices
        }
    };
    let one = Specimen::of(slices(1), 1e-14);
    let bench = Bench::new(one.slices.grid(), &optics, case.points).unwrap();
    let image = ImageCoefficients {
        values: bench.image(&one, tilt),
        extent: bench.grid.extent(),
    };
    let many = Arc::new(slices(case.points));
    let grid = *many.grid();
    let readout = Readout::new(&optics, &grid).unwrap();
    let engine = Engine::new(many, &grid, [0.0; 2]).with_tilt(tilt);
    let visit = |&position: &Point| Visit {
        position,
        corner: [0; 2],
        tilt_mrad: None,
    };
    let visits: Vec<_> = positions.iter().map(visit).collect();
    [image.at(&positions), readout.scan(&engine, &visits)]
}

fn worst([bloch, full]: &[Array3<f64>; 2]) -> f64 {
    let most = full
        .iter()
        .fold(0.0, |most: f64, value| most.max(value.abs()));
    let off = bloch.iter().zip(full).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f64::max) / most
}

const CASES: [Case; 4] = [
    Case {
        shape: (24, 32),
        sides: [6.0, 4.3],
        points: 3,
    },
    Case {
        shape: (25, 27),
        sides: [4.1, 3.9],
        points: 4,
    },
    Case {
        shape: (32, 24),
        sides: [3.9, 5.1],
        points: 2,
    },
    Case {
        shape: (48, 50),
        sides: [8.0, 7.7],
        points: 1,
    },
];

/// The made-up scattering is a part of the signal that a mistake in it would show.
#[test]
fn diffuse_scattering_is_a_large_part_of_the_image() {
    let [without, _] = both::<f64>(&CASES[0], Precision::F64, [0.0; 2], false);
    let [with, _] = both::<f64>(&CASES[0], Precision::F64, [0.0; 2], true);
    for channel in 0..2 {
        let (with, without) = (with[(channel, 2, 0)], without[(channel, 2, 0)]);
        assert!((with - without).abs() > 1e-3 * without, "{with} {without}");
    }
}

/// Exact but for rounding: 1e-16 of double numbers in sums over 1e4 pixels, 6e-8 of single ones.
#[test]
fn the_image_is_that_of_as_many_cells() {
    for case in &CASES {
        for tilt in [[0.0; 2], [8.0, -3.0]] {
            for diffuse in [false, true] {
                let double = worst(&both::<f64>(case, Precision::F64, tilt, diffuse));
                let single = worst(&both::<f32>(case, Precision::F32, tilt, diffuse));
                let points = case.points;
                assert!(double < 1e-11, "N {points} tilt {tilt:?}: {double}");
                assert!(single < 3e-6, "N {points} tilt {tilt:?}: {single}");
            }
        }
    }
}
