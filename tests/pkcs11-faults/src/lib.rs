// SPDX-License-Identifier: MIT OR Apache-2.0
//! A PKCS#11 library that hands every call through to a real one (SoftHSM2) and fails where a test orders it to.
//!
//! [`library`] finds the shared object beside the test program. A process that is started with [`CONTROL_VARIABLE`]
//! and opens that object obeys the orders that [`Faults`] writes, also while it runs, and records its calls.

mod interposer;
mod orders;

pub use orders::{Calls, Effect, Faults};
use std::path::PathBuf;

/// The environment variable that names the file of orders.
pub const CONTROL_VARIABLE: &str = "PKCS11_FAULTS";

/// The environment variable that names the real library; SoftHSM2 where it is not set.
pub const LIBRARY_VARIABLE: &str = "PKCS11_FAULTS_LIBRARY";

/// This crate's shared object, which Cargo builds beside the tests that depend on the crate.
///
/// # Panics
/// When it is not there.
pub fn library() -> PathBuf {
    let program = std::env::current_exe().expect("the test's own path");
    program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("libpkcs11_faults.so"))
        .find(|library| library.is_file())
        .unwrap_or_else(|| {
            panic!(
                "libpkcs11_faults.so is not beside {}; the test's package must depend on pkcs11-faults",
                program.display()
            )
        })
}
