//! The emulator: images of any polar texture at once, from a response that was learnt from the exact engine.
//!
//! The image around a column, on pixels counted from it, depends smoothly on what is around: on displacements of the neighbours
//! relative to the column, on how rough the oxygen columns are, on doping, on tilt. That dependence is learnt once per material and
//! microscope, from small blocks with many columns out of place ([`training`]), as polynomials ([`expansion`], [`surroundings`])
//! times a few pictures of such patches ([`patch`], [`modes`]); then any texture is drawn by joining the patches of its columns
//! ([`render`]). How well that holds is measured against the exact engine and kept with the response ([`certificate`]).
//!
//! Everything is counted from the column itself, so that a shift of the whole crystal is exact to all orders, and every column has
//! its own tilt, so that bent specimens are drawn as well as flat ones.

pub mod certificate;
pub mod expansion;
pub mod field;
pub mod learning;
pub mod microscope;
pub mod modes;
pub mod patch;
pub mod render;
pub mod response;
pub mod settings;
pub mod sites;
mod stamp;
pub mod surroundings;
mod taps;
pub mod training;

pub use certificate::{Certificate, Comparison, Range};
pub use expansion::Order;
pub use learning::{Lesson, School};
pub use microscope::Microscope;
pub use modes::Modes;
pub use render::{Frame, Painter};
pub use response::{Kernel, Response};
pub use settings::TrainingSettings;
pub use sites::{Kind, Sites, Strand};
pub use training::Block;
