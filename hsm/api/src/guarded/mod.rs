// SPDX-License-Identifier: MIT OR Apache-2.0
//! A module whose caller never waits longer than it said: each call runs on a worker thread under a deadline.
//!
//! A call that overstays leaves its worker stuck until the module answers, if ever. When every worker is stuck,
//! further calls fail at once instead of waiting for their own deadlines; the first stuck call that returns opens
//! the way again. So a dead module costs a bounded number of threads and nobody's patience.

mod workers;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::{
    Capabilities, Curve, EphemeralKey, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError, ObjectId,
    Operation, PublicKey, SecurityModule, SharedSecret,
};
use workers::Workers;

/// How long each operation may take, waiting for a free worker included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Deadlines {
    usual: Duration,
    special: BTreeMap<Operation, Duration>,
}

impl Deadlines {
    /// The same limit for every operation.
    pub fn all(usual: Duration) -> Self {
        Self {
            usual,
            special: BTreeMap::new(),
        }
    }

    /// Another limit for one operation.
    #[must_use]
    pub fn with(mut self, operation: Operation, limit: Duration) -> Self {
        self.special.insert(operation, limit);
        self
    }

    /// The limit of an operation.
    pub fn of(&self, operation: Operation) -> Duration {
        self.special.get(&operation).copied().unwrap_or(self.usual)
    }
}

impl Default for Deadlines {
    /// 5 s, and a minute where a card searches for a key.
    fn default() -> Self {
        Self::all(Duration::from_secs(5)).with(Operation::GenerateKey, Duration::from_secs(60))
    }
}

/// The limits of a [`Guarded`] module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How long operations may take.
    pub deadlines: Deadlines,
    /// How many calls run at once, and so how many may be stuck; `None` takes [`Capabilities::parallel`].
    pub workers: Option<NonZeroUsize>,
    /// How many calls may wait for a worker; one more fails at once.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadlines: Deadlines::default(),
            workers: None,
            queue: 256,
        }
    }
}

/// A module behind worker threads and deadlines.
///
/// A call that does not return in time fails with [`crate::Fault::Transport`] and [`crate::Reason::Timeout`]; what it
/// would have brought is thrown away when it comes. Dropping waits for workers that are done, not for stuck ones.
pub struct Guarded {
    workers: Arc<Workers>,
    capabilities: Capabilities,
}

impl Guarded {
    /// Starts the workers.
    ///
    /// # Errors
    /// [`crate::Fault::Transport`] when the operating system gives no threads.
    pub fn new(module: Arc<dyn SecurityModule>, limits: Limits) -> Result<Self, ModuleError> {
        let capabilities = module.capabilities();
        let count = limits
            .workers
            .map_or(capabilities.parallel, NonZeroUsize::get)
            .clamp(1, MOST_WORKERS);
        let workers = Workers::start(module, count, limits.deadlines, limits.queue)
            .map_err(|error| ModuleError::transport(format!("no threads to work on: {error}")))?;
        Ok(Self {
            workers: Arc::new(workers),
            capabilities,
        })
    }

    /// How many calls have overstayed their deadline and not come back.
    pub fn stuck(&self) -> usize {
        self.workers.stuck()
    }

    /// How many calls wait for a worker.
    pub fn waiting(&self) -> usize {
        self.workers.waiting()
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guarded").field(&self.workers).finish()
    }
}

/// Not a [`crate::Layer`]: an operation that was merely passed on would run unguarded.
impl SecurityModule for Guarded {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        let len = out.len();
        let bytes = self.workers.call(Operation::Random, move |module| {
            let mut bytes = Zeroizing::new(vec![0; len]);
            module.random(&mut bytes).map(|()| bytes)
        })?;
        out.copy_from_slice(&bytes);
        Ok(())
    }

    fn generate_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        let key = key.clone();
        self.workers.call(Operation::GenerateKey, move |module| {
            module.generate_key(&key, curve, usage)
        })
    }

    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError> {
        let key = key.clone();
        self.workers
            .call(Operation::RemoveKey, move |module| module.remove_key(&key))
    }

    fn keys(&self) -> Result<Vec<KeyInfo>, ModuleError> {
        self.workers.call(Operation::Keys, |module| module.keys())
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, ModuleError> {
        let key = key.clone();
        self.workers
            .call(Operation::PublicKey, move |module| module.public_key(&key))
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        let (key, digest) = (key.clone(), digest.to_vec());
        self.workers.call(Operation::Sign, move |module| {
            module.sign_digest(&key, &digest)
        })
    }

    fn verify_digest(
        &self,
        key: &PublicKey,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, ModuleError> {
        let (key, digest, signature) = (key.clone(), digest.to_vec(), signature.to_vec());
        self.workers.call(Operation::Verify, move |module| {
            module.verify_digest(&key, &digest, &signature)
        })
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        let key = self.workers.call(Operation::EphemeralKey, move |module| {
            module.ephemeral_key(curve)
        })?;
        Ok(Box::new(GuardedKey {
            public: key.public_key().clone(),
            key: Some(key),
            workers: self.workers.clone(),
        }))
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let (key, peer_point) = (key.clone(), peer_point.to_vec());
        self.workers.call(Operation::AgreeStatic, move |module| {
            module.agree_static(&key, &peer_point)
        })
    }

    fn objects(&self) -> Result<Vec<ObjectId>, ModuleError> {
        self.workers
            .call(Operation::Objects, |module| module.objects())
    }

    fn read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError> {
        let object = object.clone();
        self.workers.call(Operation::ReadObject, move |module| {
            module.read_object(&object)
        })
    }

    fn write_object(&self, object: &ObjectId, content: &[u8]) -> Result<(), ModuleError> {
        let (object, content) = (object.clone(), content.to_vec());
        self.workers.call(Operation::WriteObject, move |module| {
            module.write_object(&object, &content)
        })
    }

    fn remove_object(&self, object: &ObjectId) -> Result<(), ModuleError> {
        let object = object.clone();
        self.workers.call(Operation::RemoveObject, move |module| {
            module.remove_object(&object)
        })
    }

    fn life_cycle(&self) -> Result<LifeCycle, ModuleError> {
        self.workers
            .call(Operation::LifeCycle, |module| module.life_cycle())
    }

    fn enter_phase(&self, phase: LifeCycle) -> Result<(), ModuleError> {
        self.workers.call(Operation::EnterPhase, move |module| {
            module.enter_phase(phase)
        })
    }
}

/// An ephemeral key whose use, and whose end, happen on a worker: destroying it may ask the module, too.
struct GuardedKey {
    public: PublicKey,
    /// `None` only while being used up.
    key: Option<Box<dyn EphemeralKey>>,
    workers: Arc<Workers>,
}

impl EphemeralKey for GuardedKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn agree(mut self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let key = self
            .key
            .take()
            .ok_or_else(|| ModuleError::caller("this ephemeral key is used up"))?;
        let peer_point = peer_point.to_vec();
        self.workers
            .call_with(Operation::Agree, key, move |key, _| key.agree(&peer_point))
    }
}

impl Drop for GuardedKey {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.workers.dispose(key);
        }
    }
}

/// More threads than this help no module.
const MOST_WORKERS: usize = 16;
