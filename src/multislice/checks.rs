//! What probe, detectors, grid and specimen may say together, and how much work they ask for.

use std::f64::consts::{PI, TAU};

use super::detector::sight::blind_channel;
use super::detector::{Detector, PatternGrid};
use super::grid::Grid;
use super::probe::ProbeSettings;
use super::settings::Precision;
use crate::error::Result;
use crate::settings::Source;
use crate::units::RAD_PER_MRAD;

/// Largest part of a diffraction-limited probe that may lie outside the cell, in its own periodic images.
const MAX_OUTSIDE: f64 = 0.03;
/// Azimuths and radii of the aperture at which rays are traced.
const RAYS: (u32, u32) = (36, 6);

/// Checks that the grid carries a detector.
///
/// # Errors
/// The outer angle is beyond the band limit; the bins of a pixelated one are larger than the pattern.
pub fn check_detector(
    source: &Source,
    name: &str,
    detector: &Detector,
    grid: &Grid,
    probe: &ProbeSettings,
) -> Result<()> {
    let key = |value: &str| format!("detectors.{name}.{}", detector.key(value));
    let limit = Detector::limit_mrad(grid, probe.wavelength());
    let outer = detector.outer_mrad();
    if outer > limit {
        let finer = outer / limit;
        let allowed = format!(
            "at most {limit:.1} mrad, the band limit of this grid; pixels {finer:.2} times finer would reach it"
        );
        return Err(source.wrong(&key("outer_mrad"), outer, allowed));
    }
    if let Detector::Pixelated(camera) = detector {
        let largest = PatternGrid::largest_bin(camera, grid, probe.wavelength());
        if camera.bin > largest {
            let allowed = format!("1 to {largest}, the pixels of the pattern within {outer} mrad");
            return Err(source.wrong(&key("bin"), camera.bin, allowed));
        }
    }
    Ok(())
}

/// Checks that every channel of a detector has a pixel of the diffraction pattern, in the `field` that a probe has for itself: the
/// pixels are λ/L wide on a side L, and a ring or segment may lie between them.
///
/// # Errors
/// One has none: its image would be zero.
pub fn check_sight(
    source: &Source,
    name: &str,
    detector: &Detector,
    field: &Grid,
    probe: &ProbeSettings,
) -> Result<()> {
    let Some(channel) = blind_channel(detector, field, probe.wavelength()) else {
        return Ok(());
    };
    // Two channels may make one image.
    let images = detector.image_names(name);
    let image = images.get(channel).or(images.first());
    let (inner, outer) = detector.angles();
    let got = format!(
        "{inner} to {outer} mrad, where no pixel of the diffraction pattern is left for the image `{}`",
        image.map_or(name, String::as_str)
    );
    let [y, x] = field.extent();
    let [high, wide] = [y, x].map(|side| probe.wavelength() / side / RAD_PER_MRAD);
    let allowed = format!(
        "angles with pixels, which are {wide:.3} × {high:.3} mrad apart on the {x:.1} × {y:.1} Å that a probe has here (x × y): \
         a wider detector, fewer segments, or a larger field"
    );
    let key = format!("detectors.{name}.{}", detector.key("outer_mrad"));
    Err(source.wrong(&key, got, allowed))
}

/// Checks that the probe fits into the cell, which is periodic: what leaves on one side comes back on the other.
///
/// Two widths must fit where the probe enters. In focus, the part of an Airy pattern beyond half the smaller side L of the
/// cell is about 2/(πv), v = παL/λ (Born & Wolf, *Principles of Optics*, sec. 8.5.2); it may be 3 %. Away from focus, the rays
/// of the aperture, displaced by ∇χ, must stay inside. Deeper in the specimen rays spread more ([`probe_room`] tells how
/// far), but channelling keeps a probe narrower: that is worth a warning, not an error.
///
/// # Errors
/// It does not fit, or the grid does not carry the aperture.
pub fn check_probe(source: &Source, probe: &ProbeSettings, grid: &Grid) -> Result<()> {
    const KEY: &str = "probe.semiangle_mrad";
    let limit = Detector::limit_mrad(grid, probe.wavelength());
    if probe.semiangle_mrad >= limit {
        let allowed = format!("less than {limit:.1} mrad, the band limit of this grid");
        return Err(source.wrong(KEY, probe.semiangle_mrad, allowed));
    }
    let [y, x] = grid.extent();
    let side = y.min(x);
    let (needed, why) = probe_room(probe, 0.0);
    if side >= needed {
        return Ok(());
    }
    Err(source.wrong(
        KEY,
        format!("{} mrad in a cell {side:.2} Å wide", probe.semiangle_mrad),
        format!("a cell at least {needed:.2} Å wide for this probe: {why}; repeat the specimen, or use a smaller semiangle or defocus"),
    ))
}

