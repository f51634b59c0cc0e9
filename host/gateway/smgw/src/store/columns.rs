// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries of value lists as columns; original, derived and waiting entries share them.

use rusqlite::types::{ToSql, Type};
use rusqlite::{Error, Row};
use smgw_core::{CombinedStatus, Content, Entry, GapReason};
use smgw_units::{Decimal, Obis, Unit, UtcNanos};

/// The columns in the order of [`values`] and [`entry`].
pub(super) const NAMES: &str =
    "obis, target, capture, mantissa, scaler, unit, gateway_status, meter_status, gap";
/// How many they are.
pub(super) const COUNT: usize = 9;
/// As a table declares them.
pub(super) const DECLARED: &str = "
    obis           TEXT    NOT NULL,
    target         INTEGER NOT NULL, -- nanoseconds since 1970, UTC
    capture        INTEGER,
    mantissa       TEXT,
    scaler         INTEGER,
    unit           INTEGER,
    gateway_status INTEGER NOT NULL,
    meter_status   INTEGER NOT NULL,
    gap            TEXT,
    CHECK ((gap IS NULL) = (mantissa IS NOT NULL))";

/// One entry as values of [`NAMES`].
pub(super) fn values(entry: &Entry) -> [Box<dyn ToSql>; COUNT] {
    let (capture, mantissa, scaler, unit, gap) = match entry.content {
        Content::Value {
            capture,
            value,
            unit,
        } => (
            Some(capture.0),
            Some(value.mantissa.to_string()),
            Some(value.exponent),
            Some(unit.0),
            None,
        ),
        Content::Gap(reason) => (None, None, None, None, Some(reason.as_str())),
    };
    [
        Box::new(entry.obis.to_string()),
        Box::new(entry.target.0),
        Box::new(capture),
        Box::new(mantissa),
        Box::new(scaler),
        Box::new(unit),
        Box::new(entry.status.gateway),
        Box::new(entry.status.meter),
        Box::new(gap),
    ]
}

/// The entry whose [`NAMES`] begin at column `first`.
pub(super) fn entry(row: &Row<'_>, first: usize) -> rusqlite::Result<Entry> {
    let content = match row.get::<_, Option<String>>(first + 8)? {
        Some(word) => Content::Gap(
            GapReason::ALL
                .into_iter()
                .find(|reason| reason.as_str() == word)
                .ok_or_else(|| unreadable(first + 8, "unknown gap reason"))?,
        ),
        None => Content::Value {
            capture: UtcNanos(row.get(first + 2)?),
            value: Decimal::new(parsed(row, first + 3)?, row.get(first + 4)?),
            unit: Unit(row.get(first + 5)?),
        },
    };
    Ok(Entry {
        obis: parsed::<Obis>(row, first)?,
        target: UtcNanos(row.get(first + 1)?),
        status: CombinedStatus {
            gateway: row.get(first + 6)?,
            meter: row.get(first + 7)?,
        },
        content,
    })
}

/// A column whose text has a form of its own.
pub(super) fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|_| unreadable(column, "not of its form"))
}

/// A column that holds what this gateway never wrote.
pub(super) fn unreadable(column: usize, what: &'static str) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, what.into())
}
