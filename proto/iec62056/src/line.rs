// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data sets `code(value*unit)(value)..` in a data block (IEC 62056-21 §6.5): one or several in a line.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use smgw_units::Decimal;

use crate::code::Code;

/// A code and what stands in brackets behind it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DataSet<'a> {
    /// The code as the meter writes it; empty in answers of the programming mode.
    pub address: &'a str,
    /// All brackets, from the first `(` to the last `)`.
    brackets: &'a str,
}

/// One value: a bracket, or the part of one between `&` or `#`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Value<'a> {
    /// What stands in front of `*`, blanks and leading zeros and all.
    pub text: &'a str,
    /// What stands behind `*`.
    pub unit: Option<&'a str>,
}

/// Bytes in a data block that are no data set; the meter's mistake, or damage on the line.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LineError {
    /// A line without a bracket.
    NoValue,
    /// `(` without `)`.
    Unclosed,
    /// Bytes that are no ASCII: damage, or a wrong setting of parity.
    NotText,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoValue => "a line without a value in brackets",
            Self::Unclosed => "a bracket that is never closed",
            Self::NotText => "bytes that are no ASCII",
        })
    }
}

impl core::error::Error for LineError {}

/// The data sets of a block, in order; it goes on behind errors.
#[derive(Clone, Debug)]
pub struct DataSets<'a> {
    rest: &'a [u8],
}

impl<'a> DataSets<'a> {
    /// Reads from what stands between STX and `!`.
    pub const fn new(lines: &'a [u8]) -> Self {
        Self { rest: lines }
    }

    /// Cuts `length` bytes off.
    fn cut(&mut self, length: usize) -> &'a [u8] {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, &[]));
        self.rest = rest;
        head
    }
}

impl<'a> Iterator for DataSets<'a> {
    type Item = Result<DataSet<'a>, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_ascii_start();
        if self.rest.is_empty() {
            return None;
        }
        let open = self.rest.iter().position(|byte| *byte == b'(');
        let line_end = self
            .rest
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n'));
        let address = match (open, line_end) {
            (Some(open), line_end) if line_end.is_none_or(|end| open < end) => self.cut(open),
            (_, end) => {
                self.cut(end.unwrap_or(self.rest.len()));
                return Some(Err(LineError::NoValue));
            }
        };
        // Brackets follow each other; a bracket in a new line belongs to the same set (DSMR 2 and 3).
        let mut length = 0;
        while let Some(behind) = self.rest.get(length..) {
            let blanks = behind.len() - behind.trim_ascii_start().len();
            let Some([b'(', bracket @ ..]) = behind.get(blanks..) else {
                break;
            };
            let end = bracket
                .iter()
                .position(|byte| matches!(byte, b')' | b'\r' | b'\n'));
            match end.and_then(|end| Some((end, *bracket.get(end)?))) {
                Some((end, b')')) => length += blanks + end + 2,
                unclosed => {
                    let lost = unclosed.map_or(bracket.len(), |(end, _)| end);
                    self.cut(length + blanks + 1 + lost);
                    return Some(Err(LineError::Unclosed));
                }
            }
        }
        let brackets = self.cut(length);
        Some(match (text(address), text(brackets)) {
            (Some(address), Some(brackets)) => Ok(DataSet {
                address: address.trim(),
                brackets,
            }),
            _ => Err(LineError::NotText),
        })
    }
}

impl<'a> DataSet<'a> {
    /// The code, if the address is one.
    pub fn code(&self) -> Option<Code> {
        self.address.parse().ok()
    }

    /// What stands in each bracket.
    pub fn brackets(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut rest = self.brackets;
        core::iter::from_fn(move || {
            let (_, behind) = rest.split_once('(')?;
            let (bracket, behind) = behind.split_once(')')?;
            rest = behind;
            Some(bracket)
        })
    }

    /// All values of all brackets. `#` separates values where there is one, `&` elsewhere, but not that
    /// between a date and a time (`2017-01-18&01:36:47`).
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        self.brackets().flat_map(|bracket| {
            let separator = match bracket {
                _ if bracket.contains('#') => '#',
                _ if is_date_and_time(bracket) => '\0',
                _ => '&',
            };
            bracket.split(separator).map(Value::of)
        })
    }

    /// What stands in the brackets, joined by a comma and a blank.
    pub fn raw(&self) -> String {
        self.brackets().collect::<Vec<_>>().join(", ")
    }
}

impl<'a> Value<'a> {
    fn of(text: &'a str) -> Self {
        let (text, behind) = text.split_once('*').unwrap_or((text, ""));
        let unit = behind.split('*').next().filter(|unit| !unit.is_empty());
        Self { text, unit }
    }

    /// The number with every digit it has, where the text is one.
    pub fn number(&self) -> Option<Decimal> {
        let text = self.text.trim();
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = || whole.bytes().chain(fraction.bytes());
        digits().next()?;
        let mantissa = digits().try_fold(0_i128, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        })?;
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let exponent = i8::try_from(fraction.len()).ok()?;
        Some(Decimal::new(sign * mantissa, -exponent))
    }
}

impl fmt::Display for Value<'_> {
    /// Numbers with a unit lose leading and trailing zeros, the plus and blanks; numbers without one
    /// are often ids and stay as they are. A date and a time are joined by `T`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self
            .unit
            .and_then(|_| self.number())
            .map(Decimal::normalized);
        match number {
            Some(number) => {
                let whole = (number.exponent > 0)
                    .then(|| number.mantissa_at(0))
                    .flatten();
                whole.map_or(number, |whole| Decimal::new(whole, 0)).fmt(f)
            }
            None if is_date_and_time(self.text) => {
                let (date, time) = self.text.split_once('&').unwrap_or((self.text, ""));
                write!(f, "{date}T{time}")
            }
            None => f.write_str(self.text),
        }
    }
}

/// The medium short codes are meant for: 6 (heat) when there is an energy 6.8, which EN 1434-3 heat
/// meters have and electricity meters have not; 1 (electricity) otherwise. A guess: the meter's kind is
/// better known from elsewhere.
pub fn guess_medium(lines: &[u8]) -> u8 {
    let energy = |code: Code| (code.ab, code.c, code.d) == (None, 6, Some(8));
    let heat = DataSets::new(lines)
        .flatten()
        .filter_map(|set| set.code())
        .any(energy);
    if heat { 6 } else { 1 }
}

/// Writes one data set as a line.
///
/// Characters that would end the set early (`(`, `)`, line ends, non-ASCII) are left out.
pub fn write_set(lines: &mut Vec<u8>, address: &str, brackets: &[&str]) {
    let clean = |text: &str, lines: &mut Vec<u8>| {
        let kept = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'(' | b')');
        lines.extend(text.bytes().filter(kept));
    };
    clean(address, lines);
    for bracket in brackets {
        lines.push(b'(');
        clean(bracket, lines);
        lines.push(b')');
    }
    lines.extend_from_slice(b"\r\n");
}

fn text(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.is_ascii())
}

/// `dddd-dd-dd&dd:dd:dd`.
fn is_date_and_time(text: &str) -> bool {
    let pattern = b"0000-00-00&00:00:00";
    let fits = |(byte, like): (u8, &u8)| match like {
        b'0' => byte.is_ascii_digit(),
        like => byte == *like,
    };
    text.len() == pattern.len() && text.bytes().zip(pattern).all(fits)
}
