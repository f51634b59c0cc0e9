// SPDX-License-Identifier: MIT OR Apache-2.0
//! Test PKIs of both generations, as OpenSSL sees them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::openssl::openssl;
use hsm_api::{Curve, KeyId, PublicKey, SecurityModule};
use hsm_pki::{
    Flaw, Generation, Issued, Partner, PkiError, Profile, Purpose, Role, Setting, TestPki,
    key_name, to_pem,
};
use hsm_soft::SoftModule;

/// 2026-03-01 12:00:00 UTC.
const NOW: Duration = Duration::from_secs(1_772_366_400);

struct Bench {
    module: Arc<SoftModule>,
    pki: TestPki,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(generation: Generation) -> Self {
        let module = Arc::new(SoftModule::new());
        let setting = Setting {
            now: UNIX_EPOCH + NOW,
            first_serial: Some(100),
            ..Setting::new(generation)
        };
        let pki = TestPki::new(module.clone(), setting).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let this = Self {
            module,
            pki,
            folder,
        };
        this.write("root.pem", &to_pem(this.pki.root().certificate()));
        this.write("empty", "");
        let sub_ca_list = this.pki.sub_ca_list(&this.pki.empty_sub_ca_list()).unwrap();
        this.write_der("sub-ca.crl", &sub_ca_list);
        let root_list = this.pki.root_list(&this.pki.empty_root_list()).unwrap();
        this.write_der("root.crl", &root_list);
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn write_der(&self, name: &str, der: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), der).unwrap();
        self.path(name)
    }

    /// What `openssl verify` says of a chain at the time of making; None without OpenSSL.
    fn verify(&self, issued: &Issued, more: &[&str]) -> Option<(bool, String)> {
        let leaf = self.write("leaf.pem", &to_pem(issued.certificate()));
        let above: String = issued.chain[1..].iter().map(to_pem).collect();
        let above = match above.is_empty() {
            true => to_pem(issued.certificate()),
            false => above,
        };
        let above = self.write("above.pem", &above);
        let time = NOW.as_secs().to_string();
        let root = self.path("root.pem");
        let mut args = vec![
            "verify",
            "-x509_strict",
            "-check_ss_sig",
            "-attime",
            &time,
            "-CAfile",
            text(&root),
            "-untrusted",
            text(&above),
        ];
        args.extend(more);
        args.push(text(&leaf));
        openssl(&args)
    }

    /// A key for TLS in the module of the PKI.
    fn tls_key(&self, partner: &Partner) -> (KeyId, PublicKey) {
        let key = key_name(partner, Purpose::Tls);
        let usage = Purpose::Tls.key_usage();
        let curve = Curve::BrainpoolP256r1;
        let public = self.module.generate_key(&key, curve, usage).unwrap();
        (key, public)
    }

    /// As a TLS peer does: purpose and the sub-CA's list.
    fn verify_tls(&self, issued: &Issued, list: &str) -> Option<(bool, String)> {
        let list = self.path(list);
        self.verify(
            issued,
            &[
                "-purpose",
                "sslclient",
                "-crl_check",
                "-CRLfile",
                text(&list),
            ],
        )
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn openssl_accepts_every_good_chain_of_both_generations() {
    for generation in Generation::ALL {
        let bench = Bench::new(generation);
        for authority in bench.pki.authorities() {
            let Some((good, said)) = bench.verify(authority, &[]) else {
                return;
            };
            assert!(good, "{generation} {}: {said}", authority.profile);
        }
        for role in Role::ALL {
            let partner = Partner::new(role, format!("{}x", role.name()));
            let triple = bench.pki.issue(&partner, &*bench.module).unwrap();
            for issued in triple.iter() {
                let list = bench.path("sub-ca.crl");
                let crl = ["-crl_check", "-CRLfile", text(&list)];
                let (good, said) = bench.verify(issued, &crl).unwrap();
                assert!(good, "{generation} {}: {said}", issued.profile);
            }
            for purpose in ["sslserver", "sslclient"] {
                let (good, said) = bench.verify(&triple.tls, &["-purpose", purpose]).unwrap();
                assert!(good, "{generation} {role:?} {purpose}: {said}");
            }
        }
    }
}

#[test]
fn openssl_reads_names_and_extensions_as_meant() {
    let bench = Bench::new(Generation::Second);
    let partner = Partner {
        suffix: Some("MAK".into()),
        unit: Some("9900000000001".into()),
        ..Partner::new(Role::Emt, "Example")
    };
    let emt = bench.pki.issue(&partner, &*bench.module).unwrap();
    let gateway = Partner::new(Role::SmgwW, "EXXX0012345678");
    let gateway = bench.pki.issue(&gateway, &*bench.module).unwrap();
    for (issued, lines) in [
        (&emt.tls, EMT_TLS),
        (&emt.enc, &["Key Encipherment, Key Agreement\n"][..]),
        (
            &gateway.tls,
            &["Subject: CN = EXXX0012345678.SMGW, O = SM-Test-PKI-DE, C = DE, serialNumber = 1\n"],
        ),
        (bench.pki.sub_ca(), SUB_CA),
        (bench.pki.root(), ROOT),
    ] {
        let file = bench.write("one.pem", &to_pem(issued.certificate()));
        let Some((_, said)) = openssl(&["x509", "-noout", "-text", "-in", text(&file)]) else {
            return;
        };
        for line in lines {
            assert!(said.contains(line), "no \"{line}\" in {said}");
        }
        let gateway = issued.profile == gateway.tls.profile;
        assert_eq!(gateway, !said.contains("Subject Alternative Name"));
        let tls = issued.profile.is_tls();
        assert_eq!(tls, said.contains("X509v3 Extended Key Usage: critical"));
    }
}

const EMT_TLS: &[&str] = &[
    "Issuer: CN = Bench.CA, O = SM-Test-PKI-DE, C = DE, serialNumber = 2\n",
    "Subject: CN = Example.EMT.MAK, O = SM-Test-PKI-DE, OU = 9900000000001, C = DE, serialNumber = 1\n",
    "Signature Algorithm: ecdsa-with-SHA384\n",
    "Not Before: Mar  1 11:00:00 2026 GMT\n",
    "Not After : Feb 29 23:59:59 2028 GMT\n",
    "ASN1 OID: brainpoolP256r1\n",
    "X509v3 Key Usage: critical\n                Digital Signature\n",
    "Policy: 0.4.0.127.0.7.3.4.1.1.1\n",
    "email:pki@example.emt.example, URI:https://example.emt.example/, DNS:example.emt.example\n",
    "X509v3 Issuer Alternative Name: \n                email:pki@sub-ca.example, URI:https://sub-ca.example/\n",
    "X509v3 Basic Constraints: critical\n                CA:FALSE\n",
    "URI:http://sub-ca.example/list.crl\n",
];
const SUB_CA: &[&str] = &[
    "Issuer: CN = SM-Test-Root.CA, O = SM-Test-PKI-DE, C = DE, serialNumber = 2\n",
    "Signature Algorithm: ecdsa-with-SHA512\n",
    "ASN1 OID: brainpoolP384r1\n",
    "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n",
    "CA:TRUE, pathlen:0\n",
    "DirName:CN = SM-Test-Root.CA.CRL-S, O = SM-Test-PKI-DE, C = DE\n",
];
const ROOT: &[&str] = &["ASN1 OID: brainpoolP512r1\n", "CA:TRUE\n"];

/// What OpenSSL says of a flaw in a TLS certificate; it does not mind the others, which a peer has to find itself.
fn refusal(flaw: Flaw) -> Option<&'static str> {
    Some(match flaw {
        Flaw::Expired | Flaw::BackwardValidity => "certificate has expired",
        Flaw::NotYetValid => "certificate is not yet valid",
        Flaw::WrongKeyUsage | Flaw::WrongEku => "unsuitable certificate purpose",
        Flaw::WrongIssuer => "unable to get local issuer certificate",
        Flaw::BrokenSignature => "certificate signature failure",
        Flaw::Revoked => "certificate revoked",
        Flaw::PathTooLong => "path length constraint exceeded",
        Flaw::UnknownCritical | Flaw::CriticalAki => "unhandled critical extension",
        Flaw::MissingAki => "Missing Authority Key Identifier",
        Flaw::AlgorithmMismatch => "cert info signature and signature algorithm mismatch",
        _ => return None,
    })
}

