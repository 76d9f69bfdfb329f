//! A scan: matrix to lines, lines to pieces, pieces to readings, depth by depth and pass by pass.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::Array3;
use num_complex::Complex;
use rayon::prelude::*;

use super::super::band::Band;
use super::super::engine::Engine;
use super::super::fft::Fft2;
use super::super::grid::Grid;
use super::super::lanes::Lanes;
use super::super::optics::Optics;
use super::super::probe::Probe;
use super::super::settings::PrismSettings;
use super::super::slices::Slices;
use super::matrix::Matrix;
use super::plan::Plan;
use super::raster::{Field, Group};
use super::reader::Reader;
use super::reduction::{Beam, Plane, Waves};
use super::{Prism, beams, plan, planes};
use crate::error::Result;
use crate::neighbours::Point;

/// One precision, one tilt.
pub(super) struct Core<T: Lanes> {
    engine: Engine<T>,
    field: Field,
    bench: Arc<Bench<T>>,
    /// The matrix at the depths that are held, rising.
    held: Mutex<Vec<Matrix<T>>>,
}

/// What does not depend on the tilt.
struct Bench<T: Lanes> {
    grid: Grid,
    window: Grid,
    band: Band,
    fft: Fft2<T>,
    beams: Vec<Beam>,
    /// The weights of the beams in each probe of the focal series, and its own.
    series: Vec<(f64, Vec<Complex<f64>>)>,
    /// Depths at which probes are read, in slices.
    planes: Vec<usize>,
    plan: Plan,
    reader: Reader<T>,
}

impl<T: Lanes> Core<T> {
    pub(super) fn new(
        slices: Arc<Slices<T>>,
        optics: &Optics,
        settings: &PrismSettings,
    ) -> Result<Self> {
        optics.check_exits(slices.order().len())?;
        let grid = *slices.grid();
        let window = Prism::window(&grid, settings)?;
        let field = Field::new(&grid, &window, slices.thickness(), [0.0; 2]);
        let last = optics.exit_slices.last().copied().unwrap_or(0);
        let diffuse = slices.first(last).any(|slice| !slice.diffuse.is_empty());
        let planes = planes(&optics.exit_slices, diffuse);
        let (band, beams) = (Band::new(&grid), beams(optics, &grid, &window)?);
        let complex = optics.precision.complex_bytes();
        let plan = plan(&beams, &field, &band, settings, complex, planes.len());
        let probes = optics.focal_probes(&window)?.into_iter();
        let weights = |(weight, probe): (f64, Probe)| {
            (weight, probe.beams().map(|(_, value)| value).collect())
        };
        let bench = Bench {
            series: probes.map(weights).collect(),
            reader: Reader::new(optics, &window, &slices)?,
            fft: Fft2::new(grid.shape()),
            grid,
            window,
            band,
            beams,
            planes,
            plan,
        };
        Ok(Self {
            engine: Engine::new(slices, &grid, [0.0; 2]),
            field,
            bench: Arc::new(bench),
            held: Mutex::default(),
        })
    }

    pub(super) fn with_tilt(&self, tilt_mrad: [f64; 2]) -> Self {
        let Bench { grid, window, .. } = &*self.bench;
        let slice = self.engine.slices().thickness();
        Self {
            engine: self.engine.with_tilt(tilt_mrad),
            field: Field::new(grid, window, slice, tilt_mrad),
            bench: Arc::clone(&self.bench),
            held: Mutex::default(),
        }
    }

    pub(super) fn scan(&self, positions: &[Point]) -> Array3<f64> {
        let Bench {
            reader,
            plan,
            planes,
            series,
            ..
        } = &*self.bench;
        let mut sums = Array3::zeros((reader.readings(), reader.exits(), positions.len()));
        if sums.is_empty() {
            return sums;
        }
        let groups = self.field.groups(positions, plan.lines, plan.probes);
        let numbers = 0..series.len();
        let tasks: Vec<(usize, &Group)> = numbers
            .flat_map(|number| groups.iter().map(move |group| (number, group)))
            .collect();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for &plane in planes {
            for pass in passes(&tasks, plan) {
                self.read(plane, pass, &mut held, &mut sums);
            }
        }
        sums
    }

