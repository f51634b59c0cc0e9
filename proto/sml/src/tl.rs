// SPDX-License-Identifier: MIT OR Apache-2.0
//! Type-length fields and the primitive elements behind them (SML 1.05 §6.2-6.3).

use alloc::vec::Vec;

use nom::IResult;

use crate::error::{ErrorKind, Fault};

pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Fault<'a>>;

/// What a type-length field announces.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// An octet string; an empty one also stands for an absent optional element.
    Octets,
    /// A boolean.
    Bool,
    /// A signed integer.
    Signed,
    /// An unsigned integer.
    Unsigned,
    /// A list.
    List,
    /// `00`, the end of a message; between messages it is fill.
    End,
}

impl Kind {
    const fn of(first: u8) -> Option<Self> {
        match first >> 4 & 7 {
            0 if first == END => Some(Self::End),
            0 => Some(Self::Octets),
            4 => Some(Self::Bool),
            5 => Some(Self::Signed),
            6 => Some(Self::Unsigned),
            7 => Some(Self::List),
            _ => None,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Octets | Self::End => 0x00,
            Self::Bool => 0x40,
            Self::Signed => 0x50,
            Self::Unsigned => 0x60,
            Self::List => 0x70,
        }
    }
}

/// Kind of the next element, whose length may still be wrong.
#[inline(always)]
pub(crate) fn kind(input: &[u8]) -> Result<Kind, nom::Err<Fault<'_>>> {
    let (_, first) = byte(input)?;
    Kind::of(first).map_or_else(|| Fault::at(input, ErrorKind::UnknownType), Ok)
}

/// Kind and length: content bytes of a scalar, elements of a list.
#[inline(always)]
pub(crate) fn header(input: &[u8]) -> Parsed<'_, (Kind, usize)> {
    let (mut rest, first) = byte(input)?;
    let Some(kind) = Kind::of(first) else {
        return Fault::at(input, ErrorKind::UnknownType);
    };
    let (mut length, mut used) = (usize::from(first & 0x0f), 1);
    if first & MORE != 0 {
        let (after, (longer, fields)) = long_length(input, rest, length)?;
        (rest, length, used) = (after, longer, fields);
    }
    // The length of a scalar counts its type-length field.
    if !matches!(kind, Kind::List | Kind::End) {
        let Some(content) = length.checked_sub(used) else {
            return Fault::at(input, ErrorKind::BadLength);
        };
        length = content;
    }
    // Every element of a list takes a byte at least, so this bounds lists too.
    if length > rest.len() {
        return Fault::at(input, ErrorKind::Truncated);
    }
    Ok((rest, (kind, length)))
}

/// The length and the bytes of a type-length field of several bytes, from the second byte on.
#[cold]
fn long_length<'a>(
    at: &'a [u8],
    mut rest: &'a [u8],
    mut length: usize,
) -> Parsed<'a, (usize, usize)> {
    let mut used = 1;
    loop {
        let (after, next) = byte(rest)?;
        used += 1;
        // Four fields reach 65535, far beyond any buffer here.
        if next & 0x70 != 0 || used > 4 {
            return Fault::at(at, ErrorKind::BadLength);
        }
        length = length << 4 | usize::from(next & 0x0f);
        rest = after;
        if next & MORE == 0 {
            return Ok((rest, (length, used)));
        }
    }
}

/// The start of a list: its number of elements.
#[inline(always)]
pub(crate) fn list(input: &[u8]) -> Parsed<'_, usize> {
    match header(input)? {
        (rest, (Kind::List, count)) => Ok((rest, count)),
        _ => Fault::at(input, ErrorKind::UnexpectedType),
    }
}

/// The start of a list of exactly `expected` elements.
#[inline(always)]
pub(crate) fn list_of<'a>(expected: usize) -> impl Fn(&'a [u8]) -> Parsed<'a, ()> {
    move |input| match list(input)? {
        (rest, got) if got == expected => Ok((rest, ())),
        (_, got) => Fault::at(input, ErrorKind::UnexpectedCount { expected, got }),
    }
}

/// An octet string.
#[inline(always)]
pub(crate) fn octets(input: &[u8]) -> Parsed<'_, &[u8]> {
    match header(input)? {
        (rest, (Kind::Octets, length)) => split(rest, length),
        _ => Fault::at(input, ErrorKind::UnexpectedType),
    }
}

