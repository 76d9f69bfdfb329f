//! A displacement field given as arrays: how far every cell's A, B and O atoms are off their ideal places.
//!
//! Arrays have the shape (ny, nx, 3), the same at all depths, or (nz, ny, nx, 3); the last axis is x, y, z [pm]. They are read
//! elsewhere (storage); here they are checked and kept.

use std::path::{Path, PathBuf};

use ndarray::{Array4, ArrayD, Axis, Ix4};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::units::PM_PER_ANGSTROM;

/// Components larger than this are no displacement but another structure [pm].
const LARGEST_PM: f64 = 200.0;

/// `[specimen.displacements]`: the file and the data sets in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Displacements {
    /// HDF5 file.
    pub file: PathBuf,
    /// Data set of the A sites' displacements [pm].
    pub a: String,
    /// Data set of the B sites' displacements [pm].
    pub b: String,
    /// Data set of the displacements that the three oxygens of a cell share [pm]; left out: at rest.
    pub o: Option<String>,
}

/// A checked displacement field.
#[derive(Debug, Clone, PartialEq)]
pub struct DisplacementField {
    /// A, B, O; (depth, y, x, component) [Å].
    shifts: [Option<Array4<f64>>; 3],
    /// Number of cells `[x, y, z]` it was checked against.
    cells: [usize; 3],
}

impl DisplacementField {
    /// Checks arrays [pm] that were read as `settings` say from `file`, for a block of `cells` cells `[x, y, z]`.
    ///
    /// # Errors
    /// File, data set, shape found and shapes allowed; numbers that are not finite or larger than 200 pm; the array of the
    /// oxygens given without a name, or not given.
    pub fn new(
        settings: &Displacements,
        file: &Path,
        [a, b]: [ArrayD<f64>; 2],
        o: Option<ArrayD<f64>>,
        cells: [usize; 3],
    ) -> Result<Self> {
        let a = checked(file, &settings.a, a, cells)?;
        let b = checked(file, &settings.b, b, cells)?;
        let o = match (&settings.o, o) {
            (Some(name), Some(o)) => Some(checked(file, name, o, cells)?),
            (None, None) => None,
            (name, _) => {
                let place = name.clone().unwrap_or_default();
                let allowed = "the array of the oxygens if and only if the settings name it";
                return Err(Error::data(file, place, "one without the other", allowed));
            }
        };
        Ok(Self {
            shifts: [Some(a), Some(b), o],
            cells,
        })
    }

    /// Number of cells `[x, y, z]` that the field is for.
    #[must_use]
    pub fn cells(&self) -> [usize; 3] {
        self.cells
    }

    /// Shifts of A, B and O of cell (i, j, k) [Å].
    ///
    /// # Panics
    /// If the cell lies outside the block that the field was checked against.
    #[must_use]
    pub fn at(&self, [i, j, k]: [usize; 3]) -> [[f64; 3]; 3] {
        std::array::from_fn(|sublattice| match &self.shifts[sublattice] {
            None => [0.0; 3],
            Some(array) => {
                let depth = if array.dim().0 == 1 { 0 } else { k };
                std::array::from_fn(|axis| array[(depth, j, i, axis)])
            }
        })
    }
}

/// One array [pm], checked, as (depth, y, x, component) [Å].
fn checked(
    file: &Path,
    place: &str,
    array: ArrayD<f64>,
    [nx, ny, nz]: [usize; 3],
) -> Result<Array4<f64>> {
    let shape = array.shape().to_vec();
    let wrong = |got: String, allowed: String| Error::data(file, place, got, allowed);
    let array = if shape == [ny, nx, 3] {
        array.insert_axis(Axis(0))
    } else {
        array
    };
    let shaped = array
        .into_dimensionality::<Ix4>()
        .ok()
        .filter(|array| array.dim() == (1, ny, nx, 3) || array.dim() == (nz, ny, nx, 3));
    let Some(shaped) = shaped else {
        let allowed = format!(
            "({ny}, {nx}, 3) or ({nz}, {ny}, {nx}, 3): cells along (z,) y, x, then x, y, z in pm"
        );
        return Err(wrong(format!("an array of shape {shape:?}"), allowed));
    };
    if let Some(value) = shaped
        .iter()
        .find(|value| !(-LARGEST_PM..=LARGEST_PM).contains(*value))
    {
        let allowed = format!("{} to {LARGEST_PM} pm", -LARGEST_PM);
        return Err(wrong(format!("a displacement of {value} pm"), allowed));
    }
    Ok(shaped / PM_PER_ANGSTROM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(o: Option<&str>) -> Displacements {
        Displacements {
            file: PathBuf::from("d.h5"),
            a: "/a_pm".to_owned(),
            b: "/b_pm".to_owned(),
            o: o.map(str::to_owned),
        }
    }

    fn read(a: &[usize], b: &[usize]) -> Result<DisplacementField> {
        let fill = |shape: &[usize]| ArrayD::from_elem(shape, 10.0);
        let arrays = [fill(a), fill(b)];
        DisplacementField::new(&settings(None), Path::new("d.h5"), arrays, None, [4, 3, 2])
    }

    #[test]
    fn flat_and_deep_arrays_are_taken_and_others_named() {
        let field = read(&[3, 4, 3], &[2, 3, 4, 3]).unwrap();
        assert_eq!(field.at([3, 2, 1]), [[0.1; 3], [0.1; 3], [0.0; 3]]);
        let error = read(&[3, 4, 3], &[4, 3, 3]).unwrap_err().to_string();
        assert_eq!(
            error,
            "d.h5: /b_pm: got an array of shape [4, 3, 3]; allowed: (3, 4, 3) or (2, 3, 4, 3): cells along (z,) y, x, then x, y, z in pm"
        );
        assert!(read(&[3, 4, 2], &[3, 4, 3]).is_err());
        assert!(read(&[3, 4], &[3, 4, 3]).is_err());
    }

    #[test]
    fn numbers_that_are_no_displacements_are_refused() {
        let mut a = ArrayD::zeros([3, 4, 3].as_slice());
        for value in [f64::NAN, 1e4] {
            a[[1, 1, 1].as_slice()] = value;
            let arrays = [a.clone(), ArrayD::zeros([3, 4, 3].as_slice())];
            let error =
                DisplacementField::new(&settings(None), Path::new("d"), arrays, None, [4, 3, 2]);
            assert!(error.unwrap_err().to_string().contains("-200 to 200 pm"));
        }
    }
}
