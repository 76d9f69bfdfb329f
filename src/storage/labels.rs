//! A person's own labels: a table of positions and polar displacements, for all or part of an image.
//!
//! CSV with a header: `x_angstrom, y_angstrom, dx_pm, dy_pm`, in any order, further columns are passed over, lines that begin with `#` too.
//! Where the labels are of several frames, `image` says of which, counting from 0 over all frames of all images. Rows with `flags`
//! other than 0 are left out, so `polarization.csv` is such a table. The sign of D is that of this program
//! unless `labels.table.convention` says otherwise.

use std::path::Path;

use crate::error::{Error, Result};
use crate::neighbours::{Neighbours, Point};

/// Columns that have to be there.
const COLUMNS: [&str; 4] = ["x_angstrom", "y_angstrom", "dx_pm", "dy_pm"];
/// Labels closer together than this are of one cell: no two columns of a crystal are [Å].
const SAME_CELL: f64 = 0.5;

/// A label, and the line that it stands on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// Position of the B column `[x, y]` [Å].
    pub position: Point,
    /// D `[dx, dy]` [pm].
    pub displacement: [f64; 2],
    /// Number of the frame; nothing in tables of a single one.
    pub image: Option<u32>,
    /// Line in the file, from 1.
    pub line: u64,
}

/// Reads a table of labels.
///
/// # Errors
/// The file cannot be read, a column is missing, a field is no finite number, two labels are of one cell, or there are none. The
/// message names file, line and column.
pub fn read_labels(path: &Path) -> Result<Vec<Label>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let place = format!("byte {}", error.utf8_error().valid_up_to());
        Error::data(
            path,
            place,
            "bytes that are no text",
            "a table of labels as text",
        )
    })?;
    // Line by line, so that messages name the line whatever stands between the rows.
    let lines = text.trim_start_matches('\u{feff}').lines().zip(1_u64..);
    let mut rows =
        lines.filter(|(line, _)| !(line.trim().is_empty() || line.trim_start().starts_with('#')));
    let header = match rows.next() {
        Some((line, number)) => fields(path, line, number)?,
        None => csv::StringRecord::new(),
    };
    let place = |name: &str| header.iter().position(|field| field == name);
    if let Some(missing) = COLUMNS.iter().find(|name| place(name).is_none()) {
        let got = format!("columns {}", header.iter().collect::<Vec<_>>().join(", "));
        let allowed = format!("a column {missing}; all of {}", COLUMNS.join(", "));
        return Err(Error::data(path, "header", got, allowed));
    }
    let columns = COLUMNS.map(|name| place(name).unwrap_or_default());
    let (image, flags) = (place("image"), place("flags"));
    let mut labels = Vec::new();
    for (text, line) in rows {
        let record = fields(path, text, line)?;
        if record.len() != header.len() {
            let got = format!("{} fields", record.len());
            let allowed = format!("{}, as in the header", header.len());
            return Err(Error::data(path, format!("line {line}"), got, allowed));
        }
        if flags.is_some_and(|column| !["", "0"].contains(&&record[column])) {
            continue;
        }
        let row = Row { path, line, record };
        let [x, y, dx, dy] = std::array::from_fn(|n| row.number(columns[n], COLUMNS[n]));
        let image = image.map(|column| row.count(column)).transpose()?;
        labels.push(Label {
            position: [x?, y?],
            displacement: [dx?, dy?],
            image,
            line,
        });
    }
    if labels.is_empty() {
        return Err(Error::data(
            path,
            "table",
            "no labels",
            "one row for each cell",
        ));
    }
    refuse_duplicates(path, &labels)?;
    Ok(labels)
}

/// The fields of one line.
fn fields(path: &Path, text: &str, line: u64) -> Result<csv::StringRecord> {
    let mut builder = csv::ReaderBuilder::new();
    builder.has_headers(false).trim(csv::Trim::All);
    let mut record = csv::StringRecord::new();
    let read = builder
        .from_reader(text.as_bytes())
        .read_record(&mut record);
    read.map_err(|error| {
        Error::data(
            path,
            format!("line {line}"),
            error.to_string(),
            "fields parted by commas",
        )
    })?;
    Ok(record)
}

