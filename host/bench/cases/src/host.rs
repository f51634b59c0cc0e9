// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a gateway runs: beside the bench, on an emulated board, or on a board reached by ssh.
//!
//! A gateway is one process wherever it runs, and its configuration is written as the bench sees the world. A [`Host`]
//! says how its own world differs, and which process stands for the gateway.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bench_machine::{
    Board, Guest, Images, MachineError, Plugs, Remote, TimeServer, Tunnel, free_port,
};

use crate::gateway::{GatewayConfig, Launch, Listening};

/// The process that stands for a gateway.
#[derive(Debug)]
pub struct Process {
    /// Its command; output, errors and input are the gateway's.
    pub command: Command,
    /// What its input is sent before it ends.
    pub farewell: &'static [u8],
}

/// Where a gateway runs.
pub trait Host: Send + Sync + fmt::Debug {
    /// Whether the bench's tokens can be reached from there; otherwise the module is, over a link.
    fn has_tokens(&self) -> bool;

    /// The configuration as the gateway has to see it.
    ///
    /// # Errors
    /// When the host has no way for something.
    fn placed(&self, config: &GatewayConfig) -> Result<GatewayConfig, MachineError>;

    /// What is to be started; `config` is the bench's view, [`Launch::config`] the file of the gateway's.
    ///
    /// # Errors
    /// When something is missing or the machine does not answer.
    fn process(&self, config: &GatewayConfig, launch: &Launch) -> Result<Process, MachineError>;

    /// Where the bench reaches what the gateway says it listens on.
    fn reached(&self, listening: Listening) -> Listening;

    /// Whether a start that ended with these words failed by the host's bad luck, and another may succeed.
    fn may_succeed_later(&self, _said: &str) -> bool {
        false
    }

    /// Whether the gateway runs in a machine that shares the bench's processor and may stand still with it.
    fn emulated(&self) -> bool {
        false
    }
}

/// Beside the bench.
#[derive(Debug, Default)]
pub struct Local {
    /// Later starts take the same ports, so that a case knows where to look for a listener that must not be there.
    listened: Mutex<Option<Listening>>,
}

impl Host for Local {
    fn has_tokens(&self) -> bool {
        true
    }

    fn placed(&self, config: &GatewayConfig) -> Result<GatewayConfig, MachineError> {
        let mut placed = config.clone();
        if let Some(listened) = *lock(&self.listened) {
            placed.listen_on(listened);
        }
        Ok(placed)
    }

    fn process(&self, _: &GatewayConfig, launch: &Launch) -> Result<Process, MachineError> {
        let mut command = Command::new(&launch.binary);
        command.arg("--config").arg(&launch.config);
        command.args(arguments(launch)).envs(environment(launch));
        Ok(Process {
            command,
            farewell: &[],
        })
    }

    fn reached(&self, listening: Listening) -> Listening {
        *lock(&self.listened) = Some(listening);
        listening
    }
}

fn arguments(launch: &Launch) -> Vec<&str> {
    let mut arguments = vec!["--supervised"];
    if let Some(defect) = &launch.defect {
        arguments.extend(["--defect", defect]);
    }
    arguments
}

fn environment(launch: &Launch) -> impl Iterator<Item = (&str, &Path)> {
    let pairs = launch.environment.iter();
    pairs.map(|(name, value)| (name.as_str(), value.as_path()))
}

/// On an emulated arm64 board.
#[derive(Debug)]
pub struct Emulated {
    images: Images,
    time: TimeServer,
    scratch: PathBuf,
    ports: Mutex<[u16; 2]>,
    /// Ports of the switch that other boards in the CLS network are on.
    plugs: Option<Plugs>,
}

impl Emulated {
    /// A board that boots `images`, asks `time` for the time and keeps what it boots in `scratch`.
    ///
    /// # Errors
    /// When the system has no free port.
    pub fn new(images: Images, time: TimeServer, scratch: PathBuf) -> Result<Self, MachineError> {
        Ok(Self {
            images,
            time,
            scratch,
            ports: Mutex::new([free_port()?, free_port()?]),
            plugs: None,
        })
    }

    /// The same board with other boards beside it in the CLS network.
    #[must_use]
    pub fn plugged(mut self, plugs: Plugs) -> Self {
        self.plugs = Some(plugs);
        self
    }
}

impl Host for Emulated {
    fn has_tokens(&self) -> bool {
        false
    }

