//! The part of a specimen around a rectangle of probes, and the windows in it that the probes see.
//!
//! The windows lie where probe and tilt put them: first pixel and position in the window do not depend on how a raster is cut
//! into regions. Nor do the pixels of a region ([`mosaic`]), so the readings do not either, but for the last bits.

use std::sync::Arc;

use ndarray::Array3;
use num_complex::Complex;

use super::super::engine::Engine;
use super::super::full_field::AnyEngine;
use super::super::grid::{Grid, quick_length};
use super::super::lanes::Lanes;
use super::super::optics::Optics;
use super::super::potential::Potential;
use super::super::readout::{Readout, Visit};
use super::super::settings::Precision;
use super::super::slices::Slices;
use super::super::span::Span;
use super::{ScanArea, mosaic};
use crate::error::Result;
use crate::neighbours::Point;
use crate::units::RAD_PER_MRAD;

/// The window of a probe: a part of the specimen's grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    /// The grid of the wave.
    pub(super) grid: Grid,
    /// Whether it is as wide as the specimen along `[y, x]`.
    whole: [bool; 2],
    /// Pixels of the specimen `[y, x]` [Å].
    pixel: [f64; 2],
    /// Height of the specimen down to the last exit [Å].
    height: f64,
}

impl Window {
    /// A window at least `side` wide [Å] and quick to transform, or as wide as the specimen.
    ///
    /// # Errors
    /// Fewer than 4 pixels along an axis.
    pub(super) fn new(specimen: &Grid, side: f64, height: f64) -> Result<Self> {
        let (rows, cols) = specimen.shape();
        let (pixel, period) = (specimen.sampling(), specimen.extent());
        let span = |axis: usize| {
            let all = [rows, cols][axis];
            let side = side.min(period[axis]);
            let count = quick_length((side / pixel[axis] * (1.0 - 1e-12)).ceil() as usize);
            Span {
                first: 0,
                count: count.min(all),
                whole: count >= all,
            }
        };
        let spans = [span(0), span(1)];
        let extent = [0, 1].map(|axis| spans[axis].length(pixel[axis], period[axis]));
        Ok(Self {
            grid: Grid::new((spans[0].count, spans[1].count), extent)?,
            whole: spans.map(|span| span.whole),
            pixel,
            height,
        })
    }

    /// Whether it is the whole specimen.
    pub(super) fn is_whole(&self) -> bool {
        self.whole == [true; 2]
    }

    /// Whether a region made for this window holds those of `other`: it is as wide, and as wide as the specimen along the same
    /// axes.
    pub(super) fn covers(&self, other: &Self) -> bool {
        (0..2).all(|axis| self.count(axis) >= other.count(axis)) && self.whole == other.whole
    }

    /// Its shorter side [Å].
    pub(super) fn side(&self) -> f64 {
        let [y, x] = self.grid.extent();
        y.min(x)
    }

    /// Σ|ψ|² over the outer `part` of the window, along the axes where it is not the whole specimen.
    pub(super) fn at_border(&self, wave: &[Complex<f64>], part: f64) -> f64 {
        let (rows, cols) = self.grid.shape();
        let outside = |axis: usize, index: usize, count: usize| {
            let width = (part * count as f64).ceil() as usize;
            !self.whole[axis] && (index < width || index >= count - width)
        };
        let values = wave.iter().enumerate();
        values
            .filter(|(i, _)| outside(0, i / cols, rows) || outside(1, i % cols, cols))
            .map(|(_, value)| value.norm_sqr())
            .sum()
    }

    /// Pixels of the window along `axis`.
    fn count(&self, axis: usize) -> usize {
        [self.grid.shape().0, self.grid.shape().1][axis]
    }

    /// First pixel of the window of a probe along `axis` (0 is y): the middle of the window is that of the beam's way.
    fn first(&self, axis: usize, position: Point, tilt_mrad: [f64; 2]) -> i64 {
        if self.whole[axis] {
            return 0;
        }
        let drift = self.height * (tilt_mrad[1 - axis] * RAD_PER_MRAD).tan();
        let middle = (position[1 - axis] + 0.5 * drift) / self.pixel[axis];
        (middle - 0.5 * self.count(axis) as f64).round() as i64
    }

    /// The pixels along `axis` of the box for all windows of an area.
    fn span(&self, axis: usize, area: &ScanArea) -> Span {
        let count = self.count(axis);
        if self.whole[axis] {
            return Span {
                first: 0,
                count,
                whole: true,
            };
        }
        let [low, high] = area.tilt_range();
        let first = self.first(axis, area.low, low);
        let last = self.first(axis, area.high, high);
        Span {
            first,
            count: (last - first) as usize + count,
            whole: false,
        }
    }

