// SPDX-License-Identifier: MIT OR Apache-2.0
//! A caller never waits for a module that does not answer. No test here measures time: a call that should not wait has
//! a deadline that would outlast the test.

use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::Duration;

use hsm_api::guarded::{Deadlines, Limits};
use hsm_api::{
    Curve, EphemeralKey, Fault, Guarded, KeyId, KeyUsage, Layer, ModuleError, Operation, PublicKey,
    Reason, SecurityModule, SharedSecret,
};
use hsm_soft::SoftModule;

const CURVE: Curve = Curve::BrainpoolP256r1;
const NEVER: Duration = Duration::from_secs(24 * 3600);
const SOON: Duration = Duration::from_millis(30);

/// Open, or shut until somebody opens it.
#[derive(Debug, Default)]
struct Gate {
    /// (shut, how many stand before it)
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn shut(&self) {
        self.state.lock().unwrap().0 = true;
    }

    fn open(&self) {
        self.state.lock().unwrap().0 = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        state = self.changed.wait_while(state, |state| state.0).unwrap();
        state.1 -= 1;
        self.changed.notify_all();
    }

    fn wait_for_waiting(&self, count: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.1 != count));
    }
}

/// Signs, agrees and drops ephemeral keys only through a gate.
#[derive(Debug, Default)]
struct Gated {
    soft: SoftModule,
    gate: Arc<Gate>,
}

impl Layer for Gated {
    fn below(&self) -> &dyn SecurityModule {
        &self.soft
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        self.gate.pass();
        self.soft.sign_digest(key, digest)
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        Ok(Box::new(GatedKey {
            key: Some(self.soft.ephemeral_key(curve)?),
            gate: self.gate.clone(),
        }))
    }

    fn remove_key(&self, _: &KeyId) -> Result<(), ModuleError> {
        panic!("this driver is broken")
    }
}

struct GatedKey {
    key: Option<Box<dyn EphemeralKey>>,
    gate: Arc<Gate>,
}

impl EphemeralKey for GatedKey {
    fn public_key(&self) -> &PublicKey {
        self.key.as_ref().unwrap().public_key()
    }

    fn agree(mut self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        self.key.take().unwrap().agree(peer_point)
    }
}

impl Drop for GatedKey {
    fn drop(&mut self) {
        self.gate.pass();
    }
}

struct Scene {
    guarded: Guarded,
    gate: Arc<Gate>,
    below: Weak<Gated>,
}

/// Signatures may take a moment, everything else for ever.
fn scene(workers: usize, queue: usize) -> Scene {
    let module = Arc::new(Gated::default());
    module
        .soft
        .generate_key(&key(), CURVE, KeyUsage::Sign)
        .unwrap();
    let limits = Limits {
        deadlines: Deadlines::all(NEVER).with(Operation::Sign, SOON),
        workers: NonZeroUsize::new(workers),
        queue,
    };
    Scene {
        gate: module.gate.clone(),
        below: Arc::downgrade(&module),
        guarded: Guarded::new(module, limits).unwrap(),
    }
}

fn key() -> KeyId {
    "k".into()
}

fn sign(module: &Guarded) -> Result<Vec<u8>, ModuleError> {
    module.sign_digest(&key(), &[7; 32])
}

fn is_timeout<T: std::fmt::Debug>(outcome: Result<T, ModuleError>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(
        (error.fault(), error.reason()),
        (Fault::Transport, Reason::Timeout),
        "{error}"
    );
    error.to_string()
}

/// Signs until so many calls are stuck; on a busy machine a call may be withdrawn before it was begun.
fn stick(module: &Guarded, count: usize) {
    while module.stuck() < count {
        is_timeout(sign(module));
    }
}

/// A signature may take its moment on a busy machine; that it comes at all is what counts.
fn sign_at_last(module: &Guarded) {
    while let Err(error) = sign(module) {
        assert_eq!(error.reason(), Reason::Timeout, "{error}");
    }
}

#[test]
fn a_hanging_call_times_out_and_the_next_ones_fail_at_once() {
    let Scene { guarded, gate, .. } = scene(2, 8);
    gate.shut();
    let told = is_timeout(sign(&guarded));
    assert!(told.contains("did not answer sign within"), "{told}");
    stick(&guarded, 1);
    // One worker is left: what does not hang goes on.
    assert_eq!(guarded.keys().unwrap().len(), 1);
    stick(&guarded, 2);
    // None is left: these calls would wait for a day.
    let told = is_timeout(guarded.keys());
    assert!(told.contains("stuck calls: 2"), "{told}");
    is_timeout(guarded.random(&mut [0; 4]));

    gate.open();
    sign_at_last(&guarded);
    while guarded.stuck() > 0 {
        thread::yield_now();
    }
    assert_eq!(guarded.keys().unwrap().len(), 1);
}

