//! Set-up, test, rehearse and check.
fn main() {}
