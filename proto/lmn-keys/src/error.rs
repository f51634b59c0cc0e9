// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with protected data, and whose fault it is.

use core::fmt;

/// Data that cannot be protected, or protected data that must not be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The caller's data is no whole number of blocks of 16 bytes.
    PartialBlock,
    /// The caller's data or associated data is too long for the mode.
    TooLong,
    /// The sender's data does not have the tag it should have.
    Tag,
    /// The sender's counter did not rise.
    Replay {
        /// The highest counter accepted before.
        last: u32,
        /// The counter that came.
        got: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartialBlock => f.write_str("caller's data ends inside a block"),
            Self::TooLong => f.write_str("caller's data is too long for the mode"),
            Self::Tag => f.write_str("sender's authentication tag is wrong"),
            Self::Replay { last, got } => {
                write!(f, "sender's counter {got} does not rise above {last}")
            }
        }
    }
}

impl core::error::Error for Error {}