    /// Reads some groups of probes, each with one probe of the focal series, behind `plane` slices.
    fn read(
        &self,
        plane: usize,
        tasks: &[(usize, &Group)],
        held: &mut Vec<Matrix<T>>,
        sums: &mut Array3<f64>,
    ) {
        let Bench { plan, series, .. } = &*self.bench;
        let empty = |(_, group): &(usize, &Group)| group.pieces.iter().map(|_| None).collect();
        let mut partial: Vec<Vec<Option<Waves<T>>>> = tasks.iter().map(empty).collect();
        for (number, block) in plan.blocks.iter().enumerate() {
            let matrix = self.matrix(held, block, plane);
            let last = number + 1 == plan.blocks.len();
            for ((probe, group), partial) in tasks.iter().zip(&mut partial) {
                let (weight, spectrum) = &series[*probe];
                let readings = self.reduce(matrix, spectrum, group, partial, last);
                if last {
                    self.tally(plane, group, *weight, &readings, sums);
                }
            }
        }
    }

    /// Adds the beams of `matrix` to the waves of a group; behind the last block, what each piece reads.
    fn reduce(
        &self,
        matrix: &Matrix<T>,
        spectrum: &[Complex<f64>],
        group: &Group,
        partial: &mut [Option<Waves<T>>],
        last: bool,
    ) -> Vec<Vec<f64>> {
        let Bench { reader, .. } = &*self.bench;
        let (field, slices) = (&self.field, self.engine.slices());
        let plane = Plane {
            field,
            band: &self.bench.band,
            fft: &self.bench.fft,
            beams: &self.bench.beams,
        };
        let lines = plane.lines(matrix, spectrum, group);
        let pieces = group.pieces.par_iter().zip(partial);
        let read = pieces.map_init(
            || reader.workspace(),
            |work, (piece, partial)| {
                let begin = || Waves::new(field, piece, matrix.plane);
                let mut waves = partial.take().unwrap_or_else(begin);
                waves.add(&lines, field, piece);
                if last {
                    return reader.read(&waves, slices, matrix.plane, work);
                }
                *partial = Some(waves);
                Vec::new()
            },
        );
        read.collect()
    }

    /// Adds what the pieces of a group read.
    fn tally(
        &self,
        plane: usize,
        group: &Group,
        weight: f64,
        readings: &[Vec<f64>],
        sums: &mut Array3<f64>,
    ) {
        let reader = &self.bench.reader;
        for (piece, readings) in group.pieces.iter().zip(readings) {
            let each = readings.chunks_exact(2 * reader.readings());
            for ((index, _), readings) in piece.probes.iter().zip(each) {
                reader.add_to(sums, *index, plane, weight, readings);
            }
        }
    }

    /// The beams of a block behind `plane` slices: one that is held, or one sent on from the depth before, or from the entrance.
    fn matrix<'a>(
        &self,
        held: &'a mut Vec<Matrix<T>>,
        block: &Range<usize>,
        plane: usize,
    ) -> &'a Matrix<T> {
        let Bench {
            plan, band, beams, ..
        } = &*self.bench;
        let is = |matrix: &Matrix<T>| matrix.beams == *block && matrix.plane == plane;
        if let Some(index) = held.iter().position(is) {
            return &held[index];
        }
        let usable = |matrix: &Matrix<T>| matrix.beams == *block && matrix.plane < plane;
        if !held.last().is_some_and(usable) {
            // Gone before the next one is made.
            held.clear();
            let pixels: Vec<[usize; 2]> = beams.iter().map(|beam| beam.pixel).collect();
            held.push(Matrix::new(&self.engine, band, &pixels, block.clone()));
        } else if held.len() < plan.depths {
            held.extend(held.last().cloned());
        }
        let last = held.len() - 1;
        held[last].advance(&self.engine, plane);
        &held[last]
    }
}

/// Cuts the tasks into passes over all beams: each alone if all beams are at hand, else as many as may be held.
fn passes<'a, 'b>(tasks: &'a [(usize, &'b Group)], plan: &Plan) -> Vec<&'a [(usize, &'b Group)]> {
    if plan.blocks.len() == 1 {
        return tasks.chunks(1).collect();
    }
    let (mut passes, mut start, mut probes) = (Vec::new(), 0, 0);
    for (index, (_, group)) in tasks.iter().enumerate() {
        if index > start && probes + group.probes > plan.probes {
            passes.push(&tasks[start..index]);
            (start, probes) = (index, 0);
        }
        probes += group.probes;
    }
    passes.push(&tasks[start..]);
    passes
}

