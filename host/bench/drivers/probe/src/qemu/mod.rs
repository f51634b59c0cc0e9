// SPDX-License-Identifier: MIT OR Apache-2.0
//! An emulated Cortex-M board: `qemu-system-arm` as a child that dies with the bench, stopped until it is told to go.

pub mod gdb;
pub mod qtest;
mod uplink;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use self::gdb::Gdb;
use self::qtest::Qtest;
pub use self::uplink::Uplink;
use crate::virtual_probe::cortex_m::{Machine, Register};

const PROGRAM: &str = "qemu-system-arm";

/// How long QEMU may take to offer its sockets.
const START: Duration = Duration::from_secs(30);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Longest path of a socket, from `sockaddr_un`.
const SOCKET_PATH: usize = 107;

/// Size of the memory that QEMU keeps in a file, in bytes.
const PSRAM: u64 = 16 << 20;

/// Becomes QEMU, with a child that kills it when standard input ends without a word: whatever ends the bench closes it.
const SCRIPT: &str = r#"
exec 3<&0 </dev/null
{ read -r word <&3 || kill -9 $$; } >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"#;

/// What the board's network interface, a LAN9118, is plugged into.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Network {
    /// Nothing.
    #[default]
    None,
    /// A pair of datagram sockets, one Ethernet frame in each datagram.
    Datagram {
        /// QEMU's own socket, which it makes.
        local: PathBuf,
        /// The peer's.
        remote: PathBuf,
        /// Address of the interface, as `52:54:00:12:34:56`.
        mac: String,
    },
    /// QEMU's user network: address translation to the host's loopback.
    User {
        /// Further options of `-netdev user`, such as `net=10.0.3.0/24` or `hostfwd=tcp:127.0.0.1:5000-:80`.
        options: Vec<String>,
        /// Address of the interface.
        mac: String,
    },
}

/// How to start a board.
#[derive(Clone, Debug)]
pub struct Config {
    /// QEMU's name of the board.
    pub machine: String,
    /// For sockets and QEMU's messages; made when absent. One board at a time.
    pub run_dir: PathBuf,
    /// File behind the board's PSRAM, which outlives QEMU; made when absent.
    pub psram: Option<PathBuf>,
    /// Where the network interface is plugged into.
    pub network: Network,
}

impl Config {
    /// The board that the virtual rigs use, an MPS2 with a Cortex-M3, without network.
    pub fn mps2_an385(run_dir: impl Into<PathBuf>) -> Self {
        Self {
            machine: "mps2-an385".to_owned(),
            run_dir: run_dir.into(),
            psram: None,
            network: Network::None,
        }
    }

    fn arguments(&self) -> Result<Vec<String>, StartError> {
        let gdb = option_path(&self.gdb())?;
        let qtest = option_path(&self.qtest())?;
        let memory = match self.psram {
            Some(_) => ",memory-backend=psram",
            None => "",
        };
        let mut arguments: Vec<String> = [
            "-S",
            "-nodefaults",
            "-display",
            "none",
            "-accel",
            "tcg",
            "-qtest-log",
            "/dev/null",
        ]
        .map(str::to_owned)
        .into();
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        option("-machine", format!("{}{memory}", self.machine));
        option("-gdb", format!("unix:{gdb},server=on,wait=off"));
        option("-qtest", format!("unix:{qtest},server=on,wait=off"));
        if let Some(psram) = &self.psram {
            let path = option_path(psram)?;
            option(
                "-object",
                format!("memory-backend-file,id=psram,mem-path={path},share=on,size={PSRAM}"),
            );
        }
        let (netdev, mac) = match &self.network {
            Network::None => {
                option("-nic", "none".to_owned());
                return Ok(arguments);
            }
            Network::Datagram { local, remote, mac } => {
                let (local, remote) = (option_path(local)?, option_path(remote)?);
                let ends = format!(
                    "local.type=unix,local.path={local},remote.type=unix,remote.path={remote}"
                );
                (format!("dgram,id=n0,{ends}"), mac)
            }
            Network::User { options, mac } => {
                let options = options.iter().map(|option| format!(",{option}"));
                (format!("user,id=n0{}", options.collect::<String>()), mac)
            }
        };
        option("-netdev", netdev);
        option("-net", format!("nic,netdev=n0,model=lan9118,macaddr={mac}"));
        Ok(arguments)
    }

    fn gdb(&self) -> PathBuf {
        self.run_dir.join("gdb.sock")
    }

    fn qtest(&self) -> PathBuf {
        self.run_dir.join("qtest.sock")
    }

    fn log(&self) -> PathBuf {
        self.run_dir.join("qemu.log")
    }
}

/// A path inside one of QEMU's options, where commas separate.
fn option_path(path: &Path) -> Result<String, StartError> {
    let text = path.to_str().ok_or_else(|| StartError::Path(path.into()))?;
    match path.extension().is_some_and(|kind| kind == "sock") && text.len() > SOCKET_PATH {
        true => Err(StartError::Path(path.into())),
        false => Ok(text.replace(',', ",,")),
    }
}

