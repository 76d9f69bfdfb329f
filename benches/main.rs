//! Speed, measured with criterion: `cargo bench -- step`, `cargo bench -- engines`, `cargo bench -- potential`,
//! `cargo bench -- emulator`, `cargo bench -- network`, or all of it.
//! `cargo bench -- --test` runs each once, to see that it works. What came out is in `docs/benchmarks/`.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

mod emulator;
mod engines;
mod naive;
mod network;
mod potential;
mod specimens;
mod step;

fn main() {
    network::benches();
    let mut criterion = criterion::Criterion::default().configure_from_args();
    step::benches(&mut criterion);
    engines::benches(&mut criterion);
    potential::benches(&mut criterion);
    emulator::benches(&mut criterion);
    criterion.final_summary();
}
