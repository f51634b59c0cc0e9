// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way from a network of emulated boards to the host's loopback interface: a QEMU without a board, whose user
//! network is plugged in.

use std::fs::File;
use std::path::Path;

use super::{Leashed, StartError, is_installed};

/// An uplink. Dropping it, or the end of the bench by whatever cause, ends it.
#[derive(Debug)]
pub struct Uplink(#[expect(dead_code, reason = "held to be dropped")] Leashed);

impl Uplink {
    /// Plugs a user network with these options into `netdev`, the text of QEMU's option for the other end; messages go
    /// to `log`.
    ///
    /// # Errors
    /// When QEMU is missing or cannot be run.
    pub fn start(options: &[String], netdev: &str, log: &Path) -> Result<Self, StartError> {
        if !is_installed() {
            return Err(StartError::Absent);
        }
        let user = format!("user,id=host,{}", options.join(","));
        // Two backends cannot be joined but over a hub.
        let hub = |peer: &str| format!("hubport,id=hub-{peer},hubid=0,netdev={peer}");
        let mut arguments = ["-nodefaults", "-display", "none", "-machine", "none"]
            .map(str::to_owned)
            .to_vec();
        for backend in [user, netdev.to_owned(), hub("host"), hub(Self::WIRE)] {
            arguments.extend(["-netdev".to_owned(), backend]);
        }
        Ok(Self(Leashed::start(arguments, File::create(log)?)?))
    }

    /// How `netdev` of [`Self::start`] must call itself.
    pub const WIRE: &str = "wire";
}
