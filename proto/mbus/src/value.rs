// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values of records by their data type (EN 13757-3 annex A, types A to M).

use core::fmt;

/// A value as the meter sent it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// No data (data field 0 or 8, or an empty variable one).
    None,
    /// Type A or B: an integer, from BCD or binary.
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
    /// Any other bytes as sent: types D, K, L, M and long binary numbers.
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

/// Type G. Fields as sent; `0` and all ones stand for "not given" or "every".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Date {
    /// 1 to 31.
    pub day: u8,
    /// 1 to 12.
    pub month: u8,
    /// 0 to 99 (127: every year), counted from 2000 unless a century says otherwise.
    pub year: u8,
}

/// Types F and I.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DateTime {
    /// The day.
    pub date: Date,
    /// The time of day; type F has no seconds.
    pub time: Time,
    /// Hundreds of years since 1900 (type F).
    pub century: u8,
    /// The meter marks the time as invalid.
    pub invalid: bool,
    /// Daylight saving time.
    pub summer: bool,
}

/// Type J, and the time of day of the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Time {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl Date {
    /// Type G from its two bytes.
    pub const fn from_bytes([low, high]: [u8; 2]) -> Self {
        Self {
            day: low & 0x1f,
            month: high & 0x0f,
            year: low >> 5 | high >> 1 & 0x78,
        }
    }
}

impl DateTime {
    /// Type F.
    pub const fn from_type_f([minute, hour, low, high]: [u8; 4]) -> Self {
        Self {
            date: Date::from_bytes([low, high]),
            time: Time {
                hour: hour & 0x1f,
                minute: minute & 0x3f,
                second: 0,
            },
            century: hour >> 5 & 3,
            invalid: minute & 0x80 != 0,
            summer: hour & 0x80 != 0,
        }
    }

    /// Type I; its week and day of week are not kept.
    pub const fn from_type_i([second, minute, hour, low, high, _]: [u8; 6]) -> Self {
        Self {
            date: Date::from_bytes([low, high]),
            time: Time {
                hour: hour & 0x1f,
                minute: minute & 0x3f,
                second: second & 0x3f,
            },
            century: 0,
            invalid: minute & 0x80 != 0,
            summer: second & 0x40 != 0,
        }
    }

    /// The full year: without a century, 0 to 80 mean 2000 to 2080.
    pub const fn year(&self) -> u16 {
        let century = if self.century == 0 && self.date.year <= 80 {
            1
        } else {
            self.century as u16
        };
        1900 + 100 * century + self.date.year as u16
    }
}

/// Type A; `None` for digits that are no number. F in front stands for minus.
pub(crate) fn bcd(bytes: &[u8]) -> Option<i64> {
    let digits = bytes
        .iter()
        .rev()
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
        .enumerate();
    let mut number = 0i64;
    let mut negative = false;
    for (at, digit) in digits {
        match digit {
            0..=9 => number = number.checked_mul(10)?.checked_add(i64::from(digit))?,
            0x0f if at == 0 => negative = true,
            _ => return None,
        }
    }
    Some(if negative { -number } else { number })
}

/// Type B of up to eight bytes, least significant first.
pub(crate) fn integer(bytes: &[u8]) -> Option<i64> {
    let fill = match bytes.last()? {
        0x80.. => -1,
        _ => 0,
    };
    (bytes.len() <= 8).then(|| {
        bytes
            .iter()
            .rev()
            .fold(fill, |number, byte| number << 8 | i64::from(*byte))
    })
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
    }

    #[test]
    fn binary_is_sign_extended() {
        assert_eq!(integer(&[0xff]), Some(-1));
        assert_eq!(integer(&[0x00, 0x00, 0x80]), Some(-8_388_608));
        assert_eq!(integer(&[0xff; 8]), Some(-1));
        assert_eq!(integer(&[0; 9]), None);
    }

    #[test]
    fn dates() {
        let date = Date::from_bytes([0xcd, 0x13]);
        assert_eq!((date.day, date.month, date.year), (13, 3, 14));
        let at = DateTime::from_type_f([0x0b, 0x0b, 0xcd, 0x13]);
        assert_eq!((at.year(), at.time.hour, at.time.minute), (2014, 11, 11));
        assert!(DateTime::from_type_f([0x80, 0, 0, 0]).invalid);
    }
}
