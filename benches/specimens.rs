//! The specimen and the microscope of all benches: polar BiFeO₃ as in `docs/benchmarks/compare.py`, 200 keV, 30 mrad, HAADF.

use std::collections::BTreeMap;

use ferrostem::multislice::{
    Aberrations, AnnularDetector, Aperture, Detector, Optics, Potential, Precision, ProbeSettings,
    ScatteringTable,
};
use ferrostem::rng::{Rng, stream};

/// Side of a cell [Å].
pub(crate) const CELL: f64 = 3.965;
/// Two slices to a cell [Å].
pub(crate) const SLICE: f64 = CELL / 2.0;
/// Largest random displacement of an atom along an axis [Å].
const DISPLACEMENT: f64 = 0.1;

/// Atomic number, place in units of the cell, and shift along [110] [Å].
const BASIS: [(u8, [f64; 3], f64); 5] = [
    (83, [0.0, 0.0, 0.0], 0.0),
    (26, [0.5, 0.5, 0.5], 0.25),
    (8, [0.5, 0.5, 0.0], -0.15),
    (8, [0.5, 0.0, 0.5], -0.15),
    (8, [0.0, 0.5, 0.5], -0.15),
];

/// `cells` `[x, y, z]` of BiFeO₃ on `pixels` × `pixels`. Atoms that are `displaced`, as if by thermal motion, make every slice
/// different; else only two are.
pub(crate) fn bismuth_ferrite(cells: [u32; 3], pixels: usize, displaced: bool) -> Potential {
    let mut rng = stream(1, "displacements", 0);
    let (mut positions, mut numbers) = (Vec::new(), Vec::new());
    for index in 0..cells.iter().product() {
        let corner = [
            index % cells[0],
            index / cells[0] % cells[1],
            index / (cells[0] * cells[1]),
        ];
        for (number, place, shift) in BASIS {
            let along = [shift / 2_f64.sqrt(), shift / 2_f64.sqrt(), CELL / 4.0];
            positions.push([0, 1, 2].map(|axis| {
                let random = if displaced {
                    DISPLACEMENT * (2.0 * rng.random::<f64>() - 1.0)
                } else {
                    0.0
                };
                CELL * (f64::from(corner[axis]) + place[axis]) + along[axis] + random
            }));
            numbers.push(number);
        }
    }
    let size = cells.map(|count| CELL * f64::from(count));
    let shape = (pixels, pixels);
    Potential::new(
        &positions,
        &numbers,
        size,
        shape,
        ScatteringTable::Lobato,
        SLICE,
    )
    .unwrap()
}

/// Thermal motion by atomic number, 1-D rms [Å].
pub(crate) fn thermal_motion() -> BTreeMap<String, f64> {
    [("Bi", 0.0735), ("Fe", 0.0686), ("O", 0.09)]
        .map(|(symbol, rms)| (symbol.to_owned(), rms))
        .into()
}

/// The microscope, read once, behind slice `exit`.
pub(crate) fn optics(exit: usize) -> Optics {
    Optics {
        probe: ProbeSettings {
            energy_kev: 200.0,
            semiangle_mrad: 30.0,
            aperture: Aperture::Soft,
            aberrations: Aberrations::default(),
            focal_spread: None,
        },
        detectors: vec![Detector::from(AnnularDetector {
            inner_mrad: 80.0,
            outer_mrad: 105.0,
        })],
        exit_slices: vec![exit],
        precision: Precision::F32,
        thermal: None,
    }
}

/// `count` × `count` positions `[x, y]` [Å] over one cell, the first at `start` along both axes [Å].
pub(crate) fn raster(start: f64, count: u32) -> Vec<[f64; 2]> {
    let step = CELL / f64::from(count);
    let at = |index: u32| start + step * f64::from(index);
    let rows = (0..count).flat_map(|y| (0..count).map(move |x| (x, y)));
    rows.map(|(x, y)| [at(x), at(y)]).collect()
}
