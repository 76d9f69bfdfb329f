//! The `[specimen]` section of a settings file.

use serde::{Deserialize, Serialize};

use super::composition::Composition;
use super::displacements::{DisplacementField, Displacements};
use super::field::{Onset, PolarField};
use super::film::Film;
use super::lattice::Lattice;
use super::perovskite::{Distortion, Occupation, Perovskite};
use super::snapshots::Snapshots;
use super::structure::{Structure, Truth};
use super::texture::Texture;
use super::wall::Frame;
use crate::error::{Error, Result};
use crate::settings::Source;
use crate::units::PM_PER_ANGSTROM;

/// More atoms than this are a slip of the pen: a cube of 34 nm holds 3 million.
const MOST_ATOMS: f64 = 5e7;
/// Largest shift of a sublattice [pm]: a quarter of a cell.
const LARGEST_SHIFT: f64 = 98.0;

/// What is in the microscope: a block of perovskite cells, beam along z. Exactly one of `r3c`, `polar`, `cubic`, `film`,
/// `displacements` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Specimen {
    /// Number of pseudocubic cells along x, y and the beam.
    pub cells: [usize; 3],
    /// Pseudocubic lattice parameter [Å]; left out where `composition` says it.
    pub lattice_angstrom: Option<f64>,
    /// Fraction of A sites that hold Sm instead of Bi; left out, none.
    pub samarium_fraction: Option<f64>,
    /// R3c BiFeO₃ (Palewicz 2007), `[specimen.r3c]`.
    pub r3c: Option<R3c>,
    /// Sublattices moved as wholes, `[specimen.polar]`.
    pub polar: Option<Polar>,
    /// The ideal cubic cell, `[specimen.cubic]`.
    pub cubic: Option<Cubic>,
    /// BiFeO₃ on SrTiO₃, `[specimen.film]`.
    pub film: Option<Film>,
    /// Displacements of every cell from a file, `[specimen.displacements]`.
    pub displacements: Option<Displacements>,
    /// What Sm does to `r3c`, as a model, `[specimen.composition]`.
    pub composition: Option<Composition>,
    /// Sublattices moved as wholes on top of all else, `[specimen.injected]`.
    pub injected: Option<Injected>,
}

/// R3c BiFeO₃ with a polar texture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct R3c {
    /// Amplitude η of the polar displacements; 1 is BiFeO₃ at room temperature. Left out where `composition` says it.
    pub amplitude: Option<f64>,
    /// Angle between the pseudocubic axes in a domain (+ + +) [°], 89.43 in BiFeO₃: columns lean with the domain. Left out, they
    /// stand upright.
    pub rhombohedral_angle_degrees: Option<f64>,
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

/// A known uniform shift of the cations on top of any specimen: D changes by b − a everywhere, and a measurement of D has to
/// follow with slope 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injected {
    /// Shift of the A sublattice `[x, y, z]` [pm].
    pub a_shift_pm: [f64; 3],
    /// Shift of the B sublattice `[x, y, z]` [pm].
    pub b_shift_pm: [f64; 3],
}

/// What a specimen needs from files, read elsewhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct External {
    /// The arrays of `[specimen.displacements]`.
    pub displacements: Option<DisplacementField>,
    /// The positions of `[phonons.snapshots]`.
    pub snapshots: Option<Snapshots>,
}

/// ε of the symmetric shear of axes that enclose this angle: cos α = 2 ε [rad].
#[must_use]
pub fn rhombohedral_shear(angle_degrees: f64) -> f64 {
    angle_degrees.to_radians().cos() / 2.0
}

impl Specimen {
    /// Checks the numbers and that exactly one kind is chosen; `source` stands at this section.
    ///
    /// # Errors
    /// The key, what it got and what is allowed.
    pub fn validate(&self, source: &Source) -> Result<()> {
        self.validate_kind(source)?;
        self.validate_size(source)?;
        self.validate_composition(source)?;
        if let Some(r3c) = &self.r3c {
            self.validate_r3c(source, r3c)?;
        }
        if let Some(film) = &self.film {
            film.validate(source, "film", self.cells[1])?;
            film.texture
                .validate(source, "film.texture", &self.frame())?;
            if [self.cells[0], self.cells[2]].iter().any(|n| n % 2 == 1) {
                let allowed = "even numbers along x and the beam: R3c repeats every 2 cells";
                return Err(source.wrong("cells", format!("{:?}", self.cells), allowed));
            }
        }
        let polar = self.polar.iter().flat_map(|polar| {
            [
                ("polar.a_shift_pm", polar.a_shift_pm),
                ("polar.b_shift_pm", polar.b_shift_pm),
                ("polar.o_shift_pm", polar.o_shift_pm),
            ]
        });
        let injected = self.injected.iter().flat_map(|injected| {
            [
                ("injected.a_shift_pm", injected.a_shift_pm),
                ("injected.b_shift_pm", injected.b_shift_pm),
            ]
        });
        polar.chain(injected).try_for_each(|(key, shift)| {
            shift.iter().try_for_each(|&component| {
                let hint = "picometres; larger than a quarter cell is another structure";
                source.in_range(key, component, -LARGEST_SHIFT..=LARGEST_SHIFT, "pm", hint)
            })
        })
    }

