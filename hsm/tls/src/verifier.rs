// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is accepted, for both sides of a handshake: a [`PeerCheck`] judges the certificates, and the peer's signature
//! over the handshake is verified in the security module (TR-03116-3 §4.1.4, §4.3).

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use hsm_api::{Fault, PublicKey, SecurityModule, signature};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    ProtocolVersion, SignatureScheme,
};

use crate::scheme::Scheme;

/// Which end of the connection the peer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerSide {
    /// The peer is the server.
    Server,
    /// The peer is the client.
    Client,
}

/// What a peer shows of itself.
#[derive(Clone, Copy, Debug)]
pub struct PeerCertificates<'a> {
    /// Its own certificate.
    pub leaf: &'a CertificateDer<'a>,
    /// What it sent with it, in any order.
    pub others: &'a [CertificateDer<'a>],
    /// Its role in the connection.
    pub side: PeerSide,
}

/// Decides whether a peer's certificates are good enough; that the peer holds the key is checked after it.
pub trait PeerCheck: fmt::Debug + Send + Sync {
    /// Judges the certificates at a time. `module` verifies signatures; to have that done elsewhere, put a
    /// [`hsm_api::Layer`] in front of it.
    ///
    /// # Errors
    /// The reason, from which rustls derives the alert that the peer gets.
    fn check(
        &self,
        peer: PeerCertificates<'_>,
        now: UnixTime,
        module: &dyn SecurityModule,
    ) -> Result<(), Error>;
}

impl<T: PeerCheck + ?Sized> PeerCheck for Arc<T> {
    fn check(
        &self,
        peer: PeerCertificates<'_>,
        now: UnixTime,
        module: &dyn SecurityModule,
    ) -> Result<(), Error> {
        (**self).check(peer, now, module)
    }
}

/// A [`PeerCheck`] as both of rustls's verifiers.
#[derive(Debug)]
pub(crate) struct Verifier<C> {
    module: Arc<dyn SecurityModule>,
    check: C,
    versions: Vec<ProtocolVersion>,
}

impl<C> Verifier<C> {
    pub(crate) fn new(
        module: Arc<dyn SecurityModule>,
        check: C,
        versions: Vec<ProtocolVersion>,
    ) -> Self {
        Self {
            module,
            check,
            versions,
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
}

/// The methods that rustls's two traits for verifiers have in common.
macro_rules! handshake_signatures {
    () => {
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
            Scheme::codes(&self.versions)
        }
    };
}

impl<C: PeerCheck> ServerCertVerifier for Verifier<C> {
    /// SM-PKI certificates of gateways carry no DNS name and pinned ones need none, so the name is not compared.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let side = PeerSide::Server;
        self.check
            .check(
                PeerCertificates { leaf, others, side },
                now,
                self.module.as_ref(),
            )
            .map(|()| ServerCertVerified::assertion())
    }

    handshake_signatures!();
}

impl<C: PeerCheck> ClientCertVerifier for Verifier<C> {
    /// No hints: partners know which certificate they are known by, and whom we know is nobody else's business.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let side = PeerSide::Client;
        self.check
            .check(
                PeerCertificates { leaf, others, side },
                now,
                self.module.as_ref(),
            )
            .map(|()| ClientCertVerified::assertion())
    }

    handshake_signatures!();
}
