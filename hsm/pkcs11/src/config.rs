// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is needed to open a token.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hsm_api::PinSource;

use crate::quirks::Quirks;

/// Where a token is, how to get into it, and how patient to be with it.
///
/// [`Self::new`] fills in what rarely differs; change single fields by struct update.
#[derive(Clone, Debug)]
pub struct Pkcs11Config {
    /// The PKCS#11 library of the token's maker.
    pub module: PathBuf,
    /// Which of the library's tokens.
    pub token: TokenSelector,
    /// The user PIN. It is read when the token is opened, tried once then and once after each loss of the token, and
    /// never again once the token refused it.
    pub pin: PinSource,
    /// How many operations may run at once, at least 1; one per CPU core is enough for a software token.
    pub sessions: usize,
    /// How long a call waits for a free session, or for another call that is opening the token again.
    pub lease_timeout: Duration,
    /// How long a token that did not come back is left alone before the next call looks for it; doubles up to 32
    /// times this.
    pub reopen_pause: Duration,
    /// What the token does differently; `None` looks it up by manufacturer and model.
    pub quirks: Option<Quirks>,
}

impl Pkcs11Config {
    /// A session per CPU core (two at least), 10 s for a free session, 1 s before a token is looked for again, and
    /// the quirks the driver knows.
    pub fn new(
        module: impl Into<PathBuf>,
        token: TokenSelector,
        pin: impl Into<PinSource>,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            module: module.into(),
            token,
            pin: pin.into(),
            sessions: cores.max(2),
            lease_timeout: Duration::from_secs(10),
            reopen_pause: Duration::from_secs(1),
            quirks: None,
        }
    }
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
    use hsm_api::Pin;

    use super::*;

    #[test]
    fn debug_never_shows_the_pin() {
        let token = TokenSelector::Label("t".into());
        let config = Pkcs11Config::new("/nowhere", token, Pin::new("97531"));
        assert!(!format!("{config:?}").contains("97531"));
    }
}
