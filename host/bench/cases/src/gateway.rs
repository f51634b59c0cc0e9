// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reference gateway as the rig runs it: its configuration file, its process, and the watch over both.
//!
//! Everything here goes through the gateway's public interface (`docs/gateway.md`): a file, a command
//! line, a ready line, exit codes. The process ends with its standard input, so it cannot outlive the bench.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bench_engine::{Deadline, Health, Trouble};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// `smgw.config/1` as documented; written here, read by the gateway.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GatewayConfig {
    /// Always `smgw.config/1`.
    pub schema: &'static str,
    /// 14 characters, sector E.
    pub device_id: String,
    /// Where the keys are.
    pub security_module: ModuleConfig,
    /// Where the values are kept.
    pub store: StoreConfig,
    /// The registration grid.
    pub metering: MeteringConfig,
    /// The meters.
    pub meter: Vec<MeterConfig>,
    /// Consumers and technicians.
    pub han: HanConfig,
    /// Controllable local systems.
    pub cls: ClsConfig,
}

impl GatewayConfig {
    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("strings, numbers and lists are always representable")
    }
}

/// `[security-module]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModuleConfig {
    /// PKCS#11 library.
    pub module: PathBuf,
    /// Token label.
    pub token_label: String,
    /// File holding the PIN.
    pub pin_file: PathBuf,
    /// Label of the private key.
    pub key: String,
    /// PEM certificate of that key.
    pub certificate: PathBuf,
}

/// `[store]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreConfig {
    /// SQLite file.
    pub path: PathBuf,
}

/// `[metering]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MeteringConfig {
    /// Duration with unit.
    pub registration_period: String,
}

/// `[[meter]]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MeterConfig {
    /// 14 characters.
    pub id: String,
    /// `sml` or `mbus`.
    pub protocol: String,
    /// Device path.
    pub port: PathBuf,
    /// Baud rate.
    pub baud: u32,
    /// `8N1`, `8E1`, `7E1`.
    pub format: String,
    /// OBIS codes to keep.
    pub registers: Vec<String>,
    /// M-Bus primary address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<u8>,
    /// M-Bus: how long before the grid point polling starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_lead: Option<String>,
}

/// `[han]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HanConfig {
    /// Address to bind.
    pub listen: SocketAddr,
    /// Users and their pinned certificates.
    pub user: Vec<HanUser>,
}

/// `[[han.user]]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HanUser {
    /// Name of the user.
    pub id: String,
    /// `con` or `srv`.
    pub role: &'static str,
    /// PEM leaf.
    pub certificate: PathBuf,
    /// Meters a consumer may see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meters: Vec<String>,
}

/// `[cls]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClsConfig {
    /// Address to bind.
    pub listen: SocketAddr,
    /// Duration with unit.
    pub handshake_timeout: String,
    /// Proxy profiles.
    pub profile: Vec<ProxyProfile>,
}

/// `[[cls.profile]]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProxyProfile {
    /// The CONNECT name.
    pub local_server_name: String,
    /// PEM leaf of the CLS.
    pub cls_certificate: PathBuf,
    /// Where the EMT listens.
    pub wan_peer_address: SocketAddr,
    /// SNI towards the EMT.
    pub wan_tls_sni: String,
    /// PEM leaf of the EMT.
    pub emt_certificate: PathBuf,
    /// Duration with unit.
    pub connect_timeout: String,
}

/// Where a started gateway listens.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub struct Listening {
    /// IF_GW_CON and IF_GW_SRV.
    pub han: SocketAddr,
    /// IF_GW_CLS.
    pub cls: SocketAddr,
}

/// How to run the gateway, apart from its configuration.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The `smgw` program.
    pub binary: PathBuf,
    /// The configuration file it is given.
    pub config: PathBuf,
    /// Seeded defect, if any.
    pub defect: Option<String>,
    /// Environment variables on top of the bench's own.
    pub environment: Vec<(String, PathBuf)>,
    /// File its log is appended to.
    pub log: PathBuf,
}

