//! The arithmetic of waves in vector registers: Fourier transforms of as many lines at once as a register holds numbers.
//!
//! A *tile* holds that many lines of a field, rows or columns, number by number: the real parts of all lines at one place, then
//! their imaginary parts, then those of the next place.

mod aligned;
mod arithmetic;
mod butterflies;
mod field;
mod portable;
mod registers;
mod tile;
mod transform;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use aligned::Aligned;
pub(super) use arithmetic::{Arithmetic, complexes, complexes_mut, swapped};
pub(super) use field::Strips;
pub use registers::Vectors;
pub(super) use registers::{Kernel, Lanes, MOST, Registers};
pub(super) use tile::Tile;
pub(super) use transform::{Transform, multiply};
