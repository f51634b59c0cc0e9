// SPDX-License-Identifier: MIT OR Apache-2.0
//! The secret both ends of a link share: 32 random bytes, made for one run and kept in files only their owner may read.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use hsm_api::{ModuleError, Reason};
use zeroize::Zeroizing;

/// The shared secret; wiped when dropped and never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; Self::LEN]>);

impl Secret {
    /// Bytes of a secret.
    pub const LEN: usize = 32;

    /// Takes given bytes; they must be random.
    pub fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Draws a secret from the operating system.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Transport`] when the operating system gives no randomness.
    pub fn generate() -> Result<Self, ModuleError> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        getrandom::fill(bytes.as_mut())
            .map_err(|error| ModuleError::transport(format!("no randomness: {error}")))?;
        Ok(Self(bytes))
    }

    /// Reads a secret from a file of 64 hex digits.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Caller`] when the file cannot be read or holds something else.
    pub fn read_file(path: &Path) -> Result<Self, ModuleError> {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let wrong = |why: &dyn fmt::Display| {
            ModuleError::caller(format!("link secret {}: {why}", path.display()))
                .because(Reason::BadInput)
        };
        let text = text.map_err(|error| wrong(&error))?;
        text.trim_end().parse().map_err(|why: &str| wrong(&why))
    }

    /// The secret as its file holds it.
    pub fn to_hex(&self) -> Zeroizing<String> {
        // Written in place: a growing text would leave pieces of itself behind.
        let mut text = Zeroizing::new(String::with_capacity(2 * Self::LEN));
        for byte in self.0.iter() {
            for half in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(half.into(), 16));
            }
        }
        text
    }

    pub(crate) fn bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "a secret is 64 hex digits";
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        if !rest.is_empty() || pairs.len() != Self::LEN {
            return Err(WANTED);
        }
        let digit = |letter: u8| char::from(letter).to_digit(16).ok_or(WANTED);
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_is_read_back_and_nothing_else_is() {
        let secret = Secret::generate().unwrap();
        let text = secret.to_hex();
        assert_eq!(text.parse::<Secret>().unwrap().bytes(), secret.bytes());
        assert!(!format!("{secret:?}").contains(text.as_str()));
        for wrong in ["", &text[1..], &format!("{}0", *text), &"g".repeat(64)] {
            assert!(wrong.parse::<Secret>().is_err(), "{wrong}");
        }
        assert_ne!(*Secret::generate().unwrap().to_hex(), *text);
    }

    #[test]
    fn a_missing_file_is_told_with_its_name() {
        let error = Secret::read_file(Path::new("/nowhere/secret")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/secret"), "{error}");
    }
}
