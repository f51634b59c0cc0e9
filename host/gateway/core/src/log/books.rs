// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine behind all log books of a gateway: numbers, seconds index, chain, and what happens to floods.
//!
//! Equal events of the system log and of consumer logs within ten seconds of each other make a run: its first entry is
//! written at once, what follows is counted, and an entry with the count is written every ten seconds until the run ends
//! (VDE 2.78: first and last are kept). When too many different events of one kind run at the same time, further ones share
//! one run without details. Entries of the calibration log are never counted together (row LOG-08).

use std::collections::BTreeMap;
use std::time::Duration;

use smgw_units::{Nanos, UtcNanos};

use super::chain::Link;
use super::event::{Event, EventKind};
use super::record::{Book, Record};

/// When something happened, by all clocks of the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// UTC as the gateway knows it.
    pub utc: UtcNanos,
    /// Whether that time is valid.
    pub valid: bool,
    /// The monotonic clock, of which only differences count.
    pub monotonic: Nanos,
}

/// All log books.
#[derive(Clone, Debug)]
pub struct Logs {
    ends: BTreeMap<Book, Link>,
    /// Seconds index at `started`.
    base: u64,
    started: Nanos,
    calibration_limit: u64,
    runs: BTreeMap<Book, Vec<Run>>,
}

/// Equal events shortly after each other.
#[derive(Clone, Debug)]
struct Run {
    /// Without details when it stands for different events of one kind.
    event: Event,
    mixed: bool,
    first: u64,
    count: u32,
    last: UtcNanos,
    /// Whether `count` stands in no entry yet.
    unwritten: bool,
    /// When the count is written, or the run ends.
    due: Nanos,
}

impl Logs {
    /// Most entries the calibration log takes if nothing else is said.
    pub const CALIBRATION_LIMIT: u64 = 1_000_000;

    /// Goes on behind the `ends` of the books that are kept; `now` is the monotonic time of the start. The seconds index
    /// of the first entry lies above all that are kept: how long the gateway was off nobody can tell for sure.
    pub fn resume(ends: impl IntoIterator<Item = (Book, Link)>, now: Nanos) -> Self {
        let ends: BTreeMap<_, _> = ends.into_iter().collect();
        let newest = ends.values().map(|end| end.seconds_index).max();
        Self {
            ends,
            base: newest.map_or(0, |newest| newest + 1),
            started: now,
            calibration_limit: Self::CALIBRATION_LIMIT,
            runs: BTreeMap::new(),
        }
    }

    /// The same with room for `limit` calibration entries, at least one.
    #[must_use]
    pub fn with_calibration_limit(mut self, limit: u64) -> Self {
        self.calibration_limit = limit.max(1);
        self
    }

    /// Whether the calibration log is full: from then on values are not for billing.
    pub fn calibration_full(&self) -> bool {
        self.end(&Book::Calibration).number >= self.calibration_limit
    }

    /// The end of a book.
    pub fn end(&self, book: &Book) -> Link {
        self.ends.get(book).copied().unwrap_or_default()
    }

    /// Takes down an event; returns the entries to keep, in order, and with them those of runs whose time has come.
    pub fn record(&mut self, event: &Event, now: Stamp) -> Vec<Record> {
        let mut records = self.handle_time(now);
        let kind = event.kind;
        let mut system = kind.is_system();
        if kind.is_calibration() && !self.record_calibration(event, now, &mut records) {
            // What the full calibration log cannot take at least stands in the system log.
            system = true;
        }
        if system {
            records.extend(self.record_in(Book::System, event, now));
        }
        if kind.is_consumer() {
            for consumer in &event.consumers {
                records.extend(self.record_in(Book::Consumer(consumer.clone()), event, now));
            }
        }
        records
    }

    /// Writes the counts of runs that are due.
    pub fn handle_time(&mut self, now: Stamp) -> Vec<Record> {
        self.write_counts(now, |run| run.due <= now.monotonic)
    }

    /// Writes all counts: the gateway stops.
    pub fn finish(&mut self, now: Stamp) -> Vec<Record> {
        self.write_counts(now, |_| true)
    }

