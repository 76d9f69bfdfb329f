//! The search for the window: trial probes on growing windows, until what reaches the border is little.

use std::sync::Arc;

use num_complex::Complex;
use rayon::prelude::*;

use super::super::checks::beam_width;
use super::super::engine::{Engine, Entrance, Wave};
use super::super::fft::{Fft2, widen};
use super::super::full_field::AnyEngine;
use super::super::grid::Grid;
use super::super::lanes::Lanes;
use super::super::optics::Optics;
use super::super::potential::Potential;
use super::super::probe::Probe;
use super::super::readout::{Readout, Visit};
use super::super::settings::WindowedSettings;
use super::region::{Region, Window};
use super::{GIB, ScanArea, bytes, read_on, too_little_memory};
use crate::error::{Error, Result};
use crate::neighbours::Point;
use crate::units::RAD_PER_MRAD;

/// How much wider the next window is.
const GROWTH: f64 = 1.2;
/// How much wider than a window the region of a trial probe is made.
const ROOM: f64 = 1.8;
/// Number of trial positions.
const PLACES: usize = 3;
/// The part of the window on each side that counts as its border.
const BORDER: f64 = 0.1;
/// Distances of a column from the nearest of another kind: farther than an atom moves, nearer than the next of the same kind [Å].
const NEIGHBOUR: std::ops::Range<f64> = 1.0..3.5;