/// The width that a probe needs down to the depth `height` [Å], in focus and for rays displaced by ∇χ + αz [Å], and why so much.
#[must_use]
pub fn probe_room(probe: &ProbeSettings, height: f64) -> (f64, &'static str) {
    let alpha = probe.semiangle_mrad * RAD_PER_MRAD;
    let in_focus = 2.0 * probe.wavelength() / (PI * PI * MAX_OUTSIDE * alpha);
    let spread = beam_width(probe, height);
    if spread > in_focus {
        let why = "its rays spread that far";
        (spread, why)
    } else {
        let why = "with less, over 3 % of the focused probe lies in its own periodic images";
        (in_focus, why)
    }
}

/// Greatest width of the beam between the entrance face and `height` [Å]: rays of the aperture and the Airy disk [Å].
#[must_use]
pub fn beam_width(probe: &ProbeSettings, height: f64) -> f64 {
    let alpha = probe.semiangle_mrad * RAD_PER_MRAD;
    let mut radius: f64 = 0.0;
    for ring in 1..=RAYS.1 {
        for step in 0..RAYS.0 {
            let angle = alpha * f64::from(ring) / f64::from(RAYS.1);
            let azimuth = TAU * f64::from(step) / f64::from(RAYS.0);
            // A ray is straight: it is farthest out at one of the faces.
            for depth in [0.0, height] {
                let distance = probe.aberrations.ray_distance(angle, azimuth, depth);
                radius = radius.max(distance);
            }
        }
    }
    2.0 * radius + 1.22 * probe.wavelength() / alpha
}

/// About how many beams the aperture lets through on `points` × `points` cells.
#[must_use]
pub fn beam_count(probe: &ProbeSettings, cell: &Grid, points: usize) -> u64 {
    let radius = probe.semiangle_mrad * RAD_PER_MRAD / probe.wavelength();
    let [y, x] = cell.extent().map(|side| side * points as f64);
    (PI * radius * radius * x * y).round() as u64
}

/// What a simulation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Waves times slices: the time is this, times the pixels, times a few nanoseconds, over the threads.
    pub wave_slices: u64,
    /// Memory of transmission functions, propagators and waves, to the first order.
    pub bytes: u64,
}

/// Sizes that decide about work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Pixels `(rows, cols)`.
    pub shape: (usize, usize),
    /// How many times finer transmission functions are computed.
    pub oversampling: usize,
    /// Slices down to the last exit.
    pub slices: usize,
    /// Different slices.
    pub unique_slices: usize,
    /// Probe positions.
    pub probes: usize,
    /// Tilts.
    pub tilts: usize,
    /// Threads.
    pub threads: usize,
}

/// Wave-slices and memory for given sizes.
#[must_use]
pub fn expected_work(sizes: Sizes, precision: Precision) -> Work {
    let pixels = (sizes.shape.0 * sizes.shape.1) as u64;
    let fine_pixels = pixels * (sizes.oversampling * sizes.oversampling) as u64;
    // Per thread a wave, and while transmissions are made, at most three double-precision arrays.
    let making = 3 * fine_pixels * Precision::F64.complex_bytes();
    let per_thread = pixels * precision.complex_bytes() + making;
    let fixed = (sizes.unique_slices as u64 + 2) * pixels * precision.complex_bytes();
    Work {
        wave_slices: sizes.probes as u64 * sizes.slices as u64 * sizes.tilts as u64,
        bytes: fixed + sizes.threads as u64 * per_thread,
    }
}

#[cfg(test)]
mod tests {
    use super::super::aberrations::Aberrations;
    use super::super::detector::{
        AnnularDetector, CentreOfMassDetector, PixelatedDetector, SegmentedDetector,
    };
    use super::super::probe::Aperture;
    use super::*;

    fn probe(semiangle_mrad: f64, defocus: f64) -> ProbeSettings {
        ProbeSettings {
            energy_kev: 200.0,
            semiangle_mrad,
            aperture: Aperture::Hard,
            focal_spread: None,
            aberrations: Aberrations {
                defocus_angstrom: Some(defocus),
                ..Aberrations::default()
            },
        }
    }

    fn fits(side: f64, probe: &ProbeSettings) -> bool {
        let grid = Grid::with_sampling([side, side], 0.08).unwrap();
        let source = Source::from_text("sim.toml", "[probe]\nsemiangle_mrad = 30\n");
        match check_probe(&source, probe, &grid) {
            Ok(()) => true,
            Err(error) => {
                let message = error.to_string();
                assert!(
                    message.contains("sim.toml:2: probe.semiangle_mrad"),
                    "{message}"
                );
                false
            }
        }
    }

