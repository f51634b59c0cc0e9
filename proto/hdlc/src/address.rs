// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses in frames: two bytes each way on the LMN (TR-03109-1 detail specifications fig. 8.1),
//! one, two or four in DLMS (IEC 62056-46 §6.4.2.2).

use core::fmt;

/// An address as it stands on the line, one to four bytes. Seven bits of each byte count; the lowest
/// bit is 1 in the last byte only (not so on [`Addressing::Slotted`] lines).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Address {
    bytes: [u8; 4],
    length: u8,
}

impl Address {
    /// SAP and station on the LMN, seven bits each. That the SAP comes first is a reading of fig. 8.1,
    /// which prints `0 DST-SAP, 1 DST-ADDR`. This is also the two-byte form of DLMS: upper and lower part.
    pub const fn lmn(sap: u8, station: u8) -> Self {
        Self {
            bytes: [sap << 1, station << 1 | 1, 0, 0],
            length: 2,
        }
    }

    /// The one-byte form of DLMS: clients, and servers without a lower part. Seven bits.
    pub const fn short(upper: u8) -> Self {
        Self {
            bytes: [upper << 1 | 1, 0, 0, 0],
            length: 1,
        }
    }

    /// The four-byte form of DLMS: upper and lower part of 14 bits each.
    pub const fn long(upper: u16, lower: u16) -> Self {
        let [high, low] = [(upper >> 7) as u8, (upper & 0x7f) as u8];
        let [lower_high, lower_low] = [(lower >> 7) as u8, (lower & 0x7f) as u8];
        Self {
            bytes: [high << 1, low << 1, lower_high << 1, lower_low << 1 | 1],
            length: 4,
        }
    }

    /// Bytes as they stand on the line, one to four.
    pub fn from_line(line: &[u8]) -> Option<Self> {
        let mut bytes = [0; 4];
        bytes.get_mut(..line.len())?.copy_from_slice(line);
        let length = u8::try_from(line.len()).ok().filter(|length| *length > 0)?;
        Some(Self { bytes, length })
    }

    /// The bytes on the line.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or(&self.bytes)
    }

    /// The SAP on the LMN; the upper part (logical device) in DLMS.
    pub fn sap(&self) -> u16 {
        match *self.as_bytes() {
            [high, low, _, _] => u16::from(high >> 1) << 7 | u16::from(low >> 1),
            [first, ..] => u16::from(first >> 1),
            [] => 0,
        }
    }

    /// The station on the LMN; the lower part (physical device) in DLMS, 0 where there is none.
    pub fn station(&self) -> u16 {
        match *self.as_bytes() {
            [_, _, high, low] => u16::from(high >> 1) << 7 | u16::from(low >> 1),
            [_, second] => u16::from(second >> 1),
            _ => 0,
        }
    }

    /// Whether every station of the line is meant: station 127 of the LMN (all ones in DLMS too).
    pub fn is_broadcast(&self) -> bool {
        match self.length {
            1 => self.sap() == 0x7f,
            2 => self.station() == 0x7f,
            _ => self.station() == 0x3fff,
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sap(), self.station())
    }
}

/// How long the addresses of a line are.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Addressing {
    /// Two bytes each (TR-03109-1 detail specifications fig. 8.1).
    Lmn,
    /// One, two or four bytes each, ended by a lowest bit of 1 (IEC 62056-46).
    Dlms,
    /// Two bytes without extension bits to the destination, and a source of one or two: the
    /// experimental bridge behind [`crate::SlotDiscovery`].
    Slotted {
        /// Bytes of the source, 1 or 2.
        source: u8,
    },
}

impl Addressing {
    /// Fewest bytes of both addresses together.
    pub(crate) const fn shortest(self) -> usize {
        match self {
            Self::Lmn => 4,
            Self::Dlms => 2,
            Self::Slotted { source } => 2 + source as usize,
        }
    }

    /// Splits destination and source off the bytes behind the format field.
    pub(crate) fn split(self, line: &[u8]) -> Option<(Address, Address, &[u8])> {
        let (destination, rest) = self.one(line, 2)?;
        let source = match self {
            Self::Slotted { source } => usize::from(source),
            Self::Lmn | Self::Dlms => 2,
        };
        let (source, rest) = self.one(rest, source)?;
        Some((destination, source, rest))
    }

    fn one(self, line: &[u8], fixed: usize) -> Option<(Address, &[u8])> {
        let length = match self {
            Self::Dlms => line.iter().take(4).position(|byte| byte & 1 == 1)? + 1,
            Self::Lmn | Self::Slotted { .. } => fixed,
        };
        let (bytes, rest) = line.split_at_checked(length)?;
        let address = Address::from_line(bytes)?;
        self.allows(address).then_some((address, rest))
    }

    /// Whether the extension bits of an address are as this addressing wants them.
    fn allows(self, address: Address) -> bool {
        let bytes = address.as_bytes();
        let ends = bytes.iter().position(|byte| byte & 1 == 1);
        let ended = ends.is_some_and(|end| end + 1 == bytes.len());
        match self {
            Self::Lmn => bytes.len() == 2 && ended,
            Self::Dlms => bytes.len() != 3 && ended,
            Self::Slotted { .. } => true,
        }
    }

    /// Whether a frame from `source` to `destination` can be written.
    pub(crate) fn fits(self, destination: Address, source: Address) -> bool {
        let lengths = match self {
            Self::Slotted { source: length } => {
                destination.as_bytes().len() == 2 && source.as_bytes().len() == usize::from(length)
            }
            Self::Lmn | Self::Dlms => true,
        };
        lengths && self.allows(destination) && self.allows(source)
    }
}
