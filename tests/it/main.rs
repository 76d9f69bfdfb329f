//! Integration tests.

mod figure;