/// What a window is searched for.
pub(super) struct Search<'a> {
    specimen: &'a Potential,
    optics: &'a Optics,
    settings: &'a WindowedSettings,
    area: &'a ScanArea,
    /// Depth of the last exit [Å].
    height: f64,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        specimen: &'a Potential,
        optics: &'a Optics,
        settings: &'a WindowedSettings,
        area: &'a ScanArea,
    ) -> Self {
        let slices = optics.exit_slices.last().copied().unwrap_or(0);
        Self {
            specimen,
            optics,
            settings,
            area,
            height: slices as f64 * specimen.slice_thickness(),
        }
    }

    /// A window at least `side` wide [Å].
    pub(super) fn window(&self, side: f64) -> Result<Window> {
        Window::new(self.specimen.grid(), side, self.height)
    }

    /// The first window that keeps the bound, and what it keeps.
    ///
    /// # Errors
    /// There is none: what was reached, and what would help.
    pub(super) fn run(&self) -> Result<(Window, f64)> {
        let mut side = self.start();
        let mut regions = Vec::new();
        let mut reached = "nothing to be tried".to_owned();
        loop {
            let window = self.window(side)?;
            let bytes = self.bytes(&window);
            if bytes as f64 > self.allowed() {
                let allowed = self.settings.memory_gib;
                return Err(too_little_memory(bytes, allowed, window.side()));
            }
            if window.is_whole() {
                return Err(self.unreachable(&window, &reached));
            }
            let border = self.border(&window, &mut regions)?;
            reached = format!("{border:.2e} in a window {:.1} Å wide", window.side());
            if border <= self.settings.border_intensity {
                return Ok((window, border));
            }
            side = GROWTH * window.side().max(side);
        }
    }

    /// Bytes of the region of one probe.
    fn bytes(&self, window: &Window) -> u64 {
        bytes(self.specimen, self.optics, window, self.area, [0.0; 2])
    }

    fn allowed(&self) -> f64 {
        self.settings.memory_gib * GIB
    }

    /// Width of the beam [Å]: no window is narrower.
    fn start(&self) -> f64 {
        let series = self.optics.probe.focal_series();
        let widths = series
            .iter()
            .map(|(_, probe)| beam_width(probe, self.height));
        let drift = |tilt: &[f64; 2]| {
            let far = tilt.map(|t| (self.height * (t * RAD_PER_MRAD).tan()).abs());
            far[0].max(far[1])
        };
        let drifts = self.area.tilts_mrad.iter().map(drift);
        widths.fold(0.0, f64::max) + drifts.fold(0.0, f64::max)
    }

    fn unreachable(&self, window: &Window, reached: &str) -> Error {
        let [height, width] = window.grid.extent();
        Error::unmeasurable(
            "windowed: intensity at the border of the window",
            format!(
                "{reached}; the next is as wide as the specimen, {width:.1} x {height:.1} Å (x, y)"
            ),
            format!(
                "at most multislice.windowed.border_intensity = {:e}: raise it, repeat the specimen, or use method = \"multislice\", the full field",
                self.settings.border_intensity
            ),
        )
    }

    /// The part of the intensity in the border of a window at an exit, of the trial probe for which it is most. The `regions`
    /// of the trial probes are used again for the next windows.
    fn border(&self, window: &Window, regions: &mut Vec<(Window, Region)>) -> Result<f64> {
        let blind = Optics {
            detectors: Vec::new(),
            ..self.optics.clone()
        };
        let readout = Arc::new(read_on(&blind, self.specimen.grid(), window)?);
        let trials = self.trials();
        let mut worst = 0.0;
        for (place, group) in trials.chunk_by(|a, b| a.0 == b.0).enumerate() {
            let known = regions.get(place);
            if known.is_none_or(|(widest, _)| !widest.covers(window)) {
                let made = self.roomy_region(group[0].0, window, &readout)?;
                regions.truncate(place);
                regions.push(made);
            }
            let region = regions[place].1.with_window(window, &readout);
            let border = |&(position, tilt): &(Point, [f64; 2])| {
                let visit = region.visit(position, tilt);
                match region.engine() {
                    AnyEngine::F32(engine) => self.border_of(engine, &readout, &visit, window),
                    AnyEngine::F64(engine) => self.border_of(engine, &readout, &visit, window),
                }
            };
            let borders: Vec<f64> = group.par_iter().map(border).collect();
            worst = borders.into_iter().fold(worst, f64::max);
        }
        Ok(worst)
    }

    /// A region of one trial probe for this window and, if memory allows, the next few; with the widest it is for.
    fn roomy_region(
        &self,
        position: Point,
        window: &Window,
        readout: &Arc<Readout>,
    ) -> Result<(Window, Region)> {
        let area = ScanArea {
            low: position,
            high: position,
            ..self.area.clone()
        };
        let next = self.window(ROOM * window.side())?;
        // One for each of the trial positions is held.
        let held = PLACES as f64 * self.bytes(&next) as f64;
        let fits = next.covers(window) && held <= self.allowed();
        let widest = if fits { next } else { *window };
        let region = Region::new(self.specimen, &widest, self.optics, readout, &area)?;
        Ok((widest, region))
    }

    /// What reaches the border at the exit where it is most, averaged over the focal series.
    fn border_of<T: Lanes>(
        &self,
        engine: &Engine<T>,
        readout: &Readout,
        visit: &Visit,
        window: &Window,
    ) -> f64 {
        let exits = &self.optics.exit_slices;
        let mut borders = vec![0.0; exits.len()];
        for (weight, probe) in readout.probes() {
            let waves = exit_waves(engine, probe, visit, exits, &window.grid);
            for (border, wave) in borders.iter_mut().zip(&waves) {
                *border += weight * window.at_border(wave, BORDER);
            }
        }
        borders.into_iter().fold(0.0, f64::max)
    }

    /// The trial probes: on a column of the heaviest atoms, on one of their heaviest neighbours, and between two such, in three
    /// places on the diagonal of the area; each with the tilts farthest out along the axes.
    pub(super) fn trials(&self) -> Vec<(Point, [f64; 2])> {
        let ScanArea { low, high, .. } = self.area;
        let place =
            |part: f64| std::array::from_fn(|axis| low[axis] + part * (high[axis] - low[axis]));
        let [heavy, light, between] = [0.25, 0.5, 0.75].map(place);
        let (_, light) = self.columns_near(light);
        let (a, b) = self.columns_near(between);
        let between = std::array::from_fn(|axis| 0.5 * (a[axis] + b[axis]));
        let tilts = self.tilts();
        let places: [Point; PLACES] = [self.columns_near(heavy).0, light, between];
        let with_tilts = |position: Point| tilts.iter().map(move |&tilt| (position, tilt));
        places.into_iter().flat_map(with_tilts).collect()
    }

    /// The tilts farthest out along the axes.
    fn tilts(&self) -> Vec<[f64; 2]> {
        let tilts = &self.area.tilts_mrad;
        let farthest = |axis: usize, sign: f64| {
            let before =
                |a: &&[f64; 2], b: &&[f64; 2]| (sign * a[axis]).total_cmp(&(sign * b[axis]));
            tilts.iter().max_by(before).copied()
        };
        let mut found: Vec<[f64; 2]> = Vec::new();
        for (axis, sign) in [(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)] {
            let tilt = farthest(axis, sign).unwrap_or([0.0; 2]);
            if !found.contains(&tilt) {
                found.push(tilt);
            }
        }
        found
    }

    /// A column of the heaviest atoms near a place, and the column of the heaviest atoms beside it; the place itself if there
    /// is none.
    fn columns_near(&self, place: Point) -> (Point, Point) {
        let heaviest = self.specimen.species().last().copied();
        let nearest = |place: Point, accepted: &dyn Fn(u8, f64) -> bool| {
            let atoms = self.specimen.atoms().map(|(number, atom)| {
                let image = self.image_near(place, atom);
                let distance = (image[0] - place[0]).hypot(image[1] - place[1]);
                (number, distance, image)
            });
            atoms
                .filter(|(number, distance, _)| accepted(*number, *distance))
                .min_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)))
                .map(|(_, _, image)| image)
        };
        let heavy = nearest(place, &|number, _| Some(number) == heaviest).unwrap_or(place);
        let beside = nearest(heavy, &|_, distance| NEIGHBOUR.contains(&distance));
        (heavy, beside.unwrap_or(heavy))
    }

    /// The periodic image of an atom that is nearest to a place.
    fn image_near(&self, place: Point, atom: Point) -> Point {
        let [height, width] = self.specimen.grid().extent();
        let period = [width, height];
        std::array::from_fn(|axis| {
            let turns = ((place[axis] - atom[axis]) / period[axis]).round();
            atom[axis] + turns * period[axis]
        })
    }
}

