// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes SoftHSM2 tokens: the default module of a rig without hardware.
//!
//! SoftHSM2 reads `SOFTHSM2_CONF` from the environment at `C_Initialize`. A process cannot safely change its own
//! environment once it has threads, so whoever opens the token must be *started* with the variable set to
//! [`SoftHsmToken::conf`].

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hsm_api::ModuleError;
use zeroize::Zeroizing;

use crate::Pin;

/// The environment variable that names SoftHSM2's configuration file.
pub const CONF_VARIABLE: &str = "SOFTHSM2_CONF";

/// A software token in a directory of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SoftHsmToken {
    conf: PathBuf,
    label: String,
}

impl SoftHsmToken {
    /// Initialises a token in `dir`. Directory, configuration and token are readable for the user only; further
    /// tokens may be made in the same directory.
    ///
    /// The PIN passes through the arguments of `softhsm2-util`, where other processes of this machine can see it
    /// for a moment: use it for test keys only. The security officer's PIN is random and forgotten.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Transport`] when SoftHSM2 is not installed or the directory cannot be written,
    /// [`hsm_api::Fault::Module`] when SoftHSM2 refuses, for instance a PIN shorter than 4 characters.
    pub fn create(dir: &Path, label: &str, pin: &Pin) -> Result<Self, ModuleError> {
        let conf = write_conf(dir).map_err(|error| {
            ModuleError::transport(format!("SoftHSM2 token in {}: {error}", dir.display()))
        })?;
        let so_pin = random_pin()
            .map_err(|error| ModuleError::transport(format!("no randomness: {error}")))?;
        let output = Command::new(UTILITY)
            .args([
                "--init-token",
                "--free",
                "--label",
                label,
                "--pin",
                pin.expose(),
                "--so-pin",
                &so_pin,
            ])
            .env(CONF_VARIABLE, &conf)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| ModuleError::transport(format!("{UTILITY}: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(ModuleError::module(format!(
                "{UTILITY} failed: {}",
                said.trim()
            )));
        }
        Ok(Self {
            conf,
            label: label.to_owned(),
        })
    }

    /// The configuration file; to be named by [`CONF_VARIABLE`] in the environment of the token's user.
    pub fn conf(&self) -> &Path {
        &self.conf
    }

    /// The token's label.
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// The SoftHSM2 library, when both it and its utility are installed.
pub fn installed() -> Option<PathBuf> {
    let utility = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(UTILITY).is_file()));
    LIBRARIES
        .iter()
        .map(PathBuf::from)
        .find(|library| utility && library.is_file())
}

const UTILITY: &str = "softhsm2-util";

const LIBRARIES: &[&str] = &[
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];

fn write_conf(dir: &Path) -> std::io::Result<PathBuf> {
    let tokens = dir.join("tokens");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&tokens)?;
    // The path goes into the file, so that it must hold from wherever the token's user is started.
    let dir = dir.canonicalize()?;
    let conf = dir.join("softhsm2.conf");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&conf)?;
    writeln!(
        file,
        "directories.tokendir = {}",
        dir.join("tokens").display()
    )?;
    writeln!(file, "objectstore.backend = file")?;
    writeln!(file, "log.level = ERROR")?;
    writeln!(file, "slots.removable = false")?;
    Ok(conf)
}

fn random_pin() -> std::io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 12]);
    File::open("/dev/urandom")?.read_exact(&mut *bytes)?;
    Ok(Zeroizing::new(
        bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}

/// Runs `body` in a child process that has fresh tokens with these labels and `pin`.
///
/// For a test: `test` is the test's full name, `body` its content. In the first process this makes the tokens and
/// starts the same test again with [`CONF_VARIABLE`] set; in that child it runs `body`, which gets the library's path.
/// Without SoftHSM2 it prints `SKIPPED: softhsm2 is not installed` and returns.
///
/// # Panics
/// When the child fails, or `test` does not name exactly one test.
#[cfg(feature = "testing")]
pub fn in_child(test: &str, labels: &[&str], pin: &str, body: impl FnOnce(PathBuf)) {
    in_child_with(test, labels, pin, |_, _| Vec::new(), body);
}

/// As [`in_child`], with more in the child's environment: `environment` gets a folder of the test's own and the
/// library's path. Libraries that stand before SoftHSM2 read theirs.
///
/// # Panics
/// As [`in_child`].
#[cfg(feature = "testing")]
pub fn in_child_with(
    test: &str,
    labels: &[&str],
    pin: &str,
    environment: impl FnOnce(&Path, &Path) -> Vec<(&'static str, PathBuf)>,
    body: impl FnOnce(PathBuf),
) {
    const MARK: &str = "SMGW_BENCH_SOFTHSM_CHILD";
    let Some(library) = installed() else {
        println!("SKIPPED: softhsm2 is not installed");
        return;
    };
    if std::env::var(MARK).is_ok_and(|name| name == test) {
        return body(library);
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let tokens: Vec<SoftHsmToken> = labels
        .iter()
        .map(|label| SoftHsmToken::create(dir.path(), label, &Pin::new(pin)).expect("a token"))
        .collect();
    let conf = tokens.first().expect("at least one label").conf();
    let output = Command::new(std::env::current_exe().expect("the test's own path"))
        .args(["--exact", test, "--nocapture"])
        .env(CONF_VARIABLE, conf)
        .env(MARK, test)
        .envs(environment(dir.path(), &library))
        .output()
        .expect("the test as a child");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    // Marked, so that nobody takes the child's summary for one of the whole run; what it skips counts all the same.
    for line in out.lines().chain(err.lines()) {
        let mark = if line.starts_with("SKIPPED:") {
            ""
        } else {
            "child: "
        };
        println!("{mark}{line}");
    }
    assert!(
        output.status.success(),
        "{test} failed in its child process: {}",
        output.status
    );
    assert!(
        out.contains("1 passed"),
        "{test} does not name exactly one test"
    );
}
