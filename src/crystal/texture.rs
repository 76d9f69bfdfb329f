//! Polar textures: the field p(x, y) that multiplies the polar displacements of the recipe in [`super::perovskite`].
//!
//! p is dimensionless; a domain of the ground state has components ±1. Textures are uniform along the beam.

use serde::{Deserialize, Serialize};

use super::polarization::Point;
use crate::error::Result;
use crate::rng::{Rng, stream};
use crate::settings::Source;

/// Polar texture, chosen by section: `[specimen.texture.uniform]`, `[…vortex]` or `[…random]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Texture {
    /// One domain.
    Uniform {
        /// p, such as `[1, 1, 1]` for one of the eight ⟨111⟩ variants.
        direction: [f64; 3],
    },
    /// Polarization that turns around the centre of the field.
    Vortex {
        /// Radius in which |p| grows from 0 to its full value, as tanh(r/core) [Å].
        core_angstrom: f64,
        /// |p| in the plane, away from the core.
        amplitude: f64,
        /// p along the beam.
        along_beam: f64,
    },
    /// A smooth random field, periodic over the specimen: a sum of plane waves with random phases and amplitudes. Its in-plane
    /// components are rms `amplitude` each.
    Random {
        /// Shortest wavelength [Å]; the field holds no faster variation.
        shortest_wavelength_angstrom: f64,
        /// Root mean square of each in-plane component of p.
        amplitude: f64,
        /// p along the beam.
        along_beam: f64,
    },
}

impl Texture {
    /// Checks the numbers; `key` is the section's name.
    ///
    /// # Errors
    /// A length that is not positive or an amplitude that is out of range.
    pub fn validate(&self, source: &Source, key: &str) -> Result<()> {
        let amplitude = |name: &str, value: f64| {
            source.in_range(
                &format!("{key}.{name}"),
                value,
                -2.0..=2.0,
                "(1 is the ground state of BiFeO3)",
                "",
            )
        };
        let length = |name: &str, value: f64| {
            source.in_range(
                &format!("{key}.{name}"),
                value,
                1.0..=10_000.0,
                "Å",
                "a texture varies over unit cells",
            )
        };
        match self {
            Self::Uniform { direction } => direction
                .iter()
                .try_for_each(|&p| amplitude("uniform.direction", p)),
            Self::Vortex {
                core_angstrom,
                amplitude: size,
                along_beam,
            } => {
                length("vortex.core_angstrom", *core_angstrom)?;
                amplitude("vortex.amplitude", *size)?;
                amplitude("vortex.along_beam", *along_beam)
            }
            Self::Random {
                shortest_wavelength_angstrom,
                amplitude: size,
                along_beam,
            } => {
                length(
                    "random.shortest_wavelength_angstrom",
                    *shortest_wavelength_angstrom,
                )?;
                amplitude("random.amplitude", *size)?;
                amplitude("random.along_beam", *along_beam)
            }
        }
    }

    /// The field over a specimen of `extent` `[x, y]` [Å].
    #[must_use]
    pub fn field(&self, extent: [f64; 2], seed: u64) -> Field {
        match *self {
            Self::Uniform { direction } => Field::Uniform(direction),
            Self::Vortex {
                core_angstrom,
                amplitude,
                along_beam,
            } => Field::Vortex {
                centre: extent.map(|e| e / 2.0),
                core: core_angstrom,
                amplitude,
                along_beam,
            },
            Self::Random {
                shortest_wavelength_angstrom,
                amplitude,
                along_beam,
            } => Field::Waves {
                waves: waves(extent, shortest_wavelength_angstrom, amplitude, seed),
                along_beam,
            },
        }
    }
}

/// A texture laid over a specimen.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// The same everywhere.
    Uniform([f64; 3]),
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
    /// A sum of plane waves.
    Waves {
        /// The waves.
        waves: Vec<PlaneWave>,
        /// p along the beam.
        along_beam: f64,
    },
}

/// One wave of a random texture: amplitude · cos(2π k·r + phase), for each in-plane component.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlaneWave {
    k: [f64; 2],
    amplitude: [f64; 2],
    phase: [f64; 2],
}

impl Field {
    /// p at a point [Å].
    #[must_use]
    pub fn at(&self, point: Point) -> [f64; 3] {
        match self {
            Self::Uniform(direction) => *direction,
            Self::Vortex {
                centre,
                core,
                amplitude,
                along_beam,
            } => {
                let [x, y] = [point[0] - centre[0], point[1] - centre[1]];
                let radius = x.hypot(y).max(1e-9);
                let size = amplitude * (radius / core).tanh() / radius;
                [-y * size, x * size, *along_beam]
            }
            Self::Waves { waves, along_beam } => {
                let component = |axis: usize| -> f64 {
                    waves
                        .iter()
                        .map(|wave| {
                            let turn = std::f64::consts::TAU
                                * (wave.k[0] * point[0] + wave.k[1] * point[1]);
                            wave.amplitude[axis] * (turn + wave.phase[axis]).cos()
                        })
                        .sum()
                };
                [component(0), component(1), *along_beam]
            }
        }
    }
}

/// Plane waves of all periods that fit the specimen and are at least `shortest` long, normalised to rms `amplitude`.
fn waves(extent: [f64; 2], shortest: f64, amplitude: f64, seed: u64) -> Vec<PlaneWave> {
    let mut rng = stream(seed, "texture", 0);
    let orders = extent.map(|e| (e / shortest).floor() as i64);
    let mut waves = Vec::new();
    for ny in 0..=orders[1] {
        for nx in -orders[0]..=orders[0] {
            let half_plane = ny > 0 || nx >= 0;
            let k = [nx as f64 / extent[0], ny as f64 / extent[1]];
            if half_plane && k[0].hypot(k[1]) * shortest <= 1.0 {
                let mut draw = || 2.0 * rng.random::<f64>() - 1.0;
                let weights = [draw(), draw()];
                let phase = [draw(), draw()].map(|u| u * std::f64::consts::PI);
                waves.push(PlaneWave {
                    k,
                    amplitude: weights,
                    phase,
                });
            }
        }
    }
    for axis in 0..2 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_texture_is_periodic_and_has_the_stated_rms() {
        let texture = Texture::Random {
            shortest_wavelength_angstrom: 10.0,
            amplitude: 0.8,
            along_beam: 1.0,
        };
        let extent = [40.0, 24.0];
        let field = texture.field(extent, 3);
        let here = field.at([3.0, 5.0]);
        let there = field.at([3.0 + extent[0], 5.0 - extent[1]]);
        assert!((0..3).all(|i| (here[i] - there[i]).abs() < 1e-9));
        let points = (0..40).flat_map(|i| (0..24).map(move |j| [f64::from(i), f64::from(j)]));
        let square = points.map(|p| field.at(p)[0].powi(2)).sum::<f64>() / 960.0;
        assert!((square.sqrt() - 0.8).abs() < 0.02, "{}", square.sqrt());
    }

    #[test]
    fn a_vortex_turns_around_its_centre() {
        let texture = Texture::Vortex {
            core_angstrom: 5.0,
            amplitude: 1.0,
            along_beam: 0.0,
        };
        let field = texture.field([100.0, 100.0], 0);
        assert_eq!(field.at([50.0, 50.0])[0], 0.0);
        let right = field.at([90.0, 50.0]);
        let left = field.at([10.0, 50.0]);
        assert!((right[1] - 1.0).abs() < 1e-3 && right[0].abs() < 1e-9);
        assert!((left[1] + 1.0).abs() < 1e-3);
    }
}
