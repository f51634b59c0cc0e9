// SPDX-License-Identifier: MIT OR Apache-2.0
//! One suite for every back-end: what [`SecurityModule`] promises, checked against an independent second module.
//!
//! The functions panic with the broken promise; they are meant for tests.

use crate::{
    Curve, Fault, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError, ObjectId, PublicKey, Reason,
    SecurityModule,
};

/// The names the suite uses; a card whose keys and files have fixed names brings its own. Keys and objects of these
/// names are made and removed.
#[derive(Clone, Debug)]
pub struct Names {
    /// A signing key.
    pub sign: KeyId,
    /// An agreement key.
    pub agree: KeyId,
    /// A certificate.
    pub certificate: ObjectId,
    /// A data object.
    pub data: ObjectId,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            sign: "conformance-sign".into(),
            agree: "conformance-agree".into(),
            certificate: ObjectId::certificate("conformance"),
            data: ObjectId::data("conformance"),
        }
    }
}

/// Runs the whole suite for one curve. `oracle` must be another implementation that supports the curve;
/// its keys are named like those of `module`, so the two must not share storage.
///
/// # Panics
/// At the first broken promise.
pub fn check(
    module: &dyn SecurityModule,
    oracle: &dyn SecurityModule,
    curve: Curve,
    names: &Names,
) {
    assert!(
        module.capabilities().curves.contains(&curve),
        "{curve} is not among the capabilities"
    );
    let Names { sign, agree, .. } = names;
    for side in [module, oracle] {
        let made = side
            .generate_key(sign, curve, KeyUsage::Sign)
            .expect("make a signing key");
        assert_eq!(
            side.public_key(sign).expect("read it"),
            made,
            "public half changed"
        );
        side.generate_key(agree, curve, KeyUsage::Agree)
            .expect("make an agreement key");
    }
    randomness(module);
    unknown_and_taken(module, sign, curve);
    usages(module, sign, agree);
    signatures(module, oracle, sign);
    signatures(oracle, module, sign);
    ephemeral_agreement(module, oracle, curve);
    static_agreement(module, oracle, agree);
    bad_points(module, agree, curve);
    for side in [module, oracle] {
        for key in [sign, agree] {
            side.remove_key(key).expect("remove a key");
        }
    }
}

/// Runs the part of the suite that has no curve: objects and the life cycle. It leaves the module decommissioned, so
/// that nothing can follow it.
///
/// # Panics
/// At the first broken promise.
pub fn check_storage(module: &dyn SecurityModule, names: &Names) {
    objects(module, names);
    removal(module, &names.sign);
    phases(module);
    decommissioning(module, names);
}

fn objects(module: &dyn SecurityModule, names: &Names) {
    let Names {
        certificate, data, ..
    } = names;
    let der = [&[0x30, 0x82, 1, 4][..], &[0xa5; 260]].concat();
    for (object, content, other) in [
        (certificate, &der[..], &[0x30, 2, 5, 0][..]),
        (data, &b"\0\xff\x80data"[..], &b"x"[..]),
    ] {
        reason(
            module.read_object(object),
            Reason::NotFound,
            "absent object read",
        );
        reason(
            module.remove_object(object),
            Reason::NotFound,
            "absent object removed",
        );
        module
            .write_object(object, content)
            .expect("store an object");
        assert_eq!(module.read_object(object).expect("read it"), content);
        module
            .write_object(object, other)
            .expect("replace an object");
        assert_eq!(module.read_object(object).expect("read it"), other);
    }
    let stored = module.objects().expect("list objects");
    for object in [certificate, data] {
        assert_eq!(
            stored.iter().filter(|one| *one == object).count(),
            1,
            "{object} listed once"
        );
    }
    reason(
        module.write_object(certificate, &der[1..]),
        Reason::BadInput,
        "certificate that is no sequence",
    );
    if let Some(limit) = module.capabilities().largest_object {
        reason(
            module.write_object(data, &vec![0; limit + 1]),
            Reason::Unsupported,
            "object beyond the limit",
        );
        let largest = vec![0x5a; limit];
        module
            .write_object(data, &largest)
            .expect("store the largest object");
        assert_eq!(module.read_object(data).expect("read it"), largest);
    }
    for object in [certificate, data] {
        module.remove_object(object).expect("remove an object");
        assert!(!module.objects().expect("list objects").contains(object));
    }
}

