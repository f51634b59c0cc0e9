// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers known by their end-entity certificate: equality with a configured leaf
//! (TR-03109-1 REQ.TA.TLS.Handshake.160/170), then the handshake signature, verified in the module.
//!
//! Validity times, names and key usages of a pinned leaf are not looked at: the administrator vouches for exactly this
//! certificate when configuring it, and TR-03116-3 §5 leaves self-signed HAN certificates to that decision. WAN
//! certificates of the SM-PKI, whose times do count, will need a chain verifier on top.

use std::fmt;
use std::sync::Arc;

use hsm_api::{Fault, PublicKey, SecurityModule, signature};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    ProtocolVersion, SignatureScheme,
};

use crate::scheme::{SCHEMES, Scheme};

/// The peer's certificate is none of the configured ones; the peer gets the fatal alert `certificate_unknown`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotPinned;

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is none of the configured end-entity certificates")
    }
}

impl std::error::Error for NotPinned {}

/// Both sides' verifier of pinned leaves.
#[derive(Debug)]
pub(crate) struct PinnedVerifier {
    module: Arc<dyn SecurityModule>,
    leaves: Vec<CertificateDer<'static>>,
    versions: Vec<ProtocolVersion>,
}

impl PinnedVerifier {
    pub(crate) fn new(
        module: Arc<dyn SecurityModule>,
        leaves: Vec<CertificateDer<'static>>,
        versions: Vec<ProtocolVersion>,
    ) -> Self {
        Self {
            module,
            leaves,
            versions,
        }
    }

    fn require_pinned(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        if self
            .leaves
            .iter()
            .any(|pinned| pinned.as_ref() == leaf.as_ref())
        {
            Ok(())
        } else {
            Err(CertificateError::Other(OtherError(Arc::new(NotPinned))).into())
        }
    }

    fn require_signature(
        &self,
        version: ProtocolVersion,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = ParsedCertificate::try_from(leaf)?.subject_public_key_info();
        let key = PublicKey::from_spki_der(&spki)
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let scheme = Scheme::find(signed.scheme, version, key.curve)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let bad = || Error::InvalidCertificate(CertificateError::BadSignature);
        let plain = signature::plain_from_der(key.curve, signed.signature()).ok_or_else(bad)?;
        match self
            .module
            .verify_digest(&key, &scheme.hash.digest(message), &plain)
        {
            Ok(true) => Ok(HandshakeSignatureValid::assertion()),
            Ok(false) => Err(bad()),
            Err(error) if error.fault() == Fault::Caller => Err(bad()),
            Err(error) => Err(Error::General(format!(
                "the security module does not verify: {error}"
            ))),
        }
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES
            .iter()
            .filter(|scheme| self.versions.contains(&scheme.version))
            .map(Scheme::code)
            .collect()
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.require_pinned(end_entity)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.require_signature(ProtocolVersion::TLSv1_2, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.require_signature(ProtocolVersion::TLSv1_3, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for PinnedVerifier {
    /// No hints: there is no authority to name, and the pinned certificates are nobody else's business.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.require_pinned(end_entity)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.require_signature(ProtocolVersion::TLSv1_2, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.require_signature(ProtocolVersion::TLSv1_3, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
