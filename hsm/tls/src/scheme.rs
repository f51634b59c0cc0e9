// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signature schemes of handshakes (TR-03116-3 §4.3, RFC 8734 §3) and the digests below them.

use hsm_api::Curve;
use rustls::{ProtocolVersion, SignatureScheme};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A hash function of TR-03116-3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// What one code point means in one protocol version.
///
/// The same number means different things: 0x0403 is "ECDSA with SHA-256 on any curve" in TLS 1.2 (RFC 5246 §7.4.1.4.1)
/// but "P-256 only" in TLS 1.3 (RFC 8446 §4.2.3), while 0x081A exists in TLS 1.3 only (RFC 8734 §3).
#[derive(Debug)]
pub(crate) struct Scheme {
    pub(crate) id: u16,
    pub(crate) version: ProtocolVersion,
    pub(crate) hash: Hash,
    pub(crate) curve: Curve,
}

impl Scheme {
    pub(crate) fn code(&self) -> SignatureScheme {
        SignatureScheme::from(self.id)
    }

    pub(crate) fn find(
        code: SignatureScheme,
        version: ProtocolVersion,
        curve: Curve,
    ) -> Option<&'static Self> {
        SCHEMES.iter().find(|scheme| {
            scheme.code() == code && scheme.version == version && scheme.curve == curve
        })
    }
}

/// Most wanted first.
pub(crate) const SCHEMES: &[Scheme] = &[
    Scheme {
        id: 0x081A,
        version: ProtocolVersion::TLSv1_3,
        hash: Hash::Sha256,
        curve: Curve::BrainpoolP256r1,
    },
    Scheme {
        id: 0x0403,
        version: ProtocolVersion::TLSv1_2,
        hash: Hash::Sha256,
        curve: Curve::BrainpoolP256r1,
    },
    Scheme {
        id: 0x0503,
        version: ProtocolVersion::TLSv1_2,
        hash: Hash::Sha384,
        curve: Curve::BrainpoolP256r1,
    },
    Scheme {
        id: 0x0603,
        version: ProtocolVersion::TLSv1_2,
        hash: Hash::Sha512,
        curve: Curve::BrainpoolP256r1,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_belong_to_one_version() {
        let find = |id: u16, version| {
            Scheme::find(SignatureScheme::from(id), version, Curve::BrainpoolP256r1)
        };
        assert!(find(0x081A, ProtocolVersion::TLSv1_3).is_some());
        assert!(find(0x081A, ProtocolVersion::TLSv1_2).is_none());
        assert!(find(0x0403, ProtocolVersion::TLSv1_2).is_some());
        assert!(find(0x0403, ProtocolVersion::TLSv1_3).is_none());
        // RSA, SHA-1 and P-521 in TLS 1.3 are nobody's.
        for id in [0x0401, 0x0203, 0x0804, 0x0603] {
            assert!(find(id, ProtocolVersion::TLSv1_3).is_none());
        }
    }
}
