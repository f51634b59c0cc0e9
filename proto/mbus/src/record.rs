// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data records: DIF, VIF, value, one after the other (EN 13757-3 §6).

use nom::IResult;
use nom::bytes::complete::take;
use nom::number::complete::u8 as byte;
use smgw_units::Decimal;

use crate::Error;
use crate::value::{Date, DateTime, Latin1, Time, Value, bcd, integer};
use crate::vif::{Extension, TextOrder, Vib};

/// Which of the values over time this is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Function {
    /// The present one.
    #[default]
    Instantaneous,
    /// The largest.
    Maximum,
    /// The smallest.
    Minimum,
    /// The one during an error.
    DuringError,
}

/// One data record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    /// Which of the values over time.
    pub function: Function,
    /// Storage number, 0 for the present; up to 41 bits.
    pub storage: u64,
    /// Tariff, 0 for the total; up to 20 bits.
    pub tariff: u32,
    /// Subunit of the device; up to 10 bits.
    pub subunit: u16,
    /// Data field code, the low four bits of the DIF.
    pub data_field: u8,
    /// What the value means.
    pub vib: Vib<'a>,
    /// Bytes of the value as sent.
    pub data: &'a [u8],
    /// The value.
    pub value: Value<'a>,
}

impl Record<'_> {
    /// The exact number in the unit of the VIF: `None` for texts, dates, reals, errors and absent values.
    pub fn decimal(&self) -> Option<Decimal> {
        let errors = |extension| matches!(extension, Extension::RecordError(_));
        match self.value {
            Value::Integer(mantissa) if !self.vib.combinable().any(errors) => {
                Some(Decimal::new(i128::from(mantissa), self.vib.exponent))
            }
            _ => None,
        }
    }
}

/// What stands behind the last record: data of the manufacturer's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trailer<'a> {
    /// The data.
    pub data: &'a [u8],
    /// Further records follow in the next telegram (DIF 1F).
    pub more_follows: bool,
}

/// The records of a telegram; ends behind the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    trailer: Option<Trailer<'a>>,
}

impl<'a> Records<'a> {
    /// Reads the bytes behind a header.
    pub const fn new(data: &'a [u8]) -> Self {
        Self {
            rest: data,
            trailer: None,
        }
    }

    /// What stands behind the last record, once all were read.
    pub const fn trailer(&self) -> Option<Trailer<'a>> {
        self.trailer
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&dif, rest) = self.rest.split_first()?;
            match dif {
                FILLER => self.rest = rest,
                MANUFACTURER | MORE_FOLLOWS => {
                    self.trailer = Some(Trailer {
                        data: rest,
                        more_follows: dif == MORE_FOLLOWS,
                    });
                    self.rest = &[];
                    return None;
                }
                _ => break,
            }
        }
        Some(match record(self.rest) {
            Ok((rest, record)) => {
                self.rest = rest;
                Ok(record)
            }
            Err(error) => {
                self.rest = &[];
                Err(error)
            }
        })
    }
}

type Step<'a, T> = Result<(&'a [u8], T), Error>;

/// nom's only failure here is running out of bytes; the place tells which error that is.
fn or<'a, T>(result: IResult<&'a [u8], T, ()>, error: Error) -> Step<'a, T> {
    result.map_err(|_| error)
}

fn record(input: &[u8]) -> Step<'_, Record<'_>> {
    let (mut rest, dif) = or(byte(input), Error::TruncatedDib)?;
    if dif & 0x0f == 0x0f && dif != READOUT {
        return Err(Error::ReservedDif(dif));
    }
    let function = match dif >> 4 & 3 {
        0 => Function::Instantaneous,
        1 => Function::Maximum,
        2 => Function::Minimum,
        _ => Function::DuringError,
    };
    let (mut storage, mut tariff, mut subunit) = (u64::from(dif >> 6 & 1), 0, 0);
    let mut more = dif & 0x80 != 0;
    let mut count = 0;
    while more {
        let (after, dife) = or(byte(rest), Error::TruncatedDib)?;
        if count == MAX_EXTENSIONS {
            return Err(Error::TooManyDife);
        }
        storage |= u64::from(dife & 0x0f) << (1 + 4 * count);
        tariff |= u32::from(dife >> 4 & 3) << (2 * count);
        subunit |= u16::from(dife >> 6 & 1) << count;
        count += 1;
        more = dife & 0x80 != 0;
        rest = after;
    }
    let (rest, vib) = vib(rest)?;
    let (rest, data, value) = data(rest, dif & 0x0f, &vib)?;
    let record = Record {
        function,
        storage,
        tariff,
        subunit,
        data_field: dif & 0x0f,
        vib,
        data,
        value,
    };
    Ok((rest, record))
}

