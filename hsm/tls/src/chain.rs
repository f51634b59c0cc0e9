// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers known by the Smart Metering PKI: Root-CA, Sub-CA, end user (TR-03109-4; TR-03116-3 §3), in both generations of
//! curves, brainpoolP384r1 or brainpoolP512r1 at the root.
//!
//! One fault gives one alert, the one rustls derives from the [`CertificateError`]:
//!
//! | fault | alert |
//! |---|---|
//! | no way to a trust anchor | `unknown_ca` |
//! | a signature on the way is broken | `decrypt_error` (RFC 5246 §7.2.2 would have `bad_certificate`) |
//! | a curve or hash that TR-03116-3 table 5 does not have | `decrypt_error` |
//! | expired or not yet valid | `certificate_expired` |
//! | an issuer that is no CA, or is too far up | `unknown_ca` |
//! | keyUsage or extendedKeyUsage missing or wrong, a key on another curve | `unsupported_certificate` |
//! | a critical extension nobody here knows | `bad_certificate` |
//! | another role or organisation | `bad_certificate` |
//! | revoked | `certificate_revoked` |
//! | no current CRL where one is demanded | `unknown_ca` (as OpenSSL does) |
//! | not a certificate | `bad_certificate` |

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use der::asn1::ObjectIdentifier;
use hsm_api::{Curve, SecurityModule};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, ExtendedKeyPurpose};
use x509_cert::ext::pkix::KeyUsages;

use crate::TlsConfigError;
use crate::certificate::{Certificate, Crl, require_valid};
use crate::verifier::{PeerCertificates, PeerCheck, PeerSide};

/// What an end user of the SM-PKI is, the second part of its common name (`<org>.<ROLE>[.<EXT>]`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SmPkiRole {
    /// A gateway.
    Smgw,
    /// A gateway's administrator.
    Gwa,
    /// A gateway's maker.
    Gwh,
    /// A market participant.
    Emt,
}

impl SmPkiRole {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Smgw, "SMGW"),
        (Self::Gwa, "GWA"),
        (Self::Gwh, "GWH"),
        (Self::Emt, "EMT"),
    ];

    /// The role that a common name states: its last part, or the one before an extension.
    pub fn of(common_name: &str) -> Option<Self> {
        let role = |part: &str| {
            Self::ALL
                .iter()
                .find(|(_, name)| *name == part)
                .map(|(role, _)| *role)
        };
        let mut parts = common_name.rsplit('.');
        let (last, before) = (parts.next()?, parts.next()?);
        // What is left in front of the role must be an organisation.
        match role(last) {
            Some(found) => (!before.is_empty()).then_some(found),
            None => role(before)
                .filter(|_| !last.is_empty() && parts.next().is_some_and(|org| !org.is_empty())),
        }
    }
}

/// What happens where no current CRL is at hand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RevocationPolicy {
    /// The peer is refused.
    #[default]
    Required,
    /// The peer is accepted; a revoked one is refused wherever that is known.
    WhereKnown,
}

/// Accepts peers with a valid chain of the SM-PKI and the right role.
///
/// Keep an [`Arc`] of it to renew the CRLs while configurations use it.
#[derive(Debug)]
pub struct SmPki {
    anchors: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    crl_signers: Vec<Certificate>,
    role: SmPkiRole,
    common_name: Option<String>,
    policy: RevocationPolicy,
    crls: RwLock<Vec<Arc<KnownCrl>>>,
}

#[derive(Debug)]
struct KnownCrl {
    crl: Crl,
    /// The key that was found to have signed it, so that each list is verified once.
    signer: OnceLock<Vec<u8>>,
}

impl SmPki {
    /// Peers of this role below these root certificates (DER). Without further calls every certificate of a chain
    /// needs a current CRL, see [`Self::renew_crls`].
    ///
    /// # Errors
    /// [`TlsConfigError::Certificate`] when one is not a certificate.
    pub fn new<'a>(
        role: SmPkiRole,
        anchors: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, TlsConfigError> {
        Ok(Self {
            anchors: parsed(anchors)?,
            intermediates: Vec::new(),
            crl_signers: Vec::new(),
            role,
            common_name: None,
            policy: RevocationPolicy::default(),
            crls: RwLock::default(),
        })
    }

    /// Knows these Sub-CAs, so that peers need not send them.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_sub_cas<'a>(
        mut self,
        sub_cas: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, TlsConfigError> {
        self.intermediates.extend(parsed(sub_cas)?);
        Ok(self)
    }

    /// Knows these signers of CRLs, which sign in the name of the CA that certified them, as `SM-Root.CA.CRL-S` does
    /// for the root.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_crl_signers<'a>(
        mut self,
        signers: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, TlsConfigError> {
        self.crl_signers.extend(parsed(signers)?);
        Ok(self)
    }

    /// Only the peer with this common name.
    pub fn only(mut self, common_name: impl Into<String>) -> Self {
        self.common_name = Some(common_name.into());
        self
    }