/// Why the board does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No emulator.
    #[error(
        "{PROGRAM} is missing for an emulated board; install the package qemu-system-arm (`cargo xtask setup`)"
    )]
    Absent,
    /// QEMU cannot be given this path.
    #[error("{} is no path for QEMU: UTF-8 and, for sockets, at most {SOCKET_PATH} bytes; choose another run directory", .0.display())]
    Path(PathBuf),
    /// The machine's trouble.
    #[error("cannot prepare the emulated board: {0}")]
    Machine(#[from] io::Error),
    /// QEMU ended.
    #[error("{PROGRAM} ended at once ({status}): {said}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// What it said.
        said: String,
    },
    /// QEMU does not offer its sockets.
    #[error("{PROGRAM} does not answer within {START:?}: {0}")]
    Silent(io::Error),
}

/// Whether the emulator is installed.
pub fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file())
}

/// An emulated board. Dropping it, or the end of the bench by whatever cause, kills it.
#[derive(Debug)]
pub struct Qemu {
    child: Leashed,
    config: Config,
}

impl Qemu {
    /// Starts a board, stopped at its first instruction, and connects to what it is controlled by.
    ///
    /// # Errors
    /// When QEMU is missing or does not like the configuration.
    pub fn start(config: Config) -> Result<(Self, Controls), StartError> {
        if !is_installed() {
            return Err(StartError::Absent);
        }
        fs::create_dir_all(&config.run_dir)?;
        for socket in [config.gdb(), config.qtest()] {
            if socket.exists() {
                fs::remove_file(socket)?;
            }
        }
        if let Some(psram) = &config.psram {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(psram)?;
            // Never shorter: QEMU would lengthen it, but not when it is read-only.
            if file.metadata()?.len() < PSRAM {
                file.set_len(PSRAM)?;
            }
        }
        let log = File::create(config.log())?;
        let child = Leashed::start(config.arguments()?, log)?;
        let mut qemu = Self { child, config };
        let controls = qemu.connect()?;
        Ok((qemu, controls))
    }

    fn connect(&mut self) -> Result<Controls, StartError> {
        let deadline = Instant::now() + START;
        loop {
            let controls = Controls::connect(&self.config);
            match (controls, self.child.0.try_wait()?) {
                (_, Some(status)) => {
                    let said = self.said();
                    return Err(StartError::Ended { status, said });
                }
                (Ok(controls), None) => return Ok(controls),
                (Err(error), None) if Instant::now() > deadline => {
                    return Err(StartError::Silent(error));
                }
                (Err(_), None) => thread::sleep(POLL),
            }
        }
    }

    /// What QEMU has said so far, on one line.
    pub fn said(&self) -> String {
        let said = fs::read(self.config.log()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        said.lines().collect::<Vec<_>>().join("; ")
    }

    /// QEMU's process, to watch it.
    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Kills the board as a power cut would; its PSRAM file keeps what was written.
    pub fn kill(&mut self) {
        self.child.kill();
    }
}

/// QEMU as a child that ends with the bench.
#[derive(Debug)]
struct Leashed(Child);

impl Leashed {
    fn start(arguments: Vec<String>, log: File) -> io::Result<Self> {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "sh", PROGRAM])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the bench, whose end is QEMU's.
            .process_group(0)
            .spawn()?;
        Ok(Self(child))
    }

    fn kill(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
        if let Some(mut watch) = self.0.stdin.take() {
            // The watch must not kill who gets this number next.
            drop(watch.write_all(b"done\n"));
        }
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Connections to a board: GDB's protocol for the core, qtest for memory.
#[derive(Debug)]
pub struct Controls {
    gdb: Gdb,
    qtest: Qtest,
}

impl Controls {
    fn connect(config: &Config) -> io::Result<Self> {
        Ok(Self {
            qtest: Qtest::connect(&config.qtest())?,
            gdb: Gdb::connect(&config.gdb())?,
        })
    }
}

impl Machine for Controls {
    fn read(&mut self, address: u32, into: &mut [u8]) -> io::Result<()> {
        self.qtest.read(address, into)
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> io::Result<()> {
        self.qtest.write(address, bytes)
    }

    fn stopped(&mut self) -> io::Result<bool> {
        self.gdb.stopped()
    }

    fn stop(&mut self) -> io::Result<bool> {
        self.gdb.stop()
    }

    fn go(&mut self) -> io::Result<()> {
        self.gdb.go()
    }

    fn step(&mut self) -> io::Result<()> {
        self.gdb.step()
    }

    fn register(&mut self, register: Register) -> io::Result<u32> {
        self.gdb.register(register)
    }

    fn set_register(&mut self, register: Register, value: u32) -> io::Result<()> {
        self.gdb.set_register(register, value)
    }

    fn breakpoint(&mut self, address: u32, set: bool) -> io::Result<()> {
        self.gdb.breakpoint(address, set)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.gdb.reset()
    }
}
