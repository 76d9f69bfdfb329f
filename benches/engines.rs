//! The four engines, each on a small case of the kind it is for: what a scan costs once everything is ready, on all threads.

use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode, Throughput};
use ferrostem::multislice::{
    Bloch, Multislice, Optics, Prism, PrismSettings, ScanArea, ScatteringTable, ThermalDiffuse,
    ThermalSettings, Windowed, WindowedSettings,
};

use super::specimens::{CELL, bismuth_ferrite, optics, raster, thermal_motion};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engines");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    multislice(&mut group);
    windowed(&mut group);
    prism(&mut group);
    bloch(&mut group);
    group.finish();
}

/// M1 with fewer probes; elements are probes times slices.
fn multislice(group: &mut Group<'_>) {
    let potential = bismuth_ferrite([5, 5, 20], 256, false);
    let multislice = Multislice::new(&potential, &optics(40)).unwrap();
    let positions = raster(2.0 * CELL, 8);
    group.throughput(Throughput::Elements(positions.len() as u64 * 40));
    group.bench_function("multislice, 256² pixels, 40 slices, 64 probes", |bencher| {
        bencher.iter(|| multislice.scan(&positions));
    });
}

/// Windows of 20 Å in a field of 40 Å; elements are probes times slices. The transmission functions of the region are made anew.
fn windowed(group: &mut Group<'_>) {
    let specimen = Arc::new(bismuth_ferrite([10, 10, 20], 512, false));
    let positions = raster(4.0 * CELL, 8);
    let area = ScanArea {
        low: [4.0 * CELL; 2],
        high: [5.0 * CELL; 2],
        tilts_mrad: Vec::new(),
    };
    let settings = WindowedSettings {
        window_angstrom: Some(20.0),
        ..WindowedSettings::default()
    };
    let windowed = Windowed::new(specimen, &optics(40), &settings, &area).unwrap();
    group.throughput(Throughput::Elements(positions.len() as u64 * 40));
    group.bench_function("windowed, 20 Å of 40 Å, 40 slices, 64 probes", |bencher| {
        bencher.iter(|| {
            let region = windowed.region(&area).unwrap();
            region.scan(&positions, [0.0; 2])
        });
    });
}

/// A quarter of P1's area and of its thickness, scattering matrix and sums; elements are probes.
fn prism(group: &mut Group<'_>) {
    let potential = bismuth_ferrite([5, 5, 5], 256, false);
    let settings = PrismSettings {
        interpolation: 2,
        memory_gib: 2.0,
    };
    let positions = raster(2.0 * CELL, 24);
    group.throughput(Throughput::Elements(positions.len() as u64));
    group.bench_function(
        "prism, f = 2, 256² pixels, 10 slices, 576 probes",
        |bencher| {
            bencher.iter_batched(
                || Prism::new(&potential, &optics(10), &settings).unwrap(),
                |prism| prism.scan(&positions),
                BatchSize::PerIteration,
            );
        },
    );
}

/// One cell as 4 × 4 cells, with thermal-diffuse scattering; elements are Bloch vectors.
fn bloch(group: &mut Group<'_>) {
    let optics = thermal(optics(40));
    let rms = optics.thermal.as_ref().unwrap().rms();
    let cell = bismuth_ferrite([1, 1, 20], 64, false).damped(rms).unwrap();
    let bloch = Bloch::new(&cell, &optics, 4).unwrap();
    let positions = raster(0.0, 40);
    group.throughput(Throughput::Elements(16));
    group.bench_function("bloch, N = 4, 64² pixels, 40 slices", |bencher| {
        bencher.iter(|| bloch.scan(&positions));
    });
}

/// The same microscope for atoms in thermal motion.
fn thermal(optics: Optics) -> Optics {
    let settings = ThermalSettings {
        rms_angstrom: thermal_motion(),
        count_elastic: false,
    };
    let table = ScatteringTable::Lobato;
    let model = ThermalDiffuse::new(&settings, table, &optics.probe, &optics.detectors).unwrap();
    Optics {
        thermal: Some(Arc::new(model)),
        ..optics
    }
}
