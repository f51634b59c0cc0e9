// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use hsm_pki::{Expectation, Package, Profile, RULES, ReadList, Severity, lint};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

/// Whatever the linter is given, and whatever it expects, it ends with a bounded report of known rules.
pub fn lint_certificate(data: &[u8]) {
    let certificate = CertificateDer::from(data);
    let detected = lint(&certificate, &Expectation::default());
    let expected = Profile::all().nth(data.len() % 21);
    let expectation = Expectation {
        profile: expected,
        issuer: Some(&certificate),
        time: Some(std::time::UNIX_EPOCH),
        ..Expectation::default()
    };
    let against = lint(&certificate, &expectation);
    for report in [&detected, &against] {
        assert!(report.findings.len() <= 8 * RULES.len());
        for finding in &report.findings {
            assert!(RULES.iter().any(|rule| rule.id == finding.rule));
            assert!(!finding.to_string().is_empty());
        }
        let worst = report.findings.iter().map(|finding| finding.severity).max();
        assert_eq!(report.passed(), worst != Some(Severity::Error));
    }
    // Bytes behind a certificate, or cut off from it, are never overlooked.
    if detected.passed() {
        for other in [&[data, &[0]].concat(), &data[..data.len() - 1]] {
            let report = lint(&CertificateDer::from(other), &Expectation::default());
            assert!(!report.passed());
        }
    }
}

/// A list that is read answers every question.
pub fn revocation_list(data: &[u8]) {
    if let Ok(list) = ReadList::read(&CertificateRevocationListDer::from(data)) {
        let _ = (list.number(), list.validity());
        assert!(list.revokes(&CertificateDer::from(data)).is_err());
    }
}

/// A package that is read has no more requests than it can hold.
pub fn request_package(data: &[u8]) {
    if let Ok(package) = Package::read(data) {
        assert!(package.requests.len() <= data.len() / 80);
        assert!(package.authorization.is_none() || package.outer.is_none() || data.len() > 1000);
    }
}
