// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one place where a network peer waits: for a socket, a signal, or the deadline.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::deadline::Deadline;

/// Wakes every thread that waits with it, for good.
#[derive(Debug)]
pub(crate) struct Signal {
    event: OwnedFd,
    code: AtomicU8,
}

impl Signal {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Self {
            event,
            code: AtomicU8::new(0),
        }))
    }

    /// Raises the signal; a higher `code` overrules a lower one.
    pub(crate) fn raise(&self, code: u8) {
        self.code.fetch_max(code, Ordering::AcqRel);
        // Nobody reads the counter: once written, it stays readable and wakes all waits. It cannot fail but by overflow.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// The code raised, 0 while none is.
    pub(crate) fn raised(&self) -> u8 {
        self.code.load(Ordering::Acquire)
    }
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Woken {
    Ready,
    Signalled,
    TimedOut,
}

/// Waits until `socket` is ready for one of `interest` (or broken), `signal` is raised, or `deadline` passes.
pub(crate) fn wait(
    socket: &impl AsFd,
    interest: PollFlags,
    deadline: Deadline,
    signal: Option<&Signal>,
) -> io::Result<Woken> {
    let timed = deadline != Deadline::NEVER;
    loop {
        let left = deadline.left();
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [
            PollFd::new(socket, interest),
            match signal {
                Some(signal) => PollFd::new(&signal.event, PollFlags::IN),
                None => PollFd::new(socket, PollFlags::empty()),
            },
        ];
        let watched = if signal.is_some() { 2 } else { 1 };
        match poll(
            fds.get_mut(..watched).unwrap_or_default(),
            timed.then_some(&timeout),
        ) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(0) => return Ok(Woken::TimedOut),
            Ok(_) => {
                return Ok(match signal {
                    Some(signal) if signal.raised() != 0 => Woken::Signalled,
                    _ => Woken::Ready,
                });
            }
        }
    }
}
