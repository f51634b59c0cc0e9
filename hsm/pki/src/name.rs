// SPDX-License-Identifier: MIT OR Apache-2.0
//! Distinguished names, one attribute per relative name, and the general names of extensions.

use der::asn1::{Any, Ia5String, ObjectIdentifier, PrintableString, SetOfVec};
use der::{Decode, Encode, Tag};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

use crate::{PkiError, oid, unencodable};

/// A name of these attributes, in this order.
///
/// A value is a PrintableString where its letters allow it and a UTF8String where not, as in issued SM-PKI
/// certificates. A country that is not two capital letters, and a value that is empty or beyond 64 characters
/// (RFC 5280 appendix A, upper bounds) are refused.
pub(crate) fn distinguished(attributes: &[(ObjectIdentifier, &str)]) -> Result<Name, PkiError> {
    let mut names = RdnSequence::default();
    for (oid, text) in attributes {
        names.push(relative(*oid, text)?);
    }
    Name::from_der(&names.to_der().map_err(unencodable)?).map_err(unencodable)
}

/// A name with another value for one of its attributes.
pub(crate) fn with(name: &Name, oid: ObjectIdentifier, text: &str) -> Result<Name, PkiError> {
    let old: Vec<_> = name
        .iter()
        .map(|attribute| {
            let value = String::from_utf8_lossy(attribute.value.value());
            (attribute.oid, value.into_owned())
        })
        .collect();
    let new: Vec<_> = old
        .iter()
        .map(|(at, value)| (*at, if *at == oid { text } else { value.as_str() }))
        .collect();
    distinguished(&new)
}

fn relative(oid: ObjectIdentifier, text: &str) -> Result<RelativeDistinguishedName, PkiError> {
    if text.is_empty() || text.chars().count() > 64 {
        return Err(PkiError::Request(format!(
            "\"{text}\" has not 1 to 64 characters, as a part of a name must"
        )));
    }
    let capitals = text.bytes().all(|letter| letter.is_ascii_uppercase());
    if oid == oid::COUNTRY && (text.len() != 2 || !capitals) {
        return Err(PkiError::Request(format!(
            "country \"{text}\" is not two capital letters"
        )));
    }
    let value = match PrintableString::new(text) {
        Ok(printable) => Any::encode_from(&printable),
        Err(_) => Any::new(Tag::Utf8String, text.as_bytes()),
    }
    .map_err(unencodable)?;
    let set =
        SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }]).map_err(unencodable)?;
    Ok(RelativeDistinguishedName::from(set))
}

/// A DNS name for subjectAltName.
pub(crate) fn dns(name: &str) -> Result<GeneralName, PkiError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if name.is_empty() || name.len() > 253 || !name.bytes().all(allowed) {
        return Err(PkiError::Request(format!("\"{name}\" is not a DNS name")));
    }
    Ok(GeneralName::DnsName(ia5(name)?))
}

/// A mail address.
pub(crate) fn email(address: &str) -> Result<GeneralName, PkiError> {
    Ok(GeneralName::Rfc822Name(ia5(address)?))
}

/// A URI.
pub(crate) fn uri(uri: &str) -> Result<GeneralName, PkiError> {
    Ok(GeneralName::UniformResourceIdentifier(ia5(uri)?))
}

fn ia5(text: &str) -> Result<Ia5String, PkiError> {
    Ia5String::new(text).map_err(unencodable)
}

/// The texts of all attributes of this type.
pub(crate) fn texts(name: &Name, oid: ObjectIdentifier) -> Vec<String> {
    name.iter()
        .filter(|attribute| attribute.oid == oid)
        .map(|attribute| String::from_utf8_lossy(attribute.value.value()).into_owned())
        .collect()
}

/// The text of the attribute of this type, if there is exactly one.
pub(crate) fn text(name: &Name, oid: ObjectIdentifier) -> Option<String> {
    <[String; 1]>::try_from(texts(name, oid))
        .ok()
        .map(|[text]| text)
}
