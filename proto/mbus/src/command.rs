// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a master asks and tells: short requests (EN 13757-2 §5.6) and commands in SND_UD frames
//! (EN 13757-3 §6 to §12, EN 13757-7 §8).

use alloc::vec::Vec;

use crate::ci;
use crate::date::DateTime;
use crate::frame::control;
use crate::select::Mask;
use crate::{Data, Device, Error, Frame, Manufacturer, NewRecord, Records, Value};

/// A request without data.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Request {
    /// Link reset (SND_NKE).
    Reset,
    /// Data (REQ_UD2).
    Data,
    /// Alarms (REQ_UD1).
    Alarm,
    /// State of the link (REQ_SKE); few slaves know it (assumed).
    Status,
}

impl Request {
    /// The frame to `address`; requests of data and alarms carry the frame count bit.
    pub const fn frame(self, address: u8, fcb: bool) -> Frame<'static> {
        let bit = if fcb { control::FCB } else { 0 };
        let control = match self {
            Self::Reset => control::SND_NKE,
            Self::Data => control::REQ_UD2 | bit,
            Self::Alarm => control::REQ_UD1 | bit,
            Self::Status => control::REQ_SKE,
        };
        Frame::Short { control, address }
    }
}

/// A command to a slave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command<'a> {
    /// Select by secondary address (CI 52, sent to FD), and by fabrication number where several slaves
    /// have the same address (enhanced selection, assumed).
    Select {
        /// The secondary address.
        mask: Mask,
        /// Fabrication number, BCD, least significant byte first; nibble F is a wildcard.
        fabrication: Option<[u8; 4]>,
    },
    /// Deselect (CI 56, sent to FD).
    Deselect,
    /// New primary address.
    SetAddress(u8),
    /// New identification number (assumed).
    SetId([u8; 4]),
    /// New secondary address (assumed).
    SetDevice(Device),
    /// Set the clock: type I where there is a calendar, else type F.
    SetClock(DateTime),
    /// Application reset (CI 50). The sub-code's high four bits choose an application (0 all, 1 user data,
    /// 2 simple billing, 3 enhanced billing, 4 multi-tariff, 5 instantaneous, 6 load management,
    /// 8 installation, 9 test, A calibration, B manufacturing, C development, D self-test), the low ones a
    /// telegram; the order of the two halves is assumed.
    ApplicationReset(Option<u8>),
    /// All slaves note their values at once (CI 54).
    Synchronise,
    /// The present values are copied to a storage number of 1 to 41 bits (any VIF, VIFE 0B; assumed).
    Freeze(u64),
    /// Send all records again, whatever was selected before.
    ReadAll,
    /// New rate in Bd (CI B8 to BF).
    SetBaud(u32),
    /// Records (CI 51): written, or selected for readout by data field 8.
    Records(&'a [u8]),
    /// Anything else.
    Other {
        /// Control information field.
        ci: u8,
        /// Data behind it.
        data: &'a [u8],
    },
}

impl<'a> Command<'a> {
    /// CI field and data.
    ///
    /// # Errors
    /// [`Error::Unencodable`] for a rate without a CI field and a storage number beyond 41 bits.
    pub fn encode(&self) -> Result<(u8, Vec<u8>), Error> {
        let record = |vib: &[u8], data| NewRecord::new(vib, data).encode();
        Ok(match *self {
            Self::Select { mask, fabrication } => {
                let mut data = mask.to_bytes().to_vec();
                if let Some(number) = fabrication {
                    data.extend_from_slice(&[0x0c, 0x78]);
                    data.extend_from_slice(&number);
                }
                (SELECT, data)
            }
            Self::Deselect => (DESELECT, Vec::new()),
            Self::SetAddress(address) => (COMMAND, alloc::vec![0x01, ADDRESS, address]),
            Self::SetId(id) => {
                let field = 0x0c;
                let bytes = &id;
                (COMMAND, record(&[IDENTITY], Data::Raw { field, bytes })?)
            }
            Self::SetDevice(device) => {
                let field = 0x07;
                let bytes = &Mask::of(&device).to_bytes();
                (COMMAND, record(&[IDENTITY], Data::Raw { field, bytes })?)
            }
            Self::SetClock(at) => (COMMAND, record(&[DATE_TIME], Data::DateTime(at))?),
            Self::ApplicationReset(sub_code) => (RESET, sub_code.into_iter().collect()),
            Self::Synchronise => (SYNCHRONISE, Vec::new()),
            Self::Freeze(storage) => {
                let record = NewRecord {
                    storage,
                    ..NewRecord::new(FREEZE, Data::None)
                };
                (COMMAND, record.encode()?)
            }
            Self::ReadAll => (COMMAND, READ_ALL.to_vec()),
            Self::SetBaud(rate) => (ci::of_baud(rate).ok_or(Error::Unencodable)?, Vec::new()),
            Self::Records(records) => (COMMAND, records.to_vec()),
            Self::Other { ci, data } => (ci, data.to_vec()),
        })
    }

