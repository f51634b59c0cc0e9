// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the protocol crates for a microcontroller, so that nothing in them needs an operating system.

use std::path::Path;
use std::process::Command;

use crate::setup::{self, Installing};
use crate::{Failure, cargo};

/// A Cortex-M3: the smallest core the CLS firmware is meant for.
const TARGET: &str = "thumbv7m-none-eabi";

/// Where a compiler for [`TARGET`] comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Compiler {
    /// The toolchain that runs us has the target.
    Own,
    /// Debian's compiler builds the core library from its sources.
    Debian,
}

/// Builds every protocol crate without the standard library.
pub(crate) fn build(root: &Path, installing: Installing) -> Result<(), Failure> {
    let compiler = compiler(installing)?;
    let packages = cargo::packages(root)?;
    let mut arguments = vec!["build", "--target", TARGET, "--no-default-features"];
    if compiler == Compiler::Debian {
        arguments.push("-Zbuild-std=core,alloc");
    }
    for package in &packages {
        if package.directory.starts_with("proto/") {
            arguments.extend(["-p", &package.name]);
        }
    }
    println!("xtask: cargo {}", arguments.join(" "));
    let mut command = cargo::command(root);
    command.args(&arguments);
    if compiler == Compiler::Debian {
        // A directory of its own: cargo would rebuild everything whenever the compiler changes.
        command.args(["--target-dir", "target/embedded"]);
        command
            .env("RUSTC", DEBIAN_RUSTC)
            .env("RUSTC_BOOTSTRAP", "1");
    }
    let status = command
        .status()
        .map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "a protocol crate does not build for {TARGET}"
        ))),
    }
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The first way that works: what is installed, rustup, Debian's packages.
fn compiler(installing: Installing) -> Result<Compiler, Failure> {
    if has_target() {
        return Ok(Compiler::Own);
    }
    if installing == Installing::Forbidden {
        return Err(Failure::environment(format!(
            "the target {TARGET} is missing; install it with: rustup target add {TARGET}"
        )));
    }
    println!(
        "setup: the compiler lacks {TARGET}: it shows that protocol crates fit a microcontroller"
    );
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .status();
    if added.is_ok_and(|status| status.success()) && has_target() {
        return Ok(Compiler::Own);
    }
    println!("setup: rustup cannot add it here; Debian's compiler builds the core library instead");
    setup::install(&["rustc-web", "rust-web-src"])?;
    match Path::new(DEBIAN_RUSTC).is_file() {
        true => Ok(Compiler::Debian),
        false => Err(Failure::environment(format!(
            "no compiler for {TARGET}: neither `rustup target add {TARGET}` nor Debian's rustc-web works here"
        ))),
    }
}

/// Whether the compiler cargo uses has a core library for the target.
fn has_target() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let Ok(output) = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
    else {
        return false;
    };
    let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success() && Path::new(&directory).is_dir()
}
