// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a chain check needs of a certificate or a CRL (RFC 5280 §4, §5), read from outside input.

use std::collections::BTreeSet;

use der::asn1::{BitStringRef, ObjectIdentifier};
use der::oid::AssociatedOid;
use der::{Decode, Encode, Header, Reader, SliceReader};
use hsm_api::{Curve, Hash, PublicKey, SecurityModule, signature};
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};
use x509_cert::crl::CertificateList;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::name::{GeneralName, GeneralNames};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, CrlDistributionPoints,
    CrlNumber, CrlReason, ExtendedKeyUsage, IssuerAltName, IssuingDistributionPoint, KeyUsage,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

/// A certificate, parsed once.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    signed: Signed,
    /// DER of the issuer's name.
    pub(crate) issuer: Vec<u8>,
    /// DER of the subject's name.
    pub(crate) subject: Vec<u8>,
    /// Common name of the subject, where there is exactly one.
    pub(crate) common_name: Option<String>,
    /// Organisation of the subject, where there is exactly one.
    pub(crate) organization: Option<String>,
    /// Content of the serial number.
    pub(crate) serial: Vec<u8>,
    /// Seconds since 1970, both included.
    pub(crate) validity: (u64, u64),
    /// `None` on curves other than those of TR-03116-3 table 4.
    pub(crate) key: Option<PublicKey>,
    pub(crate) basic_constraints: Option<BasicConstraints>,
    pub(crate) key_usage: Option<KeyUsage>,
    /// Whether keyUsage is marked critical.
    pub(crate) key_usage_critical: bool,
    pub(crate) extended_key_usage: Vec<ObjectIdentifier>,
    pub(crate) subject_key: Option<Vec<u8>>,
    pub(crate) issuer_key: Option<Vec<u8>>,
    /// Whether some critical extension is unknown here.
    pub(crate) unknown_critical: bool,
}

impl Certificate {
    /// Reads strict DER.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        let signed = Signed::parse(der)?;
        let parsed = x509_cert::Certificate::from_der(der).ok()?;
        let tbs = parsed.tbs_certificate();
        if tbs.signature() != parsed.signature_algorithm() {
            return None;
        }
        let extensions = tbs.extensions();
        let serial = tbs.serial_number().as_bytes();
        let negative = serial.first().is_some_and(|first| *first >= 0x80);
        if negative || !are_unique(extensions) {
            return None;
        }
        let key_usage = extension::<KeyUsage>(extensions)?;
        Some(Self {
            signed,
            issuer: tbs.issuer().to_der().ok()?,
            subject: tbs.subject().to_der().ok()?,
            common_name: attribute(tbs.subject(), COMMON_NAME),
            organization: attribute(tbs.subject(), ORGANIZATION),
            serial: serial.to_vec(),
            validity: (
                seconds(tbs.validity().not_before),
                seconds(tbs.validity().not_after),
            ),
            key: tbs
                .subject_public_key_info()
                .to_der()
                .ok()
                .and_then(|spki| PublicKey::from_spki_der(&spki)),
            basic_constraints: extension(extensions)?.map(|(_, found)| found),
            key_usage_critical: key_usage.as_ref().is_some_and(|(critical, _)| *critical),
            key_usage: key_usage.map(|(_, found)| found),
            extended_key_usage: extension::<ExtendedKeyUsage>(extensions)?
                .map(|(_, found)| found.0)
                .unwrap_or_default(),
            subject_key: extension::<SubjectKeyIdentifier>(extensions)?
                .map(|(_, found)| found.0.into_bytes().into()),
            issuer_key: extension::<AuthorityKeyIdentifier>(extensions)?
                .and_then(|(_, found)| found.key_identifier)
                .map(|id| id.into_bytes().into()),
            unknown_critical: has_unknown_critical(extensions, KNOWN_IN_CERTIFICATES),
        })
    }

    /// Whether this is signed with `issuer`'s key.
    pub(crate) fn is_signed_by(
        &self,
        issuer: &Self,
        module: &dyn SecurityModule,
    ) -> Result<(), Error> {
        self.signed.verify(issuer, module)
    }

    /// Whether the names, and the key identifiers where both have one, say that `issuer` signed this.
    pub(crate) fn names_as_issuer(&self, issuer: &Self) -> bool {
        let ids = self.issuer_key.as_ref().zip(issuer.subject_key.as_ref());
        self.issuer == issuer.subject && ids.is_none_or(|(wanted, found)| wanted == found)
    }
}

