//! BiFeO₃ on SrTiO₃: film normal along y, so that the interface is seen edge-on; the beam runs along z.
//!
//! Both share the in-plane lattice parameter (coherent epitaxy); the film's cells are taller. The substrate is cubic and
//! non-polar; in the film p is multiplied by η(y) = 1 − exp(−(y − y₀)/L), y₀ being the plane of the film's first A sites, so that
//! polar displacements and octahedral rotations grow together from the interface. Intermixing: a site at height y is the film's
//! with probability ½(1 + tanh((y − y_m)/w)), y_m being the middle between the last plane of the substrate and the first of
//! the film; drawn by a counter generator keyed (seed, i, j, k).
//!
//! The box is periodic, so that the film's upper surface meets the substrate of the next period at the border of y. That
//! second interface is sharp: no onset, no intermixing. Images are to be taken away from it.

use serde::{Deserialize, Serialize};

use super::element;
use super::lattice::{FilmRows, Lattice};
use super::texture::Texture;
use crate::error::Result;
use crate::rng::{Rng, stream};
use crate::settings::Source;

/// `[specimen.film]`. The section's `lattice_angstrom` is that of the substrate and, in the plane, of the film.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Film {
    /// Rows of substrate cells along y; the other rows are the film.
    pub substrate_cells: usize,
    /// Lattice parameter of the film along its normal [Å].
    pub film_lattice_angstrom: f64,
    /// Amplitude of the polar displacements far from the interface; 1 is BiFeO₃.
    pub amplitude: f64,
    /// L of the growth from the interface [Å].
    pub decay_length_angstrom: f64,
    /// w of the Sr/Bi intermixing [Å]; 0 is a sharp interface.
    pub a_intermixing_angstrom: f64,
    /// w of the Ti/Fe intermixing [Å]; 0 is a sharp interface.
    pub b_intermixing_angstrom: f64,
    /// Polar texture of the film, laid from the interface upwards.
    pub texture: Texture,
}

/// Which element sits where near the interface.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interface {
    /// Middle between the last plane of the substrate and the first of the film, for A and B [Å].
    pub middle: [f64; 2],
    /// Width of the intermixing on A and B [Å].
    pub width: [f64; 2],
}

impl Film {
    /// Checks the numbers but the texture's; `key` is the section's name, `rows` all rows of cells along y.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source, key: &str, rows: usize) -> Result<()> {
        let name = |part: &str| format!("{key}.{part}");
        if self.substrate_cells == 0 || self.substrate_cells >= rows {
            let allowed = format!("1 to {}: both substrate and film along y", rows.max(2) - 1);
            return Err(source.wrong(&name("substrate_cells"), self.substrate_cells, allowed));
        }
        let checks = [
            (
                "film_lattice_angstrom",
                self.film_lattice_angstrom,
                3.0..=6.0,
                "Å",
                "about 4.07 Å on SrTiO3",
            ),
            ("amplitude", self.amplitude, 0.0..=2.0, "(1 is BiFeO3)", ""),
            (
                "decay_length_angstrom",
                self.decay_length_angstrom,
                0.1..=1000.0,
                "Å",
                "",
            ),
            (
                "a_intermixing_angstrom",
                self.a_intermixing_angstrom,
                0.0..=100.0,
                "Å",
                "0 is sharp",
            ),
            (
                "b_intermixing_angstrom",
                self.b_intermixing_angstrom,
                0.0..=100.0,
                "Å",
                "0 is sharp",
            ),
        ];
        checks
            .into_iter()
            .try_for_each(|(key, value, range, unit, hint)| {
                source.in_range(&name(key), value, range, unit, hint)
            })
    }

    /// The rows of the film.
    #[must_use]
    pub fn rows(&self) -> FilmRows {
        FilmRows {
            first: self.substrate_cells,
            edge: self.film_lattice_angstrom,
        }
    }

    /// Where the elements change in a lattice with these rows.
    #[must_use]
    pub fn interface(&self, lattice: &Lattice) -> Interface {
        let start = lattice.row(self.substrate_cells);
        Interface {
            middle: [
                start - lattice.edge / 2.0,
                start + (self.film_lattice_angstrom - lattice.edge) / 4.0,
            ],
            width: [self.a_intermixing_angstrom, self.b_intermixing_angstrom],
        }
    }
}

impl Interface {
    /// Whether the A (0) or B (1) site of cell number `counter` at height `y` [Å] holds the film's element.
    #[must_use]
    pub fn is_film(&self, site: usize, y: f64, seed: u64, counter: u64) -> bool {
        let distance = y - self.middle[site];
        let width = self.width[site];
        if width <= 0.0 {
            return distance > 0.0;
        }
        let name = ["intermixing A", "intermixing B"][site];
        let draw: f64 = stream(seed, name, counter).random();
        draw < f64::midpoint(1.0, (distance / width).tanh())
    }
}

/// Elements of the substrate on A and B.
pub const SUBSTRATE: [u8; 2] = [element::SR, element::TI];
