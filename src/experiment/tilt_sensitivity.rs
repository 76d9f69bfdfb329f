//! How a mistilt of the crystal fakes a polarization: apparent shifts of A and B columns against tilt, azimuth, thickness and
//! source size.
//!
//! One period of each specimen is scanned; the image is blurred, repeated, and mapped like any other image. What is reported
//! is measured minus true, so that a real displacement does not count, in the frame of the entrance face.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::template::SimulationTemplate;
use crate::acquisition::{Acquisition, Border};
use crate::column::{self, ColumnMap, ColumnSettings};
use crate::crystal::{Specimen, Sublattice, Truth};
use crate::error::Result;
use crate::image::Image;
use crate::neighbours::{Neighbours, Point};
use crate::progress::Reporter;
use crate::settings::Source;
use crate::simulation::SimulationSettings;
use crate::units::PM_PER_ANGSTROM;

/// The `[tilt_sensitivity]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TiltSensitivity {
    /// Sizes of the tilt [mrad].
    pub magnitudes_mrad: Vec<f64>,
    /// Directions of the tilt, from x towards y [degrees].
    pub azimuths_degrees: Vec<f64>,
    /// Source sizes, full width at half maximum [Å].
    pub source_fwhm_angstrom: Vec<f64>,
    /// How often the scanned period is repeated for the fit, `[x, y]`.
    pub repeats: [usize; 2],
    /// The specimens, by name.
    pub specimens: BTreeMap<String, Specimen>,
    /// How columns are fitted.
    #[serde(default)]
    pub columns: ColumnSettings,
}

/// A tilt as size and direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tilt {
    /// Size [mrad].
    pub magnitude: f64,
    /// Direction [degrees].
    pub azimuth: f64,
}

impl Tilt {
    /// `[tx, ty]` [mrad].
    #[must_use]
    pub fn vector(self) -> [f64; 2] {
        let angle = self.azimuth.to_radians();
        [self.magnitude * angle.cos(), self.magnitude * angle.sin()]
    }

    /// Component of a vector along the tilt.
    #[must_use]
    pub fn along(self, vector: [f64; 2]) -> f64 {
        let angle = self.azimuth.to_radians();
        vector[0] * angle.cos() + vector[1] * angle.sin()
    }
}

impl TiltSensitivity {
    /// Checks the section; `source` stands at it.
    ///
    /// # Errors
    /// A number out of range, an empty list, a wrong specimen.
    pub fn validate(&self, source: &Source) -> Result<()> {
        for (key, list, most, unit) in [
            ("magnitudes_mrad", &self.magnitudes_mrad, 100.0, "mrad"),
            ("azimuths_degrees", &self.azimuths_degrees, 360.0, "degrees"),
            ("source_fwhm_angstrom", &self.source_fwhm_angstrom, 5.0, "Å"),
        ] {
            if list.is_empty() {
                return Err(source.wrong(key, "an empty list", "at least one number"));
            }
            list.iter()
                .try_for_each(|&value| source.in_range(key, value, 0.0..=most, unit, ""))?;
        }
        if self.repeats.iter().any(|n| !(1..=64).contains(n)) {
            return Err(source.wrong(
                "repeats",
                format!("{:?}", self.repeats),
                "1 to 64 along x and y",
            ));
        }
        if self.specimens.is_empty() {
            return Err(source.wrong("specimens", "none", "at least one section specimens.NAME"));
        }
        let mut specimens = self.specimens.iter();
        specimens.try_for_each(|(name, specimen)| {
            specimen.validate(&source.under(&format!("specimens.{name}")))
        })
    }

    /// All tilts: zero once, every other size in every direction.
    #[must_use]
    pub fn tilts(&self) -> Vec<Tilt> {
        let mut tilts = Vec::new();
        for &azimuth in &self.azimuths_degrees {
            for &magnitude in &self.magnitudes_mrad {
                let repeated =
                    magnitude == 0.0 && tilts.iter().any(|tilt: &Tilt| tilt.magnitude == 0.0);
                if !repeated {
                    tilts.push(Tilt { magnitude, azimuth });
                }
            }
        }
        tilts
    }

    /// The simulations, one per specimen, named `prefix` + specimen.
    #[must_use]
    pub fn simulations(
        &self,
        seed: u64,
        template: &SimulationTemplate,
        prefix: &str,
    ) -> Vec<(String, SimulationSettings)> {
        let tilts: Vec<[f64; 2]> = self.tilts().into_iter().map(Tilt::vector).collect();
        let simulation = |(name, specimen): (&String, &Specimen)| {
            (
                format!("{prefix}{name}"),
                template.with(seed, specimen, tilts.clone(), None),
            )
        };
        self.specimens.iter().map(simulation).collect()
    }

