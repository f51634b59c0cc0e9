// SPDX-License-Identifier: MIT OR Apache-2.0
//! Watching the host for stalls during a run: an uncertainty that allows for short pre-emptions holds only while there are no long ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smgw_units::Nanos;

use crate::BenchClock;

/// How often the host is asked to be on time.
const TICK: Duration = Duration::from_millis(10);
/// Shorter delays are the everyday noise that the noise floor covers.
const NOTEWORTHY: Duration = Duration::from_millis(5);
/// A host that stalls more often than this is unfit anyway; the oldest stalls are then forgotten.
const KEPT: usize = 10_000;

/// A thread that wakes on an absolute schedule and notes when it was woken late.
#[derive(Debug)]
pub struct StallWatch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<(Nanos, Duration)>>>,
    thread: Option<JoinHandle<()>>,
}

impl StallWatch {
    /// Starts watching.
    ///
    /// # Errors
    /// The host has no thread to give.
    pub fn start() -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (ended, noted) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = thread::Builder::new()
            .name("stall-watch".into())
            .spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let due = BenchClock::now() + TICK;
                    BenchClock::sleep_until(due);
                    note(&noted, due, BenchClock::now());
                }
            })?;
        Ok(Self {
            stop,
            seen,
            thread: Some(thread),
        })
    }

    /// The longest stall that touched the time between `from` and `to`; zero when there was none worth noting.
    pub fn worst_between(&self, from: Nanos, to: Nanos) -> Duration {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let touching = seen
            .iter()
            .filter(|(due, late)| *due <= to && *due + *late >= from);
        touching.map(|(_, late)| *late).max().unwrap_or_default()
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn note(seen: &Mutex<Vec<(Nanos, Duration)>>, due: Nanos, woken: Nanos) {
    let late = woken.saturating_since(due);
    if late >= NOTEWORTHY {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() == KEPT {
            seen.remove(0);
        }
        seen.push((due, late));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_found_by_the_time_it_covers() {
        let at = |ms: u64| Nanos(ms * 1_000_000);
        let seen = Mutex::new(Vec::new());
        note(&seen, at(100), at(103));
        note(&seen, at(200), at(260));
        note(&seen, at(300), at(320));
        let watch = StallWatch {
            stop: Arc::default(),
            seen: Arc::new(seen),
            thread: None,
        };
        assert_eq!(watch.worst_between(at(90), at(110)), Duration::ZERO);
        assert_eq!(
            watch.worst_between(at(250), at(255)),
            Duration::from_millis(60)
        );
        assert_eq!(
            watch.worst_between(at(270), at(310)),
            Duration::from_millis(20)
        );
        assert_eq!(
            watch.worst_between(at(0), at(400)),
            Duration::from_millis(60)
        );
    }

    #[test]
    fn watching_ends_with_its_owner() {
        let watch = StallWatch::start().unwrap();
        let stop = Arc::clone(&watch.stop);
        drop(watch);
        assert_eq!(Arc::strong_count(&stop), 1);
    }
}
