// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the engine knows of the world around a case: the live rig, its health, who watches, and who may end the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bench_evidence::results::{CaseResult, Measurement, Step};

use crate::stop::Stop;

/// What broke, and whose fault it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// Something of the rig, or somebody from outside, broke it.
    Rig(String),
    /// The device under test broke by itself.
    Device(String),
}

/// Watches the rig while a case runs. Called often and from several threads; must be cheap.
pub trait Health: Send + Sync {
    /// The first trouble that nobody asked for, if any.
    fn trouble(&self) -> Option<Trouble>;
}

/// The live rig as the runner sees it.
pub trait Environment: Send + 'static {
    /// The watcher of this rig.
    fn health(&self) -> Arc<dyn Health>;

    /// Stops everything at once from another thread, for the case that never returns.
    fn kill_switch(&self) -> Arc<dyn Fn() + Send + Sync>;

    /// Brings all roles back to a defined state between two cases.
    fn settle(&mut self) -> Result<(), Stop>;
}

/// Sees everything as it happens: the event log and the terminal.
pub trait Observer: Send + Sync {
    /// A case starts.
    fn case_started(&self, id: &str, title: &str, index: usize, total: usize);
    /// What a case is busy with.
    fn progress(&self, id: &str, what: &str);
    /// A step was recorded.
    fn step(&self, id: &str, step: &Step);
    /// A number was recorded.
    fn measured(&self, id: &str, measurement: &Measurement);
    /// A case ended.
    fn case_ended(&self, result: &CaseResult);
}

/// Requests from outside to end the run: once ends it after the current case, twice at once.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicU8);

impl Interrupt {
    /// One more request (Ctrl-C).
    pub fn request(&self) {
        let _ = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some((n + 1).min(2)));
    }

    /// End at once (SIGTERM).
    pub fn request_now(&self) {
        self.0.store(2, Ordering::SeqCst);
    }

    /// Whether no further case may start.
    pub fn no_more_cases(&self) -> bool {
        self.0.load(Ordering::SeqCst) >= 1
    }

    /// Whether the current case has to end now.
    pub fn abort_now(&self) -> bool {
        self.0.load(Ordering::SeqCst) >= 2
    }
}
