//! Transmission functions of a box in a large specimen, put together from tiles.
//!
//! A projected potential on a grid is not quite local: it holds the frequencies below that of the pixels and no others, and the
//! sharp end rings. Between the atoms a field of waves two pixels long remains, some 1e-3 of a peak, which falls off like
//! 1/distance only. So the potential of a box depends, a little, on what lies around it, whatever margin one leaves.
//!
//! Therefore the specimen is cut into tiles once and for all, whose places are given by its grid alone. A tile is made with a
//! margin of [`MARGIN`] around it as a periodic specimen of its own, the margin thrown away. Every box takes its pixels
//! from the tiles: the same pixel always holds the same number. Along an axis where tile and margins would be as long as the specimen,
//! the specimen itself is the tile, and nothing is missing.

use std::ops::Range;

use num_complex::Complex;
use rayon::prelude::*;

use super::super::fft::Real;
use super::super::grid::{Grid, quick_length};
use super::super::lanes::Lanes;
use super::super::optics::Optics;
use super::super::potential::Potential;
use super::super::slices::{Slice, SliceMaker, Slices};
use super::super::span::Span;
use crate::error::Result;

/// Side of a tile, about [Å].
const TILE: f64 = 30.0;
/// Width of the border of a tile that is thrown away [Å]: at that distance the screened potential of any atom is a phase of
/// some 1e-5 at 200 keV (Lobato's Bi and Fe), and of the ringing 2e-3 of a peak is left.
const MARGIN: f64 = 4.0;

/// The tiles along one axis of a specimen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tiling {
    /// Pixels of the specimen.
    all: usize,
    /// Pixels from tile to tile.
    step: usize,
    /// Pixels of the margin on each side; none if the specimen is one tile.
    margin: usize,
}

/// Pixels of a box that come from one tile.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    tile: usize,
    /// Pixels in the box.
    range: Range<usize>,
    /// Pixel of the tile, margin included, where they begin.
    start: usize,
}

impl Tiling {
    fn new(all: usize, pixel: f64) -> Self {
        let margin = (MARGIN / pixel).ceil() as usize;
        let with_margins = quick_length((TILE / pixel).ceil() as usize + 2 * margin);
        if with_margins >= all {
            return Self {
                all,
                step: all,
                margin: 0,
            };
        }
        Self {
            all,
            step: with_margins - 2 * margin,
            margin,
        }
    }

    /// The pixels that are computed for a tile, margins included.
    fn span(&self, tile: usize) -> Span {
        Span {
            first: (tile * self.step) as i64 - self.margin as i64,
            count: self.step + 2 * self.margin,
            whole: self.margin == 0,
        }
    }

    /// The pieces of a box, sorted by tiles.
    fn pieces(&self, span: Span) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < span.count {
            let pixel = (span.first + done as i64).rem_euclid(self.all as i64) as usize;
            let tile = pixel / self.step;
            let end = ((tile + 1) * self.step).min(self.all);
            let length = (end - pixel).min(span.count - done);
            pieces.push(Piece {
                tile,
                range: done..done + length,
                start: pixel - tile * self.step + self.margin,
            });
            done += length;
        }
        // A tile that comes more than once is made once.
        pieces.sort_by_key(|piece| piece.tile);
        pieces
    }
}

/// Pixels of the potential of a tile, `[y, x]`, as many as are computed at once.
pub(super) fn tile_shape(grid: &Grid) -> [usize; 2] {
    tilings(grid).map(|tiling| tiling.span(0).count)
}

fn tilings(grid: &Grid) -> [Tiling; 2] {
    let ((rows, cols), pixel) = (grid.shape(), grid.sampling());
    [Tiling::new(rows, pixel[0]), Tiling::new(cols, pixel[1])]
}

