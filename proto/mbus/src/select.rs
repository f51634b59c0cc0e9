// SPDX-License-Identifier: MIT OR Apache-2.0
//! Secondary addresses with wildcards (EN 13757-7 §8.4).

use crate::{Device, Manufacturer};

/// A secondary address; digits F and bytes FF stand for anything.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Mask {
    /// Identification number, least significant byte first; nibble F is a wildcard.
    pub id: [u8; 4],
    /// Manufacturer as on the line, low byte first; byte FF is a wildcard.
    pub manufacturer: [u8; 2],
    /// Version; FF is a wildcard.
    pub version: u8,
    /// Device type; FF is a wildcard.
    pub medium: u8,
}

impl Mask {
    /// Names every slave.
    pub const ANY: Self = Self {
        id: [0xff; 4],
        manufacturer: [0xff; 2],
        version: 0xff,
        medium: 0xff,
    };

    /// Names one slave, unless its own address holds wildcards.
    pub const fn of(device: &Device) -> Self {
        Self {
            id: device.id,
            manufacturer: device.manufacturer.0.to_le_bytes(),
            version: device.version,
            medium: device.medium,
        }
    }

    /// The eight bytes as on the line.
    pub const fn to_bytes(self) -> [u8; 8] {
        let ([i0, i1, i2, i3], [m0, m1]) = (self.id, self.manufacturer);
        [i0, i1, i2, i3, m0, m1, self.version, self.medium]
    }

    /// From the eight bytes on the line.
    pub const fn from_bytes([i0, i1, i2, i3, m0, m1, version, medium]: [u8; 8]) -> Self {
        Self {
            id: [i0, i1, i2, i3],
            manufacturer: [m0, m1],
            version,
            medium,
        }
    }

    /// Whether it names `device`.
    pub fn matches(&self, device: &Device) -> bool {
        let nibble = |mask: u8, own: u8| mask == 0x0f || mask == own;
        let digits = self
            .id
            .iter()
            .zip(&device.id)
            .all(|(mask, own)| nibble(mask >> 4, own >> 4) && nibble(mask & 15, own & 15));
        let own = Self::of(device).to_bytes();
        let bytes = self.to_bytes();
        let mut rest = bytes.iter().zip(&own).skip(4);
        digits && rest.all(|(mask, own)| *mask == 0xff || mask == own)
    }

    /// The device it names, if it holds no wildcard.
    pub fn device(&self) -> Option<Device> {
        let digits = |byte: &u8| byte >> 4 == 0x0f || byte & 15 == 0x0f;
        let bytes = self.to_bytes();
        let open = self.id.iter().any(digits) || bytes.iter().skip(4).any(|byte| *byte == 0xff);
        (!open).then_some(Device {
            id: self.id,
            manufacturer: Manufacturer(u16::from_le_bytes(self.manufacturer)),
            version: self.version,
            medium: self.medium,
        })
    }
}
