// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gives a detector a serial port or a pseudo terminal.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use serialport::SerialPort;
use smgw_peers::meters::{Clock, Format, LineConfig};

use super::detect::{Action, Detector, Report};
use crate::sim::{configure_serial, open_serial};

/// Why a port cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// Somebody else has it.
    #[error("{path} is in use{}", holder(.owner))]
    Busy {
        /// The port.
        path: String,
        /// Who has it: process number and name; none when this user may not see it.
        owner: Option<(u32, String)>,
    },
    /// It is not there.
    #[error("{0} is not there")]
    Missing(String),
    /// This user may not open it.
    #[error("{0} may not be opened by this user")]
    Forbidden(String),
    /// It went away.
    #[error("{0} went away")]
    Lost(String),
    /// Anything else.
    #[error("{path}: {error}")]
    Other {
        /// The port.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

fn holder(owner: &Option<(u32, String)>) -> String {
    owner.as_ref().map_or_else(String::new, |(id, name)| {
        format!(": process {id} ({name}) has it")
    })
}

impl PortError {
    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Busy { .. } => {
                "end that process, or read another port; two readers would each get half of the bytes"
            }
            Self::Missing(_) => "`smgw-bench discover` lists the ports that are there",
            Self::Forbidden(_) => {
                "join the group that owns the port, e.g. sudo usermod -aG dialout $USER, and log in again"
            }
            Self::Lost(_) => {
                "was the adapter pulled out, or the simulator ended? start again when it is back"
            }
            Self::Other { .. } => "is it a serial port at all?",
        }
    }
}

/// Reads `path` until `stop` says so, `told` has enough, the port is lost, or nothing was found.
///
/// # Errors
/// [`PortError`], which says who is at fault.
pub fn port(
    path: &Path,
    detector: &mut Detector,
    stop: &dyn Fn() -> bool,
    told: &mut dyn FnMut(&Detector, Report) -> bool,
) -> Result<(), PortError> {
    let name = path.to_string_lossy().into_owned();
    if let Some(owner) = owner_of(path) {
        return Err(PortError::Busy {
            path: name,
            owner: Some(owner),
        });
    }
    let start = LineConfig {
        baud: 9_600,
        format: Format::N81,
    };
    let mut port = open_serial(&name, start).map_err(|error| refused(path, &name, error.into()))?;
    let mut buffer = vec![0; 4_096];
    while !stop() {
        while let Some(action) = detector.poll_action(Clock::now()) {
            let done = match action {
                Action::Configure(line) => configure_serial(&mut port, line).map_err(Into::into),
                Action::Send(bytes) => port.write_all(&bytes),
            };
            done.map_err(|error| broken(&name, error))?;
        }
        while let Some(report) = detector.poll_report() {
            if !told(detector, report) {
                return Ok(());
            }
        }
        if detector.ended() {
            return Ok(());
        }
        let left = detector
            .poll_timeout()
            .map_or(TICK, |due| due.saturating_since(Clock::now()).min(TICK));
        // The shortest wait the port knows is a millisecond.
        let _ = port.set_timeout(left.max(Duration::from_millis(1)));
        match port.read(&mut buffer) {
            Ok(0) => return Err(PortError::Lost(name)),
            Ok(count) => {
                let at = Clock::now();
                buffer
                    .iter()
                    .take(count)
                    .for_each(|byte| detector.handle_input(at, *byte));
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::TimedOut | ErrorKind::Interrupted | ErrorKind::WouldBlock
                ) => {}
            Err(error) => return Err(broken(&name, error)),
        }
        detector.handle_timeout(Clock::now());
    }
    Ok(())
}

fn broken(name: &str, error: std::io::Error) -> PortError {
    const EIO: i32 = 5;
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::NotFound | ErrorKind::UnexpectedEof => {
            PortError::Lost(name.to_owned())
        }
        _ if error.raw_os_error() == Some(EIO) => PortError::Lost(name.to_owned()),
        _ => PortError::Other {
            path: name.to_owned(),
            error,
        },
    }
}

fn refused(path: &Path, name: &str, error: std::io::Error) -> PortError {
    const EBUSY: i32 = 16;
    let text = error.to_string().to_lowercase();
    let path_text = name.to_owned();
    if !path.exists() {
        PortError::Missing(path_text)
    } else if error.raw_os_error() == Some(EBUSY) || text.contains("busy") || text.contains("lock")
    {
        PortError::Busy {
            path: path_text,
            owner: owner_of(path),
        }
    } else if error.kind() == ErrorKind::PermissionDenied || text.contains("denied") {
        PortError::Forbidden(path_text)
    } else {
        PortError::Other {
            path: path_text,
            error,
        }
    }
}

/// The other process that has the port open, as far as this user may see.
fn owner_of(path: &Path) -> Option<(u32, String)> {
    let target = path.canonicalize().ok()?;
    let own = std::process::id();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| *id != own)
        .find_map(|id| {
            let open = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.flatten();
            let holds = open
                .filter_map(|file| std::fs::read_link(file.path()).ok())
                .any(|file| file == target);
            let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            holds.then(|| (id, name.trim().to_owned()))
        })
}

/// How long one wait lasts at most.
const TICK: Duration = Duration::from_millis(50);
