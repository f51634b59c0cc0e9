// SPDX-License-Identifier: MIT OR Apache-2.0
//! The linter over good certificates, bad ones, and those of other tools.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::openssl::openssl;
use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_pki::{
    CertificateRequest, Expectation, Flaw, Generation, Issued, Partner, Profile, Purpose, RULES,
    Report, Role, Setting, TestPki, key_name, lint, read_pem_file, self_signed,
};
use hsm_soft::SoftModule;
use rustls_pki_types::CertificateDer;

fn pki(generation: Generation) -> (Arc<SoftModule>, TestPki) {
    let module = Arc::new(SoftModule::new());
    let pki = TestPki::new(module.clone(), Setting::new(generation)).unwrap();
    (module, pki)
}

/// Everything that can be expected, with the issuer the chain names.
fn lint_all(pki: &TestPki, issued: &Issued, profile: Profile) -> Report {
    let issuer = issued.chain.get(1).unwrap_or(pki.root().certificate());
    lint(
        issued.certificate(),
        &Expectation {
            profile: Some(profile),
            generation: Some(pki.generation()),
            time: Some(pki.made_at()),
            issuer: Some(issuer),
            verifier: Some(pki.module()),
        },
    )
}

fn rules(report: &Report) -> BTreeSet<&'static str> {
    report.findings.iter().map(|finding| finding.rule).collect()
}

#[test]
fn good_certificates_are_clean_and_tell_their_profile() {
    for generation in Generation::ALL {
        let (module, pki) = pki(generation);
        let mut all: Vec<_> = pki.authorities().cloned().collect();
        for role in Role::ALL {
            let partner = Partner::new(role, format!("{}x", role.name()));
            all.extend(pki.issue(&partner, &*module).unwrap().iter().cloned());
        }
        assert_eq!(all.len(), 5 + 15);
        for issued in all {
            let report = lint_all(&pki, &issued, issued.profile);
            assert!(
                report.findings.is_empty(),
                "{}: {:?}",
                issued.profile,
                report.findings
            );
            // Both kinds of gateway certificates look the same; the one valid for longer is assumed.
            let detected = match issued.profile {
                Profile::EndUser(Role::SmgwW, purpose) => Profile::EndUser(Role::SmgwG, purpose),
                other => other,
            };
            let report = lint(issued.certificate(), &Expectation::default());
            assert_eq!(report.profile, Some(detected));
            assert!(
                report.findings.is_empty(),
                "{}: {:?}",
                issued.profile,
                report.findings
            );
        }
    }
}

#[test]
fn a_flaw_breaks_its_rules_and_no_other() {
    let mut broken = BTreeSet::new();
    let (module, pki) = pki(Generation::Second);
    for role in Role::ALL {
        let partner = Partner::new(role, "Flawed");
        for purpose in Purpose::ALL {
            let profile = Profile::EndUser(role, purpose);
            let key = KeyId(format!("{role:?}{}", key_name(&partner, purpose)));
            let public = module
                .generate_key(&key, Curve::BrainpoolP256r1, purpose.key_usage())
                .unwrap();
            for flaw in Flaw::ALL.iter().filter(|flaw| flaw.fits(profile)) {
                let issued = pki
                    .certify_flawed(&partner, purpose, key.clone(), &public, *flaw)
                    .unwrap();
                // A chain that leads to another root is held against the sub-CA that is known.
                let known = Issued {
                    chain: match flaw {
                        Flaw::WrongIssuer => vec![
                            issued.certificate().clone(),
                            pki.sub_ca().certificate().clone(),
                        ],
                        _ => issued.chain.clone(),
                    },
                    ..issued
                };
                let report = lint_all(&pki, &known, profile);
                let expected: BTreeSet<_> = flaw.rules().iter().copied().collect();
                assert_eq!(
                    rules(&report),
                    expected,
                    "{profile} {flaw}: {:?}",
                    report.findings
                );
                broken.extend(expected);
            }
        }
    }
    // The others are broken by certificates of other tools, below.
    let all: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    let others: Vec<_> = all.difference(&broken).copied().collect();
    assert_eq!(others, ["issuer.name", "profile", "version"]);
}

#[test]
fn authorities_are_held_against_their_own_profiles() {
    let (_, pki) = pki(Generation::First);
    for (issued, profile, expected) in [
        (
            pki.sub_ca(),
            Profile::Root,
            &["key.curve", "subject.common-name", "issuer.name"][..],
        ),
        (
            pki.root(),
            Profile::SubCa,
            &[
                "basic-constraints",
                "crl-points",
                "key.curve",
                "validity.length",
            ],
        ),
        (
            pki.crl_signer(),
            Profile::SubCa,
            &["basic-constraints", "crl-points", "key-usage"],
        ),
    ] {
        let report = lint(
            issued.certificate(),
            &Expectation {
                profile: Some(profile),
                generation: Some(Generation::First),
                issuer: Some(issued.certificate()),
                ..Expectation::default()
            },
        );
        for rule in expected {
            assert!(
                rules(&report).contains(rule),
                "{profile} {rule}: {:?}",
                report.findings
            );
        }
    }
    // The wrong generation is noticed by curve and hash.
    let report = lint(
        pki.sub_ca().certificate(),
        &Expectation {
            generation: Some(Generation::Second),
            ..Expectation::default()
        },
    );
    assert_eq!(
        rules(&report),
        BTreeSet::from(["key.curve", "signature.algorithm"])
    );
}

