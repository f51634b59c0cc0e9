// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which key belongs to which meter.

use alloc::vec::Vec;

use smgw_lmn_keys::Key;
use smgw_mbus::Device;

/// Keys of meters. A key for the exact device comes before one for its identification number, which
/// comes before the one for all.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    entries: Vec<(Whose, Key)>,
    authentic_only: bool,
}

/// For whom a key is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// One device.
    Device(Device),
    /// All devices with this identification number, as sent.
    Id([u8; 4]),
    /// All devices.
    All,
}

impl Keys {
    /// No keys.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            authentic_only: false,
        }
    }

    /// One key for all.
    pub fn all(key: Key) -> Self {
        let mut keys = Self::new();
        keys.insert(Whose::All, key);
        keys
    }

    /// The same keys, by which nothing is decrypted whose authentication is not right: what was forged is then refused
    /// before its padding is looked at (TR-03116-3 §7, catalogue row LMR-07).
    #[must_use]
    pub fn authentic_only(mut self) -> Self {
        self.authentic_only = true;
        self
    }

    pub(crate) const fn wants_authentic(&self) -> bool {
        self.authentic_only
    }

    /// Adds a key, in place of an earlier one for the same.
    pub fn insert(&mut self, whose: Whose, key: Key) {
        self.entries.retain(|(known, _)| *known != whose);
        self.entries.push((whose, key));
    }

    /// The key of a device.
    pub fn of(&self, device: &Device) -> Option<&Key> {
        [Whose::Device(*device), Whose::Id(device.id), Whose::All]
            .iter()
            .find_map(|whose| self.entries.iter().find(|(known, _)| known == whose))
            .map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use smgw_mbus::Manufacturer;

    use super::*;

    #[test]
    fn the_most_exact_key_wins() {
        let device = Device {
            id: [1, 2, 3, 4],
            manufacturer: Manufacturer(0x1593),
            version: 1,
            medium: 3,
        };
        let other = Device {
            version: 2,
            ..device
        };
        let stranger = Device {
            id: [0; 4],
            ..device
        };
        let mut keys = Keys::all(Key::new([0; 16]));
        keys.insert(Whose::Device(device), Key::new([9; 16]));
        keys.insert(Whose::Device(device), Key::new([2; 16]));
        keys.insert(Whose::Id(device.id), Key::new([1; 16]));
        let first = |device| keys.of(device).map(|key| key.expose()[0]);
        assert_eq!(first(&device), Some(2));
        assert_eq!(first(&other), Some(1));
        assert_eq!(first(&stranger), Some(0));
        assert!(Keys::new().of(&device).is_none());
    }
}
