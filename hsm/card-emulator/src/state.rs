// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a card keeps without power, and the file it is kept in.
//!
//! The file is one line with a version and a SHA-256 digest, and JSON. Each change writes a new file beside it, has the
//! disk confirm it, and renames it, so that the file is always a whole one: the one before the change or the one after.
//! It holds private keys and the PIN in the clear; only its owner may read it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hsm_api::{Curve, KeyUsage, LifeCycle, Pin};
use hsm_soft::PrivateKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// All that a card keeps.
#[derive(Clone, Debug)]
pub struct State {
    /// Serial number, as in the certificate of a real one.
    pub serial: String,
    /// Phase of its life.
    pub phase: LifeCycle,
    /// The PIN for PACE.
    pub pin: Pin,
    /// Wrong tries left before the PIN is blocked.
    pub tries_left: u8,
    /// Key pairs by key reference.
    pub keys: BTreeMap<u8, Key>,
    /// Elementary files by file identifier.
    pub files: BTreeMap<u16, Vec<u8>>,
}

/// A key pair.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its private half.
    pub private: PrivateKey,
    /// What it may be used for.
    pub usage: KeyUsage,
}

/// Where a card keeps its state.
pub trait Memory: Send {
    /// Keeps the state; once this returns, a loss of power does not undo it.
    ///
    /// # Errors
    /// When the state could not be kept; the card then answers 6581.
    fn keep(&mut self, state: &State) -> io::Result<()>;
}

impl<M: Memory + ?Sized> Memory for Box<M> {
    fn keep(&mut self, state: &State) -> io::Result<()> {
        (**self).keep(state)
    }
}

/// Forgets all when dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Volatile;

impl Memory for Volatile {
    fn keep(&mut self, _: &State) -> io::Result<()> {
        Ok(())
    }
}

