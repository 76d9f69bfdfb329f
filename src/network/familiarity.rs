//! Whether a window looks like anything that the networks were trained on.
//!
//! A network answers whatever it is shown, and its sigma only holds for windows like those of the training. The distance of a window from the
//! training data is that from the nearest of a thousand training windows, seen through their principal components; what these
//! cannot show counts in full. With x the window, m the mean of the training windows, V the components (rows, orthonormal) and c = V(x − m):
//!
//! d² = [min over references r of |c − c_r|² + |x − m|² − |c|²] / pixels,
//!
//! the root mean square, in standard deviations of the image, by which it differs from a training window whose noise has been taken
//! away. Noise, another lattice and vacuum are far from all of them in one of the two terms; a single Gaussian would not do, since windows of a
//! grid lie on a torus around an empty middle, which is where vacuum lies. A window counts as unlike from a distance on that one in a
//! thousand of the calibration samples exceeds.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use ndarray::{Array1, Array2, ArrayView2, ArrayView4, Axis, s};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::calibration::Conformal;
use super::checkpoint::{read_tensors, write_tensors};
use super::regressor::Regressor;
use super::supply::{Supply, pieces};
use crate::crystal::polarization::flags;
use crate::error::{Error, Result};
use crate::rng::{Rng, stream};

/// Principal components, at most.
const COMPONENTS: usize = 32;
/// Training windows that are looked at.
const WINDOWS: usize = 2048;
/// Of them, those that new windows are compared with.
const REFERENCES: usize = 1024;
/// Rounds of the subspace iteration: components of small variance need not be exact, since what they miss counts all the same.
const ROUNDS: usize = 12;
/// Calibration samples nearer than the threshold.
const QUANTILE: f64 = 0.999;
/// Windows that are looked at together.
const CHUNK: usize = 256;

/// From where on a window is unlike the training data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Largest distance of a window that is like them [standard deviations of the image].
    pub distance: f64,
    /// Fraction of the calibration samples within.
    pub quantile: f64,
    /// Calibration samples; with fewer than 999 it is the largest distance among them.
    pub samples: usize,
}

/// What the training data look like.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Familiarity {
    /// Mean window `(pixels)`.
    mean: Array1<f32>,
    /// Components `(components, pixels)`, orthonormal.
    components: Array2<f32>,
    /// Coefficients of training windows `(references, components)`.
    references: Array2<f32>,
}

impl Familiarity {
    /// Which of `count` samples are looked at, rising.
    pub(super) fn chosen(count: usize, seed: u64) -> Vec<usize> {
        if count <= WINDOWS {
            return (0..count).collect();
        }
        let mut rng = stream(seed, "familiar", 0);
        // One out of each of as many equal pieces.
        let place = |n: usize| n * count / WINDOWS;
        (0..WINDOWS)
            .map(|n| rng.random_range(place(n)..place(n + 1)))
            .collect()
    }

    /// From training windows of side `window` [px], one after the other in `pixels`.
    pub(super) fn learn(pixels: Vec<f32>, window: usize, seed: u64) -> Result<Self> {
        let size = window * window;
        let mut windows = Array2::from_shape_vec((pixels.len() / size, size), pixels)
            .map_err(Error::compute("arranging windows"))?;
        let mean = windows
            .mean_axis(Axis(0))
            .unwrap_or_else(|| Array1::zeros(size));
        windows -= &mean;
        let components = principal(&windows, seed);
        let step = windows.nrows().div_ceil(REFERENCES).max(1);
        let some = windows.slice(s![..;step, ..]);
        Ok(Self {
            references: some.dot(&components.t()),
            mean,
            components,
        })
    }

    /// Distances of windows `(n, pixels)`.
    fn distances(&self, windows: &Array2<f32>) -> Vec<f64> {
        let centred = windows - &self.mean;
        let coefficients = centred.dot(&self.components.t());
        let rows = centred.outer_iter().zip(coefficients.outer_iter());
        let distance = |(pixels, own): (ndarray::ArrayView1<f32>, ndarray::ArrayView1<f32>)| {
            let square = |values: ndarray::ArrayView1<f32>| {
                values.iter().map(|v| f64::from(v * v)).sum::<f64>()
            };
            let nearest = self.references.outer_iter().map(|reference| {
                let apart = own.iter().zip(reference);
                apart.map(|(a, b)| (a - b) * (a - b)).sum::<f32>()
            });
            let nearest = f64::from(nearest.fold(f32::INFINITY, f32::min));
            let hidden = (square(pixels) - square(own)).max(0.0);
            ((nearest + hidden) / self.mean.len() as f64).sqrt()
        };
        rows.map(distance).collect()
    }

