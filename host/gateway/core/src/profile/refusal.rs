// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a profile is refused; who wrote it is at fault.

use thiserror::Error;

/// What is wrong, beginning with where.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    /// A refusal for this reason.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}
