// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trait's operations as PKCS#11 mechanisms: `CKM_EC_KEY_PAIR_GEN`, `CKM_ECDSA`, `CKM_ECDH1_DERIVE`
//! (PKCS#11 v2.40 mechanisms §2.3). Curves differ only in their object identifier.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::error::RvError;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use hsm_api::{
    Capabilities, Curve, EphemeralKey, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError, ObjectId,
    PublicKey, Reason, SecurityModule, SharedSecret, require_digest,
};
use zeroize::Zeroizing;

use crate::TokenSelector;
use crate::config::Pkcs11Config;
use crate::failure::Failure;
use crate::library::{Library, TokenInfo};
use crate::point::{self, PointEncoding};
use crate::pool::Pool;
use crate::storage;

/// A token behind a PKCS#11 library. Dropping it (and the ephemeral keys it made) closes its sessions, and the
/// last user of the library in this process finalises it.
pub struct Pkcs11Module {
    token: Arc<Token>,
}

struct Token {
    pool: Pool,
    info: TokenInfo,
    encoding: PointEncoding,
    /// Looking up an object costs more than many an operation, so handles are kept.
    keys: Mutex<HashMap<KeyId, Key>>,
}

#[derive(Clone)]
struct Key {
    private: ObjectHandle,
    public: PublicKey,
}

impl Pkcs11Module {
    /// Opens a token: loads the library, finds the token, opens all sessions and logs in.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Transport`] when the library or the token is missing; the text names what was looked for
    /// and what exists. [`hsm_api::Fault::Module`] when the token refuses the PIN (which is tried exactly once),
    /// lacks a mechanism or does not grant the sessions. [`hsm_api::Fault::Caller`] for zero sessions.
    pub fn open(config: Pkcs11Config) -> Result<Self, ModuleError> {
        let library = Library::acquire(&config.module)?;
        let (slot, info) = find_token(&library, &config.token)?;
        let offered = library
            .context()
            .get_mechanism_list(slot)
            .map_err(|error| Failure::from(error).explain("listing mechanisms"))?;
        for (mechanism, name) in MECHANISMS {
            if !offered.contains(mechanism) {
                return Err(ModuleError::module(format!(
                    "{} does not offer {name}",
                    config.token
                )));
            }
        }
        let pool = Pool::open(
            library,
            slot,
            config.token.to_string(),
            &config.pin,
            config.sessions,
        )?;
        let encoding = PointEncoding::for_manufacturer(&info.manufacturer);
        Ok(Self {
            token: Arc::new(Token {
                pool,
                info,
                encoding,
                keys: Mutex::default(),
            }),
        })
    }

    /// The token that was opened.
    pub fn token(&self) -> &TokenInfo {
        &self.token.info
    }
}

impl fmt::Debug for Pkcs11Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Module")
            .field("token", &self.token.info)
            .finish_non_exhaustive()
    }
}

impl SecurityModule for Pkcs11Module {
    /// All curves are named because PKCS#11 has no way to ask; a token that lacks one refuses the key.
    fn capabilities(&self) -> Capabilities {
        let TokenInfo {
            manufacturer,
            model,
            serial,
            ..
        } = &self.token.info;
        Capabilities {
            name: format!("{manufacturer} {model} {serial}"),
            version: String::new(),
            curves: Curve::ALL.to_vec(),
            keys_stay_inside: true,
            parallel: self.token.pool.size(),
            largest_object: None,
        }
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        if out.is_empty() {
            // Some tokens take a request for nothing as an error.
            return Ok(());
        }
        self.token.pool.run("random bytes", |session| {
            Ok(session.generate_random_slice(out)?)
        })
    }