/// A state file, held by this process alone.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl StateFile {
    /// Opens the file, or announces that there is none yet; the first [`Memory::keep`] makes it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: impl Into<PathBuf>) -> Result<(Self, Option<State>), StateError> {
        let path = path.into();
        let failed = |source| StateError::File {
            path: path.clone(),
            source,
        };
        let lock = private().open(beside(&path, "lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StateError::InUse(path)),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let state = match fs::read(&path) {
            Ok(bytes) => {
                let bytes = Zeroizing::new(bytes);
                let damaged = |what| StateError::Damaged {
                    path: path.clone(),
                    what,
                };
                Some(decode(&bytes).map_err(damaged)?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        Ok((Self { path, _lock: lock }, state))
    }
}

impl Memory for StateFile {
    fn keep(&mut self, state: &State) -> io::Result<()> {
        let fresh = beside(&self.path, "new");
        let mut file = private().truncate(true).open(&fresh)?;
        file.write_all(&encode(state))?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        // The rename itself is only sure once the folder is.
        let folder = self.path.parent().filter(|path| *path != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file system refuses.
    #[error("cannot use the card's state file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another card has it.
    #[error("the state file {0} belongs to a card that is running; give each card its own")]
    InUse(PathBuf),
    /// The content is not what a card wrote.
    #[error(
        "the state file {path} is damaged: {what}; the card does not start with it, restore it or take another file"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        what: String,
    },
}

const HEAD: &str = "smgw-card state 1 sha256 ";

/// The content as it stands in the file; keys as hex digits.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Stored {
    serial: String,
    phase: String,
    pin: Secret,
    tries_left: u8,
    keys: BTreeMap<u8, StoredKey>,
    files: BTreeMap<u16, String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    curve: String,
    usage: StoredUsage,
    value: Secret,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum StoredUsage {
    Sign,
    Agree,
}

/// Text that is wiped when dropped.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
struct Secret(String);

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

fn encode(state: &State) -> Zeroizing<Vec<u8>> {
    let stored = Stored {
        serial: state.serial.clone(),
        phase: state.phase.name().to_owned(),
        pin: Secret(state.pin.expose().to_owned()),
        tries_left: state.tries_left,
        keys: (state.keys.iter())
            .map(|(reference, key)| {
                let stored = StoredKey {
                    curve: key.private.public_key().curve.to_string(),
                    usage: match key.usage {
                        KeyUsage::Sign => StoredUsage::Sign,
                        KeyUsage::Agree => StoredUsage::Agree,
                    },
                    value: Secret(hex(&key.private.to_bytes())),
                };
                (*reference, stored)
            })
            .collect(),
        files: (state.files.iter())
            .map(|(id, content)| (*id, hex(content)))
            .collect(),
    };
    let json = serde_json::to_vec_pretty(&stored).expect("strings and numbers are always JSON");
    let json = Zeroizing::new(json);
    let mut bytes = Zeroizing::new(format!("{HEAD}{}\n", digest(&json)).into_bytes());
    bytes.extend_from_slice(&json);
    bytes
}

/// Reads the content of a state file; whatever is wrong is told as a lower-case fragment.
fn decode(bytes: &[u8]) -> Result<State, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    let (head, json) = text.split_once('\n').unwrap_or((text, ""));
    let digest_told = head
        .strip_prefix(HEAD)
        .ok_or_else(|| format!("it does not begin with \"{}\"", HEAD.trim_end()))?;
    if digest(json.as_bytes()) != digest_told {
        return Err("its digest does not fit its content".to_owned());
    }
    let stored: Stored = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let text_of = |error: &dyn fmt::Display| error.to_string();
    let mut keys = BTreeMap::new();
    for (reference, key) in &stored.keys {
        let scalar = Zeroizing::new(unhex(&key.value.0)?);
        let private = PrivateKey::from_bytes(curve(&key.curve)?, &scalar);
        let key = Key {
            private: private.map_err(|error| text_of(&error))?,
            usage: match key.usage {
                StoredUsage::Sign => KeyUsage::Sign,
                StoredUsage::Agree => KeyUsage::Agree,
            },
        };
        keys.insert(*reference, key);
    }
    let mut files = BTreeMap::new();
    for (id, content) in &stored.files {
        files.insert(*id, unhex(content)?);
    }
    Ok(State {
        phase: stored.phase.parse().map_err(|error| text_of(&error))?,
        pin: Pin::new(stored.pin.0.clone()),
        serial: stored.serial,
        tries_left: stored.tries_left,
        keys,
        files,
    })
}

/// The curve of this name.
pub(crate) fn curve(name: &str) -> Result<Curve, String> {
    Curve::ALL
        .into_iter()
        .find(|curve| curve.to_string() == name)
        .ok_or_else(|| format!("there is no curve {name}"))
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use fmt::Write;
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

/// Bytes from pairs of hex digits.
pub(crate) fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect::<Option<Vec<u8>>>();
    bytes
        .filter(|_| rest.is_empty())
        .ok_or_else(|| "there are no pairs of hex digits where they belong".to_owned())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// The path with an extension more.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn state() -> State {
        let key = Key {
            private: PrivateKey::generate(Curve::BrainpoolP384r1).unwrap(),
            usage: KeyUsage::Agree,
        };
        State {
            serial: "0102030405060708".into(),
            phase: LifeCycle::Integration,
            pin: Pin::new("1234567890"),
            tries_left: 3,
            keys: BTreeMap::from([(0x81, key)]),
            files: BTreeMap::from([(0x2f01, vec![0, 1, 0xff])]),
        }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card");
        let before = state();
        let (mut file, none) = StateFile::open(&path).unwrap();
        assert!(none.is_none());
        file.keep(&before).unwrap();
        assert!(matches!(StateFile::open(&path), Err(StateError::InUse(_))));
        drop(file);
        for name in ["card", "card.lock"] {
            let mode = fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let (_, after) = StateFile::open(&path).unwrap();
        assert_eq!(*encode(&after.unwrap()), *encode(&before));
    }

    #[test]
    fn any_damage_is_noticed() {
        let good = encode(&state());
        assert!(decode(&good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert!(decode(&bad).is_err(), "byte {at}");
            assert!(decode(&good[..at]).is_err(), "cut at {at}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card");
        fs::write(&path, &good[1..]).unwrap();
        let error = StateFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("card is damaged"), "{error}");
    }

    #[test]
    fn a_right_digest_over_wrong_content_is_refused_too() {
        let text = String::from_utf8(encode(&state()).to_vec()).unwrap();
        let (_, json) = text.split_once('\n').unwrap();
        for (from, to) in [
            ("integration", "retired"),
            ("brainpoolP384r1", "P-256"),
            ("brainpoolP384r1", "P-521"),
            ("0001ff", "0001f"),
            ("serial", "unknown"),
            ("agree", "decrypt"),
        ] {
            let json = json.replace(from, to);
            assert_ne!(json.as_str(), text.split_once('\n').unwrap().1, "{from}");
            let bytes = format!("{HEAD}{}\n{json}", digest(json.as_bytes()));
            assert!(decode(bytes.as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let state = state();
        let shown = format!("{state:?}");
        let key = hex(&state.keys[&0x81].private.to_bytes());
        assert!(
            !shown.contains("1234567890") && !shown.contains(&key[..8]),
            "{shown}"
        );
    }
}
