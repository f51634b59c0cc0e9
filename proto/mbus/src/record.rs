// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data records: DIF, VIF, value, one after the other (EN 13757-3 §6).

use nom::bytes::complete::take;
use nom::number::complete::be_u8;
use smgw_units::Decimal;

use crate::date::{Date, DateTime, Time};
use crate::error::Error;
use crate::value::{Latin1, Value, bcd, integer, signed, unsigned};
use crate::vif::{Quantity, TextOrder, Vib};

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
    /// Length code of a variable value (data field D): what its bytes are.
    pub length_code: Option<u8>,
    /// What the value means.
    pub vib: Vib<'a>,
    /// Bytes of the record's header as sent: DIF, DIFE, VIF, VIFE, text.
    pub head: &'a [u8],
    /// Bytes of the value as sent, without the length code of a variable one.
    pub data: &'a [u8],
    /// The value.
    pub value: Value<'a>,
    /// Bytes of the value as sent, length code included.
    pub(crate) content: &'a [u8],
}

/// The header of a record: everything but its value. Compact frames send the values of records whose
/// headers an earlier frame gave (EN 13757-3 annex G).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordHead<'a> {
    function: Function,
    storage: u64,
    tariff: u32,
    subunit: u16,
    data_field: u8,
    vib: Vib<'a>,
    bytes: &'a [u8],
}

impl<'a> RecordHead<'a> {
    /// Reads the header at the start of `input`, and says what follows it.
    ///
    /// # Errors
    /// The first thing that does not follow EN 13757-3 §6.
    pub fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let mut cursor = Cursor(input);
        match head(&mut cursor) {
            Ok(head) => Ok((head, cursor.0)),
            Err(error) => Err(error),
        }
    }

    /// The header as sent.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads the value at the start of `input` as this header describes it, and says what follows it.
    ///
    /// # Errors
    /// [`Error::TruncatedData`] and [`Error::ReservedLvar`].
    pub fn value(&self, input: &'a [u8]) -> Result<(Record<'a>, &'a [u8]), Error> {
        let mut cursor = Cursor(input);
        match self.record(&mut cursor) {
            Ok(record) => Ok((record, cursor.0)),
            Err(error) => Err(error),
        }
    }

    #[inline(always)]
    fn record(&self, cursor: &mut Cursor<'a>) -> Result<Record<'a>, Error> {
        let start = cursor.0;
        let (length_code, data) = extent(cursor, self.data_field)?;
        let content = start.get(..start.len() - cursor.0.len());
        Ok(Record {
            function: self.function,
            storage: self.storage,
            tariff: self.tariff,
            subunit: self.subunit,
            data_field: self.data_field,
            length_code,
            vib: self.vib,
            head: self.bytes,
            data,
            value: match length_code {
                None => fixed(self.data_field, data, &self.vib),
                Some(code) => variable(code, data, &self.vib),
            },
            content: content.unwrap_or_default(),
        })
    }
}

impl<'a> Record<'a> {
    /// The exact number in the unit of the VIF: `None` for texts, dates, reals, errors and absent values.
    /// Binary numbers of up to 16 bytes count; whether the number is one the meter means, tells
    /// [`Record::is_valid`].
    pub fn decimal(&self) -> Option<Decimal> {
        if self.vib.marks().error {
            return None;
        }
        let mantissa = match self.value {
            Value::Integer(_) if self.vib.is_unsigned() && self.is_binary() => {
                i128::try_from(unsigned(self.data)?).ok()?
            }
            Value::Integer(number) => i128::from(number),
            Value::Bytes(bytes) if self.is_long_number() => {
                if self.vib.is_unsigned() {
                    i128::try_from(unsigned(bytes)?).ok()?
                } else {
                    signed(bytes)?
                }
            }
            _ => return None,
        };
        Some(Decimal::new(mantissa, self.vib.exponent))
    }

    /// The bits of a fixed or variable binary value, as data types C and D: flags, masks, inputs. `None`
    /// for other values and more than 16 bytes.
    pub fn bits(&self) -> Option<u128> {
        if self.is_binary() {
            unsigned(self.data)
        } else {
            None
        }
    }

