// SPDX-License-Identifier: MIT OR Apache-2.0
//! Log books under random events, clock steps, restarts and floods: numbers, chain, seconds index, counts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use smgw_core::log::{
    Book, Break, Breakage, Event, EventKind, Link, Logs, Record, Stamp, Verifier,
};
use smgw_core::profile::ProfileName;
use smgw_units::{Nanos, UtcNanos};

#[derive(Clone, Debug)]
enum Step {
    Event {
        kind: usize,
        detail: u8,
    },
    /// Monotonic time passes.
    Pass(u32),
    /// UTC jumps by seconds.
    Jump(i32),
    /// The gateway is switched off; its monotonic clock begins anew.
    Restart {
        graceful: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..EventKind::ALL.len(), 0u8..4).prop_map(|(kind, detail)| Step::Event { kind, detail }),
        3 => (0u32..30_000).prop_map(Step::Pass),
        1 => any::<i32>().prop_map(Step::Jump),
        1 => any::<bool>().prop_map(|graceful| Step::Restart { graceful }),
    ]
}

fn consumer() -> ProfileName {
    "anna".parse().unwrap()
}

fn event(kind: EventKind, detail: u8) -> Event {
    Event::new(kind).subject(detail).of_consumer(consumer())
}

/// A gateway's life: books as kept, and the machine behind them.
struct Life {
    logs: Logs,
    kept: BTreeMap<Book, Vec<Record>>,
    now: Stamp,
}

impl Life {
    fn new() -> Self {
        Self {
            logs: Logs::resume([], Nanos(5)),
            kept: BTreeMap::new(),
            now: Stamp {
                utc: UtcNanos::from_seconds(1_700_000_000),
                valid: true,
                monotonic: Nanos(5),
            },
        }
    }

    fn keep(&mut self, records: Vec<Record>) {
        for record in records {
            self.kept
                .entry(record.book.clone())
                .or_default()
                .push(record);
        }
    }

    fn book(&self, book: &Book) -> &[Record] {
        self.kept.get(book).map_or(&[], Vec::as_slice)
    }

    fn happen(&mut self, event: &Event) {
        let records = self.logs.record(event, self.now);
        self.keep(records);
    }

    fn pass(&mut self, millis: u64) {
        self.now.monotonic.0 += millis * 1_000_000;
        self.now.utc.0 = self.now.utc.0.saturating_add(millis as i64 * 1_000_000);
    }

    fn finish(&mut self) {
        let records = self.logs.finish(self.now);
        self.keep(records);
    }

    fn restart(&mut self) {
        let ends = self
            .kept
            .iter()
            .map(|(book, records)| (book.clone(), Link::of(records.last().unwrap())));
        self.now.monotonic = Nanos(1);
        self.logs = Logs::resume(ends, self.now.monotonic);
    }

    fn verify(&self) {
        for records in self.kept.values() {
            let mut verifier = Verifier::default();
            for record in records {
                verifier.check(record).unwrap();
            }
        }
    }
}

/// How often an event stands in a book: first entries count once, the others by what they add to their run.
fn told(records: &[Record], id: u16) -> u64 {
    let mut runs: BTreeMap<u64, u64> = BTreeMap::new();
    for record in records.iter().filter(|record| record.event == id) {
        let first = record.parent.unwrap_or(record.number);
        runs.insert(first, u64::from(record.repetition));
    }
    runs.values().sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn numbers_chain_and_seconds_index_hold_whatever_happens(steps in prop::collection::vec(step(), 0..120)) {
        let mut life = Life::new();
        let mut happened: BTreeMap<EventKind, u64> = BTreeMap::new();
        let mut newest_index: Option<u64> = None;
        let mut counts_are_complete = true;
        for step in steps {
            match step {
                Step::Event { kind, detail } => {
                    let kind = EventKind::ALL[kind];
                    *happened.entry(kind).or_default() += 1;
                    life.happen(&event(kind, detail));
                }
                Step::Pass(millis) => life.pass(u64::from(millis)),
                Step::Jump(seconds) => {
                    life.now.utc.0 = life.now.utc.0.saturating_add(i64::from(seconds) * 1_000_000_000);
                }
                Step::Restart { graceful } => {
                    // Counts of open runs are not kept when the power fails.
                    if graceful {
                        life.finish();
                    } else {
                        counts_are_complete = false;
                    }
                    let newest = |life: &Life| life.kept.values().flatten().map(|record| record.seconds_index).max();
                    let before = newest(&life);
                    life.restart();
                    life.happen(&Event::new(EventKind::GatewayStarted).with("1"));
                    *happened.entry(EventKind::GatewayStarted).or_default() += 1;
                    prop_assert!(newest(&life) > before, "the index rises over a restart");
                }
            }
            let index = life.kept.values().flatten().map(|record| record.seconds_index).max();
            prop_assert!(index >= newest_index);
            newest_index = index;
        }
        life.finish();
        life.verify();
        for (kind, count) in happened {
            if kind.is_system() && counts_are_complete {
                prop_assert_eq!(told(life.book(&Book::System), kind.id()), count, "{:?}", kind);
            }
            if kind.is_calibration() {
                let entries = life.book(&Book::Calibration).iter().filter(|record| record.event == kind.id());
                prop_assert_eq!(entries.count() as u64, count, "{:?}", kind);
            }
        }
    }

    /// Any change to any kept record, a removed one and two exchanged ones are found, and where.
    #[test]
    fn a_changed_chain_breaks_where_it_was_changed(count in 3usize..20, which in any::<prop::sample::Index>(), how in 0..12) {
        let mut life = Life::new();
        for number in 0..count {
            life.happen(&event(EventKind::TimeSet, number as u8).user("gwa").destination("ntp").with("x"));
            life.pass(11_000);
        }
        let mut records = life.book(&Book::Calibration).to_vec();
        // The last one cannot be removed so that a chain alone would show it; the store keeps the end beside it.
        let at = which.index(count - 1);
        let record = &mut records[at];
        match how {
            0 => record.time.0 += 1,
            1 => record.time_valid = false,
            2 => record.seconds_index += 1,
            3 => record.event ^= 1,
            4 => record.repetition += 1,
            5 => record.subject = None,
            6 => record.user = Some(String::new()),
            7 => record.destination = Some("ntp2".into()),
            8 => record.template.push(' '),
            9 => record.extensions.push(String::new()),
            10 => { records.remove(at); }
            _ => records.swap(at, at + 1),
        }
        let mut verifier = Verifier::default();
        let broken = records.iter().find_map(|record| verifier.check(record).err());
        let Break { number, breakage } = broken.expect("a change is found");
        match how {
            10 | 11 => prop_assert_eq!(breakage, Breakage::Number { expected: at as u64 + 1 }),
            _ => {
                prop_assert_eq!(breakage, Breakage::Content);
                prop_assert_eq!(number, at as u64 + 1);
            }
        }
    }
}

