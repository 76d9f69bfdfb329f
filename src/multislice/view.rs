//! The probe and the detectors of a large field, for waves on a window of it.
//!
//! A window of side L knows the spectrum in steps of 1/L only. An aperture and detectors drawn with so coarse a pencil differ by
//! per cents from those of the whole field. So both are drawn on the grid of the whole field, and brought to the window:
//!
//! * The **probe** is the part of the whole field's probe that lies in the window, in real space. Drawn on the window's own
//!   spectrum it would be the sum of its periodic images, whose tails interfere with its core.
//! * A **detector** D sums D(k)|F\[ψ\]|² over k, which is a sum over distances Δ, of F⁻¹\[D\](Δ) times the autocorrelation of ψ (Wiener
//!   and Khinchin). The window knows the autocorrelation for |Δ| < L/2, and beyond, where it is small, only added to that.
//!   F⁻¹\[D\] of the whole field for |Δ| < L/2, transformed on the window, are the weights of the window's pixels. A soft end,
//!   over the last quarter, keeps the many electrons at small angles from ringing into weak readings at large ones.

use std::f64::consts::FRAC_PI_2;

use num_complex::Complex;

use super::band::Band;
use super::detector::Detector;
use super::detector::channels::{Channels, Weight};
use super::fft::Fft2;
use super::grid::Grid;
use super::optics::Optics;
use super::probe::Probe;
use crate::error::Result;

/// Up to this part of half the window's side, distances count fully; from there, less and less.
const KEPT: f64 = 0.75;

/// The probes of the focal series on the grid `whole`, with their weights, for a window.
///
/// # Errors
/// The aperture reaches beyond the band limit.
pub(super) fn probes_on_window(
    optics: &Optics,
    whole: &Grid,
    window: &Grid,
) -> Result<Vec<(f64, Probe)>> {
    let series = optics.probe.focal_series().into_iter();
    // One after the other: a probe of a large field takes memory.
    series
        .map(|(weight, probe)| {
            let drawn = Probe::new(&probe, whole)?;
            Ok((weight, probe_on_window(&drawn, whole, window)))
        })
        .collect()
}

/// The part of a probe of the grid `whole` that lies in a window around it, as a probe on the window's grid.
fn probe_on_window(probe: &Probe, whole: &Grid, window: &Grid) -> Probe {
    let rows = whole.shape().0;
    let spectrum = probe.spectrum();
    let band = Band::new(whole);
    let columns = band.columns().zip(spectrum.chunks_exact(rows));
    let columns = columns.map(|(column, values)| (column, values.to_vec()));
    let mut field = around_origin(whole, window, columns);
    let fft = Fft2::new(window.shape());
    fft.forward(&mut field, &mut fft.scratch());
    // Σ|F[ψ]|² is N Σ|ψ|², and N is another one here.
    let pixels = |grid: &Grid| (grid.shape().0 * grid.shape().1) as f64;
    let scale = (pixels(whole) / pixels(window)).sqrt();
    let (height, width) = window.shape();
    let column = |x: usize| (0..height).map(move |y| y * width + x);
    let kept = Band::new(window);
    let places = kept.columns().flat_map(column);
    Probe::from_spectrum(places.map(|i| field[i] * scale).collect(), window)
}

/// The channels of detectors of the grid `whole`, for waves on a window.
///
/// # Errors
/// As [`Channels::new`].
pub(super) fn channels_on_window(
    detectors: &[Detector],
    whole: &Grid,
    window: &Grid,
    wavelength: f64,
) -> Result<Channels> {
    let drawn = Channels::new(detectors, whole, [0.0; 2], wavelength)?;
    let (rows, cols) = whole.shape();
    let weights = (0..drawn.count()).map(|channel| {
        let column = |column: usize| {
            let mut values = vec![Complex::default(); rows];
            for run in drawn.runs(channel, column) {
                let values = &mut values[run.range.clone()];
                match &run.weight {
                    Weight::One => values.fill(Complex::new(1.0, 0.0)),
                    Weight::Each(weights) => {
                        let pairs = values.iter_mut().zip(weights);
                        pairs.for_each(|(value, weight)| *value = Complex::new(*weight, 0.0));
                    }
                }
            }
            (column, values)
        };
        weights_on_window(whole, window, (0..cols).map(column))
    });
    Ok(Channels::from_weights(&weights.collect::<Vec<_>>(), window))
}

