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
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bench_engine::{Deadline, Health, Trouble};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bench::ClockConfig;
use crate::host::Process;

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
    /// The set of profiles it is delivered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiles: Option<StoreConfig>,
    /// The registration grid.
    pub metering: MeteringConfig,
    /// The meters.
    pub meter: Vec<MeterConfig>,
    /// Consumers and technicians.
    pub han: HanConfig,
    /// Controllable local systems.
    pub cls: ClsConfig,
    /// Where the administrator's orders come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalConfig>,
    /// Where the time comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeConfig>,
    /// What moves the time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockConfig>,
}

/// `[local]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LocalConfig {
    /// The Unix socket, beside the configuration.
    pub socket: PathBuf,
}

/// `[time]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TimeConfig {
    /// Where the time server listens.
    pub server: SocketAddr,
    /// SNI towards it.
    pub tls_name: String,
    /// PEM leaf of the time server.
    pub certificate: PathBuf,
    /// Duration with unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_interval: Option<String>,
    /// Assumed error of the oscillator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_ppm: Option<u32>,
    /// Where controllable systems ask for the time.
    pub serve: SocketAddr,
    /// Lets the poll interval be shorter than allowed.
    pub rehearsal: bool,
}

impl GatewayConfig {
    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("strings, numbers and lists are always representable")
    }

    /// Has it listen on these addresses.
    pub(crate) fn listen_on(&mut self, Listening { han, cls, .. }: Listening) {
        self.han.listen = han;
        self.cls.listen = cls;
    }

    /// Addresses of the bench that the gateway connects to.
    pub(crate) fn partners(&mut self) -> impl Iterator<Item = &mut SocketAddr> {
        let link = match &mut self.security_module.place {
            ModulePlace::Link(link) => Some(&mut link.address),
            ModulePlace::Token(_) => None,
        };
        let profiles = self.cls.profile.iter_mut();
        link.into_iter()
            .chain(profiles.map(|profile| &mut profile.wan_peer_address))
    }
}

/// `[security-module]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModuleConfig {
    /// Which module.
    #[serde(flatten)]
    pub place: ModulePlace,
    /// Label of the private key.
    pub key: String,
    /// PEM certificate of that key.
    pub certificate: PathBuf,
}

/// Which module.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum ModulePlace {
    /// A token.
    Token(TokenConfig),
    /// The other end of a link.
    Link(LinkConfig),
}

/// A token behind a PKCS#11 library.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TokenConfig {
    /// PKCS#11 library.
    pub module: PathBuf,
    /// Token label.
    pub token_label: String,
    /// File holding the PIN.
    pub pin_file: PathBuf,
}

/// A module over a link.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkConfig {
    /// Always `link`.
    pub kind: &'static str,
    /// Where it is served.
    pub address: SocketAddr,
    /// File of the shared secret.
    pub secret_file: PathBuf,
}

/// `[store]` and `[profiles]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreConfig {
    /// The file.
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
    /// The time service, of a gateway that has one.
    #[serde(default)]
    pub time: Option<SocketAddr>,
}

/// How to run the gateway, apart from its configuration.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The `smgw` program.
    pub binary: PathBuf,
    /// The configuration file it is given.
    pub config: PathBuf,
    /// Files it names, which lie beside it.
    pub files: Vec<PathBuf>,
    /// Seeded defect, if any.
    pub defect: Option<String>,
    /// Environment variables on top of the bench's own.
    pub environment: Vec<(String, PathBuf)>,
    /// File its log is appended to.
    pub log: PathBuf,
}

impl Launch {
    /// The configuration and then the files it names.
    pub fn all_files(&self) -> impl Iterator<Item = PathBuf> {
        let folder = self.config.parent().unwrap_or(Path::new("")).to_owned();
        let named = self.files.clone().into_iter();
        let named = named.map(move |file| folder.join(file));
        std::iter::once(self.config.clone()).chain(named)
    }
}

/// When a start of the gateway reached what, counted from the start of its process (an emulated board's kernel starts
/// right then).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Milestones {
    /// It listened.
    pub ready: Option<Duration>,
    /// It stored the first value of a meter.
    pub first_value: Option<Duration>,
    /// How long question and answer about the time travelled; its clock is not off by more than half of it.
    pub clock_delay: Option<Duration>,
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
    /// The machine it is to run on cannot be used.
    #[error("{0}")]
    Host(String),
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
    /// What it is sent before.
    farewell: &'static [u8],
    /// End with the process; joined so that its last words are known.
    readers: Vec<JoinHandle<()>>,
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
    heard: Arc<Mutex<Heard>>,
    stopped_for_good: AtomicBool,
}

