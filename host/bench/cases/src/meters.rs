// SPDX-License-Identifier: MIT OR Apache-2.0
//! The meters of the rig: what plays them, what they put on the line and when, and how cases disturb them.
//!
//! Simulated meters run on pseudo terminals of their own; real ones only lend their port to the gateway,
//! and cases that need a simulated meter are not run on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bench_engine::Stop;
use bench_evidence::trace::{Direction as PacketDirection, SerialTap, SmlTap, Trace};
use bench_rig::discover::{SelectError, serial_ports};
use bench_rig::resource::LineFormat;
use bench_rig::role::{Law, MeterActor, Protocol};
use bench_rig::{Resource, Rig};
use bench_timing::BenchClock;
use smgw_meters::profile::{self, Profile};
use smgw_meters::sim::PlayerError;
use smgw_meters::{Player, ProfileError};
use smgw_peers::meters::{
    Clock, Direction, EnergyLaw, Format, FrameStamp, Grid, LineConfig, MbusConfig, MbusFaults,
    MbusSlaveMeter, MeterError, Recording, ReplayMeter, SmlConfig, SmlFault, SmlPushMeter, Tap,
};
use smgw_units::{Decimal, DeviceId, Nanos, Obis, UtcNanos};
use thiserror::Error;

use crate::gateway::MeterConfig;

/// Why the meters did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetersError {
    /// A simulator did not start.
    #[error("meter {0}: {1}")]
    Simulator(String, MeterError),
    /// A real port is not there.
    #[error("meter {0}: {1}")]
    Port(String, SelectError),
    /// A capture cannot be read.
    #[error("meter {0}: {1}")]
    Capture(String, String),
    /// A profile cannot be used.
    #[error("meter {0}: {1}")]
    Profile(String, ProfileError),
    /// A profiled meter did not start.
    #[error("meter {0}: {1}")]
    Player(String, PlayerError),
    /// The rig file asks for something no simulator can be.
    #[error("meter {0}: {1}")]
    Unsupported(String, &'static str),
}

/// A simulated meter as cases ask for it.
#[derive(Clone, Copy, Debug)]
pub struct MeterRole {
    /// Its device id.
    pub id: DeviceId,
    /// The register that follows the energy law.
    pub register: Obis,
}

/// A telegram the bench put on the wire.
#[derive(Clone, Debug)]
pub struct Telegram {
    /// Transaction id in hex.
    pub id: String,
    /// When its first byte was on the wire.
    pub first_byte: UtcNanos,
    /// What its register showed.
    pub value: Decimal,
    /// Whether it was sent undamaged and somebody listened.
    pub intact: bool,
}

struct Sml {
    role: MeterRole,
    meter: Arc<SmlPushMeter>,
}

struct Mbus {
    role: MeterRole,
    meter: Arc<MbusSlaveMeter>,
    law: EnergyLaw,
}

/// All meters of the rig.
pub struct Meters {
    sml: Option<Sml>,
    mbus: Option<Mbus>,
    /// Kept alive; cases do not touch them.
    _replays: Vec<ReplayMeter>,
    /// Likewise.
    _players: Vec<Player>,
    configuration: Vec<MeterConfig>,
    first: Option<DeviceId>,
    clock: BenchClock,
}

/// Undoes a disturbance when dropped, however the case ends.
pub struct Restore(Option<Box<dyn FnOnce() + Send>>);

impl Restore {
    fn new(undo: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(undo)))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