#[cfg(test)]
mod tests {
    use super::super::super::detector::AnnularDetector;
    use super::super::super::potential::Potential;
    use super::super::super::probe::{Aperture, ProbeSettings};
    use super::super::super::readout::{Readout, Visit};
    use super::super::super::scattering::ScatteringTable;
    use super::super::super::settings::Precision;
    use super::*;

    const SIDE: f64 = 8.0;

    /// Three gold atoms at different depths of 5 slices.
    fn potential() -> Potential {
        let atoms = [[2.0, 3.0, 1.0], [5.0, 5.5, 4.0], [6.5, 1.0, 8.0]];
        let cell = [SIDE, SIDE, 10.0];
        let table = ScatteringTable::Lobato;
        Potential::new(&atoms, &[79; 3], cell, (64, 60), table, 2.0).unwrap()
    }

    fn optics() -> Optics {
        let ring = |inner_mrad, outer_mrad| AnnularDetector {
            inner_mrad,
            outer_mrad,
        };
        Optics {
            probe: ProbeSettings {
                energy_kev: 200.0,
                semiangle_mrad: 20.0,
                aperture: Aperture::Soft,
                aberrations: Default::default(),
                focal_spread: None,
            },
            detectors: [ring(0.0, 20.0), ring(25.0, 60.0)].map(Into::into).to_vec(),
            exit_slices: vec![2, 5],
            precision: Precision::F64,
            thermal: None,
        }
    }

    /// What thermal motion scatters is made up: any map must be summed as the full-field engine sums it.
    #[test]
    fn diffuse_signal_equals_that_of_the_full_field() {
        let optics = optics();
        let value = |slice: usize, channel: usize, pixel: usize| {
            1e-3 * ((pixel * (channel + 2) + 31 * slice) as f64).sin().powi(2)
        };
        let maps = |slice: usize| {
            let map = |channel| (0..64 * 60).map(move |pixel| value(slice, channel, pixel));
            (0..2).map(|channel| map(channel).collect()).collect()
        };
        let slices = Slices::<f64>::new(&potential(), &optics).unwrap();
        let slices = Arc::new(slices.scattering(maps));
        let positions = [[1.1, 2.3], [4.9, 5.2], [4.9, 7.7]];
        let visits = positions.map(|position| Visit {
            position,
            corner: [0; 2],
            tilt_mrad: None,
        });
        let engine = Engine::new(Arc::clone(&slices), slices.grid(), [0.0; 2]);
        let readout = Readout::new(&optics, slices.grid()).unwrap();
        for memory_gib in [1.0, 1e-5] {
            let settings = PrismSettings {
                interpolation: 1,
                memory_gib,
            };
            let core = Core::new(Arc::clone(&slices), &optics, &settings).unwrap();
            assert_eq!(core.bench.plan.blocks.len() > 1, memory_gib < 1.0);
            let tilt = [8.0, -5.0];
            let full = readout.scan(&engine.with_tilt(tilt), &visits);
            let sums = core.with_tilt(tilt).scan(&positions);
            for (sum, full) in sums.iter().zip(&full) {
                assert!((sum - full).abs() < 1e-10 * full, "{sum} {full}");
            }
        }
    }

    /// With memory for all exits nothing is propagated twice; with less, only the last exit is at hand.
    #[test]
    fn the_matrix_is_held_as_far_as_memory_allows() {
        let optics = optics();
        let held = |memory_gib| {
            let settings = PrismSettings {
                interpolation: 2,
                memory_gib,
            };
            let slices = Arc::new(Slices::<f64>::new(&potential(), &optics).unwrap());
            let core = Core::new(slices, &optics, &settings).unwrap();
            let first = core.scan(&[[1.0, 2.0]]);
            let held: Vec<usize> = core.held.lock().unwrap().iter().map(|m| m.plane).collect();
            assert_eq!(core.scan(&[[1.0, 2.0]]), first);
            held
        };
        assert_eq!(held(1.0), [2, 5]);
        assert_eq!(held(0.003), [5]);
    }
}
