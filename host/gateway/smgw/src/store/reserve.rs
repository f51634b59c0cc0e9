// SPDX-License-Identifier: MIT OR Apache-2.0
//! Space set aside beside the store, so that a full disk can still be told of in the log.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A file that only takes up room.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn beside(store: &Path) -> Self {
        let mut path = store.as_os_str().to_owned();
        path.push("-reserve");
        Self { path: path.into() }
    }

    /// Takes up the room; `false` when the disk has none.
    pub(super) fn fill(&self) -> io::Result<bool> {
        // Asked every time: another connection may have given it away.
        let is_filled = |metadata: fs::Metadata| metadata.len() == LEN as u64;
        if fs::metadata(&self.path).is_ok_and(is_filled) {
            return Ok(true);
        }
        let written = File::create(&self.path).and_then(|mut file| {
            // Not zeros: some file systems keep those without taking room.
            file.write_all(&[0xa5; LEN])?;
            file.sync_all()
        });
        match written {
            Ok(()) => Ok(true),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded
                ) =>
            {
                fs::remove_file(&self.path)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the room away; whether there was any.
    pub(super) fn release(&self) -> io::Result<bool> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Enough for the write-ahead log between two checkpoints.
const LEN: usize = 2 << 20;
