// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is needed to open a token.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Where a token is and how to get into it.
#[derive(Debug)]
pub struct Pkcs11Config {
    /// The PKCS#11 library of the token's maker.
    pub module: PathBuf,
    /// Which of the library's tokens.
    pub token: TokenSelector,
    /// The user PIN. It is tried once per [`crate::Pkcs11Module::open`] and then forgotten.
    pub pin: Pin,
    /// How many operations may run at once, at least 1; one per CPU core is enough for a software token.
    pub sessions: usize,
}

/// Names one token; slot numbers are no names, since they change when tokens come and go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenSelector {
    /// The label given when the token was initialised.
    Label(String),
    /// The serial number the token reports.
    Serial(String),
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "token labelled \"{label}\""),
            Self::Serial(serial) => write!(f, "token with serial number \"{serial}\""),
        }
    }
}

/// A user PIN; wiped when dropped and never shown.
#[derive(Clone)]
pub struct Pin(Zeroizing<String>);

impl Pin {
    /// Takes a PIN.
    pub fn new(pin: impl Into<String>) -> Self {
        Self(Zeroizing::new(pin.into()))
    }

    /// Reads a PIN from a file: its content without the line end.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn read_file(path: &Path) -> std::io::Result<Self> {
        let text = Zeroizing::new(std::fs::read_to_string(path)?);
        Ok(Self::new(text.trim_end_matches(['\r', '\n'])))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_pin() {
        let config = Pkcs11Config {
            module: "/nowhere".into(),
            token: TokenSelector::Label("t".into()),
            pin: Pin::new("97531"),
            sessions: 1,
        };
        assert!(!format!("{config:?}").contains("97531"));
    }
}
