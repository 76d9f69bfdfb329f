//! Crystals from CIF: cell, symmetry, atom sites (core dictionary of the International Union of Crystallography).
//!
//! The reader is our own: no Rust crate for small-molecule CIF is both maintained and light. Operations in the file are used as they
//! are; without them the space group is looked up by Hall symbol, Hermann–Mauguin symbol or number ([`super::symmetry`]).

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::path::Path;

use super::lattice::{
    Matrix, determinant, inverse, length, metric, nearest_image, times, transpose,
};
use super::sites::Atom;
use super::star::{self, Block, Value};
use super::symmetry::{self, Named, Operation};
use super::{Crystal, symbol};
use crate::error::{Error, Result};

const SYMOPS: [&str; 2] = [
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
];
const HALL: [&str; 2] = ["_space_group_name_hall", "_symmetry_space_group_name_hall"];
const HERMANN_MAUGUIN: [&str; 3] = [
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
];
const NUMBER: [&str; 2] = ["_space_group_it_number", "_symmetry_int_tables_number"];
const CODE: [&str; 1] = ["_space_group_it_coordinate_system_code"];
const FRACTIONS: [&str; 3] = [
    "_atom_site_fract_x",
    "_atom_site_fract_y",
    "_atom_site_fract_z",
];

/// What the settings say about reading.
pub(super) struct Choice<'a> {
    /// Name of the data block; the first with atoms if not given.
    pub(super) block: Option<&'a str>,
    /// Space group, in place of what the file says.
    pub(super) space_group: Option<&'a str>,
    /// Images of an atom closer than this are one atom on a special position [Å].
    pub(super) merge: f64,
}

/// Reads a crystal.
///
/// # Errors
/// With the line: broken syntax, no atoms, no cell, no symmetry, an unknown element, a value that is no number.
pub(super) fn read(path: &Path, text: &str, choice: &Choice<'_>) -> Result<Crystal> {
    let blocks = star::blocks(path, text)?;
    let file = File {
        path,
        block: choose(path, &blocks, choice.block)?,
    };
    let axes = file.axes()?;
    let (operations, note) = file.operations(choice.space_group, &metric(&axes))?;
    let listed = file.atoms(&axes)?;
    let mut atoms = Vec::new();
    for atom in &listed {
        let orbit = orbit(atom.position, &operations, &axes, choice.merge);
        atoms.extend(orbit.into_iter().map(|position| Atom { position, ..*atom }));
    }
    let count = format!("{} listed atoms, {} in the cell", listed.len(), atoms.len());
    Ok(Crystal {
        axes,
        atoms,
        periodic: [true; 3],
        notes: vec![format!("data block `{}`: {count}; {note}", file.block.name)],
    })
}

fn choose<'a>(path: &Path, blocks: &'a [Block], name: Option<&str>) -> Result<&'a Block> {
    let names: Vec<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
    let found = match name {
        Some(name) => blocks
            .iter()
            .find(|block| block.name.eq_ignore_ascii_case(name)),
        None => blocks
            .iter()
            .find(|block| block.column(&FRACTIONS[..1]).is_some()),
    };
    found.ok_or_else(|| {
        let got = match name {
            Some(name) => format!("no block `{name}`, only {}", names.join(", ")),
            None => format!(
                "no atoms (_atom_site_fract_x) in {} data blocks",
                names.len()
            ),
        };
        Error::data(
            path,
            "data blocks",
            got,
            "a block with atom sites in fractional coordinates",
        )
    })
}

/// Positions of all images of a point; those within `merge` of each other are one, at their mean.
fn orbit(point: [f64; 3], operations: &[Operation], axes: &Matrix, merge: f64) -> Vec<[f64; 3]> {
    let mut orbit: Vec<([f64; 3], [f64; 3], f64)> = Vec::new();
    for image in operations.iter().map(|operation| operation.apply(point)) {
        let near = |first: &[f64; 3]| length(times(nearest_image(*first, image), axes)) <= merge;
        match orbit.iter_mut().find(|(first, _, _)| near(first)) {
            Some((first, sum, count)) => {
                let step = nearest_image(*first, image);
                *sum = std::array::from_fn(|axis| sum[axis] + step[axis]);
                *count += 1.0;
            }
            None => orbit.push((image, [0.0; 3], 1.0)),
        }
    }
    let mean = |(first, sum, count): ([f64; 3], [f64; 3], f64)| {
        std::array::from_fn(|axis| first[axis] + sum[axis] / count)
    };
    orbit.into_iter().map(mean).collect()
}

/// One block of a file, with what its errors need to say.
struct File<'a> {
    path: &'a Path,
    block: &'a Block,
}