/// The slices of the box `spans` = `[y, x]`.
///
/// # Errors
/// The thermal-diffuse tables lack an element.
pub(super) fn slices<T: Lanes>(
    specimen: &Potential,
    optics: &Optics,
    spans: [Span; 2],
) -> Result<Slices<T>> {
    let [dy, dx] = specimen.grid().sampling();
    let shape = (spans[0].count, spans[1].count);
    let grid = Grid::new(shape, [shape.0 as f64 * dy, shape.1 as f64 * dx])?;
    let tilings = tilings(specimen.grid());
    let [rows, cols] = [0, 1].map(|axis: usize| tilings[axis].pieces(spans[axis]));
    let empty = |_| Slice {
        transmission: vec![Complex::default(); shape.0 * shape.1],
        diffuse: Vec::new(),
    };
    let mut unique: Vec<Slice<T>> = (0..specimen.unique_slices()).map(empty).collect();
    let mut made_before: Option<Potential> = None;
    for rows in rows.chunk_by(|a, b| a.tile == b.tile) {
        for cols in cols.chunk_by(|a, b| a.tile == b.tile) {
            let place = [tilings[0].span(rows[0].tile), tilings[1].span(cols[0].tile)];
            let tile = specimen.cut(place, made_before.as_ref())?;
            let maker = SliceMaker::new(&tile, optics)?;
            let inlay = Inlay {
                rows,
                cols,
                tile_width: place[1].count,
                width: shape.1,
            };
            let slices = unique.par_iter_mut().enumerate();
            slices.for_each(|(index, slice)| inlay.lay_slice(&maker.slice(index), slice));
            made_before = Some(tile);
        }
    }
    Ok(Slices::of(specimen, optics, grid, unique))
}

/// The part of a box that comes from one tile.
struct Inlay<'a> {
    rows: &'a [Piece],
    cols: &'a [Piece],
    /// Pixels of a row of the computed tile, and of the box.
    tile_width: usize,
    width: usize,
}

