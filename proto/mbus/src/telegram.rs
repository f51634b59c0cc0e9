// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame with application data: header and body by the CI field (EN 13757-7 table 2).

use core::fmt;

use crate::ci::{HeaderKind, Service, classify};
use crate::record::Records;
use crate::{Error, FixedData, Frame, Header};

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
    payload: &'a [u8],
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

    /// The code behind CI 70.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::UnimplementedCi => 1,
            Self::BufferTooLong => 2,
            Self::TooManyRecords => 3,
            Self::PrematureEnd => 4,
            Self::TooManyDife => 5,
            Self::TooManyVife => 6,
            Self::Busy => 8,
            Self::TooManyReadouts => 9,
            Self::Other(code) => code,
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
        Self::of(control, address, ci, data)
    }

    /// Reads what a link layer carries: the CI field and the data behind it.
    ///
    /// # Errors
    /// [`Error::ShortHeader`], and [`Error::TruncatedData`] of a fixed structure.
    pub fn of(control: u8, address: u8, ci: u8, data: &'a [u8]) -> Result<Self, Error> {
        let (service, kind) = classify(ci);
        let split = match kind {
            HeaderKind::Long => Some(Header::split_long(data).ok_or(Error::ShortHeader)?),
            HeaderKind::Short => Some(Header::split_short(data).ok_or(Error::ShortHeader)?),
            HeaderKind::None => None,
        };
        let (header, payload) = match split {
            Some((header, rest)) => (Some(header), rest),
            None => (None, data),
        };
        let code = || payload.first().copied().unwrap_or(0);
        let body = match service {
            Service::Command | Service::Response => Body::Records(payload),
            Service::ApplicationError => Body::Error(ApplicationError::from_code(code())),
            Service::Alarm => Body::Alarm(code()),
            Service::Fixed => Body::Fixed(FixedData::parse(payload)?),
            _ => Body::Other(payload),
        };
        Ok(Self {
            control,
            address,
            ci,
            header,
            payload,
            body,
        })
    }

    /// What the CI field announces.
    pub const fn service(&self) -> Service {
        classify(self.ci).0
    }

    /// The bytes behind the header as sent: also where [`Header::mode`] says they are encrypted, and
    /// [`Telegram::records`] can make no sense of them.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
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
