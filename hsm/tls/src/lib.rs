// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS by rustls whose keys, agreements, signatures and randomness stay in the security module (TR-03116-3).

use std::sync::Arc;

use hsm_api::{KeyId, SecurityModule};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};

/// One interface's and role's TLS rules; nothing else of the workspace names a suite, group or version.
#[derive(Clone, Debug)]
pub struct TlsProfile {
    _private: (),
}

/// Who we are in a handshake: a key inside the module and the certificate chain for it (leaf first).
#[derive(Clone, Debug)]
pub struct Identity {
    /// Module key.
    pub key: KeyId,
    /// DER certificates, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// The peers we accept: exactly these leaf certificates (TR-03109-1 REQ.TA.TLS.Handshake.160/170).
#[derive(Clone, Debug, Default)]
pub struct PinnedPeers {
    /// DER leaf certificates.
    pub leaves: Vec<CertificateDer<'static>>,
}

/// A configuration that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The module failed.
    #[error("the security module failed: {0}")]
    Module(#[from] hsm_api::ModuleError),
    /// rustls refused.
    #[error("TLS configuration refused: {0}")]
    Rustls(#[from] rustls::Error),
    /// The certificate does not belong to the module's key.
    #[error("the certificate's public key is not the one of module key {0}")]
    KeyMismatch(KeyId),
}

/// Server side with mutual authentication against pinned client leaves.
pub fn server_config(
    _module: Arc<dyn SecurityModule>,
    _profile: &TlsProfile,
    _identity: Identity,
    _clients: PinnedPeers,
) -> Result<Arc<ServerConfig>, TlsConfigError> {
    todo!()
}

/// Client side against pinned server leaves; `identity` is presented when the server asks.
pub fn client_config(
    _module: Arc<dyn SecurityModule>,
    _profile: &TlsProfile,
    _identity: Option<Identity>,
    _servers: PinnedPeers,
) -> Result<Arc<ClientConfig>, TlsConfigError> {
    todo!()
}
