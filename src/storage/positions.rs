//! Positions of columns from tables of other programs: one column a line, numbers parted by commas, semicolons, tabs or spaces.
//!
//! Lines that begin with `#` are passed over. A first line with names (`x_angstrom`, `y_px`, …) says which numbers are x and y, and
//! their unit; without one they are the first two, in pixels.

use std::path::Path;

use crate::error::{Error, Result};
use crate::neighbours::Point;

/// What positions are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionUnit {
    /// Pixels of an image.
    Pixel,
    /// Å.
    Angstrom,
}

/// Reads a table of positions `[x, y]`, x to the right, y down.
///
/// # Errors
/// The file cannot be read or is no text, a line lacks a number, or there is no line.
pub fn read_positions(path: &Path) -> Result<(Vec<Point>, PositionUnit)> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let place = format!("byte {}", error.utf8_error().valid_up_to());
        Error::data(
            path,
            place,
            "bytes that are no text",
            "a table of positions as text",
        )
    })?;
    let mut layout = None;
    let mut positions = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let fields = fields(line);
        if fields.is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let Some((axes, _)) = layout else {
            let named = named(&fields);
            layout = Some(named.unwrap_or(([0, 1], PositionUnit::Pixel)));
            if named.is_none() {
                positions.push(position(path, number, &fields, [0, 1])?);
            }
            continue;
        };
        positions.push(position(path, number, &fields, axes)?);
    }
    if positions.is_empty() {
        return Err(Error::data(
            path,
            "table",
            "no positions",
            "one line for each column",
        ));
    }
    Ok((
        positions,
        layout.map_or(PositionUnit::Pixel, |(_, unit)| unit),
    ))
}

fn fields(line: &str) -> Vec<&str> {
    let parts = line.split(|c: char| c == ',' || c == ';' || c.is_whitespace());
    parts.filter(|part| !part.is_empty()).collect()
}

/// Where x and y stand, and their unit, in a line of names; `None` if the line holds numbers.
fn named(fields: &[&str]) -> Option<([usize; 2], PositionUnit)> {
    if fields
        .iter()
        .take(2)
        .all(|field| field.parse::<f64>().is_ok())
    {
        return None;
    }
    let place = |axis: &str| {
        let is_axis = |name: &&str| {
            let name = name.trim_matches('"').to_ascii_lowercase();
            name == axis || name.starts_with(&format!("{axis}_"))
        };
        fields.iter().position(is_axis)
    };
    let axes = [place("x")?, place("y")?];
    let unit = if fields[axes[0]].to_ascii_lowercase().contains("angstrom") {
        PositionUnit::Angstrom
    } else {
        PositionUnit::Pixel
    };
    Some((axes, unit))
}

fn position(path: &Path, line: usize, fields: &[&str], axes: [usize; 2]) -> Result<Point> {
    let number = |axis: usize| -> Result<f64> {
        let field = fields.get(axes[axis]).copied().unwrap_or_default();
        let value = field.parse().ok().filter(|value: &f64| value.is_finite());
        value.ok_or_else(|| {
            let place = format!("line {}, {}", line + 1, ["x", "y"][axis]);
            Error::data(path, place, format!("`{field}`"), "a number")
        })
    };
    Ok([number(0)?, number(1)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<Point>, PositionUnit)> {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("positions.txt");
        std::fs::write(&path, text).unwrap();
        read_positions(&path)
    }

    #[test]
    fn tables_of_other_programs_are_read() {
        let plain = read("1.5e+00 2.0\n\n# note\n-3,4 9 9\n").unwrap();
        assert_eq!(plain, (vec![[1.5, 2.0], [-3.0, 4.0]], PositionUnit::Pixel));
        let csv = read("\u{feff}id,y_angstrom,x_angstrom\r\n7,1,2\r\n8;3;4\r\n").unwrap();
        assert_eq!(csv, (vec![[2.0, 1.0], [4.0, 3.0]], PositionUnit::Angstrom));
        let named = read("x_px\ty_px\n1\t2\n").unwrap();
        assert_eq!(named, (vec![[1.0, 2.0]], PositionUnit::Pixel));
    }

    #[test]
    fn wrong_tables_are_reported_with_their_line() {
        let message = |text: &str| read(text).unwrap_err().to_string();
        assert!(message("1 2\n3\n").contains("line 2, y: got ``"));
        assert!(message("1 2\n3 nan\n").contains("line 2, y: got `nan`"));
        assert!(message("a b\n1 2\n").contains("line 1, x: got `a`"));
        assert!(message("").contains("no positions"));
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("image.png");
        std::fs::write(&path, [0x89, b'P', b'N', b'G', 0xff]).unwrap();
        assert!(
            read_positions(&path)
                .unwrap_err()
                .to_string()
                .contains("byte 0")
        );
    }
}