    fn generate_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        let sign = usage == KeyUsage::Sign;
        let label = || Attribute::Label(key.0.clone().into_bytes());
        let id = || Attribute::Id(key.0.clone().into_bytes());
        self.token
            .pool
            .run(&format!("making key {key}"), |session| {
                if !session.find_objects(&[label()])?.is_empty() {
                    return Err(ModuleError::caller(format!("key {key} exists already")).into());
                }
                let (public, private) = session.generate_key_pair(
                    &Mechanism::EccKeyPairGen,
                    &[
                        Attribute::Token(true),
                        Attribute::Private(false),
                        label(),
                        id(),
                        Attribute::EcParams(curve.oid_der().to_vec()),
                        Attribute::Verify(sign),
                    ],
                    &[
                        Attribute::Token(true),
                        Attribute::Private(true),
                        Attribute::Sensitive(true),
                        Attribute::Extractable(false),
                        label(),
                        id(),
                        Attribute::Sign(sign),
                        Attribute::Derive(!sign),
                    ],
                )?;
                let public = read_public(session, public)?;
                self.token.keys().insert(
                    key.clone(),
                    Key {
                        private,
                        public: public.clone(),
                    },
                );
                Ok(public)
            })
    }

    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError> {
        self.token.keys().remove(key);
        self.token
            .pool
            .run(&format!("removing key {key}"), |session| {
                let label = Attribute::Label(key.0.clone().into_bytes());
                for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                    let found = session.find_objects(&[Attribute::Class(class), label.clone()])?;
                    if found.is_empty() && class == ObjectClass::PRIVATE_KEY {
                        return Err(ModuleError::caller(format!(
                            "the token has no private key {key}"
                        ))
                        .because(Reason::NotFound)
                        .into());
                    }
                    for object in found {
                        session.destroy_object(object)?;
                    }
                }
                Ok(())
            })
    }

    fn keys(&self) -> Result<Vec<KeyInfo>, ModuleError> {
        self.token.pool.run("listing keys", storage::keys)
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, ModuleError> {
        self.token
            .with_key(key, "reading", |_, found| Ok(found.public.clone()))
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        require_digest(digest)?;
        self.token.with_key(key, "signing with", |session, found| {
            let signature = session.sign(
                &Mechanism::Ecdsa,
                found.private,
                found.public.curve.leftmost(digest),
            )?;
            if signature.len() != 2 * found.public.curve.field_len() {
                return Err(ModuleError::module("the token's signature has a wrong length").into());
            }
            Ok(signature)
        })
    }

    fn verify_digest(
        &self,
        key: &PublicKey,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, ModuleError> {
        require_digest(digest)?;
        let key = PublicKey::new(key.curve, key.point.clone())?;
        if signature.len() != 2 * key.curve.field_len() {
            return Ok(false);
        }
        self.token.pool.run("verifying", |session| {
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
                    Some(rv) if POINT_REFUSED.contains(&rv) => Err(ModuleError::caller(format!(
                        "the token refused the public key: {rv:?}"
                    ))
                    .into()),
                    _ => Err(failure),
                },
            }
        })
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        let ephemeral = self.token.pool.run("making an ephemeral key", |session| {
            let (public_half, private) = session.generate_key_pair(
                &Mechanism::EccKeyPairGen,
                &[
                    Attribute::Token(false),
                    Attribute::Private(false),
                    Attribute::EcParams(curve.oid_der().to_vec()),
                ],
                &[
                    Attribute::Token(false),
                    Attribute::Private(true),
                    Attribute::Sensitive(true),
                    Attribute::Extractable(false),
                    Attribute::Sign(false),
                    Attribute::Derive(true),
                ],
            )?;
            let public =
                read_public(session, public_half).inspect_err(|_| destroy(session, &[private]));
            destroy(session, &[public_half]);
            Ok(Ephemeral {
                token: Arc::clone(&self.token),
                private,
                public: public?,
            })
        })?;
        Ok(Box::new(ephemeral))
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        self.token.with_key(key, "agreeing with", |session, found| {
            agree(session, self.token.encoding, found, peer_point)
        })
    }

    fn objects(&self) -> Result<Vec<ObjectId>, ModuleError> {
        self.token.pool.run("listing objects", storage::objects)
    }

    fn read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError> {
        self.token
            .pool
            .run(&format!("reading the {object}"), |session| {
                storage::read(session, object)
            })
    }

    fn write_object(&self, object: &ObjectId, content: &[u8]) -> Result<(), ModuleError> {
        self.token
            .pool
            .run(&format!("storing the {object}"), |session| {
                storage::write(session, object, content)
            })
    }

    fn remove_object(&self, object: &ObjectId) -> Result<(), ModuleError> {
        self.token
            .pool
            .run(&format!("removing the {object}"), |session| {
                storage::remove(session, object)
            })
    }

    fn life_cycle(&self) -> Result<LifeCycle, ModuleError> {
        self.token
            .pool
            .run("reading the life-cycle phase", storage::phase)
    }

    fn enter_phase(&self, phase: LifeCycle) -> Result<(), ModuleError> {
        self.token
            .pool
            .run("entering a life-cycle phase", |session| {
                storage::enter(session, phase)
            })
    }
}

impl Token {
    fn keys(&self) -> MutexGuard<'_, HashMap<KeyId, Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a key by its label and works with it.
    fn with_key<T>(
        &self,
        key: &KeyId,
        what: &str,
        mut work: impl FnMut(&Session, &Key) -> Result<T, Failure>,
    ) -> Result<T, ModuleError> {
        self.pool.run(&format!("{what} key {key}"), |session| {
            let cached = self.keys().get(key).cloned();
            if let Some(found) = cached {
                match work(session, &found) {
                    // The object was deleted or made anew behind our back: look once more.
                    Err(failure) if failure.rv().is_some_and(|rv| HANDLE_STALE.contains(&rv)) => {
                        self.keys().remove(key);
                    }
                    outcome => return outcome,
                }
            }
            let found = find_key(session, key)?;
            self.keys().insert(key.clone(), found.clone());
            work(session, &found)
        })
    }
}

struct Ephemeral {
    token: Arc<Token>,
    private: ObjectHandle,
    public: PublicKey,
}

