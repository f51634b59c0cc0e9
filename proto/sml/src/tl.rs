// SPDX-License-Identifier: MIT OR Apache-2.0
//! Type-length fields and the primitive elements behind them (SML 1.05 §6.2-6.3).

use alloc::vec::Vec;

use nom::IResult;
use nom::bytes::complete::take;
use nom::number::complete::u8 as byte;

use crate::error::{ErrorKind, Fault};
use crate::value::Value;

pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Fault<'a>>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Type {
    Octets,
    Bool,
    Signed,
    Unsigned,
    List,
}

/// Type and length: content bytes of a scalar, elements of a list.
pub(crate) fn header(input: &[u8]) -> Parsed<'_, (Type, usize)> {
    let (mut rest, first) = byte(input)?;
    let of = match first >> 4 & 7 {
        0 => Type::Octets,
        4 => Type::Bool,
        5 => Type::Signed,
        6 => Type::Unsigned,
        7 => Type::List,
        _ => return Fault::at(input, ErrorKind::UnknownType),
    };
    let (mut length, mut used) = (usize::from(first & 0x0f), 1);
    let mut more = first & 0x80 != 0;
    while more {
        let (after, next) = byte(rest)?;
        used += 1;
        // Four fields reach 65535, far beyond any buffer here.
        if next & 0x70 != 0 || used > 4 {
            return Fault::at(input, ErrorKind::BadLength);
        }
        length = length << 4 | usize::from(next & 0x0f);
        more = next & 0x80 != 0;
        rest = after;
    }
    if of != Type::List {
        // The length of a scalar counts its type-length field. `00`, the end of a message, ends up here.
        let Some(content) = length.checked_sub(used) else {
            return Fault::at(input, ErrorKind::BadLength);
        };
        length = content;
    }
    // Every element of a list takes a byte at least, so this bounds lists too.
    if length > rest.len() {
        return Fault::at(input, ErrorKind::Truncated);
    }
    Ok((rest, (of, length)))
}

/// The start of a list of exactly `expected` elements.
pub(crate) fn list_of(input: &[u8], expected: usize) -> Parsed<'_, ()> {
    match header(input)? {
        (rest, (Type::List, got)) if got == expected => Ok((rest, ())),
        (_, (Type::List, got)) => Fault::at(input, ErrorKind::UnexpectedCount { expected, got }),
        _ => Fault::at(input, ErrorKind::UnexpectedType),
    }
}

/// The start of a list of any number of elements.
pub(crate) fn list(input: &[u8]) -> Parsed<'_, usize> {
    match header(input)? {
        (rest, (Type::List, count)) => Ok((rest, count)),
        _ => Fault::at(input, ErrorKind::UnexpectedType),
    }
}

/// An octet string.
pub(crate) fn octets(input: &[u8]) -> Parsed<'_, &[u8]> {
    match header(input)? {
        (rest, (Type::Octets, length)) => take(length)(rest),
        _ => Fault::at(input, ErrorKind::UnexpectedType),
    }
}

/// An unsigned integer and its width.
pub(crate) fn unsigned(input: &[u8]) -> Parsed<'_, (u64, u8)> {
    match header(input)? {
        (rest, (Type::Unsigned, length)) => {
            let width = integer_width(input, length)?;
            let (rest, bytes) = take(length)(rest)?;
            let value = bytes
                .iter()
                .fold(0, |value, next| value << 8 | u64::from(*next));
            Ok((rest, (value, width)))
        }
        _ => Fault::at(input, ErrorKind::UnexpectedType),
    }
}

/// A signed integer and its width; cropped ones are sign-extended.
pub(crate) fn signed(input: &[u8]) -> Parsed<'_, (i64, u8)> {
    match header(input)? {
        (rest, (Type::Signed, length)) => {
            let width = integer_width(input, length)?;
            let (rest, bytes) = take(length)(rest)?;
            let fill = match bytes.first() {
                Some(first) if first & 0x80 != 0 => -1,
                _ => 0,
            };
            let value = bytes
                .iter()
                .fold(fill, |value, next| value << 8 | i64::from(*next));
            Ok((rest, (value, width)))
        }
        _ => Fault::at(input, ErrorKind::UnexpectedType),
    }
}

fn integer_width(at: &[u8], length: usize) -> Result<u8, nom::Err<Fault<'_>>> {
    match u8::try_from(length) {
        Ok(width @ 1..=8) => Ok(width),
        _ => Fault::at(at, ErrorKind::BadLength),
    }
}

/// An unsigned integer that fits `T`, in any width.
pub(crate) fn number<T: TryFrom<u64>>(input: &[u8]) -> Parsed<'_, T> {
    let (rest, (value, _)) = unsigned(input)?;
    match T::try_from(value) {
        Ok(value) => Ok((rest, value)),
        Err(_) => Fault::at(input, ErrorKind::OutOfRange),
    }
}

/// A signed integer that fits `T`, in any width.
pub(crate) fn signed_number<T: TryFrom<i64>>(input: &[u8]) -> Parsed<'_, T> {
    let (rest, (value, _)) = signed(input)?;
    match T::try_from(value) {
        Ok(value) => Ok((rest, value)),
        Err(_) => Fault::at(input, ErrorKind::OutOfRange),
    }
}

/// `None` for `01` (or an empty octet string of longer length), else what `inner` reads.
pub(crate) fn optional<'a, T>(
    input: &'a [u8],
    inner: impl FnOnce(&'a [u8]) -> Parsed<'a, T>,
) -> Parsed<'a, Option<T>> {
    match header(input)? {
        (rest, (Type::Octets, 0)) => Ok((rest, None)),
        _ => inner(input).map(|(rest, value)| (rest, Some(value))),
    }
}

/// Any element, `depth` lists deep already.
pub(crate) fn value(input: &[u8], depth: usize) -> Parsed<'_, Value<'_>> {
    match header(input)? {
        (_, (Type::Octets, _)) => octets(input).map(|(rest, bytes)| (rest, Value::Octets(bytes))),
        (rest, (Type::Bool, 1)) => byte(rest).map(|(rest, flag)| (rest, Value::Bool(flag != 0))),
        (_, (Type::Bool, _)) => Fault::at(input, ErrorKind::BadLength),
        (_, (Type::Signed, _)) => {
            let (rest, (value, width)) = signed(input)?;
            Ok((rest, Value::Signed { value, width }))
        }
        (_, (Type::Unsigned, _)) => {
            let (rest, (value, width)) = unsigned(input)?;
            Ok((rest, Value::Unsigned { value, width }))
        }
        (_, (Type::List, _)) if depth >= ErrorKind::MAX_DEPTH => {
            Fault::at(input, ErrorKind::TooDeep)
        }
        (mut rest, (Type::List, count)) => {
            let mut elements = Vec::new();
            for _ in 0..count {
                let (after, element) = value(rest, depth + 1)?;
                elements.push(element);
                rest = after;
            }
            Ok((rest, Value::List(elements)))
        }
    }
}

/// The absent optional element.
pub(crate) const ABSENT: u8 = 0x01;
