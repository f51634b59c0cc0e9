// SPDX-License-Identifier: MIT OR Apache-2.0
//! An own pcscd with a virtual reader, isolated from the machine's: who starts it owns it, and it dies with its owner.
//!
//! pcscd runs in mount, network and process namespaces of its own, as root or, without root, in a user namespace too. The
//! virtual reader (vpcd) listens on TCP for its card, on all addresses; in the network namespace these are the loopback
//! ones only, and nobody outside the namespace reaches them. Clients outside find pcscd by the Unix socket in a private
//! folder, which [`Pcscd::environment`] names to libpcsclite. Drivers of real readers are hidden from it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What libpcsclite takes the path of pcscd's socket from.
pub const SOCKET_VARIABLE: &str = "PCSCLITE_CSOCK_NAME";

/// The two slots of the reader, as PC/SC names them.
pub const READERS: [&str; 2] = ["smgw-card 00 00", "smgw-card 00 01"];

/// The TCP port on which a slot waits for its card, inside the network namespace.
pub const PORTS: [u16; 2] = [35963, 35964];

/// A pcscd of our own. Dropping it ends it and removes its folder; so does the death of the process that holds it.
#[derive(Debug)]
pub struct Pcscd {
    folder: PathBuf,
    user_namespace: bool,
    first: Child,
}

impl Pcscd {
    /// Starts pcscd with an empty reader and waits until it takes clients.
    ///
    /// # Errors
    /// [`StartError::Absent`] where this machine cannot run it, which tests take as a reason to skip; everything else
    /// says what failed, with the end of the log.
    pub fn start() -> Result<Self, StartError> {
        require_tools()?;
        let user_namespace = user_namespace_needed()?;
        let parent = std::env::temp_dir();
        if parent.starts_with("/run") {
            return Err(StartError::FolderHidden(parent));
        }
        let folder = tempfile::Builder::new()
            .prefix("smgw-pcscd-")
            .tempdir_in(parent)
            .map_err(StartError::Folder)?;
        // From here on the folder goes with the process, whoever ends first.
        Self::start_in(folder.keep(), user_namespace)
    }

    /// Ends pcscd and starts it again behind the same socket, with an empty reader.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<(), StartError> {
        end(&mut self.first);
        self.first = spawn(&self.folder, self.user_namespace)?;
        self.wait_until_ready()
    }

    /// The environment variable, and its value, by which clients find this pcscd instead of the machine's.
    pub fn environment(&self) -> (&'static str, PathBuf) {
        (SOCKET_VARIABLE, socket(&self.folder))
    }

    /// A command that runs a program where the reader's ports are; it sees all files as outside.
    pub fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.first.id().to_string());
        if self.user_namespace {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--net", "--"]).arg(program);
        command
    }

    fn start_in(folder: PathBuf, user_namespace: bool) -> Result<Self, StartError> {
        let first = spawn(&folder, user_namespace)?;
        let mut pcscd = Self {
            folder,
            user_namespace,
            first,
        };
        pcscd.wait_until_ready()?;
        Ok(pcscd)
    }

    fn wait_until_ready(&mut self) -> Result<(), StartError> {
        let deadline = Instant::now() + START;
        loop {
            if UnixStream::connect(socket(&self.folder)).is_ok() {
                return Ok(());
            }
            if !matches!(self.first.try_wait(), Ok(None)) {
                return Err(StartError::Ended {
                    log: last_lines(&self.folder),
                });
            }
            if Instant::now() > deadline {
                return Err(StartError::Late {
                    log: last_lines(&self.folder),
                });
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Pcscd {
    fn drop(&mut self) {
        end(&mut self.first);
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Why pcscd did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This machine lacks something; says what, and what to do.
    #[error("{0}")]
    Absent(String),
    /// The private folder could not be made.
    #[error("cannot make the folder of an isolated pcscd: {0}")]
    Folder(io::Error),
    /// The private folder would be hidden.
    #[error(
        "{0} lies below /run, which is hidden from an isolated pcscd; set TMPDIR to another folder"
    )]
    FolderHidden(PathBuf),
    /// The program that makes namespaces did not start.
    #[error("cannot run unshare (package util-linux): {0}")]
    Spawn(io::Error),
    /// It ended before it took clients.
    #[error("the isolated pcscd ended while starting; its last lines:\n{log}")]
    Ended {
        /// The end of its log.
        log: String,
    },
    /// The card did not come into the reader.
    #[error("the card is not in the isolated reader: {0}")]
    Card(io::Error),
    /// It did not take clients in time.
    #[error(
        "the isolated pcscd takes no clients after {} s; its last lines:\n{log}",
        START.as_secs()
    )]
    Late {
        /// The end of its log.
        log: String,
    },
}