    /// Another rule for certificates without a current CRL.
    pub fn with_revocation(mut self, policy: RevocationPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Replaces all CRLs (DER); takes effect with the next handshake.
    ///
    /// # Errors
    /// [`TlsConfigError::Crl`] when one cannot be read, has critical extensions or is signed in ways that cannot be
    /// read; the old ones stay. Signatures are verified when a chain shows the issuer.
    pub fn renew_crls<'a>(
        &self,
        crls: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), TlsConfigError> {
        let known = |der: &[u8]| {
            let crl = Crl::parse(der).ok_or(TlsConfigError::Crl)?;
            Ok::<_, TlsConfigError>(Arc::new(KnownCrl {
                crl,
                signer: OnceLock::new(),
            }))
        };
        let crls = crls.into_iter().map(known).collect::<Result<_, _>>()?;
        *self.crls.write().unwrap_or_else(PoisonError::into_inner) = crls;
        Ok(())
    }

    /// The chain from the leaf to an anchor, all signatures verified.
    fn path<'a>(
        &'a self,
        leaf: &'a Certificate,
        sent: &'a [Certificate],
        module: &dyn SecurityModule,
    ) -> Result<Vec<&'a Certificate>, Error> {
        let mut path = vec![leaf];
        let mut signatures = 0;
        let mut last = leaf;
        while path.len() <= LONGEST_PATH {
            let mut broken = None;
            let mut next = None;
            let candidates = self.anchors.iter().chain(&self.intermediates).chain(sent);
            for (index, issuer) in candidates.enumerate() {
                // A certificate that is already on the way leads round in a circle.
                if !last.names_as_issuer(issuer)
                    || path.iter().any(|known| std::ptr::eq(*known, issuer))
                {
                    continue;
                }
                signatures += 1;
                if signatures > MOST_SIGNATURES {
                    return Err(CertificateError::UnknownIssuer.into());
                }
                match last.is_signed_by(issuer, module) {
                    Ok(()) => {
                        next = Some((index < self.anchors.len(), issuer));
                        break;
                    }
                    Err(error @ Error::InvalidCertificate(_)) => broken = Some(error),
                    Err(error) => return Err(error),
                }
            }
            match next {
                Some((is_anchor, issuer)) => {
                    path.push(issuer);
                    if is_anchor {
                        return Ok(path);
                    }
                    last = issuer;
                }
                None => {
                    return Err(broken.unwrap_or_else(|| CertificateError::UnknownIssuer.into()));
                }
            }
        }
        Err(CertificateError::UnknownIssuer.into())
    }

    fn require_not_revoked(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        now: UnixTime,
        module: &dyn SecurityModule,
    ) -> Result<(), Error> {
        let mut reason = CertificateError::UnknownRevocationStatus;
        let mut current = false;
        let crls = self
            .crls
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for known in &crls {
            if !self.speaks_for(known, issuer, now, module)? {
                continue;
            }
            // Who was revoked stays so, however old the list is.
            if known.crl.revokes(certificate) {
                return Err(CertificateError::Revoked.into());
            }
            if known.crl.next_update.is_none_or(|end| now.as_secs() > end) {
                reason = CertificateError::ExpiredRevocationList;
            } else if now.as_secs() >= known.crl.this_update {
                current = true;
            }
        }
        if current || self.policy == RevocationPolicy::WhereKnown {
            Ok(())
        } else {
            Err(reason.into())
        }
    }

    /// Whether a list is the issuer's own, or one that a signer of the issuer's made for it.
    fn speaks_for(
        &self,
        known: &KnownCrl,
        issuer: &Certificate,
        now: UnixTime,
        module: &dyn SecurityModule,
    ) -> Result<bool, Error> {
        if known.crl.issuer == issuer.subject && known.is_signed_by(issuer, module)? {
            return Ok(true);
        }
        let signers = self.crl_signers.iter().filter(|signer| {
            known.crl.indirect
                && known.crl.issuer == signer.subject
                && signer.names_as_issuer(issuer)
                && require_valid(signer.validity, now).is_ok()
        });
        for signer in signers {
            if known.is_signed_by(signer, module)? && signer.is_signed_by(issuer, module).is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn require_peer(
        &self,
        leaf: &Certificate,
        anchor: Option<&Certificate>,
        side: PeerSide,
    ) -> Result<(), CertificateError> {
        let usage = leaf.key_usage.as_ref();
        let signs = usage.is_some_and(|usage| usage.digital_signature()) && leaf.key_usage_critical;
        let is_ca = leaf
            .basic_constraints
            .as_ref()
            .is_some_and(|found| found.ca);
        let on_curve = leaf
            .key
            .as_ref()
            .is_some_and(|key| key.curve == END_USER_CURVE);
        if !signs || is_ca || !on_curve {
            return Err(CertificateError::InvalidPurpose);
        }
        let (purpose, required) = match side {
            PeerSide::Server => (SERVER_AUTH, ExtendedKeyPurpose::ServerAuth),
            PeerSide::Client => (CLIENT_AUTH, ExtendedKeyPurpose::ClientAuth),
        };
        if !leaf.extended_key_usage.contains(&purpose) {
            return Err(CertificateError::InvalidPurposeContext {
                required,
                presented: Vec::new(),
            });
        }
        let name = leaf.common_name.as_deref().unwrap_or_default();
        let wanted = self
            .common_name
            .as_deref()
            .is_none_or(|wanted| wanted == name);
        // The productive PKI and the test PKI have names of their own, which all below a root share.
        let same_pki = anchor.is_some_and(|anchor| anchor.organization == leaf.organization);
        if SmPkiRole::of(name) == Some(self.role) && wanted && same_pki {
            Ok(())
        } else {
            Err(CertificateError::NotValidForName)
        }
    }
}

impl PeerCheck for SmPki {
    fn check(
        &self,
        peer: PeerCertificates<'_>,
        now: UnixTime,
        module: &dyn SecurityModule,
    ) -> Result<(), Error> {
        let leaf = Certificate::parse(peer.leaf).ok_or(CertificateError::BadEncoding)?;
        let sent: Vec<Certificate> = peer
            .others
            .iter()
            .take(MOST_SENT)
            .filter_map(|der: &CertificateDer<'_>| Certificate::parse(der))
            .collect();
        let path = self.path(&leaf, &sent, module)?;
        if path.iter().any(|certificate| certificate.unknown_critical) {
            return Err(CertificateError::UnhandledCriticalExtension.into());
        }
        for certificate in &path {
            require_valid(certificate.validity, now)?;
        }
        for (below, issuer) in path.iter().skip(1).enumerate() {
            require_issuer(issuer, below)?;
        }
        self.require_peer(&leaf, path.last().copied(), peer.side)?;
        for (certificate, issuer) in path.iter().zip(path.iter().skip(1)) {
            self.require_not_revoked(certificate, issuer, now, module)?;
        }
        Ok(())
    }
}

impl KnownCrl {
    fn is_signed_by(
        &self,
        issuer: &Certificate,
        module: &dyn SecurityModule,
    ) -> Result<bool, Error> {
        let may_sign = issuer
            .key_usage
            .as_ref()
            .is_some_and(|usage| usage.0.contains(KeyUsages::CRLSign));
        let Some(key) = issuer.key.as_ref().filter(|_| may_sign) else {
            return Ok(false);
        };
        if self.signer.get() == Some(&key.point) {
            return Ok(true);
        }
        match self.crl.is_signed_by(issuer, module) {
            Ok(()) => {
                // Another thread may have found the same.
                let _ = self.signer.set(key.point.clone());
                Ok(true)
            }
            Err(Error::InvalidCertificate(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A certificate that issued another must be a CA's, with at most `below` CAs between it and the end user
/// (RFC 5280 §4.2.1.3, §4.2.1.9).
fn require_issuer(issuer: &Certificate, below: usize) -> Result<(), CertificateError> {
    let far_enough =
        |longest: Option<u8>| longest.is_none_or(|longest| below <= usize::from(longest));
    let is_ca = issuer
        .basic_constraints
        .as_ref()
        .is_some_and(|found| found.ca && far_enough(found.path_len_constraint));
    let may_sign = issuer
        .key_usage
        .as_ref()
        .is_some_and(|usage| usage.key_cert_sign());
    if is_ca && may_sign {
        Ok(())
    } else {
        Err(CertificateError::UnknownIssuer)
    }
}

fn parsed<'a>(
    certificates: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Certificate>, TlsConfigError> {
    let parse = |der: &[u8]| Certificate::parse(der).ok_or(TlsConfigError::Certificate);
    certificates.into_iter().map(parse).collect()
}

/// TR-03116-3 tables 6, 21 and 23.
const END_USER_CURVE: Curve = Curve::BrainpoolP256r1;

/// Root, link certificate of a change of generation, Sub-CA, end user: the most there can be.
const LONGEST_PATH: usize = 4;

/// Certificates of a peer that are looked at.
const MOST_SENT: usize = 8;

/// Signatures verified for one chain: an adversary must not keep the module busy.
const MOST_SIGNATURES: usize = 8;

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_from_common_names() {
        for (name, role) in [
            ("EXXX0012345678.SMGW", Some(SmPkiRole::Smgw)),
            ("stadtwerke.EMT", Some(SmPkiRole::Emt)),
            ("stadtwerke.EMT.MAK", Some(SmPkiRole::Emt)),
            ("a.b.GWA", Some(SmPkiRole::Gwa)),
            ("maker.GWH.API", Some(SmPkiRole::Gwh)),
            ("SMGW.EMT", Some(SmPkiRole::Emt)),
            ("EMT", None),
            (".EMT", None),
            ("EMT.MAK", None),
            (".EMT.MAK", None),
            ("stadtwerke.EMT.", None),
            ("stadtwerke.emt", None),
            ("stadtwerke.CA", None),
            ("", None),
        ] {
            assert_eq!(SmPkiRole::of(name), role, "{name}");
        }
    }
}
