//! Integration tests, one binary.

mod commands;
mod crystal;
mod figure;
mod floors;
mod formats;
mod micrographs;
mod multislice;
mod network;
mod settings;
mod storage;