/// A certificate revocation list.
#[derive(Clone, Debug)]
pub(crate) struct Crl {
    signed: Signed,
    /// DER of the name of who signed it.
    pub(crate) issuer: Vec<u8>,
    /// Whether it also speaks for issuers other than its own (RFC 5280 §5.2.5).
    pub(crate) indirect: bool,
    /// Seconds since 1970.
    pub(crate) this_update: u64,
    /// Seconds since 1970.
    pub(crate) next_update: Option<u64>,
    /// Issuers of certificates, and serial numbers.
    revoked: BTreeSet<(Vec<u8>, Vec<u8>)>,
}

impl Crl {
    /// Reads strict DER; `None` also for lists that leave something out, and for critical extensions that nobody here
    /// knows.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        let signed = Signed::parse(der)?;
        let list = <CertificateList>::from_der(der).ok()?;
        let tbs = list.tbs_cert_list;
        let extensions = tbs.crl_extensions.as_ref();
        if tbs.signature != list.signature_algorithm
            || !are_unique(extensions)
            || has_unknown_critical(extensions, KNOWN_IN_LISTS)
        {
            return None;
        }
        let place =
            extension_of::<IssuingDistributionPoint>(ISSUING_DISTRIBUTION_POINT, extensions)?;
        let place = place.map(|(_, place)| place);
        let partial = |place: &IssuingDistributionPoint| {
            place.only_contains_user_certs
                || place.only_contains_ca_certs
                || place.only_contains_attribute_certs
                || place.only_some_reasons.is_some()
        };
        if place.as_ref().is_some_and(partial) {
            return None;
        }
        let issuer = tbs.issuer.to_der().ok()?;
        // Each entry is for the issuer that it names, or the one before it (RFC 5280 §5.3.3).
        let mut of = issuer.clone();
        let mut revoked = BTreeSet::new();
        for entry in tbs.revoked_certificates.unwrap_or_default() {
            let extensions = entry.crl_entry_extensions.as_ref();
            if !are_unique(extensions) || has_unknown_critical(extensions, KNOWN_IN_ENTRIES) {
                return None;
            }
            if let Some(named) = named_issuer(extensions)? {
                of = named;
            }
            revoked.insert((of.clone(), entry.serial_number.as_bytes().to_vec()));
        }
        Some(Self {
            signed,
            issuer,
            indirect: place.is_some_and(|place| place.indirect_crl),
            this_update: seconds(tbs.this_update),
            next_update: tbs.next_update.map(seconds),
            revoked,
        })
    }

    pub(crate) fn is_signed_by(
        &self,
        issuer: &Certificate,
        module: &dyn SecurityModule,
    ) -> Result<(), Error> {
        self.signed.verify(issuer, module)
    }

    pub(crate) fn revokes(&self, certificate: &Certificate) -> bool {
        let entry = (certificate.issuer.clone(), certificate.serial.clone());
        self.revoked.contains(&entry)
    }
}

/// The issuer that an entry of a list names, DER; outer `None` when it cannot be read.
#[allow(clippy::option_option)]
fn named_issuer(extensions: Option<&Extensions>) -> Option<Option<Vec<u8>>> {
    let mut extensions = extensions.into_iter().flatten();
    let Some(found) = extensions.find(|extension| extension.extn_id == CERTIFICATE_ISSUER) else {
        return Some(None);
    };
    match GeneralNames::from_der(found.extn_value.as_bytes())
        .ok()?
        .as_slice()
    {
        [GeneralName::DirectoryName(name)] => Some(Some(name.to_der().ok()?)),
        _ => None,
    }
}

/// The signed structure of X.509: content, algorithm, signature.
#[derive(Clone, Debug)]
struct Signed {
    content: Vec<u8>,
    algorithm: AlgorithmIdentifierOwned,
    signature: Vec<u8>,
}

impl Signed {
    fn parse(der: &[u8]) -> Option<Self> {
        let mut reader = SliceReader::new(der).ok()?;
        Header::decode(&mut reader).ok()?;
        let content = reader.tlv_bytes().ok()?.to_vec();
        let algorithm = reader.decode().ok()?;
        let signature = reader
            .decode::<BitStringRef<'_>>()
            .ok()?
            .as_bytes()?
            .to_vec();
        reader.finish().ok()?;
        Some(Self {
            content,
            algorithm,
            signature,
        })
    }

