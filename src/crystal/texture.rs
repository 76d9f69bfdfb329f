//! Polar textures: the field p that multiplies the polar displacements of the recipe in [`super::perovskite`].

use serde::{Deserialize, Serialize};

use super::field::Field;
use super::wall::{Frame, Wall};
use crate::error::Result;
use crate::settings::Source;

/// Polar texture, chosen by section: `[specimen.r3c.texture.uniform]`, `[…wall]`, `[…vortex]`, `[…vortex_pair]`,
/// `[…flux_closure]` or `[…random]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Texture {
    /// One domain.
    Uniform {
        /// p, such as `[1, 1, 1]` for one of the eight ⟨111⟩ variants.
        direction: [f64; 3],
    },
    /// Two domains and the two walls between them.
    Wall(Wall),
    /// Polarization that turns around the centre of the field. It does not close over the periodic border: there it jumps.
    Vortex {
        /// Radius in which |p| grows from 0 to its full value, as tanh(r/core) [Å].
        core_angstrom: f64,
        /// |p| in the plane, away from the core.
        amplitude: f64,
        /// p along the beam.
        along_beam: f64,
    },
    /// Two vortices that turn against each other, in the middles of the left and the right half. Periodic; a wall along the
    /// border of y closes it.
    VortexPair {
        /// Radius of the cores, as of a vortex [Å].
        core_angstrom: f64,
        /// |p| in the plane, away from the cores.
        amplitude: f64,
        /// p along the beam.
        along_beam: f64,
    },
    /// Flux closure: four domains (∓, ±) around the centre of the field, walls along x and y through it. Periodic; two more
    /// walls lie on the border.
    FluxClosure {
        /// w of the walls' tanh(ξ/w) [Å].
        half_width_angstrom: f64,
        /// Size of each in-plane component in a domain.
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

/// A length, its key, and the two sizes that the textures with an in-plane amplitude share.
struct Sizes {
    name: &'static str,
    length_key: &'static str,
    length: f64,
    amplitude: f64,
    along_beam: f64,
}

impl Texture {
    /// Checks the numbers, and that the texture fits `frame`; `key` is the section's name.
    ///
    /// # Errors
    /// A length that is not positive, an amplitude that is out of range, a wall that is none or does not fit.
    pub fn validate(&self, source: &Source, key: &str, frame: &Frame) -> Result<()> {
        let amplitude = |name: &str, value: f64| {
            source.in_range(
                &format!("{key}.{name}"),
                value,
                -2.0..=2.0,
                "(1 is the ground state of BiFeO3)",
                "",
            )
        };
        match self {
            Self::Uniform { direction } => {
                return direction
                    .iter()
                    .try_for_each(|&p| amplitude("uniform.direction", p));
            }
            Self::Wall(wall) => return wall.validate(source, &format!("{key}.wall"), frame),
            _ => {}
        }
        let Some(sizes) = self.sizes() else {
            return Ok(());
        };
        let name = sizes.name;
        source.in_range(
            &format!("{key}.{name}.{}", sizes.length_key),
            sizes.length,
            1.0..=10_000.0,
            "Å",
            "a texture varies over unit cells",
        )?;
        amplitude(&format!("{name}.amplitude"), sizes.amplitude)?;
        amplitude(&format!("{name}.along_beam"), sizes.along_beam)
    }

    /// The numbers of the textures that are given by a length and an amplitude.
    fn sizes(&self) -> Option<Sizes> {
        let (name, length_key, length, amplitude, along_beam) = match *self {
            Self::Uniform { .. } | Self::Wall(_) => return None,
            Self::Vortex {
                core_angstrom,
                amplitude,
                along_beam,
            } => (
                "vortex",
                "core_angstrom",
                core_angstrom,
                amplitude,
                along_beam,
            ),
            Self::VortexPair {
                core_angstrom,
                amplitude,
                along_beam,
            } => (
                "vortex_pair",
                "core_angstrom",
                core_angstrom,
                amplitude,
                along_beam,
            ),
            Self::FluxClosure {
                half_width_angstrom,
                amplitude,
                along_beam,
            } => (
                "flux_closure",
                "half_width_angstrom",
                half_width_angstrom,
                amplitude,
                along_beam,
            ),
            Self::Random {
                shortest_wavelength_angstrom,
                amplitude,
                along_beam,
            } => (
                "random",
                "shortest_wavelength_angstrom",
                shortest_wavelength_angstrom,
                amplitude,
                along_beam,
            ),
        };
        Some(Sizes {
            name,
            length_key,
            length,
            amplitude,
            along_beam,
        })
    }

    /// The field over a frame.
    #[must_use]
    pub fn field(&self, frame: &Frame, seed: u64) -> Field {
        let extent = [frame.extent[0], frame.extent[1]];
        match *self {
            Self::Uniform { direction } => Field::Uniform(direction),
            Self::Wall(ref wall) => Field::Walls(wall.laid(frame)),
            Self::Vortex {
                core_angstrom: core,
                amplitude,
                along_beam,
            } => Field::Vortex {
                centre: extent.map(|e| e / 2.0),
                core,
                amplitude,
                along_beam,
            },
            Self::VortexPair {
                core_angstrom: core,
                amplitude,
                along_beam,
            } => Field::VortexPair {
                extent,
                core,
                amplitude,
                along_beam,
            },
            Self::FluxClosure {
                half_width_angstrom: half_width,
                amplitude,
                along_beam,
            } => Field::FluxClosure {
                extent,
                half_width,
                amplitude,
                along_beam,
            },
            Self::Random {
                shortest_wavelength_angstrom: shortest,
                amplitude,
                along_beam,
            } => Field::random(extent, shortest, amplitude, along_beam, seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(texture: &Texture, [x, y]: [f64; 2]) -> Field {
        let frame = Frame {
            extent: [x, y, 40.0],
            periodic: [true, true, false],
        };
        texture.field(&frame, 3)
    }

    #[test]
    fn a_random_texture_is_periodic_and_has_the_stated_rms() {
        let texture = Texture::Random {
            shortest_wavelength_angstrom: 10.0,
            amplitude: 0.8,
            along_beam: 1.0,
        };
        let extent = [40.0, 24.0];
        let field = over(&texture, extent);
        let here = field.at([3.0, 5.0, 0.0]);
        let there = field.at([3.0 + extent[0], 5.0 - extent[1], 0.0]);
        assert!((0..3).all(|i| (here[i] - there[i]).abs() < 1e-9));
        let points = (0..40).flat_map(|i| (0..24).map(move |j| [f64::from(i), f64::from(j), 0.0]));
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
        let field = over(&texture, [100.0, 100.0]);
        assert_eq!(field.at([50.0, 50.0, 0.0])[0], 0.0);
        let right = field.at([90.0, 50.0, 0.0]);
        let left = field.at([10.0, 50.0, 7.0]);
        assert!((right[1] - 1.0).abs() < 1e-3 && right[0].abs() < 1e-9);
        assert!((left[1] + 1.0).abs() < 1e-3);
    }

    #[test]
    fn the_vortices_of_a_pair_turn_against_each_other_and_close() {
        let texture = Texture::VortexPair {
            core_angstrom: 5.0,
            amplitude: 1.0,
            along_beam: 0.5,
        };
        let field = over(&texture, [160.0, 80.0]);
        for (centre, sense) in [([40.0, 40.0], 1.0), ([120.0, 40.0], -1.0)] {
            for turn in 0..8 {
                let (sin, cos) = (f64::from(turn) * std::f64::consts::FRAC_PI_4).sin_cos();
                let p = field.at([centre[0] + 2.0 * cos, centre[1] + 2.0 * sin, 0.0]);
                // Beside the core the pair is a vortex: tanh(r/core) around the centre, up to (2π r/L)² = 2 %.
                let size = sense * (2.0_f64 / 5.0).tanh();
                assert!((p[0] + sin * size).abs() < 0.01 && (p[1] - cos * size).abs() < 0.01);
            }
        }
        for (here, there) in [([3.0, 17.0], [163.0, 17.0]), ([3.0, 17.0], [3.0, 97.0])] {
            let [p, q] = [here, there].map(|[x, y]| field.at([x, y, 0.0]));
            assert!((0..3).all(|i| (p[i] - q[i]).abs() < 1e-9));
        }
    }

    #[test]
    fn flux_closure_has_four_domains_with_walls_of_the_stated_width() {
        let texture = Texture::FluxClosure {
            half_width_angstrom: 4.0,
            amplitude: 1.0,
            along_beam: 1.0,
        };
        let field = over(&texture, [80.0, 80.0]);
        let domains = [
            ([60.0, 60.0], [-1.0, 1.0]),
            ([20.0, 60.0], [-1.0, -1.0]),
            ([20.0, 20.0], [1.0, -1.0]),
            ([60.0, 20.0], [1.0, 1.0]),
        ];
        for ([x, y], expected) in domains {
            let p = field.at([x, y, 0.0]);
            assert!((p[0] - expected[0]).abs() < 1e-3 && (p[1] - expected[1]).abs() < 1e-3);
        }
        for xi in [-3.0_f64, 0.5, 6.0] {
            let profile = (xi / 4.0).tanh();
            assert!((field.at([40.0 + xi, 60.0, 0.0])[1] - profile).abs() < 1e-12);
            assert!((field.at([60.0, 40.0 + xi, 0.0])[0] + profile).abs() < 1e-12);
        }
    }
}
