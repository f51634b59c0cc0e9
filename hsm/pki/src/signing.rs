// SPDX-License-Identifier: MIT OR Apache-2.0
//! ECDSA over certificates, lists and requests (TR-03116-3 table 5), computed and checked inside a module.

use der::asn1::ObjectIdentifier;
use hsm_api::{Curve, KeyId, PublicKey, SecurityModule, signature};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::{PkiError, oid};

/// The hash of a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The hash as long as the key: SHA-256 on brainpoolP256r1 and so on (TR-03116-3 table 5).
    pub(crate) fn of_curve(curve: Curve) -> Self {
        match curve.field_len() {
            48 => Self::Sha384,
            64 => Self::Sha512,
            _ => Self::Sha256,
        }
    }

    /// The object identifier of ecdsa-with-SHA*.
    pub(crate) fn ecdsa(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => oid::ECDSA_WITH_SHA256,
            Self::Sha384 => oid::ECDSA_WITH_SHA384,
            Self::Sha512 => oid::ECDSA_WITH_SHA512,
        }
    }

    pub(crate) fn from_ecdsa(algorithm: &ObjectIdentifier) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|hash| hash.ecdsa() == *algorithm)
    }

    /// The algorithm identifier of ecdsa-with-SHA*, without parameters (RFC 5758 §3.2).
    pub(crate) fn algorithm(self) -> AlgorithmIdentifierOwned {
        AlgorithmIdentifierOwned {
            oid: self.ecdsa(),
            parameters: None,
        }
    }

    pub(crate) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// Signs a message; the signature is in DER, as X.509 carries it.
pub(crate) fn sign(
    module: &dyn SecurityModule,
    key: &KeyId,
    hash: Hash,
    message: &[u8],
) -> Result<Vec<u8>, PkiError> {
    let plain = module.sign_digest(key, &hash.digest(message))?;
    signature::der_from_plain(&plain)
        .ok_or_else(|| PkiError::Request("the module's signature has an impossible length".into()))
}

/// Whether a DER signature of this algorithm is right; an unknown algorithm and a loose encoding never are.
pub(crate) fn verify(
    module: &dyn SecurityModule,
    key: &PublicKey,
    algorithm: &ObjectIdentifier,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, PkiError> {
    let plain = signature::plain_from_der(key.curve, signature);
    match (Hash::from_ecdsa(algorithm), plain) {
        (Some(hash), Some(plain)) => {
            Ok(module.verify_digest(key, &hash.digest(message), &plain)?)
        }
        _ => Ok(false),
    }
}
