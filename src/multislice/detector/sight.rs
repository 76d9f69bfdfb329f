//! Whether a detector sees anything: a narrow ring or segment may lie between the pixels of a diffraction pattern.

use super::super::grid::Grid;
use super::channels::respond;
use super::settings::Detector;

/// The first channel of `detector` that no pixel of the spectra on `grid` counts for; none if all see some.
pub(in super::super) fn blind_channel(
    detector: &Detector,
    grid: &Grid,
    wavelength: f64,
) -> Option<usize> {
    let mut seeing = vec![false; detector.channel_count()];
    let mut blind = seeing.len();
    let ky = grid.ky();
    for kx in grid.kx() {
        for ky in &ky {
            // Mostly soon: nearly all detectors have pixels all over the pattern.
            if blind == 0 {
                return None;
            }
            if kx.hypot(*ky) >= grid.band_limit() {
                continue;
            }
            respond(detector, [kx, *ky], wavelength, |channel, weight| {
                if weight != Some(0.0) && !seeing[channel] {
                    seeing[channel] = true;
                    blind -= 1;
                }
            });
        }
    }
    seeing.iter().position(|seeing| !seeing)
}

#[cfg(test)]
mod tests {
    use super::super::channels::Channels;
    use super::super::settings::SegmentedDetector;
    use super::*;
    use crate::rng::{Rng, stream};

    /// The plain way: channels without a run of pixels in any column.
    #[test]
    fn the_blind_are_those_without_pixels() {
        const WAVELENGTH: f64 = 0.025;
        let grid = Grid::new((48, 54), [6.0, 5.5]).unwrap();
        let mut rng = stream(1, "segments", 0);
        let mut found = [0; 2];
        for _ in 0..100 {
            let inner_mrad = rng.random_range(0.0..40.0);
            let detector = Detector::Segmented(SegmentedDetector {
                inner_mrad,
                outer_mrad: inner_mrad + rng.random_range(1.0..15.0),
                rings: rng.random_range(1..4),
                sectors: rng.random_range(1..9),
                rotation_rad: rng.random_range(-3.0..3.0),
            });
            let channels =
                Channels::new(std::slice::from_ref(&detector), &grid, [0.0; 2], WAVELENGTH);
            let channels = channels.unwrap();
            let blind = |channel: &usize| {
                (0..grid.shape().1).all(|column| channels.runs(*channel, column).is_empty())
            };
            let expected = (0..channels.count()).find(blind);
            assert_eq!(blind_channel(&detector, &grid, WAVELENGTH), expected);
            found[usize::from(expected.is_some())] += 1;
        }
        assert!(found.iter().all(|count| *count > 10), "{found:?}");
    }
}
