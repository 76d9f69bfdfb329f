//! Image formation: electron waves through a crystal, by the multislice method.
//!
//! A specimen becomes a [`Potential`], a stack of thin slices. A wave passes each slice in two steps: it is *transmitted*,
//! ψ ← t ψ with t = exp(iσv), and *propagated* to the next, ψ ← F⁻¹\[P F\[ψ\]\] (Cowley & Moodie, Acta Cryst. **10**, 609 (1957);
//! Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed. (2010), ch. 6). For a STEM image the wave is a focused
//! [probe](ProbeSettings) at each scan position, and [detectors](AnnularDetector) add up what is scattered into their angles.
//!
//! Conventions beside those of the crate:
//!
//! * Σ|F\[ψ\]|² = 1 for a probe; a detector reads Σ|F\[ψ\]|² over inner ≤ α < outer, a fraction of the incident beam.
//! * Slices have equal thickness and are half open along the beam. The last slice is propagated too: an exit plane is the
//!   bottom of a slice.
//! * Waves and transmission functions are band-limited ([`Grid::band_weight`]); the incident probe is not, it lies inside.
//! * A tilt (t_x, t_y) is a mistilt of the specimen and enters only the propagator: +t_x moves the beam by +dz tan t_x along
//!   +x per slice; aperture and detectors stay on the beam.
//! * Waves are f32 or f64 ([`Precision`]); potentials, phases, aberrations and detector sums are always f64.
//!
//! Checked against abTEM 1.0.11 with exact potentials (`tests/it/multislice.rs`).

mod aberrations;
mod band;
mod bloch;
pub mod checks;
mod detector;
mod engine;
mod fft;
mod full_field;
mod grid;
mod lanes;
mod nonuniform;
mod optics;
mod potential;
mod prism;
mod probe;
mod propagator;
mod readout;
mod scattering;
mod settings;
mod slices;
mod slicing;
mod span;
mod structure_factor;
mod synthesis;
mod thermal;
mod transform;
mod view;
mod wavefield;
mod windowed;

pub use aberrations::Aberrations;
pub use bloch::{Bloch, ImageCoefficients};
pub use detector::{
    AnnularDetector, CentreOfMassDetector, Detector, PatternGrid, PixelatedDetector,
    QuadrantDetector, SegmentedDetector, images_from_channels,
};
pub use full_field::{Illumination, Multislice};
pub use grid::Grid;
pub use lanes::Vectors;
pub use optics::Optics;
pub use potential::Potential;
pub use prism::Prism;
pub use probe::{Aperture, FocalSpread, ProbeSettings};
pub use scattering::{ScatteringFactor, ScatteringTable};
pub use settings::{
    BlochSettings, Method, MultisliceSettings, Precision, PrismSettings, WindowedSettings,
};
pub use slicing::slice_count;
pub use thermal::{DiffuseDetector, ThermalDiffuse, ThermalMaps, ThermalSettings, ThermalTables};
pub use transform::ImageTransform;
pub use windowed::{Region, ScanArea, WindowError, Windowed};
