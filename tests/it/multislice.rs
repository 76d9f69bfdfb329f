//! Multislice against the laws of physics and against abTEM.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test that fails is a test that fails"
)]

mod bloch;
mod laws;
mod prism;
mod reference;
mod specimens;
mod windowed;

use ferrostem::multislice::{
    Aberrations, AnnularDetector, Aperture, Detector, Optics, Precision, ProbeSettings,
};

/// A probe at 200 keV with a soft aperture and a perfect lens.
fn probe(semiangle_mrad: f64) -> ProbeSettings {
    ProbeSettings {
        energy_kev: 200.0,
        semiangle_mrad,
        aperture: Aperture::Soft,
        aberrations: Aberrations::default(),
        focal_spread: None,
    }
}

/// Detectors from pairs `(inner, outer)` [mrad].
fn detectors(rings: &[(f64, f64)]) -> Vec<Detector> {
    rings
        .iter()
        .map(|&(inner_mrad, outer_mrad)| AnnularDetector {
            inner_mrad,
            outer_mrad,
        })
        .map(Detector::from)
        .collect()
}

/// A microscope without thermal motion.
fn optics(
    probe: &ProbeSettings,
    precision: Precision,
    rings: &[Detector],
    exit_slices: &[usize],
) -> Optics {
    Optics {
        probe: probe.clone(),
        detectors: rings.to_vec(),
        exit_slices: exit_slices.to_vec(),
        precision,
        thermal: None,
    }
}
