//! Every probe on a window of the specimen: images of tens of nanometres, whatever atoms they show.
//!
//! A focused electron stays near its column, and what is scattered to large angles hardly comes back: a wave need not be as
//! large as the specimen. Each probe is propagated on a window of the transmission functions around it, in the
//! middle of its way if the specimen is tilted ([`Region`]). Probe and detectors are those of the whole field ([`view`](super::view)).
//!
//! The window is as large as a bound asks for: at the exits only so much of the intensity may lie in the outer tenth of the
//! window, where what leaves on one side comes back on the other. Trial probes, on columns and between them, are sent through
//! growing windows until that is so ([`search`]).
//!
//! Transmission functions are made for one region of the specimen at a time, with the windows of thousands of probes.

mod mosaic;
mod region;
mod search;

use std::sync::Arc;

use num_complex::Complex;

use super::full_field::Multislice;
use super::grid::Grid;
use super::optics::Optics;
use super::potential::Potential;
use super::probe::Probe;
use super::readout::Readout;
use super::settings::WindowedSettings;
use crate::error::{Error, Result};
use crate::neighbours::Point;
pub use region::Region;
use region::Window;
use search::Search;

/// Bytes of a GiB.
const GIB: f64 = (1_u64 << 30) as f64;
/// The full field is what trial probes are compared with if its pixels are at most this many times those of the window.
const AFFORDABLE: usize = 16;
/// How much wider a window is that this one is compared with otherwise: the first that fits into the memory.
const WIDER: [f64; 4] = [2.0, 1.7, 1.4, 1.2];

/// A rectangle of probe positions, and the mistilts of the specimen that they may meet.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanArea {
    /// Least position `[x, y]` [Å].
    pub low: Point,
    /// Greatest position `[x, y]` [Å].
    pub high: Point,
    /// Mistilts `[x, y]` [mrad]; all others in the rectangle that they span belong to it. None is zero tilt.
    pub tilts_mrad: Vec<[f64; 2]>,
}

impl ScanArea {
    /// Least and greatest tilts `[x, y]` [mrad].
    fn tilt_range(&self) -> [[f64; 2]; 2] {
        let extreme = |axis: usize, pick: fn(f64, f64) -> f64| {
            let tilts = self.tilts_mrad.iter().map(|tilt| tilt[axis]);
            tilts.reduce(pick).unwrap_or(0.0)
        };
        [f64::min, f64::max].map(|pick| [extreme(0, pick), extreme(1, pick)])
    }

    /// The same tilts for a rectangle of probes of the given size `[x, y]` [Å].
    fn resized(&self, size: [f64; 2]) -> Self {
        Self {
            low: self.low,
            high: std::array::from_fn(|axis| self.low[axis] + size[axis]),
            tilts_mrad: self.tilts_mrad.clone(),
        }
    }
}

/// How far the readings of trial probes are from those that a larger field gives.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowError {
    /// Per channel, the largest difference over the largest reading of the trial probes behind the same exit.
    pub channels: Vec<f64>,
    /// Side of the field that was compared with [Å].
    pub side: f64,
    /// Whether that was the full field; else it was a window twice as wide.
    pub full_field: bool,
}

/// A large specimen, a probe, detectors and exit thicknesses, and the window that suits them.
pub struct Windowed {
    specimen: Arc<Potential>,
    optics: Optics,
    settings: WindowedSettings,
    area: ScanArea,
    window: Window,
    readout: Arc<Readout>,
    border: Option<f64>,
}

impl Windowed {
    /// Finds the window for the probes and tilts of `area`, unless the settings fix it.
    ///
    /// # Errors
    /// A detector or the aperture reaches beyond the band limit; an exit is outside the specimen; the intensity at the border
    /// does not fall below the bound before the window is as wide as the specimen, or takes more memory than is allowed.
    pub fn new(
        specimen: Arc<Potential>,
        optics: &Optics,
        settings: &WindowedSettings,
        area: &ScanArea,
    ) -> Result<Self> {
        optics.check_exits(specimen.order().len())?;
        let search = Search::new(&specimen, optics, settings, area);
        let (window, border) = match settings.window_angstrom {
            Some(side) => (search.window(side)?, None),
            None => search
                .run()
                .map(|(window, border)| (window, Some(border)))?,
        };
        let readout = Arc::new(read_on(optics, specimen.grid(), &window)?);
        let windowed = Self {
            specimen,
            optics: optics.clone(),
            settings: settings.clone(),
            area: area.clone(),
            window,
            readout,
            border,
        };
        windowed.largest_region()?;
        Ok(windowed)
    }

