// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of profiles, users and recipients; they become part of the names of derived lists (VDE 1.33).

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// 1 to 64 characters of `a-z 0-9 . -`, beginning and ending with a letter or digit; cheap to clone.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProfileName(Arc<str>);

/// Text that is no name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "a name has 1 to 64 characters of a-z, 0-9, . and -, and begins and ends with a letter or digit"
)]
pub struct ProfileNameError;

impl ProfileName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = ProfileNameError;

    fn from_str(text: &str) -> Result<Self, ProfileNameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let fits = matches!(bytes, [first, ..] if plain(*first))
            && matches!(bytes, [.., last] if plain(*last))
            && bytes.len() <= LONGEST
            && bytes
                .iter()
                .all(|byte| plain(*byte) || matches!(byte, b'.' | b'-'));
        fits.then(|| Self(text.into())).ok_or(ProfileNameError)
    }
}

impl TryFrom<String> for ProfileName {
    type Error = ProfileNameError;

    fn try_from(text: String) -> Result<Self, ProfileNameError> {
        text.parse()
    }
}

impl From<ProfileName> for String {
    fn from(name: ProfileName) -> Self {
        name.0.as_ref().into()
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_canonical_names_only() {
        for name in ["a", "taf2.flat-1", "0", &"x".repeat(64)] {
            assert_eq!(name.parse::<ProfileName>().unwrap().as_str(), name);
        }
        for name in ["", "A", "-a", "a.", "a_b", "ä", "a b", &"x".repeat(65)] {
            assert_eq!(name.parse::<ProfileName>(), Err(ProfileNameError), "{name}");
        }
    }
}
