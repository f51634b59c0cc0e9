// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the store keeps, refuses and gives back.

use std::fs;

use rusqlite::Connection;
use smgw_core::log::{Book, Event, EventKind, Logs, Record, Stamp};
use smgw_core::taf::{Delivery, Derived};
use smgw_core::{CombinedStatus, Content, Entry, GapReason};
use smgw_units::{Decimal, DeviceId, Nanos, Obis, Unit, UtcNanos};

use super::*;

const PERIOD: u32 = 900;

fn meter() -> DeviceId {
    "1smb0000000001".parse().unwrap()
}

fn at(seconds: i64) -> UtcNanos {
    UtcNanos::from_seconds(seconds)
}

fn value(target: i64, mantissa: i128) -> Entry {
    Entry {
        obis: Obis::IMPORT_TOTAL,
        target: at(target),
        status: CombinedStatus::of_value(1 << 31),
        content: Content::Value {
            capture: at(target + 1),
            value: Decimal::new(mantissa, -4),
            unit: Unit::WATT_HOUR,
        },
    }
}

fn gap(target: i64) -> Entry {
    Entry {
        content: Content::Gap(GapReason::LinkLost),
        status: CombinedStatus::of_gap(),
        ..value(target, 0)
    }
}

fn kept(entry: Entry) -> Kept {
    Kept {
        meter: meter(),
        period: PERIOD,
        entry,
        signature: vec![7, 8],
    }
}

fn of(entries: impl IntoIterator<Item = Entry>) -> Batch {
    Batch {
        entries: entries.into_iter().map(kept).collect(),
        ..Batch::default()
    }
}

fn stamp(second: i64) -> Stamp {
    Stamp {
        utc: at(second),
        valid: true,
        monotonic: Nanos(second as u64 * 1_000_000_000),
    }
}

/// Records that differ, `count` of the system log and as many of the calibration log.
fn records(logs: &mut Logs, count: usize) -> Vec<Record> {
    let event = |number| Event::new(EventKind::MeterFault).subject(number);
    (0..count)
        .flat_map(|number| logs.record(&event(number), stamp(number as i64 * 20)))
        .collect()
}

fn all(store: &Store) -> Vec<Entry> {
    store
        .entries(meter(), Obis::IMPORT_TOTAL, PERIOD, Selection::default())
        .unwrap()
}

struct Place {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values.sqlite");
    Place {
        _folder: folder,
        path,
    }
}

fn open(path: &std::path::Path) -> Store {
    Store::open(path, Options::default()).unwrap()
}

#[test]
fn entries_survive_a_restart_with_every_digit() {
    let place = place();
    let written = [
        value(900, i128::from(u64::MAX)),
        gap(1_800),
        value(2_700, -5),
    ];
    open(&place.path).commit(&of(written)).unwrap();

    let mut store = open(&place.path);
    let reader = Store::open_reader(&place.path).unwrap();
    assert_eq!(all(&reader), written);
    let newest = store.newest(meter(), Obis::IMPORT_TOTAL, PERIOD).unwrap();
    assert_eq!(newest.target, Some(at(2_700)));
    assert_eq!(newest.capture, Some(at(2_701)));
    let other = store.newest(meter(), Obis::IMPORT_TOTAL, 60).unwrap();
    assert_eq!(other, smgw_core::Newest::default());

    // From inclusive, to exclusive, the newest ones of what is left.
    let window = Selection {
        from: Some(at(900)),
        to: Some(at(2_700)),
        count: None,
    };
    let newest_one = Selection {
        count: Some(1),
        ..window
    };
    let kept = |selection| {
        reader
            .kept(meter(), Obis::IMPORT_TOTAL, PERIOD, selection)
            .unwrap()
    };
    assert_eq!(
        kept(window),
        written[..2]
            .iter()
            .copied()
            .map(self::kept)
            .collect::<Vec<_>>()
    );
    assert_eq!(kept(newest_one), [self::kept(written[1])]);

    // A repeated target is refused, and nothing of its batch is kept.
    assert!(store.commit(&of([value(3_600, 1), value(900, 1)])).is_err());
    assert_eq!(all(&reader).len(), 3);
}