    /// The same with other atoms, such as those of another phonon configuration, and the same window.
    ///
    /// # Errors
    /// Another grid or number of slices.
    pub fn with_specimen(&self, specimen: Arc<Potential>) -> Result<Self> {
        let same = specimen.grid() == self.specimen.grid()
            && specimen.order().len() == self.specimen.order().len();
        if !same {
            return Err(Error::unmeasurable(
                "windowed: another specimen",
                "another grid or number of slices",
                "the same as those for which the window was found",
            ));
        }
        Ok(Self {
            specimen,
            optics: self.optics.clone(),
            settings: self.settings.clone(),
            area: self.area.clone(),
            window: self.window,
            readout: Arc::clone(&self.readout),
            border: self.border,
        })
    }

    /// The grid of a window.
    #[must_use]
    pub fn window(&self) -> &Grid {
        &self.window.grid
    }

    /// The part of the intensity in the outer tenth of the window at an exit, for the worst of the trial probes; not known for a
    /// fixed window.
    #[must_use]
    pub fn border_intensity(&self) -> Option<f64> {
        self.border
    }

    /// The part of the incident probe that lies outside the window and is cut off, averaged over the focal series.
    #[must_use]
    pub fn cut_off(&self) -> f64 {
        let norm = |probe: &Probe| probe.spectrum().iter().map(Complex::norm_sqr).sum::<f64>();
        let probes = self.readout.probes().iter();
        probes
            .map(|(weight, probe)| weight * (1.0 - norm(probe)))
            .sum()
    }

    /// The region for the probes of a rectangle.
    ///
    /// # Errors
    /// The thermal-diffuse model lacks an element of the specimen.
    pub fn region(&self, area: &ScanArea) -> Result<Region> {
        let optics = &self.optics;
        Region::new(&self.specimen, &self.window, optics, &self.readout, area)
    }

    /// Bytes of the transmission functions and diffuse maps of a region for a rectangle of probes of `size` `[x, y]` [Å]. They
    /// do not depend on the number of threads, so that a raster is always cut in the same way.
    #[must_use]
    pub fn bytes_of_region(&self, size: [f64; 2]) -> u64 {
        bytes(&self.specimen, &self.optics, &self.window, &self.area, size)
    }

    /// Bytes that are held beside, for a while, when `threads` threads make a region.
    #[must_use]
    pub fn bytes_of_making(&self, threads: usize) -> u64 {
        let [rows, cols] = mosaic::tile_shape(self.specimen.grid());
        let pixels = (rows * cols) as u64;
        let over = self.specimen.fine_grid().shape().0 / self.specimen.grid().shape().0;
        let fine = pixels * (over * over) as u64;
        let species = self.specimen.species().len() as u64;
        let slice = pixels * bytes_of_pixel(&self.optics);
        // The potential and what it is made from, exp(iσv), its band-limited copy; with thermal motion another pair, and a map
        // per channel.
        let (making, tables) = match &self.optics.thermal {
            None => (32 * fine + 16 * pixels, 2 * species * fine),
            Some(_) => {
                let maps = self.optics.channel_count() as u64 * pixels;
                let making = 40 * fine + 16 * (species + 1) * pixels + 8 * maps;
                (making, 16 * species * fine + 8 * species * maps)
            }
        };
        threads.min(self.specimen.unique_slices()) as u64 * (making + slice) + tables
    }

    /// The largest rectangle of probes `[x, y]` [Å], at most that of the whole area, whose region fits into the memory that the
    /// settings allow.
    ///
    /// # Errors
    /// Not even that of one probe does.
    pub fn largest_region(&self) -> Result<[f64; 2]> {
        let area: [f64; 2] = std::array::from_fn(|axis| self.area.high[axis] - self.area.low[axis]);
        let clipped = |side: f64| area.map(|length| length.min(side));
        let allowed = self.settings.memory_gib * GIB;
        let fits = |side: f64| self.bytes_of_region(clipped(side)) as f64 <= allowed;
        if !fits(0.0) {
            return Err(too_little_memory(
                self.bytes_of_region([0.0; 2]),
                self.settings.memory_gib,
                self.window.side(),
            ));
        }
        let (mut low, mut high) = (0.0, area[0].max(area[1]));
        if fits(high) {
            return Ok(area);
        }
        // To a hundredth of an Å.
        while high - low > 0.01 {
            let middle = 0.5 * (low + high);
            *(if fits(middle) { &mut low } else { &mut high }) = middle;
        }
        Ok(clipped(low))
    }

    /// Compares the readings of the trial probes with those of the full field, or, if that is too large for the memory allowed,
    /// of a window up to twice as wide.
    ///
    /// # Errors
    /// As [`Windowed::region`]; no larger window fits into the memory.
    pub fn error_estimate(&self) -> Result<WindowError> {
        let search = Search::new(&self.specimen, &self.optics, &self.settings, &self.area);
        let larger = self.larger(&search)?;
        let trials = search.trials();
        let found = self.readings(&self.window, &trials)?;
        let expected = if larger.is_whole() {
            Multislice::new(&self.specimen, &self.optics)?.scan_tilted(&trials)
        } else {
            self.readings(&larger, &trials)?
        };
        let channels = self.optics.channel_count();
        let (_, exits, probes) = expected.dim();
        let worst = |channel: usize| {
            let of_exit = |exit: usize| {
                let (mut peak, mut error) = (0.0_f64, 0.0_f64);
                for probe in 0..probes {
                    let place = (channel, exit, probe);
                    peak = peak.max(expected[place].abs());
                    error = error.max((found[place] - expected[place]).abs());
                }
                if peak > 0.0 { error / peak } else { error }
            };
            (0..exits).map(of_exit).fold(0.0, f64::max)
        };
        Ok(WindowError {
            channels: (0..channels).map(worst).collect(),
            side: larger.side(),
            full_field: larger.is_whole(),
        })
    }

