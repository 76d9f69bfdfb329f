//! Files: images and results in HDF5, foreign image formats, results that appear whole. HDF5 is used only here.

pub mod arrays;
pub mod claim;
pub mod dataset;
mod dm;
mod dm_tags;
mod hdf;
mod hdf_signals;
pub mod hspy;
pub mod info;
pub mod micrograph;
pub mod output;
pub mod parts;
pub mod patterns;
mod pixels;
pub mod polarization;
pub mod positions;
mod raster;
mod records;
pub mod responses;
mod rounding;
mod seal;
pub mod tables;
mod units;
