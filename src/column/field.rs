//! The image and its model: columns as Gaussians, drawn on the image's pixels.

use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis};

use super::find::Ghost;
use super::gaussian::Gaussian;
use super::lattice::length;
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
    /// Whether its shape was free in that fit.
    pub(super) free: bool,
    /// Where the search put it [Å].
    pub(super) start: Point,
    /// Which of the two sublattices, before they are told apart.
    pub(super) class: usize,
}

/// An image, and what is needed to place columns on it.
pub(super) struct Field<'a> {
    pub(super) image: &'a Image,
    pub(super) ghosts: &'a [Ghost],
    /// Pitch of the A lattice [Å].
    pub(super) pitch: f64,
    /// Radius of the fit window [Å].
    pub(super) radius: f64,
}

impl Field<'_> {
    /// A length in pitches as pixels along `[y, x]`.
    pub(super) fn pixels_per(&self, pitches: f64) -> [f64; 2] {
        self.image.sampling.map(|s| pitches * self.pitch / s)
    }

    /// Whether a pixel is half a pitch or more from the border: farther out, tails of columns beyond it are not all known.
    pub(super) fn is_inner(&self, pixel: (usize, usize)) -> bool {
        let inner = |at: usize, count: usize, step: f64| {
            at.min(count - 1 - at) as f64 * step >= 0.5 * self.pitch
        };
        let (rows, cols) = self.image.data.dim();
        let [sy, sx] = self.image.sampling;
        inner(pixel.0, rows, sy) && inner(pixel.1, cols, sx)
    }

    /// The pixel nearest to a point of the image.
    pub(super) fn nearest(&self, at: Point) -> (usize, usize) {
        let (rows, cols) = self.image.data.dim();
        let [sy, sx] = self.image.sampling;
        let index = |x: f64, last: usize| (x.round().max(0.0) as usize).min(last);
        (index(at[1] / sy, rows - 1), index(at[0] / sx, cols - 1))
    }

    /// Pixels `(row, col)` within the window around a point, with their positions [Å].
    pub(super) fn window(
        &self,
        centre: Point,
        radius: f64,
    ) -> impl Iterator<Item = ((usize, usize), Point)> + use<> {
        let (rows, cols) = self.image.data.dim();
        let [sy, sx] = self.image.sampling;
        let range = |at: f64, step: f64, count: usize| {
            let low = ((at - radius) / step).ceil().max(0.0) as usize;
            let high = ((at + radius) / step).floor().max(-1.0) + 1.0;
            low..(high as usize).min(count)
        };
        let across = range(centre[0], sx, cols);
        range(centre[1], sy, rows).flat_map(move |row| {
            across.clone().filter_map(move |col| {
                let at = [col as f64 * sx, row as f64 * sy];
                let near = length([at[0] - centre[0], at[1] - centre[1]]) <= radius;
                near.then_some(((row, col), at))
            })
        })
    }

    /// All columns, and those just outside the image, with their class.
    pub(super) fn gaussians(&self, columns: &[Column]) -> Vec<(Gaussian, usize)> {
        let ghosts = self.ghosts.iter().map(|ghost| {
            let twin = &columns[ghost.twin];
            let gaussian = Gaussian {
                position: ghost.position,
                ..twin.gaussian
            };
            (gaussian, twin.class)
        });
        let inside = columns.iter().map(|c| (c.gaussian, c.class));
        inside.chain(ghosts).collect()
    }

    /// The sum of all peaks on the image's pixels.
    pub(super) fn model(&self, columns: &[Column]) -> Array2<f64> {
        let [sy, sx] = self.image.sampling;
        let (rows, cols) = self.image.data.dim();
        let mut touching: Vec<Vec<(usize, f64)>> = vec![Vec::new(); rows];
        let gaussians = self.gaussians(columns);
        for (index, (gaussian, _)) in gaussians.iter().enumerate() {
            let reach = gaussian.reach();
            let y = gaussian.position[1];
            let low = ((y - reach) / sy).ceil().max(0.0) as usize;
            let high = ((y + reach) / sy).floor().max(-1.0) + 1.0;
            for list in touching.iter_mut().take(high as usize).skip(low) {
                list.push((index, reach));
            }
        }
        let mut model = Array2::zeros((rows, cols));
        model
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .enumerate()
            .for_each(|(row, mut line)| {
                for &(index, reach) in &touching[row] {
                    let gaussian = &gaussians[index].0;
                    let x = gaussian.position[0];
                    let low = ((x - reach) / sx).ceil().max(0.0) as usize;
                    let high = (((x + reach) / sx).floor().max(-1.0) + 1.0) as usize;
                    for col in low..high.min(cols) {
                        line[col] += gaussian.peak([col as f64 * sx, row as f64 * sy]);
                    }
                }
            });
        model
    }
}
