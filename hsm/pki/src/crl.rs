// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificate revocation lists, version 2 (RFC 5280 §5): the sub-CA's own, and the root's indirect one.

use std::time::{Duration, SystemTime};

use der::asn1::{BitString, Uint};
use der::{Decode, Encode, Sequence};
use hsm_api::{Hash, SecurityModule};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::CrlNumber;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::{Certificate, Version};

use crate::draft::authority_key_id;
use crate::factory::Authority;
use crate::profile::DAY;
use crate::signing;
use crate::template::{content_of, extension, raw_extension, time};
use crate::{Confidence, PkiError, TestPki, ber, name, oid, unencodable};

/// Why a certificate is revoked (RFC 5280 §5.3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum RevocationReason {
    /// Its private key is known to others.
    KeyCompromise = 1,
    /// A newer certificate took its place.
    Superseded = 4,
    /// Its owner does not need it any more.
    CessationOfOperation = 5,
}

/// What a revocation list shall say.
#[derive(Clone, Debug)]
pub struct RevocationList {
    /// Its number; a later list has a higher one.
    pub number: u64,
    /// When it was made.
    pub this_update: SystemTime,
    /// When the next one will be there at the latest.
    pub next_update: SystemTime,
    /// The certificates and why.
    pub revoked: Vec<(CertificateDer<'static>, RevocationReason)>,
}

impl RevocationList {
    /// An empty first list, made at this time and valid for this long.
    pub fn new(made: SystemTime, valid: Duration) -> Self {
        Self {
            number: 1,
            this_update: made,
            next_update: made + valid,
            revoked: Vec::new(),
        }
    }

    /// Adds a certificate whose key is compromised.
    #[must_use]
    pub fn revoking(mut self, certificate: &CertificateDer<'_>) -> Self {
        let certificate = certificate.clone().into_owned();
        self.revoked
            .push((certificate, RevocationReason::KeyCompromise));
        self
    }

    /// Bad variant: the next list was due a day ago.
    #[must_use]
    pub fn expired(mut self) -> Self {
        let valid = self.next_update.duration_since(self.this_update);
        self.next_update = self.this_update - DAY;
        self.this_update = self.next_update - valid.unwrap_or(DAY);
        self
    }
}

/// How long a sub-CA's list is valid at most, and how sure that is.
pub const SUB_CA_LIST_LIFETIME: (Duration, Confidence) =
    (Duration::from_secs(7 * 86_400), Confidence::Assumed);
/// How long the root's list is valid at most, and how sure that is.
pub const ROOT_LIST_LIFETIME: (Duration, Confidence) =
    (Duration::from_secs(30 * 86_400), Confidence::Assumed);

impl TestPki {
    /// An empty list for [`Self::sub_ca_list`], made when the PKI was.
    pub fn empty_sub_ca_list(&self) -> RevocationList {
        RevocationList::new(self.made_at(), SUB_CA_LIST_LIFETIME.0)
    }

    /// An empty list for [`Self::root_list`], made when the PKI was.
    pub fn empty_root_list(&self) -> RevocationList {
        RevocationList::new(self.made_at(), ROOT_LIST_LIFETIME.0)
    }

    /// The list of end-user certificates, signed by the sub-CA.
    ///
    /// # Errors
    /// [`PkiError::Module`] when the module fails, [`PkiError::Request`] when a revoked certificate cannot be read.
    pub fn sub_ca_list(
        &self,
        list: &RevocationList,
    ) -> Result<CertificateRevocationListDer<'static>, PkiError> {
        self.revocation_list(list, &self.sub_ca, None)
    }

    /// The list of certificates that the root issued, signed by the CRL signer: an indirect list, as the
    /// distribution points of sub-CA certificates in use demand.
    ///
    /// # Errors
    /// As [`Self::sub_ca_list`].
    pub fn root_list(
        &self,
        list: &RevocationList,
    ) -> Result<CertificateRevocationListDer<'static>, PkiError> {
        self.revocation_list(list, &self.crl_signer, Some(&self.root))
    }

    fn revocation_list(
        &self,
        list: &RevocationList,
        signer: &Authority,
        on_behalf_of: Option<&Authority>,
    ) -> Result<CertificateRevocationListDer<'static>, PkiError> {
        let entries = list.revoked.iter().enumerate();
        let revoked = entries
            .map(|(at, (certificate, reason))| {
                // One entry names the issuer of its certificate, and of all that follow (RFC 5280 §5.3.3).
                let names_issuer = on_behalf_of.filter(|_| at == 0);
                entry(certificate, *reason, list.this_update, names_issuer)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut extensions = vec![
            authority_key_id(&signer.public_key)?,
            extension(
                false,
                &CrlNumber(Uint::try_from(list.number).map_err(unencodable)?),
            )?,
        ];
        if let Some(issuer) = on_behalf_of {
            extensions.push(indirect(issuer)?);
        }
        let hash = Hash::of(signer.public_key.curve);
        let tbs = TbsCertList {
            version: Version::V2,
            signature: signing::algorithm(hash),
            issuer: signer.name.clone(),
            this_update: time(list.this_update)?,
            next_update: Some(time(list.next_update)?),
            // An empty list has no field at all (RFC 5280 §5.1.2.6).
            revoked_certificates: Some(revoked).filter(|revoked| !revoked.is_empty()),
            crl_extensions: Some(extensions),
        };
        let message = tbs.to_der().map_err(unencodable)?;
        let signature = signing::sign(self.module(), &signer.issued.key, hash, &message)?;
        let signed = CertificateList {
            tbs_cert_list: tbs,
            signature_algorithm: signing::algorithm(hash),
            signature: BitString::from_bytes(&signature).map_err(unencodable)?,
        };
        Ok(CertificateRevocationListDer::from(
            signed.to_der().map_err(unencodable)?,
        ))
    }
}

