// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds a compiler for a board: the toolchain's own target, rustup's, or Debian's compiler with its sources.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::{self, Installing};
use crate::{Failure, cargo};

/// Where a compiler for a target comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Compiler {
    /// The toolchain that runs us has the target.
    Own,
    /// Debian's compiler builds the core library from its sources.
    Debian,
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Sources that [`DEBIAN_RUSTC`] builds the core library from.
const DEBIAN_SOURCES: &str = "rust-web-src";

impl Compiler {
    /// The first way that works for `target`: what is installed, rustup, Debian's packages.
    pub(crate) fn find(target: &str, installing: Installing) -> Result<Self, Failure> {
        if has_target(target) {
            return Ok(Self::Own);
        }
        if installing == Installing::Forbidden {
            return Err(Failure::environment(format!(
                "the target {target} is missing; install it with: rustup target add {target}"
            )));
        }
        println!("setup: the compiler lacks {target}, which programs of boards are built for");
        let added = Command::new("rustup")
            .args(["target", "add", target])
            .status();
        if added.is_ok_and(|status| status.success()) && has_target(target) {
            return Ok(Self::Own);
        }
        println!(
            "setup: rustup cannot add it here; Debian's compiler builds the core library instead"
        );
        setup::install(&["rustc-web", DEBIAN_SOURCES])?;
        match Path::new(DEBIAN_RUSTC).is_file() {
            true => Ok(Self::Debian),
            false => Err(Failure::environment(format!(
                "no compiler for {target}: neither `rustup target add {target}` nor Debian's rustc-web works here"
            ))),
        }
    }

    /// `cargo build` for `target` in the workspace at `root`, output below `output`.
    pub(crate) fn build(
        self,
        root: &Path,
        target: &str,
        output: &Path,
    ) -> Result<Command, Failure> {
        self.build_with(root, target, output, "core,alloc")
    }

    /// As [`Self::build`], for a target that has these libraries.
    pub(crate) fn build_with(
        self,
        root: &Path,
        target: &str,
        output: &Path,
        libraries: &str,
    ) -> Result<Command, Failure> {
        let mut command = cargo::command(root);
        command.args(["build", "--target", target, "--target-dir"]);
        match self {
            Self::Own => {
                command.arg(output);
            }
            Self::Debian => {
                // A directory of its own: cargo would rebuild everything whenever the compiler changes.
                command.arg(output.join("debian"));
                command.arg(format!("-Zbuild-std={libraries}"));
                command.env("RUSTC", DEBIAN_RUSTC);
                command.env("RUSTC_BOOTSTRAP", "1");
                command.env("PATH", path_with(linker_directory()?)?);
            }
        }
        Ok(command)
    }

    /// Where [`Self::build`] with this `output` puts the files of `target` built with the profile `release`.
    pub(crate) fn release(self, target: &str, output: &Path) -> PathBuf {
        let output = match self {
            Self::Own => output.to_owned(),
            Self::Debian => output.join("debian"),
        };
        output.join(target).join("release")
    }
}

/// Runs a build on the terminal.
pub(crate) fn run(mut command: Command, failure: impl FnOnce() -> String) -> Result<(), Failure> {
    let words = command.get_args().map(|word| word.to_string_lossy());
    println!("xtask: cargo {}", words.collect::<Vec<_>>().join(" "));
    let status = command
        .status()
        .map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(failure())),
    }
}

/// Whether the compiler cargo uses has a core library for the target.
fn has_target(target: &str) -> bool {
    let directory = ask_compiler(&["--print", "target-libdir", "--target", target]);
    directory.is_some_and(|directory| Path::new(&directory).is_dir())
}

/// The directory of the linker that the toolchain brings; Debian's compiler calls it by name.
fn linker_directory() -> Result<PathBuf, Failure> {
    let sysroot = ask_compiler(&["--print", "sysroot"]);
    let host = ask_compiler(&["--print", "host-tuple"]);
    let directory = sysroot.zip(host).map(|(sysroot, host)| {
        PathBuf::from(sysroot)
            .join("lib/rustlib")
            .join(host)
            .join("bin")
    });
    directory
        .filter(|directory| directory.join("rust-lld").is_file())
        .ok_or_else(|| {
            Failure::environment(
                "the toolchain has no rust-lld, which links firmware; install Rust with rustup",
            )
        })
}

fn path_with(first: PathBuf) -> Result<OsString, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(first).chain(std::env::split_paths(&path)))
        .map_err(|error| Failure::environment(format!("PATH cannot be extended: {error}")))
}

/// One line of the compiler that cargo uses.
fn ask_compiler(arguments: &[&str]) -> Option<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(arguments).output().ok()?;
    let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(line)
}
