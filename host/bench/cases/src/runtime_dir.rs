// SPDX-License-Identifier: MIT OR Apache-2.0
//! The run's private directory: tokens, PINs, the gateway's configuration and store. Gone when the run is.
//!
//! A run that was killed leaves its directory behind without its lock; the next run sweeps it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const PREFIX: &str = "smgw-bench-run-";
const LOCK: &str = "in-use.lock";

/// A directory only its owner may enter, removed on drop.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    /// Held as long as the run lives; the kernel releases it with the process.
    _lock: File,
}

impl RuntimeDir {
    /// Makes the directory for run `id` below `XDG_RUNTIME_DIR` (or the temporary directory), and
    /// removes those of runs that no longer live.
    pub fn create(id: &str) -> io::Result<Self> {
        let base = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|path| path.is_dir())
            .unwrap_or_else(std::env::temp_dir);
        Self::create_below(&base, id)
    }

    fn create_below(base: &Path, id: &str) -> io::Result<Self> {
        sweep(base);
        let path = base.join(format!("{PREFIX}{id}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        let lock = File::create(path.join(LOCK))?;
        lock.try_lock()?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes run directories whose lock nobody holds.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        if !ours {
            continue;
        }
        let dead = File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if dead {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_private_and_leaves_nothing_behind() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::create_below(base.path(), "a").unwrap();
        let mode = fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        fs::write(dir.path().join("pin"), "1234").unwrap();
        drop(dir);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn sweeps_the_dead_and_spares_the_living() {
        let base = tempfile::tempdir().unwrap();
        let living = RuntimeDir::create_below(base.path(), "living").unwrap();
        let dead = base.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&dead).unwrap();
        File::create(dead.join(LOCK)).unwrap();
        let next = RuntimeDir::create_below(base.path(), "next").unwrap();
        assert!(living.path().exists() && next.path().exists());
        assert!(!dead.exists());
    }
}
