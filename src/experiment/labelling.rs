//! Sub-images with labels: where to cut, what the right answer is, and which part of the image a window belongs to.

use std::path::Path;

use ndarray::{Array2, Array4, ArrayView2, ArrayView4, Axis, concatenate};

use crate::column::ColumnMap;
use crate::crystal::polarization::PolarVector;
use crate::crystal::{Sublattice, Truth};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::neighbours::Point;
use crate::network::{
    Mode, Samples, SplitBy, SplitSettings, SubimageSettings, cut_at, grid_centres, labels_between,
    split_by_position,
};
use crate::rng::{Rng, stream};
use crate::storage::dataset::{Circumstance, Split};
use crate::storage::labels::Label;

/// What is known about an image: its A columns and its cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// A columns [Å].
    pub a_columns: Vec<Point>,
    /// Polar vectors at the B columns.
    pub cells: Vec<PolarVector>,
}

impl From<&Truth> for Known {
    fn from(truth: &Truth) -> Self {
        let cells =
            truth
                .b_columns
                .iter()
                .zip(&truth.displacements)
                .map(|(&position, &displacement)| PolarVector {
                    position,
                    displacement,
                    sigma: [f64::NAN; 2],
                    flags: 0,
                });
        Self {
            a_columns: truth.a_columns.clone(),
            cells: cells.collect(),
        }
    }
}

impl From<&ColumnMap> for Known {
    fn from(map: &ColumnMap) -> Self {
        let good = map.of(Sublattice::A).filter(|column| column.flags == 0);
        Self {
            a_columns: good.map(|column| column.position).collect(),
            cells: map.good_vectors().copied().collect(),
        }
    }
}

/// Labelled sub-images of one image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labelled {
    /// `(n, 1, y, x)`.
    pub subimages: Array4<f32>,
    /// D `(n, 2)` [pm].
    pub targets: Array2<f32>,
    /// Centres [Å].
    pub centres: Vec<Point>,
    /// Part of each.
    pub split: Vec<Split>,
    /// What is known about the image of each.
    pub circumstances: Vec<Circumstance>,
}

impl Known {
    /// Labels of a table that are of an image of `extent` `[y, x]` [Å], D times `sign`.
    ///
    /// # Errors
    /// A label outside of the image; the message names its line in `path`.
    pub fn from_labels(labels: &[Label], extent: [f64; 2], sign: f64, path: &Path) -> Result<Self> {
        let cell = |label: &Label| {
            let [x, y] = label.position;
            if !((0.0..=extent[1]).contains(&x) && (0.0..=extent[0]).contains(&y)) {
                let allowed = format!(
                    "x from 0 to {:.3} Å, y from 0 to {:.3} Å",
                    extent[1], extent[0]
                );
                let place = format!("line {}", label.line);
                return Err(Error::data(
                    path,
                    place,
                    format!("a position ({x}, {y}) Å outside of the image"),
                    allowed,
                ));
            }
            Ok(PolarVector {
                position: label.position,
                displacement: label.displacement.map(|d| sign * d),
                sigma: [f64::NAN; 2],
                flags: 0,
            })
        };
        Ok(Self {
            a_columns: Vec::new(),
            cells: labels.iter().map(cell).collect::<Result<_>>()?,
        })
    }
}

