//! Integration tests.

mod column;
