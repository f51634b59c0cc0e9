// SPDX-License-Identifier: MIT OR Apache-2.0
//! The security module served to a gateway that cannot reach it: `smgw-bench hsm serve` in a process of its own, so that
//! no vendor library ever runs inside the bench.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hsm_link::Secret;
use serde::{Deserialize, Serialize};

use crate::gateway::{StartError, TokenConfig, write_private};
use crate::module_tool::own_program;

/// What `smgw-bench hsm serve` prints when it serves.
#[derive(Debug, Deserialize, Serialize)]
pub struct Serving {
    /// Where.
    pub address: SocketAddr,
}

/// A module being served; ends when dropped.
#[derive(Debug)]
pub(crate) struct ModuleLink {
    child: Child,
    /// `None` when there was no module to serve: that is what the gateway has to find out by itself.
    address: Option<SocketAddr>,
    /// File of the secret.
    pub(crate) secret: PathBuf,
}

impl ModuleLink {
    /// Serves a token under this environment. The secret is made anew and put into `folder`; why a module does not open
    /// goes into `log`, where it explains what the gateway says about it.
    pub(crate) fn start(
        token: &TokenConfig,
        environment: &[(String, PathBuf)],
        folder: &Path,
        log: &Path,
    ) -> Result<Self, StartError> {
        let secret = folder.join("link.secret");
        let fresh = Secret::generate().map_err(|error| StartError::Host(error.to_string()))?;
        write_private(&secret, fresh.to_hex().as_bytes())?;
        let program = own_program().map_err(|error| StartError::Host(error.to_string()))?;
        let mut command = Command::new(&program);
        command
            .args(["hsm", "serve", "--module"])
            .arg(&token.module);
        command.args(["--token", &token.token_label, "--pin-file"]);
        command
            .arg(&token.pin_file)
            .arg("--secret-file")
            .arg(&secret);
        for (name, value) in environment {
            command.env(name, value);
        }
        let log = File::options().create(true).append(true).open(log);
        let errors = log.map_or_else(|_| Stdio::null(), Stdio::from);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut child = command.spawn().map_err(|source| StartError::Spawn {
            binary: program,
            source,
        })?;
        let (sender, told) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                let line = BufReader::new(output).lines().next();
                let serving = line.and_then(|line| serde_json::from_str(&line.ok()?).ok());
                let _ = sender.send(serving.map(|serving: Serving| serving.address));
            });
        }
        let address = told.recv_timeout(PATIENCE).ok().flatten();
        Ok(Self {
            child,
            address,
            secret,
        })
    }

    /// Where it is served; where nothing is when there is no module.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap_or((Ipv4Addr::LOCALHOST, NOBODY).into())
    }
}

impl Drop for ModuleLink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long a module may take to open.
const PATIENCE: Duration = Duration::from_secs(30);
/// The port of TCP's own service multiplexer (RFC 1078), on which nothing listens.
const NOBODY: u16 = 1;