#[test]
fn no_more_than_so_many_calls_wait() {
    let Scene { guarded, gate, .. } = scene(1, 1);
    let one = guarded.ephemeral_key(CURVE).unwrap();
    let peer = guarded.public_key(&key()).unwrap();
    gate.shut();
    thread::scope(|scope| {
        // The key is destroyed on the worker, which then stands before the gate for as long as it likes.
        let agreeing = scope.spawn(|| one.agree(&peer.point));
        gate.wait_for_waiting(1);
        let waiting = scope.spawn(|| guarded.keys());
        while guarded.waiting() < 1 {
            thread::yield_now();
        }
        let told = is_timeout(guarded.random(&mut [0; 4]));
        assert!(told.contains("calls waiting already: 1"), "{told}");
        gate.open();
        assert!(agreeing.join().unwrap().is_ok());
        assert!(waiting.join().unwrap().is_ok());
    });
}

#[test]
fn dropping_an_ephemeral_key_never_waits() {
    let Scene { guarded, gate, .. } = scene(1, 8);
    let ephemeral = guarded.ephemeral_key(CURVE).unwrap();
    gate.shut();
    drop(ephemeral);
    gate.wait_for_waiting(1);
    gate.open();
    gate.wait_for_waiting(0);
    assert_eq!(guarded.keys().unwrap().len(), 1);
}

#[test]
fn an_agreement_after_the_deadline_is_no_longer_made() {
    let module = Arc::new(Gated::default());
    let gate = module.gate.clone();
    let deadlines = Deadlines::all(NEVER)
        .with(Operation::Agree, SOON)
        .with(Operation::Sign, SOON);
    let limits = Limits {
        deadlines,
        workers: NonZeroUsize::new(1),
        queue: 8,
    };
    let guarded = Guarded::new(module, limits).unwrap();
    guarded.generate_key(&key(), CURVE, KeyUsage::Sign).unwrap();
    let ephemeral = guarded.ephemeral_key(CURVE).unwrap();
    let point = ephemeral.public_key().point.clone();
    gate.shut();
    stick(&guarded, 1);
    is_timeout(ephemeral.agree(&point));
    // Its key is thrown away on the worker, not here; both must be through before the guard is dropped.
    gate.open();
    sign_at_last(&guarded);
}

#[test]
fn dropping_ends_the_workers_and_the_module_but_waits_for_no_stuck_call() {
    let Scene {
        guarded,
        gate,
        below,
    } = scene(2, 8);
    guarded.keys().unwrap();
    drop(guarded);
    assert!(below.upgrade().is_none(), "the module outlives its guard");
    drop(gate);

    let Scene {
        guarded,
        gate,
        below,
    } = scene(2, 8);
    gate.shut();
    stick(&guarded, 1);
    drop(guarded);
    assert!(below.upgrade().is_some(), "a stuck call still uses it");
    gate.open();
    while below.strong_count() > 0 {
        thread::yield_now();
    }
}

#[test]
fn a_driver_that_breaks_down_is_an_error_and_the_worker_lives_on() {
    let Scene { guarded, .. } = scene(1, 8);
    for _ in 0..3 {
        let error = guarded.remove_key(&key()).unwrap_err();
        assert_eq!(error.fault(), Fault::Module, "{error}");
    }
    assert_eq!(guarded.stuck(), 0);
    assert_eq!(guarded.keys().unwrap().len(), 1);
}

#[test]
fn special_deadlines_are_for_their_operation_alone() {
    let deadlines = Deadlines::default();
    assert_eq!(deadlines.of(Operation::Sign), Duration::from_secs(5));
    assert!(deadlines.of(Operation::GenerateKey) > deadlines.of(Operation::Sign));
    let names: std::collections::BTreeSet<_> =
        Operation::ALL.iter().map(|one| one.name()).collect();
    assert_eq!(names.len(), Operation::ALL.len());
}

/// Not a test of speed: `cargo test -p hsm-api --release -- --ignored --nocapture` prints what a guarded call costs.
#[test]
#[ignore = "prints a measurement"]
fn what_a_guarded_call_costs() {
    let soft = Arc::new(SoftModule::new());
    let guarded = Guarded::new(soft.clone(), Limits::default()).unwrap();
    let rounds = 20_000u32;
    let measure = |module: &dyn SecurityModule| {
        let begun = std::time::Instant::now();
        for _ in 0..rounds {
            module.life_cycle().unwrap();
        }
        begun.elapsed() / rounds
    };
    println!(
        "per call: {:?} bare, {:?} guarded",
        measure(soft.as_ref()),
        measure(&guarded)
    );
}
