// SPDX-License-Identifier: MIT OR Apache-2.0
//! Key pairs and what is done with them: `CKM_EC_KEY_PAIR_GEN`, `CKM_ECDSA`, `CKM_ECDH1_DERIVE` (PKCS#11 v2.40
//! mechanisms §2.3). Curves differ only in their object identifier.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use hsm_api::{Curve, KeyId, KeyInfo, KeyUsage, ModuleError, PublicKey, Reason, SharedSecret};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::link::require_login;
use crate::point;
use crate::quirks::PointEncoding;

/// A key pair as the driver works with it. The handle holds within its generation.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) private: ObjectHandle,
    pub(crate) public: PublicKey,
}

/// Makes a key pair under a name that is still free.
pub(crate) fn generate(
    session: &Session,
    key: &KeyId,
    curve: Curve,
    usage: KeyUsage,
) -> Result<Key, Failure> {
    require_free(session, key)?;
    let (public, private) = named(key, usage, true);
    let (public, private) = pair(session, curve, &public, &private)?;
    match read_public(session, public) {
        Ok(public) => Ok(Key { private, public }),
        Err(failure) => {
            // A key whose public half cannot be told is of no use to anybody.
            destroy(session, &[public, private]);
            Err(failure)
        }
    }
}

/// Takes a given key pair under a name that is still free, for as long as this session lasts.
#[cfg(feature = "testing")]
pub(crate) fn import(
    session: &Session,
    key: &KeyId,
    usage: KeyUsage,
    scalar: &[u8],
    public: &PublicKey,
) -> Result<(), Failure> {
    require_free(session, key)?;
    let curve = Attribute::EcParams(public.curve.oid_der().to_vec());
    let (public_part, private_part) = named(key, usage, false);
    let public_part = [
        public_part,
        vec![
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::EC),
            Attribute::Private(false),
            Attribute::EcPoint(point::octet_string(&public.point)),
            curve.clone(),
        ],
    ];
    let private_part = [
        private_part,
        vec![
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::EC),
            Attribute::Value(scalar.to_vec()),
            curve,
        ],
        KEPT_INSIDE.to_vec(),
    ];
    session.create_object(&public_part.concat())?;
    session.create_object(&private_part.concat())?;
    Ok(())
}

/// Makes a key pair that lives as long as its session at most.
pub(crate) fn generate_ephemeral(session: &Session, curve: Curve) -> Result<Key, Failure> {
    let passing = Attribute::Token(false);
    let (public_half, private) = pair(
        session,
        curve,
        std::slice::from_ref(&passing),
        &[
            passing.clone(),
            Attribute::Sign(false),
            Attribute::Derive(true),
        ],
    )?;
    let public = read_public(session, public_half).inspect_err(|_| destroy(session, &[private]));
    destroy(session, &[public_half]);
    Ok(Key {
        private,
        public: public?,
    })
}

fn require_free(session: &Session, key: &KeyId) -> Result<(), Failure> {
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        if !find(session, class, key)?.is_empty() {
            return Err(ModuleError::caller(format!("key {key} exists already"))
                .because(Reason::Exists)
                .into());
        }
    }
    require_login(session)?;
    Ok(())
}

/// What sets a named key pair apart, public and private half.
fn named(key: &KeyId, usage: KeyUsage, lasting: bool) -> (Vec<Attribute>, Vec<Attribute>) {
    let sign = usage == KeyUsage::Sign;
    let named = [
        Attribute::Token(lasting),
        label(key),
        Attribute::Id(key.0.clone().into_bytes()),
    ];
    let public = [Attribute::Verify(sign)];
    let private = [Attribute::Sign(sign), Attribute::Derive(!sign)];
    (
        [&named[..], &public].concat(),
        [&named[..], &private].concat(),
    )
}

/// What every private key has (TR-03116-3 §2.4).
const KEPT_INSIDE: [Attribute; 3] = [
    Attribute::Private(true),
    Attribute::Sensitive(true),
    Attribute::Extractable(false),
];

