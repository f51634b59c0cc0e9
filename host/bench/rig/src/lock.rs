// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel locks on physical resources. They belong to open files, so that whatever ends the bench also frees the rig.
//!
//! The key of a lock is what a resource physically is, not what a rig calls it: two rig files that share an adapter
//! exclude each other. All locks of a run are taken in sorted order, all or none. Lock files stay behind on purpose:
//! removing one while another process waits on it would let two holders in.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};

use crate::rig::LockDirSetting;

/// How often a waiting bench tries again.
const RETRY: Duration = Duration::from_millis(100);

/// Longest holder note that is read back.
const MAX_NOTE: u64 = 4096;

/// What a lock is on, e.g. `usb:0403:6001:A50285BI:if0`, `pkcs11:libsofthsm2.so:label smgw`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LockKey(String);

impl LockKey {
    /// A key from its physical identity.
    pub fn new(identity: impl Into<String>) -> Self {
        Self(identity.into())
    }

    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A file name from which the key can be told: everything unusual becomes `%XX`.
    fn file_name(&self) -> String {
        let mut name = String::new();
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                    name.push(char::from(byte))
                }
                b'.' if !name.is_empty() => name.push('.'),
                _ => name.push_str(&format!("%{byte:02X}")),
            }
        }
        // File names end at 255 bytes; the tail tells devices apart best.
        let start = name.len().saturating_sub(200);
        format!("{}.lock", &name[start..])
    }
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who holds a lock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// User name.
    pub user: String,
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Id of the run.
    pub run: String,
    /// Since when, ISO 8601 UTC.
    pub since: String,
}

impl Holder {
    /// This process, on behalf of a run; `since` is ISO 8601 UTC.
    pub fn this_process(run: impl Into<String>, since: impl Into<String>) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            user: std::env::var("USER").unwrap_or_else(|_| format!("uid {}", uid())),
            host: host.trim().to_owned(),
            pid: std::process::id(),
            run: run.into(),
            since: since.into(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            host,
            pid,
            run,
            since,
        } = self;
        write!(f, "{user}@{host}, process {pid}, run {run}, since {since}")
    }
}

/// Why locks could not be had.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else has one of them. Exit code 104 of the bench.
    #[error("the rig is busy: {key} is held by {}", holder.as_ref().map_or("an unknown process".to_owned(), |holder| holder.to_string()))]
    #[diagnostic(help(
        "wait for it with --wait 10min; the lock is free as soon as that process ends"
    ))]
    Busy {
        /// What is taken.
        key: LockKey,
        /// By whom, if the note could be read.
        holder: Option<Box<Holder>>,
    },
    /// A lock file cannot be used.
    #[error("cannot use the lock {}", path.display())]
    #[diagnostic(help(
        "all users of the rig need write access to the lock directory; lock-dir in the rig file names another"
    ))]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The directory of the locks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LockDir(PathBuf);

impl LockDir {
    /// The directory a rig names, or for `auto` the first usable of `$XDG_RUNTIME_DIR/smgw-bench`, `/run/lock/smgw-bench`
    /// and `/tmp/smgw-bench-UID`. Rigs used by several people should name one, for the first of these is private.
    pub fn resolve(setting: &LockDirSetting) -> Self {
        if let LockDirSetting::At(path) = setting {
            return Self(path.clone());
        }
        let private = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join("smgw-bench"));
        let shared = PathBuf::from("/run/lock/smgw-bench");
        let usable = private
            .into_iter()
            .chain([shared])
            .find(|path| prepare(path).is_ok());
        Self(usable.unwrap_or_else(|| PathBuf::from(format!("/tmp/smgw-bench-{}", uid()))))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all of `keys` or none.
    ///
    /// # Errors
    /// [`LockError::Busy`] when somebody else has one of them.
    pub fn acquire(&self, keys: &BTreeSet<LockKey>, holder: &Holder) -> Result<RigLock, LockError> {
        prepare(&self.0).map_err(|source| LockError::Unusable {
            path: self.0.clone(),
            source,
        })?;
        let mut held = Vec::new();
        for key in keys {
            held.push(take(&self.0.join(key.file_name()), key)?);
        }
        for (file, path) in &mut held {
            write_note(file, Some(holder)).map_err(|source| LockError::Unusable {
                path: path.clone(),
                source,
            })?;
        }
        Ok(RigLock {
            held: held.into_iter().map(|(file, _)| file).collect(),
        })
    }

    /// Takes all of `keys` as soon as they are free, but not later than `wait` from now.
    /// `waiting` is told once who is in the way.
    ///
    /// # Errors
    /// [`LockError::Busy`] when somebody else still has one of them after that time.
    pub fn acquire_within(
        &self,
        keys: &BTreeSet<LockKey>,
        holder: &Holder,
        wait: Duration,
        waiting: impl FnOnce(&LockError),
    ) -> Result<RigLock, LockError> {
        let begin = Instant::now();
        let mut waiting = Some(waiting);
        loop {
            let busy = match self.acquire(keys, holder) {
                Err(busy @ LockError::Busy { .. }) => busy,
                other => return other,
            };
            let left = wait.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(busy);
            }
            if let Some(waiting) = waiting.take() {
                waiting(&busy);
            }
            std::thread::sleep(RETRY.min(left));
        }
    }

    /// Who holds `key` now, for `rig status`: none when it is free.
    ///
    /// # Errors
    /// The lock file exists but cannot be used.
    pub fn holder(&self, key: &LockKey) -> Result<Option<Holder>, LockError> {
        let path = self.0.join(key.file_name());
        if !path.exists() {
            return Ok(None);
        }
        match take(&path, key) {
            Ok(_) => Ok(None),
            Err(LockError::Busy { holder, .. }) => {
                let unknown = || Holder {
                    user: "unknown".to_owned(),
                    host: String::new(),
                    pid: 0,
                    run: String::new(),
                    since: String::new(),
                };
                Ok(Some(holder.map_or_else(unknown, |holder| *holder)))
            }
            Err(error) => Err(error),
        }
    }
}

