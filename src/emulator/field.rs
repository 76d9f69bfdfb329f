//! What the size of the field does to an image: a probe on a small field has the tails of its periodic images, and a soft aperture an
//! edge that is one coarse pixel of the Fourier grid wide. It is the probe's doing and hardly depends on displacements, so that the
//! ideal crystal tells it, of which Bloch waves make images in a field of any size at once.

use ndarray::Array3;

use super::microscope::Microscope;
use crate::crystal::lattice::Lattice;
use crate::crystal::perovskite::{Distortion, Occupation, Perovskite};
use crate::error::Result;
use crate::multislice::Bloch;
use crate::neighbours::Point;

/// An ideal cell under the probe.
#[derive(Debug, Clone)]
pub struct IdealCell<'a> {
    /// Microscope, material and numerics.
    pub microscope: &'a Microscope,
    /// Edge of the cell [Å].
    pub edge: f64,
    /// Depths behind which the image is read [cells].
    pub depths: &'a [usize],
    /// Mistilt `[x, y]` [mrad].
    pub tilt_mrad: [f64; 2],
}

impl IdealCell<'_> {
    /// The image in a field of `wide` × `wide` cells less that in `narrow` × `narrow`, on a raster of `points` × `points` over the
    /// cell: `(detector, depth, probe)`, probes row by row.
    ///
    /// # Errors
    /// As the constructors of potential and engine.
    pub fn widening(&self, narrow: usize, wide: usize, points: usize) -> Result<Array3<f64>> {
        Ok(self.image(wide, points)? - self.image(narrow, points)?)
    }

    /// Its image in a field of `field` × `field` cells.
    fn image(&self, field: usize, points: usize) -> Result<Array3<f64>> {
        let (cell, _) = Perovskite {
            cells: [1, 1, self.depths.iter().copied().max().unwrap_or(1)],
            lattice: Lattice::cubic(self.edge),
            distortion: Distortion::Rigid {
                shifts: [[0.0; 3]; 3],
            },
            antipolar: None,
            injected: [[0.0; 3]; 2],
            occupation: Occupation {
                samarium: 0.0,
                interface: None,
                seed: 0,
            },
        }
        .build();
        let (potential, optics) = self.microscope.specimen(&cell, [1, 1], self.depths)?;
        let engine = Bloch::new(&potential, &optics, field)?.with_tilt(self.tilt_mrad);
        let step = self.edge / points as f64;
        let raster: Vec<Point> = (0..points * points)
            .map(|n| [(n % points) as f64 * step, (n / points) as f64 * step])
            .collect();
        Ok(engine.scan(&raster))
    }
}
