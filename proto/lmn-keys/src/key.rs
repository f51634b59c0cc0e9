// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys and their derivation (BSI TR-03116-3 §7.2, OMS vol. 2 §9.5).

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// An AES-128 key. Wiped when dropped; never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 16]);

/// What a derived key is for; the byte is the first of the derivation's input.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum KeyKind {
    /// Encryption of what the meter sends.
    Kenc = 0x00,
    /// Authentication of what the meter sends.
    Kmac = 0x01,
    /// Encryption of what the gateway sends.
    Lenc = 0x10,
    /// Authentication of what the gateway sends.
    Lmac = 0x11,
}

/// The meter a key is derived for; how it is connected decides the order of the counter's bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meter<'a> {
    /// By radio: identification number as sent, least significant byte first. Counter likewise.
    Radio([u8; 4]),
    /// By wire: server id of 10 bytes, or the octet string the administrator put in its place.
    /// Counter most significant byte first.
    Wire(&'a [u8]),
}

impl Key {
    /// A key from its bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for whoever must hand the key on.
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key of `kind` for the message with `counter`:
    /// `AES-CMAC(self, kind || counter || id || p times p)`, which fills the last block.
    pub fn derive(&self, kind: KeyKind, counter: u32, meter: &Meter<'_>) -> Self {
        let (counter, id) = match meter {
            Meter::Radio(id) => (counter.to_le_bytes(), id.as_slice()),
            Meter::Wire(id) => (counter.to_be_bytes(), *id),
        };
        let pad = 16 - (1 + counter.len() + id.len()) % 16;
        let padding = [pad as u8; 16];
        let padding = padding.get(..pad).unwrap_or_default();
        Self(self.cmac(&[&[kind as u8], &counter, id, padding]))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_fills_a_block_of_its_own_behind_a_full_one() {
        let key = Key::new([1; 16]);
        let id = [9; 11];
        let mut input = [16; 32];
        input[..16].copy_from_slice(&[0x10, 0, 0, 2, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
        assert_eq!(
            key.derive(KeyKind::Lenc, 512, &Meter::Wire(&id)).expose(),
            &key.cmac(&[&input])
        );
    }
}