    fn placed(&self, config: &GatewayConfig) -> Result<GatewayConfig, MachineError> {
        let mut placed = config.clone();
        placed.listen_on(Listening {
            han: Guest::HAN.listen(),
            cls: Guest::CLS.listen(),
            time: None,
        });
        for address in placed.partners() {
            *address = Guest::WAN.reach(*address);
        }
        for (number, meter) in placed.meter.iter_mut().enumerate() {
            meter.port = Board::line(number);
        }
        Ok(placed)
    }

    fn process(&self, config: &GatewayConfig, launch: &Launch) -> Result<Process, MachineError> {
        let board = Board {
            images: self.images.clone(),
            lines: config
                .meter
                .iter()
                .map(|meter| meter.port.clone())
                .collect(),
            ports: *lock(&self.ports),
            plugs: self.plugs.clone(),
            time: self.time.address(),
            defect: launch.defect.clone(),
        };
        let files: Vec<_> = launch.all_files().collect();
        Ok(Process {
            command: board.command(&files, &self.scratch)?,
            farewell: Board::FAREWELL,
        })
    }

    fn reached(&self, _: Listening) -> Listening {
        let [han, cls] = lock(&self.ports).map(loopback);
        Listening {
            han,
            cls,
            time: None,
        }
    }

    fn may_succeed_later(&self, said: &str) -> bool {
        let lost = Board::lost_its_ports(said);
        if let (true, Ok(han), Ok(cls)) = (lost, free_port(), free_port()) {
            *lock(&self.ports) = [han, cls];
        }
        lost
    }

    fn emulated(&self) -> bool {
        true
    }
}

/// On a board reached by ssh.
#[derive(Debug)]
pub struct Ssh {
    remote: Remote,
    folder: Mutex<Option<String>>,
    /// Ports of HAN and CLS: the board's and the bench's.
    listen: [(u16, u16); 2],
    /// Ports of the board that lead to addresses of the bench.
    back: Mutex<BTreeMap<SocketAddr, u16>>,
}

impl Ssh {
    /// The board behind `remote`.
    ///
    /// # Errors
    /// When the system has no free port.
    pub fn new(remote: Remote) -> Result<Self, MachineError> {
        let pair = || Ok::<_, MachineError>((free_port()?, free_port()?));
        Ok(Self {
            remote,
            folder: Mutex::default(),
            listen: [pair()?, pair()?],
            back: Mutex::default(),
        })
    }

    fn folder(&self) -> Result<String, MachineError> {
        let mut folder = lock(&self.folder);
        if folder.is_none() {
            *folder = Some(self.remote.make_folder()?);
        }
        Ok(folder.clone().unwrap_or_default())
    }
}

impl Host for Ssh {
    fn has_tokens(&self) -> bool {
        false
    }

    fn placed(&self, config: &GatewayConfig) -> Result<GatewayConfig, MachineError> {
        let mut placed = config.clone();
        let [han, cls] = self.listen.map(|(board, _)| loopback(board));
        placed.listen_on(Listening {
            han,
            cls,
            time: None,
        });
        let mut back = lock(&self.back);
        for address in placed.partners() {
            // A port free here is most likely free there too; ssh refuses to start when it is not.
            let port = match back.get(address) {
                Some(port) => *port,
                None => *back.entry(*address).or_insert(free_port()?),
            };
            *address = loopback(port);
        }
        Ok(placed)
    }

    fn process(&self, _: &GatewayConfig, launch: &Launch) -> Result<Process, MachineError> {
        let folder = self.folder()?;
        let mut files = vec![launch.binary.clone()];
        files.extend(launch.all_files());
        self.remote.copy(&files, &folder)?;
        let mut tunnels: Vec<_> = self
            .listen
            .map(|(board, bench)| Tunnel::ToBoard { bench, board })
            .into();
        let back = lock(&self.back);
        tunnels.extend(back.iter().map(|(bench, board)| Tunnel::ToBench {
            board: *board,
            bench: *bench,
        }));
        let config = file_name(&launch.config);
        let mut words = vec!["--config", &config];
        words.extend(arguments(launch));
        let program = file_name(&launch.binary);
        Ok(Process {
            command: self.remote.command(&folder, &program, &words, &tunnels),
            farewell: &[],
        })
    }

    fn reached(&self, _: Listening) -> Listening {
        let [han, cls] = self.listen.map(|(_, bench)| loopback(bench));
        Listening {
            han,
            cls,
            time: None,
        }
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        if let Some(folder) = lock(&self.folder).take() {
            // What is left on a board that does not answer any more stays there.
            let _ = self.remote.remove(&folder);
        }
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
