// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deliberately bad end-user certificates: each is good but for one thing, and says how a TLS peer should answer.

use std::fmt;
use std::time::Duration;

use der::asn1::{Any, BitString, Int, ObjectIdentifier};
use der::{Decode, Encode};
use hsm_api::{Curve, Hash, KeyId, KeyUsage, PublicKey};
use x509_cert::ext::pkix::KeyUsages;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::draft::{Draft, authority_key_id, subject_alt_name, subject_key_id};
use crate::profile::DAY;
use crate::template::{basic_constraints, extended_key_usage, key_usage, raw_extension};
use crate::{Contact, PkiError, Profile, Purpose, TestPki, name, oid, unencodable};

/// A TLS alert for a bad certificate (RFC 5246 §7.2.2, RFC 8446 §6.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Alert {
    /// Corrupt, or a signature does not verify.
    BadCertificate = 42,
    /// Of an unsupported type.
    UnsupportedCertificate = 43,
    /// Revoked by its signer.
    CertificateRevoked = 44,
    /// Expired or not currently valid.
    CertificateExpired = 45,
    /// Any other reason.
    CertificateUnknown = 46,
    /// Its issuer is not known.
    UnknownCa = 48,
    /// Valid, but its owner may not do this.
    AccessDenied = 49,
    /// A signature of the handshake or, with some stacks, of the chain is wrong.
    DecryptError = 51,
}

impl Alert {
    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

type Spoil = fn(&mut Draft, &TestPki) -> Result<(), PkiError>;

macro_rules! flaws {
    ($($flaw:ident $name:literal: $wrong:literal, [$($alert:ident)*], [$($rule:literal)*], $spoil:expr;)*) => {
        /// What is wrong with a certificate.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Flaw {
            $(#[doc = $wrong] $flaw,)*
        }

        impl Flaw {
            /// All flaws.
            pub const ALL: &'static [Self] = &[$(Self::$flaw),*];

            /// The name that commands and files use.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$flaw => $name,)* }
            }

            /// What is wrong.
            pub const fn wrong(self) -> &'static str {
                match self { $(Self::$flaw => $wrong,)* }
            }

            /// The alerts a TLS peer may answer with, the most fitting first; none when only a linter minds.
            pub const fn alerts(self) -> &'static [Alert] {
                match self { $(Self::$flaw => &[$(Alert::$alert),*],)* }
            }

            /// The rules of [`lint`](crate::lint) it breaks; none when the certificate alone does not show it.
            pub const fn rules(self) -> &'static [&'static str] {
                match self { $(Self::$flaw => &[$($rule),*],)* }
            }

            fn spoil(self) -> Spoil {
                match self { $(Self::$flaw => $spoil,)* }
            }
        }
    };
}