    fn validate_kind(&self, source: &Source) -> Result<()> {
        let kinds = [
            self.r3c.is_some(),
            self.polar.is_some(),
            self.cubic.is_some(),
            self.film.is_some(),
            self.displacements.is_some(),
        ];
        let chosen = kinds.iter().filter(|&&given| given).count();
        if chosen == 1 {
            return Ok(());
        }
        let allowed = "exactly one of the sections r3c, polar, cubic, film, displacements";
        Err(source.wrong("", format!("{chosen} kinds of specimen"), allowed))
    }

    fn validate_size(&self, source: &Source) -> Result<()> {
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
            let got = format!("{:?}, {atoms:e} atoms", self.cells);
            return Err(source.wrong("cells", got, format!("at most {MOST_ATOMS:e} atoms")));
        }
        Ok(())
    }

    /// Lattice and Sm are said once: by their own keys or by the composition.
    fn validate_composition(&self, source: &Source) -> Result<()> {
        if let Some(composition) = &self.composition {
            let amplitude = self.r3c.as_ref().and_then(|r3c| r3c.amplitude);
            for (key, given) in [
                ("lattice_angstrom", self.lattice_angstrom),
                ("samarium_fraction", self.samarium_fraction),
                ("r3c.amplitude", amplitude),
            ] {
                if let Some(value) = given {
                    let allowed = "either this key or the section composition, which says it too";
                    return Err(source.wrong(key, value, allowed));
                }
            }
            if self.r3c.is_none() {
                let allowed = "a section r3c with it: the model is one of R3c BiFeO3";
                return Err(source.wrong("composition", "another kind of specimen", allowed));
            }
            return composition.validate(source, "composition", self.cells);
        }
        let Some(lattice) = self.lattice_angstrom else {
            let allowed = "a number in Å, or a section composition that says it";
            return Err(source.wrong("lattice_angstrom", "nothing", allowed));
        };
        source.in_range(
            "lattice_angstrom",
            lattice,
            3.0..=6.0,
            "Å",
            "a perovskite cell",
        )?;
        source.in_range(
            "samarium_fraction",
            self.samarium_fraction.unwrap_or(0.0),
            0.0..=1.0,
            "",
            "0.1 is 10 %",
        )
    }

    fn validate_r3c(&self, source: &Source, r3c: &R3c) -> Result<()> {
        match (r3c.amplitude, &self.composition) {
            (None, None) => {
                let allowed = "a number, 1 is BiFeO3, or a section composition that says it";
                return Err(source.wrong("r3c.amplitude", "nothing", allowed));
            }
            (amplitude, _) => source.in_range(
                "r3c.amplitude",
                amplitude.unwrap_or(1.0),
                0.0..=2.0,
                "(1 is BiFeO3)",
                "",
            )?,
        }
        if let Some(angle) = r3c.rhombohedral_angle_degrees {
            let key = "r3c.rhombohedral_angle_degrees";
            source.in_range(key, angle, 85.0..=95.0, "°", "89.43 in BiFeO3")?;
        }
        r3c.texture.validate(source, "r3c.texture", &self.frame())?;
        if self.cells.iter().any(|n| n % 2 == 1) {
            let got = format!("{:?}", self.cells);
            let allowed = "even numbers: R3c repeats every 2 × 2 × 2 cells";
            return Err(source.wrong("cells", got, allowed));
        }
        Ok(())
    }

    /// Where the cells lie.
    #[must_use]
    pub fn lattice(&self) -> Lattice {
        let model = || {
            self.composition
                .as_ref()
                .map(|c| c.state().lattice_angstrom)
        };
        Lattice {
            edge: self.lattice_angstrom.or_else(model).unwrap_or_default(),
            film: self.film.as_ref().map(Film::rows),
        }
    }

    /// Edges of the block `[x, y, z]` [Å].
    #[must_use]
    pub fn extent(&self) -> [f64; 3] {
        self.lattice().extent(self.cells)
    }

    /// What a texture is laid on: the block, or the film above its interface.
    fn frame(&self) -> Frame {
        let extent = self.extent();
        let Some(film) = &self.film else {
            return Frame {
                extent,
                periodic: [true, true, false],
            };
        };
        let start = self.lattice().row(film.substrate_cells);
        Frame {
            extent: [extent[0], extent[1] - start, extent[2]],
            periodic: [true, false, false],
        }
    }

    /// The polar field; nothing in specimens that are not made by the R3c recipe. `seed` draws random textures.
    #[must_use]
    pub fn polar_field(&self, seed: u64) -> Option<PolarField> {
        if let Some(film) = &self.film {
            return Some(PolarField {
                texture: film.texture.field(&self.frame(), seed),
                onset: Some(Onset {
                    start: self.lattice().row(film.substrate_cells),
                    length: film.decay_length_angstrom,
                }),
            });
        }
        let r3c = self.r3c.as_ref()?;
        Some(PolarField::everywhere(
            r3c.texture.field(&self.frame(), seed),
        ))
    }

    /// The atoms and the truth about their columns; `seed` draws textures and Sm sites.
    ///
    /// # Errors
    /// Arrays from outside that are missing or of another block; displacements that put atoms on top of each other.
    pub fn build(&self, seed: u64, external: &External) -> Result<(Structure, Truth)> {
        let lattice = self.lattice();
        let samarium = match &self.composition {
            Some(composition) => composition.samarium_fraction,
            None => self.samarium_fraction.unwrap_or(0.0),
        };
        let in_angstrom = |shift: [f64; 3]| shift.map(|pm| pm / PM_PER_ANGSTROM);
        let injected = self.injected.as_ref().map_or([[0.0; 3]; 2], |injected| {
            [injected.a_shift_pm, injected.b_shift_pm].map(in_angstrom)
        });
        let built = Perovskite {
            cells: self.cells,
            lattice,
            distortion: self.distortion(seed, external)?,
            antipolar: self.composition.as_ref().and_then(Composition::antipolar),
            injected,
            occupation: Occupation {
                samarium,
                interface: self.film.as_ref().map(|film| film.interface(&lattice)),
                seed,
            },
        }
        .build();
        if self.displacements.is_some() || self.injected.is_some() {
            built.0.check_overlaps("specimen")?;
        }
        Ok(built)
    }

    /// What moves the atoms off their ideal places.
    fn distortion(&self, seed: u64, external: &External) -> Result<Distortion> {
        let rigid = |shifts: [[f64; 3]; 3]| Distortion::Rigid {
            shifts: shifts.map(|shift| shift.map(|pm| pm / PM_PER_ANGSTROM)),
        };
        if let Some(displacements) = &self.displacements {
            let given = external.displacements.as_ref();
            return given
                .filter(|field| field.cells() == self.cells)
                .map(|field| Distortion::Given(field.clone()))
                .ok_or_else(|| Error::Setting {
                    place: "specimen.displacements".to_owned(),
                    got: format!("no arrays for {:?} cells", self.cells),
                    allowed: format!("those read from {}", displacements.file.display()),
                });
        }
        if let Some(polar) = &self.polar {
            return Ok(rigid([
                polar.a_shift_pm,
                polar.b_shift_pm,
                polar.o_shift_pm,
            ]));
        }
        let Some(field) = self.polar_field(seed) else {
            return Ok(rigid([[0.0; 3]; 3]));
        };
        let angle = self
            .r3c
            .as_ref()
            .and_then(|r3c| r3c.rhombohedral_angle_degrees);
        Ok(Distortion::R3c {
            amplitude: self.amplitude(),
            field,
            shear: angle.map_or(0.0, rhombohedral_shear),
        })
    }

    /// η of the recipe: the film's, the composition's, or the one given.
    fn amplitude(&self) -> f64 {
        let given = self.r3c.as_ref().and_then(|r3c| r3c.amplitude);
        let film = self.film.as_ref().map(|film| film.amplitude);
        let model = self.composition.as_ref().map(|c| c.state().amplitude);
        film.or(model).or(given).unwrap_or_default()
    }
}
