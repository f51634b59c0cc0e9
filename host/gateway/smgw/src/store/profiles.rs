// SPDX-License-Identifier: MIT OR Apache-2.0
//! Versions of profiles: a version is written once and never changed.

use std::fmt;
use std::str::FromStr;

use rusqlite::{OptionalExtension, Row, params};
use smgw_core::profile::ProfileName;
use smgw_units::UtcNanos;

use super::{Store, StoreError, columns};

/// Kinds of profiles, by the word they are kept under; which kinds there are is not the store's business.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProfileKind(pub String);

impl fmt::Display for ProfileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProfileKind {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

/// One version of one profile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProfileVersion {
    /// Its kind.
    pub kind: ProfileKind,
    /// Its name.
    pub name: ProfileName,
    /// Counts up.
    pub version: u32,
    /// When it takes effect.
    pub active_from: UtcNanos,
    /// The profile as it came.
    pub document: String,
    /// Hash of the document.
    pub hash: Vec<u8>,
}

impl Store {
    /// Keeps these versions, all or none; durable on return.
    ///
    /// # Errors
    /// [`StoreError`]; a version that is there already is refused with all others.
    pub fn add_profiles(&mut self, versions: &[ProfileVersion]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for version in versions {
            transaction.execute(
                "INSERT INTO profile (kind, name, version, active_from, document, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    version.kind.0,
                    version.name.as_str(),
                    version.version,
                    version.active_from.0,
                    version.document,
                    version.hash,
                ],
            )?;
        }
        Ok(transaction.commit()?)
    }

    /// All versions of all profiles, by kind, name and version.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn profiles(&self) -> Result<Vec<ProfileVersion>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT kind, name, version, active_from, document, hash FROM profile
             ORDER BY kind, name, version",
        )?;
        let rows = query.query_map([], version)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest version of a profile, active or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn newest_profile(
        &self,
        kind: &ProfileKind,
        name: &ProfileName,
    ) -> Result<Option<ProfileVersion>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT kind, name, version, active_from, document, hash FROM profile
             WHERE kind = ?1 AND name = ?2 ORDER BY version DESC LIMIT 1",
        )?;
        Ok(query
            .query_row(params![kind.0, name.as_str()], version)
            .optional()?)
    }
}

fn version(row: &Row<'_>) -> rusqlite::Result<ProfileVersion> {
    Ok(ProfileVersion {
        kind: columns::parsed(row, 0)?,
        name: columns::parsed(row, 1)?,
        version: row.get(2)?,
        active_from: UtcNanos(row.get(3)?),
        document: row.get(4)?,
        hash: row.get(5)?,
    })
}
