// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tables, and how files of older gateways become files of this one.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction};

use super::columns;

/// Version of the tables this gateway writes; in the file as `user_version`.
pub const SCHEMA_VERSION: i64 = 2;

/// The version of an existing file, which stays as it is. 0 of a file without tables.
pub(super) fn version(path: &Path) -> rusqlite::Result<i64> {
    let read = |flags| {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(super::BUSY)?;
        of(&connection)
    };
    match read(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        // The power failed inside a transaction that has to be taken back before anybody can read.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
            read(OpenFlags::SQLITE_OPEN_READ_WRITE)
        }
        outcome => outcome,
    }
}

fn of(connection: &Connection) -> rusqlite::Result<i64> {
    let said = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // A gateway of schema 1 that was killed while it created its file left the table without the version.
    if said == 0 && connection.table_exists(None, "entry")? {
        return Ok(1);
    }
    Ok(said)
}

/// Creates the tables or migrates them, all in one transaction.
pub(super) fn bring_up_to_date(connection: &mut Connection, period: u32) -> rusqlite::Result<()> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    match of(&transaction)? {
        0 => create(&transaction)?,
        1 => from_1(&transaction, period)?,
        _ => return Ok(()),
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let columns = columns::DECLARED;
    transaction.execute_batch(&format!(
        "
CREATE TABLE entry (
    meter     TEXT    NOT NULL,
    period    INTEGER NOT NULL, -- seconds
    signature BLOB    NOT NULL,{columns},
    PRIMARY KEY (meter, obis, period, target)
) STRICT, WITHOUT ROWID;
CREATE TABLE derived (
    position INTEGER PRIMARY KEY,
    profile  TEXT NOT NULL,{columns}
) STRICT;
CREATE INDEX derived_by_list ON derived (profile, obis, target);
CREATE TABLE state (profile TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE delivery (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    profile      TEXT    NOT NULL,
    recipient    TEXT    NOT NULL,
    due          INTEGER NOT NULL,
    pseudonymous INTEGER NOT NULL
) STRICT;
CREATE TABLE delivery_line (
    delivery INTEGER NOT NULL,
    position INTEGER NOT NULL,{columns},
    PRIMARY KEY (delivery, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE fact (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE profile (
    kind        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    active_from INTEGER NOT NULL,
    document    TEXT    NOT NULL,
    hash        BLOB    NOT NULL,
    PRIMARY KEY (kind, name, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE log (
    book          TEXT    NOT NULL,
    number        INTEGER NOT NULL,
    parent        INTEGER,
    repetition    INTEGER NOT NULL,
    time          INTEGER NOT NULL,
    time_valid    INTEGER NOT NULL,
    seconds_index INTEGER NOT NULL,
    level         INTEGER NOT NULL,
    event         INTEGER NOT NULL,
    outcome       INTEGER NOT NULL,
    subject       TEXT,
    user          TEXT,
    destination   TEXT,
    template      TEXT    NOT NULL,
    extensions    TEXT    NOT NULL, -- JSON
    previous      BLOB    NOT NULL,
    hash          BLOB    NOT NULL,
    PRIMARY KEY (book, number)
) STRICT, WITHOUT ROWID;
-- Where each book ends, and up to where its beginning was removed.
CREATE TABLE book (
    name            TEXT PRIMARY KEY,
    number          INTEGER NOT NULL,
    hash            BLOB    NOT NULL,
    seconds_index   INTEGER NOT NULL,
    removed         INTEGER NOT NULL,
    removed_hash    BLOB    NOT NULL,
    removed_seconds INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER log_is_never_changed BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'log entries are never changed'); END;
CREATE TRIGGER calibration_log_is_never_erased BEFORE DELETE ON log WHEN old.book = 'calibration'
BEGIN SELECT RAISE(ABORT, 'the calibration log is never erased'); END;
"
    ))
}

/// Schema 1: one table of entries, times in seconds, no period, no signature.
fn from_1(transaction: &Transaction<'_>, period: u32) -> rusqlite::Result<()> {
    transaction.execute_batch("ALTER TABLE entry RENAME TO entry_1")?;
    create(transaction)?;
    transaction.execute(
        "INSERT INTO entry (meter, period, signature, obis, target, capture, mantissa, scaler, unit,
                            gateway_status, meter_status, gap)
         SELECT meter, ?1, x'', obis, target * 1000000000, capture * 1000000000, mantissa, scaler, unit,
                gateway_status, meter_status, gap FROM entry_1",
        [period],
    )?;
    transaction.execute_batch("DROP TABLE entry_1")
}
