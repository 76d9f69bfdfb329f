//! Probes on windows against the full-field engine.

use std::sync::Arc;

use ferrostem::multislice::{
    Multislice, Optics, Potential, Precision, Region, ScanArea, ScatteringTable, Windowed,
    WindowedSettings,
};
use ndarray::Array3;

use super::{detectors, optics, probe};

const A: f64 = 3.9643;
/// Straight, and tilted by 8 mrad.
const TILTS: [[f64; 2]; 2] = [[0.0, 0.0], [8.0, -3.0]];
/// Bright field, annular bright field, medium and high angles [mrad].
const RINGS: [(f64, f64); 4] = [(0.0, 10.0), (12.0, 30.0), (40.0, 70.0), (70.0, 100.0)];

/// BiFeO₃, `cells` wide and `layers` deep in slices of half a cell, its Fe columns displaced by 0.25 Å, each to another side.
fn texture(cells: u32, layers: u32, pixels: usize) -> Arc<Potential> {
    let basis = [
        (83, [0.0, 0.0, 0.25]),
        (26, [0.5, 0.5, 0.75]),
        (8, [0.5, 0.5, 0.25]),
        (8, [0.5, 0.0, 0.75]),
        (8, [0.0, 0.5, 0.75]),
    ];
    let (mut positions, mut numbers) = (Vec::new(), Vec::new());
    for i in 0..cells * cells * layers {
        let corner = [i % cells, i / cells % cells, i / (cells * cells)].map(f64::from);
        let azimuth = 1.3 * corner[0] + 2.1 * corner[1];
        for (number, site) in basis {
            let mut atom: [f64; 3] = std::array::from_fn(|axis| A * (corner[axis] + site[axis]));
            if number == 26 {
                atom[0] += 0.25 * azimuth.cos();
                atom[1] += 0.25 * azimuth.sin();
            }
            positions.push(atom);
            numbers.push(number);
        }
    }
    let side = A * f64::from(cells);
    let cell = [side, side, A * f64::from(layers)];
    let (shape, table) = ((pixels, pixels), ScatteringTable::Lobato);
    Arc::new(Potential::new(&positions, &numbers, cell, shape, table, A / 2.0).unwrap())
}

fn microscope(precision: Precision, exits: &[usize]) -> Optics {
    optics(&probe(30.0), precision, &detectors(&RINGS), exits)
}

fn settings(window_angstrom: Option<f64>, border_intensity: f64) -> WindowedSettings {
    WindowedSettings {
        border_intensity,
        window_angstrom,
        memory_gib: 1.0,
    }
}

fn area(low: [f64; 2], high: [f64; 2]) -> ScanArea {
    ScanArea {
        low,
        high,
        tilts_mrad: TILTS.to_vec(),
    }
}

/// A raster over a cell, from a corner.
fn raster(corner: [f64; 2], step: f64, points: u32) -> Vec<[f64; 2]> {
    (0..points * points)
        .map(|i| {
            let place = [f64::from(i % points), f64::from(i / points)];
            std::array::from_fn(|axis| corner[axis] + step * place[axis])
        })
        .collect()
}

/// For every channel and exit, the largest difference over the largest reading.
fn errors(found: &Array3<f64>, expected: &Array3<f64>) -> Vec<f64> {
    assert_eq!(found.dim(), expected.dim());
    let (channels, exits, _) = expected.dim();
    let each = |n: usize| {
        let at = ndarray::s![n / exits, n % exits, ..];
        let peak = expected.slice(at).fold(0.0, |m: f64, v| m.max(*v));
        let difference = &found.slice(at) - &expected.slice(at);
        difference.fold(0.0, |m: f64, v| m.max(v.abs())) / peak
    };
    (0..channels * exits).map(each).collect()
}

fn worst(found: &Array3<f64>, expected: &Array3<f64>) -> f64 {
    errors(found, expected).into_iter().fold(0.0, f64::max)
}

#[test]
fn print_everything() {
    let specimen = texture(6, 6, 288);
    let optics = microscope(Precision::F32, &[6, 12]);
    let around = area([8.0, 8.0], [13.0, 13.0]);
    let t = std::time::Instant::now();
    let full = Multislice::new(&specimen, &optics).unwrap();
    println!("full made {:?}", t.elapsed());
    let positions = raster([8.3, 8.1], 0.66, 6);
    for side in [10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 1e3] {
        let windowed = Windowed::new(
            Arc::clone(&specimen),
            &optics,
            &settings(Some(side), 0.01),
            &around,
        )
        .unwrap();
        let region = windowed.region(&around).unwrap();
        for tilt in TILTS {
            let expected = full.with_tilt(tilt).scan(&positions);
            let found = region.scan(&positions, tilt);
            let e = errors(&found, &expected);
            println!(
                "{side} {:?} {tilt:?} {}",
                windowed.window().shape(),
                e.iter()
                    .map(|e| format!("{:.3}%", 100.0 * e))
                    .collect::<Vec<_>>()
                    .join(" ")
            );
        }
        println!("   estimate {:?}", windowed.error_estimate().unwrap());
    }
    for bound in [0.05, 0.02, 0.01, 0.007, 0.001] {
        let t = std::time::Instant::now();
        match Windowed::new(
            Arc::clone(&specimen),
            &optics,
            &settings(None, bound),
            &around,
        ) {
            Ok(w) => println!(
                "bound {bound}: {:?} border {:?} {:?}",
                w.window().extent(),
                w.border_intensity(),
                t.elapsed()
            ),
            Err(e) => println!("bound {bound}: {e} {:?}", t.elapsed()),
        }
    }
    // region cutting
    for precision in [Precision::F64] {
        let optics = microscope(precision, &[6, 12]);
        for side in [12.0, 16.0] {
            let windowed = Windowed::new(
                Arc::clone(&specimen),
                &optics,
                &settings(Some(side), 0.01),
                &around,
            )
            .unwrap();
            let whole = windowed.region(&area([0.0; 2], [23.0; 2])).unwrap();
            let small = |p: [f64; 2]| -> Region { windowed.region(&area(p, p)).unwrap() };
            for p in [[8.3, 8.1], [1.0, 22.0], [11.0, 10.2]] {
                let a = whole.scan(&[p], TILTS[1]);
                let b = small(p).scan(&[p], TILTS[1]);
                println!(
                    "cut {side} {p:?} {:?}",
                    errors(&b, &a)
                        .iter()
                        .map(|e| format!("{e:.1e}"))
                        .collect::<Vec<_>>()
                );
                let q = [p[0] + 6.0 * A, p[1] - 6.0 * A];
                let c = small(q).scan(&[q], TILTS[1]);
                println!("   wrapped {:.1e}", worst(&c, &b));
                let d = small(p).scan_tilted(&[(p, TILTS[1])]);
                println!("   own tilt {:.1e}", worst(&d, &b));
            }
        }
    }
}
