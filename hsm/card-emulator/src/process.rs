// SPDX-License-Identifier: MIT OR Apache-2.0
//! `smgw-card` as a process of its own in a slot of an isolated reader, for whoever needs a card behind PC/SC.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};

use crate::pcscd::{PORTS, Pcscd};

/// Names the program where it is not beside the one that runs.
pub const PROGRAM_VARIABLE: &str = "SMGW_CARD";

/// The program `smgw-card`: the one the environment names, or the one beside or above the program that runs.
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
    let own = std::env::current_exe().ok();
    let beside = own
        .iter()
        .flat_map(|path| path.ancestors())
        .map(|folder| folder.join("smgw-card"));
    named.into_iter().chain(beside).find(|path| path.is_file())
}

/// A card in a slot. Dropping it kills the process, as if the card were torn out.
#[derive(Debug)]
pub struct CardProcess {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl CardProcess {
    /// Puts a card into slot 0 or 1 and waits until the reader knows it.
    ///
    /// # Errors
    /// When the program is missing or ends; what it said is on the standard error.
    pub fn start<S: AsRef<OsStr>>(
        pcscd: &Pcscd,
        slot: usize,
        options: impl IntoIterator<Item = S>,
    ) -> io::Result<Self> {
        let program = program().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "smgw-card is not built; `cargo build -p hsm-card-emulator` builds it, or name it in {PROGRAM_VARIABLE}"
                ),
            )
        })?;
        let port = PORTS.get(slot).ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = pcscd
            .inside(program)
            .args(["--reader", &format!("127.0.0.1:{port}")])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut card = Self {
            child,
            said: BufReader::new(said),
        };
        card.until(IN_READER)?;
        Ok(card)
    }

    /// Takes the card out of the reader.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn remove(&mut self) -> io::Result<()> {
        self.tell("remove")?;
        self.until(OUT_OF_READER)
    }

    /// Puts the card into the reader again and waits until the reader knows it.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn insert(&mut self) -> io::Result<()> {
        self.tell("insert")?;
        self.until(IN_READER)
    }

    /// Sends one line, as a person would at the terminal: `fault NAME@N`, `heal`, `answer`.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        let input = self.child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{line}")
    }

    /// Reads what the card says until it says this.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn until(&mut self, line: &str) -> io::Result<()> {
        let mut said = String::new();
        while said.trim_end() != line {
            said.clear();
            if self.said.read_line(&mut said)? == 0 {
                return Err(io::Error::other(format!(
                    "smgw-card ended before it said \"{line}\""
                )));
            }
        }
        Ok(())
    }

    /// The process, for those who want it killed.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for CardProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the program says when the reader has taken notice of the card.
pub const IN_READER: &str = "in the reader";
/// What it says when the card has left.
pub const OUT_OF_READER: &str = "out of the reader";
/// What it says when it carried out a line that is answered by nothing else.
pub const DONE: &str = "done";
