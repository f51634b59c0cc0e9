// SPDX-License-Identifier: MIT OR Apache-2.0
//! SML_Value: a scalar or a list, and the three lists SML 1.04 and 1.05 know as values.

use alloc::vec::Vec;

use crate::coded::{Coded, List, Read, Reader, choices, records};
use crate::error::{ErrorKind, ParseError};
use crate::number::{signed_width, unsigned_width};
use crate::tl::{self, Kind};
use crate::{Quirks, Time};

/// Any SML element. Numbers keep the width they were sent with, so that encoding gives the same bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
    /// A list; as a value of a register [`ListValue::of`] tells what it means.
    List(List<'a, Value<'a>>),
}

impl<'a> Value<'a> {
    /// Reads the element `bytes` begin with, and tells the bytes behind it. All deviations are
    /// tolerated.
    ///
    /// # Errors
    /// The first place where the bytes do not follow SML.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let mut reader = Reader::new(bytes, Quirks::ALL);
        match Self::read(&mut reader) {
            Ok(value) => Ok((value, reader.rest)),
            Err(fault) => Err(ParseError::locate(bytes, fault)),
        }
    }

    /// The element as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

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

impl Default for Value<'_> {
    /// The empty octet string.
    fn default() -> Self {
        Self::Octets(&[])
    }
}

impl<'a> Coded<'a> for Value<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Read<'a, Self> {
        match tl::kind(reader.rest)? {
            Kind::Octets => Coded::read(reader).map(Self::Octets),
            Kind::Bool => Coded::read(reader).map(Self::Bool),
            Kind::Signed => {
                let (value, width) = reader.take(tl::signed)?;
                Ok(Self::Signed { value, width })
            }
            Kind::Unsigned => {
                let (value, width) = reader.take(tl::unsigned)?;
                Ok(Self::Unsigned { value, width })
            }
            Kind::List => Coded::read(reader).map(Self::List),
            Kind::End => reader.refuse(ErrorKind::UnexpectedType),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Octets(bytes) => bytes.write(out),
            Self::Bool(flag) => flag.write(out),
            Self::Signed { value, width } => tl::write_signed(out, *value, *width),
            Self::Unsigned { value, width } => tl::write_unsigned(out, *value, *width),
            Self::List(elements) => elements.write(out),
        }
    }
}

choices! {
    /// What a list means as the value of a register (SML_ListType, since SML 1.04).
    pub enum ListValue<'a> {
        /// A time.
        1 => Time(Time),
        /// A value with its own time and status.
        2 => Timestamped(TimestampedValue<'a>),
        /// A COSEM attribute.
        3 => Cosem(CosemValue<'a>),
    }

    /// A COSEM attribute as the value of a register.
    pub enum CosemValue<'a> {
        /// The attribute scaler_unit.
        1 => ScalerUnit(ScalerUnit<'a>),
    }
}

records! {
    /// A value with its own time and status.
    pub struct TimestampedValue<'a> {
        /// When the value was valid.
        time: Time,
        /// Status at that time; an absent one is the empty octet string.
        status: Value<'a>,
        /// The value.
        value: Value<'a>,
    }

    /// COSEM scaler_unit; both are numbers.
    pub struct ScalerUnit<'a> {
        /// Power of ten.
        scaler: Value<'a>,
        /// DLMS unit code.
        unit: Value<'a>,
    }
}

impl<'a> ListValue<'a> {
    /// The meaning of a `value` that was received, if it is a list of a known one.
    pub fn of(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::List(list) => Self::read(&mut list.received()?).ok(),
            _ => None,
        }
    }

    /// The element as bytes; [`Value::parse`] makes a value of them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}
