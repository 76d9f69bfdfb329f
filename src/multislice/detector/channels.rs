//! The numbers that detectors make of a diffraction pattern: weighted sums of |F\[ψ\]|².
//!
//! Which pixel counts for which channel, and how much, is worked out once: per column k_x, runs of k_y with their weights.
//! Engines show their spectra column by column, as they come out of the transform.

use std::f64::consts::{FRAC_PI_4, TAU};
use std::ops::Range;

use num_complex::Complex;

use super::super::fft::{Real, intensity};
use super::super::grid::Grid;
use super::settings::{Detector, QuadrantDetector, SegmentedDetector};
use crate::error::{Error, Result};
use crate::units::RAD_PER_MRAD;

/// The channels of a list of detectors, in their order, those of one detector following each other; on one grid.
#[derive(Debug)]
pub(in super::super) struct Channels {
    count: usize,
    /// Runs of each channel in each column, `(column, channel)`.
    runs: Vec<Vec<Run>>,
}

/// Neighbouring pixels of a column that count for a channel.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Run {
    /// Indices of k_y, in the order of the transform.
    pub(in super::super) range: Range<usize>,
    /// How much they count.
    pub(in super::super) weight: Weight,
}

/// Weights of the pixels of a run.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Weight {
    /// All count fully.
    One,
    /// Each by itself, as many as the run is long.
    Each(Vec<f64>),
}

impl Channels {
    /// The channels of `detectors` for spectra on `grid`, whose frequencies are shifted by `offset_k` `[x, y]` [1/Å] (the
    /// Bloch vector of a periodic wave; zero for waves on the whole field).
    ///
    /// # Errors
    /// An inner angle is not below the outer one, or an outer one is beyond the band limit.
    pub(in super::super) fn new(
        detectors: &[Detector],
        grid: &Grid,
        offset_k: [f64; 2],
        wavelength: f64,
    ) -> Result<Self> {
        let limit = Detector::limit_mrad(grid, wavelength);
        let mut count = 0;
        let mut responses = Vec::new();
        for detector in detectors {
            let (inner, outer) = detector.angles();
            if !(0.0 <= inner && inner < outer && outer <= limit) {
                return Err(Error::unmeasurable(
                    "detector",
                    format!("{inner} to {outer} mrad"),
                    format!("0 <= inner < outer <= {limit:.1} mrad, the band limit of this grid"),
                ));
            }
            responses.push((count, detector));
            count += detector.channel_count();
        }
        let ky = grid.ky();
        let mut runs = Vec::new();
        for kx in grid.kx() {
            let mut column = vec![Vec::new(); count];
            for (index, ky) in ky.iter().enumerate() {
                let k = [kx + offset_k[0], ky + offset_k[1]];
                if k[0].hypot(k[1]) >= grid.band_limit() {
                    continue;
                }
                for &(first, detector) in &responses {
                    respond(detector, k, wavelength, |channel, weight| {
                        append(&mut column[first + channel], index, weight);
                    });
                }
            }
            runs.append(&mut column);
        }
        Ok(Self { count, runs })
    }

    /// Channels with given weights of all pixels of the spectrum on `grid`, each `(ky, kx)`.
    pub(in super::super) fn from_weights(weights: &[Vec<f64>], grid: &Grid) -> Self {
        let (rows, cols) = grid.shape();
        let column = |x: usize| {
            let weights = weights.iter();
            weights.map(move |weights| {
                let each = (0..rows).map(|y| weights[y * cols + x]).collect();
                vec![Run {
                    range: 0..rows,
                    weight: Weight::Each(each),
                }]
            })
        };
        Self {
            count: weights.len(),
            runs: (0..cols).flat_map(column).collect(),
        }
    }

    /// Number of channels.
    pub(in super::super) fn count(&self) -> usize {
        self.count
    }

    /// The pixels of a channel in column k_x of the full spectrum.
    pub(in super::super) fn runs(&self, channel: usize, column: usize) -> &[Run] {
        &self.runs[column * self.count + channel]
    }

    /// Adds Σ weight |value|² of a column, `values` by k_y, to the `sums` of all channels.
    pub(in super::super) fn collect<T: Real>(
        &self,
        column: usize,
        values: &[Complex<T>],
        sums: &mut [f64],
    ) {
        for (channel, sum) in sums.iter_mut().enumerate() {
            let mut part = 0.0;
            for Run { range, weight } in self.runs(channel, column) {
                let seen = values[range.clone()].iter().map(|value| intensity(*value));
                match weight {
                    Weight::One => part = seen.fold(part, |sum, value| sum + value),
                    Weight::Each(weights) => {
                        let terms = seen.zip(weights).map(|(value, weight)| weight * value);
                        part = terms.fold(part, |sum, term| sum + term);
                    }
                }
            }
            *sum += part;
        }
    }
}

