//! From waves to readings: what every detector collects from every probe behind every exit slice.
//!
//! A reading is one number per probe and exit, a fraction of the incident beam. All engines give them in the same order: the
//! channels of the detectors, one after the other, then the pixels of their cameras.

use ndarray::Array3;
use rayon::prelude::*;

use super::detector::readout::Readout as Pixels;
use super::engine::{Before, Engine, Entrance, Place, Wave, Workspace};
use super::grid::Grid;
use super::lanes::{Lanes, Tile};
use super::optics::Optics;
use super::probe::Probe;
use super::slices::Sheet;
use super::view::probes_on_window;
use crate::error::Result;
use crate::neighbours::Point;

/// A probe to be read: where it stands in its window, where the window lies, how the specimen is tilted there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Visit {
    /// Position `[x, y]` in the window [Å].
    pub(super) position: Point,
    /// First row and column of the specimen's grid that the window covers.
    pub(super) corner: [usize; 2],
    /// Mistilt in place of the engine's own `[x, y]` [mrad].
    pub(super) tilt_mrad: Option<[f64; 2]>,
}

/// Detectors and probes on the grid of a wave.
pub(super) struct Readout {
    /// The detectors' pixels; none if what is scattered elastically does not count.
    elastic: Option<Pixels>,
    readings: usize,
    /// The probes of the focal series that is averaged, with their weights.
    probes: Vec<(f64, Probe)>,
    exits: Vec<usize>,
}

impl Readout {
    /// # Errors
    /// A detector or the aperture reaches beyond the band limit of `grid`.
    pub(super) fn new(optics: &Optics, grid: &Grid) -> Result<Self> {
        let pixels = || Pixels::new(&optics.detectors, grid, optics.probe.wavelength());
        let elastic = optics.counts_elastic().then(pixels).transpose()?;
        Ok(Self::from_parts(
            optics,
            elastic,
            optics.focal_probes(grid)?,
        ))
    }

    /// The detectors and probes of the grid `whole`, for waves on a `window` of it.
    ///
    /// # Errors
    /// As [`Readout::new`].
    pub(super) fn on_window(optics: &Optics, whole: &Grid, window: &Grid) -> Result<Self> {
        let lambda = optics.probe.wavelength();
        let pixels = || Pixels::on_window(&optics.detectors, whole, window, lambda);
        let elastic = optics.counts_elastic().then(pixels).transpose()?;
        let probes = probes_on_window(optics, whole, window)?;
        Ok(Self::from_parts(optics, elastic, probes))
    }

    fn from_parts(optics: &Optics, elastic: Option<Pixels>, probes: Vec<(f64, Probe)>) -> Self {
        Self {
            readings: elastic
                .as_ref()
                .map_or_else(|| optics.channel_count(), Pixels::len),
            elastic,
            probes,
            exits: optics.exit_slices.clone(),
        }
    }

    /// The probe in the middle of the focal series.
    pub(super) fn probe(&self) -> &Probe {
        &self.probes[self.probes.len() / 2].1
    }

    /// The probes of the focal series, with their weights.
    pub(super) fn probes(&self) -> &[(f64, Probe)] {
        &self.probes
    }

    /// Readings of probes, `(reading, exit, probe)`. Probes run in parallel; the numbers do not depend on how many do.
    pub(super) fn scan<T: Lanes>(&self, engine: &Engine<T>, visits: &[Visit]) -> Array3<f64> {
        let (readings, exits) = (self.readings, self.exits.len());
        let shape = (readings, exits, visits.len());
        if readings == 0 {
            return Array3::zeros(shape);
        }
        let mut sums = vec![0.0; visits.len() * readings * exits];
        let side_by_side = side_by_side(engine);
        sums.par_chunks_mut(readings * exits * side_by_side)
            .zip(visits.par_chunks(side_by_side))
            .for_each_init(
                || {
                    let member = |_| (engine.workspace(), Tally::new(exits, readings));
                    (0..side_by_side).map(member).unzip()
                },
                |(works, tallies): &mut (Vec<_>, Vec<_>), (sums, visits)| {
                    for (weight, probe) in &self.probes {
                        self.read(engine, probe, visits, works, tallies);
                        let each = sums.chunks_exact_mut(readings * exits);
                        for (sums, tally) in each.zip(&*tallies) {
                            tally.add_to(sums, *weight);
                        }
                    }
                },
            );
        Array3::from_shape_fn(shape, |(reading, exit, probe)| {
            sums[(probe * exits + exit) * readings + reading]
        })
    }