impl Labelled {
    /// Cuts an image where `settings` say, labels with what is `known`, and splits by position (by image all is for training here). Windows that leave the image,
    /// have no label, or touch a line of the split are left out.
    ///
    /// # Errors
    /// A window larger than the image, or an image without contrast.
    pub fn cut(
        image: &Image,
        known: &Known,
        settings: &SubimageSettings,
        split: &SplitSettings,
    ) -> Result<Self> {
        let points: Vec<Point> = match settings.mode {
            Mode::CentredB => known.cells.iter().map(|cell| cell.position).collect(),
            Mode::CentredA => known.a_columns.clone(),
            Mode::Grid => grid_centres(image, settings)?,
        };
        let labels: Vec<Option<[f64; 2]>> = match settings.mode {
            Mode::CentredB => known
                .cells
                .iter()
                .map(|cell| Some(cell.displacement))
                .collect(),
            Mode::CentredA | Mode::Grid => labels_between(&points, &known.cells),
        };
        let points = jittered(&points, settings);
        let parts = match split.by {
            SplitBy::Position => {
                split_by_position(&points, settings.window_angstrom, image.extent(), split)
            }
            // The caller knows which image it is.
            SplitBy::Image => vec![Some(Split::Train); points.len()],
        };
        let cut = cut_at(image, &points, settings)?;
        let mut chosen = Vec::new();
        let (mut targets, mut centres, mut split) = (Vec::new(), Vec::new(), Vec::new());
        for (row, &point) in cut.kept.iter().enumerate() {
            if let (Some(label), Some(part)) = (labels[point], parts[point]) {
                chosen.push(row);
                targets.extend(label.map(|d| d as f32));
                centres.push(cut.centres[row]);
                split.push(part);
            }
        }
        let subimages = cut.subimages.select(Axis(0), &chosen);
        let targets = Array2::from_shape_vec((chosen.len(), 2), targets)
            .map_err(Error::compute("collecting labels"))?;
        let circumstance = Circumstance {
            level: cut.level,
            ..Circumstance::default()
        };
        Ok(Self {
            circumstances: vec![circumstance; split.len()],
            subimages,
            targets,
            centres,
            split,
        })
    }

    /// The same, tilt and thickness being those of `known`.
    #[must_use]
    pub fn under(mut self, known: &Circumstance) -> Self {
        for circumstance in &mut self.circumstances {
            circumstance.tilt_mrad = known.tilt_mrad;
            circumstance.thickness_nm = known.thickness_nm;
        }
        self
    }

    /// The samples of one part.
    #[must_use]
    pub fn part(&self, part: Split) -> Samples {
        let rows: Vec<usize> = (0..self.split.len())
            .filter(|&row| self.split[row] == part)
            .collect();
        Samples {
            subimages: self.subimages.select(Axis(0), &rows),
            targets: self.targets.select(Axis(0), &rows),
            levels: rows
                .iter()
                .map(|&row| self.circumstances[row].level)
                .collect(),
        }
    }
}

/// Centres of sub-images, moved at random by up to the jitter of the settings; those of a grid stay. The random numbers come from
/// the position alone, whatever else is cut.
fn jittered(points: &[Point], settings: &SubimageSettings) -> Vec<Point> {
    let most = settings.jitter_angstrom;
    if settings.mode == Mode::Grid || most == 0.0 {
        return points.to_vec();
    }
    let moved = |&[x, y]: &Point| {
        let mut random = stream(x.to_bits(), "centre", y.to_bits());
        [x, y].map(|at| at + random.random_range(-most..=most))
    };
    points.iter().map(moved).collect()
}

/// Samples of several sources together.
///
/// # Errors
/// Windows of different sizes.
pub fn join(parts: &[Samples]) -> Result<Samples> {
    let subimages: Vec<ArrayView4<f32>> = parts.iter().map(|part| part.subimages.view()).collect();
    let targets: Vec<ArrayView2<f32>> = parts.iter().map(|part| part.targets.view()).collect();
    Ok(Samples {
        subimages: concatenate(Axis(0), &subimages).map_err(Error::compute("joining samples"))?,
        targets: concatenate(Axis(0), &targets).map_err(Error::compute("joining samples"))?,
        levels: parts.iter().flat_map(|part| part.levels.clone()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centres_do_not_tell_where_columns_are() {
        let settings = SubimageSettings {
            mode: Mode::CentredB,
            window_angstrom: 8.0,
            sampling_angstrom: 0.25,
            stride_angstrom: None,
            jitter_angstrom: 0.2,
        };
        let points: Vec<Point> = (0..4000).map(|n| [0.1 * f64::from(n), 7.0]).collect();
        let moved = jittered(&points, &settings);
        let off = |axis: usize| (0..points.len()).map(move |n| (n, axis));
        for axis in 0..2 {
            let offs: Vec<f64> = off(axis).map(|(n, a)| moved[n][a] - points[n][a]).collect();
            assert!(offs.iter().all(|o| o.abs() <= 0.2));
            let square = offs.iter().map(|o| o * o).sum::<f64>() / offs.len() as f64;
            // Even over ±0.2: the mean square is 0.04/3, known to 1.4 %.
            assert!((square / (0.04 / 3.0) - 1.0).abs() < 0.06, "{square}");
        }
        assert_eq!(jittered(&points[100..200], &settings), moved[100..200]);
    }
}
