// SPDX-License-Identifier: MIT OR Apache-2.0
//! Request packages: our reader, OpenSSL as a second one, and every layer broken once.

use std::path::Path;
use std::sync::Arc;

use crate::openssl::openssl;
use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_pki::{
    Generation, Package, PackageError, Partner, Purpose, Role, Setting, TestPki, authorize_package,
    request_package, sign_package, to_pem,
};
use hsm_soft::SoftModule;
use test_material::unhex;

struct Requester {
    module: Arc<SoftModule>,
    pki: TestPki,
    partner: Partner,
}

impl Requester {
    fn new(role: Role) -> Self {
        let module = Arc::new(SoftModule::new());
        let pki = TestPki::new(module.clone(), Setting::new(Generation::Second)).unwrap();
        for purpose in Purpose::ALL {
            let key = KeyId::from(purpose.name());
            let curve = Curve::BrainpoolP256r1;
            module.generate_key(&key, curve, KeyUsage::Sign).unwrap();
        }
        Self {
            module,
            pki,
            partner: Partner::new(role, "Requester"),
        }
    }

    fn first(&self) -> Vec<u8> {
        let keys = [Purpose::Tls, Purpose::Enc, Purpose::Sig]
            .map(|purpose| (purpose, KeyId::from(purpose.name())));
        request_package(&*self.module, "SM-Test-PKI-DE", &self.partner, &keys).unwrap()
    }
}

/// The identifiers of the three kinds of packages, complete elements; only the last byte differs.
fn identifier(kind: u8) -> Vec<u8> {
    [unhex("060904007f0007040101"), vec![kind]].concat()
}

/// The package with one bit of one byte flipped.
fn flip(package: &[u8], at: usize) -> Vec<u8> {
    let mut broken = package.to_vec();
    broken[at] ^= 1;
    broken
}

#[test]
fn all_three_kinds_are_read_and_verified() {
    let requester = Requester::new(Role::SmgwW);
    let first = requester.first();
    let owner = &requester.module;
    let old = requester.pki.issue(&requester.partner, &**owner).unwrap();
    let admin = Partner::new(Role::Gwa, "Admin");
    let admin = requester.pki.issue(&admin, &**owner).unwrap();
    let renewal = sign_package(&**owner, &first, &old.sig).unwrap();
    let authorized_first = authorize_package(&**owner, &first, &admin.sig).unwrap();
    let authorized = authorize_package(&**owner, &renewal, &admin.sig).unwrap();
    for (package, kind, outer, authorization) in [
        (&first, 1, false, false),
        (&renewal, 2, true, false),
        (&authorized_first, 3, false, true),
        (&authorized, 3, true, true),
    ] {
        let start = package
            .windows(11)
            .position(|window| window == identifier(kind));
        assert!(start.is_some_and(|start| start <= 5), "{kind}");
        let read = Package::read(package).unwrap();
        read.verify(&**owner).unwrap();
        let purposes: Vec<_> = read
            .requests
            .iter()
            .map(|request| request.purpose)
            .collect();
        assert_eq!(purposes, [Purpose::Tls, Purpose::Enc, Purpose::Sig]);
        for request in &read.requests {
            let key = KeyId::from(request.purpose.name());
            assert_eq!(owner.public_key(&key).unwrap(), request.public_key);
            assert!(
                request.subject.contains("CN=Requester.SMGW"),
                "{}",
                request.subject
            );
        }
        let signer = |signature: &Option<hsm_pki::PackageSignature>| {
            signature.as_ref().map(|signature| signature.signer.clone())
        };
        let old = outer.then(|| old.sig.certificate().clone());
        assert_eq!(signer(&read.outer), old);
        let admin = authorization.then(|| admin.sig.certificate().clone());
        assert_eq!(signer(&read.authorization), admin);
    }
}

