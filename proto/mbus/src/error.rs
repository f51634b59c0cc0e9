// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with M-Bus data, and whose fault it is.

use core::fmt;

/// A frame, header or record that does not follow EN 13757.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The sender began a frame with none of E5, 10, 68, or broke off early.
    NoFrame,
    /// The sender gave two different lengths, or one below 3.
    Length,
    /// The sender's checksum is wrong.
    Checksum {
        /// Sum of the bytes.
        expected: u8,
        /// Sum that was sent.
        got: u8,
    },
    /// The sender's frame does not end with 16.
    Stop,
    /// The frame carries no application data although its place asks for some.
    NoApplication,
    /// The meter's header is shorter than its CI field says.
    ShortHeader,
    /// The meter's data ends inside a data information block.
    TruncatedDib,
    /// The meter's data ends inside a value information block.
    TruncatedVib,
    /// The meter's data ends inside a value.
    TruncatedData,
    /// The meter chains more than ten DIFE.
    TooManyDife,
    /// The meter chains more than ten VIFE.
    TooManyVife,
    /// The meter uses a reserved special DIF.
    ReservedDif(u8),
    /// The meter uses a reserved length code for variable data.
    ReservedLvar(u8),
    /// A further telegram of an answer is another device's.
    OtherDevice,
    /// An answer has more telegrams than any should.
    TooManyTelegrams,
    /// The caller asks for a frame of more than 252 bytes of data.
    FrameTooLong,
    /// The caller asks for a record M-Bus cannot carry.
    Unencodable,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFrame => f.write_str("sender broke off or sent no frame"),
            Self::Length => f.write_str("sender gave an impossible length"),
            Self::Checksum { expected, got } => {
                write!(
                    f,
                    "sender's checksum is {got:02x} instead of {expected:02x}"
                )
            }
            Self::Stop => f.write_str("sender's frame does not end with 16"),
            Self::NoApplication => f.write_str("sender's frame carries no application data"),
            Self::ShortHeader => f.write_str("meter's header is cut short"),
            Self::TruncatedDib => f.write_str("meter's record ends inside its DIF"),
            Self::TruncatedVib => f.write_str("meter's record ends inside its VIF"),
            Self::TruncatedData => f.write_str("meter's record ends inside its value"),
            Self::TooManyDife => f.write_str("meter chains more than 10 DIFE"),
            Self::TooManyVife => f.write_str("meter chains more than 10 VIFE"),
            Self::ReservedDif(dif) => write!(f, "meter uses the reserved DIF {dif:02x}"),
            Self::ReservedLvar(code) => write!(f, "meter uses the reserved length code {code:02x}"),
            Self::OtherDevice => f.write_str("sender is not the one that began the answer"),
            Self::TooManyTelegrams => f.write_str("meter's answer does not end"),
            Self::FrameTooLong => f.write_str("caller's data does not fit one frame"),
            Self::Unencodable => f.write_str("caller's record does not fit its fields"),
        }
    }
}

impl core::error::Error for Error {}