#[test]
fn openssl_refuses_the_flaws_it_knows_for_their_reason() {
    let bench = Bench::new(Generation::Second);
    for role in [Role::Emt, Role::SmgwW] {
        let partner = Partner::new(role, "Flawed");
        let (key, public) = bench.tls_key(&partner);
        let profile = Profile::EndUser(role, Purpose::Tls);
        for flaw in Flaw::ALL.iter().filter(|flaw| flaw.fits(profile)) {
            let issued = bench
                .pki
                .certify_flawed(&partner, Purpose::Tls, key.clone(), &public, *flaw)
                .unwrap();
            let list = bench.pki.empty_sub_ca_list();
            let list = match flaw {
                Flaw::Revoked => list.revoking(issued.certificate()),
                _ => list,
            };
            bench.write_der("now.crl", &bench.pki.sub_ca_list(&list).unwrap());
            let Some((good, said)) = bench.verify_tls(&issued, "now.crl") else {
                return;
            };
            match refusal(*flaw) {
                Some(reason) => assert!(!good && said.contains(reason), "{flaw}: {said}"),
                None => assert!(good, "{flaw}: {said}"),
            }
        }
    }
}

#[test]
fn openssl_reads_both_lists_and_finds_the_revoked() {
    let bench = Bench::new(Generation::First);
    let partner = Partner::new(Role::Gwa, "Revoked");
    let triple = bench.pki.issue(&partner, &*bench.module).unwrap();
    let list = bench
        .pki
        .empty_sub_ca_list()
        .revoking(triple.tls.certificate());
    bench.write_der("sub-ca.crl", &bench.pki.sub_ca_list(&list).unwrap());
    let Some((good, said)) = bench.verify_tls(&triple.tls, "sub-ca.crl") else {
        return;
    };
    assert!(!good && said.contains("certificate revoked"), "{said}");
    let signature = ["-crl_check", "-CRLfile"];
    let list = bench.path("sub-ca.crl");
    let (good, said) = bench
        .verify(&triple.sig, &[signature[0], signature[1], text(&list)])
        .unwrap();
    assert!(good, "{said}");

    let expired = bench.pki.empty_sub_ca_list().expired();
    bench.write_der("old.crl", &bench.pki.sub_ca_list(&expired).unwrap());
    let (good, said) = bench.verify_tls(&triple.tls, "old.crl").unwrap();
    assert!(!good && said.contains("CRL has expired"), "{said}");

    // The root's list is signed by the CRL signer, whose certificate OpenSSL finds among the untrusted ones.
    let signer = bench.write("signer.pem", &to_pem(bench.pki.crl_signer().certificate()));
    let check = |name: &str| {
        let list = bench.path(name);
        let more = [
            "-crl_check",
            "-extended_crl",
            "-CRLfile",
            text(&list),
            "-untrusted",
            text(&signer),
        ];
        bench.verify(bench.pki.sub_ca(), &more).unwrap()
    };
    let (good, said) = check("root.crl");
    assert!(good, "{said}");
    let list = bench
        .pki
        .empty_root_list()
        .revoking(bench.pki.tls_signer().certificate())
        .revoking(bench.pki.sub_ca().certificate());
    bench.write_der("root.crl", &bench.pki.root_list(&list).unwrap());
    let (good, said) = check("root.crl");
    assert!(!good && said.contains("certificate revoked"), "{said}");

    let list = bench.path("root.crl");
    let args = [
        "crl",
        "-inform",
        "DER",
        "-noout",
        "-text",
        "-in",
        text(&list),
    ];
    let (_, said) = openssl(&args).unwrap();
    for line in [
        "Version 2 (0x1)",
        "Signature Algorithm: ecdsa-with-SHA384",
        "Issuer: CN = SM-Test-Root.CA.CRL-S, O = SM-Test-PKI-DE, C = DE\n",
        "Last Update: Mar  1 12:00:00 2026 GMT",
        "Next Update: Mar 31 12:00:00 2026 GMT",
        "X509v3 CRL Number: \n                1\n",
        "X509v3 Authority Key Identifier",
        "Indirect CRL",
        "Key Compromise",
        "DirName:/CN=SM-Test-Root.CA/O=SM-Test-PKI-DE/C=DE/serialNumber=1",
    ] {
        assert!(said.contains(line), "no \"{line}\" in {said}");
    }
}