/// Row LOG-08: a hundred thousand failures within a minute, calibration events in between.
#[test]
fn a_flood_is_counted_and_no_calibration_event_is_lost() {
    for different in [1u32, 10, 1_000] {
        let mut life = Life::new();
        for number in 0..100_000u32 {
            life.happen(
                &Event::new(EventKind::HanRefused)
                    .subject(number % different)
                    .with("no certificate"),
            );
            if number % 10_000 == 0 {
                life.happen(&Event::new(EventKind::TimeInvalid).with("3 %"));
            }
            if number % 100 == 0 {
                life.pass(60);
            }
        }
        life.finish();
        life.verify();
        assert_eq!(
            told(life.book(&Book::System), EventKind::HanRefused.id()),
            100_000,
            "{different}"
        );
        assert_eq!(life.book(&Book::Calibration).len(), 10, "{different}");
        let entries = life.book(&Book::System).len();
        // 33 runs at most, each written at most every ten seconds.
        assert!(
            entries <= 33 * 8 + 10,
            "{entries} entries for {different} different events"
        );
    }
}

#[test]
fn an_event_after_quiet_begins_a_run_of_its_own() {
    let mut life = Life::new();
    let lost = Event::new(EventKind::PortLost)
        .subject("meter")
        .with("gone");
    for pause in [0, 1, 25, 0, 25] {
        for _ in 0..pause {
            life.pass(1_000);
            let records = life.logs.handle_time(life.now);
            life.keep(records);
        }
        life.happen(&lost);
    }
    let shape: Vec<_> = life
        .book(&Book::System)
        .iter()
        .map(|record| (record.number, record.parent, record.repetition))
        .collect();
    let expected = [
        (1, None, 1),
        (2, Some(1), 2),
        (3, None, 1),
        (4, Some(3), 2),
        (5, None, 1),
    ];
    assert_eq!(shape, expected);
    life.verify();
}

#[test]
fn a_full_calibration_log_says_so_and_erases_nothing() {
    let mut life = Life::new();
    life.logs = Logs::resume([], Nanos(0)).with_calibration_limit(3);
    let set = |number: u32| Event::new(EventKind::TimeSet).with(number);
    for number in 0..2 {
        assert!(!life.logs.calibration_full());
        life.happen(&set(number));
    }
    for number in 2..5 {
        life.happen(&set(number));
        assert!(life.logs.calibration_full());
    }
    let events: Vec<_> = life
        .book(&Book::Calibration)
        .iter()
        .map(|record| record.event)
        .collect();
    let set = EventKind::TimeSet.id();
    assert_eq!(events, [set, set, EventKind::CalibrationLogFull.id()]);
    assert_eq!(told(life.book(&Book::System), set), 5);
    life.verify();
    life.restart();
    life.logs = life.logs.with_calibration_limit(3);
    assert!(life.logs.calibration_full());
}

#[test]
fn books_hold_only_what_is_theirs() {
    let mut life = Life::new();
    let other: ProfileName = "bert".parse().unwrap();
    life.happen(
        &Event::new(EventKind::ConsumerDataRead)
            .user("anna")
            .of_consumer(consumer()),
    );
    life.happen(
        &Event::new(EventKind::ProfileActivated)
            .of_consumer(consumer())
            .of_consumer(other.clone()),
    );
    // A kind that is none of a consumer's business stays out of his log.
    life.happen(&Event::new(EventKind::HanConnected).of_consumer(other.clone()));
    let len = |book| life.book(&book).len();
    assert_eq!(len(Book::Consumer(consumer())), 2);
    assert_eq!(len(Book::Consumer(other)), 1);
    assert_eq!(len(Book::System), 2);
    assert_eq!(len(Book::Calibration), 1);
}
