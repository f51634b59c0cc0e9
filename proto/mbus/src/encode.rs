// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records and answers the other way round: what a played meter sends.

use alloc::vec::Vec;

use crate::frame::control;
use crate::{Error, Frame, Function, Header};

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
    /// IEEE 754 single.
    Real(f32),
    /// Text of at most 191 characters of ISO 8859-1, in reading order.
    Text(&'a str),
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
        while (storage, tariff, subunit) != (0, 0, 0) {
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
    /// Data field code and bytes.
    fn encode(&self) -> Result<(u8, Vec<u8>), Error> {
        match *self {
            Self::None => Ok((0, Vec::new())),
            Self::Integer { value, bytes } => {
                let field = match bytes {
                    1..=4 => bytes,
                    6 => 6,
                    8 => 7,
                    _ => return Err(Error::Unencodable),
                };
                let unused = 64 - 8 * u32::from(bytes);
                if value << unused >> unused != value {
                    return Err(Error::Unencodable);
                }
                let line = value.to_le_bytes().into_iter().take(usize::from(bytes));
                Ok((field, line.collect()))
            }
            Self::Bcd { value, digits } => {
                let field = match digits {
                    2 | 4 | 6 | 8 => 8 + digits / 2,
                    12 => 0x0e,
                    _ => return Err(Error::Unencodable),
                };
                let mut rest = value.unsigned_abs();
                let mut line = Vec::new();
                for _ in 0..digits / 2 {
                    let (low, high) = (rest % 10, rest / 10 % 10);
                    line.push((high << 4 | low) as u8);
                    rest /= 100;
                }
                if let (true, Some(top)) = (value < 0, line.last_mut()) {
                    if *top > 0x0f {
                        return Err(Error::Unencodable);
                    }
                    *top |= 0xf0;
                }
                if rest != 0 {
                    return Err(Error::Unencodable);
                }
                Ok((field, line))
            }
            Self::Real(value) => Ok((5, value.to_le_bytes().to_vec())),
            Self::Text(text) => {
                let mut line = Vec::new();
                for letter in text.chars().rev() {
                    line.push(u8::try_from(u32::from(letter)).map_err(|_| Error::Unencodable)?);
                }
                if line.len() > 0xbf {
                    return Err(Error::Unencodable);
                }
                line.insert(0, line.len() as u8);
                Ok((0x0d, line))
            }
        }
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
    Frame::Long {
        control: control::RSP_UD,
        address,
        ci: if header.device.is_some() { 0x72 } else { 0x7a },
        data: &data,
    }
    .encode()
}
