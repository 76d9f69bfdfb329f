//! The image and its model: columns as Gaussians on a smooth background, drawn on the image's pixels.

use std::ops::Range;

use ndarray::{Array2, Zip, s};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::background::Background;
use super::find::Ghost;
use super::gaussian::Gaussian;
use super::noise::Noise;
use super::rows::{LANES, draw, span};
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

/// What the model leaves of the image. Rows go on for [`LANES`] pixels of weight 0, so that whole strips can be read.
pub(super) struct Residual {
    /// 1/variance of the pixels; 0 for those that are masked.
    weights: Array2<f32>,
    /// Image minus model.
    rests: Array2<f32>,
}

impl Residual {
    /// Nothing yet, for an image of this shape.
    pub(super) fn empty((rows, cols): (usize, usize)) -> Self {
        Self {
            weights: Array2::zeros((rows, cols + LANES)),
            rests: Array2::zeros((rows, cols + LANES)),
        }
    }

    pub(super) fn weights_of(&self, row: usize, across: Range<usize>) -> &[f32] {
        part(&self.weights, row, across)
    }

    pub(super) fn rests_of(&self, row: usize, across: Range<usize>) -> &[f32] {
        part(&self.rests, row, across)
    }

    /// Weights of the strip of pixels from `col` on.
    #[inline(always)]
    pub(super) fn weights_from(&self, row: usize, col: usize) -> &[f32] {
        part(&self.weights, row, col..col + LANES)
    }

    /// Rests of the strip of pixels from `col` on.
    #[inline(always)]
    pub(super) fn rests_from(&self, row: usize, col: usize) -> &[f32] {
        part(&self.rests, row, col..col + LANES)
    }

    /// Weight and rest of one pixel.
    pub(super) fn at(&self, pixel: (usize, usize)) -> [f64; 2] {
        [&self.weights, &self.rests].map(|image| f64::from(image[pixel]))
    }

    /// Weights for the covariance of a fit with weights that are not 1/variance: w² V, where V is the true variance.
    pub(super) fn spread(&self, image: &Array2<f32>, noise: Noise) -> Self {
        let mut weights = self.weights.clone();
        let cols = image.ncols();
        Zip::from(weights.slice_mut(s![.., ..cols]))
            .and(self.rests.slice(s![.., ..cols]))
            .and(image)
            .for_each(|w, r, v| *w = w.powi(2) * noise.variance(f64::from(*v - *r)) as f32);
        Self {
            weights,
            rests: self.rests.clone(),
        }
    }
}

#[cfg(test)]
impl Residual {
    /// Of given weights and rests.
    pub(super) fn of(weights: &Array2<f32>, rests: &Array2<f32>) -> Self {
        let mut residual = Self::empty(weights.dim());
        let within = s![.., ..weights.ncols()];
        residual.weights.slice_mut(within).assign(weights);
        residual.rests.slice_mut(within).assign(rests);
        residual
    }
}

#[inline(always)]
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

    /// Writes what is left of the image without background and columns, weighted by 1/variance.
    pub(super) fn leave(
        &self,
        columns: &[Column],
        background: &Background,
        noise: Noise,
        residual: &mut Residual,
    ) {
        let gaussians = self.gaussians(columns);
        let reaches: Vec<f64> = gaussians.iter().map(Gaussian::reach).collect();
        let touching = self.touching(&gaussians, &reaches);
        let ((rows, cols), [sy, sx]) = (self.image.data.dim(), self.image.sampling);
        let weights = residual.weights.as_slice_mut().unwrap_or_default();
        let rests = residual.rests.as_slice_mut().unwrap_or_default();
        (0..rows)
            .into_par_iter()
            .zip(weights.par_chunks_exact_mut(cols + LANES))
            .zip(rests.par_chunks_exact_mut(cols + LANES))
            .for_each_init(
                || vec![0.0; cols + LANES],
                |line, ((row, weights), rests)| {
                    background.draw(row, &mut line[..cols]);
                    let draw = Draw {
                        gaussians: &gaussians,
                        reaches: &reaches,
                        near: &touching[row],
                        y: row as f64 * sy,
                        step: sx,
                        line,
                    };
                    Arch::new().dispatch(draw);
                    let leave = Leave {
                        model: &line[..cols],
                        values: part(&self.image.data, row, 0..cols),
                        usable: part(self.usable, row, 0..cols),
                        noise,
                        weights: &mut weights[..cols],
                        rests: &mut rests[..cols],
                    };
                    Arch::new().dispatch(leave);
                },
            );
    }

    /// Which Gaussians reach each row.
    fn touching(&self, gaussians: &[Gaussian], reaches: &[f64]) -> Vec<Vec<u32>> {
        let step = self.image.sampling[0];
        let mut touching = vec![Vec::new(); self.image.data.nrows()];
        for (index, (gaussian, reach)) in gaussians.iter().zip(reaches).enumerate() {
            let y = gaussian.position[1];
            let low = ((y - reach) / step).ceil().max(0.0) as usize;
            let high = ((y + reach) / step).floor().max(-1.0) + 1.0;
            for list in touching.iter_mut().take(high as usize).skip(low) {
                list.push(index as u32);
            }
        }
        touching
    }
}

/// Adds Gaussians, with their reaches [Å], to a row of the model.
struct Draw<'a> {
    gaussians: &'a [Gaussian],
    reaches: &'a [f64],
    /// Indices of those that touch the row.
    near: &'a [u32],
    /// Where the row is [Å].
    y: f64,
    /// Pixels along the row [Å].
    step: f64,
    /// Longer than the row by [`LANES`].
    line: &'a mut [f64],
}

impl NullaryFnOnce for Draw<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let cols = self.line.len() - LANES;
        for &index in self.near {
            let (gaussian, reach) = (
                &self.gaussians[index as usize],
                self.reaches[index as usize],
            );
            let [x, y] = gaussian.position;
            let dy = self.y - y;
            let half = (reach * reach - dy * dy).max(0.0).sqrt();
            let across = span(x, half, self.step, cols);
            let end = across.start + across.len().next_multiple_of(LANES);
            let offset = [across.start as f64 * self.step - x, dy];
            draw(
                &mut self.line[across.start..end],
                gaussian,
                offset,
                self.step,
            );
        }
    }
}

/// Weights and rests of a row.
struct Leave<'a> {
    model: &'a [f64],
    values: &'a [f32],
    usable: &'a [f32],
    noise: Noise,
    weights: &'a mut [f32],
    rests: &'a mut [f32],
}

impl NullaryFnOnce for Leave<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let noise = self.noise;
        let pixels = self.model.iter().zip(self.values).zip(self.usable);
        let left = self.weights.iter_mut().zip(self.rests);
        for (((model, value), usable), (weight, rest)) in pixels.zip(left) {
            *weight = usable / noise.variance(*model) as f32;
            *rest = (f64::from(*value) - model) as f32;
        }
    }
}
