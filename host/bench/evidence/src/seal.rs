// SPDX-License-Identifier: MIT OR Apache-2.0
//! The seal of a bundle: one signature over the manifest, in the manner of DSSE.
//!
//! What is signed is the SHA-256 of the pre-authentication encoding
//! `DSSEv1 <len> <payloadType> <len> <manifest.json>`, so the manifest needs no canonical form. The seal itself
//! does: it has exactly one spelling, and a verifier refuses every other.

use hsm_api::{Curve, ModuleError, PublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::{Sha256Digest, hex, sha256, unhex};

/// Whoever can sign a bundle: in practice a key of the security module.
pub trait BundleSigner {
    /// The public half of the signing key.
    fn public_key(&self) -> PublicKey;

    /// Name of the key as a person knows it, e.g. `softhsm:bench-evidence`.
    fn key_name(&self) -> String;

    /// Signs a SHA-256 digest; returns plain `r || s`.
    ///
    /// # Errors
    /// What the security module says.
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, ModuleError>;
}

/// Media type of the manifest.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.smgw-bench.manifest+json";
/// The only algorithm this version writes.
const ALGORITHM: &str = "ecdsa-brainpoolP256r1-sha256";

/// `manifest.sig.json`.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seal {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload_sha256: String,
    algorithm: String,
    keyid: String,
    sig: String,
}

impl Seal {
    /// The seal of `manifest` by `signer`.
    pub(crate) fn make(manifest: &[u8], signer: &dyn BundleSigner) -> Result<Self, ModuleError> {
        let key = signer.public_key();
        if key.curve != Curve::BrainpoolP256r1 {
            let curve = key.curve;
            return Err(ModuleError::caller(format!(
                "bundles are signed on brainpoolP256r1, the key is on {curve}"
            )));
        }
        let digest = signed_digest(manifest);
        let sig = signer.sign(&digest)?;
        let seal = Self {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload_sha256: hex(&sha256(manifest)),
            algorithm: ALGORITHM.to_owned(),
            keyid: key_id(&key),
            sig: hex(&sig),
        };
        // A module that signs with another key than it names would make a bundle nobody can verify.
        seal.check(manifest, &key).map_err(|why| {
            ModuleError::module(format!("the signature just made is wrong: {why}"))
        })?;
        Ok(seal)
    }

    /// The one spelling of this seal.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a seal; none unless it is spelled the one way.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let seal: Self = serde_json::from_slice(bytes).ok()?;
        (seal.to_bytes().ok()? == bytes).then_some(seal)
    }

    /// Whether this seals `manifest` under `key`; otherwise why not.
    pub(crate) fn check(&self, manifest: &[u8], key: &PublicKey) -> Result<(), String> {
        if self.payload_type != PAYLOAD_TYPE || self.algorithm != ALGORITHM {
            return Err("the seal is of a kind this version does not know".to_owned());
        }
        if self.payload_sha256 != hex(&sha256(manifest)) {
            return Err("the manifest is not the one that was sealed".to_owned());
        }
        if self.keyid != key_id(key) {
            return Err("the seal names another key".to_owned());
        }
        if key.curve != Curve::BrainpoolP256r1 {
            return Err(format!("seals on {} cannot be verified", key.curve));
        }
        let signature = unhex(&self.sig).ok_or("the signature is malformed")?;
        match hsm_soft::verify(key, &signed_digest(manifest), &signature) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the signature does not match".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// SHA-256 of the public point: names a key without repeating it.
pub(crate) fn key_id(key: &PublicKey) -> String {
    format!("sha256:{}", hex(&sha256(&key.point)))
}

/// SHA-256 of the pre-authentication encoding of DSSE.
fn signed_digest(manifest: &[u8]) -> Sha256Digest {
    let mut hash = Sha256::new();
    hash.update(format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        manifest.len()
    ));
    hash.update(manifest);
    hash.finalize().into()
}
