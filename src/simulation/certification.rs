//! Certifying a response: textures that it has not learnt from, drawn and run by the exact engine.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::acquisition::{Acquisition, Border};
use crate::column::{WindowFit, fit_window};
use crate::crystal::{External, Specimen, Structure, Truth};
use crate::emulator::{Certificate, Comparison, Frame, Painter, Range, Response, Sites};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::neighbours::Point;
use crate::progress::Reporter;
use crate::settings::Source;
use crate::storage::parts::Parts;
use crate::units::{ANGSTROM_PER_NM, PM_PER_ANGSTROM};

/// The examination that ships with the program.
const EXAMINATION: &str = include_str!("../../simulations/responses/certificate.toml");
/// How columns are fitted: the plain fit that published biases refer to.
const FIT: WindowFit = WindowFit {
    radius_angstrom: 1.0,
    recentre: 1,
};

/// What a response is examined on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examination {
    /// Depths at which images are compared [cells]; those that a response does not cover are left out.
    pub depths_cells: Vec<usize>,
    /// Mistilts `[x, y]` [mrad].
    pub tilts_mrad: Vec<[f64; 2]>,
    /// Source of the blurred images [Å].
    pub source_fwhm_angstrom: f64,
    /// Pixels along a cell.
    pub points_per_cell: usize,
    /// Seed of random textures and Sm sites.
    pub seed: u64,
    /// Specimens by name.
    pub textures: BTreeMap<String, Texture>,
}

/// A specimen, and the part of it that is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texture {
    /// First corner of the area `[x, y]` [cells].
    pub start_cells: [f64; 2],
    /// Last corner `[x, y]` [cells].
    pub end_cells: [f64; 2],
    /// The specimen.
    pub specimen: Specimen,
}

impl Examination {
    /// The one that ships.
    ///
    /// # Errors
    /// None, if the program is whole.
    pub fn shipped() -> Result<Self> {
        Source::from_text("certificate.toml", EXAMINATION).parse()
    }
}

/// An exact image and the drawn one, as ideal images.
#[derive(Debug, Clone)]
pub struct Plate {
    /// What is compared.
    pub comparison: Comparison,
    /// By the exact engine.
    pub exact: Image,
    /// By the emulator.
    pub drawn: Image,
}

