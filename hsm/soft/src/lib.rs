// SPDX-License-Identifier: MIT OR Apache-2.0
//! Security-module back-end in software, for peers of the gateway and for verification.
//!
//! Keys live in this process's memory and are wiped when dropped: it plays the partners of a gateway, never the
//! gateway's own module (TR-03109-2). Today it knows one curve, brainpoolP256r1 (RFC 5639).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bp256::BrainpoolP256r1;
use ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use ecdsa::{Signature, SigningKey, VerifyingKey};
use elliptic_curve::Generate;
use elliptic_curve::sec1::ToSec1Point;
use hsm_api::{
    Capabilities, Curve, EphemeralKey, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError, ObjectId,
    ObjectKind, PublicKey, Reason, SecurityModule, SharedSecret, require_digest, require_sequence,
};
use zeroize::Zeroizing;

type SecretKey = elliptic_curve::SecretKey<BrainpoolP256r1>;

/// A security module in memory.
pub struct SoftModule {
    keys: Mutex<BTreeMap<KeyId, StoredKey>>,
    storage: Mutex<Storage>,
}

struct Storage {
    objects: BTreeMap<ObjectId, Vec<u8>>,
    phase: LifeCycle,
}

struct StoredKey {
    secret: SecretKey,
    usage: KeyUsage,
}

impl SoftModule {
    /// An empty module.
    pub fn new() -> Self {
        Self {
            keys: Mutex::default(),
            storage: Mutex::new(Storage {
                objects: BTreeMap::new(),
                phase: LifeCycle::Production,
            }),
        }
    }

    /// Stores a given private key: a scalar of `curve.field_len()` bytes, big-endian. For known answers.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Caller`] when the name is taken, the curve is not supported or the scalar is zero or
    /// not below the group order.
    pub fn import_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
        scalar: &[u8],
    ) -> Result<PublicKey, ModuleError> {
        require_curve(curve)?;
        // The parser would pad a short scalar; a key of the wrong length is a mistake of the caller.
        let secret = Some(scalar)
            .filter(|scalar| scalar.len() == curve.field_len())
            .and_then(|scalar| SecretKey::from_slice(scalar).ok())
            .ok_or_else(|| ModuleError::caller(format!("not a private key of {curve}")))?;
        self.store(key, secret, usage)
    }

    fn store(
        &self,
        key: &KeyId,
        secret: SecretKey,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        let mut keys = self.stored_keys();
        if keys.contains_key(key) {
            return Err(
                ModuleError::caller(format!("key {key} exists already")).because(Reason::Exists)
            );
        }
        let public = public_half(&secret);
        keys.insert(key.clone(), StoredKey { secret, usage });
        Ok(public)
    }

    fn with_key<T>(
        &self,
        key: &KeyId,
        work: impl FnOnce(&StoredKey) -> Result<T, ModuleError>,
    ) -> Result<T, ModuleError> {
        match self.stored_keys().get(key) {
            Some(stored) => work(stored),
            None => Err(no_key(key)),
        }
    }

    fn stored_keys(&self) -> MutexGuard<'_, BTreeMap<KeyId, StoredKey>> {
        // No operation leaves the map half changed, so a panicking thread cannot have damaged it.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn storage(&self) -> MutexGuard<'_, Storage> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SoftModule {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SoftModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftModule")
            .field("keys", &self.stored_keys().len())
            .finish()
    }
}

