//! Integration tests, one binary.

mod commands;
mod figure;
mod floors;
mod formats;
mod micrographs;
mod multislice;
mod network;
mod settings;
mod storage;
mod tilt_sensitivity;
mod window_fit;
