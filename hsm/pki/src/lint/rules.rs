// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules in the order they are applied; the encoding comes first.

use std::collections::BTreeSet;

use der::Encode;
use hsm_api::Hash;
use x509_cert::Version;
use x509_cert::time::Time;

use super::examined::{Examined, key_of, role_of};
use super::{Breaches, Rule, extensions};
use crate::Confidence::{Assumed, Verified};
use crate::name::{text, texts};
use crate::signing;
use crate::{Profile, oid};

/// All rules.
pub const RULES: &[Rule] = &[
    Rule {
        id: "der",
        clause: "RFC 5280 §4.1; X.690 §10, §11",
        confidence: Verified,
        demand: "everything is encoded in DER, with one way to write each value",
        check: der,
    },
    Rule {
        id: "profile",
        clause: "TR-03109-4 annex A",
        confidence: Verified,
        demand: "name and usage tell which profile it is of",
        check: profile,
    },
    Rule {
        id: "version",
        clause: "RFC 5280 §4.1.2.1",
        confidence: Verified,
        demand: "the version is 3",
        check: version,
    },
    Rule {
        id: "serial.range",
        clause: "RFC 5280 §4.1.2.2",
        confidence: Verified,
        demand: "the serial number is positive and has at most 20 bytes",
        check: serial,
    },
    Rule {
        id: "signature.agreement",
        clause: "RFC 5280 §4.1.1.2",
        confidence: Verified,
        demand: "the algorithm beside the signature is the one inside",
        check: signature_agreement,
    },
    Rule {
        id: "signature.algorithm",
        clause: "TR-03116-3 §3, table 5",
        confidence: Verified,
        demand: "ECDSA with the hash of the issuer's generation: SHA-384, 256 below the first root, SHA-512, 384 below the second",
        check: signature_algorithm,
    },
    Rule {
        id: "signature.valid",
        clause: "RFC 5280 §6.1.3",
        confidence: Verified,
        demand: "the issuer's key made the signature",
        check: signature_valid,
    },
    Rule {
        id: "issuer.name",
        clause: "RFC 5280 §6.1.3",
        confidence: Verified,
        demand: "the issuer is the subject of the issuer's certificate; a root's is its own",
        check: issuer_name,
    },
    Rule {
        id: "validity.order",
        clause: "RFC 5280 §4.1.2.5",
        confidence: Verified,
        demand: "the validity begins before it ends",
        check: validity_order,
    },
    Rule {
        id: "validity.length",
        clause: "TR-03109-4 §2; TR-03116-3 §6.3",
        confidence: Verified,
        demand: "it is valid no longer than its profile allows",
        check: validity_length,
    },
    Rule {
        id: "validity.now",
        clause: "RFC 5280 §6.1.3",
        confidence: Verified,
        demand: "it is valid at the time in question",
        check: validity_now,
    },
    Rule {
        id: "subject.common-name",
        clause: "TR-03109-4 annex A",
        confidence: Verified,
        demand: "one common name in the form of its profile: NAME.ROLE, NAME.ROLE.SUFFIX, NAME.CA, SM-Root.CA, …",
        check: common_name,
    },
    Rule {
        id: "subject.organization",
        clause: "TR-03109-4 annex A",
        confidence: Verified,
        demand: "one organisation, SM-PKI-DE or SM-Test-PKI-DE, and the issuer's",
        check: organization,
    },
    Rule {
        id: "subject.country",
        clause: "TR-03109-4 annex A",
        confidence: Verified,
        demand: "one country; DE for the root and end users",
        check: country,
    },
    Rule {
        id: "subject.serial-number",
        clause: "TR-03109-4 annex A",
        confidence: Verified,
        demand: "one serialNumber of digits; the CRL signer has none",
        check: name_serial,
    },
    Rule {
        id: "key.curve",
        clause: "TR-03116-3 tables 4, 5, 6",
        confidence: Verified,
        demand: "the key is on the named curve of its profile and generation; self-signed ones use any of table 4",
        check: key_curve,
    },
    Rule {
        id: "key.point",
        clause: "TR-03116-3 §2; RFC 5480 §2.2",
        confidence: Verified,
        demand: "the public key is an uncompressed point of the curve's length",
        check: key_point,
    },
    Rule {
        id: "extensions.unique",
        clause: "RFC 5280 §4.2",
        confidence: Verified,
        demand: "no extension is there twice",
        check: unique,
    },
    Rule {
        id: "extensions.known",
        clause: "RFC 5280 §4.2",
        confidence: Verified,
        demand: "no unknown extension is critical",
        check: extensions::unknown,
    },
    Rule {
        id: "authority-key-id",
        clause: "TR-03109-4 table 18",
        confidence: Verified,
        demand: "authorityKeyIdentifier with a keyIdentifier, not critical; a root may lack it",
        check: extensions::authority_key_id,
    },
    Rule {
        id: "authority-key-id.issuer",
        clause: "RFC 5280 §4.2.1.1",
        confidence: Verified,
        demand: "authorityKeyIdentifier is the subjectKeyIdentifier of the issuer",
        check: extensions::authority_key_id_of_issuer,
    },
    Rule {
        id: "subject-key-id",
        clause: "TR-03109-4 table 18",
        confidence: Verified,
        demand: "subjectKeyIdentifier, not critical",
        check: extensions::subject_key_id,
    },
    Rule {
        id: "key-usage",
        clause: "TR-03109-4 table 18",
        confidence: Verified,
        demand: "keyUsage, critical: digitalSignature for SIG and TLS, keyEncipherment and keyAgreement for ENC, keyCertSign and cRLSign for authorities as they need",
        check: extensions::key_usage,
    },
    Rule {
        id: "private-key-period",
        clause: "TR-03109-4 table 18",
        confidence: Verified,
        demand: "no privateKeyUsagePeriod at end users; elsewhere not critical",
        check: extensions::private_key_period,
    },
    Rule {
        id: "policies",
        clause: "TR-03109-4 table 18",
        confidence: Verified,
        demand: "certificatePolicies, not critical; authorities name 0.4.0.127.0.7.3.4.1.1.1",
        check: extensions::policies,
    },
    Rule {
        id: "subject-alt-name",
        clause: "TR-03109-4 table 18",
        confidence: Verified,
        demand: "subjectAltName, not critical, at GWA, GWH and EMT; none at gateways",
        check: extensions::subject_alt_name,
    },
    Rule {
        id: "issuer-alt-name",
        clause: "TR-03109-4 table 18",
        confidence: Verified,
        demand: "issuerAltName, not critical, at sub-CAs and end users",
        check: extensions::issuer_alt_name,
    },
    Rule {
        id: "basic-constraints",
        clause: "TR-03109-4 table 18",
        confidence: Verified,
        demand: "basicConstraints, critical: CA:TRUE at authorities only, with path length 0 at sub-CAs",
        check: extensions::basic_constraints,
    },
    Rule {
        id: "extended-key-usage",
        clause: "TR-03109-4 table 18",
        confidence: Verified,
        demand: "extendedKeyUsage, critical, with serverAuth and clientAuth at TLS certificates; none at others",
        check: extensions::extended_key_usage,
    },
    Rule {
        id: "crl-points",
        clause: "TR-03109-4 table 18",
        confidence: Verified,
        demand: "cRLDistributionPoints with a place, not critical, at sub-CAs and end users",
        check: extensions::crl_points,
    },
];

