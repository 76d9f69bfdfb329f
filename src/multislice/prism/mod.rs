//! PRISM: the beams of the probe are sent through the specimen once, as plane waves, and every probe is a sum of them
//! (Ophus, Adv. Struct. Chem. Imaging **3**, 13 (2017)), for a tilted crystal too.
//!
//! A probe at r₀ leaves the specimen as ψ(r) = Σ_k Ψ(k) exp(−2πi k·r₀) S(r, k), where S(r, k) is what becomes of the plane wave
//! exp(2πi k·r). With the interpolation f only every f-th beam along each axis is taken. The sum then is a lattice of probes, 1/f
//! of the field apart; a window of that size around one of them is cut out and takes the place of the wave. f = 1 is exact, and
//! any f where the specimen repeats from window to window. Otherwise what leaves the window is lost, and what other probes of the
//! lattice send into it is read in its place. A window must hold the probe at every depth, and for a detector at α the paths
//! scattered there from the first slice on: half of it should exceed z tan α. With disordered BiFeO₃ 80 Å thick and a probe of
//! 30 mrad, where z tan α = 8 Å, HAADF images are off by 0.5 % (r.m.s.) with windows of 20 Å, but by 70 % with 10 Å; 20 Å thick,
//! by 1 % and 7 %. Blending the borders of the window does not help. Thermal diffuse scattering is counted where it happens, and
//! does not leave.
//!
//! A tilt enters the propagator as in [`Multislice`](super::Multislice). All beams then move the probe to r₀ + z tan t at depth z,
//! and the window follows it. Aberrations and focus change the weights Ψ(k) only: a focal series uses the same matrix.
//!
//! Thermal diffuse scattering is counted slice by slice, so every slice is a depth at which each probe is summed up: that many
//! times the sums of one exit (40 times for 40 slices), while the beams are sent through once if one matrix fits into memory.

mod combination;
mod matrix;
mod plan;
mod raster;
mod reader;
mod reduction;
mod scan;

use std::sync::Arc;

use ndarray::Array3;

use super::band::Band;
use super::checks::Work;
use super::grid::Grid;
use super::optics::Optics;
use super::potential::Potential;
use super::settings::{Precision, PrismSettings};
use super::slices::Slices;
use crate::error::{Error, Result};
use crate::neighbours::Point;
use plan::{Needs, Plan};
use raster::Field;
use reduction::Beam;
use scan::Core;

/// Bytes of a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// A specimen, a probe, detectors, exit thicknesses and a tilt, made ready for PRISM.
pub struct Prism(Any);

/// In the precision of the settings.
enum Any {
    F32(Core<f32>),
    F64(Core<f64>),
}

impl Prism {
    /// Makes everything ready, at zero tilt.
    ///
    /// # Errors
    /// Pixels that the interpolation does not divide; a detector or the aperture reaches beyond the band limit; an exit is
    /// outside the specimen.
    pub fn new(potential: &Potential, optics: &Optics, settings: &PrismSettings) -> Result<Self> {
        Ok(Self(match optics.precision {
            Precision::F32 => {
                let slices = Arc::new(Slices::new(potential, optics)?);
                Any::F32(Core::new(slices, optics, settings)?)
            }
            Precision::F64 => {
                let slices = Arc::new(Slices::new(potential, optics)?);
                Any::F64(Core::new(slices, optics, settings)?)
            }
        }))
    }

    /// The same for a specimen tilted by `[x, y]` [mrad]. The scattering matrix is new, so drop what is no longer scanned.
    #[must_use]
    pub fn with_tilt(&self, tilt_mrad: [f64; 2]) -> Self {
        Self(match &self.0 {
            Any::F32(core) => Any::F32(core.with_tilt(tilt_mrad)),
            Any::F64(core) => Any::F64(core.with_tilt(tilt_mrad)),
        })
    }

    /// What each channel of the detectors collects from each probe, `(channel, thickness, probe)`, as a fraction of the
    /// incident beam; positions `[x, y]` [Å]. The numbers do not depend on the number of threads.
    ///
    /// The matrix is computed at the first scan and kept as far as memory allows; see [`Prism::expected_work`]. Probes of one y
    /// share work: hand over whole lines, better whole images.
    #[must_use]
    pub fn scan(&self, positions: &[Point]) -> Array3<f64> {
        match &self.0 {
            Any::F32(core) => core.scan(positions),
            Any::F64(core) => core.scan(positions),
        }
    }

