//! Functions of the pixel that waves are multiplied with or weighted by.
//!
//! A function is kept in strips of as many rows as a register holds numbers, `(strip, x, row)`: what a tile of rows needs follows
//! each other in memory. A window of the field may begin between two strips; its registers are spliced from both.

use num_complex::Complex;

use super::super::fft::Real;
use super::aligned::Aligned;
use super::arithmetic::complexes_mut;
use super::registers::{Lanes, Registers, Vectors};

/// A function on the pixels of a field.
pub(in super::super) struct Strips<T> {
    values: Aligned<T>,
    rows: usize,
    cols: usize,
    /// Rows of a strip.
    lanes: usize,
    /// 1 for a real function; 2 for a complex one, real parts first.
    parts: usize,
}

impl<T: Lanes> Strips<T> {
    /// A real function from its values `(y, x)`.
    pub(in super::super) fn from_real(values: &[T], cols: usize) -> Self {
        Self::new(values.len() / cols, cols, 1, |pixel, _| values[pixel])
    }

    /// A complex function from its values `(y, x)`.
    pub(in super::super) fn from_complex(values: &[Complex<T>], cols: usize) -> Self {
        Self::new(values.len() / cols, cols, 2, |pixel, part| {
            [values[pixel].re, values[pixel].im][part]
        })
    }

    fn new(rows: usize, cols: usize, parts: usize, value: impl Fn(usize, usize) -> T) -> Self {
        let lanes = T::count(Vectors::of_processor());
        let mut strips = Self {
            values: Aligned::zeros(Self::length(rows, cols, parts, lanes)),
            rows,
            cols,
            lanes,
            parts,
        };
        for y in 0..rows {
            for x in 0..cols {
                for part in 0..parts {
                    let place = strips.place(y, x, part);
                    strips.values[place] = value(y * cols + x, part);
                }
            }
        }
        strips
    }

    /// Below the last row there are zeros, where the last tile of a window may end, and what is spliced to it.
    fn length(rows: usize, cols: usize, parts: usize, lanes: usize) -> usize {
        (rows.div_ceil(lanes) + 2) * lanes * cols * parts
    }

    /// Bytes of a function of `parts` numbers a pixel.
    pub(in super::super) fn bytes((rows, cols): (usize, usize), parts: usize) -> u64 {
        let lanes = T::count(Vectors::of_processor());
        (Self::length(rows, cols, parts, lanes) * size_of::<T>()) as u64
    }

    /// The values of a real function, `(y, x)`.
    pub(in super::super) fn to_real(&self) -> Vec<T> {
        let row = |y: usize| (0..self.cols).map(move |x| self.values[self.place(y, x, 0)]);
        (0..self.rows).flat_map(row).collect()
    }

    /// The values of a complex function, `(y, x)`.
    #[cfg(test)]
    pub(in super::super) fn to_complex(&self) -> Vec<Complex<T>> {
        let value = |y, x| [0, 1].map(|part| self.values[self.place(y, x, part)]);
        let row = |y: usize| (0..self.cols).map(move |x| value(y, x));
        let pixels = (0..self.rows).flat_map(row);
        pixels.map(|[re, im]| Complex::new(re, im)).collect()
    }
}

impl<T: Real> Strips<T> {
    fn place(&self, y: usize, x: usize, part: usize) -> usize {
        let strip = y / self.lanes * self.cols;
        ((strip + x) * self.parts + part) * self.lanes + y % self.lanes
    }

    /// The strips that hold the rows from `top` on, and how many rows above them the first begins.
    #[inline(always)]
    pub(super) fn strips<S: Registers<T>>(&self, top: usize) -> ([&[S::Lane]; 2], usize) {
        let length = self.cols * self.parts * S::LANES;
        let start = top / S::LANES * length;
        let upper = S::lanes(&self.values[start..start + length]);
        let lower = S::lanes(&self.values[start + length..start + 2 * length]);
        ([upper, lower], top % S::LANES)
    }

    /// Copies a complex function on the rows from `top` and the columns from `left` on into a tile, column `x` of these to the
    /// place `places[x]`.
    #[inline(always)]
    pub(in super::super) fn copy_rows<S: Registers<T>>(
        &self,
        simd: S,
        [top, left]: [usize; 2],
        places: &[usize],
        tile: &mut [T],
    ) {
        let ([upper, lower], above) = self.strips::<S>(top);
        let tile = complexes_mut::<T, S>(tile);
        let columns = 2 * left..2 * (left + places.len());
        let upper = upper[columns.clone()].as_chunks::<2>().0;
        let lower = lower[columns].as_chunks::<2>().0;
        if above == 0 {
            for (values, &place) in upper.iter().zip(places) {
                tile[place] = *values;
            }
            return;
        }
        for ((upper, lower), &place) in upper.iter().zip(lower).zip(places) {
            tile[place] = [
                simd.splice(upper[0], lower[0], above),
                simd.splice(upper[1], lower[1], above),
            ];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::registers::Kernel;
    use super::*;

    struct Copied<'a> {
        strips: &'a Strips<f32>,
        corner: [usize; 2],
        places: &'a [usize],
    }

    impl Kernel<f32> for Copied<'_> {
        type Output = Vec<f32>;

        fn run<S: Registers<f32>>(self, simd: S) -> Vec<f32> {
            let mut tile = vec![0.0; 2 * S::LANES * self.places.len()];
            let Self {
                strips,
                corner,
                places,
            } = self;
            strips.copy_rows(simd, corner, places, &mut tile);
            tile
        }
    }

    fn values(rows: usize, cols: usize) -> Vec<Complex<f32>> {
        let value = |i: usize| Complex::new(i as f32, -1.5 * i as f32);
        (0..rows * cols).map(value).collect()
    }

    #[test]
    fn values_come_back_as_they_were() {
        let values = values(37, 5);
        assert_eq!(Strips::from_complex(&values, 5).to_complex(), values);
        let real: Vec<f32> = values.iter().map(|z| z.im).collect();
        assert_eq!(Strips::from_real(&real, 5).to_real(), real);
    }

    /// From every row and column on, beyond the last row zeros.
    #[test]
    fn a_window_may_begin_anywhere() {
        let (rows, cols) = (37, 6);
        let values = values(rows, cols);
        let strips = Strips::from_complex(&values, cols);
        let lanes = f32::count(Vectors::of_processor());
        let places = [2, 0, 1];
        for top in 0..rows {
            for left in 0..=cols - places.len() {
                let corner = [top, left];
                let work = Copied {
                    strips: &strips,
                    corner,
                    places: &places,
                };
                let tile = f32::run(Vectors::of_processor(), work);
                for (x, place) in places.iter().enumerate() {
                    for l in 0..lanes {
                        let expected = values.get((top + l) * cols + left + x);
                        let expected = expected.copied().unwrap_or_default();
                        let start = 2 * place * lanes + l;
                        assert_eq!(tile[start], expected.re, "{corner:?}");
                        assert_eq!(tile[start + lanes], expected.im, "{corner:?}");
                    }
                }
            }
        }
    }
}
