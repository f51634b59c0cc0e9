// SPDX-License-Identifier: MIT OR Apache-2.0
//! A board reached by ssh: the program and its files are copied there, and run as long as the connection stands. Everything
//! the gateway and the bench say to each other goes through tunnels of that one connection.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::{MachineError, installed};

/// A board and how to log on to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remote {
    /// `user@host`, or a name of the user's ssh configuration.
    pub destination: String,
    /// Further options, each as `-o` takes it.
    pub options: Vec<String>,
}

/// A way through the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tunnel {
    /// From a loopback port of the bench to one of the board.
    ToBoard {
        /// The bench's.
        bench: u16,
        /// The board's.
        board: u16,
    },
    /// From a loopback port of the board to an address of the bench.
    ToBench {
        /// The board's.
        board: u16,
        /// The bench's.
        bench: SocketAddr,
    },
}

impl Remote {
    /// The board of this name.
    pub fn new(destination: impl Into<String>) -> Self {
        Self {
            destination: destination.into(),
            options: Vec::new(),
        }
    }

    /// Makes a folder of its own on the board, which only the user may enter.
    ///
    /// # Errors
    /// [`MachineError::Remote`] with what ssh said.
    pub fn make_folder(&self) -> Result<String, MachineError> {
        let output = self.run(self.ssh().arg("--").arg(&self.destination).arg(MAKE_FOLDER))?;
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // It becomes part of commands there.
        match folder.starts_with('/') && folder.chars().all(plain) {
            true => Ok(folder),
            false => Err(self.failed(format!("mktemp named no usable folder: {folder}"))),
        }
    }

    /// Copies files into a folder of the board under their own names.
    ///
    /// # Errors
    /// [`MachineError::Remote`] with what scp said.
    pub fn copy(&self, files: &[PathBuf], folder: &str) -> Result<(), MachineError> {
        require("scp")?;
        let mut scp = Command::new("scp");
        scp.args(["-q", "-p"])
            .args(self.options())
            .arg("--")
            .args(files);
        scp.arg(format!("{}:{folder}/", self.destination));
        self.run(&mut scp).map(drop)
    }

    /// Removes a folder made by [`Self::make_folder`].
    ///
    /// # Errors
    /// [`MachineError::Remote`] with what ssh said.
    pub fn remove(&self, folder: &str) -> Result<(), MachineError> {
        let remove = format!("rm -rf -- {folder}");
        self.run(self.ssh().arg("--").arg(&self.destination).arg(remove))
            .map(drop)
    }

    /// The process that runs `program` of the folder with these arguments. Its end, also that of its input, ends the
    /// program, which has to be one that ends with its own input.
    pub fn command(
        &self,
        folder: &str,
        program: &str,
        arguments: &[&str],
        tunnels: &[Tunnel],
    ) -> Command {
        let mut ssh = self.ssh();
        ssh.args(["-o", "ExitOnForwardFailure=yes"]);
        for tunnel in tunnels {
            match tunnel {
                Tunnel::ToBoard { bench, board } => ssh
                    .arg("-L")
                    .arg(format!("127.0.0.1:{bench}:127.0.0.1:{board}")),
                Tunnel::ToBench { board, bench } => {
                    ssh.arg("-R").arg(format!("127.0.0.1:{board}:{bench}"))
                }
            };
        }
        let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
        let run = format!("cd {folder} && exec ./{program} {}", words.join(" "));
        ssh.arg("--").arg(&self.destination).arg(run);
        ssh
    }

    fn ssh(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-T").args(self.options());
        ssh
    }

    fn options(&self) -> impl Iterator<Item = &str> {
        // Nobody is there to type a password or to look at a fingerprint.
        let own = [
            "BatchMode=yes",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=3",
        ];
        let all = own
            .into_iter()
            .chain(self.options.iter().map(String::as_str));
        all.flat_map(|option| ["-o", option])
    }

    fn run(&self, command: &mut Command) -> Result<Output, MachineError> {
        require("ssh")?;
        let output = command.stdin(Stdio::null()).output()?;
        match output.status.success() {
            true => Ok(output),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said: Vec<_> = said.lines().map(str::trim).collect();
                Err(self.failed(format!("{}: {}", output.status, said.join(" "))))
            }
        }
    }

    fn failed(&self, what: String) -> MachineError {
        MachineError::Remote {
            host: self.destination.clone(),
            what,
        }
    }
}

fn require(program: &'static str) -> Result<(), MachineError> {
    match installed(program) {
        true => Ok(()),
        false => Err(MachineError::NotInstalled {
            program,
            package: "openssh-client",
        }),
    }
}

fn plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "/._-".contains(letter)
}

/// A word as the shell at the far end leaves it alone.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Made private before anything is in it.
const MAKE_FOLDER: &str = "umask 077 && mktemp -d /tmp/smgw.XXXXXXXXXX";
