//! The polar field p of a specimen: a texture laid over it, evaluated at points `[x, y, z]`.
//!
//! p is dimensionless; a domain of the ground state has components ±1. Only inclined walls depend on z.

use std::f64::consts::TAU;

use super::polarization::Point;
use super::wall::{Walls, to_nearest_wall};
use crate::rng::{Rng, stream};

/// A texture laid over a specimen.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// The same everywhere.
    Uniform([f64; 3]),
    /// Domain walls.
    Walls(Walls),
    /// Turning around `centre` [Å].
    Vortex {
        /// Axis of the vortex [Å].
        centre: Point,
        /// Core radius [Å].
        core: f64,
        /// |p| in the plane.
        amplitude: f64,
        /// p along the beam.
        along_beam: f64,
    },
    /// Two vortices of opposite sense, side by side along x.
    VortexPair {
        /// Period of the pair `[x, y]` [Å].
        extent: [f64; 2],
        /// Core radius [Å].
        core: f64,
        /// |p| in the plane.
        amplitude: f64,
        /// p along the beam.
        along_beam: f64,
    },
    /// Four domains around a point.
    FluxClosure {
        /// Period `[x, y]` [Å]; the domains meet in its centre.
        extent: [f64; 2],
        /// Half width of the walls [Å].
        half_width: f64,
        /// Size of each in-plane component in a domain.
        amplitude: f64,
        /// p along the beam.
        along_beam: f64,
    },
    /// A sum of plane waves.
    Waves {
        /// The waves.
        waves: Vec<PlaneWave>,
        /// Mean p.
        mean: [f64; 3],
    },
}

/// One wave of a random texture: amplitude · cos(2π k·r + phase), for each component.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlaneWave {
    k: [f64; 2],
    amplitude: [f64; 3],
    phase: [f64; 3],
}

impl Field {
    /// p at a point `[x, y, z]` [Å].
    #[must_use]
    pub fn at(&self, point: [f64; 3]) -> [f64; 3] {
        let [px, py, _] = point;
        match self {
            Self::Uniform(direction) => *direction,
            Self::Walls(walls) => walls.at(point),
            Self::Vortex {
                centre,
                core,
                amplitude,
                along_beam,
            } => {
                let [x, y] = [px - centre[0], py - centre[1]];
                let radius = x.hypot(y).max(1e-9);
                let size = amplitude * (radius / core).tanh() / radius;
                [-y * size, x * size, *along_beam]
            }
            Self::VortexPair {
                extent,
                core,
                amplitude,
                along_beam,
            } => {
                let [x, y] = pair([px, py], *extent);
                let length = x.hypot(y).max(1e-9);
                let size = amplitude * (length / core).tanh() / length;
                [x * size, y * size, *along_beam]
            }
            Self::FluxClosure {
                extent,
                half_width,
                amplitude,
                along_beam,
            } => {
                let step = |value: f64, period: f64| {
                    amplitude * (to_nearest_wall(value - period / 2.0, period) / half_width).tanh()
                };
                [-step(py, extent[1]), step(px, extent[0]), *along_beam]
            }
            Self::Waves { waves, mean } => {
                let component =
                    |axis: usize| -> f64 { waves.iter().map(|wave| wave.at([px, py], axis)).sum() };
                [0, 1, 2].map(|axis| mean[axis] + component(axis))
            }
        }
    }

    /// Plane waves of all periods that fit `extent` `[x, y]` and are at least `shortest` long [Å], of rms `amplitude`.
    #[must_use]
    pub fn random(
        extent: [f64; 2],
        shortest: f64,
        amplitude: f64,
        along_beam: f64,
        seed: u64,
    ) -> Self {
        Self::Waves {
            waves: waves(extent, shortest, [amplitude, amplitude, 0.0], seed),
            mean: [0.0, 0.0, along_beam],
        }
    }

