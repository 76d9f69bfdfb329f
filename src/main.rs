//! The `ferrostem` command.
fn main() {}