/// What the present or last process said.
#[derive(Default)]
struct Heard {
    last_lines: VecDeque<String>,
    /// Exit code of a gateway whose process is a machine's.
    ended: Option<i32>,
    milestones: Milestones,
    /// Those of the first start that got ready: later ones are a case's, and often too short for a value.
    first: Option<Milestones>,
}

impl Heard {
    /// Forgets the process before, but for the first start.
    fn anew(&self) -> Self {
        let ready = Some(self.milestones).filter(|milestones| milestones.ready.is_some());
        Self {
            first: self.first.or(ready),
            ..Self::default()
        }
    }

    fn line(&mut self, line: &str, since: Duration) {
        if let Ok(End { code, .. }) = serde_json::from_str(line) {
            self.ended = Some(code);
        }
        let milestones = &mut self.milestones;
        if line.contains("\"value kept\"") {
            milestones.first_value.get_or_insert(since);
        }
        if line.contains("\"clock set\"") {
            milestones.clock_delay = clock_delay(line);
        }
        if self.last_lines.len() == LAST_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line.to_owned());
    }
}

/// A board's last line.
#[derive(Deserialize)]
struct End {
    #[serde(rename = "event")]
    _event: Ended,
    code: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ended {
    Ended,
}

fn clock_delay(line: &str) -> Option<Duration> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let delay = line.get("fields")?.get("delay_us")?;
    let micros = delay.as_u64().or_else(|| delay.as_str()?.parse().ok())?;
    Some(Duration::from_micros(micros))
}

