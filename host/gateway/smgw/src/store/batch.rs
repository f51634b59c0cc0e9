// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is kept together: one registration instant with everything that follows from it.

use rusqlite::types::ToSql;
use rusqlite::{Connection, params, params_from_iter};
use smgw_core::Entry;
use smgw_core::log::Record;
use smgw_core::profile::ProfileName;
use smgw_core::taf::{Delivery, Derived};
use smgw_units::{DeviceId, UtcNanos};

use super::{StoreError, columns, log};

/// An entry of an original value list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// The meter.
    pub meter: DeviceId,
    /// Registration period in seconds.
    pub period: u32,
    /// The entry.
    pub entry: Entry,
    /// Inner signature, empty without one.
    pub signature: Vec<u8>,
}

/// Everything that becomes durable together, or not at all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// Entries of original value lists; a (meter, register, period, target) only once.
    pub entries: Vec<Kept>,
    /// Lines of derived lists and registers.
    pub derived: Vec<Derived>,
    /// States of evaluations; each replaces the one before.
    pub states: Vec<(ProfileName, Vec<u8>)>,
    /// Derived lines of a profile with a target before this are removed.
    pub expired: Vec<(ProfileName, UtcNanos)>,
    /// What is to be sent; kept until [`Store::acknowledge`](super::Store::acknowledge).
    pub deliveries: Vec<Delivery>,
    /// Log entries, per book in order and hanging on those that are kept.
    pub log: Vec<Record>,
    /// Anything else by key; each replaces the one before.
    pub facts: Vec<(String, Vec<u8>)>,
}

impl Batch {
    /// Whether there is nothing in it but log entries.
    pub fn is_log_only(&self) -> bool {
        self.entries.is_empty()
            && self.derived.is_empty()
            && self.states.is_empty()
            && self.expired.is_empty()
            && self.deliveries.is_empty()
            && self.facts.is_empty()
    }

    pub(super) fn write(&self, transaction: &Connection) -> Result<(), StoreError> {
        for Kept {
            meter,
            period,
            entry,
            signature,
        } in &self.entries
        {
            let more: [&dyn ToSql; 3] = [&meter.as_str(), period, signature];
            insert(
                transaction,
                "entry",
                "meter, period, signature",
                &more,
                entry,
            )?;
        }
        for Derived { profile, entry } in &self.derived {
            insert(
                transaction,
                "derived",
                "profile",
                &[&profile.as_str()],
                entry,
            )?;
        }
        for (profile, before) in &self.expired {
            transaction
                .prepare_cached("DELETE FROM derived WHERE profile = ?1 AND target < ?2")?
                .execute(params![profile.as_str(), before.0])?;
        }
        for (profile, state) in &self.states {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO state (profile, state) VALUES (?1, ?2)")?
                .execute(params![profile.as_str(), state])?;
        }
        for delivery in &self.deliveries {
            write_delivery(transaction, delivery)?;
        }
        for (key, value) in &self.facts {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO fact (key, value) VALUES (?1, ?2)")?
                .execute(params![key, value])?;
        }
        log::append(transaction, &self.log)
    }
}

fn write_delivery(transaction: &Connection, delivery: &Delivery) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO delivery (profile, recipient, due, pseudonymous) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            delivery.profile.as_str(),
            delivery.recipient.as_str(),
            delivery.due.0,
            delivery.pseudonymous,
        ])?;
    let id = transaction.last_insert_rowid();
    for (position, entry) in delivery.lines.iter().enumerate() {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        insert(
            transaction,
            "delivery_line",
            "delivery, position",
            &[&id, &position],
            entry,
        )?;
    }
    Ok(())
}

/// Inserts an entry with `more` columns before its own.
fn insert(
    transaction: &Connection,
    table: &str,
    more: &str,
    values: &[&dyn ToSql],
    entry: &Entry,
) -> rusqlite::Result<()> {
    let marks = vec!["?"; values.len() + columns::COUNT].join(", ");
    let statement = format!(
        "INSERT INTO {table} ({more}, {}) VALUES ({marks})",
        columns::NAMES
    );
    let own = columns::values(entry);
    let own = own.iter().map(AsRef::as_ref);
    transaction
        .prepare_cached(&statement)?
        .execute(params_from_iter(values.iter().copied().chain(own)))?;
    Ok(())
}
