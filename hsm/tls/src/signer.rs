// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handshake signatures by a key inside the module.

use std::sync::Arc;

use hsm_api::{KeyId, PublicKey, SecurityModule, signature};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, ProtocolVersion, SignatureAlgorithm, SignatureScheme};

use crate::scheme::{SCHEMES, Scheme};

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
}

impl SigningKey for ModuleKey {
    /// rustls does not say which version is being negotiated, but offers schemes of that version only: in TLS 1.2 it
    /// filters out those it does not know, 0x081A among them.
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = SCHEMES.iter().find(|scheme| {
            scheme.curve == self.public.curve
                && self.versions.contains(&scheme.version)
                && offered.contains(&scheme.code())
        })?;
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
