//! The `[specimen]` section of a settings file.

use serde::{Deserialize, Serialize};

use super::perovskite::{Distortion, Perovskite};
use super::structure::{Structure, Truth};
use super::texture::Texture;
use crate::error::Result;
use crate::settings::Source;

/// More atoms than this are a slip of the pen: a cube of 34 nm holds 3 million.
const MOST_ATOMS: f64 = 5e7;

/// What is in the microscope: a block of perovskite cells, beam along z. Exactly one of `r3c`, `polar`, `cubic` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Specimen {
    /// Number of pseudocubic cells along x, y and the beam.
    pub cells: [usize; 3],
    /// Pseudocubic lattice parameter [Å].
    pub lattice_angstrom: f64,
    /// Fraction of A sites that hold Sm instead of Bi.
    #[serde(default)]
    pub samarium_fraction: f64,
    /// R3c BiFeO₃ (Palewicz 2007), `[specimen.r3c]`.
    pub r3c: Option<R3c>,
    /// Sublattices moved as wholes, `[specimen.polar]`.
    pub polar: Option<Polar>,
    /// The ideal cubic cell, `[specimen.cubic]`.
    pub cubic: Option<Cubic>,
}

/// R3c BiFeO₃ with a polar texture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct R3c {
    /// Amplitude η of the polar displacements; 1 is BiFeO₃ at room temperature.
    pub amplitude: f64,
    /// Direction of the polar axis over the field.
    pub texture: Texture,
}

/// Sublattices moved as wholes, octahedra unturned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Polar {
    /// Shift of the A sublattice `[x, y, z]` [pm].
    pub a_shift_pm: [f64; 3],
    /// Shift of the B sublattice `[x, y, z]` [pm].
    pub b_shift_pm: [f64; 3],
    /// Shift of the oxygen sublattice `[x, y, z]` [pm].
    pub o_shift_pm: [f64; 3],
}

/// The ideal cubic cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cubic {}

impl Specimen {
    /// Checks the numbers and that exactly one kind is chosen; `source` stands at this section.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source) -> Result<()> {
        let kinds = [
            self.r3c.is_some(),
            self.polar.is_some(),
            self.cubic.is_some(),
        ];
        let chosen = kinds.iter().filter(|&&given| given).count();
        if chosen != 1 {
            let allowed = "exactly one of the sections r3c, polar, cubic";
            return Err(source.wrong("", format!("{chosen} kinds of specimen"), allowed));
        }
        if self.cells.iter().any(|&n| n == 0 || n > 4096) {
            let got = format!("{:?}", self.cells);
            return Err(source.wrong(
                "cells",
                got,
                "three numbers of cells along x, y and the beam, 1 to 4096",
            ));
        }
        let atoms = 5.0 * self.cells.iter().map(|&n| n as f64).product::<f64>();
        if atoms > MOST_ATOMS {
            let allowed = format!("at most {MOST_ATOMS:e} atoms");
            return Err(source.wrong(
                "cells",
                format!("{:?}, {atoms:e} atoms", self.cells),
                allowed,
            ));
        }
        source.in_range(
            "lattice_angstrom",
            self.lattice_angstrom,
            3.0..=6.0,
            "Å",
            "a perovskite cell",
        )?;
        source.in_range(
            "samarium_fraction",
            self.samarium_fraction,
            0.0..=1.0,
            "",
            "0.1 is 10 %",
        )?;
        if let Some(r3c) = &self.r3c {
            source.in_range(
                "r3c.amplitude",
                r3c.amplitude,
                0.0..=2.0,
                "(1 is BiFeO3)",
                "",
            )?;
            r3c.texture.validate(source, "r3c.texture")?;
            if self.cells.iter().any(|n| n % 2 == 1) {
                let got = format!("{:?}", self.cells);
                let allowed = "even numbers: R3c repeats every 2 × 2 × 2 cells";
                return Err(source.wrong("cells", got, allowed));
            }
        }
        if let Some(polar) = &self.polar {
            for (key, shift) in [
                ("a_shift_pm", polar.a_shift_pm),
                ("b_shift_pm", polar.b_shift_pm),
                ("o_shift_pm", polar.o_shift_pm),
            ] {
                for component in shift {
                    let hint = "picometres; larger than a quarter cell is another structure";
                    source.in_range(
                        &format!("polar.{key}"),
                        component,
                        -98.0..=98.0,
                        "pm",
                        hint,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Edges of the block `[x, y, z]` [Å].
    #[must_use]
    pub fn extent(&self) -> [f64; 3] {
        self.cells.map(|n| n as f64 * self.lattice_angstrom)
    }

    /// The atoms and the truth about their columns; `seed` draws textures and Sm sites.
    #[must_use]
    pub fn build(&self, seed: u64) -> (Structure, Truth) {
        let [x, y, _] = self.extent();
        let distortion = if let Some(r3c) = &self.r3c {
            Distortion::R3c {
                amplitude: r3c.amplitude,
                field: r3c.texture.field([x, y], seed),
            }
        } else if let Some(polar) = &self.polar {
            let shifts = [polar.a_shift_pm, polar.b_shift_pm, polar.o_shift_pm];
            Distortion::Rigid {
                shifts: shifts.map(|shift| shift.map(|pm| pm / crate::units::PM_PER_ANGSTROM)),
            }
        } else {
            Distortion::Rigid {
                shifts: [[0.0; 3]; 3],
            }
        };
        Perovskite {
            cells: self.cells,
            lattice: self.lattice_angstrom,
            distortion,
            samarium: self.samarium_fraction,
            seed,
        }
        .build()
    }
}
