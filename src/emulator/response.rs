//! A response: how the images of single columns depend on what is around them, on tilt and on thickness.

use ndarray::{Array2, Array3};

use super::certificate::Certificate;
use super::expansion::Order;
use super::microscope::Microscope;
use super::settings::TrainingSettings;
use crate::error::{Error, Result};

/// What columns of one kind scatter, as polynomials times images.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// How far the polynomials go.
    pub order: Order,
    /// Pictures of [patches](super::patch), `(picture, pixel)`.
    pub images: Array2<f32>,
    /// Their coefficients, `(depth, term, picture)`.
    pub coefficients: Array3<f32>,
}

/// The response of a material in a microscope, for one detector.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// What it belongs to.
    pub microscope: Microscope,
    /// Name of the detector among those of the microscope.
    pub detector: String,
    /// Edge of the ideal cell [Å].
    pub edge: f64,
    /// What it was learnt from.
    pub training: TrainingSettings,
    /// Depths [cells], rising by one.
    pub depths: Vec<usize>,
    /// Kernels of A, B and O columns.
    pub kernels: [Kernel; 3],
    /// Errors of each order on blocks that were not learnt from, per kind.
    pub errors_by_order: [Vec<f64>; 3],
    /// Where it was compared with the exact engine, and how they differ.
    pub certificate: Certificate,
}

impl Response {
    /// Index of a thickness of whole cells.
    ///
    /// # Errors
    /// A thickness that was not learnt, with the range.
    pub fn depth(&self, cells: usize) -> Result<usize> {
        let found = self.depths.iter().position(|&depth| depth == cells);
        found.ok_or_else(|| {
            let [least, most] = self.thickness_nm();
            Error::unmeasurable(
                "emulator, thickness",
                format!("{cells} cells ({:.2} nm)", cells as f64 * self.edge / 10.0),
                format!(
                    "{least:.2} to {most:.2} nm in whole cells, which the response file covers"
                ),
            )
        })
    }

    /// Least and largest thickness [nm].
    #[must_use]
    pub fn thickness_nm(&self) -> [f64; 2] {
        let of = |depth: Option<&usize>| *depth.unwrap_or(&0) as f64 * self.edge / 10.0;
        [of(self.depths.first()), of(self.depths.last())]
    }
}
