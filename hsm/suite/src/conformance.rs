// SPDX-License-Identifier: MIT OR Apache-2.0
//! What [`SecurityModule`] promises, checked against an independent second module.
//!
//! [`check`] and [`check_storage`] panic with the broken promise, for tests of a back-end; the others return it.

use hsm_api::{
    Curve, Fault, KeyId, KeyInfo, KeyUsage, LifeCycle, ObjectId, PublicKey, Reason, SecurityModule,
};

use crate::Failure;
use crate::checks::{Checks, Doing, Keys};

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

/// Checks everything that has a curve; see [`of_curve`].
///
/// # Panics
/// At the first broken promise.
pub fn check(
    module: &dyn SecurityModule,
    oracle: &dyn SecurityModule,
    curve: Curve,
    names: &Names,
) {
    if let Err(failure) = of_curve(module, oracle, curve, names) {
        panic!("{curve}: {failure}");
    }
}

/// Checks what has no curve: objects, removal and the life cycle. It leaves the module decommissioned, so that nothing
/// can follow it.
///
/// # Panics
/// At the first broken promise.
pub fn check_storage(module: &dyn SecurityModule, names: &Names) {
    let checked = of_storage(module, names).and_then(|_| of_life_cycle(module, names));
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}

/// The promises about keys, signatures and agreements on one curve; returns how many checks passed. `oracle` must be
/// another implementation that supports the curve; its keys are named like those of `module`, so the two must not share
/// storage.
///
/// # Errors
/// The first broken promise. What was made is removed all the same.
pub fn of_curve(
    module: &dyn SecurityModule,
    oracle: &dyn SecurityModule,
    curve: Curve,
    names: &Names,
) -> Result<usize, Failure> {
    let mut checks = Checks::default();
    checks.hold(
        module.capabilities().curves.contains(&curve),
        "the curve is not among the capabilities",
    )?;
    let Names { sign, agree, .. } = names;
    let mut both = [Keys::of(module), Keys::of(oracle)];
    for (side, keys) in [module, oracle].into_iter().zip(&mut both) {
        let made = keys.generate(sign, curve, KeyUsage::Sign)?;
        let read = side.public_key(sign).doing("read a public key")?;
        checks.hold(read == made, "the public half changed")?;
        keys.generate(agree, curve, KeyUsage::Agree)?;
    }
    randomness(&mut checks, module)?;
    unknown_and_taken(&mut checks, module, sign, curve)?;
    usages(&mut checks, module, sign, agree)?;
    signatures(&mut checks, module, oracle, sign)?;
    signatures(&mut checks, oracle, module, sign)?;
    ephemeral_agreement(&mut checks, module, oracle, curve)?;
    static_agreement(&mut checks, module, oracle, agree)?;
    bad_points(&mut checks, module, agree, curve)?;
    for keys in both {
        keys.remove_all()?;
    }
    Ok(checks.0)
}

/// The promises about certificates, data objects and the removal of keys; returns how many checks passed.
///
/// # Errors
/// The first broken promise. Objects of these names may then be left.
pub fn of_storage(module: &dyn SecurityModule, names: &Names) -> Result<usize, Failure> {
    let mut checks = Checks::default();
    objects(&mut checks, module, names)?;
    removal(&mut checks, module, &names.sign)?;
    Ok(checks.0)
}

/// The promises about the life cycle; returns how many checks passed. It ends the module's life.
///
/// # Errors
/// The first broken promise.
pub fn of_life_cycle(module: &dyn SecurityModule, names: &Names) -> Result<usize, Failure> {
    let mut checks = Checks::default();
    phases(&mut checks, module)?;
    decommissioning(&mut checks, module, names)?;
    Ok(checks.0)
}

fn randomness(checks: &mut Checks, module: &dyn SecurityModule) -> Result<(), Failure> {
    let (mut a, mut b) = ([0; 32], [0; 32]);
    for block in [&mut a[..], &mut b, &mut []] {
        module.random(block).doing("give random bytes")?;
    }
    checks.hold(a != b, "random bytes repeat")
}

fn unknown_and_taken(
    checks: &mut Checks,
    module: &dyn SecurityModule,
    sign: &KeyId,
    curve: Curve,
) -> Result<(), Failure> {
    let unknown = KeyId::from("conformance-no-such-key");
    checks.refused(
        module.public_key(&unknown),
        Fault::Caller,
        "public half of an unknown key",
    )?;
    checks.refused(
        module.sign_digest(&unknown, &DIGEST),
        Fault::Caller,
        "signature by an unknown key",
    )?;
    checks.refused(
        module.agree_static(&unknown, &[]),
        Fault::Caller,
        "agreement with an unknown key",
    )?;
    checks.refused(
        module.generate_key(sign, curve, KeyUsage::Sign),
        Fault::Caller,
        "second key of the same name",
    )
}

fn usages(
    checks: &mut Checks,
    module: &dyn SecurityModule,
    sign: &KeyId,
    agree: &KeyId,
) -> Result<(), Failure> {
    checks.refused(
        module.sign_digest(agree, &DIGEST),
        Fault::Caller,
        "signature by an agreement key",
    )?;
    let point = module.public_key(sign).doing("read a public key")?.point;
    checks.refused(
        module.agree_static(sign, &point),
        Fault::Caller,
        "agreement with a signing key",
    )
}

