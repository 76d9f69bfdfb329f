//! The crate's Fourier transform for images that are no waves.

use ndarray::Array2;
use num_complex::Complex;

use super::fft::Fft2;

/// Transforms of images of one shape: forward exp(−2πi k·r) without a factor, inverse with 1/N.
pub struct ImageTransform {
    fft: Fft2<f64>,
}

impl ImageTransform {
    /// Plans for images of `shape` `(rows, cols)`.
    #[must_use]
    pub fn new(shape: (usize, usize)) -> Self {
        Self {
            fft: Fft2::new(shape),
        }
    }

    /// The spectrum `(ky, kx)` of an image, both axes from frequency zero up and on from the most negative one.
    ///
    /// # Panics
    /// The image has another shape than the plans.
    #[must_use]
    pub fn forward(&self, image: &Array2<f64>) -> Array2<Complex<f64>> {
        assert_eq!(image.dim(), (self.fft.rows, self.fft.cols), "shape");
        let mut field: Vec<Complex<f64>> = image.iter().map(|&v| Complex::new(v, 0.0)).collect();
        self.fft.forward(&mut field, &mut self.fft.scratch());
        Array2::from_shape_fn(image.dim(), |(row, col)| field[row * self.fft.cols + col])
    }

    /// The real part of the image of a spectrum.
    ///
    /// # Panics
    /// The spectrum has another shape than the plans.
    #[must_use]
    pub fn inverse(&self, spectrum: &Array2<Complex<f64>>) -> Array2<f64> {
        assert_eq!(spectrum.dim(), (self.fft.rows, self.fft.cols), "shape");
        let mut field: Vec<Complex<f64>> = spectrum.iter().copied().collect();
        self.fft.inverse(&mut field, &mut self.fft.scratch());
        Array2::from_shape_fn(spectrum.dim(), |(row, col)| {
            field[row * self.fft.cols + col].re
        })
    }
}
