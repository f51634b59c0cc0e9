// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread behind a meter, how it is told things, and the log of what it sent.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use smgw_units::{Decimal, Nanos, Obis};

use super::clock::{Clock, timespec};
use super::line::Line;

/// Why a meter cannot be played; the host is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// No pseudo terminal, or it cannot be set up.
    #[error("host gives no pseudo terminal: {0}")]
    Terminal(#[from] Errno),
    /// No thread.
    #[error("host gives no thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The meter was unplugged or dropped.
    #[error("meter was stopped")]
    Stopped,
}

/// A register value as it was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Register {
    /// Which register.
    pub obis: Obis,
    /// What it showed; its mantissa is a value of the register's law.
    pub value: Decimal,
}

/// One telegram that went onto the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FrameStamp {
    /// Transaction id of the first SML message, or M-Bus access number, in hex; empty when replayed.
    pub telegram: String,
    /// Instant at which the first start bit was due.
    pub scheduled: Nanos,
    /// Right before the first byte was handed over: one character time after its start bit.
    pub first: Nanos,
    /// Right before the last byte was handed over.
    pub last: Nanos,
    /// Bytes on the line.
    pub bytes: usize,
    /// Registers it carries.
    pub registers: Vec<Register>,
    /// Instant the registers were sensed at.
    pub sampled_at: Nanos,
    /// Whether someone listened at the right speed and took every byte.
    pub delivered: bool,
    /// Whether the telegram was damaged, repeated or falsified on purpose.
    pub faulty: bool,
}

/// What the thread and the meter's owner share; `C` is what the owner can change.
pub(super) struct Shared<C> {
    control: Mutex<C>,
    log: Mutex<Vec<FrameStamp>>,
    logged: Condvar,
    wake: OwnedFd,
    stop: AtomicBool,
}

impl<C> Shared<C> {
    pub(super) fn control(&self) -> MutexGuard<'_, C> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits for input on `line`, a change of the control, or `until`; at most a while when nobody
    /// has the line open.
    pub(super) fn wait(&self, line: Option<&Line>, until: Option<Nanos>) {
        let listening = line.filter(|line| line.is_connected());
        let mut until = until;
        if line.is_some() && listening.is_none() {
            // Nothing tells when the other end is opened.
            let again = Clock::now() + RECONNECT;
            until = Some(until.map_or(again, |until| until.min(again)));
        }
        let timeout = until.map(|until| timespec(until.0.saturating_sub(Clock::now().0)));
        let wake = PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN);
        let ready = match listening {
            Some(line) => {
                let line = PollFd::from_borrowed_fd(line.as_fd(), PollFlags::IN);
                poll(&mut [wake, line], timeout.as_ref())
            }
            None => poll(&mut [wake], timeout.as_ref()),
        };
        if ready.is_ok_and(|ready| ready > 0) {
            // Non-blocking: empties the counter, or finds it empty.
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
    }

    pub(super) fn log(&self, stamp: FrameStamp) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(stamp);
        self.logged.notify_all();
    }

    fn rouse(&self) {
        // Fails only when the counter is full: then the thread is roused already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// A meter's thread, seen from its owner.
pub(super) struct Worker<C> {
    shared: Arc<Shared<C>>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl<C: Send + 'static> Worker<C> {
    pub(super) fn spawn(
        name: &str,
        line: Line,
        control: C,
        run: impl FnOnce(Line, &Shared<C>) + Send + 'static,
    ) -> Result<Self, MeterError> {
        let path = line.path().to_owned();
        let shared = Arc::new(Shared {
            control: Mutex::new(control),
            log: Mutex::new(Vec::new()),
            logged: Condvar::new(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stop: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(line, &own))?;
        Ok(Self {
            shared,
            path,
            thread: Some(thread),
        })
    }
}

impl<C> Worker<C> {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Changes what the thread goes by, and tells it.
    pub(super) fn change(&self, change: impl FnOnce(&mut C)) {
        change(&mut self.shared.control());
        self.shared.rouse();
    }

    pub(super) fn telegrams(&self) -> Vec<FrameStamp> {
        let log = self.shared.log.lock();
        log.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `count` telegrams were sent, or `deadline`.
    pub(super) fn wait_for(&self, count: usize, deadline: Nanos) -> Vec<FrameStamp> {
        let mut log = self
            .shared
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.saturating_since(Clock::now());
            if log.len() >= count || left.is_zero() {
                return log.clone();
            }
            let waited = self.shared.logged.wait_timeout(log, left);
            log = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn unplug(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.rouse();
    }
}

impl<C> Drop for Worker<C> {
    fn drop(&mut self) {
        self.unplug();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl<C> fmt::Debug for Worker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meter").field(&self.path).finish()
    }
}

/// Gives a meter the methods all meters share.
macro_rules! line_of_meter {
    ($meter:ty) => {
        impl $meter {
            /// The gateway's end of the line, e.g. `/dev/pts/3`.
            pub fn path(&self) -> &std::path::Path {
                self.worker.path()
            }

            /// Everything sent so far, oldest first.
            pub fn telegrams(&self) -> Vec<$crate::meters::FrameStamp> {
                self.worker.telegrams()
            }

            /// Waits until `count` telegrams were sent since the start, or until `deadline`; gives
            /// everything sent so far.
            pub fn wait_for_telegrams(
                &self,
                count: usize,
                deadline: smgw_units::Nanos,
            ) -> Vec<$crate::meters::FrameStamp> {
                self.worker.wait_for(count, deadline)
            }

            /// Pulls the plug: the gateway's end sees the line hang up. There is no way back.
            pub fn unplug(&self) {
                self.worker.unplug();
            }
        }
    };
}
pub(super) use line_of_meter;

/// How soon an opened line is noticed.
const RECONNECT: std::time::Duration = std::time::Duration::from_millis(5);
