// SPDX-License-Identifier: MIT OR Apache-2.0
//! Public keys as uncompressed points (TR-03116-3 §2) and as `SubjectPublicKeyInfo` (RFC 5480 §2).

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::{Curve, ModuleError};

/// A public key: its curve and the uncompressed point `04 || X || Y`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    /// The curve the point lies on.
    pub curve: Curve,
    /// `04 || X || Y`, `1 + 2 * curve.field_len()` bytes.
    pub point: Vec<u8>,
}

impl PublicKey {
    /// Takes a point of the right shape; whether it lies on the curve only a module can tell.
    ///
    /// # Errors
    /// [`crate::Fault::Caller`] when the point is compressed or has the wrong length.
    pub fn new(curve: Curve, point: Vec<u8>) -> Result<Self, ModuleError> {
        if point.first() == Some(&UNCOMPRESSED) && point.len() == 1 + 2 * curve.field_len() {
            Ok(Self { curve, point })
        } else {
            Err(ModuleError::caller(format!(
                "{} bytes are not an uncompressed point of {curve}",
                point.len()
            )))
        }
    }

    /// The DER `SubjectPublicKeyInfo` with a named curve.
    pub fn to_spki_der(&self) -> Vec<u8> {
        let algorithm = [ID_EC_PUBLIC_KEY, self.curve.oid_der()].concat();
        let bits = [&[0], self.point.as_slice()].concat();
        tlv(0x30, &[tlv(0x30, &algorithm), tlv(0x03, &bits)].concat())
    }

    /// Reads a DER `SubjectPublicKeyInfo`: a named curve of [`Curve::ALL`] and an uncompressed point.
    pub fn from_spki_der(der: &[u8]) -> Option<Self> {
        let point = |curve: Curve| {
            let start = der.len().checked_sub(1 + 2 * curve.field_len())?;
            Self::new(curve, der.get(start..)?.to_vec()).ok()
        };
        // For each curve exactly one encoding exists, so comparing with ours is a strict parser.
        Curve::ALL
            .into_iter()
            .filter_map(point)
            .find(|key| key.to_spki_der() == der)
    }
}

const UNCOMPRESSED: u8 = 4;

/// DER of the object identifier id-ecPublicKey, 1.2.840.10045.2.1.
const ID_EC_PUBLIC_KEY: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// One DER element; contents here stay below 256 bytes.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = content.len() as u8;
    if len >= 0x80 {
        out.push(0x81);
    }
    out.push(len);
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spki_round_trips_on_every_curve() {
        for curve in Curve::ALL {
            let key = PublicKey::new(curve, [vec![4], vec![0xa5; 2 * curve.field_len()]].concat())
                .unwrap();
            let der = key.to_spki_der();
            assert_eq!(PublicKey::from_spki_der(&der), Some(key));
            for end in 0..der.len() {
                assert_eq!(PublicKey::from_spki_der(&der[..end]), None);
            }
            let mut longer = der.clone();
            longer.push(0);
            assert_eq!(PublicKey::from_spki_der(&longer), None);
        }
    }

    #[test]
    fn compressed_and_short_points_are_refused() {
        let curve = Curve::BrainpoolP256r1;
        assert!(PublicKey::new(curve, vec![2; 33]).is_err());
        assert!(PublicKey::new(curve, vec![4; 64]).is_err());
        assert!(PublicKey::new(curve, Vec::new()).is_err());
    }
}