fn removal(module: &dyn SecurityModule, key: &KeyId) {
    let usage = KeyUsage::Sign;
    let curve = Curve::BrainpoolP256r1;
    reason(
        module.remove_key(key),
        Reason::NotFound,
        "unknown key removed",
    );
    let first = module.generate_key(key, curve, usage).expect("make a key");
    let listed = KeyInfo {
        key: key.clone(),
        curve,
        usage,
    };
    assert!(module.keys().expect("list keys").contains(&listed));
    module.remove_key(key).expect("remove it");
    assert!(!module.keys().expect("list keys").contains(&listed));
    caller(
        module.sign_digest(key, &DIGEST),
        "signature by a removed key",
    );
    let second = module
        .generate_key(key, curve, usage)
        .expect("make another");
    assert_ne!(first, second, "a removed key came back");
    module.remove_key(key).expect("remove it");
}

fn phases(module: &dyn SecurityModule) {
    let phase = module.life_cycle().expect("read the phase");
    module.enter_phase(phase).expect("stay in the phase");
    module
        .enter_phase(LifeCycle::Operation)
        .expect("enter operation");
    assert_eq!(
        module.life_cycle().expect("read the phase"),
        LifeCycle::Operation
    );
    reason(
        module.enter_phase(LifeCycle::Integration),
        Reason::WrongPhase,
        "way back in the life cycle",
    );
    assert_eq!(
        module.life_cycle().expect("read the phase"),
        LifeCycle::Operation
    );
}

fn decommissioning(module: &dyn SecurityModule, names: &Names) {
    let curve = Curve::BrainpoolP256r1;
    let Names { sign, agree, .. } = names;
    let public = module
        .generate_key(sign, curve, KeyUsage::Sign)
        .expect("make a signing key");
    let peer = module
        .generate_key(agree, curve, KeyUsage::Agree)
        .expect("make an agreement key");
    let signature = module.sign_digest(sign, &DIGEST).expect("sign");
    module
        .enter_phase(LifeCycle::Decommissioned)
        .expect("enter the last phase");
    let phase = Reason::WrongPhase;
    reason(
        module.sign_digest(sign, &DIGEST),
        phase,
        "signature after the end",
    );
    reason(
        module.agree_static(agree, &peer.point),
        phase,
        "agreement after the end",
    );
    reason(
        module.ephemeral_key(curve),
        phase,
        "ephemeral key after the end",
    );
    reason(
        module.generate_key(&"conformance-late".into(), curve, KeyUsage::Sign),
        phase,
        "new key after the end",
    );
    reason(
        module.enter_phase(LifeCycle::Operation),
        phase,
        "way back from the end",
    );
    assert!(
        module
            .verify_digest(&public, &DIGEST, &signature)
            .expect("verify"),
        "a signature of the module's life does not outlive it"
    );
    assert_eq!(module.public_key(sign).expect("read it"), public);
}

fn reason<T>(result: Result<T, ModuleError>, reason: Reason, what: &str) {
    match result {
        Ok(_) => panic!("{what}: accepted"),
        Err(error) => assert_eq!(error.reason(), reason, "{what}: {error}"),
    }
}

fn randomness(module: &dyn SecurityModule) {
    let (mut a, mut b) = ([0; 32], [0; 32]);
    module.random(&mut a).expect("random bytes");
    module.random(&mut b).expect("random bytes");
    assert_ne!(a, b, "random bytes repeat");
    module.random(&mut []).expect("no random bytes");
}

fn unknown_and_taken(module: &dyn SecurityModule, sign: &KeyId, curve: Curve) {
    let unknown = KeyId::from("conformance-no-such-key");
    caller(module.public_key(&unknown), "public half of an unknown key");
    caller(
        module.sign_digest(&unknown, &DIGEST),
        "signature by an unknown key",
    );
    caller(
        module.agree_static(&unknown, &[]),
        "agreement with an unknown key",
    );
    caller(
        module.generate_key(sign, curve, KeyUsage::Sign),
        "second key of the same name",
    );
}

fn usages(module: &dyn SecurityModule, sign: &KeyId, agree: &KeyId) {
    caller(
        module.sign_digest(agree, &DIGEST),
        "signature by an agreement key",
    );
    let point = module.public_key(sign).expect("read a public key").point;
    caller(
        module.agree_static(sign, &point),
        "agreement with a signing key",
    );
}

