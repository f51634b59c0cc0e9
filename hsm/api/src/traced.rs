// SPDX-License-Identifier: MIT OR Apache-2.0
//! A module whose operations are recorded: what was done where, on which key, with what outcome, and how long it took.
//!
//! A record never holds what was signed, agreed or drawn.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{
    Capabilities, Curve, EphemeralKey, Fault, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError,
    ObjectId, Operation, PublicKey, Reason, SecurityModule, SharedSecret,
};

/// What an operation was about.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Subject {
    /// The module as such.
    Module,
    /// A key, by name.
    Key(KeyId),
    /// A curve, where the key has no name or is another's.
    Curve(Curve),
    /// An object.
    Object(ObjectId),
    /// So many bytes.
    Bytes(usize),
    /// A phase of life.
    Phase(LifeCycle),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module => f.write_str("module"),
            Self::Key(key) => write!(f, "key {key}"),
            Self::Curve(curve) => write!(f, "{curve}"),
            Self::Object(object) => write!(f, "{object}"),
            Self::Bytes(count) => write!(f, "{count} bytes"),
            Self::Phase(phase) => write!(f, "{phase}"),
        }
    }
}

/// One operation that ran.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Where it ran: the name given to [`Traced::new`].
    pub place: Arc<str>,
    /// What was done.
    pub operation: Operation,
    /// With what.
    pub subject: Subject,
    /// How it failed, if it did.
    pub failure: Option<(Fault, Reason)>,
    /// How long the module took.
    pub took: Duration,
}

/// Takes records; called on the thread of the operation, so it should be quick.
pub trait TraceSink: Send + Sync {
    /// Takes one.
    fn take(&self, record: Record);
}

/// A module whose every operation goes into a sink.
#[derive(Clone)]
pub struct Traced {
    below: Arc<dyn SecurityModule>,
    tracer: Tracer,
}

#[derive(Clone)]
struct Tracer {
    place: Arc<str>,
    sink: Arc<dyn TraceSink>,
}

impl Tracer {
    fn run<T>(
        &self,
        operation: Operation,
        subject: Subject,
        work: impl FnOnce() -> Result<T, ModuleError>,
    ) -> Result<T, ModuleError> {
        let begun = Instant::now();
        let outcome = work();
        let failure = outcome.as_ref().err();
        self.sink.take(Record {
            took: begun.elapsed(),
            place: self.place.clone(),
            operation,
            subject,
            failure: failure.map(|error| (error.fault(), error.reason())),
        });
        outcome
    }
}

impl Traced {
    /// Records what runs in `below`, under this name of the place.
    pub fn new(
        below: Arc<dyn SecurityModule>,
        place: impl Into<Arc<str>>,
        sink: Arc<dyn TraceSink>,
    ) -> Self {
        let place = place.into();
        Self {
            below,
            tracer: Tracer { place, sink },
        }
    }
}

impl fmt::Debug for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced")
            .field("below", &self.below)
            .field("place", &self.tracer.place)
            .finish_non_exhaustive()
    }
}

/// Not a [`crate::Layer`]: an operation that was merely passed on would leave no record.
impl SecurityModule for Traced {
    fn capabilities(&self) -> Capabilities {
        self.below.capabilities()
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        self.tracer
            .run(Operation::Random, Subject::Bytes(out.len()), || {
                self.below.random(out)
            })
    }

