//! Files: images and results in HDF5, foreign image formats, results that appear whole. HDF5 is used only here.

pub mod output;
pub mod parts;
