// SPDX-License-Identifier: MIT OR Apache-2.0
//! A gateway's writing reduced to what matters: batch number n holds n in every part, and is acknowledged on standard
//! output when the store says it is kept.

use std::io::Write;
use std::path::Path;

use smgw::store::{Batch, Durability, Kept, LogSelection, Options, Selection, Store, StoreError};
use smgw_core::log::{Book, Event, EventKind, Logs, Stamp};
use smgw_core::profile::ProfileName;
use smgw_core::taf::{Delivery, Derived};
use smgw_core::{CombinedStatus, Content, Entry};
use smgw_units::{Decimal, DeviceId, Nanos, Obis, Unit, UtcNanos};

const PERIOD: u32 = 900;
const METERS: [&str; 2] = ["1smb0000000001", "1smb0000000002"];

fn profile() -> ProfileName {
    "taf2.flat-1".parse().unwrap()
}

fn entry(number: i64) -> Entry {
    let target = UtcNanos::from_seconds(number * i64::from(PERIOD));
    Entry {
        obis: Obis::IMPORT_TOTAL,
        target,
        status: CombinedStatus::of_value(0),
        content: Content::Value {
            capture: target,
            value: Decimal::new(i128::from(number), -1),
            unit: Unit::WATT_HOUR,
        },
    }
}

/// Batch number `number`.
pub fn batch(number: i64, logs: &mut Logs) -> Batch {
    let entry = entry(number);
    let kept = METERS.map(|meter| Kept {
        meter: meter.parse().unwrap(),
        period: PERIOD,
        entry,
        signature: vec![number as u8; 64],
    });
    let stamp = Stamp {
        utc: entry.target,
        valid: true,
        monotonic: Nanos(number as u64 * 1_000_000_000),
    };
    // In the system log and in the calibration log.
    let event = Event::new(EventKind::MeterFault).subject(number);
    Batch {
        entries: kept.into(),
        derived: vec![Derived {
            profile: profile(),
            entry,
        }],
        states: vec![(profile(), number.to_be_bytes().into())],
        deliveries: vec![Delivery {
            profile: profile(),
            recipient: profile(),
            due: entry.target,
            lines: vec![entry],
            pseudonymous: false,
        }],
        log: logs.record(&event, stamp),
        expired: Vec::new(),
        facts: vec![("number".into(), number.to_be_bytes().into())],
    }
}

/// The machine of the log books behind what is kept, and the number of the last batch.
pub fn resume(store: &Store) -> (Logs, i64) {
    let last = store.fact("number").unwrap();
    let last = last.map_or(0, |bytes| i64::from_be_bytes(bytes.try_into().unwrap()));
    let ends = store.log_ends().unwrap();
    (Logs::resume(ends, Nanos(last as u64 * 1_000_000_000)), last)
}

/// Opens the store and checks that it holds batches 1 to some number, each once and whole; returns that number.
pub fn check(path: &Path) -> Result<i64, StoreError> {
    let store = Store::open(path, Options::default())?;
    let (_, last) = resume(&store);
    let expected: Vec<Entry> = (1..=last).map(entry).collect();
    for meter in METERS {
        let meter: DeviceId = meter.parse().unwrap();
        let entries = store.entries(meter, Obis::IMPORT_TOTAL, PERIOD, Selection::default())?;
        assert_eq!(entries, expected);
    }
    let derived = store.derived(&profile(), None, Selection::default())?;
    assert!(
        derived
            .into_iter()
            .map(|line| line.entry)
            .eq(expected.iter().copied())
    );
    let outbox = store.outbox()?;
    assert!(
        outbox
            .into_iter()
            .map(|waiting| waiting.delivery.lines[0])
            .eq(expected)
    );
    let state = (last > 0).then(|| last.to_be_bytes().to_vec());
    assert_eq!(store.state(&profile())?, state);
    for book in [Book::System, Book::Calibration] {
        assert_eq!(store.verify_log(&book)?.number, last as u64, "{book}");
        let records = store.log(&book, LogSelection::default())?;
        let subjects = records.into_iter().map(|record| record.subject);
        assert!(
            subjects.eq((1..=last).map(|number| Some(number.to_string()))),
            "{book}"
        );
    }
    Ok(last)
}

/// The writer itself; a test only by its form.
#[test]
#[ignore = "the child process of other tests"]
fn writes() {
    let Ok(path) = std::env::var("SMGW_WRITER_STORE") else {
        return;
    };
    let options = Options {
        durability: match std::env::var("SMGW_WRITER_CARELESS") {
            Ok(_) => Durability::None,
            Err(_) => Durability::Full,
        },
        ..Options::default()
    };
    let mut store = Store::open(Path::new(&path), options).unwrap();
    let (mut logs, last) = resume(&store);
    let most = crate::number("SMGW_WRITER_BATCHES", u64::MAX).min(i64::MAX as u64) as i64;
    let mut output = std::io::stdout();
    for number in last + 1..=most {
        store.commit(&batch(number, &mut logs)).unwrap();
        output
            .write_all(format!("\nack {number}\n").as_bytes())
            .unwrap();
        output.flush().unwrap();
    }
}
