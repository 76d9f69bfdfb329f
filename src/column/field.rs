//! The image and its model: columns as Gaussians on a smooth background, drawn on the image's pixels.

use std::ops::Range;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis, Zip};
use pulp::Arch;

use super::background::Background;
use super::find::Ghost;
use super::gaussian::Gaussian;
use super::noise::Noise;
use super::rows::{Row, draw};
use crate::crystal::polarization::Point;
use crate::image::Image;

/// A column as the fit left it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) gaussian: Gaussian,
    pub(super) background: f64,
    /// Standard deviations of x, y [Å] and of the height; infinite where the fit failed.
    pub(super) sigma: [f64; 3],
    /// Whether the last fit ended within its bounds.
    pub(super) fitted: bool,
    /// Where the search put it [Å].
    pub(super) start: Point,
    /// Which of the two sublattices, before they are told apart.
    pub(super) class: usize,
}

/// An image, and what is needed to place columns on it.
pub(super) struct Field<'a> {
    /// Finite everywhere.
    pub(super) image: &'a Image,
    /// 1 where a pixel counts, 0 where it is masked.
    pub(super) usable: &'a Array2<f32>,
    pub(super) ghosts: &'a [Ghost],
    /// Pitch of the A lattice [Å].
    pub(super) pitch: f64,
}

/// What the model leaves of the image.
pub(super) struct Residual {
    /// 1/variance of the pixels; 0 for those that are masked.
    weights: Array2<f32>,
    /// Image minus model.
    rests: Array2<f32>,
}

impl Residual {
    pub(super) fn weights_of(&self, row: usize, across: Range<usize>) -> &[f32] {
        part(&self.weights, row, across)
    }

    pub(super) fn rests_of(&self, row: usize, across: Range<usize>) -> &[f32] {
        part(&self.rests, row, across)
    }

    /// Weight and rest of one pixel.
    pub(super) fn at(&self, pixel: (usize, usize)) -> [f64; 2] {
        [&self.weights, &self.rests].map(|image| f64::from(image[pixel]))
    }

    /// Weights for the covariance of a fit with weights that are not 1/variance: w² V, where V is the true variance.
    pub(super) fn spread(&self, image: &Array2<f32>, noise: Noise) -> Self {
        let mut weights = self.weights.clone();
        Zip::from(&mut weights)
            .and(&self.rests)
            .and(image)
            .for_each(|w, r, v| *w = w.powi(2) * noise.variance(f64::from(*v - *r)) as f32);
        Self {
            weights,
            rests: self.rests.clone(),
        }
    }
}

fn part(image: &Array2<f32>, row: usize, across: Range<usize>) -> &[f32] {
    let cols = image.ncols();
    image.as_slice().map_or(&[], |all| {
        &all[row * cols + across.start..row * cols + across.end]
    })
}

impl Field<'_> {
    /// A length in pitches as pixels along `[y, x]`.
    pub(super) fn pixels_per(&self, pitches: f64) -> [f64; 2] {
        self.image.sampling.map(|s| pitches * self.pitch / s)
    }

    /// The pixel nearest to a point of the image.
    pub(super) fn nearest(&self, at: Point) -> (usize, usize) {
        let (rows, cols) = self.image.data.dim();
        let [sy, sx] = self.image.sampling;
        let index = |x: f64, last: usize| (x.round().max(0.0) as usize).min(last);
        (index(at[1] / sy, rows - 1), index(at[0] / sx, cols - 1))
    }

    /// All columns, and those just outside the image.
    fn gaussians(&self, columns: &[Column]) -> Vec<Gaussian> {
        let ghosts = self.ghosts.iter().map(|ghost| Gaussian {
            position: ghost.position,
            ..columns[ghost.twin].gaussian
        });
        columns.iter().map(|c| c.gaussian).chain(ghosts).collect()
    }

    /// What is left of the image without background and columns, weighted by 1/variance.
    pub(super) fn residual(
        &self,
        columns: &[Column],
        background: &Background,
        variance: impl Fn(f64) -> f64 + Sync,
    ) -> Residual {
        let gaussians = self.gaussians(columns);
        let touching = self.touching(&gaussians);
        let shape = self.image.data.raw_dim();
        let (mut weights, mut rests) = (Array2::zeros(shape), Array2::zeros(shape));
        weights
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(rests.axis_iter_mut(Axis(0)))
            .enumerate()
            .for_each_init(
                || vec![0.0; self.image.data.ncols()],
                |line, (row, (mut weights, mut rests))| {
                    background.draw(row, line);
                    let near = touching[row]
                        .iter()
                        .map(|&index| &gaussians[index as usize]);
                    self.draw(row, near, line);
                    Zip::from(&mut weights)
                        .and(&mut rests)
                        .and(self.image.data.row(row))
                        .and(self.usable.row(row))
                        .and(&*line)
                        .for_each(|weight, rest, value, usable, model| {
                            *weight = usable / variance(*model) as f32;
                            *rest = (f64::from(*value) - model) as f32;
                        });
                },
            );
        Residual { weights, rests }
    }

    /// Which Gaussians reach each row.
    fn touching(&self, gaussians: &[Gaussian]) -> Vec<Vec<u32>> {
        let step = self.image.sampling[0];
        let mut touching = vec![Vec::new(); self.image.data.nrows()];
        for (index, gaussian) in gaussians.iter().enumerate() {
            let (reach, y) = (gaussian.reach(), gaussian.position[1]);
            let low = ((y - reach) / step).ceil().max(0.0) as usize;
            let high = ((y + reach) / step).floor().max(-1.0) + 1.0;
            for list in touching.iter_mut().take(high as usize).skip(low) {
                list.push(index as u32);
            }
        }
        touching
    }

    /// Adds Gaussians to a row of the model.
    fn draw<'g>(&self, row: usize, near: impl Iterator<Item = &'g Gaussian>, line: &mut [f64]) {
        let [sy, sx] = self.image.sampling;
        Arch::new().dispatch(|| {
            for gaussian in near {
                let [x, y] = gaussian.position;
                let dy = row as f64 * sy - y;
                let half = (gaussian.reach().powi(2) - dy * dy).max(0.0).sqrt();
                let low = ((x - half) / sx).ceil().max(0.0) as usize;
                let high = ((((x + half) / sx).floor().max(-1.0) + 1.0) as usize).min(line.len());
                if low < high {
                    let place = Row {
                        first: low as f64 * sx - x,
                        step: sx,
                        dy,
                    };
                    draw(&mut line[low..high], gaussian, place);
                }
            }
        });
    }
}
