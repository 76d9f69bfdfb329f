//! Integration tests, one binary.

mod floors;
mod multislice;
mod network;
mod storage;