    /// ECDSA on a brainpool curve with the hash that TR-03116-3 table 5 pairs with it; nothing else is taken.
    fn verify(&self, issuer: &Certificate, module: &dyn SecurityModule) -> Result<(), Error> {
        let key = issuer.key.as_ref().ok_or_else(|| self.unsupported())?;
        let hash = match key.curve {
            Curve::BrainpoolP256r1 | Curve::BrainpoolP384r1 | Curve::BrainpoolP512r1 => {
                Hash::of(key.curve)
            }
            _ => return Err(self.unsupported()),
        };
        let expected = match hash {
            Hash::Sha256 => ECDSA_WITH_SHA256,
            Hash::Sha384 => ECDSA_WITH_SHA384,
            Hash::Sha512 => ECDSA_WITH_SHA512,
        };
        if self.algorithm.oid != expected || self.algorithm.parameters.is_some() {
            return Err(self.unsupported());
        }
        let plain = signature::plain_from_der(key.curve, &self.signature)
            .ok_or(CertificateError::BadSignature)?;
        match module.verify_digest(key, &hash.digest(&self.content), &plain) {
            Ok(true) => Ok(()),
            Ok(false) => Err(CertificateError::BadSignature.into()),
            Err(error) if error.fault() == hsm_api::Fault::Caller => {
                Err(CertificateError::BadSignature.into())
            }
            Err(error) => Err(Error::General(format!(
                "the security module does not verify: {error}"
            ))),
        }
    }

    fn unsupported(&self) -> Error {
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: self.algorithm.to_der().unwrap_or_default(),
            supported_algorithms: Vec::new(),
        }
        .into()
    }
}

/// An extension of a type that knows its object identifier.
#[allow(clippy::option_option)]
fn extension<T: for<'a> Decode<'a> + AssociatedOid>(
    extensions: Option<&Extensions>,
) -> Option<Option<(bool, T)>> {
    extension_of(T::OID, extensions)
}

/// Whether an extension is critical, and its content; outer `None` when it cannot be read, inner when there is none.
#[allow(clippy::option_option)]
fn extension_of<T: for<'a> Decode<'a>>(
    oid: ObjectIdentifier,
    extensions: Option<&Extensions>,
) -> Option<Option<(bool, T)>> {
    let mut extensions = extensions.into_iter().flatten();
    let Some(found) = extensions.find(|extension| extension.extn_id == oid) else {
        return Some(None);
    };
    Some(Some((
        found.critical,
        T::from_der(found.extn_value.as_bytes()).ok()?,
    )))
}

/// No extension may occur twice (RFC 5280 §4.2).
fn are_unique(extensions: Option<&Extensions>) -> bool {
    let mut seen = BTreeSet::new();
    let mut extensions = extensions.into_iter().flatten();
    extensions.all(|extension| seen.insert(extension.extn_id))
}

fn has_unknown_critical(extensions: Option<&Extensions>, known: &[ObjectIdentifier]) -> bool {
    let mut extensions = extensions.into_iter().flatten();
    extensions.any(|extension| extension.critical && !known.contains(&extension.extn_id))
}

/// An attribute of a name, where there is exactly one, as text.
fn attribute(name: &Name, oid: ObjectIdentifier) -> Option<String> {
    let mut found = name.iter().filter(|attribute| attribute.oid == oid);
    let only = found.next()?;
    if found.next().is_some() {
        return None;
    }
    std::str::from_utf8(only.value.value())
        .ok()
        .map(str::to_owned)
}

fn seconds(time: Time) -> u64 {
    time.to_unix_duration().as_secs()
}

/// Whether `now` lies in a validity.
pub(crate) fn require_valid(
    (begin, end): (u64, u64),
    now: UnixTime,
) -> Result<(), CertificateError> {
    let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    if now.as_secs() < begin {
        Err(CertificateError::NotValidYetContext {
            time: now,
            not_before: at(begin),
        })
    } else if now.as_secs() > end {
        Err(CertificateError::ExpiredContext {
            time: now,
            not_after: at(end),
        })
    } else {
        Ok(())
    }
}

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// RFC 5280 §5.2.5; x509-cert 0.3 gives the type the number of another extension.
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");

/// RFC 5280 §5.3.3.
const CERTIFICATE_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.29");

/// Extensions that the check honours, or that restrict nothing.
const KNOWN_IN_CERTIFICATES: &[ObjectIdentifier] = &[
    AuthorityKeyIdentifier::OID,
    SubjectKeyIdentifier::OID,
    KeyUsage::OID,
    CertificatePolicies::OID,
    SubjectAltName::OID,
    IssuerAltName::OID,
    BasicConstraints::OID,
    ExtendedKeyUsage::OID,
    CrlDistributionPoints::OID,
];

const KNOWN_IN_LISTS: &[ObjectIdentifier] = &[
    AuthorityKeyIdentifier::OID,
    CrlNumber::OID,
    ISSUING_DISTRIBUTION_POINT,
];

const KNOWN_IN_ENTRIES: &[ObjectIdentifier] = &[CrlReason::OID, CERTIFICATE_ISSUER];
