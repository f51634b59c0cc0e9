// SPDX-License-Identifier: MIT OR Apache-2.0
//! The three hash functions of TR-03116-3 and the curve each is paired with (table 5). Hashing is done outside the
//! module: it signs and verifies digests.

use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::Curve;

/// A hash function of TR-03116-3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hash {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl Hash {
    /// All of them, shortest first.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The one whose digest is as long as the curve's field (TR-03116-3 table 5).
    pub const fn of(curve: Curve) -> Self {
        match curve.field_len() {
            0..=32 => Self::Sha256,
            33..=48 => Self::Sha384,
            _ => Self::Sha512,
        }
    }

    /// The digest of `message`.
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_as_long_as_the_field_of_their_curve() {
        for curve in Curve::ALL {
            assert_eq!(Hash::of(curve).digest(b"abc").len(), curve.field_len());
        }
    }

    /// FIPS 180-4: the first four bytes of each digest of "abc".
    #[test]
    fn each_is_the_function_it_says() {
        let start = |hash: Hash| hash.digest(b"abc").get(..4).map(<[u8]>::to_vec);
        assert_eq!(start(Hash::Sha256), Some(vec![0xba, 0x78, 0x16, 0xbf]));
        assert_eq!(start(Hash::Sha384), Some(vec![0xcb, 0x00, 0x75, 0x3f]));
        assert_eq!(start(Hash::Sha512), Some(vec![0xdd, 0xaf, 0x35, 0xa1]));
    }
}
