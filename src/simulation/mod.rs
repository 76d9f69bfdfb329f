//! From a settings file to a file of images: specimen → multislice → acquisition → `.hspy`.
//!
//! The work is cut into units, one tilt and one block of probe positions each. A unit's numbers do not depend on the cutting,
//! on threads or on what ran before; finished units are kept beside the result until it is whole, so that a killed run goes
//! on where it was and several machines can share one simulation (`--shard`).

mod assembly;
mod certification;
mod cost;
mod crystal;
mod description;
mod emulation;
mod extremes;
mod learning;
mod method;
mod microscope;
mod plan;
mod responses;
mod run;
mod scan;
mod settings;
mod simulator;
mod units;
mod warnings;

pub use assembly::acquire;
pub use certification::{Examination, Plate, Texture, certify};
pub use emulation::EmulatorSettings;
pub use extremes::Extremes;
pub use learning::Curriculum;
pub use plan::Plan;
pub use responses::{
    FOLDER_VARIABLE, available_responses, make_response, responses, shipped_response,
};
pub use run::{Outcome, simulate};
pub use scan::Raster;
pub use settings::{GridSettings, ScanSettings, SimulationSettings};
pub use units::{Shard, Unit};
