// SPDX-License-Identifier: MIT OR Apache-2.0
//! Roles: what a resource is to a case, and whether a real device or our own software plays it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use smgw_units::{DeviceId, Obis};
use toml::Spanned;

use crate::document::{Text, text};
use crate::duration::Span;

/// What a meter speaks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Smart Message Language, pushed by the meter.
    Sml,
    /// Wired M-Bus, polled by the gateway (EN 13757-2/-3).
    Mbus,
    /// IEC 62056-21 over the optical or wired D0 interface.
    #[serde(rename = "iec62056-21")]
    Iec62056,
    /// Wireless M-Bus (EN 13757-4).
    Wmbus,
    /// DLMS/COSEM over HDLC.
    Dlms,
}

impl Protocol {
    /// The protocol as written in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sml => "sml",
            Self::Mbus => "mbus",
            Self::Iec62056 => "iec62056-21",
            Self::Wmbus => "wmbus",
            Self::Dlms => "dlms",
        }
    }
}

/// The energy law of a simulated meter: its register shows `start + step * floor(t / every)` units of
/// `10^scaler` Wh, `t` being the time since the law began on the bench clock. A reading thus tells when it was taken.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Law {
    /// Register at the beginning.
    #[serde(default)]
    pub start: u64,
    /// What is added each time.
    #[serde(default = "one")]
    pub step: u64,
    /// How often it is added.
    pub every: Span,
    /// Power of ten of the unit.
    #[serde(default)]
    pub scaler: i8,
}

fn one() -> u64 {
    1
}

impl Default for Law {
    fn default() -> Self {
        Self {
            start: 0,
            step: 1,
            every: Span(Duration::from_millis(10)),
            scaler: -4,
        }
    }
}

impl Law {
    /// The register's integer mantissa `elapsed` after the law began; saturates at the largest register.
    pub fn mantissa_at(&self, elapsed: Duration) -> u64 {
        let every = self.every.0.as_nanos().max(1);
        let steps = u64::try_from(elapsed.as_nanos() / every).unwrap_or(u64::MAX);
        self.start.saturating_add(self.step.saturating_mul(steps))
    }
}

/// Who plays a meter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MeterActor {
    /// Our simulator, following an energy law.
    Simulated {
        /// The law of every register.
        law: Law,
        /// Time between two telegrams of a pushing meter.
        push_interval: Duration,
    },
    /// Our simulator, playing a capture file with the original pace.
    Replay {
        /// The capture.
        capture: PathBuf,
        /// Time between two telegrams.
        push_interval: Duration,
    },
    /// Our simulator, playing a meter profile with its own values and faults.
    Profile {
        /// The profile.
        profile: PathBuf,
    },
    /// A real meter.
    Device,
}

/// A meter.
#[derive(Clone, Debug)]
pub struct Meter {
    /// `NAME` of `[role.meter.NAME]`.
    pub name: String,
    /// Name of the line it is on.
    pub resource: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its device id, as the gateway knows it.
    pub device_id: DeviceId,
    /// Registers the gateway has to keep; never empty.
    pub registers: Vec<Obis>,
    /// Primary address; given exactly for M-Bus.
    pub address: Option<u8>,
    /// Who plays it.
    pub actor: MeterActor,
}

/// The gateway under test.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its device id.
    pub device_id: DeviceId,
    /// Who plays it.
    pub actor: GatewayActor,
}

/// Who plays the gateway.
#[derive(Clone, Debug)]
pub enum GatewayActor {
    /// Our reference gateway.
    Ours {
        /// The program; found beside the bench's own when not given.
        binary: Option<PathBuf>,
        /// Where it runs.
        target: GatewayTarget,
    },
    /// A real gateway.
    Device {
        /// Name of its network resource.
        resource: String,
        /// Its certificate on HAN and CLS, to pin.
        certificate: PathBuf,
    },
}

/// Where our gateway runs.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayTarget {
    /// As a child process of the bench.
    #[default]
    Local,
    /// As the only program of an emulated 64-bit Arm board (`cargo xtask target arm64`).
    QemuArm64,
    /// On a Linux machine reached by ssh: `user@host`, or a name of the user's ssh configuration.
    Ssh(String),
}

impl Gateway {
    /// Whether it is our reference gateway.
    pub fn is_ours(&self) -> bool {
        matches!(self.actor, GatewayActor::Ours { .. })
    }
}

/// The security module of our gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecurityModule {
    /// Name of the token.
    pub resource: String,
}

/// What a simulated EMT does with the bytes it gets.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum EmtService {
    /// Sends them back.
    #[default]
    Echo,
    /// Counts and drops them.
    Sink,
}