/// Examines a response, and keeps a plate of each texture, in the middle of tilts and depths. Images of the exact engine that `folder`
/// holds are taken over.
///
/// # Errors
/// As the engines' constructors; a folder that cannot be written.
pub fn certify(
    response: &Response,
    folder: &Path,
    reporter: &Reporter,
) -> Result<(Certificate, Vec<Plate>)> {
    let examination = Examination::shipped()?;
    let (mut comparisons, mut shown) = (Vec::new(), Vec::new());
    let count = examination.textures.len() * examination.tilts_mrad.len();
    let bar = reporter.bar("comparisons", count as u64);
    for (number, (name, texture)) in examination.textures.iter().enumerate() {
        let candidate = Candidate::new(&examination, name, texture, response)?;
        for (tilt, &tilt_mrad) in examination.tilts_mrad.iter().enumerate() {
            let part = 100 * (number + 1) + tilt;
            let plates = candidate.compare(tilt_mrad, folder, part)?;
            comparisons.extend(plates.iter().map(|plate| plate.comparison.clone()));
            if tilt == examination.tilts_mrad.len() / 2 {
                let middle = plates.len() / 3;
                shown.extend(plates.into_iter().nth(middle));
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let certificate = Certificate {
        comparisons,
        source_fwhm_angstrom: examination.source_fwhm_angstrom,
        range: Range {
            tilt_mrad: Range::default().tilt_mrad.min(response.training.tilt_mrad),
            ..Range::default()
        },
    };
    Ok((certificate, shown))
}

/// A texture to be compared.
struct Candidate<'a> {
    name: &'a str,
    response: &'a Response,
    source_fwhm: f64,
    structure: Structure,
    truth: Truth,
    cells: [usize; 3],
    depths: Vec<usize>,
    frame: Frame,
    key: String,
}

impl<'a> Candidate<'a> {
    fn new(
        examination: &Examination,
        name: &'a str,
        texture: &Texture,
        response: &'a Response,
    ) -> Result<Self> {
        let mut specimen = texture.specimen.clone();
        let learnt = |depth: &&usize| response.depths.contains(depth);
        let depths: Vec<usize> = examination
            .depths_cells
            .iter()
            .filter(learnt)
            .copied()
            .collect();
        let Some(&deepest) = depths.last() else {
            let got = format!("depths of {:?} cells", response.depths);
            let allowed = format!(
                "some of {:?}, at which responses are compared",
                examination.depths_cells
            );
            return Err(Error::unmeasurable("certifying a response", got, allowed));
        };
        specimen.cells[2] = deepest.next_multiple_of(2);
        if specimen.lattice_angstrom.is_some() {
            specimen.lattice_angstrom = Some(response.edge);
        }
        let (structure, truth) = specimen.build(examination.seed, &External::default())?;
        let edge = structure.cell[0] / specimen.cells[0] as f64;
        let step = edge / examination.points_per_cell as f64;
        let points = |axis: usize| {
            let cells = texture.end_cells[axis] - texture.start_cells[axis];
            (cells * examination.points_per_cell as f64).round() as usize
        };
        Ok(Self {
            name,
            response,
            source_fwhm: examination.source_fwhm_angstrom,
            frame: Frame {
                start: texture.start_cells.map(|n| n * edge),
                step: [step; 2],
                points: [points(0), points(1)],
            },
            truth,
            cells: specimen.cells,
            depths,
            key: format!(
                "{EXAMINATION}\n{}\n{}",
                toml::to_string(&response.microscope).unwrap_or_default(),
                crate::provenance::VERSION
            ),
            structure,
        })
    }

    /// The exact images `(depth, y, x)`.
    fn exact(&self, tilt_mrad: [f64; 2], folder: &Path, part: usize) -> Result<Vec<Array2<f32>>> {
        let parts = Parts::new(folder, &self.key);
        let [cols, rows] = self.frame.points;
        let numbers = match parts.read(part) {
            Some(numbers) => numbers,
            None => {
                let place = |n: usize| -> Point {
                    let at = [n % cols, n / cols];
                    std::array::from_fn(|axis| {
                        self.frame.start[axis] + at[axis] as f64 * self.frame.step[axis]
                    })
                };
                let mut microscope = self.response.microscope.clone();
                microscope
                    .detectors
                    .retain(|name, _| *name == self.response.detector);
                let [nx, ny, _] = self.cells;
                let engine = microscope.engine(&self.structure, [nx, ny], &self.depths)?;
                let positions: Vec<Point> = (0..rows * cols).map(place).collect();
                let readings = engine.with_tilt(tilt_mrad).scan(&positions);
                let numbers: Vec<f32> = readings.iter().map(|&x| x as f32).collect();
                parts.write(part, &numbers)?;
                numbers
            }
        };
        let image = |numbers: &[f32]| {
            Array2::from_shape_vec((rows, cols), numbers.to_vec())
                .map_err(Error::compute("shaping images"))
        };
        numbers.chunks(rows * cols).map(image).collect()
    }

    fn compare(&self, tilt_mrad: [f64; 2], folder: &Path, part: usize) -> Result<Vec<Plate>> {
        let exact = self.exact(tilt_mrad, folder, part)?;
        let pairs = exact.into_iter().zip(&self.depths);
        pairs
            .map(|(exact, &depth)| self.compare_at(tilt_mrad, depth, exact))
            .collect()
    }

    fn compare_at(&self, tilt_mrad: [f64; 2], depth: usize, exact: Array2<f32>) -> Result<Plate> {
        let sites = Sites::new(&self.structure, self.cells, depth)?;
        let painter = Painter::new(self.response, depth, self.frame.step)?;
        let drawn = painter.paint(&sites, &self.frame, &|_| tilt_mrad);
        let [rms, worst] = difference(&exact, &drawn);
        let [exact, drawn] = [exact, drawn].map(|data| Image {
            data,
            sampling: [self.frame.step[1], self.frame.step[0]],
        });
        let blurred = [self.blurred(&exact)?, self.blurred(&drawn)?];
        let [blurred_rms, blurred_worst] = difference(&blurred[0].data, &blurred[1].data);
        let (displacement_pm, cells) = self.displacements(&blurred, tilt_mrad, depth, sites.edge);
        let comparison = Comparison {
            texture: self.name.to_owned(),
            tilt_mrad,
            thickness_nm: depth as f64 * sites.edge / ANGSTROM_PER_NM,
            rms_percent: rms,
            worst_percent: worst,
            blurred_rms_percent: blurred_rms,
            blurred_worst_percent: blurred_worst,
            displacement_pm,
            cells,
        };
        Ok(Plate {
            comparison,
            exact,
            drawn,
        })
    }

    fn blurred(&self, image: &Image) -> Result<Image> {
        let acquisition = Acquisition {
            source_fwhm_angstrom: self.source_fwhm,
            dose_per_angstrom2: None,
            row_jitter_pm: 0.0,
            drift_angstrom: [0.0; 2],
        };
        acquisition.acquire(image, Border::Mirror, 0, 0)
    }

    /// Root mean square difference of D of all cells whose columns are fitted in both images, per axis [pm], and their number.
    fn displacements(
        &self,
        images: &[Image; 2],
        tilt_mrad: [f64; 2],
        depth: usize,
        edge: f64,
    ) -> (f64, usize) {
        // Where a tilted column is seen is about where it is half way down.
        let lean = tilt_mrad.map(|t| -0.5e-3 * t * (depth as f64 * edge).min(50.0));
        let fitted = |column: &Point| -> Option<[Point; 2]> {
            let expected: Point =
                std::array::from_fn(|axis| column[axis] - self.frame.start[axis] + lean[axis]);
            let inside = (0..2).all(|axis| {
                let width = (self.frame.points[axis] - 1) as f64 * self.frame.step[axis];
                (FIT.radius_angstrom..=width - FIT.radius_angstrom).contains(&expected[axis])
            });
            let fit = |image: &Image| fit_window(image, false, expected, &FIT).ok();
            let [a, b] = [fit(&images[0])?, fit(&images[1])?].map(|fit| fit.position);
            inside.then_some([a, b])
        };
        let all: Vec<Option<[Point; 2]>> = self.truth.a_columns.iter().map(fitted).collect();
        let (mut squares, mut cells) = (0.0, 0);
        let near = |b: &Point| -> Option<Vec<[Point; 2]>> {
            let close = |a: &Point| (a[0] - b[0]).hypot(a[1] - b[1]) < 0.95 * edge;
            let corners: Vec<_> = self
                .truth
                .a_columns
                .iter()
                .zip(&all)
                .filter(|(a, _)| close(a))
                .map(|(_, fit)| *fit)
                .collect::<Option<Vec<_>>>()?;
            (corners.len() == 4).then_some(corners)
        };
        for b in &self.truth.b_columns {
            if let (Some(own), Some(corners)) = (fitted(b), near(b)) {
                for axis in 0..2 {
                    let d = |image: usize| {
                        let mean = corners.iter().map(|c| c[image][axis]).sum::<f64>() / 4.0;
                        own[image][axis] - mean
                    };
                    squares += ((d(1) - d(0)) * PM_PER_ANGSTROM).powi(2);
                }
                cells += 1;
            }
        }
        ((squares / (2.0 * cells as f64)).sqrt(), cells)
    }
}

/// Root mean square and largest difference of two images, in per cent of the contrast of the first.
fn difference(exact: &Array2<f32>, drawn: &Array2<f32>) -> [f64; 2] {
    let most = exact.iter().fold(f32::MIN, |m, x| m.max(*x));
    let least = exact.iter().fold(f32::MAX, |m, x| m.min(*x));
    let contrast = f64::from(most - least);
    let off = exact.iter().zip(drawn).map(|(a, b)| f64::from(b - a).abs());
    let squares: f64 = off.clone().map(|d| d * d).sum();
    let rms = (squares / exact.len() as f64).sqrt();
    [rms, off.fold(0.0, f64::max)].map(|d| 100.0 * d / contrast)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every texture can be built, and the part that is compared lies inside its block.
    #[test]
    fn the_shipped_examination_is_sound() {
        let examination = Examination::shipped().unwrap();
        assert_eq!(examination.textures.len(), 5);
        let source = Source::from_text("certificate.toml", EXAMINATION);
        for (name, texture) in &examination.textures {
            let under = source.under(&format!("textures.{name}.specimen"));
            texture.specimen.validate(&under).unwrap();
            let inside = |axis: usize| {
                texture.start_cells[axis] >= 0.0
                    && texture.end_cells[axis] <= texture.specimen.cells[axis] as f64
            };
            assert!(inside(0) && inside(1), "{name}");
        }
    }
}
