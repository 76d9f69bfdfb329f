//! Detectors: what becomes of the diffraction pattern |F\[ψ\]|² behind the specimen.
//!
//! | section | channels | images |
//! |---|---|---|
//! | `[detectors.NAME]` annular: dark field, bright field and annular bright field | 1 | `NAME` |
//! | `[detectors.NAME.segmented]` | rings × sectors | `NAME_r0s0`, `NAME_r0s1`, … |
//! | `[detectors.NAME.com]` centre of mass | 2 | `NAME_x`, `NAME_y` [mrad] |
//! | `[detectors.NAME.icom]` centre of mass, integrated over the scan | 2 | `NAME` [rad] |
//! | `[detectors.NAME.dpc]` differences of opposite quadrants | 2 | `NAME_x`, `NAME_y` |
//! | `[detectors.NAME.idpc]` the same, integrated over the scan | 2 | `NAME` [Å] |
//! | `[detectors.NAME.pixelated]` the pattern itself | 0 | none: a pattern per probe |
//!
//! Every one but the last turns the pattern into a few weighted sums, its [channels](channels::Channels); an image is made of
//! those of all probes ([`scan_images`]). Angles are those of the beam, α = λk, azimuths φ = atan2(k_y, k_x).
//!
//! A thin object ψ ← exp(iφ) ψ deflects the beam to the mean of ∇φ/2π over the probe: with k_com the centre of mass,
//! 2π k_com = |ψ|² ⋆ ∇φ, whatever the aberrations (Lazić, Bosch & Lazar, Ultramicroscopy **160**, 265 (2016)). So
//! the integral over the scan is |ψ|² ⋆ φ, the phase seen by the probe: `icom`. Four quadrants measure the centre of mass
//! roughly, by the sign of what is deflected where (*ibid.*): `dpc`, and integrated `idpc`.

pub(super) mod channels;
mod integration;
mod pattern;
pub(super) mod readout;
mod scan_images;
mod settings;
pub(super) mod sight;

pub use pattern::PatternGrid;
pub use scan_images::images_from_channels;
pub use settings::{
    AnnularDetector, CentreOfMassDetector, Detector, PixelatedDetector, QuadrantDetector,
    SegmentedDetector,
};
