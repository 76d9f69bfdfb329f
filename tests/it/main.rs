//! Integration tests, one binary.

mod figure;
mod floors;
mod multislice;
mod network;
mod storage;