    /// The SND_UD frame to `address`; a selection goes to FD whatever is said.
    ///
    /// # Errors
    /// Of [`Command::encode`], and [`Error::FrameTooLong`].
    pub fn frame(&self, address: u8, fcb: bool) -> Result<Vec<u8>, Error> {
        let (ci, data) = self.encode()?;
        let bit = if fcb { control::FCB } else { 0 };
        Frame::Long {
            control: control::SND_UD | bit,
            address: match self {
                Self::Select { .. } | Self::Deselect => SECONDARY,
                _ => address,
            },
            ci,
            data: &data,
        }
        .encode()
    }

    /// What a CI field and its data ask for.
    pub fn parse(ci: u8, data: &'a [u8]) -> Self {
        match (ci, data) {
            (SELECT, _) => Self::select(data).unwrap_or(Self::Other { ci, data }),
            (DESELECT, []) => Self::Deselect,
            (RESET, []) => Self::ApplicationReset(None),
            (RESET, &[code]) => Self::ApplicationReset(Some(code)),
            (SYNCHRONISE, []) => Self::Synchronise,
            (COMMAND, READ_ALL) => Self::ReadAll,
            (COMMAND, _) => Self::record(data).unwrap_or(Self::Records(data)),
            _ => match ci::baud(ci) {
                Some(rate) if data.is_empty() => Self::SetBaud(rate),
                _ => Self::Other { ci, data },
            },
        }
    }

    fn select(data: &[u8]) -> Option<Self> {
        let (mask, rest) = data.split_first_chunk::<8>()?;
        let fabrication = match *rest {
            [] => None,
            [0x0c, 0x78, a, b, c, d] => Some([a, b, c, d]),
            _ => return None,
        };
        let mask = Mask::from_bytes(*mask);
        Some(Self::Select { mask, fabrication })
    }

    /// A command that is one record.
    fn record(data: &[u8]) -> Option<Self> {
        let mut records = Records::new(data);
        let record = records.next()?.ok()?;
        if records.next().is_some() || records.trailer().is_some() {
            return None;
        }
        let whole = match (record.vib_bytes(), record.data_field, record.data) {
            ([ADDRESS], 1, &[address]) => Self::SetAddress(address),
            ([IDENTITY], 0x0c, &[a, b, c, d]) => Self::SetId([a, b, c, d]),
            ([IDENTITY], 7, &[a, b, c, d, m0, m1, version, medium]) => Self::SetDevice(Device {
                id: [a, b, c, d],
                manufacturer: Manufacturer(u16::from_le_bytes([m0, m1])),
                version,
                medium,
            }),
            ([DATE_TIME], _, _) => match record.value {
                Value::DateTime(at) => Self::SetClock(at),
                _ => return None,
            },
            (FREEZE, 0, _) if record.storage > 0 => Self::Freeze(record.storage),
            _ => return None,
        };
        // What the command cannot hold, it must not lose.
        (whole.encode() == Ok((COMMAND, data.to_vec()))).then_some(whole)
    }
}

/// Address of the network layer: the selected slave.
pub(crate) const SECONDARY: u8 = 0xfd;
const SELECT: u8 = 0x52;
const DESELECT: u8 = 0x56;
const RESET: u8 = 0x50;
const COMMAND: u8 = 0x51;
const SYNCHRONISE: u8 = 0x54;
const ADDRESS: u8 = 0x7a;
const IDENTITY: u8 = 0x79;
const DATE_TIME: u8 = 0x6d;
const FREEZE: &[u8] = &[0xfe, 0x0b];
const READ_ALL: &[u8] = &[0x7f, 0x7e];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_frames() {
        let device = Device {
            id: [0x78, 0x56, 0x34, 0x12],
            manufacturer: Manufacturer(0xffff),
            version: 0xff,
            medium: 0xff,
        };
        let select = Command::Select {
            mask: Mask::of(&device),
            fabrication: None,
        };
        for (command, address, line) in [
            (
                Command::SetAddress(5),
                0xfe,
                &b"\x68\x06\x06\x68\x53\xfe\x51\x01\x7a\x05\x22\x16"[..],
            ),
            (
                Command::SetAddress(8),
                0xfe,
                b"\x68\x06\x06\x68\x53\xfe\x51\x01\x7a\x08\x25\x16",
            ),
            (
                Command::ApplicationReset(Some(0x10)),
                0xfe,
                b"\x68\x04\x04\x68\x53\xfe\x50\x10\xb1\x16",
            ),
            (
                Command::Synchronise,
                0xfe,
                b"\x68\x03\x03\x68\x53\xfe\x54\xa5\x16",
            ),
            (
                Command::SetBaud(9600),
                1,
                b"\x68\x03\x03\x68\x53\x01\xbd\x11\x16",
            ),
            (
                select,
                0,
                b"\x68\x0b\x0b\x68\x53\xfd\x52\x78\x56\x34\x12\xff\xff\xff\xff\xb2\x16",
            ),
        ] {
            assert_eq!(command.frame(address, false).as_deref(), Ok(line));
            let Ok(Frame::Long { ci, data, .. }) = Frame::parse(line) else {
                panic!("no frame");
            };
            assert_eq!(Command::parse(ci, data), command);
        }
        assert_eq!(Command::SetBaud(2401).encode(), Err(Error::Unencodable));
    }
}
