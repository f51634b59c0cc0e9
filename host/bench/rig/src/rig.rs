// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rig: what is wired to this bench and who plays which role, resolved from a rig file
//! (schema `smgw-bench.rig/1`). Every reference in a [`Rig`] is known to lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::diagnostic::{LoadError, Problems, read_text};
use crate::discover::{SelectError, SerialPort};
use crate::duration::Span;
use crate::filter::Filter;
use crate::lock::LockKey;
use crate::resolve;
use crate::resource::{PinSource, PowerDriver, Resource};
use crate::role::{
    Cls, ClsActor, Consumer, Emt, Gateway, GatewayActor, GatewayTarget, Meter, MeterActor,
    Protocol, SecurityModule, Technician, TimeServer,
};

/// The schema this build reads.
pub const RIG_SCHEMA: &str = "smgw-bench.rig/1";

/// Where the locks are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LockDirSetting {
    /// See [`crate::lock::LockDir::resolve`].
    Auto,
    /// This directory; all users of the rig must name the same.
    At(PathBuf),
}

/// What disciplines the host clock.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum ClockReference {
    /// Nothing: intervals are good, wall time is an annotation.
    #[default]
    None,
    /// The chrony daemon (NTP or PTP).
    Chrony,
    /// A PTP hardware clock.
    Phc,
    /// A pulse per second.
    Pps,
}

/// `[clock]`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Clock {
    /// What disciplines the host clock.
    pub reference: ClockReference,
    /// Device of a PTP hardware clock or a pulse, `/dev/ptp0` or `/dev/pps0`.
    pub device: Option<PathBuf>,
    /// Largest offset from the reference; worse is a rig error.
    pub max_offset: Span,
    /// Whether measuring cases need a valid calibration record.
    pub require_calibration: bool,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            reference: ClockReference::None,
            device: None,
            max_offset: Span(Duration::from_millis(5)),
            require_calibration: false,
        }
    }
}

/// `[metering]`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Metering {
    /// Registration period: what the bench configures on our gateway, what a real one has.
    pub registration_period: Span,
}

impl Default for Metering {
    fn default() -> Self {
        Self {
            registration_period: Span(Duration::from_secs(900)),
        }
    }
}

/// `[rig]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RigSection {
    /// Short name, a-z 0-9 and -.
    #[schemars(with = "String")]
    pub(crate) name: Spanned<String>,
    /// One sentence for people.
    pub(crate) summary: String,
    /// Free labels; `class = "virtual"` marks a rig without hardware.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// All deadlines are multiplied by this; 1.0 when not given.
    #[schemars(with = "Option<f64>")]
    pub(crate) timeout_multiplier: Option<Spanned<f64>>,
    /// `auto`, or a directory that all users of the rig share.
    pub(crate) lock_dir: Option<String>,
    /// Which cases a run without `-E` takes; all of them when not given.
    #[schemars(with = "Option<String>")]
    pub(crate) default_filter: Option<Spanned<String>>,
}

/// A resolved rig.
#[derive(Clone, Debug)]
pub struct Rig {
    /// The file it came from.
    pub path: PathBuf,
    /// The file's text, for the evidence bundle.
    pub text: String,
    /// Short name.
    pub name: String,
    /// One sentence for people.
    pub summary: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// All deadlines are multiplied by this; finite, 0.1 to 100.
    pub timeout_multiplier: f64,
    /// Where the locks are.
    pub lock_dir: LockDirSetting,
    /// Which cases are meant where no filter is given: as it stands in the file, and parsed.
    pub default_filter: Option<(String, Filter)>,
    /// What is known about the host clock.
    pub clock: Clock,
    /// What is registered how often.
    pub metering: Metering,
    /// Resources by name.
    pub resources: BTreeMap<String, Resource>,
    /// Meters by name.
    pub meters: BTreeMap<String, Meter>,
    /// The gateway under test.
    pub gateway: Option<Gateway>,
    /// The security module of our gateway.
    pub security_module: Option<SecurityModule>,
    /// Market participants by name.
    pub emts: BTreeMap<String, Emt>,
    /// Controllable local systems by name.
    pub clss: BTreeMap<String, Cls>,
    /// Consumers by name.
    pub consumers: BTreeMap<String, Consumer>,
    /// Technicians by name.
    pub technicians: BTreeMap<String, Technician>,
    /// The time server of our gateway, if it has one.
    pub time_server: Option<TimeServer>,
}