/// The weights of the pixels of a window's spectrum, `(ky, kx)`, for a detector given by columns on the grid `whole`.
fn weights_on_window(
    whole: &Grid,
    window: &Grid,
    columns: impl Iterator<Item = (usize, Vec<Complex<f64>>)>,
) -> Vec<f64> {
    let mut response = around_origin(whole, window, columns);
    let (height, width) = window.shape();
    let share = |i: usize, count: usize| {
        let distance = 2.0 * i.min(count - i) as f64 / count as f64;
        if distance <= KEPT {
            return 1.0;
        }
        (FRAC_PI_2 * (distance - KEPT) / (1.0 - KEPT)).cos().powi(2)
    };
    for (y, row) in response.chunks_exact_mut(width).enumerate() {
        for (x, value) in row.iter_mut().enumerate() {
            *value *= share(y, height) * share(x, width);
        }
    }
    let fft = Fft2::new((height, width));
    fft.forward(&mut response, &mut fft.scratch());
    response.iter().map(|value| value.re).collect()
}

/// The inverse transform of a spectrum on `whole`, given by columns `(kx, values by ky)`, on the pixels of a `window` around the
/// origin, `(y, x)` in the order of the transform. Nothing of the size of the whole field is held.
fn around_origin(
    whole: &Grid,
    window: &Grid,
    columns: impl Iterator<Item = (usize, Vec<Complex<f64>>)>,
) -> Vec<Complex<f64>> {
    let ((rows, cols), (height, width)) = (whole.shape(), window.shape());
    let (along, across) = (Fft2::<f64>::new((1, rows)), Fft2::<f64>::new((1, cols)));
    let (mut scratch, mut wide_scratch) = (along.scratch(), across.scratch());
    // `(y of the window, kx)`.
    let mut lines = vec![Complex::default(); height * cols];
    for (column, mut values) in columns {
        along.inverse(&mut values, &mut scratch);
        for y in 0..height {
            lines[y * cols + column] = values[unwrapped(y, height, rows)];
        }
    }
    let mut field = Vec::with_capacity(height * width);
    for line in lines.chunks_exact_mut(cols) {
        across.inverse(line, &mut wide_scratch);
        field.extend((0..width).map(|x| line[unwrapped(x, width, cols)]));
    }
    field
}

/// Where pixel `i` of `few` around the origin is among `many`: those before the origin are at the end.
fn unwrapped(i: usize, few: usize, many: usize) -> usize {
    if i < few.div_ceil(2) {
        i
    } else {
        i + many - few
    }
}

#[cfg(test)]
mod tests {
    use super::super::detector::AnnularDetector;
    use super::super::probe::{Aperture, ProbeSettings};
    use super::*;

    const WAVELENGTH: f64 = 0.025;

    fn grids() -> (Grid, Grid) {
        let whole = Grid::new((120, 150), [12.0, 15.0]).unwrap();
        (whole, Grid::new((80, 75), [8.0, 7.5]).unwrap())
    }

    fn settings() -> ProbeSettings {
        ProbeSettings {
            energy_kev: 200.0,
            semiangle_mrad: 25.0,
            aperture: Aperture::Soft,
            aberrations: Default::default(),
            focal_spread: None,
        }
    }

    /// ψ in real space, from the spectrum by columns.
    fn field(probe: &Probe, grid: &Grid) -> Vec<Complex<f64>> {
        let (rows, cols) = grid.shape();
        let mut field = vec![Complex::default(); rows * cols];
        let columns = Band::new(grid).columns().collect::<Vec<_>>();
        for (column, values) in columns.iter().zip(probe.spectrum().chunks_exact(rows)) {
            for (y, value) in values.iter().enumerate() {
                field[y * cols + column] = *value;
            }
        }
        let fft = Fft2::new((rows, cols));
        fft.inverse(&mut field, &mut fft.scratch());
        let scale = ((rows * cols) as f64).sqrt();
        field.into_iter().map(|v| v * scale).collect()
    }

