//! The reference Smart Meter Gateway process.
fn main() {}
