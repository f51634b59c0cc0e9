// SPDX-License-Identifier: MIT OR Apache-2.0
//! Published known answers: agreements of RFC 7027 appendix A (which RFC 8734 takes over), signatures of RFC 6979
//! appendix A.2 and of wake-up messages (TR-03109-1 detail specifications tab. 2.2).

use hsm_api::{Curve, Hash, KeyUsage, PublicKey, SecurityModule};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::checks::{Checks, Doing, Keys};
use crate::{Failure, Import, Names};

#[derive(Deserialize)]
struct KnownAnswers {
    agreements: Vec<Agreement>,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Agreement {
    source: String,
    curve: String,
    one: KeyPair,
    other: KeyPair,
    secret: Hex,
}

#[derive(Deserialize)]
struct KeyPair {
    private: Hex,
    public: Hex,
}

#[derive(Deserialize)]
struct Signature {
    source: String,
    curve: String,
    #[serde(deserialize_with = "hash_named")]
    hash: Hash,
    private: Hex,
    public: Hex,
    message: Hex,
    signature: Hex,
}

/// A hash by its name of FIPS 180-4.
fn hash_named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
    let name = String::deserialize(deserializer)?;
    let named = Hash::ALL.into_iter().find(|hash| hash.to_string() == name);
    named.ok_or_else(|| D::Error::custom(format!("no hash is called {name}")))
}

/// All answers known for one curve. Without `import` only verification is asked of the module.
pub(crate) fn of_curve(
    module: &dyn SecurityModule,
    import: Option<&dyn Import>,
    curve: Curve,
    names: &Names,
) -> Result<usize, Failure> {
    let known: KnownAnswers = serde_json::from_str(KNOWN_ANSWERS)
        .map_err(|error| Failure::Broken(format!("the known answers themselves: {error}")))?;
    let named = curve.to_string();
    let mut checks = Checks::default();
    for known in known.signatures.iter().filter(|one| one.curve == named) {
        signature(&mut checks, module, curve, known)?;
        if let Some(import) = import {
            signing(&mut checks, module, import, curve, names, known)?;
        }
    }
    if let Some(import) = import {
        for known in known.agreements.iter().filter(|one| one.curve == named) {
            agreement(&mut checks, module, import, curve, names, known)?;
        }
    }
    Ok(checks.0)
}

const KNOWN_ANSWERS: &str = include_str!("../../../fixtures/hsm/known-answers.json");

/// The known signature verifies, and no other.
fn signature(
    checks: &mut Checks,
    module: &dyn SecurityModule,
    curve: Curve,
    known: &Signature,
) -> Result<(), Failure> {
    let source = &known.source;
    let key = PublicKey::new(curve, known.public.0.clone()).doing(source)?;
    let mut digest = known.hash.digest(&known.message.0);
    for expected in [true, false] {
        let verified = module.verify_digest(&key, &digest, &known.signature.0);
        checks.hold(
            verified.doing(source)? == expected,
            format!("{source}: a signature that is to verify: {expected}"),
        )?;
        if let Some(first) = digest.first_mut() {
            *first ^= 1;
        }
    }
    Ok(())
}

/// The known private key has the known public half and signs for it.
fn signing(
    checks: &mut Checks,
    module: &dyn SecurityModule,
    import: &dyn Import,
    curve: Curve,
    names: &Names,
    known: &Signature,
) -> Result<(), Failure> {
    let (key, source) = (&names.sign, &known.source);
    let mut keys = Keys::of(module);
    let public = keys.import(import, key, KeyUsage::Sign, (curve, &known.private.0))?;
    checks.hold(
        public.point == known.public.0,
        format!("{source}: another public key"),
    )?;
    let digest = known.hash.digest(&known.message.0);
    let signature = module.sign_digest(key, &digest).doing(source)?;
    let verified = module.verify_digest(&public, &digest, &signature);
    checks.hold(
        verified.doing(source)?,
        format!("{source}: its own signature does not verify"),
    )?;
    keys.remove_all()
}

/// Each side of the known agreement, played by the module, comes to the known secret.
fn agreement(
    checks: &mut Checks,
    module: &dyn SecurityModule,
    import: &dyn Import,
    curve: Curve,
    names: &Names,
    known: &Agreement,
) -> Result<(), Failure> {
    let (key, source) = (&names.agree, &known.source);
    for (side, peer) in [(&known.one, &known.other), (&known.other, &known.one)] {
        let mut keys = Keys::of(module);
        let public = keys.import(import, key, KeyUsage::Agree, (curve, &side.private.0))?;
        checks.hold(
            public.point == side.public.0,
            format!("{source}: another public key"),
        )?;
        let secret = module.agree_static(key, &peer.public.0).doing(source)?;
        checks.hold(
            *secret.0 == known.secret.0,
            format!("{source}: another secret"),
        )?;
        keys.remove_all()?;
    }
    Ok(())
}

/// Bytes, as hex digits in the file.
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(deserializer)?;
        let pair = |at: usize| {
            let digits = text.get(at..at + 2)?;
            u8::from_str_radix(digits, 16).ok()
        };
        (0..text.len())
            .step_by(2)
            .map(pair)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| Error::custom(format!("\"{text}\" is not hex")))
    }
}