fn der(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    if !examined.is_der {
        breaches.add("certificate", "it is BER, or DER with superfluous parts");
    }
    let validity = examined.tbs().validity();
    for (at, time) in [
        ("notBefore", validity.not_before),
        ("notAfter", validity.not_after),
    ] {
        if matches!(time, Time::GeneralTime(time) if time.to_date_time().year() < 2050) {
            breaches.add(at, "a GeneralizedTime before 2050, where UTCTime belongs");
        }
    }
    extensions::loose(examined, breaches);
}

fn profile(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    if examined.profile.is_none() {
        breaches.add(
            "subject",
            "neither name nor usage tell a profile of the PKI",
        );
    }
}

fn version(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    if examined.tbs().version() != Version::V3 {
        breaches.add("version", "it is not 3");
    }
}

fn serial(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let content = examined.tbs().serial_number().to_der().unwrap_or_default();
    // Tag and length take two bytes, as long as a serial number is anything like allowed.
    let what = match content.get(2..) {
        Some([first, ..]) if *first >= 0x80 && content.len() < 0x80 => "it is negative",
        Some([0]) => "it is zero",
        Some(content) if content.len() > 20 => "it has more than 20 bytes",
        _ => return,
    };
    breaches.add("serialNumber", what);
}

fn signature_agreement(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    if examined.certificate.signature_algorithm() != examined.tbs().signature() {
        breaches.add(
            "signatureAlgorithm",
            "it is not the algorithm of tbsCertificate",
        );
    }
}

