// SPDX-License-Identifier: MIT OR Apache-2.0
//! The five curves every security module must offer (TR-03116-3 table 4).

use core::fmt;

/// A named curve.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Curve {
    /// RFC 5639 brainpoolP256r1.
    BrainpoolP256r1,
    /// RFC 5639 brainpoolP384r1.
    BrainpoolP384r1,
    /// RFC 5639 brainpoolP512r1.
    BrainpoolP512r1,
    /// NIST P-256.
    NistP256,
    /// NIST P-384.
    NistP384,
}

impl Curve {
    /// All curves of the table.
    pub const ALL: [Self; 5] = [
        Self::BrainpoolP256r1,
        Self::BrainpoolP384r1,
        Self::BrainpoolP512r1,
        Self::NistP256,
        Self::NistP384,
    ];

    /// Bytes of one coordinate.
    pub const fn field_len(self) -> usize {
        match self {
            Self::BrainpoolP256r1 | Self::NistP256 => 32,
            Self::BrainpoolP384r1 | Self::NistP384 => 48,
            Self::BrainpoolP512r1 => 64,
        }
    }

    /// The complete DER encoding (tag, length, value) of the curve's object identifier.
    pub const fn oid_der(self) -> &'static [u8] {
        match self {
            Self::BrainpoolP256r1 => &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7],
            Self::BrainpoolP384r1 => &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 11],
            Self::BrainpoolP512r1 => &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 13],
            Self::NistP256 => &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            Self::NistP384 => &[6, 5, 0x2b, 0x81, 4, 0, 34],
        }
    }

    /// The curve with exactly this complete DER object identifier.
    pub fn from_oid_der(oid: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.oid_der() == oid)
    }

    /// The part of a digest that ECDSA uses on this curve: its leftmost bits, as many as the group order has
    /// (TR-03111 §4.2.1). On all five curves the order is as long as the field, so this is a byte count.
    pub fn leftmost(self, digest: &[u8]) -> &[u8] {
        digest.get(..self.field_len()).unwrap_or(digest)
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BrainpoolP256r1 => "brainpoolP256r1",
            Self::BrainpoolP384r1 => "brainpoolP384r1",
            Self::BrainpoolP512r1 => "brainpoolP512r1",
            Self::NistP256 => "P-256",
            Self::NistP384 => "P-384",
        })
    }
}
