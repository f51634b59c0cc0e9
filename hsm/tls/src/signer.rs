// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handshake signatures by a key inside the module.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hsm_api::{KeyId, PublicKey, SecurityModule, signature};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, ProtocolVersion, SignatureAlgorithm, SignatureScheme};

use crate::scheme::Scheme;

/// A signing key of the module as rustls wants it.
#[derive(Debug)]
pub(crate) struct ModuleKey {
    module: Arc<dyn SecurityModule>,
    key: KeyId,
    public: PublicKey,
    versions: Vec<ProtocolVersion>,
}

impl ModuleKey {
    pub(crate) fn new(
        module: Arc<dyn SecurityModule>,
        key: KeyId,
        public: PublicKey,
        versions: Vec<ProtocolVersion>,
    ) -> Self {
        Self {
            module,
            key,
            public,
            versions,
        }
    }

    /// rustls does not say which version is being negotiated. In TLS 1.2 it passes on no number that it does not know
    /// itself, so one that only TLS 1.3 has shows TLS 1.3. Every peer that takes a brainpool key there names one; where
    /// none is named, the keys of the NIST curves sign alike in both versions unless the peer refuses the hash of the
    /// curve, and then the signature is one that it has not asked for.
    fn version(&self, offered: &[SignatureScheme]) -> ProtocolVersion {
        let of_tls12 = Scheme::codes(&[ProtocolVersion::TLSv1_2]);
        let of_tls13 = Scheme::codes(&[ProtocolVersion::TLSv1_3]);
        let shown = offered
            .iter()
            .any(|code| of_tls13.contains(code) && !of_tls12.contains(code));
        if shown || !self.versions.contains(&ProtocolVersion::TLSv1_2) {
            ProtocolVersion::TLSv1_3
        } else {
            ProtocolVersion::TLSv1_2
        }
    }
}

impl SigningKey for ModuleKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = Scheme::choose(offered, self.version(offered), self.public.curve)?;
        Some(Box::new(ModuleSigner {
            module: Arc::clone(&self.module),
            key: self.key.clone(),
            scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.public.to_spki_der()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

#[derive(Debug)]
struct ModuleSigner {
    module: Arc<dyn SecurityModule>,
    key: KeyId,
    scheme: &'static Scheme,
}

impl Signer for ModuleSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let plain = self
            .module
            .sign_digest(&self.key, &self.scheme.hash.digest(message))
            .map_err(|error| {
                Error::General(format!("the security module does not sign: {error}"))
            })?;
        signature::der_from_plain(&plain).ok_or_else(|| {
            Error::General("the security module's signature has an impossible length".into())
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme.code()
    }
}
