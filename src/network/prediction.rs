//! Predictions of an ensemble, sub-image by sub-image and in one pass over a whole image.
//!
//! Nothing in the networks is padded, so a pass over a larger image gives, every model stride s, exactly what the sub-image
//! there gives, at a fraction of the work. A finer grid is stitched from passes that start at shifted pixels
//! (Sermanet et al., OverFeat, ICLR 2014, section 3.3). Passes are cut into tiles, so memory does not grow with the image.

use candle_core::{Device, Tensor};
use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView4, Axis, s};
use rayon::prelude::*;

use super::architecture::OUTPUTS;
use super::loss::variance;
use super::regressor::{Network, Regressor};
use super::resampling::resample;
use super::subimages::{cut_at, standardized};
use crate::crystal::polarization::PolarVector;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::neighbours::Point;

/// Sub-images in one graph.
const CHUNK: usize = 16;
/// Side of a tile of a dense pass, in predictions.
const TILE: usize = 32;
/// Height of a band of a dense map, in predictions of one pass.
const BAND: usize = 4 * TILE;

/// What an ensemble says about n sub-images.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Mean over the networks, D `(n, 2)`, `[dx, dy]` [pm].
    pub mean: Array2<f64>,
    /// Standard deviation over the networks `(n, 2)` [pm]; NaN for a single network.
    pub spread: Array2<f64>,
    /// What the networks themselves say their errors are `(n, 2)` [pm], root of the mean variance over the networks; 0 for a model
    /// without a variance.
    pub noise: Array2<f64>,
    /// Standard deviation of `mean` `(n, 2)` [pm]: scale · √(spread² + noise² + residual²), scale and residual chosen so that the
    /// calibration errors divided by sigma have a mean square of 1.
    pub sigma: Array2<f64>,
}

/// Predictions on a regular grid over an image.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseMap {
    /// Mean D `(rows, cols, 2)`, `[dx, dy]` [pm].
    pub mean: Array3<f64>,
    /// Standard deviation over the networks `(rows, cols, 2)` [pm]; NaN for a single network.
    pub spread: Array3<f64>,
    /// Standard deviation of `mean` `(rows, cols, 2)` [pm], as in [`Predictions`].
    pub sigma: Array3<f64>,
    /// Centre of the first window, the same along x and y [px].
    pub first: f64,
    /// Distance between windows [px].
    pub stride: usize,
}

impl Regressor {
    /// What the ensemble says about `subimages` `(n, 1, y, x)`, cut from a standardized image ([`cut_at`]).
    ///
    /// # Errors
    /// Sub-images of another size than the model's.
    pub fn predict_patches(&self, subimages: ArrayView4<f32>) -> Result<Predictions> {
        let (count, window) = (subimages.dim().0, self.description.window_px);
        if subimages.dim() != (count, 1, window, window) {
            let got = format!("{:?}", subimages.dim());
            let needed = format!("(n, 1, {window}, {window}), the model's window");
            return Err(Error::unmeasurable("predicting on sub-images", got, needed));
        }
        let members = self.ready.iter();
        let members = members.map(|network| patches(network, subimages));
        let members: Vec<Array2<f32>> = members.collect::<Result<_>>()?;
        Ok(self.combine(&members))
    }

    /// What the ensemble says about every window of `image`, standardized and at the model's pixel size, with the windows
    /// `stride` [px] apart. It equals [`Self::predict_patches`] window by window.
    ///
    /// # Errors
    /// An image smaller than the window, or a stride of 0.
    pub fn predict_dense(&self, image: ArrayView2<f32>, stride: usize) -> Result<DenseMap> {
        let window = self.description.window_px;
        let (height, width) = image.dim();
        if height < window || width < window || stride == 0 {
            let got = format!("{height} × {width} px, stride {stride} px");
            let needed = format!(
                "an image of at least {window} × {window} px and a stride of at least 1 px"
            );
            return Err(Error::unmeasurable("predicting on an image", got, needed));
        }
        let (rows, cols) = (
            (height - window) / stride + 1,
            (width - window) / stride + 1,
        );
        let pass = DensePass {
            image,
            window,
            model_stride: self.description.model.stride(),
            stride,
            size: [rows, cols],
        };
        let members: Vec<Array2<f32>> = self
            .ready
            .iter()
            .map(|network| pass.run(network))
            .collect::<Result<_>>()?;
        let ensemble = self.combine(&members);
        let grid = |values: Array2<f64>| {
            values
                .into_shape_with_order((rows, cols, OUTPUTS))
                .map_err(Error::compute("arranging predictions"))
        };
        Ok(DenseMap {
            mean: grid(ensemble.mean)?,
            spread: grid(ensemble.spread)?,
            sigma: grid(ensemble.sigma)?,
            first: (window - 1) as f64 / 2.0,
            stride,
        })
    }