    /// Writes it as safetensors.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let tensor = |values: Vec<f32>, shape: &[usize]| {
            Tensor::from_vec(values, shape, &Device::Cpu)
                .map_err(Error::compute("collecting windows"))
        };
        let matrix = |array: &Array2<f32>| tensor(array.iter().copied().collect(), array.shape());
        let tensors = HashMap::from([
            (
                "mean".to_owned(),
                tensor(self.mean.to_vec(), self.mean.shape())?,
            ),
            ("components".to_owned(), matrix(&self.components)?),
            ("references".to_owned(), matrix(&self.references)?),
        ]);
        write_tensors(path, &tensors)
    }

    /// Reads it, for windows of side `window` [px].
    ///
    /// # Errors
    /// The file is missing, damaged, or of another window.
    pub(super) fn read(path: &Path, window: usize) -> Result<Self> {
        let tensors = read_tensors(path)?;
        let matrix = |name: &str| {
            let found = tensors.get(name).and_then(|tensor| {
                let shape = match *tensor.dims() {
                    [cols] => (1, cols),
                    [rows, cols] => (rows, cols),
                    _ => return None,
                };
                let values: Vec<f32> = tensor.flatten_all().ok()?.to_vec1().ok()?;
                Array2::from_shape_vec(shape, values).ok()
            });
            let sound = found.filter(|array| array.iter().all(|v| v.is_finite()));
            sound.ok_or_else(|| {
                Error::data(path, name, "nothing, or damaged numbers", "F32 numbers")
            })
        };
        let (mean, components, references) = (
            matrix("mean")?,
            matrix("components")?,
            matrix("references")?,
        );
        let size = window * window;
        let fits = mean.ncols() == size
            && components.ncols() == size
            && references.ncols() == components.nrows();
        if !fits {
            let got = format!(
                "{:?}, {:?}, {:?}",
                mean.shape(),
                components.shape(),
                references.shape()
            );
            let allowed = format!("({size}), (k, {size}), (n, k), of a window of {window} px");
            return Err(Error::data(path, "shapes", got, allowed));
        }
        Ok(Self {
            mean: mean.row(0).to_owned(),
            components,
            references,
        })
    }
}

/// Orthonormal rows that span the directions of largest variance, by subspace iteration (Golub and Van Loan, Matrix Computations, section
/// 8.2.4).
fn principal(windows: &Array2<f32>, seed: u64) -> Array2<f32> {
    let (count, size) = windows.dim();
    let number = COMPONENTS.min(size).min(count.max(1));
    let mut rng = stream(seed, "components", 0);
    let mut components = Array2::from_shape_fn((number, size), |_| StandardNormal.sample(&mut rng));
    orthonormalize(&mut components);
    for _ in 0..ROUNDS {
        components = windows.dot(&components.t()).t().dot(windows);
        orthonormalize(&mut components);
    }
    components
}

/// Gram and Schmidt, twice, which is enough; rows that depend on others become zero.
fn orthonormalize(rows: &mut Array2<f32>) {
    for index in 0..rows.nrows() {
        let (before, mut rest) = rows.view_mut().split_at(Axis(0), index);
        let mut row = rest.row_mut(0);
        let first: f32 = row.dot(&row).sqrt();
        for _ in 0..2 {
            for other in before.outer_iter() {
                let part = row.dot(&other);
                row.scaled_add(-part, &other);
            }
        }
        let length: f32 = row.dot(&row).sqrt();
        // What is left of a dependent row is rounding.
        let factor = if length > 1e-4 * first {
            1.0 / length
        } else {
            0.0
        };
        row.mapv_inplace(|v| v * factor);
    }
}

impl Regressor {
    /// How far each of `subimages` `(n, 1, y, x)` is from the training data [standard deviations of the image]; nothing for models of older
    /// versions, which do not know.
    #[must_use]
    pub fn distances(&self, subimages: ArrayView4<f32>) -> Option<Vec<f64>> {
        let familiar = self.familiar.as_ref()?;
        let size = subimages.dim().2 * subimages.dim().3;
        let chunks: Vec<Vec<f64>> = subimages
            .axis_chunks_iter(Axis(0), CHUNK)
            .into_par_iter()
            .map(|chunk| {
                let pixels: Vec<f32> = chunk.iter().copied().collect();
                let windows = Array2::from_shape_vec((chunk.dim().0, size), pixels);
                windows.map_or(Vec::new(), |windows| familiar.distances(&windows))
            })
            .collect();
        Some(chunks.concat())
    }