fn pair(
    session: &Session,
    curve: Curve,
    public: &[Attribute],
    private: &[Attribute],
) -> Result<(ObjectHandle, ObjectHandle), Failure> {
    let every_public = [
        Attribute::Private(false),
        Attribute::EcParams(curve.oid_der().to_vec()),
    ];
    Ok(session.generate_key_pair(
        &Mechanism::EccKeyPairGen,
        &[&every_public[..], public].concat(),
        &[&KEPT_INSIDE[..], private].concat(),
    )?)
}

/// Looks a key up by its label.
pub(crate) fn look_up(session: &Session, key: &KeyId) -> Result<Key, Failure> {
    let one = |class: ObjectClass, kind: &str| match find(session, class, key)?.as_slice() {
        [one] => Ok(*one),
        [] => {
            require_login(session)?;
            Err(missing(kind, key))
        }
        more => Err(ModuleError::caller(format!(
            "the token has {} {kind} keys {key}; give each a name of its own",
            more.len()
        ))
        .into()),
    };
    let private = one(ObjectClass::PRIVATE_KEY, "private")?;
    let public = read_public(session, one(ObjectClass::PUBLIC_KEY, "public")?)?;
    Ok(Key { private, public })
}

/// Destroys both halves. `begun` remembers over a repetition that there was something to destroy.
pub(crate) fn remove(session: &Session, key: &KeyId, begun: &mut bool) -> Result<(), Failure> {
    let private = find(session, ObjectClass::PRIVATE_KEY, key)?;
    if private.is_empty() && !*begun {
        require_login(session)?;
        return Err(missing("private", key));
    }
    *begun = true;
    let public = find(session, ObjectClass::PUBLIC_KEY, key)?;
    for object in private.into_iter().chain(public) {
        session.destroy_object(object)?;
    }
    Ok(())
}

/// All private keys on curves of TR-03116-3, by name.
pub(crate) fn list(session: &Session) -> Result<Vec<KeyInfo>, Failure> {
    require_login(session)?;
    let mut keys = Vec::new();
    for object in session.find_objects(&[
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
    ])? {
        let wanted = [
            AttributeType::Label,
            AttributeType::EcParams,
            AttributeType::Derive,
        ];
        let (mut label, mut curve, mut usage) = (None, None, KeyUsage::Sign);
        for attribute in session.get_attributes(object, &wanted)? {
            match attribute {
                Attribute::Label(bytes) => label = String::from_utf8(bytes).ok(),
                Attribute::EcParams(oid) => curve = Curve::from_oid_der(&oid),
                Attribute::Derive(true) => usage = KeyUsage::Agree,
                _ => {}
            }
        }
        if let (Some(label), Some(curve)) = (label, curve) {
            keys.push(KeyInfo {
                key: KeyId(label),
                curve,
                usage,
            });
        }
    }
    keys.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(keys)
}

pub(crate) fn sign(session: &Session, key: &Key, digest: &[u8]) -> Result<Vec<u8>, Failure> {
    let curve = key.public.curve;
    let signature = session.sign(&Mechanism::Ecdsa, key.private, curve.leftmost(digest))?;
    if signature.len() == 2 * curve.field_len() {
        Ok(signature)
    } else {
        Err(wrong("signature has a wrong length"))
    }
}

pub(crate) fn verify(
    session: &Session,
    key: &PublicKey,
    digest: &[u8],
    signature: &[u8],
) -> Result<bool, Failure> {
    let object = session.create_object(&[
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::EcParams(key.curve.oid_der().to_vec()),
        Attribute::EcPoint(point::octet_string(&key.point)),
        Attribute::Verify(true),
    ])?;
    let outcome = session.verify(
        &Mechanism::Ecdsa,
        object,
        key.curve.leftmost(digest),
        signature,
    );
    destroy(session, &[object]);
    match outcome.map_err(Failure::from) {
        Ok(()) => Ok(true),
        Err(failure) => match failure.rv() {
            Some(RvError::SignatureInvalid | RvError::SignatureLenRange) => Ok(false),
            // A token asked with a well-formed request that it cannot compute dislikes the point.
            Some(rv) if POINT_REFUSED.contains(&rv) => Err(refused("public key", rv)),
            _ => Err(failure),
        },
    }
}