/// A part of a rig that parses but that this build cannot drive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Undrivable {
    /// Which part, e.g. `resource.mcu0`.
    pub part: String,
    /// Why not, and what will drive it.
    pub reason: &'static str,
}

impl Rig {
    /// Reads and resolves a rig file.
    ///
    /// # Errors
    /// The file cannot be read, or it has problems: all that could be found are listed.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = read_text("rig", path)?;
        Ok(Self::parse(path, text)?)
    }

    /// Resolves the text of a rig file; `path` names it in messages, and relative paths start from its directory.
    ///
    /// # Errors
    /// All problems that could be found.
    pub fn parse(path: &Path, text: String) -> Result<Self, Problems> {
        resolve::rig(path, text.clone())
            .map_err(|problems| Problems::new("rig", path, &text, problems))
    }

    /// Whether the rig is labelled `class = "virtual"`: no hardware, secrets without worth.
    pub fn is_virtual(&self) -> bool {
        self.labels
            .get("class")
            .is_some_and(|class| class == "virtual")
    }

    /// A deadline stretched by the rig's multiplier.
    pub fn stretch(&self, deadline: Duration) -> Duration {
        Duration::try_from_secs_f64(deadline.as_secs_f64() * self.timeout_multiplier)
            .unwrap_or(deadline)
    }

    /// Role name to what plays it, for reports: `meter.main` → `simulated, sml on lmn0 (pty)`.
    pub fn roles(&self) -> BTreeMap<String, String> {
        let on = |resource: &String| {
            let kind = self.resources.get(resource).map_or("?", Resource::kind);
            format!("{resource} ({kind})")
        };
        let mut roles = BTreeMap::new();
        for (name, meter) in &self.meters {
            let actor = match meter.actor {
                MeterActor::Simulated { .. } => "simulated",
                MeterActor::Replay { .. } => "replay",
                MeterActor::Profile { .. } => "profile",
                MeterActor::Device => "device",
            };
            let text = format!(
                "{actor}, {} on {}",
                meter.protocol.as_str(),
                on(&meter.resource)
            );
            roles.insert(format!("meter.{name}"), text);
        }
        if let Some(gateway) = &self.gateway {
            let text = match &gateway.actor {
                GatewayActor::Ours { target, .. } => match target {
                    GatewayTarget::Local => "our reference gateway".to_owned(),
                    GatewayTarget::QemuArm64 => "ours on an emulated arm64 board".to_owned(),
                    GatewayTarget::Ssh(destination) => format!("ours on {destination}"),
                },
                GatewayActor::Device { resource, .. } => format!("device at {}", on(resource)),
            };
            roles.insert("gateway".to_owned(), text);
        }
        if let Some(module) = &self.security_module {
            roles.insert("security-module".to_owned(), on(&module.resource));
        }
        for (name, cls) in &self.clss {
            let text = match &cls.actor {
                ClsActor::Simulated => "simulated".to_owned(),
                ClsActor::Device { resource, .. } => format!("device on {}", on(resource)),
            };
            roles.insert(format!("cls.{name}"), text);
        }
        let simulated = "simulated".to_owned();
        roles.extend(
            self.emts
                .keys()
                .map(|name| (format!("emt.{name}"), simulated.clone())),
        );
        if self.time_server.is_some() {
            roles.insert("time-server".to_owned(), simulated.clone());
        }
        roles.extend(
            self.consumers
                .keys()
                .map(|n| (format!("consumer.{n}"), simulated.clone())),
        );
        roles.extend(
            self.technicians
                .keys()
                .map(|n| (format!("technician.{n}"), simulated.clone())),
        );
        roles
    }

    /// Whether a person has to type the PIN of the security module.
    pub fn asks_for_pin(&self) -> bool {
        let role = self.security_module.as_ref();
        let pin = match role.and_then(|role| self.resources.get(&role.resource)) {
            Some(Resource::Pkcs11(token)) => Some(token.pin()),
            Some(Resource::Pcsc(card)) => card.pin(),
            _ => None,
        };
        pin == Some(&PinSource::Prompt)
    }

    /// Parts that this build cannot drive, in order of the file's structure; empty means ready.
    pub fn undrivable(&self) -> Vec<Undrivable> {
        let mut parts = Vec::new();
        let mut add = |part: String, reason| parts.push(Undrivable { part, reason });
        for (name, resource) in &self.resources {
            let reason = match resource {
                Resource::Pcsc(_) => "smartcards need the card back-end of the security module",
                Resource::Power(power) if power.driver != PowerDriver::Virtual => {
                    "power switches need the power driver"
                }
                _ => continue,
            };
            add(format!("resource.{name}"), reason);
        }
        for (name, meter) in &self.meters {
            let reason = match meter.protocol {
                Protocol::Sml | Protocol::Mbus => continue,
                Protocol::Iec62056 => "IEC 62056-21 needs its meter simulator and link machine",
                Protocol::Wmbus => "wireless M-Bus needs the radio stick driver",
                Protocol::Dlms => "DLMS needs the HDLC and COSEM layers",
            };
            add(format!("role.meter.{name}"), reason);
        }
        if self
            .gateway
            .as_ref()
            .is_some_and(|gateway| !gateway.is_ours())
        {
            add(
                "role.gateway".to_owned(),
                "a real gateway needs the device driver of the gateway role",
            );
        }
        if self.clock.reference != ClockReference::None {
            add(
                "clock.reference".to_owned(),
                "a disciplined clock needs the reference clock driver",
            );
        }
        parts
    }

    /// What a reader of a report about this rig must know on page one.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_virtual() {
            notes.push("virtual rig: no hardware took part".to_owned());
        } else {
            let powered = self
                .resources
                .values()
                .any(|r| matches!(r, Resource::Power(_)));
            if !powered {
                notes.push("no power switch: a hung device needs a person".to_owned());
            }
        }
        if !self.clock.require_calibration {
            notes.push("the rig does not require a calibration record".to_owned());
        }
        if self.clock.reference == ClockReference::None {
            notes.push("the host clock has no reference: wall times are annotations".to_owned());
        }
        notes
    }
}

