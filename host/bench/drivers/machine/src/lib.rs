// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machines the gateway runs on beside the bench's own: an emulated arm64 board, and boards reached by ssh.
//!
//! Either is one process whose output is the gateway's, and whose end is the gateway's end: [`Board::command`] boots a
//! kernel in QEMU, [`Remote::command`] runs the program at the far end of ssh. How to start, watch and judge such a
//! process is the caller's business.

mod archive;
mod board;
mod ports;
mod remote;
mod time;

pub use archive::Archive;
pub use board::{Board, Guest, Images, Plugs};
pub use ports::free_port;
pub use remote::{Remote, Tunnel};
pub use time::TimeServer;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a machine cannot be prepared.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MachineError {
    /// What the machine boots is not there.
    #[error("{} is missing; `cargo xtask target arm64` makes it", .0.display())]
    NotBuilt(PathBuf),
    /// A program is not installed.
    #[error("the program {program} is missing; install the package {package}")]
    NotInstalled {
        /// The program.
        program: &'static str,
        /// The Debian package it is in.
        package: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The machine at the far end did not do what it was asked.
    #[error("{host}: {what}")]
    Remote {
        /// Which machine.
        host: String,
        /// What it said.
        what: String,
    },
    /// The system refused.
    #[error("operating system: {0}")]
    System(#[from] io::Error),
}

/// Names the file in what the system said about it.
fn file<T>(result: io::Result<T>, path: &Path) -> Result<T, MachineError> {
    result.map_err(|source| MachineError::File {
        file: path.into(),
        source,
    })
}

/// Whether a program is in the search path, or where only root's lies.
fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|folder| folder.join(program).is_file())
}
