//! Integration tests, one binary.

mod commands;
mod crystal;
mod detectors;
mod emulator;
mod figure;
mod floors;
mod formats;
mod fuzz;
mod learning;
mod micrographs;
mod multislice;
mod network;
mod odd_images;
mod positions;
mod pytorch;
mod readers;
mod settings;
mod simulation;
mod storage;
mod stream;
mod structure_files;
mod tilt_sensitivity;
mod window_fit;
