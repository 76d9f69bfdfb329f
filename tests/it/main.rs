//! Integration tests.
mod multislice;
