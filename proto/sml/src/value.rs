// SPDX-License-Identifier: MIT OR Apache-2.0
//! SML elements without a known role, and times.

use alloc::vec::Vec;

/// Any SML element. Numbers keep the width they were sent with, so that encoding gives the same bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value<'a> {
    /// An octet string; empty also stands for an absent optional element (`01`).
    Octets(&'a [u8]),
    /// A boolean.
    Bool(bool),
    /// An integer of `width` bytes (1 to 8).
    Signed {
        /// The number.
        value: i64,
        /// Bytes it was sent in.
        width: u8,
    },
    /// An unsigned integer of `width` bytes (1 to 8).
    Unsigned {
        /// The number.
        value: u64,
        /// Bytes it was sent in.
        width: u8,
    },
    /// A list.
    List(Vec<Value<'a>>),
}

impl Value<'_> {
    /// An integer in the narrowest of the standard widths 1, 2, 4, 8.
    pub const fn signed(value: i64) -> Self {
        Self::Signed {
            value,
            width: signed_width(value),
        }
    }

    /// An unsigned integer in the narrowest of the standard widths 1, 2, 4, 8.
    pub const fn unsigned(value: u64) -> Self {
        Self::Unsigned {
            value,
            width: unsigned_width(value),
        }
    }

    /// The number, if this is one.
    pub fn integer(&self) -> Option<i128> {
        match self {
            Self::Signed { value, .. } => Some(i128::from(*value)),
            Self::Unsigned { value, .. } => Some(i128::from(*value)),
            Self::Octets(_) | Self::Bool(_) | Self::List(_) => None,
        }
    }
}

pub(crate) const fn signed_width(value: i64) -> u8 {
    if value == value as i8 as i64 {
        1
    } else if value == value as i16 as i64 {
        2
    } else if value == value as i32 as i64 {
        4
    } else {
        8
    }
}

pub(crate) const fn unsigned_width(value: u64) -> u8 {
    match value {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

/// SML_Time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Time {
    /// Seconds of operation of the meter.
    SecIndex(u32),
    /// Seconds since 1970-01-01T00:00:00Z.
    Timestamp(u32),
    /// Seconds since 1970-01-01T00:00:00Z with the offsets of the local time.
    Local {
        /// Seconds since the epoch, UTC.
        timestamp: u32,
        /// Minutes the standard time is ahead of UTC.
        local_offset: i16,
        /// Further minutes the season adds.
        season_offset: i16,
    },
}
