// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trait's contract over keys and objects in this process's memory.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use hsm_api::lock::Lock;
use hsm_api::{
    Capabilities, Curve, EphemeralKey, Import, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError,
    ObjectId, ObjectKind, PublicKey, Reason, SecurityModule, SharedSecret, require_sequence,
};

use crate::{PrivateKey, RandomSource, verify};

/// A security module in memory.
pub struct SoftModule {
    state: Lock<State>,
    random: Box<dyn RandomSource>,
}

struct State {
    keys: BTreeMap<KeyId, StoredKey>,
    objects: BTreeMap<ObjectId, Vec<u8>>,
    phase: LifeCycle,
}

#[derive(Clone)]
struct StoredKey {
    private: Arc<PrivateKey>,
    usage: KeyUsage,
}

impl SoftModule {
    /// An empty module.
    #[cfg(feature = "std")]
    pub fn new() -> Self {
        Self::with_random(crate::random::System)
    }

    /// An empty module with randomness of another source.
    pub fn with_random(source: impl RandomSource + 'static) -> Self {
        Self {
            state: Lock::new(State {
                keys: BTreeMap::new(),
                objects: BTreeMap::new(),
                phase: LifeCycle::Production,
            }),
            random: Box::new(source),
        }
    }

    fn store(
        &self,
        key: &KeyId,
        private: PrivateKey,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        let mut state = self.state.lock();
        state.phase.require_usable_keys()?;
        match state.keys.entry(key.clone()) {
            Entry::Occupied(_) => {
                Err(ModuleError::caller(format!("key {key} exists already"))
                    .because(Reason::Exists))
            }
            Entry::Vacant(place) => {
                let public = private.public_key().clone();
                place.insert(StoredKey {
                    private: Arc::new(private),
                    usage,
                });
                Ok(public)
            }
        }
    }

    fn stored(&self, key: &KeyId) -> Result<StoredKey, ModuleError> {
        let stored = self.state.lock().keys.get(key).cloned();
        stored.ok_or_else(|| no_key(key))
    }

    /// A private key for use. What is done with it happens outside the lock, so that threads work side by side.
    fn usable(&self, key: &KeyId, usage: KeyUsage) -> Result<Arc<PrivateKey>, ModuleError> {
        self.state.lock().phase.require_usable_keys()?;
        let stored = self.stored(key)?;
        if stored.usage == usage {
            Ok(stored.private)
        } else {
            Err(
                ModuleError::caller(format!("key {key} is not for this use"))
                    .because(Reason::NotAllowed),
            )
        }
    }
}

#[cfg(feature = "std")]
impl Default for SoftModule {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SoftModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftModule")
            .field("keys", &self.state.lock().keys.len())
            .finish_non_exhaustive()
    }
}

impl Import for SoftModule {
    fn import_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
        scalar: &[u8],
    ) -> Result<PublicKey, ModuleError> {
        self.store(key, PrivateKey::from_bytes(curve, scalar)?, usage)
    }
}

impl SecurityModule for SoftModule {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "smgw-bench soft module".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            curves: Curve::ALL.to_vec(),
            keys_stay_inside: false,
            parallel: parallel(),
            largest_object: None,
        }
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        self.random.fill(out)
    }

    fn generate_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        let private = PrivateKey::generate_from(curve, &*self.random)?;
        self.store(key, private, usage)
    }

    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError> {
        match self.state.lock().keys.remove(key) {
            Some(_) => Ok(()),
            None => Err(no_key(key)),
        }
    }

    fn keys(&self) -> Result<Vec<KeyInfo>, ModuleError> {
        let info = |(key, stored): (&KeyId, &StoredKey)| KeyInfo {
            key: key.clone(),
            curve: stored.private.public_key().curve,
            usage: stored.usage,
        };
        Ok(self.state.lock().keys.iter().map(info).collect())
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, ModuleError> {
        Ok(self.stored(key)?.private.public_key().clone())
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        self.usable(key, KeyUsage::Sign)?.sign_digest(digest)
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
        self.state.lock().phase.require_usable_keys()?;
        let private = PrivateKey::generate_from(curve, &*self.random)?;
        Ok(Box::new(SoftEphemeral(private)))
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        self.usable(key, KeyUsage::Agree)?.agree(peer_point)
    }

    fn objects(&self) -> Result<Vec<ObjectId>, ModuleError> {
        Ok(self.state.lock().objects.keys().cloned().collect())
    }

    fn read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError> {
        let content = self.state.lock().objects.get(object).cloned();
        content.ok_or_else(|| no_object(object))
    }

    fn write_object(&self, object: &ObjectId, content: &[u8]) -> Result<(), ModuleError> {
        if object.kind == ObjectKind::Certificate {
            require_sequence(content)?;
        }
        self.state
            .lock()
            .objects
            .insert(object.clone(), content.to_vec());
        Ok(())
    }

    fn remove_object(&self, object: &ObjectId) -> Result<(), ModuleError> {
        match self.state.lock().objects.remove(object) {
            Some(_) => Ok(()),
            None => Err(no_object(object)),
        }
    }

    fn life_cycle(&self) -> Result<LifeCycle, ModuleError> {
        Ok(self.state.lock().phase)
    }

    fn enter_phase(&self, phase: LifeCycle) -> Result<(), ModuleError> {
        let mut state = self.state.lock();
        state.phase.require_forward(phase)?;
        state.phase = phase;
        Ok(())
    }
}

struct SoftEphemeral(PrivateKey);

impl EphemeralKey for SoftEphemeral {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn agree(self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        self.0.agree(peer_point)
    }
}

#[cfg(feature = "std")]
fn parallel() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(not(feature = "std"))]
fn parallel() -> usize {
    1
}

fn no_key(key: &KeyId) -> ModuleError {
    ModuleError::caller(format!("no key {key}")).because(Reason::NotFound)
}

fn no_object(object: &ObjectId) -> ModuleError {
    ModuleError::caller(format!("no {object}")).because(Reason::NotFound)
}