#[test]
fn a_batch_is_kept_as_a_whole() {
    let place = place();
    let mut store = open(&place.path);
    let mut logs = Logs::resume([], Nanos(0));
    let profile: smgw_core::profile::ProfileName = "taf2.flat-1".parse().unwrap();
    let derived = |target| Derived {
        profile: profile.clone(),
        entry: value(target, 5),
    };
    let delivery = Delivery {
        profile: profile.clone(),
        recipient: "emt-1".parse().unwrap(),
        due: at(1_000),
        lines: vec![value(900, 1), gap(1_800)],
        pseudonymous: true,
    };
    let batch = Batch {
        derived: vec![derived(900), derived(1_800)],
        states: vec![(profile.clone(), vec![1])],
        deliveries: vec![delivery.clone(), delivery.clone()],
        log: records(&mut logs, 2),
        facts: vec![("key".into(), vec![1, 2])],
        ..of([value(900, 1)])
    };
    store.commit(&batch).unwrap();
    let again = Batch {
        states: vec![(profile.clone(), vec![2])],
        facts: vec![("key".into(), vec![3])],
        ..Batch::default()
    };
    store.commit(&again).unwrap();
    drop(store);

    let mut store = open(&place.path);
    assert_eq!(
        store.derived(&profile, None, Selection::default()).unwrap(),
        batch.derived
    );
    assert_eq!(store.registers(&profile).unwrap(), batch.derived[1..]);
    assert_eq!(store.state(&profile).unwrap(), Some(vec![2]));
    assert_eq!(store.fact("key").unwrap(), Some(vec![3]));
    assert_eq!(store.fact("other").unwrap(), None);
    let waiting = store.outbox().unwrap();
    assert_eq!(waiting.len(), 2);
    assert!(waiting.iter().all(|waiting| waiting.delivery == delivery));
    store.acknowledge(waiting[0].id).unwrap();
    assert_eq!(store.outbox().unwrap(), waiting[1..]);
    let system = store.log(&Book::System, LogSelection::default()).unwrap();
    assert_eq!(system.len(), 2);
    assert_eq!(store.verify_log(&Book::System).unwrap().number, 2);
    assert_eq!(store.verify_log(&Book::Calibration).unwrap().number, 2);

    // Records that do not hang on those that are kept take their whole batch with them.
    let mut stranger = Logs::resume([], Nanos(0));
    let wrong = Batch {
        log: records(&mut stranger, 1),
        ..of([value(1_800, 1)])
    };
    assert!(matches!(
        store.commit(&wrong),
        Err(StoreError::Chain { .. })
    ));
    assert_eq!(all(&store).len(), 1);
    // The right ones go on from the ends that are kept.
    let mut logs = Logs::resume(store.log_ends().unwrap(), Nanos(0));
    let right = Batch {
        log: records(&mut logs, 3),
        ..Batch::default()
    };
    store.commit(&right).unwrap();
    assert_eq!(store.verify_log(&Book::System).unwrap().number, 5);
}

#[test]
fn a_file_of_schema_1_is_migrated_with_its_values() {
    for killed_while_created in [false, true] {
        let place = place();
        let old = Connection::open(&place.path).unwrap();
        old.execute_batch(
            "PRAGMA journal_mode = wal;
            CREATE TABLE entry (
                meter TEXT NOT NULL, obis TEXT NOT NULL, target INTEGER NOT NULL, capture INTEGER,
                mantissa TEXT, scaler INTEGER, unit INTEGER, gateway_status INTEGER NOT NULL,
                meter_status INTEGER NOT NULL, gap TEXT, PRIMARY KEY (meter, obis, target),
                CHECK ((gap IS NULL) = (mantissa IS NOT NULL))
            ) STRICT, WITHOUT ROWID;",
        )
        .unwrap();
        if !killed_while_created {
            old.execute_batch(
                "PRAGMA user_version = 1;
                INSERT INTO entry VALUES ('1smb0000000001', '1-0:1.8.0*255', 900, 901,
                    '170141183460469231731687303715884105727', -4, 30, 5, 2147483648, NULL);
                INSERT INTO entry VALUES ('1smb0000000001', '1-0:1.8.0*255', 1800, NULL, NULL, NULL, NULL, 8197, 0, 'link-lost');",
            )
            .unwrap();
        }
        drop(old);
        let options = Options {
            period: 900,
            ..Options::default()
        };
        let mut store = Store::open(&place.path, options).unwrap();
        let expected = [value(900, i128::MAX), gap(1_800)];
        let expected = if killed_while_created {
            &[][..]
        } else {
            &expected
        };
        assert_eq!(all(&store), expected);
        store.commit(&of([value(2_700, 1)])).unwrap();
        drop(store);
        assert_eq!(all(&open(&place.path)).len(), expected.len() + 1);
        assert_eq!(schema::version(&place.path).unwrap(), SCHEMA_VERSION);
    }
}

