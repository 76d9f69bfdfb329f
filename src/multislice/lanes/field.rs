//! Functions of the pixel that waves are multiplied with or weighted by.
//!
//! A function is stored column by column, `(x, y)`: the values of neighbouring rows of one column follow each other, and a
//! register takes them from wherever a window of the field begins.

use num_complex::Complex;

use super::super::fft::Real;
use super::aligned::Aligned;
use super::arithmetic::Complexes;
use super::registers::{MOST, Registers};
use super::transform::Factors;

/// A function on the pixels of a field.
pub(in super::super) struct Columns<T> {
    values: Aligned<T>,
    /// From one column to the next: of a complex function real parts and imaginary parts are two columns.
    pitch: usize,
    rows: usize,
}

/// Rows that registers may read below the last one, and an odd number of lines of the cache: columns whose distance is a power
/// of two would fall on the same few lines.
fn pitch(rows: usize) -> usize {
    let lines = (rows + MOST).div_ceil(MOST);
    MOST * (lines + 1 - lines % 2)
}

impl<T: Real> Columns<T> {
    /// A real function from its values `(y, x)`.
    pub(in super::super) fn from_real(values: &[T], cols: usize) -> Self {
        let mut columns = Self::zeros(values.len() / cols, cols);
        for (y, row) in values.chunks_exact(cols).enumerate() {
            for (x, value) in row.iter().enumerate() {
                columns.values[x * columns.pitch + y] = *value;
            }
        }
        columns
    }

    /// A complex function from its values `(y, x)`.
    pub(in super::super) fn from_complex(values: &[Complex<T>], cols: usize) -> Self {
        let mut columns = Self::zeros(values.len() / cols, 2 * cols);
        let pitch = columns.pitch;
        for (y, row) in values.chunks_exact(cols).enumerate() {
            for (x, value) in row.iter().enumerate() {
                columns.values[2 * x * pitch + y] = value.re;
                columns.values[(2 * x + 1) * pitch + y] = value.im;
            }
        }
        columns
    }

    fn zeros(rows: usize, columns: usize) -> Self {
        let pitch = pitch(rows);
        Self {
            values: Aligned::zeros(columns * pitch),
            pitch,
            rows,
        }
    }

    /// Bytes of a real function.
    pub(in super::super) fn bytes((rows, cols): (usize, usize)) -> u64 {
        (cols * pitch(rows) * size_of::<T>()) as u64
    }

    /// The values of a real function, `(y, x)`.
    pub(in super::super) fn to_real(&self) -> Vec<T> {
        let columns = self.values.len() / self.pitch;
        let row = |y: usize| (0..columns).map(move |x| self.values[x * self.pitch + y]);
        (0..self.rows).flat_map(row).collect()
    }

    /// The values of a complex function, `(y, x)`.
    #[cfg(test)]
    pub(in super::super) fn to_complex(&self) -> Vec<Complex<T>> {
        let columns = self.values.len() / self.pitch;
        let row = |y: usize| {
            let value = move |x: usize| {
                let [re, im] = [0, 1].map(|part: usize| self.values[(x + part) * self.pitch + y]);
                Complex::new(re, im)
            };
            (0..columns).step_by(2).map(value)
        };
        (0..self.rows).flat_map(row).collect()
    }

    /// The values of a real function at the rows from `y` on, at column `x`.
    #[inline(always)]
    pub(super) fn real<S: Registers<T>>(&self, y: usize, x: usize) -> S::Lane {
        let start = x * self.pitch + y;
        S::lanes(&self.values[start..start + S::LANES])[0]
    }
}

/// A complex function on some rows.
pub(in super::super) struct Rows<'a, T> {
    pub(in super::super) columns: &'a Columns<T>,
    /// The first row.
    pub(in super::super) top: usize,
    /// The first column.
    pub(in super::super) left: usize,
    /// For each place, its column.
    pub(in super::super) order: &'a [usize],
}

impl<T: Real> Factors<T> for Rows<'_, T> {
    #[inline(always)]
    fn at<S: Registers<T>>(&self, place: usize) -> Complexes<T, S> {
        let column = 2 * (self.left + self.order[place]);
        [
            self.columns.real::<S>(self.top, column),
            self.columns.real::<S>(self.top, column + 1),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let value = |i: usize| Complex::new(i as f32, -1.5 * i as f32);
        let values: Vec<Complex<f32>> = (0..7 * 5).map(value).collect();
        assert_eq!(Columns::from_complex(&values, 5).to_complex(), values);
        let real: Vec<f32> = values.iter().map(|z| z.im).collect();
        assert_eq!(Columns::from_real(&real, 5).to_real(), real);
    }
}
