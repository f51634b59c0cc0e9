// SPDX-License-Identifier: MIT OR Apache-2.0
//! The extensions by profile (TR-03109-4 table 18): present, critical, content.

use der::asn1::ObjectIdentifier;
use der::flagset::FlagSet;
use der::oid::AssociatedOid;
use der::{Decode, Encode};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, CrlDistributionPoints,
    ExtendedKeyUsage, IssuerAltName, KeyUsage, KeyUsages, PrivateKeyUsagePeriod, SubjectAltName,
    SubjectKeyIdentifier,
};

use super::Breaches;
use super::examined::Examined;
use crate::draft::usages;
use crate::template::content_of;
use crate::{Profile, oid};

/// Whether a profile has an extension.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Presence {
    Must,
    May,
    MustNot,
}
use Presence::{May, Must, MustNot};

/// One extension: its type, criticality, where it belongs, and whether its bytes are its one encoding.
struct Known {
    oid: ObjectIdentifier,
    name: &'static str,
    critical: bool,
    presence: fn(Profile) -> Presence,
    is_der: fn(&[u8]) -> bool,
}

/// All extensions of the PKI.
const KNOWN: [Known; 10] = [
    known::<AuthorityKeyIdentifier>("authorityKeyIdentifier", false, |profile| match profile {
        Profile::Root => May,
        _ => Must,
    }),
    known::<SubjectKeyIdentifier>("subjectKeyIdentifier", false, |_| Must),
    known::<KeyUsage>("keyUsage", true, |_| Must),
    known::<PrivateKeyUsagePeriod>("privateKeyUsagePeriod", false, |profile| match profile {
        Profile::EndUser(..) => MustNot,
        _ => May,
    }),
    known::<CertificatePolicies>("certificatePolicies", false, |_| Must),
    known::<SubjectAltName>("subjectAltName", false, |profile| match profile {
        Profile::EndUser(role, _) if role.is_gateway() => MustNot,
        Profile::EndUser(..) => Must,
        _ => May,
    }),
    known::<IssuerAltName>("issuerAltName", false, issued),
    known::<BasicConstraints>("basicConstraints", true, |_| Must),
    known::<ExtendedKeyUsage>("extendedKeyUsage", true, |profile| {
        if profile.is_tls() { Must } else { MustNot }
    }),
    known::<CrlDistributionPoints>("cRLDistributionPoints", false, issued),
];

const fn known<T: AssociatedOid + for<'b> Decode<'b> + Encode>(
    name: &'static str,
    critical: bool,
    presence: fn(Profile) -> Presence,
) -> Known {
    Known {
        oid: T::OID,
        name,
        critical,
        presence,
        is_der: |bytes| {
            T::from_der(bytes)
                .ok()
                .and_then(|content| content.to_der().ok())
                .is_some_and(|der| der == bytes)
        },
    }
}

/// What sub-CAs and end users must have, and authorities of the root may.
fn issued(profile: Profile) -> Presence {
    match profile {
        Profile::SubCa | Profile::EndUser(..) => Must,
        _ => May,
    }
}

/// Extensions whose content is not the DER encoding of anything.
pub(crate) fn loose(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    for known in &KNOWN {
        for found in examined.extensions() {
            if found.extn_id == known.oid && !(known.is_der)(found.extn_value.as_bytes()) {
                breaches.add(known.name, "its content is not encoded in DER");
            }
        }
    }
}

/// Critical extensions that nobody knows.
pub(crate) fn unknown(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let is_known = |oid| KNOWN.iter().any(|known| known.oid == oid);
    for found in examined.extensions() {
        if found.critical && !is_known(found.extn_id) {
            breaches.add(
                format!("extension {}", found.extn_id),
                "it is critical and not known",
            );
        }
    }
}

/// Presence and criticality.
fn shape(oid: ObjectIdentifier, examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let Some(known) = KNOWN.iter().find(|known| known.oid == oid) else {
        return;
    };
    let Some(profile) = examined.pki_profile() else {
        return;
    };
    match (examined.extension(oid), (known.presence)(profile)) {
        (None, Must) => breaches.add(known.name, format!("missing, and {profile} must have it")),
        (Some(_), MustNot) => {
            breaches.add(
                known.name,
                format!("present, and {profile} must not have it"),
            );
        }
        (Some(found), _) if found.critical != known.critical => breaches.add(
            known.name,
            match found.critical {
                true => "critical, and must not be",
                false => "not critical, and must be",
            },
        ),
        _ => {}
    }
}

pub(crate) fn authority_key_id(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    shape(oid::AUTHORITY_KEY_ID, examined, breaches);
    let content = examined.content::<AuthorityKeyIdentifier>();
    if content.is_some_and(|content| content.key_identifier.is_none()) {
        breaches.add("authorityKeyIdentifier", "it has no keyIdentifier");
    }
}

