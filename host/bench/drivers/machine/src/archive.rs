// SPDX-License-Identifier: MIT OR Apache-2.0
//! Archives as a Linux kernel unpacks them into its first file system: cpio in the form "newc". Several may follow each
//! other, so that a run's own files are put behind those that all runs share.

use std::collections::BTreeSet;

/// An archive that is being written.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    count: u32,
}

impl Archive {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file that only root may read, with the folders above it. `path` is relative to the root of the file system.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        for (at, _) in path.match_indices('/') {
            let folder = path.get(..at).unwrap_or_default();
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, FOLDER, &[]);
            }
        }
        self.entry(path, PRIVATE_FILE, content);
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.count += 1;
        let (len, name_len) = (content.len() as u32, path.len() as u32 + 1);
        // Magic; inode, mode, user, group, links, time, length, device (2), special device (2), length of name, check sum.
        self.bytes.extend(b"070701");
        let fields = [self.count, mode, 0, 0, 1, 0, len, 0, 0, 0, 0, name_len, 0];
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }
}

const FOLDER: u32 = 0o040_700;
const PRIVATE_FILE: u32 = 0o100_600;
const TRAILER: &str = "TRAILER!!!";

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// GNU cpio reads what we wrote.
    #[test]
    fn another_program_unpacks_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = Archive::new();
        archive.file("etc/smgw/config.toml", b"schema = 1\n");
        archive.file("etc/smgw/secret", &[0; 1001]);
        archive.file("empty", b"");
        let unpacked = Command::new("cpio")
            .args(["--extract", "--quiet"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .spawn();
        let Ok(mut child) = unpacked else {
            println!("SKIPPED: cpio is not installed");
            return;
        };
        let mut input = child.stdin.take().unwrap();
        input.write_all(&archive.finish()).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        assert_eq!(read("etc/smgw/config.toml"), b"schema = 1\n");
        assert_eq!(read("etc/smgw/secret"), [0; 1001]);
        assert_eq!(read("empty"), b"");
    }
}