fn entry(
    certificate: &CertificateDer<'_>,
    reason: RevocationReason,
    at: SystemTime,
    issuer: Option<&Authority>,
) -> Result<RevokedCert, PkiError> {
    let parsed = Certificate::from_der(certificate).map_err(unencodable)?;
    let reason = vec![0x0a, 1, reason as u8];
    let mut extensions = vec![raw_extension(oid::REASON_CODE, false, reason)?];
    if let Some(issuer) = issuer {
        let names = vec![GeneralName::DirectoryName(issuer.name.clone())];
        let names = names.to_der().map_err(unencodable)?;
        extensions.push(raw_extension(oid::CERTIFICATE_ISSUER, true, names)?);
    }
    Ok(RevokedCert {
        serial_number: parsed.tbs_certificate().serial_number().clone(),
        revocation_date: time(at)?,
        crl_entry_extensions: Some(extensions),
    })
}

/// RFC 5280 §5.2.5, the fields in use here.
#[derive(Sequence)]
struct IssuingDistributionPoint {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    distribution_point: DistributionPointName,
    #[asn1(context_specific = "4", tag_mode = "IMPLICIT")]
    indirect: bool,
}

fn indirect(issuer: &Authority) -> Result<Extension, PkiError> {
    let place = name::uri(&format!("http://{}/list.crl", issuer.contact.dns))?;
    let point = IssuingDistributionPoint {
        distribution_point: DistributionPointName::FullName(vec![place]),
        indirect: true,
    };
    raw_extension(
        oid::ISSUING_DISTRIBUTION_POINT,
        true,
        point.to_der().map_err(unencodable)?,
    )
}

/// A revocation list that was read, but not verified yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadList {
    list: CertificateList<Raw>,
}

impl ReadList {
    /// Reads a DER list of at most 16 MiB.
    ///
    /// # Errors
    /// [`PkiError::Pem`] when it is none, or not in DER.
    pub fn read(list: &CertificateRevocationListDer<'_>) -> Result<Self, PkiError> {
        let wrong = |what: String| PkiError::Pem {
            origin: "revocation list".into(),
            what,
        };
        if list.len() > MAX_LIST || ber::to_der(list).is_none_or(|der| der != **list) {
            return Err(wrong("it is longer than 16 MiB or not in DER".into()));
        }
        let list = CertificateList::from_der(list).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { list })
    }

    /// Its number, where it has one of at most 64 bits.
    pub fn number(&self) -> Option<u64> {
        let extensions = self.list.tbs_cert_list.crl_extensions.as_deref()?;
        let number = content_of::<CrlNumber>(extensions)?;
        let bytes = number.0.as_bytes();
        let mut wide = [0; 8];
        let start = wide.len().checked_sub(bytes.len())?;
        wide.get_mut(start..)?.copy_from_slice(bytes);
        Some(u64::from_be_bytes(wide))
    }

    /// From when to when it is good; without an end, from its start only.
    pub fn validity(&self) -> (SystemTime, Option<SystemTime>) {
        let tbs = &self.list.tbs_cert_list;
        let end = tbs.next_update.map(|end| end.to_system_time());
        (tbs.this_update.to_system_time(), end)
    }

    /// Whether it revokes a certificate of the issuer it is about: an entry with its serial number, for the issuer
    /// that the entry or one before it names, else the list's own (RFC 5280 §5.3.3).
    ///
    /// # Errors
    /// [`PkiError::Pem`] when the certificate or the issuer of an entry cannot be read.
    pub fn revokes(&self, certificate: &CertificateDer<'_>) -> Result<bool, PkiError> {
        let wrong = |error: der::Error| PkiError::Pem {
            origin: "revocation list".into(),
            what: error.to_string(),
        };
        let certificate = CertificateInner::<Raw>::from_der(certificate).map_err(wrong)?;
        let certificate = certificate.tbs_certificate();
        let mut issuer = self.list.tbs_cert_list.issuer.clone();
        for entry in self
            .list
            .tbs_cert_list
            .revoked_certificates
            .iter()
            .flatten()
        {
            let extensions = entry.crl_entry_extensions.iter().flatten();
            for extension in extensions.filter(|found| found.extn_id == oid::CERTIFICATE_ISSUER) {
                let names = Vec::<GeneralName>::from_der(extension.extn_value.as_bytes());
                for name in names.map_err(wrong)? {
                    if let GeneralName::DirectoryName(name) = name {
                        issuer = name;
                    }
                }
            }
            if entry.serial_number == *certificate.serial_number()
                && issuer == *certificate.issuer()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this certificate's key signed it; that it may, and whose lists, is left to the caller.
    ///
    /// # Errors
    /// [`PkiError::Pem`] when the certificate has no usable key, [`PkiError::Module`] when the module fails.
    pub fn is_signed_by(
        &self,
        signer: &CertificateDer<'_>,
        module: &dyn SecurityModule,
    ) -> Result<bool, PkiError> {
        let key = crate::public_key(signer)?;
        let message = self.list.tbs_cert_list.to_der().map_err(unencodable)?;
        let algorithm = &self.list.tbs_cert_list.signature;
        let signature = self.list.signature.raw_bytes();
        Ok(*algorithm == self.list.signature_algorithm
            && signing::verify(module, &key, &algorithm.oid, &message, signature)?)
    }
}

const MAX_LIST: usize = 16 * 1024 * 1024;