/// The authority's key identifier is that of the issuer's certificate.
pub(crate) fn authority_key_id_of_issuer(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let issuer = examined
        .issuer
        .as_ref()
        .and_then(|issuer| issuer.tbs_certificate().extensions());
    let there = issuer.and_then(|extensions| content_of::<SubjectKeyIdentifier>(extensions));
    let here = examined
        .content::<AuthorityKeyIdentifier>()
        .and_then(|content| content.key_identifier);
    if let (Some(here), Some(there)) = (here, there)
        && here != there.0
    {
        breaches.add(
            "authorityKeyIdentifier",
            "it is not the subjectKeyIdentifier of the issuer",
        );
    }
}

pub(crate) fn subject_key_id(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    shape(oid::SUBJECT_KEY_ID, examined, breaches);
}

pub(crate) fn key_usage(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    shape(oid::KEY_USAGE, examined, breaches);
    let (Some(profile), Some(found)) = (examined.profile, examined.content::<KeyUsage>()) else {
        return;
    };
    let expected = usages(profile);
    let fits = match profile {
        // Self-signed certificates may allow more, and need not say anything.
        Profile::SelfSigned => found.0.contains(KeyUsages::DigitalSignature),
        _ => found.0 == expected,
    };
    if !fits {
        breaches.add(
            "keyUsage",
            format!(
                "it allows {}, where {profile} has {}",
                list(found.0),
                list(expected)
            ),
        );
    }
}

fn list(usages: FlagSet<KeyUsages>) -> String {
    let names: Vec<_> = usages
        .into_iter()
        .map(|usage| match usage {
            KeyUsages::DigitalSignature => "digitalSignature",
            KeyUsages::NonRepudiation => "nonRepudiation",
            KeyUsages::KeyEncipherment => "keyEncipherment",
            KeyUsages::DataEncipherment => "dataEncipherment",
            KeyUsages::KeyAgreement => "keyAgreement",
            KeyUsages::KeyCertSign => "keyCertSign",
            KeyUsages::CRLSign => "cRLSign",
            KeyUsages::EncipherOnly => "encipherOnly",
            KeyUsages::DecipherOnly => "decipherOnly",
        })
        .collect();
    match names.is_empty() {
        true => "nothing".into(),
        false => names.join(", "),
    }
}

pub(crate) fn private_key_period(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    shape(oid::PRIVATE_KEY_USAGE_PERIOD, examined, breaches);
}

pub(crate) fn policies(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    shape(oid::CERTIFICATE_POLICIES, examined, breaches);
    let (Some(profile), Some(found)) = (
        examined.pki_profile(),
        examined.content::<CertificatePolicies>(),
    ) else {
        return;
    };
    let has = found
        .0
        .iter()
        .any(|policy| policy.policy_identifier == oid::SM_PKI_POLICY);
    // Sub-CAs in use put policies of their own into the certificates of end users.
    if !has && !matches!(profile, Profile::EndUser(..)) {
        breaches.add(
            "certificatePolicies",
            format!("the policy {} is missing", oid::SM_PKI_POLICY),
        );
    }
}

pub(crate) fn subject_alt_name(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    shape(oid::SUBJECT_ALT_NAME, examined, breaches);
}

pub(crate) fn issuer_alt_name(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    shape(oid::ISSUER_ALT_NAME, examined, breaches);
}

pub(crate) fn basic_constraints(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    shape(oid::BASIC_CONSTRAINTS, examined, breaches);
    let (Some(profile), Some(found)) = (examined.profile, examined.content::<BasicConstraints>())
    else {
        return;
    };
    let at = "basicConstraints";
    if found.ca != profile.is_ca() {
        breaches.add(
            at,
            match found.ca {
                true => format!("it says CA:TRUE, and {profile} is no authority"),
                false => format!("it says CA:FALSE, and {profile} is an authority"),
            },
        );
    } else if profile == Profile::SubCa && found.path_len_constraint != Some(0) {
        breaches.add(at, "the pathLenConstraint of a sub-CA is 0");
    }
}

pub(crate) fn extended_key_usage(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    shape(oid::EXTENDED_KEY_USAGE, examined, breaches);
    let tls = examined.profile.is_some_and(Profile::is_tls);
    let found = examined.content::<ExtendedKeyUsage>();
    if let Some(found) = found.filter(|_| tls) {
        for (purpose, name) in [
            (oid::SERVER_AUTH, "serverAuth"),
            (oid::CLIENT_AUTH, "clientAuth"),
        ] {
            if !found.0.contains(&purpose) {
                breaches.add("extendedKeyUsage", format!("{name} is missing"));
            }
        }
    }
}

pub(crate) fn crl_points(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    shape(oid::CRL_DISTRIBUTION_POINTS, examined, breaches);
    let found = examined.content::<CrlDistributionPoints>();
    if found.is_some_and(|found| {
        found
            .0
            .iter()
            .all(|point| point.distribution_point.is_none())
    }) {
        breaches.add("cRLDistributionPoints", "it says no place");
    }
}