    /// The same in all three components, each of its own rms amplitude, around a mean.
    #[must_use]
    pub fn turbulent(
        extent: [f64; 2],
        shortest: f64,
        amplitudes: [f64; 3],
        mean: [f64; 3],
        seed: u64,
    ) -> Self {
        Self::Waves {
            waves: waves(extent, shortest, amplitudes, seed),
            mean,
        }
    }
}

impl PlaneWave {
    /// One component of the wave at a point [Å].
    fn at(&self, [x, y]: Point, axis: usize) -> f64 {
        let turn = TAU * (self.k[0] * x + self.k[1] * y);
        self.amplitude[axis] * (turn + self.phase[axis]).cos()
    }
}

/// The pattern of two counter-rotating vortices, periodic over `extent`: beside a core it is the distance from
/// the core, turned by ±90° [Å].
fn pair([x, y]: Point, [width, height]: [f64; 2]) -> [f64; 2] {
    let (sin_x, cos_x) = (TAU * x / width).sin_cos();
    let (sin_y, cos_y) = (TAU * y / height).sin_cos();
    [
        height / TAU * sin_x * sin_y,
        -width / TAU * cos_x * (1.0 - cos_y) / 2.0,
    ]
}

/// The waves of a random texture, normalised to rms `amplitudes`. The third component has a stream of its own.
fn waves(extent: [f64; 2], shortest: f64, amplitudes: [f64; 3], seed: u64) -> Vec<PlaneWave> {
    let mut rng = stream(seed, "texture", 0);
    let mut rng_along = stream(seed, "texture along the beam", 0);
    let orders = extent.map(|e| (e / shortest).floor() as i64);
    let mut waves = Vec::new();
    for ny in 0..=orders[1] {
        for nx in -orders[0]..=orders[0] {
            let half_plane = ny > 0 || nx >= 0;
            let k = [nx as f64 / extent[0], ny as f64 / extent[1]];
            if half_plane && k[0].hypot(k[1]) * shortest <= 1.0 {
                let mut draw = || 2.0 * rng.random::<f64>() - 1.0;
                let mut draw_along = || 2.0 * rng_along.random::<f64>() - 1.0;
                let weights = [draw(), draw(), draw_along()];
                let phase = [draw(), draw(), draw_along()].map(|u| u * std::f64::consts::PI);
                waves.push(PlaneWave {
                    k,
                    amplitude: weights,
                    phase,
                });
            }
        }
    }
    for (axis, amplitude) in amplitudes.into_iter().enumerate() {
        let power: f64 = waves
            .iter()
            .map(|w| {
                let constant = w.k == [0.0, 0.0];
                let mean_square = if constant {
                    w.phase[axis].cos().powi(2)
                } else {
                    0.5
                };
                w.amplitude[axis].powi(2) * mean_square
            })
            .sum();
        let scale = amplitude / power.sqrt().max(1e-12);
        waves.iter_mut().for_each(|w| w.amplitude[axis] *= scale);
    }
    waves
}

/// The polar field of a specimen: a texture, which in a film starts at the interface and grows to its full value.
#[derive(Debug, Clone, PartialEq)]
pub struct PolarField {
    /// The texture.
    pub texture: Field,
    /// Where it starts, in a film.
    pub onset: Option<Onset>,
}

/// How a film's polar field grows from the interface: η(y) = 1 − exp(−(y − start)/length), and zero below.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Onset {
    /// y of the interface [Å]; the texture's own y counts from there.
    pub start: f64,
    /// Decay length L [Å].
    pub length: f64,
}

impl PolarField {
    /// A texture that fills the specimen.
    #[must_use]
    pub fn everywhere(texture: Field) -> Self {
        Self {
            texture,
            onset: None,
        }
    }

    /// p at a point `[x, y, z]` [Å].
    #[must_use]
    pub fn at(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        let Some(onset) = self.onset else {
            return self.texture.at([x, y, z]);
        };
        let height = y - onset.start;
        if height <= 0.0 {
            return [0.0; 3];
        }
        let grown = 1.0 - (-height / onset.length).exp();
        self.texture.at([x, height, z]).map(|p| grown * p)
    }
}