    /// Flags of sub-images: whether they are unlike the training data.
    pub(super) fn flags_of_patches(&self, subimages: ArrayView4<f32>) -> Vec<u32> {
        let count = subimages.dim().0;
        match self.distances(subimages) {
            Some(distances) => distances.into_iter().map(|d| self.flag(d)).collect(),
            None => vec![0; count],
        }
    }

    /// Flags of all samples of a supply: whether they are unlike the training data.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn flags_of_supply(&self, samples: &dyn Supply) -> Result<Vec<u32>> {
        let mut flags = Vec::new();
        pieces(samples, |piece| {
            flags.extend(self.flags_of_patches(piece.subimages.view()));
            Ok(())
        })?;
        Ok(flags)
    }

    /// Flags of the windows of a standardized image every `stride` [px], rows first.
    pub(super) fn flags_of_windows(&self, image: ArrayView2<f32>, stride: usize) -> Vec<u32> {
        let window = self.description.window_px;
        let count = |length: usize| (length - window) / stride + 1;
        let (rows, cols) = (count(image.nrows()), count(image.ncols()));
        let Some(familiar) = &self.familiar else {
            return vec![0; rows * cols];
        };
        let flags: Vec<Vec<u32>> = (0..(rows * cols).div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let places = chunk * CHUNK..(rows * cols).min((chunk + 1) * CHUNK);
                let mut windows = Array2::zeros((places.len(), window * window));
                for (mut row, place) in windows.outer_iter_mut().zip(places) {
                    let (y, x) = (place / cols * stride, place % cols * stride);
                    let from = image.slice(s![y..y + window, x..x + window]);
                    row.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
                }
                let distances = familiar.distances(&windows);
                distances.into_iter().map(|d| self.flag(d)).collect()
            })
            .collect();
        flags.concat()
    }

    fn flag(&self, distance: f64) -> u32 {
        let unlike = self.description.familiarity.is_some_and(|t| {
            // Numbers that are not finite are unlike everything.
            distance.is_nan() || distance > t.distance
        });
        if unlike { flags::UNLIKE } else { 0 }
    }

    /// Sets from where on a window is unlike the training data.
    pub(super) fn set_threshold(&mut self, samples: &dyn Supply) -> Result<()> {
        let mut distances = Vec::new();
        pieces(samples, |piece| {
            distances.extend(self.distances(piece.subimages.view()).unwrap_or_default());
            Ok(())
        })?;
        let largest = distances.iter().copied().fold(0.0, f64::max);
        let samples = distances.len();
        let quantile = Conformal::new(distances, &[QUANTILE]).quantiles[0];
        self.description.familiarity = self.familiar.as_ref().map(|_| Threshold {
            distance: quantile.min(largest),
            quantile: QUANTILE,
            samples,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_orthonormal_and_hold_the_variance_that_there_is() {
        // Windows of three patterns of falling weight.
        let mut rng = stream(1, "patterns", 0);
        let patterns = Array2::from_shape_fn((3, 100), |_| {
            let deviate: f32 = StandardNormal.sample(&mut rng);
            deviate
        });
        let weights = Array2::from_shape_fn((200, 3), |(_, c)| {
            let deviate: f32 = StandardNormal.sample(&mut rng);
            deviate / [1.0, 3.0, 10.0][c]
        });
        let windows = weights.dot(&patterns);
        let components = principal(&windows, 1);
        let shown = windows.dot(&components.t()).dot(&components);
        let missed = (&windows - &shown)
            .iter()
            .fold(0.0_f32, |worst, v| worst.max(v.abs()));
        // f32 sums of a hundred numbers near 1.
        assert!(missed < 1e-4, "{missed}");
        let gram = components.dot(&components.t());
        for ((i, j), value) in gram.indexed_iter() {
            let own = f32::from(u8::from(i == j));
            // A fourth direction is rounding, and becomes nothing.
            assert!(
                (value - own).abs() < 1e-4 || (i == j && i >= 3 && *value == 0.0),
                "{i} {j} {value}"
            );
        }
    }

    #[test]
    fn chosen_samples_rise_and_cover_all() {
        assert_eq!(Familiarity::chosen(5, 1), [0, 1, 2, 3, 4]);
        let chosen = Familiarity::chosen(100_000, 1);
        assert!(chosen.len() == WINDOWS && chosen.is_sorted() && chosen[WINDOWS - 1] < 100_000);
    }
}
