// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store: one SQLite file, write-ahead log, every batch one durable transaction (catalogue row MET-19; `docs/store.md`).
//!
//! A value is its integer mantissa as text and its power of ten, so that no digit is lost between meter and reader.
//! What cannot be kept is not acknowledged: a full disk, a damaged file and a write error all end in an error and leave
//! what was acknowledged before as it is.

mod batch;
mod columns;
mod log;
mod profiles;
mod read;
mod reserve;
mod schema;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use smgw_core::log::Break;
use thiserror::Error;

pub use batch::{Batch, Kept};
pub use log::LogSelection;
pub use profiles::{ProfileKind, ProfileVersion};
pub use read::{Selection, Waiting};
pub use schema::SCHEMA_VERSION;

use reserve::Reserve;

/// The store cannot be used; the environment is at fault unless the variant says otherwise.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite refused.
    #[error("store: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// The file comes from a newer version of the gateway; it was not touched.
    #[error(
        "store {path}: schema version {found}, this gateway knows up to {SCHEMA_VERSION}; use the newer gateway or another file"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// The file is damaged; nothing was changed or deleted.
    #[error(
        "store {path} is damaged ({what}); nothing was changed, restore it from a copy or name another file"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is no room; what was acknowledged before is kept.
    #[error("store: no room left; make space on its disk")]
    Full,
    /// The caller hands in records that do not hang on those that are kept.
    #[error("store: log book {book}: {source}")]
    Chain {
        /// The book.
        book: String,
        /// Where it breaks.
        source: Break,
    },
    /// The caller asks to erase what is never erased.
    #[error("store: the calibration log is never erased")]
    NeverErased,
    /// The operating system refused.
    #[error("store: {0}")]
    System(#[from] std::io::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match &error {
            rusqlite::Error::SqliteFailure(failure, _)
                if failure.code == ErrorCode::DiskFull
                    || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE =>
            {
                Self::Full
            }
            _ => Self::Sqlite(error),
        }
    }
}

impl StoreError {
    /// Whether what was to be kept contradicts what is kept, so that trying again is of no use.
    pub fn is_contradiction(&self) -> bool {
        let Self::Sqlite(error) = self else {
            return false;
        };
        error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
    }
}

/// How a store is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// Registration period in seconds of values that a file of schema 1 holds; it did not keep the period.
    pub period: u32,
    /// Most pages of 4096 bytes the file may have; log entries may go beyond by [`RESERVED_PAGES`].
    pub most_pages: Option<u32>,
    /// When writes reach the disk.
    pub durability: Durability,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            period: 900,
            most_pages: None,
            durability: Durability::Full,
        }
    }
}

/// When writes reach the disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// Before they are acknowledged.
    #[default]
    Full,
    /// When the operating system likes; only there to show that a test of power cuts notices.
    None,
}

/// One connection to the store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    options: Options,
    reserve: Reserve,
}

impl Store {
    /// Opens `path` for writing, creates what is missing, brings an older schema up to date, and checks the file.
    ///
    /// # Errors
    /// [`StoreError`]; a file that is newer or damaged is left as it is.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        let found = if path.exists() {
            schema::version(path).map_err(|error| damaged(path, error))?
        } else {
            0
        };
        if found > SCHEMA_VERSION {
            return Err(StoreError::Version {
                path: path.into(),
                found,
            });
        }
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        let synchronous = match options.durability {
            Durability::Full => "full",
            Durability::None => "off",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        schema::bring_up_to_date(&mut connection, options.period)?;
        sync_folder(path)?;
        let store = Self {
            reserve: Reserve::beside(path),
            connection,
            path: path.into(),
            options,
        };
        store.check()?;
        Ok(store)
    }

    /// A second connection that cannot write.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_reader(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(Self {
            connection,
            path: path.into(),
            options: Options::default(),
            reserve: Reserve::beside(path),
        })
    }

    /// The file itself, and that every log book ends where it says.
    fn check(&self) -> Result<(), StoreError> {
        let found = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
            .map_err(|error| damaged(&self.path, error))?;
        if found != "ok" {
            return Err(self.damage(found));
        }
        self.check_ends()
    }

    fn damage(&self, what: impl Into<String>) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    /// Writes the whole batch or nothing; returns when it is on the disk.
    ///
    /// Without room for the batch nothing else than log entries is taken until a reserve beside the file can be filled
    /// again; until then log entries use its space.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the batch is kept, and what was kept before still is.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_log_only() {
            return match self.write(batch) {
                Err(StoreError::Full) if self.reserve.release()? => self.write(batch),
                outcome => outcome,
            };
        }
        if !self.reserve.fill()? {
            return Err(StoreError::Full);
        }
        let outcome = self.write(batch);
        if matches!(outcome, Err(StoreError::Full)) {
            self.reserve.release()?;
        }
        outcome
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if let Some(pages) = self.options.most_pages {
            let more = if batch.is_log_only() {
                RESERVED_PAGES
            } else {
                0
            };
            self.connection
                .pragma_update(None, "max_page_count", pages.saturating_add(more))?;
        }
        let transaction = self.connection.transaction()?;
        batch.write(&transaction)?;
        Ok(transaction.commit()?)
    }
}

/// What SQLite says of a file that is none, or no longer one.
fn damaged(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged {
            path: path.into(),
            what: error.to_string(),
        },
        _ => error.into(),
    }
}

/// A new file stands in its folder only after the folder is on the disk.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// How many pages log entries may take when values may have no more.
pub const RESERVED_PAGES: u32 = 256;
const BUSY: Duration = Duration::from_secs(5);
/// The write-ahead log is brought into the file after 1 MiB.
const CHECKPOINT_PAGES: u32 = 256;

#[cfg(test)]
mod tests;
