// SPDX-License-Identifier: MIT OR Apache-2.0
//! PINs, and where they come from: never a command line, never a log (TR-03116-3 §10 wants 10 digits and more).

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// A PIN; wiped when dropped and never shown.
#[derive(Clone, Eq, PartialEq)]
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

    /// The digits, for the one place that hands them to the module.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

/// Where a PIN comes from; it is read only when the module is opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PinSource {
    /// An environment variable.
    Env(String),
    /// The content of a file.
    File(PathBuf),
    /// A person at the terminal; the text names the module.
    Prompt(String),
    /// The caller has it already.
    Given(Pin),
}

impl From<Pin> for PinSource {
    fn from(pin: Pin) -> Self {
        Self::Given(pin)
    }
}

impl PinSource {
    /// Reads the PIN.
    ///
    /// # Errors
    /// [`PinUnreadable`] says where it should have been and why it is not there.
    pub fn read(&self) -> Result<Pin, PinUnreadable> {
        let unreadable = |why: &dyn fmt::Display| PinUnreadable {
            place: self.to_string(),
            why: why.to_string(),
        };
        match self {
            Self::Env(name) => std::env::var(name)
                .map(Pin::new)
                .map_err(|error| unreadable(&error)),
            Self::File(path) => Pin::read_file(path).map_err(|error| unreadable(&error)),
            Self::Prompt(module) => rpassword::prompt_password(format!("PIN of {module}: "))
                .map(Pin::new)
                .map_err(|error| unreadable(&error)),
            Self::Given(pin) => Ok(pin.clone()),
        }
    }
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Prompt(_) => f.write_str("the terminal"),
            Self::Given(_) => f.write_str("the caller"),
        }
    }
}

/// The PIN is not where it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot read the PIN from {place}: {why}")]
pub struct PinUnreadable {
    /// Where it should be.
    pub place: String,
    /// Why it is not there.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_pin() {
        assert_eq!(format!("{:?}", Pin::new("97531")), "Pin(..)");
        let given = PinSource::from(Pin::new("97531"));
        assert!(!format!("{given:?} {given}").contains("97531"));
    }

    #[test]
    fn a_missing_pin_is_told_with_its_place() {
        let error = PinSource::File("/nowhere/pin".into()).read().unwrap_err();
        assert!(error.to_string().contains("/nowhere/pin"), "{error}");
        let error = PinSource::Env("SMGW_NO_SUCH_PIN".into())
            .read()
            .unwrap_err();
        assert!(error.to_string().contains("SMGW_NO_SUCH_PIN"), "{error}");
    }
}