/// Agrees with the peer's point; the secret is its X coordinate.
pub(crate) fn agree(
    session: &Session,
    encoding: PointEncoding,
    key: &Key,
    peer_point: &[u8],
) -> Result<SharedSecret, Failure> {
    let peer = PublicKey::new(key.public.curve, peer_point.to_vec())
        .map_err(|error| error.because(Reason::BadInput))?;
    derive(session, encoding, key, &peer).map_err(|failure| match failure.rv() {
        // Tokens say the same of a point they dislike and of their own failure: agreeing with a point that is
        // certainly good tells the two apart.
        Some(rv)
            if POINT_REFUSED.contains(&rv)
                && derive(session, encoding, key, &key.public).is_ok() =>
        {
            refused("peer's point", rv)
        }
        _ => failure,
    })
}

fn derive(
    session: &Session,
    encoding: PointEncoding,
    key: &Key,
    peer: &PublicKey,
) -> Result<SharedSecret, Failure> {
    let len = key.public.curve.field_len();
    let peer = encoding.encode(peer);
    // The secret is for the TLS or CMS key derivation, which happens outside (TR-03109-1 §13.4), so it must be
    // readable once; it lives in the token only for the three calls below.
    let secret = session.derive_key(
        &Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), &peer)),
        key.private,
        &[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Private(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::ValueLen((len as u64).into()),
        ],
    )?;
    let value = session.get_attributes(secret, &[AttributeType::Value]);
    destroy(session, &[secret]);
    match value?.into_iter().next() {
        Some(Attribute::Value(value)) => {
            let value = Zeroizing::new(value);
            if value.len() == len {
                Ok(SharedSecret(value))
            } else {
                Err(wrong("shared secret has a wrong length"))
            }
        }
        _ => Err(ModuleError::module("the token hides the shared secret").into()),
    }
}

fn read_public(session: &Session, object: ObjectHandle) -> Result<PublicKey, Failure> {
    let attributes =
        session.get_attributes(object, &[AttributeType::EcParams, AttributeType::EcPoint])?;
    let (mut curve, mut point) = (None, None);
    for attribute in attributes {
        match attribute {
            Attribute::EcParams(oid) => curve = Curve::from_oid_der(&oid),
            Attribute::EcPoint(value) => point = Some(value),
            _ => {}
        }
    }
    match (curve, point) {
        (Some(curve), Some(point)) => Ok(point::public_key(curve, &point)?),
        (None, _) => Err(
            ModuleError::caller("the key is not on a curve of TR-03116-3 table 4")
                .because(Reason::Unsupported)
                .into(),
        ),
        (_, None) => Err(ModuleError::module("the token hides CKA_EC_POINT").into()),
    }
}

/// Session objects are only clutter once used; a failure shows in the log and dies with the session.
pub(crate) fn destroy(session: &Session, objects: &[ObjectHandle]) {
    for object in objects {
        if let Err(error) = session.destroy_object(*object) {
            tracing::warn!(%error, "object not destroyed");
        }
    }
}

fn find(session: &Session, class: ObjectClass, key: &KeyId) -> Result<Vec<ObjectHandle>, Failure> {
    Ok(session.find_objects(&[Attribute::Class(class), label(key)])?)
}

fn label(key: &KeyId) -> Attribute {
    Attribute::Label(key.0.clone().into_bytes())
}

fn missing(kind: &str, key: &KeyId) -> Failure {
    ModuleError::caller(format!("the token has no {kind} key {key}"))
        .because(Reason::NotFound)
        .into()
}

fn refused(what: &str, rv: RvError) -> Failure {
    ModuleError::caller(format!("the token refused the {what}: {rv:?}"))
        .because(Reason::BadInput)
        .into()
}

fn wrong(what: &str) -> Failure {
    ModuleError::module(format!("the token's {what}"))
        .because(Reason::WrongResult)
        .into()
}

/// How tokens answer a point they cannot compute with; the standard names no value for it, and SoftHSM2 says
/// `CKR_GENERAL_ERROR`.
const POINT_REFUSED: &[RvError] = &[
    RvError::ArgumentsBad,
    RvError::AttributeValueInvalid,
    RvError::DataInvalid,
    RvError::DataLenRange,
    RvError::DomainParamsInvalid,
    RvError::FunctionFailed,
    RvError::GeneralError,
    RvError::MechanismParamInvalid,
    RvError::PublicKeyInvalid,
];
