//! Integration tests.
mod network;
