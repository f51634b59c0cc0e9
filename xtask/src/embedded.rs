// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the protocol crates, and what devices use of the security module, for a microcontroller, so that nothing in them
//! needs an operating system.

use std::path::Path;

use crate::setup::Installing;
use crate::toolchain::{self, Compiler};
use crate::{Failure, cargo};

/// A Cortex-M3: the smallest core the CLS firmware is meant for.
const TARGET: &str = "thumbv7m-none-eabi";

/// TLS of a device; the crates below it come along.
const DEVICE_TLS: [&str; 2] = ["hsm-soft", "hsm-tls"];

/// Builds every protocol crate and the TLS of a device without the standard library.
pub(crate) fn build(root: &Path, installing: Installing) -> Result<(), Failure> {
    let compiler = Compiler::find(TARGET, installing)?;
    let output = cargo::target_directory(root)?.join("embedded");
    let mut command = compiler.build(root, TARGET, &output)?;
    command.arg("--no-default-features");
    for package in cargo::packages(root)? {
        let tls = DEVICE_TLS.contains(&package.name.as_str());
        if tls || package.directory.starts_with("proto/") {
            command.args(["-p", &package.name]);
        }
    }
    toolchain::run(command, || {
        format!("a crate of devices does not build for {TARGET}")
    })
}
