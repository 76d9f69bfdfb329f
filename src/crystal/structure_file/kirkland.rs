//! The XYZ of multislice programs (Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed., section 12.1; Prismatic): a comment,
//! the box `a b c` [Å], then `Z x y z occupancy u` for each atom, u the 1-D rms displacement [Å], and −1 at the end.

use std::path::Path;

use super::lattice::{IDENTITY, Matrix};
use super::sites::Atom;
use super::xyz::finite;
use super::{Crystal, symbol};
use crate::error::{Error, Result};

/// Whether a text looks like this format rather than like plain XYZ: its second line is a box, and its first no number of atoms or
/// its last −1.
pub(super) fn looks_so(text: &str) -> bool {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let second = text.lines().nth(1).unwrap_or("");
    let counted = lines
        .first()
        .is_some_and(|line| line.parse::<usize>().is_ok());
    cell(second).is_some() && (!counted || lines.last() == Some(&"-1"))
}

fn cell(line: &str) -> Option<[f64; 3]> {
    let numbers: Vec<f64> = line.split_whitespace().map(finite).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Reads a crystal.
///
/// # Errors
/// With the line: no box, an unknown atomic number, a value that is no number, no atoms.
pub(super) fn read(path: &Path, text: &str) -> Result<Crystal> {
    let wrong = |index: usize, got: &str, allowed: &str| {
        let place = format!("line {}", index + 1);
        Error::data(path, place, format!("`{}`", got.trim()), allowed)
    };
    let second = text.lines().nth(1).unwrap_or("");
    let size = cell(second).ok_or_else(|| wrong(1, second, "the edges of the box `a b c` [Å]"))?;
    let axes: Matrix = std::array::from_fn(|axis| IDENTITY[axis].map(|x| x * size[axis]));
    super::check_axes(path, 2, &axes)?;
    let mut atoms = Vec::new();
    for (index, line) in text.lines().enumerate().skip(2) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => continue,
            ["-1", ..] => break,
            _ => {}
        }
        let numbers: Option<Vec<f64>> = words.iter().skip(1).map(|word| finite(word)).collect();
        let numbers = numbers
            .filter(|numbers| (3..=5).contains(&numbers.len()))
            .ok_or_else(|| wrong(index, line, "`Z x y z occupancy u`, the last two optional"))?;
        let number = symbol::of_species(words[0])
            .ok_or_else(|| wrong(index, words[0], "an atomic number, or -1 at the end"))?;
        atoms.push(Atom {
            number,
            position: std::array::from_fn(|axis| numbers[axis] / size[axis]),
            occupancy: numbers.get(3).copied().unwrap_or(1.0),
            mean_square: numbers.get(4).map(|u| u * u).filter(|&square| square > 0.0),
            line: index + 1,
        });
    }
    if atoms.is_empty() {
        return Err(Error::data(
            path,
            "line 3",
            "no atoms",
            "at least one line `Z x y z occupancy u`",
        ));
    }
    Ok(Crystal {
        axes,
        atoms,
        periodic: [true; 3],
        notes: Vec::new(),
    })
}
