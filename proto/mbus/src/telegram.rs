// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame with application data: header and body by the CI field (EN 13757-7 table 2).

use core::fmt;

use crate::record::Records;
use crate::value::bcd;
use crate::{Error, Frame, Header};

/// A long frame, read up to its records.
#[derive(Clone, Debug, PartialEq)]
pub struct Telegram<'a> {
    /// Control field.
    pub control: u8,
    /// Address field.
    pub address: u8,
    /// Control information field.
    pub ci: u8,
    header: Option<Header>,
    body: Body<'a>,
}

/// What stands behind the header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body<'a> {
    /// Data records, for [`Records::new`].
    Records(&'a [u8]),
    /// The fixed structure of 1997.
    Fixed(FixedData),
    /// The meter refuses.
    Error(ApplicationError),
    /// Alarm state.
    Alarm(u8),
    /// Anything else.
    Other(&'a [u8]),
}

/// Why a meter refuses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ApplicationError {
    /// No reason given.
    Unspecified,
    /// The CI field is not implemented.
    UnimplementedCi,
    /// Buffer too long.
    BufferTooLong,
    /// Too many records.
    TooManyRecords,
    /// Premature end of a record.
    PrematureEnd,
    /// More than ten DIFE.
    TooManyDife,
    /// More than ten VIFE.
    TooManyVife,
    /// Busy, ask later.
    Busy,
    /// Too many readouts.
    TooManyReadouts,
    /// Another code.
    Other(u8),
}

impl ApplicationError {
    /// By the code behind CI 70.
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Unspecified,
            1 => Self::UnimplementedCi,
            2 => Self::BufferTooLong,
            3 => Self::TooManyRecords,
            4 => Self::PrematureEnd,
            5 => Self::TooManyDife,
            6 => Self::TooManyVife,
            8 => Self::Busy,
            9 => Self::TooManyReadouts,
            _ => Self::Other(code),
        }
    }
}

impl fmt::Display for ApplicationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "meter refuses without a reason",
            Self::UnimplementedCi => "meter does not implement the CI field",
            Self::BufferTooLong => "meter's buffer is too short",
            Self::TooManyRecords => "meter got too many records",
            Self::PrematureEnd => "meter got a record that ends early",
            Self::TooManyDife => "meter got more than 10 DIFE",
            Self::TooManyVife => "meter got more than 10 VIFE",
            Self::Busy => "meter is busy",
            Self::TooManyReadouts => "meter was read out too often",
            Self::Other(code) => return write!(f, "meter refuses with code {code:02x}"),
        })
    }
}

/// The fixed data structure of 1997: two counters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FixedData {
    /// Identification number, BCD, least significant byte first.
    pub id: [u8; 4],
    /// Access number.
    pub access: u8,
    /// Status; bits 0 and 1 say how the counters are coded.
    pub status: u8,
    /// Device type in the coding of 1997.
    pub medium: u8,
    /// The two counters.
    pub counters: [Counter; 2],
}

/// One counter of the fixed structure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counter {
    /// Its number; `None` when its digits are none.
    pub value: Option<i64>,
    /// Unit code of 1997 (6 bits).
    pub unit_code: u8,
}

impl FixedData {
    fn parse(data: &[u8]) -> Result<Self, Error> {
        let (&[i0, i1, i2, i3, access, status, t1, t2], rest) =
            data.split_first_chunk::<8>().ok_or(Error::ShortHeader)?;
        let (&first, rest) = rest.split_first_chunk::<4>().ok_or(Error::TruncatedData)?;
        let (&second, _) = rest.split_first_chunk::<4>().ok_or(Error::TruncatedData)?;
        let counter = |bytes: [u8; 4], unit: u8| Counter {
            value: if status & 1 == 0 {
                bcd(&bytes)
            } else {
                Some(i64::from(i32::from_le_bytes(bytes)))
            },
            unit_code: unit & 0x3f,
        };
        Ok(Self {
            id: [i0, i1, i2, i3],
            access,
            status,
            medium: t1 >> 6 | t2 >> 6 << 2,
            counters: [counter(first, t1), counter(second, t2)],
        })
    }
}

impl<'a> Telegram<'a> {
    /// Reads a whole frame.
    ///
    /// # Errors
    /// Of [`Frame::parse`]; [`Error::NoApplication`] for frames without data;
    /// [`Error::ShortHeader`]. Damaged records show up in [`Telegram::records`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Error> {
        let Frame::Long {
            control,
            address,
            ci,
            data,
        } = Frame::parse(frame)?
        else {
            return Err(Error::NoApplication);
        };
        let long = || Header::split_long(data).ok_or(Error::ShortHeader);
        let short = || Header::split_short(data).ok_or(Error::ShortHeader);
        let split = match ci {
            0x5b | 0x6f | 0x72 | 0x75 => Some(long()?),
            0x5a | 0x6e | 0x74 | 0x7a => Some(short()?),
            _ => None,
        };
        let rest = split.map_or(data, |(_, rest)| rest);
        let body = match ci {
            0x51 | 0x5a | 0x5b | 0x72 | 0x78 | 0x7a => Body::Records(rest),
            0x6e..=0x70 => {
                let code = rest.first().copied().unwrap_or(0);
                Body::Error(ApplicationError::from_code(code))
            }
            0x71 | 0x74 | 0x75 => Body::Alarm(rest.first().copied().unwrap_or(0)),
            0x73 => Body::Fixed(FixedData::parse(data)?),
            _ => Body::Other(rest),
        };
        Ok(Self {
            control,
            address,
            ci,
            header: split.map(|(header, _)| header),
            body,
        })
    }

    /// Id, manufacturer, access number, status; absent where the CI field has no header.
    pub const fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// What stands behind the header.
    pub const fn body(&self) -> &Body<'a> {
        &self.body
    }

    /// The access number, from wherever this telegram carries it.
    pub const fn access(&self) -> Option<u8> {
        match (&self.header, &self.body) {
            (Some(header), _) => Some(header.access),
            (None, Body::Fixed(fixed)) => Some(fixed.access),
            (None, _) => None,
        }
    }

    /// The data records, none for other bodies.
    pub const fn records(&self) -> Records<'a> {
        Records::new(match self.body {
            Body::Records(data) => data,
            _ => &[],
        })
    }
}
