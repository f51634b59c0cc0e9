// SPDX-License-Identifier: MIT OR Apache-2.0
//! PKCS#11 work done in a child process (`smgw-bench hsm …`), so that no vendor library ever runs
//! inside the bench: a crash of one cannot take a run down, and no session can outlive its call.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use bench_engine::Deadline;
use bench_evidence::BundleSigner;
use hsm_api::{Curve, ModuleError, PublicKey};
use serde::{Deserialize, Serialize};

/// Where a key lives.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// PKCS#11 library.
    pub module: PathBuf,
    /// Token label.
    pub token: String,
    /// File holding the PIN.
    pub pin_file: PathBuf,
    /// Label of the key.
    pub key: String,
    /// Environment of the call, e.g. `SOFTHSM2_CONF`.
    pub environment: Vec<(String, PathBuf)>,
}

/// What `smgw-bench hsm provision` prints.
#[derive(Debug, Deserialize, Serialize)]
pub struct Provisioned {
    /// Lower-case hex of `04 || X || Y`.
    pub point: String,
    /// PEM of the self-signed certificate.
    pub certificate: String,
}

/// What `smgw-bench hsm sign` prints.
#[derive(Debug, Deserialize, Serialize)]
pub struct Signed {
    /// Lower-case hex of `r || s`.
    pub signature: String,
}

/// Runs the bench's own `hsm` verbs on one token key.
#[derive(Clone, Debug)]
pub struct ModuleTool {
    program: PathBuf,
    at: TokenKey,
}

impl ModuleTool {
    /// `program` is the `smgw-bench` binary.
    pub fn new(program: impl Into<PathBuf>, at: TokenKey) -> Self {
        Self {
            program: program.into(),
            at,
        }
    }

    /// Makes the key and a self-signed certificate for `common_name`.
    pub fn provision(&self, common_name: &str) -> Result<Provisioned, ModuleError> {
        self.call(&["provision", "--common-name", common_name])
    }

    /// Signs a SHA-256 digest.
    pub fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, ModuleError> {
        let signed: Signed = self.call(&["sign", "--digest", &hex(digest)])?;
        unhex(&signed.signature)
            .ok_or_else(|| ModuleError::module("the hsm verb printed a malformed signature"))
    }

    /// A signer for bundles, with the public key read from a certificate made by [`Self::provision`].
    pub fn signer(self, provisioned: &Provisioned) -> Result<TokenSigner, ModuleError> {
        let point = unhex(&provisioned.point)
            .ok_or_else(|| ModuleError::module("the hsm verb printed a malformed point"))?;
        let public_key = PublicKey {
            curve: Curve::BrainpoolP256r1,
            point,
        };
        Ok(TokenSigner {
            tool: self,
            public_key,
        })
    }

    fn call<T: for<'de> Deserialize<'de>>(&self, verb: &[&str]) -> Result<T, ModuleError> {
        const PATIENCE: Duration = Duration::from_secs(30);
        let (verb, options) = verb.split_first().unwrap_or((&"info", &[]));
        let mut command = Command::new(&self.program);
        command
            .args(["hsm", verb, "--module"])
            .arg(&self.at.module)
            .args(["--token", &self.at.token, "--pin-file"])
            .arg(&self.at.pin_file)
            .args(["--key", &self.at.key])
            .args(options)
            .envs(
                self.at
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            );
        let output = run(command, Deadline::after(PATIENCE))
            .map_err(|error| ModuleError::transport(format!("hsm {verb}: {error}")))?;
        serde_json::from_str(&output)
            .map_err(|error| ModuleError::module(format!("hsm {verb} printed no JSON: {error}")))
    }
}

/// Seals bundles with a key inside a token.
#[derive(Debug)]
pub struct TokenSigner {
    tool: ModuleTool,
    public_key: PublicKey,
}

impl BundleSigner for TokenSigner {
    fn public_key(&self) -> PublicKey {
        self.public_key.clone()
    }

    fn key_name(&self) -> String {
        format!("{} on token {}", self.tool.at.key, self.tool.at.token)
    }

    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, ModuleError> {
        self.tool.sign(digest)
    }
}

/// Runs a command to its end and returns what it printed; kills it when the deadline passes.
pub fn run(mut command: Command, deadline: Deadline) -> io::Result<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let collect = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut text = String::new();
            // One mebibyte is far beyond what any of these verbs prints.
            let _ = pipe.map(|pipe| pipe.take(1 << 20).read_to_string(&mut text));
            text
        })
    };
    let stdout = collect(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = collect(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if deadline.expired() {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no end within its deadline",
            ));
        }
        thread::sleep(Duration::from_millis(5));
    };
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    if status.success() {
        Ok(stdout)
    } else {
        let said = stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        Err(io::Error::other(format!(
            "{status}: {}",
            said.collect::<Vec<_>>().join(" ")
        )))
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of an even number of hex digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| {
            text.get(at..at + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        })
        .collect()
}

/// The `smgw-bench` program: this process's own, unless a test runs from elsewhere.
pub fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// A program that lies beside the bench's own.
pub fn sibling(name: &str) -> io::Result<PathBuf> {
    let own = own_program()?;
    let directory = own.parent().unwrap_or(Path::new("."));
    Ok(directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_nonsense() {
        assert_eq!(unhex(&hex(&[0, 0x7f, 0xff])), Some(vec![0, 0x7f, 0xff]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
        assert_eq!(unhex("ä0"), None);
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = run(command, Deadline::after(Duration::from_millis(50))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_command_that_fails_tells_what_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'wrong PIN' >&2; exit 3"]);
        let error = run(command, Deadline::after(Duration::from_secs(10))).unwrap_err();
        assert!(error.to_string().contains("wrong PIN"), "{error}");
    }
}
