//! The engine of a simulation, made ready for one unit of work after the other.

use std::sync::Arc;

use ndarray::Array3;

use super::method::smaller_side;
use super::plan::Plan;
use super::units::Unit;
use crate::error::Result;
use crate::multislice::{Bloch, Method, Multislice, Optics, Prism};
use crate::neighbours::Point;

/// Keeps what the next unit can use again: units of one phonon configuration share potentials, units of one tilt propagators.
pub(super) struct Simulator<'a> {
    plan: &'a Plan,
    optics: Optics,
    base: Option<(usize, Arc<Engine>)>,
    tilted: Option<([usize; 2], Engine)>,
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
    /// # Errors
    /// The scattering table lacks an element.
    pub(super) fn new(plan: &'a Plan) -> Result<Self> {
        Ok(Self {
            plan,
            optics: plan.optics()?,
            base: None,
            tilted: None,
        })
    }

    /// Readings `(channel, thickness, probe)` of a unit.
    ///
    /// # Errors
    /// As the engine's constructor.
    pub(super) fn readings(&mut self, unit: &Unit) -> Result<Array3<f64>> {
        let positions = self.plan.positions(unit);
        let tilt = self.plan.settings.tilts_mrad[unit.tilt];
        if let Some(field) = &self.plan.tilt_field {
            let local = |&point: &Point| {
                let here = field.at(point);
                (point, [tilt[0] + here[0], tilt[1] + here[1]])
            };
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
