// SPDX-License-Identifier: MIT OR Apache-2.0
//! A meter's master key, which stands in a file of its own: wiped when dropped, never printed.

use std::path::Path;

use smgw_lmn_keys::Key;
use zeroize::Zeroizing;

/// A meter's master key (TR-03116-3 §7.2). Two are equal when they have the same fingerprint.
#[derive(Clone, Debug)]
pub struct MasterKey(Key);

impl MasterKey {
    /// Reads a file of 32 hex digits.
    ///
    /// # Errors
    /// Why not, in words that hold nothing of the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| error.to_string())?;
        let digits = text.trim().as_bytes();
        let mut bytes = Zeroizing::new([0; 16]);
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(EXPECTED.into());
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(EXPECTED);
            *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
        }
        Ok(Self(Key::new(*bytes)))
    }

    /// The key.
    pub const fn key(&self) -> &Key {
        &self.0
    }

    /// Tells this key from others and nothing more of it: half of the CMAC of a text, in hex. No derivation has an input
    /// of that length.
    pub fn fingerprint(&self) -> String {
        let mac = self.0.cmac(&[b"smgw master key name"]);
        mac.iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}

impl Eq for MasterKey {}

const EXPECTED: &str = "expected 32 hex digits, the 16 bytes of the meter's master key";