/// Adds pixel `index` to the runs of a channel; no `weight` means that it counts fully.
fn append(runs: &mut Vec<Run>, index: usize, weight: Option<f64>) {
    if let Some(last) = runs.last_mut()
        && last.range.end == index
    {
        match (&mut last.weight, weight) {
            (Weight::One, None) => return last.range.end += 1,
            (Weight::Each(weights), Some(weight)) => {
                weights.push(weight);
                return last.range.end += 1;
            }
            _ => {}
        }
    }
    runs.push(Run {
        range: index..index + 1,
        weight: weight.map_or(Weight::One, |weight| Weight::Each(vec![weight])),
    });
}

/// Calls `add(channel, weight)` for each channel of a detector that the frequency `k` `[x, y]` [1/Å] counts for.
pub(super) fn respond(
    detector: &Detector,
    k: [f64; 2],
    wavelength: f64,
    mut add: impl FnMut(usize, Option<f64>),
) {
    let alpha = wavelength * k[0].hypot(k[1]);
    let (inner, outer) = detector.angles();
    if !(inner * RAD_PER_MRAD..outer * RAD_PER_MRAD).contains(&alpha) {
        return;
    }
    match detector {
        Detector::Annular(_) => add(0, None),
        Detector::Segmented(segments) => add(segment(segments, k, alpha / RAD_PER_MRAD), None),
        Detector::CentreOfMass(_) => {
            let mrad = wavelength / RAD_PER_MRAD;
            (0..2).for_each(|axis| add(axis, Some(mrad * k[axis])));
        }
        // The gradient of the phase, 2πk [rad/Å].
        Detector::IntegratedCentreOfMass(_) => {
            (0..2).for_each(|axis| add(axis, Some(TAU * k[axis])));
        }
        Detector::Dpc(quadrants) | Detector::IntegratedDpc(quadrants) => {
            let direction = quadrant(quadrants, k);
            (0..2).for_each(|axis| add(axis, Some(direction[axis])));
        }
        Detector::Pixelated(_) => {}
    }
}

/// Which segment of a detector a frequency `k` [1/Å] at the angle `alpha` [mrad] falls on: rings from inside, sectors first.
fn segment(detector: &SegmentedDetector, k: [f64; 2], alpha: f64) -> usize {
    let width = detector.outer_mrad - detector.inner_mrad;
    let ring = detector.rings as f64 * (alpha - detector.inner_mrad) / width;
    let sector = sector(k, detector.rotation_rad, detector.sectors);
    // Rounding may put the last pixel before an edge on it.
    (ring as usize).min(detector.rings - 1) * detector.sectors + sector
}

/// An azimuth this little below an edge is on it [rad]: pixels on the diagonal then fall on one side, whatever the last bits of
/// their frequencies say.
const ON_THE_EDGE: f64 = 1e-9;

/// The sector of `count` that a frequency falls on, the first one beginning at the azimuth `rotation` [rad].
fn sector(k: [f64; 2], rotation: f64, count: usize) -> usize {
    let turned = (k[1].atan2(k[0]) - rotation + ON_THE_EDGE).rem_euclid(TAU);
    ((count as f64 * turned / TAU) as usize).min(count - 1)
}