/// A boolean; any byte but zero is true.
pub(crate) fn boolean(input: &[u8]) -> Parsed<'_, bool> {
    match header(input)? {
        (rest, (Kind::Bool, 1)) => byte(rest).map(|(rest, flag)| (rest, flag != 0)),
        (_, (Kind::Bool, _)) => Fault::at(input, ErrorKind::BadLength),
        _ => Fault::at(input, ErrorKind::UnexpectedType),
    }
}

/// An unsigned integer and its width.
#[inline(always)]
pub(crate) fn unsigned(input: &[u8]) -> Parsed<'_, (u64, u8)> {
    match header(input)? {
        (rest, (Kind::Unsigned, length)) => {
            let (rest, (top, width)) = number(input, rest, length)?;
            Ok((rest, (top >> (64 - 8 * width), width)))
        }
        _ => Fault::at(input, ErrorKind::UnexpectedType),
    }
}

/// A signed integer and its width; cropped ones are sign-extended.
#[inline(always)]
pub(crate) fn signed(input: &[u8]) -> Parsed<'_, (i64, u8)> {
    match header(input)? {
        (rest, (Kind::Signed, length)) => {
            let (rest, (top, width)) = number(input, rest, length)?;
            Ok((rest, (top as i64 >> (64 - 8 * width), width)))
        }
        _ => Fault::at(input, ErrorKind::UnexpectedType),
    }
}

/// One byte and what follows it.
#[inline(always)]
fn byte(input: &[u8]) -> Parsed<'_, u8> {
    match input.split_first() {
        Some((byte, rest)) => Ok((rest, *byte)),
        None => Fault::at(input, ErrorKind::Truncated),
    }
}

/// `length` bytes and what follows them.
#[inline(always)]
fn split(input: &[u8], length: usize) -> Parsed<'_, &[u8]> {
    match input.split_at_checked(length) {
        Some((bytes, rest)) => Ok((rest, bytes)),
        None => Fault::at(input, ErrorKind::Truncated),
    }
}

/// A number of `length` bytes at the upper end of 64 bits, followed by anything, and its width.
#[inline(always)]
fn number<'a>(at: &'a [u8], content: &'a [u8], length: usize) -> Parsed<'a, (u64, u8)> {
    let width = match u8::try_from(length) {
        Ok(width @ 1..=8) => width,
        _ => return Fault::at(at, ErrorKind::BadLength),
    };
    let (rest, bytes) = split(content, length)?;
    let top = match content.first_chunk() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let low = bytes
                .iter()
                .fold(0, |value, next| value << 8 | u64::from(*next));
            low << (64 - 8 * width)
        }
    };
    Ok((rest, (top, width)))
}

/// Writes a type-length field in as few bytes as possible; `length` is content bytes, or elements of
/// a list.
pub(crate) fn write_header(out: &mut Vec<u8>, kind: Kind, length: usize) {
    let total = |fields: usize| match kind {
        Kind::List => length,
        _ => length + fields,
    };
    let mut fields = 1;
    while total(fields) >> (4 * fields) != 0 {
        fields += 1;
    }
    let total = total(fields);
    for field in (0..fields).rev() {
        let more = if field == 0 { 0x00 } else { MORE };
        let code = if field == fields - 1 { kind.code() } else { 0 };
        out.push(more | code | (total >> (4 * field) & 0x0f) as u8);
    }
}

/// Writes an octet string.
pub(crate) fn write_octets(out: &mut Vec<u8>, bytes: &[u8]) {
    write_header(out, Kind::Octets, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes `width` bytes, or as many as the number needs.
pub(crate) fn write_unsigned(out: &mut Vec<u8>, value: u64, width: u8) {
    let needed = (64 - value.leading_zeros()).div_ceil(8).max(1) as u8;
    let width = usize::from(width.max(needed).min(8));
    write_header(out, Kind::Unsigned, width);
    out.extend(value.to_be_bytes().iter().skip(8 - width));
}

/// Writes `width` bytes, or as many as the number needs.
pub(crate) fn write_signed(out: &mut Vec<u8>, value: i64, width: u8) {
    let fits = |width: u8| {
        let unused = 64 - 8 * u32::from(width);
        value << unused >> unused == value
    };
    let width = (width.clamp(1, 8)..8)
        .find(|width| fits(*width))
        .unwrap_or(8);
    write_header(out, Kind::Signed, usize::from(width));
    out.extend(value.to_be_bytes().iter().skip(8 - usize::from(width)));
}

/// The absent optional element.
pub(crate) const ABSENT: u8 = 0x01;
/// Ends a message; between messages it is fill.
pub(crate) const END: u8 = 0x00;
/// The type-length field goes on.
const MORE: u8 = 0x80;