    /// Whether the value is what it seems. It is not for error displays, for dates and times that are
    /// marked invalid or are none, for reals that are no number, for records with an error code, and for
    /// the smallest binary number, which stands for "invalid" by convention.
    pub fn is_valid(&self) -> bool {
        let smallest =
            || matches!(self.data, [low @ .., 0x80] if low.iter().all(|byte| *byte == 0));
        !self.vib.marks().error
            && match self.value {
                Value::Digits(_) => false,
                Value::Real(number) => number.is_finite(),
                Value::Date(date) => date.is_valid(),
                Value::DateTime(at) => at.is_valid(),
                Value::Time(time) => time.is_valid(),
                Value::Integer(_) => !self.is_binary() || self.vib.is_unsigned() || !smallest(),
                Value::None | Value::Text(_) | Value::Bytes(_) => true,
            }
    }

    /// The DIFE as sent. A last one of 00 declares, by the wording of newer editions (assumed), that the
    /// storage number is the number of an OBIS register.
    pub fn dife(&self) -> &'a [u8] {
        self.head.get(1..self.dib_length()).unwrap_or_default()
    }

    /// VIF, VIFE and text as sent.
    pub fn vib_bytes(&self) -> &'a [u8] {
        self.head.get(self.dib_length()..).unwrap_or_default()
    }

    fn dib_length(&self) -> usize {
        1 + self
            .head
            .iter()
            .take_while(|byte| **byte & 0x80 != 0)
            .count()
    }

    /// Whether bytes are a number that is too long for 64 bits.
    fn is_long_number(&self) -> bool {
        self.data.len() > 8 && self.is_binary() && !self.vib.is_date() && !self.vib.is_container()
    }

    /// Whether the bytes of the value are a binary number.
    fn is_binary(&self) -> bool {
        match self.length_code {
            None => matches!(self.data_field, 1..=4 | 6 | 7),
            Some(code) => code >= 0xe0,
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

/// Where and why the records of a telegram cannot be read any further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecordError {
    /// Where the record begins, in bytes from the first record.
    pub record: usize,
    /// The byte that is wrong, or the end of the data where one is missing.
    pub offset: usize,
    /// What is wrong.
    pub error: Error,
}

impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} (byte {})", self.error, self.offset)
    }
}

impl core::error::Error for RecordError {}

/// The records of a telegram; ends behind the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    data: &'a [u8],
    rest: &'a [u8],
    trailer: Option<Trailer<'a>>,
    failure: Option<RecordError>,
}

