// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with a wireless frame, and whose fault it is.

use core::fmt;

use crate::CrcFormat;

/// A layer of a telegram.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Layer {
    /// Link layer (EN 13757-4).
    Link,
    /// Extended link layer (EN 13757-4).
    Extended,
    /// Authentication and fragmentation layer (EN 13757-7).
    Authentication,
    /// Transport layer (EN 13757-7).
    Transport,
}

/// A frame that does not follow EN 13757, or one that cannot be built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The frame ends before its first CI field.
    TooShort,
    /// The frame has the CRCs of a format, and one of them is wrong.
    Crc {
        /// The format the other CRCs show.
        format: CrcFormat,
        /// Which block, from 0.
        block: usize,
        /// CRC of the block's bytes.
        expected: u16,
        /// CRC that was received.
        got: u16,
    },
    /// The frame with CRCs is shorter than its L field says.
    Incomplete {
        /// The format the CRCs show.
        format: CrcFormat,
    },
    /// The meter's frame ends inside a layer's fields.
    Cut(Layer),
    /// The wired frame is none.
    Wired(smgw_mbus::Error),
    /// The caller's telegram does not fit one frame.
    FrameTooLong,
    /// The caller asks for what the format cannot carry.
    Unencodable,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "link layer",
            Self::Extended => "extended link layer",
            Self::Authentication => "authentication and fragmentation layer",
            Self::Transport => "transport layer",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("frame ends before its first CI field"),
            Self::Crc {
                format,
                block,
                expected,
                got,
            } => write!(
                f,
                "CRC of block {block} is {got:04x} instead of {expected:04x} ({format})"
            ),
            Self::Incomplete { format } => {
                write!(f, "frame is shorter than its L field says ({format})")
            }
            Self::Cut(layer) => write!(f, "meter's frame ends inside its {layer}"),
            Self::Wired(error) => write!(f, "wired frame is none: {error}"),
            Self::FrameTooLong => f.write_str("caller's telegram does not fit one frame"),
            Self::Unencodable => f.write_str("caller's telegram does not fit its fields"),
        }
    }
}

impl core::error::Error for Error {}
