// SPDX-License-Identifier: MIT OR Apache-2.0
//! rustls configurations from a module, a profile, an identity and what is asked of peers.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hsm_api::{KeyId, SecurityModule};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
#[cfg(feature = "std")]
use rustls::time_provider::DefaultTimeProvider;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, InconsistentKeys};
#[cfg(feature = "std")]
use rustls::{ServerConfig, server::NoServerSessionStorage};

use crate::binding::provider;
use crate::profile::TlsProfile;
use crate::signer::ModuleKey;
use crate::verifier::{PeerCheck, Verifier};

/// Who we are in a handshake: a key inside the module and the certificate chain for it (leaf first).
#[derive(Clone, Debug)]
pub struct Identity {
    /// Module key.
    pub key: KeyId,
    /// DER certificates, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
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
    // Without an operating system rustls's errors are no sources of others.
    Rustls(#[cfg_attr(feature = "std", from)] rustls::Error),
    /// The certificate does not belong to the module's key.
    #[error("the certificate's public key is not the one of module key {0}")]
    KeyMismatch(KeyId),
    /// A trust anchor or Sub-CA that is configured cannot be read.
    #[error("a configured CA certificate is not a certificate")]
    Certificate,
    /// A CRL cannot be read.
    #[error("a CRL cannot be read, or has critical extensions")]
    Crl,
    /// The profile was narrowed until no version, suite or group was left.
    #[error("profile {0} leaves nothing to negotiate")]
    EmptyProfile(&'static str),
}

#[cfg(not(feature = "std"))]
impl From<rustls::Error> for TlsConfigError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

/// Server side with mutual authentication; `clients` decides who may come, [`crate::PinnedPeers`] or
/// [`crate::SmPki`] for instance.
///
/// A client without certificate, or with one that is not accepted, gets a fatal alert. Every handshake is a full one: no tickets,
/// no session store, no early data; [`crate::ResumptionWindow`] allows resumption. TLS 1.2 demands
/// `extended_master_secret`.
///
/// # Errors
/// [`TlsConfigError::KeyMismatch`] when the leaf does not hold the key's public half, and as for [`provider`].
#[cfg(feature = "std")]
pub fn server_config(
    module: Arc<dyn SecurityModule>,
    profile: &TlsProfile,
    identity: Identity,
    clients: impl PeerCheck + 'static,
) -> Result<Arc<ServerConfig>, TlsConfigError> {
    let provider = Arc::new(provider(&module, profile)?);
    let own = certified_key(&module, profile, identity)?;
    let verifier = Verifier::new(module, clients, profile.version_numbers());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&profile.versions())?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.require_ems = profile.allows_tls12();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Client side; `servers` decides who may answer, and `identity` is presented when the server asks.
///
/// The server name of a connection is sent as SNI and not compared with the certificate. No resumption, no early data. TLS 1.2 demands `extended_master_secret`.
///
/// # Errors
/// As for [`server_config`].
#[cfg(feature = "std")]
pub fn client_config(
    module: Arc<dyn SecurityModule>,
    profile: &TlsProfile,
    identity: Option<Identity>,
    servers: impl PeerCheck + 'static,
) -> Result<Arc<ClientConfig>, TlsConfigError> {
    client_config_at(
        module,
        profile,
        identity,
        servers,
        Arc::new(DefaultTimeProvider),
    )
}

/// As `client_config`, with another source of the time; without feature `std` there is no other way.
///
/// # Errors
/// As for `server_config`.
pub fn client_config_at(
    module: Arc<dyn SecurityModule>,
    profile: &TlsProfile,
    identity: Option<Identity>,
    servers: impl PeerCheck + 'static,
    time: Arc<dyn TimeProvider>,
) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let provider = Arc::new(provider(&module, profile)?);
    let own = identity
        .map(|identity| certified_key(&module, profile, identity))
        .transpose()?;
    let verifier = Verifier::new(module, servers, profile.version_numbers());
    let builder = ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(&profile.versions())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    };
    config.require_ems = profile.allows_tls12();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = true;
    Ok(Arc::new(config))
}

fn certified_key(
    module: &Arc<dyn SecurityModule>,
    profile: &TlsProfile,
    identity: Identity,
) -> Result<CertifiedKey, TlsConfigError> {
    let Identity { key, chain } = identity;
    let public = module.public_key(&key)?;
    let signing = ModuleKey::new(
        Arc::clone(module),
        key.clone(),
        public,
        profile.version_numbers(),
    );
    let own = CertifiedKey::new(chain, Arc::new(signing));
    match own.keys_match() {
        Ok(()) => Ok(own),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(TlsConfigError::KeyMismatch(key))
        }
        Err(error) => Err(error.into()),
    }
}