fn signature_algorithm(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let Some(profile) = examined.profile else {
        return;
    };
    let found = examined.tbs().signature();
    let hash = signing::hash_of(&found.oid);
    let allowed: Vec<_> = match profile {
        // Each is its own issuer, on whatever curve.
        Profile::SelfSigned => examined.curve().map(Hash::of).into_iter().collect(),
        _ => examined
            .generations
            .iter()
            .map(|generation| Hash::of(generation.curve(profile.issuer())))
            .collect(),
    };
    let at = "signature";
    match hash {
        None => breaches.add(at, format!("{} is not ECDSA with SHA-2", found.oid)),
        Some(_) if found.parameters.is_some() => breaches.add(at, "it has parameters"),
        Some(hash) if !allowed.contains(&hash) => {
            breaches.add(
                at,
                format!("{hash:?} does not belong to the issuer's curve"),
            );
        }
        Some(_) => {}
    }
}

fn signature_valid(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let (Some(issuer), Some(verifier)) = (&examined.issuer, examined.expectation.verifier) else {
        return;
    };
    let at = "signatureValue";
    let Some(key) = key_of(issuer) else {
        breaches.add(at, "the issuer has no key that could have made it");
        return;
    };
    let Ok(message) = examined.tbs().to_der() else {
        return;
    };
    let signature = examined.certificate.signature().raw_bytes();
    let algorithm = &examined.tbs().signature().oid;
    match signing::verify(verifier, &key, algorithm, &message, signature) {
        Ok(true) => {}
        Ok(false) => breaches.add(at, "it is not the issuer's signature"),
        Err(error) => breaches.add_sure(Assumed, at, format!("it cannot be verified: {error}")),
    }
}

fn issuer_name(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let found = examined.tbs().issuer();
    let wrong = match (&examined.issuer, examined.profile) {
        (Some(issuer), _) => found != issuer.tbs_certificate().subject(),
        (None, Some(Profile::SelfSigned)) => found != examined.tbs().subject(),
        _ => false,
    };
    if wrong {
        breaches.add(
            "issuer",
            "it is not the subject of the issuer's certificate",
        );
    }
}

fn validity_order(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    if examined.not_after() < examined.not_before() {
        breaches.add("validity", "it ends before it begins");
    }
}

fn validity_length(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let length = examined.not_after().duration_since(examined.not_before());
    let (Some(profile), Ok(length)) = (examined.profile, length) else {
        return;
    };
    let lifetime = profile.lifetime();
    if length > lifetime.longest() {
        let days = length.as_secs() / 86_400;
        breaches.add_sure(
            lifetime.confidence,
            "validity",
            format!(
                "{days} days, where {profile} has at most {} years ({})",
                lifetime.years, lifetime.source
            ),
        );
    }
}

fn validity_now(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let Some(time) = examined.expectation.time else {
        return;
    };
    let (start, end) = (examined.not_before(), examined.not_after());
    if start <= end && time < start {
        breaches.add("notBefore", "it is not valid yet");
    } else if start <= end && end < time {
        breaches.add("notAfter", "it has expired");
    }
}

