//! An image and where its pixels are.

use ndarray::Array2;

/// A scanned image. Row index is y (down), column index is x (right); the origin is the centre of pixel (0, 0).
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Intensities `(rows, cols)`; fraction of the incident beam for simulated images, arbitrary otherwise.
    pub data: Array2<f32>,
    /// Pixel size along `[y, x]` [Å].
    pub sampling: [f64; 2],
}

impl Image {
    /// Height and width of the field, pixel count times pixel size, `[y, x]` [Å].
    #[must_use]
    pub fn extent(&self) -> [f64; 2] {
        let (rows, cols) = self.data.dim();
        [
            rows as f64 * self.sampling[0],
            cols as f64 * self.sampling[1],
        ]
    }

    /// Value at a fractional pixel `(row, col)` by bilinear interpolation, coordinates clamped to the image.
    #[must_use]
    pub fn bilinear(&self, row: f64, col: f64) -> f32 {
        let (rows, cols) = self.data.dim();
        let row = row.clamp(0.0, (rows - 1) as f64);
        let col = col.clamp(0.0, (cols - 1) as f64);
        let (r0, c0) = (row.floor() as usize, col.floor() as usize);
        let (r1, c1) = ((r0 + 1).min(rows - 1), (c0 + 1).min(cols - 1));
        let (fr, fc) = ((row - r0 as f64) as f32, (col - c0 as f64) as f32);
        let top = self.data[(r0, c0)] * (1.0 - fc) + self.data[(r0, c1)] * fc;
        let bottom = self.data[(r1, c0)] * (1.0 - fc) + self.data[(r1, c1)] * fc;
        top * (1.0 - fr) + bottom * fr
    }
}