/// Why a gateway did not come up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program cannot be executed.
    #[error("cannot start the gateway {}: {source}", binary.display())]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the rig cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended instead of getting ready.
    #[error("the gateway ended before it was ready ({0}); it said: {1}")]
    Ended(ExitStatus, String),
    /// The run is over; nothing is started any more.
    #[error("the run is over")]
    Over,
    /// It did not get ready in time.
    #[error("the gateway was not ready within {0:?}; it said: {1}")]
    NotReady(Duration, String),
}

/// A gateway process and everything needed to end it.
struct Running {
    child: Child,
    /// Closing it asks the gateway to end.
    stdin: Option<ChildStdin>,
    /// Ends with the process; joined so that its last words are known.
    log_reader: Option<JoinHandle<()>>,
    listening: Listening,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    trouble: Option<Trouble>,
}

/// Owner of the gateway process; cheap to share, watches the process, ends it on drop.
#[derive(Default)]
pub struct Gateway {
    state: Mutex<State>,
    last_lines: Arc<Mutex<VecDeque<String>>>,
    stopped_for_good: AtomicBool,
}

impl Gateway {
    /// Starts the gateway and waits for its ready line.
    pub fn start(&self, launch: &Launch, deadline: Deadline) -> Result<Listening, StartError> {
        if self.stopped_for_good.load(Ordering::SeqCst) {
            return Err(StartError::Over);
        }
        let patience = deadline.remaining();
        let mut running = self.spawn(launch)?;
        let (sender, ready) = mpsc::channel();
        if let Some(stdout) = running.child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if let Ok(listening) = serde_json::from_str::<Listening>(&line) {
                        let _ = sender.send(listening);
                    }
                }
            });
        }
        let outcome = ready.recv_timeout(patience);
        match outcome {
            Ok(listening) => {
                running.listening = listening;
                let mut state = self.lock();
                state.running = Some(running);
                state.trouble = None;
                Ok(listening)
            }
            Err(RecvTimeoutError::Timeout) => {
                end(running, Duration::ZERO);
                Err(StartError::NotReady(patience, self.last_words()))
            }
            Err(RecvTimeoutError::Disconnected) => {
                // Its output closed, so it is ending; the status follows at once.
                let status = end(running, Duration::from_secs(2));
                Err(StartError::Ended(
                    status.unwrap_or_default(),
                    self.last_words(),
                ))
            }
        }
    }

    /// Ends the gateway in good order; the process is gone when this returns.
    pub fn stop(&self) -> Option<ExitStatus> {
        let running = self.lock().running.take();
        running.and_then(|running| end(running, Duration::from_secs(5)))
    }

    /// Ends the gateway at once, for good. Callable from any thread.
    pub fn kill(&self) {
        self.stopped_for_good.store(true, Ordering::SeqCst);
        if let Some(running) = self.lock().running.take() {
            end(running, Duration::ZERO);
        }
    }

    /// Where the running gateway listens.
    pub fn listening(&self) -> Option<Listening> {
        self.lock()
            .running
            .as_ref()
            .map(|running| running.listening)
    }

    /// The process id of the running gateway.
    pub fn pid(&self) -> Option<u32> {
        self.lock()
            .running
            .as_ref()
            .map(|running| running.child.id())
    }

    /// The last lines of its log, joined.
    fn last_words(&self) -> String {
        let kept = self
            .last_lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let lines = kept
            .iter()
            .map(|line| line.trim())
            .filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(" ")
    }

    fn spawn(&self, launch: &Launch) -> Result<Running, StartError> {
        let mut command = Command::new(&launch.binary);
        command
            .arg("--config")
            .arg(&launch.config)
            .arg("--supervised");
        if let Some(defect) = &launch.defect {
            command.arg("--defect").arg(defect);
        }
        for (name, value) in &launch.environment {
            command.env(name, value);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(&launch.log)
            .map_err(|source| StartError::Write {
                file: launch.log.clone(),
                source,
            })?;
        let mut child = command.spawn().map_err(|source| StartError::Spawn {
            binary: launch.binary.clone(),
            source,
        })?;
        let mut log_reader = None;
        if let Some(stderr) = child.stderr.take() {
            let last_lines = Arc::clone(&self.last_lines);
            log_reader = Some(thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    // A full disk must not stop the gateway by a blocked pipe.
                    let _ = writeln!(log, "{line}");
                    let mut kept = last_lines.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() == LAST_LINES {
                        kept.pop_front();
                    }
                    kept.push_back(line);
                }
            }));
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Running {
            stdin: child.stdin.take(),
            log_reader,
            child,
            listening: Listening {
                han: nowhere,
                cls: nowhere,
            },
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health for Gateway {
    fn trouble(&self) -> Option<Trouble> {
        let mut state = self.lock();
        if state.trouble.is_none()
            && let Some(running) = &mut state.running
            && let Ok(Some(status)) = running.child.try_wait()
        {
            if let Some(reader) = running.log_reader.take() {
                let _ = reader.join();
            }
            state.trouble = Some(blame(status, &self.last_words()));
            state.running = None;
        }
        state.trouble.clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A process killed from outside is the rig's trouble; one that ends by itself is the device's.
fn blame(status: ExitStatus, last_words: &str) -> Trouble {
    const KILL: i32 = 9;
    const TERMINATE: i32 = 15;
    const INTERRUPT: i32 = 2;
    match status.signal() {
        Some(signal @ (KILL | TERMINATE | INTERRUPT)) => Trouble::Rig(format!(
            "the gateway process was ended from outside by signal {signal}"
        )),
        Some(signal) => {
            Trouble::Device(format!("the gateway process crashed with signal {signal}"))
        }
        None => Trouble::Device(format!(
            "the gateway process ended by itself ({status}); it said: {last_words}"
        )),
    }
}

/// Lines of its log that are kept to explain an unexpected end.
const LAST_LINES: usize = 4;

/// Closes the standard input, waits `patience`, then kills; reaps the process in any case.
fn end(mut running: Running, patience: Duration) -> Option<ExitStatus> {
    let status = reap(&mut running, patience);
    if let Some(reader) = running.log_reader.take() {
        let _ = reader.join();
    }
    status
}

fn reap(running: &mut Running, patience: Duration) -> Option<ExitStatus> {
    drop(running.stdin.take());
    let deadline = Deadline::after(patience);
    loop {
        match running.child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if !deadline.expired() => thread::sleep(Duration::from_millis(10)),
            _ => break,
        }
    }
    let _ = running.child.kill();
    running.child.wait().ok()
}

/// Writes a file whose content may be secret: readable by its owner only.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), StartError> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |source| StartError::Write {
        file: path.to_owned(),
        source,
    };
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blames_the_rig_for_a_kill_and_the_device_for_a_crash() {
        let from_outside = blame(ExitStatus::from_raw(9), "");
        assert!(matches!(from_outside, Trouble::Rig(_)), "{from_outside:?}");
        let crash = blame(ExitStatus::from_raw(6), "");
        assert!(matches!(crash, Trouble::Device(_)), "{crash:?}");
        let exit = blame(ExitStatus::from_raw(101 << 8), "panicked");
        assert!(
            matches!(&exit, Trouble::Device(what) if what.contains("panicked")),
            "{exit:?}"
        );
    }

    #[test]
    fn a_program_that_never_gets_ready_is_ended() {
        let dir = std::env::temp_dir();
        let launch = Launch {
            binary: "/bin/cat".into(),
            config: "/dev/null".into(),
            defect: None,
            environment: Vec::new(),
            log: dir.join(format!("bench-cases-{}.log", std::process::id())),
        };
        let gateway = Gateway::default();
        let error = gateway
            .start(&launch, Deadline::after(Duration::from_secs(5)))
            .unwrap_err();
        assert!(matches!(error, StartError::Ended(..)), "{error}");
        assert_eq!(gateway.listening(), None);
        let _ = std::fs::remove_file(launch.log);
    }
}