    /// When [`handle_time`](Self::handle_time) has something to do.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.runs.values().flatten().map(|run| run.due).min()
    }

    /// Whether the log had room.
    fn record_calibration(&mut self, event: &Event, now: Stamp, records: &mut Vec<Record>) -> bool {
        let left = self
            .calibration_limit
            .saturating_sub(self.end(&Book::Calibration).number);
        match left {
            0 => false,
            1 => {
                let full = Event::new(EventKind::CalibrationLogFull);
                records.push(self.append(Book::Calibration, Record::of(&full), now));
                records.push(self.append(Book::System, Record::of(&full), now));
                false
            }
            _ => {
                records.push(self.append(Book::Calibration, Record::of(event), now));
                true
            }
        }
    }

    fn record_in(&mut self, book: Book, event: &Event, now: Stamp) -> Option<Record> {
        let due = now.monotonic + WINDOW;
        let runs = self.runs.entry(book.clone()).or_default();
        let is_kind = |run: &&mut Run| run.event.kind == event.kind;
        let running = runs
            .iter()
            .filter(|run| run.event.kind == event.kind)
            .count();
        let crowded = running >= most_different(&book);
        let equal = |run: &&mut Run| !run.mixed && run.event == *event;
        let run = match runs.iter_mut().find(equal) {
            None if crowded => runs.iter_mut().filter(is_kind).find(|run| run.mixed),
            found => found,
        };
        if let Some(run) = run {
            run.count = run.count.saturating_add(1);
            run.last = now.utc;
            if !run.unwritten {
                run.unwritten = true;
                run.due = due;
            }
            return None;
        }
        let event = if crowded {
            Event::new(event.kind).outcome(event.outcome)
        } else {
            event.clone()
        };
        let mut record = Record::of(&event);
        if crowded {
            record.extensions.push("various".to_owned());
        }
        let record = self.append(book.clone(), record, now);
        self.runs.entry(book).or_default().push(Run {
            event,
            mixed: crowded,
            first: record.number,
            count: 1,
            last: now.utc,
            unwritten: false,
            due,
        });
        Some(record)
    }

    fn write_counts(&mut self, now: Stamp, due: impl Fn(&Run) -> bool) -> Vec<Record> {
        let mut records = Vec::new();
        let books: Vec<Book> = self.runs.keys().cloned().collect();
        for book in books {
            for mut run in self.runs.remove(&book).unwrap_or_default() {
                if !due(&run) {
                    self.runs.entry(book.clone()).or_default().push(run);
                    continue;
                }
                if run.unwritten {
                    let mut record = Record {
                        parent: Some(run.first),
                        repetition: run.count,
                        ..Record::of(&run.event)
                    };
                    if run.mixed {
                        record.extensions.push("various".to_owned());
                    }
                    record.extensions.push(format!("last at {}", run.last));
                    records.push(self.append(book.clone(), record, now));
                    run.unwritten = false;
                    run.due = now.monotonic + WINDOW;
                    self.runs.entry(book.clone()).or_default().push(run);
                }
            }
        }
        records
    }

    fn append(&mut self, book: Book, record: Record, now: Stamp) -> Record {
        let end = self.end(&book);
        let elapsed = now.monotonic.saturating_since(self.started).as_secs();
        let mut record = Record {
            number: end.number + 1,
            time: now.utc,
            time_valid: now.valid,
            // A caller that hands in an older stamp does not turn time back.
            seconds_index: (self.base + elapsed).max(end.seconds_index),
            previous: end.hash,
            book: book.clone(),
            ..record
        };
        record.hash = record.computed_hash();
        self.ends.insert(book, Link::of(&record));
        record
    }
}

/// How many different events of one kind may run at the same time before they are counted together.
fn most_different(book: &Book) -> usize {
    match book {
        Book::Consumer(_) => 1_024,
        Book::System | Book::Calibration => 32,
    }
}

/// How long a run goes on without a new event, and how long a count stays unwritten.
const WINDOW: Duration = Duration::from_secs(10);
