//! The engine of a simulation, made ready for one unit of work after the other.

use ndarray::Array3;

use super::plan::Plan;
use super::units::Unit;
use crate::error::Result;
use crate::multislice::Multislice;

/// Keeps what the next unit can use again: units of one phonon configuration share potentials, units of one tilt propagators.
pub(super) struct Simulator<'a> {
    plan: &'a Plan,
    base: Option<(usize, Multislice)>,
    tilted: Option<([usize; 2], Multislice)>,
}

impl<'a> Simulator<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            base: None,
            tilted: None,
        }
    }

    /// Readings `(channel, thickness, probe)` of a unit.
    ///
    /// # Errors
    /// As the engine's constructor.
    pub(super) fn readings(&mut self, unit: &Unit) -> Result<Array3<f64>> {
        let now = [unit.configuration, unit.tilt];
        let tilt = self.plan.settings.tilts_mrad[unit.tilt];
        let engine = match self.tilted.take().filter(|(of, _)| *of == now) {
            Some((_, engine)) => engine,
            None => self.base(unit.configuration)?.with_tilt(tilt),
        };
        let readings = engine.scan(&self.plan.positions(unit));
        self.tilted = Some((now, engine));
        Ok(readings)
    }

    /// The engine of a phonon configuration, at zero tilt.
    fn base(&mut self, configuration: usize) -> Result<&Multislice> {
        let base = match self.base.take().filter(|(of, _)| *of == configuration) {
            Some(base) => base,
            None => {
                let potential = self.plan.potential(configuration)?;
                (
                    configuration,
                    Multislice::new(&potential, &self.plan.optics()?)?,
                )
            }
        };
        Ok(&self.base.insert(base).1)
    }
}
