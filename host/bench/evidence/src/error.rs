// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors of the evidence crate, sorted by who is at fault.

use std::io;
use std::path::{Path, PathBuf};

use hsm_api::ModuleError;
use thiserror::Error;

/// Why evidence could not be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The environment: a file could not be created, written or read.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was attempted, e.g. `write`.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The caller: a name that would not be a plain file name.
    #[error("`{0}` is not usable as a file name in a bundle")]
    BadName(String),
    /// The caller: an event after the end of the run.
    #[error("the event log is closed, the run has ended")]
    Closed,
    /// The security module refused to sign the manifest.
    #[error("cannot sign the bundle: {0}")]
    Signer(#[from] ModuleError),
    /// The bundle: a file that should hold results does not.
    #[error("{} is not a {expected} document: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The schema it should follow.
        expected: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A report could not be rendered; a defect of the bench.
    #[error("cannot render {format}: {why}")]
    Render {
        /// The format.
        format: &'static str,
        /// What went wrong.
        why: String,
    },
}

impl EvidenceError {
    /// Wraps an I/O error with what was attempted on which file.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
