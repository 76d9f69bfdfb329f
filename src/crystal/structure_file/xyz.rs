//! XYZ: a line with the number of atoms, a comment, then `symbol x y z` [Å] for each atom; many frames may follow each other.
//!
//! *Extended* XYZ (libAtoms; read and written by ASE, OVITO, QUIP) says in the comment where the cell is, `Lattice="ax ay az bx by bz
//! cx cy cz"`, which columns there are, `Properties=species:S:1:pos:R:3`, and which axes repeat, `pbc="T T T"`.

use std::fmt::Write;
use std::path::Path;

use super::lattice::{IDENTITY, Matrix, inverse, times};
use super::sites::Atom;
use super::{Crystal, symbol};
use crate::crystal::element;
use crate::crystal::structure::Structure;
use crate::error::{Error, Result};

/// One frame of an XYZ file.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Axes of the cell, rows [Å], if the comment has them.
    pub lattice: Option<[[f64; 3]; 3]>,
    /// Which axes repeat.
    pub periodic: [bool; 3],
    /// Atomic numbers.
    pub numbers: Vec<u8>,
    /// Positions `[x, y, z]` [Å].
    pub positions: Vec<[f64; 3]>,
    /// Line of the frame's first atom, counted from 1.
    pub line: usize,
}

/// Where in a line the symbol and the position stand.
#[derive(Debug, Clone, Copy)]
struct Columns {
    species: usize,
    position: usize,
    count: usize,
}

/// All frames of a file.
///
/// # Errors
/// With the line: a missing count, too few atoms, an unknown element, a position that is no number.
pub fn frames(path: &Path, text: &str) -> Result<Vec<Frame>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut frames = Vec::new();
    let mut next = 0;
    while next < lines.len() {
        if lines[next].trim().is_empty() {
            next += 1;
            continue;
        }
        let count: usize = lines[next].trim().parse().map_err(|_| {
            wrong(
                path,
                next,
                format!("`{}`", lines[next].trim()),
                "the number of atoms of a frame",
            )
        })?;
        let rows = lines.get(next + 2..).and_then(|rest| rest.get(..count));
        let Some(rows) = rows.filter(|rows| !rows.is_empty()) else {
            let got = format!(
                "{count} atoms stated, {} lines left",
                lines.len().saturating_sub(next + 2)
            );
            return Err(wrong(
                path,
                next,
                got,
                "at least one atom, and a line for each behind the comment",
            ));
        };
        frames.push(frame(path, lines[next + 1], rows, next + 2)?);
        next += 2 + count;
    }
    if frames.is_empty() {
        return Err(wrong(
            path,
            0,
            "no atoms".to_owned(),
            "the number of atoms, a comment, then the atoms",
        ));
    }
    Ok(frames)
}

fn wrong(path: &Path, index: usize, got: String, allowed: &str) -> Error {
    Error::data(path, format!("line {}", index + 1), got, allowed)
}

fn frame(path: &Path, comment: &str, rows: &[&str], start: usize) -> Result<Frame> {
    let entries = entries(comment);
    let entry = |key: &str| {
        let found = entries
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value.as_str())
    };
    let bad = |what: &str, text: &str| {
        wrong(
            path,
            start - 1,
            format!("{what} `{text}`"),
            "as in Lattice=\"5 0 0 0 5 0 0 0 5\" Properties=species:S:1:pos:R:3 pbc=\"T T T\"",
        )
    };
    let lattice = match entry("Lattice") {
        Some(text) => Some(lattice(text).ok_or_else(|| bad("Lattice", text))?),
        None => None,
    };
    let periodic = match entry("pbc") {
        Some(text) => periodic(text).ok_or_else(|| bad("pbc", text))?,
        None => [lattice.is_some(); 3],
    };
    let columns = match entry("Properties") {
        Some(text) => columns(text).ok_or_else(|| bad("Properties", text))?,
        None => Columns {
            species: 0,
            position: 1,
            count: 4,
        },
    };
    let mut frame = Frame {
        lattice,
        periodic,
        numbers: Vec::with_capacity(rows.len()),
        positions: Vec::with_capacity(rows.len()),
        line: start + 1,
    };
    for (offset, row) in rows.iter().enumerate() {
        let (number, position) = atom(path, row, start + offset, columns)?;
        frame.numbers.push(number);
        frame.positions.push(position);
    }
    Ok(frame)
}

fn atom(path: &Path, row: &str, index: usize, columns: Columns) -> Result<(u8, [f64; 3])> {
    let words: Vec<&str> = row.split_whitespace().collect();
    if words.len() < columns.count {
        let allowed = format!("{} columns: symbol x y z", columns.count);
        return Err(wrong(path, index, format!("`{}`", row.trim()), &allowed));
    }
    let species = words[columns.species];
    let number = symbol::of_species(species).ok_or_else(|| {
        wrong(
            path,
            index,
            format!("`{species}`"),
            "a chemical symbol or an atomic number",
        )
    })?;
    let mut position = [0.0; 3];
    for (x, word) in position.iter_mut().zip(&words[columns.position..]) {
        *x = finite(word)
            .ok_or_else(|| wrong(path, index, format!("`{word}`"), "a coordinate [Å]"))?;
    }
    Ok((number, position))
}

