// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boards that play controllable systems: emulated or behind a debug probe, flashed, given their keys and settings,
//! started, and watched without being halted.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bench_probe::qemu::{Config, Network, Qemu};
use bench_probe::virtual_probe::VirtualProbe;
use bench_probe::{
    Board, BuildId, Chip, Flashing, Image, LogLine, PARTS, Part, Partition, Selector, StateDir,
};
use bench_rig::role::{BoardNetwork, CidrV4, Cls, ClsActor};
use bench_rig::{Resource, Rig};
use bench_wire::Plug;
use hsm_api::Curve;
use hsm_soft::PrivateKey;
use rustls::pki_types::CertificateDer;
use smgw_cls::defect::Defect;
use smgw_cls::settings::{self, BackOff, KeyCurve, Limits, Settings};
use smgw_flash_store::Store;
use smgw_flash_store::memory::Memory;
use smgw_peers::net::Party;
use smgw_socks::ConnectName;

use crate::module_tool::own_program;
use crate::trouble::{BringUpError, During};

/// What the bench tells its boards about power. The times are short, so that a rehearsal sees what takes minutes and
/// hours in the field (EEBUS LPC: 120 s and 2 h).
pub const LIMITS: Limits = Limits {
    nominal_watts: 11_000,
    failsafe_watts: 4_200,
    heartbeat_s: 6,
    failsafe_s: 30,
};

/// How long a board waits after a failure; within the 5 to 60 s of REQ.TA.SOCKSTLS.ConnectRequest.80.
pub const BACK_OFF: BackOff = BackOff {
    least_s: 5,
    most_s: 20,
};

/// The CLS network of emulated boards and gateway: host .2, gateway .15, boards from .20 on.
const NETWORK: [u8; 3] = [10, 0, 3];
const HOST: u8 = 2;
const FIRST_BOARD: u8 = 20;
const PREFIX: u8 = 24;

/// A board before it is started: who it is.
pub struct Planned {
    role: Cls,
    /// Its certificate; the board has the key.
    pub party: Party,
    key: PrivateKey,
}

impl Planned {
    /// Its name in CONNECT.
    pub fn local_server_name(&self) -> &str {
        &self.role.local_server_name
    }

    /// The wire port of an emulated board that is plugged into the rig's wire.
    pub fn plug(&self, rig: &Rig, directory: &Path) -> Option<Plug> {
        let resource = self.resource(rig)?;
        let Resource::Qemu(board) = resource else {
            return None;
        };
        board
            .wire()
            .map(|_| Plug::inside(directory, &self.role.name))
    }

    fn resource<'r>(&self, rig: &'r Rig) -> Option<&'r Resource> {
        let ClsActor::Device { resource, .. } = &self.role.actor else {
            return None;
        };
        rig.resources.get(resource)
    }
}

/// The boards of a rig, each with a new key.
pub fn plan(rig: &Rig) -> Result<Vec<Planned>, BringUpError> {
    let mut planned = Vec::new();
    for role in rig.clss.values() {
        if role.actor == ClsActor::Simulated {
            continue;
        }
        let key = PrivateKey::generate(Curve::BrainpoolP256r1).during("making a board's key")?;
        let party = Party::with_private_key(&format!("{}.cls", role.name), &key)
            .during("making a board's certificate")?;
        planned.push(Planned {
            role: role.clone(),
            party,
            key,
        });
    }
    Ok(planned)
}

/// Where the gateway's CLS proxy is for a board.
#[derive(Clone, Copy, Debug)]
pub enum Proxy {
    /// On this computer.
    Host(SocketAddr),
    /// On the wire.
    Wire(SocketAddrV4),
}

/// What a start of boards needs.
pub struct Surroundings<'a> {
    /// The rig.
    pub rig: &'a Rig,
    /// For sockets and states of emulated boards.
    pub runtime: &'a Path,
    /// Where the boards' logs go.
    pub logs: &'a Path,
    /// Where the proxy is.
    pub proxy: Proxy,
    /// The gateway's certificate, which the boards pin.
    pub gateway_certificate: &'a CertificateDer<'static>,
    /// What the boards do wrong: they get the image with seeded defects then.
    pub defect: Option<Defect>,
    /// Told what is being done.
    pub stage: &'a dyn Fn(&str),
}