impl File<'_> {
    fn wrong(&self, value: &Value, tag: &str, allowed: impl Into<String>) -> Error {
        let place = format!("line {}: {tag}", value.line);
        Error::data(self.path, place, format!("`{}`", value.text), allowed)
    }

    fn missing(&self, tag: &str, allowed: &str) -> Error {
        let place = format!("data block `{}`", self.block.name);
        Error::data(self.path, place, format!("no {tag}"), allowed)
    }

    fn number(&self, tag: &str) -> Result<(f64, &Value)> {
        let value = self
            .block
            .value(&[tag])
            .ok_or_else(|| self.missing(tag, "a number"))?;
        let number = value
            .number()
            .ok_or_else(|| self.wrong(value, tag, "a number"))?;
        Ok((number, value))
    }

    /// The axes: a along x, b in the plane of x and y.
    fn axes(&self) -> Result<Matrix> {
        let mut lengths = [0.0; 3];
        let mut cosines = [0.0; 3];
        for (axis, (a, alpha)) in [("a", "alpha"), ("b", "beta"), ("c", "gamma")]
            .into_iter()
            .enumerate()
        {
            let tag = format!("_cell_length_{a}");
            let (length, value) = self.number(&tag)?;
            if !(1.0..=10_000.0).contains(&length) {
                return Err(self.wrong(value, &tag, "1 to 10000 Å"));
            }
            let tag = format!("_cell_angle_{alpha}");
            let (angle, value) = self.number(&tag)?;
            if !(5.0..=175.0).contains(&angle) {
                return Err(self.wrong(value, &tag, "5 to 175°"));
            }
            lengths[axis] = length;
            // The cosine of a right angle must be 0, not 6e-17.
            cosines[axis] = if angle == 90.0 {
                0.0
            } else {
                angle.to_radians().cos()
            };
        }
        let ([a, b, c], [alpha, beta, gamma]) = (lengths, cosines);
        let sine = (1.0 - gamma * gamma).sqrt();
        let across = (alpha - beta * gamma) / sine;
        let up = 1.0 - beta * beta - across * across;
        let axes = [
            [a, 0.0, 0.0],
            [b * gamma, b * sine, 0.0],
            [c * beta, c * across, c * up.max(0.0).sqrt()],
        ];
        if determinant(&axes) > 1e-3 * a * b * c {
            return Ok(axes);
        }
        let (_, value) = self.number("_cell_angle_alpha")?;
        Err(self.wrong(
            value,
            "the three cell angles",
            "angles that three axes can have",
        ))
    }

    /// The operations and where they are from.
    fn operations(&self, said: Option<&str>, metric: &Matrix) -> Result<(Vec<Operation>, String)> {
        let place = |value: Option<&Value>| match (said, value) {
            (Some(_), _) => "space_group of the settings".to_owned(),
            (None, Some(value)) => format!("line {}", value.line),
            (None, None) => format!("data block `{}`", self.block.name),
        };
        if let (None, Some(written)) = (said, self.block.column(&SYMOPS)) {
            return self.written(written, metric);
        }
        let text = |tags: &[&str]| self.block.value(tags).map(|value| value.text.as_str());
        let number = self.block.value(&NUMBER).and_then(Value::number);
        let named = match said {
            Some(symbol) => Named {
                hermann_mauguin: Some(symbol),
                ..Named::default()
            },
            None => Named {
                hall: text(&HALL),
                hermann_mauguin: text(&HERMANN_MAUGUIN),
                number: number.map(|number| number as i32),
                code: text(&CODE),
            },
        };
        let at = [&HALL[..], &HERMANN_MAUGUIN, &NUMBER]
            .into_iter()
            .find_map(|tags| self.block.value(tags));
        symmetry::look_up(&named, metric)
            .map(|(operations, name)| (operations, format!("space group {name}")))
            .map_err(|(got, allowed)| Error::data(self.path, place(at), got, allowed))
    }

    fn written(&self, values: &[Value], metric: &Matrix) -> Result<(Vec<Operation>, String)> {
        let read = |value: &Value| {
            let operation = Operation::parse(&value.text).ok_or_else(|| {
                self.wrong(value, SYMOPS[0], "an operation such as -y, x-y, z+1/3")
            })?;
            if operation.keeps(metric) {
                Ok(operation)
            } else {
                let allowed = "an operation that keeps the lengths and angles of the cell";
                Err(self.wrong(value, SYMOPS[0], allowed))
            }
        };
        let operations: Vec<Operation> = values.iter().map(read).collect::<Result<_>>()?;
        let note = format!("{} symmetry operations of the file", operations.len());
        Ok((operations, note))
    }

    /// The atoms as listed.
    fn atoms(&self, axes: &Matrix) -> Result<Vec<Atom>> {
        let mut columns: Vec<&[Value]> = Vec::new();
        for tag in FRACTIONS {
            let column = self.block.column(&[tag]);
            columns.push(column.ok_or_else(|| self.missing(tag, "fractional coordinates"))?);
        }
        let same = columns.iter().map(|column| column.len()).min().unwrap_or(0);
        let motion = self.anisotropic(axes)?;
        let mut atoms = Vec::new();
        for row in 0..same {
            if let Some(atom) = self.atom(row, [columns[0], columns[1], columns[2]], &motion)? {
                atoms.push(atom);
            }
        }
        if atoms.is_empty() {
            return Err(self.missing("atom with coordinates", "at least one atom"));
        }
        Ok(atoms)
    }

    /// One row of the loop; nothing for a dummy atom.
    fn atom(
        &self,
        row: usize,
        columns: [&[Value]; 3],
        motion: &BTreeMap<&str, f64>,
    ) -> Result<Option<Atom>> {
        let cell = |tag: &str| self.block.column(&[tag]).and_then(|column| column.get(row));
        let known = |tag: &str| cell(tag).filter(|value| value.known());
        if known("_atom_site_calc_flag").is_some_and(|flag| flag.text.eq_ignore_ascii_case("dum")) {
            return Ok(None);
        }
        let mut position = [0.0; 3];
        for (axis, column) in columns.iter().enumerate() {
            let value = &column[row];
            position[axis] = value
                .number()
                .ok_or_else(|| self.wrong(value, FRACTIONS[axis], "a number"))?;
        }
        let optional = |tag: &str| {
            let number = |value: &Value| {
                value
                    .number()
                    .ok_or_else(|| self.wrong(value, tag, "a number"))
            };
            known(tag).map(number).transpose()
        };
        let label = known("_atom_site_label");
        let mean_square = match optional("_atom_site_u_iso_or_equiv")? {
            Some(u) => Some(u),
            None => match optional("_atom_site_b_iso_or_equiv")? {
                // B = 8π² U.
                Some(b) => Some(b / (8.0 * PI * PI)),
                None => label.and_then(|label| motion.get(label.text.as_str()).copied()),
            },
        };
        Ok(Some(Atom {
            number: self.element(row, label)?,
            position,
            occupancy: optional("_atom_site_occupancy")?.unwrap_or(1.0),
            mean_square: mean_square.filter(|&u| u > 0.0),
            line: columns[0][row].line,
        }))
    }

    /// The element of a row: of its type symbol, or else of its label.
    fn element(&self, row: usize, label: Option<&Value>) -> Result<u8> {
        let tag = "_atom_site_type_symbol";
        let kind = self.block.column(&[tag]).and_then(|column| column.get(row));
        if let Some(kind) = kind.filter(|kind| kind.known()) {
            return symbol::of_ion(&kind.text).ok_or_else(|| {
                self.wrong(kind, tag, "a chemical symbol, with or without a charge")
            });
        }
        let label = label.ok_or_else(|| {
            self.missing("_atom_site_type_symbol, no _atom_site_label", "one of them")
        })?;
        symbol::of_label(&label.text).ok_or_else(|| {
            self.wrong(
                label,
                "_atom_site_label",
                "a label that starts with a chemical symbol",
            )
        })
    }

    /// U_eq by label from anisotropic parameters, ⅓ Σ U_ij a*_i a*_j a_i·a_j (Fischer & Tillmanns, Acta Cryst. C 44, 775 (1988)).
    fn anisotropic(&self, axes: &Matrix) -> Result<BTreeMap<&str, f64>> {
        let mut motion = BTreeMap::new();
        let Some(labels) = self.block.column(&["_atom_site_aniso_label"]) else {
            return Ok(motion);
        };
        let reciprocal = transpose(&inverse(axes)).map(length);
        let metric = metric(axes);
        for (kind, scale) in [("b", 1.0 / (8.0 * PI * PI)), ("u", 1.0)] {
            let mut sums = vec![0.0; labels.len()];
            let mut complete = true;
            for (i, j) in [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)] {
                let tag = format!("_atom_site_aniso_{kind}_{}{}", i + 1, j + 1);
                let column = self
                    .block
                    .column(&[&tag])
                    .filter(|column| column.len() == labels.len());
                let Some(column) = column else {
                    complete = false;
                    break;
                };
                let twice = if i == j { 1.0 } else { 2.0 };
                for (sum, value) in sums.iter_mut().zip(column) {
                    let part = if value.known() {
                        value
                            .number()
                            .ok_or_else(|| self.wrong(value, &tag, "a number"))?
                    } else {
                        f64::NAN
                    };
                    *sum +=
                        scale * twice / 3.0 * part * reciprocal[i] * reciprocal[j] * metric[i][j];
                }
            }
            if complete {
                let known = labels.iter().zip(sums).filter(|(_, sum)| sum.is_finite());
                motion.extend(known.map(|(label, sum)| (label.text.as_str(), sum)));
            }
        }
        Ok(motion)
    }
}