/// `signer` signs, `verifier` accepts exactly that.
fn signatures(signer: &dyn SecurityModule, verifier: &dyn SecurityModule, key: &KeyId) {
    let public = signer.public_key(key).expect("read a public key");
    for len in [32, 48, 64] {
        let digest: Vec<u8> = (0..len).map(|byte| byte ^ 0xb7).collect();
        let signature = signer.sign_digest(key, &digest).expect("sign");
        assert_eq!(
            signature.len(),
            2 * public.curve.field_len(),
            "plain signatures have a fixed width"
        );
        let verify = |digest: &[u8], signature: &[u8]| {
            verifier
                .verify_digest(&public, digest, signature)
                .expect("verify")
        };
        assert!(
            verify(&digest, &signature),
            "a good signature over {len} bytes is refused"
        );
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut wrong = signature.clone();
            wrong[at] ^= 1;
            assert!(
                !verify(&digest, &wrong),
                "a signature wrong at byte {at} is accepted"
            );
        }
        assert!(
            !verify(&digest, &signature[1..]),
            "a short signature is accepted"
        );
        assert!(!verify(&digest, &[]), "an empty signature is accepted");
        assert!(
            !verify(&digest, &vec![0; signature.len()]),
            "a zero signature is accepted"
        );
        let mut other = digest.clone();
        other[0] ^= 1;
        assert!(
            !verify(&other, &signature),
            "a signature over another digest is accepted"
        );
    }
    let signature = signer.sign_digest(key, &DIGEST).expect("sign");
    caller(
        signer.sign_digest(key, &DIGEST[1..]),
        "digest of 31 bytes signed",
    );
    caller(
        verifier.verify_digest(&public, &[], &signature),
        "empty digest verified",
    );
    let off = off_curve(&public);
    assert!(
        !matches!(verifier.verify_digest(&off, &DIGEST, &signature), Ok(true)),
        "a key off the curve verifies"
    );
}

fn ephemeral_agreement(module: &dyn SecurityModule, oracle: &dyn SecurityModule, curve: Curve) {
    for _ in 0..4 {
        let ours = module.ephemeral_key(curve).expect("ephemeral key");
        let theirs = oracle.ephemeral_key(curve).expect("ephemeral key");
        let (our_point, their_point) = (
            ours.public_key().point.clone(),
            theirs.public_key().point.clone(),
        );
        let a = ours.agree(&their_point).expect("agree");
        let b = theirs.agree(&our_point).expect("agree");
        assert_eq!(a.0.len(), curve.field_len(), "the secret is one coordinate");
        assert_eq!(*a.0, *b.0, "the two sides agree on different secrets");
    }
    let (one, two) = (module.ephemeral_key(curve), module.ephemeral_key(curve));
    assert_ne!(
        one.expect("ephemeral key").public_key(),
        two.expect("ephemeral key").public_key(),
        "ephemeral keys repeat"
    );
}

fn static_agreement(module: &dyn SecurityModule, oracle: &dyn SecurityModule, key: &KeyId) {
    let ours = module.public_key(key).expect("read a public key");
    let theirs = oracle.public_key(key).expect("read a public key");
    let a = module.agree_static(key, &theirs.point).expect("agree");
    let b = oracle.agree_static(key, &ours.point).expect("agree");
    assert_eq!(*a.0, *b.0, "the two sides agree on different secrets");
}

fn bad_points(module: &dyn SecurityModule, key: &KeyId, curve: Curve) {
    let good = module.public_key(key).expect("read a public key");
    let mut compressed = good.point[..=curve.field_len()].to_vec();
    compressed[0] = 2;
    let mut too_large = vec![0xff; good.point.len()];
    too_large[0] = 4;
    let mut zero = vec![0; good.point.len()];
    zero[0] = 4;
    for (what, point) in [
        ("off the curve", off_curve(&good).point),
        ("empty", Vec::new()),
        ("infinity", vec![0]),
        ("zero", zero),
        ("compressed", compressed),
        ("short", good.point[..good.point.len() - 1].to_vec()),
        ("long", [good.point.as_slice(), &[0]].concat()),
        ("beyond the field", too_large),
    ] {
        caller(module.agree_static(key, &point), what);
        let ephemeral = module.ephemeral_key(curve).expect("ephemeral key");
        caller(ephemeral.agree(&point), what);
    }
}

/// The same X with another Y.
fn off_curve(key: &PublicKey) -> PublicKey {
    let mut off = key.clone();
    if let Some(last) = off.point.last_mut() {
        *last ^= 1;
    }
    off
}

fn caller<T>(result: Result<T, ModuleError>, what: &str) {
    match result {
        Ok(_) => panic!("{what}: accepted"),
        Err(error) => assert_eq!(error.fault(), Fault::Caller, "{what}: {error}"),
    }
}

const DIGEST: [u8; 32] = [0x5a; 32];