    /// Sends some probes through side by side, and counts.
    fn read<T: Lanes>(
        &self,
        engine: &Engine<T>,
        probe: &Probe,
        visits: &[Visit],
        works: &mut [Workspace<T>],
        tallies: &mut [Tally],
    ) {
        let wave = |visit: &Visit| Wave {
            entrance: Entrance::Probe(probe, visit.position),
            corner: visit.corner,
            tilt_mrad: visit.tilt_mrad,
        };
        let waves: Vec<_> = visits.iter().map(wave).collect();
        let readings = self.readings;
        let of_exit = |exit: usize| exit * readings..(exit + 1) * readings;
        let (mut elastic, mut diffuse): (Vec<_>, Vec<_>) = tallies
            .iter_mut()
            .map(|tally| {
                tally.clear();
                (&mut tally.elastic, &mut tally.diffuse)
            })
            .unzip();
        let mut before = |place: Place, slice: &Sheet<T>, rows: &Tile<'_, T>| {
            let sums = &mut diffuse[place.wave][of_exit(place.exit)];
            for (sum, map) in sums.iter_mut().zip(&slice.diffuse) {
                if let Some(map) = map {
                    *sum += rows.weigh(map, visits[place.wave].corner);
                }
            }
        };
        let mut behind = |place: Place, columns: &Tile<'_, T>| {
            if let Some(pixels) = &self.elastic {
                let sums = &mut elastic[place.wave][of_exit(place.exit)];
                columns.lines(|kept, values| {
                    pixels.collect(engine.columns()[kept], values, sums);
                });
            }
        };
        let scatter = engine.slices().scatter();
        let before = scatter.then_some(&mut before as Before<'_, T>);
        engine.run(&waves, &self.exits, works, before, &mut behind);
        // |F[ψ]|² from |F[ψ]/N|², and Σ|F[ψ]|² = N Σ|ψ|².
        let pixels = engine.pixels();
        for Tally {
            elastic, diffuse, ..
        } in tallies
        {
            elastic.iter_mut().for_each(|sum| *sum *= pixels * pixels);
            diffuse.iter_mut().for_each(|sum| *sum *= pixels);
        }
    }
}

/// Waves of a thread that are sent through side by side if the slices come from memory.
const SIDE_BY_SIDE: usize = 4;
/// Slices of at most so many bytes stay in a processor's cache [bytes].
const CACHED: u64 = 12 << 20;

/// How many waves are sent through side by side: one, whose memory stays near, if the slices stay near too.
fn side_by_side<T: Lanes>(engine: &Engine<T>) -> usize {
    if engine.slices().bytes() > CACHED {
        SIDE_BY_SIDE
    } else {
        1
    }
}

/// Sums of one probe, `(exit, reading)`.
struct Tally {
    /// Behind each exit.
    elastic: Vec<f64>,
    /// Between an exit and the one before.
    diffuse: Vec<f64>,
    readings: usize,
}

impl Tally {
    fn new(exits: usize, readings: usize) -> Self {
        Self {
            elastic: vec![0.0; exits * readings],
            diffuse: vec![0.0; exits * readings],
            readings,
        }
    }

    fn clear(&mut self) {
        self.elastic.fill(0.0);
        self.diffuse.fill(0.0);
    }

    /// Adds what the detectors hold behind each exit; what was scattered diffusely before stays there.
    fn add_to(&self, sums: &mut [f64], weight: f64) {
        let mut so_far = vec![0.0; self.readings];
        let exits = self.elastic.chunks(self.readings);
        let both = exits.zip(self.diffuse.chunks(self.readings));
        for (sums, (elastic, diffuse)) in sums.chunks_mut(self.readings).zip(both) {
            for (index, sum) in sums.iter_mut().enumerate() {
                so_far[index] += diffuse[index];
                *sum += weight * (elastic[index] + so_far[index]);
            }
        }
    }
}