    fn generate_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        self.on_key(Operation::GenerateKey, key, || {
            self.below.generate_key(key, curve, usage)
        })
    }

    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError> {
        self.on_key(Operation::RemoveKey, key, || self.below.remove_key(key))
    }

    fn keys(&self) -> Result<Vec<KeyInfo>, ModuleError> {
        self.tracer
            .run(Operation::Keys, Subject::Module, || self.below.keys())
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, ModuleError> {
        self.on_key(Operation::PublicKey, key, || self.below.public_key(key))
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        self.on_key(Operation::Sign, key, || self.below.sign_digest(key, digest))
    }

    fn verify_digest(
        &self,
        key: &PublicKey,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, ModuleError> {
        let subject = Subject::Curve(key.curve);
        self.tracer.run(Operation::Verify, subject, || {
            self.below.verify_digest(key, digest, signature)
        })
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        let subject = Subject::Curve(curve);
        let key = self.tracer.run(Operation::EphemeralKey, subject, || {
            self.below.ephemeral_key(curve)
        })?;
        let tracer = self.tracer.clone();
        Ok(Box::new(TracedKey { key, tracer }))
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        self.on_key(Operation::AgreeStatic, key, || {
            self.below.agree_static(key, peer_point)
        })
    }

    fn objects(&self) -> Result<Vec<ObjectId>, ModuleError> {
        self.tracer
            .run(Operation::Objects, Subject::Module, || self.below.objects())
    }

    fn read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError> {
        self.on_object(Operation::ReadObject, object, || {
            self.below.read_object(object)
        })
    }

    fn write_object(&self, object: &ObjectId, content: &[u8]) -> Result<(), ModuleError> {
        self.on_object(Operation::WriteObject, object, || {
            self.below.write_object(object, content)
        })
    }

    fn remove_object(&self, object: &ObjectId) -> Result<(), ModuleError> {
        self.on_object(Operation::RemoveObject, object, || {
            self.below.remove_object(object)
        })
    }

    fn life_cycle(&self) -> Result<LifeCycle, ModuleError> {
        self.tracer.run(Operation::LifeCycle, Subject::Module, || {
            self.below.life_cycle()
        })
    }

    fn enter_phase(&self, phase: LifeCycle) -> Result<(), ModuleError> {
        let subject = Subject::Phase(phase);
        self.tracer.run(Operation::EnterPhase, subject, || {
            self.below.enter_phase(phase)
        })
    }
}

impl Traced {
    fn on_key<T>(
        &self,
        operation: Operation,
        key: &KeyId,
        work: impl FnOnce() -> Result<T, ModuleError>,
    ) -> Result<T, ModuleError> {
        self.tracer.run(operation, Subject::Key(key.clone()), work)
    }

    fn on_object<T>(
        &self,
        operation: Operation,
        object: &ObjectId,
        work: impl FnOnce() -> Result<T, ModuleError>,
    ) -> Result<T, ModuleError> {
        self.tracer
            .run(operation, Subject::Object(object.clone()), work)
    }
}

struct TracedKey {
    key: Box<dyn EphemeralKey>,
    tracer: Tracer,
}

impl EphemeralKey for TracedKey {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn agree(self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let Self { key, tracer } = *self;
        let subject = Subject::Curve(key.public_key().curve);
        tracer.run(Operation::Agree, subject, || key.agree(peer_point))
    }
}

/// Puts records into the log, at level debug with target `hsm`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSink;

impl TraceSink for LogSink {
    fn take(&self, record: Record) {
        let Record {
            place,
            operation,
            subject,
            failure,
            took,
        } = record;
        let micros = took.as_micros();
        match failure {
            None => {
                tracing::debug!(target: "hsm", %place, %operation, %subject, micros, "done");
            }
            Some((fault, reason)) => {
                tracing::debug!(target: "hsm", %place, %operation, %subject, micros, ?fault, ?reason, "failed");
            }
        }
    }
}

/// Keeps the newest records in memory, and counts all of them.
#[derive(Debug)]
pub struct Recorder {
    limit: usize,
    recorded: Mutex<Recorded>,
}

#[derive(Debug, Default)]
struct Recorded {
    newest: VecDeque<Record>,
    summary: Summary,
}

impl Recorder {
    /// Keeps at most `limit` records.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            recorded: Mutex::default(),
        }
    }

    /// The newest records, oldest first.
    pub fn records(&self) -> Vec<Record> {
        self.recorded().newest.iter().cloned().collect()
    }

    /// What ran where how often, since the beginning.
    pub fn summary(&self) -> Summary {
        self.recorded().summary.clone()
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        // Nothing panics while holding the lock.
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TraceSink for Recorder {
    fn take(&self, record: Record) {
        let mut recorded = self.recorded();
        recorded.summary.add(&record);
        if self.limit == 0 {
            return;
        }
        if recorded.newest.len() == self.limit {
            recorded.newest.pop_front();
        }
        recorded.newest.push_back(record);
    }
}

/// Several sinks for one trace.
impl<A: TraceSink, B: TraceSink> TraceSink for (A, B) {
    fn take(&self, record: Record) {
        self.0.take(record.clone());
        self.1.take(record);
    }
}

impl<T: TraceSink + ?Sized> TraceSink for Arc<T> {
    fn take(&self, record: Record) {
        self.as_ref().take(record);
    }
}

/// Which operation ran where how often. `Display` gives a table.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    rows: BTreeMap<(Arc<str>, Operation), Tally>,
}

/// The sum of the records of one operation in one place.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// How often it ran.
    pub count: u64,
    /// How often it failed.
    pub failed: u64,
    /// How long it took in all.
    pub total: Duration,
    /// How long it took at most.
    pub longest: Duration,
}

impl Tally {
    /// How long one took on average.
    pub fn mean(&self) -> Duration {
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        self.total.checked_div(count).unwrap_or_default()
    }
}

impl Summary {
    /// Adds a record.
    pub fn add(&mut self, record: &Record) {
        let key = (record.place.clone(), record.operation);
        let tally = self.rows.entry(key).or_default();
        tally.count += 1;
        tally.failed += u64::from(record.failure.is_some());
        tally.total = tally.total.saturating_add(record.took);
        tally.longest = tally.longest.max(record.took);
    }

    /// The rows by place and operation.
    pub fn rows(&self) -> impl Iterator<Item = (&str, Operation, Tally)> {
        self.rows
            .iter()
            .map(|((place, operation), tally)| (place.as_ref(), *operation, *tally))
    }

    /// The same rows as values of their own.
    pub fn into_rows(self) -> impl Iterator<Item = (Arc<str>, Operation, Tally)> {
        self.rows
            .into_iter()
            .map(|((place, operation), tally)| (place, operation, tally))
    }

    /// How often an operation ran in a place.
    pub fn count(&self, place: &str, operation: Operation) -> u64 {
        let tally = self.rows.get(&(place.into(), operation));
        tally.map_or(0, |tally| tally.count)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.keys().map(|(place, _)| place.chars().count());
        let width = width.max().unwrap_or(0).max("where".len());
        writeln!(
            f,
            "{:<width$}  {:<13}  {:>9}  {:>7}  {:>11}  {:>11}",
            "where", "operation", "count", "failed", "mean ms", "longest ms"
        )?;
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        for (place, operation, tally) in self.rows() {
            writeln!(
                f,
                "{place:<width$}  {operation:<13}  {:>9}  {:>7}  {:>11.3}  {:>11.3}",
                tally.count,
                tally.failed,
                millis(tally.mean()),
                millis(tally.longest)
            )?;
        }
        Ok(())
    }
}
