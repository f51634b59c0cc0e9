// SPDX-License-Identifier: MIT OR Apache-2.0
//! The manifest of a bundle: every file with size and SHA-256, and the key that sealed it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use hsm_api::{Curve, PublicKey};
use serde::{Deserialize, Serialize};

use crate::digest::{hex, unhex};

/// The schema this build writes.
pub(crate) const SCHEMA: &str = "smgw-bench.manifest/1";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const SEAL: &str = "manifest.sig.json";
pub(crate) const EVENTS: &str = "events.jsonl";
pub(crate) const RESULTS: &str = "results.json";
/// Directories of a bundle that hold one kind of file each.
pub(crate) const DIRECTORIES: [&str; 4] = ["hist", "inputs", "logs", "trace"];

/// `manifest.json`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Always [`SCHEMA`].
    pub(crate) schema: String,
    /// UUID of the run.
    pub(crate) run: String,
    /// Name of the rig.
    pub(crate) rig: String,
    /// Start of the run, ISO 8601 UTC.
    pub(crate) started: String,
    /// Tool name and version.
    pub(crate) tool: String,
    /// Revision of the tool.
    pub(crate) revision: String,
    /// Who sealed the bundle.
    pub(crate) signer: Signer,
    /// Every file but the manifest and its seal, by path with `/`.
    pub(crate) files: BTreeMap<String, FileEntry>,
}

/// The sealing key.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signer {
    /// The key's name in its module.
    pub(crate) name: String,
    /// Name of the curve.
    pub(crate) curve: String,
    /// Uncompressed point, hexadecimal.
    pub(crate) point: String,
}

/// One file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    /// Bytes.
    pub(crate) size: u64,
    /// SHA-256, hexadecimal.
    pub(crate) sha256: String,
}

impl Signer {
    pub(crate) fn new(name: String, key: &PublicKey) -> Self {
        Self {
            name,
            curve: key.curve.to_string(),
            point: hex(&key.point),
        }
    }

    /// The key, if curve and point are well-formed.
    pub(crate) fn key(&self) -> Option<PublicKey> {
        let curve = Curve::ALL
            .into_iter()
            .find(|c| c.to_string() == self.curve)?;
        let point = unhex(&self.point)?;
        (point.len() == 1 + 2 * curve.field_len()).then_some(PublicKey { curve, point })
    }
}

/// What stands at a path inside a bundle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Entry {
    /// A regular file and its size.
    File(u64),
    /// A link, socket, pipe or device: nothing a bundle may hold.
    Other,
}

/// All entries below `root` that are not directories, by path with `/`; links are not followed.
/// Directories deeper or entries more than any bundle has are an error.
pub(crate) fn walk(root: &Path) -> io::Result<BTreeMap<String, Entry>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![(root.to_owned(), String::new(), 0)];
    while let Some((directory, prefix, depth)) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            // A name that is no UTF-8 shows with replacement characters, and so as a file not in the manifest.
            let path = format!("{prefix}{}", name.to_string_lossy());
            let meta = entry.path().symlink_metadata()?;
            if meta.is_dir() && depth < MAX_DEPTH {
                pending.push((entry.path(), format!("{path}/"), depth + 1));
                // An empty directory of a foreign name would otherwise go unseen.
                if depth > 0 || !DIRECTORIES.contains(&path.as_str()) {
                    found.insert(format!("{path}/"), Entry::Other);
                }
                continue;
            }
            let kind = if meta.is_file() {
                Entry::File(meta.len())
            } else {
                Entry::Other
            };
            found.insert(path, kind);
            if found.len() + pending.len() > MAX_ENTRIES {
                return Err(io::Error::other("more files than any bundle has"));
            }
        }
    }
    Ok(found)
}

const MAX_DEPTH: usize = 4;
const MAX_ENTRIES: usize = 20_000;
