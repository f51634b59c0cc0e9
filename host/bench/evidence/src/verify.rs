// SPDX-License-Identifier: MIT OR Apache-2.0
//! Verification of a bundle: seal, manifest, every file, the event chain. Finds one flipped byte anywhere,
//! and any file too many or too few.
//!
//! The bundle is hostile input: nothing is read beyond fixed bounds, links are not followed, and the walk ends.
//! A sound seal shows that nothing changed since the holder of the key made it. It does not show that the
//! laboratory told the truth, and without a trusted key it does not show who made it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use hsm_api::PublicKey;

use crate::digest::{hex, sha256_file};
use crate::events;
use crate::manifest::{EVENTS, Entry, MANIFEST, Manifest, RESULTS, SCHEMA, SEAL, walk};
use crate::render::parse_results;
use crate::seal::{Seal, key_id};

/// What a sound bundle says of itself.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// UUID of the run.
    pub run: String,
    /// Name of the rig.
    pub rig: String,
    /// Tool name and version.
    pub tool: String,
    /// Files under the manifest.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Events in the chained log.
    pub events: u64,
    /// Reason of `run.finished`.
    pub reason: String,
    /// Name of the sealing key as the bundle states it.
    pub signer: String,
    /// SHA-256 of the public point, `sha256:<hex>`.
    pub key_id: String,
    /// Whether the key is the one the verifier trusts; otherwise only integrity is shown, not origin.
    pub trusted: bool,
}

/// Why a bundle is not sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The caller: there is no such directory, or it cannot be listed.
    #[error("cannot read bundle {}: {source}", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bundle: everything that is wrong with it.
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
}

/// One thing wrong with a bundle.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Path inside the bundle.
    pub file: String,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What can be wrong with a file of a bundle.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The manifest lists it and it is not there.
    Missing,
    /// It is there and the manifest does not list it.
    Extra,
    /// Its size differs from the manifest.
    Size {
        /// By the manifest.
        expected: u64,
        /// On disk.
        found: u64,
    },
    /// Its content differs from the manifest.
    Changed,
    /// It is a link, pipe, device or unknown directory.
    NotAFile,
    /// It cannot be read.
    Unreadable(String),
    /// It is not what its name says.
    Malformed(String),
    /// The seal does not hold.
    Seal(String),
    /// The event chain is broken, or the log contradicts the bundle.
    Chain(String),
    /// The run did not come to its end.
    Incomplete(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.escape_debug())?;
        match &self.kind {
            ProblemKind::Missing => f.write_str("missing"),
            ProblemKind::Extra => f.write_str("not listed in the manifest"),
            ProblemKind::Size { expected, found } => {
                write!(f, "{found} bytes instead of {expected}")
            }
            ProblemKind::Changed => f.write_str("changed since it was sealed"),
            ProblemKind::NotAFile => f.write_str("neither a regular file nor a known directory"),
            ProblemKind::Unreadable(why) => write!(f, "cannot be read: {why}"),
            ProblemKind::Malformed(why) => write!(f, "malformed: {why}"),
            ProblemKind::Seal(why) => write!(f, "seal broken: {why}"),
            ProblemKind::Chain(why) => write!(f, "event chain broken: {why}"),
            ProblemKind::Incomplete(why) => write!(f, "incomplete: {why}"),
        }
    }
}

