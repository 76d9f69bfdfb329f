//! `ferrostem` simulates atomic-resolution STEM images of ferroelectric perovskites with known atom positions, and measures
//! polarization from such images twice: by fitting atom columns, and by deep networks on sub-images.
//!
//! # Conventions
//!
//! * **Units**: Å, eV, mrad, electrons; displacements of columns in pm. Settings carry the unit in the key.
//! * **Axes**: arrays are `(rows, cols)` = `(y, x)`, tensors `(batch, channel, y, x)`. Points and vectors are `[x, y]`.
//!   x runs right with the column index, y runs down with the row index, the origin is the centre of pixel (0, 0).
//!   z runs along the beam.
//! * **Fourier transform**: forward exp(−2πi k·r) without a factor, inverse with 1/N. α = λ|k|.
//! * **Precision**: f64 for geometry, potentials, phases and sums; f32 for waves and images unless set otherwise.
//! * **Polar displacement**: D = r_B − mean of the four nearest r_A ([`crystal::polarization`]).
//! * **Random numbers**: one seed per settings file, named streams ([`rng`]); results do not depend on the number of threads.
//!
//! # Floors
//!
//! A module uses only modules of lower floors; `tests/it/floors.rs` proves it.
//!
//! | floor | modules |
//! |---|---|
//! | 9 | the binary: commands |
//! | 8 | `experiment` |
//! | 7 | `figure` |
//! | 6 | `simulation` |
//! | 5 | `column`, `network` |
//! | 4 | `storage` |
//! | 3 | `emulator`, `registration` |
//! | 2 | `multislice`, `acquisition` |
//! | 1 | `crystal` |
//! | 0 | `units`, `rng`, `image`, `neighbours`, `settings`, `progress`, `provenance`, `error` |

pub mod acquisition;
pub mod column;
pub mod crystal;
pub mod emulator;
pub mod error;
pub mod experiment;
pub mod figure;
pub mod image;
pub mod multislice;
pub mod neighbours;
pub mod network;
pub mod progress;
pub mod provenance;
pub mod registration;
pub mod rng;
pub mod settings;
pub mod simulation;
pub mod storage;
pub mod units;

pub use error::{Error, Result};