/// A certificate and its key that the bench presents to a real gateway.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Identity {
    /// Certificate, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM (PKCS#8).
    pub key: PathBuf,
}

/// An external market participant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Emt {
    /// `NAME` of `[role.emt.NAME]`.
    pub name: String,
    /// Server name in TLS.
    pub tls_name: String,
    /// What it does with bytes.
    pub service: EmtService,
    /// What it presents; made for the run when not given.
    pub identity: Option<Identity>,
}

/// Who plays a CLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClsActor {
    /// Our client.
    Simulated,
    /// A board, flashed by the bench: behind a debug probe, or emulated.
    Device {
        /// Name of the board's resource.
        resource: String,
        /// The image to flash; the bench's own for this board when not given.
        firmware: Option<PathBuf>,
        /// Where it is in the network; always given for real boards.
        network: Option<BoardNetwork>,
    },
}

/// A board's place in the network of the CLS interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BoardNetwork {
    /// Its address and the length of the network's prefix.
    pub address: CidrV4,
    /// Where the gateway's CLS proxy listens, as the board sees it.
    pub gateway: SocketAddrV4,
}

/// An IPv4 address with the length of its network's prefix, `192.0.2.20/24`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CidrV4 {
    /// The address.
    pub address: Ipv4Addr,
    /// Leading bits that name the network, 1 to 30.
    pub prefix: u8,
}

impl FromStr for CidrV4 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |(address, prefix): (&str, &str)| {
            let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
            (1..=30)
                .contains(&prefix)
                .then_some(Self { address, prefix })
        };
        text.split_once('/')
            .and_then(parse)
            .ok_or("an address with its prefix is needed, as in \"192.0.2.20/24\"")
    }
}

/// A controllable local system with its proxy profile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cls {
    /// `NAME` of `[role.cls.NAME]`.
    pub name: String,
    /// Name it asks for in CONNECT.
    pub local_server_name: String,
    /// The EMT behind that name.
    pub emt: String,
    /// How long the gateway waits for the EMT.
    pub connect_timeout: Duration,
    /// Who plays it.
    pub actor: ClsActor,
    /// What it presents; made for the run when not given.
    pub identity: Option<Identity>,
}

/// A consumer in the HAN.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Consumer {
    /// `NAME` of `[role.consumer.NAME]`.
    pub name: String,
    /// Names of the meters it may see.
    pub meters: Vec<String>,
    /// What it presents; made for the run when not given.
    pub identity: Option<Identity>,
}

/// A service technician in the HAN.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Technician {
    /// `NAME` of `[role.technician.NAME]`.
    pub name: String,
    /// What it presents; made for the run when not given.
    pub identity: Option<Identity>,
}

/// The administrator's time server; with it, our gateway takes its time from there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimeServer {
    /// Server name in TLS.
    pub tls_name: String,
}

/// The roles as written after `[role.`.
pub(crate) const ROLES: [&str; 8] = [
    "meter",
    "gateway",
    "security-module",
    "emt",
    "cls",
    "consumer",
    "technician",
    "time-server",
];

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MeterActorName {
    /// Our simulator, following an energy law.
    #[default]
    Simulated,
    /// Our simulator, playing a capture.
    Replay,
    /// A real meter.
    Device,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ActorName {
    /// Our software.
    #[default]
    Simulated,
    /// A real device.
    Device,
}

/// Only our software plays this role so far.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SimulatedOnly {
    /// Our software.
    #[default]
    Simulated,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GatewayActorName {
    /// Our reference gateway.
    Ours,
    /// A real gateway.
    Device,
}

/// `[role.meter.NAME]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MeterSection {
    /// The line it is on.
    #[schemars(with = "String")]
    pub(crate) resource: Spanned<String>,
    /// What it speaks.
    #[schemars(with = "Protocol")]
    pub(crate) protocol: Spanned<Protocol>,
    /// Who plays it; `simulated` when not given.
    #[serde(default)]
    pub(crate) actor: MeterActorName,
    /// Device id of 14 characters, e.g. `1smb0000000001`.
    #[serde(deserialize_with = "text")]
    #[schemars(with = "String")]
    pub(crate) device_id: DeviceId,
    /// OBIS codes the gateway has to keep, at least one.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(crate) registers: Spanned<Vec<Text<Obis>>>,
    /// Primary address, 1 to 250; M-Bus only.
    #[schemars(with = "Option<u8>")]
    pub(crate) address: Option<Spanned<u8>>,
    /// Energy law; simulated meters only.
    #[schemars(with = "Option<Law>")]
    pub(crate) law: Option<Spanned<Law>>,
    /// Meter profile to play instead of a law; simulated meters only.
    #[schemars(with = "Option<PathBuf>")]
    pub(crate) profile: Option<Spanned<PathBuf>>,
    /// Capture file; replay only.
    #[schemars(with = "Option<PathBuf>")]
    pub(crate) capture: Option<Spanned<PathBuf>>,
    /// Time between telegrams of a pushing meter; 1s when not given.
    #[schemars(with = "Option<Span>")]
    pub(crate) push_interval: Option<Spanned<Span>>,
}

