// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who a peer is: a key in a software security module and a self-signed certificate for it.

use std::sync::Arc;

use hsm_api::{Curve, Import, KeyId, KeyUsage, ModuleError, SecurityModule};
use hsm_pki::CertificateRequest;
use hsm_soft::{PrivateKey, SoftModule};
use hsm_tls::{Identity, PinnedPeers, TlsConfigError, TlsProfile};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
use thiserror::Error;

/// A party or its TLS side cannot be made; the bench is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PartyError {
    /// The software module failed.
    #[error("failed to make a key: {0}")]
    Module(#[from] ModuleError),
    /// No certificate came about.
    #[error("failed to make a certificate: {0}")]
    Certificate(#[from] hsm_pki::PkiError),
    /// The TLS rules and the identity do not fit.
    #[error("failed to set up TLS: {0}")]
    Tls(#[from] TlsConfigError),
}

/// A communication partner with a key and a self-signed certificate of its own.
#[derive(Clone, Debug)]
pub struct Party {
    name: String,
    module: Arc<dyn SecurityModule>,
    key: KeyId,
    certificate: CertificateDer<'static>,
}

impl Party {
    /// A party with a brainpoolP256r1 key and a certificate on `common_name`.
    ///
    /// # Errors
    /// [`PartyError::Module`] or [`PartyError::Certificate`].
    pub fn new(common_name: &str) -> Result<Self, PartyError> {
        let request = CertificateRequest::new(common_name).with_dns_name(common_name);
        Self::with_certificate(common_name, Curve::BrainpoolP256r1, &request)
    }

    /// A party with a key on `curve` and the certificate that `request` describes, an expired one for instance.
    ///
    /// # Errors
    /// As [`Self::new`]; also when the software module does not know the curve.
    pub fn with_certificate(
        name: &str,
        curve: Curve,
        request: &CertificateRequest,
    ) -> Result<Self, PartyError> {
        let module: Arc<dyn SecurityModule> = Arc::new(SoftModule::new());
        let key = KeyId(name.to_owned());
        module.generate_key(&key, curve, KeyUsage::Sign)?;
        Self::certified(name, module, key, request)
    }

    /// A party whose key lives elsewhere too: on a board that the bench gives its keys, for instance.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_private_key(common_name: &str, private: &PrivateKey) -> Result<Self, PartyError> {
        let module = SoftModule::new();
        let key = KeyId(common_name.to_owned());
        let curve = private.public_key().curve;
        module.import_key(&key, curve, KeyUsage::Sign, &private.to_bytes())?;
        let request = CertificateRequest::new(common_name).with_dns_name(common_name);
        Self::certified(common_name, Arc::new(module), key, &request)
    }

    fn certified(
        name: &str,
        module: Arc<dyn SecurityModule>,
        key: KeyId,
        request: &CertificateRequest,
    ) -> Result<Self, PartyError> {
        let certificate = hsm_pki::self_signed(&*module, &key, request)?;
        Ok(Self {
            name: name.to_owned(),
            module,
            key,
            certificate,
        })
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate as a PEM file.
    pub fn certificate_pem(&self) -> String {
        hsm_pki::to_pem(&self.certificate)
    }

    fn identity(&self) -> Identity {
        Identity {
            key: self.key.clone(),
            chain: vec![self.certificate.clone()],
        }
    }
}

/// What a TLS client needs: rules, perhaps an identity, and the one server certificate it accepts.
#[derive(Clone, Debug)]
pub struct ClientTls(pub(crate) Arc<ClientConfig>);

impl ClientTls {
    /// A client that presents `party` when asked, or no certificate without one.
    ///
    /// # Errors
    /// [`PartyError::Tls`].
    pub fn new(
        party: Option<&Party>,
        profile: &TlsProfile,
        server: &CertificateDer<'static>,
    ) -> Result<Self, PartyError> {
        let module = match party {
            Some(party) => Arc::clone(&party.module),
            None => Arc::new(SoftModule::new()),
        };
        let pinned = PinnedPeers::new([server.clone()]);
        Ok(Self(hsm_tls::client_config(
            module,
            profile,
            party.map(Party::identity),
            pinned,
        )?))
    }
}

/// What a TLS server needs: rules, an identity, and the client certificates it accepts.
#[derive(Clone, Debug)]
pub struct ServerTls(pub(crate) Arc<ServerConfig>);

impl ServerTls {
    /// A server that presents `party` and accepts `clients`.
    ///
    /// # Errors
    /// [`PartyError::Tls`].
    pub fn new(
        party: &Party,
        profile: &TlsProfile,
        clients: &[CertificateDer<'static>],
    ) -> Result<Self, PartyError> {
        let pinned = PinnedPeers::new(clients.iter().cloned());
        Ok(Self(hsm_tls::server_config(
            Arc::clone(&party.module),
            profile,
            party.identity(),
            pinned,
        )?))
    }
}
