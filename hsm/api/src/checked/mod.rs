// SPDX-License-Identifier: MIT OR Apache-2.0
//! A module whose results are looked at before they are used.
//!
//! Signatures must verify, points and secrets must have the right shape, and nothing that must be fresh may come
//! twice: random blocks, public halves of new keys, and the nonces of signatures, whose repetition tells the private
//! key to everybody who sees both signatures. A repetition is a total failure in the sense of AIS 31, after which the
//! module is unusable. Of what was seen only keyed fingerprints are kept, and only so many ([`WINDOW`]): a generator
//! that is stuck is found at once, one with a long period is not.

mod fresh;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fresh::{Blocks, Seen};

pub use fresh::WINDOW;

use crate::{
    Curve, EphemeralKey, KeyId, KeyUsage, Layer, ModuleError, PublicKey, Reason, SecurityModule,
    SharedSecret,
};

/// A module in front of which every result is checked.
///
/// A wrong result is [`crate::Fault::Module`] with [`Reason::WrongResult`] and never leaves. After a repetition every
/// operation that needs randomness or a private key fails so.
pub struct Checked {
    below: Arc<dyn SecurityModule>,
    verifier: Arc<dyn SecurityModule>,
    /// Public halves, read once per key.
    public: Mutex<HashMap<KeyId, PublicKey>>,
    fresh: Mutex<Fresh>,
    unusable: OnceLock<&'static str>,
}

#[derive(Default)]
struct Fresh {
    blocks: Blocks,
    points: Seen,
    nonces: Seen,
}

impl Checked {
    /// Checks `below`; `verifier` verifies its signatures. Another implementation finds more than the same one.
    pub fn new(below: Arc<dyn SecurityModule>, verifier: Arc<dyn SecurityModule>) -> Self {
        Self {
            below,
            verifier,
            public: Mutex::default(),
            fresh: Mutex::default(),
            unusable: OnceLock::new(),
        }
    }

    /// Why the module may not be used any more.
    pub fn unusable(&self) -> Option<&'static str> {
        self.unusable.get().copied()
    }

    fn require_usable(&self) -> Result<(), ModuleError> {
        self.unusable().map_or(Ok(()), |why| {
            Err(wrong(format!("the security module is unusable: {why}")))
        })
    }

    /// Condemns the module.
    fn repeated(&self, what: &'static str) -> ModuleError {
        let why = self.unusable.get_or_init(|| what);
        tracing::error!(why, "the security module is unusable from now on");
        wrong(format!("the security module is unusable: {why}"))
    }

    fn public_half(&self, key: &KeyId) -> Result<PublicKey, ModuleError> {
        if let Some(known) = locked(&self.public).get(key) {
            return Ok(known.clone());
        }
        let public = self.below.public_key(key)?;
        let mut known = locked(&self.public);
        if known.len() >= MOST_KEYS {
            known.clear();
        }
        known.insert(key.clone(), public.clone());
        Ok(public)
    }

    /// A new key's public half: of the curve asked for, and never seen before.
    fn check_new_point(&self, public: &PublicKey, curve: Curve) -> Result<(), ModuleError> {
        if public.curve != curve || PublicKey::new(curve, public.point.clone()).is_err() {
            return Err(wrong(format!(
                "the security module made a key of {} bytes on {} where one on {curve} was asked for",
                public.point.len(),
                public.curve
            )));
        }
        match locked(&self.fresh).points.note(&public.point, &[]) {
            true => Ok(()),
            false => Err(self.repeated("it made the same key twice")),
        }
    }
}

impl Layer for Checked {
    fn below(&self) -> &dyn SecurityModule {
        self.below.as_ref()
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        self.require_usable()?;
        self.below.random(out)?;
        if locked(&self.fresh).blocks.note(out) {
            return Ok(());
        }
        out.fill(0);
        Err(self.repeated("its random bytes repeat"))
    }

    fn generate_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        self.require_usable()?;
        let public = self.below.generate_key(key, curve, usage)?;
        locked(&self.public).remove(key);
        self.check_new_point(&public, curve)?;
        Ok(public)
    }

    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError> {
        locked(&self.public).remove(key);
        self.below.remove_key(key)
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        self.require_usable()?;
        let signature = self.below.sign_digest(key, digest)?;
        let mut public = self.public_half(key)?;
        let verify = |public: &PublicKey| self.verifier.verify_digest(public, digest, &signature);
        if !verify(&public)? {
            // Somebody else may have put another key in this one's place.
            locked(&self.public).remove(key);
            let now = self.public_half(key)?;
            if now == public || !verify(&now)? {
                return Err(wrong(format!(
                    "the security module's signature by key {key} does not verify"
                )));
            }
            public = now;
        }
        // A verified signature is `r || s`, both of the field's length; r tells the nonce, on whatever key.
        let (r, s) = signature.split_at(public.curve.field_len().min(signature.len()));
        // The same digest may well be signed twice with the same nonce (RFC 6979), which tells nothing new.
        match locked(&self.fresh).nonces.note(r, s) {
            true => Ok(signature),
            false => {
                Err(self.repeated("two signatures share a nonce, which tells the private key"))
            }
        }
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        self.require_usable()?;
        let key = self.below.ephemeral_key(curve)?;
        self.check_new_point(key.public_key(), curve)?;
        Ok(Box::new(CheckedKey(key)))
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        self.require_usable()?;
        let secret = self.below.agree_static(key, peer_point)?;
        let curve = self.public_half(key)?.curve;
        check_secret(secret, curve)
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked")
            .field("below", &self.below)
            .field("verifier", &self.verifier)
            .field("unusable", &self.unusable)
            .finish_non_exhaustive()
    }
}

struct CheckedKey(Box<dyn EphemeralKey>);

impl EphemeralKey for CheckedKey {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn agree(self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let curve = self.0.public_key().curve;
        check_secret(self.0.agree(peer_point)?, curve)
    }
}

fn check_secret(secret: SharedSecret, curve: Curve) -> Result<SharedSecret, ModuleError> {
    if secret.0.len() == curve.field_len() {
        Ok(secret)
    } else {
        Err(wrong(format!(
            "the security module agreed on {} bytes, where a coordinate of {curve} has {}",
            secret.0.len(),
            curve.field_len()
        )))
    }
}

fn wrong(what: String) -> ModuleError {
    ModuleError::module(what).because(Reason::WrongResult)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Public halves kept; a module holds fewer keys.
const MOST_KEYS: usize = 256;
