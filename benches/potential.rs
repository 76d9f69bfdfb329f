//! Projected potentials of BiFeO₃ with displaced atoms, in which no slice is like another: cutting the specimen into slices,
//! and one slice of each kind on the fine grid. Elements are atoms.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};

use super::specimens::bismuth_ferrite;

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("potential");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    // Cells along x and y, pixels, how much finer the potential's grid is.
    for (side, pixels, finer) in [
        (5, 256, 1),
        (5, 256, 2),
        (10, 512, 1),
        (10, 512, 2),
        (20, 512, 1),
        (40, 1024, 1),
    ] {
        let cells = [side, side, 1];
        let id = BenchmarkId::new(
            format!("{side} x {side} cells, oversampling {finer}"),
            pixels,
        );
        group.throughput(Throughput::Elements(u64::from(5 * side * side)));
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                let potential = bismuth_ferrite(cells, pixels, true)
                    .oversampled(finer)
                    .unwrap();
                for slice in 0..potential.unique_slices() {
                    black_box(potential.projected(slice));
                }
            });
        });
    }
    group.finish();
}
