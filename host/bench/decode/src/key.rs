// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys of meters, as a command line or a file gives them.

use std::fmt;
use std::str::FromStr;

/// A key of a meter, for one meter or for all.
#[derive(Clone, Eq, PartialEq)]
pub struct Key {
    /// Identification number as printed on the meter, eight hex digits; absent for all meters.
    pub id: Option<String>,
    /// The AES-128 key. Absent for a DES key of 16 hex digits: security modes 2 and 3 are not supported, but
    /// lists of keys may hold such keys.
    pub aes: Option<[u8; 16]>,
}

/// Text that is no key; the caller wrote it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// The key itself.
    #[error("a key has 32 hex digits (or 16 for DES)")]
    Key,
    /// What stands before the `=`.
    #[error("an identification number has 8 hex digits")]
    Id,
}

impl FromStr for Key {
    type Err = KeyError;

    /// `HEX` or `ID=HEX`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (id, key) = match text.split_once('=') {
            Some((id, key)) => (Some(id.to_ascii_lowercase()), key),
            None => (None, text),
        };
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if id.as_ref().is_some_and(|id| id.len() != 8 || !is_hex(id)) {
            return Err(KeyError::Id);
        }
        if !is_hex(key) {
            return Err(KeyError::Key);
        }
        let number = u128::from_str_radix(key, 16).map_err(|_| KeyError::Key)?;
        let aes = match key.len() {
            32 => Some(number.to_be_bytes()),
            16 => None,
            _ => return Err(KeyError::Key),
        };
        Ok(Self { id, aes })
    }
}

impl fmt::Debug for Key {
    /// Without the key, which must not end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_a_meter() {
        let hex = "000102030405060708090a0b0c0d0e0f";
        let key: Key = hex.parse().unwrap();
        assert_eq!((key.id, key.aes.map(|aes| aes[15])), (None, Some(15)));
        assert_eq!(hex[..16].parse::<Key>().unwrap().aes, None);
        let key: Key = format!("1234567A={hex}").parse().unwrap();
        assert_eq!(key.id.as_deref(), Some("1234567a"));
        assert!(!format!("{key:?}").contains('['));
        assert_eq!("00".parse::<Key>(), Err(KeyError::Key));
        assert_eq!(format!("12={hex}").parse::<Key>(), Err(KeyError::Id));
        assert_eq!("ää".repeat(8).parse::<Key>(), Err(KeyError::Key));
    }
}