    #[test]
    fn a_probe_must_fit_into_the_periodic_cell() {
        assert!(fits(15.86, &probe(30.0, 0.0)));
        assert!(!fits(3.96, &probe(30.0, 0.0)), "one unit cell");
        assert!(fits(7.93, &probe(30.0, 0.0)));
        assert!(!fits(15.86, &probe(30.0, -300.0)), "far out of focus");
        assert!(!fits(15.86, &probe(120.0, 0.0)), "beyond the band");
        let room = |defocus, depth| probe_room(&probe(30.0, defocus), depth).0;
        assert!((12.0..14.0).contains(&room(0.0, 198.25)), "spreads to 13 Å");
        assert!(room(99.0, 198.25) < 7.93, "focused half way");
    }

    #[test]
    fn a_detector_must_lie_inside_the_band() {
        let grid = Grid::new((192, 192), [15.86, 15.86]).unwrap();
        let source = Source::from_text("sim.toml", "[detectors.haadf]\nouter_mrad = 200\n");
        let check = |outer_mrad| {
            let detector = Detector::Annular(AnnularDetector {
                inner_mrad: 80.0,
                outer_mrad,
            });
            check_detector(&source, "haadf", &detector, &grid, &probe(30.0, 0.0))
        };
        assert!(check(100.0).is_ok());
        let message = check(200.0).unwrap_err().to_string();
        assert!(message.starts_with("sim.toml:2: detectors.haadf.outer_mrad: got 200"));
        assert!(message.contains("101.2 mrad"), "{message}");
    }

    #[test]
    fn a_detector_must_see_a_pixel() {
        let source = Source::from_text("sim.toml", "[detectors.d]\nouter_mrad = 200\n");
        let lens = probe(30.0, 0.0);
        let annulus = |inner_mrad, outer_mrad| {
            Detector::Annular(AnnularDetector {
                inner_mrad,
                outer_mrad,
            })
        };
        let segments = |inner_mrad, sectors| {
            Detector::Segmented(SegmentedDetector {
                inner_mrad,
                outer_mrad: 40.0,
                rings: 1,
                sectors,
                rotation_rad: 0.1,
            })
        };
        let mass = |outer_mrad| {
            Detector::CentreOfMass(CentreOfMassDetector {
                inner_mrad: 0.0,
                outer_mrad,
            })
        };
        let refusal = |detector: &Detector, side: f64| {
            let pixels = (side / 0.08) as usize;
            let field = Grid::new((pixels, pixels), [side, side]).unwrap();
            let checked = check_sight(&source, "d", detector, &field, &lens);
            checked.err().map(|error| error.to_string())
        };
        // Pixels of 6.27 mrad on 4 Å: at 6.27, 8.87, 12.54 … mrad; of 1.57 mrad on 16 Å.
        for (detector, image) in [
            (annulus(9.0, 12.0), "d"),
            // The ring has 32 pixels.
            (segments(35.0, 40), "d_r0s"),
            (mass(6.0), "d_x"),
        ] {
            let message = refusal(&detector, 4.0).unwrap();
            let outer = detector.outer_mrad();
            for part in [
                format!("to {outer} mrad"),
                format!("`{image}"),
                "6.270 × 6.270 mrad".into(),
            ] {
                assert!(message.contains(&part), "{message}");
            }
            assert!(message.starts_with("sim.toml:"), "{message}");
            assert_eq!(refusal(&detector, 16.0), None);
        }
        assert_eq!(refusal(&annulus(8.5, 9.0), 4.0), None);
        assert_eq!(refusal(&segments(0.0, 4), 4.0), None);
        assert_eq!(refusal(&mass(7.0), 4.0), None);
    }

    #[test]
    fn a_bin_must_fit_into_the_pattern() {
        let grid = Grid::new((192, 192), [15.86, 15.86]).unwrap();
        let source = Source::from_text("sim.toml", "[detectors.camera.pixelated]\nbin = 20\n");
        let check = |outer_mrad, bin| {
            let detector = Detector::Pixelated(PixelatedDetector { outer_mrad, bin });
            check_detector(&source, "camera", &detector, &grid, &probe(30.0, 0.0))
        };
        // Pixels of 1.581 mrad: six of them on each side of the beam.
        assert!(check(10.0, 13).is_ok());
        let message = check(10.0, 14).unwrap_err().to_string();
        assert!(
            message.starts_with(
                "sim.toml:2: detectors.camera.pixelated.bin: got 14; allowed: 1 to 13"
            ),
            "{message}"
        );
        assert!(check(200.0, 1).is_err());
    }

    #[test]
    fn work_grows_with_probes_slices_and_tilts() {
        let sizes = Sizes {
            shape: (256, 256),
            oversampling: 1,
            slices: 40,
            unique_slices: 2,
            probes: 1024,
            tilts: 3,
            threads: 4,
        };
        let work = expected_work(sizes, Precision::F32);
        assert_eq!(work.wave_slices, 1024 * 40 * 3);
        // Four arrays of 0.5 MiB; on each of four threads one more and three of 1 MiB.
        assert_eq!(work.bytes, (2 << 20) + 4 * ((1 << 19) + (3 << 20)));
    }
}