/// One line of a table.
struct Row<'a> {
    path: &'a Path,
    line: u64,
    record: csv::StringRecord,
}

impl Row<'_> {
    fn number(&self, column: usize, name: &str) -> Result<f64> {
        let field = &self.record[column];
        let value = field.parse().ok().filter(|value: &f64| value.is_finite());
        value.ok_or_else(|| {
            let place = format!("line {}, {name}", self.line);
            Error::data(self.path, place, format!("`{field}`"), "a finite number")
        })
    }

    fn count(&self, column: usize) -> Result<u32> {
        let field = &self.record[column];
        field.parse().map_err(|_| {
            let place = format!("line {}, image", self.line);
            let allowed = "the number of a frame, from 0";
            Error::data(self.path, place, format!("`{field}`"), allowed)
        })
    }
}

/// Fails if two labels of one frame are of one cell.
fn refuse_duplicates(path: &Path, labels: &[Label]) -> Result<()> {
    let mut frames: Vec<Option<u32>> = labels.iter().map(|label| label.image).collect();
    frames.sort_unstable();
    frames.dedup();
    for frame in frames {
        let of_frame: Vec<&Label> = labels.iter().filter(|label| label.image == frame).collect();
        let positions: Vec<Point> = of_frame.iter().map(|label| label.position).collect();
        let tree = Neighbours::new(&positions);
        for (number, label) in of_frame.iter().enumerate() {
            let near = tree.within(label.position, SAME_CELL);
            if let Some((other, _)) = near.into_iter().find(|(other, _)| *other < number) {
                let got = format!("the cell of line {} again", of_frame[other].line);
                let allowed = format!("labels at least {SAME_CELL} Å apart");
                return Err(Error::data(
                    path,
                    format!("line {}", label.line),
                    got,
                    allowed,
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Label>> {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("labels.csv");
        std::fs::write(&path, text).unwrap();
        read_labels(&path)
    }

    #[test]
    fn columns_are_found_by_name_and_flagged_rows_left_out() {
        let text = "\u{feff}dy_pm, x_angstrom,y_angstrom,dx_pm,flags,note\n# mine\n-3,1,2,4.5,0,a\n1,9,2,4.5,4,b\n";
        let labels = read(text).unwrap();
        let only = Label {
            position: [1.0, 2.0],
            displacement: [4.5, -3.0],
            image: None,
            line: 3,
        };
        assert_eq!(labels, [only]);
        let numbered = read("x_angstrom,y_angstrom,dx_pm,dy_pm,image\n1,2,0,0,0\n1,2,0,0,1\n");
        assert_eq!(numbered.unwrap()[1].image, Some(1));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        const HEADER: &str = "x_angstrom,y_angstrom,dx_pm,dy_pm\n";
        let message = |rows: &str| read(&format!("{HEADER}{rows}")).unwrap_err().to_string();
        for (rows, expected) in [
            (
                "1,2,3,4\n5,6,nan,8\n",
                "line 3, dx_pm: got `nan`; allowed: a finite number",
            ),
            ("1,2,3,\n", "line 2, dy_pm: got ``"),
            ("one,2,3,4\n", "line 2, x_angstrom: got `one`"),
            (
                "1,2,3\n",
                "line 2: got 3 fields; allowed: 4, as in the header",
            ),
            ("\n# a note\n1,2,3,x\n", "line 4, dy_pm: got `x`"),
            (
                "1,2,3,4\n9,9,0,0\n1.2,2,5,5\n",
                "line 4: got the cell of line 2 again",
            ),
            ("", "no labels"),
        ] {
            assert!(
                message(rows).contains(expected),
                "{rows}: {}",
                message(rows)
            );
        }
        let error = read("x_angstrom,y_angstrom,dx_pm\n1,2,3\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(
                "header: got columns x_angstrom, y_angstrom, dx_pm; allowed: a column dy_pm"
            ),
            "{error}"
        );
        assert!(
            read("x_angstrom,y_angstrom,dx_pm,dy_pm,image\n1,2,3,4,-1\n")
                .unwrap_err()
                .to_string()
                .contains("line 2, image")
        );
    }
}
