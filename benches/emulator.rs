//! The emulator on one core: a megapixel of a random texture, as drawn, and with source, dose and scan noise.

use criterion::{Criterion, SamplingMode, Throughput};
use ferrostem::acquisition::{Acquisition, Border};
use ferrostem::crystal::{External, Specimen};
use ferrostem::emulator::{Frame, Painter, Sites};
use ferrostem::image::Image;
use ferrostem::settings::Source;
use ferrostem::simulation::shipped_response;

const SPECIMEN: &str = r#"
cells = [50, 50, 26]
lattice_angstrom = 3.9643
[r3c]
amplitude = 1.0
[r3c.texture.random]
shortest_wavelength_angstrom = 12.0
amplitude = 0.7
along_beam = 1.0
"#;
/// Thickness [cells].
const DEPTH: usize = 26;
const STEP: f64 = 0.1982;
const POINTS: usize = 1000;

pub(crate) fn benches(criterion: &mut Criterion) {
    let specimen: Specimen = Source::from_text("bench", SPECIMEN).parse().unwrap();
    let (structure, _) = specimen.build(1, &External::default()).unwrap();
    let sites = Sites::new(&structure, specimen.cells, DEPTH).unwrap();
    let response = shipped_response().unwrap();
    let frame = Frame {
        start: [0.0; 2],
        step: [STEP; 2],
        points: [POINTS; 2],
    };
    let painter = Painter::new(&response, DEPTH, frame.step).unwrap();
    let acquisition = Acquisition {
        source_fwhm_angstrom: 0.8,
        dose_per_angstrom2: Some(1e5),
        row_jitter_pm: 3.0,
        drift_angstrom: [1.0, 0.5],
    };
    let draw = || painter.paint(&sites, &frame, &|_| [4.0, 3.0]);
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let mut group = criterion.benchmark_group("emulator");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements((POINTS * POINTS) as u64));
    group.bench_function("pixels drawn", |bencher| bencher.iter(|| one.install(draw)));
    group.bench_function("pixels with source, dose and scan noise", |bencher| {
        bencher.iter(|| {
            let image = Image {
                data: one.install(draw),
                sampling: frame.step,
            };
            one.install(|| acquisition.acquire(&image, Border::Mirror, 1, 0))
                .unwrap()
        });
    });
    group.bench_function("painters made", |bencher| {
        bencher.iter(|| {
            one.install(|| Painter::new(&response, DEPTH, frame.step))
                .unwrap()
        });
    });
    group.finish();
}