    /// Polar displacements of an image around `points` [Å]; points whose window leaves the image are left out.
    ///
    /// # Errors
    /// A window larger than the image, or an image without contrast.
    pub fn predict_at(&self, image: &Image, points: &[Point]) -> Result<Vec<PolarVector>> {
        let cut = cut_at(image, points, &self.description.subimages)?;
        let found = self.predict_patches(cut.subimages.view())?;
        let flags = self.flags_of_patches(cut.subimages.view());
        let vector = |(i, &position): (usize, &Point)| PolarVector {
            position,
            displacement: [found.mean[(i, 0)], found.mean[(i, 1)]],
            sigma: [found.sigma[(i, 0)], found.sigma[(i, 1)]],
            flags: flags[i],
        };
        Ok(cut.centres.iter().enumerate().map(vector).collect())
    }

    /// Polar displacements of an image on a grid about `stride` [Å] apart, to the nearest whole pixel of the model; without
    /// atom finding. The map is made band by band, so that beside it and the image only one band is in memory.
    ///
    /// # Errors
    /// An image smaller than the window or without contrast.
    pub fn predict_map(&self, image: &Image, stride: f64) -> Result<Vec<PolarVector>> {
        let sampling = self.description.subimages.sampling_angstrom;
        let resampled = resample(&standardized(image)?, image.sampling, sampling);
        let pixels = (stride / sampling).round().max(1.0) as usize;
        let window = self.description.window_px;
        let mut vectors = Vec::new();
        // Bands begin at rows of the map; a multiple of the model's stride keeps the passes few.
        let step = (BAND * self.description.model.stride() / pixels).max(1) * pixels;
        for first in (0..resampled.nrows().saturating_sub(window) + 1).step_by(step) {
            let last = (first + step - pixels + window).min(resampled.nrows());
            let band = resampled.slice(s![first..last, ..]);
            let map = self.predict_dense(band, pixels)?;
            let flags = self.flags_of_windows(band, pixels);
            let (rows, cols, _) = map.mean.dim();
            let place = |index: usize| (map.first + index as f64) * sampling;
            let vector = |(row, col): (usize, usize)| PolarVector {
                position: [place(col * pixels), place(first + row * pixels)],
                displacement: [map.mean[(row, col, 0)], map.mean[(row, col, 1)]],
                sigma: [map.sigma[(row, col, 0)], map.sigma[(row, col, 1)]],
                flags: flags[row * cols + col],
            };
            vectors.extend(ndarray::indices((rows, cols)).into_iter().map(vector));
        }
        Ok(vectors)
    }

    /// Mean, spread and sigma in pm from the outputs `(n, 2)` of each network in units of the scale.
    fn combine(&self, members: &[Array2<f32>]) -> Predictions {
        let scale = self.description.target_scale_pm;
        let count = members.len() as f64;
        let rows = members.first().map_or(0, Array2::nrows);
        let said = self.description.model.variance;
        let values = |at: (usize, usize)| members.iter().map(move |m| f64::from(m[at]) * scale);
        let mean = Array2::from_shape_fn((rows, OUTPUTS), |at| values(at).sum::<f64>() / count);
        let spread = Array2::from_shape_fn((rows, OUTPUTS), |at| {
            let squares = values(at).map(|value| (value - mean[at]).powi(2));
            (squares.sum::<f64>() / (count - 1.0)).sqrt()
        });
        let noise = Array2::from_shape_fn((rows, OUTPUTS), |(row, c)| {
            let variances = members.iter().map(|m| variance(m[(row, OUTPUTS + c)]));
            if said {
                scale * (variances.sum::<f64>() / count).sqrt()
            } else {
                0.0
            }
        });
        let sigma = Array2::zeros((rows, OUTPUTS));
        self.with_sigma(Predictions {
            mean,
            spread,
            noise,
            sigma,
        })
    }

    /// The same predictions, with the standard deviation that this calibration gives them.
    pub(super) fn with_sigma(&self, predictions: Predictions) -> Predictions {
        let (residual, scale) = (self.description.residual_pm, self.description.sigma_scale);
        let Predictions { spread, noise, .. } = &predictions;
        let sigma = Array2::from_shape_fn(spread.raw_dim(), |at| {
            // A single network has no spread.
            let spread: f64 = if spread[at].is_nan() { 0.0 } else { spread[at] };
            scale[at.1] * spread.hypot(noise[at]).hypot(residual[at.1])
        });
        Predictions {
            sigma,
            ..predictions
        }
    }
}

