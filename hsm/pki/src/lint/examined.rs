// SPDX-License-Identifier: MIT OR Apache-2.0
//! A certificate taken apart for the rules: strictly where it can be, loosely where it must.

use std::time::SystemTime;

use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid;
use der::{Decode, Encode};
use hsm_api::{Curve, PublicKey};
use rustls_pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw, TbsCertificateInner};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages};

use super::Expectation;
use crate::template::content_of;
use crate::{Generation, Profile, Purpose, Role, ber, name, oid};

/// What no certificate is larger than.
const MAX_LEN: usize = 64 * 1024;

/// A certificate and what is expected of it.
pub(crate) struct Examined<'a> {
    pub(crate) certificate: CertificateInner<Raw>,
    pub(crate) profile: Option<Profile>,
    pub(crate) generations: Vec<Generation>,
    pub(crate) expectation: &'a Expectation<'a>,
    pub(crate) issuer: Option<CertificateInner<Raw>>,
    /// Whether the bytes are the one DER encoding of what they say.
    pub(crate) is_der: bool,
}

impl<'a> Examined<'a> {
    /// Takes it apart; the error says why that is impossible.
    pub(crate) fn new(
        input: &CertificateDer<'_>,
        expectation: &'a Expectation<'a>,
    ) -> Result<Self, String> {
        let (certificate, is_der) = read(input)?;
        let issuer = expectation
            .issuer
            .map(|issuer| read(issuer).map(|(issuer, _)| issuer))
            .transpose()
            .map_err(|why| format!("its issuer: {why}"))?;
        let mut this = Self {
            certificate,
            profile: expectation.profile,
            generations: match expectation.generation {
                Some(generation) => vec![generation],
                None => Generation::ALL.to_vec(),
            },
            expectation,
            issuer,
            is_der,
        };
        this.profile = this.profile.or_else(|| this.detect());
        Ok(this)
    }

    pub(crate) fn tbs(&self) -> &TbsCertificateInner<Raw> {
        self.certificate.tbs_certificate()
    }

    pub(crate) fn extensions(&self) -> &[Extension] {
        self.tbs().extensions().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn extension(&self, oid: ObjectIdentifier) -> Option<&Extension> {
        self.extensions()
            .iter()
            .find(|extension| extension.extn_id == oid)
    }

    /// The content of the extension of this type, if it is there and can be read.
    pub(crate) fn content<'b, T: AssociatedOid + Decode<'b>>(&'b self) -> Option<T> {
        content_of(self.extensions())
    }

    /// The profile of the PKI; none for self-signed ones of the HAN and LMN and for unknown ones.
    pub(crate) fn pki_profile(&self) -> Option<Profile> {
        self.profile
            .filter(|profile| *profile != Profile::SelfSigned)
    }

    pub(crate) fn not_before(&self) -> SystemTime {
        self.tbs().validity().not_before.to_system_time()
    }

    pub(crate) fn not_after(&self) -> SystemTime {
        self.tbs().validity().not_after.to_system_time()
    }

    /// The curve its key is on, of those that TR-03116-3 knows and named by their identifier.
    pub(crate) fn curve(&self) -> Option<Curve> {
        let algorithm = &self.tbs().subject_public_key_info().algorithm;
        let named = algorithm.parameters.as_ref()?.to_der().ok()?;
        Curve::from_oid_der(&named).filter(|_| algorithm.oid == oid::EC_PUBLIC_KEY)
    }

    /// The profile that names and usage tell.
    fn detect(&self) -> Option<Profile> {
        let name = name::text(self.tbs().subject(), oid::COMMON_NAME)?;
        let self_issued = self.tbs().issuer() == self.tbs().subject();
        let ends = |end: &str| name.ends_with(end);
        let authorities = [
            (ends(".CA.CRL-S"), Profile::RootCrlSigner),
            (ends(".CA.TLS-S"), Profile::RootTlsSigner),
            (ends(".CA.TLS"), Profile::RootTls),
            (ends(".CA") && self_issued, Profile::Root),
            (ends(".CA"), Profile::SubCa),
            (self_issued, Profile::SelfSigned),
        ];
        if let Some((_, profile)) = authorities.into_iter().find(|(fits, _)| *fits) {
            return Some(profile);
        }
        let role = role_of(&name)?;
        let usage = self.content::<KeyUsage>()?.0;
        let purpose = match self.content::<ExtendedKeyUsage>() {
            Some(_) => Purpose::Tls,
            None if usage.contains(KeyUsages::DigitalSignature) => Purpose::Sig,
            None => Purpose::Enc,
        };
        Some(Profile::EndUser(role, purpose))
    }
}

/// The role that `NAME.ROLE` or `NAME.ROLE.SUFFIX` names; for a gateway that of the longer validity.
pub(crate) fn role_of(common_name: &str) -> Option<Role> {
    let mut parts: Vec<_> = common_name.split('.').collect();
    if parts.len() < 2 || parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    let is = |part: Option<&str>| Role::ALL.into_iter().find(|role| part == Some(role.tag()));
    is(parts.pop()).or_else(|| is(parts.pop().filter(|_| !parts.is_empty())))
}

/// The public key of a certificate, on a curve and in the form that TR-03116-3 allows.
pub(crate) fn key_of(certificate: &CertificateInner<Raw>) -> Option<PublicKey> {
    let spki = certificate.tbs_certificate().subject_public_key_info();
    PublicKey::from_spki_der(&spki.to_der().ok()?)
}

fn read(input: &[u8]) -> Result<(CertificateInner<Raw>, bool), String> {
    if input.len() > MAX_LEN {
        return Err("it is longer than 64 KiB".into());
    }
    let der = ber::to_der(input).ok_or("it is no BER")?;
    let certificate = CertificateInner::<Raw>::from_der(&der).map_err(|error| error.to_string())?;
    let is_der = certificate.to_der().is_ok_and(|der| der == input);
    Ok((certificate, is_der))
}