/// `signer` signs, `verifier` accepts exactly that.
fn signatures(
    checks: &mut Checks,
    signer: &dyn SecurityModule,
    verifier: &dyn SecurityModule,
    key: &KeyId,
) -> Result<(), Failure> {
    let public = signer.public_key(key).doing("read a public key")?;
    for len in [32, 48, 64] {
        let digest: Vec<u8> = (0..len).map(|byte| byte ^ 0xb7).collect();
        let signature = signer.sign_digest(key, &digest).doing("sign")?;
        let width = 2 * public.curve.field_len();
        checks.hold(
            signature.len() == width,
            format!("a signature of {} bytes, not {width}", signature.len()),
        )?;
        let flipped = |bytes: &[u8], at: usize| {
            let mut wrong = bytes.to_vec();
            wrong[at] ^= 1;
            wrong
        };
        let mut verifies = |digest: &[u8], signature: &[u8], expected: bool, what: &str| {
            let verified = verifier.verify_digest(&public, digest, signature);
            let verified = verified.doing(what)?;
            checks.hold(
                verified == expected,
                format!("{what}, over {len} bytes, verifies: {verified}"),
            )
        };
        verifies(&digest, &signature, true, "a good signature")?;
        for at in [0, width / 2, width - 1] {
            let wrong = flipped(&signature, at);
            verifies(&digest, &wrong, false, "a wrong signature")?;
        }
        verifies(&digest, &signature[1..], false, "a short signature")?;
        verifies(&digest, &[], false, "an empty signature")?;
        verifies(&digest, &vec![0; width], false, "a zero signature")?;
        let other = flipped(&digest, 0);
        verifies(&other, &signature, false, "another digest's signature")?;
    }
    let signature = signer.sign_digest(key, &DIGEST).doing("sign")?;
    checks.refused(
        signer.sign_digest(key, &DIGEST[1..]),
        Fault::Caller,
        "digest of 31 bytes signed",
    )?;
    checks.refused(
        verifier.verify_digest(&public, &[], &signature),
        Fault::Caller,
        "empty digest verified",
    )?;
    let off = off_curve(&public);
    checks.hold(
        !matches!(verifier.verify_digest(&off, &DIGEST, &signature), Ok(true)),
        "a key off the curve verifies",
    )
}

fn ephemeral_agreement(
    checks: &mut Checks,
    module: &dyn SecurityModule,
    oracle: &dyn SecurityModule,
    curve: Curve,
) -> Result<(), Failure> {
    let mut points = Vec::new();
    for _ in 0..4 {
        let ours = module.ephemeral_key(curve).doing("make an ephemeral key")?;
        let theirs = oracle.ephemeral_key(curve).doing("make an ephemeral key")?;
        let (our_point, their_point) = (
            ours.public_key().point.clone(),
            theirs.public_key().point.clone(),
        );
        let a = ours.agree(&their_point).doing("agree")?;
        let b = theirs.agree(&our_point).doing("agree")?;
        checks.hold(
            a.0.len() == curve.field_len(),
            "the secret is no coordinate",
        )?;
        checks.hold(*a.0 == *b.0, "the two sides agree on different secrets")?;
        checks.hold(!points.contains(&our_point), "ephemeral keys repeat")?;
        points.push(our_point);
    }
    Ok(())
}

fn static_agreement(
    checks: &mut Checks,
    module: &dyn SecurityModule,
    oracle: &dyn SecurityModule,
    key: &KeyId,
) -> Result<(), Failure> {
    let ours = module.public_key(key).doing("read a public key")?;
    let theirs = oracle.public_key(key).doing("read a public key")?;
    let a = module.agree_static(key, &theirs.point).doing("agree")?;
    let b = oracle.agree_static(key, &ours.point).doing("agree")?;
    checks.hold(*a.0 == *b.0, "the two sides agree on different secrets")
}

fn bad_points(
    checks: &mut Checks,
    module: &dyn SecurityModule,
    key: &KeyId,
    curve: Curve,
) -> Result<(), Failure> {
    let good = module.public_key(key).doing("read a public key")?;
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
        let what = format!("agreement with a bad point ({what})");
        checks.refused(module.agree_static(key, &point), Fault::Caller, &what)?;
        let ephemeral = module.ephemeral_key(curve).doing("make an ephemeral key")?;
        checks.refused(ephemeral.agree(&point), Fault::Caller, &what)?;
    }
    Ok(())
}