impl<'a> Records<'a> {
    /// Reads the bytes behind a header.
    pub const fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            rest: data,
            trailer: None,
            failure: None,
        }
    }

    /// Bytes read so far.
    pub const fn offset(&self) -> usize {
        self.data.len() - self.rest.len()
    }

    /// What stands behind the last record, once all were read.
    pub const fn trailer(&self) -> Option<Trailer<'a>> {
        self.trailer
    }

    /// Where and why reading ended, once it ended with an error.
    pub const fn failure(&self) -> Option<RecordError> {
        self.failure
    }

    fn next_start(&mut self) -> bool {
        while let Some((&dif, rest)) = self.rest.split_first() {
            match dif {
                FILLER => self.rest = rest,
                MANUFACTURER | MORE_FOLLOWS => {
                    self.trailer = Some(Trailer {
                        data: rest,
                        more_follows: dif == MORE_FOLLOWS,
                    });
                    self.rest = &[];
                }
                _ => return true,
            }
        }
        false
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if !self.next_start() {
            return None;
        }
        let mut cursor = Cursor(self.rest);
        let record = match head(&mut cursor) {
            Ok(head) => head.record(&mut cursor),
            Err(error) => Err(error),
        };
        match record {
            Ok(record) => {
                self.rest = cursor.0;
                Some(Ok(record))
            }
            Err(error) => {
                self.failure = Some(RecordError {
                    record: self.offset(),
                    offset: self.data.len() - cursor.0.len(),
                    error,
                });
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// What is still to be read, nom's steps taken one after the other: after an error it stands at the byte
/// that is wrong or missing.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// The next byte; at the end, what is cut off there is told by `error`.
    #[inline]
    fn byte(&mut self, error: Error) -> Result<u8, Error> {
        let (rest, byte) = be_u8::<_, ()>(self.0).map_err(|_| error)?;
        self.0 = rest;
        Ok(byte)
    }

    #[inline]
    fn take(&mut self, length: usize, error: Error) -> Result<&'a [u8], Error> {
        match take::<_, _, ()>(length)(self.0) {
            Ok((rest, taken)) => {
                self.0 = rest;
                Ok(taken)
            }
            Err(_) => {
                self.0 = &[];
                Err(error)
            }
        }
    }
}

#[inline(always)]
fn head<'a>(cursor: &mut Cursor<'a>) -> Result<RecordHead<'a>, Error> {
    let start = cursor.0;
    let dif = cursor.byte(Error::TruncatedDib)?;
    if dif & 0x0f == 0x0f && dif != READOUT {
        cursor.0 = start;
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
        let before = cursor.0;
        let dife = cursor.byte(Error::TruncatedDib)?;
        if count == MAX_EXTENSIONS {
            cursor.0 = before;
            return Err(Error::TooManyDife);
        }
        storage |= u64::from(dife & 0x0f) << (1 + 4 * count);
        tariff |= u32::from(dife >> 4 & 3) << (2 * count);
        subunit |= u16::from(dife >> 6 & 1) << count;
        count += 1;
        more = dife & 0x80 != 0;
    }
    let vif = cursor.byte(Error::TruncatedVib)?;
    let (extensions, text) = if vif & 0x7f == TEXT {
        let (extensions, text) = text_and_extensions(cursor, vif)?;
        (extensions, Some(text))
    } else {
        (extensions(cursor, vif)?, None)
    };
    let vib = Vib::of(vif, extensions, text);
    let bytes = start.get(..start.len() - cursor.0.len());
    Ok(RecordHead {
        function,
        storage,
        tariff,
        subunit,
        data_field: dif & 0x0f,
        vib,
        bytes: bytes.unwrap_or_default(),
    })
}

/// Text first where that is possible, else extensions first.
#[inline(never)]
fn text_and_extensions<'a>(cursor: &mut Cursor<'a>, vif: u8) -> Result<Named<'a>, Error> {
    let start = cursor.0;
    let mut text_first = || {
        let text = text(cursor)?;
        Ok((extensions(cursor, vif)?, (text, TextOrder::TextFirst)))
    };
    text_first().or_else(|_: Error| {
        cursor.0 = start;
        let extensions = extensions(cursor, vif)?;
        Ok((extensions, (text(cursor)?, TextOrder::ExtensionsFirst)))
    })
}

/// Extensions, and a text with its place.
type Named<'a> = (&'a [u8], (Latin1<'a>, TextOrder));

/// A length byte and as many printable characters.
fn text<'a>(cursor: &mut Cursor<'a>) -> Result<Latin1<'a>, Error> {
    let length = cursor.byte(Error::TruncatedVib)?;
    let text = cursor.take(usize::from(length), Error::TruncatedVib)?;
    let unprintable = |letter: &u8| matches!(letter, 0..=0x1f | 0x7f..=0x9f);
    if text.iter().any(unprintable) {
        return Err(Error::TruncatedVib);
    }
    Ok(Latin1(text))
}

/// The VIFE behind `last`.
#[inline(always)]
fn extensions<'a>(cursor: &mut Cursor<'a>, last: u8) -> Result<&'a [u8], Error> {
    if last & 0x80 == 0 {
        return Ok(&[]);
    }
    let chained = cursor.0.iter().take_while(|vife| **vife & 0x80 != 0);
    let chained = chained.take(MAX_EXTENSIONS).count();
    if chained == MAX_EXTENSIONS {
        cursor.take(MAX_EXTENSIONS, Error::TruncatedVib)?;
        return Err(Error::TooManyVife);
    }
    cursor.take(chained + 1, Error::TruncatedVib)
}

