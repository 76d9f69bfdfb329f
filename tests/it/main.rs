//! Integration tests.

mod storage;
