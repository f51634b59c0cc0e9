// SPDX-License-Identifier: MIT OR Apache-2.0
//! The value store: one SQLite file, write-ahead log, every batch one durable transaction.
//!
//! A value is its integer mantissa as text and its power of ten, so that no digit is lost between
//! meter and reader (catalogue row MET-19: no loss and no double count over a power cut).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use smgw_core::{CombinedStatus, Content, Entry, GapReason, Newest};
use smgw_units::{Decimal, DeviceId, Obis, Unit, UtcNanos};
use thiserror::Error;

/// The store cannot be used; the environment is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite refused.
    #[error("value store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file comes from another version of the gateway.
    #[error("value store {path}: schema version {found}, expected {SCHEMA_VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
}

/// Which entries a reader asks for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// Oldest target time, inclusive.
    pub from: Option<UtcNanos>,
    /// Newest target time, exclusive.
    pub to: Option<UtcNanos>,
    /// At most this many, the newest ones.
    pub count: Option<u32>,
}

/// One connection to the store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens `path` for writing and creates what is missing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match found {
            0 => {
                connection.execute_batch(SCHEMA)?;
                connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            SCHEMA_VERSION => {}
            _ => {
                return Err(StoreError::Version {
                    path: path.into(),
                    found,
                });
            }
        }
        Ok(Self { connection })
    }

    /// A second connection that cannot write.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_reader(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(Self { connection })
    }

    /// Writes all entries or none; returns when they are on the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn append(&mut self, meter: DeviceId, entries: &[Entry]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for entry in entries {
                let (capture, mantissa, scaler, unit, gap) = match entry.content {
                    Content::Value {
                        capture,
                        value,
                        unit,
                    } => (
                        Some(capture.seconds()),
                        Some(value.mantissa.to_string()),
                        Some(value.exponent),
                        Some(unit.0),
                        None,
                    ),
                    Content::Gap(reason) => (None, None, None, None, Some(reason.as_str())),
                };
                insert.execute(params![
                    meter.as_str(),
                    entry.obis.to_string(),
                    entry.target.seconds(),
                    capture,
                    mantissa,
                    scaler,
                    unit,
                    entry.status.gateway,
                    entry.status.meter,
                    gap,
                ])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// The newest times one list holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn newest(&self, meter: DeviceId, obis: Obis) -> Result<Newest, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT max(target), max(capture) FROM entry WHERE meter = ?1 AND obis = ?2",
        )?;
        let times =
            |row: &Row<'_>| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?));
        let found = query
            .query_row(params![meter.as_str(), obis.to_string()], times)
            .optional()?;
        let (target, capture) = found.unwrap_or_default();
        Ok(Newest {
            target: target.map(UtcNanos::from_seconds),
            capture: capture.map(UtcNanos::from_seconds),
        })
    }

    /// The selected entries of one list, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn entries(
        &self,
        meter: DeviceId,
        obis: Obis,
        selection: Selection,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut query = self.connection.prepare_cached(SELECT)?;
        // Entries lie on whole seconds: a bound inside a second means the next one, on either side.
        let up =
            |bound: UtcNanos| bound.seconds() + i64::from(bound.0.rem_euclid(1_000_000_000) != 0);
        let rows = query.query_map(
            params![
                meter.as_str(),
                obis.to_string(),
                selection.from.map_or(i64::MIN, up),
                selection.to.map_or(i64::MAX, up),
                selection.count.map_or(-1, i64::from),
            ],
            |row| entry(obis, row),
        )?;
        let mut entries: Vec<Entry> = rows.collect::<Result<_, _>>()?;
        entries.reverse();
        Ok(entries)
    }
}