impl Gateway {
    /// Starts the gateway as `process` and waits for its ready line.
    pub fn start(
        &self,
        process: Process,
        log: &Path,
        deadline: Deadline,
    ) -> Result<Listening, StartError> {
        if self.stopped_for_good.load(Ordering::SeqCst) {
            return Err(StartError::Over);
        }
        let patience = deadline.remaining();
        let (mut running, ready) = self.spawn(process, log)?;
        match ready.recv_timeout(patience) {
            Ok(listening) => {
                running.listening = listening;
                let mut state = self.lock();
                state.running = Some(running);
                state.trouble = None;
                Ok(listening)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.end(running, Duration::ZERO);
                Err(StartError::NotReady(patience, self.last_words()))
            }
            Err(RecvTimeoutError::Disconnected) => {
                // Its output closed, so it is ending; the status follows at once.
                let status = self.end(running, Duration::from_secs(2));
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
        running.and_then(|running| self.end(running, GOOD_ORDER))
    }

    /// Ends the gateway by SIGKILL; it may be started again.
    pub fn crash(&self) {
        let running = self.lock().running.take();
        if let Some(mut running) = running {
            // Before its input ends, by which it would stop in good order.
            let _ = running.child.kill();
            self.end(running, Duration::ZERO);
        }
    }

    /// Ends the gateway at once, for good. Callable from any thread.
    pub fn kill(&self) {
        self.stopped_for_good.store(true, Ordering::SeqCst);
        if let Some(running) = self.lock().running.take() {
            self.end(running, Duration::ZERO);
        }
    }

    /// When the present or last start reached what.
    pub fn milestones(&self) -> Milestones {
        self.heard().milestones
    }

    /// The running gateway is reached elsewhere than it says.
    pub fn reach(&self, listening: Listening) {
        if let Some(running) = &mut self.lock().running {
            running.listening = listening;
        }
    }

    /// When the first start reached what.
    pub fn first_milestones(&self) -> Milestones {
        let heard = self.heard();
        heard.first.unwrap_or(heard.milestones)
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
        let heard = self.heard();
        let lines = heard.last_lines.iter().map(|line| line.trim());
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        lines.join(" ")
    }

    /// Starts the process; its ready line comes through the channel, and everything else it says goes into its log.
    fn spawn(
        &self,
        Process {
            mut command,
            farewell,
        }: Process,
        log: &Path,
    ) -> Result<(Running, Receiver<Listening>), StartError> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|source| StartError::Write {
                file: log.to_owned(),
                source,
            })?;
        let mut heard = self.heard();
        *heard = heard.anew();
        drop(heard);
        let began = Instant::now();
        let ear = Ear {
            log: Arc::new(log),
            heard: Arc::clone(&self.heard),
            began,
        };
        let binary = PathBuf::from(command.get_program());
        let (give_child, child) = mpsc::channel();
        let (sender, ready) = mpsc::channel();
        let listener = ear.clone();
        // The thread that starts the process also reads it to its end: a machine may be bound to the life of that thread.
        let output = thread::spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(give_child.send(Err(error))),
            };
            let output = child.stdout.take();
            let _ = give_child.send(Ok(child));
            for line in output.into_iter().flat_map(lines) {
                match serde_json::from_str::<Listening>(&line) {
                    Ok(listening) => {
                        listener.heard().milestones.ready = Some(began.elapsed());
                        let _ = sender.send(listening);
                    }
                    Err(_) => listener.line(&line),
                }
            }
        });
        let gone = |_| Err(io::ErrorKind::Other.into());
        let mut child = child
            .recv()
            .unwrap_or_else(gone)
            .map_err(|source| StartError::Spawn { binary, source })?;
        let mut readers = vec![output];
        if let Some(errors) = child.stderr.take() {
            readers.push(thread::spawn(move || {
                lines(errors).for_each(|line| ear.line(&line));
            }));
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = Running {
            stdin: child.stdin.take(),
            farewell,
            readers,
            child,
            listening: Listening {
                han: nowhere,
                cls: nowhere,
                time: None,
            },
        };
        Ok((running, ready))
    }

    /// Closes the standard input, waits `patience`, then kills; reaps the process in any case.
    fn end(&self, mut running: Running, patience: Duration) -> Option<ExitStatus> {
        let status = reap(&mut running, patience);
        join(&mut running);
        self.told().or(status)
    }

    /// What a gateway told of its end whose process is a machine's.
    fn told(&self) -> Option<ExitStatus> {
        let code = self.heard().ended;
        code.map(|code| ExitStatus::from_raw(code << 8))
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
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
            join(running);
            let status = self.told().unwrap_or(status);
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

/// How long an end in good order may take; an emulated machine is slow.
const GOOD_ORDER: Duration = Duration::from_secs(15);

/// Where what a process says goes.
#[derive(Clone)]
struct Ear {
    log: Arc<File>,
    heard: Arc<Mutex<Heard>>,
    began: Instant,
}

impl Ear {
    fn line(&self, line: &str) {
        // A full disk must not stop the gateway by a blocked pipe.
        let _ = writeln!(&*self.log, "{line}");
        self.heard().line(line, self.began.elapsed());
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines of whatever bytes; a console ends them with a carriage return too.
fn lines(from: impl io::Read) -> impl Iterator<Item = String> {
    let lines = BufReader::new(from).split(b'\n').map_while(Result::ok);
    lines.map(|line| String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn join(running: &mut Running) {
    for reader in running.readers.drain(..) {
        let _ = reader.join();
    }
}

fn reap(running: &mut Running, patience: Duration) -> Option<ExitStatus> {
    if let Some(mut stdin) = running.stdin.take() {
        // Nobody may be reading any more.
        let _ = stdin.write_all(running.farewell);
    }
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
        let log = dir.join(format!("bench-cases-{}.log", std::process::id()));
        let mut command = std::process::Command::new("/bin/cat");
        command.args(["--config", "/dev/null"]);
        let process = Process {
            command,
            farewell: &[],
        };
        let gateway = Gateway::default();
        let error = gateway
            .start(process, &log, Deadline::after(Duration::from_secs(5)))
            .unwrap_err();
        assert!(matches!(error, StartError::Ended(..)), "{error}");
        assert_eq!(gateway.listening(), None);
        let _ = std::fs::remove_file(log);
    }

    #[test]
    fn what_a_board_says_is_understood() {
        let mut heard = Heard::default();
        let at = Duration::from_secs;
        heard.line("[    0.1] Kernel panic", at(1));
        heard.line(
            r#"{"level":"INFO","fields":{"message":"clock set","offset_us":"-12","delay_us":"830"}}"#,
            at(2),
        );
        heard.line(r#"{"fields":{"message":"value kept"}}"#, at(9));
        heard.line(r#"{"fields":{"message":"value kept"}}"#, at(24));
        assert_eq!(heard.ended, None);
        heard.line(r#"{"event":"ended","code":108}"#, at(30));
        assert_eq!(heard.ended, Some(108));
        let milestones = heard.milestones;
        assert_eq!(milestones.first_value, Some(at(9)));
        assert_eq!(milestones.clock_delay, Some(Duration::from_micros(830)));
        assert_eq!(heard.last_lines.len(), LAST_LINES);
        // A start that never got ready is none that is reported.
        assert_eq!(heard.anew().first, None);
        heard.milestones.ready = Some(at(3));
        let later = heard.anew();
        assert_eq!(later.milestones, Milestones::default());
        assert_eq!(later.anew().first, Some(heard.milestones));
    }
}
