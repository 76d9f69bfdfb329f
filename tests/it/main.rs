//! Integration tests, one binary.

mod floors;