flaws! {
    Expired "expired": "its validity ended yesterday",
        [CertificateExpired], ["validity.now"], |draft, pki| {
            draft.template.not_before = pki.made_at() - 30 * DAY;
            draft.template.not_after = pki.made_at() - DAY;
            Ok(())
        };
    NotYetValid "not-yet-valid": "its validity begins tomorrow",
        [CertificateExpired BadCertificate], ["validity.now"], |draft, pki| {
            draft.template.not_before = pki.made_at() + DAY;
            Ok(())
        };
    BackwardValidity "backward-validity": "its validity ends before it begins",
        [CertificateExpired BadCertificate], ["validity.order"], |draft, _| {
            draft.template.not_after = draft.template.not_before - DAY;
            Ok(())
        };
    TooLong "too-long": "it is valid a month longer than its profile allows",
        [], ["validity.length"], |draft, _| {
            draft.template.not_after += Duration::from_secs(30 * 86_400);
            Ok(())
        };
    WrongKeyUsage "wrong-key-usage": "keyUsage allows encipherment only, or signatures in an ENC certificate",
        [UnsupportedCertificate BadCertificate], ["key-usage"], |draft, _| {
            let wrong = match draft.profile {
                Profile::EndUser(_, Purpose::Enc) => KeyUsages::DigitalSignature,
                _ => KeyUsages::KeyEncipherment,
            };
            draft.template.put(key_usage(wrong)?);
            Ok(())
        };
    MissingKeyUsage "missing-key-usage": "it has no keyUsage",
        [UnsupportedCertificate BadCertificate], ["key-usage"], |draft, _| drop_extension(draft, oid::KEY_USAGE);
    UncriticalKeyUsage "uncritical-key-usage": "keyUsage is not critical",
        [], ["key-usage"], |draft, _| set_critical(draft, oid::KEY_USAGE, false);
    MissingEku "missing-eku": "a TLS certificate without extendedKeyUsage",
        [UnsupportedCertificate BadCertificate], ["extended-key-usage"], |draft, _| drop_extension(draft, oid::EXTENDED_KEY_USAGE);
    WrongEku "wrong-eku": "extendedKeyUsage allows code signing only",
        [UnsupportedCertificate BadCertificate], ["extended-key-usage"], |draft, _| {
            draft.template.put(extended_key_usage(true, &[oid::CODE_SIGNING])?);
            Ok(())
        };
    UncriticalEku "uncritical-eku": "extendedKeyUsage is not critical",
        [], ["extended-key-usage"], |draft, _| set_critical(draft, oid::EXTENDED_KEY_USAGE, false);
    WrongIssuer "wrong-issuer": "a sub-CA of the same name, but with another key and below another root, signed it",
        [UnknownCa BadCertificate DecryptError], ["authority-key-id.issuer" "signature.valid"], |draft, pki| {
            let root = pki.other_authority(Profile::Root, &pki.root.name, None, "other-root")?;
            let sub_ca = pki.other_authority(Profile::SubCa, &pki.sub_ca.name, Some(&root), "other-sub-ca")?;
            draft.template.put(authority_key_id(&sub_ca.public_key)?);
            draft.issuer = Some(sub_ca);
            Ok(())
        };
    BrokenSignature "broken-signature": "one bit of its signature is flipped",
        [BadCertificate DecryptError], ["signature.valid"], |draft, _| {
            draft.rework = |mut bytes| {
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
                bytes
            };
            Ok(())
        };
    Revoked "revoked": "good in itself, but meant to be on the sub-CA's list",
        [CertificateRevoked], [], |_, _| Ok(());
    OtherKey "other-key": "name and issuer are right, but the key is another than the one that is pinned or known",
        [CertificateUnknown BadCertificate AccessDenied UnknownCa], [], |draft, pki| own_key(draft, pki, "other-end-user", None);
    WrongCurve "wrong-curve": "its key is on P-256, which no end user of the PKI has",
        [UnsupportedCertificate BadCertificate], ["key.curve"], |draft, pki| own_key(draft, pki, "p256-end-user", Some(Curve::NistP256));
    UnknownCurve "unknown-curve": "its key is on secp256k1, which TR-03116-3 does not know",
        [UnsupportedCertificate BadCertificate], ["key.curve"], |draft, _| {
            draft.template.public_key = SECP256K1_GENERATOR.concat();
            Ok(())
        };
    CompressedPoint "compressed-point": "its public key is a compressed point",
        [UnsupportedCertificate BadCertificate], ["key.point"], |draft, _| {
            if let Some(key) = PublicKey::from_spki_der(&draft.template.public_key) {
                draft.template.public_key = compressed(&key)?;
            }
            Ok(())
        };
    CaLeaf "ca-leaf": "an end user's certificate says CA:TRUE",
        [BadCertificate UnknownCa UnsupportedCertificate], ["basic-constraints"], |draft, _| {
            draft.template.put(basic_constraints(true, None)?);
            Ok(())
        };
    UncriticalConstraints "uncritical-constraints": "basicConstraints is not critical",
        [], ["basic-constraints"], |draft, _| set_critical(draft, oid::BASIC_CONSTRAINTS, false);
    PathTooLong "path-too-long": "a CA below the sub-CA signed it, which the sub-CA's pathLenConstraint forbids",
        [BadCertificate UnknownCa CertificateUnknown], [], |draft, pki| {
            let name = name::with(&pki.sub_ca.name, oid::COMMON_NAME, "TooDeep.CA")?;
            let below = pki.other_authority(Profile::SubCa, &name, Some(&pki.sub_ca), "too-deep")?;
            draft.template.put(authority_key_id(&below.public_key)?);
            draft.template.issuer = name;
            draft.issuer = Some(below);
            Ok(())
        };
    UnknownCritical "unknown-critical": "it has a critical extension that nobody knows",
        [UnsupportedCertificate BadCertificate CertificateUnknown], ["extensions.known"], |draft, _| {
            draft.template.put(raw_extension(UNKNOWN_EXTENSION, true, vec![5, 0])?);
            Ok(())
        };
    DuplicateExtension "duplicate-extension": "it has issuerAltName twice",
        [BadCertificate], ["extensions.unique"], |draft, _| {
            if let Some(found) = draft.template.extension_mut(oid::ISSUER_ALT_NAME).cloned() {
                draft.template.extensions.push(found);
            }
            Ok(())
        };
    WrongRole "wrong-role": "its common name ends in a role that does not exist",
        [CertificateUnknown BadCertificate AccessDenied], ["subject.common-name"], |draft, _| rename(draft, oid::COMMON_NAME, "Nobody.FOO");
    WrongOrganization "wrong-organization": "its organisation is not that of the PKI",
        [CertificateUnknown BadCertificate AccessDenied], ["subject.organization"], |draft, _| rename(draft, oid::ORGANIZATION, "Example");
    WrongCountry "wrong-country": "its country is not DE",
        [], ["subject.country"], |draft, _| rename(draft, oid::COUNTRY, "XX");
    WrongNameSerial "wrong-name-serial": "the serialNumber of its name is no number",
        [], ["subject.serial-number"], |draft, _| rename(draft, oid::SERIAL_NUMBER, "one");
    SanOnGateway "san-on-gateway": "a gateway's certificate with subjectAltName",
        [], ["subject-alt-name"], |draft, _| {
            draft.template.put(subject_alt_name(draft.profile, &Contact::at("gateway.example"))?);
            Ok(())
        };
    MissingSan "missing-san": "a market participant's certificate without subjectAltName",
        [], ["subject-alt-name"], |draft, _| drop_extension(draft, oid::SUBJECT_ALT_NAME);
    MissingIan "missing-ian": "it has no issuerAltName",
        [], ["issuer-alt-name"], |draft, _| drop_extension(draft, oid::ISSUER_ALT_NAME);
    MissingAki "missing-aki": "it has no authorityKeyIdentifier",
        [], ["authority-key-id"], |draft, _| drop_extension(draft, oid::AUTHORITY_KEY_ID);
    CriticalAki "critical-aki": "authorityKeyIdentifier is critical",
        [], ["authority-key-id"], |draft, _| set_critical(draft, oid::AUTHORITY_KEY_ID, true);
    MissingSki "missing-ski": "it has no subjectKeyIdentifier",
        [], ["subject-key-id"], |draft, _| drop_extension(draft, oid::SUBJECT_KEY_ID);
    MissingPolicies "missing-policies": "it has no certificatePolicies",
        [], ["policies"], |draft, _| drop_extension(draft, oid::CERTIFICATE_POLICIES);
    MissingCrlPoint "missing-crl-point": "it has no cRLDistributionPoints",
        [], ["crl-points"], |draft, _| drop_extension(draft, oid::CRL_DISTRIBUTION_POINTS);
    PrivateKeyPeriod "private-key-period": "it has privateKeyUsagePeriod, which end users must not have",
        [], ["private-key-period"], |draft, _| {
            // An empty period would be malformed; this one has its notAfter.
            let period = [&[0x30, 17, 0x81, 15], b"20490101000000Z".as_slice()].concat();
            draft.template.put(raw_extension(oid::PRIVATE_KEY_USAGE_PERIOD, false, period)?);
            Ok(())
        };
    NegativeSerial "negative-serial": "its serial number is negative",
        [BadCertificate], ["serial.range"], |draft, _| serial(draft, &[0x80, 1]);
    ZeroSerial "zero-serial": "its serial number is zero",
        [], ["serial.range"], |draft, _| serial(draft, &[0]);
    LongSerial "long-serial": "its serial number has 21 bytes",
        [], ["serial.range"], |draft, _| serial(draft, &[0x42; 21]);
    WrongHash "wrong-hash": "signed with a hash that does not belong to the sub-CA's curve",
        [], ["signature.algorithm"], |draft, _| {
            draft.template.hash = Some(Hash::Sha512);
            Ok(())
        };
    AlgorithmMismatch "algorithm-mismatch": "the algorithm beside the signature is not the one inside",
        [BadCertificate], ["signature.agreement"], |draft, _| {
            draft.rework = outer_algorithm_changed;
            Ok(())
        };
    LooseLength "loose-length": "its outermost length is written longer than DER allows",
        [BadCertificate], ["der"], |draft, _| {
            draft.rework = outer_length_stretched;
            Ok(())
        };
}