impl Inlay<'_> {
    fn lay_slice<T: Real>(&self, tile: &Slice<T>, target: &mut Slice<T>) {
        self.lay(&tile.transmission, &mut target.transmission);
        let pixels = target.transmission.len();
        target.diffuse.resize_with(tile.diffuse.len(), Vec::new);
        for (tile, target) in tile.diffuse.iter().zip(&mut target.diffuse) {
            // A channel that collects nothing has no map.
            if !tile.is_empty() {
                target.resize(pixels, T::zero());
                self.lay(tile, target);
            }
        }
    }

    fn lay<V: Copy>(&self, tile: &[V], target: &mut [V]) {
        for rows in self.rows {
            for (y, target) in target.chunks_exact_mut(self.width).enumerate() {
                if !rows.range.contains(&y) {
                    continue;
                }
                let line = (rows.start + y - rows.range.start) * self.tile_width;
                for cols in self.cols {
                    let from = line + cols.start;
                    target[cols.range.clone()]
                        .copy_from_slice(&tile[from..from + cols.range.len()]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::probe::{Aperture, ProbeSettings};
    use super::super::super::scattering::ScatteringTable;
    use super::super::super::settings::Precision;
    use super::*;
    use crate::rng::{Rng, stream};

    /// A layer of atoms 48 Å × 56 Å (y, x), and a microscope.
    fn layer() -> (Potential, Optics) {
        let mut rng = stream(8, "atoms", 0);
        let (mut positions, mut numbers) = (Vec::new(), Vec::new());
        for i in 0..320 {
            let place = [f64::from(i % 20), f64::from(i / 20)];
            let [x, y] = place.map(|r| 2.8 * (r + 0.2 * rng.random::<f64>()));
            positions.push([x, y, 0.5]);
            numbers.push([83, 26, 8][i as usize % 3]);
        }
        let (cell, shape) = ([56.0, 48.0, 1.0], (480, 560));
        let table = ScatteringTable::Lobato;
        let potential = Potential::new(&positions, &numbers, cell, shape, table, 2.0).unwrap();
        let optics = Optics {
            probe: ProbeSettings {
                energy_kev: 200.0,
                semiangle_mrad: 25.0,
                aperture: Aperture::Soft,
                aberrations: Default::default(),
                focal_spread: None,
            },
            detectors: Vec::new(),
            exit_slices: vec![1],
            precision: Precision::F64,
            thermal: None,
        };
        (potential, optics)
    }

    fn transmission(specimen: &Potential, optics: &Optics, spans: [Span; 2]) -> Vec<Complex<f64>> {
        let slices: Slices<f64> = slices(specimen, optics, spans).unwrap();
        let slice = slices.first(1).next().unwrap();
        slice.transmission()
    }

    fn span(first: i64, count: usize) -> Span {
        Span {
            first,
            count,
            whole: false,
        }
    }

    #[test]
    fn pieces_cover_a_box_once_and_tiles_touch() {
        for all in [500, 430, 3000, 4096] {
            let tiling = Tiling::new(all, 0.1);
            for (first, count) in [(0, all), (-77, 350), (all as i64 - 5, 600), (-3000, 1500)] {
                let mut covered = vec![0; count];
                for Piece { tile, range, start } in tiling.pieces(span(first, count)) {
                    let computed = tiling.span(tile);
                    for (offset, pixel) in range.enumerate() {
                        covered[pixel] += 1;
                        let place = computed.first + (start + offset) as i64;
                        let wanted = first + pixel as i64;
                        assert_eq!((place - wanted).rem_euclid(all as i64), 0);
                        // Nothing of the margin.
                        assert!(start + offset >= tiling.margin);
                        assert!(start + offset < computed.count - tiling.margin);
                    }
                }
                assert!(covered.iter().all(|&times| times == 1), "{all} {first}");
            }
        }
    }

    /// The same pixel, the same number: bit by bit, whatever the box, on periodic images too.
    #[test]
    fn a_pixel_does_not_depend_on_its_box() {
        let (specimen, optics) = layer();
        let large = transmission(&specimen, &optics, [span(-40, 600), span(100, 620)]);
        for (top, left) in [(0, 100), (300, 340), (410, 0)] {
            let small = [span(top - 40 + 480, 150), span(left + 100 - 1120, 140)];
            let small = transmission(&specimen, &optics, small);
            for y in 0..150 {
                for x in 0..140 {
                    let (row, col) = (top as usize + y, left as usize + x);
                    assert_eq!(small[y * 140 + x], large[row * 620 + col]);
                }
            }
        }
    }

    /// Against the potential of the whole specimen only the ringing of atoms beyond the margin is missing: 2e-3 of the peaks'
    /// phase of 2.8 at most, a tenth of that on average.
    #[test]
    fn tiles_are_those_of_the_whole_specimen() {
        let (specimen, optics) = layer();
        let found = transmission(&specimen, &optics, [span(0, 480), span(0, 560)]);
        let whole: Slices<f64> = Slices::new(&specimen, &optics).unwrap();
        let expected = &whole.first(1).next().unwrap().transmission();
        let errors: Vec<f64> = found
            .iter()
            .zip(expected)
            .map(|(found, expected)| (found - expected).norm())
            .collect();
        let worst = errors.iter().copied().fold(0.0, f64::max);
        let mean = errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64;
        assert!(
            worst < 5e-3 && mean.sqrt() < 5e-4,
            "{worst:e} {:e}",
            mean.sqrt()
        );
    }

    /// A specimen as long as a tile is a tile.
    #[test]
    fn a_small_specimen_is_whole() {
        let tiling = Tiling::new(380, 0.1);
        let all = Span {
            whole: true,
            ..span(0, 380)
        };
        assert_eq!(tiling.span(0), all);
        assert_eq!(tiling.pieces(all).len(), 1);
        assert_eq!(tiling.pieces(span(-100, 380)).len(), 2);
    }
}
