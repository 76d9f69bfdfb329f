//! From the scattering matrix to the waves of probes: ψ(r) = Σ_k Ψ(k) exp(−2πi k·r₀) S(r, k) on a window around r₀.
//!
//! The phase separates, exp(−2πi k_x x₀) exp(−2πi k_y y₀). For a line of probes, which share y₀, the sum over k_y is done once and
//! leaves one wave for each k_x; a probe then adds up some fifty waves in place of two thousand. Both sums are exact.

use std::f64::consts::TAU;

use num_complex::Complex;
use rayon::prelude::*;

use super::super::band::Band;
use super::super::fft::{Fft2, Scratch};
use super::super::lanes::Lanes;
use super::combination::{Coefficients, Rows};
use super::matrix::{Matrix, spread};
use super::raster::{Field, Group, Piece, stretches};

/// A beam of the probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beam {
    /// Its pixel `[row, col]` of the spectrum.
    pub(super) pixel: [usize; 2],
    /// Its frequency `[x, y]` [1/Å].
    pub(super) frequency: [f64; 2],
}

/// What the waves of the matrix are on.
pub(super) struct Plane<'a, T: Lanes> {
    pub(super) field: &'a Field,
    pub(super) band: &'a Band,
    pub(super) fft: &'a Fft2<T>,
    /// All beams, sorted by column.
    pub(super) beams: &'a [Beam],
}

/// For each line of a group, the sum over the beams of each column of the spectrum, in real space.
pub(super) struct Lines<T> {
    /// `(y, line, column, x)`, rows parted.
    values: Vec<T>,
    /// k_x of each column [1/Å].
    frequencies: Vec<f64>,
    /// First row, perhaps beyond the field.
    top: i64,
    /// From row to row.
    pitch: usize,
}

/// The beams of one column of the spectrum, ready to be summed for each line.
struct Column<T> {
    first: usize,
    coefficients: Coefficients<T>,
}

impl<T: Lanes> Plane<'_, T> {
    /// Sums the beams of `matrix`, which the probe lets through with the weights `spectrum`, for each line.
    pub(super) fn lines(
        &self,
        matrix: &Matrix<T>,
        spectrum: &[Complex<f64>],
        group: &Group,
    ) -> Lines<T> {
        let (columns, frequencies) = self.columns(matrix, spectrum, &group.lines);
        let corner = |y: &f64| self.field.corner([0.0, *y], matrix.plane)[0];
        let tops: Vec<i64> = group.lines.iter().map(corner).collect();
        let [rows, cols] = self.field.shape;
        let depth = tops.last().map_or(0, |last| (last - tops[0]) as usize);
        let span = self.field.window[0] + depth;
        let pitch = tops.len() * columns.len() * 2 * cols;
        let mut values = vec![T::zero(); span * pitch];
        values
            .par_chunks_exact_mut(pitch)
            .enumerate()
            .for_each_init(
                || Mixed::new(self, tops.len()),
                |mixed, (offset, row)| {
                    let y = (tops[0] + offset as i64).rem_euclid(rows as i64) as usize;
                    for (number, column) in columns.iter().enumerate() {
                        mixed.sum(column, matrix, y);
                        for line in 0..tops.len() {
                            let start = (line * columns.len() + number) * 2 * cols;
                            mixed.place(self, line, &mut row[start..start + 2 * cols]);
                        }
                    }
                },
            );
        Lines {
            values,
            frequencies,
            top: tops[0],
            pitch,
        }
    }

    /// The columns that the beams of `matrix` lie in, and their k_x.
    fn columns(
        &self,
        matrix: &Matrix<T>,
        spectrum: &[Complex<f64>],
        lines: &[f64],
    ) -> (Vec<Column<T>>, Vec<f64>) {
        let mut first = matrix.beams.start;
        let beams = &self.beams[matrix.beams.clone()];
        let column = |beams: &[Beam]| {
            let weights = &spectrum[first..first + beams.len()];
            let coefficients = Coefficients::new(lines.len(), beams.len(), |line, beam| {
                weights[beam] * Complex::cis(-TAU * beams[beam].frequency[1] * lines[line])
            });
            let column = Column {
                first,
                coefficients,
            };
            first += beams.len();
            (column, beams[0].frequency[0])
        };
        let same = |a: &Beam, b: &Beam| a.pixel[1] == b.pixel[1];
        beams.chunk_by(same).map(column).unzip()
    }
}

/// The memory of one thread: a row of a column's sums, `(line, kx)`, and its way to x.
struct Mixed<T: Lanes> {
    sums: Vec<T>,
    kept: usize,
    row: Vec<Complex<T>>,
    scratch: Scratch<T>,
}