#[test]
fn a_link_certificate_leads_from_the_old_root_to_the_new_one() {
    let old = Bench::new(Generation::First);
    let new = Bench::new(Generation::Second);
    let link = old.pki.link_to(&new.pki).unwrap();
    let partner = Partner::new(Role::Emt, "New");
    let mut emt = new.pki.issue(&partner, &*new.module).unwrap().tls;
    emt.chain.push(link.certificate().clone());
    // Whoever knows the old root alone follows the link.
    let Some((good, said)) = old.verify(&emt, &[]) else {
        return;
    };
    assert!(good, "{said}");
    emt.chain.pop();
    let (good, said) = old.verify(&emt, &[]).unwrap();
    assert!(!good, "{said}");
}

#[test]
fn flaws_belong_to_certificates_that_can_have_them() {
    let bench = Bench::new(Generation::First);
    let partner = Partner::new(Role::SmgwW, "EXXX0012345678");
    let (key, public) = bench.tls_key(&partner);
    for (purpose, flaw) in [
        (Purpose::Enc, Flaw::MissingEku),
        (Purpose::Tls, Flaw::MissingSan),
    ] {
        let made = bench
            .pki
            .certify_flawed(&partner, purpose, key.clone(), &public, flaw);
        assert!(matches!(made, Err(PkiError::Request(_))), "{flaw}");
    }
}

#[test]
fn keys_may_live_in_another_module_and_serials_count_up() {
    let bench = Bench::new(Generation::Second);
    let holder = SoftModule::new();
    let partner = Partner::new(Role::Gwh, "Maker");
    let triple = bench.pki.issue(&partner, &holder).unwrap();
    for issued in triple.iter() {
        let public = hsm_pki::public_key(issued.certificate()).unwrap();
        assert_eq!(holder.public_key(&issued.key).unwrap(), public);
        assert!(bench.module.public_key(&issued.key).is_err());
    }
    let serials: Vec<_> = bench
        .pki
        .authorities()
        .chain(triple.iter())
        .map(|issued| {
            let parsed: x509_cert::Certificate =
                der::Decode::from_der(issued.certificate()).unwrap();
            parsed.tbs_certificate().serial_number().as_bytes().to_vec()
        })
        .collect();
    let expected: Vec<_> = (100..108).map(|serial| vec![serial]).collect();
    assert_eq!(serials, expected);
}
