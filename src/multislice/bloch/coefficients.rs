//! A periodic image as its Fourier coefficients, exact at every position.

use std::f64::consts::TAU;

use ndarray::{Array3, Array4, ArrayView2, Axis, s};
use num_complex::Complex;
use rayon::prelude::*;

use crate::neighbours::Point;

/// The images of a periodic cell: I(r) = Σ_h F\[h\] exp(2πi h·r), h the frequencies of the cell up to the diameter of the
/// aperture. A blur is a factor on each F\[h\].
#[derive(Debug, Clone, PartialEq)]
pub struct ImageCoefficients {
    /// F, `(channel, thickness, h_y, h_x)`; the middle of the last two axes is h = 0, neighbours are 1/L apart.
    pub values: Array4<Complex<f64>>,
    /// Height and width of the cell `[y, x]` [Å].
    pub extent: [f64; 2],
}

impl ImageCoefficients {
    /// The images at positions `[x, y]` [Å], `(channel, thickness, position)`.
    #[must_use]
    pub fn at(&self, positions: &[Point]) -> Array3<f64> {
        let (channels, exits, rows, cols) = self.values.dim();
        let mut images = Array3::zeros((positions.len(), channels, exits));
        images
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(positions)
            .for_each(|(mut image, &[x, y])| {
                let (across, along) = (
                    waves(cols, x / self.extent[1]),
                    waves(rows, y / self.extent[0]),
                );
                for ((channel, exit), value) in image.indexed_iter_mut() {
                    let values = self.values.slice(s![channel, exit, .., ..]);
                    *value = sum(values, &across, &along);
                }
            });
        images
            .permuted_axes([1, 2, 0])
            .as_standard_layout()
            .into_owned()
    }
}

/// Σ F\[h\] exp(2πi h·r), of which only the real part is other than zero.
fn sum(
    values: ArrayView2<'_, Complex<f64>>,
    across: &[Complex<f64>],
    along: &[Complex<f64>],
) -> f64 {
    let line = |(row, along): (ndarray::ArrayView1<'_, Complex<f64>>, &Complex<f64>)| {
        let terms = row.into_iter().zip(across);
        (along
            * terms
                .map(|(value, wave)| value * wave)
                .sum::<Complex<f64>>())
        .re
    };
    values.rows().into_iter().zip(along).map(line).sum()
}

/// exp(2πi h u) for the `count` whole h around 0.
fn waves(count: usize, u: f64) -> Vec<Complex<f64>> {
    let middle = (count / 2) as f64;
    (0..count)
        .map(|h| Complex::cis(TAU * (h as f64 - middle) * u))
        .collect()
}
