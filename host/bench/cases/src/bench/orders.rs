// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's place: orders over the gateway's local socket, and exports of its log books
//! (`docs/profiles.md`, `docs/logs.md`; assumptions `administration-local`, `log-export`).

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bench_engine::{Ctx, Stop, StopExt};
use serde_json::Value;

use super::Bench;

/// What the gateway answered to an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answered {
    /// HTTP status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answered {
    /// Number of the set of profiles that was taken.
    pub fn number(&self) -> Option<u64> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        body.get("number")?.as_u64()
    }
}

impl std::fmt::Display for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<_> = self.body.split_whitespace().collect();
        write!(f, "HTTP {}: {}", self.status, words.join(" "))
    }
}

/// A log book as it was exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// DER of the certificate that lay beside it.
    pub certificate: Vec<u8>,
    /// Each part and the signature that lay beside it.
    pub parts: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Bench {
    /// Gives the gateway an order; no answer at all is the device's fault.
    pub fn order(
        &self,
        ctx: &mut Ctx,
        method: &str,
        path: &str,
        document: &str,
    ) -> Result<Answered, Stop> {
        let Some(local) = &self.gateway.config.local else {
            return Err(Stop::Bench("the gateway has no local socket".into()));
        };
        let socket = self.runtime.path().join(&local.socket);
        let patience = self.step_deadline(ctx).left();
        match ask(&socket, method, path, document, patience) {
            Ok(answered) => Ok(answered),
            Err(error) => {
                self.trouble_or_fail(ctx, format!("{method} {path} on the socket: {error}"))?;
                Err(Stop::Done)
            }
        }
    }

    /// Hands over a set of profiles that must be taken; tells its number.
    pub fn submit(&self, ctx: &mut Ctx, document: &str) -> Result<u64, Stop> {
        let answered = self.order(ctx, "POST", "/profiles", document)?;
        match answered.number() {
            Some(number) if answered.status == 201 => Ok(number),
            _ => {
                ctx.fail(format!("a good set of profiles is not taken: {answered}"));
                Err(Stop::Done)
            }
        }
    }

    /// Exports a log book with the gateway's own program; bounds as the program takes them.
    pub fn export_log(
        &self,
        ctx: &mut Ctx,
        book: &str,
        range: Option<(&str, &str)>,
    ) -> Result<Exported, Stop> {
        ctx.check()?;
        let folder = self.runtime.path().join(format!("export-{}", ctx.case()));
        fs::create_dir_all(&folder).or_rig("making a folder for the export")?;
        let launch = &self.gateway.launch;
        let mut command = Command::new(&launch.binary);
        command.args(["log", "export", "--book", book, "--config"]);
        command.arg(&launch.config).arg("--out").arg(&folder);
        if let Some((from, to)) = range {
            command.args(["--from", from, "--to", to]);
        }
        if let Some(defect) = &launch.defect {
            command.args(["--defect", defect]);
        }
        command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().or_rig("starting the export")?;
        let patience = ctx.phase(self.start_budget());
        let ended = ctx.wait_for(patience, |_| {
            child.try_wait().or_rig("waiting for the export")
        });
        if !matches!(ended, Ok(Some(_))) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let output = child.wait_with_output().or_rig("reading the export")?;
        if !ended?.is_some_and(|status| status.success()) {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let what = format!("the {book} log is not exported: {}", said.trim());
            self.trouble_or_fail(ctx, what)?;
            return Err(Stop::Done);
        }
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let read = |path: &Path| fs::read(path).or_rig("reading the export");
        let certificate = read(&folder.join(format!("{book}.der")))?;
        let parts = printed.lines().map(|line| {
            let path = Path::new(line);
            Ok((read(path)?, read(&path.with_extension("sig"))?))
        });
        let parts = parts.collect::<Result<_, Stop>>()?;
        fs::remove_dir_all(&folder).or_rig("removing the export")?;
        Ok(Exported { certificate, parts })
    }
}

/// One request on a connection of its own.
fn ask(
    socket: &Path,
    method: &str,
    path: &str,
    document: &str,
    patience: Duration,
) -> io::Result<Answered> {
    let mut connection = UnixStream::connect(socket)?;
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))?;
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nHost: smgw\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{document}",
        document.len()
    )?;
    let mut bytes = Vec::new();
    connection.take(LONGEST_ANSWER).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(odd)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answered {
        status: status.ok_or_else(odd)?,
        body: body.to_owned(),
    })
}

const LONGEST_ANSWER: u64 = 1 << 20;
