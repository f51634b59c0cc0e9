// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors of a security module, sorted by who is at fault and, where a caller can act on it, by reason.

use alloc::string::String;

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

/// What a caller can tell apart without reading the text.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing that a program could act on; the text says it.
    Other,
    /// No key or object of this name.
    NotFound,
    /// The name is taken.
    Exists,
    /// A malformed or impossible input: point, digest, length.
    BadInput,
    /// The module cannot do this at all: curve, operation, size.
    Unsupported,
    /// The security status does not allow it: no PACE, no external authentication, wrong key usage.
    NotAllowed,
    /// The life-cycle phase does not allow it.
    WrongPhase,
    /// The PIN was wrong; it was not tried again.
    PinRefused,
    /// The PIN is locked and was not tried.
    PinLocked,
    /// The module has no memory left, or its memory failed.
    Memory,
    /// The module gave randomness, a signature or a point that cannot be right.
    WrongResult,
    /// No answer within the time allowed.
    Timeout,
    /// The token or card is gone, or its session is.
    Gone,
    /// The protected channel to the card is broken.
    Channel,
}

/// A failed request to a security module. The text never holds secrets.
#[derive(Clone, Debug, Error)]
#[error("{what}")]
pub struct ModuleError {
    fault: Fault,
    reason: Reason,
    what: String,
}

impl ModuleError {
    /// A caller fault; `what` is a lower-case fragment.
    pub fn caller(what: impl Into<String>) -> Self {
        Self::new(Fault::Caller, what)
    }

    /// A module fault.
    pub fn module(what: impl Into<String>) -> Self {
        Self::new(Fault::Module, what)
    }

    /// A transport fault.
    pub fn transport(what: impl Into<String>) -> Self {
        Self::new(Fault::Transport, what)
    }

    /// The same error with its reason.
    #[must_use]
    pub fn because(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// Who is at fault.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Why, as far as a program can act on it.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    fn new(fault: Fault, what: impl Into<String>) -> Self {
        Self {
            fault,
            reason: Reason::Other,
            what: what.into(),
        }
    }
}