impl Meters {
    /// Starts every simulated meter of the rig and finds the ports of the real ones.
    pub fn start(rig: &Rig, clock: &BenchClock, trace: &Trace) -> Result<Self, MetersError> {
        let mut ports = BTreeMap::new();
        let mut meters = Self {
            sml: None,
            mbus: None,
            _replays: Vec::new(),
            _players: Vec::new(),
            configuration: Vec::new(),
            first: rig.meters.values().next().map(|meter| meter.device_id),
            clock: clock.clone(),
        };
        for (name, meter) in &rig.meters {
            let tap = || {
                let line = LineTap(trace.serial(&meter.resource));
                let tap: Arc<dyn Tap> = match meter.protocol {
                    Protocol::Sml => Arc::new(SmlLineTap::new(line, trace, &meter.resource)),
                    _ => Arc::new(line),
                };
                Some(tap)
            };
            let failed = |error| MetersError::Simulator(name.clone(), error);
            let register = meter
                .registers
                .first()
                .copied()
                .unwrap_or(Obis::IMPORT_TOTAL);
            let role = MeterRole {
                id: meter.device_id,
                register,
            };
            let line = match rig.resources.get(&meter.resource) {
                Some(Resource::Pty(pty)) => LineConfig {
                    baud: pty.baud,
                    format: format(name, pty.format)?,
                },
                Some(Resource::Serial(serial)) => {
                    let attached = serial_ports(Path::new("/"));
                    let port = serial
                        .selector
                        .select(&attached)
                        .map_err(|error| MetersError::Port(name.clone(), error))?;
                    ports.insert(meter.resource.clone(), port.node.clone());
                    continue;
                }
                _ => {
                    return Err(MetersError::Unsupported(
                        name.clone(),
                        "its resource is no serial line",
                    ));
                }
            };
            let path = match (&meter.actor, meter.protocol) {
                (MeterActor::Simulated { law, push_interval }, Protocol::Sml) => {
                    let config = SmlConfig {
                        line,
                        import: energy_law(law),
                        scaler: law.scaler,
                        period: *push_interval,
                        ..SmlConfig::new(meter.device_id, grid(clock))
                    };
                    let meter = Arc::new(SmlPushMeter::start(config, tap()).map_err(failed)?);
                    let path = meter.path().to_owned();
                    meters.sml.get_or_insert(Sml { role, meter });
                    path
                }
                (MeterActor::Simulated { law, .. }, Protocol::Mbus) => {
                    let law = energy_law(law);
                    let address = meter.address.unwrap_or(1);
                    let config = MbusConfig {
                        line,
                        import: law,
                        ..MbusConfig::new(meter.device_id, address)
                    };
                    let meter = Arc::new(MbusSlaveMeter::start(config, tap()).map_err(failed)?);
                    let path = meter.path().to_owned();
                    meters.mbus.get_or_insert(Mbus { role, meter, law });
                    path
                }
                (
                    MeterActor::Replay {
                        capture,
                        push_interval,
                    },
                    protocol,
                ) => {
                    let unreadable = |error: std::io::Error| {
                        MetersError::Capture(
                            name.clone(),
                            format!("{}: {error}", capture.display()),
                        )
                    };
                    let recording = match protocol {
                        Protocol::Mbus => {
                            Recording::mbus_files(&[capture], meter.address.unwrap_or(1))
                                .map_err(unreadable)?
                        }
                        _ => Recording::Sml {
                            capture: std::fs::read(capture).map_err(unreadable)?,
                            pause: *push_interval,
                        },
                    };
                    let meter = ReplayMeter::start(recording, line, true, tap()).map_err(failed)?;
                    let path = meter.path().to_owned();
                    meters._replays.push(meter);
                    path
                }
                (MeterActor::Profile { profile }, protocol) => {
                    let profile = Profile::load(profile)
                        .map_err(|error| MetersError::Profile(name.clone(), error))?;
                    let spoken = match profile.protocol {
                        profile::Protocol::SmlPush => Protocol::Sml,
                        profile::Protocol::Mbus => Protocol::Mbus,
                        profile::Protocol::D0
                        | profile::Protocol::D0Push
                        | profile::Protocol::P1 => Protocol::Iec62056,
                        profile::Protocol::Wmbus => Protocol::Wmbus,
                        profile::Protocol::SmlPull | profile::Protocol::HdlcLmn => {
                            let what = "no role speaks the protocol of its profile";
                            return Err(MetersError::Unsupported(name.clone(), what));
                        }
                    };
                    if spoken != protocol {
                        let what = "its profile speaks another protocol than the role";
                        return Err(MetersError::Unsupported(name.clone(), what));
                    }
                    if profile.line != line {
                        let what = "its profile has another line than the resource";
                        return Err(MetersError::Unsupported(name.clone(), what));
                    }
                    let (utc, _) = clock.utc_of(Clock::now());
                    let player = Player::start(profile, utc, PLAYER_SEED, tap())
                        .map_err(|error| MetersError::Player(name.clone(), error))?;
                    let path = player.path().to_owned();
                    meters._players.push(player);
                    path
                }
                (MeterActor::Device, _) => {
                    return Err(MetersError::Unsupported(
                        name.clone(),
                        "a real meter needs a real line",
                    ));
                }
                _ => {
                    return Err(MetersError::Unsupported(
                        name.clone(),
                        "no simulator for this protocol yet",
                    ));
                }
            };
            ports.insert(meter.resource.clone(), path);
        }
        meters.configuration = meter_config(rig, &ports);
        Ok(meters)
    }

    /// The meters as the gateway's configuration names them.
    pub fn configuration(&self) -> Vec<MeterConfig> {
        self.configuration.clone()
    }

    /// The first meter of the rig file.
    pub fn first_id(&self) -> Result<DeviceId, Stop> {
        self.first
            .ok_or_else(|| Stop::Bench("the rig has no meter".into()))
    }

    /// The simulated SML meter.
    pub fn sml(&self) -> Result<MeterRole, Stop> {
        self.sml_meter().map(|sml| sml.role)
    }

    /// The simulated M-Bus meter.
    pub fn mbus(&self) -> Result<MeterRole, Stop> {
        self.mbus_meter().map(|mbus| mbus.role)
    }

