//! The engine of a simulation, made ready for one unit of work after the other.

use std::sync::Arc;

use ndarray::Array3;

use super::emulation::Emulation;
use super::method::smaller_side;
use super::plan::Plan;
use super::units::Unit;
use crate::emulator::Response;
use crate::error::Result;
use crate::multislice::{Bloch, Method, Multislice, Optics, Prism, Region, Windowed};
use crate::neighbours::Point;

/// Keeps what the next unit can use again: units of one phonon configuration share potentials, units of one tilt propagators.
pub(super) struct Simulator<'a> {
    plan: &'a Plan,
    optics: Optics,
    base: Option<(usize, Arc<Engine>)>,
    tilted: Option<([usize; 2], Engine)>,
    /// Configuration, first row and column, and the region of the specimen for them.
    region: Option<([usize; 3], Region)>,
    emulation: Option<Emulation>,
    /// Configuration, and its atoms behind the windows.
    windowed: Option<(usize, Arc<Windowed>)>,
}

/// An engine for all of the specimen.
enum Engine {
    Multislice(Multislice),
    Bloch(Bloch),
    Prism(Prism),
}

impl Engine {
    fn new(plan: &Plan, optics: &Optics, configuration: usize) -> Result<Self> {
        let potential = plan.potential(configuration)?;
        let settings = &plan.settings.multislice;
        Ok(match (settings.method, &settings.bloch, &settings.prism) {
            (Method::Bloch, Some(bloch), _) => {
                let points = bloch.points(smaller_side(&plan.grid));
                Self::Bloch(Bloch::new(&potential, optics, points)?)
            }
            (Method::Prism, _, Some(prism)) => Self::Prism(Prism::new(&potential, optics, prism)?),
            _ => Self::Multislice(Multislice::new(&potential, optics)?),
        })
    }

    fn with_tilt(&self, tilt_mrad: [f64; 2]) -> Self {
        match self {
            Self::Multislice(engine) => Self::Multislice(engine.with_tilt(tilt_mrad)),
            Self::Bloch(engine) => Self::Bloch(engine.with_tilt(tilt_mrad)),
            Self::Prism(engine) => Self::Prism(engine.with_tilt(tilt_mrad)),
        }
    }

    fn scan(&self, positions: &[Point]) -> Array3<f64> {
        match self {
            Self::Multislice(engine) => engine.scan(positions),
            Self::Bloch(engine) => engine.scan(positions),
            Self::Prism(engine) => engine.scan(positions),
        }
    }
}

impl<'a> Simulator<'a> {
    /// With the responses of all detectors, for the emulator.
    ///
    /// # Errors
    /// The scattering table lacks an element; what the emulator is asked for is outside the responses' ranges.
    pub(super) fn new(plan: &'a Plan, responses: &[Response]) -> Result<Self> {
        let drawn = plan.settings.multislice.method == Method::Emulator;
        Ok(Self {
            emulation: drawn.then(|| Emulation::new(plan, responses)).transpose()?,
            plan,
            optics: plan.optics()?,
            base: None,
            tilted: None,
            region: None,
            windowed: None,
        })
    }

    /// Readings `(channel, thickness, probe)` of a unit.
    ///
    /// # Errors
    /// As the engine's constructor.
    pub(super) fn readings(&mut self, unit: &Unit) -> Result<Array3<f64>> {
        self.first_readings(unit, unit.len())
    }

    /// The same for the first few probes of a unit, with all that belongs to it.
    ///
    /// # Errors
    /// As the engine's constructor.
    pub(super) fn first_readings(&mut self, unit: &Unit, few: usize) -> Result<Array3<f64>> {
        if let Some(emulation) = &self.emulation {
            return Ok(emulation.readings(self.plan, unit));
        }
        let mut positions = self.plan.positions(unit);
        positions.truncate(few);
        let tilt = self.plan.settings.tilts_mrad[unit.tilt];
        let local = |&point: &Point| {
            let field = self.plan.tilt_field.as_ref();
            let here = field.map_or([0.0; 2], |field| field.at(point));
            (point, [tilt[0] + here[0], tilt[1] + here[1]])
        };
        if self.plan.settings.multislice.method == Method::Windowed {
            if self.plan.tilt_field.is_none() {
                return Ok(self.region(unit)?.scan(&positions, tilt));
            }
            let probes: Vec<_> = positions.iter().map(local).collect();
            return Ok(self.region(unit)?.scan_tilted(&probes));
        }
        if self.plan.tilt_field.is_some() {
            let probes: Vec<_> = positions.iter().map(local).collect();
            if let Engine::Multislice(engine) = &*self.base(unit.configuration)? {
                return Ok(engine.scan_tilted(&probes));
            }
        }
        let now = [unit.configuration, unit.tilt];
        // What is no longer scanned goes before the next is made: it may be large.
        let engine = match self.tilted.take().filter(|(of, _)| *of == now) {
            Some((_, engine)) => engine,
            None => self.base(unit.configuration)?.with_tilt(tilt),
        };
        let readings = engine.scan(&positions);
        self.tilted = Some((now, engine));
        Ok(readings)
    }

    /// The region of the specimen for a unit.
    ///
    /// # Errors
    /// As the engine's constructor.
    pub(super) fn region(&mut self, unit: &Unit) -> Result<&Region> {
        let now = [unit.configuration, unit.rows.start, unit.cols.start];
        let region = match self.region.take().filter(|(of, _)| *of == now) {
            Some(region) => region,
            None => {
                let area = self.plan.area(unit.rows.clone(), unit.cols.clone());
                (now, self.windowed(unit.configuration)?.region(&area)?)
            }
        };
        Ok(&self.region.insert(region).1)
    }

    /// The windows on the atoms of a phonon configuration.
    fn windowed(&mut self, configuration: usize) -> Result<Arc<Windowed>> {
        if let Some((of, windowed)) = &self.windowed
            && *of == configuration
        {
            return Ok(Arc::clone(windowed));
        }
        let mut windowed = self.plan.windowed()?;
        if configuration > 0 {
            let specimen = Arc::new(self.plan.potential(configuration)?);
            windowed = Arc::new(windowed.with_specimen(specimen)?);
        }
        self.windowed = Some((configuration, Arc::clone(&windowed)));
        Ok(windowed)
    }

    /// The engine of a phonon configuration, at zero tilt.
    fn base(&mut self, configuration: usize) -> Result<Arc<Engine>> {
        if let Some((of, engine)) = &self.base
            && *of == configuration
        {
            return Ok(Arc::clone(engine));
        }
        self.base = None;
        let engine = Arc::new(Engine::new(self.plan, &self.optics, configuration)?);
        self.base = Some((configuration, Arc::clone(&engine)));
        Ok(engine)
    }
}