#[test]
fn a_broken_signature_is_named_by_its_layer() {
    let requester = Requester::new(Role::Emt);
    let owner = &requester.module;
    let triple = requester.pki.issue(&requester.partner, &**owner).unwrap();
    let first = requester.first();
    let renewal = sign_package(&**owner, &first, &triple.sig).unwrap();
    let authorized = authorize_package(&**owner, &renewal, &triple.sig).unwrap();
    let verify = |package: &[u8]| Package::read(package).unwrap().verify(&**owner);

    // The last byte of each is inside the last signature: the proof of the third key, or that of the signer.
    let broken = verify(&flip(&first, first.len() - 1)).unwrap_err();
    assert!(
        matches!(broken, PackageError::InnerSignature(2)),
        "{broken}"
    );
    assert_eq!(broken.return_code(), "failure_inner_signature");
    let broken = verify(&flip(&renewal, renewal.len() - 1)).unwrap_err();
    assert!(matches!(broken, PackageError::OuterSignature), "{broken}");
    let broken = verify(&flip(&authorized, authorized.len() - 1)).unwrap_err();
    assert!(
        matches!(broken, PackageError::AuthorizationSignature),
        "{broken}"
    );

    // A changed content is noticed by the layer right around it, even where the signature itself stays.
    let name = |package: &[u8]| {
        let at = package.windows(9).position(|window| window == b"Requester");
        at.unwrap()
    };
    for (package, expected) in [
        (&first, "failure_inner_signature"),
        (&renewal, "failure_outer_signature"),
        (&authorized, "failure_authorization_signature"),
    ] {
        // "Requester" becomes "Sequester".
        let broken = verify(&flip(package, name(package))).unwrap_err();
        assert_eq!(broken.return_code(), expected);
    }
    // A good outer layer around a bad inner one.
    let inner = flip(&first, first.len() - 1);
    let around = sign_package(&**owner, &inner, &triple.sig).unwrap();
    let broken = verify(&around).unwrap_err();
    assert!(
        matches!(broken, PackageError::InnerSignature(2)),
        "{broken}"
    );

    // The signer's key must be that of its certificate.
    let mut other = triple.sig.clone();
    other.key = triple.tls.key.clone();
    let foreign = sign_package(&**owner, &first, &other).unwrap();
    let broken = Package::read(&foreign).unwrap_err();
    assert_eq!(broken.return_code(), "failure_syntax");
}

#[test]
fn openssl_verifies_the_outer_signature_and_reads_the_requests() {
    let requester = Requester::new(Role::Emt);
    let owner = &requester.module;
    let triple = requester.pki.issue(&requester.partner, &**owner).unwrap();
    let first = requester.first();
    let renewal = sign_package(&**owner, &first, &triple.sig).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("root.pem"), to_pem(requester.pki.root().certificate())).unwrap();
    std::fs::write(at("first.der"), &first).unwrap();

    let args = ["asn1parse", "-inform", "DER", "-in", &at("first.der")];
    let Some((good, said)) = openssl(&args) else {
        return;
    };
    assert!(good, "{said}");
    assert_eq!(said.matches(":brainpoolP256r1").count(), 3);
    assert_eq!(said.matches(":ecdsa-with-SHA256").count(), 3);
    assert_eq!(said.matches(":X509v3 Extended Key Usage").count(), 1);
    assert_eq!(said.matches(":0.4.0.127.0.7.4.1.1.1").count(), 1);

    // OpenSSL knows SignedData by its own identifier only; the bytes inside are the same.
    let own = identifier(2);
    let start = renewal
        .windows(own.len())
        .position(|window| window == own)
        .unwrap();
    let mut cms = renewal.clone();
    cms.splice(start..start + own.len(), unhex("06092a864886f70d010702"));
    std::fs::write(at("renewal.der"), &cms).unwrap();
    let verify = |input: &str| {
        openssl(&[
            "cms",
            "-verify",
            "-binary",
            "-inform",
            "DER",
            "-in",
            input,
            "-CAfile",
            &at("root.pem"),
            "-purpose",
            "any",
            "-out",
            &at("content.der"),
        ])
        .unwrap()
    };
    let (good, said) = verify(&at("renewal.der"));
    assert!(good, "{said}");
    let content = std::fs::read(at("content.der")).unwrap();
    assert!(
        first.ends_with(&content) && content.len() > 1000,
        "{}",
        content.len()
    );
    let last = cms.len() - 1;
    std::fs::write(at("forged.der"), flip(&cms, last)).unwrap();
    let (good, said) = verify(&at("forged.der"));
    assert!(!good, "{said}");
}

#[test]
fn packages_of_others_are_read_and_verified() {
    let Some(folder) = test_material::corpus("sm-pki-requests") else {
        return;
    };
    let module = SoftModule::new();
    for (name, path) in test_material::files(&folder, "der") {
        let package = Package::read(&std::fs::read(Path::new(&path)).unwrap()).unwrap();
        package.verify(&module).unwrap();
        assert_eq!(package.requests.len(), 3, "{name}");
    }
}

#[test]
fn a_module_that_keeps_agreement_keys_from_signing_refuses() {
    let requester = Requester::new(Role::Emt);
    let owner = &requester.module;
    let key = KeyId::from("agree");
    let curve = Curve::BrainpoolP256r1;
    owner.generate_key(&key, curve, KeyUsage::Agree).unwrap();
    let made = request_package(
        &**owner,
        "SM-Test-PKI-DE",
        &requester.partner,
        &[(Purpose::Enc, key)],
    );
    assert!(
        matches!(made, Err(hsm_pki::PkiError::Module(_))),
        "{made:?}"
    );
}
