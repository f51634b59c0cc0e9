// SPDX-License-Identifier: MIT OR Apache-2.0
//! `smgw-card` as a process of its own in a slot of an isolated reader, for whoever needs a card behind PC/SC.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};

use tempfile::TempDir;

use crate::pcscd::{PORTS, Pcscd, StartError};

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
        let program =
            program().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, not_built()))?;
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

    /// Has the card carry out one line, as a person would at the terminal: `fault NAME@N`, `heal`, `answer`,
    /// `key NAME CURVE USAGE SCALAR`.
    ///
    /// # Errors
    /// When the card refuses it, which the text explains, or the process has ended.
    pub fn order(&mut self, line: &str) -> io::Result<()> {
        self.tell(line)?;
        self.until(DONE)
    }

    /// Sends one line and does not wait.
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
    /// When it refuses a line instead, or the process has ended.
    pub fn until(&mut self, line: &str) -> io::Result<()> {
        let mut said = String::new();
        while said.trim_end() != line {
            said.clear();
            if self.said.read_line(&mut said)? == 0 {
                return Err(io::Error::other(format!(
                    "smgw-card ended before it said \"{line}\""
                )));
            }
            if let Some(why) = said.strip_prefix(REFUSED) {
                return Err(io::Error::other(why.trim().to_owned()));
            }
        }
        Ok(())
    }

    /// The process, for those who want it killed.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl CardProcess {
    fn end(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for CardProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the program says when the reader has taken notice of the card.
pub const IN_READER: &str = "in the reader";
/// What it says when the card has left.
pub const OUT_OF_READER: &str = "out of the reader";
/// What it says when it carried out a line that is answered by nothing else.
pub const DONE: &str = "done";
/// What it begins its answer with when it does not carry out a line; the reason follows.
pub const REFUSED: &str = "refused: ";

/// Slot 0 of an isolated reader with a card in it, as long as this lives.
#[derive(Debug)]
pub struct Rig {
    /// The card.
    pub card: CardProcess,
    /// The reader and its service.
    pub pcscd: Pcscd,
    options: Vec<OsString>,
    folder: TempDir,
}

impl Rig {
    /// Starts pcscd and puts a card with this PIN into its reader; `options` are those of the program.
    ///
    /// # Errors
    /// [`StartError`]; [`StartError::Absent`] also when the program is not built.
    pub fn start<S: AsRef<OsStr>>(
        pin: &str,
        options: impl IntoIterator<Item = S>,
    ) -> Result<Self, StartError> {
        if program().is_none() {
            return Err(StartError::Absent(not_built()));
        }
        let pcscd = Pcscd::start()?;
        let folder = tempfile::tempdir().map_err(StartError::Folder)?;
        let file = folder.path().join("pin");
        std::fs::write(&file, pin).map_err(StartError::Folder)?;
        let own = ["--pin-file".into(), file.into_os_string()];
        let given = options.into_iter().map(|one| one.as_ref().to_owned());
        let options: Vec<_> = own.into_iter().chain(given).collect();
        Ok(Self {
            card: CardProcess::start(&pcscd, 0, &options).map_err(StartError::Card)?,
            pcscd,
            options,
            folder,
        })
    }

    /// As [`Rig::start`], for tests: where the machine lacks something it prints `SKIPPED:` with the reason.
    ///
    /// # Panics
    /// When pcscd or the card fails to start.
    pub fn for_test(pin: &str, options: &[&str]) -> Option<Self> {
        match Self::start(pin, options) {
            Ok(rig) => Some(rig),
            Err(StartError::Absent(why)) => {
                println!("SKIPPED: {why}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Ends card and pcscd and starts both again. Without `--state` it is another card.
    ///
    /// # Errors
    /// As [`Rig::start`].
    pub fn restart(&mut self) -> Result<(), StartError> {
        self.card.end();
        self.pcscd.restart()?;
        self.card = CardProcess::start(&self.pcscd, 0, &self.options).map_err(StartError::Card)?;
        Ok(())
    }

    /// A folder that goes with the rig.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

fn not_built() -> String {
    format!(
        "smgw-card is not built; `cargo build -p hsm-card-emulator` builds it, or name it in {PROGRAM_VARIABLE}"
    )
}