/// The locks of a run; dropping frees them.
#[derive(Debug)]
#[must_use = "the locks are free again as soon as this is dropped"]
pub struct RigLock {
    held: Vec<File>,
}

impl Drop for RigLock {
    fn drop(&mut self) {
        for file in &mut self.held {
            // A stale note would name us to the next who finds the file locked; losing it harms nobody.
            let _ = write_note(file, None);
        }
    }
}

fn take(path: &Path, key: &LockKey) -> Result<(File, PathBuf), LockError> {
    let unusable = |source| LockError::Unusable {
        path: path.to_owned(),
        source,
    };
    let mut file = open(path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok((file, path.to_owned())),
        Err(TryLockError::WouldBlock) => Err(LockError::Busy {
            key: key.clone(),
            holder: read_note(&mut file),
        }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Opens before creating: in a sticky directory the kernel refuses to "create" what another user owns.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options.create_new(true).open(path) {
        Ok(file) => {
            file.set_permissions(std::fs::Permissions::from_mode(0o666))?;
            Ok(file)
        }
        // Somebody else was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            OpenOptions::new().read(true).write(true).open(path)
        }
        Err(error) => Err(error),
    }
}

/// Makes the directory for everybody, like `/tmp`.
fn prepare(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o1777))
}

fn write_note(file: &mut File, holder: Option<&Holder>) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    if let Some(holder) = holder {
        serde_json::to_writer(&mut *file, holder)?;
        file.write_all(b"\n")?;
    }
    Ok(())
}

fn read_note(file: &mut File) -> Option<Box<Holder>> {
    let mut text = String::new();
    file.take(MAX_NOTE).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn uid() -> u32 {
    Path::new("/proc/self")
        .metadata()
        .map_or(0, |metadata| metadata.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> BTreeSet<LockKey> {
        names.iter().map(|name| LockKey::new(*name)).collect()
    }

    fn holder(run: &str) -> Holder {
        Holder::this_process(run, "2026-11-21T20:00:00Z")
    }

    #[test]
    fn a_second_taker_is_told_who_and_since_when() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let locks = LockDir(scratch.path().join("locks"));
        let first = locks
            .acquire(&keys(&["usb:0403:6001:A1:if0"]), &holder("first"))
            .expect("free");
        let wanted = keys(&["pkcs11:a", "usb:0403:6001:A1:if0"]);
        let busy = locks.acquire(&wanted, &holder("second")).expect_err("held");
        let message = busy.to_string();
        for part in ["usb:0403:6001:A1:if0", "run first", "2026-11-21T20:00:00Z"] {
            assert!(message.contains(part), "{message}");
        }
        // All or none: the free one of the two was given back.
        assert_eq!(
            locks.holder(&LockKey::new("pkcs11:a")).expect("usable"),
            None
        );
        drop(first);
        let _second = locks
            .acquire(&wanted, &holder("second"))
            .expect("free again");
        let now = locks.holder(&LockKey::new("pkcs11:a")).expect("usable");
        assert_eq!(now.map(|holder| holder.run), Some("second".to_owned()));
    }

    #[test]
    fn waiting_ends_when_the_lock_is_free_or_time_is_up() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let locks = LockDir(scratch.path().to_owned());
        let wanted = keys(&["rig:a"]);
        let first = locks.acquire(&wanted, &holder("first")).expect("free");
        let mut told = false;
        let busy =
            locks.acquire_within(&wanted, &holder("second"), Duration::from_millis(1), |_| {
                told = true
            });
        assert!(matches!(busy, Err(LockError::Busy { .. })) && told);
        // The first leaves as soon as it hears that somebody waits.
        let second =
            locks.acquire_within(&wanted, &holder("second"), Duration::from_secs(60), |_| {
                drop(first)
            });
        assert!(second.is_ok());
    }

    #[test]
    fn file_names_are_safe_and_distinct() {
        let name = |key: &str| LockKey::new(key).file_name();
        assert_eq!(
            name("usb:0403:6001:A1:if0"),
            "usb%3A0403%3A6001%3AA1%3Aif0.lock"
        );
        assert_eq!(name("../etc/passwd"), "%2E.%2Fetc%2Fpasswd.lock");
        assert_ne!(name("a/b"), name("a_b"));
        assert!(name(&"x".repeat(1000)).len() < 255);
    }

    #[test]
    fn a_lock_directory_that_cannot_be_made_is_named() {
        let scratch = tempfile::NamedTempFile::new().expect("a scratch file");
        let locks = LockDir(scratch.path().join("below-a-file"));
        let error = locks
            .acquire(&keys(&["a"]), &holder("run"))
            .expect_err("not a directory");
        assert!(error.to_string().contains("below-a-file"), "{error}");
    }
}