    /// Everybody back to normal: pushing on schedule, undamaged.
    pub fn settle(&self) {
        if let Some(sml) = &self.sml {
            settle_sml(&sml.meter);
        }
        if let Some(mbus) = &self.mbus {
            mbus.meter.set_faults(MbusFaults::default());
        }
    }

    /// The SML meter pushes exactly at these instants and never else, until the guard is dropped.
    pub fn push_exactly_at(&self, instants: &[UtcNanos]) -> Result<Restore, Stop> {
        let meter = Arc::clone(&self.sml_meter()?.meter);
        meter.schedule(instants.iter().map(|at| self.clock.nanos_of(*at)).collect());
        Ok(Restore::new(move || settle_sml(&meter)))
    }

    /// No meter says anything until the guard is dropped.
    pub fn silence(&self) -> Result<Restore, Stop> {
        let sml = Arc::clone(&self.sml_meter()?.meter);
        let mbus = Arc::clone(&self.mbus_meter()?.meter);
        sml.pause();
        mbus.set_faults(MbusFaults {
            silent: true,
            ..MbusFaults::default()
        });
        Ok(Restore::new(move || {
            settle_sml(&sml);
            mbus.set_faults(MbusFaults::default());
        }))
    }

    /// Every telegram of every meter has a wrong checksum until the guard is dropped.
    pub fn damage(&self) -> Result<Restore, Stop> {
        let sml = Arc::clone(&self.sml_meter()?.meter);
        let mbus = Arc::clone(&self.mbus_meter()?.meter);
        sml.set_fault(Some(SmlFault::BadCrc));
        mbus.set_faults(MbusFaults {
            bad_checksum: true,
            ..MbusFaults::default()
        });
        Ok(Restore::new(move || {
            settle_sml(&sml);
            mbus.set_faults(MbusFaults::default());
        }))
    }

    /// Every telegram the SML meter sent so far, oldest first.
    pub fn sml_telegrams(&self) -> Result<Vec<Telegram>, Stop> {
        let Sml { role, meter } = self.sml_meter()?;
        Ok(meter
            .telegrams()
            .iter()
            .filter_map(|stamp| telegram(&self.clock, role.register, stamp))
            .collect())
    }

    /// Those whose first byte lay within `window` of `at`.
    pub fn sml_telegrams_near(
        &self,
        at: UtcNanos,
        window: Duration,
    ) -> Result<Vec<Telegram>, Stop> {
        let mut near = self.sml_telegrams()?;
        near.retain(|telegram| {
            u128::from(telegram.first_byte.signed_since(at).unsigned_abs()) <= window.as_nanos()
        });
        Ok(near)
    }

    /// When the M-Bus meter's register showed `value`; none when it never did.
    pub fn mbus_value_taken_at(&self, value: Decimal) -> Result<Option<UtcNanos>, Stop> {
        const SCALER: i8 = -3;
        let law = &self.mbus_meter()?.law;
        let mantissa = value
            .mantissa_at(SCALER)
            .and_then(|mantissa| i64::try_from(mantissa).ok());
        let shown = mantissa.and_then(|mantissa| law.instants(mantissa));
        Ok(shown.map(|range| self.clock.utc_of(range.start).0))
    }

    fn sml_meter(&self) -> Result<&Sml, Stop> {
        self.sml
            .as_ref()
            .ok_or_else(|| Stop::Bench("the rig has no simulated SML meter".into()))
    }

    fn mbus_meter(&self) -> Result<&Mbus, Stop> {
        self.mbus
            .as_ref()
            .ok_or_else(|| Stop::Bench("the rig has no simulated M-Bus meter".into()))
    }
}

fn settle_sml(meter: &SmlPushMeter) {
    meter.set_fault(None);
    meter.periodic();
    meter.resume();
}

fn energy_law(law: &Law) -> EnergyLaw {
    let start = i64::try_from(law.start).unwrap_or(i64::MAX);
    EnergyLaw::new(Clock::now(), start, law.step, law.every.0)
}

/// What a simulator sent, as cases see it; `None` when it did not carry the register.
pub(crate) fn telegram(clock: &BenchClock, register: Obis, stamp: &FrameStamp) -> Option<Telegram> {
    let register = stamp
        .registers
        .iter()
        .find(|shown| shown.obis == register)?;
    // The stamp is taken as the first character is handed over, one character after its start bit.
    let character = Duration::from_nanos(
        stamp.last.0.saturating_sub(stamp.first.0) / (stamp.bytes.max(2) as u64 - 1),
    );
    let first_byte = Nanos(stamp.first.0) - character;
    Some(Telegram {
        id: stamp.telegram.clone(),
        first_byte: clock.utc_of(first_byte).0,
        value: register.value,
        intact: stamp.delivered && !stamp.faulty,
    })
}

