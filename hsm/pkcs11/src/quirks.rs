// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tokens do differently, as data: PKCS#11 v2.40 leaves room, and makers use it.

use hsm_api::{Curve, PublicKey};

use crate::point::octet_string;

/// How a token wants the peer's point in `CKM_ECDH1_DERIVE` (PKCS#11 v2.40 mechanisms §2.3).
///
/// The standard demands the raw octets and allows the DER form. SoftHSM2 2.6.1 takes a raw brainpoolP512r1 point
/// whose X begins with 7F for DER and fails (seen in 10 of 1,500 random points); the DER form always works there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PointEncoding {
    /// `04 || X || Y`.
    Raw,
    /// The same inside a DER OCTET STRING.
    Der,
}

impl PointEncoding {
    pub(crate) fn encode(self, key: &PublicKey) -> Vec<u8> {
        match self {
            Self::Raw => key.point.clone(),
            Self::Der => octet_string(&key.point),
        }
    }
}

/// What a token does differently. The default is a token that follows the standard and knows every curve.
///
/// What the token itself tells is no quirk: whether it offers key generation or key agreement is read from its list
/// of mechanisms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quirks {
    /// The form of the peer's point for key agreement.
    pub point_encoding: PointEncoding,
    /// The curves it knows; PKCS#11 has no way to ask.
    pub curves: &'static [Curve],
    /// Whether it takes a public key as session object (`C_CreateObject`), which verification needs.
    pub takes_public_keys: bool,
    /// Whether it destroys token objects; where it does not, nothing can be removed or replaced.
    pub destroys_objects: bool,
    /// Whether it looks for tokens in `C_Initialize` only, so that one that went is found again only after the
    /// library was finalised and initialised anew. That is done only while nobody else in the process uses it.
    pub lists_tokens_at_start: bool,
    /// The largest certificate or data object in bytes, where there is a limit.
    pub largest_object: Option<usize>,
}

impl Default for Quirks {
    fn default() -> Self {
        STANDARD
    }
}

impl Quirks {
    /// The quirks of a token, by what `C_GetTokenInfo` says; the default for tokens that nobody has looked at.
    pub fn of(manufacturer: &str, model: &str) -> Self {
        KNOWN
            .iter()
            .find(|known| known.manufacturer == manufacturer && model.starts_with(known.model))
            .map_or(STANDARD, |known| known.quirks)
    }
}

const STANDARD: Quirks = Quirks {
    point_encoding: PointEncoding::Raw,
    curves: &Curve::ALL,
    takes_public_keys: true,
    destroys_objects: true,
    lists_tokens_at_start: false,
    largest_object: None,
};

struct Known {
    manufacturer: &'static str,
    /// How the model's name begins.
    model: &'static str,
    quirks: Quirks,
}

const NIST: &[Curve] = &[Curve::NistP256, Curve::NistP384];

const KNOWN: &[Known] = &[
    // Version 2.6.1; the tests of this crate run on it.
    Known {
        manufacturer: "SoftHSM project",
        model: "",
        quirks: Quirks {
            point_encoding: PointEncoding::Der,
            lists_tokens_at_start: true,
            ..STANDARD
        },
    },
    // Version 1.5.4: read in its source, not run.
    Known {
        manufacturer: "Kryoptic Project",
        model: "",
        quirks: Quirks {
            curves: NIST,
            ..STANDARD
        },
    },
    // Assumption: PIV knows no other curves, and its slots are overwritten rather than emptied. Not run.
    Known {
        manufacturer: "Yubico (www.yubico.com)",
        model: "YubiKey",
        quirks: Quirks {
            curves: NIST,
            takes_public_keys: false,
            destroys_objects: false,
            ..STANDARD
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_by_manufacturer_and_model() {
        let softhsm = Quirks::of("SoftHSM project", "SoftHSM v2");
        assert_eq!(softhsm.point_encoding, PointEncoding::Der);
        assert_eq!(Quirks::of("anyone else", "SoftHSM v2"), Quirks::default());
        assert_eq!(Quirks::default().point_encoding, PointEncoding::Raw);
        let yubico = "Yubico (www.yubico.com)";
        assert_eq!(Quirks::of(yubico, "YubiKey YK5").curves, NIST);
        assert_eq!(Quirks::of(yubico, "something new"), Quirks::default());
    }
}