impl Rig {
    /// The locks a run needs: one for each physical resource that can be told from the file or, for serial ports, from
    /// what is attached. Two rig files that share an adapter exclude each other; virtual rigs exclude nobody.
    ///
    /// # Errors
    /// A serial port is missing or the match is ambiguous.
    pub fn lock_keys(&self, ports: &[SerialPort]) -> Result<BTreeSet<LockKey>, SelectError> {
        let mut keys = BTreeSet::new();
        for (name, resource) in &self.resources {
            let identity = match resource {
                _ if resource.is_virtual() => continue,
                Resource::Serial(serial) => serial.selector.select(ports)?.identity(),
                Resource::Pkcs11(pkcs11) => {
                    let module = pkcs11
                        .module
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy();
                    format!("pkcs11:{module}:{}", pkcs11.token)
                }
                Resource::Pcsc(pcsc) => format!("pcsc:{}", pcsc.reader),
                Resource::Probe(probe) => format!("probe:{}", probe.select),
                Resource::Network(network) => match network.han.or(network.cls) {
                    Some(address) => format!("net:{address}"),
                    None => continue,
                },
                Resource::Power(power) => {
                    let address = power.address.as_deref().unwrap_or(name);
                    format!("power:{:?}:{address}", power.driver)
                }
                Resource::Pty(_) | Resource::SoftHsm(_) | Resource::Qemu(_) | Resource::Wire(_) => {
                    continue;
                }
            };
            keys.insert(LockKey::new(identity));
        }
        Ok(keys)
    }
}
