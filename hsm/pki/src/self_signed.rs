// SPDX-License-Identifier: MIT OR Apache-2.0
//! Self-signed X.509 v3 certificates (RFC 5280) on the curves of TR-03116-3 table 4, signed inside the module.

use std::time::SystemTime;

use der::asn1::{
    Any, BitString, Ia5String, ObjectIdentifier, OctetString, PrintableString, SetOfVec,
};
use der::flagset::FlagSet;
use der::oid::AssociatedOid;
use der::{Decode, Encode, Sequence, Tag};
use hsm_api::{Curve, KeyId, SecurityModule, signature};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::Version;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, Extensions};
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use crate::{CertificateRequest, PkiError};

/// Makes a self-signed certificate for a signing key of the module.
///
/// Signed with SHA-256, SHA-384 or SHA-512, whichever has the length of the key's curve (TR-03116-3 table 5); on
/// brainpoolP256r1 that is ecdsa-with-SHA256.
///
/// # Errors
/// [`PkiError::Request`] when the request cannot be encoded, [`PkiError::Module`] when the key is missing or the
/// module fails.
pub fn self_signed(
    module: &dyn SecurityModule,
    key: &KeyId,
    request: &CertificateRequest,
) -> Result<CertificateDer<'static>, PkiError> {
    let public = module.public_key(key)?;
    let spki = public.to_spki_der();
    let algorithm = AlgorithmIdentifierOwned {
        oid: signature_oid(public.curve)?,
        parameters: None,
    };
    let name = subject(request)?;
    let tbs = ToBeSigned {
        version: Version::V3,
        serial_number: serial_number(module, request)?,
        signature: algorithm.clone(),
        issuer: name.clone(),
        validity: validity(request)?,
        subject: name,
        subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(&spki).map_err(unencodable)?,
        extensions: extensions(request, &public.point)?,
    };
    let digest = digest(public.curve, &tbs.to_der().map_err(unencodable)?);
    let plain = module.sign_digest(key, &digest)?;
    let signature = signature::der_from_plain(&plain).ok_or_else(|| {
        PkiError::Request("the module's signature has an impossible length".into())
    })?;
    let certificate = Signed {
        tbs_certificate: tbs,
        signature_algorithm: algorithm,
        signature: BitString::from_bytes(&signature).map_err(unencodable)?,
    };
    Ok(CertificateDer::from(
        certificate.to_der().map_err(unencodable)?,
    ))
}