    /// Measures one ideal frame at every source size, `[fwhm]`.
    ///
    /// # Errors
    /// No columns can be found in the image.
    pub fn measure(
        &self,
        ideal: ArrayView2<f32>,
        sampling: [f64; 2],
        truth: &Truth,
    ) -> Result<Vec<Shifts>> {
        let period = [
            ideal.ncols() as f64 * sampling[1],
            ideal.nrows() as f64 * sampling[0],
        ];
        self.source_fwhm_angstrom
            .par_iter()
            .map(|&source_fwhm_angstrom| {
                let acquisition = Acquisition {
                    source_fwhm_angstrom,
                    dose_per_angstrom2: None,
                    row_jitter_pm: 0.0,
                    drift_angstrom: [0.0; 2],
                };
                let blurred = acquisition.acquire(
                    &Image {
                        data: ideal.to_owned(),
                        sampling,
                    },
                    Border::Periodic,
                    0,
                    0,
                )?;
                let image = Image {
                    data: tile(&blurred.data, self.repeats),
                    sampling,
                };
                let map = column::measure(&image, &self.columns, &Reporter::quiet())?;
                Ok(Shifts::new(&map, truth, period))
            })
            .collect()
    }
}

/// An image repeated `[x, y]` times.
fn tile(image: &Array2<f32>, [nx, ny]: [usize; 2]) -> Array2<f32> {
    let (rows, cols) = image.dim();
    Array2::from_shape_fn((rows * ny, cols * nx), |(row, col)| {
        image[(row % rows, col % cols)]
    })
}

/// Measured minus true positions, averaged over the columns of an image, `[x, y]` [pm].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shifts {
    /// Of the A columns.
    pub a: [f64; 2],
    /// Of the B columns.
    pub b: [f64; 2],
    /// Of D: what the tilt fakes, plus the error of the fit at zero tilt.
    pub d: [f64; 2],
    /// True D, averaged over the cells.
    pub true_d: [f64; 2],
}

impl Shifts {
    /// Compares a map of a repeated image with the truth over one `period` `[x, y]` [Å].
    fn new(map: &ColumnMap, truth: &Truth, period: [f64; 2]) -> Self {
        let a = mean_shift(map, Sublattice::A, &truth.a_columns, period);
        let b = mean_shift(map, Sublattice::B, &truth.b_columns, period);
        let count = truth.displacements.len().max(1) as f64;
        let true_d = std::array::from_fn(|axis| {
            truth.displacements.iter().map(|d| d[axis]).sum::<f64>() / count
        });
        let vectors: Vec<_> = map.good_vectors().collect();
        let d = std::array::from_fn(|axis| {
            vectors.iter().map(|v| v.displacement[axis]).sum::<f64>() / vectors.len() as f64
                - true_d[axis]
        });
        Self { a, b, d, true_d }
    }
}

/// Mean of measured minus nearest true position over the unflagged columns of a sublattice [pm].
fn mean_shift(
    map: &ColumnMap,
    sublattice: Sublattice,
    truth: &[Point],
    period: [f64; 2],
) -> [f64; 2] {
    let images = [-1.0, 0.0, 1.0];
    let around = images
        .iter()
        .flat_map(|j| images.iter().map(move |i| [i * period[0], j * period[1]]));
    let all: Vec<Point> = around
        .flat_map(|shift| {
            truth
                .iter()
                .map(move |p| [p[0] + shift[0], p[1] + shift[1]])
        })
        .collect();
    let tree = Neighbours::new(&all);
    let mut sum = [0.0; 2];
    let mut count = 0.0;
    for column in map.of(sublattice).filter(|column| column.flags == 0) {
        let wrapped: Point =
            std::array::from_fn(|axis| column.position[axis].rem_euclid(period[axis]));
        if let Some(&(nearest, _)) = tree.nearest(wrapped, 1).first() {
            for axis in 0..2 {
                sum[axis] += (wrapped[axis] - all[nearest][axis]) * PM_PER_ANGSTROM;
            }
            count += 1.0;
        }
    }
    sum.map(|s| s / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_tilt_is_simulated_once() {
        let section = TiltSensitivity {
            magnitudes_mrad: vec![0.0, 5.0],
            azimuths_degrees: vec![0.0, 90.0],
            source_fwhm_angstrom: vec![0.8],
            repeats: [4, 4],
            specimens: BTreeMap::new(),
            columns: ColumnSettings::default(),
        };
        let tilts = section.tilts();
        assert_eq!(tilts.len(), 3);
        assert!((tilts[2].vector()[1] - 5.0).abs() < 1e-12 && tilts[2].vector()[0].abs() < 1e-12);
        assert!((tilts[2].along([3.0, -2.0]) + 2.0).abs() < 1e-12);
    }
}