impl Flaw {
    /// The flaw of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|flaw| flaw.name() == name)
    }

    /// Whether a certificate of this profile can have it.
    pub fn fits(self, profile: Profile) -> bool {
        let Profile::EndUser(role, _) = profile else {
            return false;
        };
        match self {
            Self::SanOnGateway => role.is_gateway(),
            Self::MissingSan => !role.is_gateway(),
            Self::MissingEku | Self::WrongEku | Self::UncriticalEku => profile.is_tls(),
            _ => true,
        }
    }

    /// Spoils a draft that would have become good.
    pub(crate) fn apply(self, draft: &mut Draft, pki: &TestPki) -> Result<(), PkiError> {
        if !self.fits(draft.profile) {
            return Err(PkiError::Request(format!(
                "a certificate of profile {} cannot be {self}",
                draft.profile
            )));
        }
        self.spoil()(draft, pki)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn drop_extension(draft: &mut Draft, oid: ObjectIdentifier) -> Result<(), PkiError> {
    draft.template.remove(oid);
    Ok(())
}

fn set_critical(draft: &mut Draft, oid: ObjectIdentifier, critical: bool) -> Result<(), PkiError> {
    if let Some(extension) = draft.template.extension_mut(oid) {
        extension.critical = critical;
    }
    Ok(())
}

fn serial(draft: &mut Draft, content: &[u8]) -> Result<(), PkiError> {
    draft.template.serial = Int::new(content).map_err(unencodable)?;
    Ok(())
}

/// Another value for one attribute of the subject.
fn rename(draft: &mut Draft, oid: ObjectIdentifier, text: &str) -> Result<(), PkiError> {
    draft.template.subject = name::with(&draft.template.subject, oid, text)?;
    Ok(())
}

/// A key of the PKI's own module instead of the partner's, so that somebody can use it.
fn own_key(
    draft: &mut Draft,
    pki: &TestPki,
    key: &str,
    curve: Option<Curve>,
) -> Result<(), PkiError> {
    let curve = curve.unwrap_or(pki.generation().curve(draft.profile));
    let usage = match draft.profile {
        Profile::EndUser(_, purpose) => purpose.key_usage(),
        _ => KeyUsage::Sign,
    };
    let key = KeyId(format!("{}{key}-{usage:?}", pki.key_prefix()));
    let public = pki.own_key(&key, curve, usage)?;
    draft.template.public_key = public.to_spki_der();
    draft.template.put(subject_key_id(&public)?);
    draft.key = Some(key);
    Ok(())
}

/// The same key with its point compressed: `02` or `03`, then X.
fn compressed(key: &PublicKey) -> Result<Vec<u8>, PkiError> {
    let (x, y) = key.point.split_at(1 + key.curve.field_len());
    let odd = y.last().is_some_and(|last| last & 1 == 1);
    let point = [&[2 + u8::from(odd)], x.get(1..).unwrap_or_default()].concat();
    let curve = Any::from_der(key.curve.oid_der()).map_err(unencodable)?;
    let spki = SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: oid::EC_PUBLIC_KEY,
            parameters: Some(curve),
        },
        subject_public_key: BitString::from_bytes(&point).map_err(unencodable)?,
    };
    spki.to_der().map_err(unencodable)
}