/// RFC 5280 §4.1.2, without the fields that TR-03109-4 never uses.
#[derive(Sequence)]
struct ToBeSigned {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial_number: SerialNumber,
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

fn digest(curve: Curve, message: &[u8]) -> Vec<u8> {
    match curve.field_len() {
        48 => Sha384::digest(message).to_vec(),
        64 => Sha512::digest(message).to_vec(),
        _ => Sha256::digest(message).to_vec(),
    }
}

fn signature_oid(curve: Curve) -> Result<ObjectIdentifier, PkiError> {
    match curve.field_len() {
        32 => Ok(ECDSA_WITH_SHA256),
        48 => Ok(ECDSA_WITH_SHA384),
        64 => Ok(ECDSA_WITH_SHA512),
        _ => Err(PkiError::Request(format!(
            "no signature algorithm for {curve}"
        ))),
    }
}

fn serial_number(
    module: &dyn SecurityModule,
    request: &CertificateRequest,
) -> Result<SerialNumber, PkiError> {
    match request.serial {
        Some(0) => Err(PkiError::Request(
            "serial number 0 (RFC 5280 §4.1.2.2 wants a positive one)".into(),
        )),
        Some(serial) => Ok(SerialNumber::from(serial)),
        None => {
            let mut bytes = [0; 16];
            module.random(&mut bytes)?;
            // Positive, and never shorter than 16 bytes.
            bytes[0] = bytes[0] & 0x7f | 0x40;
            SerialNumber::new(&bytes).map_err(unencodable)
        }
    }
}

fn validity(request: &CertificateRequest) -> Result<Validity, PkiError> {
    if request.not_after < request.not_before {
        return Err(PkiError::Request("validity ends before it begins".into()));
    }
    let time = |at: SystemTime| Time::try_from(at).map_err(unencodable);
    Ok(Validity::new(
        time(request.not_before)?,
        time(request.not_after)?,
    ))
}

/// One attribute per relative distinguished name, from the general to the special as in TR-03109-4 certificates.
fn subject(request: &CertificateRequest) -> Result<Name, PkiError> {
    if request.common_name.is_empty() || request.common_name.chars().count() > 64 {
        return Err(PkiError::Request(
            "the common name must have 1 to 64 characters".into(),
        ));
    }
    let mut names = RdnSequence::default();
    if let Some(country) = &request.country {
        if country.len() != 2 || !country.bytes().all(|letter| letter.is_ascii_uppercase()) {
            return Err(PkiError::Request(format!(
                "country \"{country}\" is not two capital letters"
            )));
        }
        let country = PrintableString::new(country).map_err(unencodable)?;
        names.push(rdn(COUNTRY, Any::encode_from(&country))?);
    }
    let others = [
        (ORGANIZATION, request.organization.as_deref()),
        (ORGANIZATIONAL_UNIT, request.organizational_unit.as_deref()),
        (COMMON_NAME, Some(request.common_name.as_str())),
    ];
    for (oid, text) in others {
        if let Some(text) = text {
            names.push(rdn(oid, Any::new(Tag::Utf8String, text.as_bytes()))?);
        }
    }
    Name::from_der(&names.to_der().map_err(unencodable)?).map_err(unencodable)
}

fn rdn(
    oid: ObjectIdentifier,
    value: der::Result<Any>,
) -> Result<RelativeDistinguishedName, PkiError> {
    let value = value.map_err(unencodable)?;
    let set =
        SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }]).map_err(unencodable)?;
    Ok(RelativeDistinguishedName::from(set))
}

fn extensions(request: &CertificateRequest, point: &[u8]) -> Result<Extensions, PkiError> {
    let mut extensions = vec![
        extension(
            true,
            &BasicConstraints {
                ca: false,
                path_len_constraint: None,
            },
        )?,
        extension(true, &KeyUsage(FlagSet::from(KeyUsages::DigitalSignature)))?,
        extension(false, &ExtendedKeyUsage(vec![SERVER_AUTH, CLIENT_AUTH]))?,
        extension(false, &key_identifier(point)?)?,
    ];
    if !request.dns_names.is_empty() {
        let names = request
            .dns_names
            .iter()
            .map(|name| dns_name(name))
            .collect::<Result<_, _>>()?;
        extensions.push(extension(false, &SubjectAltName(names))?);
    }
    Ok(extensions)
}

/// RFC 7093 §2 method 1: the leftmost 160 bits of SHA-256 over the key.
fn key_identifier(point: &[u8]) -> Result<SubjectKeyIdentifier, PkiError> {
    let digest = Sha256::digest(point);
    let id = digest.get(..20).unwrap_or_default();
    Ok(SubjectKeyIdentifier(
        OctetString::new(id).map_err(unencodable)?,
    ))
}

fn dns_name(name: &str) -> Result<GeneralName, PkiError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if name.is_empty() || name.len() > 253 || !name.bytes().all(allowed) {
        return Err(PkiError::Request(format!("\"{name}\" is not a DNS name")));
    }
    Ok(GeneralName::DnsName(
        Ia5String::new(name).map_err(unencodable)?,
    ))
}

fn extension<T: AssociatedOid + Encode>(
    critical: bool,
    content: &T,
) -> Result<Extension, PkiError> {
    let extn_value =
        OctetString::new(content.to_der().map_err(unencodable)?).map_err(unencodable)?;
    Ok(Extension {
        extn_id: T::OID,
        critical,
        extn_value,
    })
}

fn unencodable(error: der::Error) -> PkiError {
    PkiError::Request(error.to_string())
}

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