impl SecurityModule for SoftModule {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "smgw-bench soft module".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            curves: vec![Curve::BrainpoolP256r1],
            keys_stay_inside: false,
            parallel: std::thread::available_parallelism().map_or(1, usize::from),
            largest_object: None,
        }
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        getrandom::fill(out).map_err(|error| ModuleError::module(format!("no randomness: {error}")))
    }

    fn generate_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        require_curve(curve)?;
        self.store(key, fresh_secret()?, usage)
    }

    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError> {
        match self.stored_keys().remove(key) {
            Some(_) => Ok(()),
            None => Err(no_key(key)),
        }
    }

    fn keys(&self) -> Result<Vec<KeyInfo>, ModuleError> {
        let info = |(key, stored): (&KeyId, &StoredKey)| KeyInfo {
            key: key.clone(),
            curve: Curve::BrainpoolP256r1,
            usage: stored.usage,
        };
        Ok(self.stored_keys().iter().map(info).collect())
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, ModuleError> {
        self.with_key(key, |stored| Ok(public_half(&stored.secret)))
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        require_digest(digest)?;
        self.with_key(key, |stored| {
            require_usage(key, stored, KeyUsage::Sign)?;
            let signature: Signature<BrainpoolP256r1> = SigningKey::from(&stored.secret)
                .sign_prehash(digest)
                .map_err(|error| ModuleError::module(format!("signing failed: {error}")))?;
            Ok(signature.to_bytes().to_vec())
        })
    }

    fn verify_digest(
        &self,
        key: &PublicKey,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, ModuleError> {
        verify(key, digest, signature)
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        require_curve(curve)?;
        let secret = fresh_secret()?;
        Ok(Box::new(SoftEphemeral {
            public: public_half(&secret),
            secret,
        }))
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        self.with_key(key, |stored| {
            require_usage(key, stored, KeyUsage::Agree)?;
            agree(&stored.secret, peer_point)
        })
    }

    fn objects(&self) -> Result<Vec<ObjectId>, ModuleError> {
        Ok(self.storage().objects.keys().cloned().collect())
    }

    fn read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError> {
        let storage = self.storage();
        let content = storage.objects.get(object);
        content.cloned().ok_or_else(|| no_object(object))
    }

    fn write_object(&self, object: &ObjectId, content: &[u8]) -> Result<(), ModuleError> {
        if object.kind == ObjectKind::Certificate {
            require_sequence(content)?;
        }
        self.storage()
            .objects
            .insert(object.clone(), content.to_vec());
        Ok(())
    }

    fn remove_object(&self, object: &ObjectId) -> Result<(), ModuleError> {
        match self.storage().objects.remove(object) {
            Some(_) => Ok(()),
            None => Err(no_object(object)),
        }
    }

    fn life_cycle(&self) -> Result<LifeCycle, ModuleError> {
        Ok(self.storage().phase)
    }

    fn enter_phase(&self, phase: LifeCycle) -> Result<(), ModuleError> {
        let mut storage = self.storage();
        storage.phase.require_forward(phase)?;
        storage.phase = phase;
        Ok(())
    }
}

/// Verifies plain `r || s` over a digest without any module; the contract is that of
/// [`SecurityModule::verify_digest`].
///
/// # Errors
/// [`hsm_api::Fault::Caller`] when the curve is not supported, the point is not on it, or the digest is none of
/// SHA-256, SHA-384 and SHA-512.
pub fn verify(key: &PublicKey, digest: &[u8], signature: &[u8]) -> Result<bool, ModuleError> {
    require_curve(key.curve)?;
    require_digest(digest)?;
    let verifying = VerifyingKey::from(peer_key(&key.point)?);
    // A signature of wrong length or with r or s out of range does not parse; it is simply wrong.
    Ok(Signature::<BrainpoolP256r1>::from_slice(signature)
        .is_ok_and(|signature| verifying.verify_prehash(digest, &signature).is_ok()))
}

struct SoftEphemeral {
    secret: SecretKey,
    public: PublicKey,
}

impl EphemeralKey for SoftEphemeral {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn agree(self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        agree(&self.secret, peer_point)
    }
}

fn agree(secret: &SecretKey, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
    let shared = secret.diffie_hellman(&peer_key(peer_point)?);
    Ok(SharedSecret(Zeroizing::new(
        shared.raw_secret_bytes().to_vec(),
    )))
}

/// Parses an uncompressed point and checks that it lies on the curve (TR-03111 §4.3.1).
fn peer_key(point: &[u8]) -> Result<elliptic_curve::PublicKey<BrainpoolP256r1>, ModuleError> {
    let shaped = PublicKey::new(Curve::BrainpoolP256r1, point.to_vec())?;
    elliptic_curve::PublicKey::from_sec1_bytes(&shaped.point)
        .map_err(|_| ModuleError::caller("the point is not on brainpoolP256r1"))
}

fn public_half(secret: &SecretKey) -> PublicKey {
    PublicKey {
        curve: Curve::BrainpoolP256r1,
        point: secret.public_key().to_sec1_point(false).as_bytes().to_vec(),
    }
}

fn fresh_secret() -> Result<SecretKey, ModuleError> {
    SecretKey::try_generate()
        .map_err(|error| ModuleError::module(format!("no randomness: {error}")))
}

fn require_curve(curve: Curve) -> Result<(), ModuleError> {
    if curve == Curve::BrainpoolP256r1 {
        Ok(())
    } else {
        Err(ModuleError::caller(format!(
            "the soft module does not know {curve}"
        )))
    }
}

fn no_key(key: &KeyId) -> ModuleError {
    ModuleError::caller(format!("no key {key}")).because(Reason::NotFound)
}

fn no_object(object: &ObjectId) -> ModuleError {
    ModuleError::caller(format!("no {object}")).because(Reason::NotFound)
}

fn require_usage(key: &KeyId, stored: &StoredKey, usage: KeyUsage) -> Result<(), ModuleError> {
    if stored.usage == usage {
        Ok(())
    } else {
        Err(ModuleError::caller(format!(
            "key {key} is not for this use"
        )))
    }
}