fn outer_algorithm_changed(mut bytes: Vec<u8>) -> Vec<u8> {
    let algorithm = ECDSA_WITH_SHA2;
    let at = bytes
        .windows(algorithm.len())
        .rposition(|window| window == algorithm);
    let last = at.and_then(|at| bytes.get_mut(at + algorithm.len()));
    if let Some(last) = last {
        // 2, 3 and 4 are SHA-256, SHA-384 and SHA-512.
        *last = if *last == 3 { 4 } else { 3 };
    }
    bytes
}

/// `30 82 hh ll` becomes `30 83 00 hh ll`.
fn outer_length_stretched(mut bytes: Vec<u8>) -> Vec<u8> {
    if let [0x30, length @ 0x82, ..] = bytes.as_mut_slice() {
        *length = 0x83;
        bytes.insert(2, 0);
    }
    bytes
}

/// The start of the object identifiers of ecdsa-with-SHA2, without their last byte.
const ECDSA_WITH_SHA2: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3];

/// 2.25.1: an object identifier for nothing, from the arc of UUIDs.
const UNKNOWN_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.25.1");

/// The public key whose private key is 1: the generator of secp256k1 (SEC 2 §2.4.1).
const SECP256K1_GENERATOR: [&[u8]; 3] = [
    &[
        0x30, 0x56, 0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0,
        10, 3, 0x42, 0, 4,
    ],
    &[
        0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b,
        0x07, 0x02, 0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8,
        0x17, 0x98,
    ],
    &[
        0x48, 0x3a, 0xda, 0x77, 0x26, 0xa3, 0xc4, 0x65, 0x5d, 0xa4, 0xfb, 0xfc, 0x0e, 0x11, 0x08,
        0xa8, 0xfd, 0x17, 0xb4, 0x48, 0xa6, 0x85, 0x54, 0x19, 0x9c, 0x47, 0xd0, 0x8f, 0xfb, 0x10,
        0xd4, 0xb8,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for flaw in Flaw::ALL {
            assert_eq!(Flaw::named(flaw.name()), Some(*flaw));
        }
    }
}
