// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is needed to open a token.

use std::fmt;
use std::path::PathBuf;

use hsm_api::Pin;

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