#[test]
fn a_newer_file_is_refused_untouched() {
    let place = place();
    open(&place.path).commit(&of([value(900, 1)])).unwrap();
    let newer = Connection::open(&place.path).unwrap();
    newer
        .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
        .unwrap();
    drop(newer);
    let before = fs::read(&place.path).unwrap();
    let refused = Store::open(&place.path, Options::default());
    assert!(
        matches!(refused, Err(StoreError::Version { found, .. }) if found == SCHEMA_VERSION + 1)
    );
    assert_eq!(fs::read(&place.path).unwrap(), before);
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    // No SQLite file at all, a header cut short, a page in the middle overwritten.
    type Spoil = dyn Fn(&mut Vec<u8>);
    let spoil: [&Spoil; 3] = [
        &|bytes| bytes[..16].fill(b'x'),
        &|bytes| bytes.truncate(50),
        &|bytes| {
            let middle = bytes.len() / 4096 / 2 * 4096;
            bytes[middle..middle + 4096].fill(0x55);
        },
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let place = place();
        let mut store = open(&place.path);
        store
            .commit(&of((1..2_000).map(|number| value(number * 900, 1))))
            .unwrap();
        drop(store);
        let mut bytes = fs::read(&place.path).unwrap();
        spoil(&mut bytes);
        fs::write(&place.path, &bytes).unwrap();
        let refused = Store::open(&place.path, Options::default()).unwrap_err();
        assert!(
            matches!(refused, StoreError::Damaged { .. }),
            "{number}: {refused}"
        );
        assert_eq!(fs::read(&place.path).unwrap(), bytes, "{number}");
    }
}

#[test]
fn tampered_log_books_are_noticed() {
    // Through the start: the ends of the books. Through the whole check: any record.
    for (tampering, at_start) in [
        ("DELETE FROM log WHERE book = 'system' AND number = 6", true),
        ("DELETE FROM log WHERE book = 'system' AND number = 3", true),
        ("DELETE FROM book WHERE name = 'system'", true),
        (
            "UPDATE log SET time = time + 1 WHERE book = 'calibration' AND number = 6",
            true,
        ),
        (
            "UPDATE log SET subject = 'x' WHERE book = 'system' AND number = 2",
            false,
        ),
        (
            "UPDATE log SET number = 60 WHERE book = 'system' AND number = 3",
            true,
        ),
    ] {
        let place = place();
        let mut store = open(&place.path);
        let mut logs = Logs::resume([], Nanos(0));
        let batch = Batch {
            log: records(&mut logs, 6),
            ..Batch::default()
        };
        store.commit(&batch).unwrap();
        store.verify_log(&Book::System).unwrap();
        store
            .connection
            .execute_batch(&format!(
                "DROP TRIGGER log_is_never_changed; DROP TRIGGER calibration_log_is_never_erased; {tampering}"
            ))
            .unwrap();
        drop(store);
        let opened = Store::open(&place.path, Options::default());
        if at_start {
            assert!(
                matches!(opened, Err(StoreError::Damaged { .. })),
                "{tampering}"
            );
        } else {
            let found = opened.unwrap().verify_log(&Book::System);
            assert!(
                matches!(found, Err(StoreError::Damaged { .. })),
                "{tampering}"
            );
        }
    }
}

