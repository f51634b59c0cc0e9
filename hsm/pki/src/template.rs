// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything a certificate says, as data, and its signature (RFC 5280 §4.1). It can say what no certificate should.

use std::time::SystemTime;

use der::asn1::{BitString, Int, ObjectIdentifier, OctetString};
use der::flagset::FlagSet;
use der::oid::AssociatedOid;
use der::{Decode, Encode, Sequence};
use hsm_api::{Hash, KeyId, PublicKey, SecurityModule};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_cert::Version;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::ext::{Extension, Extensions};
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use crate::signing;
use crate::{PkiError, unencodable};

/// A certificate before its signature.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) serial: Int,
    pub(crate) issuer: Name,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) subject: Name,
    /// DER `SubjectPublicKeyInfo`.
    pub(crate) public_key: Vec<u8>,
    pub(crate) extensions: Extensions,
    /// The hash of the signature; without one it follows the issuer's curve.
    pub(crate) hash: Option<Hash>,
}

impl Template {
    /// Signs with the issuer's key.
    pub(crate) fn sign(
        &self,
        module: &dyn SecurityModule,
        key: &KeyId,
    ) -> Result<CertificateDer<'static>, PkiError> {
        let curve = module.public_key(key)?.curve;
        let hash = self.hash.unwrap_or(Hash::of(curve));
        let tbs = ToBeSigned {
            version: Version::V3,
            serial_number: self.serial.clone(),
            signature: signing::algorithm(hash),
            issuer: self.issuer.clone(),
            validity: Validity::new(time(self.not_before)?, time(self.not_after)?),
            subject: self.subject.clone(),
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(&self.public_key)
                .map_err(unencodable)?,
            extensions: self.extensions.clone(),
        };
        let message = tbs.to_der().map_err(unencodable)?;
        let signature = signing::sign(module, key, hash, &message)?;
        let certificate = Signed {
            tbs_certificate: tbs,
            signature_algorithm: signing::algorithm(hash),
            signature: BitString::from_bytes(&signature).map_err(unencodable)?,
        };
        Ok(CertificateDer::from(
            certificate.to_der().map_err(unencodable)?,
        ))
    }

    /// The extension of this type, if there is one.
    pub(crate) fn extension_mut(&mut self, oid: ObjectIdentifier) -> Option<&mut Extension> {
        self.extensions
            .iter_mut()
            .find(|extension| extension.extn_id == oid)
    }

    /// Puts an extension in place of the one of its type, or at the end.
    pub(crate) fn put(&mut self, extension: Extension) {
        match self.extension_mut(extension.extn_id) {
            Some(found) => *found = extension,
            None => self.extensions.push(extension),
        }
    }

    /// Takes the extension of this type out.
    pub(crate) fn remove(&mut self, oid: ObjectIdentifier) {
        self.extensions.retain(|extension| extension.extn_id != oid);
    }
}

/// RFC 5280 §4.1.2, without the fields that TR-03109-4 never uses.
#[derive(Sequence)]
struct ToBeSigned {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial_number: Int,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    subject_public_key_info: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Extensions,
}

/// RFC 5280 §4.1.1.
#[derive(Sequence)]
struct Signed {
    tbs_certificate: ToBeSigned,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// A point in time as certificates and lists write it: UTCTime until 2049, then GeneralizedTime.
pub(crate) fn time(at: SystemTime) -> Result<Time, PkiError> {
    Time::try_from(at).map_err(unencodable)
}

/// A positive serial number: the given one, or 16 random bytes of the module, never shorter.
pub(crate) fn serial_number(
    module: &dyn SecurityModule,
    given: Option<u64>,
) -> Result<Int, PkiError> {
    let mut bytes = match given {
        Some(0) => {
            return Err(PkiError::Request(
                "serial number 0 (RFC 5280 §4.1.2.2 wants a positive one)".into(),
            ));
        }
        // A leading zero keeps it positive; the encoder leaves out the superfluous ones.
        Some(serial) => [&[0], serial.to_be_bytes().as_slice()].concat(),
        None => vec![0; 16],
    };
    if given.is_none() {
        module.random(&mut bytes)?;
        if let Some(first) = bytes.first_mut() {
            *first = *first & 0x7f | 0x40;
        }
    }
    let zeros = bytes
        .windows(2)
        .take_while(|pair| matches!(pair, [0, 0..=0x7f]))
        .count();
    Int::new(bytes.get(zeros..).unwrap_or_default()).map_err(unencodable)
}

/// RFC 7093 §2 method 1: the leftmost 160 bits of SHA-256 over the key.
pub(crate) fn key_identifier(key: &PublicKey) -> Result<OctetString, PkiError> {
    let digest = Sha256::digest(&key.point);
    OctetString::new(digest.get(..20).unwrap_or_default()).map_err(unencodable)
}

/// The content of the first extension of this type, if it can be read.
pub(crate) fn content_of<'b, T: AssociatedOid + Decode<'b>>(
    extensions: &'b [Extension],
) -> Option<T> {
    let found = extensions
        .iter()
        .find(|extension| extension.extn_id == T::OID)?;
    T::from_der(found.extn_value.as_bytes()).ok()
}

/// An extension of a type that knows its object identifier.
pub(crate) fn extension<T: AssociatedOid + Encode>(
    critical: bool,
    content: &T,
) -> Result<Extension, PkiError> {
    raw_extension(T::OID, critical, content.to_der().map_err(unencodable)?)
}

/// An extension of any content.
pub(crate) fn raw_extension(
    oid: ObjectIdentifier,
    critical: bool,
    content: Vec<u8>,
) -> Result<Extension, PkiError> {
    Ok(Extension {
        extn_id: oid,
        critical,
        extn_value: OctetString::new(content).map_err(unencodable)?,
    })
}

/// Critical keyUsage.
pub(crate) fn key_usage(usages: impl Into<FlagSet<KeyUsages>>) -> Result<Extension, PkiError> {
    extension(true, &KeyUsage(usages.into()))
}

/// Critical basicConstraints.
pub(crate) fn basic_constraints(ca: bool, path_length: Option<u8>) -> Result<Extension, PkiError> {
    extension(
        true,
        &BasicConstraints {
            ca,
            path_len_constraint: path_length,
        },
    )
}

/// extendedKeyUsage.
pub(crate) fn extended_key_usage(
    critical: bool,
    purposes: &[ObjectIdentifier],
) -> Result<Extension, PkiError> {
    extension(critical, &ExtendedKeyUsage(purposes.to_vec()))
}
