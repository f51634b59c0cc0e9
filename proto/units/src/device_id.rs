// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device ids of DIN 43849 (formerly DIN 43863-5): 14 characters, and their binary server id
//! (TR-03109-1 detail specifications figure 8.3).

use core::fmt;
use core::str::FromStr;

/// Sector, three manufacturer letters, block and number, e.g. `1esy1160000001`; kept lower case.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeviceId([u8; 14]);

/// Text that is no device id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeviceIdError;

impl fmt::Display for DeviceIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a device id; expected 14 characters: sector digit, 3 manufacturer letters, \
             2 hex digits, 8 decimal digits",
        )
    }
}

impl core::error::Error for DeviceIdError {}

impl DeviceId {
    /// The canonical lower-case text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).expect("only ASCII passes from_str")
    }

    /// `0A | sector | 3 ASCII | block | number as u32 big endian`.
    pub fn server_id(&self) -> [u8; 10] {
        let text = self.as_str();
        let hex = |range| u8::from_str_radix(&text[range], 16).expect("checked by from_str");
        let number: u32 = text[6..].parse().expect("checked by from_str");
        let mut id = [0x0a, hex(0..1), 0, 0, 0, hex(4..6), 0, 0, 0, 0];
        id[2..5].copy_from_slice(&self.0[1..4].to_ascii_uppercase());
        id[6..].copy_from_slice(&number.to_be_bytes());
        id
    }
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        let mut id: [u8; 14] = text.as_bytes().try_into().map_err(|_| DeviceIdError)?;
        id.make_ascii_lowercase();
        let fits = id[0].is_ascii_hexdigit()
            && id[1..4].iter().all(u8::is_ascii_lowercase)
            && id[4..6].iter().all(u8::is_ascii_hexdigit)
            && id[6..].iter().all(u8::is_ascii_digit);
        fits.then_some(Self(id)).ok_or(DeviceIdError)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_id_follows_figure_8_3() {
        let id: DeviceId = "1MFC0E00000123".parse().unwrap();
        assert_eq!(id.as_str(), "1mfc0e00000123");
        assert_eq!(id.server_id(), *b"\x0a\x01MFC\x0e\x00\x00\x00\x7b");
    }

    #[test]
    fn refuses_malformed_ids() {
        for text in [
            "",
            "1mfc0e0000012",
            "1mf10e00000123",
            "gmfc0e00000123",
            "1mfc0e0000012x",
        ] {
            assert!(text.parse::<DeviceId>().is_err(), "{text}");
        }
    }
}
