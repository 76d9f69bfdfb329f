//! Tables in CSV, the unit in the column name. A number that is not known is an empty field.

use std::path::Path;

use super::output::OutputFile;
use super::polarization::Quantity;
use crate::crystal::polarization::PolarVector;
use crate::error::{Error, Result};

/// Columns of `polarization.csv`.
const POLARIZATION: [&str; 7] = [
    "x_angstrom",
    "y_angstrom",
    "dx_pm",
    "dy_pm",
    "sigma_dx_pm",
    "sigma_dy_pm",
    "flags",
];
/// Decimals of positions [Å]: a thousandth of a picometre.
pub const POSITION_DECIMALS: usize = 5;
/// Decimals of displacements [pm].
pub const DISPLACEMENT_DECIMALS: usize = 4;

/// A number as a field; what is not finite becomes empty.
#[must_use]
pub fn field(value: f64, decimals: usize) -> String {
    if value.is_finite() {
        format!("{value:.decimals$}")
    } else {
        String::new()
    }
}

/// Writes a table; it appears whole or not at all.
///
/// # Errors
/// A row has another number of fields than the header, or the system refuses.
pub fn write_table<R: IntoIterator<Item = String>>(
    path: &Path,
    header: &[&str],
    rows: impl IntoIterator<Item = R>,
) -> Result<()> {
    // Straight to the disk: the table of a dense map is larger than the map.
    let file = OutputFile::create(path, true)?;
    let mut writer = csv::Writer::from_path(file.temporary()).map_err(refused(path))?;
    let fail = |error: csv::Error| match error.kind() {
        csv::ErrorKind::Io(_) => refused(path)(error),
        _ => Error::data(
            path,
            "table",
            error.to_string(),
            "rows as long as the header",
        ),
    };
    writer.write_record(header).map_err(fail)?;
    for row in rows {
        writer.write_record(row).map_err(fail)?;
    }
    writer.flush().map_err(Error::io("write", path))?;
    drop(writer);
    file.finish()
}

/// The error for a table that the system refuses.
fn refused(path: &Path) -> impl Fn(csv::Error) -> Error {
    let path = path.to_owned();
    move |error| {
        let source = match error.into_kind() {
            csv::ErrorKind::Io(source) => source,
            other => std::io::Error::other(format!("{other:?}")),
        };
        Error::io("write", &path)(source)
    }
}

/// Writes `polarization.csv`, one row per cell.
///
/// # Errors
/// The system refuses.
pub fn write_polarization(path: &Path, cells: &[PolarVector]) -> Result<()> {
    write_map(path, cells, &[], &[])
}

/// Writes `polarization.csv` with further columns: numbers of each cell, and words that hold for all of them.
///
/// # Errors
/// A quantity has not one number a cell, or the system refuses.
pub fn write_map(
    path: &Path,
    cells: &[PolarVector],
    quantities: &[Quantity],
    words: &[(&str, &str)],
) -> Result<()> {
    let mut header = POLARIZATION.to_vec();
    header.extend(quantities.iter().map(|quantity| quantity.name));
    header.extend(words.iter().map(|(name, _)| *name));
    let rows = cells.iter().enumerate().map(|(number, cell)| {
        let mut row: Vec<String> = cell
            .position
            .iter()
            .map(|&v| field(v, POSITION_DECIMALS))
            .collect();
        let picometres = cell.displacement.iter().chain(&cell.sigma);
        row.extend(picometres.map(|&v| field(v, DISPLACEMENT_DECIMALS)));
        row.push(cell.flags.to_string());
        // A quantity that is too short leaves the row short, which the table refuses.
        let values = quantities
            .iter()
            .filter_map(|q| Some((q.values.get(number)?, q.decimals)));
        row.extend(values.map(|(&value, decimals)| field(value, decimals)));
        row.extend(words.iter().map(|(_, word)| (*word).to_owned()));
        row
    });
    write_table(path, &header, rows)
}

