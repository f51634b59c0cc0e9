// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records and answers the other way round: what a played meter sends.

use alloc::vec::Vec;

use crate::date::{Date, DateTime, Time};
use crate::frame::control;
use crate::{ApplicationError, Error, FixedData, Frame, Function, Header, Record, Value};

/// A record to be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewRecord<'a> {
    /// Which of the values over time.
    pub function: Function,
    /// Storage number, at most 41 bits.
    pub storage: u64,
    /// Tariff, at most 20 bits.
    pub tariff: u32,
    /// Subunit, at most 10 bits.
    pub subunit: u16,
    /// Value information block as it goes onto the line.
    pub vib: &'a [u8],
    /// The value.
    pub data: Data<'a>,
}

/// A value to be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Data<'a> {
    /// No data.
    None,
    /// No data; the record is selected for readout (data field 8).
    Selection,
    /// Binary in 1, 2, 3, 4, 6 or 8 bytes.
    Integer {
        /// The number.
        value: i64,
        /// Its bytes.
        bytes: u8,
    },
    /// BCD in 2, 4, 6, 8 or 12 digits; a negative number has one digit less.
    Bcd {
        /// The number.
        value: i64,
        /// Its digits.
        digits: u8,
    },
    /// Binary of variable length, 0 to 16 bytes.
    LongInteger {
        /// The number.
        value: i128,
        /// Its bytes.
        bytes: u8,
    },
    /// BCD of variable length, 0 to 18 digits, an even number of them; the sign is told apart.
    LongBcd {
        /// The number.
        value: i64,
        /// Its digits.
        digits: u8,
    },
    /// IEEE 754 single.
    Real(f32),
    /// Text of at most 191 characters of ISO 8859-1, in reading order.
    Text(&'a str),
    /// Bytes of variable length as they are, at most 191: a container or a series.
    Container(&'a [u8]),
    /// Type G.
    Date(Date),
    /// Type I where there is a calendar, else type F.
    DateTime(DateTime),
    /// Type J.
    Time(Time),
    /// Data field code and bytes as they go onto the line, a length code included; not checked.
    Raw {
        /// The low four bits of the DIF.
        field: u8,
        /// The bytes.
        bytes: &'a [u8],
    },
}

impl<'a> NewRecord<'a> {
    /// The present value of the total.
    pub const fn new(vib: &'a [u8], data: Data<'a>) -> Self {
        Self {
            function: Function::Instantaneous,
            storage: 0,
            tariff: 0,
            subunit: 0,
            vib,
            data,
        }
    }

    /// DIF, VIF and value.
    ///
    /// # Errors
    /// [`Error::Unencodable`] when a number does not fit its field.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        self.encode_with(0)
    }

    /// The same with at least so many DIFE, although storage number, tariff and subunit need fewer, as
    /// some meters write them.
    ///
    /// # Errors
    /// As [`NewRecord::encode`]; ten DIFE are the most.
    pub fn encode_with(&self, dife: usize) -> Result<Vec<u8>, Error> {
        let (field, data) = self.data.encode()?;
        let function: u8 = match self.function {
            Function::Instantaneous => 0,
            Function::Maximum => 1,
            Function::Minimum => 2,
            Function::DuringError => 3,
        };
        let mut record = Vec::new();
        let mut last = field | function << 4 | (self.storage as u8 & 1) << 6;
        let (mut storage, mut tariff, mut subunit) = (self.storage >> 1, self.tariff, self.subunit);
        while (storage, tariff, subunit) != (0, 0, 0) || record.len() < dife {
            record.push(last | 0x80);
            last = (storage & 0x0f) as u8 | (tariff as u8 & 3) << 4 | (subunit as u8 & 1) << 6;
            (storage, tariff, subunit) = (storage >> 4, tariff >> 2, subunit >> 1);
        }
        record.push(last);
        if record.len() > 11 {
            return Err(Error::Unencodable);
        }
        record.extend_from_slice(self.vib);
        record.extend_from_slice(&data);
        Ok(record)
    }
}

impl Data<'_> {
    /// Most characters or bytes of variable length.
    pub const MAX_TEXT: usize = 0xbf;

    /// Data field code and bytes.
    fn encode(&self) -> Result<(u8, Vec<u8>), Error> {
        match *self {
            Self::None => Ok((0, Vec::new())),
            Self::Selection => Ok((8, Vec::new())),
            Self::Integer { value, bytes } => {
                let field = match bytes {
                    1..=4 => bytes,
                    6 => 6,
                    8 => 7,
                    _ => return Err(Error::Unencodable),
                };
                Ok((field, binary(i128::from(value), bytes)?))
            }
            Self::Bcd { value, digits } => {
                let field = match digits {
                    2 | 4 | 6 | 8 => 8 + digits / 2,
                    12 => 0x0e,
                    _ => return Err(Error::Unencodable),
                };
                let mut line = bcd(value.unsigned_abs(), digits)?;
                if let (true, Some(top)) = (value < 0, line.last_mut()) {
                    if *top > 0x0f {
                        return Err(Error::Unencodable);
                    }
                    *top |= 0xf0;
                }
                Ok((field, line))
            }
            Self::LongInteger { value, bytes } => {
                let code = match bytes {
                    0..=15 => 0xe0 + bytes,
                    16 => 0xf0,
                    _ => return Err(Error::Unencodable),
                };
                Ok(variable(code, binary(value, bytes)?))
            }
            Self::LongBcd { value, digits } => {
                let sign = if value < 0 { 0xd0 } else { 0xc0 };
                if digits % 2 != 0 || digits > 18 {
                    return Err(Error::Unencodable);
                }
                let line = bcd(value.unsigned_abs(), digits)?;
                Ok(variable(sign + digits / 2, line))
            }
            Self::Real(value) => Ok((5, value.to_le_bytes().to_vec())),
            Self::Text(text) => {
                let letter = |letter| u8::try_from(u32::from(letter));
                let line: Result<Vec<_>, _> = text.chars().rev().map(letter).collect();
                container(line.map_err(|_| Error::Unencodable)?)
            }
            Self::Container(bytes) => container(bytes.to_vec()),
            Self::Date(date) => Ok((2, date.to_bytes().to_vec())),
            Self::DateTime(at) if at.calendar.is_some() => Ok((6, at.to_type_i().to_vec())),
            Self::DateTime(at) => Ok((4, at.to_type_f().to_vec())),
            Self::Time(time) => Ok((3, time.to_bytes().to_vec())),
            Self::Raw { field, bytes } => Ok((field & 0x0f, bytes.to_vec())),
        }
    }
}