    /// The grid of a window: 1/f of the field, with its pixels.
    ///
    /// # Errors
    /// The interpolation does not divide the pixels.
    pub fn window(grid: &Grid, settings: &PrismSettings) -> Result<Grid> {
        let f = settings.interpolation;
        let (rows, cols) = grid.shape();
        let fits = |f: usize| rows % f == 0 && cols % f == 0 && rows.min(cols) / f >= 4;
        if f == 0 || !fits(f) {
            let allowed: Vec<usize> = (1..=16).filter(|&f| fits(f)).collect();
            return Err(Error::unmeasurable(
                "prism",
                format!("interpolation = {f} on {rows} x {cols} pixels"),
                format!("{allowed:?}, which divide these, or pixels that are multiples of {f}"),
            ));
        }
        let [height, width] = grid.extent();
        Grid::new((rows / f, cols / f), [height / f as f64, width / f as f64])
    }

    /// The work of one scan of `probes` positions: beams times slices, each as long as a wave of the full-field engine takes
    /// for a slice, and the bytes held beside the transmission functions. The sums come on top, about 30 ns a probe and pixel
    /// of the window for each exit (and slice, with thermal diffuse scattering) on a thread.
    ///
    /// # Errors
    /// As [`Prism::new`].
    pub fn expected_work(
        grid: &Grid,
        optics: &Optics,
        settings: &PrismSettings,
        probes: usize,
    ) -> Result<Work> {
        let window = Self::window(grid, settings)?;
        let planes = planes(&optics.exit_slices, optics.thermal.is_some());
        let beams = beams(optics, grid, &window)?;
        let field = Field::new(grid, &window, 0.0, [0.0; 2]);
        let band = Band::new(grid);
        let complex = optics.precision.complex_bytes();
        let plan = plan(&beams, &field, &band, settings, complex, planes.len());
        let series = optics.probe.focal_series().len();
        let (rows, cols) = grid.shape();
        let per_thread = (2 * rows * cols) as u64 * complex;
        Ok(Work {
            wave_slices: beams.len() as u64 * plan.slices(&planes, probes * series),
            bytes: plan.bytes + rayon::current_num_threads() as u64 * per_thread,
        })
    }
}

/// The numbers of slices behind which waves are read.
fn planes(exits: &[usize], diffuse: bool) -> Vec<usize> {
    match exits.last() {
        Some(&last) if diffuse => (0..=last).collect(),
        _ => exits.to_vec(),
    }
}

/// The beams of the probe on the window, as pixels of the whole field's spectrum.
fn beams(optics: &Optics, grid: &Grid, window: &Grid) -> Result<Vec<Beam>> {
    let ((rows, cols), [height, width]) = (grid.shape(), grid.extent());
    let index = |k: f64, side: f64, count: usize| {
        ((k * side).round() as i64).rem_euclid(count as i64) as usize
    };
    let series = optics.focal_probes(window)?;
    let beam = |(frequency, _): ([f64; 2], _)| Beam {
        pixel: [
            index(frequency[1], height, rows),
            index(frequency[0], width, cols),
        ],
        frequency,
    };
    // They come column by column.
    Ok(series[0].1.beams().map(beam).collect())
}

fn plan(
    beams: &[Beam],
    field: &Field,
    band: &Band,
    settings: &PrismSettings,
    complex: u64,
    planes: usize,
) -> Plan {
    let columns: Vec<usize> = beams.iter().map(|beam| beam.pixel[1]).collect();
    let [rows, cols] = field.shape;
    let [high, wide] = field.span();
    let needs = Needs {
        wave: matrix::pitch(rows, band) as u64 * complex / 2,
        column: (high * cols) as u64 * complex,
        probe: (field.window[0] * wide) as u64 * complex,
        planes,
        memory: (settings.memory_gib * GIB) as u64,
    };
    Plan::new(&columns, needs)
}