    /// The box for all windows of an area, `[y, x]`.
    pub(super) fn spans(&self, area: &ScanArea) -> [Span; 2] {
        [self.span(0, area), self.span(1, area)]
    }
}

/// The part of a specimen around a rectangle of probes, made ready. Tilts and scans share it.
pub struct Region {
    engine: AnyEngine,
    readout: Arc<Readout>,
    window: Window,
    spans: [Span; 2],
}

impl Region {
    /// # Errors
    /// As [`Multislice::new`](super::super::Multislice::new).
    pub(super) fn new(
        specimen: &Potential,
        window: &Window,
        optics: &Optics,
        readout: &Arc<Readout>,
        area: &ScanArea,
    ) -> Result<Self> {
        let spans = window.spans(area);
        let engine = match optics.precision {
            Precision::F32 => AnyEngine::F32(engine(specimen, window, optics, spans)?),
            Precision::F64 => AnyEngine::F64(engine(specimen, window, optics, spans)?),
        };
        Ok(Self {
            engine,
            readout: Arc::clone(readout),
            window: *window,
            spans,
        })
    }

    /// The same slices for other windows, no wider than those that the region was made for.
    pub(super) fn with_window(&self, window: &Window, readout: &Arc<Readout>) -> Self {
        let engine = match &self.engine {
            AnyEngine::F32(engine) => AnyEngine::F32(on_grid(engine.slices(), &window.grid)),
            AnyEngine::F64(engine) => AnyEngine::F64(on_grid(engine.slices(), &window.grid)),
        };
        Self {
            engine,
            readout: Arc::clone(readout),
            window: *window,
            spans: self.spans,
        }
    }

    /// What each channel of the detectors collects from each probe, `(channel, thickness, probe)`, as a fraction of the incident
    /// beam, the specimen being tilted by `tilt_mrad` `[x, y]`. The numbers do not depend on the number of threads.
    ///
    /// # Panics
    /// A probe, or the tilt, lies outside the area of the region.
    #[must_use]
    pub fn scan(&self, positions: &[Point], tilt_mrad: [f64; 2]) -> Array3<f64> {
        let visit = |position: &Point| Visit {
            tilt_mrad: None,
            ..self.visit(*position, tilt_mrad)
        };
        let visits: Vec<Visit> = positions.iter().map(visit).collect();
        let engine = self.engine.with_tilt(tilt_mrad);
        engine.scan(&self.readout, &visits)
    }

    /// The same with a mistilt of its own `[x, y]` [mrad] for every probe.
    ///
    /// # Panics
    /// A probe, or its tilt, lies outside the area of the region.
    #[must_use]
    pub fn scan_tilted(&self, probes: &[(Point, [f64; 2])]) -> Array3<f64> {
        let visits: Vec<Visit> = probes
            .iter()
            .map(|&(position, tilt)| self.visit(position, tilt))
            .collect();
        self.engine.scan(&self.readout, &visits)
    }

    /// The engine for waves on the window.
    pub(super) fn engine(&self) -> &AnyEngine {
        &self.engine
    }

    /// Where the window of a probe lies, and the probe in it.
    pub(super) fn visit(&self, position: Point, tilt_mrad: [f64; 2]) -> Visit {
        let mut inside = position;
        let corner = std::array::from_fn(|axis| {
            let span = self.spans[axis];
            let first = self.window.first(axis, position, tilt_mrad);
            inside[1 - axis] -= first as f64 * self.window.pixel[axis];
            let corner = first - span.first;
            let room = span.count as i64 - self.window.count(axis) as i64;
            assert!(
                (0..=room).contains(&corner),
                "a probe at {position:?} Å, tilted by {tilt_mrad:?} mrad, outside its region"
            );
            corner as usize
        });
        Visit {
            position: inside,
            corner,
            tilt_mrad: Some(tilt_mrad),
        }
    }
}

fn engine<T: Lanes>(
    specimen: &Potential,
    window: &Window,
    optics: &Optics,
    spans: [Span; 2],
) -> Result<Engine<T>> {
    let slices = if window.is_whole() {
        Slices::new(specimen, optics)?
    } else {
        mosaic::slices(specimen, optics, spans)?
    };
    Ok(on_grid(&Arc::new(slices), &window.grid))
}

fn on_grid<T: Lanes>(slices: &Arc<Slices<T>>, grid: &Grid) -> Engine<T> {
    Engine::new(Arc::clone(slices), grid, [0.0; 2])
}
