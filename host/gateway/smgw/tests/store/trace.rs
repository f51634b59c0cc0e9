// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a writer told its operating system, from a trace of its system calls, and what a disk may hold after a power cut
//! at any moment of it: everything synced, and of the rest any sectors.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// One step of a writer.
#[derive(Clone, Debug)]
pub enum Step {
    /// A file came to be.
    Created(PathBuf),
    /// Bytes at an offset.
    Written(PathBuf, usize, Vec<u8>),
    /// A new length.
    Truncated(PathBuf, usize),
    /// A file went.
    Removed(PathBuf),
    /// A file or folder is on the disk.
    Synced(PathBuf),
    /// The writer promised this batch.
    Acknowledged(i64),
}

/// Reads the output of `strace -f -y -xx -s 1048576`; only files whose path begins with `store` count, and its folder.
pub fn read(trace: &str, store: &Path) -> Vec<Step> {
    let ours = |path: &str| {
        path.starts_with(store.to_str().unwrap())
            && !path.ends_with("-shm")
            && !path.ends_with("-reserve")
    };
    let mut offsets: HashMap<String, usize> = HashMap::new();
    let mut existing: Vec<PathBuf> = Vec::new();
    let mut steps = Vec::new();
    for line in trace.lines() {
        let call = line
            .split_once(' ')
            .map_or("", |(_, call)| call.trim_start());
        assert!(
            !call.contains("unfinished"),
            "calls of several threads at once: {line:.80}"
        );
        let Some((name, rest)) = call.split_once('(') else {
            continue;
        };
        let Some((arguments, result)) = rest.rsplit_once(") = ") else {
            continue;
        };
        if result.starts_with('-') {
            continue;
        }
        // `3</path>`; the path is escaped like all strings.
        let file = |text: &str| {
            let (_, path) = text.split_once('<')?;
            Some(String::from_utf8(unescape(path.trim_end_matches('>'))).unwrap())
        };
        let fields: Vec<&str> = arguments.split(", ").collect();
        match (name, fields.as_slice()) {
            ("openat", [_, _, flags, ..]) => {
                let Some(path) = file(result).filter(|path| ours(path)) else {
                    continue;
                };
                offsets.insert(path.clone(), 0);
                let path = PathBuf::from(path);
                if flags.contains("O_CREAT") && !existing.contains(&path) {
                    existing.push(path.clone());
                    steps.push(Step::Created(path));
                }
            }
            ("lseek", [descriptor, offset, "SEEK_SET"]) => {
                if let Some(path) = file(descriptor) {
                    offsets.insert(path, offset.parse().unwrap());
                }
            }
            ("write", [descriptor, data, _]) | ("pwrite64", [descriptor, data, _, _]) => {
                let bytes = unescape(data.trim_matches('"'));
                if descriptor.starts_with("1<") {
                    let text = String::from_utf8_lossy(&bytes);
                    steps.extend(
                        text.lines()
                            .filter_map(crate::acknowledged)
                            .map(Step::Acknowledged),
                    );
                    continue;
                }
                let Some(path) = file(descriptor).filter(|path| ours(path)) else {
                    continue;
                };
                let written: usize = result.trim().parse().unwrap();
                assert_eq!(
                    written,
                    bytes.len(),
                    "a write was cut short, by the kernel or by strace"
                );
                let offset = match fields.get(3) {
                    Some(offset) => offset.parse().unwrap(),
                    None => offsets
                        .insert(path.clone(), offsets[&path] + written)
                        .unwrap(),
                };
                steps.push(Step::Written(path.into(), offset, bytes));
            }
            ("ftruncate", [descriptor, len]) => {
                if let Some(path) = file(descriptor).filter(|path| ours(path)) {
                    steps.push(Step::Truncated(path.into(), len.parse().unwrap()));
                }
            }
            ("unlink", [path]) => {
                let path = String::from_utf8(unescape(path.trim_matches('"'))).unwrap();
                if ours(&path) {
                    existing.retain(|held| *held != Path::new(&path));
                    steps.push(Step::Removed(path.into()));
                }
            }
            ("fsync" | "fdatasync", [descriptor]) => {
                let Some(path) = file(descriptor) else {
                    continue;
                };
                if ours(&path) || Path::new(&path) == store.parent().unwrap() {
                    steps.push(Step::Synced(path.into()));
                }
            }
            _ => {}
        }
    }
    steps
}

/// `\x41\x42` as strace writes it with `-xx`; descriptors of pipes come plain.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, rest @ ..] => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
                bytes.push(digit(*high) << 4 | digit(*low));
                rest
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
            [] => return bytes,
        };
    }
}

#[derive(Clone, Debug, Default)]
struct File {
    /// Whether its name is on the disk.
    named: bool,
    removed: bool,
    durable: Vec<u8>,
    /// Not synced yet.
    pending: Vec<Step>,
}

/// A disk with a volatile cache before it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: BTreeMap<PathBuf, File>,
}

impl Disk {
    /// Takes a step.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Created(path) => {
                self.files.insert(path.clone(), File::default());
            }
            Step::Written(path, ..) | Step::Truncated(path, _) => {
                self.files
                    .entry(path.clone())
                    .or_default()
                    .pending
                    .push(step.clone());
            }
            Step::Removed(path) => self.files.entry(path.clone()).or_default().removed = true,
            Step::Synced(path) => match self.files.get_mut(path) {
                Some(file) => {
                    for step in std::mem::take(&mut file.pending) {
                        change(&mut file.durable, &step);
                    }
                }
                // The folder: its names.
                None => self.files.retain(|_, file| {
                    file.named = true;
                    !file.removed
                }),
            },
            Step::Acknowledged(_) => {}
        }
    }

    /// Whether something is not on the disk yet.
    pub fn is_dirty(&self) -> bool {
        self.files
            .values()
            .any(|file| !file.named || file.removed || !file.pending.is_empty())
    }

    /// Writes into `folder` what may be left after a power cut: of what was not synced, what `survives` says, sector by sector.
    pub fn cut(&self, folder: &Path, mut survives: impl FnMut() -> bool) {
        for (path, file) in &self.files {
            if (!file.named && !survives()) || (file.removed && survives()) {
                continue;
            }
            let mut left = file.durable.clone();
            for step in &file.pending {
                let Step::Written(path, offset, bytes) = step else {
                    if survives() {
                        change(&mut left, step);
                    }
                    continue;
                };
                for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                    if survives() {
                        let at = offset + number * SECTOR;
                        change(&mut left, &Step::Written(path.clone(), at, sector.to_vec()));
                    }
                }
            }
            std::fs::write(folder.join(path.file_name().unwrap()), left).unwrap();
        }
    }
}

fn change(file: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Written(_, offset, bytes) => {
            let end = offset + bytes.len();
            file.resize(file.len().max(end), 0);
            file[*offset..end].copy_from_slice(bytes);
        }
        Step::Truncated(_, len) => file.resize(*len, 0),
        _ => {}
    }
}

const SECTOR: usize = 512;
