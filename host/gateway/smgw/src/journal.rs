// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way into the log books and the only way into the store for values: events are numbered at once, in the order they
//! are noted, and kept with the next batch or by a thread of their own, whichever comes first
//! (catalogue rows LOG-01 to LOG-08; `docs/logs.md`).

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use smgw_core::log::{Event, EventKind, Logs, Record, Stamp};
use smgw_units::Nanos;
use tracing::{error, info};

use crate::store::{Batch, Store, StoreError};

/// Cheap to clone; all clones are one journal.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    /// Locked before `state` where both are needed.
    store: Mutex<Store>,
    state: Mutex<State>,
    wake: Condvar,
    stamp: Box<dyn Fn() -> Stamp + Send + Sync>,
}

struct State {
    logs: Logs,
    /// Numbered, but not kept yet.
    pending: Vec<Record>,
    /// Events that found no room here.
    dropped: u64,
    /// Why values are not taken, in words.
    trouble: Option<String>,
    stopping: bool,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    /// Goes on behind the log books of `store`; `stamp` tells the gateway's times. The thread ends after
    /// [`finish`](Self::finish).
    ///
    /// # Errors
    /// When the books cannot be read, or the operating system gives no thread.
    pub fn start(
        store: Store,
        stamp: impl Fn() -> Stamp + Send + Sync + 'static,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let logs = Logs::resume(store.log_ends()?, Nanos(0));
        let journal = Self(Arc::new(Shared {
            store: Mutex::new(store),
            state: Mutex::new(State {
                logs,
                pending: Vec::new(),
                dropped: 0,
                trouble: None,
                stopping: false,
            }),
            wake: Condvar::new(),
            stamp: Box::new(stamp),
        }));
        let writer = journal.clone();
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())?;
        Ok((journal, thread))
    }

    /// Takes down an event; never waits for a disk.
    pub fn note(&self, event: Event) {
        self.note_in(&mut lock(&self.0.state), &event);
        self.0.wake.notify_all();
    }

    /// Takes down an event and returns when it is on the disk: before what it tells of takes effect.
    ///
    /// # Errors
    /// [`StoreError`]; the event stays noted, and is kept as soon as the store takes it.
    pub fn note_durably(&self, event: Event) -> Result<(), StoreError> {
        self.note_in(&mut lock(&self.0.state), &event);
        self.keep(&mut lock(&self.0.store), &mut Batch::default())
    }

    /// Keeps a batch together with all that is noted; durable on return. The log entries are the journal's: what stands
    /// in `batch.log` is replaced.
    ///
    /// The first refusal is noted as the stop of measuring, the first success behind it as its end.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the batch is kept then.
    pub fn commit(&self, batch: &mut Batch) -> Result<(), StoreError> {
        let mut store = lock(&self.0.store);
        if let Err(error) = self.keep(&mut store, batch) {
            let mut state = lock(&self.0.state);
            if state.trouble.is_none() {
                let why = error.to_string();
                self.note_in(
                    &mut state,
                    &Event::new(EventKind::MeasuringStopped).with(&why),
                );
                state.trouble = Some(why);
                self.0.wake.notify_all();
            }
            return Err(error);
        }
        let mut state = lock(&self.0.state);
        if state.trouble.take().is_some() {
            self.note_in(&mut state, &Event::new(EventKind::MeasuringContinues));
            self.0.wake.notify_all();
        }
        Ok(())
    }

    /// Numbers what is due now, and keeps all that is noted.
    ///
    /// # Errors
    /// [`StoreError`]; what is noted stays noted.
    pub fn settle(&self) -> Result<(), StoreError> {
        let now = self.now();
        {
            let mut state = lock(&self.0.state);
            let due = state.logs.handle_time(now);
            state.pending.extend(due);
        }
        self.keep(&mut lock(&self.0.store), &mut Batch::default())
    }

    /// Why the store takes no values right now.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.0.state).trouble.clone()
    }

    /// Whether the calibration log is full: then values are not for billing.
    pub fn calibration_full(&self) -> bool {
        lock(&self.0.state).logs.calibration_full()
    }

    /// Something of the store that is no batch.
    pub fn with_store<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        work(&mut lock(&self.0.store))
    }

    /// Writes all counts and ends the thread.
    pub fn finish(&self) {
        lock(&self.0.state).stopping = true;
        self.0.wake.notify_all();
    }

    fn now(&self) -> Stamp {
        (self.0.stamp)()
    }

    fn note_in(&self, state: &mut State, event: &Event) {
        if state.pending.len() >= MOST_PENDING && !event.kind().is_calibration() {
            state.dropped += 1;
            return;
        }
        let records = state.logs.record(event, self.now());
        state.pending.extend(records);
    }

    /// Keeps what is pending, with `batch`.
    fn keep(&self, store: &mut Store, batch: &mut Batch) -> Result<(), StoreError> {
        // Only who holds the store takes from the front of what is pending.
        batch.log.clone_from(&lock(&self.0.state).pending);
        let count = batch.log.len();
        let outcome = if count == 0 && batch.is_log_only() {
            Ok(())
        } else {
            store.commit(batch)
        };
        batch.log.clear();
        let mut state = lock(&self.0.state);
        if outcome.is_ok() {
            state.pending.drain(..count);
            if let dropped @ 1.. = std::mem::take(&mut state.dropped) {
                let event = Event::new(EventKind::EventsNotKept).with(dropped);
                self.note_in(&mut state, &event);
            }
        }
        outcome
    }

    fn run(self) {
        let mut failing = false;
        loop {
            let stopping = {
                let mut state = lock(&self.0.state);
                let pause = match state.logs.next_deadline() {
                    _ if failing => RETRY,
                    _ if !state.pending.is_empty() => Duration::ZERO,
                    Some(deadline) => deadline.saturating_since(self.now().monotonic),
                    None => IDLE,
                };
                if !pause.is_zero() && !state.stopping {
                    let woken = self.0.wake.wait_timeout(state, pause);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                let now = self.now();
                let records = if state.stopping {
                    state.logs.finish(now)
                } else {
                    state.logs.handle_time(now)
                };
                state.pending.extend(records);
                state.stopping
            };
            let outcome = self.keep(&mut lock(&self.0.store), &mut Batch::default());
            match &outcome {
                Err(error) if !failing => error!(%error, "log entries wait for the store"),
                Ok(()) if failing => info!("log entries are kept again"),
                _ => {}
            }
            failing = outcome.is_err();
            if stopping && (failing || lock(&self.0.state).pending.is_empty()) {
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Entries that may wait for the store before further events are only counted; calibration events always wait.
const MOST_PENDING: usize = 10_000;
/// Between two attempts.
const RETRY: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use smgw_core::log::Book;

    use super::*;
    use crate::store::{LogSelection, Options};

    fn start(path: &Path, options: Options) -> (Journal, JoinHandle<()>) {
        let store = Store::open(path, options).unwrap();
        let stamp = || Stamp {
            utc: smgw_units::UtcNanos::from_seconds(1_000),
            valid: true,
            monotonic: Nanos(0),
        };
        Journal::start(store, stamp).unwrap()
    }

    fn fact(bytes: usize) -> Batch {
        Batch {
            facts: vec![("fact".into(), vec![1; bytes])],
            ..Batch::default()
        }
    }

    fn kinds(store: &Store, book: &Book) -> Vec<u16> {
        let records = store.log(book, LogSelection::default()).unwrap();
        records.iter().map(|record| record.event).collect()
    }

    #[test]
    fn what_is_noted_anywhere_is_kept_in_one_chain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        for life in 1..=2u64 {
            let (journal, thread) = start(&path, Options::default());
            std::thread::scope(|scope| {
                for noter in 0..4 {
                    let journal = journal.clone();
                    scope.spawn(move || {
                        for number in 0..5 {
                            let event =
                                Event::new(EventKind::MeterFault).subject(noter * 5 + number);
                            match number {
                                4 => journal.note_durably(event).unwrap(),
                                _ => journal.note(event),
                            }
                            journal.commit(&mut fact(1)).unwrap();
                        }
                    });
                }
            });
            journal.finish();
            thread.join().unwrap();
            let kept = journal.with_store(|store| store.verify_log(&Book::Calibration).unwrap());
            assert_eq!(kept.number, 20 * life);
            journal.with_store(|store| store.verify_log(&Book::System).unwrap());
        }
    }

    #[test]
    fn durable_means_kept_before_it_returns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (journal, thread) = start(&path, Options::default());
        journal
            .note_durably(Event::new(EventKind::TimeInvalid).with("3 %"))
            .unwrap();
        let reader = Store::open_reader(&path).unwrap();
        assert_eq!(
            kinds(&reader, &Book::Calibration),
            [EventKind::TimeInvalid.id()]
        );
        journal.finish();
        thread.join().unwrap();
    }

    #[test]
    fn a_stop_of_measuring_is_told_once_and_so_is_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let small = Options {
            most_pages: Some(60),
            ..Options::default()
        };
        let (journal, thread) = start(&path, small);
        for _ in 0..3 {
            let refused = journal.commit(&mut fact(1 << 20));
            assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
            assert!(journal.trouble().is_some());
        }
        journal.commit(&mut fact(1)).unwrap();
        assert_eq!(journal.trouble(), None);
        journal.finish();
        thread.join().unwrap();
        let told = [
            EventKind::MeasuringStopped.id(),
            EventKind::MeasuringContinues.id(),
        ];
        journal.with_store(|store| assert_eq!(kinds(store, &Book::Calibration), told));
    }
}
