// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values of records by their data type (EN 13757-3 annex A, types A to M).

use core::fmt;

use crate::date::{Date, DateTime, Time};

/// A value as the meter sent it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// No data (data field 0 or 8, or an empty variable one).
    None,
    /// Type A, B or C: an integer, from BCD or binary. A binary one may stand for "invalid", see
    /// [`crate::Record::is_valid`].
    Integer(i64),
    /// BCD digits that are no number: what a display shows in case of an error. Least significant
    /// byte first.
    Digits(&'a [u8]),
    /// Type H.
    Real(f32),
    /// Variable text.
    Text(Latin1<'a>),
    /// Type G.
    Date(Date),
    /// Types F and I.
    DateTime(DateTime),
    /// Type J.
    Time(Time),
    /// Any other bytes as sent: numbers beyond 64 bits (see [`crate::Record::decimal`]), containers,
    /// series (see [`crate::Profile`]), and types K, L and M, whose parts are not taken apart.
    Bytes(&'a [u8]),
}

/// Text in ISO 8859-1, sent last character first; displays in reading order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Latin1<'a>(pub &'a [u8]);

impl fmt::Display for Latin1<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .rev()
            .try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

/// Type A; `None` for digits that are no number. F in front stands for minus.
#[inline]
pub(crate) fn bcd(bytes: &[u8]) -> Option<i64> {
    let Some((&top, rest)) = bytes.split_last() else {
        return Some(0);
    };
    let negative = top >= 0xf0;
    let top = pair(if negative { top & 0x0f } else { top })?;
    let number = rest.iter().rev().try_fold(top, |number, byte| {
        number.checked_mul(100)?.checked_add(pair(*byte)?)
    })?;
    Some(if negative { -number } else { number })
}

/// Two digits.
#[inline]
const fn pair(byte: u8) -> Option<i64> {
    let (high, low) = (byte >> 4, byte & 0x0f);
    if high > 9 || low > 9 {
        return None;
    }
    Some((high * 10 + low) as i64)
}

/// Type B of 1 to 16 bytes, least significant first.
#[inline]
pub(crate) fn signed(bytes: &[u8]) -> Option<i128> {
    let unused = 128 - width(bytes)?;
    Some((unsigned(bytes)? << unused) as i128 >> unused)
}

/// Type C of 1 to 16 bytes, least significant first.
pub(crate) fn unsigned(bytes: &[u8]) -> Option<u128> {
    width(bytes)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u128::from(*byte)),
    )
}

/// Bits of a number.
const fn width(bytes: &[u8]) -> Option<usize> {
    match bytes.len() {
        length @ 1..=16 => Some(8 * length),
        _ => None,
    }
}

/// Type B of 1 to 8 bytes, least significant first.
#[inline]
pub(crate) fn integer(bytes: &[u8]) -> Option<i64> {
    if !matches!(bytes.len(), 1..=8) {
        return None;
    }
    let unused = 64 - 8 * bytes.len();
    let word = bytes
        .iter()
        .rev()
        .fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    Some((word << unused) as i64 >> unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bcd_signs_and_displays() {
        assert_eq!(bcd(&[0x78, 0x56, 0x34, 0x12]), Some(12_345_678));
        assert_eq!(bcd(&[0x34, 0xf2]), Some(-234));
        assert_eq!(bcd(&[0xdd, 0xb4, 0xeb, 0xdd]), None);
        assert_eq!(bcd(&[]), Some(0));
        assert_eq!(bcd(&[0x99; 9]), Some(999_999_999_999_999_999));
        assert_eq!(bcd(&[0x99; 10]), None);
    }

    #[test]
    fn binary_is_sign_extended() {
        assert_eq!(integer(&[0xff]), Some(-1));
        assert_eq!(integer(&[0x00, 0x00, 0x80]), Some(-8_388_608));
        assert_eq!(integer(&[0xff; 8]), Some(-1));
        assert_eq!(integer(&[0; 9]), None);
        assert_eq!(integer(&[]), None);
        assert_eq!(signed(&[0xff; 16]), Some(-1));
        assert_eq!(unsigned(&[0xff; 16]), Some(u128::MAX));
        assert_eq!(signed(&[0; 17]), None);
    }
}
