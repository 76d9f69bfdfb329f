//! Integration tests, one binary.

mod commands;
mod figure;
mod floors;
mod micrographs;
mod multislice;
mod network;
mod settings;
mod storage;
