// SPDX-License-Identifier: MIT OR Apache-2.0
//! What readers ask the store for: lists by period, registers, what waits to be sent, states, facts.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};
use smgw_core::profile::ProfileName;
use smgw_core::taf::{Delivery, Derived};
use smgw_core::{Entry, Newest};
use smgw_units::{DeviceId, Obis, UtcNanos};

use super::batch::Kept;
use super::columns::{self, NAMES};
use super::{Store, StoreError};

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

impl Selection {
    fn bounds(self) -> (i64, i64, i64) {
        (
            self.from.map_or(i64::MIN, |from| from.0),
            self.to.map_or(i64::MAX, |to| to.0),
            self.count.map_or(-1, i64::from),
        )
    }
}

/// A delivery that is not acknowledged yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// Its number in the outbox; rises, never used twice.
    pub id: i64,
    /// What is to be sent.
    pub delivery: Delivery,
}

impl Store {
    /// The newest times one list holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn newest(&self, meter: DeviceId, obis: Obis, period: u32) -> Result<Newest, StoreError> {
        // Two questions: SQLite answers a single maximum from the index, but no pair of them.
        let newest = |column: &str| {
            self.connection
                .prepare_cached(&format!(
                    "SELECT {column} FROM entry WHERE meter = ?1 AND obis = ?2 AND period = ?3
                     AND {column} IS NOT NULL ORDER BY target DESC LIMIT 1"
                ))?
                .query_row(params![meter.as_str(), obis.to_string(), period], |row| {
                    row.get(0)
                })
                .optional()
                .map(|found| found.map(UtcNanos))
        };
        Ok(Newest {
            target: newest("target")?,
            capture: newest("capture")?,
        })
    }

    /// The newest times of every list there is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn newest_of_all(&self) -> Result<BTreeMap<(DeviceId, Obis, u32), Newest>, StoreError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT DISTINCT meter, obis, period FROM entry")?;
        let lists = query.query_map([], |row| {
            Ok((
                columns::parsed(row, 0)?,
                columns::parsed(row, 1)?,
                row.get(2)?,
            ))
        })?;
        let newest = |list: (DeviceId, Obis, u32)| Ok((list, self.newest(list.0, list.1, list.2)?));
        lists.map(|list| newest(list?)).collect()
    }

    /// The selected entries of one original list, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn entries(
        &self,
        meter: DeviceId,
        obis: Obis,
        period: u32,
        selection: Selection,
    ) -> Result<Vec<Entry>, StoreError> {
        let kept = self.kept(meter, obis, period, selection)?;
        Ok(kept.into_iter().map(|kept| kept.entry).collect())
    }

    /// The same with their signatures.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn kept(
        &self,
        meter: DeviceId,
        obis: Obis,
        period: u32,
        selection: Selection,
    ) -> Result<Vec<Kept>, StoreError> {
        let mut query = self.connection.prepare_cached(&format!(
            "SELECT signature, {NAMES} FROM entry
             WHERE meter = ?1 AND obis = ?2 AND period = ?3 AND target >= ?4 AND target < ?5
             ORDER BY target DESC LIMIT ?6"
        ))?;
        let (from, to, count) = selection.bounds();
        let asked = params![meter.as_str(), obis.to_string(), period, from, to, count];
        let rows = query.query_map(asked, |row| {
            Ok(Kept {
                meter,
                period,
                signature: row.get(0)?,
                entry: columns::entry(row, 1)?,
            })
        })?;
        let mut kept: Vec<Kept> = rows.collect::<Result<_, _>>()?;
        kept.reverse();
        Ok(kept)
    }

    /// The selected lines an evaluation derived, of one register or of all, oldest first; lines of one target in the
    /// order they were made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn derived(
        &self,
        profile: &ProfileName,
        obis: Option<Obis>,
        selection: Selection,
    ) -> Result<Vec<Derived>, StoreError> {
        let mut query = self.connection.prepare_cached(&format!(
            "SELECT {NAMES} FROM derived
             WHERE profile = ?1 AND (?2 IS NULL OR obis = ?2) AND target >= ?3 AND target < ?4
             ORDER BY target DESC, position DESC LIMIT ?5"
        ))?;
        let (from, to, count) = selection.bounds();
        let obis = obis.map(|obis| obis.to_string());
        let rows = query.query_map(params![profile.as_str(), obis, from, to, count], |row| {
            Ok(Derived {
                profile: profile.clone(),
                entry: columns::entry(row, 0)?,
            })
        })?;
        let mut lines: Vec<Derived> = rows.collect::<Result<_, _>>()?;
        lines.reverse();
        Ok(lines)
    }

    /// The newest line of each register of an evaluation, by register.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn registers(&self, profile: &ProfileName) -> Result<Vec<Derived>, StoreError> {
        let mut query = self.connection.prepare_cached(&format!(
            "SELECT {NAMES} FROM derived AS line WHERE profile = ?1 AND position =
               (SELECT position FROM derived WHERE profile = ?1 AND obis = line.obis
                ORDER BY target DESC, position DESC LIMIT 1)
             ORDER BY obis"
        ))?;
        let rows = query.query_map([profile.as_str()], |row| {
            Ok(Derived {
                profile: profile.clone(),
                entry: columns::entry(row, 0)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The state an evaluation was kept with.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn state(&self, profile: &ProfileName) -> Result<Option<Vec<u8>>, StoreError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT state FROM state WHERE profile = ?1")?;
        Ok(query
            .query_row([profile.as_str()], |row| row.get(0))
            .optional()?)
    }

    /// The states of all evaluations.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn states(&self) -> Result<BTreeMap<ProfileName, Vec<u8>>, StoreError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT profile, state FROM state")?;
        let rows = query.query_map([], |row| Ok((columns::parsed(row, 0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets the state of an evaluation that has ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget_state(&mut self, profile: &ProfileName) -> Result<(), StoreError> {
        self.connection
            .execute("DELETE FROM state WHERE profile = ?1", [profile.as_str()])?;
        Ok(())
    }

    /// What was kept under `key`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn fact(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT value FROM fact WHERE key = ?1")?;
        Ok(query.query_row([key], |row| row.get(0)).optional()?)
    }

    /// What waits to be sent, in the order it was kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn outbox(&self) -> Result<Vec<Waiting>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT id, profile, recipient, due, pseudonymous FROM delivery ORDER BY id",
        )?;
        let rows = query.query_map([], |row| {
            Ok(Waiting {
                id: row.get(0)?,
                delivery: Delivery {
                    profile: columns::parsed(row, 1)?,
                    recipient: columns::parsed(row, 2)?,
                    due: UtcNanos(row.get(3)?),
                    pseudonymous: row.get(4)?,
                    lines: Vec::new(),
                },
            })
        })?;
        let mut waiting: Vec<Waiting> = rows.collect::<Result<_, _>>()?;
        let mut lines = self.connection.prepare_cached(&format!(
            "SELECT {NAMES} FROM delivery_line WHERE delivery = ?1 ORDER BY position"
        ))?;
        for Waiting { id, delivery } in &mut waiting {
            let rows = lines.query_map([*id], |row| columns::entry(row, 0))?;
            delivery.lines = rows.collect::<Result<_, _>>()?;
        }
        Ok(waiting)
    }

    /// The recipient has it: it leaves the outbox. Durable on return; again is no error.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn acknowledge(&mut self, id: i64) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM delivery_line WHERE delivery = ?1", [id])?;
        transaction.execute("DELETE FROM delivery WHERE id = ?1", [id])?;
        Ok(transaction.commit()?)
    }

    /// Removes entries and derived lines whose target lies before `before`; tells how many. What waits to be sent, the
    /// newest line of every list, and the logs stay.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_values(&mut self, before: UtcNanos) -> Result<usize, StoreError> {
        let transaction = self.connection.transaction()?;
        let entries = transaction.execute(
            "DELETE FROM entry WHERE target < ?1 AND target <
               (SELECT max(target) FROM entry AS other WHERE other.meter = entry.meter
                AND other.obis = entry.obis AND other.period = entry.period)",
            [before.0],
        )?;
        let derived = transaction.execute(
            "DELETE FROM derived WHERE target < ?1 AND target <
               (SELECT max(target) FROM derived AS other WHERE other.profile = derived.profile
                AND other.obis = derived.obis)",
            [before.0],
        )?;
        transaction.commit()?;
        Ok(entries + derived)
    }
}
