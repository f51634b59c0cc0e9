// SPDX-License-Identifier: MIT OR Apache-2.0
//! Log books in the store: appended, read, checked; the calibration log is never erased (rows LOG-01, LOG-04).

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use smgw_core::log::{Book, Breakage, HASH_LEN, Level, Link, Outcome, Record, Verifier};
use smgw_units::UtcNanos;

use super::{Store, StoreError, columns};

/// Which records a reader asks for; all bounds inclusive.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LogSelection {
    /// Lowest number.
    pub first: Option<u64>,
    /// Highest number.
    pub last: Option<u64>,
    /// Earliest time.
    pub from: Option<UtcNanos>,
    /// Latest time.
    pub to: Option<UtcNanos>,
    /// At most this many, the newest ones.
    pub count: Option<u32>,
}

/// Appends records, each of which must hang on the end of its book.
pub(super) fn append(transaction: &Connection, records: &[Record]) -> Result<(), StoreError> {
    let mut ends = BTreeMap::new();
    for record in records {
        if !ends.contains_key(&record.book) {
            ends.insert(
                &record.book,
                Verifier::after(end(transaction, &record.book)?),
            );
        }
        if let Some(verifier) = ends.get_mut(&record.book) {
            verifier.check(record).map_err(|source| StoreError::Chain {
                book: record.book.to_string(),
                source,
            })?;
        }
        insert(transaction, record)?;
    }
    for (book, verifier) in ends {
        let Link {
            number,
            hash,
            seconds_index,
        } = verifier.end();
        transaction
            .prepare_cached(
                "INSERT INTO book VALUES (?1, ?2, ?3, ?4, 0, zeroblob(32), 0) ON CONFLICT DO UPDATE
                 SET number = excluded.number, hash = excluded.hash, seconds_index = excluded.seconds_index",
            )?
            .execute(params![book.to_string(), number, hash, seconds_index])?;
    }
    Ok(())
}

fn insert(transaction: &Connection, record: &Record) -> Result<(), StoreError> {
    let extensions = serde_json::to_string(&record.extensions)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction
        .prepare_cached(
            "INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(params![
            record.book.to_string(),
            record.number,
            record.parent,
            record.repetition,
            record.time.0,
            record.time_valid,
            record.seconds_index,
            record.level as u8,
            record.event,
            record.outcome as u8,
            record.subject,
            record.user,
            record.destination,
            record.template,
            extensions,
            record.previous,
            record.hash,
        ])?;
    Ok(())
}