/// `[role.gateway]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct GatewaySection {
    /// Who plays it.
    pub(crate) actor: GatewayActorName,
    /// Device id of 14 characters.
    #[serde(deserialize_with = "text")]
    #[schemars(with = "String")]
    pub(crate) device_id: DeviceId,
    /// Program of our gateway; found beside the bench's own when not given.
    #[schemars(with = "Option<PathBuf>")]
    pub(crate) binary: Option<Spanned<PathBuf>>,
    /// Where our gateway runs: "local", "qemu-arm64" or { ssh = "user@host" }; local when not given.
    #[schemars(with = "Option<GatewayTarget>")]
    pub(crate) target: Option<Spanned<GatewayTarget>>,
    /// Network resource of a real gateway.
    #[schemars(with = "Option<String>")]
    pub(crate) resource: Option<Spanned<String>>,
    /// Certificate of a real gateway.
    #[schemars(with = "Option<PathBuf>")]
    pub(crate) certificate: Option<Spanned<PathBuf>>,
}

/// `[role.security-module]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SecurityModuleSection {
    /// The token.
    #[schemars(with = "String")]
    pub(crate) resource: Spanned<String>,
}

/// `[role.emt.NAME]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EmtSection {
    /// Who plays it.
    #[serde(default)]
    #[expect(dead_code, reason = "one value so far; written out in rig files")]
    pub(crate) actor: SimulatedOnly,
    /// Server name in TLS.
    pub(crate) tls_name: String,
    /// What it does with bytes; `echo` when not given.
    #[serde(default)]
    pub(crate) service: EmtService,
    /// What it presents; made for the run when not given.
    pub(crate) identity: Option<Identity>,
}

/// `[role.cls.NAME]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ClsSection {
    /// Who plays it; `simulated` when not given.
    #[serde(default)]
    pub(crate) actor: ActorName,
    /// Name it asks for: 1 to 63 characters of `a-z 0-9 . -`.
    #[schemars(with = "String")]
    pub(crate) local_server_name: Spanned<String>,
    /// The EMT behind that name.
    #[schemars(with = "String")]
    pub(crate) emt: Spanned<String>,
    /// How long the gateway waits for the EMT; 3s when not given.
    pub(crate) connect_timeout: Option<Span>,
    /// The board; `device` only.
    #[schemars(with = "Option<String>")]
    pub(crate) resource: Option<Spanned<String>>,
    /// The image to flash, an ELF file; the bench's own for this board when not given.
    #[schemars(with = "Option<PathBuf>")]
    pub(crate) firmware: Option<Spanned<PathBuf>>,
    /// The board's address, `192.0.2.20/24`; real boards need it.
    #[schemars(with = "Option<String>")]
    pub(crate) address: Option<Spanned<Text<CidrV4>>>,
    /// Where the gateway's CLS proxy listens, as the board sees it, `192.0.2.1:4433`; real boards need it.
    #[schemars(with = "Option<String>")]
    pub(crate) gateway: Option<Spanned<Text<SocketAddrV4>>>,
    /// What it presents; made for the run when not given.
    pub(crate) identity: Option<Identity>,
}

/// `[role.consumer.NAME]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ConsumerSection {
    /// Who plays it.
    #[serde(default)]
    #[expect(dead_code, reason = "one value so far; written out in rig files")]
    pub(crate) actor: SimulatedOnly,
    /// Names of the meters it may see.
    #[schemars(with = "Vec<String>")]
    pub(crate) meters: Vec<Spanned<String>>,
    /// What it presents; made for the run when not given.
    pub(crate) identity: Option<Identity>,
}

/// `[role.technician.NAME]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TechnicianSection {
    /// Who plays it.
    #[serde(default)]
    #[expect(dead_code, reason = "one value so far; written out in rig files")]
    pub(crate) actor: SimulatedOnly,
    /// What it presents; made for the run when not given.
    pub(crate) identity: Option<Identity>,
}

/// `[role.time-server]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TimeServerSection {
    /// Who plays it.
    #[serde(default)]
    #[expect(dead_code, reason = "one value so far; written out in rig files")]
    pub(crate) actor: SimulatedOnly,
    /// Server name in TLS.
    pub(crate) tls_name: String,
}
