// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the bench knows of a board's flash, kept on disk: a probe unplugged while flashing leaves the board unknown, and
//! whoever comes next flashes it again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::image::BuildId;

/// What is in a board's flash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BoardState {
    /// This image, wholly.
    Known(BuildId),
    /// Nobody knows: flashing has begun and not ended, or the board is new.
    Unknown,
}

/// The directory with a file for each board.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// States are kept there; the directory is made when it is needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The state of a board. Whatever is not clearly written means unknown.
    pub fn read(&self, board: &str) -> BoardState {
        let text = fs::read_to_string(self.file(board)).unwrap_or_default();
        let mut lines = text.lines();
        let ours = lines.next() == Some(board);
        let known = lines.next().and_then(|line| line.strip_prefix("known "));
        match known.and_then(BuildId::parse) {
            Some(build_id) if ours && text.ends_with('\n') => BoardState::Known(build_id),
            _ => BoardState::Unknown,
        }
    }

    /// Keeps the state of a board: when this returns, it outlives a power cut.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, board: &str, state: &BoardState) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let file = self.file(board);
        let new = file.with_extension("new");
        let state = match state {
            BoardState::Known(build_id) => format!("known {build_id}"),
            BoardState::Unknown => "unknown".to_owned(),
        };
        let mut written = File::create(&new)?;
        write!(written, "{board}\n{state}\n")?;
        written.sync_all()?;
        fs::rename(&new, &file)?;
        File::open(&self.0)?.sync_all()
    }

    /// The first line of the file tells boards apart whose names become the same.
    fn file(&self, board: &str) -> PathBuf {
        let plain = |letter: char| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' => letter,
            _ => '_',
        };
        let name: String = board.chars().map(plain).take(200).collect();
        self.0.join(format!("board-{name}.state"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOARD: &str = "0483:374e:0670FF34";

    #[test]
    fn a_state_is_kept_for_its_board_only() {
        let folder = tempfile::tempdir().unwrap();
        let states = StateDir::new(folder.path().join("deeper"));
        assert_eq!(states.read(BOARD), BoardState::Unknown);
        let known = BoardState::Known(BuildId::parse("00ff12").unwrap());
        states.write(BOARD, &known).unwrap();
        assert_eq!(states.read(BOARD), known);
        assert_eq!(states.file("0483:374e_0670FF34"), states.file(BOARD));
        assert_eq!(states.read("0483:374e_0670FF34"), BoardState::Unknown);
        states.write(BOARD, &BoardState::Unknown).unwrap();
        assert_eq!(states.read(BOARD), BoardState::Unknown);
    }

    #[test]
    fn a_damaged_state_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let states = StateDir::new(folder.path());
        for damaged in [
            "",
            "known 00\n",
            "B\n",
            "B\nknown \n",
            "B\nknown 0\n",
            "B\nknown 00",
        ] {
            fs::write(states.file("B"), damaged).unwrap();
            assert_eq!(states.read("B"), BoardState::Unknown, "{damaged:?}");
        }
        fs::write(states.file("B"), "B\nknown 00\n").unwrap();
        assert_ne!(states.read("B"), BoardState::Unknown);
    }
}