/// A number in so many bytes, at most 16.
fn binary(value: i128, bytes: u8) -> Result<Vec<u8>, Error> {
    let unused = 128 - 8 * u32::from(bytes);
    let fits = match unused {
        128 => value == 0,
        _ => value << unused >> unused == value,
    };
    if !fits {
        return Err(Error::Unencodable);
    }
    let line = value.to_le_bytes().into_iter().take(usize::from(bytes));
    Ok(line.collect())
}

/// A number in so many digits, an even number of them.
fn bcd(mut value: u64, digits: u8) -> Result<Vec<u8>, Error> {
    let mut line = Vec::new();
    for _ in 0..digits / 2 {
        let (low, high) = (value % 10, value / 10 % 10);
        line.push((high << 4 | low) as u8);
        value /= 100;
    }
    if value != 0 {
        return Err(Error::Unencodable);
    }
    Ok(line)
}

/// Length code and bytes.
fn variable(code: u8, mut bytes: Vec<u8>) -> (u8, Vec<u8>) {
    bytes.insert(0, code);
    (0x0d, bytes)
}

fn container(bytes: Vec<u8>) -> Result<(u8, Vec<u8>), Error> {
    match u8::try_from(bytes.len()) {
        Ok(code) if bytes.len() <= Data::MAX_TEXT => Ok(variable(code, bytes)),
        _ => Err(Error::Unencodable),
    }
}

/// An RSP_UD frame of `header` and the bytes of its records, from primary address `address`.
///
/// # Errors
/// [`Error::FrameTooLong`].
pub fn response(address: u8, header: &Header, records: &[u8]) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    header.encode(&mut data);
    data.extend_from_slice(records);
    let ci = if header.device.is_some() { 0x72 } else { 0x7a };
    answer(address, ci, &data)
}

/// An RSP_UD frame with the fixed structure of 1997.
///
/// # Errors
/// None in fact; the frame fits.
pub fn fixed_response(address: u8, fixed: &FixedData) -> Result<Vec<u8>, Error> {
    answer(address, 0x73, &fixed.encode())
}

/// An RSP_UD frame that refuses (CI 70).
///
/// # Errors
/// None in fact; the frame fits.
pub fn error_response(address: u8, error: ApplicationError) -> Result<Vec<u8>, Error> {
    answer(address, 0x70, &[error.code()])
}

/// An RSP_UD frame with an alarm state (CI 71).
///
/// # Errors
/// None in fact; the frame fits.
pub fn alarm_response(address: u8, state: u8) -> Result<Vec<u8>, Error> {
    answer(address, 0x71, &[state])
}

fn answer(address: u8, ci: u8, data: &[u8]) -> Result<Vec<u8>, Error> {
    Frame::Long {
        control: control::RSP_UD,
        address,
        ci,
        data,
    }
    .encode()
}

impl<'a> Record<'a> {
    /// The bytes it was read from, put together anew from its parts.
    ///
    /// # Errors
    /// None in fact; what was read fits.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        self.to_new().encode_with(self.dife().len())
    }

    /// The record as one to be sent.
    pub fn to_new(&self) -> NewRecord<'a> {
        let width = self.data.len() as u8;
        let raw = Data::Raw {
            field: self.data_field,
            bytes: self.content,
        };
        NewRecord {
            function: self.function,
            storage: self.storage,
            tariff: self.tariff,
            subunit: self.subunit,
            vib: self.vib_bytes(),
            data: match (self.value, self.length_code) {
                (Value::None, None) if self.data_field == 8 => Data::Selection,
                (Value::None, None) if self.data_field == 0 => Data::None,
                // BCD has a negative zero, too.
                (Value::Integer(0), _) => raw,
                (Value::Integer(value), None) if self.data_field < 8 => Data::Integer {
                    value,
                    bytes: width,
                },
                (Value::Integer(value), None) => Data::Bcd {
                    value,
                    digits: 2 * width,
                },
                (Value::Integer(value), Some(0xe0..)) => Data::LongInteger {
                    value: i128::from(value),
                    bytes: width,
                },
                (Value::Integer(value), Some(_)) => Data::LongBcd {
                    value,
                    digits: 2 * width,
                },
                (Value::Real(value), _) => Data::Real(value),
                (Value::Date(date), _) => Data::Date(date),
                // Bit 6 of the minute of type F is reserved, and would be lost.
                (Value::DateTime(at), _) if !matches!(*self.data, [minute, _, _, _] if minute & 0x40 != 0) => {
                    Data::DateTime(at)
                }
                (Value::Time(time), _) => Data::Time(time),
                (Value::Bytes(bytes), Some(0..=0xbf)) => Data::Container(bytes),
                _ => raw,
            },
        }
    }
}