/// Reads `polarization.csv`; columns are found by name, further ones are passed over, empty fields are NaN.
///
/// # Errors
/// The file cannot be read, a column is missing, or a field is no number.
pub fn read_polarization(path: &Path) -> Result<Vec<PolarVector>> {
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut reader = csv::Reader::from_reader(file);
    let headers = reader
        .headers()
        .map_err(|error| unreadable(path, &error))?
        .clone();
    let columns = POLARIZATION
        .iter()
        .map(|name| headers.iter().position(|header| header.trim() == *name))
        .collect::<Option<Vec<usize>>>()
        .ok_or_else(|| {
            let found: Vec<&str> = headers.iter().collect();
            Error::data(path, "line 1", found.join(","), POLARIZATION.join(","))
        })?;
    let mut cells = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| unreadable(path, &error))?;
        let number = |column: usize| -> Result<f64> {
            let text = record.get(columns[column]).unwrap_or_default().trim();
            if text.is_empty() {
                return Ok(f64::NAN);
            }
            text.parse().map_err(|_| {
                let line = record.position().map_or(0, csv::Position::line);
                let place = format!("line {line}, {}", POLARIZATION[column]);
                Error::data(path, place, format!("`{text}`"), "a number")
            })
        };
        cells.push(PolarVector {
            position: [number(0)?, number(1)?],
            displacement: [number(2)?, number(3)?],
            sigma: [number(4)?, number(5)?],
            flags: number(6)? as u32,
        });
    }
    Ok(cells)
}

fn unreadable(path: &Path, error: &csv::Error) -> Error {
    let place = error.position().map_or_else(
        || "table".to_owned(),
        |position| format!("line {}", position.line()),
    );
    Error::data(path, place, error.to_string(), "CSV with a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("polarization.csv");
        let cells = [
            PolarVector {
                position: [1.25, 200.0],
                displacement: [-33.4, 1.0],
                sigma: [0.5, f64::NAN],
                flags: 5,
            },
            PolarVector {
                position: [-0.00001, 3.0],
                displacement: [0.0001, -12.3456],
                sigma: [f64::NAN; 2],
                flags: 0,
            },
        ];
        write_polarization(&path, &cells).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("x_angstrom,y_angstrom,dx_pm,dy_pm,sigma_dx_pm,sigma_dy_pm,flags\n")
        );
        assert!(
            text.contains("1.25000,200.00000,-33.4000,1.0000,0.5000,,5\n"),
            "{text}"
        );
        let again = read_polarization(&path).unwrap();
        assert_eq!(again.len(), 2);
        for (a, b) in again.iter().zip(&cells) {
            assert_eq!(
                (a.position, a.displacement, a.flags),
                (b.position, b.displacement, b.flags)
            );
            assert!(
                a.sigma
                    .iter()
                    .zip(b.sigma)
                    .all(|(x, y)| *x == y || (x.is_nan() && y.is_nan()))
            );
        }
    }

    #[test]
    fn wrong_tables_are_reported_with_their_line() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("p.csv");
        std::fs::write(&path, "x_angstrom,y_angstrom\n1,2\n").unwrap();
        assert!(
            read_polarization(&path)
                .unwrap_err()
                .to_string()
                .contains("line 1")
        );
        let header = POLARIZATION.join(",");
        std::fs::write(
            &path,
            format!("{header}\n1,2,3,4,5,6,0\n1,2,three,4,5,6,0\n"),
        )
        .unwrap();
        let error = read_polarization(&path).unwrap_err().to_string();
        assert!(error.contains("line 3, dx_pm: got `three`"), "{error}");
        std::fs::write(&path, format!("{header}\n1,2,3\n")).unwrap();
        assert!(
            read_polarization(&path)
                .unwrap_err()
                .to_string()
                .contains("line 2")
        );
    }

    #[test]
    fn a_row_of_another_length_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("t.csv");
        let rows = [vec!["1".to_owned()]];
        assert!(write_table(&path, &["a", "b"], rows).is_err());
        assert!(!path.exists());
    }
}
