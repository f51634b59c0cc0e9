// SPDX-License-Identifier: MIT OR Apache-2.0
//! ECDSA over certificates, lists and requests (TR-03116-3 table 5), computed and checked inside a module.

use der::asn1::ObjectIdentifier;
use hsm_api::{Hash, KeyId, PublicKey, SecurityModule, signature};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::{PkiError, oid};

/// The object identifier of ecdsa-with-SHA*.
pub(crate) fn ecdsa_with(hash: Hash) -> ObjectIdentifier {
    match hash {
        Hash::Sha256 => oid::ECDSA_WITH_SHA256,
        Hash::Sha384 => oid::ECDSA_WITH_SHA384,
        Hash::Sha512 => oid::ECDSA_WITH_SHA512,
    }
}

/// The hash of an ecdsa-with-SHA* algorithm.
pub(crate) fn hash_of(algorithm: &ObjectIdentifier) -> Option<Hash> {
    Hash::ALL
        .into_iter()
        .find(|hash| ecdsa_with(*hash) == *algorithm)
}

/// The algorithm identifier of ecdsa-with-SHA*, without parameters (RFC 5758 §3.2).
pub(crate) fn algorithm(hash: Hash) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid: ecdsa_with(hash),
        parameters: None,
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
    match (hash_of(algorithm), plain) {
        (Some(hash), Some(plain)) => {
            Ok(module.verify_digest(key, &hash.digest(message), &plain)?)
        }
        _ => Ok(false),
    }
}
