//! Probes on windows against the full-field engine.

use std::sync::Arc;

use ferrostem::multislice::{
    FocalSpread, Multislice, Optics, Potential, Precision, ScanArea, ScatteringTable,
    ThermalDiffuse, ThermalSettings, Windowed, WindowedSettings,
};
use ndarray::Array3;

use super::specimens::{A, texture};
use super::{detectors, optics, probe};

/// Straight, and tilted by 8 mrad and more.
const TILTS: [[f64; 2]; 2] = [[0.0, 0.0], [8.0, -3.0]];
/// Bright field, annular bright field, medium and high angles [mrad].
const RINGS: [(f64, f64); 4] = [(0.0, 10.0), (12.0, 28.0), (40.0, 70.0), (70.0, 98.0)];

fn microscope(precision: Precision, exits: &[usize]) -> Optics {
    optics(&probe(30.0), precision, &detectors(&RINGS), exits)
}

/// A bound, or a fixed side [Å].
fn settings(border_intensity: f64, window_angstrom: Option<f64>) -> WindowedSettings {
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
fn raster(corner: [f64; 2], points: u32) -> Vec<[f64; 2]> {
    let step = A / f64::from(points);
    let place = |i: u32| [f64::from(i % points), f64::from(i / points)];
    (0..points * points)
        .map(|i| [0, 1].map(|axis| corner[axis] + step * place(i)[axis]))
        .collect()
}

/// For each channel the largest difference over the largest reading behind the same exit.
fn errors(found: &Array3<f64>, expected: &Array3<f64>) -> Vec<f64> {
    assert_eq!(found.dim(), expected.dim());
    let (channels, exits, _) = expected.dim();
    let error = |channel: usize, exit: usize| {
        let at = ndarray::s![channel, exit, ..];
        let peak = expected.slice(at).fold(0.0, |m: f64, v| m.max(*v));
        let difference = &found.slice(at) - &expected.slice(at);
        difference.fold(0.0, |m: f64, v| m.max(v.abs())) / peak
    };
    let worst = |channel| {
        (0..exits)
            .map(|exit| error(channel, exit))
            .fold(0.0, f64::max)
    };
    (0..channels).map(worst).collect()
}

fn worst(found: &Array3<f64>, expected: &Array3<f64>) -> f64 {
    errors(found, expected).into_iter().fold(0.0, f64::max)
}

/// Tilted probes over the cell at `corner`, on windows of a fixed `side` [Å]: the windows, and the largest error against the
/// full field.
fn over_a_cell(
    specimen: Potential,
    optics: &Optics,
    side: f64,
    corner: [f64; 2],
) -> (Windowed, f64) {
    let around = area(corner, corner.map(|start| start + A));
    let full = Multislice::new(&specimen, optics).unwrap();
    let fixed = settings(0.5, Some(side));
    let windowed = Windowed::new(Arc::new(specimen), optics, &fixed, &around).unwrap();
    let positions = raster(corner, 3);
    let found = windowed.region(&around).unwrap().scan(&positions, TILTS[1]);
    let error = worst(&found, &full.with_tilt(TILTS[1]).scan(&positions));
    (windowed, error)
}

/// The same waves on the same slices: bit by bit.
#[test]
fn a_window_as_wide_as_the_specimen_is_the_full_field() {
    let specimen = Arc::new(texture(3, 3, 96));
    let around = area([0.0; 2], [2.0; 2]);
    let optics = optics(
        &probe(30.0),
        Precision::F32,
        &detectors(&[(0.0, 20.0), (30.0, 60.0)]),
        &[2, 6],
    );
    let full = Multislice::new(&specimen, &optics).unwrap();
    let windowed = Windowed::new(specimen, &optics, &settings(0.5, Some(100.0)), &around).unwrap();
    let region = windowed.region(&around).unwrap();
    let positions = [[0.3, 1.9], [1.7, 0.2]];
    for tilt in TILTS {
        let expected = full.with_tilt(tilt).scan(&positions);
        assert_eq!(region.scan(&positions, tilt), expected);
    }
}

/// The gate: half a per cent of the image's peak. The bound is the default; the window is 18 Å of 24 Å. At low angles the full
/// field's own pixels, 1 mrad wide, decide what a detector sees, and the window follows them.
#[test]
fn a_window_is_within_half_a_per_cent_of_the_full_field() {
    let specimen = Arc::new(texture(6, 6, 288));
    let around = area([8.0; 2], [8.0 + A; 2]);
    let optics = microscope(Precision::F32, &[6, 12]);
    let full = Multislice::new(&specimen, &optics).unwrap();
    let default = WindowedSettings::default();
    let windowed = Windowed::new(specimen, &optics, &default, &around).unwrap();
    assert!(windowed.window().extent()[0] < 20.0);
    assert!(windowed.border_intensity().unwrap() <= default.border_intensity);
    let region = windowed.region(&around).unwrap();
    let positions = raster([8.0; 2], 6);
    let mut largest = [0.0_f64; RINGS.len()];
    for tilt in TILTS {
        let expected = full.with_tilt(tilt).scan(&positions);
        let found = errors(&region.scan(&positions, tilt), &expected);
        for (largest, error) in largest.iter_mut().zip(&found) {
            *largest = largest.max(*error);
        }
    }
    assert!(largest.iter().all(|error| *error < 5e-3), "{largest:?}");
    // The estimate comes from a few trial probes: of the same size, on the same side of the gate.
    let estimate = windowed.error_estimate().unwrap();
    assert!(estimate.full_field && (estimate.side - 6.0 * A).abs() < 1e-9);
    for (estimate, largest) in estimate.channels.iter().zip(&largest) {
        assert!(*estimate < 5e-3 && *estimate > 0.1 * largest);
    }
}

/// A specimen of several tiles, probes at their corners: windows on tiles against the potential of the whole.
#[test]
fn a_mosaic_of_tiles_is_the_specimen() {
    let specimen = texture(12, 2, 432);
    let optics = optics(
        &probe(25.0),
        Precision::F64,
        &detectors(&[(0.0, 8.0), (28.0, 55.0)]),
        &[4],
    );
    let (_, error) = over_a_cell(specimen, &optics, 30.0, [29.0; 2]);
    assert!(error < 5e-3, "{error:e}");
}

/// Which region a probe is read in does not matter, bit by bit; nor does which periodic image of the specimen it stands on, but
/// for the rounding of positions.
#[test]
fn readings_do_not_depend_on_the_cutting_into_regions() {
    let specimen = Arc::new(texture(11, 2, 396));
    let optics = optics(
        &probe(30.0),
        Precision::F64,
        &detectors(&[(0.0, 20.0), (30.0, 55.0)]),
        &[2, 4],
    );
    let side = 11.0 * A;
    let all = area([-3.0, 0.0], [side, side]);
    let windowed = Windowed::new(specimen, &optics, &settings(0.5, Some(12.0)), &all).unwrap();
    let whole = windowed.region(&all).unwrap();
    for position in [[8.3, 8.1], [-2.0, 42.0], [29.9, 30.1]] {
        let alone = windowed.region(&area(position, position)).unwrap();
        let expected = alone.scan(&[position], TILTS[1]);
        assert_eq!(whole.scan(&[position], TILTS[1]), expected);
        let image = [position[0] + side, position[1] - 2.0 * side];
        let region = windowed.region(&area(image, image)).unwrap();
        assert!(worst(&region.scan(&[image], TILTS[1]), &expected) < 1e-9);
    }
}

#[test]
fn every_probe_may_have_its_own_tilt() {
    let specimen = Arc::new(texture(5, 3, 160));
    let optics = optics(
        &probe(30.0),
        Precision::F32,
        &detectors(&[(0.0, 20.0), (30.0, 55.0)]),
        &[6],
    );
    let around = area([4.0; 2], [9.0; 2]);
    let windowed = Windowed::new(specimen, &optics, &settings(0.5, Some(13.0)), &around).unwrap();
    let region = windowed.region(&around).unwrap();
    let probes = [
        ([5.0, 6.0], TILTS[0]),
        ([7.0, 4.5], TILTS[1]),
        ([8.8, 8.9], [3.0, -1.0]),
    ];
    let found = region.scan_tilted(&probes);
    for (index, (position, tilt)) in probes.into_iter().enumerate() {
        let alone = region.scan(&[position], tilt);
        for channel in 0..2 {
            assert_eq!(found[(channel, 0, index)], alone[(channel, 0, 0)]);
        }
    }
}

#[test]
fn a_focal_series_is_averaged_on_windows_too() {
    let specimen = texture(6, 3, 192);
    let mut lens = probe(25.0);
    lens.aberrations.defocus_angstrom = Some(10.0);
    lens.focal_spread = Some(FocalSpread {
        rms_angstrom: 20.0,
        points: 3,
    });
    let rings = detectors(&[(0.0, 10.0), (40.0, 60.0)]);
    let optics = optics(&lens, Precision::F64, &rings, &[6]);
    let (windowed, error) = over_a_cell(specimen, &optics, 19.0, [7.0; 2]);
    assert!(windowed.cut_off() > 0.0 && windowed.cut_off() < 0.02);
    assert!(error < 5e-3, "{error:e}");
}

/// Thermal-diffuse maps are laid out in tiles as transmission functions are; a specimen of several tiles.
#[test]
fn diffuse_scattering_is_that_of_the_full_field() {
    let rms = [("Bi", 0.0735), ("Fe", 0.0686), ("O", 0.09)];
    let thermal = ThermalSettings {
        rms_angstrom: rms.map(|(symbol, rms)| (symbol.to_owned(), rms)).into(),
        count_elastic: false,
    };
    let rings = detectors(&[(30.0, 50.0), (35.0, 60.0)]);
    let mut optics = optics(&probe(25.0), Precision::F32, &rings, &[2, 4]);
    let table = ScatteringTable::Lobato;
    let diffuse = ThermalDiffuse::new(&thermal, table, &optics.probe, &rings).unwrap();
    optics.thermal = Some(Arc::new(diffuse));
    let still = texture(11, 2, 352);
    let specimen = still.damped(&thermal.rms_by_number()).unwrap();
    let (_, error) = over_a_cell(specimen, &optics, 16.0, [29.0; 2]);
    assert!(error < 5e-3, "{error:e}");
}

/// A tighter bound asks for a larger window; a thicker specimen too.
#[test]
fn the_window_grows_until_the_bound_is_kept() {
    let specimen = Arc::new(texture(8, 20, 256));
    let around = area([8.0; 2], [20.0; 2]);
    let find = |bound: f64, exits: &[usize]| {
        let rings = detectors(&[(0.0, 20.0)]);
        let optics = optics(&probe(30.0), Precision::F32, &rings, exits);
        let specimen = Arc::clone(&specimen);
        let windowed = Windowed::new(specimen, &optics, &settings(bound, None), &around).unwrap();
        let border = windowed.border_intensity().unwrap();
        assert!(border <= bound, "{border} {bound}");
        windowed.window().extent()[0]
    };
    let (wide, narrow) = (find(0.003, &[40]), find(0.03, &[40]));
    assert!(wide > narrow, "{wide} {narrow}");
    let thin = find(0.003, &[2]);
    assert!(wide > thin, "{wide} {thin}");
}

#[test]
fn a_bound_that_no_window_keeps_is_an_error() {
    let specimen = Arc::new(texture(3, 2, 96));
    let around = area([0.0; 2], [4.0; 2]);
    let optics = optics(
        &probe(30.0),
        Precision::F32,
        &detectors(&[(0.0, 20.0)]),
        &[4],
    );
    let refuse = |settings: &WindowedSettings| {
        let windowed = Windowed::new(Arc::clone(&specimen), &optics, settings, &around);
        windowed.err().unwrap().to_string()
    };
    let message = refuse(&settings(1e-7, None));
    for part in [
        "as wide as the specimen, 11.9 x 11.9 Å",
        "border_intensity = 1e-7",
        "repeat",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let message = refuse(&WindowedSettings {
        memory_gib: 1e-6,
        ..settings(0.01, None)
    });
    assert!(message.contains("memory_gib"), "{message}");
}

/// The rectangle that fits into the memory does, one 1 Å larger does not; with all the memory it is the whole raster.
#[test]
fn regions_fill_the_memory_allowed() {
    let specimen = Arc::new(texture(11, 2, 396));
    let optics = optics(
        &probe(30.0),
        Precision::F32,
        &detectors(&[(0.0, 20.0)]),
        &[4],
    );
    let all = area([0.0; 2], [43.0, 20.0]);
    let make = |memory_gib: f64| {
        let settings = WindowedSettings {
            memory_gib,
            ..settings(0.5, Some(12.0))
        };
        Windowed::new(Arc::clone(&specimen), &optics, &settings, &all).unwrap()
    };
    assert_eq!(make(1.0).largest_region().unwrap(), [43.0, 20.0]);
    assert!(make(1.0).error_estimate().unwrap().full_field);
    let memory = 0.001;
    let windowed = make(memory);
    let [x, y] = windowed.largest_region().unwrap();
    let allowed = memory * f64::from(1 << 30);
    assert!(x > 1.0 && x < 43.0 && y > 1.0);
    assert!(windowed.bytes_of_region([x, y]) as f64 <= allowed);
    assert!(windowed.bytes_of_region([x + 1.0, y + 1.0]) as f64 > allowed);
    // The full field does not fit; a window up to twice as wide does.
    let estimate = windowed.error_estimate().unwrap();
    assert!(!estimate.full_field && estimate.side > 14.0 && estimate.side < 27.0);
}