#[test]
fn self_signed_certificates_of_han_and_lmn_are_clean_up_to_seven_years() {
    let module = SoftModule::new();
    for curve in Curve::ALL {
        let key = KeyId(curve.to_string());
        module.generate_key(&key, curve, KeyUsage::Sign).unwrap();
        let request = CertificateRequest::new("esmb0012345678.smgw");
        let certificate = self_signed(&module, &key, &request).unwrap();
        let expectation = Expectation {
            time: Some(SystemTime::now()),
            issuer: Some(&certificate),
            verifier: Some(&module),
            ..Expectation::default()
        };
        let report = lint(&certificate, &expectation);
        assert_eq!(report.profile, Some(Profile::SelfSigned));
        assert!(report.findings.is_empty(), "{curve}: {:?}", report.findings);

        let start = request.not_before;
        let long = request.valid(start, start + Duration::from_secs(8 * 365 * 86_400));
        let certificate = self_signed(&module, &key, &long).unwrap();
        let report = lint(&certificate, &Expectation::default());
        assert_eq!(rules(&report), BTreeSet::from(["validity.length"]));
    }
}

/// A certificate made by OpenSSL with these arguments; None without OpenSSL.
fn foreign(
    folder: &Path,
    curve: &[&str],
    subject: &str,
    more: &[&str],
) -> Option<CertificateDer<'static>> {
    let (key, file) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let (key, file) = (key.to_str().unwrap(), file.to_str().unwrap());
    let mut args = vec!["ecparam", "-genkey", "-noout", "-out", key, "-name"];
    args.extend(curve);
    let (good, said) = openssl(&args)?;
    assert!(good, "{said}");
    let mut args = vec![
        "req", "-new", "-x509", "-key", key, "-out", file, "-subj", subject,
    ];
    args.extend(more);
    let (good, said) = openssl(&args)?;
    assert!(good, "{said}");
    Some(read_pem_file(Path::new(file)).unwrap())
}

#[test]
fn certificates_of_openssl_are_judged_too() {
    let folder = tempfile::tempdir().unwrap();
    let lint_default = |certificate| lint(&certificate, &Expectation::default());
    let leaf = [
        "-days",
        "700",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    let Some(good) = foreign(folder.path(), &["brainpoolP256r1"], "/CN=meter", &leaf) else {
        return;
    };
    let report = lint_default(good);
    // OpenSSL adds the constraint of its own configuration beside ours, or not, by version.
    assert_eq!(report.profile, Some(Profile::SelfSigned));
    assert!(
        rules(&report).is_subset(&BTreeSet::from(["basic-constraints", "extensions.unique"])),
        "{:?}",
        report.findings
    );
    for (curve, subject, expected) in [
        (&["secp521r1"][..], "/CN=meter", &["key.curve"][..]),
        (
            &["brainpoolP256r1", "-param_enc", "explicit"],
            "/CN=meter",
            &["key.curve"],
        ),
        (&["brainpoolP384r1"], "/CN=meter", &["signature.algorithm"]),
        (&["brainpoolP384r1"], "/O=nobody", &["profile"]),
        (
            &["brainpoolP384r1"],
            "/O=SM-Test-PKI-DE/CN=SM-Test-Root.CA",
            &[
                "subject.country",
                "subject.serial-number",
                "policies",
                "key-usage",
            ],
        ),
    ] {
        let made = foreign(folder.path(), curve, subject, &["-sha256"]).unwrap();
        let report = lint_default(made);
        for rule in expected {
            assert!(
                rules(&report).contains(rule),
                "{subject} {rule}: {:?}",
                report.findings
            );
        }
    }
    // A request signed by `openssl x509` without extensions becomes a certificate of version 1.
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let args = [
        "req",
        "-new",
        "-key",
        &at("key.pem"),
        "-subj",
        "/CN=x.EMT",
        "-out",
        &at("r"),
    ];
    openssl(&args).unwrap();
    let args = [
        "x509",
        "-req",
        "-in",
        &at("r"),
        "-CA",
        &at("certificate.pem"),
        "-CAkey",
        &at("key.pem"),
        "-CAcreateserial",
        "-out",
        &at("v1.pem"),
    ];
    openssl(&args).unwrap();
    let old = read_pem_file(Path::new(&at("v1.pem"))).unwrap();
    assert!(rules(&lint_default(old)).contains("version"));
}

#[test]
fn findings_read_well_and_become_json() {
    let (module, pki) = pki(Generation::First);
    let partner = Partner::new(Role::SmgwW, "EXXX0012345678");
    let key = key_name(&partner, Purpose::Tls);
    let public = module
        .generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)
        .unwrap();
    let flawed = pki
        .certify_flawed(&partner, Purpose::Tls, key, &public, Flaw::SanOnGateway)
        .unwrap();
    let report = lint(flawed.certificate(), &Expectation::default());
    assert!(!report.passed());
    let said: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "error: subjectAltName: present, and SMGW-G/TLS must not have it [subject-alt-name; TR-03109-4 table 18]"
        ]
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["profile"], "SMGW-G/TLS");
    assert_eq!(json["findings"][0]["rule"], "subject-alt-name");
    assert_eq!(json["findings"][0]["severity"], "error");
    assert_eq!(json["findings"][0]["confidence"], "verified");
    let report = lint(
        &CertificateDer::from(&b"no certificate"[..]),
        &Expectation::default(),
    );
    assert_eq!(rules(&report), BTreeSet::from(["der"]));
}

#[test]
fn certificates_in_use_are_clean() {
    let Some(folder) = test_material::corpus("sm-pki-certificates") else {
        return;
    };
    for (name, path) in test_material::files(&folder, "der") {
        let certificate = CertificateDer::from(std::fs::read(path).unwrap());
        let report = lint(&certificate, &Expectation::default());
        assert!(report.profile.is_some(), "{name}");
        assert!(report.findings.is_empty(), "{name}: {:?}", report.findings);
    }
}