/// Verifies the bundle at `path`. With `trust` the seal must be by that key; without it by the key the manifest
/// names, which shows integrity only.
///
/// # Errors
/// [`VerifyError::Problems`] with everything found, or [`VerifyError::Unreadable`].
pub fn verify(path: &Path, trust: Option<&PublicKey>) -> Result<VerifyReport, VerifyError> {
    let found = walk(path).map_err(|source| VerifyError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let mut problems = Problems(Vec::new());
    let log = check_events(path, &found, &mut problems);
    let report = check_sealed(path, &found, trust, &mut problems);
    match (report, log) {
        (Some(mut report), Some(log)) if problems.0.is_empty() => {
            report.events = log.events;
            report.reason = log.finished.unwrap_or_default();
            Ok(report)
        }
        _ => Err(VerifyError::Problems(problems.0)),
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, file: &str, kind: ProblemKind) {
        if self.0.len() < MAX_PROBLEMS {
            let file = file.to_owned();
            self.0.push(Problem { file, kind });
        }
    }
}

/// Chain and completeness of the event log; independent of the seal, so that an unsealed bundle is told apart.
fn check_events(
    root: &Path,
    found: &BTreeMap<String, Entry>,
    problems: &mut Problems,
) -> Option<events::LogCheck> {
    if !matches!(found.get(EVENTS), Some(Entry::File(_))) {
        problems.add(
            EVENTS,
            ProblemKind::Incomplete("there is no event log".to_owned()),
        );
        return None;
    }
    let file = match File::open(root.join(EVENTS)) {
        Ok(file) => file,
        Err(error) => {
            problems.add(EVENTS, ProblemKind::Unreadable(error.to_string()));
            return None;
        }
    };
    let log = events::check(BufReader::new(file));
    if let Some((line, why)) = &log.problem {
        problems.add(EVENTS, ProblemKind::Chain(format!("line {line}: {why}")));
    } else if log.finished.is_none() {
        let why = "the run has no run.finished event".to_owned();
        problems.add(EVENTS, ProblemKind::Incomplete(why));
    }
    Some(log)
}

/// Seal, manifest and files.
fn check_sealed(
    root: &Path,
    found: &BTreeMap<String, Entry>,
    trust: Option<&PublicKey>,
    problems: &mut Problems,
) -> Option<VerifyReport> {
    let mut read = |name: &str, limit| match found.get(name) {
        Some(Entry::File(_)) => match read_bounded(&root.join(name), limit) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                problems.add(name, ProblemKind::Unreadable(error.to_string()));
                None
            }
        },
        Some(Entry::Other) => {
            problems.add(name, ProblemKind::NotAFile);
            None
        }
        None => {
            let why = "the bundle was never sealed, or the file was removed".to_owned();
            problems.add(name, ProblemKind::Incomplete(why));
            None
        }
    };
    let seal = read(SEAL, MAX_SEAL);
    let bytes = read(MANIFEST, MAX_MANIFEST)?;
    let manifest: Manifest = match serde_json::from_slice(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            problems.add(MANIFEST, ProblemKind::Malformed(error.to_string()));
            return None;
        }
    };
    if manifest.schema != SCHEMA {
        let why = format!("this version knows {SCHEMA}");
        problems.add(MANIFEST, ProblemKind::Malformed(why));
    }
    let named = manifest.signer.key();
    if named.is_none() {
        let why = "the signer's public key is malformed".to_owned();
        problems.add(MANIFEST, ProblemKind::Malformed(why));
    }
    let trusted = trust.is_some() && trust == named.as_ref();
    if let Some(key) = trust.or(named.as_ref()) {
        match seal.as_deref().map(Seal::parse) {
            Some(Some(seal)) => {
                if let Err(why) = seal.check(&bytes, key) {
                    problems.add(SEAL, ProblemKind::Seal(why));
                }
            }
            Some(None) => problems.add(
                SEAL,
                ProblemKind::Malformed("not spelled as a seal is".to_owned()),
            ),
            None => {}
        }
    }
    if trust.is_some() && !trusted {
        let why = "the bundle was not sealed by the trusted key".to_owned();
        problems.add(MANIFEST, ProblemKind::Seal(why));
    }
    let total = check_files(root, found, &manifest, problems);
    check_results(root, found, &manifest, problems);
    Some(VerifyReport {
        run: manifest.run,
        rig: manifest.rig,
        tool: manifest.tool,
        files: manifest.files.len(),
        bytes: total,
        events: 0,
        reason: String::new(),
        signer: manifest.signer.name,
        key_id: named.as_ref().map(key_id).unwrap_or_default(),
        trusted,
    })
}

/// Compares manifest and directory both ways; returns the bytes read.
fn check_files(
    root: &Path,
    found: &BTreeMap<String, Entry>,
    manifest: &Manifest,
    problems: &mut Problems,
) -> u64 {
    for (name, entry) in found {
        let listed = manifest.files.contains_key(name) || name == MANIFEST || name == SEAL;
        match entry {
            Entry::Other => problems.add(name, ProblemKind::NotAFile),
            Entry::File(_) if !listed => problems.add(name, ProblemKind::Extra),
            Entry::File(_) => {}
        }
    }
    let mut total = 0_u64;
    for (name, entry) in &manifest.files {
        // Only names the walk found are ever opened, so a hostile manifest cannot lead outside.
        let size = match found.get(name) {
            Some(Entry::File(size)) => *size,
            Some(Entry::Other) => continue,
            None => {
                problems.add(name, ProblemKind::Missing);
                continue;
            }
        };
        if size != entry.size {
            let expected = entry.size;
            problems.add(
                name,
                ProblemKind::Size {
                    expected,
                    found: size,
                },
            );
            continue;
        }
        match sha256_file(&root.join(name), size) {
            Ok((digest, read)) => {
                total = total.saturating_add(read);
                if read != size || hex(&digest) != entry.sha256 {
                    problems.add(name, ProblemKind::Changed);
                }
            }
            Err(error) => problems.add(name, ProblemKind::Unreadable(error.to_string())),
        }
    }
    for name in [RESULTS, EVENTS] {
        if !manifest.files.contains_key(name) {
            let why = format!("the manifest does not list {name}");
            problems.add(MANIFEST, ProblemKind::Incomplete(why));
        }
    }
    total
}

/// The results must be readable and belong to this run.
fn check_results(
    root: &Path,
    found: &BTreeMap<String, Entry>,
    manifest: &Manifest,
    problems: &mut Problems,
) {
    if !matches!(found.get(RESULTS), Some(Entry::File(_))) {
        return;
    }
    let parsed = read_bounded(&root.join(RESULTS), crate::render::MAX_RESULTS)
        .map_err(|error| error.to_string())
        .and_then(|bytes| parse_results(&bytes));
    match parsed {
        Ok(results) if results.run.id != manifest.run => {
            let why = "the results belong to another run than the manifest".to_owned();
            problems.add(RESULTS, ProblemKind::Malformed(why));
        }
        Ok(_) => {}
        Err(why) => problems.add(RESULTS, ProblemKind::Malformed(why)),
    }
}

/// Reads at most `limit` bytes; a longer file is an error.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    format!("the bundle is not sound: {}", lines.join("; "))
}

const MAX_MANIFEST: u64 = 8 << 20;
const MAX_SEAL: u64 = 64 << 10;
const MAX_PROBLEMS: usize = 1_000;