/// A meter that pushes SML, as a gateway's configuration names it.
pub(crate) fn sml_line(id: DeviceId, port: &Path, line: LineConfig) -> MeterConfig {
    MeterConfig {
        id: id.to_string(),
        protocol: "sml".to_owned(),
        port: port.to_owned(),
        baud: line.baud,
        format: "8N1".to_owned(),
        registers: vec![Obis::IMPORT_TOTAL.to_string()],
        address: None,
        poll_lead: None,
    }
}

/// Bench time and UTC, for simulators that keep to UTC.
pub(crate) fn grid(clock: &BenchClock) -> Grid {
    let anchor = clock.anchor();
    Grid {
        bench: anchor.mono,
        utc: anchor.utc,
    }
}

fn format(meter: &str, format: LineFormat) -> Result<Format, MetersError> {
    match format.as_str() {
        "8N1" => Ok(Format::N81),
        "8E1" => Ok(Format::E81),
        _ => Err(MetersError::Unsupported(
            meter.to_owned(),
            "the simulated line speaks 8N1 and 8E1",
        )),
    }
}

/// Serial traffic into the trace, as the gateway's UART would see it.
struct LineTap(SerialTap);

impl Tap for LineTap {
    fn bytes(&self, direction: Direction, at: Nanos, bytes: &[u8]) {
        match direction {
            Direction::FromMeter => self.0.rx(at, bytes),
            Direction::ToMeter => self.0.tx(at, bytes),
        }
    }
}

/// As [`LineTap`], and whole SML files by themselves, which Wireshark takes apart without help.
struct SmlLineTap {
    line: LineTap,
    files: SmlTap,
    /// Bytes of the telegram that is on its way.
    pending: Mutex<Vec<u8>>,
}

impl SmlLineTap {
    fn new(line: LineTap, trace: &Trace, resource: &str) -> Self {
        Self {
            line,
            files: trace.sml(&format!("{resource}.sml")),
            pending: Mutex::default(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, Vec<u8>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap for SmlLineTap {
    fn bytes(&self, direction: Direction, at: Nanos, bytes: &[u8]) {
        self.line.bytes(direction, at, bytes);
        if direction == Direction::FromMeter {
            self.pending().extend_from_slice(bytes);
        }
    }

    fn telegram(&self, stamp: &FrameStamp) {
        let mut sent = std::mem::take(&mut *self.pending());
        // One that was broken off may stand before it.
        let file = sent.split_off(sent.len().saturating_sub(stamp.bytes));
        // Stamped as its last byte, so that the packets of the trace stay in order.
        self.files
            .frame(stamp.last, PacketDirection::Inbound, &file);
    }
}

/// The meters as the gateway's configuration names them; `ports` by resource.
fn meter_config(rig: &Rig, ports: &BTreeMap<String, PathBuf>) -> Vec<MeterConfig> {
    rig.meters
        .values()
        .filter_map(|meter| {
            let port = ports.get(&meter.resource)?.clone();
            let (baud, format) = match rig.resources.get(&meter.resource)? {
                Resource::Pty(line) => (line.baud, line.format),
                Resource::Serial(line) => (line.baud, line.format),
                _ => return None,
            };
            Some(MeterConfig {
                id: meter.device_id.to_string(),
                protocol: meter.protocol.as_str().to_owned(),
                port,
                baud,
                format: format.as_str().to_owned(),
                registers: meter.registers.iter().map(ToString::to_string).collect(),
                address: meter.address,
                poll_lead: meter.address.map(|_| "100ms".to_owned()),
            })
        })
        .collect()
}

/// Faults by chance take the same course in every run.
const PLAYER_SEED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sml_lines_are_tapped_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.pcapng");
        let trace = Trace::create(&path, &BenchClock::start()).unwrap();
        let tap = SmlLineTap::new(LineTap(trace.serial("lmn0")), &trace, "lmn0");
        let now = Clock::now();
        // One that was broken off, and a whole one in two pieces.
        tap.bytes(Direction::FromMeter, now, b"broken off");
        tap.bytes(Direction::FromMeter, now, b"who");
        tap.bytes(Direction::FromMeter, now, b"le file");
        tap.telegram(&FrameStamp {
            telegram: String::new(),
            scheduled: now,
            first: now,
            last: now,
            bytes: 10,
            registers: Vec::new(),
            sampled_at: now,
            delivered: true,
            faulty: false,
        });
        trace.close().unwrap();
        assert_eq!(trace.packets(), 4);
        let written = std::fs::read(&path).unwrap();
        let count = |needle: &[u8]| {
            written
                .windows(needle.len())
                .filter(|part| *part == needle)
                .count()
        };
        assert_eq!(count(b"whole file"), 1);
        assert_eq!(count(b"broken off"), 1);
        assert!(tap.pending().is_empty());
    }
}
