// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with an SML file, and where; the sender of the bytes is at fault in every case.

use core::fmt;

/// A file that does not follow SML.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseError {
    /// Offset in the payload where reading stopped.
    pub offset: usize,
    /// What was wrong there.
    pub kind: ErrorKind,
}

/// What a meter got wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes end inside an element.
    Truncated,
    /// A type-length field with a type SML does not have.
    UnknownType,
    /// A type-length field with an impossible length.
    BadLength,
    /// An element of another type than its place asks for.
    UnexpectedType,
    /// A list of another number of elements than its place asks for.
    UnexpectedCount {
        /// Elements asked for.
        expected: usize,
        /// Elements announced.
        got: usize,
    },
    /// A number too large for its place.
    OutOfRange,
    /// Lists nested deeper than [`MAX_DEPTH`](crate::ErrorKind::MAX_DEPTH).
    TooDeep,
    /// A message that does not end with `00`.
    MissingEnd,
    /// A vendor's deviation whose quirk is switched off.
    QuirkOff(crate::Quirk),
}

impl ErrorKind {
    /// Lists may be nested this deep, the message itself included.
    pub const MAX_DEPTH: usize = 24;
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("meter sent a file that ends inside an element"),
            Self::UnknownType => f.write_str("meter sent an unknown type-length field"),
            Self::BadLength => f.write_str("meter sent an impossible length"),
            Self::UnexpectedType => f.write_str("meter sent an element of the wrong type"),
            Self::UnexpectedCount { expected, got } => {
                write!(
                    f,
                    "meter sent a list of {got} elements instead of {expected}"
                )
            }
            Self::OutOfRange => f.write_str("meter sent a number too large for its place"),
            Self::TooDeep => f.write_str("meter sent lists nested too deep"),
            Self::MissingEnd => f.write_str("meter sent a message without its end"),
            Self::QuirkOff(quirk) => write!(f, "meter deviates from SML ({quirk})"),
        }
    }
}

impl ParseError {
    /// Where in `payload` a parser stopped.
    #[cold]
    pub(crate) fn locate(payload: &[u8], error: nom::Err<Fault<'_>>) -> Self {
        let (rest, kind) = match error {
            nom::Err::Error(fault) | nom::Err::Failure(fault) => (fault.rest.len(), fault.kind),
            nom::Err::Incomplete(_) => (0, ErrorKind::Truncated),
        };
        Self {
            offset: payload.len().saturating_sub(rest),
            kind,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.kind, self.offset)
    }
}

impl core::error::Error for ParseError {}

/// The error nom carries inside: where is told by what remains.
#[derive(Clone, Copy, Debug)]
pub struct Fault<'a> {
    pub(crate) rest: &'a [u8],
    pub(crate) kind: ErrorKind,
}

impl<'a> Fault<'a> {
    /// A parser result that says `kind` is wrong at the start of `rest`.
    pub(crate) fn at<T>(rest: &'a [u8], kind: ErrorKind) -> Result<T, nom::Err<Self>> {
        Err(nom::Err::Failure(Self { rest, kind }))
    }
}