/// The unit vector to the middle of the quadrant that a frequency falls on: Σ I times it is the differences of opposite
/// quadrants, along x and y. The beam itself, k = 0, is on none, or it would favour one of the four.
fn quadrant(detector: &QuadrantDetector, k: [f64; 2]) -> [f64; 2] {
    if k == [0.0; 2] {
        return [0.0; 2];
    }
    let rotation = detector.rotation_rad;
    let (sine, cosine) = rotation.sin_cos();
    match sector(k, rotation - FRAC_PI_4, 4) {
        0 => [cosine, sine],
        1 => [-sine, cosine],
        2 => [-cosine, -sine],
        _ => [sine, -cosine],
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{AnnularDetector, CentreOfMassDetector, PixelatedDetector};
    use super::*;
    use crate::rng::{Rng, stream};

    const WAVELENGTH: f64 = 0.025;

    fn annulus(inner_mrad: f64, outer_mrad: f64) -> Detector {
        Detector::Annular(AnnularDetector {
            inner_mrad,
            outer_mrad,
        })
    }

    fn segmented(rings: usize, sectors: usize, rotation_rad: f64) -> Detector {
        Detector::Segmented(SegmentedDetector {
            inner_mrad: 10.0,
            outer_mrad: 50.0,
            rings,
            sectors,
            rotation_rad,
        })
    }

    fn quadrants(rotation_rad: f64) -> Detector {
        Detector::Dpc(QuadrantDetector {
            inner_mrad: 0.0,
            outer_mrad: 60.0,
            rotation_rad,
        })
    }

    fn grid() -> Grid {
        Grid::new((64, 72), [8.0, 9.0]).unwrap()
    }

    /// What all channels read from the spectrum `wave(kx, ky)`.
    fn read(
        detectors: &[Detector],
        offset: [f64; 2],
        mut wave: impl FnMut(f64, f64) -> f64,
    ) -> Vec<f64> {
        let grid = grid();
        let channels = Channels::new(detectors, &grid, offset, WAVELENGTH).unwrap();
        let mut sums = vec![0.0; channels.count()];
        for (column, kx) in grid.kx().into_iter().enumerate() {
            let value = |ky: f64| Complex::new(wave(kx, ky), 0.0);
            let values: Vec<Complex<f64>> = grid.ky().into_iter().map(value).collect();
            channels.collect(column, &values, &mut sums);
        }
        sums
    }

    /// A different value on every pixel.
    fn noise() -> impl FnMut(f64, f64) -> f64 {
        let mut rng = stream(1, "pattern", 0);
        move |_, _| rng.random_range(0.0..1.0)
    }

    #[test]
    fn runs_cover_what_is_on() {
        let mut runs = Vec::new();
        for (index, weight) in [
            (0, None),
            (1, None),
            (3, None),
            (4, Some(2.0)),
            (5, Some(3.0)),
        ] {
            append(&mut runs, index, weight);
        }
        let run = |range, weight| Run { range, weight };
        let weights = Weight::Each(vec![2.0, 3.0]);
        assert_eq!(
            runs,
            [
                run(0..2, Weight::One),
                run(3..4, Weight::One),
                run(4..6, weights)
            ]
        );
    }

    /// The plain way: every pixel, its angles from their definition.
    #[test]
    fn segments_are_where_their_formulas_say() {
        let (rings, sectors, rotation) = (3, 5, 0.4);
        for offset in [[0.0, 0.0], [0.03, -0.05]] {
            let found = read(&[segmented(rings, sectors, rotation)], offset, noise());
            let mut expected = vec![0.0; rings * sectors];
            let mut wave = noise();
            for kx in grid().kx() {
                for ky in grid().ky() {
                    let intensity = wave(kx, ky).powi(2);
                    let (kx, ky) = (kx + offset[0], ky + offset[1]);
                    let alpha = 1e3 * WAVELENGTH * kx.hypot(ky);
                    if (10.0..50.0).contains(&alpha) {
                        let azimuth = (ky.atan2(kx) - rotation).rem_euclid(TAU);
                        let ring = (rings as f64 * (alpha - 10.0) / 40.0).floor() as usize;
                        let sector = (sectors as f64 * azimuth / TAU).floor() as usize;
                        expected[ring * sectors + sector] += intensity;
                    }
                }
            }
            for (found, expected) in found.iter().zip(&expected) {
                assert!(*expected > 0.0 && (found - expected).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn segments_sum_to_their_annulus() {
        let detectors = [annulus(10.0, 50.0), segmented(4, 16, 0.2)];
        let sums = read(&detectors, [0.0; 2], noise());
        let parts: f64 = sums[1..].iter().sum();
        assert!((parts - sums[0]).abs() < 1e-9);
    }

    /// Turning a detector by a sector renames its sectors, and nothing else.
    #[test]
    fn a_detector_turned_by_a_sector_reads_the_next_one() {
        let plain = read(&[segmented(1, 4, 0.3)], [0.0; 2], noise());
        let turned = read(&[segmented(1, 4, 0.3 + TAU / 4.0)], [0.0; 2], noise());
        for sector in 0..4 {
            assert!((turned[sector] - plain[(sector + 1) % 4]).abs() < 1e-9);
        }
    }

    /// One pixel of intensity 1 at a known angle: the centre of mass is that angle, the quadrants say its direction.
    #[test]
    fn a_single_beam_is_where_it_is() {
        let disk = |detector: fn(CentreOfMassDetector) -> Detector| {
            detector(CentreOfMassDetector {
                inner_mrad: 0.0,
                outer_mrad: 60.0,
            })
        };
        let detectors = [
            disk(Detector::CentreOfMass),
            disk(Detector::IntegratedCentreOfMass),
            quadrants(0.0),
            quadrants(std::f64::consts::FRAC_PI_6),
        ];
        for (place, direction) in [
            ([3, 1], [1.0, 0.0]),
            ([-2, 5], [0.0, 1.0]),
            ([-4, -2], [-1.0, 0.0]),
        ] {
            let k: [f64; 2] = [f64::from(place[0]) / 9.0, f64::from(place[1]) / 8.0];
            let beam = |kx: f64, ky: f64| f64::from((kx - k[0]).hypot(ky - k[1]) < 1e-9);
            let sums = read(&detectors, [0.0; 2], beam);
            for axis in 0..2 {
                assert!((sums[axis] - 1e3 * WAVELENGTH * k[axis]).abs() < 1e-12);
                assert!((sums[2 + axis] - TAU * k[axis]).abs() < 1e-12);
                assert!((sums[4 + axis] - direction[axis]).abs() < 1e-12);
            }
            // Turned by 30°, the quadrant's middle is 30° away, and the beam within 45° of it.
            let length = sums[6].hypot(sums[7]);
            let cosine = (sums[6] * k[0] + sums[7] * k[1]) / k[0].hypot(k[1]);
            assert!((length - 1.0).abs() < 1e-12 && cosine > 0.5f64.sqrt());
        }
    }

    /// A pattern with a centre of inversion deflects nothing, the direct beam included.
    #[test]
    fn a_symmetric_pattern_gives_no_contrast() {
        let even = |kx: f64, ky: f64| (-(kx * kx + 0.3 * kx * ky + ky * ky)).exp();
        for sum in read(&[quadrants(0.0), quadrants(0.9)], [0.0; 2], even) {
            assert!(sum.abs() < 1e-12, "{sum}");
        }
    }

    /// Shifted frequencies are nowhere beyond the band limit, and a shift by a whole pixel changes only the names of pixels.
    #[test]
    fn a_bloch_vector_shifts_the_frequencies() {
        let limit = Detector::limit_mrad(&grid(), WAVELENGTH);
        let channels =
            |offset| Channels::new(&[annulus(0.0, limit)], &grid(), offset, WAVELENGTH).unwrap();
        let pixels = |channels: &Channels| -> usize {
            let runs = (0..72).flat_map(|column| channels.runs(0, column));
            runs.map(|run| run.range.len()).sum()
        };
        assert_eq!(
            pixels(&channels([0.0; 2])),
            pixels(&channels([1.0 / 9.0, -2.0 / 8.0]))
        );
        for offset in [[0.0, 0.0], [0.05, -0.02]] {
            let channels = channels(offset);
            for (column, kx) in grid().kx().into_iter().enumerate() {
                for run in channels.runs(0, column) {
                    for y in run.range.clone() {
                        let k = (kx + offset[0]).hypot(grid().ky()[y] + offset[1]);
                        assert!(k < grid().band_limit());
                    }
                }
            }
        }
    }

    #[test]
    fn a_detector_beyond_the_band_or_turned_inside_out_is_refused() {
        let make = |inner, outer| {
            let detector = annulus(inner, outer);
            Channels::new(
                std::slice::from_ref(&detector),
                &grid(),
                [0.0; 2],
                WAVELENGTH,
            )
            .map(|_| detector.touches_taper(&grid(), WAVELENGTH))
        };
        // kc = (2/3)/(2 · 0.125) = 2.667 1/Å is 66.7 mrad; the taper begins at 2.587 1/Å, 64.7 mrad.
        assert!(!make(10.0, 64.0).unwrap());
        assert!(make(10.0, 66.0).unwrap());
        assert!(make(10.0, 70.0).unwrap_err().to_string().contains("66.7"));
        assert!(make(20.0, 10.0).is_err());
        assert!(make(-1.0, 10.0).is_err());
        let camera = PixelatedDetector {
            outer_mrad: 10.0,
            bin: 1,
        };
        assert!(read(&[Detector::Pixelated(camera)], [0.0; 2], noise()).is_empty());
    }
}
