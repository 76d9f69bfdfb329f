//! Crystals: what is in the microscope, and the truth about it.

pub mod composition;
pub mod displacements;
pub mod element;
pub mod field;
pub mod film;
pub mod lattice;
pub mod overlap;
pub mod perovskite;
pub mod phonons;
pub mod polarization;
pub mod snapshots;
pub mod specimen;
pub mod structure;
pub mod structure_file;
pub mod texture;
pub mod tilt_field;
pub mod wall;

pub use specimen::{External, Specimen};
pub use structure::{Structure, Truth};

/// The two cation sublattices of a perovskite ABO₃, and its oxygen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sublattice {
    /// Corner site: Bi, Sm, Sr.
    A,
    /// Body-centre site: Fe, Ti.
    B,
    /// Face-centre site: O.
    O,
}