fn entry(obis: Obis, row: &Row<'_>) -> rusqlite::Result<Entry> {
    let damaged = |column: usize, what: &'static str| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, what.into())
    };
    let content = match row.get::<_, Option<String>>(7)? {
        Some(word) => Content::Gap(
            GapReason::ALL
                .into_iter()
                .find(|reason| reason.as_str() == word)
                .ok_or_else(|| damaged(7, "unknown gap reason"))?,
        ),
        None => {
            let mantissa: String = row.get(2)?;
            let mantissa = mantissa
                .parse()
                .map_err(|_| damaged(2, "mantissa is no integer"))?;
            Content::Value {
                capture: UtcNanos::from_seconds(row.get(1)?),
                value: Decimal::new(mantissa, row.get(3)?),
                unit: Unit(row.get(4)?),
            }
        }
    };
    Ok(Entry {
        obis,
        target: UtcNanos::from_seconds(row.get(0)?),
        status: CombinedStatus {
            gateway: row.get(5)?,
            meter: row.get(6)?,
        },
        content,
    })
}

const BUSY: Duration = Duration::from_secs(5);
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
CREATE TABLE entry (
    meter          TEXT    NOT NULL,
    obis           TEXT    NOT NULL,
    target         INTEGER NOT NULL, -- seconds since 1970, UTC
    capture        INTEGER,
    mantissa       TEXT,
    scaler         INTEGER,
    unit           INTEGER,
    gateway_status INTEGER NOT NULL,
    meter_status   INTEGER NOT NULL,
    gap            TEXT,
    PRIMARY KEY (meter, obis, target),
    CHECK ((gap IS NULL) = (mantissa IS NOT NULL))
) STRICT, WITHOUT ROWID;
";
const INSERT: &str = "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const SELECT: &str =
    "SELECT target, capture, mantissa, scaler, unit, gateway_status, meter_status, gap
    FROM entry WHERE meter = ?1 AND obis = ?2 AND target >= ?3 AND target < ?4
    ORDER BY target DESC LIMIT ?5";

#[cfg(test)]
mod tests {
    use super::*;

    fn value(target: i64, mantissa: i128) -> Entry {
        Entry {
            obis: Obis::IMPORT_TOTAL,
            target: UtcNanos::from_seconds(target),
            status: CombinedStatus::of_value(1 << 31),
            content: Content::Value {
                capture: UtcNanos::from_seconds(target + 1),
                value: Decimal::new(mantissa, -4),
                unit: Unit::WATT_HOUR,
            },
        }
    }

    #[test]
    fn entries_survive_a_restart_with_every_digit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values.sqlite");
        let meter: DeviceId = "1smb0000000001".parse().unwrap();
        let gap = Entry {
            content: Content::Gap(GapReason::LinkLost),
            status: CombinedStatus::of_gap(),
            ..value(1_800, 0)
        };
        let written = [value(900, i128::from(u64::MAX)), gap, value(2_700, -5)];
        Store::open(&path).unwrap().append(meter, &written).unwrap();

        let mut store = Store::open(&path).unwrap();
        let reader = Store::open_reader(&path).unwrap();
        let all =
            |store: &Store, selection| store.entries(meter, Obis::IMPORT_TOTAL, selection).unwrap();
        assert_eq!(all(&reader, Selection::default()), written);
        let newest = store.newest(meter, Obis::IMPORT_TOTAL).unwrap();
        assert_eq!(newest.target, Some(UtcNanos::from_seconds(2_700)));
        assert_eq!(newest.capture, Some(UtcNanos::from_seconds(2_701)));

        // From inclusive, to exclusive, the newest ones of what is left.
        let at = |seconds| Some(UtcNanos::from_seconds(seconds));
        let window = Selection {
            from: at(900),
            to: at(2_700),
            count: None,
        };
        assert_eq!(all(&reader, window), written[..2]);
        assert_eq!(
            all(
                &reader,
                Selection {
                    count: Some(1),
                    ..window
                }
            ),
            written[1..2]
        );

        // A repeated target is refused, and nothing of its batch is kept.
        assert!(
            store
                .append(meter, &[value(3_600, 1), value(900, 1)])
                .is_err()
        );
        assert_eq!(all(&reader, Selection::default()).len(), 3);
    }
}