fn objects(checks: &mut Checks, module: &dyn SecurityModule, names: &Names) -> Result<(), Failure> {
    let Names {
        certificate, data, ..
    } = names;
    let der = [&[0x30, 0x82, 1, 4][..], &[0xa5; 260]].concat();
    for (object, content, other) in [
        (certificate, &der[..], &[0x30, 2, 5, 0][..]),
        (data, &b"\0\xff\x80data"[..], &b"x"[..]),
    ] {
        checks.refused(
            module.read_object(object),
            Reason::NotFound,
            "absent object read",
        )?;
        checks.refused(
            module.remove_object(object),
            Reason::NotFound,
            "absent object removed",
        )?;
        for content in [content, other] {
            stored(checks, module, object, content)?;
        }
    }
    let listed = module.objects().doing("list objects")?;
    for object in [certificate, data] {
        let times = listed.iter().filter(|one| *one == object).count();
        checks.hold(times == 1, format!("{object} is listed {times} times"))?;
    }
    checks.refused(
        module.write_object(certificate, &der[1..]),
        Reason::BadInput,
        "certificate that is no sequence",
    )?;
    if let Some(limit) = module.capabilities().largest_object {
        checks.refused(
            module.write_object(data, &vec![0; limit + 1]),
            Reason::Unsupported,
            "object beyond the limit",
        )?;
        stored(checks, module, data, &vec![0x5a; limit])?;
    }
    for object in [certificate, data] {
        module.remove_object(object).doing("remove an object")?;
        let listed = module.objects().doing("list objects")?;
        checks.hold(!listed.contains(object), format!("{object} is still there"))?;
    }
    Ok(())
}

/// What is stored is read again.
fn stored(
    checks: &mut Checks,
    module: &dyn SecurityModule,
    object: &ObjectId,
    content: &[u8],
) -> Result<(), Failure> {
    module
        .write_object(object, content)
        .doing("store an object")?;
    let read = module.read_object(object).doing("read an object")?;
    checks.hold(
        read == content,
        format!("{object} is not read as it was stored"),
    )
}

fn removal(checks: &mut Checks, module: &dyn SecurityModule, key: &KeyId) -> Result<(), Failure> {
    let usage = KeyUsage::Sign;
    let curve = Curve::BrainpoolP256r1;
    checks.refused(
        module.remove_key(key),
        Reason::NotFound,
        "unknown key removed",
    )?;
    let listed = KeyInfo {
        key: key.clone(),
        curve,
        usage,
    };
    let mut made = Vec::new();
    for _ in 0..2 {
        let mut keys = Keys::of(module);
        let public = keys.generate(key, curve, usage)?;
        checks.hold(!made.contains(&public), "a removed key came back")?;
        made.push(public);
        let all = module.keys().doing("list keys")?;
        checks.hold(all.contains(&listed), "a key is not listed")?;
        keys.remove_all()?;
        let all = module.keys().doing("list keys")?;
        checks.hold(!all.contains(&listed), "a removed key is still listed")?;
        checks.refused(
            module.sign_digest(key, &DIGEST),
            Fault::Caller,
            "signature by a removed key",
        )?;
    }
    Ok(())
}

fn phases(checks: &mut Checks, module: &dyn SecurityModule) -> Result<(), Failure> {
    let phase = module.life_cycle().doing("read the phase")?;
    module.enter_phase(phase).doing("stay in the phase")?;
    let operation = LifeCycle::Operation;
    module.enter_phase(operation).doing("enter operation")?;
    checks.refused(
        module.enter_phase(LifeCycle::Integration),
        Reason::WrongPhase,
        "way back in the life cycle",
    )?;
    let phase = module.life_cycle().doing("read the phase")?;
    checks.hold(
        phase == operation,
        format!("in phase {phase}, not {operation}"),
    )
}

fn decommissioning(
    checks: &mut Checks,
    module: &dyn SecurityModule,
    names: &Names,
) -> Result<(), Failure> {
    let curve = Curve::BrainpoolP256r1;
    let Names { sign, agree, .. } = names;
    let mut keys = Keys::of(module);
    let public = keys.generate(sign, curve, KeyUsage::Sign)?;
    let peer = keys.generate(agree, curve, KeyUsage::Agree)?;
    let signature = module.sign_digest(sign, &DIGEST).doing("sign")?;
    let end = module.enter_phase(LifeCycle::Decommissioned);
    end.doing("enter the last phase")?;
    let phase = Reason::WrongPhase;
    checks.refused(
        module.sign_digest(sign, &DIGEST),
        phase,
        "signature after the end",
    )?;
    checks.refused(
        module.agree_static(agree, &peer.point),
        phase,
        "agreement after the end",
    )?;
    checks.refused(
        module.ephemeral_key(curve),
        phase,
        "ephemeral key after the end",
    )?;
    let late = KeyId::from("conformance-late");
    checks.refused(
        module.generate_key(&late, curve, KeyUsage::Sign),
        phase,
        "new key after the end",
    )?;
    checks.refused(
        module.enter_phase(LifeCycle::Operation),
        phase,
        "way back from the end",
    )?;
    let verified = module.verify_digest(&public, &DIGEST, &signature);
    checks.hold(
        verified.doing("verify")?,
        "a signature of the module's life does not outlive it",
    )
}

/// The same X with another Y.
fn off_curve(key: &PublicKey) -> PublicKey {
    let mut off = key.clone();
    if let Some(last) = off.point.last_mut() {
        *last ^= 1;
    }
    off
}

const DIGEST: [u8; 32] = [0x5a; 32];
