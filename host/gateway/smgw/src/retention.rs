// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long values stay in the store: once a day of the gateway's clock what is older goes (`docs/store.md`, assumption
//! `retention-values`). Log books stay: the calibration log for the device's life, the others until the administrator
//! orders it.

use smgw_core::log::{Event, EventKind};
use smgw_units::UtcNanos;
use tracing::{error, info};

use crate::journal::Journal;

/// Remembers when values were last removed.
#[derive(Debug, Default)]
pub struct Retention {
    day: Option<i64>,
}

impl Retention {
    /// Removes what is too old, at most once a day, and never by a clock that may be wrong: what is gone does not come
    /// back when the clock does.
    pub fn handle_time(&mut self, now: UtcNanos, time_valid: bool, journal: &Journal) {
        let day = now.seconds().div_euclid(DAY);
        if !time_valid || self.day == Some(day) {
            return;
        }
        self.day = Some(day);
        let before = UtcNanos::from_seconds((day - DAYS_KEPT) * DAY);
        match journal.with_store(|store| store.remove_values(before)) {
            Ok(0) => {}
            Ok(removed) => {
                info!(removed, %before, "old values removed");
                let event = Event::new(EventKind::ValuesPruned);
                journal.note(event.with(removed).with(before));
            }
            // Tomorrow is another day.
            Err(error) => error!(%error, "old values cannot be removed"),
        }
    }
}

/// Two years and a day. TAF 6 needs 42 days, a yearly bill a year.
pub const DAYS_KEPT: i64 = 732;
const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use smgw_core::log::{Book, Stamp};
    use smgw_core::{CombinedStatus, Content, Entry};
    use smgw_units::{Decimal, DeviceId, Nanos, Obis, Unit};

    use super::*;
    use crate::store::{Batch, Kept, LogSelection, Options, Selection, Store};

    const METER: &str = "1smb0000000001";

    fn value(meter: DeviceId, second: i64) -> Batch {
        let target = UtcNanos::from_seconds(second);
        Batch {
            entries: vec![Kept {
                meter,
                period: 900,
                entry: Entry {
                    obis: Obis::IMPORT_TOTAL,
                    target,
                    status: CombinedStatus::of_value(0),
                    content: Content::Value {
                        capture: target,
                        value: Decimal::new(second.into(), 0),
                        unit: Unit::WATT_HOUR,
                    },
                },
                signature: Vec::new(),
            }],
            ..Batch::default()
        }
    }

    /// A thousand days, told the time every hour: a value a day, the calibration log as long as all of it.
    #[test]
    fn a_thousand_days_leave_two_years_of_values_and_all_of_the_calibration_log() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Options::default()).unwrap();
        let clock = Arc::new(AtomicI64::new(0));
        let told = clock.clone();
        let stamp = move || {
            let seconds = told.load(Ordering::Relaxed);
            Stamp {
                utc: UtcNanos::from_seconds(seconds),
                valid: true,
                monotonic: Nanos(seconds as u64 * 1_000_000_000),
            }
        };
        let (journal, thread) = Journal::start(store, stamp).unwrap();
        let meter: DeviceId = METER.parse().unwrap();
        let mut retention = Retention::default();
        let kept = || {
            let wanted = Selection::default();
            let list = journal
                .with_store(|store| store.entries(meter, Obis::IMPORT_TOTAL, 900, wanted))
                .unwrap();
            let ends =
                [list.first(), list.last()].map(|entry| entry.unwrap().target.seconds() / DAY);
            (list.len(), ends)
        };
        for hour in 0..1_000 * 24 {
            let second = hour * 3_600;
            clock.store(second, Ordering::Relaxed);
            if hour % 24 == 0 {
                journal.commit(&mut value(meter, second)).unwrap();
                if hour % 2_400 == 0 {
                    journal.note(Event::new(EventKind::TimeSet).with(hour));
                }
            }
            retention.handle_time(UtcNanos::from_seconds(second), true, &journal);
        }
        assert_eq!(kept(), (733, [267, 999]));

        // A clock that ran away removes nothing as long as it is not believed.
        let runaway = UtcNanos::from_seconds(100_000 * DAY);
        retention.handle_time(runaway, false, &journal);
        assert_eq!(kept().0, 733);

        journal.finish();
        thread.join().unwrap();
        journal.with_store(|store| {
            let log = |book| store.log(&book, LogSelection::default()).unwrap();
            assert_eq!(log(Book::Calibration).len(), 10);
            store.verify_log(&Book::Calibration).unwrap();
            // The first removal.
            let pruned = EventKind::ValuesPruned.id();
            let system = log(Book::System);
            let first = system.iter().find(|record| record.event == pruned).unwrap();
            assert_eq!(
                first.message(),
                "1 values older than 1970-01-02T00:00:00Z removed"
            );
        });
    }
}