/// The end of a book as the store says it.
fn end(connection: &Connection, book: &Book) -> rusqlite::Result<Link> {
    let mut query = connection
        .prepare_cached("SELECT number, hash, seconds_index FROM book WHERE name = ?1")?;
    let found = query
        .query_row([book.to_string()], |row| link(row, 0))
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn link(row: &Row<'_>, first: usize) -> rusqlite::Result<Link> {
    Ok(Link {
        number: row.get(first)?,
        hash: row.get(first + 1)?,
        seconds_index: row.get(first + 2)?,
    })
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let level: u8 = row.get(7)?;
    let outcome: u8 = row.get(9)?;
    let extensions: String = row.get(14)?;
    Ok(Record {
        book: columns::parsed(row, 0)?,
        number: row.get(1)?,
        parent: row.get(2)?,
        repetition: row.get(3)?,
        time: UtcNanos(row.get(4)?),
        time_valid: row.get(5)?,
        seconds_index: row.get(6)?,
        level: Level::ALL
            .into_iter()
            .find(|known| *known as u8 == level)
            .ok_or_else(|| columns::unreadable(7, "unknown level"))?,
        event: row.get(8)?,
        outcome: match outcome {
            0 => Outcome::Success,
            1 => Outcome::Failure,
            _ => return Err(columns::unreadable(9, "unknown outcome")),
        },
        subject: row.get(10)?,
        user: row.get(11)?,
        destination: row.get(12)?,
        template: row.get(13)?,
        extensions: serde_json::from_str(&extensions)
            .map_err(|_| columns::unreadable(14, "not a JSON list of texts"))?,
        previous: row.get::<_, [u8; HASH_LEN]>(15)?,
        hash: row.get::<_, [u8; HASH_LEN]>(16)?,
    })
}

impl Store {
    /// The ends of all books, to go on from.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn log_ends(&self) -> Result<Vec<(Book, Link)>, StoreError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT name, number, hash, seconds_index FROM book ORDER BY name")?;
        let rows = query.query_map([], |row| Ok((columns::parsed(row, 0)?, link(row, 1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The selected records of a book, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn log(&self, book: &Book, selection: LogSelection) -> Result<Vec<Record>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT * FROM log WHERE book = ?1 AND number BETWEEN ?2 AND ?3 AND time BETWEEN ?4 AND ?5
             ORDER BY number DESC LIMIT ?6",
        )?;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let rows = query.query_map(
            params![
                book.to_string(),
                selection.first.map_or(0, number),
                selection.last.map_or(i64::MAX, number),
                selection.from.map_or(i64::MIN, |from| from.0),
                selection.to.map_or(i64::MAX, |to| to.0),
                selection.count.map_or(-1, i64::from),
            ],
            record,
        )?;
        let mut records: Vec<Record> = rows.collect::<Result<_, _>>()?;
        records.reverse();
        Ok(records)
    }

    /// Checks a whole book, record by record; returns its end.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] tells where the chain breaks.
    pub fn verify_log(&self, book: &Book) -> Result<Link, StoreError> {
        let removed = self
            .connection
            .prepare_cached(
                "SELECT removed, removed_hash, removed_seconds FROM book WHERE name = ?1",
            )?
            .query_row([book.to_string()], |row| link(row, 0))
            .optional()?;
        let mut verifier = Verifier::after(removed.unwrap_or_default());
        let mut query = self
            .connection
            .prepare_cached("SELECT * FROM log WHERE book = ?1 ORDER BY number")?;
        for found in query.query_map([book.to_string()], record)? {
            verifier
                .check(&found?)
                .map_err(|broken| self.damage(format!("log book {book}: {broken}")))?;
        }
        let said = end(&self.connection, book)?;
        if verifier.end() != said {
            let what = format!(
                "log book {book}: it ends with record {}, but {} was its last",
                verifier.end().number,
                said.number
            );
            return Err(self.damage(what));
        }
        Ok(said)
    }

    /// Removes the records of a book up to `number` inclusive; the chain can still be checked from there on. The last
    /// record stays.
    ///
    /// # Errors
    /// [`StoreError::NeverErased`] for the calibration log.
    pub fn remove_log(&mut self, book: &Book, number: u64) -> Result<usize, StoreError> {
        if *book == Book::Calibration {
            return Err(StoreError::NeverErased);
        }
        let transaction = self.connection.transaction()?;
        let number = number.min(end(&transaction, book)?.number.saturating_sub(1));
        let name = book.to_string();
        transaction.execute(
            "UPDATE book SET (removed, removed_hash, removed_seconds) =
               (SELECT number, hash, seconds_index FROM log WHERE book = ?1 AND number = ?2)
             WHERE name = ?1 AND EXISTS (SELECT 1 FROM log WHERE book = ?1 AND number = ?2)",
            params![name, number],
        )?;
        let removed = transaction.execute(
            "DELETE FROM log WHERE book = ?1 AND number <= ?2",
            params![name, number],
        )?;
        transaction.commit()?;
        Ok(removed)
    }

    /// That every book has as many records as its numbers say, and that the last one is the one it should be.
    pub(super) fn check_ends(&self) -> Result<(), StoreError> {
        for (book, said) in self.log_ends()? {
            let broken = |what: String| self.damage(format!("log book {book}: {what}"));
            let (count, removed): (u64, u64) = self.connection.query_row(
                "SELECT (SELECT count(*) FROM log WHERE book = name), removed FROM book WHERE name = ?1",
                [book.to_string()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if removed.checked_add(count) != Some(said.number) {
                let wanted = said.number.saturating_sub(removed);
                return Err(broken(format!(
                    "it has {count} records where {wanted} were kept"
                )));
            }
            let last = LogSelection {
                first: Some(said.number),
                ..LogSelection::default()
            };
            let is_the_last =
                |record: &Record| Link::of(record) == said && record.hash == record.computed_hash();
            if !self.log(&book, last)?.last().is_some_and(is_the_last) {
                return Err(broken(format!(
                    "record {}: {}",
                    said.number,
                    Breakage::Content
                )));
            }
        }
        let strays: u64 = self.connection.query_row(
            "SELECT count(*) FROM log WHERE book NOT IN (SELECT name FROM book)",
            [],
            |row| row.get(0),
        )?;
        if strays != 0 {
            return Err(self.damage("log records without a book"));
        }
        Ok(())
    }
}