pub(super) fn finite(word: &str) -> Option<f64> {
    word.parse().ok().filter(|x: &f64| x.is_finite())
}

/// `key=value` pairs of a comment; values with blanks stand in quotes, braces or brackets.
fn entries(comment: &str) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let mut rest = comment;
    while let Some((before, after)) = rest.split_once('=') {
        let key = before
            .split_whitespace()
            .next_back()
            .unwrap_or("")
            .to_owned();
        let close = match after.chars().next() {
            Some(quote @ ('"' | '\'')) => Some(quote),
            Some('{') => Some('}'),
            Some('[') => Some(']'),
            _ => None,
        };
        let (value, left) = match close {
            Some(close) => after[1..].split_once(close).unwrap_or((&after[1..], "")),
            None => after.split_at(after.find(char::is_whitespace).unwrap_or(after.len())),
        };
        entries.push((key, value.to_owned()));
        rest = left;
    }
    entries
}

fn lattice(text: &str) -> Option<Matrix> {
    let numbers: Vec<f64> = text.split_whitespace().map(finite).collect::<Option<_>>()?;
    let (rows, rest) = numbers.as_chunks::<3>();
    (rest.is_empty())
        .then(|| <[[f64; 3]; 3]>::try_from(rows).ok())
        .flatten()
}

fn periodic(text: &str) -> Option<[bool; 3]> {
    let flag = |word: &str| match word.to_ascii_lowercase().as_str() {
        "t" | "true" | "1" => Some(true),
        "f" | "false" | "0" => Some(false),
        _ => None,
    };
    let flags: Vec<bool> = text.split_whitespace().map(flag).collect::<Option<_>>()?;
    flags.try_into().ok()
}

fn columns(text: &str) -> Option<Columns> {
    let parts: Vec<&str> = text.split(':').collect();
    let (fields, rest) = parts.as_chunks::<3>();
    let (mut species, mut position, mut count) = (None, None, 0);
    for [name, _, width] in fields {
        let width: usize = width.trim().parse().ok().filter(|width| *width < 1000)?;
        match (name.to_ascii_lowercase().as_str(), width) {
            ("species", 1) => species = Some(count),
            ("z", 1) => species = species.or(Some(count)),
            ("pos", 3) => position = Some(count),
            _ => {}
        }
        count += width;
    }
    rest.is_empty().then_some(Columns {
        species: species?,
        position: position?,
        count,
    })
}

/// The first frame as a crystal; `cell` [Å] is the box where the file has none.
pub(super) fn read(path: &Path, text: &str, cell: Option<[f64; 3]>) -> Result<Crystal> {
    let frames = frames(path, text)?;
    let frame = &frames[0];
    let (axes, periodic) = match (cell, frame.lattice) {
        (Some(cell), _) => (
            std::array::from_fn(|i| IDENTITY[i].map(|x| x * cell[i])),
            [true; 3],
        ),
        (None, Some(lattice)) => (lattice, frame.periodic),
        (None, None) => {
            let got = "no cell: no Lattice=\"…\" in the comment".to_owned();
            let allowed =
                "a cell, or `cell_angstrom = [x, y, z]` in the settings: images are periodic";
            return Err(wrong(path, frame.line - 2, got, allowed));
        }
    };
    super::check_axes(path, frame.line - 1, &axes)?;
    let inverse = inverse(&axes);
    let atom = |(index, (&number, &position)): (usize, (&u8, &[f64; 3]))| Atom {
        number,
        position: times(position, &inverse),
        occupancy: 1.0,
        mean_square: None,
        line: frame.line + index,
    };
    let pairs = frame.numbers.iter().zip(&frame.positions);
    Ok(Crystal {
        axes,
        atoms: pairs.enumerate().map(atom).collect(),
        periodic,
        notes: match frames.len() {
            1 => Vec::new(),
            count => vec![format!("the first of {count} frames")],
        },
    })
}

/// A structure as extended XYZ: opens in ASE, OVITO and QUIP. Positions keep all their digits.
#[must_use]
pub fn write_extended_xyz(structure: &Structure) -> String {
    let [x, y, z] = structure.cell;
    let mut text = format!(
        "{}\nLattice=\"{x} 0 0 0 {y} 0 0 0 {z}\" Properties=species:S:1:pos:R:3 pbc=\"T T T\"\n",
        structure.len()
    );
    for (number, [x, y, z]) in structure.numbers.iter().zip(&structure.positions) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {x} {y} {z}", element::symbol(*number));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_columns_and_frames_are_understood() {
        let text = "2\nProperties=id:I:1:species:S:1:pos:R:3 Lattice=\"4 0 0 0 5 0 0 0 6\" pbc=\"T T F\" name='a b'\n\
            1 Fe 0 1 2\n2 O 3 4 5\n1\nplain\nTi 1 1 1\n\n";
        let frames = frames(Path::new("f.xyz"), text).unwrap();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].numbers, [26, 8]);
        assert_eq!(frames[0].positions[1], [3.0, 4.0, 5.0]);
        assert_eq!(frames[0].periodic, [true, true, false]);
        assert_eq!(frames[0].lattice.unwrap()[1], [0.0, 5.0, 0.0]);
        assert_eq!((frames[1].lattice, frames[1].line), (None, 7));
    }
}
