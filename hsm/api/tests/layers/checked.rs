// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wrong signatures and repeated randomness never reach the caller.

use std::sync::Arc;

use hsm_api::{Checked, Curve, Fault, KeyUsage, ModuleError, Reason, SecurityModule};
use hsm_soft::SoftModule;
use hsm_suite::conformance::{self, Names};

use crate::lying::{CURVE, Lying, Wrong, agree, sign};

fn checked(wrong: Wrong) -> Checked {
    Checked::new(Arc::new(Lying::new(wrong)), Arc::new(SoftModule::new()))
}

fn is_wrong<T>(outcome: Result<T, ModuleError>) {
    let error = outcome.err().expect("a wrong result was let through");
    assert_eq!(
        (error.fault(), error.reason()),
        (Fault::Module, Reason::WrongResult),
        "{error}"
    );
}

/// Everything that needs randomness or a private key is refused from now on.
fn is_unusable(module: &Checked) {
    assert!(module.unusable().is_some());
    is_wrong(module.random(&mut [0; 4]));
    is_wrong(module.sign_digest(&sign(), &[1; 32]));
    is_wrong(module.ephemeral_key(CURVE));
    is_wrong(module.generate_key(&"new".into(), CURVE, KeyUsage::Sign));
    let point = module.public_key(&sign()).unwrap().point;
    is_wrong(module.agree_static(&agree(), &point));
}

#[test]
fn a_good_module_stays_one() {
    let module = || Checked::new(Arc::new(SoftModule::new()), Arc::new(SoftModule::new()));
    for curve in Curve::ALL {
        conformance::check(&module(), &SoftModule::new(), curve, &Names::default());
    }
    conformance::check_storage(&module(), &Names::default());
    let module = checked(Wrong::Nothing);
    // The same digest twice, by a signer that draws its nonces from the digest, is no repetition.
    for byte in [1, 1, 2, 1] {
        module.sign_digest(&sign(), &[byte; 32]).unwrap();
    }
    assert_eq!(module.unusable(), None);
}

#[test]
fn a_wrong_signature_never_leaves() {
    for wrong in [Wrong::Signature, Wrong::ShortSignature] {
        let module = checked(wrong);
        is_wrong(module.sign_digest(&sign(), &[1; 32]));
        assert_eq!(module.unusable(), None, "one bit may flip by chance");
    }
    // Also when the module itself is all there is to verify with.
    let lying = Arc::new(Lying::new(Wrong::Signature));
    is_wrong(Checked::new(lying.clone(), lying).sign_digest(&sign(), &[1; 32]));
}

#[test]
fn a_constant_generator_is_found() {
    for len in [1, 4, 12, 16, 32, 48] {
        let module = checked(Wrong::Constant);
        let found = (0..200).any(|_| {
            let mut out = vec![0xff; len];
            let refused = module.random(&mut out).is_err();
            assert!(!refused || out.iter().all(|byte| *byte == 0), "bytes leave");
            refused
        });
        assert!(found, "requests of {len} bytes");
        is_unusable(&module);
    }
}

#[test]
fn a_nonce_that_repeats_is_found_although_both_signatures_verify() {
    let module = checked(Wrong::Nonce);
    module.sign_digest(&sign(), &[1; 32]).unwrap();
    is_wrong(module.sign_digest(&sign(), &[2; 32]));
    is_unusable(&module);
}

#[test]
fn ephemeral_keys_are_fresh_and_of_the_right_shape() {
    let module = checked(Wrong::EphemeralKey);
    module.ephemeral_key(CURVE).unwrap();
    is_wrong(module.ephemeral_key(CURVE));
    is_unusable(&module);
    is_wrong(checked(Wrong::ShortPoint).ephemeral_key(CURVE));
    is_wrong(checked(Wrong::OtherCurve).ephemeral_key(CURVE));
}

#[test]
fn agreed_secrets_are_one_coordinate() {
    let module = checked(Wrong::ShortSecret);
    let point = module.public_key(&agree()).unwrap().point;
    is_wrong(module.agree_static(&agree(), &point));
    is_wrong(module.ephemeral_key(CURVE).unwrap().agree(&point));
}

/// Another key under the same name, put there behind the layer's back.
#[test]
fn a_key_replaced_by_somebody_else_is_read_again() {
    let soft = Arc::new(SoftModule::new());
    let module = Checked::new(soft.clone(), Arc::new(SoftModule::new()));
    for byte in 0..2 {
        soft.generate_key(&sign(), CURVE, KeyUsage::Sign).unwrap();
        module.sign_digest(&sign(), &[byte; 32]).unwrap();
        soft.remove_key(&sign()).unwrap();
    }
}
