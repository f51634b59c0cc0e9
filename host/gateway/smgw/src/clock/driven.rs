// SPDX-License-Identifier: MIT OR Apache-2.0
//! An oscillator that stands still until it is told how late it is, so that a bench can let days pass in seconds
//! (catalogue rows with virtual time). One order is one step: nobody sees anything in between.

use std::time::Duration;

use smgw_units::{Nanos, UtcNanos};
use thiserror::Error;
use tokio::sync::watch;

/// Why the clock was not advanced.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum AdvanceError {
    /// Time flows by itself.
    #[error("this clock goes by itself; [clock] driven-from makes one that is advanced by orders")]
    NotDriven,
    /// It is later already.
    #[error("the clock is at {now} already and never goes back")]
    Backwards {
        /// What it shows.
        now: UtcNanos,
    },
}

/// The oscillator.
#[derive(Debug)]
pub(super) struct Driven {
    start: UtcNanos,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Nanos,
    /// Until when each seat waits; one that is at work waits for an instant that has passed.
    due: Vec<Nanos>,
}

impl Driven {
    /// Shows `start`.
    pub(super) fn new(start: UtcNanos) -> Self {
        Self {
            start,
            state: watch::Sender::default(),
        }
    }

    pub(super) fn now(&self) -> Nanos {
        self.state.borrow().now
    }

    pub(super) fn utc(&self) -> UtcNanos {
        let passed = i64::try_from(self.now().0).unwrap_or(i64::MAX);
        UtcNanos(self.start.0.saturating_add(passed))
    }

    /// A seat for somebody who is at work.
    pub(super) fn seat(&self) -> usize {
        let mut seat = 0;
        self.state.send_modify(|state| {
            seat = state.due.len();
            state.due.push(AT_WORK);
        });
        seat
    }

    /// Nobody will come back to this seat.
    pub(super) fn leave(&self, seat: usize) {
        self.set(seat, |_| GONE);
    }

    fn set(&self, seat: usize, due: impl FnOnce(Nanos) -> Nanos) {
        self.state.send_modify(|state| {
            let now = state.now;
            if let Some(own) = state.due.get_mut(seat) {
                *own = due(now);
            }
        });
    }

    pub(super) async fn sleep(&self, seat: usize, span: Duration) {
        /// At work again, also when the sleep is broken off.
        struct Asleep<'a>(&'a Driven, usize);
        impl Drop for Asleep<'_> {
            fn drop(&mut self) {
                self.0.set(self.1, |_| AT_WORK);
            }
        }
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let mut due = AT_WORK;
        self.set(seat, |now| {
            due = Nanos(now.0.saturating_add(span));
            due
        });
        let _asleep = Asleep(self, seat);
        // The sender lives as long as this borrow of it.
        let _ = self
            .state
            .subscribe()
            .wait_for(|state| state.now >= due)
            .await;
    }

    pub(super) async fn advance(&self, to: UtcNanos) -> Result<(), AdvanceError> {
        let mut outcome = Ok(());
        self.state.send_modify(|state| {
            let passed = u64::try_from(to.signed_since(self.start)).ok();
            match passed.filter(|passed| *passed >= state.now.0) {
                Some(passed) => state.now = Nanos(passed),
                None => outcome = Err(state.now),
            }
        });
        if let Err(now) = outcome {
            let now = UtcNanos(self.start.0.saturating_add(now.0 as i64));
            return Err(AdvanceError::Backwards { now });
        }
        self.settled().await;
        Ok(())
    }

    /// Returns when everybody waits for an instant to come.
    async fn settled(&self) {
        let settled = |state: &State| state.due.iter().all(|due| *due > state.now);
        // The sender lives as long as this borrow of it.
        let _ = self.state.subscribe().wait_for(settled).await;
    }
}

const AT_WORK: Nanos = Nanos(0);
const GONE: Nanos = Nanos(u64::MAX);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::{Clock, Discipline};

    const START: UtcNanos = UtcNanos::from_seconds(1_000);

    fn clock() -> Clock {
        Clock::new(Some(START), None::<fn(Nanos, UtcNanos) -> Discipline>)
    }

    #[tokio::test]
    async fn an_order_returns_when_all_that_was_due_is_done() {
        let clock = clock();
        let done = Arc::new(AtomicU32::new(0));
        for period in [1, 7] {
            let (alarm, done) = (clock.alarm(), done.clone());
            tokio::spawn(async move {
                loop {
                    alarm.sleep(Duration::from_secs(period)).await;
                    // Work takes turns of its own.
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // An order for the present waits until both are asleep.
        clock.advance(START).await.unwrap();
        for (second, expected) in [(1, 1), (2, 2), (6, 3), (7, 5), (30, 7)] {
            let to = UtcNanos::from_seconds(1_000 + second);
            clock.advance(to).await.unwrap();
            assert_eq!(done.load(Ordering::Relaxed), expected, "after {second} s");
            assert_eq!(clock.now(), to);
        }
    }

    #[tokio::test]
    async fn it_never_goes_back_and_waits_for_nobody_who_left() {
        let clock = clock();
        drop(clock.alarm());
        let later = UtcNanos::from_seconds(2_000);
        clock.advance(later).await.unwrap();
        let back = clock.advance(START).await;
        assert_eq!(back, Err(AdvanceError::Backwards { now: later }));
        clock.advance(later).await.unwrap();
        assert_eq!(clock.monotonic(), Nanos(1_000_000_000_000));
        let system = Clock::system();
        assert_eq!(system.advance(later).await, Err(AdvanceError::NotDriven));
    }
}