impl EphemeralKey for Ephemeral {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn agree(self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let key = Key {
            private: self.private,
            public: self.public.clone(),
        };
        self.token
            .pool
            .run("agreeing with an ephemeral key", |session| {
                agree(session, self.token.encoding, &key, peer_point)
            })
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        let destroyed = self
            .token
            .pool
            .run("destroying an ephemeral key", |session| {
                Ok(session.destroy_object(self.private)?)
            });
        if let Err(error) = destroyed {
            // The key dies with its session at the latest.
            tracing::warn!(%error, "ephemeral key not destroyed");
        }
    }
}

fn agree(
    session: &Session,
    encoding: PointEncoding,
    key: &Key,
    peer_point: &[u8],
) -> Result<SharedSecret, Failure> {
    let curve = key.public.curve;
    let peer = encoding.encode(&PublicKey::new(curve, peer_point.to_vec())?);
    let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), &peer));
    // The secret is for the TLS or CMS key derivation, which happens outside (TR-03109-1 §13.4), so it must be
    // readable once; it lives in the token only for the three calls below.
    let derived = session.derive_key(
        &mechanism,
        key.private,
        &[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Private(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::ValueLen((curve.field_len() as u64).into()),
        ],
    );
    let secret = match derived.map_err(Failure::from) {
        Ok(secret) => secret,
        Err(failure) => {
            return Err(match failure.rv() {
                Some(rv) if POINT_REFUSED.contains(&rv) => {
                    ModuleError::caller(format!("the token refused the peer's point: {rv:?}"))
                        .into()
                }
                _ => failure,
            });
        }
    };
    let value = session.get_attributes(secret, &[AttributeType::Value]);
    destroy(session, &[secret]);
    match value?.into_iter().next() {
        Some(Attribute::Value(value)) => {
            let value = Zeroizing::new(value);
            if value.len() == curve.field_len() {
                Ok(SharedSecret(value))
            } else {
                Err(ModuleError::module("the token's shared secret has a wrong length").into())
            }
        }
        _ => Err(ModuleError::module("the token hides the shared secret").into()),
    }
}

fn find_key(session: &Session, key: &KeyId) -> Result<Key, Failure> {
    let object = |class: ObjectClass, kind: &str| -> Result<ObjectHandle, Failure> {
        let label = Attribute::Label(key.0.clone().into_bytes());
        match session
            .find_objects(&[Attribute::Class(class), label])?
            .as_slice()
        {
            [one] => Ok(*one),
            [] => Err(ModuleError::caller(format!("the token has no {kind} key {key}")).into()),
            more => Err(ModuleError::caller(format!(
                "the token has {} {kind} keys {key}",
                more.len()
            ))
            .into()),
        }
    };
    let private = object(ObjectClass::PRIVATE_KEY, "private")?;
    let public = read_public(session, object(ObjectClass::PUBLIC_KEY, "public")?)?;
    Ok(Key { private, public })
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
        (None, _) => {
            Err(ModuleError::caller("the key is not on a curve of TR-03116-3 table 4").into())
        }
        (_, None) => Err(ModuleError::module("the token hides CKA_EC_POINT").into()),
    }
}

/// Session objects are only clutter once used; a failure shows in the log and dies with the session.
fn destroy(session: &Session, objects: &[ObjectHandle]) {
    for object in objects {
        if let Err(error) = session.destroy_object(*object) {
            tracing::warn!(%error, "session object not destroyed");
        }
    }
}

fn find_token(
    library: &Library,
    selector: &TokenSelector,
) -> Result<(cryptoki::slot::Slot, TokenInfo), ModuleError> {
    let tokens = library.tokens()?;
    let wanted = |info: &TokenInfo| match selector {
        TokenSelector::Label(label) => info.label == *label,
        TokenSelector::Serial(serial) => info.serial == *serial,
    };
    let listing = tokens
        .iter()
        .map(|(_, info)| format!("\"{}\" (serial {})", info.label, info.serial))
        .collect::<Vec<_>>()
        .join(", ");
    let mut matching = tokens.into_iter().filter(|(_, info)| wanted(info));
    let path = library.path().display();
    match (matching.next(), matching.next()) {
        (Some(found), None) => Ok(found),
        (None, _) if listing.is_empty() => Err(ModuleError::transport(format!(
            "no {selector} in {path}, which has no initialised token"
        ))),
        (None, _) => Err(ModuleError::transport(format!(
            "no {selector} in {path}, which has {listing}"
        ))),
        (Some(_), Some(_)) => Err(ModuleError::transport(format!(
            "more than one {selector} in {path}, which has {listing}"
        ))),
    }
}

const MECHANISMS: &[(MechanismType, &str)] = &[
    (MechanismType::ECC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN"),
    (MechanismType::ECDSA, "CKM_ECDSA"),
    (MechanismType::ECDH1_DERIVE, "CKM_ECDH1_DERIVE"),
];

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

const HANDLE_STALE: &[RvError] = &[RvError::KeyHandleInvalid, RvError::ObjectHandleInvalid];
