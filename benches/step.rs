//! The inner step of multislice, ψ ← F⁻¹[P F[ψ t]], in single precision: [naive](super::naive), with rustfft, and that of the
//! engine, which is timed as 100 equal slices of one probe.
//!
//! Elements are pixels times slices: 1 Gelem/s is 1 ns for a pixel and slice. The engine uses the widest vector registers of the
//! processor; its name in the bench says which. For the others, one process each:
//!
//! ```sh
//! FERROSTEM_VECTORS=avx2 cargo bench -- step
//! FERROSTEM_VECTORS=portable cargo bench -- step
//! ```

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use ferrostem::multislice::{Multislice, Potential, ScatteringTable, Vectors};
use rayon::ThreadPool;

use super::naive::Naive;
use super::specimens::{SLICE, optics};

/// Many, so that the way in and out does not count.
const SLICES: usize = 100;
/// That of the cases M1 and M2 [Å].
const PIXEL: f64 = 19.825 / 256.0;

pub(crate) fn benches(criterion: &mut Criterion) {
    one_thread(criterion);
    all_threads(criterion);
}

fn one_thread(criterion: &mut Criterion) {
    let engine = format!("engine, {:?}", Vectors::of_processor()).to_lowercase();
    let pool = threads(1);
    let mut group = criterion.benchmark_group("step");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for pixels in [128, 256, 384, 512, 1024] {
        group.throughput(Throughput::Elements((pixels * pixels * SLICES) as u64));
        group.bench_function(BenchmarkId::new("naive rustfft", pixels), |bencher| {
            let mut naive = Naive::new(pixels);
            bencher.iter(|| naive.run(SLICES));
        });
        group.bench_function(BenchmarkId::new(&engine, pixels), |bencher| {
            let multislice = equal_slices(pixels);
            let middle = [PIXEL * pixels as f64 / 2.0; 2];
            pool.install(|| bencher.iter(|| multislice.scan(&[middle])));
        });
    }
    group.finish();
}

/// The same, as many probes as keep every processor busy: on one thread and on all.
fn all_threads(criterion: &mut Criterion) {
    let all = rayon::current_num_threads();
    let probes = vec![[PIXEL; 2]; 4 * all];
    let mut group = criterion.benchmark_group("step on threads");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for pixels in [256, 512] {
        let elements = pixels * pixels * SLICES * probes.len();
        group.throughput(Throughput::Elements(elements as u64));
        for count in [1, all] {
            let id = BenchmarkId::new(format!("{count} of {all}"), pixels);
            group.bench_function(id, |bencher| {
                let multislice = equal_slices(pixels);
                threads(count).install(|| bencher.iter(|| multislice.scan(&probes)));
            });
        }
    }
    group.finish();
}

/// An atom in the middle of every slice.
fn equal_slices(pixels: usize) -> Multislice {
    let side = PIXEL * pixels as f64;
    let atom = |slice: usize| [side / 2.0, side / 2.0, (slice as f64 + 0.5) * SLICE];
    let positions: Vec<_> = (0..SLICES).map(atom).collect();
    let potential = Potential::new(
        &positions,
        &[26; SLICES],
        [side, side, SLICES as f64 * SLICE],
        (pixels, pixels),
        ScatteringTable::Lobato,
        SLICE,
    );
    Multislice::new(&potential.unwrap(), &optics(SLICES)).unwrap()
}

fn threads(count: usize) -> ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count);
    pool.build().unwrap()
}
