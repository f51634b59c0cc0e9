// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors of a security module, sorted by who is at fault.

use thiserror::Error;

/// Who has to act.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The request was wrong: unknown key, malformed point, unsupported curve.
    Caller,
    /// The module refused or failed: wrong PIN, device error, exhausted memory.
    Module,
    /// The way to the module broke: library missing, token removed, session lost.
    Transport,
}

/// A failed request to a security module. The text never holds secrets.
#[derive(Clone, Debug, Error)]
#[error("{what}")]
pub struct ModuleError {
    fault: Fault,
    what: String,
}

impl ModuleError {
    /// A caller fault; `what` is a lower-case fragment.
    pub fn caller(what: impl Into<String>) -> Self {
        Self {
            fault: Fault::Caller,
            what: what.into(),
        }
    }

    /// A module fault.
    pub fn module(what: impl Into<String>) -> Self {
        Self {
            fault: Fault::Module,
            what: what.into(),
        }
    }

    /// A transport fault.
    pub fn transport(what: impl Into<String>) -> Self {
        Self {
            fault: Fault::Transport,
            what: what.into(),
        }
    }

    /// Who is at fault.
    pub fn fault(&self) -> Fault {
        self.fault
    }
}
