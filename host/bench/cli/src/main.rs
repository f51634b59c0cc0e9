//! Command-line front of the bench.
fn main() {}