fn vib(input: &[u8]) -> Step<'_, Vib<'_>> {
    let (rest, vif) = or(byte(input), Error::TruncatedVib)?;
    let more = vif & 0x80 != 0;
    if vif & 0x7f != TEXT {
        let (rest, extensions) = extensions(rest, more)?;
        return Ok((rest, Vib::of(vif, extensions, None)));
    }
    let text_first = text(rest).and_then(|(rest, text)| {
        let (rest, extensions) = extensions(rest, more)?;
        Ok((
            rest,
            Vib::of(vif, extensions, Some((text, TextOrder::TextFirst))),
        ))
    });
    text_first.or_else(|_| {
        let (rest, extensions) = extensions(rest, more)?;
        let (rest, text) = text(rest)?;
        Ok((
            rest,
            Vib::of(vif, extensions, Some((text, TextOrder::ExtensionsFirst))),
        ))
    })
}

/// A length byte and as many printable characters.
fn text(input: &[u8]) -> Step<'_, Latin1<'_>> {
    let (rest, length) = or(byte(input), Error::TruncatedVib)?;
    let (rest, text) = or(take(length)(rest), Error::TruncatedVib)?;
    if text
        .iter()
        .any(|letter| matches!(letter, 0..=0x1f | 0x7f..=0x9f))
    {
        return Err(Error::TruncatedVib);
    }
    Ok((rest, Latin1(text)))
}

fn extensions(input: &[u8], follow: bool) -> Step<'_, &[u8]> {
    if !follow {
        return Ok((input, &[]));
    }
    let chained = input.iter().take_while(|vife| **vife & 0x80 != 0).count();
    if chained >= MAX_EXTENSIONS {
        return Err(Error::TooManyVife);
    }
    or(take(chained + 1)(input), Error::TruncatedVib)
}

fn data<'a>(
    input: &'a [u8],
    field: u8,
    vib: &Vib<'_>,
) -> Result<(&'a [u8], &'a [u8], Value<'a>), Error> {
    if field == 0x0d {
        return variable(input);
    }
    let length = match field {
        1..=4 => usize::from(field),
        5 => 4,
        6 | 0x0e => 6,
        7 => 8,
        9..=0x0c => usize::from(field - 8),
        _ => 0,
    };
    let (rest, data) = or(take(length)(input), Error::TruncatedData)?;
    let value = match (field, data) {
        (_, []) => Value::None,
        (5, &[a, b, c, d]) => Value::Real(f32::from_le_bytes([a, b, c, d])),
        (9.., _) => bcd(data).map_or(Value::Digits(data), Value::Integer),
        (2, &[a, b]) if vib.is_date() => Value::Date(Date::from_bytes([a, b])),
        (3, &[second, minute, hour]) if vib.is_date() => Value::Time(Time {
            hour,
            minute,
            second,
        }),
        (4, &[a, b, c, d]) if vib.is_date() => Value::DateTime(DateTime::from_type_f([a, b, c, d])),
        (6, &[a, b, c, d, e, f]) if vib.is_date() => {
            Value::DateTime(DateTime::from_type_i([a, b, c, d, e, f]))
        }
        _ => integer(data).map_or(Value::Bytes(data), Value::Integer),
    };
    Ok((rest, data, value))
}

/// Variable length (table 5): the first byte says how long and what.
fn variable(input: &[u8]) -> Result<(&[u8], &[u8], Value<'_>), Error> {
    let (rest, code) = or(byte(input), Error::TruncatedData)?;
    let length = match code {
        0x00..=0xbf => usize::from(code),
        0xc0..=0xc9 => usize::from(code - 0xc0),
        0xd0..=0xd9 => usize::from(code - 0xd0),
        0xe0..=0xef => usize::from(code - 0xe0),
        0xf0..=0xf4 => 4 * usize::from(code - 0xec),
        0xf5 => 48,
        0xf6 => 64,
        _ => return Err(Error::ReservedLvar(code)),
    };
    let (rest, data) = or(take(length)(rest), Error::TruncatedData)?;
    let number = |sign: i64| {
        bcd(data)
            .filter(|number| *number >= 0)
            .map_or(Value::Digits(data), |number| Value::Integer(sign * number))
    };
    let value = match code {
        0x00..=0xbf => Value::Text(Latin1(data)),
        _ if data.is_empty() => Value::None,
        0xc0..=0xc9 => number(1),
        0xd0..=0xd9 => number(-1),
        _ => integer(data).map_or(Value::Bytes(data), Value::Integer),
    };
    Ok((rest, data, value))
}

const MAX_EXTENSIONS: usize = 10;
const TEXT: u8 = 0x7c;
const MANUFACTURER: u8 = 0x0f;
const MORE_FOLLOWS: u8 = 0x1f;
const FILLER: u8 = 0x2f;
const READOUT: u8 = 0x7f;