#[test]
fn log_is_selected_with_both_ends_and_pruned_but_never_the_calibration_log() {
    let place = place();
    let mut store = open(&place.path);
    let mut logs = Logs::resume([], Nanos(0));
    let batch = Batch {
        log: records(&mut logs, 10),
        ..Batch::default()
    };
    store.commit(&batch).unwrap();
    let numbers = |store: &Store, selection| {
        let records = store.log(&Book::System, selection).unwrap();
        records
            .iter()
            .map(|record| record.number)
            .collect::<Vec<_>>()
    };
    let some = LogSelection {
        first: Some(3),
        last: Some(7),
        ..LogSelection::default()
    };
    assert_eq!(numbers(&store, some), [3, 4, 5, 6, 7]);
    let times = LogSelection {
        from: Some(at(20)),
        to: Some(at(60)),
        ..LogSelection::default()
    };
    assert_eq!(numbers(&store, times), [2, 3, 4]);
    let newest = LogSelection {
        count: Some(2),
        ..some
    };
    assert_eq!(numbers(&store, newest), [6, 7]);

    assert_eq!(store.remove_log(&Book::System, 4).unwrap(), 4);
    assert_eq!(store.verify_log(&Book::System).unwrap().number, 10);
    assert_eq!(store.remove_log(&Book::System, 4).unwrap(), 0);
    // The last one stays, whatever is asked for.
    assert_eq!(store.remove_log(&Book::System, 100).unwrap(), 5);
    assert!(matches!(
        store.remove_log(&Book::Calibration, 4),
        Err(StoreError::NeverErased)
    ));
    let erased = store
        .connection
        .execute("DELETE FROM log WHERE book = 'calibration'", []);
    assert!(erased.unwrap_err().to_string().contains("never erased"));
    let changed = store.connection.execute("UPDATE log SET level = 1", []);
    assert!(changed.unwrap_err().to_string().contains("never changed"));
    drop(store);
    let store = open(&place.path);
    assert_eq!(store.verify_log(&Book::System).unwrap().number, 10);
    assert_eq!(
        store
            .log(&Book::Calibration, LogSelection::default())
            .unwrap()
            .len(),
        10
    );
}

#[test]
fn a_full_file_takes_log_entries_but_no_values_and_goes_on_when_it_may_grow() {
    let place = place();
    let small = Options {
        most_pages: Some(60),
        ..Options::default()
    };
    let mut store = Store::open(&place.path, small).unwrap();
    let mut kept = Vec::new();
    let refused = (1..10_000).find_map(|number| {
        let entry = value(number * 900, 1);
        match store.commit(&of([entry])) {
            Ok(()) => kept.push(entry),
            Err(error) => return Some((entry, error)),
        }
        None
    });
    let (entry, error) = refused.expect("60 pages hold no 10000 values");
    assert!(matches!(error, StoreError::Full), "{error}");
    let mut logs = Logs::resume([], Nanos(0));
    let told = Batch {
        log: records(&mut logs, 100),
        ..Batch::default()
    };
    store.commit(&told).unwrap();
    assert!(matches!(store.commit(&of([entry])), Err(StoreError::Full)));
    assert_eq!(all(&store), kept);
    drop(store);

    let mut store = open(&place.path);
    assert_eq!(all(&store), kept);
    assert_eq!(store.verify_log(&Book::System).unwrap().number, 100);
    store.commit(&of([entry])).unwrap();
}

#[test]
fn old_values_go_but_the_newest_of_every_list_stays() {
    let place = place();
    let mut store = open(&place.path);
    let other = Kept {
        period: 60,
        ..kept(value(900, 3))
    };
    let mut batch = of((1..=5).map(|number| value(number * 900, 1)));
    batch.entries.push(other.clone());
    store.commit(&batch).unwrap();
    assert_eq!(store.remove_values(at(2_700)).unwrap(), 2);
    assert_eq!(all(&store).len(), 3);
    assert_eq!(store.remove_values(at(1_000_000)).unwrap(), 2);
    assert_eq!(all(&store), [value(4_500, 1)]);
    let left = store
        .kept(meter(), Obis::IMPORT_TOTAL, 60, Selection::default())
        .unwrap();
    assert_eq!(left, [other]);
}

#[test]
fn profile_versions_are_written_once() {
    let place = place();
    let mut store = open(&place.path);
    let version = |version| ProfileVersion {
        kind: ProfileKind("evaluation".into()),
        name: "taf2.flat-1".parse().unwrap(),
        version,
        active_from: at(i64::from(version)),
        document: "{}".into(),
        hash: vec![1; 32],
    };
    store.add_profiles(&[version(1), version(2)]).unwrap();
    assert!(store.add_profiles(&[version(3), version(2)]).is_err());
    assert_eq!(store.profiles().unwrap(), [version(1), version(2)]);
    let newest = store
        .newest_profile(&version(1).kind, &version(1).name)
        .unwrap();
    assert_eq!(newest, Some(version(2)));
}