impl<T: Lanes> Mixed<T> {
    fn new(plane: &Plane<'_, T>, lines: usize) -> Self {
        let kept = plane.band.kx().len();
        Self {
            sums: vec![T::zero(); lines * 2 * kept],
            kept,
            row: vec![Complex::default(); plane.fft.cols],
            scratch: plane.fft.scratch(),
        }
    }

    /// Row y of the sum over a column's beams.
    fn sum(&mut self, column: &Column<T>, matrix: &Matrix<T>, y: usize) {
        self.sums.fill(T::zero());
        let rows = matrix.rows(column.first, y);
        let coefficients = &column.coefficients;
        coefficients.add(rows, (0, self.kept), &mut self.sums, self.kept);
    }

    /// From kx to x.
    fn place(&mut self, plane: &Plane<'_, T>, line: usize, out: &mut [T]) {
        let width = 2 * self.kept;
        let sums = &self.sums[line * width..(line + 1) * width];
        spread(sums, plane.band, &mut self.row);
        plane.fft.row_inverse(&mut self.row, &mut self.scratch);
        let (re, im) = out.split_at_mut(self.row.len());
        for ((re, im), value) in re.iter_mut().zip(im).zip(&self.row) {
            (*re, *im) = (value.re, value.im);
        }
    }
}

/// The waves of the probes of a piece, on rows of their windows and the columns that these cover together.
pub(super) struct Waves<T> {
    /// `(y, probe, x)`, rows parted.
    values: Vec<T>,
    /// First column of each probe's window, in `values`.
    lefts: Vec<usize>,
    /// First row and column, perhaps beyond the field.
    corner: [i64; 2],
    /// Columns.
    span: usize,
    window: [usize; 2],
}

impl<T: Lanes> Waves<T> {
    /// No waves yet.
    pub(super) fn new(field: &Field, piece: &Piece, plane: usize) -> Self {
        let corner = |(_, position): &(usize, _)| field.corner(*position, plane);
        let corners: Vec<[i64; 2]> = piece.probes.iter().map(corner).collect();
        let left = |[_, left]: &[i64; 2]| (left - corners[0][1]) as usize;
        let lefts: Vec<usize> = corners.iter().map(left).collect();
        let span = field.window[1] + lefts.last().copied().unwrap_or(0);
        Self {
            values: vec![T::zero(); field.window[0] * lefts.len() * 2 * span],
            lefts,
            corner: corners[0],
            span,
            window: field.window,
        }
    }

    /// Adds what the beams in `lines` contribute.
    pub(super) fn add(&mut self, lines: &Lines<T>, field: &Field, piece: &Piece) {
        let columns = lines.frequencies.len();
        let coefficients = Coefficients::new(piece.probes.len(), columns, |probe, column| {
            Complex::cis(-TAU * lines.frequencies[column] * piece.probes[probe].1[0])
        });
        let cols = field.shape[1];
        let down = (self.corner[0] - lines.top) as usize;
        let height = self.lefts.len() * 2 * self.span;
        for (y, outcome) in self.values.chunks_exact_mut(height).enumerate() {
            let start = (down + y) * lines.pitch + piece.line * columns * 2 * cols;
            let rows = Rows {
                values: &lines.values[start..start + columns * 2 * cols],
                pitch: 2 * cols,
                half: cols,
            };
            for (to, from, length) in stretches(self.corner[1], self.span, cols) {
                coefficients.add(rows, (from, length), &mut outcome[to..], self.span);
            }
        }
    }

    /// Number of probes.
    pub(super) fn probes(&self) -> usize {
        self.lefts.len()
    }

    /// First row of the windows, perhaps beyond the field.
    pub(super) fn top(&self) -> i64 {
        self.corner[0]
    }

    /// First column of the window of a probe, perhaps beyond the field.
    pub(super) fn left(&self, probe: usize) -> i64 {
        self.corner[1] + self.lefts[probe] as i64
    }

    /// The wave of a probe on its window, `(y, x)`; `wave` is filled.
    pub(super) fn extract(&self, probe: usize, wave: &mut [Complex<T>]) {
        let pitch = 2 * self.span;
        let height = self.lefts.len() * pitch;
        let rows = self.values.chunks_exact(height);
        for (row, target) in rows.zip(wave.chunks_exact_mut(self.window[1])) {
            let (re, im) = row[probe * pitch..(probe + 1) * pitch].split_at(self.span);
            let left = self.lefts[probe];
            let parts = re[left..].iter().zip(&im[left..]);
            for (value, (re, im)) in target.iter_mut().zip(parts) {
                *value = Complex::new(*re, *im);
            }
        }
    }
}