    /// Bytes of the region that [`Windowed::error_estimate`] makes for a trial probe of the larger window.
    ///
    /// # Errors
    /// No larger window fits into the memory.
    pub fn bytes_of_estimate(&self) -> Result<u64> {
        let search = Search::new(&self.specimen, &self.optics, &self.settings, &self.area);
        let larger = self.larger(&search)?;
        let pixel = [0.0; 2];
        Ok(bytes(
            &self.specimen,
            &self.optics,
            &larger,
            &self.area,
            pixel,
        ))
    }

    /// What this window is compared with.
    fn larger(&self, search: &Search<'_>) -> Result<Window> {
        let allowed = self.settings.memory_gib * GIB;
        let needs = |window: &Window| {
            let slices = bytes(&self.specimen, &self.optics, window, &self.area, [0.0; 2]);
            slices as f64
        };
        let pixels = |grid: &Grid| grid.shape().0 * grid.shape().1;
        let whole = search.window(f64::INFINITY)?;
        let affordable = pixels(&whole.grid) <= AFFORDABLE * pixels(&self.window.grid);
        // While slices are made, a few arrays of the potential in double precision are held too, once a thread.
        let making = self.bytes_of_making(rayon::current_num_threads()) as f64
            * pixels(&whole.grid) as f64
            / mosaic::tile_shape(&whole.grid).iter().product::<usize>() as f64;
        if affordable && needs(&whole) + making <= allowed {
            return Ok(whole);
        }
        let mut needed = 0.0;
        for part in WIDER {
            let window = search.window(part * self.window.side())?;
            needed = needs(&window);
            if needed <= allowed && !window.is_whole() {
                return Ok(window);
            }
        }
        Err(too_little_memory(
            needed as u64,
            self.settings.memory_gib,
            WIDER[WIDER.len() - 1] * self.window.side(),
        ))
    }

    /// Readings of probes `(reading, exit, probe)` on a window of their own region each.
    fn readings(
        &self,
        window: &Window,
        probes: &[(Point, [f64; 2])],
    ) -> Result<ndarray::Array3<f64>> {
        let readout = Arc::new(read_on(&self.optics, self.specimen.grid(), window)?);
        let mut parts = Vec::new();
        for group in probes.chunk_by(|a, b| a.0 == b.0) {
            let area = ScanArea {
                low: group[0].0,
                high: group[0].0,
                ..self.area.clone()
            };
            let region = Region::new(&self.specimen, window, &self.optics, &readout, &area)?;
            parts.push(region.scan_tilted(group));
        }
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        ndarray::concatenate(ndarray::Axis(2), &views).map_err(|error| Error::Compute {
            doing: "windowed: trial probes",
            message: error.to_string(),
        })
    }
}

/// Probes and detectors of the whole field on a window; the plain ones where that is the field.
fn read_on(optics: &Optics, whole: &Grid, window: &Window) -> Result<Readout> {
    if window.is_whole() {
        Readout::new(optics, whole)
    } else {
        Readout::on_window(optics, whole, &window.grid)
    }
}

/// Bytes of the slices of a region for a rectangle of probes of `size` `[x, y]` [Å].
fn bytes(
    specimen: &Potential,
    optics: &Optics,
    window: &Window,
    area: &ScanArea,
    size: [f64; 2],
) -> u64 {
    let [rows, cols] = window.spans(&area.resized(size));
    // Where a rectangle lies between the pixels is worth one more.
    let pixels = ((rows.count + 1) * (cols.count + 1)) as u64;
    specimen.unique_slices() as u64 * pixels * bytes_of_pixel(optics)
}

/// Bytes of a pixel of a slice: transmission and diffuse maps.
fn bytes_of_pixel(optics: &Optics) -> u64 {
    let complex = optics.precision.complex_bytes();
    let maps = match &optics.thermal {
        None => 0,
        Some(_) => optics.channel_count() as u64,
    };
    complex + maps * complex / 2
}

fn too_little_memory(bytes: u64, allowed_gib: f64, side: f64) -> Error {
    Error::unmeasurable(
        "windowed",
        format!(
            "a window {side:.1} Å wide, whose region takes {:.2} GiB for one probe",
            bytes as f64 / GIB
        ),
        format!(
            "at most {allowed_gib} GiB: raise multislice.windowed.memory_gib or border_intensity, or use coarser pixels"
        ),
    )
}