const SCRIPT: &str = include_str!("pcscd/namespace.sh");
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);
const LOG_LINES: usize = 12;
const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";

/// What has to be installed: program or file, and its package.
const TOOLS: [(&str, &str); 6] = [
    ("pcscd", "pcscd"),
    (DRIVER, "vsmartcard-vpcd"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
];

fn require_tools() -> Result<(), StartError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .collect();
    for (tool, package) in TOOLS {
        // An absolute name replaces the folder it is joined to.
        if !folders.iter().any(|folder| folder.join(tool).is_file()) {
            return Err(StartError::Absent(format!(
                "{tool} is missing for an isolated pcscd; install the package {package} (`cargo xtask setup`)"
            )));
        }
    }
    Ok(())
}

/// Whether namespaces can only be made inside a user namespace, because we are not root.
fn user_namespace_needed() -> Result<bool, StartError> {
    let mut said = String::new();
    for user_namespace in [false, true] {
        let tried = Command::new("unshare")
            .args(namespaces(user_namespace))
            .arg("true")
            .output()
            .map_err(StartError::Spawn)?;
        if tried.status.success() {
            return Ok(user_namespace);
        }
        said = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
    }
    Err(StartError::Absent(format!(
        "this machine gives no namespaces to isolate pcscd in ({said}); be root or allow user namespaces"
    )))
}

fn namespaces(user: bool) -> impl Iterator<Item = &'static str> {
    let user = if user {
        &["--user", "--map-root-user"][..]
    } else {
        &[]
    };
    let others = ["--mount", "--net", "--pid", "--kill-child"];
    user.iter().copied().chain(others)
}

/// Starts the first process of new namespaces, which starts pcscd.
fn spawn(folder: &Path, user_namespace: bool) -> Result<Child, StartError> {
    configure(folder).map_err(StartError::Folder)?;
    let log = fs::File::create(log(folder)).map_err(StartError::Folder)?;
    Command::new("unshare")
        .args(namespaces(user_namespace))
        .args(["sh", "-c", SCRIPT, "sh"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        // Ctrl-C is for the owner, whose end lets this one clean up.
        .process_group(0)
        .spawn()
        .map_err(StartError::Spawn)
}

fn configure(folder: &Path) -> io::Result<()> {
    let readers = folder.join("readers");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&readers)?;
    let [port, _] = PORTS;
    fs::write(
        readers.join("smgw-card"),
        format!(
            "FRIENDLYNAME \"smgw-card\"\nDEVICENAME /dev/null:{port:#X}\n\
             LIBPATH /run/drivers/libifdvpcd.so\nCHANNELID {port:#X}\n"
        ),
    )
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("pcscd.comm")
}

fn log(folder: &Path) -> PathBuf {
    folder.join("pcscd.log")
}

fn last_lines(folder: &Path) -> String {
    let text = fs::read(log(folder)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(LOG_LINES)..)
        .unwrap_or_default()
        .join("\n")
}

/// Closes the standard input of the first process, which ends all; kills it should it not obey.
fn end(first: &mut Child) {
    drop(first.stdin.take());
    let deadline = Instant::now() + STOP;
    while matches!(first.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            drop(first.kill());
            drop(first.wait());
            break;
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_tells_the_end_of_the_log_and_leaves_nothing() {
        let user_namespace = match require_tools().and_then(|()| user_namespace_needed()) {
            Ok(user_namespace) => user_namespace,
            Err(why) => return println!("SKIPPED: {why}"),
        };
        let folder = tempfile::tempdir().unwrap().keep();
        // pcscd cannot put its socket where a folder with something in it is.
        fs::create_dir_all(socket(&folder).join("full")).unwrap();
        match Pcscd::start_in(folder.clone(), user_namespace) {
            Err(StartError::Ended { log }) => {
                assert!(log.contains("Unable to bind"), "{log}");
                assert!(!folder.exists());
            }
            other => panic!("{other:?}"),
        }
    }
}
