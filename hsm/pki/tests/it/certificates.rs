// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates as foreign tools see them.

use std::path::Path;
use std::time::{Duration, SystemTime};

use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_pki::{
    CertificateRequest, PkiError, fingerprint_sha256, from_pem, read_pem_file, self_signed, to_pem,
};
use hsm_soft::SoftModule;
use proptest::prelude::*;
use rustls_pki_types::CertificateDer;

fn module_with(keys: &[&str]) -> SoftModule {
    let module = SoftModule::new();
    for key in keys {
        module
            .generate_key(&KeyId::from(*key), Curve::BrainpoolP256r1, KeyUsage::Sign)
            .unwrap();
    }
    module
}

fn gateway(module: &SoftModule) -> CertificateDer<'static> {
    let request = CertificateRequest {
        organization: Some("SM-Test-PKI-DE".into()),
        country: Some("DE".into()),
        serial: Some(4711),
        ..CertificateRequest::new("esmb0012345678.smgw").with_dns_name("gateway.example")
    };
    self_signed(module, &KeyId::from("gw-tls"), &request).unwrap()
}

fn openssl(args: &[&str], file: &Path) -> Option<(bool, String)> {
    let file = file.to_str().unwrap();
    crate::openssl::openssl(&[args, &[file]].concat())
}

#[test]
fn openssl_reads_and_verifies_our_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.pem");
    let certificate = gateway(&module_with(&["gw-tls"]));
    std::fs::write(&file, to_pem(&certificate)).unwrap();

    let Some((good, text)) = openssl(
        &["x509", "-noout", "-text", "-fingerprint", "-sha256", "-in"],
        &file,
    ) else {
        return;
    };
    assert!(good, "{text}");
    for line in [
        "Version: 3 (0x2)",
        "Serial Number: 4711 (0x1267)",
        "Signature Algorithm: ecdsa-with-SHA256",
        "Issuer: C = DE, O = SM-Test-PKI-DE, CN = esmb0012345678.smgw",
        "Subject: C = DE, O = SM-Test-PKI-DE, CN = esmb0012345678.smgw",
        "ASN1 OID: brainpoolP256r1",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "X509v3 Extended Key Usage: \n                TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Subject Alternative Name: \n                DNS:gateway.example",
    ] {
        assert!(
            text.contains(line),
            "openssl does not see \"{line}\":\n{text}"
        );
    }
    let fingerprint: String = text
        .lines()
        .rfind(|line| line.contains("Fingerprint="))
        .unwrap()
        .split_once('=')
        .unwrap()
        .1
        .replace(':', "")
        .to_lowercase();
    assert_eq!(fingerprint_sha256(&certificate).to_string(), fingerprint);

    let anchor = file.to_str().unwrap();
    for purpose in ["sslserver", "sslclient"] {
        let args = [
            "verify",
            "-check_ss_sig",
            "-purpose",
            purpose,
            "-CAfile",
            anchor,
        ];
        let (good, text) = openssl(&args, &file).unwrap();
        assert!(good, "{purpose}: {text}");
    }
    // The check above is real: one flipped bit in the signature, and openssl refuses.
    let mut forged = certificate.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    std::fs::write(&file, to_pem(&CertificateDer::from(forged))).unwrap();
    let (good, text) = openssl(&["verify", "-check_ss_sig", "-CAfile", anchor], &file).unwrap();
    assert!(!good, "{text}");
}

#[test]
fn bad_variants_are_bad_in_one_way_only() {
    let module = module_with(&["gw-tls", "other"]);
    let request = CertificateRequest::new("esmb0012345678.smgw");
    let good = parse(&self_signed(&module, &KeyId::from("gw-tls"), &request).unwrap());

    let impostor = parse(&self_signed(&module, &KeyId::from("other"), &request).unwrap());
    assert_eq!(
        impostor.tbs_certificate().subject(),
        good.tbs_certificate().subject()
    );
    assert_ne!(
        impostor.tbs_certificate().subject_public_key_info(),
        good.tbs_certificate().subject_public_key_info()
    );

    let expired = parse(&self_signed(&module, &KeyId::from("gw-tls"), &request.expired()).unwrap());
    let validity = expired.tbs_certificate().validity();
    assert!(validity.not_before.to_system_time() < validity.not_after.to_system_time());
    assert!(validity.not_after.to_system_time() < SystemTime::now());
    assert_eq!(
        expired.tbs_certificate().subject_public_key_info(),
        good.tbs_certificate().subject_public_key_info()
    );
}

#[test]
fn impossible_requests_are_refused() {
    let module = module_with(&["k"]);
    let key = KeyId::from("k");
    let good = CertificateRequest::new("a.cls");
    let now = SystemTime::now();
    for (why, request) in [
        ("empty name", CertificateRequest::new("")),
        ("long name", CertificateRequest::new("x".repeat(65))),
        ("DNS name with a space", good.clone().with_dns_name("a b")),
        ("empty DNS name", good.clone().with_dns_name("")),
        (
            "country",
            CertificateRequest {
                country: Some("Germany".into()),
                ..good.clone()
            },
        ),
        (
            "serial 0",
            CertificateRequest {
                serial: Some(0),
                ..good.clone()
            },
        ),
        (
            "backwards validity",
            good.clone().valid(now, now - Duration::from_secs(1)),
        ),
    ] {
        let made = self_signed(&module, &key, &request);
        assert!(matches!(made, Err(PkiError::Request(_))), "{why}: {made:?}");
    }
    assert!(matches!(
        self_signed(&module, &KeyId::from("none"), &good),
        Err(PkiError::Module(_))
    ));
}

#[test]
fn pem_holds_exactly_one_certificate() {
    let certificate = gateway(&module_with(&["gw-tls"]));
    let pem = to_pem(&certificate);
    assert_eq!(from_pem(&pem).unwrap(), certificate);
    assert_eq!(
        from_pem(&format!("Certificate:\n  Data\n{pem}")).unwrap(),
        certificate
    );
    for (why, text) in [
        ("empty", String::new()),
        ("two", format!("{pem}{pem}")),
        ("cut", pem[..pem.len() / 2].to_owned()),
        ("a key", pem.replace("CERTIFICATE", "PRIVATE KEY")),
        (
            "no certificate inside",
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned(),
        ),
    ] {
        assert!(
            matches!(from_pem(&text), Err(PkiError::Pem { .. })),
            "{why}"
        );
    }
    let missing = read_pem_file(Path::new("/nowhere/gateway.pem")).unwrap_err();
    assert!(
        missing.to_string().contains("/nowhere/gateway.pem"),
        "{missing}"
    );
}

#[test]
fn random_serials_are_positive_and_differ() {
    let module = module_with(&["k"]);
    let serial = || {
        let made = self_signed(
            &module,
            &KeyId::from("k"),
            &CertificateRequest::new("a.cls"),
        )
        .unwrap();
        parse(&made)
            .tbs_certificate()
            .serial_number()
            .as_bytes()
            .to_vec()
    };
    let (one, two) = (serial(), serial());
    assert_ne!(one, two);
    assert!(one[0] < 0x80 && one.len() == 16);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        prop_assert!(from_pem(&text).is_err());
    }
}

fn parse(der: &CertificateDer<'_>) -> x509_cert::Certificate {
    der::Decode::from_der(der).unwrap()
}
