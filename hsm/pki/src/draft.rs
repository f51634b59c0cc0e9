// SPDX-License-Identifier: MIT OR Apache-2.0
//! A certificate of a profile before its signature: names, validity and the extensions of TR-03109-4 annex A.

use std::time::SystemTime;

use der::asn1::{Any, Ia5String, Int};
use der::flagset::FlagSet;
use hsm_api::{KeyId, PublicKey, SecurityModule};
use rustls_pki_types::CertificateDer;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::certpolicy::{PolicyInformation, PolicyQualifierInfo};
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, CertificatePolicies, CrlDistributionPoints, IssuerAltName, KeyUsages,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::Name;

use crate::factory::{Authority, Issued};
use crate::template::{
    Template, basic_constraints, extended_key_usage, extension, key_identifier, key_usage,
};
use crate::{PkiError, Profile, Purpose, name, oid, unencodable};

/// How to reach somebody, as subjectAltName and issuerAltName say it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contact {
    /// A mail address.
    pub email: String,
    /// The address of its service.
    pub uri: String,
    /// Its DNS name; in TLS certificates only.
    pub dns: String,
}

impl Contact {
    /// Everything at one host.
    pub fn at(host: &str) -> Self {
        Self {
            email: format!("pki@{host}"),
            uri: format!("https://{host}/"),
            dns: host.to_owned(),
        }
    }
}

/// A certificate that still can be changed, and who will sign it.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) profile: Profile,
    pub(crate) template: Template,
    /// None signs with its own key.
    pub(crate) issuer: Option<Authority>,
    /// Another key than the one that is asked for.
    pub(crate) key: Option<KeyId>,
    /// What happens to the bytes after the signature.
    pub(crate) rework: fn(Vec<u8>) -> Vec<u8>,
}

impl Draft {
    pub(crate) fn new(
        profile: Profile,
        serial: Int,
        (not_before, not_after): (SystemTime, SystemTime),
        (subject, public, contact): (Name, &PublicKey, &Contact),
        issuer: Option<&Authority>,
        crl_signer: Name,
    ) -> Result<Self, PkiError> {
        let (issuer_name, issuer_key, issuer_contact) = match issuer {
            Some(issuer) => (issuer.name.clone(), &issuer.public_key, &issuer.contact),
            None => (subject.clone(), public, contact),
        };
        let mut extensions = vec![
            authority_key_id(issuer_key)?,
            subject_key_id(public)?,
            key_usage(usages(profile))?,
            policies()?,
        ];
        if !matches!(profile, Profile::EndUser(role, _) if role.is_gateway()) {
            extensions.push(subject_alt_name(profile, contact)?);
        }
        extensions.push(extension(
            false,
            &IssuerAltName(vec![
                name::email(&issuer_contact.email)?,
                name::uri(&issuer_contact.uri)?,
            ]),
        )?);
        let path_length = matches!(profile, Profile::SubCa | Profile::RootTlsSigner).then_some(0);
        extensions.push(basic_constraints(profile.is_ca(), path_length)?);
        if profile.is_tls() {
            let purposes = [oid::SERVER_AUTH, oid::CLIENT_AUTH];
            extensions.push(extended_key_usage(true, &purposes)?);
        }
        extensions.extend(distribution_point(profile, issuer_contact, crl_signer)?);
        Ok(Self {
            profile,
            template: Template {
                serial,
                issuer: issuer_name,
                not_before,
                not_after,
                subject,
                public_key: public.to_spki_der(),
                extensions,
                hash: None,
            },
            issuer: issuer.cloned(),
            key: None,
            rework: |bytes| bytes,
        })
    }

    /// Signs; `key` is the certified key, and signs when there is no issuer.
    pub(crate) fn finish(
        self,
        module: &dyn SecurityModule,
        key: KeyId,
    ) -> Result<Issued, PkiError> {
        let key = self.key.unwrap_or(key);
        let signer = self.issuer.as_ref().map(|issuer| &issuer.issued);
        let signed = self
            .template
            .sign(module, signer.map_or(&key, |signer| &signer.key))?;
        let certificate = CertificateDer::from((self.rework)(signed.to_vec()));
        let above = signer
            .filter(|signer| signer.profile != Profile::Root)
            .map_or(Vec::new(), |signer| signer.chain.clone());
        Ok(Issued {
            profile: self.profile,
            key,
            chain: [vec![certificate], above].concat(),
        })
    }
}

/// authorityKeyIdentifier with the key identifier alone.
pub(crate) fn authority_key_id(issuer: &PublicKey) -> Result<Extension, PkiError> {
    extension(
        false,
        &AuthorityKeyIdentifier {
            key_identifier: Some(key_identifier(issuer)?),
            authority_cert_issuer: None,
            authority_cert_serial_number: None,
        },
    )
}

/// subjectKeyIdentifier.
pub(crate) fn subject_key_id(key: &PublicKey) -> Result<Extension, PkiError> {
    extension(false, &SubjectKeyIdentifier(key_identifier(key)?))
}

/// Mail and URI, and in TLS certificates the DNS name.
pub(crate) fn subject_alt_name(profile: Profile, contact: &Contact) -> Result<Extension, PkiError> {
    let mut names = vec![name::email(&contact.email)?, name::uri(&contact.uri)?];
    if profile.is_tls() {
        names.push(name::dns(&contact.dns)?);
    }
    extension(false, &SubjectAltName(names))
}

/// keyUsage by profile.
pub(crate) fn usages(profile: Profile) -> FlagSet<KeyUsages> {
    match profile {
        Profile::Root | Profile::SubCa => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
        Profile::RootCrlSigner => KeyUsages::CRLSign.into(),
        Profile::RootTlsSigner => KeyUsages::KeyCertSign.into(),
        Profile::EndUser(_, Purpose::Enc) => KeyUsages::KeyEncipherment | KeyUsages::KeyAgreement,
        Profile::RootTls | Profile::EndUser(..) | Profile::SelfSigned => {
            KeyUsages::DigitalSignature.into()
        }
    }
}

fn policies() -> Result<Extension, PkiError> {
    let text = Ia5String::new("https://policy.example/").map_err(unencodable)?;
    let qualifier = PolicyQualifierInfo {
        policy_qualifier_id: oid::CPS_URI,
        qualifier: Some(Any::encode_from(&text).map_err(unencodable)?),
    };
    let policy = PolicyInformation {
        policy_identifier: oid::SM_PKI_POLICY,
        policy_qualifiers: Some(vec![qualifier]),
    };
    extension(false, &CertificatePolicies(vec![policy]))
}

/// Where the issuer's list is; the root's is signed by the CRL signer, which the extension names then.
fn distribution_point(
    profile: Profile,
    issuer: &Contact,
    crl_signer: Name,
) -> Result<Option<Extension>, PkiError> {
    let crl_issuer = match profile {
        Profile::Root | Profile::RootCrlSigner | Profile::SelfSigned => return Ok(None),
        Profile::SubCa | Profile::RootTlsSigner => {
            Some(vec![GeneralName::DirectoryName(crl_signer)])
        }
        Profile::RootTls | Profile::EndUser(..) => None,
    };
    let place = name::uri(&format!("http://{}/list.crl", issuer.dns))?;
    let point = DistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(vec![place])),
        reasons: None,
        crl_issuer,
    };
    extension(false, &CrlDistributionPoints(vec![point])).map(Some)
}
