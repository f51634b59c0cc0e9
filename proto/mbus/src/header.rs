// SPDX-License-Identifier: MIT OR Apache-2.0
//! Headers of the transport layer (EN 13757-7 §7.2-7.4).

use alloc::vec::Vec;
use core::fmt;

/// Header of an answer: short, or long when it names the device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Who answers; absent in a short header, whose link address tells.
    pub device: Option<Device>,
    /// Access number, counted up by every answer.
    pub access: u8,
    /// Status: bits 0-1 state, 2 power low, 3 permanent error, 4 temporary error.
    pub status: u8,
    /// Configuration word; its bits 8-12 are the encryption mode.
    pub config: u16,
}

/// A device by its full address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Device {
    /// Identification number as sent: BCD, least significant byte first. Some meters send other digits.
    pub id: [u8; 4],
    /// Who made it.
    pub manufacturer: Manufacturer,
    /// Version.
    pub version: u8,
    /// Device type, e.g. 02 electricity, 03 gas, 07 water.
    pub medium: u8,
}

impl Device {
    /// The identification number as it is printed on the device: eight digits.
    pub fn id_text(&self) -> impl fmt::Display + use<> {
        struct Text([u8; 4]);
        impl fmt::Display for Text {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0
                    .iter()
                    .rev()
                    .try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        Text(self.id)
    }
}

/// A manufacturer by three letters (FLAG code), five bits each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Manufacturer(pub u16);

impl Manufacturer {
    /// `None` unless all three are letters.
    pub fn from_letters(letters: [u8; 3]) -> Option<Self> {
        letters
            .iter()
            .try_fold(0, |code, letter| {
                let letter = letter.to_ascii_uppercase();
                letter
                    .is_ascii_uppercase()
                    .then(|| Self(code << 5 | u16::from(letter - b'@')))
                    .map(|Self(code)| code)
            })
            .map(Self)
    }
}

impl fmt::Display for Manufacturer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in [10, 5, 0] {
            let letter = (self.0 >> shift & 0x1f) as u8 + b'@';
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl Header {
    /// Encryption mode of the configuration word, 0 for none. Some meters on wires use the word otherwise
    /// and encrypt nothing.
    pub const fn mode(&self) -> u8 {
        (self.config >> 8 & 0x1f) as u8
    }

    /// Whether the meter tells of an error or a low battery: anything but bits 7 to 5, the maker's own.
    pub const fn complains(&self) -> bool {
        self.status & 0x1f != 0
    }

    /// Splits a long header of 12 bytes off `data`.
    pub(crate) fn split_long(data: &[u8]) -> Option<(Self, &[u8])> {
        let (&[i0, i1, i2, i3, m0, m1, version, medium], rest) = data.split_first_chunk::<8>()?;
        let (mut header, rest) = Self::split_short(rest)?;
        header.device = Some(Device {
            id: [i0, i1, i2, i3],
            manufacturer: Manufacturer(u16::from_le_bytes([m0, m1])),
            version,
            medium,
        });
        Some((header, rest))
    }

    /// Splits a short header of 4 bytes off `data`.
    pub(crate) fn split_short(data: &[u8]) -> Option<(Self, &[u8])> {
        let (&[access, status, low, high], rest) = data.split_first_chunk::<4>()?;
        let header = Self {
            device: None,
            access,
            status,
            config: u16::from_le_bytes([low, high]),
        };
        Some((header, rest))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        if let Some(device) = &self.device {
            out.extend_from_slice(&device.id);
            out.extend_from_slice(&device.manufacturer.0.to_le_bytes());
            out.extend_from_slice(&[device.version, device.medium]);
        }
        out.extend_from_slice(&[self.access, self.status]);
        out.extend_from_slice(&self.config.to_le_bytes());
    }
}

/// Name of a device type (EN 13757-7 table 13).
pub const fn device_type(code: u8) -> &'static str {
    match code {
        0x00 => "other",
        0x01 => "oil",
        0x02 => "electricity",
        0x03 => "gas",
        0x04 => "heat (return)",
        0x05 => "steam",
        0x06 => "warm water",
        0x07 => "water",
        0x08 => "heat cost allocator",
        0x09 => "compressed air",
        0x0a => "cooling (return)",
        0x0b => "cooling (flow)",
        0x0c => "heat (flow)",
        0x0d => "heat and cooling",
        0x0e => "bus or system",
        0x0f => "unknown",
        0x10 => "irrigation water",
        0x11 => "water logger",
        0x12 => "gas logger",
        0x13 => "gas converter",
        0x14 => "calorific value",
        0x15 => "hot water",
        0x16 => "cold water",
        0x17 => "dual water",
        0x18 => "pressure",
        0x19 => "A/D converter",
        0x1a => "smoke detector",
        0x1b => "room sensor",
        0x1c => "gas detector",
        0x20 => "breaker",
        0x21 => "valve",
        0x25 => "customer unit",
        0x28 => "waste water",
        0x29 => "garbage",
        0x31 => "communication controller",
        0x32 => "unidirectional repeater",
        0x33 => "bidirectional repeater",
        0x36 => "radio converter, system side",
        0x37 => "radio converter, meter side",
        0x38 => "bus converter",
        _ => "reserved type",
    }
}
