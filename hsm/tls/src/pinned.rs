// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers known by their end-entity certificate: equality with a configured leaf
//! (TR-03109-1 REQ.TA.TLS.Handshake.160/170).
//!
//! Validity times, names and key usages of a pinned leaf are not looked at: the administrator vouches for exactly this
//! certificate when configuring it, and TR-03116-3 §5 leaves self-signed HAN certificates to that decision. WAN
//! certificates of the SM-PKI, whose times do count, are checked by [`crate::SmPki`].

use alloc::vec::Vec;
use core::fmt;

use hsm_api::SecurityModule;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, OtherError};

use crate::verifier::{PeerCertificates, PeerCheck};

/// The peers we accept: exactly these leaf certificates (TR-03109-1 REQ.TA.TLS.Handshake.160/170).
#[derive(Clone, Debug, Default)]
pub struct PinnedPeers {
    /// DER leaf certificates.
    pub leaves: Vec<CertificateDer<'static>>,
}

impl PinnedPeers {
    /// Accepts exactly these leaves; without any, nobody.
    pub fn new(leaves: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        Self {
            leaves: leaves.into_iter().collect(),
        }
    }
}

impl PeerCheck for PinnedPeers {
    fn check(
        &self,
        peer: PeerCertificates<'_>,
        _now: UnixTime,
        _module: &dyn SecurityModule,
    ) -> Result<(), Error> {
        let pinned = |leaf: &CertificateDer<'_>| leaf.as_ref() == peer.leaf.as_ref();
        if self.leaves.iter().any(pinned) {
            Ok(())
        } else {
            Err(CertificateError::Other(NotPinned.into()).into())
        }
    }
}

/// The peer's certificate is none of the configured ones; the peer gets the fatal alert `certificate_unknown`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotPinned;

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is none of the configured end-entity certificates")
    }
}

impl core::error::Error for NotPinned {}

impl From<NotPinned> for OtherError {
    #[cfg(feature = "std")]
    fn from(reason: NotPinned) -> Self {
        Self(alloc::sync::Arc::new(reason))
    }

    /// rustls has no room for the reason.
    #[cfg(not(feature = "std"))]
    fn from(_: NotPinned) -> Self {
        Self()
    }
}
