//! Thermal-diffuse scattering as an absorptive model: the average over thermal motion in one pass, without configurations.
//!
//! Atoms move by themselves (Einstein), normally distributed, with the mean square U along one axis and B = 8π²U. To first
//! order in the potential of a slice, what it scatters *beyond* the scattering by the average potential is a density,
//! Σ|ψ(r)|² W(r), with for every atom
//!
//! W(Q) = ∫ d²k v(k − Q/2) v(k + Q/2) \[exp(−BQ²/4) − exp(−B(|k − Q/2|² + |k + Q/2|²)/4)\],  v = σ f_e/κ,
//!
//! and W(r) = ∫ d²Q W(Q) exp(2πi Q·r): the mean of |F\[iσvψ\]|² over displacements less its value for the mean potential
//! (Hall & Hirsch, Proc. R. Soc. A **286**, 158 (1965); Rossouw, Allen, Findlay & Oxley, Ultramicroscopy **96**, 299 (2003)).
//! v is an angle times an area [Å²], W(Q) an area [Å²], W(r) a number: the fraction that a wave with Σ|ψ|² = 1 loses in the
//! slice. Over all k it is the absorption, t = exp(iσv − W_tot/2) with the [damped](super::Potential::damped) v; over the
//! angles of a detector it is what that detector collects. In every slice: detect, transmit, propagate.
//!
//! What the model leaves out: the direction of the wave inside its own cone (a detector is the same for all its parts, so a
//! sector and the one opposite collect the same), what is scattered elastically after a diffuse event, and correlated motion.
//!
//! # Which frequencies of W count
//!
//! A wave below the band limit k_c = N/3L has |ψ|² below 2k_c, beyond the Nyquist frequency 1.5k_c of its own grid. The sum
//! over pixels Σ|ψ|²W equals the integral if W ends below N/L − 2k_c = k_c; with W up to the Nyquist frequency, as here, the
//! components of |ψ|² between 1.5k_c and 2k_c are weighted by W at N/L − Q instead of at Q. Measured on BiFeO₃, 200 kV,
//! 30 mrad, 10 nm, 80–200 mrad, on and off the pixels, against W and |ψ|² on a grid twice as fine, relative:
//!
//! | pixel | W up to Nyquist | W up to k_c |
//! |---|---|---|
//! | 0.062 Å | 5e-8 | 4e-5 |
//! | 0.083 Å | 4e-5 | 3e-3 |
//! | 0.124 Å | 7e-4 | 5e-2 |
//!
//! What a cut at k_c leaves out is much more than what folds back without one, so there is none.

mod diffuse;
mod maps;
mod settings;
mod tables;
mod weight;

pub use diffuse::ThermalDiffuse;
pub use maps::ThermalMaps;
pub use settings::{DiffuseDetector, ThermalSettings};
pub use tables::ThermalTables;