/// Waves in real space at the exits, `(y, x)`, Σ|ψ|² = 1 for the incident probe.
fn exit_waves<T: Lanes>(
    engine: &Engine<T>,
    probe: &Probe,
    visit: &Visit,
    exits: &[usize],
    grid: &Grid,
) -> Vec<Vec<Complex<f64>>> {
    let (rows, cols) = grid.shape();
    let mut waves = vec![vec![Complex::default(); rows * cols]; exits.len()];
    let wave = Wave {
        entrance: Entrance::Probe(probe, visit.position),
        corner: visit.corner,
        tilt_mrad: visit.tilt_mrad,
    };
    // Σ|F[ψ]|² = N Σ|ψ|²; what is shown is F[ψ]/N.
    let scale = engine.pixels().powf(1.5);
    engine.run(
        &[wave],
        exits,
        &mut [engine.workspace()],
        None,
        &mut |place, columns| {
            columns.lines(|kept, values| {
                let column = engine.columns()[kept];
                for (y, value) in values.iter().enumerate() {
                    waves[place.exit][y * cols + column] = widen(*value) * scale;
                }
            });
        },
    );
    let fft = Fft2::new((rows, cols));
    let mut scratch = fft.scratch();
    waves
        .iter_mut()
        .for_each(|wave| fft.inverse(wave, &mut scratch));
    waves
}