/// The length code of a value of variable length, and the bytes of the value.
#[inline(always)]
fn extent<'a>(cursor: &mut Cursor<'a>, field: u8) -> Result<(Option<u8>, &'a [u8]), Error> {
    let (code, length) = if field == 0x0d {
        let start = cursor.0;
        let code = cursor.byte(Error::TruncatedData)?;
        let length = variable_length(code).ok_or(Error::ReservedLvar(code));
        if length.is_err() {
            cursor.0 = start;
        }
        (Some(code), length?)
    } else {
        let length = FIELD_LENGTHS.get(usize::from(field)).copied();
        (None, length.unwrap_or(0))
    };
    Ok((
        code,
        cursor.take(usize::from(length), Error::TruncatedData)?,
    ))
}

/// Variable length (table 5): the first byte says how long and what.
fn variable_length(code: u8) -> Option<u8> {
    Some(match code {
        0x00..=0xbf => code,
        0xc0..=0xc9 => code - 0xc0,
        0xd0..=0xd9 => code - 0xd0,
        0xe0..=0xef => code - 0xe0,
        0xf0..=0xf4 => 4 * (code - 0xec),
        0xf5 => 48,
        0xf6 => 64,
        _ => return None,
    })
}

#[inline(always)]
fn fixed<'a>(field: u8, data: &'a [u8], vib: &Vib<'_>) -> Value<'a> {
    match (field, data) {
        (_, []) => Value::None,
        (9.., _) => bcd(data).map_or(Value::Digits(data), Value::Integer),
        (5, &[a, b, c, d]) => Value::Real(f32::from_le_bytes([a, b, c, d])),
        _ if vib.is_date() => date(data),
        // Type K: its parts are not taken apart.
        (4, _) if vib.quantity == Quantity::DaylightSaving => Value::Bytes(data),
        _ => number(data),
    }
}

fn variable<'a>(code: u8, data: &'a [u8], vib: &Vib<'_>) -> Value<'a> {
    let signed = |sign: i64| {
        bcd(data)
            .filter(|number| *number >= 0)
            .map_or(Value::Digits(data), |number| Value::Integer(sign * number))
    };
    match code {
        0x00..=0xbf if vib.is_container() => Value::Bytes(data),
        0x00..=0xbf => Value::Text(Latin1(data)),
        _ if data.is_empty() => Value::None,
        0xc0..=0xc9 => signed(1),
        0xd0..=0xd9 => signed(-1),
        // Type M: its parts are not taken apart.
        _ if vib.is_date() || vib.is_container() => Value::Bytes(data),
        _ => number(data),
    }
}

fn date(data: &[u8]) -> Value<'_> {
    match *data {
        [a, b] => Value::Date(Date::from_bytes([a, b])),
        [a, b, c] => Value::Time(Time::from_bytes([a, b, c])),
        [a, b, c, d] => Value::DateTime(DateTime::from_type_f([a, b, c, d])),
        [a, b, c, d, e, f] => Value::DateTime(DateTime::from_type_i([a, b, c, d, e, f])),
        _ => number(data),
    }
}

#[inline(always)]
fn number(data: &[u8]) -> Value<'_> {
    integer(data).map_or(Value::Bytes(data), Value::Integer)
}

/// Bytes of a value by its data field; variable ones are read apart.
const FIELD_LENGTHS: [u8; 16] = [0, 1, 2, 3, 4, 4, 6, 8, 0, 1, 2, 3, 4, 0, 6, 0];
const MAX_EXTENSIONS: usize = 10;
const TEXT: u8 = 0x7c;
const MANUFACTURER: u8 = 0x0f;
const MORE_FOLLOWS: u8 = 0x1f;
const FILLER: u8 = 0x2f;
const READOUT: u8 = 0x7f;