fn common_name(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let Some(profile) = examined.pki_profile() else {
        return;
    };
    let at = "subject commonName";
    let Some(name) = text(examined.tbs().subject(), oid::COMMON_NAME) else {
        breaches.add(at, "there is not exactly one");
        return;
    };
    let of_root = |end: &str| {
        ["SM-Root.CA", "SM-Test-Root.CA"]
            .iter()
            .any(|root| name.strip_prefix(root).is_some_and(|rest| rest == end))
    };
    let (fits, form) = match profile {
        Profile::Root => (of_root(""), "SM-Root.CA"),
        Profile::RootCrlSigner => (of_root(".CRL-S"), "SM-Root.CA.CRL-S"),
        Profile::RootTlsSigner => (of_root(".TLS-S"), "SM-Root.CA.TLS-S"),
        Profile::RootTls => (of_root(".TLS"), "SM-Root.CA.TLS"),
        Profile::EndUser(role, _) => (
            role_of(&name).is_some_and(|found| found.tag() == role.tag()),
            role.tag(),
        ),
        _ => (name.len() > 3 && name.ends_with(".CA"), "NAME.CA"),
    };
    if !fits {
        breaches.add(
            at,
            format!("\"{name}\" is not in the form of {profile} ({form})"),
        );
    }
}

fn organization(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    if examined.pki_profile().is_none() {
        return;
    }
    let at = "subject organizationName";
    let found = text(examined.tbs().subject(), oid::ORGANIZATION);
    match found.as_deref() {
        None => breaches.add(at, "there is not exactly one"),
        Some("SM-PKI-DE" | "SM-Test-PKI-DE") => {
            if found != text(examined.tbs().issuer(), oid::ORGANIZATION) {
                breaches.add(at, "it is not the organisation of the issuer");
            }
        }
        Some(other) => breaches.add(at, format!("\"{other}\" is not the PKI")),
    }
}

fn country(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let Some(profile) = examined.pki_profile() else {
        return;
    };
    let at = "subject countryName";
    match text(examined.tbs().subject(), oid::COUNTRY).as_deref() {
        None => breaches.add(at, "there is not exactly one"),
        // A sub-CA may be at home elsewhere.
        Some("DE") => {}
        Some(_) if profile == Profile::SubCa => {}
        Some(other) => breaches.add(at, format!("\"{other}\" is not DE")),
    }
}

fn name_serial(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let Some(profile) = examined.pki_profile() else {
        return;
    };
    let at = "subject serialNumber";
    let found = texts(examined.tbs().subject(), oid::SERIAL_NUMBER);
    match found.as_slice() {
        [] if profile == Profile::RootCrlSigner => {}
        [digits] if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) => {}
        [other] => breaches.add(at, format!("\"{other}\" is no number")),
        _ => breaches.add(at, "there is not exactly one"),
    }
}

fn key_curve(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let at = "subjectPublicKeyInfo";
    let Some(curve) = examined.curve() else {
        breaches.add(at, "the key is on no named curve of TR-03116-3");
        return;
    };
    let Some(profile) = examined.pki_profile() else {
        return;
    };
    let mut allowed = examined.generations.iter();
    if !allowed.any(|generation| generation.curve(profile) == curve) {
        breaches.add(at, format!("{profile} has no key on {curve}"));
    }
}

fn key_point(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let point = &examined.tbs().subject_public_key_info().subject_public_key;
    let right = match (examined.curve(), point.raw_bytes()) {
        (Some(curve), [4, coordinates @ ..]) => coordinates.len() == 2 * curve.field_len(),
        (None, [4, ..]) => true,
        _ => false,
    };
    if !right {
        breaches.add(
            "subjectPublicKey",
            "it is not an uncompressed point of its curve",
        );
    }
}

fn unique(examined: &Examined<'_>, breaches: &mut Breaches<'_>) {
    let mut seen = BTreeSet::new();
    for extension in examined.extensions() {
        if !seen.insert(extension.extn_id) {
            breaches.add(
                format!("extension {}", extension.extn_id),
                "it is there again",
            );
        }
    }
}
