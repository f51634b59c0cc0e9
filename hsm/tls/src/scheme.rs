// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signature schemes of handshakes (TR-03116-3 §4.3, RFC 8734 §3).

use alloc::vec::Vec;

use hsm_api::{Curve, Hash};
use rustls::{ProtocolVersion, SignatureScheme};

/// What one code point means in one protocol version.
///
/// The same number means different things: 0x0403 is "ECDSA with SHA-256 on any curve" in TLS 1.2 (RFC 5246 §7.4.1.4.1)
/// but "P-256 only" in TLS 1.3 (RFC 8446 §4.2.3), while 0x081A exists in TLS 1.3 only (RFC 8734 §3).
#[derive(Debug)]
pub(crate) struct Scheme {
    pub(crate) id: u16,
    pub(crate) version: ProtocolVersion,
    pub(crate) hash: Hash,
    /// The curve it is for; `None` for any.
    pub(crate) curve: Option<Curve>,
}

impl Scheme {
    pub(crate) fn code(&self) -> SignatureScheme {
        SignatureScheme::from(self.id)
    }

    pub(crate) fn fits(&self, version: ProtocolVersion, curve: Curve) -> bool {
        self.version == version && self.curve.is_none_or(|only| only == curve)
    }

    pub(crate) fn find(
        code: SignatureScheme,
        version: ProtocolVersion,
        curve: Curve,
    ) -> Option<&'static Self> {
        SCHEMES
            .iter()
            .find(|scheme| scheme.code() == code && scheme.fits(version, curve))
    }

    /// The one to sign with when the peer takes those `offered`: with the hash that the curve is paired with, or
    /// another.
    pub(crate) fn choose(
        offered: &[SignatureScheme],
        version: ProtocolVersion,
        curve: Curve,
    ) -> Option<&'static Self> {
        SCHEMES
            .iter()
            .filter(|scheme| scheme.fits(version, curve) && offered.contains(&scheme.code()))
            .min_by_key(|scheme| scheme.hash != Hash::of(curve))
    }

    /// The numbers that these versions use, most wanted first, each once.
    pub(crate) fn codes(versions: &[ProtocolVersion]) -> Vec<SignatureScheme> {
        let mut codes = Vec::new();
        for scheme in SCHEMES {
            if versions.contains(&scheme.version) && !codes.contains(&scheme.code()) {
                codes.push(scheme.code());
            }
        }
        codes
    }
}

const fn tls13(id: u16, hash: Hash, curve: Curve) -> Scheme {
    Scheme {
        id,
        version: ProtocolVersion::TLSv1_3,
        hash,
        curve: Some(curve),
    }
}

const fn tls12(id: u16, hash: Hash) -> Scheme {
    Scheme {
        id,
        version: ProtocolVersion::TLSv1_2,
        hash,
        curve: None,
    }
}

/// TR-03116-3 §4.1.4 for TLS 1.2 and §4.3 for TLS 1.3, most wanted first.
pub(crate) const SCHEMES: &[Scheme] = &[
    tls13(0x081A, Hash::Sha256, Curve::BrainpoolP256r1),
    tls13(0x081B, Hash::Sha384, Curve::BrainpoolP384r1),
    tls13(0x081C, Hash::Sha512, Curve::BrainpoolP512r1),
    tls13(0x0403, Hash::Sha256, Curve::NistP256),
    tls13(0x0503, Hash::Sha384, Curve::NistP384),
    tls12(0x0403, Hash::Sha256),
    tls12(0x0503, Hash::Sha384),
    tls12(0x0603, Hash::Sha512),
];

#[cfg(test)]
mod tests {
    use super::*;

    const TLS12: ProtocolVersion = ProtocolVersion::TLSv1_2;
    const TLS13: ProtocolVersion = ProtocolVersion::TLSv1_3;

    #[test]
    fn code_points_belong_to_one_version() {
        let find = |id: u16, version, curve| {
            Scheme::find(SignatureScheme::from(id), version, curve).is_some()
        };
        for (id, own) in [
            (0x081A, Curve::BrainpoolP256r1),
            (0x081B, Curve::BrainpoolP384r1),
            (0x081C, Curve::BrainpoolP512r1),
            (0x0403, Curve::NistP256),
            (0x0503, Curve::NistP384),
        ] {
            for curve in Curve::ALL {
                assert_eq!(find(id, TLS13, curve), curve == own, "{id:#x} {curve}");
            }
        }
        for curve in Curve::ALL {
            assert!(
                [0x0403, 0x0503, 0x0603]
                    .iter()
                    .all(|id| find(*id, TLS12, curve))
            );
            // RSA, SHA-1, Ed25519 are nobody's; P-521 and what RFC 8734 brings belong to one version or none.
            assert!(
                ![0x0401, 0x0203, 0x0804, 0x0807, 0x081A, 0x081B, 0x081C]
                    .iter()
                    .any(|id| find(*id, TLS12, curve))
            );
            assert!(
                ![0x0401, 0x0203, 0x0804, 0x0807, 0x0603]
                    .iter()
                    .any(|id| find(*id, TLS13, curve))
            );
        }
    }

    #[test]
    fn keys_sign_with_the_hash_of_their_curve_or_what_the_peer_takes() {
        let choose = |offered: &[u16], version, curve| {
            let offered: Vec<_> = offered.iter().copied().map(SignatureScheme::from).collect();
            Scheme::choose(&offered, version, curve).map(|scheme| scheme.id)
        };
        let all = [0x0403, 0x0503, 0x0603];
        assert_eq!(choose(&all, TLS12, Curve::BrainpoolP256r1), Some(0x0403));
        assert_eq!(choose(&all, TLS12, Curve::NistP384), Some(0x0503));
        assert_eq!(choose(&all, TLS12, Curve::BrainpoolP512r1), Some(0x0603));
        assert_eq!(choose(&[0x0603], TLS12, Curve::NistP256), Some(0x0603));
        assert_eq!(choose(&all, TLS13, Curve::NistP256), Some(0x0403));
        assert_eq!(choose(&all, TLS13, Curve::BrainpoolP256r1), None);
        assert_eq!(choose(&[0x0401, 0x0807], TLS12, Curve::NistP256), None);
    }
}