/// Outputs `(n, outputs)` of one network, in units of the scales.
pub(super) fn patches(network: &Network, subimages: ArrayView4<f32>) -> Result<Array2<f32>> {
    let (count, _, height, width) = subimages.dim();
    let chunks: Vec<Vec<f32>> = subimages
        .axis_chunks_iter(Axis(0), CHUNK)
        .into_par_iter()
        .map(|chunk| {
            let shape = (chunk.dim().0, height, width, 1);
            forward(network, chunk.iter().copied().collect(), shape)
        })
        .collect::<Result<_>>()?;
    Array2::from_shape_vec((count, network.architecture.outputs()), chunks.concat())
        .map_err(Error::compute("arranging predictions"))
}

fn forward(
    network: &Network,
    images: Vec<f32>,
    shape: (usize, usize, usize, usize),
) -> Result<Vec<f32>> {
    Tensor::from_vec(images, shape, &Device::Cpu)
        .and_then(|images| {
            let said = match &network.on_device {
                Some(there) => there.forward(&images)?,
                None => network.architecture.forward(&network.tensors, &images)?,
            };
            said.flatten_all()?.to_vec1()
        })
        .map_err(Error::compute("running the network"))
}

/// The passes over one image that give a prediction every `stride` pixels.
struct DensePass<'a> {
    image: ArrayView2<'a, f32>,
    window: usize,
    /// Distance between predictions of one pass [px].
    model_stride: usize,
    /// Distance asked for [px].
    stride: usize,
    /// Rows and columns of the map.
    size: [usize; 2],
}

/// Predictions of one tile along one axis: the pixel where the first window starts, and how many windows.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    count: usize,
}

impl DensePass<'_> {
    /// The map of one network, rows first, in units of the scale.
    fn run(&self, network: &Network) -> Result<Array2<f32>> {
        let outputs = network.architecture.outputs();
        let (down, across) = (
            self.spans(self.image.nrows()),
            self.spans(self.image.ncols()),
        );
        let pairs = down
            .iter()
            .flat_map(|&y| across.iter().map(move |&x| (y, x)));
        let pairs: Vec<(Span, Span)> = pairs.collect();
        let tiles: Vec<Vec<f32>> = pairs
            .par_iter()
            .map(|&(y, x)| self.tile(network, y, x))
            .collect::<Result<_>>()?;
        let mut map = Array2::zeros((self.size[0] * self.size[1], outputs));
        for ((y, x), tile) in pairs.iter().zip(&tiles) {
            let pixels = (0..y.count).flat_map(|i| (0..x.count).map(move |j| (i, j)));
            for ((i, j), vector) in pixels.zip(tile.chunks_exact(outputs)) {
                let (row, col) = (
                    y.start + i * self.model_stride,
                    x.start + j * self.model_stride,
                );
                if row.is_multiple_of(self.stride) && col.is_multiple_of(self.stride) {
                    let index = row / self.stride * self.size[1] + col / self.stride;
                    map.row_mut(index).assign(&ArrayView1::from(vector));
                }
            }
        }
        Ok(map)
    }

    /// Tiles along an axis of `length` pixels, for every shift that meets a multiple of the stride.
    fn spans(&self, length: usize) -> Vec<Span> {
        let step = greatest_common_divisor(self.stride, self.model_stride);
        let mut spans = Vec::new();
        for shift in (0..self.model_stride).step_by(step) {
            let Some(room) = length.checked_sub(self.window + shift) else {
                continue;
            };
            let total = room / self.model_stride + 1;
            spans.extend((0..total).step_by(TILE).map(|first| Span {
                start: shift + first * self.model_stride,
                count: TILE.min(total - first),
            }));
        }
        spans
    }

    /// Outputs of the windows of one tile, rows first.
    fn tile(&self, network: &Network, y: Span, x: Span) -> Result<Vec<f32>> {
        let side = |span: Span| (span.count - 1) * self.model_stride + self.window;
        let (height, width) = (side(y), side(x));
        let tile = self
            .image
            .slice(s![y.start..y.start + height, x.start..x.start + width]);
        forward(
            network,
            tile.iter().copied().collect(),
            (1, height, width, 1),
        )
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}