/// A board that runs.
pub struct RunningBoard {
    /// `NAME` of its role.
    pub name: String,
    /// Its name in CONNECT.
    pub local_server_name: String,
    /// The image it runs.
    pub build_id: BuildId,
    /// Whether it was flashed, or held the image already.
    pub flashing: Flashing,
    settings: Settings,
    partition: Partition,
    defect: Option<Defect>,
    /// The bench's loopback interface as the board reaches it, if it does.
    host: Option<Ipv4Addr>,
    watched: Arc<Watched>,
    watching: Option<JoinHandle<()>>,
    /// Fields drop in this order: first who holds the board, then its probe, then the board.
    _emulated: Option<(VirtualProbe, Qemu)>,
}

/// What the bench and the log's thread share.
struct Watched {
    board: Mutex<Option<Board>>,
    lines: Mutex<Vec<LogLine>>,
    over: AtomicBool,
}

impl RunningBoard {
    /// Starts, flashes and sets up one board, and lets it run.
    pub fn start(
        planned: Planned,
        index: usize,
        around: &Surroundings<'_>,
    ) -> Result<Self, BringUpError> {
        let name = planned.role.name.clone();
        let say = |what: &str| (around.stage)(&format!("{what} board {name}"));
        say("starting");
        let place = Place::of(&planned, index, around)?;
        let image = Image::read(&place.firmware).map_err(|error| BringUpError::Missing {
            what: format!("firmware for board {name}: {error}"),
            help: format!(
                "build it with `cargo xtask firmware --board {}{}`",
                place.part.name,
                around.defect.map_or("", |_| " --defects")
            ),
        })?;
        let states = StateDir::new(around.runtime.join("boards"));
        let host = matches!(place.access, Access::Emulated(_)).then(|| address(HOST));
        let (selector, emulated) = match place.access {
            Access::Probe(selector) => (selector, None),
            Access::Emulated(config) => {
                let psram = around.runtime.join(format!("{name}.psram"));
                let (qemu, controls) = Qemu::start(Config {
                    psram: Some(psram),
                    ..config
                })
                .during("starting an emulated board")?;
                let probe =
                    VirtualProbe::start(controls).during("starting a virtual debug probe")?;
                (probe.selector(), Some((probe, qemu)))
            }
        };
        let mut board =
            Board::attach(&selector, place.part, &states).during("attaching to a board")?;
        say("flashing");
        let flashing = board.flash(&image).during("flashing a board")?;
        let partition = place
            .part
            .settings
            .ok_or_else(|| BringUpError::NotDrivable {
                part: format!("role.cls.{name}"),
                reason: format!(
                    "the settings of a board {} cannot be written by the bench yet",
                    place.part.name
                ),
            })?;
        let settings = settings(&planned, place.network, around.gateway_certificate)?;
        write(&mut board, partition, &settings, around.defect)?;
        if let Some(address) = partition.seed {
            let seed = PrivateKey::generate(Curve::BrainpoolP256r1)
                .during("drawing a seed for a board")?
                .to_bytes();
            let place = Partition {
                address,
                sectors: SEED_SECTORS,
                slots: SEED_SLOTS,
                ..partition
            };
            let bytes = partition_image(place, &seed).during("laying out a seed")?;
            board.program(address, &bytes).during("writing a seed")?;
        }
        board.reset().during("starting a board's firmware")?;
        let watched = Arc::new(Watched {
            board: Mutex::new(Some(board)),
            lines: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let log = around.logs.join(format!("board-{name}.log"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .during("opening a board's log")?;
        let watching = thread::Builder::new()
            .name(format!("board-{name}"))
            .spawn({
                let watched = Arc::clone(&watched);
                move || watched.run(log)
            })
            .during("watching a board")?;
        Ok(Self {
            local_server_name: planned.role.local_server_name,
            name,
            build_id: image.build_id().clone(),
            flashing,
            settings,
            partition,
            defect: around.defect,
            host,
            watched,
            watching: Some(watching),
            _emulated: emulated,
        })
    }

    /// Resets the board; it starts anew with the settings it has.
    pub fn reset(&self) -> Result<(), bench_probe::Error> {
        self.with(Board::reset).unwrap_or(Ok(()))
    }

    /// Its certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.settings.certificate.clone().into()
    }

    /// Sends the board to a proxy of the bench's, which listens on this computer's loopback interface and shows this
    /// certificate, and starts it anew. Dropping the guard sends it back to the gateway.
    pub fn redirect(
        &self,
        proxy: SocketAddr,
        certificate: &CertificateDer<'static>,
    ) -> Result<Redirected<'_>, BringUpError> {
        let unreachable = || self.not_drivable("it does not reach the bench");
        let host = self.host.ok_or_else(unreachable)?;
        self.tell(&Settings {
            proxy: SocketAddrV4::new(host, proxy.port()),
            gateway_certificate: certificate.to_vec(),
            ..self.settings.clone()
        })?;
        Ok(Redirected(self))
    }

    /// Gives the board other settings and starts it anew.
    fn tell(&self, settings: &Settings) -> Result<(), BringUpError> {
        let told = self.with(|board| {
            write(board, self.partition, settings, self.defect)?;
            board.reset().during("starting a board's firmware")
        });
        told.unwrap_or_else(|| Err(self.not_drivable("its debugger was let go")))
    }

    fn not_drivable(&self, reason: &str) -> BringUpError {
        BringUpError::NotDrivable {
            part: format!("role.cls.{}", self.name),
            reason: reason.to_owned(),
        }
    }

    /// Whether the relay's output releases the load, read off the chip by the debug probe; `None` when the chip or the
    /// rig does not show it.
    pub fn relay(&self) -> Result<Option<bool>, bench_probe::Error> {
        let read = self.with(|board| {
            let Some(bit) = board.part().relay else {
                return Ok(None);
            };
            let word = board.read_word(bit.address)?;
            Ok(Some(word & bit.mask != 0))
        });
        read.unwrap_or(Ok(None))
    }

    /// Lets the debugger go, so that nothing but the firmware decides when something happens. The log ends.
    pub fn release(&self) -> Result<(), bench_probe::Error> {
        let board = self.watched.board().take();
        board.map_or(Ok(()), Board::release)
    }

    /// What the firmware has logged so far.
    pub fn log(&self) -> Vec<LogLine> {
        let lines = self.watched.lines.lock();
        lines.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with<T>(&self, action: impl FnOnce(&mut Board) -> T) -> Option<T> {
        self.watched.board().as_mut().map(action)
    }
}

/// A board that calls the bench in place of the gateway.
pub struct Redirected<'b>(&'b RunningBoard);

impl Drop for Redirected<'_> {
    fn drop(&mut self) {
        // A board that is gone shows in the next case.
        let _ = self.0.tell(&self.0.settings);
    }
}

impl Drop for RunningBoard {
    fn drop(&mut self) {
        self.watched.over.store(true, Ordering::Release);
        if let Some(watching) = self.watching.take() {
            let _ = watching.join();
        }
        drop(self.watched.board().take());
    }
}

impl Watched {
    fn board(&self) -> MutexGuard<'_, Option<Board>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the log as long as somebody holds the board.
    fn run(&self, mut file: File) {
        while !self.over.load(Ordering::Acquire) {
            let logged = match self.board().as_mut() {
                Some(board) => board.logs(),
                None => return,
            };
            match logged {
                Ok(new) => {
                    for line in &new {
                        // A full disk must not stop the board's case.
                        let _ = writeln!(file, "{line}");
                    }
                    let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = LINES.saturating_sub(lines.len());
                    lines.extend(new.into_iter().take(room));
                }
                Err(error) => {
                    let _ = writeln!(file, "the log ends: {error}");
                    return;
                }
            }
            thread::sleep(LOG_INTERVAL);
        }
    }
}

/// How a board is reached and where it stands.
struct Place {
    part: &'static Part,
    access: Access,
    firmware: PathBuf,
    network: BoardNetwork,
}

enum Access {
    Probe(Selector),
    Emulated(Config),
}

impl Place {
    fn of(
        planned: &Planned,
        index: usize,
        around: &Surroundings<'_>,
    ) -> Result<Self, BringUpError> {
        let role = format!("role.cls.{}", planned.role.name);
        let not_drivable = |reason: String| BringUpError::NotDrivable {
            part: role.clone(),
            reason,
        };
        let ClsActor::Device {
            firmware, network, ..
        } = &planned.role.actor
        else {
            return Err(not_drivable("it is no board".to_owned()));
        };
        let (part, access, usual) = match planned.resource(around.rig) {
            Some(Resource::Qemu(board)) => {
                let part = Part::named(board.machine.as_str());
                let plug = planned.plug(around.rig, around.runtime);
                if plug.is_none() && matches!(around.proxy, Proxy::Wire(_)) {
                    let reason = "its gateway is on the wire, so the board needs `wire` too";
                    return Err(not_drivable(reason.to_owned()));
                }
                let mac = format!("52:54:00:00:03:{:02x}", board_host(index));
                let run_dir = around.runtime.join(format!("qemu-{}", planned.role.name));
                let config = Config {
                    machine: board.machine.as_str().to_owned(),
                    network: interface(plug, mac),
                    ..Config::mps2_an385(run_dir)
                };
                (
                    part,
                    Access::Emulated(config),
                    Some(emulated_network(index, around.proxy)),
                )
            }
            Some(Resource::Probe(probe)) => {
                let selector = probe
                    .select
                    .parse()
                    .map_err(|error| not_drivable(format!("{error}")))?;
                let named =
                    |part: &&&Part| matches!(&part.chip, Chip::Named(chip) if *chip == probe.chip);
                let part = PARTS.iter().find(named).copied();
                (part, Access::Probe(selector), None)
            }
            _ => return Err(not_drivable("it has no board".to_owned())),
        };
        let part = part.ok_or_else(|| not_drivable("there is no firmware for its chip".into()))?;
        let network = network
            .or(usual)
            .ok_or_else(|| not_drivable("its address is not known".into()))?;
        let firmware = match firmware {
            Some(_) if around.defect.is_some() => {
                let reason = "the firmware that the rig names has no seeded defects";
                return Err(not_drivable(reason.to_owned()));
            }
            Some(firmware) => firmware.clone(),
            None => own_firmware(&part.name, around.defect).during("finding the firmware")?,
        };
        Ok(Self {
            part,
            access,
            firmware,
            network,
        })
    }
}

fn interface(plug: Option<Plug>, mac: String) -> Network {
    match plug {
        Some(plug) => Network::Datagram {
            local: plug.theirs,
            remote: plug.ours,
            mac,
        },
        None => Network::User {
            options: user_network(),
            mac,
        },
    }
}

/// The CLS network as QEMU's user network plays it: its host is this computer's loopback interface.
pub fn user_network() -> Vec<String> {
    vec![
        format!("net={}/{PREFIX}", address(0)),
        format!("host={}", address(HOST)),
        "restrict=no".to_owned(),
    ]
}

fn emulated_network(index: usize, proxy: Proxy) -> BoardNetwork {
    BoardNetwork {
        address: CidrV4 {
            address: address(board_host(index)),
            prefix: PREFIX,
        },
        gateway: match proxy {
            Proxy::Wire(proxy) => proxy,
            Proxy::Host(proxy) => SocketAddrV4::new(address(HOST), proxy.port()),
        },
    }
}

fn address(host: u8) -> Ipv4Addr {
    let [a, b, c] = NETWORK;
    Ipv4Addr::new(a, b, c, host)
}

fn board_host(index: usize) -> u8 {
    // A rig has a handful of boards; the network has room for 200.
    FIRST_BOARD + u8::try_from(index).unwrap_or(0) % 200
}

/// `target/firmware/BOARD/cls.elf`, or its variant with defects, beside the directory of the bench's own program.
fn own_firmware(board: &str, defect: Option<Defect>) -> std::io::Result<PathBuf> {
    let program = own_program()?;
    let target = program
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."));
    let image = match defect {
        Some(_) => "cls-defects.elf",
        None => "cls.elf",
    };
    Ok(target.join("firmware").join(board).join(image))
}

fn settings(
    planned: &Planned,
    network: BoardNetwork,
    gateway_certificate: &CertificateDer<'static>,
) -> Result<Settings, BringUpError> {
    Ok(Settings {
        server_name: ConnectName::parse(planned.role.local_server_name.as_bytes())
            .during("naming a board")?,
        network: settings::Network {
            address: network.address.address,
            prefix: network.address.prefix,
            router: None,
        },
        proxy: network.gateway,
        certificate: planned.party.certificate().to_vec(),
        key: settings::PrivateKey {
            curve: KeyCurve::BrainpoolP256r1,
            scalar: planned.key.to_bytes(),
        },
        gateway_certificate: gateway_certificate.to_vec(),
        limits: LIMITS,
        back_off: BACK_OFF,
    })
}

/// Writes settings to a board's partition, with the octet behind them that chooses a defect.
fn write(
    board: &mut Board,
    partition: Partition,
    settings: &Settings,
    defect: Option<Defect>,
) -> Result<(), BringUpError> {
    let mut value = settings.encode().during("encoding a board's settings")?;
    value.extend(defect.map(Defect::number));
    let bytes = partition_image(partition, &value).during("laying out a board's settings")?;
    board
        .program(partition.address, &bytes)
        .during("writing a board's settings")
}

/// What a partition looks like when it holds `value`.
fn partition_image(partition: Partition, value: &[u8]) -> Result<Vec<u8>, String> {
    match (partition.unit_bytes, partition.sector_bytes) {
        (4, 0x1000) => holding::<4, 0x1000>(partition, value),
        (32, 0x2_0000) => holding::<32, 0x2_0000>(partition, value),
        (unit, sector) => Err(format!(
            "the bench cannot lay out flash with sectors of {sector} bytes, programmed {unit} at once"
        )),
    }
}

fn holding<const UNIT: usize, const SECTOR: usize>(
    partition: Partition,
    value: &[u8],
) -> Result<Vec<u8>, String> {
    let flash = Memory::<UNIT, SECTOR>::erased(partition.sectors);
    let mut store = Store::open(flash, partition.slots).map_err(|error| error.to_string())?;
    store.replace(value).map_err(|error| error.to_string())?;
    Ok(store.into_flash().bytes().to_vec())
}

/// The seed's own partition on the emulated board.
const SEED_SECTORS: usize = 2;
const SEED_SLOTS: u32 = 2;
/// Lines of a board's log that are kept for cases; the file has them all.
const LINES: usize = 10_000;
/// Short enough that the firmware's log buffer does not run over.
const LOG_INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_every_board_hold_a_value() {
        let value: Vec<u8> = (0..2_000).map(|at| (at % 251) as u8).collect();
        for (part, partition) in PARTS.iter().filter_map(|part| Some((part, part.settings?))) {
            let image = partition_image(partition, &value).unwrap();
            let length = partition.sectors * partition.sector_bytes;
            assert_eq!(image.len(), length, "{}", part.name);
            let holds = |bytes: &[u8]| bytes.windows(value.len()).any(|part| part == value);
            // In one slot, and nothing in the others.
            let (slot, rest) = image.split_at(length / partition.slots as usize);
            assert!(holds(slot), "{}", part.name);
            assert!(rest.iter().all(|byte| *byte == 0xff), "{}", part.name);
        }
    }

    #[test]
    fn unknown_flash_is_refused() {
        let known = bench_probe::MPS2_AN385.settings.unwrap();
        let unknown = Partition {
            unit_bytes: 8,
            ..known
        };
        let error = partition_image(unknown, b"value").unwrap_err();
        assert!(error.contains("programmed 8 at once"), "{error}");
    }
}
