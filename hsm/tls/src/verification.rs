// SPDX-License-Identifier: MIT OR Apache-2.0
//! The module's verification as rustls's table of algorithms: the five curves of TR-03116-3 table 4 with the three
//! hashes. This crate's own checks go to the module directly; the table is for those who build on the provider.

use alloc::boxed::Box;
use alloc::sync::Weak;
use alloc::vec::Vec;
use core::fmt;

use hsm_api::{Curve, Hash, PublicKey, SecurityModule, signature};
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};

use crate::binding::{alive, swallowed};
use crate::scheme::SCHEMES;

/// ECDSA on one curve with one hash.
struct Verification {
    module: Weak<dyn SecurityModule>,
    curve: Curve,
    hash: Hash,
    key_algorithm: AlgorithmIdentifier,
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verification({}, {:?})", self.curve, self.hash)
    }
}

impl SignatureVerificationAlgorithm for Verification {
    fn verify_signature(
        &self,
        point: &[u8],
        message: &[u8],
        der: &[u8],
    ) -> Result<(), InvalidSignature> {
        let verified = alive(&self.module).and_then(|module| {
            let key = PublicKey::new(self.curve, point.to_vec())?;
            let Some(plain) = signature::plain_from_der(self.curve, der) else {
                return Ok(false);
            };
            module.verify_digest(&key, &self.hash.digest(message), &plain)
        });
        match verified {
            Ok(true) => Ok(()),
            Ok(false) => Err(InvalidSignature),
            Err(error) => {
                swallowed("a signature could not be verified", &error);
                Err(InvalidSignature)
            }
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key_algorithm
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match self.hash {
            Hash::Sha256 => alg_id::ECDSA_SHA256,
            Hash::Sha384 => alg_id::ECDSA_SHA384,
            Hash::Sha512 => alg_id::ECDSA_SHA512,
        }
    }
}

type Algorithm = &'static dyn SignatureVerificationAlgorithm;

/// All algorithms, and per scheme those it may mean. TLS 1.3 only uses the first of them, so the scheme's own curve
/// comes first; TLS 1.2 tries them all.
pub(crate) fn verification(module: &Weak<dyn SecurityModule>) -> WebPkiSupportedAlgorithms {
    let mut known: Vec<(Curve, Hash, Algorithm)> = Vec::new();
    for curve in Curve::ALL {
        // Content of the AlgorithmIdentifier {id-ecPublicKey, curve} (RFC 5480 §2.1.1).
        let key_algorithm = [ID_EC_PUBLIC_KEY, curve.oid_der()].concat().leak();
        for hash in Hash::ALL {
            let algorithm = Verification {
                module: module.clone(),
                curve,
                hash,
                key_algorithm: AlgorithmIdentifier::from_slice(key_algorithm),
            };
            known.push((curve, hash, Box::leak(Box::new(algorithm))));
        }
    }
    let mut mapping: Vec<(SignatureScheme, &'static [Algorithm])> = Vec::new();
    for scheme in SCHEMES {
        if mapping.iter().any(|(code, _)| *code == scheme.code()) {
            continue;
        }
        let meant = |curve: Curve| {
            let same = SCHEMES.iter().filter(|other| other.id == scheme.id);
            same.clone()
                .any(|other| other.curve.is_none_or(|only| only == curve))
        };
        let mut algorithms: Vec<_> = known
            .iter()
            .filter(|(curve, hash, _)| *hash == scheme.hash && meant(*curve))
            .collect();
        algorithms.sort_by_key(|(curve, _, _)| scheme.curve != Some(*curve));
        let algorithms: Vec<Algorithm> = algorithms
            .iter()
            .map(|(_, _, algorithm)| *algorithm)
            .collect();
        mapping.push((scheme.code(), algorithms.leak()));
    }
    let all: Vec<Algorithm> = known.iter().map(|(_, _, algorithm)| *algorithm).collect();
    WebPkiSupportedAlgorithms {
        all: all.leak(),
        mapping: mapping.leak(),
    }
}

/// DER of the object identifier id-ecPublicKey, 1.2.840.10045.2.1.
const ID_EC_PUBLIC_KEY: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
