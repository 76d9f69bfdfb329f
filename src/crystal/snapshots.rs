//! Positions of the atoms at several times, given from outside (molecular dynamics, another program's frozen phonons).

use std::path::{Path, PathBuf};

use ndarray::{Array3, ArrayD, Axis, Ix3};
use serde::{Deserialize, Serialize};

use super::structure::Structure;
use crate::error::{Error, Result};

/// An atom farther from its place than this has not vibrated there [Å]: the order of the atoms or the cell is another one.
const FARTHEST: f64 = 1.5;

/// `[phonons.snapshots]`: where the positions are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotFile {
    /// The file.
    pub file: PathBuf,
    /// Data set in it, (configuration, atom, 3) [Å].
    pub path: String,
}

/// Checked snapshots of a structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshots {
    /// (configuration, atom, component) [Å].
    positions: Array3<f64>,
    /// File and data set, for messages.
    file: PathBuf,
    path: String,
}

impl Snapshots {
    /// Takes positions [Å] that were read as `settings` say from `file`.
    ///
    /// # Errors
    /// A shape other than (configurations, atoms, 3), no configuration, numbers that are not finite.
    pub fn new(settings: &SnapshotFile, file: &Path, positions: ArrayD<f64>) -> Result<Self> {
        let shape = positions.shape().to_vec();
        let wrong =
            |got: String, allowed: &str| Error::data(file, settings.path.clone(), got, allowed);
        let positions = positions
            .into_dimensionality::<Ix3>()
            .ok()
            .filter(|array| array.dim().0 > 0 && array.dim().2 == 3)
            .ok_or_else(|| {
                let allowed = "(configurations, atoms, 3): x, y, z in Å";
                wrong(format!("an array of shape {shape:?}"), allowed)
            })?;
        if let Some(value) = positions.iter().find(|value| !value.is_finite()) {
            return Err(wrong(format!("a position of {value}"), "finite numbers"));
        }
        Ok(Self {
            positions,
            file: file.to_owned(),
            path: settings.path.clone(),
        })
    }

    /// Number of configurations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.positions.dim().0
    }

    /// Whether there are none; checked snapshots always hold one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that these are snapshots of `structure`: as many atoms, each near its place, periodic images counted as the same.
    ///
    /// # Errors
    /// Both numbers of atoms, or the atom that is far off.
    pub fn check(&self, structure: &Structure) -> Result<()> {
        let wrong =
            |got: String, allowed: String| Error::data(&self.file, self.path.clone(), got, allowed);
        let (_, atoms, _) = self.positions.dim();
        if atoms != structure.len() {
            let allowed = format!("{}, as many as the specimen holds", structure.len());
            return Err(wrong(format!("{atoms} atoms"), allowed));
        }
        for (number, configuration) in self.positions.axis_iter(Axis(0)).enumerate() {
            for (atom, position) in configuration.axis_iter(Axis(0)).enumerate() {
                let ideal = structure.positions[atom];
                let square: f64 = (0..3)
                    .map(|axis| {
                        let d = position[axis] - ideal[axis];
                        (d - (d / structure.cell[axis]).round() * structure.cell[axis]).powi(2)
                    })
                    .sum();
                if square.sqrt() > FARTHEST {
                    let got = format!(
                        "atom {} of configuration {} {:.2} Å off its place in the specimen",
                        atom + 1,
                        number + 1,
                        square.sqrt()
                    );
                    let allowed =
                        format!("at most {FARTHEST} Å: the same atoms in the same order and cell");
                    return Err(wrong(got, allowed));
                }
            }
        }
        Ok(())
    }

    /// Positions in a configuration [Å].
    ///
    /// # Panics
    /// If there are not that many configurations.
    #[must_use]
    pub fn positions(&self, configuration: usize) -> Vec<[f64; 3]> {
        self.positions
            .index_axis(Axis(0), configuration)
            .axis_iter(Axis(0))
            .map(|position| std::array::from_fn(|axis| position[axis]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crystal::Sublattice;

    fn snapshots(positions: ArrayD<f64>) -> Result<Snapshots> {
        let settings = SnapshotFile {
            file: PathBuf::from("md.h5"),
            path: "/positions".to_owned(),
        };
        Snapshots::new(&settings, Path::new("md.h5"), positions)
    }

    #[test]
    fn snapshots_of_another_structure_are_refused() {
        let structure = Structure {
            positions: vec![[0.0, 1.0, 1.0], [2.0, 2.0, 2.0]],
            numbers: vec![83, 26],
            cell: [4.0; 3],
            sublattices: vec![Sublattice::A, Sublattice::B],
        };
        let of = |data: &[f64], atoms: usize| {
            let shape = [data.len() / 3 / atoms, atoms, 3];
            snapshots(ArrayD::from_shape_vec(shape.as_slice(), data.to_vec()).unwrap())
        };
        let good = of(&[3.9, 1.0, 1.1, 2.0, 2.0, 1.9], 2).unwrap();
        good.check(&structure).unwrap();
        assert_eq!(good.positions(0)[1], [2.0, 2.0, 1.9]);
        let swapped = of(&[2.0, 2.0, 1.9, 3.9, 1.0, 1.1], 2).unwrap();
        let error = swapped.check(&structure).unwrap_err().to_string();
        assert!(error.contains("atom 1 of configuration 1"), "{error}");
        let fewer = of(&[0.0; 3], 1).unwrap().check(&structure).unwrap_err();
        assert!(fewer.to_string().contains("got 1 atoms; allowed: 2"));
        assert!(snapshots(ArrayD::zeros([2, 3].as_slice())).is_err());
        assert!(snapshots(ArrayD::zeros([0, 2, 3].as_slice())).is_err());
        assert!(snapshots(ArrayD::from_elem([1, 2, 3].as_slice(), f64::NAN)).is_err());
    }
}