    /// The amplitudes agree pixel by pixel, Σ|ψ|² = 1 for the whole; the band limit of the window's spectrum, far outside the
    /// aperture, takes what the sharp border of the window adds, a few 1e-3 of the peak, next to the border.
    #[test]
    fn a_probe_on_a_window_is_the_part_inside() {
        let (whole, window) = grids();
        let probe = Probe::new(&settings(), &whole).unwrap();
        let inside = field(&probe_on_window(&probe, &whole, &window), &window);
        let all = field(&probe, &whole);
        let peak = all[0].norm();
        for y in 0..80 {
            for x in 0..75 {
                let expected = all[unwrapped(y, 80, 120) * 150 + unwrapped(x, 75, 150)];
                let border = (y.abs_diff(40).min(x.abs_diff(37)) as f64 + 1.0).powi(-1);
                let error = (inside[y * 75 + x] - expected).norm() / peak;
                assert!(error < 1e-3 + 0.01 * border, "{y} {x}: {error}");
            }
        }
        let norm: f64 = inside.iter().map(Complex::norm_sqr).sum();
        assert!(norm < 1.0 && norm > 0.95, "{norm}");
        let same = probe_on_window(&probe, &whole, &whole);
        let pairs = same.spectrum().iter().zip(probe.spectrum());
        assert!(pairs.into_iter().all(|(a, b)| (a - b).norm() < 1e-14));
    }

    /// A wave in the middle of a window whose autocorrelation ends before half its side: exactly what the whole field reads.
    #[test]
    fn detectors_on_a_window_read_what_the_whole_field_reads() {
        let (whole, window) = grids();
        let annulus = |inner_mrad, outer_mrad| {
            Detector::Annular(AnnularDetector {
                inner_mrad,
                outer_mrad,
            })
        };
        let detectors = [annulus(0.0, 9.0), annulus(9.0, 31.0), annulus(31.0, 80.0)];
        let wave = |y: usize, x: usize| {
            let (y, x) = (y as f64 - 9.0, x as f64 - 9.0);
            let phase = 0.9 * x - 0.4 * y + 0.05 * x * y;
            Complex::from_polar((1.0 + 0.1 * x) * (1.0 - 0.02 * y * y).max(0.0), phase)
        };
        let read = |channels: &Channels, grid: &Grid| {
            let (rows, cols) = grid.shape();
            let mut field = vec![Complex::default(); rows * cols];
            for y in 0..18 {
                for x in 0..18 {
                    field[(y + 30) * cols + x + 20] = wave(y, x);
                }
            }
            let fft = Fft2::new((rows, cols));
            fft.forward(&mut field, &mut fft.scratch());
            let mut sums = vec![0.0; 3];
            for x in 0..cols {
                let column: Vec<Complex<f64>> = (0..rows).map(|y| field[y * cols + x]).collect();
                channels.collect(x, &column, &mut sums);
            }
            sums.into_iter()
                .map(|sum| sum / (rows * cols) as f64)
                .collect::<Vec<_>>()
        };
        let drawn = Channels::new(&detectors, &whole, [0.0; 2], WAVELENGTH).unwrap();
        let brought = channels_on_window(&detectors, &whole, &window, WAVELENGTH).unwrap();
        let coarse = Channels::new(&detectors, &window, [0.0; 2], WAVELENGTH).unwrap();
        let expected = read(&drawn, &whole);
        let found = read(&brought, &window);
        let total: f64 = expected.iter().sum();
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-12 * total);
        }
        let worst = read(&coarse, &window)
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs() / total)
            .fold(0.0, f64::max);
        assert!(worst > 1e-3, "the window's own pixels are coarse: {worst}");
    }
}
